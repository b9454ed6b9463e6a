"""Semilinear heat flow from a radial start: one coordinate in space, however many dimensions there are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WIDTH = 5.0  # where the start has fallen to half of its largest value, squared
TOP = 0.5  # that value
_TOLERANCE = 1e-12  # relative to the largest value


def radial(
    reaction: Callable[[Array], Array], dim: int, squares: Array, times: Array, *, points: int
) -> Array:
    r"""u of ``u_t = Laplace(u) + f(u)`` from ``1 / (2 + 0.4 |x|^2)`` at points by ``|x|^2`` and t: (n,).

    In ``y = s / (s + |x|^2)`` and ``log s``, s = 5 + 2 d t, the equation is

        u_{log s} = (2/d) (1 - y) (y^3 u_yy + 2 y^2 u_y) - y u_y + s f(u) / (2 d)

    on (0, 1), where it degenerates at both ends and needs no condition.  Without f and the first term
    u = 2.5 y / s would solve it; so u is smooth in y, at all times and in all dimensions.  Chebyshev
    polynomials in y, Runge and Kutta's method of order 8 in log s.

    Parameters
    ----------
    reaction : function of arrays
        f.
    dim : int
        d.
    squares, times : (n,)
    points : int
        Degree of the polynomials, plus one.
    """
    from scipy.integrate import solve_ivp

    angles = math.pi * np.arange(points) / (points - 1)
    y = (1 - np.cos(angles)) / 2
    slope = 2 * _differentiation(-np.cos(angles))
    spread = (2 / dim * (1 - y) * y**2)[:, None] * (y[:, None] * slope @ slope + 2 * slope)
    flow = spread - y[:, None] * slope

    def rate(logarithm: float, u: Array) -> Array:
        return flow @ u + math.exp(logarithm) / (2 * dim) * reaction(u)

    ends = math.log(WIDTH), math.log(WIDTH + 2 * dim * times.max())
    chosen, back = np.unique(np.log(WIDTH + 2 * dim * times).clip(*ends), return_inverse=True)
    found = solve_ivp(
        rate,
        ends,
        TOP * y,
        method="DOP853",
        t_eval=chosen,
        rtol=_TOLERANCE,
        atol=_TOLERANCE * 1e-3,
    )
    modes = np.linalg.solve(np.polynomial.chebyshev.chebvander(2 * y - 1, points - 1), found.y)
    width = WIDTH + 2 * dim * times
    table = np.polynomial.chebyshev.chebvander(2 * width / (width + squares) - 1, points - 1)
    values: Array = np.einsum("nk,kn->n", table, modes[:, back])
    return values


def _differentiation(nodes: Array) -> Array:
    """The matrix (n, n) from values at Chebyshev's extrema, ascending, to derivatives there.

    Source: Trefethen, Spectral Methods in MATLAB (2000), chapter 6.
    """
    count = len(nodes)
    signs = (-1.0) ** np.arange(count)
    signs[[0, -1]] *= 2
    gaps = nodes[:, None] - nodes + np.eye(count)
    matrix: Array = signs[:, None] / signs / gaps
    matrix -= np.diag(matrix.sum(1))
    return matrix
