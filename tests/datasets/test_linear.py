"""Advection, heat and waves, which their series solve exactly: against formulas, kernels and invariants."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from sciml.datasets import advection, heat, wave
from sciml.datasets.advection import Advection
from sciml.datasets.heat import Heat
from sciml.datasets.numerics.series import Series, box, instants
from sciml.datasets.wave import Wave
from sciml.description import build, describe
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid

BOUNDARIES = ("periodic", "dirichlet", "neumann")


def relative(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


# Series.


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("n", [8, 9])
def test_series_know_their_functions(boundary, n):
    """Transforms there and back, and the Laplacian of products of eigenfunctions, on unequal sides."""
    sides = zip(box(n, 2, boundary).axes, (2.0, 0.5), strict=True)
    grid = Grid(tuple(dataclasses.replace(axis, upper=side) for axis, side in sides))
    series = Series(grid, boundary)
    x, y = grid.coordinates()
    function = {
        "periodic": lambda s, k: np.cos(2 * np.pi * k * s),
        "dirichlet": lambda s, k: np.sin(np.pi * k * s),
        "neumann": lambda s, k: np.cos(np.pi * k * s),
    }[boundary]
    factor = 2 * np.pi if boundary == "periodic" else np.pi
    u = function(x / 2, 3) * function(y / 0.5, 2)
    np.testing.assert_allclose(series.to_values(series.to_modes(u)), u, atol=1e-14)
    eigenvalue = (3 * factor / 2) ** 2 + (2 * factor / 0.5) ** 2
    np.testing.assert_allclose(series.laplacian(u), -eigenvalue * u, atol=1e-11)


def test_series_refusals():
    with pytest.raises(ShapeError, match="periodic=False"):
        Series(box(8, 1, "periodic"), "dirichlet")
    with pytest.raises(ShapeError, match="periodic=True"):
        Series(box(8, 1, "neumann"), "periodic")
    with pytest.raises(ConfigError, match="boundary is one of"):
        Series(box(8, 1, "neumann"), "robin")
    for times in ([], [0.0, 0.0], [0.0, math.nan], [0.0, math.inf]):
        with pytest.raises(ConfigError, match="times must increase"):
            instants("heat.solve", times)


# Advection.


@pytest.mark.parametrize("n", [15, 16])
def test_waves_travel(n):
    grid = Grid.box((n, n), lower=(-1.0, 0.0), upper=(1.0, 3.0), location="node", periodic=True)

    def start(x, y):
        return np.sin(3 * np.pi * x + 4 * np.pi * y / 3)

    x, y = grid.coordinates()
    times = [1.0, 1.3, 9.0]
    exact = [start(x - 2 * (t - 1), y + 5 * (t - 1)) for t in times]
    for initial in (start, start(x, y)):
        found = advection.solve(initial, grid, velocity=(2.0, -5.0), times=times)["u"]
        np.testing.assert_allclose(found, exact, atol=1e-12)


def test_functions_are_followed_over_kinks_and_jumps():
    grid = Grid.box((10,), location="node", periodic=True)

    def jump(x):
        return np.where(x < 0.45, 1.0, -2.0)

    found = advection.solve(jump, grid, velocity=1.0, times=[0.0, 0.3, 1.1])["u"].values
    np.testing.assert_array_equal(found[1], np.roll(found[0], 3))
    np.testing.assert_array_equal(found[2], np.roll(found[0], 1))


def test_the_interpolant_of_values_converges_spectrally():
    """exp(sin): errors fall to 1e-13 and stay."""
    errors = []
    for n in (8, 16, 32, 64, 128):
        grid = Grid.box((n,), location="node", periodic=True)
        x = grid.axes[0].coordinates

        def bump(x):
            return np.exp(np.sin(2 * np.pi * x))

        found = advection.solve(bump(x), grid, velocity=0.7, times=[0.0, 1.0])["u"].values[1]
        errors.append(np.abs(found - bump(x - 0.7)).max())
    assert errors[0] > 1e-3 and errors[1] < 1e-6 and max(errors[2:]) < 1e-13


def test_half_the_points_stand_for_a_cosine():
    grid = Grid.box((4,), location="node", periodic=True)
    found = advection.solve([1.0, -1.0, 1.0, -1.0], grid, velocity=1.0, times=[0.0, 0.125])["u"].values
    np.testing.assert_allclose(found[1], 0.0, atol=1e-15)


def test_advection_of_pina(test_data):
    """Gaussians of deviation 0.1 on [0, 2], moved by 0.5, to the rounding of float32 points: x errs by 6e-8
    where the slope is up to 24.

    The file is said to be periodic.  That holds for the bumps that lie inside; those that the left end cuts
    go on beyond it, so that all are followed on a longer period, and the others on the period of 99 points.
    """
    folder = test_data / "pina"
    before, after = (
        np.asarray(torch.load(folder / f"advection_{kind}_training.pt", weights_only=True))[..., 0]
        for kind in ("input", "output")
    )
    line = Grid.box((199,), lower=-2 - 2 / 99, upper=2.0, location="node", periodic=True)
    torus = Grid.box((99,), upper=2.0, location="node", periodic=True)
    x, h = np.linspace(0, 2, 100), 2 / 99
    inside = 0
    for first, last in zip(before.astype(np.float64), after.astype(np.float64), strict=True):
        at = min(max(int(first.argmax()), 1), 98)
        center = x[at] + 0.01 * np.log(first[at + 1] / first[at - 1]) / (2 * h)

        def bump(x, center=center):
            return np.exp(-((x - center) ** 2) / 0.02) / (0.1 * math.sqrt(2 * math.pi))

        np.testing.assert_allclose(bump(x), first, atol=5e-6)
        moved = advection.solve(bump, line, times=[0.0, 0.5])["u"].values[1, 100:]  # x = 0 .. 2
        np.testing.assert_allclose(moved, last[:-1], atol=5e-6)
        if first[0] < 1e-6:
            moved = advection.solve(first[:-1], torus, times=[0.0, 0.5])["u"].values
            np.testing.assert_allclose(moved[1], last[:-1], atol=5e-6)
            inside += 1
    assert inside > 20


def test_advection_samples():
    data = Advection(resolution=32, rank=2, spread=0.5, final_time=1.0, frames=3)
    u, beta = data.sample([1, 2, 3])
    assert u.shape == (3, 3, 32, 32) and ((beta >= 0.5) & (beta <= 1.5)).all() and len(set(beta)) == 3
    start = data._law().draw(2, 2)
    x, y = data.grid.coordinates()
    np.testing.assert_allclose(u[1, 2], start(x - beta[1], y - beta[1]), atol=1e-12)
    finer = dataclasses.replace(data, resolution=64).sample([1, 2, 3])[0]
    np.testing.assert_allclose(finer[..., ::2, ::2], u, atol=1e-12)
    assert data.baselines() == [] and len(dataclasses.replace(data, spread=0.0).baselines()) == 4


def test_advection_refusals():
    for settings in ({"resolution": 1}, {"rank": 4}, {"frames": 1}, {"final_time": 0.0}, {"speed": math.inf}):
        with pytest.raises(ConfigError, match=f"Advection: {next(iter(settings))} must be"):
            Advection(**settings)
    with pytest.raises(ConfigError, match="probabilities"):
        Advection(rectified=-1.0)
    grid = Grid.box((8,), location="node", periodic=True)
    for velocity in (math.nan, (1.0, 2.0)):
        with pytest.raises(ConfigError, match="velocity is a number or one for each of 1 axes"):
            advection.solve(0.0, grid, velocity=velocity)
    with pytest.raises(ShapeError, match="periodic"):
        advection.solve(0.0, Grid.box((8,)))


# Heat.


def kernel(x, t, center):
    return np.exp(-((x - center) ** 2) / (4 * t)) / np.sqrt(4 * np.pi * t)


def images(boundary):
    """Sign and center of the copies of a source at 0.4 that make its kernel satisfy a boundary condition."""
    if boundary == "periodic":
        return [(1.0, 0.4 + k) for k in range(-4, 5)]
    sign = 1.0 if boundary == "neumann" else -1.0
    return [(s, c + 2 * k) for k in range(-3, 4) for s, c in ((1.0, 0.4), (sign, -0.4))]


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_heat_kernel(boundary, rank):
    """A product of kernels 0.002 old and what it becomes; errors fall to 1e-12 and stay."""

    def exact(x, t):
        return sum(sign * kernel(x, t, c) for sign, c in images(boundary))

    errors = []
    for n in (8, 16, 32, 64, 128)[: 5 if rank == 1 else 4 if rank == 2 else 3]:
        grid = box(n, rank, boundary)
        start, truth = (math.prod(exact(x, t) for x in grid.coordinates()) for t in (0.002, 0.052))
        found = heat.solve(start, grid, boundary=boundary, diffusivity=0.5, times=[0.0, 0.1])
        errors.append(np.abs(found["u"].values[1] - truth).max())
    assert errors[0] > 1e-4
    assert errors[1] < errors[0] / 10 or errors[1] < 1e-12
    if rank < 3:
        assert max(errors[3:]) < 1e-12


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_heat_with_sources(boundary):
    """The steady state of a resolved source, how it is approached, and a mean that grows with its source."""
    grid = box(16, 1, boundary)
    (x,) = grid.coordinates()
    k = 2 * np.pi if boundary == "periodic" else np.pi
    f = np.sin(2 * k * x) if boundary == "dirichlet" else np.cos(2 * k * x)
    steady = f / (0.3 * (2 * k) ** 2)
    found = heat.solve(0.0, grid, boundary=boundary, diffusivity=0.3, source=f, times=[0.0, 0.01, 9.0])["u"]
    np.testing.assert_allclose(found[1], (1 - np.exp(-0.01 * 0.3 * (2 * k) ** 2)) * steady, atol=1e-14)
    np.testing.assert_allclose(found[2], steady, atol=1e-14)
    if boundary != "dirichlet":
        found = heat.solve(f, grid, boundary=boundary, source=2.0, times=[1.0, 6.0])["u"].values
        mean = (grid.weights() * found).sum(axis=1)
        np.testing.assert_allclose(mean, [0.0, 10.0], atol=1e-13)


def test_heat_of_an_insulated_box_stays():
    """The mean to 1e-13, the maximum principle, and what the eye cannot see: the total of every frame."""
    for boundary in ("periodic", "neumann"):
        (u,) = Heat(resolution=16, boundary=boundary, final_time=3.0, frames=7).sample([0, 1, 2])
        total = (box(16, 2, boundary).weights() * u).sum(axis=(2, 3))
        np.testing.assert_allclose(total, total[:, :1].repeat(7, axis=1), atol=1e-13)
        largest = np.abs(u - total[..., None, None]).max(axis=(2, 3))
        assert (np.diff(largest, axis=1) < 0).all()


def test_multi_scale_heat_of_pinnacle():
    """u_t = (500 pi)^(-2) u_xx + pi^(-2) u_yy from sin(20 pi x) sin(pi y), by the length of the axes."""
    grid = Grid.box((65, 17), upper=(500 * np.pi, np.pi), location="node")

    def start(x, y):
        return np.sin(20 * x / 500) * np.sin(y)

    found = heat.solve(start, grid, boundary="dirichlet", times=[0.0, 5.0])["u"].values
    np.testing.assert_allclose(found[1], np.exp(-5 * ((20 / 500) ** 2 + 1)) * found[0], atol=1e-15)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_heat_samples(boundary):
    data = Heat(resolution=16, boundary=boundary, strength=2.0, frames=4)
    f, u = data.sample([5, 6])
    for i in range(2):
        found = heat.solve(
            u[i, 0], data.grid, boundary=boundary, diffusivity=0.01, source=f[i], times=data.times
        )
        np.testing.assert_allclose(found["u"], u[i], atol=1e-13)
    finer = dataclasses.replace(data, resolution=32).sample([5, 6])
    np.testing.assert_allclose(finer[1][..., ::2, ::2], u, atol=1e-12)
    assert relative(f[0], u[0, 0]) > 0.5
    assert data.baselines() == [] and build(describe(data)) == data


def test_heat_refusals():
    for settings in ({"resolution": 1}, {"rank": 0}, {"frames": 1}, {"diffusivity": 0.0}, {"strength": -1.0}):
        with pytest.raises(ConfigError, match=f"Heat: {next(iter(settings))} must be"):
            Heat(**settings)
    with pytest.raises(ConfigError, match="final_time must be positive and finite, got nan"):
        Heat(final_time=math.nan)
    with pytest.raises(ConfigError, match="boundary is one of"):
        Heat(boundary="robin")
    with pytest.raises(ConfigError, match="diffusivity must be positive"):
        heat.solve(0.0, box(8, 1, "neumann"), boundary="neumann", diffusivity=-1.0)


# Waves.


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_standing_waves(boundary):
    """Products of eigenfunctions swing with their frequency; the mean drifts with its velocity."""
    grid = box(12, 2, boundary)
    x, y = grid.coordinates()
    k = 2 * np.pi if boundary == "periodic" else np.pi
    function = np.sin if boundary == "dirichlet" else np.cos
    mode = function(3 * k * x) * function(2 * k * y)
    omega = 1.5 * k * math.sqrt(13)
    times = [2.0, 2.4, 9.0]
    found = wave.solve(mode, grid, velocity=3 * mode, boundary=boundary, speed=1.5, times=times)
    for t, u, v in zip(times, found["u"], found["v"], strict=True):
        s = omega * (t - 2.0)
        np.testing.assert_allclose(u, (np.cos(s) + 3 / omega * np.sin(s)) * mode, atol=1e-12)
        np.testing.assert_allclose(v, (3 * np.cos(s) - omega * np.sin(s)) * mode, atol=1e-11)
    if boundary != "dirichlet":
        found = wave.solve(1.0, grid, velocity=2.0, boundary=boundary, times=[0.0, 5.0])
        np.testing.assert_allclose(found["u"][1], 11.0, atol=1e-13)


def test_wave_of_pinnacle():
    """u_tt = 4 u_xx, sin(pi x) cos(2 pi t) + sin(4 pi x) cos(8 pi t) / 2 on 101 x 101 points."""
    grid = Grid.box((101,), location="node")
    (x,), times = grid.coordinates(), np.linspace(0, 1, 101)

    def start(x):
        return np.sin(np.pi * x) + np.sin(4 * np.pi * x) / 2

    found = wave.solve(start, grid, boundary="dirichlet", speed=2.0, times=times)["u"]
    t = times[:, None]
    exact = np.sin(np.pi * x) * np.cos(2 * np.pi * t) + np.sin(4 * np.pi * x) * np.cos(8 * np.pi * t) / 2
    np.testing.assert_allclose(found, exact, atol=1e-13)


def test_variable_speed_with_an_exact_solution():
    """c = 1 + x between walls: sqrt(1 + x) sin(m log(1 + x)) cos(w t), w^2 = m^2 + 1/4, m = 2 pi / log 2.

    The fourth derivative of the odd extension jumps at the walls: its error is of order 4 in the maximum.
    """
    m = 2 * np.pi / np.log(2)
    omega, errors = math.sqrt(m**2 + 0.25), []
    for n in (32, 64, 128, 256, 512):
        grid = box(n, 1, "dirichlet")
        (x,) = grid.coordinates()
        shape = np.sqrt(1 + x) * np.sin(m * np.log(1 + x))
        found = wave.solve(shape, grid, boundary="dirichlet", speed=1 + x, times=[0.0, 0.5])["u"].values[1]
        errors.append(np.abs(found - np.cos(omega * 0.5) * shape).max())
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 4.0, atol=0.1)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_variable_speed_against_the_constant_one(boundary):
    """The polynomials of the operator are those of its eigenvalues: a speed that varies by 1e-15."""
    grid = box(12, 2, boundary)
    start = wave.Series(grid, boundary)
    u = wave.smooth_field(2, boundary=boundary, modes=6).sample([0, 1], grid)
    times = [0.0, 0.01, 0.5, 3.0]
    exact = wave.propagated(u, start, 1.5, times)
    almost = 1.5 * (1 + 1e-15 * np.cos(np.arange(grid.shape[0]))[:, None] * np.ones(grid.shape))
    found = wave.propagated(u, start, almost, times)
    np.testing.assert_allclose(found, exact, atol=2e-11)  # velocities are of order 100


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_variable_speed_converges_spectrally(boundary):
    """Errors of a smooth start against 256 intervals fall to 1e-11 and stay."""

    def c(x):
        return 1 + 0.3 * np.cos(2 * np.pi * x)

    k = 2 * np.pi if boundary == "periodic" else np.pi
    start = (lambda x: np.sin(k * x)) if boundary != "neumann" else (lambda x: np.cos(k * x))

    def run(n):
        return wave.solve(start, box(n, 1, boundary), boundary=boundary, speed=c, times=[0, 0.6])["u"][1]

    fine = run(256).values
    errors = [np.abs(run(n).values - fine[:: 256 // n]).max() for n in (8, 16, 32, 64, 128)]
    assert errors[0] > 5e-4 and errors[1] < errors[0] / 10 and max(errors[3:]) < 1e-11


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("rank", [1, 2])
def test_waves_keep_their_energy(boundary, rank):
    """1e-11 per unit of time, with constant and with variable speed."""
    for variation in (0.0, 0.3):
        data = Wave(
            resolution=24, rank=rank, boundary=boundary, variation=variation, final_time=2.0, frames=5
        )
        *speed, u, v = data.sample([3])
        c = speed[0][0] if variation else 1.0
        found = wave.energy(np.stack([u[0], v[0]], axis=1), Series(data.grid, boundary), c)
        assert relative(u[0, 1], u[0, 0]) > 0.5
        np.testing.assert_allclose(found / found[0], 1.0, atol=1e-11)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_waves_run_back(boundary):
    """With the velocity turned around, what has spread comes together again."""
    data = Wave(resolution=24, boundary=boundary, variation=0.3, final_time=2.0, frames=3)
    c, u, v = data.sample([1])
    back = wave.solve(
        u[0, -1], data.grid, velocity=-v[0, -1], boundary=boundary, speed=c[0], times=data.times
    )
    np.testing.assert_allclose(back["u"], u[0, ::-1], atol=1e-11)
    np.testing.assert_allclose(back["v"], -v[0, ::-1], atol=1e-10)


def test_wave_samples():
    data = Wave(resolution=32, boundary="neumann", frames=5)
    c, u, v = data.sample([5, 6])
    assert (c > 0).all() and (v[:, 0] == 0).all()
    many = Wave(resolution=16, frames=2, final_time=0.01).sample(range(200))[0]
    assert np.log(many).std() == pytest.approx(0.2, rel=0.1)  # standard error 3 percent
    found = wave.solve(u[1, 0], data.grid, boundary="neumann", speed=c[1], times=data.times)
    np.testing.assert_allclose(found["u"], u[1], atol=1e-12)
    truth = dataclasses.replace(data, resolution=128).sample([5, 6])[2][..., ::4]
    error = data.estimate_error([5, 6], (c, u, v))
    for i in range(2):
        assert error[i] == pytest.approx(16 / 15 * relative(v[i], truth[i]), rel=0.1)
    assert build(describe(data)) == data


@pytest.mark.parametrize(
    "flow",
    [
        Advection(resolution=32, rank=2, rectified=0, windowed=0, frames=3),
        Heat(resolution=32, frames=3),
        Wave(resolution=32, variation=0.0, frames=3),
    ],
)
def test_baselines_of_linear_equations(flow):
    """All are exact for what their grids hold: 32 and 16 points hold all waves of the starts, 8 do not."""
    frames = np.stack(flow.sample([0, 1]), axis=2)
    frames = frames[:, :, 0] if frames.shape[2] == 1 else frames
    initial = torch.from_numpy(frames[:, 0].copy())
    errors = [relative(b.trajectory(initial, flow.times.tolist()).numpy(), frames) for b in flow.baselines()]
    assert max(errors[:2]) < 1e-12 and 1e-3 < errors[2] < 1


@pytest.mark.parametrize("n", [48, 63, 64])
def test_bits_of_samples_of_linear_equations(n):
    for data in (
        Advection(resolution=n, frames=3),
        Heat(resolution=n, frames=3, strength=1.0),
        Heat(resolution=n, rank=1, frames=3, boundary="dirichlet"),
        Wave(resolution=n, frames=3),
        Wave(resolution=n, rank=2, frames=2, boundary="neumann", final_time=0.1),
    ):
        together = data.sample(range(5))
        for i in (0, 3):
            for one, many in zip(data.sample([i]), together, strict=True):
                np.testing.assert_array_equal(one[0], many[i])


def test_wave_refusals():
    for settings in ({"resolution": 3}, {"rank": 4}, {"frames": 1}, {"speed": 0.0}, {"variation": -1.0}):
        with pytest.raises(ConfigError, match=f"Wave: {next(iter(settings))} must be"):
            Wave(**settings)
    with pytest.raises(ConfigError, match="speed must be positive"):
        wave.solve(0.0, box(8, 1, "neumann"), boundary="neumann", speed=lambda x: x)
