"""The solver of periodic semilinear systems: orders of both schemes, exact linear parts, bits, blow-ups."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from sciml.baseline import Stepper
from sciml.datasets import burgers, korteweg_de_vries
from sciml.datasets.numerics import periodic
from sciml.datasets.numerics.periodic import solved
from sciml.datasets.numerics.pseudo_spectral import ETDRK4, Modes
from sciml.datasets.numerics.semilinear import AdditiveRungeKutta, Semilinear, longest_steps, pointwise, run
from sciml.datasets.numerics.spectral_solver import SpectralSolver, resample
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.grid import Grid

SCHEMES = [ETDRK4, AdditiveRungeKutta]


def torus(*shape, lower=0.0, upper=1.0):
    return Grid.box(shape, lower=lower, upper=upper, location="node", periodic=True)


def observed_orders(errors):
    """Of five errors, each with half the step of the one before."""
    assert len(errors) == 5 and (np.diff(errors) < 0).all()
    return np.log2(np.array(errors[:-1]) / errors[1:])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_order_four_for_real_eigenvalues(scheme):
    """Burgers against Cole and Hopf, errors 1e-8 to 2e-13; observed 3.95 to 4.01."""
    grid, nu, end = torus(64), 0.02, 0.5
    start = 0.2 * np.sin(2 * np.pi * grid.coordinates())[None]
    exact = burgers.cole_hopf(start[0, 0], grid, viscosity=nu, times=[end])[0]
    equation = partial(burgers.system, Modes(grid), nu)
    errors = [
        np.abs(run(equation, start, [0, end], step=end / n, scheme=scheme)[0, -1, 0] - exact).max()
        for n in (16, 32, 64, 128, 256)
    ]
    np.testing.assert_allclose(observed_orders(errors), 4.0, atol=0.1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_order_four_for_imaginary_eigenvalues(scheme):
    """Korteweg and de Vries, the same modes by an adaptive method of order 8; observed 3.95 to 4.00."""
    grid = torus(32, upper=40.0)
    modes = Modes(grid)
    system = korteweg_de_vries.system(modes, 6.0, 1.0)
    start = 0.3 * np.cos(2 * np.pi * grid.coordinates() / 40.0)[None]
    state = modes.to_modes(start)

    def slope(t, flat):
        u = flat.reshape(state.shape)
        return (system.linear * u + system.nonlinear(u, t)).ravel()

    found = solve_ivp(slope, (0.0, 1.0), state.ravel(), method="DOP853", rtol=1e-13, atol=1e-16)
    exact = modes.to_values(found.y[:, -1].reshape(state.shape))
    errors = [
        np.abs(run(lambda: system, start, [0, 1], step=1 / n, scheme=scheme)[0, -1] - exact).max()
        for n in (8, 16, 32, 64, 128)
    ]
    np.testing.assert_allclose(observed_orders(errors), 4.0, atol=0.1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_order_four_with_explicit_time(scheme):
    """u_t = 0.05 u_xx - (u^2/2)_x + f with f such that u = sin(2 pi (x - t)) / 5; observed 3.95 to 4.02.

    A stage that sees the time of another would cost at least one order.
    """
    grid, a, k, nu = torus(32), 0.2, 2 * np.pi, 0.05
    modes, x = Modes(grid), grid.coordinates()[0]
    slope, flux = modes.derivative(0), pointwise(modes, lambda u: -(u**2) / 2)

    def force(u, t):
        s, c = np.sin(k * (x - t)), np.cos(k * (x - t))
        return slope * flux(u, t) + modes.to_modes(a * (nu * k**2 * s - k * c + a * k * s * c))

    system = Semilinear(modes, nu * modes.laplacian, force)
    errors = [
        np.abs(
            run(lambda: system, a * np.sin(k * x)[None, None], [0, 0.5], step=0.5 / n, scheme=scheme)[
                0, -1, 0
            ]
            - a * np.sin(k * (x - 0.5))
        ).max()
        for n in (16, 32, 64, 128, 256)
    ]
    np.testing.assert_allclose(observed_orders(errors), 4.0, atol=0.1)


def test_order_conditions_of_the_implicit_explicit_method():
    """All trees up to order 4, each factor either method; and both halves stiffly accurate or consistent."""
    size, b, c = 6, np.array(AdditiveRungeKutta.weights), np.array(AdditiveRungeKutta.nodes)
    explicit, implicit = np.zeros((size, size)), np.diag([0.0] + [0.25] * (size - 1))
    for i in range(1, size):
        explicit[i, :i] = AdditiveRungeKutta.explicit[i]
        implicit[i, :i] += AdditiveRungeKutta.implicit[i]
    for matrix in (explicit, implicit):
        np.testing.assert_allclose(matrix.sum(axis=1), c, atol=1e-15)
    for q, value in ((0, 1), (1, 1 / 2), (2, 1 / 3), (3, 1 / 4)):
        assert b @ c**q == pytest.approx(value, abs=1e-15)
    for one in (explicit, implicit):
        assert b @ one @ c == pytest.approx(1 / 6, abs=1e-15)
        assert (b * c) @ one @ c == pytest.approx(1 / 8, abs=1e-15)
        assert b @ one @ c**2 == pytest.approx(1 / 12, abs=1e-15)
        for other in (explicit, implicit):
            assert b @ one @ other @ c == pytest.approx(1 / 24, abs=1e-15)
    np.testing.assert_array_equal(implicit[-1], b)


def test_the_implicit_part_is_l_stable():
    """u' = L u with h L = -1e8: one step leaves nothing; and |R(iy)| <= 1 on the imaginary axis."""
    u = AdditiveRungeKutta(np.array([-1e8]), 1.0).advance(np.array([1.0 + 0j]), np.zeros_like)
    assert abs(u[0]) < 1e-6
    y = np.linspace(-50, 50, 1001)
    growth = np.abs(AdditiveRungeKutta(1j * y, 1.0).advance(np.ones(y.size, dtype=complex), np.zeros_like))
    assert growth.max() <= 1 + 1e-12


