"""Where a dataset's values come from: a file, through one handle per process, or memory."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.dataset_file import Layout, read_layout, rehearse
from sciml.errors import DataError
from sciml.files import identity
from sciml.hdf5 import BLOCK_BYTES, check_beginning, open_file, refusing, rows_per_block
from sciml.locations import Location
from sciml.moments import moments
from sciml.rows import read_rows
from sciml.sandbox import examine
from sciml.schema import Field, Statistics
from sciml.subsampling import SubsampledSource

Rows = NDArray[np.int64]


def to_memory_order(values: NDArray[Any], item: Field, *, on_grid: bool = True) -> NDArray[Any]:
    """(sample, time, *space, component) of the file to (sample, time, component, *space) on a grid."""
    if item.components == 1 or not on_grid:
        return values
    return np.ascontiguousarray(np.moveaxis(values, -1, item.sample + item.time))


class _Handle:
    """One open file of one process; closed when nobody holds it any more."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.process = os.getpid()
        self.variables: dict[str, Any] = {}
        weakref.finalize(self, file.close)


class FileSource:
    """Reads rows from the file, through one handle per process.

    A handle never crosses a process border: it is left out when pickled, and a forked process opens its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_beginning(path)
        self._identity = identity(path)
        examine(path, rehearse)  # where a crash of the HDF5 library does no harm
        handle = _Handle(open_file(path))
        self.layout = read_layout(handle.file, path)
        self.computed: dict[str, Statistics] = {}
        self._handle: _Handle | None = handle

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def handle(self) -> _Handle:
        """The handle of this process, opened when first needed."""
        handle = self._handle
        if handle is None or handle.process != os.getpid():
            self._handle = None  # closes what a fork has inherited, before the same file is opened again
            del handle
            with refusing(self.path, "the file"):
                now = identity(self.path)
            if now != self._identity:
                check_beginning(self.path)
                examine(self.path, rehearse)
            handle = _Handle(open_file(self.path))
            if now != self._identity:
                digest = read_layout(handle.file, self.path).digest
                if digest != self.layout.digest:
                    raise DataError(
                        f"{self.path}: was replaced since it was opened (digest {digest}, then "
                        f"{self.layout.digest}). Open it again."
                    )
                self._identity = now
            self._handle = handle
        return handle

    def _dataset(self, name: str) -> Any:
        handle = self.handle()
        if name not in handle.variables:
            handle.variables[name] = handle.file[name]
        return handle.variables[name]

    def read(
        self, name: str, rows: Rows, frames: Rows | None = None, *, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """The field at these positions along ``sample``, in memory order; all of a field without samples.

        ``frames`` (row, frame) are the positions along ``time`` to read of each row.  ``out`` is filled and
        returned if it is given, of a field with samples and one component.
        """
        item, variable = self.layout.fields[name], self.layout.variables[name]
        on_grid = self.layout.location(item) is None
        native = variable.dtype.newbyteorder("=")
        with refusing(self.path, f"field {name!r}"):
            dataset = self._dataset(name)
            if not item.sample:
                values = dataset[()].astype(native, copy=False)
                if frames is not None:
                    return to_memory_order(values[frames], replace(item, sample=True), on_grid=on_grid)
                return to_memory_order(values, item, on_grid=on_grid)
            tail = variable.shape[1:] if frames is None else (frames.shape[1], *variable.shape[2:])
            values = np.empty((len(rows), *tail), dtype=native) if out is None else out
            read_rows(dataset, values, rows, frames)
        return to_memory_order(values, item, on_grid=on_grid)

    def read_pieces(self, name: str, location: Location, rows: Rows) -> list[NDArray[Any]]:
        """What a variable along points or cells has for each of the samples, in file order."""
        native = self.layout.variables[name].dtype.newbyteorder("=")
        with refusing(self.path, f"{name!r}"):
            dataset = self._dataset(name)
            if location.ragged:
                return location.read(dataset, native, rows)
            return [dataset[()].astype(native, copy=False)] * len(rows)


class MemorySource:
    """Holds fields in memory, in memory order, for some positions along ``sample``.

    ``arrays`` are as `FileSource.read` gives them for ``rows``, ``pieces`` as `FileSource.read_pieces` does.
    """

    def __init__(
        self,
        layout: Layout,
        arrays: Mapping[str, NDArray[Any]],
        rows: Rows,
        pieces: Mapping[str, list[NDArray[Any]]] | None = None,
    ) -> None:
        self.layout = layout
        self.computed: dict[str, Statistics] = {}
        self.arrays, self.pieces = dict(arrays), dict(pieces or {})
        self._slot = np.full(int(rows.max(initial=-1)) + 1, -1, dtype=np.int64)
        self._slot[rows] = np.arange(len(rows))

    def read(
        self, name: str, rows: Rows, frames: Rows | None = None, *, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """As `FileSource.read`; always a copy, so that a caller may change it in place."""
        if name not in self.arrays:
            raise DataError(_not_loaded(name, (*self.arrays, *self.pieces)))
        values = self.arrays[name]
        if not self.layout.fields[name].sample:
            return values.copy() if frames is None else values[frames]
        slots = self._slot[rows]
        return _put(values[slots] if frames is None else values[slots[:, None], frames], out)

    def read_pieces(self, name: str, location: Location, rows: Rows) -> list[NDArray[Any]]:
        """As `FileSource.read_pieces`; each a copy."""
        if name not in self.pieces:
            raise DataError(_not_loaded(name, (*self.arrays, *self.pieces)))
        return [self.pieces[name][slot].copy() for slot in self._slot[rows]]


def _put(values: NDArray[Any], out: NDArray[Any] | None) -> NDArray[Any]:
    if out is None:
        return values
    out[...] = values
    return out


def _not_loaded(name: str, loaded: Iterable[str]) -> str:
    return f"in_memory: {name!r} was not loaded, only {', '.join(loaded)}."


def _blocks(layout: Layout, item: Field, rows: Rows) -> Iterator[Rows]:
    """``rows`` in pieces of about 16 MiB; a single one for a field that is the same for all samples."""
    variable, location = layout.variables[item.name], layout.location(item)
    if location is not None and location.ragged:
        row = math.prod(variable.shape[1:]) * variable.dtype.itemsize
        yield from location.blocks(rows, row, BLOCK_BYTES)
        return
    if not item.sample:
        yield rows[:1]
        return
    step = rows_per_block(variable.shape, variable.dtype.itemsize)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def computed_statistics(
    source: FileSource | MemorySource | SubsampledSource, item: Field, rows: Rows
) -> Statistics:
    """The moments of a field over ``rows``, the training samples, where the file does not state them."""
    if item.name in source.computed:
        return source.computed[item.name]
    lead = item.sample + item.time
    location = source.layout.location(item)
    ragged = location is not None and location.ragged

    def blocks() -> Iterator[NDArray[Any]]:
        for piece in _blocks(source.layout, item, rows):
            if location is not None and ragged:
                values = np.concatenate(source.read_pieces(item.name, location, piece))
            else:
                values = source.read(item.name, piece)
            if item.components == 1:
                yield values[..., None]
            else:
                yield np.moveaxis(values, lead, -1) if location is None else values

    time_axis = 1 if ragged else int(item.sample)
    found = moments(blocks, item.name, time_axis=time_axis if item.time else None)
    source.computed[item.name] = found
    return found


def check_finite(
    source: FileSource | MemorySource | SubsampledSource, item: Field, rows: Rows, path: Path
) -> None:
    """Raise DataError at the first NaN or infinity of a field."""
    location = source.layout.location(item)
    if location is not None:
        _check_finite_points(source, item, location, rows, path)
        return
    for piece in _blocks(source.layout, item, rows):
        values = source.read(item.name, piece)
        if values.dtype.kind != "f" or np.isfinite(values).all():
            continue
        where = [int(i) for i in np.argwhere(~np.isfinite(values))[0]]
        found = values[tuple(where)]
        place = [f"sample {piece[where.pop(0)]}"] if item.sample else []
        place += [f"frame {where.pop(0)}"] if item.time else []
        place += [f"component {where.pop(0) if item.components > 1 else 0}"]
        raise DataError(
            f"{path}: field {item.name!r} is {found} at {', '.join(place)}, grid index {tuple(where)} of "
            f"{source.layout.place.names}. Leave that sample out (subset) or generate it again."
        )


def _check_finite_points(
    source: FileSource | MemorySource | SubsampledSource,
    item: Field,
    location: Location,
    rows: Rows,
    path: Path,
) -> None:
    for piece in _blocks(source.layout, item, rows):
        if location.ragged:
            arrays: Iterable[NDArray[Any]] = source.read_pieces(item.name, location, piece)
        else:
            arrays = source.read(item.name, piece) if item.sample else [source.read(item.name, piece)]
        for row, values in zip(piece, arrays, strict=False):
            if values.dtype.kind != "f" or np.isfinite(values).all():
                continue
            where = np.argwhere(~np.isfinite(values))[0]
            names = [d for d in source.layout.variables[item.name].dims if d != "sample"]
            place = ", ".join(f"{name} {int(i)}" for name, i in zip(names, where, strict=True))
            raise DataError(
                f"{path}: field {item.name!r} is {values[tuple(where)]} in sample {row} at {place}. Leave "
                "that sample out (subset) or generate it again."
            )


def positions_of(indices: ArrayLike, size: int, what: str) -> Rows:
    """Integers or truth values as positions 0 .. size - 1; negative ones count from the end."""
    given = np.atleast_1d(np.asarray(indices))
    if given.dtype.kind == "b" and given.shape == (size,):
        return np.flatnonzero(given)
    if given.size == 0:
        return np.empty(0, dtype=np.int64)
    if given.dtype.kind not in "iu" or given.ndim != 1:
        raise DataError(
            f"{what}: expected integers, or {size} truth values, got {given.dtype} of shape {given.shape}."
        )
    positions = given.astype(np.int64)
    positions = np.where(positions < 0, positions + size, positions)
    if ((positions < 0) | (positions >= size)).any():
        raise DataError(
            f"{what}: there are {size} samples, got {given[(positions < 0) | (positions >= size)][0]}."
        )
    return positions
