"""Steady incompressible flow in a rectangle: a spline as stream function, collocation, Newton's method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.errors import ConfigError, DivergedError

Float = NDArray[np.float64]

_SMOOTHNESS = 3  # continuous derivatives; with them an equation of fourth order can be collocated
_HIGHEST = 20
_ITERATIONS = 10  # of Newton's method before a step in the Reynolds number counts as too long
_TRIES = 20  # of a step in the Reynolds number; 10000 is reached in ten
_SHORTEST = 1.05  # ratio of successive Reynolds numbers
_TOLERANCE = 1e-7  # of the last change; convergence is quadratic, so that about its square is left


@dataclass(frozen=True)
class Line:
    """Piecewise polynomials of degree ``degree`` with three continuous derivatives on an interval.

    A function is known by two values at each end, its own and its slope, and by its values at ``degree - 3``
    Gauss-Legendre points of each element, ``size`` numbers in all, or by as many B-spline coefficients.

    Parameters
    ----------
    breaks : sequence of float, increasing
        Ends of the elements, at least two.
    degree : int
        4 to 20; beyond that B-splines lose too many digits.

    Raises
    ------
    ConfigError
        If the breaks do not increase or the degree is too low.

    Examples
    --------
    >>> line = Line((0.0, 0.5, 1.0), 7)
    >>> line.size, line.points.size
    (12, 8)
    """

    breaks: tuple[float, ...]
    degree: int = 7

    def __post_init__(self) -> None:
        increasing = len(self.breaks) >= 2 and bool(np.all(np.diff(self.breaks) > 0))
        if not increasing or not _SMOOTHNESS < self.degree <= _HIGHEST:
            raise ConfigError(
                f"Line: needs at least two increasing breaks and degree from 4 to {_HIGHEST}, got "
                f"{len(self.breaks)} breaks and degree={self.degree}."
            )

    @property
    def per_element(self) -> int:
        """Collocation points of an element."""
        return self.degree - _SMOOTHNESS

    @property
    def size(self) -> int:
        """Numbers that determine a function."""
        return self.per_element * (len(self.breaks) - 1) + 4

    @cached_property
    def points(self) -> Float:
        """Collocation points, (size - 4,), increasing, none at an end."""
        gauss, _ = np.polynomial.legendre.leggauss(self.per_element)
        breaks = np.array(self.breaks)
        points: Float = (breaks[:-1, None] + np.diff(breaks)[:, None] * (gauss + 1) / 2).ravel()
        return points

    def basis(self, x: ArrayLike, order: int = 0) -> Float:
        """B-splines, or their derivatives of that order, at points: (len(x), size)."""
        from scipy.interpolate import BSpline

        inner = np.repeat(self.breaks[1:-1], self.per_element)
        ends = [[end] * (self.degree + 1) for end in (self.breaks[0], self.breaks[-1])]
        values: Float = BSpline(np.concatenate([ends[0], inner, ends[1]]), np.eye(self.size), self.degree)(
            np.asarray(x, dtype=np.float64), order
        )
        return values

    def integration(self, x: Float) -> tuple[Float, Float]:
        """Matrix (len(x), nodes) and nodes: integrals from the first break to ``x`` of values at the nodes.

        Exact for products of two functions of the space.
        """
        legendre = np.polynomial.legendre
        count = 2 * self.degree
        gauss, weights = legendre.leggauss(count)
        breaks = np.array(self.breaks)
        half = np.diff(breaks) / 2
        nodes = (breaks[:-1, None] + half[:, None] * (gauss + 1)).ravel()
        # Legendre coefficients of the polynomial through values at the Gauss nodes.
        expand = (np.arange(count) + 0.5)[:, None] * legendre.legvander(gauss, count - 1).T * weights
        element = np.clip(np.searchsorted(breaks, x, side="right") - 1, 0, half.size - 1)
        inside = legendre.legval(
            (x - breaks[element]) / half[element] - 1, legendre.legint(expand, lbnd=-1.0)
        )
        matrix = np.where(np.arange(half.size) < element[:, None], half, 0.0)[:, :, None] * weights
        matrix[np.arange(x.size), element] = half[element][:, None] * inside.T
        return matrix.reshape(x.size, -1), nodes

    @cached_property
    def conditions(self) -> Float:
        """Matrix (size, size) from coefficients to value, slope, values at the points, slope, value."""
        ends = [self.breaks[0], self.breaks[-1]]
        value, slope = self.basis(ends), self.basis(ends, 1)
        return np.vstack([value[:1], slope[:1], self.basis(self.points), slope[1:], value[1:]])

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """Of the splines that do not vanish at each collocation point, (points, degree + 1)."""
        element = np.repeat(np.arange(len(self.breaks) - 1), self.per_element)
        return element[:, None] * self.per_element + np.arange(self.degree + 1)

    @cached_property
    def local(self) -> Float:
        """Derivatives of order 0 .. 4 of those splines, (points, 5, degree + 1)."""
        every = [np.take_along_axis(self.basis(self.points, k), self.columns, axis=1) for k in range(5)]
        return np.stack(every, axis=1)


@dataclass(frozen=True)
class Flow:
    """A steady flow: the B-spline coefficients of its stream function, and how they were found.

    Velocity (psi_y, -psi_x): its divergence vanishes identically.
    """

    x: Line
    y: Line
    coefficients: Float
    reynolds: float
    """1 / viscosity; 0 for Stokes flow, without inertia and with viscosity 1."""
    reynolds_path: tuple[float, ...] = ()
    """The values of 1/viscosity that were solved on the way, in order; failed tries are left out."""
    iterations: int = 0
    """Of Newton's method for the last of them."""

    def stream(self, x: ArrayLike, y: ArrayLike, orders: tuple[int, int] = (0, 0)) -> Float:
        """A derivative of the stream function at the points of a tensor grid, (len(x), len(y))."""
        found: Float = self.x.basis(x, orders[0]) @ self.coefficients @ self.y.basis(y, orders[1]).T
        return found

    def velocity(self, x: ArrayLike, y: ArrayLike) -> Float:
        """(2, len(x), len(y))."""
        return np.stack([self.stream(x, y, (0, 1)), -self.stream(x, y, (1, 0))])

    def vorticity(self, x: ArrayLike, y: ArrayLike) -> Float:
        """v_x - u_y, (len(x), len(y))."""
        return -self.stream(x, y, (2, 0)) - self.stream(x, y, (0, 2))

    def pressure(self, x: ArrayLike, y: ArrayLike) -> Float:
        """Kinematic pressure, zero in the middle of the rectangle, (len(x), len(y)).

        The momentum equation is integrated along the middle line in x and from there along y, so that what
        happens in a singular corner stays in the columns beside it.
        """
        middle = [np.array([(line.breaks[0] + line.breaks[-1]) / 2]) for line in (self.x, self.y)]
        from_left, xs = self.x.integration(np.concatenate([middle[0], np.asarray(x, dtype=np.float64)]))
        from_below, ys = self.y.integration(np.concatenate([middle[1], np.asarray(y, dtype=np.float64)]))
        line = from_left @ self._pressure_gradient(xs, middle[1], 0)
        columns = self._pressure_gradient(np.asarray(x), ys, 1) @ from_below.T
        found: Float = line[1:] - line[0] + columns[:, 1:] - columns[:, :1]
        return found

    def _pressure_gradient(self, x: Float, y: Float, axis: int) -> Float:
        """nu Laplacian(u_i) - (u . grad) u_i for i = ``axis``, (len(x), len(y)); Stokes: no inertia."""

        def psi(i: int, j: int) -> Float:
            return self.stream(x, y, (i, j))

        force = psi(2, 1) + psi(0, 3) if axis == 0 else -psi(3, 0) - psi(1, 2)
        if not self.reynolds:
            return force
        u, v = psi(0, 1), -psi(1, 0)
        inertia = u * psi(1, 1) + v * psi(0, 2) if axis == 0 else -u * psi(2, 0) - v * psi(1, 1)
        return force / self.reynolds - inertia


