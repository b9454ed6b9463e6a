"""What a dataset file will hold, checked before a file is touched: shapes, types, names, attributes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.dataset_points import function_of, stacked, structure_of
from sciml.errors import DataError
from sciml.grid import Axis, Grid
from sciml.locations import Location
from sciml.mesh import Points, PointSet, Space
from sciml.schema import (
    BOOKKEEPING,
    DTYPES,
    FLAGGED,
    NOT_CONTENT,
    RESERVED,
    SCHEMA,
    SPLITS,
    Field,
    Provenance,
    Variable,
    canonical,
    check_name,
    component_dimensions,
    dimensions,
    dump,
    location_of,
)

Place = Grid | Points | Sequence[Points]
Values = NDArray[Any] | PointSet | Sequence[NDArray[Any]] | Sequence[PointSet]


@dataclass(frozen=True)
class Content:
    """What a file will hold, checked: arrays in file order, attributes without checksums and statistics."""

    fields: tuple[Field, ...]
    attributes: dict[str, Any]
    variables: dict[str, tuple[Variable, NDArray[Any]]]
    train: NDArray[np.int64]
    locations: dict[str, Location]


def prepare(
    grid: Place,
    fields: Sequence[tuple[Field, Values]],
    split: ArrayLike,
    *,
    times: ArrayLike | None,
    variables: Mapping[str, ArrayLike],
    attributes: Mapping[str, Any],
    provenance: Provenance,
) -> Content:
    """Check everything against everything before a file is touched.

    Raises
    ------
    DataError
        For whatever does not fit, naming it, what was expected and what came.
    """
    known = {f.name for f in dataclasses.fields(Provenance)}
    provenance = dataclasses.replace(provenance, **{k: v for k, v in attributes.items() if k in known})
    parts = _split_array(split)
    count = len(parts)
    listed = [item for item, _ in fields]
    listed += [Field(name, "parameter") for name in variables if name not in BOOKKEEPING]
    arrays: list[Values] = [array for _, array in fields]
    arrays += [np.asarray(variables[f.name], dtype=np.float64) for f in listed[len(arrays) :]]
    frames = None if times is None else np.asarray(times, dtype=np.float64)
    if (frames is None) != (not any(f.time for f in listed)):
        raise DataError(
            "write_dataset: times and fields with time=True belong together; got one without the other."
        )
    place: Grid | Space
    locations: list[Location]
    if isinstance(grid, Grid):
        place, structure, locations = grid, dict(_axes(grid)), []
    else:
        place, structure, locations = structure_of(grid, count)
    kind = "grid" if isinstance(place, Grid) else "mesh" if "cells" in structure else "points"
    _check_names(place, listed)
    spots = {location.dim: location for location in locations}
    found = dict(_coordinates(count, frames, provenance.time_units)) | structure
    shapes = _Shapes(place, spots, component_dimensions(listed), count, 0 if frames is None else len(frames))
    for item, array in zip(listed, arrays, strict=True):
        values: Any = array
        if item.on == "own":
            values, further, spot = function_of(
                item, values, place if isinstance(place, Space) else None, count
            )
            taken = sorted(set(further) & (set(found) | {f.name for f in listed}))
            if taken:
                raise DataError(f"write_dataset: {taken[0]!r} is the name of the points of {item.name!r}.")
            spots[spot.dim] = spot
            found |= further
        found[item.name] = _field(item, values, shapes)
    for name in (n for n in BOOKKEEPING if n in variables or n == "split"):
        found[name] = _bookkeeping(name, parts if name == "split" else variables[name], count)
    told = {name: value for name, value in attributes.items() if name not in known}
    root = _root(kind, provenance.attributes(place, listed), told)
    return Content(tuple(listed), root, found, np.flatnonzero(parts == 0), spots)


def _root(kind: str, about: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of the file, of which the user tells the last ones."""
    root = {
        "Conventions": "CF-1.11",
        "sciml_schema": SCHEMA,
        "sciml_format": kind,
        **about,
        "checksum_algorithm": "sha256",
    }
    for name, value in told.items():
        check_name(name, "write_dataset: attributes")
        if name in root or name in NOT_CONTENT | {"domain"}:
            raise DataError(
                f"write_dataset: the attribute {name!r} is set by the schema; choose another name."
            )
        root[name] = _attribute(name, value)
    return root


