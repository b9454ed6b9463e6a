"""From somebody else's file to a sciml dataset: recognize, read, write once, find again."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.foreign import Foreign, Reader
from sciml.datasets.readers.hdf5_probe import outline
from sciml.datasets.readers.refusal import refusal
from sciml.description import describe
from sciml.errors import DataError, ShapeError
from sciml.files import sha256
from sciml.hdf5 import SIGNATURE
from sciml.schema import dump
from sciml.streams import Streams

if TYPE_CHECKING:
    from sciml.dataset import Dataset

__all__ = ["Foreign", "Reader", "convert", "open_any"]

FRACTIONS = (0.9, 0.05, 0.05)

_VERSION = 3  # of what the readers make of a file: another number, another cache


def convert(
    path: str | Path,
    output: str | Path,
    *,
    readers: Sequence[Reader] | None = None,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Write somebody else's file as a sciml dataset.

    Parameters
    ----------
    path : str or Path
        A file, or a folder where the format is one.
    output : str or Path
        The new file; its folder must exist.
    readers : sequence of Reader, optional
        Those to try, by default all; exactly one must recognize the file.
    fractions : three floats
        Train, validation and test, if the file has no split of its own: the samples are put in the order of
        hashes of (seed, index) and cut.  The counts of validation and test are rounded down, but not to
        zero.  If its split has training and test samples alone, the second share of the training samples
        becomes the validation split, in the same way.
    seed : int
        Of that split.
    progress : callable, optional
        Called with (done, 3) when the file is recognized, read and written.

    Returns
    -------
    Dataset
        Its attributes ``conversion_notes``, ``source_file``, ``source_sha256`` and ``source_format`` say what
        was done to which file, and so does the last line of its ``history``.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    DataError
        If no reader recognizes the file, or more than one, or its content is damaged, unsafe or incomplete.
    """
    from sciml.dataset import write_dataset

    source = Path(path)
    if _is_own(source):
        raise DataError(f"{source}: is a sciml dataset already; sciml.open_dataset opens it.")
    told = progress or (lambda _done, _all: None)
    reader = recognize(source, readers)
    digest = digest_of(source)
    told(1, 3)
    content = _content(reader, source)
    told(2, 3)
    notes = list(content.notes)
    split = _split(content, fractions, seed, notes)
    done = f"converted from {source.name}, {reader.format}: {'; '.join(notes)}"
    before = str(content.attributes.get("history") or content.provenance.history)
    made = write_dataset(
        output,
        grid=content.grid,
        fields=list(content.fields),
        split=split,
        times=content.times,
        variables=content.variables,
        attributes={
            **content.attributes,
            "history": f"{before}\n{done}" if before else done,
            "source_file": source.name,
            "source_sha256": digest,
            "source_format": reader.format,
            "conversion_notes": "; ".join(notes),
        },
        provenance=content.provenance,
    )
    told(3, 3)
    return made


