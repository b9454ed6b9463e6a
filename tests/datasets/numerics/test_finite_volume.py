"""The finite-volume scheme on scalar laws: limiters, WENO, orders, conservation, boundaries, steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from sciml.datasets.numerics.finite_volume import (
    FiniteVolumes,
    boundary_pairs,
    cell_averages,
    half_slopes,
    weno5,
)
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid

LIMITERS = ("minmod", "mc", "van_leer")


@dataclass(frozen=True)
class Transport:
    """u_t + div(velocity u) = 0, with the upwind flux."""

    velocity: tuple[float, ...]
    components: int = 1

    @property
    def rank(self):
        return len(self.velocity)

    def primitive(self, u):
        return u.copy()

    def speed(self, w, axis):
        return np.full(w.shape[1:], abs(self.velocity[axis]))

    def fluxes(self, left, right, axis):
        c = self.velocity[axis]
        flux = c * (left if c > 0 else right)
        return flux, flux

    def source(self, low, high, axis):
        return None

    def restore(self, u):
        return np.zeros(u.shape[1:], dtype=bool)


@dataclass(frozen=True)
class Burgers(Transport):
    """u_t + (u^2 / 2)_x = 0 with Godunov's flux."""

    velocity: tuple[float, ...] = (0.0,)

    def speed(self, w, axis):
        return np.abs(w[0])

    def fluxes(self, left, right, axis):
        flux = np.maximum(np.maximum(left, 0) ** 2, np.minimum(right, 0) ** 2) / 2
        return flux, flux


@dataclass(frozen=True)
class Decay(Transport):
    """u' = -u^2, at a speed that sets the step."""

    velocity: tuple[float, ...] = (1.0,)
    spacing: float = 1.0

    def fluxes(self, left, right, axis):
        return np.zeros_like(left), np.zeros_like(left)

    def source(self, low, high, axis):
        return -self.spacing * ((low + high) / 2) ** 2


def circle(n, rank=1):
    return Grid.box((n,) * rank, periodic=True)


def transported(n, rank, limiter, time):
    """Errors (mean, largest) of averages of prod_i sin(2 pi x_i)^4-like waves after some time."""
    law = Transport((1.0, -0.5, 0.7)[:rank])
    grid = circle(n, rank)

    def exact(t):
        """Averages of prod (1 + sin(2 pi (x - c t)) / 2): those of a sine have the factor sinc."""
        found = np.ones(())
        for c, axis in zip(law.velocity, grid.axes, strict=True):
            wave = np.sin(2 * np.pi * (axis.coordinates - c * t)) * np.sinc(axis.spacing)
            found = np.multiply.outer(found, 1 + wave / 2)
        return found

    frames, _ = FiniteVolumes(grid, law, limiter).run(exact(0.0)[None, None], [0.0, time])
    error = np.abs(frames[0, -1, 0] - exact(time))
    return error.mean(), error.max()


def orders(errors):
    return np.log2(np.array(errors[:-1]) / errors[1:])


# Reconstruction.


