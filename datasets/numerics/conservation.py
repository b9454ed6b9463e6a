"""The flux alpha u^2 / 2 on a circle of cells: WENO5 with Godunov's flux, in C where it can be compiled."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.numerics.compiled import compiled
from sciml.datasets.numerics.finite_volume import part, weno5

Float = NDArray[np.float64]


def advection_change(u: Float, alpha: Float | float, spacing: float) -> Float:
    """Cell averages of (alpha u^2 / 2)_x for averages u (..., cells) on a circle; alpha >= 0.

    ``alpha`` is one number, or broadcasts to u with one number for each row of cells.  Values at faces are
    those of `weno5`; Godunov's flux is exact, so that sonic points are no exception.  Compiled or not, the
    bits are the same.

    Examples
    --------
    >>> u = 2 + np.sin(2 * np.pi * np.arange(8) / 8)
    >>> bool(abs(advection_change(u, 1.0, 0.5).sum()) < 1e-14)
    True
    """
    library = compiled("weno")
    if library is None or u.shape[-1] < 3:
        return _change(u, alpha, spacing)
    u = np.ascontiguousarray(u, dtype=np.float64)
    rows, cells, found = u.size // u.shape[-1], u.shape[-1], np.empty_like(u)
    factors = np.ascontiguousarray(np.broadcast_to(alpha, (*u.shape[:-1], 1)), dtype=np.float64)
    space = np.empty(4 * (cells + 6))
    arrays = [array.ctypes.data for array in (u, factors, space, found)]
    change = library.advection_change
    change.argtypes = _ARGUMENTS
    change.restype = None
    change(rows, cells, *arrays[:2], spacing, *arrays[2:])
    return found


_ARGUMENTS = [ctypes.c_long] * 2 + [ctypes.c_void_p] * 2 + [ctypes.c_double] + [ctypes.c_void_p] * 2


def _change(u: Float, alpha: Float | float, spacing: float) -> Float:
    """`advection_change` by NumPy."""
    at, size = u.ndim - 1, u.shape[-1]
    padded = np.concatenate([u[..., -3:], u, u[..., :3]], axis=at)
    low, high = weno5(padded, at)
    left, right = part(high, at, 0, size + 1), part(low, at, 1, size + 2)
    flux = alpha / 2 * np.maximum(np.maximum(left, 0.0) ** 2, np.minimum(right, 0.0) ** 2)
    found: Float = np.diff(flux, axis=at) / spacing
    return found