@pytest.mark.parametrize("scheme", SCHEMES)
def test_spectral_accuracy_falls_to_rounding_and_stays(scheme):
    """Burgers against Cole and Hopf: a factor of 10 or more per grid down to 1e-12, then no way up."""
    errors = []
    for n in (8, 16, 24, 32, 48, 64, 128):
        grid = torus(n)
        start = 0.3 * np.sin(2 * np.pi * grid.coordinates())[None]
        equation = partial(burgers.system, Modes(grid), 0.05)
        found = run(equation, start, [0, 0.5], step=1 / 512, scheme=scheme, block=1)
        exact = burgers.cole_hopf(start[0, 0], grid, viscosity=0.05, times=[0.5])[0]
        errors.append(np.abs(found[0, -1, 0] - exact).max())
    assert all(b < a / 10 for a, b in itertools.pairwise(errors[:4]))
    assert max(errors[4:]) < 1e-12


def test_coupled_linear_parts_are_exact_through_their_eigenvectors():
    """u_t = v, v_t = -u for every wave: a rotation; L = diag(i, -i) for u -+ i v."""
    modes = Modes(torus(6, 8), degree=1)
    system = Semilinear(
        modes,
        np.array([1j, -1j]).reshape(2, 1, 1),
        lambda u, t: np.zeros_like(u),
        mix=np.array([[1, -1j], [1, 1j]]),
    )
    start = np.random.default_rng(0).standard_normal((3, 2, 6, 8))
    found = run(lambda: system, start, [0.0, 1.5], step=1.0)[:, 1]
    u, v = start[:, 0], start[:, 1]
    turned = np.stack([u * np.cos(1.5) + v * np.sin(1.5), v * np.cos(1.5) - u * np.sin(1.5)], axis=1)
    np.testing.assert_allclose(found, turned, atol=1e-14)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shape", [(48,), (63,), (64,), (48, 48), (63, 63), (64, 64), (16, 16)])
def test_bits_do_not_depend_on_the_batch(shape, scheme):
    """Parameters and steps of their own; among 3, 9 and alone."""
    rng = np.random.default_rng(1)
    start = rng.standard_normal((9, len(shape), *shape))
    nu, steps = rng.uniform(0.02, 0.1, 9), rng.choice([1e-3, 1.3e-3, 3e-3], 9)
    equation = partial(burgers.system, Modes(torus(*shape)))

    def frames(rows):
        return run(
            equation, start[rows], [0.0, 2e-3], step=steps[rows], parameters=(nu[rows],), scheme=scheme
        )

    together = frames(np.arange(9))
    for rows in ([0, 4, 8], [4], [8]):
        np.testing.assert_array_equal(frames(np.array(rows)), together[rows])


def test_one_sample_may_blow_up_alone():
    """A start of 1e30 is lost from the second frame on; its neighbors keep their bits."""
    equation = partial(burgers.system, Modes(torus(32)), 0.01)
    start = np.random.default_rng(0).standard_normal((3, 1, 32))
    wild = start.copy()
    wild[1] *= 1e30
    calm, found = (run(equation, u, [0.0, 0.02, 0.04], step=0.005) for u in (start, wild))
    assert np.isfinite(found[1, 0]).all() and np.isnan(found[1, 1:]).all()
    np.testing.assert_array_equal(found[[0, 2]], calm[[0, 2]])


