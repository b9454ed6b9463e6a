"""Shared numerics of the periodic equations: truncated Fourier series, ETDRK4, velocity of a vorticity."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sciml.errors import ShapeError
from sciml.grid import Grid

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]
Number = TypeVar("Number", bound=NDArray[Any])


class Modes:
    r"""Truncated Fourier series of real fields on a periodic grid, free of aliasing in products.

    A field is w(x) = sum_k c_k exp(2 pi i k . x / L) with c_{-k} = conj(c_k) and |k_j| < n_j / (degree + 1)
    on every axis.  Values at n points per axis represent a product of ``degree`` such fields without folding
    into the modes that are kept: with ``degree=2`` this is the "2/3 rule" with the strict inequality that
    exactness needs, and both the factors and the product are truncated.  ``degree=1`` keeps all modes.

    Coefficients are complex128 arrays (..., *shape).  The last axis holds k = 0 .. m (the rest follows by
    conjugation), the others 0 .. m, -m .. -1, with -n/2 between them for ``degree=1`` and even n.

    Parameters
    ----------
    grid : Grid
        All axes periodic with points at nodes, so that x = lower is a point of every grid.
    degree : int
        Of the products that must be exact, at least 1.

    Attributes
    ----------
    grid : Grid
    shape : tuple of int
        Of the coefficients of one field.
    wavenumbers : tuple of arrays
        2 pi k / L, one array per axis that broadcasts to ``shape``.

    Raises
    ------
    ShapeError
        If an axis is not periodic or its points are centers of cells, or for ``degree < 1``.

    Notes
    -----
    Transforms run over one axis after the other and skip lines that are zero or not wanted.  float64 always.
    Source: Boyd, Chebyshev and Fourier Spectral Methods (2001), section 11.5.

    Examples
    --------
    >>> modes = Modes(Grid.box((12, 12), location="node", periodic=True), degree=2)
    >>> modes.shape
    (7, 4)
    >>> x, y = modes.grid.coordinates()
    >>> slope = modes.to_values(modes.derivative(0) * modes.to_modes(np.sin(2 * np.pi * x)))
    >>> bool(np.allclose(slope, 2 * np.pi * np.cos(2 * np.pi * x)))
    True
    """

    def __init__(self, grid: Grid, *, degree: int = 2) -> None:
        if degree < 1 or not all(axis.periodic and axis.location == "node" for axis in grid.axes):
            raise ShapeError(
                "Modes: needs degree >= 1 and a grid with periodic axes of nodes, such as Grid.box(shape, "
                f"location='node', periodic=True), got degree={degree} and {grid}."
            )
        self.grid = grid
        self._rows = [_kept(n, degree) for n in grid.shape]
        self._rows[-1] = np.arange(grid.shape[-1] // 2 + 1 if degree == 1 else self._rows[-1].max() + 1)
        self.shape = tuple(len(rows) for rows in self._rows)
        waves = []
        for i, (axis, rows) in enumerate(zip(grid.axes, self._rows, strict=True)):
            scaled: Float = (2 * math.pi / (axis.upper - axis.lower)) * rows.astype(np.float64)
            waves.append(scaled.reshape(-1, *[1] * (grid.rank - 1 - i)))
        self.wavenumbers: tuple[Float, ...] = tuple(waves)

    @property
    def laplacian(self) -> Float:
        """Factors -|k|^2 of the Laplacian, of shape ``shape``."""
        total: Float = np.zeros(self.shape)
        for k in self.wavenumbers:
            total = total - k**2
        return total

    def derivative(self, axis: int, order: int = 1) -> Complex:
        """Factors (i k)^order of the derivative along ``axis``; broadcasts to ``shape``.

        For odd orders the Nyquist mode, if kept, gets 0: its derivative vanishes at the points of the grid.
        """
        rows, n = self._rows[axis], self.grid.shape[axis]
        factor: Complex = np.power(1j * self.wavenumbers[axis], order, dtype=np.complex128)
        if order % 2 == 1:
            factor[(2 * np.abs(rows) == n).reshape(factor.shape)] = 0.0
        return factor

    def to_modes(self, values: Float) -> Complex:
        """Coefficients (..., *shape) of values (..., *grid.shape); modes that are not kept are dropped."""
        import scipy.fft

        self._check(values.shape, self.grid.shape, "values")
        found: Complex = scipy.fft.rfft(values, axis=-1, norm="forward")[..., : self.shape[-1]]
        for axis in range(-2, -self.grid.rank - 1, -1):
            found = np.take(scipy.fft.fft(found, axis=axis, norm="forward"), self._rows[axis], axis=axis)
        return found

    def to_values(self, coefficients: Complex) -> Float:
        """Values (..., *grid.shape) of the series with these coefficients (..., *shape)."""
        import scipy.fft

        self._check(coefficients.shape, self.shape, "coefficients")
        found = coefficients
        for axis in range(-self.grid.rank, -1):
            padded = _spread(found, axis, self.grid.shape[axis])
            found = scipy.fft.ifft(padded, axis=axis, norm="forward", overwrite_x=True)
        values: Float = scipy.fft.irfft(found, n=self.grid.shape[-1], axis=-1, norm="forward")
        return values

    def convert(self, coefficients: Complex, other: Modes) -> Complex:
        """The same field in the modes of ``other``, another resolution of the domain: cut or padded by zero.

        A Nyquist mode, which stands for two waves, is dropped.
        """
        self._check(coefficients.shape, self.shape, "coefficients")
        found = coefficients
        for axis in range(-self.grid.rank, 0):
            n, m = self.grid.shape[axis], other.grid.shape[axis]
            mine, others = self._rows[axis], other._rows[axis]
            common = [k for k in mine.tolist() if k in set(others.tolist()) and 2 * abs(k) not in (n, m)]
            wide = np.zeros((*found.shape[:axis], len(others), *found.shape[axis:][1:]), dtype=np.complex128)
            _along(wide, axis)[_positions(others, common)] = _along(found, axis)[_positions(mine, common)]
            found = wide
        return found

    def _check(self, got: tuple[int, ...], wanted: tuple[int, ...], what: str) -> None:
        if got[-self.grid.rank :] != wanted:
            raise ShapeError(f"Modes: {what} must have shape (..., *{wanted}), got {got}.")


def _kept(n: int, degree: int) -> NDArray[np.int64]:
    """Wave numbers that are kept, in the order of the discrete Fourier transform; also its positions."""
    waves = np.round(np.fft.fftfreq(n, 1 / n)).astype(np.int64)
    return waves if degree == 1 else waves[(degree + 1) * np.abs(waves) < n]


def _spread(coefficients: Complex, axis: int, n: int) -> Complex:
    """Zeros between the non-negative and the negative wave numbers, so that ``axis`` has ``n`` of them."""
    size = coefficients.shape[axis]
    if size == n:
        return coefficients.copy()
    shape = list(coefficients.shape)
    shape[axis] = n
    padded = np.zeros(shape, dtype=np.complex128)
    half = (size + 1) // 2
    source, target = _along(coefficients, axis), _along(padded, axis)
    target[:half] = source[:half]
    target[n - (size - half) :] = source[half:]
    return padded


def _along(array: Complex, axis: int) -> Complex:
    """View with ``axis`` first."""
    return np.moveaxis(array, axis, 0)


def _positions(rows: NDArray[np.int64], wanted: list[int]) -> list[int]:
    where = {k: i for i, k in enumerate(rows.tolist())}
    return [where[k] for k in wanted]


class ETDRK4:
    r"""Exponential time differencing of order 4 for u_t = L u + N(u, t) with diagonal L.

    With z = h L, the linear part is exact and the nonlinear part a Runge-Kutta method with four evaluations:

        a = e^(z/2) u + Q N(u),   b = e^(z/2) u + Q N(a),   c = e^(z/2) a + Q (2 N(b) - N(u)),
        u(t + h) = e^z u + f1 N(u) + f2 (N(a) + N(b)) + f3 N(c).

    Q, f1, f2, f3 suffer cancellation near z = 0; they are means over 32 points of a unit circle around z
    (for real L real parts over half of it), accurate to rounding.  Steady states are kept.

    Parameters
    ----------
    linear : array
        The eigenvalues of L, real or complex, (*shape).
    step : float
        h.

    Attributes
    ----------
    step : float
    whole, half, q, f1, f2, f3 : array
        e^z, e^(z/2) and the weights above, (*shape), real for real L.

    Notes
    -----
    Source: Cox and Matthews, J. Comput. Phys. 176 (2002), equations 26 to 29; Kassam and Trefethen, SIAM J.
    Sci. Comput. 26 (2005), section 3; f2 here is twice theirs.  For N of waves (purely imaginary eigenvalues
    q) and L = 0 it is the classical Runge-Kutta method, stable for h |q| < 2.83.  Where N depends on time, it
    is taken at t, t + h/2, t + h/2 and t + h.

    Examples
    --------
    >>> method = ETDRK4(np.array([-2.0]), 0.1)
    >>> u = np.array([1.0 + 0j])
    >>> for _ in range(10):
    ...     u = method.advance(u, lambda v: np.ones_like(v))  # exact for constant N
    >>> bool(np.isclose(u[0], 0.5 + 0.5 * np.exp(-2.0), rtol=1e-14))
    True
    """

    def __init__(self, linear: NDArray[Any], step: float) -> None:
        z = step * np.asarray(linear)
        q, f1, f2, f3 = (np.zeros(z.shape, dtype=np.complex128) for _ in range(4))
        real = np.isrealobj(z)
        points = 16 if real else 32
        for j in range(points):
            r = z + cmath.exp(2j * math.pi * (j + 0.5) / 32)
            e = np.exp(r)
            q += (np.exp(r / 2) - 1) / r
            f1 += (-4 - r + e * (4 - 3 * r + r**2)) / r**3
            f2 += (2 + r + e * (r - 2)) / r**3
            f3 += (-4 - 3 * r - r**2 + e * (4 - r)) / r**3
        weights = [step / points * (f.real if real else f) for f in (q, f1, 2 * f2, f3)]
        self.step = step
        self._factors: tuple[NDArray[Any], ...] = (np.exp(z), np.exp(z / 2), *weights)
        self.whole, self.half, self.q, self.f1, self.f2, self.f3 = self._factors
        if real:  # numpy would convert real factors of complex numbers in every product
            self._pairs = tuple(np.repeat(f, 2, axis=-1) for f in self._factors)

    def advance(self, u: Number, nonlinear: Callable[..., Number], time: float | None = None) -> Number:
        """One step from u (..., *shape).

        Parameters
        ----------
        u : array
            float64 (for real L) or complex128.
        nonlinear : callable
            N: of an array like u, and of the time if that is given.  Its results are read until the step is
            done: a new array for each call.
        time : float, optional
            t, at the begin of the step.
        """
        h = self.step
        at = [(), (), (), ()] if time is None else [(time,), (time + h / 2,), (time + h / 2,), (time + h,)]
        paired = np.iscomplexobj(u) and np.isrealobj(self.whole)
        whole, half, q, f1, f2, f3 = self._pairs if paired else self._factors

        def rate(v: NDArray[Any], stage: int) -> NDArray[Any]:
            found = nonlinear(v.view(np.complex128) if paired else v, *at[stage])
            return _parts(found) if paired else found

        start = _parts(u) if paired else u
        n_u = rate(start, 0)
        middle = half * start
        a = q * n_u
        a += middle
        n_a = rate(a, 1)
        b = q * n_a
        b += middle
        n_b = rate(b, 2)
        a *= half
        np.multiply(2.0, n_b, out=b)
        b -= n_u
        b *= q
        b += a
        n_c = rate(b, 3)
        after = whole * start
        np.multiply(f1, n_u, out=a)
        after += a
        np.add(n_a, n_b, out=a)
        a *= f2
        after += a
        np.multiply(f3, n_c, out=a)
        after += a
        found: Number = after.view(np.complex128) if paired else after
        return found


def _parts(values: NDArray[Any]) -> Float:
    """Real and imaginary parts in turns."""
    return np.ascontiguousarray(values, dtype=np.complex128).view(np.float64)


def velocity(modes: Modes, vorticity: Complex) -> tuple[Complex, Complex]:
    """Velocity (u, v) without divergence and mean whose curl v_x - u_y is the vorticity; coefficients.

    u = psi_y, v = -psi_x with -Laplacian(psi) = w, on a grid with two axes.  The mean of w, which no velocity
    has, is ignored.
    """
    if modes.grid.rank != 2:
        raise ShapeError(f"velocity: needs a grid with two axes, got {modes.grid.rank}.")
    along_u, along_v = velocity_factors(modes)
    return along_u * vorticity, along_v * vorticity


def velocity_factors(modes: Modes) -> tuple[Complex, Complex]:
    """Factors that turn the coefficients of w into those of u and v; see `velocity`."""
    squares = -modes.laplacian
    squares[0, 0] = 1.0  # both derivatives vanish there
    return modes.derivative(1) / squares, -modes.derivative(0) / squares
