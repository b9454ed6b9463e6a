"""Symmetric systems of diffusion on boxes of cells: which solver of SciPy or PyAMG for which of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.errors import ConfigError

Float = NDArray[np.float64]
Single = NDArray[np.float32]
Bands = dict[int, Float]  # offset k >= 0: the entries of row r and column r + k, for all r, padded with zeros

# Milliseconds on one core, coefficients 3 and 12; multigrid takes as long for 1 and 1000.
#            band  SuperLU  fast Poisson  multigrid
#   32^2      0.4      2.0           1.5        7.6
#   64^2      3.6      6.6           2.5         16
#   128^2      18       35           7.0         47
#   256^2     210      220            31        190
#   512^2       -     1600           164        810
#   16^3       12       28           3.1         20
#   24^3      161      330           7.2         63
#   48^3        -        -            74        526
# A band costs cells * width^2; the number of iterations with fast Poisson solves grows like sqrt(spread).
_SMALL_BAND = 2**18  # cells * width: 63^2
_SPREAD = 25.0  # about 65 iterations
_BAND_WORK = 2**30  # cells * width^2: 180^2 or 19^3
_SPARSE_CELLS = {1: 2**20, 2: 2**17, 3: 2**13}  # by rank: factors are fuller in three dimensions

_TOLERANCE = 3e-11  # relative residual at which iterations stop; direct solvers reach 1e-13
_ITERATIONS = 500  # several times what any of the cases above takes


def solve_cells(faces: Sequence[Float], right: Float, uniform: Sequence[float]) -> Float:
    """Solve A u = b on a box of cells, A a network of conductances between neighbors and to the walls.

    Small systems by a banded Cholesky factorization (LAPACK pbsv) with the longest axis outermost; large ones
    whose conductances spread little by conjugate gradients, preconditioned with the fast Poisson solver of
    constant coefficients (sine transforms in single precision); others, as they grow, by a band, by SuperLU,
    or by conjugate gradients with algebraic multigrid.  The choice depends on the system alone.

    Parameters
    ----------
    faces : one (.., size + 1, ..) per axis, 1 to 3 axes
        Conductances of all faces across the axis: positive inside, not negative on the walls.
    right : (*shape)
    uniform : one number per axis
        The conductance of an inner face for the coefficient 1; twice that on the walls.

    Returns
    -------
    (*shape)
        Its relative residual, 3e-11 or less if all went well, is for the caller to check.

    Raises
    ------
    ConfigError
        If multigrid is called for and pyamg is not installed.

    Notes
    -----
    With the eigenvalues of the preconditioned matrix between the least and the greatest conductance relative
    to ``uniform``, the ratio of which is the spread s, the error falls by (sqrt(s) - 1) / (sqrt(s) + 1) per
    iteration: Concus, Golub and O'Leary (1976), A generalized conjugate gradient method for the numerical
    solution of elliptic partial differential equations.

    Examples
    --------
    >>> solve_cells([np.array([2.0, 1.0, 2.0])], np.array([2.0, 4.0]), [1.0]).round(12).tolist()
    [1.25, 1.75]
    """
    order = sorted(range(right.ndim), key=lambda i: -right.shape[i])
    shape = tuple(right.shape[i] for i in order)
    bands = _bands([faces[i].transpose(order) for i in order], shape)
    b = right.transpose(order).reshape(-1)
    width = max(bands) + 1
    if b.size * width <= _SMALL_BAND:
        u = _solve_band(bands, b)
    elif _spread(faces, uniform) <= _SPREAD:
        u = _solve_fast_poisson(bands, b, _inverse_eigenvalues(shape, tuple(uniform[i] for i in order)))
    elif b.size * width**2 <= _BAND_WORK:
        u = _solve_band(bands, b)
    elif b.size <= _SPARSE_CELLS[right.ndim]:
        u = _solve_sparse(bands, b)
    else:
        u = _solve_multigrid(bands, b)
    return np.ascontiguousarray(u.reshape(shape).transpose(np.argsort(order)))


def _bands(faces: Sequence[Float], shape: tuple[int, ...]) -> Bands:
    """The matrix for unknowns in the order of memory."""
    bands = {0: np.zeros(math.prod(shape))}
    for i, face in enumerate(faces):
        flux = np.moveaxis(face, i, 0)
        np.moveaxis(bands[0].reshape(shape), i, 0)[...] += flux[:-1] + flux[1:]
        if shape[i] > 1:  # the stride of an axis of one cell may be that of another axis
            inner = np.zeros(shape)  # the last layer has no inner face behind it
            np.moveaxis(inner, i, 0)[:-1] = -flux[1:-1]
            bands[math.prod(shape[i + 1 :])] = inner.reshape(-1)
    return bands


def _spread(faces: Sequence[Float], uniform: Sequence[float]) -> float:
    """Greatest over least conductance, each relative to that of the coefficient 1."""
    least, greatest = math.inf, 0.0
    for i, (face, one) in enumerate(zip(faces, uniform, strict=True)):
        flux = np.moveaxis(face, i, 0)
        for part, scale in ((flux[1:-1], one), (flux[0], 2 * one), (flux[-1], 2 * one)):
            if part.size:
                least, greatest = min(least, part.min() / scale), max(greatest, part.max() / scale)
    return greatest / least if least > 0 else math.inf


def _matrix(bands: Bands) -> Any:
    """The bands and their mirror images as a sparse matrix."""
    from scipy.sparse import diags_array

    size = bands[0].size
    below = {-k: band[: size - k] for k, band in bands.items()}
    every = below | {k: band[: size - k] for k, band in bands.items()}
    return diags_array(list(every.values()), offsets=list(every), shape=(size, size))


def _solve_band(bands: Bands, right: Float) -> Float:
    """Banded Cholesky."""
    from scipy.linalg import solveh_banded

    matrix = np.zeros((max(bands) + 1, right.size))
    for offset, band in bands.items():
        matrix[offset] = band
    solution: Float = solveh_banded(matrix, right, lower=True, overwrite_ab=True, check_finite=False)
    return solution


def _solve_sparse(bands: Bands, right: Float) -> Float:
    """SuperLU in its symmetric mode: minimum degree on A + A^T, diagonal pivots (safe for an M-matrix)."""
    from scipy.sparse.linalg import splu

    options = {"SymmetricMode": True}
    factors = splu(_matrix(bands).tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    solution: Float = factors.solve(right)
    return solution


def _solve_fast_poisson(bands: Bands, right: Float, inverse: Single) -> Float:
    """Conjugate gradients with the inverse of the matrix of constant coefficients, applied by transforms."""
    from scipy.fft import dstn

    modes = np.empty_like(inverse)

    def precondition(residual: Float, out: Float) -> None:
        modes[...] = residual.reshape(modes.shape)
        found = dstn(modes, type=2, overwrite_x=True)
        found *= inverse
        out[:] = dstn(found, type=3, overwrite_x=True).reshape(-1)

    return _conjugate_gradients(bands, right, precondition)


@lru_cache(maxsize=8)
def _inverse_eigenvalues(shape: tuple[int, ...], uniform: tuple[float, ...]) -> Single:
    """Of constant coefficients with walls on faces, up to a factor.

    The eigenvectors are sin(pi k (j + 1/2) / n), the rows of the sine transform of type 2.
    """
    parts = [
        one / max(uniform) * np.sin(math.pi * np.arange(1, n + 1) / (2 * n)) ** 2
        for n, one in zip(shape, uniform, strict=True)
    ]
    inverse: Single = (1 / (2 ** len(shape) * math.prod(shape) * reduce(np.add.outer, parts))).astype(
        np.float32
    )
    return inverse


def _solve_multigrid(bands: Bands, right: Float) -> Float:
    """Conjugate gradients with the classical algebraic multigrid of Ruge and Stueben."""
    try:
        from pyamg import ruge_stuben_solver
    except ImportError as error:
        raise ConfigError(
            f"A system of {right.size} cells with a coefficient that varies by more than a factor of "
            f"{_SPREAD:g} needs pyamg; pip install 'sciml-pde[fem]' brings it."
        ) from error
    cycle = ruge_stuben_solver(_matrix(bands).tocsr()).aspreconditioner()

    def precondition(residual: Float, out: Float) -> None:
        out[:] = cycle @ residual

    return _conjugate_gradients(bands, right, precondition)


def _conjugate_gradients(bands: Bands, right: Float, precondition: Callable[[Float, Float], None]) -> Float:
    """Solve with a preconditioner that writes into its second argument.

    All arrays are reused: for one sample at a time they stay in the cache, while fresh ones of this size cost
    more than the arithmetic.  The right-hand side is scaled to norm 1, to suit single precision.
    """
    scale = math.sqrt(_dot(right, right))
    if scale == 0.0:
        return np.zeros_like(right)
    x, r, p = np.zeros_like(right), right / scale, np.zeros_like(right)
    q, work = np.empty_like(right), np.empty_like(right)
    before = 1.0
    for _ in range(_ITERATIONS):
        precondition(r, work)
        now = _dot(r, work)
        p *= now / before
        p += work
        before = now
        _multiply(bands, p, q, work)
        step = now / _dot(p, q)
        np.multiply(p, step, out=work)
        x += work
        q *= step
        r -= q
        if _dot(r, r) <= _TOLERANCE**2:
            break
    x *= scale
    return x


def _dot(one: Float, other: Float) -> float:
    """Not by BLAS, whose sum depends on the number of threads."""
    return float(np.einsum("i,i->", one, other))


def _multiply(bands: Bands, vector: Float, out: Float, work: Float) -> None:
    """out = A vector, symmetric."""
    np.multiply(bands[0], vector, out=out)
    for k, band in bands.items():
        if k > 0:
            np.multiply(band[:-k], vector[k:], out=work[k:])
            out[:-k] += work[k:]
            np.multiply(band[:-k], vector[:-k], out=work[k:])
            out[k:] += work[k:]
