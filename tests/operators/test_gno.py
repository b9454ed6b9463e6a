"""The graph neural operator: its published size, integrals that it contains, and its neighborhoods."""

from __future__ import annotations

from itertools import pairwise
from math import log2, pi
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.neighbors import Nearest, Radius, nearest, within
from sciml.operators.gno import GNO, published
from sciml.padding import mask_of, padded

ROUNDING: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}


class Green(nn.Module):
    """min(x, y) - x y for features (x, a(x), y - x, a(y)), and the constant."""

    def forward(self, features: Tensor) -> Tensor:
        x = features[..., 0]
        y = x + features[..., 2]
        return torch.stack((torch.minimum(x, y) - x * y, torch.ones_like(x)), dim=-1)


def integral_operator(basis: nn.Module, neighborhood: Any, rank: int = 1) -> GNO:
    """One layer ``a ↦ 1/|N(x)| ∫ b(x, y) a(y) dy``, b the first function of the basis."""
    model = GNO(rank, 1, 1, neighborhood=neighborhood, width=1, depth=1, hidden=(1,))
    model.projection = nn.Sequential(nn.Linear(1, 1))
    model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.lifting.weight[0, 0] = model.projection.get_parameter("0.weight")[0, 0] = 1.0
        integral = model.layers[0].get_submodule("integral")
        integral.basis = basis
        integral.get_parameter("weight")[0, 0, 0] = 1.0
    return model


def test_t13_the_published_model() -> None:
    """Lifting 448, kernel 7,168 + 1,049,600 + 4,198,400, root 4,096, bias 64, output 65: 5,259,841.

    Three of the six features of a node are there a smoothed coefficient and its gradient, and the output is
    affine: here it has a hidden layer, 64 * 128 + 128 + 129.
    """
    with torch.device("meta"):
        model = GNO(2, 1, 1, **published["darcy"][0])
    assert sum(p.numel() for p in model.parameters()) + 3 * 64 - 8449 + 65 == 5_259_841


def error(n: int, weights: Tensor | None) -> float:
    """Of -u'' = sin πx, u = 0 at both ends, at the nodes of a grid."""
    ξ = torch.as_tensor(Grid.box((n,), location="node").unit_coordinates())[None]
    with torch.no_grad():
        u = integral_operator(Green(), None)(torch.sin(pi * ξ), ξ, weights=weights)
    return float((u - torch.sin(pi * ξ) / pi**2).abs().max())


def test_t7_with_the_green_function_it_solves_poisson() -> None:
    """At the nodes the trapezoid sum is the solution of the central difference: π² h² / 12 is its error."""
    sizes = (17, 33, 65, 129)
    errors = [error(n, None) for n in sizes]
    orders = [log2(a / b) for a, b in pairwise(errors)]
    assert orders == pytest.approx([2.0] * 3, abs=0.01)
    assert errors[-1] * pi**2 == pytest.approx(pi**2 / 12 / 128**2, rel=1e-3)
    # With equal weights for all nodes, as published, the ends count twice: (n - 1) / n is off by 1 / n.
    plain = [log2(a / b) for a, b in pairwise(error(n, torch.ones(1, n)) for n in sizes)]
    assert plain == pytest.approx([1.0] * 3, abs=0.1)


def test_t7_a_constant_load_is_solved_exactly() -> None:
    ξ = torch.as_tensor(Grid.box((9,), location="node").unit_coordinates())[None]
    u = integral_operator(Green(), None)(torch.ones_like(ξ), ξ)
    torch.testing.assert_close(u, ξ * (1 - ξ) / 2, **ROUNDING)


def test_t7_uneven_points_with_their_weights_solve_poisson() -> None:
    errors, model = [], integral_operator(Green(), None)
    for n in (33, 65, 129):
        t = torch.linspace(0, 1, n, dtype=torch.float64)
        ξ = t + 0.12 * torch.sin(2 * pi * t)
        weights = torch.cat((ξ[:1], (ξ[1:] + ξ[:-1]) / 2, ξ[-1:])).diff()[None]
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            u = model(torch.sin(pi * ξ)[None, order, None], ξ[None, order, None], weights=weights[:, order])
        errors.append(float((u[0, :, 0] - torch.sin(pi * ξ[order]) / pi**2).abs().max()))
    assert [log2(a / b) for a, b in pairwise(errors)] == pytest.approx([2.0] * 2, abs=0.1)


