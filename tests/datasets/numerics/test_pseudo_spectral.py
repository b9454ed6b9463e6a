"""Truncated Fourier series and ETDRK4: exactness by hand, orders, the odd cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sciml.datasets.numerics.pseudo_spectral import ETDRK4, Modes, velocity
from sciml.errors import ShapeError
from sciml.grid import Axis, Grid


def torus(*shape, lower=0.0, upper=1.0):
    return Grid.box(shape, lower=lower, upper=upper, location="node", periodic=True)


def random(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("shape", [(8,), (9,), (8, 9), (9, 8), (6, 7, 8)])
def test_all_modes_hold_all_values(shape):
    """Rounding: a handful of additions of numbers of order 1."""
    modes = Modes(torus(*shape), degree=1)
    values = random((2, *shape))
    np.testing.assert_allclose(modes.to_values(modes.to_modes(values)), values, atol=1e-14)


@pytest.mark.parametrize("shape", [(12,), (13,), (12, 13), (9, 8, 7)])
@pytest.mark.parametrize("degree", [2, 3])
def test_truncation_is_a_strict_projection(shape, degree):
    """What is kept is |k_j| < n_j / (degree + 1) on every axis, compared with a full complex transform."""
    modes = Modes(torus(*shape), degree=degree)
    values = random((3, *shape))
    axes = tuple(range(1, len(shape) + 1))
    full = np.fft.fftn(values, axes=axes)
    for axis, n in zip(axes, shape, strict=True):
        waves = np.abs(np.fft.fftfreq(n, 1 / n)).reshape(-1, *[1] * (len(shape) - axis))
        full = np.where((degree + 1) * np.round(waves) < n, full, 0.0)
    expected = np.fft.ifftn(full, axes=axes).real
    found = modes.to_values(modes.to_modes(values))
    np.testing.assert_allclose(found, expected, atol=1e-14)
    np.testing.assert_allclose(modes.to_values(modes.to_modes(found)), found, atol=1e-14)


def test_products_do_not_alias_by_hand():
    """cos(2 pi 3 x)^2 = 1/2 + cos(2 pi 6 x)/2; on 9 points wave 6 would fold onto wave 3: not below 9/3.

    On 10 points wave 3 is kept (3 < 10/3) and wave 6 folds onto 4, which is dropped: exactly 1/2 remains.
    The inputs count as well: wave 4 on 10 points is dropped before it can fold.
    """
    for n, kept in ((9, False), (10, True)):
        modes = Modes(torus(n))
        x = modes.grid.coordinates()[0]
        wave = modes.to_values(modes.to_modes(np.cos(6 * np.pi * x)))
        assert np.ptp(wave) == pytest.approx(1.95 if kept else 0.0, abs=0.06)
        product = modes.to_values(modes.to_modes(wave**2))
        np.testing.assert_allclose(product, 0.5 if kept else 0.0, atol=1e-15)
    high = modes.to_modes(np.cos(8 * np.pi * x))
    np.testing.assert_allclose(high, 0.0, atol=1e-15)


@pytest.mark.parametrize("n", [48, 63, 64])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_sample_has_the_same_bits_in_any_batch(n, rank):
    modes = Modes(torus(*[n] * rank))
    values = random((7, *[n] * rank))
    coefficients = modes.to_modes(values)
    back = modes.to_values(coefficients)
    for chosen in ([0], [6], [3, 4, 5], [1, 2, 3, 4, 5]):
        np.testing.assert_array_equal(modes.to_modes(values[chosen]), coefficients[chosen])
        np.testing.assert_array_equal(modes.to_values(coefficients[chosen]), back[chosen])


@pytest.mark.parametrize(("degree", "n"), [(2, 12), (2, 13), (3, 12), (3, 13)])
def test_products_of_any_kept_fields_are_those_of_a_finer_grid(degree, n):
    """Products of `degree` factors need degree * n points to be exact without any truncation."""
    modes = Modes(torus(n, n), degree=degree)
    fine = Modes(torus(degree * n, degree * n), degree=1)
    coefficients = [modes.to_modes(random((n, n), seed)) for seed in range(degree)]
    product = modes.to_modes(math.prod(modes.to_values(c) for c in coefficients))
    exact = fine.to_modes(math.prod(fine.to_values(modes.convert(c, fine)) for c in coefficients))
    np.testing.assert_allclose(product, fine.convert(exact, modes), atol=1e-15)


def test_derivatives_on_unequal_sides():
    grid = Grid((Axis("x", -1.0, 2.0, 12, "node", True), Axis("y", 0.0, 0.5, 15, "node", True)))
    modes = Modes(grid)
    x, y = grid.coordinates()
    p, q = 2 * np.pi / 3, 4 * np.pi
    w = modes.to_modes(np.sin(2 * p * x) * np.cos(3 * q * y))
    by_x = modes.to_values(modes.derivative(0) * w)
    np.testing.assert_allclose(by_x, 2 * p * np.cos(2 * p * x) * np.cos(3 * q * y), atol=1e-13)
    by_y = modes.to_values(modes.derivative(1, order=2) * w)
    np.testing.assert_allclose(by_y, -9 * q**2 * np.sin(2 * p * x) * np.cos(3 * q * y), atol=1e-10)
    laplacian = modes.to_values(modes.laplacian * w)
    expected = -(4 * p**2 + 9 * q**2) * np.sin(2 * p * x) * np.cos(3 * q * y)
    np.testing.assert_allclose(laplacian, expected, atol=1e-10)


@pytest.mark.parametrize("axis", [0, 1])
def test_odd_derivatives_of_the_nyquist_mode_vanish(axis):
    """cos(pi n x) has slope 0 at its crests, the points; its second derivative is -(pi n)^2 of itself."""
    modes = Modes(torus(6, 8), degree=1)
    n = modes.grid.shape[axis]
    crest = np.cos(np.pi * n * modes.grid.coordinates()[axis])
    w = modes.to_modes(crest)
    np.testing.assert_allclose(modes.to_values(modes.derivative(axis) * w), 0.0, atol=1e-14)
    second = modes.to_values(modes.derivative(axis, order=2) * w)
    np.testing.assert_allclose(second, -((np.pi * n) ** 2) * crest, rtol=1e-13)


def test_conversion_to_finer_and_coarser_grids():
    """Common points see the same function; on the way down high waves are cut, not folded."""
    coarse, fine = Modes(torus(12, 9)), Modes(torus(24, 27))
    w = coarse.to_modes(random((12, 9)))
    there = coarse.convert(w, fine)
    np.testing.assert_allclose(fine.to_values(there)[::2, ::3], coarse.to_values(w), atol=1e-14)
    np.testing.assert_array_equal(fine.convert(there, coarse), w)
    line, short = Modes(torus(16)), Modes(torus(8), degree=1)
    values = line.to_modes(random((16,)))  # waves 0 .. 5
    np.testing.assert_array_equal(line.convert(values, short), [*values[:4], 0.0])


@pytest.mark.parametrize("n", [9, 12, 16])
def test_conversion_drops_the_nyquist_mode(n):
    """cos(pi 8 x) at 8 points may be wave 4, -4 or both: no other grid is told which."""
    modes = Modes(torus(8), degree=1)
    crest = modes.to_modes(np.cos(8 * np.pi * modes.grid.coordinates()[0]))
    assert abs(crest[4]) == pytest.approx(1.0)
    np.testing.assert_allclose(modes.convert(crest, Modes(torus(n), degree=1)), 0.0, atol=1e-15)


def test_velocity_has_the_curl_and_no_divergence():
    modes = Modes(torus(18, 15))
    w = modes.to_modes(random((18, 15)))
    u, v = velocity(modes, w)
    curl = modes.derivative(0) * v - modes.derivative(1) * u
    w[0, 0] = 0.0  # the mean has no velocity
    np.testing.assert_allclose(curl, w, atol=1e-16)
    np.testing.assert_allclose(modes.derivative(0) * u + modes.derivative(1) * v, 0.0, atol=1e-16)
    assert u[0, 0] == v[0, 0] == 0
    with pytest.raises(ShapeError, match="two axes"):
        velocity(Modes(torus(8)), np.zeros(3, dtype=complex))


def errors(linear, nonlinear, start, exact, steps, *, autonomous=True):
    found = []
    for count in steps:
        method = ETDRK4(linear, 1.0 / count)
        u = start
        for i in range(count):
            u = method.advance(u, nonlinear, None if autonomous else i / count)
        found.append(np.abs(u - exact).max())
    return np.array(found)


@pytest.mark.parametrize("linear", [0.0, -1.0, -4.0, 0.5, 3j, -1.0 + 5j])
def test_order_four(linear):
    """u' = L u - u^2 has the solution L / (1 + (L/u0 - 1) e^(-L t)), or u0 / (1 + u0 t) for L = 0."""
    start = np.array([0.7 + 0.2j])
    exact = start / (1 + start) if linear == 0 else linear / (1 + (linear / start - 1) * np.exp(-linear))
    eigenvalue = np.array([linear]) if np.iscomplexobj(linear) else np.array([float(linear)])
    found = errors(eigenvalue, lambda u: -(u**2), start, exact, (16, 32, 64, 128, 256))
    np.testing.assert_allclose(np.log2(found[:-1] / found[1:]), 4.0, atol=0.1)


