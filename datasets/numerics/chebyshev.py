"""Polynomials through the Chebyshev-Gauss-Lobatto points of an interval, shared by the bounded solvers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.errors import ConfigError

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Chebyshev:
    r"""The polynomials of degree ``size - 1`` on [lower, upper], known by their values at ``size`` points.

    The points are the extrema of the Chebyshev polynomial T_n, n = size - 1, in increasing order and with
    both ends.  For a function that is analytic near the interval, interpolation, derivatives and integrals
    converge faster than any power of 1/n, until rounding takes over.

    Parameters
    ----------
    size : int
        Points, at least 2.
    lower, upper : float

    Raises
    ------
    ConfigError
        If ``size`` or the interval is out of range.

    Notes
    -----
    Rounding: differences of points come from products of sines, the diagonal of a derivative from the row
    sums, so that constants have derivative zero to the last bit of the sum.  An error of the size of the
    rounding in the values grows by about n^2 in the first and n^4 / 10 in the second derivative.

    Sources: Trefethen, *Spectral Methods in MATLAB* (2000), chapters 6 and 12 (points, weights); Weideman and
    Reddy, ACM Trans. Math. Softw. 26 (2000) 465, equation (9) (derivatives of any order); Berrut and
    Trefethen, SIAM Review 46 (2004) 501, section 5 (barycentric interpolation).

    Examples
    --------
    >>> line = Chebyshev(24, 0.0, 2.0)
    >>> u = np.exp(line.points)
    >>> bool(np.allclose(line.derivative() @ u, u, atol=1e-11))
    True
    >>> bool(np.isclose(line.weights @ u, np.exp(2.0) - 1, rtol=1e-14))
    True
    >>> bool(np.isclose((line.interpolation([0.3]) @ u).item(), np.exp(0.3), rtol=1e-13))
    True
    """

    size: int
    lower: float = -1.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 2 or not -math.inf < self.lower < self.upper < math.inf:
            raise ConfigError(
                "Chebyshev: needs size >= 2 and finite lower < upper, got "
                f"size={self.size}, lower={self.lower}, upper={self.upper}."
            )

    @property
    def points(self) -> Float:
        """The points, (size,), increasing; exactly symmetric about the middle of [-1, 1]."""
        n = self.size - 1
        x = np.sin(math.pi * np.arange(-n, n + 1, 2) / (2 * n))
        points: Float = (self.lower + self.upper) / 2 + (self.upper - self.lower) / 2 * x
        points[[0, -1]] = self.lower, self.upper
        return points

    @property
    def weights(self) -> Float:
        """Clenshaw-Curtis weights, (size,): the integral of the polynomial over the interval."""
        n = self.size - 1
        k = np.arange(0, n + 1, 2)
        # Integrals of T_k over [-1, 1] are 2 / (1 - k^2) for even k; the first and the last term count half.
        moments = 2.0 / (1.0 - k**2)
        moments[(k == 0) | (k == n)] /= 2
        weights: Float = 2 / n * np.cos(math.pi / n * np.outer(np.arange(n + 1), k)) @ moments
        weights[[0, -1]] /= 2
        return weights * (self.upper - self.lower) / 2

    def derivative(self, order: int = 1) -> Float:
        """Matrix (size, size) from values to values of the derivative of that order, at least 1."""
        n = self.size - 1
        a = math.pi * np.arange(n + 1) / n
        # x_i - x_j for increasing points; its lower half mirrors the upper one, so that no sine of an angle
        # near pi loses digits.
        apart = 2 * np.sin((a[:, None] + a) / 2) * np.sin((a[:, None] - a) / 2)
        half = (n + 1) // 2
        apart[n + 1 - half :] = -apart[:half][::-1, ::-1]
        np.fill_diagonal(apart, 1.0)
        sign = (-1.0) ** np.arange(n + 1)
        sign[[0, -1]] *= 2
        ratio = sign[:, None] / sign
        matrix = np.eye(n + 1)
        for p in range(1, order + 1):
            matrix = p * (ratio * np.diag(matrix)[:, None] - matrix) / apart
            np.fill_diagonal(matrix, 0.0)
            np.fill_diagonal(matrix, -matrix.sum(axis=1))
        return matrix * (2 / (self.upper - self.lower)) ** order

    def interpolation(self, x: ArrayLike) -> Float:
        """Matrix (len(x), size) from the values at the points to those of the polynomial at ``x``."""
        from scipy.interpolate import BarycentricInterpolator

        weights = (-1.0) ** np.arange(self.size)
        weights[[0, -1]] /= 2
        basis = BarycentricInterpolator(self.points, np.eye(self.size), wi=weights)
        values: Float = basis(np.asarray(x, dtype=np.float64))
        return values
