"""The shallow-water solver against exact flows, budgets and symmetries; beds and dry land; the generator."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from sciml.datasets.numerics.finite_volume import FiniteVolumes, cell_averages
from sciml.datasets.numerics.finite_volume_flow import _redistributed
from sciml.datasets.shallow_water import ShallowWater, ShallowWaterLaw, solve
from sciml.description import build, describe
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.grid import Grid

LIMITERS = ("minmod", "mc", "van_leer")


def orders(errors):
    return np.log2(np.array(errors[:-1]) / errors[1:])


def fine_averages(function, grid, factor=8):
    fine = grid.with_shape([factor * n for n in grid.shape])
    return cell_averages(function(*fine.coordinates()), factor, grid.rank)


def stoker(xi, left, right, g=1.0):
    """Depth and velocity at x / t of a dam that breaks between two depths (Stoker 1957)."""
    from scipy.optimize import brentq

    cl = math.sqrt(g * left)

    def mismatch(h):
        jump = (h - right) * math.sqrt(g / 2 * (h + right) / (h * right))
        return jump - 2 * (cl - math.sqrt(g * h))

    h = brentq(mismatch, right, left, xtol=1e-15)
    u = 2 * (cl - math.sqrt(g * h))
    shock = h * u / (h - right)
    inside = np.clip(xi, -cl, u - math.sqrt(g * h))
    depth, speed = (2 * cl - inside) ** 2 / (9 * g), 2 / 3 * (cl + inside)
    return np.where(xi < shock, depth, right), np.where(xi < shock, speed, 0.0)


def ritter(xi, left, g=1.0):
    """The same over dry ground (Ritter 1892)."""
    cl = math.sqrt(g * left)
    inside = np.clip(xi, -cl, 2 * cl)
    return (2 * cl - inside) ** 2 / (9 * g)


# Dam breaks.


def dam_errors(right, exact, sizes):
    errors = []
    for n in sizes:
        grid = Grid.box((n,), lower=-1.0)
        flow = solve(lambda x: np.where(x < 0, 1.0, right), grid, times=[0.0, 0.4])
        assert flow.attrs["floored"] == 0 and flow["h"].values.min() >= 0
        errors.append(np.abs(flow["h"].values[-1] - fine_averages(exact, grid)).mean())
    return errors


def test_dam_break_over_wet_ground():
    """Rates near 1: a shock and two kinks; with a sonic point where the dam was."""
    errors = dam_errors(0.1, lambda x: stoker(x / 0.4, 1.0, 0.1)[0], (50, 100, 200, 400))
    assert errors[-1] < 8e-4
    # The shock lies elsewhere in its cell on each grid: single rates scatter, the trend does not.
    assert abs(np.log2(errors[0] / errors[-1]) / 3 - 1) < 0.1, orders(errors)


def test_dam_break_over_dry_ground():
    errors = dam_errors(0.0, lambda x: ritter(x / 0.4, 1.0), (50, 100, 200, 400))
    assert errors[-1] < 2e-3
    assert (orders(errors) > 0.75).all(), orders(errors)


def test_no_jump_at_the_sonic_point():
    """At x = 0 the exact depth has the slope -2 / (9 t) (2 - x / t) = -1.1: one cell holds no jump."""
    for n in (100, 400):
        grid = Grid.box((n,), lower=-1.0)
        flow = solve(lambda x: np.where(x < 0, 1.0, 0.05), grid, times=[0.0, 0.4])
        slope = np.diff(flow["h"][-1].sel(x=slice(-0.1, 0.1)).values) * n / 2
        np.testing.assert_allclose(slope, -1.1, atol=0.3)


def test_two_flows_part_and_leave_dry_ground():
    """(1, -3) and (1, 3): between x = -t and x = t there is nothing, without a division by it."""
    grid = Grid.box((200,), lower=-1.0)
    flow = solve(1.0, grid, velocity=lambda x: 3 * np.sign(x), times=[0.0, 0.2])
    h, v = flow["h"].values[-1], flow["v"].values[-1, 0]
    x = grid.axes[0].coordinates / 0.2
    exact = np.where(np.abs(x) < 1, 0.0, np.minimum((np.abs(x) - 1) ** 2 / 9, 1.0))
    assert np.abs(h - exact).mean() < 5e-3 and h.min() >= 0
    assert np.abs(v).max() < 3.2 and flow.attrs["floored"] == 0


# Beds.


@pytest.mark.parametrize("limiter", LIMITERS)
@pytest.mark.parametrize("level", [1.5, 0.4])
def test_a_lake_stays_at_rest(limiter, level):
    """Over a rough bed, under water or with islands: velocities of rounding errors, after 100 steps."""
    rng = np.random.default_rng(0)
    grid = Grid.box((24, 20), periodic=(True, False))
    bed = rng.uniform(0, 1, grid.shape)
    flow = solve(
        np.maximum(level - bed, 0), grid, bed=bed, boundary="wall", times=[0.0, 1.0], limiter=limiter
    )
    assert ((flow["h"] == 0).any() == (level < 1)) and flow.attrs["floored"] == 0
    np.testing.assert_allclose(flow["h"].values[-1], flow["h"].values[0], rtol=0, atol=1e-14)
    assert np.abs(flow["m"].values).max() < 1e-14


@pytest.mark.parametrize("count", [4, pytest.param(6, marks=pytest.mark.slow)])
def test_order_two_over_a_bed(count):
    """Waves on a stream over a hill, each grid against the next: depth and momentum."""
    found = []
    for n in (64, 128, 256, 512, 1024, 2048)[:count]:
        grid = Grid.box((n,), periodic=True)
        bed = fine_averages(lambda x: 0.1 * np.cos(2 * np.pi * x), grid)
        h = fine_averages(lambda x: 1 + 0.1 * np.sin(2 * np.pi * x), grid) - bed
        flow = solve(h, grid, velocity=0.5 / h, bed=bed, times=[0.0, 0.25])
        found.append(np.stack([flow["h"].values[-1], flow["m"].values[-1, 0]]))
    pairs = pairwise(found)
    changes = np.array([np.abs(a - cell_averages(b, 2, 1)).mean(axis=1) for a, b in pairs])
    np.testing.assert_allclose(np.log2(changes[:-1] / changes[1:]), 2.0, atol=0.1)


def test_a_stream_over_a_hill_stands_still():
    """Constant discharge and energy, which the scheme does not know: errors of order 2 at least."""
    discharge, energy, errors = 0.3, 1.2, []

    def bed(x):
        return 0.1 * (1 + np.cos(2 * np.pi * x))

    def depth(x):
        h = np.full_like(x, 1.0)
        for _ in range(60):
            value = discharge**2 / (2 * h**2) + h + bed(x) - energy
            h = h - value / (1 - discharge**2 / h**3)
        return h

    for n in (32, 64, 128):
        grid = Grid.box((n,), periodic=True)
        h = fine_averages(depth, grid)
        flow = solve(h, grid, velocity=discharge / h, bed=fine_averages(bed, grid), times=[0.0, 0.2])
        errors.append(np.abs(flow["h"].values[-1] - h).mean())
    assert errors[0] < 1e-4 and (orders(errors) > 2.0).all(), (errors, orders(errors))


def test_water_swings_in_a_bowl():
    """Thacker (1981): in the bed x^2 a parabola of water moves to and fro, dry on both sides."""
    errors, time = [], 2.0
    middle = 0.3 * math.cos(math.sqrt(2) * time)
    for n in (50, 100, 200):
        grid = Grid.box((n,), lower=-2.0, upper=2.0)
        start = fine_averages(lambda x: np.maximum(1 - (x - 0.3) ** 2, 0), grid)
        flow = solve(start, grid, bed=fine_averages(np.square, grid), boundary="wall", times=[0.0, time])
        exact = fine_averages(lambda x: np.maximum(1 - (x - middle) ** 2, 0), grid)
        errors.append(np.abs(flow["h"].values[-1] - exact).mean())
        assert flow.attrs["floored"] == 0
        assert abs(float(flow["h"][-1].sum() / flow["h"][0].sum()) - 1) < 1e-13
    assert errors[0] < 0.01 and (orders(errors) > 1.0).all(), (errors, orders(errors))


def test_a_stream_hits_an_island():
    """Water around a dry cone, both sides alike, and none of it lost."""
    grid = Grid.box((40, 20), upper=(2.0, 1.0))
    x, y = grid.coordinates()
    bed = np.maximum(0, 1 - 4 * np.hypot(x - 1, y - 0.5))
    flow = solve(
        np.maximum(0.4 + 0.2 * (x < 0.4) - bed, 0), grid, bed=bed, boundary="wall", times=[0.0, 0.5, 1.0]
    )
    h = flow["h"].values
    assert flow.attrs["floored"] == 0 and h.min() >= 0 and (h[-1] == 0).any()
    np.testing.assert_allclose(h, h[:, :, ::-1], rtol=0, atol=1e-12)
    assert abs(h[-1].sum() / h[0].sum() - 1) < 1e-13


# Smooth flows, symmetries, budgets.


def test_order_two_of_a_simple_wave():
    """v = 2 (c - c0): every value of c travels with v + c, exactly until characteristics cross."""
    errors, time = [], 0.1

    def start(x):
        return 1 + 0.1 * np.sin(2 * np.pi * x)

    def speed(x):
        """c at the time: the root s of s = x - t (3 c(s) - 2)."""
        s = x.copy()
        for _ in range(60):
            change = 1 + time * 0.6 * np.pi * np.cos(2 * np.pi * s)
            s = s - (s - x + time * (3 * start(s) - 2)) / change
        return start(s)

    for n in (32, 64, 128, 256, 512):
        grid = Grid.box((n,), periodic=True)
        h = fine_averages(lambda x: start(x) ** 2, grid)
        m = fine_averages(lambda x: start(x) ** 2 * 2 * (start(x) - 1), grid)
        flow = solve(h, grid, velocity=m / h, times=[0.0, time], limiter="van_leer")
        errors.append(np.abs(flow["h"].values[-1] - fine_averages(lambda x: speed(x) ** 2, grid)).mean())
    np.testing.assert_allclose(orders(errors), 2.0, atol=0.1)


def test_the_radial_dam_has_all_symmetries_of_the_square():
    h, m = ShallowWater(resolution=32, frames=3).sample([7])
    last = h[0, -1]
    assert last.std() > 0.05
    for image in (last[::-1], last[:, ::-1], last.T, last[::-1, ::-1], last[::-1].T, last[:, ::-1].T):
        np.testing.assert_allclose(image, last, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.rot90(last), last, rtol=0, atol=1e-12)
    np.testing.assert_allclose(m[0, -1, 0], m[0, -1, 1].T, rtol=0, atol=1e-12)
    np.testing.assert_allclose(m[0, -1, 0], -m[0, -1, 0, ::-1], rtol=0, atol=1e-12)


def test_mass_and_momentum_stay():
    flow = ShallowWater(resolution=24, start="smooth", final_time=3.0, frames=4)
    h, m = flow.sample([0, 1])
    assert np.abs(h.mean(axis=(2, 3)) - h[:, :1].mean(axis=(2, 3))).max() < 1e-13
    assert np.abs(m.mean(axis=(3, 4))).max() < 1e-13
    assert np.abs(m).max() > 0.01


def test_units():
    """With g = 4 everything is twice as fast."""
    slow = ShallowWater(resolution=16, frames=3, final_time=1.0).sample([1])
    fast = ShallowWater(resolution=16, frames=3, final_time=0.5, gravity=4.0).sample([1])
    np.testing.assert_allclose(fast[0], slow[0], rtol=1e-12)
    np.testing.assert_allclose(fast[1], 2 * slow[1], rtol=1e-12, atol=1e-14)


def test_a_standing_shear_layer_stays():
    grid = Grid.box((20, 4), periodic=(False, True))
    law = ShallowWaterLaw(2)
    x, _ = grid.coordinates()
    u = np.stack([1 + 0 * x, 0 * x, np.where(x < 0.5, 2.0, -1.0)])
    frames, _ = FiniteVolumes(grid, law).run(u[None], [0.0, 1.0])
    np.testing.assert_allclose(frames[0, -1], u, rtol=0, atol=1e-13)


def test_a_shear_layer_is_carried_without_ringing():
    """Tangential velocity 2 or -1 in a stream: between these values, and with the stream after one turn."""
    grid = Grid.box((40, 4), periodic=True)
    x, _ = grid.coordinates()
    layer = np.where(np.abs(x - 0.5) < 0.25, 2.0, -1.0)
    for speed in (1.0, -1.0):
        flow = solve(1.0, grid, velocity=np.stack([speed + 0 * x, layer]), times=[0.0, 1.0])
        found = flow["v"].values[-1, 1]
        assert found.min() > -1 - 1e-12 and found.max() < 2 + 1e-12
        # Two jumps of 3 that are rounded over six cells of 1/40 after 300 steps: 0.22 is measured.
        assert np.abs(found - layer).mean() < 0.25


# One flow.


def test_solve_labels_and_refuses():
    grid = Grid.box((8, 6))
    flow = solve(1.0, grid, velocity=np.zeros((2, 8, 6)), bed=lambda x, y: 0.1 * x, times=[0.0, 0.1])
    assert flow["m"].dims == ("time", "component", "x", "y") and flow["b"].dims == ("x", "y")
    assert flow["h"].attrs["long_name"] == "depth" and flow.attrs["gravity"] == 1.0
    with pytest.raises(DataError, match="depths are not negative"):
        solve(-1.0, grid)
    with pytest.raises(ConfigError, match="one or two axes"):
        solve(1.0, Grid.box((4, 4, 4)))
    with pytest.raises(ShapeError, match="bed must have shape"):
        solve(1.0, grid, bed=np.zeros(3))
    with pytest.raises(ConfigError, match="gravity > 0"):
        solve(1.0, grid, gravity=0.0)
    with pytest.raises(DataError, match="blows up"):
        solve(1.0, grid, velocity=1e200)


# The generator.


@pytest.mark.parametrize("start", ["radial_dam", "smooth"])
@pytest.mark.parametrize("n", [48, 63, 64])
def test_a_sample_alone_has_the_same_bits(start, n):
    flow = ShallowWater(resolution=n, start=start, final_time=0.1, frames=2)
    together = flow.sample([5, 6, 7])
    for one, many in zip(flow.sample([6]), together, strict=True):
        np.testing.assert_array_equal(one, many[1:2])


def test_the_law_of_the_dam():
    """Volumes are those of cylinders with radii between 0.3 and 0.7, to the width of sub-cells."""
    flow = ShallowWater(resolution=64)
    initial = flow.initial(range(20))
    volume = (initial[:, 0] - 1).sum(axis=(1, 2)) * (5 / 64) ** 2
    radii = [np.random.default_rng(s).uniform(0.3, 0.7) for s in range(20)]
    np.testing.assert_allclose(np.sqrt(volume / np.pi), radii, rtol=3e-3)
    assert (initial[:, 1:] == 0).all()


def test_the_error_estimate_is_one():
    """Against four times the cells."""
    flow = ShallowWater(resolution=16, frames=3, final_time=0.5)
    h, m = flow.sample([0, 1])
    estimate = flow.estimate_error([0, 1], [h, m])
    fine = replace(flow, resolution=64).sample([0, 1])
    wrong, size = np.zeros(2), np.zeros(2)
    for a, b in zip((h, m), fine, strict=True):
        wrong += ((a - cell_averages(b, 4, 2)) ** 2).reshape(2, -1).sum(axis=1)
        size += (a**2).reshape(2, -1).sum(axis=1)
    true = np.sqrt(wrong / size)
    assert (0.5 * true < estimate).all() and (estimate < 2 * true).all()


def test_frames_of_coarse_cells_are_redistributed_to_second_order():
    """Constant inside the cells they would be of order 1."""
    errors = []
    for n in (16, 32, 64):
        coarse = ShallowWater(resolution=n, start="smooth").grid
        wave = [
            fine_averages(lambda x, y: np.sin(0.4 * np.pi * (x + y)), coarse.with_shape([k * n] * 2), 4)
            for k in (1, 4)
        ]
        found = _redistributed(wave[0][None, None], [4 * n] * 2, FiniteVolumes(coarse, ShallowWaterLaw(2)))
        errors.append(np.abs(found[0, 0] - wave[1]).mean())
        np.testing.assert_allclose(cell_averages(found[0, 0], 4, 2), wave[0], atol=1e-14)
    assert (orders(errors) > 1.7).all(), orders(errors)


def test_baselines():
    """The first is the solver itself; the coarser, the worse; where nothing flows out, mass stays."""
    flow = ShallowWater(resolution=32, start="smooth", frames=3)
    h, m = flow.sample([0, 1])
    state = np.concatenate([h[:, :, None], m], axis=2)
    errors = []
    for solver in flow.baselines():
        found = solver.trajectory(torch.from_numpy(state[:, 0]), flow.times.tolist()).numpy()
        np.testing.assert_allclose(found.mean(axis=(3, 4)), state.mean(axis=(3, 4)), atol=1e-13)
        errors.append(np.linalg.norm(found[:, -1] - state[:, -1]) / np.linalg.norm(state[:, -1]))
    assert errors[0] < 1e-14 and 1e-3 < errors[1] < errors[2] < 0.2
    assert build(describe(flow.baselines()[2])) == flow.baselines()[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(resolution=2), "resolution must be at least 4"),
        (dict(start="dam"), "start is one of"),
        (dict(gravity=-1.0), "gravity must be positive"),
        (dict(final_time=math.inf), "final_time must be"),
        (dict(limiter="none"), "limiter is one of"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        ShallowWater(**settings)