def _split_array(split: ArrayLike) -> NDArray[np.int8]:
    parts = np.asarray(split)
    if parts.ndim != 1 or parts.size == 0 or not np.isin(parts, range(len(SPLITS))).all():
        raise DataError(
            f"write_dataset: split holds 0 (train), 1 (valid) or 2 (test) for each of at least one sample, "
            f"got shape {parts.shape} with values {np.unique(parts)[:5]}."
        )
    return parts.astype(np.int8)


def _check_names(place: Grid | Space, fields: Sequence[Field]) -> None:
    names = [f.name for f in fields]
    axes = list(place.names) if isinstance(place, Grid) else []  # those of points are no variables
    for name in axes:
        check_name(name, "write_dataset: axis")
    if not any(f.role != "parameter" and f.on != "own" for f in fields):
        raise DataError("write_dataset: needs at least one field on the grid, points or cells.")
    twice = sorted({n for n in names + axes if (names + axes).count(n) > 1})
    taken = sorted(n for n in names + axes if n in RESERVED or n.split("_")[0] == "component")
    if twice or taken:
        raise DataError(f"write_dataset: names must be distinct and not reserved, got {twice or taken}.")


def _coordinates(
    count: int, times: NDArray[np.float64] | None, time_units: str
) -> Iterator[tuple[str, tuple[Variable, NDArray[Any]]]]:
    yield _coordinate("sample", np.arange(count), {"long_name": "sample number", "units": "1"})
    if times is not None:
        if times.ndim != 1 or times.size == 0 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise DataError(f"write_dataset: times must be finite and increase, got shape {times.shape}.")
        yield _coordinate("time", times, {"axis": "T", "long_name": "time", "units": time_units})


def _axes(grid: Grid) -> Iterator[tuple[str, tuple[Variable, NDArray[Any]]]]:
    for axis in grid.axes:
        yield _coordinate(axis.name, axis.coordinates, _axis_attributes(axis))


def _axis_attributes(axis: Axis) -> dict[str, Any]:
    found: dict[str, Any] = {"axis": axis.name.upper()} if axis.name in ("x", "y", "z") else {}
    found |= {"long_name": axis.name, "units": axis.units, "grid_location": axis.location}
    found["periodic"] = int(axis.periodic)
    return found | ({"period": float(axis.upper - axis.lower)} if axis.periodic else {})


def _coordinate(
    name: str, values: NDArray[Any], attributes: dict[str, Any]
) -> tuple[str, tuple[Variable, NDArray[Any]]]:
    return name, (Variable(name, values.dtype, values.shape, (name,), attributes), values)


@dataclass(frozen=True)
class _Shapes:
    """What decides the shape of a field's array."""

    place: Grid | Space
    spots: Mapping[str, Location]
    component: Mapping[int, str]
    count: int
    frames: int

    def space(self, item: Field) -> tuple[tuple[str, ...], tuple[int, ...], Location | None]:
        """Dimensions and sizes of the points that a field lives on, and their location off the grid."""
        if isinstance(self.place, Grid) and item.on == "points":
            return self.place.names, self.place.shape, None
        dim = location_of(item)
        if dim not in self.spots:
            raise DataError(f"write_dataset: field {item.name!r} is on cells, but there is no Mesh.")
        return (dim,), (self.spots[dim].size,), self.spots[dim]


def _field(item: Field, given: Any, shapes: _Shapes) -> tuple[Variable, NDArray[Any]]:
    """Check the values of a field and turn them to file order, without copying unless the mesh is ragged."""
    if item.role == "parameter":
        space: tuple[str, ...] = ()
        sizes: tuple[int, ...] = ()
        spot = None
    else:
        space, sizes, spot = shapes.space(item)
    ragged = spot is not None and spot.ragged
    if ragged and not item.sample:
        raise DataError(
            f"write_dataset: field {item.name!r} cannot be the same for all samples: each has its own points."
        )
    if spot is not None and ragged:
        values = stacked(item, given, spot, shapes.frames)
    else:
        values = np.asarray(given)
    values, attributes = _stored(item, values)
    dims = dimensions(item, space, shapes.component, ragged=ragged)
    if not ragged:
        values = _arranged(item, values, space, sizes, shapes, last=spot is not None)
    return Variable(item.name, canonical(values.dtype), values.shape, dims, attributes), values


