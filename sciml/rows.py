"""Rows of an HDF5 variable in any order, each read straight into its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def read_rows(dataset: Any, out: NDArray[Any], rows: Rows, frames: Rows | None = None) -> None:
    """Fill ``out[i]`` with the values at ``rows[i]`` of the first axis.

    Rows are read in the order of the file, neighbors in one piece.  The low-level interface of h5py spares
    about 60 microseconds a row, as much as HDF5 needs to read and check 128 KiB.

    Parameters
    ----------
    dataset : h5py.Dataset
    out : (row, ...) or, with frames, (row, frame, ...), contiguous
    rows : (row,) integers, in any order, repeated or not
    frames : (row, frame) integers, optional
        Which positions of the second axis, in any order, for each row its own.
    """
    from h5py import h5s

    space, plain = dataset.id.get_space(), [0] * (out.ndim - 1)
    if frames is None:
        for first, row, count in pieces(rows):
            shape = (count, *out.shape[1:])
            space.select_hyperslab((row, *plain), shape)
            dataset.id.read(h5s.create_simple(shape), space, out[first : first + count])
        return
    if frames.shape[1] == 0:
        return
    for i in np.argsort(rows, kind="stable"):
        low = int(frames[i].min())
        steps = frames[i] - low
        stride = int(np.gcd.reduce(steps)) or 1
        count = int(steps.max()) // stride + 1
        direct = np.array_equal(steps, stride * np.arange(len(steps)))
        window = out[i : i + 1] if direct else np.empty((1, count, *out.shape[2:]), out.dtype)
        start = (int(rows[i]), low, *plain[1:])
        space.select_hyperslab(start, window.shape, (1, stride, *[1] * len(plain[1:])))
        dataset.id.read(h5s.create_simple(window.shape), space, window)
        if not direct:
            out[i] = window[0, steps // stride]


def pieces(rows: Rows) -> Iterator[tuple[int, int, int]]:
    """Neighbors in the file that are neighbors in ``rows``: (first position, first row, count), by row.

    Examples
    --------
    >>> list(pieces(np.array([7, 3, 4, 5, 3])))
    [(1, 3, 3), (4, 3, 1), (0, 7, 1)]
    """
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    counts = np.diff(starts, append=len(rows))
    for i in np.argsort(rows[starts], kind="stable"):
        yield int(starts[i]), int(rows[starts[i]]), int(counts[i])
