"""Every n-th point and frame of a dataset on a grid, read as if the file held nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciml.errors import DataError, ShapeError, nearest
from sciml.grid import Axis, Grid
from sciml.schema import Variable

if TYPE_CHECKING:
    from sciml.dataset_file import Layout
    from sciml.dataset_source import FileSource
    from sciml.locations import Location

Rows = NDArray[np.int64]
# An axis or "time" to a step; "time" also to [start, stop, step], as of a slice.
Every = Mapping[str, int | Sequence[int | None]]

_STATISTICS = ("mean", "std", "rms", "min", "max", "mean_delta", "std_delta", "statistics_split")


def thinned(axis: Axis, step: int) -> tuple[Axis, slice]:
    """Every ``step``-th point of an axis, such that the rest is an axis of the same kind and ends.

    Of nodes the first and, unless periodic, the last one stay.  Of cells the middle one of every ``step``
    stays: it is the center of the cell that they make up together.

    Raises
    ------
    ShapeError
        If the step does not divide the intervals of the axis, or is even for cells.

    Examples
    --------
    >>> thinned(Axis("x", 0.0, 1.0, 421, "node"), 5)[0].size
    85
    >>> thinned(Axis("x", 0.0, 1.0, 9, "cell"), 3)[1]
    slice(1, None, 3)
    """
    ends = axis.location == "node" and not axis.periodic
    if step < 1 or (axis.size - ends) % step:
        raise ShapeError(f"every {step} does not divide the {axis.size - ends} intervals of {axis.name!r}.")
    if axis.location == "cell" and step % 2 == 0:
        raise ShapeError(
            f"every {step} has no middle cell on {axis.name!r}: take an odd step, or average cells."
        )
    start = step // 2 if axis.location == "cell" else 0
    return axis.with_size((axis.size - ends) // step + ends), slice(start, None, step)


class SubsampledSource:
    """Reads from a source of full resolution and gives every n-th point and frame.

    A chunk holds all space of a frame, so what lies between is read anyway and left out here; frames that
    nobody wants are not read.
    """

    def __init__(self, source: FileSource, every: Every) -> None:
        grid = source.layout.place
        if not isinstance(grid, Grid):
            raise DataError(f"{source.path}: sub-sampling takes every n-th point of a grid, not of a mesh.")
        known = (*grid.names, *(("time",) if "time" in source.layout.small else ()))
        for name in every:
            if name not in known:
                raise DataError(
                    f"{source.path}: every has no axis {name!r}, only {known}.{nearest(name, known)}"
                )
        self.source = source
        try:
            axes = [thinned(axis, _step(every.get(axis.name, 1))) for axis in grid.axes]
        except ShapeError as error:
            raise DataError(f"{source.path}: {error}") from error
        self._space = tuple(cut for _, cut in axes)
        self._frames: Rows | None = None
        if "time" in every:
            self._frames = np.arange(len(source.layout.small["time"]))[_slice(every["time"])]
            if self._frames.size == 0 or (np.diff(self._frames) <= 0).any():
                raise DataError(f"{source.path}: every = {dict(every)} leaves no frames in their order.")
        self.layout = self._thinned(source.layout, Grid(tuple(axis for axis, _ in axes)))
        self.computed: dict[str, Any] = {}

    def _thinned(self, layout: Layout, grid: Grid) -> Layout:
        small = dict(layout.small) | {axis.name: axis.coordinates for axis in grid.axes}
        if self._frames is not None:
            small["time"] = small["time"][self._frames]
        sizes = {name: len(small[name]) for name in (*grid.names, *(("time",) if "time" in small else ()))}

        def cut(variable: Variable) -> Variable:
            shape = tuple(sizes.get(d, n) for d, n in zip(variable.dims, variable.shape, strict=True))
            return dataclasses.replace(untold(variable), shape=shape)

        variables = {name: cut(variable) for name, variable in layout.variables.items()}
        return dataclasses.replace(layout, place=grid, small=small, variables=variables)

    def read(
        self, name: str, rows: Rows, frames: Rows | None = None, *, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """As `FileSource.read`."""
        item = self.layout.fields[name]
        if self._frames is not None and item.time:
            wanted = self._frames if frames is None else self._frames[frames]
            if item.sample or frames is not None:
                wanted = np.broadcast_to(wanted, (len(rows), wanted.shape[-1]))
                values = self.source.read(name, rows, wanted)
            else:
                values = self.source.read(name, rows)[wanted]
        else:
            values = self.source.read(name, rows, frames)
        if self.layout.location(item) is not None:  # a function on points of its own
            return values
        cut: tuple[Any, ...] = (..., *self._space)
        if out is None:
            return np.ascontiguousarray(values[cut])
        out[...] = values[cut]
        return out

    def read_pieces(self, name: str, location: Location, rows: Rows) -> list[NDArray[Any]]:
        """As `FileSource.read_pieces`."""
        found = self.source.read_pieces(name, location, rows)
        item = self.layout.fields.get(name)
        if item is not None and item.time and self._frames is not None:
            return [values[:, self._frames] for values in found]
        return found


def untold(variable: Variable) -> Variable:
    """Without the stored statistics, which are those of all points of the file's own training samples."""
    told = {k: v for k, v in variable.attributes.items() if k not in _STATISTICS}
    return dataclasses.replace(variable, attributes=told)


def _step(given: int | Sequence[int | None]) -> int:
    if not isinstance(given, int):
        raise ShapeError(f"every takes one step for an axis of space, got {given!r}.")
    return given


def _slice(given: int | Sequence[int | None]) -> slice:
    return slice(None, None, given) if isinstance(given, int) else slice(*given)


def every_of(given: int | Every | Mapping[str, Any], grid: Grid) -> Every:
    """What the user gave, as plain data: a step for all axes of space, or for each; slices as lists."""
    if isinstance(given, int):
        return dict.fromkeys(grid.names, given)
    return {
        name: [step.start, step.stop, step.step] if isinstance(step, slice) else step
        for name, step in given.items()
    }


def selection(every: Every, grid: Grid) -> dict[str, slice]:
    """The slices along the dimensions of the file, for xarray."""
    cuts = {axis.name: thinned(axis, _step(every.get(axis.name, 1)))[1] for axis in grid.axes}
    return cuts | ({"time": _slice(every["time"])} if "time" in every else {})
