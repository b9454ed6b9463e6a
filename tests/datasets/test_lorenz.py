"""Lorenz's systems and the Runge-Kutta methods under them: orders, stored digits, invariants, a table."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from sciml.datasets import lorenz
from sciml.datasets.lorenz import Lorenz63, Lorenz96, OrbitSolver
from sciml.datasets.numerics.runge_kutta import integrate, tableau
from sciml.description import build, describe
from sciml.errors import ConfigError, ShapeError

# x, y, z at t = 1, 2, 10 from (1, 1, 1): Taylor series of order 30 with steps 1/64 in 40 digits (mpmath);
# with order 50 and steps 1/32 the same.
DIGITS_63 = {
    1.0: (-9.37857001092506236, -8.35703378842664473, 29.3623253373634182),
    2.0: (-8.17349993224224961, -9.56202368679879946, 24.6207020496796657),
    10.0: (-4.90268754113464573, -3.74387292180291962, 24.6908581027905555),
}
# Sites 15 .. 24 at t = 1 and 2 from 8 everywhere but 8.01 at site 19; order 25, steps 1/32, 40 digits.
DIGITS_96 = {
    1.0: (
        7.74890562740791384, 7.50568007748864784, 7.66467689777121257, 8.33037125860741575,
        8.96471665819356152, 8.50642590567802884, 6.91748765788835328, 6.07808114474781243,
        7.20586977297630561, 9.55856966630554433,
    ),
    2.0: (
        2.22073800965339687, 2.64940778382837168, 3.52761789321850257, 10.0587917021953938,
        1.93041612521484029, -0.314341146314536594, -1.63621673547283303, 2.65552392662946613,
        0.832696507937770536, 0.781474840865068824,
    ),
}  # fmt: skip


def circle(y):
    """y' = (-y_2, y_1) (2 + y_1) / 2: around a circle at varying speed."""
    return np.stack([-y[1], y[0]]) * (1 + y[0] / 2)


def on_circle(t):
    """The angle obeys a' = 1 + cos(a) / 2, solved by tan(a / 2) = sqrt(3) tan(sqrt(3) t / 4)."""
    angle = 2 * math.atan(math.sqrt(3) * math.tan(math.sqrt(3) / 4 * t))
    return np.array([math.cos(angle), math.sin(angle)])


@pytest.mark.parametrize(
    ("order", "rate", "start", "exact", "steps"),
    [
        (4, circle, [1.0, 0.0], on_circle(1.0), [16, 32, 64, 128, 256]),
        (5, lambda y: 3 * y * (1 - y), [0.8], 1 / (1 + math.exp(-3) / 4), [8, 16, 32, 64, 128]),
        (8, circle, [1.0, 0.0], on_circle(1.0), [2, 3, 4, 6, 8]),
    ],
)
def test_orders(order, rate, start, exact, steps):
    """Over unit time; of order 8, which reaches rounding at once, with refinements by less than 2."""
    errors = [
        np.linalg.norm(integrate(rate, np.array(start), [0.0, 1.0], step=1 / n, order=order)[1] - exact)
        for n in steps
    ]
    orders = -np.diff(np.log(errors)) / np.diff(np.log(steps))
    np.testing.assert_allclose(orders, order, atol=0.05)


@pytest.mark.parametrize(("order", "real", "imaginary"), [(4, 2.7853, 8**0.5), (5, 3.3066, None)])
def test_limits_of_stability(order, real, imaginary):
    """y' = z y grows beyond the known ends of the intervals of stability, and not before."""

    def growth(z):
        turn = np.array([[z.real, -z.imag], [z.imag, z.real]])
        return np.linalg.norm(integrate(lambda y: turn @ y, np.array([1.0, 0.0]), [0.0, 1.0], order=order)[1])

    for z, limit in ((-1.0, real), (1j, imaginary)):
        if limit:
            assert growth(complex(z * (limit - 1e-3))) < 1 < growth(complex(z * (limit + 1e-3)))


def test_frames_are_hit_by_whole_steps():
    """Exact for polynomials below the order, also in unequal intervals that no step divides."""
    times = [0.0, 0.31, 0.5, 2.0]
    slope = lambda y: np.stack([np.ones(1), 3 * y[0] ** 2])  # noqa: E731
    found = integrate(slope, np.zeros((2, 1)), times, step=0.1, order=4)
    np.testing.assert_allclose(found[:, 1, 0], np.array(times) ** 3, rtol=1e-14)
    with pytest.raises(ConfigError, match="order is 4, 5 or 8"):
        tableau(6)


def test_stored_digits_63():
    """Rounding of 1e-16 grows by e^(0.9 t): 1e-13 after 2 and 1e-9 after 10 units of time."""
    found = lorenz.solve([1.0, 1.0, 1.0], times=[0.0, *DIGITS_63], step=1 / 256)
    for t, digits in DIGITS_63.items():
        here = [found[name].sel(time=t).item() for name in "xyz"]
        np.testing.assert_allclose(here, digits, rtol=1e-12 if t < 3 else 1e-8)


def test_stored_digits_96():
    start = np.full(40, 8.0)
    start[19] = 8.01
    found = lorenz.solve(start, system=Lorenz96(), times=[0.0, *DIGITS_96])["u"]
    for t, digits in DIGITS_96.items():
        np.testing.assert_allclose(found.sel(time=t).values[15:25], digits, atol=1e-11)


