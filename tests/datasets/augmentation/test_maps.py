"""Random maps of a box, and values between the points of a grid."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sciml.datasets.augmentation import maps
from sciml.datasets.augmentation.interpolation import DEGREES, Interpolation, interpolate
from sciml.datasets.augmentation.maps import BoxMap, Composite, CoordinateMap, Lines, mesh_of, random_map
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Axis, Grid

LINE = Grid((Axis("x", -1.0, 2.0, 9, "node"),))
SQUARE = Grid((Axis("x", -1.0, 2.0, 7, "node"), Axis("y", 0.0, 0.5, 8, "cell")))
TORUS = Grid((Axis("x", 0.0, 3.0, 7, "node", True), Axis("y", 1.0, 1.5, 8, "cell", True)))
CHANNEL = Grid((Axis("x", 0.0, 3.0, 7, "node", True), Axis("y", 1.0, 1.5, 8, "cell")))


def drawn(grid: Grid, count: int = 3, seed: int = 0, modes: int = 2, beta: float = 0.5) -> BoxMap:
    generator = torch.Generator().manual_seed(seed)
    return random_map(grid, count, generator, modes=modes, beta=beta, power=2.0)


def test_lines_rise_from_end_to_end() -> None:
    generator = torch.Generator().manual_seed(0)
    for modes, beta, power in ((1, 1e-5, 1.0), (5, 0.25, 2.0), (10, 15.0, 2.0)):
        made = random_map(LINE, 1000, generator, modes=modes, beta=beta, power=power)
        x, slope, _ = made.lines[0](torch.linspace(0, 1, 257, dtype=torch.float64)[None])
        assert (slope > 0).all()
        assert (x.diff(dim=1) > 0).all()
        # sin 2πk in floating point is 2πk times the rounding of π, at most 1e-14 here.
        assert torch.allclose(x[:, [0, -1]], torch.tensor([[0.0, 1.0]]).double(), rtol=0, atol=1e-14)


def composite(grid: Grid) -> CoordinateMap:
    return Composite(drawn(grid, seed=1), drawn(grid, seed=2))


@pytest.mark.parametrize("make", [drawn, composite])
@pytest.mark.parametrize("grid", [LINE, SQUARE, TORUS, CHANNEL], ids=["line", "square", "torus", "channel"])
def test_derivatives_are_those_of_automatic_differentiation(
    make: Callable[[Grid], CoordinateMap], grid: Grid
) -> None:
    made = make(grid)
    xi = [c.expand(3, *grid.shape).clone().requires_grad_() for c in mesh_of(grid)]
    chart = made.chart(xi)
    for i in range(grid.rank):
        first = torch.autograd.grad(chart.points[:, i].sum(), xi, create_graph=True)
        for a in range(grid.rank):
            assert torch.allclose(first[a], chart.jacobian[:, i, a], rtol=0, atol=1e-12)
            second = torch.autograd.grad(first[a].sum(), xi, create_graph=True, materialize_grads=True)
            for b in range(grid.rank):
                assert torch.allclose(second[b], chart.hessian[:, i, a, b], rtol=0, atol=1e-10)
    slopes = torch.autograd.grad(chart.determinant.log().sum(), xi)
    for a, slope in enumerate(slopes):
        assert torch.allclose(slope, chart.log_slope[:, a], rtol=0, atol=1e-10)
    product = torch.einsum("nai...,nib...->nab...", chart.inverse, chart.jacobian)
    identity = torch.eye(grid.rank).double().reshape(1, grid.rank, grid.rank, *[1] * grid.rank)
    assert torch.allclose(product, identity.expand_as(product), rtol=0, atol=1e-13)


def test_edges_go_to_themselves() -> None:
    nodes = Grid.box((9, 9), lower=(-1.0, 0.0), upper=(2.0, 0.5), location="node")
    points = drawn(nodes).chart(mesh_of(nodes)).points
    for i in range(2):
        ends = points[:, i].movedim(i + 1, 0)[[0, -1]]
        wanted = torch.tensor([nodes.axes[i].lower, nodes.axes[i].upper]).double().reshape(2, 1, 1)
        assert torch.allclose(ends, wanted.expand_as(ends), rtol=0, atol=1e-14)


def test_maps_of_a_torus_are_periodic_with_their_derivatives() -> None:
    made, (x, y) = drawn(TORUS), mesh_of(TORUS)
    here, there = made.chart([x, y]), made.chart([x + 3.0, y - 0.5])
    shift = torch.tensor([3.0, -0.5]).double().reshape(1, 2, 1, 1)
    assert torch.allclose(there.points - shift, here.points, rtol=0, atol=1e-13)
    assert torch.allclose(there.jacobian, here.jacobian, rtol=0, atol=1e-12)
    assert torch.allclose(there.hessian, here.hessian, rtol=0, atol=1e-10)


def edges(seed: int, beta: float, count: int = 40) -> tuple[Lines, ...]:
    """The maps of the edges that a generator draws first, one wave each."""
    drawn = torch.randn(count, 4, 2, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return tuple(Lines(edge[:, 0], edge[:, 1], beta, 2.0) for edge in drawn.unbind(1))


def test_folds_are_seen_between_the_points_of_a_grid() -> None:
    """A negative beta, which `random_map` refuses, lets X' reach below zero."""
    made = BoxMap(Grid.box((2, 2)), edges(0, -0.01))
    dense = Grid.box((100, 100), location="node")
    least = made.chart(mesh_of(dense)).determinant.flatten(1).amin(1)
    seen = maps._unfolded(made, modes=1)
    assert 5 < (least > 0).sum() < 35
    assert torch.equal(seen, least > 0)


