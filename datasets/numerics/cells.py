"""Averages over cells that do not divide each other: from one partition of an interval to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def overlaps(size: int, count: int) -> Float:
    """How much of each of ``size`` equal cells lies in each of ``count`` others, (size, count).

    In units of the first cells: rows add up to 1.

    Examples
    --------
    >>> overlaps(3, 2).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    # Whole numbers, in which ends that coincide do so exactly.
    ends, others = np.arange(size + 1) * count, np.arange(count + 1) * size
    upper = np.minimum(ends[1:, None], others[1:])
    lower = np.maximum(ends[:-1, None], others[:-1])
    found: Float = np.maximum(upper - lower, 0) / count
    return found


def redistributed(averages: Float, low: Float, high: Float, count: int, axis: int) -> Float:
    """Averages over ``count`` cells along an axis, from a parabola in each of the given ones.

    It has the given average and the values ``low`` and ``high`` at the lower and upper face: the
    reconstruction of the piecewise parabolic method.  Sums are kept, and as many cells are left alone.

    Source: Colella and Woodward, J. Comput. Phys. 54 (1984) 174, section 1.

    Examples
    --------
    Averages of x^2 on [0, 3], and the exact ones over halves:

    >>> x = np.arange(4.0)
    >>> redistributed(np.diff(x**3) / 3, x[:-1] ** 2, x[1:] ** 2, 2, axis=0).round(12).tolist()
    [0.75, 5.25]
    """
    size = averages.shape[axis]
    if count == size:
        return averages
    mean, left, right = (np.moveaxis(values, axis, -1) for values in (averages, low, high))
    places = np.arange(1, count) * size
    cell, part = places // count, places % count / count
    bend = 6 * mean - 3 * (left + right)
    left, slope, bend = left[..., cell], (right - left + bend)[..., cell], bend[..., cell]
    inside = part * (left + part / 2 * slope - part**2 / 3 * bend)
    summed = np.cumsum(mean, axis=-1)
    before = np.concatenate([np.zeros_like(summed[..., :1]), summed[..., :-1]], axis=-1)[..., cell]
    ends = np.concatenate([np.zeros_like(summed[..., :1]), before + inside, summed[..., -1:]], axis=-1)
    found: Float = np.moveaxis(np.diff(ends, axis=-1) * (count / size), -1, axis)
    return found