def test_table_of_deepxde(test_data):
    """Every row is one step of Dormand and Prince's method of order 5 from the row before, to rounding.

    Sigma 10, rho 15, beta 8/3, from (-8, 7, 27).  The steps are the long ones of a solver with a loose
    tolerance, and that is why the table is 0.0123 off the solution.
    """
    table = np.load(test_data / "deepxde" / "Lorenz.npz")
    times, states = table["t"].ravel().tolist(), table["y"]
    system = Lorenz63(rho=15.0)
    steps = integrate(system.rate, states[0][:, None], times, order=5)[..., 0]
    np.testing.assert_allclose(steps, states, atol=1e-12)
    found = lorenz.solve(states[0], system=system, times=times)
    off = np.abs(np.stack([found[name] for name in "xyz"], axis=1) - states)
    assert off.max() == pytest.approx(0.01226, abs=1e-5)


def test_rest_and_symmetry_63():
    """The origin and the two points of steady convection stay; (x, y, z) -> (-x, -y, z) is a symmetry."""
    root = math.sqrt(8 / 3 * 27)
    for point in ([0.0, 0.0, 0.0], [root, root, 27.0], [-root, -root, 27.0]):
        np.testing.assert_allclose(Lorenz63().rate(np.array(point)[:, None]), 0.0, atol=1e-13)
    one = lorenz.solve([1.0, 2.0, 20.0], times=[0.0, 1.0])
    other = lorenz.solve([-1.0, -2.0, 20.0], times=[0.0, 1.0])
    assert [other[n][1].item() for n in "xyz"] == [
        s * one[n][1].item() for n, s in zip("xyz", (-1, -1, 1), strict=True)
    ]


def test_volumes_shrink_63():
    """By exp(-(sigma + 1 + beta) t): the determinant of a small tetrahedron's sides."""
    corners = np.array([20.0, 5.0, 30.0]) + 1e-5 * np.vstack([np.zeros(3), np.eye(3), -np.eye(3)])
    moved = integrate(Lorenz63().rate, corners[..., None], [0.0, 0.2], step=1 / 128)[1, ..., 0]
    volume = np.linalg.det((moved[1:4] - moved[4:]) / 2e-5)
    assert volume == pytest.approx(math.exp(-0.2 * (11 + 8 / 3)), rel=1e-6)


def test_budget_of_energy_96():
    """The advection keeps sum x^2 / 2: d/dt = -sum x^2 + F sum x; and the sites are alike."""
    x = 3 * np.random.default_rng(0).standard_normal((5, 40))
    rate = Lorenz96().rate(x)
    np.testing.assert_allclose((x * rate).sum(axis=1), 8 * x.sum(axis=1) - (x**2).sum(axis=1), rtol=1e-13)
    np.testing.assert_array_equal(Lorenz96().rate(np.roll(x, 7, axis=1)), np.roll(rate, 7, axis=1))
    i = 11
    assert rate[2, i] == pytest.approx((x[2, i + 1] - x[2, i - 2]) * x[2, i - 1] - x[2, i] + 8)


@pytest.mark.parametrize("cls", [Lorenz63, Lorenz96])
def test_samples(cls):
    data = cls(frames=3, final_time=1.0, spin_up=1.0)
    (u,) = data.sample(range(7))
    for i in (0, 4):
        np.testing.assert_array_equal(data.sample([i])[0][0], u[i])
    finer = dataclasses.replace(data, resolution=4 * data.resolution).sample(range(7))[0]
    np.testing.assert_array_equal(finer[:, 0], u[:, 0])  # the same starts
    error = data.estimate_error(range(7), (u,))
    for i in range(7):
        truth = np.linalg.norm(u[i] - finer[i]) / np.linalg.norm(u[i])
        assert error[i] == pytest.approx(truth, rel=0.1)
    assert error.max() < 1e-6
    assert build(describe(data)) == data and data.baselines()[0] == build(describe(data.baselines()[0]))


@pytest.mark.slow
def test_statistics_of_the_attractor():
    """Known means of long runs: z 23.55, x^2 62.8 for Lorenz 63; x 2.34, deviation 3.64 for Lorenz 96."""
    (u,) = Lorenz63(resolution=32, final_time=20.0, frames=201).sample(range(64))
    assert u[:, :, 2].mean() == pytest.approx(23.55, abs=0.1)
    assert (u[:, :, 0] ** 2).mean() == pytest.approx(62.8, abs=1.0)
    (x,) = Lorenz96(resolution=16, final_time=5.0, frames=21).sample(range(64))
    assert x.mean() == pytest.approx(2.34, abs=0.06) and x.std() == pytest.approx(3.64, abs=0.06)


def test_baselines():
    for data in (Lorenz63(resolution=32, frames=5), Lorenz96(resolution=16, frames=5)):
        (u,) = data.sample([0, 1])
        initial = torch.from_numpy(u[:, 0].copy())
        errors = [
            np.abs(b.trajectory(initial, data.times.tolist()).numpy() - u).max() for b in data.baselines()
        ]
        assert errors[0] == 0 < errors[1] < errors[2]
    assert OrbitSolver(Lorenz96(), 0.1).trajectory(initial.float(), [0.0, 0.1]).dtype == torch.float32


def test_refusals():
    for cls in (Lorenz63, Lorenz96):
        for settings in ({"resolution": 0}, {"frames": 1}, {"final_time": 0.0}, {"spin_up": -1.0}):
            with pytest.raises(ConfigError, match=f"{cls.__name__}: {next(iter(settings))} must be"):
                cls(**settings)
    with pytest.raises(ConfigError, match="rho must be finite"):
        Lorenz63(rho=math.nan)
    with pytest.raises(ConfigError, match="sites must be at least 4, got 3"):
        Lorenz96(sites=3)
    with pytest.raises(ShapeError, match=r"shape \(3,\), got \(2,\)"):
        lorenz.solve([1.0, 2.0])
    with pytest.raises(ConfigError, match="step must be positive"):
        lorenz.solve([1.0, 2.0, 3.0], step=0.0)