class StreamFunctionSolver:
    r"""Steady Navier-Stokes or Stokes flow in a rectangle with given velocities on its four walls.

    With velocity (psi_y, -psi_x) the momentum equation becomes one equation of fourth order,

        nu Laplacian^2 psi = psi_y Laplacian psi_x - psi_x Laplacian psi_y,

    and a velocity on the walls gives psi and its normal derivative there.  It is asked at the tensor products
    of the collocation points of two `Line`; Newton's method solves the equations, each step by a sparse
    direct factorization.

    For smooth flows and degree 7 the error falls like h^8 in psi, h^7 in the velocity and h^6 in vorticity
    and pressure, and spectrally with the degree.

    Source: de Boor and Swartz, SIAM J. Numer. Anal. 10 (1973) 582, theorem 4.1 (orthogonal collocation).

    Examples
    --------
    Plane Couette flow, psi = y^2 / 2, is in the space:

    >>> line = Line((0.0, 1.0), 7)
    >>> psi = np.tile(line.points**2 / 2, (line.size, 1))
    >>> walls = np.zeros((line.size, line.size))
    >>> walls[[0, -1], 2:-2], walls[2:-2, -2:], walls[[0, -1], -2:] = psi[:2], [1.0, 0.5], [1.0, 0.5]
    >>> flow = StreamFunctionSolver(line, line).solve(walls, reynolds=10.0)
    >>> bool(np.allclose(flow.velocity([0.3], [0.7]).ravel(), [0.7, 0.0], atol=1e-12))
    True
    """

    def __init__(self, x: Line, y: Line) -> None:
        self.x, self.y = x, y
        self._pattern = _Pattern(x, y)

    def solve(self, walls: Float, *, reynolds: float, start: Flow | None = None) -> Flow:
        """The flow with viscosity 1 / ``reynolds``, by continuation from slower ones if need be.

        Parameters
        ----------
        walls : (x.size, y.size)
            The stream function in the form of `Line.conditions` along both axes: rows and columns 0 and -1
            hold psi on the walls, 1 and -2 its derivatives along the axis, corners the mixed ones.  The
            interior, [2:-2, 2:-2], is not read.
        reynolds : float
            1 / viscosity; 0 for Stokes flow with viscosity 1.
        start : Flow, optional
            First guess, on any lines of the same rectangle; it is used for ``reynolds`` itself.

        Raises
        ------
        DivergedError
            If Newton's method does not converge even in short steps of the Reynolds number: the elements
            are too large for this flow, or no steady flow is near.
        """
        if not 0 <= reynolds < math.inf:
            raise ConfigError(f"StreamFunctionSolver: needs finite reynolds >= 0, got {reynolds}.")
        boundary = self._coefficients(walls, np.zeros((self.x.size - 4, self.y.size - 4)))
        if start is not None:
            guess = self._coefficients(walls, start.stream(self.x.points, self.y.points))
            found = self._newton(guess, reynolds)
            if found is not None:
                return self._flow(found, reynolds, (reynolds,))
        boundary[2:-2, 2:-2] = 0.0
        stokes = self._newton(boundary, 0.0)
        assert stokes is not None  # linear
        return self._continue(stokes, reynolds)

    def _continue(self, found: tuple[Float, int], reynolds: float) -> Flow:
        """From Stokes flow to ``reynolds`` in steps as long as Newton's method allows."""
        path, current, ratio = [0.0], 0.0, 4.0
        following = min(100.0, reynolds)
        for _ in range(_TRIES + 1):
            if current >= reynolds:
                return self._flow(found, reynolds, tuple(path))
            tried = self._newton(found[0], following)
            if tried is not None:
                found, current = tried, following
                path.append(current)
            elif current:
                ratio = math.sqrt(ratio)
            else:
                following /= 4
            if ratio < _SHORTEST:
                break
            if current:
                following = min(current * ratio, reynolds)
        raise DivergedError(
            f"StreamFunctionSolver: Newton's method does not converge beyond Reynolds number {current:g} on "
            f"{len(self.x.breaks) - 1} x {len(self.y.breaks) - 1} elements, asked for {reynolds:g}. "
            "Use more elements, or look for an unsteady flow."
        )

    def _flow(self, found: tuple[Float, int], reynolds: float, path: Sequence[float]) -> Flow:
        return Flow(self.x, self.y, found[0], reynolds, tuple(path), found[1])

    def _coefficients(self, walls: Float, inside: Float) -> Float:
        """B-spline coefficients of the function with these wall data and values at the points."""
        data = np.array(walls, dtype=np.float64)
        if data.shape != (self.x.size, self.y.size) or not np.isfinite(data).all():
            raise ConfigError(
                f"StreamFunctionSolver: walls must be finite, of shape {(self.x.size, self.y.size)}, got "
                f"shape {data.shape}."
            )
        data[2:-2, 2:-2] = inside
        half = np.linalg.solve(self.x.conditions, data)
        found: Float = np.linalg.solve(self.y.conditions, half.T).T
        return found

    def _newton(self, guess: Float, reynolds: float) -> tuple[Float, int] | None:
        """Coefficients with the wall data of the guess, and iterations; None if it does not converge."""
        psi, last = guess.copy(), math.inf
        for iteration in range(1, _ITERATIONS + 1):
            change = self._pattern.newton_step(psi, reynolds)
            psi[2:-2, 2:-2] += change
            size = float(np.abs(change).max() / max(np.abs(psi).max(), np.finfo(np.float64).tiny))
            if reynolds == 0 or size < _TOLERANCE:
                return psi, iteration
            if not size < 4 * last or size > 1e3:  # also NaN
                return None
            last = size
        return None


