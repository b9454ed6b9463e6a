"""More samples at the end of a dataset file, which stays whole whenever the process dies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.dataset import Dataset
from sciml.dataset_content import Content, Place, Values, prepare
from sciml.dataset_source import FileSource
from sciml.dataset_writer import write_file
from sciml.errors import DataError, nearest
from sciml.files import identity, locked_folder, remove_stale
from sciml.grid import Grid
from sciml.mesh import Points, PointSet
from sciml.schema import BOOKKEEPING, Field, Provenance

_SCHEMA_ATTRIBUTES = ("Conventions", "sciml_schema", "sciml_format", "checksum_algorithm", "domain")
_SIGNATURES = ("sciml_digest", "sciml_complete")


def append_dataset(
    path: str | Path,
    fields: Mapping[str, Values],
    split: ArrayLike,
    *,
    grid: Place | None = None,
    variables: Mapping[str, ArrayLike] | None = None,
) -> Dataset:
    """Add samples to a dataset file, and open it.

    The new file is the one that `write_dataset` would have made of all samples at once, to the byte: its
    statistics are those of all training samples.  It is written beside the old one, checked, and takes its
    name in one step, so that at any instant the name stands for a complete file, the old or the new one.
    That costs the reading and writing of all samples, as would any change of their checksums: add many at a
    time.  Two processes that append to files of one folder wait for each other.

    Parameters
    ----------
    path : str or Path
    fields : mapping of name to values
        The fields of the file that differ from sample to sample, as `write_dataset` takes them.
    split : (new,) integers
        0 train, 1 valid, 2 test.
    grid : sequence of Points or of Meshes, optional
        One for each new sample, where samples have their own.
    variables : mapping, optional
        One number for each new sample: every parameter and every entry, such as ``sample_seed``, of the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the file is damaged, or the names or values do not fit it, or values are not finite.

    Examples
    --------
    >>> import tempfile
    >>> from sciml.dataset import write_dataset
    >>> u = np.arange(12.0).reshape(3, 4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     settings = {"grid": Grid.box((4,)), "split": [0, 2]}
    ...     data = write_dataset(folder + "/u.h5", fields=[(Field("u", "output"), u[:2])], **settings)
    ...     len(append_dataset(data.path, {"u": u[2:]}, [0]))
    3
    """
    target = Path(path).absolute()
    with locked_folder(target.parent):
        remove_stale(target)
        old = Dataset(target)
        now = identity(target)
        old.verify()
        parts = np.asarray(split)
        _check_names(old, fields, variables or {})
        content = _combined(old, fields, parts, grid, variables or {})
        write_file(target, content, replaces=now)
    return Dataset(target)


def _check_names(old: Dataset, fields: Mapping[str, Values], variables: Mapping[str, ArrayLike]) -> None:
    layout = old._layout
    known = [name for name, item in layout.fields.items() if item.sample]
    numbers = [*old.parameter_names, *(n for n in BOOKKEEPING if n != "split" and n in layout.variables)]
    for given, expected, what in ((fields, known, "fields"), (variables, numbers, "variables")):
        if set(given) != set(expected):
            wrong = next(iter(set(given) ^ set(expected)))
            raise DataError(
                f"append_dataset: {old.path} has the {what} {expected}, got {list(given)}."
                f"{nearest(wrong, expected) if wrong in given else ''}"
            )


def _combined(
    old: Dataset,
    fields: Mapping[str, Values],
    split: NDArray[Any],
    grid: Place | None,
    variables: Mapping[str, ArrayLike],
) -> Content:
    """What the file will hold: small things in memory, fields as the old variable and the new values."""
    every = np.concatenate([old.variable("split"), split])
    place, added = _places(old, grid, len(split))
    listed, alone, joined = [], [], []
    for name, item in old.fields.items():
        kind = _is_truth(old, name)
        if not item.sample:
            value = old.load(name, [0])[0]
            entry = (item, value.astype(bool) if kind else value)
            listed.append(entry)
            alone.append(entry)
        elif item.on == "own" or _ragged(old, item):
            listed.append((item, _behind(old, item, fields[name])))
            alone.append((item, fields[name]))
        else:
            shape = (len(every), *_shape(old, name)[1:])
            stand_in = np.zeros((), bool if kind else old._layout.variables[name].dtype)
            listed.append((item, np.broadcast_to(stand_in, shape)))
            alone.append((item, fields[name]))
            joined.append(name)
    numbers = {n: np.concatenate([old.variable(n), np.asarray(v)]) for n, v in variables.items()}
    kept = [n for n in numbers if n in BOOKKEEPING]
    for name in old.parameter_names:
        told = old._layout.variables[name].attributes
        item = Field(name, "parameter", units=str(told["units"]), long_name=_long_name(name, told))
        listed.append((item, numbers[name]))
        alone.append((item, np.asarray(variables[name], np.float64)))
    settings = _settings(old)
    content = prepare(place, listed, every, variables={n: numbers[n] for n in kept}, **settings)
    tail = prepare(added, alone, split, variables={n: variables[n] for n in kept}, **settings)
    source = old._source
    assert isinstance(source, FileSource)
    for name in joined:
        variable, _ = content.variables[name]
        given, values = tail.variables[name]
        if given.dtype != variable.dtype:
            raise DataError(f"append_dataset: {name!r} is {variable.dtype} in the file, got {given.dtype}.")
        both = Joined(source.handle().file[name], values)
        content.variables[name] = (variable, cast(NDArray[Any], both))  # as far as the writer asks
    return content


def _places(old: Dataset, grid: Place | None, count: int) -> tuple[Place, Place]:
    """Where all samples live, and where the new ones do."""
    if old.kind == "grid":
        own: Place | None = old.grid
    elif not old._location(None).ragged:
        own = old.mesh(0)
    else:
        own = None
    if own is not None:
        if grid is not None:
            raise DataError(
                f"append_dataset: all samples of {old.path} share one {old.kind}; leave out grid."
            )
        return own, own
    if grid is None or isinstance(grid, Grid | Points) or len(grid) != count:
        raise DataError(
            f"append_dataset: {old.path} has {old.kind} of each sample: grid holds {count} of them."
        )
    return [*(old.mesh(row) for row in range(len(old))), *grid], grid


def _is_truth(old: Dataset, name: str) -> bool:
    return old._layout.variables[name].attributes.get("flag_meanings") == "false true"


def _ragged(old: Dataset, item: Field) -> bool:
    location = old._layout.location(item)
    return location is not None and location.ragged


def _behind(old: Dataset, item: Field, new: Values) -> Values:
    """Old and new values of a field on points of each sample, or of its own, in memory."""
    arrays: list[Any] = list(old.arrays(item.name))
    if _is_truth(old, item.name):
        arrays = [array.astype(bool) for array in arrays]
    if item.on != "own":
        return [*arrays, *new]
    places = old.places(on=item.name)
    if _ragged(old, item):
        return [*(PointSet(v, x) for v, x in zip(arrays, places, strict=True)), *_sets(item, new)]
    if not isinstance(new, PointSet) or not np.array_equal(new.coordinates, places[0]):
        raise DataError(f"append_dataset: {item.name!r} needs one PointSet at the points of the file.")
    return PointSet(np.concatenate([np.stack(arrays), new.values]), places[0])


def _sets(item: Field, new: Values) -> list[PointSet]:
    found = [] if isinstance(new, PointSet) else [one for one in new if isinstance(one, PointSet)]
    if not found:
        raise DataError(f"append_dataset: {item.name!r} needs a PointSet for each new sample.")
    return found


def _shape(old: Dataset, name: str) -> tuple[int, ...]:
    return old.load(name, [0]).shape


def _long_name(name: str, told: Mapping[str, Any]) -> str:
    found = str(told.get("long_name", ""))
    return "" if found == name else found


def _settings(old: Dataset) -> dict[str, Any]:
    """Times, attributes and provenance as `prepare` takes them."""
    told = {k: v for k, v in old.attributes.items() if k not in (*_SCHEMA_ATTRIBUTES, *_SIGNATURES)}
    known = {f.name for f in dataclasses.fields(Provenance)}
    about = {k: v for k, v in told.items() if k in known}
    return {
        "times": old.times,
        "attributes": {k: v for k, v in told.items() if k not in known},
        "provenance": Provenance(**about, time_units=old.time_units),
    }


class Joined:
    """An h5py dataset and an array behind it as one array, of which the writer takes blocks and rows."""

    def __init__(self, first: Any, second: NDArray[Any]) -> None:
        self._first, self._second = first, second
        self.shape = (len(first) + len(second), *second.shape[1:])
        self.dtype = second.dtype

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        """A slice without step, or increasing positions."""
        border = len(self._first)
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            parts = [self._first[start : min(stop, border)]] if start < border else []
            parts += [self._second[max(start - border, 0) : stop - border]] if stop > border else []
            return np.concatenate(parts).astype(self.dtype, copy=False)
        cut = int(np.searchsorted(rows, border))
        low = self._first[int(rows[0]) : int(rows[cut - 1]) + 1][rows[:cut] - rows[0]] if cut else None
        parts = [part for part in (low, self._second[rows[cut:] - border]) if part is not None]
        return np.concatenate(parts).astype(self.dtype, copy=False)
