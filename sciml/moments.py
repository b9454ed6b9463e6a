"""Moments of fields that need not fit into memory: two passes in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.errors import DataError
from sciml.schema import Statistics

Float = NDArray[np.float64]
Blocks = Callable[[], Iterator[NDArray[Any]]]


def moments(blocks: Blocks, name: str, *, time_axis: int | None = None) -> Statistics:
    """Population mean and standard deviation, least and largest value, per component.

    The mean comes first, then the moments of what is left of it, corrected by the rounding of the mean
    (Chan, Golub & LeVeque 1983, *Algorithms for computing the sample variance*, eq. 1.7), so that a signal
    on a large offset keeps its digits.

    Parameters
    ----------
    blocks : callable
        Gives, each time it is called, the same sequence of arrays (..., components).
    name : str
        For the message.
    time_axis : int, optional
        The axis of frames in each block; with at least two frames the moments of differences are formed as
        well.

    Raises
    ------
    DataError
        If there are no values, or their squares exceed float64.

    Examples
    --------
    >>> data = np.array([[-1.0], [7.0]])
    >>> found = moments(lambda: iter([data]), "u")
    >>> found.mean.item(), found.std.item(), found.rms.item()
    (3.0, 4.0, 5.0)
    """
    mean, std, least, largest = _two_pass(blocks, name)
    mean_delta = std_delta = None
    if time_axis is not None and next(blocks()).shape[time_axis] > 1:

        def differences() -> Iterator[NDArray[Any]]:
            for block in blocks():
                yield np.diff(block.astype(np.float64), axis=time_axis)

        mean_delta, std_delta, _, _ = _two_pass(differences, name)
    return Statistics(mean, std, least, largest, mean_delta, std_delta)


def _columns(block: NDArray[Any]) -> Float:
    """(components, values), contiguous, so that numpy's sum along the last axis is pairwise."""
    return np.ascontiguousarray(block.reshape(-1, block.shape[-1]).T, dtype=np.float64)


@np.errstate(over="ignore", invalid="ignore")  # refused below, in a sentence
def _two_pass(blocks: Blocks, name: str) -> tuple[Float, Float, Float, Float]:
    count = 0
    total: Any = 0.0
    least: Any = np.inf
    largest: Any = -np.inf
    for block in blocks():
        values = _columns(block)
        count += values.shape[1]
        total = total + values.sum(axis=1)
        least = np.minimum(least, values.min(axis=1))
        largest = np.maximum(largest, values.max(axis=1))
    if count == 0:
        raise DataError(f"statistics of {name!r}: there are no training samples to take them from.")
    mean = total / count
    first: Any = 0.0
    second: Any = 0.0
    for block in blocks():
        deviation = _columns(block) - mean[:, None]
        first = first + deviation.sum(axis=1)
        second = second + np.square(deviation).sum(axis=1)
    if not np.isfinite(second).all():
        raise DataError(
            f"statistics of {name!r}: values from {least.min():g} to {largest.max():g} have no variance in "
            "float64. Use units in which they are moderate, or leave out what is no data."
        )
    # Rounding must not give a constant a negative variance.
    variance = np.maximum(second - first**2 / count, 0.0) / count
    return mean, np.sqrt(variance), least, largest
