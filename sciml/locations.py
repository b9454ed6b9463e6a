"""Points and cells of many samples, one sample behind the other: CF's contiguous ragged array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.hdf5 import runs

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Location:
    """One kind of points or cells: those of all samples in their order, or one set that all samples share.

    Parameters
    ----------
    dim : str
        The dimension in the file: ``node``, ``cell`` or ``<field>_point``.
    size : int
        Its length.
    counts : (sample,) integers, optional
        How many each sample has, with sum ``size``; None where all share one set.

    Examples
    --------
    >>> nodes = Location("node", 5, np.array([2, 3]))
    >>> nodes.offsets.tolist(), nodes.places(np.array([1, 0])).tolist()
    ([0, 2, 5], [2, 3, 4, 0, 1])
    """

    dim: str
    size: int
    counts: Rows | None = None

    @property
    def ragged(self) -> bool:
        """Whether every sample has its own."""
        return self.counts is not None

    @cached_property
    def offsets(self) -> Rows:
        """Where each sample begins, and the end: (sample + 1,)."""
        counts = np.empty(0, np.int64) if self.counts is None else self.counts
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    def count(self, rows: Rows) -> Rows:
        """How many the samples at ``rows`` have."""
        return np.full(len(rows), self.size) if self.counts is None else self.counts[rows]

    def places(self, rows: Rows) -> Rows:
        """Positions along the dimension of everything that belongs to the samples at ``rows``, in order."""
        pieces = [np.arange(self.offsets[row], self.offsets[row + 1]) for row in rows]
        return np.concatenate([*pieces, np.empty(0, np.int64)])

    def read(self, dataset: Any, dtype: np.dtype[Any], rows: Rows) -> list[NDArray[Any]]:
        """What an h5py dataset along the dimension has for each sample; neighbors are read in one piece."""
        unique, inverse = np.unique(rows, return_inverse=True)
        found: list[NDArray[Any]] = []
        for _, _, first, last in runs(unique):
            start, stop = self.offsets[first], self.offsets[last]
            block = dataset[start:stop].astype(dtype, copy=False)
            found += np.split(block, self.offsets[first + 1 : last] - start)
        return [found[i] for i in inverse]

    def blocks(self, rows: Rows, row_bytes: int, limit: int) -> list[Rows]:
        """The samples in pieces of about ``limit`` bytes, at least one sample each."""
        ends = np.cumsum(self.count(rows) * row_bytes)
        return np.split(rows, np.flatnonzero(np.diff(ends // limit)) + 1) if len(rows) else []


def time_first(values: NDArray[Any], *, time: bool) -> NDArray[Any]:
    """(point, time, ...) of the file to (time, point, ...) of the memory, or the other way round."""
    return np.ascontiguousarray(np.swapaxes(values, 0, 1)) if time else values


def lengths(arrays: Sequence[Any]) -> Rows:
    """The lengths of the first axes."""
    return np.array([len(array) for array in arrays], dtype=np.int64)
