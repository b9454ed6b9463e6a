"""Which samples are for training, validation and test, where it is not the file that says so."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.errors import ConfigError, DataError
from sciml.schema import SPLITS

if TYPE_CHECKING:
    from sciml.dataset_source import FileSource
    from sciml.subsampling import SubsampledSource

Split = NDArray[np.int64]

_LETTERS = "012-"  # train, valid, test, none


def letters_of(split: ArrayLike) -> str:
    """One character for each sample: 0 train, 1 valid, 2 test, - none of them.

    Examples
    --------
    >>> letters_of([0, 0, 1, 2, -1])
    '0012-'
    """
    return "".join(_LETTERS[int(part)] for part in np.asarray(split))


def checked_split(split: ArrayLike | str, size: int, who: str) -> Split:
    """Integers or letters as integers, one for each of ``size`` samples.

    Raises
    ------
    DataError
        For another number of samples, or anything but the four.
    """
    given = [_LETTERS.find(c) for c in split] if isinstance(split, str) else split
    found = np.asarray(given)
    found = np.where(found == len(SPLITS), -1, found) if isinstance(split, str) else found
    if found.shape != (size,) or found.dtype.kind not in "iu" or not np.isin(found, [-1, 0, 1, 2]).all():
        raise DataError(
            f"{who}: split needs an integer for each of {size} samples, 0 train, 1 valid, 2 test or -1 none, "
            f"got {str(split)[:60]}."
        )
    return found.astype(np.int64)


def resplit_source(source: FileSource | SubsampledSource, split: Split) -> FileSource | SubsampledSource:
    """The same values under another split; statistics are then those of its training samples."""
    from sciml.subsampling import untold

    layout = source.layout
    made = copy.copy(source)
    made.layout = dataclasses.replace(
        layout,
        small={**layout.small, "split": split},
        variables={name: untold(variable) for name, variable in layout.variables.items()},
    )
    made.computed = {}
    return made


def held_out(split: ArrayLike, part: str, share: float, *, seed: int = 0) -> Split:
    """A split whose empty ``part`` got the rounded ``share`` of the training samples, one at least.

    Which ones is a pure function of the seed and their number: the first of a random order of them.

    Raises
    ------
    ConfigError
        If there are fewer than two training samples, or ``part`` has samples already.

    Examples
    --------
    >>> held_out([0] * 10, "test", 0.2).tolist()
    [0, 0, 0, 0, 2, 0, 2, 0, 0, 0]
    """
    found = np.array(split, dtype=np.int64)
    training, index = np.flatnonzero(found == 0), SPLITS.index(part)
    if len(training) < 2 or (found == index).any():
        raise ConfigError(
            f"held_out: needs two training samples and none in the {part} split, got {len(training)} and "
            f"{int((found == index).sum())}."
        )
    count = min(max(1, round(share * len(training))), len(training) - 1)
    found[training[np.random.default_rng(seed).permutation(len(training))[:count]]] = index
    return found