class One(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return torch.ones(*features.shape[:-1], 2, dtype=features.dtype)


def test_the_constant_kernel_is_the_mean() -> None:
    a, ξ = torch.rand(2, 20, 1).double(), torch.rand(2, 20, 2).double()
    mask = mask_of([20, 13])
    u = integral_operator(One(), None, rank=2)(a, ξ, mask)
    for b, n in enumerate((20, 13)):
        torch.testing.assert_close(u[b, :n], a[b, :n].mean(0).expand(n, 1), **ROUNDING)


def test_the_mean_of_a_linear_field_over_a_ball_is_its_center() -> None:
    """On a grid the ball is symmetric wherever it does not reach over the end, and around a period too."""
    grid = Grid.box((20, 20), periodic=(True, False))
    ξ = torch.as_tensor(grid.unit_coordinates())[None]
    model = integral_operator(One(), Radius(0.21, period=(1.0, None)), rank=2)
    u = model(ξ[:, 1:], ξ)
    torch.testing.assert_close(u[..., 4:-4], ξ[:, 1:, :, 4:-4], **ROUNDING)
    assert (u - ξ[:, 1:])[..., 0].min() > 0.01
    wave = torch.cos(2 * pi * ξ[:, :1])
    assert ((model(wave, ξ) / wave).amax(2) - (model(wave, ξ) / wave).amin(2)).max() < 1e-10


def test_neighbors_of_the_data_replace_those_of_the_model() -> None:
    torch.manual_seed(0)
    model = GNO(2, 1, 1, neighborhood=0.4, width=4, hidden=(4,)).double()
    x, ξ, mask = torch.rand(2, 15, 1).double(), torch.rand(2, 15, 2).double(), mask_of([15, 11])
    lists = {
        name: padded([rule(ξ[b, :n].numpy()) for b, n in enumerate((15, 11))], fill=-1)
        for name, rule in {"ball": lambda p: within(p, 0.4), "nearest": lambda p: nearest(p, 3)}.items()
    }
    with torch.no_grad():
        y = model(x, ξ, mask)
        torch.testing.assert_close(model(x, ξ, mask, neighbors=lists["ball"]), y, **ROUNDING)
        shuffled = lists["ball"][:, torch.randperm(lists["ball"].shape[1])]
        torch.testing.assert_close(model(x, ξ, mask, neighbors=shuffled), y, **ROUNDING)
        other = model(x, ξ, mask, neighbors=lists["nearest"])
        model.neighborhood = Nearest(3)
        model._kept._found.clear()
        torch.testing.assert_close(model(x, ξ, mask), other, **ROUNDING)
        assert (other - y).abs().max() > 1e-3
    with pytest.raises(ShapeError, match=r"GNO: neighbors must have shape \(2, edge, 2\), got \(1, "):
        model(x, ξ, neighbors=lists["ball"][:1])


def test_a_point_without_neighbors_sees_itself() -> None:
    torch.manual_seed(0)
    model = GNO(1, 1, 1, neighborhood=0.01, width=4, hidden=(4,)).double()
    x, ξ = torch.rand(1, 3, 1).double(), torch.tensor([[[0.0], [0.5], [1.0]]]).double()
    y = model(x, ξ)
    assert y.isfinite().all()
    changed = x.clone()
    changed[0, 1] += 1.0
    assert torch.equal(model(changed, ξ)[0, [0, 2]], y[0, [0, 2]])


def test_neighbors_are_found_once_for_each_set_of_points(monkeypatch: pytest.MonkeyPatch) -> None:
    model = GNO(2, 1, 1, neighborhood=0.4, width=4, hidden=(4,))
    calls, rule = [], model._kept.rule
    monkeypatch.setattr(model._kept, "rule", lambda points: (calls.append(len(points)), rule(points))[1])
    ξ, grid = torch.rand(2, 9, 2), torch.as_tensor(Grid.box((4, 5)).unit_coordinates()).float()
    for _ in range(3):
        model(torch.rand(2, 9, 1), ξ)
        model(torch.rand(3, 1, 4, 5), grid.expand(3, -1, -1, -1))
    assert calls == [9, 9, 20]


def test_a_cut_off_that_truncates_warns() -> None:
    model = GNO(1, 1, 1, neighborhood=Radius(0.5, most=2), width=4, hidden=(4,))
    with pytest.warns(RuntimeWarning, match="were left out, since at most 2"):
        model(torch.rand(1, 9, 1), torch.linspace(0, 1, 9)[None, :, None])


def test_shared_layers_are_one() -> None:
    shared, own = (
        GNO(1, 1, 1, neighborhood=0.2, width=3, depth=4, hidden=(5,), shared=flag) for flag in (True, False)
    )
    layer = 3 * 3 + 3 + (4 * 5 + 5) + 9 * 6
    ends = (2 * 3 + 3) + (3 * 128 + 128) + (128 + 1)
    assert sum(p.numel() for p in shared.parameters()) == ends + layer
    assert sum(p.numel() for p in own.parameters()) == ends + 4 * layer


def test_what_suits_a_grid_sees_three_points_to_each_side() -> None:
    grid = Grid.box((32, 32), periodic=(True, False))
    model = GNO(2, 1, 1, **GNO.suited(grid))
    assert model.periodic == (True, False)
    pairs = model._neighbors(grid.unit_coordinates().reshape(2, -1).T)[0]
    inner = 32 * 16 + 16
    assert np.count_nonzero(pairs[:, 0] == inner) == 36  # of |(i, j)| <= 3.2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"neighborhood": Radius(0.1, period=(2.0, None))}, "period of the neighborhood is 1 or None"),
        ({"neighborhood": Radius(0.1, period=(1.0,))}, "for each of 2 axes"),
        ({"width": 0}, "width must be at least 1"),
        ({"hidden": (4, 0)}, "hidden layer must be at least 1"),
        ({"depth": 0}, "depth must be at least 1"),
    ],
)
def test_refuses_settings_in_a_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        GNO(2, 1, 1, **settings)
