"""The multipole graph neural operator: its published size, kernels split in near and far, its levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.operators.cloud import Rows
from sciml.operators.gno import GNO
from sciml.operators.measures import measures
from sciml.operators.multipole_gno import MultipoleGNO, published
from sciml.padding import mask_of

ROUNDING: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}


class Given(nn.Module):
    """A function of (x, y) for features (x, a(x), y - x, a(y)) in the plane, and the constant."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, features: Tensor) -> Tensor:
        x = features[..., :2]
        found = self.function(x, x + features[..., 3:5])
        return torch.stack((found, torch.ones_like(found)), dim=-1)


def φ(x: Tensor) -> Tensor:
    return torch.cos(3 * x[..., 0]) + x[..., 1]


def ψ(y: Tensor) -> Tensor:
    return torch.exp(y[..., 0] - y[..., 1])


def near(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().sum(-1) - x[..., 0]


def separable(levels: int) -> MultipoleGNO:
    """K_{1,0} takes moments with ψ, levels above add them up, K_{0,1} multiplies with φ; K_{0,0} is near."""
    model = MultipoleGNO(2, 1, 1, radius=0.2, levels=levels, width=1, cycles=1, hidden=(8,)).double()

    def give(integral: nn.Module, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        integral.basis, integral.reach = Given(function), 1.0
        integral.weight = nn.Parameter(torch.tensor([[[1.0], [0.0]]]).double())

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    give(model.inner[0], near)
    give(model.inner[-1], lambda x, y: torch.ones_like(x[..., 0]))
    for integrals, first in ((model.down, lambda x, y: ψ(y)), (model.up, lambda x, y: φ(x))):
        give(integrals[0], first)
        for integral in integrals[1:]:
            give(integral, lambda x, y: torch.ones_like(x[..., 0]))
    return model


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_t7_a_separable_kernel_is_the_dense_sum(levels: int) -> None:
    """On ragged points with weights: one linear cycle is the near kernel and φ(x) ∫ ψ(y) v(y) dμ together."""
    generator, counts = torch.Generator().manual_seed(0), (60, 47)
    ξ = torch.rand(2, 60, 2, dtype=torch.float64, generator=generator)
    v = torch.randn(2, 60, 1, dtype=torch.float64, generator=generator)
    weights = torch.rand(2, 60, dtype=torch.float64, generator=generator)
    mask, model = mask_of(counts), separable(levels)
    rows = model.cloud.enter(v, ξ, mask)
    measure = measures("", rows, weights, (False, False))
    tree = model.tree(rows, measure)
    fields = [rows.values, *(torch.zeros_like(at.values) for at in tree.nodes[1:])]
    found = model.cycle(fields, tree, lambda field: field)[0]
    for b, n in enumerate(counts):
        x, μ, field = ξ[b, :n], measure[b, :n], v[b, :n, 0]
        far = φ(x) * (μ * ψ(x) * field).sum()
        local = μ * (torch.cdist(x, x) <= 0.2)
        kernel = near(x[:, None], x[None]) * local / local.sum(1, keepdim=True)
        torch.testing.assert_close(found[b, :n, 0], far + kernel @ field, **ROUNDING)


def test_the_finest_level_alone_is_a_gno() -> None:
    torch.manual_seed(0)
    single = MultipoleGNO(2, 1, 1, radius=0.3, levels=1, width=6, cycles=3, hidden=(5, 4)).double()
    gno = GNO(2, 1, 1, neighborhood=0.3, width=6, depth=3, hidden=(5, 4)).double()
    layer = gno.layers[0]
    gno.lifting, gno.projection = single.lifting, single.projection
    layer.get_submodule("integral").load_state_dict(single.inner[0].state_dict())
    with torch.no_grad():
        layer.get_parameter("pointwise.weight").copy_(single.pointwise[0].get_parameter("weight"))
        layer.get_parameter("pointwise.bias").zero_()
    x, ξ = torch.rand(2, 25, 1).double(), torch.rand(2, 25, 2).double()
    torch.testing.assert_close(single(x, ξ), gno(x, ξ), **ROUNDING)


def test_t13_the_published_model() -> None:
    """Lifting 448; kernels 1,936,896 on the levels and 1,591,936 between; roots 12,288; output 16,897.

    Three of the six features of a node are there a smoothed coefficient and its gradient.
    """
    with torch.device("meta"):
        model = MultipoleGNO(2, 1, 1, **published["darcy"][0])
    assert sum(p.numel() for p in model.parameters()) + 3 * 64 == 3_558_465


def test_levels_hold_the_measure_and_the_means_of_their_cells() -> None:
    model = MultipoleGNO(2, 1, 1, radius=0.25, levels=3, width=2, hidden=(4,)).double()
    assert model.cells == [4, 2]
    ξ = torch.rand(1, 200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    a = torch.randn(1, 200, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    measure = torch.full((1, 200), 1 / 200, dtype=torch.float64)
    tree = model.tree(Rows(a, ξ, None, None), measure)
    cell = (ξ[0] * 4).long()
    for center, mean in zip(tree.nodes[1].coordinates[0], tree.nodes[1].values[0], strict=True):
        held = (cell == (center * 4).long()).all(1)
        torch.testing.assert_close(mean, a[0, held].mean(0), **ROUNDING)
    # The mean of the means, with their measures, is the mean.
    table = tree.inner[-1][0]
    top = tree.nodes[2]
    assert top.coordinates.shape == (1, 4, 2)
    torch.testing.assert_close(table.mean(top.values), a.mean(1, keepdim=True).expand(1, 4, 1), **ROUNDING)


def test_levels_above_are_the_same_at_every_resolution() -> None:
    model = MultipoleGNO(2, 1, 1, radius=0.125, levels=4, width=2, hidden=(8,))
    found = []
    for n in (16, 64):
        points = Grid.box((n, n)).unit_coordinates().reshape(2, -1).T
        found.append(model._hierarchy(points))
    for level in range(3):
        assert np.array_equal(found[0][4 * level + 1], found[1][4 * level + 1])
        assert np.array_equal(found[0][4 * level + 4], found[1][4 * level + 4])
    assert len(found[0][1]) == 64 and len(found[0][5]) == 16 and len(found[0][9]) == 4


def test_every_point_is_in_one_cell_and_hears_of_it() -> None:
    model = MultipoleGNO(3, 1, 1, radius=0.3, levels=3, width=2, hidden=(4,))
    points = np.concatenate([np.random.default_rng(0).random((50, 3)), np.eye(3), np.ones((1, 3))])
    arrays, below = model._hierarchy(points), points
    for level in range(2):
        centers, rise, sink = arrays[4 * level + 1 : 4 * level + 4]
        assert np.array_equal(np.sort(rise[:, 1]), np.arange(len(below)))
        side = 1 / model.cells[level]
        assert np.abs(centers[rise[:, 0]] - below[rise[:, 1]]).max() <= side / 2 + 1e-12
        heard = {tuple(pair) for pair in sink.tolist()}
        assert all((point, cell) in heard for cell, point in rise.tolist())
        below = centers


def test_far_points_are_heard() -> None:
    """Over a distance of many radii in one cycle, but not without levels."""
    ξ = torch.linspace(0, 1, 65, dtype=torch.float64)[None, :, None]
    x = torch.zeros(1, 65, 1, dtype=torch.float64)
    for levels in (1, 2, 4):
        torch.manual_seed(0)
        model = MultipoleGNO(1, 1, 1, radius=0.05, levels=levels, width=4, cycles=1, hidden=(8,)).double()
        source = x.clone().requires_grad_()
        model(source, ξ)[0, 0, 0].backward()
        assert source.grad is not None
        assert (source.grad[0, -1].abs() > 1e-12) == (levels > 1)


def test_a_cycle_follows_its_equations() -> None:
    torch.manual_seed(0)
    model = MultipoleGNO(1, 1, 1, radius=0.3, levels=2, width=3, cycles=1, hidden=(4,)).double()
    x, ξ = torch.rand(1, 9, 1).double(), torch.rand(1, 9, 1).double()
    rows = model.cloud.enter(x, ξ, None)
    tree = model.tree(rows, measures("", rows, None, (False,)))
    v = [model.lifting(torch.cat((at.values, at.coordinates), -1)) for at in tree.nodes]
    w1 = gelu(v[1] + model.down[0](v[0], *tree.down[0]))
    top = gelu(model.pointwise[1](w1) + model.inner[1](w1, *tree.inner[1]))
    end = model.pointwise[0](v[0]) + model.inner[0](v[0], *tree.inner[0]) + model.up[0](top, *tree.up[0])
    torch.testing.assert_close(model(x, ξ), model.projection(end), **ROUNDING)


@pytest.mark.parametrize(("n", "levels"), [(2, 1), (16, 3), (64, 4)])
def test_what_suits_a_grid(n: int, levels: int) -> None:
    settings = MultipoleGNO.suited(Grid.box((n, 100)))
    assert settings["levels"] == levels
    MultipoleGNO(2, 1, 1, **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"radius": 0.0}, "radius up to 1"),
        ({"hidden": (64, 3), "levels": 3}, "at least 4 units, which 3 levels divide"),
        ({"hidden": ()}, "hidden layers"),
        ({"levels": 0}, "levels must be at least 1"),
        ({"cycles": 0}, "cycles must be at least 1"),
    ],
)
def test_refuses_settings_in_a_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MultipoleGNO(2, 1, 1, **settings)