def test_frames_are_hit_by_whole_steps():
    """Pure growth u' = u is exact with any steps: frames at uneven times, steps that do not divide them."""
    modes = Modes(torus(8), degree=1)
    system = Semilinear(modes, np.ones(1), lambda u, t: np.zeros_like(u))
    times = [1.0, 1.25, 2.0, 2.0625]
    found = run(lambda: system, np.ones((1, 1, 8)), times, step=0.1)
    np.testing.assert_allclose(found[0, :, 0, 0], np.exp(np.array(times) - 1.0), rtol=1e-14)
    for bad in ([0.0, 0.0], [1.0, 0.5], []):
        with pytest.raises(ConfigError, match="times must increase"):
            run(lambda: system, np.ones((1, 1, 8)), bad, step=0.1)
    for bad in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="step must be positive"):
            run(lambda: system, np.ones((1, 1, 8)), times, step=bad)
    np.testing.assert_array_equal(
        longest_steps(np.array([0.1, np.nan, np.inf]), np.array([1.0, 3.0]), math.inf), [0.1, 2.0, 2.0]
    )


def test_resampling_keeps_the_waves_that_both_grids_hold():
    coarse, fine = torus(12, lower=-1.0), torus(30, lower=-1.0)
    wave = np.cos(3 * np.pi * coarse.coordinates()[0] + 0.3)
    high = np.sin(9 * np.pi * fine.coordinates()[0])
    there = resample(wave, coarse, fine)
    np.testing.assert_allclose(there, np.cos(3 * np.pi * fine.coordinates()[0] + 0.3), atol=1e-14)
    np.testing.assert_allclose(resample(there + high, fine, coarse), wave, atol=1e-14)


@dataclass(frozen=True)
class Diffusion:
    """u_t = u_xx (+ u_yy), two components."""

    grid: Grid

    def evolve(self, initial, times, *, step):
        modes = Modes(self.grid.with_shape(initial.shape[2:]), degree=1)
        system = Semilinear(modes, 1.0 * modes.laplacian, lambda u, t: np.zeros_like(u))
        return run(lambda: system, initial, times, step=step)


@pytest.mark.parametrize("components", [(), (2,)])
@pytest.mark.parametrize("rank", [1, 2])
def test_stepper_on_a_coarser_grid(components, rank):
    """Waves that the coarse grid holds decay exactly; frame 0 is what was given, high waves included."""
    solver = SpectralSolver(Diffusion(torus(*[32] * rank)), 8, 0.01)
    assert isinstance(solver, Stepper)
    assert solver.name == "pseudo-spectral 8, steps up to 0.01".replace(" 8", " 8x8" if rank == 2 else " 8")
    x = torus(*[16] * rank).coordinates()[0]
    low, high = np.sin(4 * np.pi * x), np.cos(12 * np.pi * x)
    initial = torch.from_numpy(np.broadcast_to(low + high, (3, *components, *x.shape)).astype(np.float32))
    frames = solver.trajectory(initial, [0.5, 0.51, 0.52])
    assert frames.dtype == torch.float32 and frames.shape == (3, 3, *components, *x.shape)
    torch.testing.assert_close(frames[:, 0], initial)
    decayed = np.exp(-0.02 * (4 * np.pi) ** 2) * low
    np.testing.assert_allclose(frames[:, 2].numpy(), np.broadcast_to(decayed, frames[:, 2].shape), atol=1e-6)
    with pytest.raises(ShapeError, match=f"with {rank} axes of space"):
        solver.trajectory(torch.zeros(8), [0.0, 1.0])


def shock(modes):
    return burgers.system(modes, 0.01)


def test_one_instance_is_refined_until_it_no_longer_changes():
    """Burgers with a front 0.02 wide on 32 points: the solver takes more, and says what is left."""
    grid, times = torus(32, lower=-1.0), [0.0, 0.3, 0.6]
    frames, accuracy = solved("shock", shock, lambda x: -np.sin(np.pi * x), grid, times=times, tolerance=1e-7)
    exact = burgers.cole_hopf(lambda x: -np.sin(np.pi * x), grid, viscosity=0.01, times=times)
    assert accuracy["refinement"] == 16 and accuracy["spectral_tail"] < 1e-4
    assert accuracy["relative_error"] <= 1e-7
    assert np.abs(frames[:, 0] - exact).max() < accuracy["spectral_tail"]
    fixed, told = solved(
        "shock", shock, lambda x: -np.sin(np.pi * x), grid, times=times, step=1e-3, refinement=32
    )
    assert told["time_step"] == 1e-3 and "relative_error" not in told
    assert np.abs(fixed[:, 0] - exact).max() < 1e-8


