"""Korteweg and de Vries: solitons by formula and by solver, invariants, the benchmark's start."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sciml.datasets.korteweg_de_vries import KortewegDeVries, solitons, solve
from sciml.errors import ConfigError
from sciml.grid import Grid


def interval(n, lower, upper):
    return Grid.box((n,), lower=lower, upper=upper, location="node", periodic=True)


def derivative(values, length, order=1):
    waves = np.fft.rfft(values)
    k = 2j * np.pi / length * np.arange(waves.shape[-1])
    return np.fft.irfft(k**order * waves, n=values.shape[-1])


@pytest.mark.parametrize("speeds", [(1.0,), (2.0, 0.7), (0.4, 2.0, 1.1)])
@pytest.mark.parametrize(("c", "d"), [(6.0, 1.0), (-1.5, 2.0), (1.0, -0.5)])
def test_solitons_solve_the_equation(speeds, c, d):
    """The residual with spectral derivatives and u_t by central differences of order 8."""
    signed = [np.sign(d) * v * abs(d) for v in speeds]
    grid = interval(512, -50.0, 50.0)
    x, h = grid.axes[0].coordinates, 0.02
    u = solitons(
        x, 0.3 + h * np.arange(-4, 5), speeds=signed, centers=range(len(speeds)), convection=c, dispersion=d
    )
    by_time = np.array([3, -32, 168, -672, 0, 672, -168, 32, -3]) / (840 * h) @ u
    middle = u[4]
    residual = by_time + c * middle * derivative(middle, 100.0) + d * derivative(middle, 100.0, 3)
    assert np.abs(residual).max() < 1e-6 * np.abs(by_time).max()
    height = 3 * max(speeds) * abs(d) / abs(c)
    assert np.abs(u).max() <= height * 1.001


def test_solitons_pass_through_each_other():
    """Speeds 4 and 1, k = 2 and 1: the fast one jumps ahead by log(9) / 2, the slow one back by log(9)."""
    x = np.linspace(-200, 200, 40001)
    before, after = solitons(x, [-40.0, 40.0], speeds=[4.0, 1.0])
    assert before.max() == pytest.approx(2.0, abs=1e-4) and after.max() == pytest.approx(2.0, abs=1e-4)
    fast = x[np.argmax(after)] - x[np.argmax(before)]
    slow = x[np.argmax(after * (x < 80))] - x[np.argmax(before * (x > -80))]
    assert fast - 4 * 80 == pytest.approx(np.log(9) / 2, abs=0.011)
    assert slow - 1 * 80 == pytest.approx(-np.log(9), abs=0.011)  # the points are 0.01 apart


def test_two_solitons_by_the_solver():
    """Speeds 2 and 0.7 through a collision, six units of time, against Hirota's formula."""
    grid = interval(320, -35.0, 45.0)
    times = np.linspace(0.0, 6.0, 4)
    exact = solitons(grid.axes[0].coordinates, times, speeds=[2.0, 0.7], centers=[-4.0, 1.0])
    found = solve(exact[0], grid, times=times, step=1 / 128, refinement=1)
    assert found["u"].dims == ("time", "x") and found["u"].attrs["units"] == "1"
    assert np.abs(found["u"].values - exact).max() < 1e-6


def test_invariants():
    """Mass to rounding; momentum and energy to 1e-10 per unit time, by steps short enough."""
    grid = interval(48, 0.0, 20.0)
    found = solve(
        lambda x: 0.5 * np.cos(np.pi * x / 10) + 0.2 * np.sin(np.pi * x / 5),
        grid,
        times=[0, 1, 2],
        step=1 / 1024,
        refinement=1,
    )
    u = found["u"].values
    momentum, energy = (u**2).mean(axis=1), (derivative(u, 20.0) ** 2 / 2 - u**3).mean(axis=1)
    np.testing.assert_allclose(u.mean(axis=1), u[0].mean(), atol=1e-15)
    np.testing.assert_allclose(momentum, momentum[0], rtol=1e-10)
    np.testing.assert_allclose(energy, energy[0], atol=1e-10)


def test_start_of_the_benchmark():
    """u_t + u u_x + 0.0025 u_xxx = 0, cos(pi x) on [-1, 1).

    Two runs that share neither grid nor tolerance agree to what they promise; the momentum stays.
    """
    times = np.linspace(0.0, 0.5, 3)
    settings = {"convection": 1.0, "dispersion": 0.0025, "times": times}
    one = solve(lambda x: np.cos(np.pi * x), interval(192, -1.0, 1.0), tolerance=1e-8, **settings)
    other = solve(lambda x: np.cos(np.pi * x), interval(96, -1.0, 1.0), tolerance=1e-7, **settings)
    np.testing.assert_allclose(one["u"].values[:, ::2], other["u"].values, atol=1e-6)
    np.testing.assert_allclose((one["u"].values ** 2).mean(axis=1), 0.5, rtol=1e-8)


@pytest.mark.parametrize("start", ["field", "solitons"])
def test_generator(start):
    problem = KortewegDeVries(resolution=48, start=start, frames=3, final_time=1.0)
    (u,) = problem.sample(range(4))
    assert u.shape == (4, 3, 48)
    np.testing.assert_allclose(u.mean(axis=2), np.broadcast_to(u[:, :1].mean(axis=2), (4, 3)), atol=1e-14)
    np.testing.assert_allclose((u**2).mean(axis=2)[:, -1], (u**2).mean(axis=2)[:, 0], rtol=1e-6)
    (fine,) = replace(problem, resolution=144).sample(range(4))
    error = np.linalg.norm(fine[:, :, ::3] - u, axis=(1, 2)) / np.linalg.norm(u, axis=(1, 2))
    estimate = problem.estimate_error(range(4), [u])
    assert (error < 2 * estimate).all() and (estimate < 0.02).all()


def test_what_is_refused():
    for bad in ({"start": "x"}, {"resolution": 4}, {"length": 0.0}, {"dispersion": 0.0}):
        with pytest.raises(ConfigError, match="KortewegDeVries: "):
            KortewegDeVries(**bad)
    with pytest.raises(ConfigError, match="convection and dispersion must be finite and not 0"):
        solve(0.0, interval(16, 0, 1), convection=0.0)
    with pytest.raises(ConfigError, match="one axis"):
        solve(0.0, Grid.box((16, 16), location="node", periodic=True))
    for speeds in ([1.0, 1.0], [-1.0]):
        with pytest.raises(ConfigError, match="solitons: speeds must be distinct"):
            solitons([0.0], [0.0], speeds=speeds)
