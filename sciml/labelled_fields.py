"""Variables of an `xarray.Dataset` on uniform axes as the fields of a dataset file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.errors import DataError, nearest
from sciml.grid import Axis, Grid, Location
from sciml.schema import BOOKKEEPING, JSON_ATTRIBUTES, NOT_CONTENT, Field, Provenance, storable

if TYPE_CHECKING:
    import xarray

    from sciml.dataset import Dataset

_LOCATIONS: dict[str, Location] = {"node": "node", "cell": "cell", "left": "left"}
_SCHEMA = frozenset(
    {"Conventions", "sciml_schema", "sciml_format", "checksum_algorithm", "domain", *NOT_CONTENT}
)


@dataclass(frozen=True)
class Labelled:
    """What a dataset file is written from, and notes on everything that had to be decided."""

    grid: Grid
    fields: tuple[tuple[Field, NDArray[Any]], ...]
    times: NDArray[np.float64] | None
    time_units: str
    notes: tuple[str, ...]


def labelled_fields(
    who: str, data: xarray.Dataset, roles: Mapping[str, str], sample: str = "sample"
) -> Labelled:
    """The variables that ``roles`` names, in memory order, on their common grid.

    Each has the sample dimension or not, perhaps a time dimension ("time", or one whose coordinate has the
    attribute axis "T"), one dimension with uniform coordinates for each axis, and perhaps one named
    "component".  Axes with the names or the attribute ``axis`` X, Y, Z come in this order, others as they
    stand; descending coordinates are turned.  Coordinates are nodes with both ends unless their attribute
    ``grid_location`` says "cell" or "left", or ``periodic`` says 1 (nodes without the right end).

    Parameters
    ----------
    who : str
        For messages: the caller, or the file.
    data : xarray.Dataset
    roles : mapping of variable to role
        A variable with role "parameter" has the sample dimension alone.
    sample : str

    Raises
    ------
    DataError
        If dimensions and coordinates are no grid with samples; names what is missing.
    """
    notes: list[str] = []
    for name in roles:
        if name not in data.variables:
            known = [str(n) for n in data.data_vars]
            raise DataError(
                f"{who}: has no variable {name!r}; it has {shapes_of(data)}.{nearest(name, known)}"
            )
    placed = [name for name, role in roles.items() if role != "parameter"]
    if not placed or not any(sample in data[name].dims for name in placed):
        raise DataError(
            f"{who}: no dimension {sample!r} counts samples; its variables are {shapes_of(data)}. Name it "
            "(sample=..., on the command line --sample); one sample teaches nothing."
        )
    time = _time(data)
    spatial = _spatial(who, data, placed, (sample, time))
    for name in spatial:
        data = _ascending(data, name, notes)
    axes = tuple(_axis(who, data, name, notes) for name in spatial)
    times, units = None, "1"
    if time is not None and any(time in data[name].dims for name in placed):
        inside = time in data.coords
        times = np.asarray(data[time].values if inside else range(data.sizes[time]), np.float64)
        units = str(data[time].attrs.get("units", "1")) if inside else "1"
    fields = [
        _parameter(who, data[name], sample)
        if role == "parameter"
        else _field(who, data[name], role, (sample, time), spatial, notes)
        for name, role in roles.items()
    ]
    return Labelled(Grid(axes), tuple(fields), times, units, tuple(notes))


def from_xarray(
    path: str | Path,
    data: xarray.Dataset,
    roles: Mapping[str, str] | None = None,
    *,
    split: ArrayLike | None = None,
    sample: str = "sample",
    provenance: Provenance | None = None,
) -> Dataset:
    """See `Dataset.from_xarray`."""
    from sciml.dataset_writing import write_dataset

    who = "from_xarray"
    told = {str(n): str(v.attrs["sciml_role"]) for n, v in data.data_vars.items() if "sciml_role" in v.attrs}
    roles = told if roles is None else roles
    if not roles:
        raise DataError(
            f"{who}: nothing says which variables are inputs and which outputs; it has {shapes_of(data)}. "
            "roles={'a': 'input', 'u': 'output'} says so."
        )
    if split is None and "split" not in data:
        raise DataError(f"{who}: needs split=, 0 (train), 1 (valid) or 2 (test) for each sample.")
    found = labelled_fields(who, data, roles, sample)
    attributes = {
        str(key): _decoded(str(key), value) for key, value in data.attrs.items() if key not in _SCHEMA
    }
    if found.notes:
        attributes["conversion_notes"] = "; ".join(found.notes)
    start = provenance or Provenance(dtype_compute=str(attributes.get("dtype_compute", "unknown")))
    return write_dataset(
        path,
        grid=found.grid,
        fields=found.fields,
        split=data["split"].values if split is None else split,
        times=found.times,
        variables={n: data[n].values for n in BOOKKEEPING if n in data and n != "split"},
        attributes=attributes,
        provenance=dataclasses.replace(start, time_units=found.time_units),
    )


def _decoded(key: str, value: Any) -> Any:
    """An attribute as `write_dataset` takes it."""
    if key in JSON_ATTRIBUTES and isinstance(value, str):
        return json.loads(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def shapes_of(data: xarray.Dataset) -> str:
    """The variables and their dimensions, for messages."""
    listed = [f"{name} ({', '.join(map(str, array.dims))})" for name, array in data.data_vars.items()]
    return (", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")) or "no variables"


def _time(data: xarray.Dataset) -> str | None:
    for name in map(str, data.dims):
        if name == "time" or (name in data.coords and data[name].attrs.get("axis") == "T"):
            return name
    return None


def _is_component(name: str) -> bool:
    return name.split("_")[0] == "component"


def _spatial(
    who: str, data: xarray.Dataset, names: Sequence[str], taken: tuple[str | None, ...]
) -> tuple[str, ...]:
    """The dimensions of space, x first; the same for all variables."""
    found = {
        name: [str(d) for d in data[name].dims if d not in taken and not _is_component(str(d))]
        for name in names
    }
    first = found[names[0]]
    if not first or any(set(dims) != set(first) for dims in found.values()):
        raise DataError(
            f"{who}: the variables must have the same axes of space, at least one, got {shapes_of(data)}."
        )
    lacking = [name for name in first if name not in data.coords]
    if lacking:
        raise DataError(
            f"{who}: the dimensions {', '.join(lacking)} have no coordinates, so nothing says where the "
            "values lie. dataset.assign_coords(...) sets them in xarray."
        )
    letters = [str(data[name].attrs.get("axis", name)).lower() for name in first]
    if set(letters) <= set("xyz") and len(set(letters)) == len(letters):
        return tuple(name for _, name in sorted(zip(letters, first, strict=True)))
    return tuple(first)


def _ascending(data: xarray.Dataset, name: str, notes: list[str]) -> xarray.Dataset:
    points = data[name].values
    if points.size > 1 and points[0] > points[-1]:
        notes.append(f"{name}: descended and is turned")
        return data.isel({name: slice(None, None, -1)})
    return data


def _axis(who: str, data: xarray.Dataset, name: str, notes: list[str]) -> Axis:
    attributes = data[name].attrs
    location, periodic = _LOCATIONS.get(attributes.get("grid_location", "")), attributes.get("periodic")
    if location is None:
        notes.append(f"{name}: nodes with both ends, an assumption")
        location = "node"
    try:
        found = Axis.from_coordinates(
            name,
            data[name].values,
            location=location,
            periodic=bool(periodic) if isinstance(periodic, int | np.integer) else False,
            units=str(attributes.get("units", "1")),
        )
    except ValueError as error:  # DataError and ShapeError
        raise DataError(f"{who}: {error}") from error
    # Where the ends are stated they need not be found again from rounded points.
    try:
        lower, upper = map(float, json.loads(data.attrs["domain"])[name])
    except (KeyError, TypeError, ValueError):
        return found
    near = np.allclose((lower, upper), (found.lower, found.upper), rtol=0.0, atol=1e-6 * found.spacing)
    return dataclasses.replace(found, lower=lower, upper=upper) if near else found


def _parameter(who: str, variable: xarray.DataArray, sample: str) -> tuple[Field, NDArray[Any]]:
    if variable.dims != (sample,):
        raise DataError(
            f"{who}: the parameter {variable.name} must have the dimension {sample!r} alone, got "
            f"{variable.dims}."
        )
    units, title = (
        str(variable.attrs.get(key, default)) for key, default in (("units", "1"), ("long_name", ""))
    )
    item = Field(
        str(variable.name), "parameter", units=units, long_name="" if title == variable.name else title
    )
    return item, np.asarray(variable.values)


def _field(
    who: str,
    variable: xarray.DataArray,
    role: str,
    leading: tuple[str, str | None],
    spatial: tuple[str, ...],
    notes: list[str],
) -> tuple[Field, NDArray[Any]]:
    """A variable in memory order, with its units."""
    sample, time = leading
    component = [str(d) for d in variable.dims if _is_component(str(d))]
    front = [d for d in (sample, time) if d is not None and d in variable.dims]
    if len(component) > 1:
        raise DataError(f"{who}: {variable.name} has several dimensions of components, {component}.")
    values = variable.transpose(*front, *component, *spatial).values
    title, rank = str(variable.attrs.get("long_name", "")), variable.attrs.get("sciml_rank")
    item = Field(
        str(variable.name),
        role,
        units=str(variable.attrs.get("units", "1")),
        long_name="" if title == variable.name else title,
        components=variable.sizes[component[0]] if component else 1,
        time=time in variable.dims,
        sample=sample in variable.dims,
        rank=int(rank) if rank in (0, 1, 2) else None,
    )
    if variable.attrs.get("flag_meanings") == "false true":
        values = values.astype(bool)
    return item, storable(who, item.name, np.ascontiguousarray(values), notes)