def test_a_kink_that_nothing_smooths_ends_the_refinement():
    """u_t = -u_x keeps the kink of |x|, whose waves fall like k^-2: their tail like n^(-3/2)."""

    def transport(modes):
        return Semilinear(modes, -modes.derivative(0), lambda u, t: np.zeros_like(u))

    grid = torus(512, lower=-1.0)
    with pytest.warns(UserWarning, match="2 times the points of the grid leave waves out"):
        found, accuracy = solved("kink", transport, np.abs, grid, times=[0.0, 1.0])
    assert accuracy["refinement"] == 2 and 1e-6 < accuracy["spectral_tail"] < 1e-4
    exact = 1 - np.abs(grid.axes[0].coordinates)
    error = np.linalg.norm(found[1, 0] - exact) / np.linalg.norm(exact)
    assert error / 3 < accuracy["relative_error"] < 3 * error


def test_one_instance_says_what_the_bound_of_work_left_of_the_tolerance(monkeypatch):
    grid, times = torus(64, lower=-1.0), [0.0, 0.3]
    exact = burgers.cole_hopf(lambda x: -np.sin(np.pi * x), grid, viscosity=0.1, times=times)
    for bound in (2**17, 2**18):
        monkeypatch.setattr(periodic, "_BUDGET", bound)
        with pytest.warns(UserWarning, match="more than the tolerance 1e-13: less would take long"):
            frames, told = solved(
                "shock",
                lambda m: burgers.system(m, 0.1),
                lambda x: -np.sin(np.pi * x),
                grid,
                times=times,
                tolerance=1e-13,
            )
        error = np.linalg.norm(frames[1, 0] - exact[1]) / np.linalg.norm(exact[0])
        assert error / 2 < told["relative_error"] < 2 * error
        assert bound / 8 < 0.3 / told["time_step"] * (64 * told["refinement"] + 2000) <= bound


def test_one_instance_refuses(monkeypatch):
    grid = torus(16)
    monkeypatch.setattr(periodic, "_BUDGET", 2**22)
    with pytest.raises(DataError, match="shock: the solution blows up, with steps of"):
        solved(
            "shock", lambda m: burgers.system(m, -1.0), lambda x: np.sin(2 * np.pi * x), grid, times=[0, 9]
        )
    with pytest.raises(DataError, match="shock: "):
        solved("shock", shock, lambda x: 1e9 * np.sin(2 * np.pi * x), grid, times=[0, 9], step=1.0)
    with pytest.raises(ConfigError, match="periodic nodes"):
        solved("shock", shock, 0.0, Grid.box((16,)), times=[0, 1])
    with pytest.raises(ConfigError, match="whole number as refinement"):
        solved("shock", shock, 0.0, grid, times=[0, 1], refinement=0)
    with pytest.raises(ConfigError, match="times must increase"):
        solved("shock", shock, 0.0, grid, times=[1, 1])
    with pytest.raises(ShapeError, match="initial must have shape"):
        solved("shock", shock, np.zeros(8), grid, times=[0, 1])
    with pytest.warns(
        UserWarning, match="relative error of the result is about .* more than the tolerance 1e-20"
    ):
        solved("shock", shock, lambda x: np.sin(2 * np.pi * x), grid, times=[0, 1], tolerance=1e-20)
    constant, accuracy = solved("shock", shock, 2.0, grid, times=[0, 1])
    np.testing.assert_allclose(constant, 2.0, rtol=1e-14)
    assert accuracy["relative_error"] < 1e-14


@pytest.mark.parametrize("name", ["Burgers", "KortewegDeVries", "KuramotoSivashinsky", "Schrodinger"])
@pytest.mark.parametrize("n", [48, 63, 64])
def test_bits_of_generators(name, n):
    import sciml.datasets

    generator = replace(getattr(sciml.datasets, name)(resolution=n), final_time=0.1, frames=3)
    (together,) = generator.sample(range(10))
    for i in (0, 9):
        np.testing.assert_array_equal(generator.sample([i])[0][0], together[i])


@pytest.mark.parametrize("name", ["Burgers", "KortewegDeVries", "KuramotoSivashinsky", "Schrodinger"])
def test_baselines_of_generators(name):
    """The generator's own scheme with longer steps, good to 1e-2; with a quarter of the points worse."""
    import sciml.datasets

    generator = replace(getattr(sciml.datasets, name)(resolution=64), frames=3)
    (frames,) = generator.sample([1, 2])
    errors = []
    for solver in generator.baselines():
        found = solver.trajectory(torch.from_numpy(frames[:, 0]), generator.times.tolist()).numpy()
        errors.append(np.linalg.norm(found[:, 1:] - frames[:, 1:]) / np.linalg.norm(frames[:, 1:]))
    assert len(errors) == 4 and errors[0] < 1e-2 and errors[0] < errors[2]