def test_folded_maps_are_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real folds are rare, one in thousands: here a determinant below 0.03 counts as one."""
    grid = Grid.box((17, 17), location="node")

    def least(made: BoxMap) -> Tensor:
        return made.chart(mesh_of(grid)).determinant.flatten(1).amin(1)

    monkeypatch.setattr(maps, "_unfolded", lambda made, modes: least(made) > 0.03)
    first = BoxMap(grid, edges(3, 1e-5))
    good = least(first) > 0.03
    made = drawn(grid, count=40, seed=3, modes=1, beta=1e-5)
    assert 5 < good.sum() < 35
    assert (least(made) > 0.03).all()
    for line, before in zip(made.lines, first.lines, strict=True):
        assert torch.equal(line.sines[good], before.sines[good])
        assert (line.sines[~good] != before.sines[~good]).all()


def test_giving_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "_unfolded", lambda made, modes: torch.zeros(len(made.lines[0].sines)).bool())
    with pytest.raises(ConfigError, match="2 of 2 maps folded in each of 100 draws with modes=2"):
        drawn(SQUARE, count=2)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="beta > 0, got modes=1, beta=0"):
        drawn(LINE, modes=1, beta=0.0)
    with pytest.raises(ShapeError, match="one or two axes, got 3"):
        drawn(Grid.box((4, 4, 4)))
    with pytest.raises(ShapeError, match="four on two axes; got 1 maps and 2 axes"):
        BoxMap(SQUARE, drawn(LINE).lines)
    with pytest.raises(ConfigError, match="linear.*got 'cubic spline'"):
        interpolate(torch.zeros(1, 1, 9), LINE, torch.zeros(1, 1, 9), "cubic spline")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="quintic needs 6 points on every axis"):
        interpolate(torch.zeros(1, 1, 5), LINE.with_shape([5]), torch.zeros(1, 1, 9), "quintic")


AXES = {
    "nodes": Axis("x", -1.0, 2.0, 9, "node"),
    "cells": Axis("x", -1.0, 2.0, 9),
    "left ends": Axis("x", -1.0, 2.0, 9, "left"),
    "periodic nodes": Axis("x", -1.0, 2.0, 9, "node", True),
    "periodic cells": Axis("x", -1.0, 2.0, 9, "cell", True),
}


def smooth(x: Tensor) -> Tensor:
    """A function with the period 3 of the axes."""
    return torch.exp(torch.sin(2 * torch.pi * x / 3) / 2)


@pytest.mark.parametrize("kind", list(DEGREES))
@pytest.mark.parametrize("axis", AXES.values(), ids=list(AXES))
def test_interpolation_has_its_order(kind: Interpolation, axis: Axis) -> None:
    """Over four refinements, in the maximum norm, up to both ends: four places in each spacing."""
    errors = []
    sizes = (64, 128, 256, 512, 1024) if kind == "cubic" else (32, 64, 128, 256, 512)
    for n in sizes:
        grid = Grid((axis.with_size(n + (axis.location == "node" and not axis.periodic)),))
        places = torch.linspace(-1, 2, 4 * n + 1, dtype=torch.float64).reshape(1, 1, -1)
        values = smooth(torch.from_numpy(grid.axes[0].coordinates)).reshape(1, 1, -1)
        errors.append(float((interpolate(values, grid, places, kind) - smooth(places)).abs().max()))
    orders = torch.tensor(errors).log2().diff().neg()[1:]
    # Errors down to 1e-13 carry 2e-16 of rounding; where the maximum lies moves by a fraction of a spacing.
    assert torch.allclose(orders, torch.full_like(orders, DEGREES[kind] + 1), rtol=0, atol=0.1), errors


@pytest.mark.parametrize("kind", list(DEGREES))
def test_interpolation_is_exact_for_polynomials_on_every_axis(kind: Interpolation) -> None:
    """Products of powers up to the degree, each axis with its own, in three dimensions."""
    grid = Grid.box((6, 7, 8), lower=-1.0)
    places = torch.rand(2, 3, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1

    def polynomial(x: Tensor) -> Tensor:
        return (x[:, 0] ** DEGREES[kind] + 2 * x[:, 1] * x[:, 2] ** DEGREES[kind] - x[:, 1])[:, None]

    points = torch.stack([c.expand(2, *grid.shape) for c in mesh_of(grid)], 1)
    found = interpolate(polynomial(points), grid, places, kind)
    assert torch.allclose(found, polynomial(places), rtol=0, atol=1e-12)


def test_interpolation_keeps_the_points_and_the_range() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, *SQUARE.shape, generator=generator)
    points = torch.stack([c.expand(2, *SQUARE.shape) for c in mesh_of(SQUARE)], 1)
    for kind in DEGREES:
        assert torch.equal(interpolate(values, SQUARE, points, kind), values)  # type: ignore[arg-type]
    jump = (torch.arange(9) > 4).double().reshape(1, 1, 9)
    places = torch.linspace(-1, 2, 301, dtype=torch.float64).reshape(1, 1, -1)
    inside = interpolate(jump, LINE, places, "linear")
    assert inside.min() == 0 and inside.max() == 1
    assert interpolate(jump, LINE, places, "cubic").max() > 1.05
