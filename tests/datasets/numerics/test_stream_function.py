"""Steady flow by splines: Kovasznay's exact solution, orders, spectral convergence, Newton's method."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.datasets.numerics.stream_function import Line, StreamFunctionSolver
from sciml.errors import ConfigError, DivergedError

REYNOLDS = 40.0
DECAY = REYNOLDS / 2 - np.sqrt(REYNOLDS**2 / 4 + 4 * np.pi**2)


def psi(x, y, i=0, j=0):
    """Derivatives of y - exp(c x) sin(2 pi y) / (2 pi), the wake of a grid (Kovasznay 1948)."""
    waves = (2 * np.pi) ** (j - 1) * np.sin(2 * np.pi * y + j * np.pi / 2)
    plain = {(0, 0): y, (0, 1): 1.0}.get((i, j), 0.0)
    return plain - DECAY**i * np.exp(DECAY * x) * waves


def pressure(x):
    """Zero at x = 1/4, the middle."""
    return (np.exp(2 * DECAY * 0.25) - np.exp(2 * DECAY * x)) / 2


def wall_data(x, y, function):
    """What `StreamFunctionSolver.solve` is to know: values and slopes at the ends of both lines."""

    def conditions(line):
        first, last = line.breaks[0], line.breaks[-1]
        points = [first, first, *line.points, last, last]
        return np.array(points), np.array([0, 1, *[0] * line.points.size, 1, 0])

    (xs, i), (ys, j) = conditions(x), conditions(y)
    return np.array(
        [[function(a, b, k, m) for b, m in zip(ys, j, strict=True)] for a, k in zip(xs, i, strict=True)]
    )


def kovasznay(elements, degree):
    x = Line(tuple(np.linspace(-0.5, 1.0, elements + 1)), degree)
    y = Line(tuple(np.linspace(-0.5, 0.5, elements + 1)), degree)
    return StreamFunctionSolver(x, y).solve(wall_data(x, y, psi), reynolds=REYNOLDS)


def errors(flow):
    """Root mean squares of velocity, stream function and pressure, at five places of every element."""
    places = [
        (np.array(line.breaks)[:-1, None] + np.diff(line.breaks)[:, None] * np.linspace(0.1, 0.9, 5)).ravel()
        for line in (flow.x, flow.y)
    ]
    x, y = np.meshgrid(*places, indexing="ij")
    off = (
        flow.velocity(*places) - [psi(x, y, 0, 1), -psi(x, y, 1, 0)],
        flow.stream(*places) - psi(x, y),
        flow.pressure(*places) - pressure(x),
    )
    return np.array([np.sqrt((part**2).mean()) for part in off])


def test_order_in_space():
    """Degree 7: 7 for the velocity, at which the theorem aims, and 8 for the stream function.

    The order of the pressure, 6, is observed where the middle of the domain, from which it is integrated,
    lies in the middle of an element.
    """
    elements = np.array([7, 9, 11, 13, 17])
    found = np.array([errors(kovasznay(n, 7)) for n in elements])
    orders = np.log(found[:-1] / found[1:]) / np.log(elements[1:] / elements[:-1])[:, None]
    np.testing.assert_allclose(orders[:, 0], 7.0, atol=0.1)
    np.testing.assert_allclose(orders[:, 1], 8.0, atol=0.1)
    np.testing.assert_allclose(orders[:, 2], 6.0, atol=0.1)


def test_spectral_convergence_in_the_degree():
    found = np.array([errors(kovasznay(2, degree))[0] for degree in (6, 8, 10, 12, 14, 16, 18)])
    assert found[0] > 1e-4 and (found[1:4] < 0.03 * found[:3]).all()
    assert (found[-3:] < 1e-12).all()


def test_newton_converges_quadratically_and_says_so():
    flow = kovasznay(6, 7)
    assert flow.reynolds_path == (0.0, REYNOLDS) and flow.iterations <= 5
    again = StreamFunctionSolver(flow.x, flow.y).solve(
        wall_data(flow.x, flow.y, psi), reynolds=REYNOLDS, start=flow
    )
    assert again.iterations == 1
    np.testing.assert_allclose(again.coefficients, flow.coefficients, atol=1e-12)


def test_velocity_has_no_divergence():
    flow = kovasznay(3, 7)
    x, y = np.linspace(-0.5, 1.0, 7), np.linspace(-0.5, 0.5, 9)
    h = 1e-4
    by_x = (flow.velocity(x[1:-1] + h, y) - flow.velocity(x[1:-1] - h, y))[0] / (2 * h)
    by_y = (flow.velocity(x, y[1:-1] + h) - flow.velocity(x, y[1:-1] - h))[1] / (2 * h)
    # Central differences: h^2 / 6 times third derivatives below 300.
    np.testing.assert_allclose(by_x[:, 1:-1] + by_y[1:-1], 0.0, atol=1e-6)


def test_too_few_elements_are_an_error():
    """A lid that jumps, at a Reynolds number far beyond what 3 x 3 elements can hold."""
    line = Line((0.0, 0.3, 0.7, 1.0), 5)
    walls = np.zeros((line.size, line.size))
    walls[2:-2, -2] = 1.0
    with pytest.raises(DivergedError, match=r"beyond Reynolds number .* on 3 x 3 elements, asked for 1e\+06"):
        StreamFunctionSolver(line, line).solve(walls, reynolds=1e6)


def test_bad_requests():
    line = Line((0.0, 1.0), 7)
    solver = StreamFunctionSolver(line, line)
    with pytest.raises(ConfigError, match=r"walls must be finite, of shape \(8, 8\), got shape \(7, 8\)"):
        solver.solve(np.zeros((7, 8)), reynolds=1.0)
    with pytest.raises(ConfigError, match="finite reynolds >= 0, got -1"):
        solver.solve(np.zeros((8, 8)), reynolds=-1.0)
    for breaks, degree in (((0.0,), 7), ((0.0, 0.0), 7), ((0.0, 1.0), 3), ((0.0, 1.0), 21)):
        with pytest.raises(ConfigError, match="increasing breaks and degree from 4 to 20"):
            Line(breaks, degree)
