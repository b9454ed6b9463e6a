"""The low-rank neural operator: its published size and operators of finite rank that it contains."""

from __future__ import annotations

from itertools import pairwise
from math import log2, pi
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.operators.low_rank import LowRank, published

ROUNDING: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}


class Sines(nn.Module):
    """sin πkx, k = 1, 2, ..., for features (a(x), x), and the constant."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, features: Tensor) -> Tensor:
        k = torch.arange(1, self.count + 1, dtype=features.dtype)
        found = torch.sin(pi * k * features[..., -1:])
        return torch.cat((found, torch.ones_like(found[..., :1])), dim=-1)


class Indicators(nn.Module):
    """1 at one of n even cells, 0 at the others, and the constant."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, features: Tensor) -> Tensor:
        cells = (features[..., -1] * self.count).long()
        found = nn.functional.one_hot(cells, self.count).to(features.dtype)
        return torch.cat((found, torch.ones_like(found[..., :1])), dim=-1)


def integral_operator(left: nn.Module, right: nn.Module, size: int, **settings: Any) -> LowRank:
    """One layer ``v ↦ K v`` of the input alone; its weights are zero."""
    width = settings.pop("width", 1)
    model = LowRank(1, width, width, width=width, depth=1, hidden=(size,), **settings).double()
    layer = model.layers[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.lifting.weight[:, :width] = torch.eye(width)
    layer.left, layer.right, layer.scale, model.projection = left, right, 1.0, nn.Identity()
    return model


@pytest.mark.parametrize("location", ["node", "cell"])
def test_t7_it_holds_the_solution_operator_on_sines(location: Any) -> None:
    """-u'' = f has the kernel 2 Σ_k sin πkx sin πky / (πk)²: four terms, exact for four waves at any points.

    The trapezoid and the midpoint rule are exact on products of sines up to the sampling theorem.
    """
    model, k = integral_operator(Sines(4), Sines(4), 4, terms=4), torch.arange(1, 5).double()
    with torch.no_grad():
        model.layers[0].get_parameter("left_weight")[:, 0, :4] = torch.diag(2 / (pi * k) ** 2)
        model.layers[0].get_parameter("right_weight")[:, 0, :4] = torch.eye(4)
    for n in (6, 9, 40):
        ξ = torch.as_tensor(Grid.box((n,), location=location).unit_coordinates())[None]
        waves = torch.sin(pi * k[:, None, None] * ξ)
        amplitudes = torch.tensor([1.0, -2.0, 0.5, 3.0]).double()[:, None, None]
        u = model((amplitudes * waves).sum(0, keepdim=True), ξ)
        exact = (amplitudes * waves / (pi * k[:, None, None]) ** 2).sum(0, keepdim=True)
        torch.testing.assert_close(u, exact, **ROUNDING)


def test_t7_other_loads_converge_with_the_square_of_the_spacing() -> None:
    model, errors = integral_operator(Sines(2), Sines(2), 2, terms=2), []
    with torch.no_grad():
        model.layers[0].get_parameter("left_weight")[:, 0, :2] = torch.eye(2)
        model.layers[0].get_parameter("right_weight")[:, 0, :2] = torch.eye(2)
    for n in (17, 33, 65):
        ξ = torch.as_tensor(Grid.box((n,), location="node").unit_coordinates())[None]
        # ∫ sin πx eˣ dx = π (e + 1) / (1 + π²), ∫ sin 2πx eˣ dx = 2π (1 - e) / (1 + 4π²)
        e = float(torch.e)
        first, second = pi * (e + 1) / (1 + pi**2), 2 * pi * (1 - e) / (1 + 4 * pi**2)
        exact = first * torch.sin(pi * ξ) + second * torch.sin(2 * pi * ξ)
        errors.append(float((model(torch.exp(ξ), ξ) - exact).detach().abs().max()))
    assert [log2(a / b) for a, b in pairwise(errors)] == pytest.approx([2.0] * 2, abs=0.02)


@pytest.mark.parametrize("terms", [2, 3])
def test_with_as_many_terms_as_its_rank_it_is_any_matrix(terms: int) -> None:
    """Of rank 3: with three terms exact, with two off by the third singular value, as nothing is better."""
    generator, n = torch.Generator().manual_seed(0), 7
    u, _, v = torch.linalg.svd(torch.randn(n, n, dtype=torch.float64, generator=generator))
    singular = torch.tensor([3.0, 2.0, 0.5]).double()
    matrix = (u[:, :3] * singular) @ v[:3]
    model = integral_operator(Indicators(n), Indicators(n), n, terms=terms)
    with torch.no_grad():
        model.layers[0].get_parameter("left_weight")[:, 0, :n] = n * (u[:, :terms] * singular[:terms]).T
        model.layers[0].get_parameter("right_weight")[:, 0, :n] = v[:terms]
    ξ = torch.as_tensor(Grid.box((n,)).unit_coordinates())[None]
    found = model(torch.eye(n).double()[:, None], ξ.expand(n, -1, -1))[:, 0].T.detach()
    off = float(torch.linalg.matrix_norm(found - matrix, 2))
    assert off == pytest.approx(0.0 if terms == 3 else 0.5, abs=1e-12)


def test_entrywise_every_entry_has_products_of_its_own() -> None:
    """Against the double sum over points, entries and terms."""
    model = integral_operator(Sines(3), Sines(2), 3, terms=2, width=2, entrywise=True)
    layer = model.layers[0]
    # The basis of ψ has one function less here than that of φ.
    layer.right_weight = nn.Parameter(torch.randn(2, 2, 2, 3, dtype=torch.float64))
    layer.left_weight = nn.Parameter(torch.randn(2, 2, 2, 4, dtype=torch.float64))
    ξ = torch.as_tensor(Grid.box((11,)).unit_coordinates())[None]
    v = torch.randn(1, 2, 11, dtype=torch.float64)
    φ = torch.einsum("oijh,nh->noij", layer.left_weight, Sines(3)(ξ[0].T))
    ψ = torch.einsum("oijh,nh->noij", layer.right_weight, Sines(2)(ξ[0].T))
    expected = torch.einsum("moij,noij,in->om", φ, ψ, v[0]) / 11
    torch.testing.assert_close(model(v, ξ)[0], expected, **ROUNDING)


def test_t13_the_published_model() -> None:
    """Eight networks 2-64-128-256-4096 of 1,094,208, four maps of 1,056, ends of 96 and 4,353: 8,762,337.

    The published one has 256 more, of batch normalization.
    """
    with torch.device("meta"):
        model = LowRank(1, 1, 1, **published["burgers"][0])
    assert sum(p.numel() for p in model.parameters()) + 4 * 2 * 32 == 8_762_593


@pytest.mark.parametrize("name", ["terms", "width", "depth", "out_channels"])
def test_refuses_counts_in_a_sentence(name: str) -> None:
    settings: dict[str, Any] = {"rank": 2, "in_channels": 1, "out_channels": 1, name: 0}
    with pytest.raises(ConfigError, match=f"LowRank: {name} must be at least 1, got 0"):
        LowRank(**settings)
