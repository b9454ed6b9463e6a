"""Chebyshev polynomials: spectral convergence down to rounding, exactness on polynomials."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.datasets.numerics.chebyshev import Chebyshev
from sciml.errors import ConfigError

SIZES = (9, 17, 33, 65, 129)


def smooth(x):
    """A function that is analytic on [0, 2], and its first two derivatives."""
    u = np.exp(np.sin(3 * x))
    return u, 3 * np.cos(3 * x) * u, 9 * (np.cos(3 * x) ** 2 - np.sin(3 * x)) * u


def errors(measure):
    return np.array([measure(Chebyshev(size, 0.0, 2.0)) for size in SIZES])


def test_interpolation_and_integral_fall_to_rounding_and_stay():
    x = np.linspace(0.0, 2.0, 301)
    exact, weights = np.polynomial.legendre.leggauss(60)
    integral = weights @ smooth(exact + 1)[0]
    found = errors(lambda line: np.abs(line.interpolation(x) @ smooth(line.points)[0] - smooth(x)[0]).max())
    assert found[0] > 1e-2 and (found[-2:] < 1e-14 * np.e * 10).all()
    found = errors(lambda line: abs(line.weights @ smooth(line.points)[0] - integral))
    assert found[0] > 1e-5 and (found[-3:] < 1e-13).all()


@pytest.mark.parametrize(("order", "least"), [(1, 1e-12), (2, 1e-9)])
def test_derivatives_fall_to_rounding_and_stay(order, least):
    """Rounding grows like eps n^2 and eps n^4 / 10: at 65 points to 1e-12 and 4e-10, at 129 by 4 and 16."""
    found = errors(
        lambda line: np.abs(
            line.derivative(order) @ smooth(line.points)[0] - smooth(line.points)[order]
        ).max()
    )
    assert (found[1:4] < 0.05 * found[:3]).all()
    assert found[3] < least and found[4] < 4 * 4 ** (order - 1) * least


@pytest.mark.parametrize("size", [2, 3, 4, 9, 20])
def test_polynomials_are_exact(size):
    """Of the highest degree that the points determine."""
    line = Chebyshev(size, -1.0, 3.0)
    p = np.polynomial.Polynomial(np.random.default_rng(0).standard_normal(size), domain=[-1.0, 3.0])
    x = np.linspace(-1.0, 3.0, 17)
    np.testing.assert_allclose(line.interpolation(x) @ p(line.points), p(x), atol=1e-13)
    for order in (1, 2, 3):
        exact = p.deriv(order)(line.points)
        # Rounding of derivatives: eps n^(2 order) of the values, which are below 10.
        close = 1e-14 * size ** (2 * order)
        np.testing.assert_allclose(line.derivative(order) @ p(line.points), exact, atol=close)
    np.testing.assert_allclose(line.weights @ p(line.points), p.integ()(3.0) - p.integ()(-1.0), atol=1e-13)


def test_points_and_constants():
    line = Chebyshev(64)
    np.testing.assert_array_equal(line.points, -line.points[::-1])
    assert line.points[0] == -1.0 and line.points[-1] == 1.0 and (np.diff(line.points) > 0).all()
    assert np.abs(line.derivative() @ np.ones(64)).max() < 1e-12
    np.testing.assert_array_equal(Chebyshev(9, 0.3, 0.7).points[[0, -1]], [0.3, 0.7])


@pytest.mark.parametrize("arguments", [(1,), (4, 1.0, 1.0), (4, 0.0, np.inf)])
def test_bad_settings(arguments):
    with pytest.raises(ConfigError, match="size >= 2 and finite lower < upper"):
        Chebyshev(*arguments)
