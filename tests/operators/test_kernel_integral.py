"""Measures of points, tables of neighbors and kernel integrals, and what the operators on them share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial import Delaunay
from torch import Tensor, nn
from torch.optim import Adam

from sciml.dataset import Field, write_dataset
from sciml.errors import ShapeError
from sciml.grid import Grid
from sciml.mesh import Mesh
from sciml.neighbors import Nearest, within
from sciml.operators import kernel_integral
from sciml.operators.cloud import Rows
from sciml.operators.gno import GNO
from sciml.operators.kernel_integral import Kept, KernelIntegral, Table
from sciml.operators.low_rank import LowRank
from sciml.operators.measures import measures
from sciml.operators.multipole_gno import MultipoleGNO
from sciml.padding import mask_of, padded
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.trainer import Trainer

# Sums of some hundred numbers of order one, in another order.
ROUNDING: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}
COUNTS = (9, 5, 12)

Make = Callable[..., nn.Module]
OPERATORS: list[Any] = [
    pytest.param(partial(GNO, neighborhood=0.4, width=5, depth=2, hidden=(4,)), id="GNO-ball"),
    pytest.param(
        partial(GNO, neighborhood=Nearest(3), width=5, depth=2, hidden=(4, 3), shared=False), id="GNO-nearest"
    ),
    pytest.param(partial(GNO, neighborhood=None, width=5, depth=2, hidden=()), id="GNO-everything"),
    pytest.param(
        partial(MultipoleGNO, radius=0.25, levels=3, width=5, cycles=2, hidden=(8, 8)), id="MultipoleGNO"
    ),
    pytest.param(partial(LowRank, terms=3, width=5, depth=2, hidden=(4,)), id="LowRank"),
    pytest.param(
        partial(LowRank, terms=2, width=5, depth=2, hidden=(4,), entrywise=True), id="LowRank-entrywise"
    ),
]


def made(make: Make, rank: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return make(rank, 2, 3).double().eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def places(*shape: int, seed: int = 2) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("location", "periodic"), [("node", False), ("cell", False), ("node", True), ("cell", True)]
)
def test_measures_on_a_grid_are_its_quadrature_weights(location: Any, periodic: bool) -> None:
    grid = Grid.box((5, 1 if location == "cell" else 3, 4), location=location, periodic=periodic)
    ξ = torch.as_tensor(grid.unit_coordinates()).flatten(1).mT[None]
    found = measures("mine", Rows(ξ, ξ, None, grid.shape), None, [periodic] * 3)
    torch.testing.assert_close(found[0], torch.as_tensor(grid.weights()).flatten(), **ROUNDING)


def test_measures_at_points_are_the_weights_or_equal() -> None:
    rows = Rows(places(2, 4, 1), places(2, 4, 2), mask_of([4, 2]), None)
    assert measures("mine", rows, None, [False] * 2)[1].tolist() == [0.5, 0.5, 0.0, 0.0]
    weights = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 7.0, torch.nan]])
    found = measures("mine", rows, weights, [False] * 2)
    torch.testing.assert_close(found[0], torch.arange(1, 5, dtype=torch.float64) / 10, **ROUNDING)
    assert found[1].tolist() == [0.25, 0.75, 0.0, 0.0]
    with pytest.raises(ShapeError, match=r"mine: weights must have one number for each point, \(2, 4\)"):
        measures("mine", rows, weights[:, :3], [False] * 2)


def test_tables_hold_the_pairs_with_normalized_weights() -> None:
    points = [places(n, 2, seed=n) for n in COUNTS]
    pairs = padded([within(p.numpy(), 0.5) for p in points], fill=-1)
    weights = torch.where(mask_of(COUNTS), places(3, 12) + 0.1, 0.0)
    table = Table.of(pairs, weights, 12, own=True)
    for b, p in enumerate(points):
        near = torch.cdist(p, p) <= 0.5
        expected = near * weights[b, : len(p)]
        dense = torch.zeros(12, 12, dtype=torch.float64)
        dense.scatter_add_(1, table.index[b], table.weights[b])
        expected = expected / expected.sum(1, keepdim=True)
        torch.testing.assert_close(dense[: len(p), : len(p)], expected, **ROUNDING)
        assert dense[len(p) :].eq(0).all() and dense[:, len(p) :].eq(0).all()


def test_moments_give_the_sum_over_edges_of_matrices() -> None:
    """What the integral never builds: a matrix for each edge."""
    torch.manual_seed(0)
    integral = KernelIntegral(2, 4, (5, 6), (True, False), reach=0.4).double()
    nodes, v = Rows(noise(2, 7, 2), places(2, 7, 2), None, None), noise(2, 7, 4, seed=5)
    table = Table.of(padded([within(p.numpy(), 0.4) for p in nodes.coordinates], fill=-1), places(2, 7), 7)
    found = integral(v, table, integral.functions(table, nodes, nodes))
    for b in range(2):
        for i in range(7):
            total = torch.zeros(4, dtype=torch.float64)
            for j, weight in zip(table.index[b, i], table.weights[b, i], strict=True):
                step = nodes.coordinates[b, j] - nodes.coordinates[b, i]
                step[0] -= step[0].round()
                parts = nodes.coordinates[b, i], nodes.values[b, i], step / 0.4, nodes.values[b, j]
                basis = integral.basis(torch.cat(parts))
                total += weight * torch.einsum("ohi,h,i->o", integral.weight, basis, v[b, j])
            torch.testing.assert_close(found[b, i], total, **ROUNDING)


def test_what_was_found_is_kept_until_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def rule(points: NDArray[np.float64]) -> tuple[NDArray[np.float64]]:
        calls.append(len(points))
        return (np.zeros(100),)

    kept = Kept(rule)
    monkeypatch.setattr(kernel_integral, "KEPT_BYTES", 1600)
    one, two, three = (torch.full((n, 2), 0.5) for n in (1, 2, 3))
    for points in (one, two, one, two, three, two, one):
        kept.of(points)
    assert calls == [1, 2, 3, 1]


@pytest.mark.parametrize("make", OPERATORS)
def test_t3_the_order_of_points_does_not_matter(make: Make) -> None:
    model, x, ξ, weights = made(make), noise(2, 30, 2), places(2, 30, 2), places(2, 30)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        y = model(x, ξ, weights=weights)
        moved = model(x[:, order], ξ[:, order], weights=weights[:, order])
    torch.testing.assert_close(moved, y[:, order], **ROUNDING)


@pytest.mark.parametrize("make", OPERATORS)
def test_padding_cannot_leak(make: Make) -> None:
    """Whatever stands there, NaN included, and wherever: samples are as alone, padding gives 0."""
    model, x, ξ, weights = made(make), noise(3, 12, 2), places(3, 12, 2), places(3, 12)
    mask = mask_of(COUNTS)
    mask[2] = torch.arange(12) % 3 > 0  # among the points
    for tensor in (x, ξ, weights):
        tensor[~mask] = torch.nan
    with torch.no_grad():
        y = model(x, ξ, mask, weights)
        assert y[~mask].eq(0).all()
        for b in range(3):
            alone = model(x[b, mask[b]][None], ξ[b, mask[b]][None], weights=weights[b, mask[b]][None])
            torch.testing.assert_close(y[b, mask[b]], alone[0], **ROUNDING)


@pytest.mark.parametrize("make", OPERATORS)
def test_gradients_in_float64(make: Make) -> None:
    model, x, mask = made(make), noise(2, 5, 2).requires_grad_(), mask_of([5, 3])
    ξ, weights = places(2, 5, 2), places(2, 5)
    parameters = tuple(p for name, p in model.named_parameters() if "layers.0" in name or "up.0" in name)[:3]
    assert torch.autograd.gradcheck(lambda x, *_: model(x, ξ, mask, weights), (x, *parameters))


@pytest.mark.parametrize("make", OPERATORS)
def test_a_grid_is_its_points_with_their_weights(make: Make) -> None:
    grid = Grid.box((4, 5), location="node")
    ξ = torch.as_tensor(grid.unit_coordinates()).expand(2, -1, -1, -1)
    model, x = made(make), noise(2, 2, 4, 5)
    weights = torch.as_tensor(grid.weights()).flatten().expand(2, -1)
    with torch.no_grad():
        y = model(x.flatten(2).mT, ξ.flatten(2).mT, weights=weights)
        torch.testing.assert_close(model(x, ξ).flatten(2).mT, y, **ROUNDING)


# Without a sharp ball: whole domain, where sums are plain quadratures.
SMOOTH = [OPERATORS[2], *OPERATORS[4:]]


@pytest.mark.parametrize("make", SMOOTH)
@pytest.mark.parametrize("stretched", [False, True])
def test_t5_errors_fall_with_the_square_of_the_spacing(make: Make, stretched: bool) -> None:
    """The order of the trapezoid rule, on even nodes and on uneven ones with their weights."""
    model, outputs = made(make, rank=1), []
    for n in (17, 33, 65, 129):
        t = torch.linspace(0, 1, n, dtype=torch.float64)
        ξ = t + stretched * 0.12 * torch.sin(2 * torch.pi * t)
        x = torch.stack((torch.exp(ξ), torch.cos(3 * ξ)), dim=-1)[None]
        weights = torch.gradient(ξ, edge_order=1)[0]
        weights[[0, -1]] /= 2
        with torch.no_grad():
            outputs.append(model(x, ξ[None, :, None], weights=weights[None]))
    differences = [
        float((fine[:, ::2] - coarse).norm() / coarse.norm()) for coarse, fine in pairwise(outputs)
    ]
    assert [log2(a / b) for a, b in pairwise(differences)] == pytest.approx([2.0] * 2, abs=0.1)
    assert differences[-1] < 1e-3


@pytest.mark.parametrize("make", OPERATORS[3:5])
def test_weights_make_the_density_of_points_irrelevant(make: Make) -> None:
    """Points five times denser on the left: with weights the answer is that of even points, without not."""
    model = made(make, rank=1)
    even = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    bounds = torch.cat((torch.linspace(0, 0.5, 501)[:-1], torch.linspace(0.5, 1, 101))).double()
    uneven, weights = (bounds[1:] + bounds[:-1]) / 2, bounds.diff()

    def mean(ξ: Tensor, weights: Tensor, given: Tensor | None) -> Tensor:
        """Of the output over the domain."""
        x = torch.stack((torch.exp(ξ), torch.cos(3 * ξ)), dim=-1)[None]
        with torch.no_grad():
            y: Tensor = model(x, ξ[None, :, None], weights=given)
        return (y * weights[:, None]).sum(1)

    right = mean(even, torch.full((400,), 1 / 400), None)
    with_weights, without = mean(uneven, weights, weights[None]), mean(uneven, weights, None)
    assert (with_weights - right).norm() < 0.05 * (without - right).norm()


def meshes(count: int = 8) -> list[Mesh]:
    rng, found = np.random.default_rng(0), []
    for n in rng.integers(12, 24, size=count):
        points = rng.uniform([0, -1], [2, 1], size=(int(n), 2))
        found.append(Mesh(points, cells={"triangle": Delaunay(points).simplices.astype(int)}))
    return found


@pytest.mark.parametrize("make", [OPERATORS[0], *OPERATORS[3:5]])
def test_it_learns_on_ragged_meshes(make: Make, tmp_path: Path) -> None:
    """u = a² + the mean of a over the domain, the integral by the weights of the mesh."""
    samples, rng = meshes(), np.random.default_rng(1)
    a = [rng.normal() * np.sin(m.coordinates[:, 0] + rng.normal()) for m in samples]
    u = [v**2 + (m.weights() @ v) / m.weights().sum() for m, v in zip(samples, a, strict=True)]
    fields = [(Field("a", "input"), a), (Field("u", "output"), u)]
    data = write_dataset(tmp_path / "u.h5", grid=samples, fields=fields, split=np.zeros(len(samples), int))
    torch.manual_seed(0)
    task, model = Supervised(data.train, ["a"], ["u"], batch_size=8), make(2, 1, 1)
    before = task.evaluate(model, Streams(0))["relative_l2"]
    run = Trainer(60, optimizer=partial(Adam, lr=1e-2)).fit(model, task)
    after = task.evaluate(run.model, Streams(0))["relative_l2"]
    assert after < 0.5 * before
    alone = Supervised(data.train, ["a"], ["u"], batch_size=1).evaluate(run.model, Streams(0))["relative_l2"]
    assert alone == pytest.approx(after, rel=1e-5)
