"""Samples of different length side by side in one tensor, and the mask that tells which entries are real."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def padded(
    arrays: Sequence[NDArray[Any]], *, axis: int = 0, fill: float = 0, dtype: torch.dtype | None = None
) -> Tensor:
    """Arrays that differ in length along ``axis`` as (batch, ...) of the largest, filled up with ``fill``.

    Examples
    --------
    >>> padded([np.array([1, 2, 3]), np.array([4])], fill=-1).tolist()
    [[1, 2, 3], [4, -1, -1]]
    """
    shape = list(arrays[0].shape)
    shape[axis] = max(array.shape[axis] for array in arrays)
    out = np.full((len(arrays), *shape), fill, dtype=arrays[0].dtype)
    for place, array in zip(out, arrays, strict=True):
        place[(slice(None),) * axis + (slice(array.shape[axis]),)] = array
    return torch.from_numpy(out).to(dtype)


def mask_of(counts: Sequence[int] | NDArray[np.int64], size: int | None = None) -> Tensor:
    """(batch, size) bool, true at the first ``counts[i]`` entries of row i; by default as long as needed.

    Examples
    --------
    >>> mask_of([2, 1]).tolist()
    [[True, True], [True, False]]
    """
    wanted = torch.as_tensor(np.asarray(counts))
    return torch.arange(int(wanted.max()) if size is None else size) < wanted[:, None]