@pytest.mark.parametrize("limiter", LIMITERS)
def test_limited_slopes(limiter):
    """Exact on lines, odd, equal in a mirror, zero at extrema; faces stay between the neighbors."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 50)) * 10.0 ** rng.integers(-8, 8, (3, 50))
    found = half_slopes(values, 1, limiter)
    np.testing.assert_array_equal(half_slopes(3.0 * np.arange(6), 0, limiter), 1.5)
    np.testing.assert_array_equal(half_slopes(-values, 1, limiter), -found)
    np.testing.assert_array_equal(half_slopes(values[:, ::-1], 1, limiter), -found[:, ::-1])
    a, b = values[:, 1:-1] - values[:, :-2], values[:, 2:] - values[:, 1:-1]
    assert (found[a * b <= 0] == 0).all() and (found != 0).any()
    # It reaches a neighbor at most; the bound carries one rounding.
    assert (np.abs(found) <= np.minimum(np.abs(a), np.abs(b)) * (1 + 1e-15)).all()


def test_limiters_by_hand():
    values = np.array([0.0, 1.0, 4.0])
    assert [2 * half_slopes(values, 0, limiter).item() for limiter in LIMITERS] == [1.0, 2.0, 1.5]


def test_weno_has_order_five_also_at_extrema():
    errors = []
    for n in (80, 160, 320, 640, 1280):
        edges = 2 * np.pi * np.arange(n + 1) / n
        centers = edges[:-1] + np.pi / n
        averages = np.cos(centers) * np.sinc(1 / n) - np.sin(2 * centers) * np.sinc(2 / n)
        low, high = weno5(np.concatenate([averages[-2:], averages, averages[:2]]), 0)
        exact = np.cos(edges) - np.sin(2 * edges)
        errors.append(max(np.abs(low - exact[:-1]).max(), np.abs(high - exact[1:]).max()))
    np.testing.assert_allclose(orders(errors), 5.0, atol=0.1)


def test_weno_does_not_ring():
    step = np.array([0.0] * 6 + [1.0] * 6)
    for values in (step, -step, 5 + 2 * step):
        low, high = weno5(values, 0)
        span = np.ptp(values)
        # The smooth stencil wins by the fourth power of the jump over 1e-40: nothing is left of the others.
        assert min(low.min(), high.min()) >= values.min() - 1e-14 * span
        assert max(low.max(), high.max()) <= values.max() + 1e-14 * span
    mirrored = weno5(step[::-1], 0)
    np.testing.assert_allclose(mirrored[0], weno5(step, 0)[1][::-1], rtol=0, atol=1e-15)


# Orders.


@pytest.mark.parametrize(("limiter", "least"), [("mc", 1.9), ("van_leer", 1.9), ("minmod", 1.85)])
def test_order_two_in_the_mean(limiter, least):
    """Largest errors fall with 1.2 to 1.5: extrema are clipped, the more so the longer they travel."""
    mean, largest = zip(*(transported(n, 1, limiter, 0.25) for n in (64, 128, 256, 512, 1024)), strict=True)
    assert (np.abs(orders(mean) - 2.0) < 2.1 - least).all() and (orders(mean) > least).all(), orders(mean)
    assert ((orders(largest) > 1.1) & (orders(largest) < 1.7)).all(), orders(largest)


def test_order_two_on_the_square():
    mean, _ = zip(*(transported(n, 2, "van_leer", 0.2) for n in (16, 32, 64, 128)), strict=True)
    np.testing.assert_allclose(orders(mean)[1:], 2.0, atol=0.1)


def test_a_cube_moves():
    """16^3: at least the accuracy of a line of 16 cells, three times over."""
    assert transported(16, 3, "mc", 0.1)[0] < 3 * transported(16, 1, "mc", 0.1)[0]


@pytest.mark.parametrize("stages", [2, 3])
def test_order_of_the_steps(stages):
    """u' = -u^2, u = 1 / (1 + t): no space, steps of 1 / 10 to 1 / 160."""
    errors = []
    for n in (10, 20, 40, 80, 160):
        law = Decay(spacing=0.4 / n)
        grid = Grid.box((2,), upper=0.8 / n, periodic=True)
        scheme = FiniteVolumes(grid, law, stages=stages, courant=0.4)
        frames, _ = scheme.run(np.ones((1, 1, 2)), [0.0, 1.0])
        errors.append(abs(frames[0, -1, 0, 0] - 0.5))
    np.testing.assert_allclose(orders(errors), stages, atol=0.1)
    assert abs(orders(errors)[-1] - stages) < 0.05


def test_error_at_a_shock_falls_with_order_one():
    """u = 1, then 0: the shock moves with 1/2.  A mean error of h to the first power."""
    errors = []
    for n in (100, 200, 400):
        grid = Grid.box((n,), lower=-1.0)
        x = grid.axes[0].coordinates
        frames, _ = FiniteVolumes(grid, Burgers()).run((x < -0.5) * np.ones((1, 1, n)), [0.0, 1.2])
        exact = np.clip((0.1 - (x - grid.axes[0].spacing / 2)) / grid.axes[0].spacing, 0, 1)
        errors.append(np.abs(frames[0, -1, 0] - exact).mean())
    np.testing.assert_allclose(orders(errors), 1.0, atol=0.1)


# What stays.