def test_order_four_in_time_dependent_terms():
    """u' = -3 u + e^(-t) cos(5 t) u^2 / 2, for v = 1/u: v' = 3 v - e^(-t) cos(5 t) / 2, solved by hand."""
    start = np.array([0.8])
    particular = 0.5 * (np.exp(-4) * (5 * np.sin(5) - 4 * np.cos(5)) + 4) / 41  # of e^(-4 t) cos(5 t) / 2
    exact = 1 / (np.exp(3.0) * (1 / start - particular))

    def nonlinear(u, t):
        return np.exp(-t) * np.cos(5 * t) * u**2 / 2

    found = errors(np.array([-3.0]), nonlinear, start, exact, (8, 16, 32, 64, 128), autonomous=False)
    np.testing.assert_allclose(np.log2(found[:-1] / found[1:]), 4.0, atol=0.1)


def test_real_and_complex_numbers_take_the_same_step():
    linear, real = np.array([-1.0, -2.0, 0.5]), random((4, 3))
    method, complex_method = ETDRK4(linear, 0.2), ETDRK4(linear + 0j, 0.2)
    expected = method.advance(real, np.sin)
    np.testing.assert_array_equal(method.advance(real + 0j, np.sin), expected)
    np.testing.assert_allclose(complex_method.advance(real + 0j, np.sin), expected, rtol=1e-14)