def _stored(item: Field, values: NDArray[Any]) -> tuple[NDArray[Any], dict[str, Any]]:
    """Values in a type that is stored, and the attributes of the variable."""
    attributes: dict[str, Any] = {"long_name": item.long_name or item.name, "units": item.units}
    attributes |= {"sciml_role": item.role, "sciml_rank": item.rank}
    if values.dtype.kind == "b":
        values = values.astype(np.int8)
        attributes |= {"flag_values": np.array([0, 1], np.int8), "flag_meanings": "false true"}
    if item.role == "parameter" and values.dtype.kind in "iuf":
        values = values.astype(np.float64)
    if values.dtype.kind not in "iuf" or canonical(values.dtype).str[1:] not in DTYPES:
        hint = "two components for complex numbers" if values.dtype.kind == "c" else "float32 or float64"
        raise DataError(
            f"write_dataset: field {item.name!r} has type {values.dtype}, not stored; use {hint}."
        )
    return values, attributes


def _arranged(
    item: Field,
    values: NDArray[Any],
    space: tuple[str, ...],
    sizes: tuple[int, ...],
    shapes: _Shapes,
    *,
    last: bool,
) -> NDArray[Any]:
    """An array in file order from ([sample,] [time,] [component,] *space), or with components ``last``."""
    lead = {"sample": shapes.count} if item.sample else {}
    lead |= {"time": shapes.frames} if item.time else {}
    places, expected = [*lead, *space], (*lead.values(), *sizes)
    axis = len(expected) if last else len(lead)
    full = (*expected[:axis], item.components, *expected[axis:])
    # One component may come with or without its axis: operators produce it, plain arrays do not have it.
    if item.components == 1 and item.role != "parameter" and values.shape == full:
        values = values.reshape(expected)
    if item.components > 1:
        places.insert(axis, "component")
        expected = full
    if values.shape != expected:
        order = (
            "Components come last."
            if last
            else f"Components come before space, and axes follow the grid's order {space}."
        )
        raise DataError(
            f"write_dataset: field {item.name!r} must have shape ({', '.join(places)}) = {expected}, got "
            f"{values.shape}. {order}"
        )
    return np.moveaxis(values, axis, -1) if item.components > 1 else values


def _bookkeeping(name: str, given: ArrayLike, count: int) -> tuple[Variable, NDArray[Any]]:
    raw = np.asarray(given)
    dtype = np.dtype(BOOKKEEPING[name])
    values = raw.astype(dtype)
    if raw.shape != (count,) or not np.array_equal(values, raw, equal_nan=values.dtype.kind == "f"):
        raise DataError(
            f"write_dataset: {name} holds one {dtype.name} per sample, ({count},), "
            f"got {raw.dtype} {raw.shape}."
        )
    attributes: dict[str, Any] = {"long_name": name.replace("_", " ")}
    if name in FLAGGED:
        if not np.isin(values, range(len(FLAGGED[name]))).all():
            raise DataError(f"write_dataset: {name} takes 0 to {len(FLAGGED[name]) - 1} for {FLAGGED[name]}.")
        attributes["flag_values"] = np.arange(len(FLAGGED[name]), dtype=dtype)
        attributes["flag_meanings"] = " ".join(FLAGGED[name])
    return Variable(name, dtype, values.shape, ("sample",), attributes), values


def _attribute(name: str, value: Any) -> Any:
    """A root attribute as it is stored: text, int, float, or JSON text of anything else."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, bool | int | np.integer):
        return int(value)
    try:
        text = dump(value)
        return float(value) if isinstance(value, float) else text
    except (TypeError, ValueError) as error:
        raise DataError(
            f"write_dataset: the attribute {name!r} must be text, a finite number, or lists and mappings of "
            f"these ({error})."
        ) from error
