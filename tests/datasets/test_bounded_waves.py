"""The pulse between walls: both conditions, energy, two independent solutions, the generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sciml.datasets.bounded_reaction import Diffusion, Wall
from sciml.datasets.bounded_waves import BoundedWave, WallSolver, reflected, solve
from sciml.datasets.numerics.chebyshev import Chebyshev
from sciml.errors import ConfigError, ShapeError

LINE = Chebyshev(161, -8.0, 8.0)  # resolves a pulse of width 1 to rounding
KINDS = [(a, b) for a in ("dirichlet", "neumann") for b in ("dirichlet", "neumann")]
TIMES = np.linspace(0.0, 100.0, 41)


def frames(left, right, times=TIMES, center=1.3, **more):
    return reflected(LINE.points, times, center, left=left, right=right, speed=2.0, **more)


@pytest.mark.parametrize(("left", "right"), KINDS)
def test_both_walls_hold_at_all_times(left, right):
    u, _ = frames(left, right)
    slope = u @ LINE.derivative().T
    for kind, end in ((left, 0), (right, -1)):
        wall = u[:, end] if kind == "dirichlet" else slope[:, end]
        # Images cancel to rounding; the slope at an end carries n^2 times the rounding of values.
        np.testing.assert_allclose(wall, 0.0, atol=1e-13 if kind == "dirichlet" else 1e-9)


@pytest.mark.parametrize(("left", "right"), KINDS)
def test_energy_is_conserved(left, right):
    """Of v^2 + c^2 u_x^2 to 1e-10 per unit of time, over 100; Clenshaw-Curtis quadrature is exact here."""
    u, v = frames(left, right)
    energy = (v**2 + 4.0 * (u @ LINE.derivative().T) ** 2) @ LINE.weights / 2
    # Half of it is int 4 u_x^2 / 2 = 2 sqrt(pi / 2) of the Gaussian.
    np.testing.assert_allclose(energy[0], 4 * np.sqrt(np.pi / 2), rtol=1e-12)
    np.testing.assert_allclose(energy, energy[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize(("left", "right"), KINDS)
def test_equals_the_eigenfunctions_of_chebyshev_collocation(left, right):
    """u(t) = cos(t A) u(0) + sin(t A) / A v(0) with A^2 = -c^2 d^2/dx^2: nothing in common with images."""
    operator = Diffusion(LINE, 4.0, Wall(left), Wall(right))
    omega = np.sqrt(np.maximum(-operator.eigenvalues, 0.0))
    times = np.array([0.0, 3.0, 50.0])
    u, v = frames(left, right, times)
    a, b = operator.to_modes(u[0, 1:-1]), operator.to_modes(v[0, 1:-1])
    for t, exact in zip(times, u, strict=True):
        sinc = np.where(omega > 1e-3, np.sin(omega * t) / np.maximum(omega, 1e-3), t)
        found = operator.to_values(np.cos(omega * t) * a + sinc * b)
        # Errors of eigenvalues, 1e-12 of the largest that matter, turn phases over 50 units of time.
        np.testing.assert_allclose(found, exact, atol=1e-8)


def test_starts_as_the_stated_pulse_and_returns():
    u, v = frames("dirichlet", "neumann", np.array([0.0, 16.0, 32.0]), center=-2.0)
    y = LINE.points + 2.0
    np.testing.assert_allclose(u[0], np.exp(-(y**2)), atol=1e-15)
    np.testing.assert_allclose(v[0], -4 * y * np.exp(-(y**2)), atol=1e-14)  # to the left: v = +c u_x
    np.testing.assert_allclose([u[1], v[1]], [-u[0], -v[0]], atol=1e-12)
    np.testing.assert_allclose([u[2], v[2]], [u[0], v[0]], atol=1e-12)


def test_time_runs_backward_too():
    """What the other direction shows at -t is what this one shows at t, with the opposite velocity."""
    ahead = frames("dirichlet", "neumann", np.array([7.3]))
    back = frames("dirichlet", "neumann", np.array([-7.3]), direction=1)
    np.testing.assert_allclose(back[0], ahead[0], atol=1e-14)
    np.testing.assert_allclose(back[1], -ahead[1], atol=1e-14)


def test_both_flags_of_mixed_walls_are_drawn():
    """The published generator draws the left one twice.  300 fair draws: 75 of each pair, sigma 7.5."""
    waves = BoundedWave(walls="mixed", frames=2, resolution=8)
    left, right, *_ = waves.sample(range(300))
    counts = [((left == a) & (right == b)).sum() for a in (0, 1) for b in (0, 1)]
    assert sum(counts) == 300 and min(counts) > 75 - 4 * 7.5
    centers = np.array([waves.draw(seed)[0] for seed in range(300)])
    assert np.abs(centers).max() <= 4 and abs(centers.mean()) < 4 * (8 / np.sqrt(12)) / np.sqrt(300)
    assert waves.baselines() == []


@pytest.mark.parametrize("walls", ["dirichlet", "neumann", "mixed"])
def test_generator_is_the_solver_at_any_resolution(walls):
    fine, coarse = (BoundedWave(resolution=n, walls=walls, frames=6) for n in (65, 33))
    seeds = [3, 4, 5]
    for many, few in zip(fine.sample(seeds), coarse.sample(seeds), strict=True):
        np.testing.assert_allclose(many[..., ::2] if many.ndim == 3 else many, few, atol=1e-13)
    error = fine.estimate_error(seeds, fine.sample(seeds))
    assert (error > 0).all() and (error < 1e-12).all()
    center, left, right = fine.draw(4)
    found = solve(center, left=left, right=right, times=fine.times, resolution=65)
    np.testing.assert_array_equal(found["u"], fine.sample([4])[-2][0])
    assert found["u"].attrs["units"] == "1" and found.attrs["boundary"] == f"{left} at -8, {right} at 8"


@pytest.mark.parametrize("size", [48, 63, 64])
def test_a_sample_alone_has_the_same_bits(size):
    waves = BoundedWave(resolution=size, walls="mixed", frames=20)
    for alone, many in zip(waves.sample([7]), waves.sample([5, 6, 7]), strict=True):
        np.testing.assert_array_equal(alone[0], many[2])


@pytest.mark.parametrize("walls", ["dirichlet", "neumann", "mixed"])
def test_coarser_solvers(walls):
    """Exact where the nodes resolve the pulse; at a spacing of 1/2 the lost waves are about exp(-pi^2)."""
    waves = BoundedWave(resolution=129, walls=walls, frames=11)
    *kinds, u, v = waves.sample(range(6))
    known = dict(zip(("left", "right"), kinds, strict=False))
    assert walls != "mixed" or len(set(zip(*map(tuple, kinds), strict=True))) == 4
    state = torch.from_numpy(np.stack([u[:, 0], v[:, 0]], axis=1))
    errors = []
    for intervals in waves.resolutions[::2][:3]:
        found = waves.coarser(intervals, known=known).trajectory(state, waves.times.tolist())
        assert found.shape == (6, 11, 2, 129) and torch.equal(found[:, 0], state)
        errors.append(np.linalg.norm(found[:, :, 0].numpy() - u) / np.linalg.norm(u))
    assert waves.resolutions[:5] == (128, 96, 64, 48, 32)
    assert errors[0] < 1e-12 and errors[1] < 1e-12 and 1e-6 < errors[2] < 1e-4


def test_bad_requests():
    for settings in (
        {"walls": "open"},
        {"resolution": 1},
        {"frames": 1},
        {"speed": 0.0},
        {"final_time": 0.0},
    ):
        with pytest.raises(ConfigError, match="BoundedWave"):
            BoundedWave(**settings)
    for settings in (
        {"left": "open"},
        {"direction": 0},
        {"center": 9.0},
        {"speed": -1.0},
        {"times": [1.0, 0.0]},
    ):
        with pytest.raises(ConfigError, match=r"bounded_waves\.solve"):
            solve(**settings)
    with pytest.raises(ShapeError, match="3 pairs of walls"):
        WallSolver(32, 2.0, (("neumann", "neumann"),) * 3).trajectory(torch.zeros(2, 2, 64), [0.0])
