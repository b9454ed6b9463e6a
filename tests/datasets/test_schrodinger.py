"""Nonlinear Schroedinger equation: free waves, solitons and breathers by formula, invariants, a table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.io

from sciml.datasets.schrodinger import Schrodinger, solve
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid


def box(n, half, rank=1):
    return Grid.box((n,) * rank, lower=-half, upper=half, location="node", periodic=True)


@pytest.mark.parametrize("rank", [1, 2])
def test_linear_part_is_exact(rank):
    """Without focusing a wave turns with a |k|^2 in one step, both of k and -k."""
    grid = box(24, np.pi, rank)
    x = grid.coordinates()
    phase = 3 * x[0] - (2 * x[1] if rank == 2 else 0)
    start = np.exp(1j * phase) + 0.3j * np.exp(-1j * phase)
    found = solve(start, grid, dispersion=0.7, focusing=0.0, times=[0.0, 2.0], step=2.0, refinement=1)
    turned = np.exp(-2j * 0.7 * (9 + 4 * (rank - 1))) * start
    np.testing.assert_allclose(found["h"].values[1], turned, atol=1e-13)


def test_moving_soliton():
    """h = A sech(A (x - v t)) exp(i (v x - (v^2 - A^2) t / 2)), with periodic v."""
    grid = box(256, 16.0)
    amplitude, v = 1.5, 4 * 2 * np.pi / 32

    def exact(x, t):
        return (
            amplitude
            / np.cosh(amplitude * (x - v * t))
            * np.exp(1j * (v * x - (v**2 - amplitude**2) * t / 2))
        )

    times = [0.0, 0.5, 2.0]
    found = solve(lambda x: exact(x, 0.0), grid, times=times)["h"].values
    np.testing.assert_allclose(found, [exact(grid.axes[0].coordinates, t) for t in times], atol=1e-7)


def test_modulational_instability():
    """1 + eps cos kx for a = 1/2, b = 1: the wave grows with k sqrt(1 - k^2 / 4) (Benjamin and Feir)."""
    k = 1.0
    rate = k * np.sqrt(1 - k**2 / 4)
    grid = box(32, np.pi)
    found = solve(lambda x: 1 + 1e-8 * np.cos(k * x), grid, times=[0.0, 6.0, 8.0], step=1 / 64, refinement=1)
    waves = np.abs(
        np.fft.fft(found["h"].values * np.exp(-1j * np.array([[0.0], [6.0], [8.0]])), axis=1)[:, 1]
    )
    assert np.log(waves[2] / waves[1]) / 2 == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("focusing", [1.0, -1.0])
def test_invariants(focusing):
    """Mass and energy to 1e-10 per unit time."""
    grid = box(64, 5.0)
    found = solve(
        lambda x: (1 + 0.4 * np.cos(np.pi * x / 5)) * np.exp(0.5j * np.sin(np.pi * x / 5)),
        grid,
        focusing=focusing,
        times=[0, 1],
        step=1 / 512,
        refinement=1,
    )
    h = found["h"].values
    slope = np.fft.ifft(1j * np.pi / 5 * np.fft.fftfreq(64, 1 / 64) * np.fft.fft(h, axis=1), axis=1)
    mass, energy = (
        (np.abs(h) ** 2).mean(axis=1),
        (np.abs(slope) ** 2 / 2 - focusing * np.abs(h) ** 4 / 2).mean(axis=1),
    )
    np.testing.assert_allclose(mass, mass[0], rtol=1e-10)
    np.testing.assert_allclose(energy, energy[0], atol=1e-10)


def test_table_of_the_benchmark(test_data):
    """`NLS.mat`: 2 sech x on [-5, 5), periodic, 256 points, t up to pi/2; max|h| is 4 at pi/4.

    The periodic start has a kink at the end, which no dispersion smooths: the waves of the table fall only
    like k^-2.  From its first frame we differ by 1e-5 at most, 5e-6 in L2, growing with time: its aliasing,
    since on twice and four times the points we agree with ourselves to 2e-6.
    """
    table = scipy.io.loadmat(test_data / "raissi_pinns" / "NLS.mat")
    h, times = table["uu"].T, table["tt"].ravel()
    settings = {"times": times[:101:25], "step": float(times[1] / 8)}
    found, finer = (solve(h[0], box(256, 5.0), refinement=r, **settings)["h"].values for r in (2, 4))
    assert np.abs(found - h[:101:25]).max() < 2e-5
    assert np.linalg.norm(found - h[:101:25]) < 7e-6 * np.linalg.norm(h[:101:25])
    assert np.abs(found - finer).max() < 3e-6


def test_generator():
    problem = Schrodinger(resolution=64, frames=5)
    (h,) = problem.sample(range(4))
    assert h.shape == (4, 5, 2, 64)
    mass = (h**2).sum(axis=2).mean(axis=2)
    np.testing.assert_allclose(mass, np.broadcast_to(mass[:, :1], mass.shape), rtol=1e-6)
    (fine,) = replace(problem, resolution=192, courant=0.1).sample(range(4))
    error = np.linalg.norm((fine[..., ::3] - h).reshape(4, -1), axis=1) / np.linalg.norm(
        h.reshape(4, -1), axis=1
    )
    estimate = problem.estimate_error(range(4), [h])
    assert (error < 2 * estimate).all()
    flat = Schrodinger(resolution=16, rank=2, frames=2, final_time=0.2)
    assert flat.sample([0])[0].shape == (1, 2, 2, 16, 16)


def test_what_is_refused():
    for bad in ({"resolution": 4}, {"rank": 3}, {"dispersion": 0.0}, {"amplitude": 0.0}):
        with pytest.raises(ConfigError, match="Schrodinger: "):
            Schrodinger(**bad)
    with pytest.raises(ShapeError, match="schrodinger.solve: initial must have shape"):
        solve(np.zeros(8, dtype=complex), box(16, 1.0))
    constant = solve(2j, box(16, 1.0), times=[0.0, 0.1])["h"].values
    np.testing.assert_allclose(constant[1], 2j * np.exp(0.4j), atol=1e-9)
