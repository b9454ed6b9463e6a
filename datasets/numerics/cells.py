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