def open_any(
    path: str | Path,
    *,
    cache: str | Path,
    readers: Sequence[Reader] | None = None,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
) -> Dataset:
    """A sciml dataset as it is, somebody else's file through its conversion in the folder ``cache``.

    The name of the converted file follows from the SHA-256 of the source and all settings, so each is
    converted once, and an edited source is converted anew.

    Parameters
    ----------
    path : str or Path
    cache : str or Path
        Made if missing, and only touched for a foreign file.
    readers, fractions, seed
        As in `convert`.

    Raises
    ------
    FileNotFoundError, DataError
        As `sciml.open_dataset` and `convert`.
    """
    from sciml.dataset import open_dataset

    source = Path(path)
    if _is_own(source):
        return open_dataset(source)
    reader = recognize(source, readers)
    settings = [_VERSION, digest_of(source), describe(reader), list(fractions), seed]
    name = hashlib.sha256(dump(settings).encode()).hexdigest()[:12]
    target = Path(cache) / f"{source.stem}-{name}.h5"
    if target.exists():
        with contextlib.suppress(DataError):  # damaged: it can be made again
            return open_dataset(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    return convert(source, target, readers=(reader,), fractions=fractions, seed=seed)


def _content(reader: Reader, source: Path) -> Foreign:
    """What the reader makes of the file; whatever it provokes is about the file."""
    try:
        return reader.read(source)
    except (DataError, OSError):
        raise
    except ShapeError as error:  # of an Axis or Points: what a file holds is no setting of the user
        raise DataError(f"{source}: {error}") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"{source}: has the marks of {reader.format} but cannot be read as one "
            f"({type(error).__name__}: {reason}). It may be damaged."
        ) from error


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, or of the names and SHA-256 of all files in a folder."""
    if path.is_file():
        return sha256(path)
    state = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        state.update(f"{file.relative_to(path).as_posix()} {sha256(file)}\n".encode())
    return state.hexdigest()


def _split(
    content: Foreign, fractions: tuple[float, float, float], seed: int, notes: list[str]
) -> NDArray[np.int8]:
    """That of the file, with validation samples; else by hashes."""
    shares = " : ".join(f"{share:g}" for share in fractions)
    by_hash = split_by_hash(content.samples, fractions, seed)  # also checks the fractions
    if content.split is None and content.samples == 1:
        notes.append("one sample, for training")
        return np.zeros(1, dtype=np.int8)
    if content.split is None:
        notes.append(f"split {shares} by hashes of the index with seed {seed}; the file has none")
        return by_hash
    split = content.split.copy()
    train = np.flatnonzero(split == 0)
    if fractions[1] and not (split == 1).any() and len(train) > 1:
        share = (1 - fractions[1], fractions[1], 0.0)
        split[train[split_by_hash(len(train), share, seed) == 1]] = 1
        notes.append(
            f"{fractions[1]:g} of the training samples are for validation, by hashes with seed {seed}"
        )
    return split


def recognize(path: Path, readers: Sequence[Reader] | None = None) -> Reader:
    """The one reader that knows the content.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If no reader or more than one does; lists what the file holds and what was tried.
    """
    from sciml.datasets.readers import READERS

    tested = READERS if readers is None else readers
    if not path.exists():
        raise FileNotFoundError(f"open_any: there is no file {path}.")
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"{path}: not a regular file; readers take the path of one file, some of a folder.")
    found = [reader for reader in tested if reader.detect(path)]
    if len(found) == 1:
        return found[0]
    if found:
        both = ", ".join(reader.format for reader in found)
        raise DataError(f"{path}: could be read as {both}. Pass readers=(...) with the one that is meant.")
    raise DataError(refusal(path, [reader.format for reader in tested]))


def split_by_hash(count: int, fractions: tuple[float, float, float], seed: int) -> NDArray[np.int8]:
    """Split numbers, (count,): the first sample by hash are for training, the last for the test.

    Raises
    ------
    DataError
        If the fractions are not three numbers from 0 to 1 that sum to 1, the first of them positive.

    Examples
    --------
    >>> np.bincount(split_by_hash(1000, (0.8, 0.1, 0.1), seed=0)).tolist()
    [800, 100, 100]
    """
    if len(fractions) != 3 or min(fractions) < 0 or fractions[0] <= 0 or abs(sum(fractions) - 1) > 1e-9:
        raise DataError(f"convert: fractions are three shares that sum to 1, got {fractions}.")
    stream = Streams(seed).of("split")
    order = np.argsort([stream.seed(i) for i in range(count)], kind="stable")
    least = 1 if count > 2 else 0  # a positive share of a few samples is one of them, not none
    valid, test = (max(least, int(share * count + 1e-9)) if share else 0 for share in fractions[1:])
    split = np.zeros(count, dtype=np.int8)
    split[order[count - valid - test : count - test]] = 1
    split[order[count - test :]] = 2
    return split


def _is_own(path: Path) -> bool:
    """Whether the file says that it is a sciml dataset; only files of our layout are opened for that."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        beginning = file.read(9)
    if beginning[:8] != SIGNATURE or beginning[8:] not in (b"\2", b"\3"):  # as `sciml.hdf5.check_beginning`
        return False
    return bool(outline(path)["own"])