class _Pattern:
    """Residual and Jacobian of the collocation equations in the interior coefficients."""

    def __init__(self, x: Line, y: Line) -> None:
        self.x, self.y = x, y
        n, m = x.points.size, y.points.size
        rows = np.arange(n * m).reshape(n, 1, m, 1)
        i = x.columns[:, :, None, None] - 2
        j = y.columns[None, None, :, :] - 2
        inside = (i >= 0) & (i < n) & (j >= 0) & (j < m)
        shape = (n, x.degree + 1, m, y.degree + 1)
        keep = np.flatnonzero(np.broadcast_to(inside, shape))
        row = np.broadcast_to(rows, shape).ravel()[keep]
        column = np.broadcast_to(i * m + j, shape).ravel()[keep]
        # Compressed columns: entries sorted by column, then by row.
        order = np.lexsort((row, column))
        self._take = keep[order]
        self._indices = row[order].astype(np.int32)
        self._starts = np.searchsorted(column[order], np.arange(n * m + 1)).astype(np.int32)
        self._along_x = [x.basis(x.points, k) for k in range(5)]
        self._along_y = [y.basis(y.points, k).T for k in range(5)]

    def newton_step(self, psi: Float, reynolds: float) -> Float:
        """The correction of the interior coefficients, (points of x, points of y)."""
        from scipy.sparse import csc_array
        from scipy.sparse.linalg import splu

        residual, factors = self._linearize(psi, reynolds)
        n, m = residual.shape
        data = np.zeros((n, self.x.degree + 1, m * (self.y.degree + 1)))
        for k, row in factors.items():
            along_y = sum(f[:, :, None] * self.y.local[None, :, order] for order, f in row.items())
            data += self.x.local[:, k, :, None] * np.reshape(along_y, (n, 1, -1))
        entries = data.ravel()[self._take]
        matrix = csc_array((entries, self._indices, self._starts), shape=(n * m, n * m))
        found: Float = splu(matrix).solve(-residual.ravel()).reshape(n, m)
        return found

    def _linearize(self, psi: Float, reynolds: float) -> tuple[Float, dict[int, dict[int, Float]]]:
        """Residual at the points, and the coefficients of its derivative by psi.

        The latter's entry k, l belongs to the derivative of order k along x and l along y.
        """

        def d(i: int, j: int) -> Float:
            found: Float = self._along_x[i] @ psi @ self._along_y[j]
            return found

        viscosity = 1 / reynolds if reynolds else 1.0
        residual = viscosity * (d(4, 0) + 2 * d(2, 2) + d(0, 4))
        nu = np.full_like(residual, viscosity)
        factors = {0: {4: nu}, 2: {2: 2 * nu}, 4: {0: nu}}
        if reynolds:
            u, v = d(0, 1), -d(1, 0)
            by_x, by_y = d(3, 0) + d(1, 2), d(2, 1) + d(0, 3)
            residual -= u * by_x + v * by_y
            factors[0] |= {1: -by_x, 3: -v}
            factors[1] = {0: by_y, 2: -u}
            factors[2] |= {1: -v}
            factors[3] = {0: -u}
        return residual, factors
