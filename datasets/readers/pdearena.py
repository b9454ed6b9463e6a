"""Files of PDEArena: flow of smoke in two dimensions, a group for each split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.axes import unit_axis
from sciml.datasets.readers.containers import Contents, contents, load, marks, room
from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.pieces import grid_of, lacking, times_of
from sciml.description import describable
from sciml.errors import DataError
from sciml.grid import Grid
from sciml.schema import SPLITS, Field, Provenance, storable

_FIELDS = ("u", "vx", "vy")


@describable
@dataclass(frozen=True)
class PDEArena:
    """HDF5 files of Gupta and Brandstetter (TMLR 2023): ``/<split>/u``, ``vx``, ``vy``, (sample, time, x, y).

    The density of smoke and the velocity are states; ``buo_y`` of the samples is the parameter ``buoyancy``.
    Coordinates and times are ``x``, ``y`` and ``t``, the same for all samples, if the file has them.

    Examples
    --------
    >>> PDEArena().format
    'a PDEArena file'
    """

    @property
    def format(self) -> str:
        """For messages and the converted file."""
        return "a PDEArena file"

    def detect(self, path: Path) -> bool:
        """Whether an HDF5 file has two of u, vx and vy in a group of a split."""
        found = marks(path, "HDF5")
        return found is not None and bool(_splits(found))

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            If names are missing, or shapes do not belong together.
        """
        found = contents(path)
        splits = [] if found is None else _splits(found)
        if found is None or not splits:
            raise DataError(f"{path}: no u, vx and vy in a group train, valid or test.")
        if missing := {f"{s}/{name}" for s in splits for name in _FIELDS} - found.names():
            raise lacking(path, self.format, missing, found.listing())
        shapes = {f"{s}/{name}": found.arrays[f"{s}/{name}"].shape for s in splits for name in _FIELDS}
        if len({shape[1:] for shape in shapes.values()}) != 1 or len(shapes[f"{splits[0]}/u"]) != 4:
            raise DataError(f"{path}: expected (sample, time, x, y) of one size for all, got {shapes}.")
        notes: list[str] = []
        counts = [shapes[f"{s}/u"][0] for s in splits]
        joined = {name: _joined(path, found, splits, name) for name in _FIELDS}
        u = joined["u"]
        grid = _grid(path, found, splits[0], u, notes)
        clock = f"{splits[0]}/t"
        if clock in found.arrays:
            times = times_of(path, load(path, [clock])[clock], u.shape[1], notes)
        else:
            times = np.arange(u.shape[1], dtype=np.float64)
            notes.append("frames are numbered 0, 1, ...; their times are not in the file")
        variables = {}
        if all(f"{s}/buo_y" in found.arrays for s in splits):
            variables["buoyancy"] = _joined(path, found, splits, "buo_y").astype(np.float64).ravel()
        several = len(splits) > 1
        if not several:
            notes.append(f"all samples are of the group {splits[0]}")
        return Foreign(
            grid,
            tuple(
                (Field(name, "state", time=True), storable(path, name, joined[name], notes))
                for name in _FIELDS
            ),
            split=np.repeat([SPLITS.index(s) for s in splits], counts).astype(np.int8) if several else None,
            times=times,
            variables=variables,
            provenance=Provenance(
                title=f"{path.name}, a PDEArena file", pde="navier_stokes_2d_smoke", dtype_compute="unknown"
            ),
            notes=tuple(notes),
        )


def _splits(found: Contents) -> list[str]:
    return [s for s in SPLITS if len({f"{s}/{name}" for name in _FIELDS} & found.names()) > 1]


def _joined(path: Path, found: Contents, splits: list[str], name: str) -> NDArray[Any]:
    arrays = [load(path, [f"{s}/{name}"])[f"{s}/{name}"] for s in splits]
    held = room(
        (sum(len(array) for array in arrays), *arrays[0].shape[1:]), found.arrays[f"{splits[0]}/{name}"].dtype
    )
    np.concatenate(arrays, out=held)
    return held


def _grid(path: Path, found: Contents, split: str, u: NDArray[Any], notes: list[str]) -> Grid:
    """From x and y, (n,) or the same for each sample; else the unit square."""
    axes = []
    for place, name in enumerate(("x", "y")):
        full, size = f"{split}/{name}", u.shape[2 + place]
        if full not in found.arrays:
            axis, note = unit_axis(name, size, None, "cell")
            notes.append(note)
        else:
            points = load(path, [full])[full]
            points = points[0] if points.ndim == 2 else points
            if points.shape != (size,):
                raise DataError(f"{path}: {full} has shape {points.shape}; the fields have {size} points.")
            axis = grid_of(path, [(name, points)], u, [2 + place], notes).axes[0]
        axes.append(axis)
    return Grid(tuple(axes))
