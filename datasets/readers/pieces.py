"""What several readers have to decide: times, numbers, splits by position."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.axes import axis_of
from sciml.errors import DataError
from sciml.grid import Axis, Grid
from sciml.schema import Provenance

AXES = ("x", "y", "z")

# Root attributes that the schema sets itself.
_TAKEN = frozenset(
    {"Conventions", "boundary", "domain", "task", "checksum_algorithm", "source_file", "source_sha256",
     "source_format", "conversion_notes", *(item.name for item in dataclasses.fields(Provenance))}
)  # fmt: skip


def times_of(path: Path, given: NDArray[Any], frames: int, notes: list[str]) -> NDArray[np.float64]:
    """The times of ``frames`` frames from (frames,), one more, or the same for each sample, (sample, frames).

    Raises
    ------
    DataError
        If there are others than frames, samples have different ones, or they do not increase.
    """
    times = np.asarray(given, dtype=np.float64)
    if times.ndim == 2 and 1 in times.shape:
        times = times.ravel()
    if times.ndim == 2:
        if np.abs(times - times[0]).max() > 1e-6 * max(float(np.abs(times).max()), 1e-300):
            raise DataError(
                f"{path}: the samples have different times; a dataset has one time axis. Convert them "
                "one by one."
            )
        times = times[0]
    if times.ndim == 1 and len(times) == frames + 1:
        notes.append(f"time: {frames + 1} entries for {frames} frames, the last one left out")
        times = times[:-1]
    if times.shape != (frames,):
        raise DataError(
            f"{path}: has {frames} frames but times of shape {np.shape(given)}; expected one time a frame."
        )
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise DataError(f"{path}: the times of the frames must be finite and increase.")
    return times


def grid_of(
    path: Path,
    coordinates: Sequence[tuple[str, NDArray[Any]]],
    field: NDArray[Any],
    places: Sequence[int],
    notes: list[str],
    *,
    periodic: bool | None = None,
    units: str = "1",
) -> Grid:
    """A grid from coordinates along each axis, and a field in which the axes are at ``places``."""
    axes: list[Axis] = []
    for (name, points), place in zip(coordinates, places, strict=True):
        axis, note = axis_of(
            path, name, points, np.moveaxis(field, place, -1), periodic=periodic, units=units
        )
        axes.append(axis)
        notes.append(note)
    return Grid(tuple(axes))


def numbers_in(attributes: Mapping[str, Any]) -> dict[str, float]:
    """The attributes that are one finite number, under names that a dataset takes."""
    found = {}
    for name, value in attributes.items():
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            continue
        if (plain := plain_name(name)) is not None:
            found[f"source_{plain}" if plain in _TAKEN or plain.startswith("sciml_") else plain] = float(
                value
            )
    return found


def plain_name(name: str) -> str | None:
    """The name with underscores for what a dataset does not take in names, or None."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[:64]
    return plain if re.match(r"[A-Za-z]", plain) else None


def first_tenth(count: int) -> NDArray[np.int8]:
    """PDEBench's test samples are the first int(0.1 n), the others are for training."""
    split = np.zeros(count, dtype=np.int8)
    split[: int(0.1 * count)] = 2
    return split


def last_tenth(count: int) -> NDArray[np.int8]:
    """In PDEBench's files of one group a sample the last int(0.1 n) are for the test."""
    return first_tenth(count)[::-1].copy()


def real(name: str, values: NDArray[Any], notes: list[str]) -> tuple[NDArray[Any], bool]:
    """Complex values as real ones if they are, else as real and imaginary part along a new last axis; and
    whether there is one.
    """
    if values.dtype.kind != "c":
        return values, False
    if not np.any(values.imag):
        notes.append(f"{name} was complex with imaginary part zero and is real")
        return np.ascontiguousarray(values.real), False
    notes.append(f"{name} was complex; its components are the real and the imaginary part")
    return np.stack((values.real, values.imag), axis=-1), True


def lacking(path: Path, what: str, needed: Iterable[str], found: str) -> DataError:
    """The refusal of a near miss."""
    return DataError(
        f"{path}: has the marks of {what} but lacks {', '.join(map(repr, sorted(needed)))}; it holds {found}."
    )
