"""The Navier-Stokes solver against exact solutions, budgets and symmetries; the generator; the baseline."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from sciml.datasets.generation import make_block, sample_seed
from sciml.datasets.navier_stokes import NavierStokes, NavierStokesSolver, solve
from sciml.datasets.numerics.pseudo_spectral import Modes, velocity
from sciml.datasets.numerics.vorticity import VorticitySolver, round_up
from sciml.description import build, describe
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.grid import Grid

FLOW = NavierStokes(resolution=32)


def torus(n):
    return Grid.box((n, n), location="node", periodic=True)


def starts(n, count=2, scale=1.0):
    """Initial vorticities with waves up to 5 per axis, the same functions on every grid from 16 points on."""
    return scale * dataclasses.replace(FLOW.initial, modes=6).sample(range(count), torus(n))


def relative(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


# The solver.


@pytest.mark.parametrize("viscosity", [1e-3, 0.0])
def test_order_four(viscosity):
    """Five changes from halved steps give the orders of four refinements."""
    solver = VorticitySolver(24, viscosity, FLOW.force(torus(24)))
    w0 = starts(24, scale=3.0)
    frames = [solver.run(w0, [0.0, 1.0], step=1 / n)[:, -1] for n in (16, 32, 64, 128, 256, 512)]
    changes = np.array([relative(coarse, fine) for coarse, fine in pairwise(frames)])
    np.testing.assert_allclose(np.log2(changes[:-1] / changes[1:]), 4.0, atol=0.1)


def test_spectral_in_space():
    """With equal steps the error of a smooth flow falls to rounding and stays there."""
    errors, truth = {}, None
    for n in (96, 64, 48, 40, 32, 24, 16):
        x, y = 2 * np.pi * torus(n).coordinates()
        solver = VorticitySolver(n, 1e-2, 0.3 * np.cos(x + 2 * y))
        w0 = np.exp(np.sin(x) + np.cos(y)) + np.sin(2 * x - y)
        frame = solver.run(w0[None], [0.0, 0.5], step=1 / 32)[0, 1, :: n // 8, :: n // 8]
        truth = frame if truth is None else truth
        errors[n] = relative(frame, truth)
    assert max(errors[n] for n in (40, 48, 64)) < 1e-12
    for coarse, fine in ((16, 24), (24, 32), (32, 40)):
        assert errors[coarse] > 50 * errors[fine], errors


@pytest.mark.parametrize("k", [1, 3])
def test_vortices_of_taylor_and_green_decay(k):
    """cos(2 pi k x) cos(2 pi k y) does not move and decays by exp(-2 nu (2 pi k)^2 t)."""
    solver = VorticitySolver(16, 0.01)
    x, y = 2 * np.pi * k * torus(16).coordinates()
    w0 = np.cos(x) * np.cos(y)
    times = [0.0, 0.3, 1.7]
    frames = solver.run(w0[None], times, step=0.1)[0]
    exact = [np.exp(-2 * 0.01 * (2 * np.pi * k) ** 2 * t) * w0 for t in times]
    np.testing.assert_allclose(frames, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("forcing", ["diagonal", "kolmogorov"])
def test_laminar_steady_state(forcing):
    """w = f / (nu |k|^2) has no nonlinear term, and any step keeps it; from rest it is approached."""
    flow = NavierStokes(resolution=16, viscosity=0.1, forcing=forcing, strength=0.7, wavenumber=2)
    waves = 2 if forcing == "diagonal" else 1  # |k|^2 = (2 pi 2)^2 along each axis that f varies along
    steady = flow.force(flow.grid) / (0.1 * waves * (4 * np.pi) ** 2)
    frames = flow.solver(16).run(np.stack([steady, 0 * steady]), [0.0, 2.0], step=0.25)
    np.testing.assert_allclose(frames[:, -1], [steady, steady], atol=1e-13)


def test_vorticity_is_carried_by_its_velocity():
    """-u w_x - v w_y + f point by point on twice the points, where the products are exact."""
    solver = FLOW.solver(16)
    modes = solver.modes
    fine = VorticitySolver(32, 0.0).modes
    w = modes.to_modes(starts(16))
    parts = (*velocity(modes, w), modes.derivative(0) * w, modes.derivative(1) * w)
    u, v, by_x, by_y = (fine.to_values(modes.convert(c, fine)) for c in parts)
    carried = fine.convert(fine.to_modes(-u * by_x - v * by_y), modes)
    expected = solver.packed(modes.to_values(carried) + FLOW.force(torus(16)))
    np.testing.assert_allclose(solver.rate(solver.packed(starts(16))), expected, atol=1e-16)
    assert np.abs(carried).max() > 1e-3


def test_forcing_is_the_formula():
    x, y = torus(8).coordinates()
    np.testing.assert_allclose(
        NavierStokes().force(torus(8)),
        0.1 * (np.sin(2 * np.pi * (x + y)) + np.cos(2 * np.pi * (x + y))),
        atol=1e-15,
    )
    kolmogorov = NavierStokes(forcing="kolmogorov", strength=2.0, wavenumber=4)
    np.testing.assert_allclose(kolmogorov.force(torus(8)), -2 * np.cos(8 * np.pi * y), atol=1e-15)
    assert not NavierStokes(forcing="none").force(torus(8)).any()


def energy_and_enstrophy(solver, w):
    coefficients = solver.modes.to_modes(w)
    u, v = (solver.modes.to_values(c) for c in velocity(solver.modes, coefficients))
    return (u**2 + v**2).mean(axis=(-1, -2)) / 2, (w**2).mean(axis=(-1, -2)) / 2


def test_without_viscosity_energy_and_enstrophy_stay():
    """To the error of the steps: halving them divides the drift by 2^4 or more (2^5, since RK4 damps).

    The mean vorticity, here 1, has no velocity and stays to rounding.
    """
    solver = VorticitySolver(24, 0.0)
    w0 = 1 + starts(24, scale=4.0)
    drifts = []
    for step in (1 / 32, 1 / 64):
        frames = solver.run(w0, [0.0, 2.0], step=step)
        before, after = (np.array(energy_and_enstrophy(solver, frames[:, i])) for i in (0, 1))
        drifts.append(np.abs(after / before - 1).max())
    assert relative(frames[:, 1], frames[:, 0]) > 0.5  # it did flow
    assert drifts[0] / drifts[1] > 16 * 0.9
    assert drifts[1] < 2e-5
    np.testing.assert_allclose(frames.mean(axis=(2, 3)), 1.0, rtol=0, atol=1e-12)


def test_enstrophy_budget_closes():
    """d/dt <w^2>/2 = <f w> - nu <|grad w|^2>, integrated by Simpson's rule over 100 intervals of 0.01.

    The rates of the flow are of order 10, so that the rule errs by about (10 * 0.01)^4 / 180 = 5e-7.
    """
    flow = NavierStokes(resolution=24, viscosity=1e-3, strength=1.0)
    solver = flow.solver(24)
    times = np.linspace(0.0, 1.0, 101)
    frames = solver.run(starts(24), times, step=0.01)
    modes = solver.modes
    slopes = [modes.to_values(modes.derivative(axis) * modes.to_modes(frames)) for axis in (0, 1)]
    dissipated = 1e-3 * sum(s**2 for s in slopes).mean(axis=(2, 3))
    supplied = (flow.force(flow.grid) * frames).mean(axis=(2, 3))
    weights = np.array([1, *[4, 2] * 49, 4, 1]) / 300
    change = np.diff((frames**2).mean(axis=(2, 3))[:, [0, -1]] / 2)[:, 0]
    np.testing.assert_allclose((supplied - dissipated) @ weights, change, rtol=1e-6)


def test_mean_vorticity_is_zero():
    """Sums of 1024 numbers of order 1 round by less than 1e-15 of their mean."""
    (w,) = NavierStokes(resolution=32, final_time=3.0, frames=4).sample([1, 2])
    np.testing.assert_allclose(w.mean(axis=(2, 3)), 0.0, atol=1e-15)


def test_shift_along_the_crests_of_the_forcing():
    """f depends on x + y only: the start moved by (5, -5) points gives the flow moved by (5, -5) points."""
    solver = FLOW.solver(32)
    w0 = starts(32)
    frames = solver.run(np.concatenate([w0, np.roll(w0, (5, -5), axis=(1, 2))]), [0.0, 2.0], courant=1.0)
    moved = np.roll(frames[:2], (5, -5), axis=(2, 3))
    np.testing.assert_allclose(frames[2:], moved, atol=1e-12)
    other = solver.run(np.roll(w0, 5, axis=1), [0.0, 2.0], courant=1.0)
    assert relative(other, np.roll(frames[:2], 5, axis=2)) > 1e-2


def test_64_points_are_the_truth_for_the_smallest_reynolds_number():
    """nu = 1e-3: twice the points change the first time unit, the finest, by less than 1e-7.

    Both with the same steps, so that only the error in space is seen.
    """
    coarse, fine = (NavierStokes(resolution=n).solver(n) for n in (64, 128))
    w0 = NavierStokes().initial.sample([3], torus(128))
    frames = [
        solver.run(w[None], [0.0, 1.0], step=1 / 32)[0, 1]
        for solver, w in ((coarse, w0[0, ::2, ::2]), (fine, w0[0]))
    ]
    assert relative(frames[0], frames[1][::2, ::2]) < 1e-7


def test_the_step_honors_the_courant_number():
    """A sheared flow u = U cos(2 pi y) of known speed: counts for each sample, by its own speed."""
    solver = VorticitySolver(16, 0.0)  # waves 0 .. 5
    y = torus(16).coordinates()[1]
    speeds = np.array([0.1, 1.0, 3.0])
    w = solver.packed(speeds[:, None, None] * 2 * np.pi * np.sin(2 * np.pi * y))
    counts = solver._counts(w, 1.0, math.inf, 1.5)
    courant = 10 * np.pi * speeds / counts
    assert (courant <= 1.5 * (1 + 1e-6)).all() and (courant > 1.0).all()
    assert (solver._counts(w, 1.0, 0.1, 1.5) == np.maximum(counts, 12)).all()


def test_numbers_of_steps():
    wanted = {0.0: 1, 1.0: 1, 1.1: 2, 2.5: 3, 3.0: 3, 3.1: 4, 5.0: 6, 6.1: 8, 24.5: 32, 1e9: 0, math.nan: 0}
    assert {steps: round_up(steps) for steps in wanted if steps == steps} == {
        k: v for k, v in wanted.items() if k == k
    }
    assert round_up(math.nan) == 0
    assert round_up(3 * (1 + 1e-12)) == 3  # a duration of three steps, but for rounding


def test_a_blow_up_is_nan_and_stays_alone():
    """A step far beyond stability for the first sample only."""
    solver = VorticitySolver(16, 0.0)
    w0 = starts(16, scale=1.0)
    frames = solver.run(np.stack([1e4 * w0[0], w0[1]]), [0.0, 1.0, 2.0], step=0.05)
    assert np.isnan(frames[0, 2]).all() and np.isfinite(frames[:, 0]).all()
    np.testing.assert_array_equal(frames[1:], solver.run(w0[1:], [0.0, 1.0, 2.0], step=0.05))
    hopeless = solver.run(1e9 * w0, [0.0, 1.0], courant=1.0)
    assert np.isnan(hopeless[:, 1]).all()


def test_solver_refusals():
    with pytest.raises(ConfigError, match="viscosity >= 0"):
        VorticitySolver(16, -1.0)
    with pytest.raises(ConfigError, match="step or Courant number"):
        VorticitySolver(16, 0.0).run(starts(16), [0.0, 1.0])
    with pytest.raises(ConfigError, match="times must increase"):
        VorticitySolver(16, 0.0).run(starts(16), [0.0, 0.0], step=0.1)


# The generator.


def test_initial_vorticity_has_the_stated_deviation():
    """sqrt(2 * 7^3 sum_k (4 pi^2 |k|^2 + 49)^(-5/2)) over |k_i| < 16, k != 0: 0.262.

    300 samples at distant points: about 10 independent values each, standard error 0.262 / sqrt(2 * 3000)
    = 0.0034; the bound is 4 of them.
    """
    k = np.arange(-15, 16)
    squares = 4 * np.pi**2 * np.add.outer(k**2, k**2) + 49
    exact = 2 * 7**3 * ((squares**-2.5).sum() - 49**-2.5)
    assert math.sqrt(exact) == pytest.approx(0.262, abs=1e-3)
    np.testing.assert_allclose(NavierStokes().initial.variance(torus(4)), exact, rtol=1e-12)
    flow = NavierStokes(resolution=64)
    w0 = flow.initial.sample(range(300), flow.grid)
    assert w0.std() == pytest.approx(math.sqrt(exact), abs=4 * 0.0034)
    np.testing.assert_allclose(w0.mean(axis=(1, 2)), 0.0, atol=1e-15)


def test_one_flow_at_every_resolution():
    """Frames of 32 points with refinement 2 are every second point of 64, to the last bit."""
    whole = NavierStokes(resolution=64, final_time=0.5, frames=2)
    half = dataclasses.replace(whole, resolution=32, refinement=2)
    (fine,), (coarse,) = whole.sample([7]), half.sample([7])
    np.testing.assert_array_equal(fine[:, :, ::2, ::2], coarse)
    assert half.initial == whole.initial


def test_frame_zero_is_the_start_and_times_are_hit():
    flow = NavierStokes(resolution=48, final_time=1.5, frames=3)
    (w,) = flow.sample([5, 6])
    np.testing.assert_allclose(w[:, 0], flow.initial.sample([5, 6], flow.grid), atol=1e-14)
    assert flow.times.tolist() == [0.0, 0.75, 1.5]
    (longer,) = dataclasses.replace(flow, final_time=3.0, frames=5).sample([5, 6])
    np.testing.assert_array_equal(longer[:, :3], w)


@pytest.mark.parametrize("n", [16, 48, 63, 64])
def test_a_sample_does_not_know_its_batch(n):
    """To the last bit, alone or among samples that take other numbers of steps."""
    flow = NavierStokes(resolution=n, viscosity=1e-4, final_time=2.0, frames=3)
    (whole,) = flow.sample(range(7))
    solver = flow.solver(n)
    assert len(set(solver._counts(solver.packed(whole[:, 0]), 1.0, math.inf, 1.5).tolist())) > 1
    for i in range(7):
        np.testing.assert_array_equal(flow.sample([i])[0][0], whole[i])
    np.testing.assert_array_equal(flow.sample([5, 2])[0], whole[[5, 2]])


def test_estimate_is_the_distance_to_a_much_finer_solution():
    """At 24 points the error in space decides, and falls so fast that twice the points are the truth."""
    flow = NavierStokes(resolution=24, final_time=4.0, frames=5)
    (w,) = flow.sample([0, 1])
    estimate = flow.estimate_error([0, 1], [w])
    fine = flow.solver(96)
    modes = flow.solver(24).modes
    start = fine.modes.to_values(modes.convert(modes.to_modes(w[:, 0]), fine.modes))
    truth = fine.run(start, flow.times.tolist(), courant=0.75)[..., ::4, ::4]
    for i in range(2):
        assert estimate[i] == pytest.approx(relative(w[i], truth[i]), rel=0.1)
    assert (estimate > 1e-4).all()


def test_a_failed_start_is_drawn_anew(monkeypatch):
    """The solver fails for one seed: the sample comes from the next, and the file says so."""
    flow = NavierStokes(resolution=8, final_time=0.5, frames=2)
    bad = sample_seed("navier_stokes", 0, 5)
    sample = NavierStokes.sample

    def fragile(self, seeds):
        (w,) = sample(self, seeds)
        w[[s == bad for s in seeds], 1] = np.nan
        return (w,)

    monkeypatch.setattr(NavierStokes, "sample", fragile)
    block = make_block(flow, 0, range(4, 7))
    assert block.status.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(
        block.arrays[0][1:2], flow.sample([sample_seed("navier_stokes", 0, 5, 1)])[0]
    )


def test_file_has_time(tmp_path):
    flow = NavierStokes(resolution=16, viscosity=1e-2, forcing="kolmogorov", final_time=1.0, frames=5)
    data = flow.make(tmp_path / "w.h5", train=2, valid=1, test=1, workers=1)
    np.testing.assert_array_equal(data.times, [0.0, 0.25, 0.5, 0.75, 1.0])
    assert data.fields["w"].time and data.fields["w"].role == "state"
    assert data.tensor("w").shape == (4, 5, 1, 16, 16)
    assert data.attributes["task"]["kind"] == "rollout"
    assert data.grid.axes[0].periodic


def test_description_round_trip():
    flow = NavierStokes(resolution=16, forcing="kolmogorov", wavenumber=4, strength=1.0)
    assert build(describe(flow)) == flow
    solver = NavierStokesSolver(8, 0.1, flow)
    assert build(describe(solver)) == solver


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"forcing": "wind"}, "forcing is one of"),
        ({"resolution": 2}, "resolution >= 4"),
        ({"frames": 1}, "frames >= 2"),
        ({"viscosity": 0.0}, "viscosity > 0"),
        ({"strength": math.nan}, "strength >= 0"),
        ({"resolution": 12, "wavenumber": 4}, "below a third of the 12 points"),
    ],
)
def test_refusals(settings, words):
    with pytest.raises(ConfigError, match=words):
        NavierStokes(**settings)


# One instance.


def test_solve_is_the_solver_with_names():
    flow = NavierStokes(resolution=24, viscosity=1e-2, final_time=1.0, frames=3)
    x, y = flow.grid.coordinates()
    w0 = np.sin(2 * np.pi * x) * np.cos(4 * np.pi * y)
    found = solve(w0, flow.grid, viscosity=1e-2, times=flow.times, forcing=flow.force(flow.grid))
    frames = flow.solver(24).run(w0[None], flow.times.tolist(), courant=1.5)[0]
    np.testing.assert_array_equal(found["w"], frames)
    assert found["w"].dims == ("time", "x", "y") and found["time"].values.tolist() == [0.0, 0.5, 1.0]
    modes = Modes(flow.grid)
    u, v = (modes.to_modes(found[name].values) for name in ("u", "v"))
    curl = modes.to_values(modes.derivative(0) * v - modes.derivative(1) * u)
    np.testing.assert_allclose(curl, frames, atol=1e-14)
    np.testing.assert_allclose(modes.derivative(0) * u + modes.derivative(1) * v, 0.0, atol=1e-15)


def test_solve_refusals():
    with pytest.raises(ShapeError, match="unit square"):
        solve(0.0, Grid.box((8, 8)), viscosity=0.1)
    with pytest.raises(ConfigError, match="viscosity >= 0"):
        solve(0.0, torus(8), viscosity=-0.1)
    with pytest.raises(DataError, match="blows up"):
        solve(1e6 * starts(16)[0], torus(16), viscosity=0.0, step=0.1, courant=math.inf, times=[0.0, 2.0])


# The baseline.


def test_baselines_roll_out():
    """The same grid reproduces the data to the error of the step; all beat standing still."""
    flow = NavierStokes(resolution=32, final_time=3.0, frames=4)
    (w,) = flow.sample([0, 1])
    baselines = flow.baselines()
    assert [b.resolution for b in baselines] == [32, 16, 8, 4]
    assert baselines[1].name == "pseudo-spectral 16x16, steps up to 1"
    initial = torch.tensor(w[:, 0], dtype=torch.float32)
    errors = []
    for baseline in baselines:
        found = baseline.trajectory(initial, flow.times.tolist())
        assert found.shape == (2, 4, 32, 32) and found.dtype == torch.float32
        assert torch.equal(found[:, 0], initial)
        errors.append(relative(found.numpy(), w))
    assert errors == sorted(errors)
    assert errors[0] < 1e-4 < errors[1]
    assert errors[-1] < relative(np.broadcast_to(w[:, :1], w.shape), w)


def test_baseline_with_shorter_steps_and_any_start():
    """The same grid with shorter steps differs by the error of the data's steps, and starts at any frame."""
    flow = NavierStokes(resolution=32, final_time=2.0, frames=3)
    (w,) = flow.sample([4])
    solver = NavierStokesSolver(32, 1 / 64, flow)
    later = solver.trajectory(torch.from_numpy(w[:, 1]), [1.0, 2.0])
    assert relative(later.numpy()[:, 1], w[:, 2]) < 1e-5
    with pytest.raises(ShapeError, match="must have shape"):
        solver.trajectory(torch.from_numpy(w), [0.0, 1.0])
