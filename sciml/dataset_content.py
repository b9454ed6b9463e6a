"""What a dataset file will hold, checked before a file is touched: shapes, types, names, attributes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.errors import DataError
from sciml.grid import Axis, Grid
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
)


@dataclass(frozen=True)
class Content:
    """What a file will hold, checked: arrays in file order, attributes without checksums and statistics."""

    grid: Grid
    fields: tuple[Field, ...]
    attributes: dict[str, Any]
    variables: dict[str, tuple[Variable, NDArray[Any]]]
    train: NDArray[np.int64]


def prepare(
    grid: Grid,
    fields: Sequence[tuple[Field, NDArray[Any]]],
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
    arrays = [array for _, array in fields]
    arrays += [np.asarray(variables[f.name], dtype=np.float64) for f in listed[len(arrays) :]]
    _check_names(grid, listed)
    frames = None if times is None else np.asarray(times, dtype=np.float64)
    if (frames is None) != (not any(f.time for f in listed)):
        raise DataError(
            "write_dataset: times and fields with time=True belong together; got one without the other."
        )
    found = dict(_coordinates(grid, count, frames, provenance.time_units))
    component = component_dimensions(listed)
    for item, array in zip(listed, arrays, strict=True):
        found[item.name] = _field(item, array, grid, component, count, frames)
    for name in (n for n in BOOKKEEPING if n in variables or n == "split"):
        found[name] = _bookkeeping(name, parts if name == "split" else variables[name], count)
    root = {
        "Conventions": "CF-1.11",
        "sciml_schema": SCHEMA,
        "sciml_format": "grid",
        **provenance.attributes(grid, listed),
        "checksum_algorithm": "sha256",
    }
    for name in [n for n in attributes if n not in known]:
        check_name(name, "write_dataset: attributes")
        if name in root or name in NOT_CONTENT | {"domain"}:
            raise DataError(
                f"write_dataset: the attribute {name!r} is set by the schema; choose another name."
            )
        root[name] = _attribute(name, attributes[name])
    return Content(grid, tuple(listed), root, found, np.flatnonzero(parts == 0))


def _split_array(split: ArrayLike) -> NDArray[np.int8]:
    parts = np.asarray(split)
    if parts.ndim != 1 or parts.size == 0 or not np.isin(parts, range(len(SPLITS))).all():
        raise DataError(
            f"write_dataset: split holds 0 (train), 1 (valid) or 2 (test) for each of at least one sample, "
            f"got shape {parts.shape} with values {np.unique(parts)[:5]}."
        )
    return parts.astype(np.int8)


def _check_names(grid: Grid, fields: Sequence[Field]) -> None:
    names = [f.name for f in fields]
    for axis in grid.axes:
        check_name(axis.name, "write_dataset: axis")
    if not any(f.role != "parameter" for f in fields):
        raise DataError("write_dataset: needs at least one field on the grid.")
    twice = sorted({n for n in names + list(grid.names) if (names + list(grid.names)).count(n) > 1})
    taken = sorted(n for n in names + list(grid.names) if n in RESERVED or n.split("_")[0] == "component")
    if twice or taken:
        raise DataError(f"write_dataset: names must be distinct and not reserved, got {twice or taken}.")


def _coordinates(
    grid: Grid, count: int, times: NDArray[np.float64] | None, time_units: str
) -> Iterator[tuple[str, tuple[Variable, NDArray[Any]]]]:
    yield _coordinate("sample", np.arange(count), {"long_name": "sample number", "units": "1"})
    if times is not None:
        if times.ndim != 1 or times.size == 0 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise DataError(f"write_dataset: times must be finite and increase, got shape {times.shape}.")
        yield _coordinate("time", times, {"axis": "T", "long_name": "time", "units": time_units})
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


def _field(
    item: Field,
    array: NDArray[Any],
    grid: Grid,
    component: Mapping[int, str],
    count: int,
    times: NDArray[np.float64] | None,
) -> tuple[Variable, NDArray[Any]]:
    """Check an array, (sample, [time,] [component,] *space), and turn it to file order without copying."""
    values = np.asarray(array)
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
    dims = dimensions(item, grid, component)
    sizes = {
        "sample": count,
        "time": 0 if times is None else len(times),
        **dict(zip(grid.names, grid.shape, strict=True)),
    }
    shape = tuple(sizes.get(name, item.components) for name in dims)
    places = ["component" if name not in sizes else name for name in dims]
    lead = item.sample + item.time
    if item.components > 1:
        places.insert(lead, places.pop())
    expected = tuple(item.components if place == "component" else sizes[place] for place in places)
    # One component may come with or without its axis: operators produce it, plain arrays do not have it.
    if (
        item.components == 1
        and item.role != "parameter"
        and values.shape == (*expected[:lead], 1, *expected[lead:])
    ):
        values = values.reshape(expected)
    if values.shape != expected:
        raise DataError(
            f"write_dataset: field {item.name!r} must have shape ({', '.join(places)}) = {expected}, got "
            f"{values.shape}. Components come before space, and axes follow the grid's order {grid.names}."
        )
    if item.components > 1:
        values = np.moveaxis(values, lead, -1)
    return Variable(item.name, canonical(values.dtype), shape, dims, attributes), values


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
