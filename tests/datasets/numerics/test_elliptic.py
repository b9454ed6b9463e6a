"""Finite volumes for -div(a grad u) = f: order, exactness, conservation, positivity, symmetry."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sciml.datasets.numerics import linear_systems
from sciml.datasets.numerics.elliptic import EllipticSolver
from sciml.errors import DataError, ShapeError
from sciml.grid import Grid


def manufactured(grid):
    """u = prod sin(pi x_i), a = 1 + prod sin(2 pi x_i + 1)/2, and f = -grad a . grad u + a rank pi^2 u."""
    x = grid.coordinates()
    sines, cosines = np.sin(math.pi * x), math.pi * np.cos(math.pi * x)
    waves, slopes = np.sin(2 * math.pi * x + 1), 2 * math.pi * np.cos(2 * math.pi * x + 1)
    u, a = sines.prod(axis=0), 1 + 0.5 * waves.prod(axis=0)
    f = grid.rank * math.pi**2 * a * u
    for i in range(grid.rank):
        others = [j for j in range(grid.rank) if j != i]
        f -= 0.5 * slopes[i] * waves[others].prod(axis=0) * cosines[i] * sines[others].prod(axis=0)
    return a, f, u


@pytest.mark.parametrize(
    ("rank", "sizes"), [(1, (32, 64, 128, 256, 512)), (2, (32, 48, 64, 96, 128)), (3, (8, 12, 16, 20, 24))]
)
def test_order_two_for_smooth_coefficients(rank, sizes):
    """Slopes of successive refinements within 0.1 of 2 in L2 and maximum norm, on a unit box."""
    errors = []
    for n in sizes:
        grid = Grid.box((n,) * rank)
        a, f, u = manufactured(grid)
        difference = EllipticSolver(grid).solve(a[None], f[None])[0] - u
        errors.append((math.sqrt((difference**2).mean()), np.abs(difference).max()))
    slopes = np.diff(np.log(errors), axis=0) / -np.diff(np.log(sizes))[:, None]
    assert np.abs(slopes - 2).max() < 0.1, slopes


def test_unequal_sides_and_sizes():
    """The longest axis goes outermost inside; the answer must not depend on the order of the axes."""
    grid = Grid.box((9, 14, 5), lower=(0.0, 1.0, -1.0), upper=(1.0, 3.0, 0.5))
    turned = Grid.box((5, 9, 14), lower=(-1.0, 0.0, 1.0), upper=(0.5, 1.0, 3.0))
    a = np.exp(np.random.default_rng(0).standard_normal((2, *grid.shape)))
    u = EllipticSolver(grid).solve(a)
    v = EllipticSolver(turned).solve(a.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(v.transpose(0, 2, 3, 1), u, rtol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_one_long_axis_reduces_to_one_dimension(rank):
    """An axis of one cell whose walls have the value of the cell changes nothing."""
    line = EllipticSolver(Grid.box((8,)))
    a = np.linspace(1, 3, 8)[None]
    u = line.solve(a, 0.0, [(2.0, 5.0)])
    shape = (8, *[1] * (rank - 1))
    same = [(u.reshape(1, 8, *[1] * (rank - 2)),) * 2 for _ in range(rank - 1)]
    wide = EllipticSolver(Grid.box(shape)).solve(a.reshape(1, *shape), 0.0, [(2.0, 5.0), *same])
    np.testing.assert_allclose(wide.reshape(1, 8), u, rtol=1e-13)


def test_layers_are_exact_without_source():
    """Constant flux through layers that end on faces: harmonic means reproduce the piecewise linear u."""
    n, left, right = 12, 0.3, 2.0
    a = np.repeat([1.0, 100.0, 0.01], 4)
    grid = Grid.box((n,))
    resistance = np.cumsum(1 / a) - 0.5 / a  # from the left wall to each center, in units of h
    exact = left + (right - left) * resistance / (1 / a).sum()
    u = EllipticSolver(grid).solve(a[None], 0.0, [(left, right)])
    # conditioning: contrast 1e4 times n^2 times the unit roundoff, 2e-10 at worst; 1e-12 is what it reaches
    np.testing.assert_allclose(u[0], exact, rtol=1e-12)


def test_layers_have_order_two_with_source():
    """-(a u')' = 1, a = 1 left and 4 right of 1/2: on each side u = (c x - x^2/2)/a + constant."""
    low, high = 1.0, 4.0
    # continuity at 1/2 and u = 0 at both ends: c (1/low + 1/high)/2 = 1/8/low + 3/8/high
    c = (1 / 8 / low + 3 / 8 / high) * 2 / (1 / low + 1 / high)
    errors, sizes = [], (16, 32, 64, 128)
    for n in sizes:
        x = Grid.box((n,)).axes[0].coordinates
        exact = np.where(x < 0.5, (c * x - x**2 / 2) / low, (c * (x - 1) - (x**2 - 1) / 2) / high)
        u = EllipticSolver(Grid.box((n,))).solve(np.where(x < 0.5, low, high)[None])[0]
        errors.append(np.abs(u - exact).max())
    slopes = -np.diff(np.log(errors)) / np.diff(np.log(sizes))
    assert np.abs(slopes - 2).max() < 0.1


def test_order_between_one_and_two_for_jumps():
    """Two materials with interfaces on faces, an L-shaped inclusion: its corners are singular."""
    finest = 192
    errors, sizes = [], (12, 24, 48, 96)

    def solution(n):
        a = np.full((12, 12), 3.0)
        a[3:9, 3:6] = a[3:6, 3:9] = 12.0
        return EllipticSolver(Grid.box((n, n))).solve(a.repeat(n // 12, 0).repeat(n // 12, 1)[None])[0]

    reference = solution(finest)
    for n in sizes:
        averages = reference.reshape(n, finest // n, n, finest // n).mean(axis=(1, 3))
        errors.append(math.sqrt(((solution(n) - averages) ** 2).mean()))
    slopes = -np.diff(np.log2(errors[:3]))  # the last one is too near to the reference
    assert (slopes > 1).all() and (slopes < 2).all(), slopes


@pytest.fixture(scope="module", params=[(20,), (10, 12), (5, 6, 7)])
def case(request):
    grid = Grid.box(request.param, upper=[1.0, 1.5, 0.5][: len(request.param)])
    rng = np.random.default_rng(3)
    a = np.where(rng.standard_normal((3, *grid.shape)) > 0, 12.0, 3.0)
    return EllipticSolver(grid), a, rng.random((3, *grid.shape))


def test_positive_for_a_positive_source(case):
    solver, a, f = case
    assert (solver.solve(a, f) > 0).all()


def test_what_flows_in_flows_out(case):
    """Integral of f = outflow through the walls, with and without wall values."""
    solver, a, f = case
    total = (f * solver.grid.weights()).reshape(3, -1).sum(axis=1)
    walls = [(0.3, -1.0)] * solver.grid.rank
    for given in (None, walls):
        u = solver.solve(a, f, given)
        np.testing.assert_allclose(solver.boundary_flux(a, u, given), total, rtol=1e-10)


def test_symmetric_coefficient_symmetric_solution(case):
    solver, a, _ = case
    axis = 1
    even = a + np.flip(a, axis)
    u = solver.solve(even)
    np.testing.assert_allclose(np.flip(u, axis), u, rtol=1e-12)


def test_linear_in_the_source_and_the_walls(case):
    solver, a, f = case
    walls = [(0.3, -1.0)] * solver.grid.rank
    doubled = [(0.6, -2.0)] * solver.grid.rank
    whole = solver.solve(a, 3 * f + 1, doubled)
    parts = 3 * solver.solve(a, f) + solver.solve(a) + 2 * solver.solve(a, 0.0, walls)
    np.testing.assert_allclose(whole, parts, atol=1e-12)


def test_constant_walls_without_source_give_a_constant(case):
    solver, a, _ = case
    np.testing.assert_allclose(solver.solve(a, 0.0, [(2.5, 2.5)] * solver.grid.rank), 2.5, rtol=1e-12)


ROUTES = {
    "_solve_fast_poisson": {},
    "_solve_band": {"_SPREAD": 0.0},
    "_solve_sparse": {"_SPREAD": 0.0, "_BAND_WORK": 0},
    "_solve_multigrid": {"_SPREAD": 0.0, "_BAND_WORK": 0, "_SPARSE_CELLS": {1: 0, 2: 0, 3: 0}},
}


@pytest.mark.parametrize("name", ROUTES)
def test_all_solvers_of_linear_systems_agree(case, name, monkeypatch):
    solver, a, f = case
    walls = [(0.3, -1.0)] * solver.grid.rank
    u = solver.solve(a, f, walls)
    called = []
    route = getattr(linear_systems, name)
    monkeypatch.setattr(linear_systems, name, lambda *given: called.append(name) or route(*given))
    for limit, value in {"_SMALL_BAND": 0, **ROUTES[name]}.items():
        monkeypatch.setattr(linear_systems, limit, value)
    # residuals of 1e-11 times the condition of these small systems, about 100
    np.testing.assert_allclose(solver.solve(a, f, walls), u, atol=1e-9 * np.abs(u).max())
    assert called == [name] * 3


@pytest.mark.parametrize("n", [48, 63, 64])
@pytest.mark.parametrize("iterate", [False, True])
def test_same_bits_alone_and_among_others(n, iterate, monkeypatch):
    if iterate:
        monkeypatch.setattr(linear_systems, "_SMALL_BAND", 0)
    solver = EllipticSolver(Grid.box((n, n)))
    a = np.where(np.random.default_rng(n).random((3, n, n)) > 0.5, 12.0, 3.0)
    assert (solver.solve(a)[1:2] == solver.solve(a[1:2])).all()


@pytest.mark.parametrize(
    ("shape", "contrast", "lost"),
    [
        ((128, 128), 4.0, 1e-10),
        ((24, 32, 20), 4.0, 1e-10),
        ((24, 24, 24), 1e3, 1e-10),
        # the unit roundoff of the terms of A u is 7e-10 of their sum b
        pytest.param((384, 384), 1e3, 1e-9, marks=pytest.mark.slow),
    ],
)
def test_iterations_end_with_a_small_residual(shape, contrast, lost):
    solver = EllipticSolver(Grid.box(shape, upper=[1.0, 2.0, 0.5][: len(shape)]))
    a = np.where(np.random.default_rng(5).random((1, *shape)) > 0.5, contrast, 1.0)
    u = solver.solve(a)
    assert (u > 0).all()
    np.testing.assert_allclose(solver.boundary_flux(a, u), solver.grid.weights().sum(), rtol=lost)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_units_do_not_matter_in_single_precision(unit):
    """The preconditioner sees a right-hand side of norm 1, and no coefficient."""
    solver = EllipticSolver(Grid.box((72, 72)))
    a = np.where(np.random.default_rng(6).random((1, 72, 72)) > 0.5, 12.0, 3.0)
    np.testing.assert_allclose(solver.solve(unit * a, unit**2) / unit, solver.solve(a), rtol=1e-9)


def test_refusals(case):
    solver, a, _ = case
    with pytest.raises(DataError, match="positive and finite"):
        solver.solve(-a)
    with pytest.raises(ShapeError, match="must have shape"):
        solver.solve(a[0])
    with pytest.raises(ShapeError, match="bounded cells"):
        EllipticSolver(Grid.box((4,), location="node"))
    with pytest.raises(DataError, match="residual"):
        solver.solve(a, np.nan)