@pytest.mark.parametrize("limiter", LIMITERS)
def test_sums_stay_and_variation_falls(limiter):
    grid = circle(64)
    u = np.random.default_rng(1).standard_normal((2, 1, 64))
    for law, time in ((Transport((1.0,)), 1.0), (Burgers(), 0.2)):
        frames, _ = FiniteVolumes(grid, law, limiter).run(u, np.linspace(0, time, 6))
        assert np.abs(frames.sum(axis=-1) - u.sum(axis=-1)[:, None]).max() < 1e-13 * 64
        variation = np.abs(np.diff(frames, axis=-1, append=frames[..., :1])).sum(axis=-1)
        assert (np.diff(variation, axis=1) <= 1e-12 * variation[:, :-1]).all()


def test_rarefactions_open_at_sonic_points():
    """-1, then 1: u = x / t, not a standing jump."""
    grid = Grid.box((100,), lower=-1.0)
    x = grid.axes[0].coordinates
    frames, _ = FiniteVolumes(grid, Burgers()).run(np.where(x < 0, -1.0, 1.0)[None, None], [0.0, 0.5])
    exact = np.clip(x / 0.5, -1, 1)
    assert np.abs(frames[0, -1, 0] - exact).mean() < 0.01
    assert np.diff(frames[0, -1, 0]).max() < 2 * grid.axes[0].spacing / 0.5


def test_ends():
    """A wave leaves through "outflow"; "held" goes on with the first cell of the start."""
    grid = Grid.box((40,))
    u = np.exp(-100 * (grid.axes[0].coordinates - 0.5) ** 2)
    u[0] = 3.0
    scheme = FiniteVolumes(grid, Transport((1.0,)), boundary={"x": ("held", "outflow")})
    frames, _ = scheme.run(u[None, None], [0.0, 2.0])
    np.testing.assert_allclose(frames[0, -1, 0], 3.0, rtol=1e-12)
    frames, _ = FiniteVolumes(grid, Transport((-1.0,))).run(u[None, None], [0.0, 2.0])
    np.testing.assert_allclose(frames[0, -1, 0], frames[0, -1, 0, -1], rtol=0, atol=1e-10)


# Batches, frames, failures.


def test_samples_do_not_feel_each_other():
    """Three speeds need 1 to 9 steps per frame; each alone has the same bits as in company."""
    grid, times = circle(48), [0.0, 0.1, 0.15, 0.4]
    u = np.random.default_rng(2).standard_normal((5, 1, 48)) * np.array([0.1, 1, 1, 5, 9])[:, None, None]
    scheme = FiniteVolumes(grid, Burgers())
    together, _ = scheme.run(u, times)
    np.testing.assert_array_equal(together[:, 0], u)
    for i in range(5):
        np.testing.assert_array_equal(scheme.run(u[i : i + 1], times)[0], together[i : i + 1])


def test_a_lost_sample_is_nan_and_alone():
    u = np.random.default_rng(3).standard_normal((3, 1, 16))
    u[1, 0, 4] = 1e300
    frames, _ = FiniteVolumes(circle(16), Burgers()).run(u, [0.0, 0.1, 0.2])
    assert np.isnan(frames[1, 1:]).all() and np.isfinite(frames[[0, 2]]).all()


def test_what_is_refused():
    law = Transport((1.0,))
    with pytest.raises(ShapeError, match="the law has 1 axes, the grid 2"):
        FiniteVolumes(circle(8, 2), law)
    with pytest.raises(ShapeError, match="at least two points, which are cells"):
        FiniteVolumes(Grid.box((8,), location="node"), law)
    with pytest.raises(ConfigError, match="limiter is one of"):
        FiniteVolumes(circle(8), law, "superbee")
    with pytest.raises(ConfigError, match="2 or 3 stages and a Courant number"):
        FiniteVolumes(circle(8), law, courant=0.9)
    with pytest.raises(ShapeError, match="initial must have shape"):
        FiniteVolumes(circle(8), law).run(np.zeros((8,)), [0.0, 1.0])
    with pytest.raises(ConfigError, match="times must increase"):
        FiniteVolumes(circle(8), law).run(np.zeros((1, 1, 8)), [0.0, 0.0])
    for wrong in ("open", {"x": ("wall",)}, {"y": "wall"}, {}, None, ("wall", "wall"), {"x": 5}):
        with pytest.raises(ConfigError, match="boundary"):
            boundary_pairs(wrong, Grid.box((8,)))


def test_averages_of_blocks():
    values = np.arange(48.0).reshape(2, 4, 6)
    found = cell_averages(values, 2, 2)
    assert found.shape == (2, 2, 3) and found[1, 0, 2] == values[1, :2, 4:].mean()