def test_without_linear_part_it_is_the_classical_method():
    """L = 0: one step of Runge-Kutta's method of order 4; the circle must lose no digit at the center."""
    h, u = 0.3, np.array([0.4 + 0j])

    def slope(v):
        return np.sin(v) + 1

    k1 = slope(u)
    k2 = slope(u + h / 2 * k1)
    k3 = slope(u + h / 2 * k2)
    k4 = slope(u + h * k3)
    expected = u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    np.testing.assert_allclose(ETDRK4(np.zeros(1), h).advance(u, slope), expected, rtol=1e-14)


@pytest.mark.parametrize("z", [-1e-8, -1e-3, -0.3, -1.0, -7.0, -300.0, 0.1j, 3j])
def test_weights_match_their_series_or_formulas(z):
    """phi_n(z) = sum_j z^j / (j + n)!, and f1 = phi1 - 3 phi2 + 4 phi3, 2 f2 = 2 phi2 - 4 phi3, .."""

    def phi(n, z):
        if abs(z) < 5:
            return sum(z**j / math.factorial(j + n) for j in range(60))
        value = np.exp(z)
        for m in range(n):
            value = (value - 1 / math.factorial(m)) / z
        return value

    method = ETDRK4(np.array([z]), 1.0)
    expected = [
        phi(1, z / 2) / 2,
        phi(1, z) - 3 * phi(2, z) + 4 * phi(3, z),
        2 * phi(2, z) - 4 * phi(3, z),
        4 * phi(3, z) - phi(2, z),
    ]
    found = [w[0] for w in (method.q, method.f1, method.f2, method.f3)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_steady_states_are_kept():
    """A state with L u + N(u) = 0 stays, whatever the step."""
    linear = np.array([-1.0, -1e3, 0.0])
    u = np.array([1.0 + 2j, 3.0, 5.0])
    for step in (1e-3, 1.0, 100.0):
        np.testing.assert_allclose(ETDRK4(linear, step).advance(u, lambda v: -linear * u), u, rtol=1e-13)


def test_refusals():
    with pytest.raises(ShapeError, match="periodic axes of nodes"):
        Modes(Grid.box((8, 8)))
    with pytest.raises(ShapeError, match="periodic axes of nodes"):
        Modes(torus(8), degree=0)
    modes = Modes(torus(8, 8))
    with pytest.raises(ShapeError, match=r"values must have shape \(\.\.\., \*\(8, 8\)\), got \(8, 9\)"):
        modes.to_modes(np.zeros((8, 9)))
    with pytest.raises(ShapeError, match="coefficients must have shape"):
        modes.to_values(np.zeros((8, 8), dtype=complex))
