"""Points, meshes and functions on their own points as variables of a dataset file, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.cells import CELLS, POLYGON
from sciml.errors import DataError
from sciml.locations import Location, lengths, time_first
from sciml.mesh import Mesh, Points, PointSet, Space
from sciml.schema import Field, Variable, canonical, check_name, location_of

Entry = tuple[Variable, NDArray[Any]]
_TYPES = (*CELLS, POLYGON)  # their order in the attribute of a file


def structure_of(
    clouds: Points | Sequence[Points], count: int
) -> tuple[Space, dict[str, Entry], list[Location]]:
    """The variables that say where the points and cells of all samples lie.

    Parameters
    ----------
    clouds : one for all samples, or a sequence of one for each
    count : int
        Samples.

    Raises
    ------
    DataError
        If there are not as many as samples, or they disagree in axes, units or boundaries.
    """
    listed = [clouds] if isinstance(clouds, Points) else list(clouds)
    shared = isinstance(clouds, Points)
    strangers = [type(c).__name__ for c in listed if not isinstance(c, Points)]
    if strangers or not listed or (not shared and len(listed) != count):
        raise DataError(
            f"write_dataset: grid is a Grid, or Points or a Mesh that all samples share, or one of them for "
            f"each of {count} samples; got {strangers[0] if strangers else len(listed)}."
        )
    try:
        space = Space.around(listed)
    except DataError as error:
        raise DataError(f"write_dataset: {error}") from error
    for name in space.names:
        check_name(name, "write_dataset: axis")
    locations = [_location("node", lengths(listed), shared)]
    found = _coordinates("node", [c.coordinates for c in listed], space, space.rank)
    meshes = [c for c in listed if isinstance(c, Mesh)]
    if space.boundary_names:
        tags = np.concatenate([np.asarray(m.boundary) for m in meshes]).astype(np.int32)
        flags = _flags(space.boundary_names, np.dtype(np.int32))
        found["boundary_tag"] = _entry("boundary_tag", tags, ("node",), {"long_name": "boundary", **flags})
    if meshes:
        locations.append(_location("cell", np.array([m.cell_count for m in meshes]), shared))
        found |= _cells(meshes)
    for location in locations:
        found |= _count(location)
    return space, found, locations


def function_of(
    item: Field, given: PointSet | Sequence[PointSet], space: Space | None, count: int
) -> tuple[NDArray[Any] | list[NDArray[Any]], dict[str, Entry], Location]:
    """Values of a field on its own points, one array or one for each sample, and the points' variables."""
    shared = isinstance(given, PointSet)
    listed = [given] if isinstance(given, PointSet) else list(given)
    if not all(isinstance(one, PointSet) for one in listed) or (not shared and len(listed) != count):
        raise DataError(
            f"write_dataset: field {item.name!r} on='own' needs a PointSet(values, coordinates) for each of "
            f"{count} samples, or one for all, whose values begin with a sample axis."
        )
    clouds = []
    for i, one in enumerate(listed):
        try:
            clouds.append(Points(one.coordinates))
        except ValueError as error:
            raise DataError(f"write_dataset: field {item.name!r}, sample {i}: {error}") from error
    dims = {cloud.dim for cloud in clouds}
    if len(dims) != 1:
        raise DataError(f"write_dataset: field {item.name!r} has points of {sorted(dims)} coordinates.")
    axes = Space.around(clouds)
    if space is not None and space.rank == axes.rank:
        axes = dataclasses.replace(axes, names=space.names, units=space.units)
    location = _location(location_of(item), lengths(clouds), shared)
    found = _coordinates(
        location.dim, [c.coordinates for c in clouds], axes, 0 if space is None else space.rank
    )
    values = listed[0].values if shared else [np.asarray(one.values) for one in listed]
    return values, found | _count(location), location


def stacked(item: Field, arrays: Sequence[Any], location: Location, frames: int) -> NDArray[Any]:
    """One array for each sample, ([time,] point[, component]), as one in file order, (point, [time,]
    [component]).

    Raises
    ------
    DataError
        Naming the first sample whose array does not fit.
    """
    counts = location.count(np.arange(len(arrays)))
    if location.counts is None or len(arrays) != len(location.counts):
        raise DataError(
            f"write_dataset: field {item.name!r} needs one array for each sample, got {len(arrays)}."
        )
    found = []
    for i, (given, count) in enumerate(zip(arrays, counts, strict=True)):
        array = np.asarray(given)
        expected = (
            *((frames,) if item.time else ()),
            int(count),
            *((item.components,) * (item.components > 1)),
        )
        if item.components == 1 and array.shape == (*expected, 1):
            array = array[..., 0]
        if array.shape != expected:
            names = "([time,] point, component)" if item.on != "cells" else "([time,] cell, component)"
            raise DataError(
                f"write_dataset: field {item.name!r} of sample {i} must have shape {expected}, {names}, got "
                f"{array.shape}."
            )
        found.append(time_first(array, time=item.time))
    return np.concatenate(found)


def _location(dim: str, counts: NDArray[np.int64], shared: bool) -> Location:
    return Location(dim, int(counts.sum()), None if shared else counts.astype(np.int64))


def _entry(name: str, values: NDArray[Any], dims: tuple[str, ...], attributes: dict[str, Any]) -> Entry:
    return Variable(name, canonical(values.dtype), values.shape, dims, attributes), values


def _flags(names: Sequence[str], dtype: np.dtype[Any]) -> dict[str, Any]:
    return {"flag_values": np.arange(len(names), dtype=dtype), "flag_meanings": " ".join(names)}


def coordinates_of(dim: str) -> str:
    """The variable with the coordinates of points: ``node_coords`` or ``<field>_points``."""
    return "node_coords" if dim == "node" else f"{dim}s"


def count_of(dim: str) -> str:
    """The variable with the number of points of each sample."""
    return f"{dim.removesuffix('_point')}_count"


def _coordinates(dim: str, arrays: list[NDArray[np.float64]], axes: Space, rank: int) -> dict[str, Entry]:
    name = coordinates_of(dim)
    last = "space" if axes.rank == rank else f"space_{axes.rank}"
    attributes: dict[str, Any] = {
        "long_name": "coordinates",
        "units": axes.units,
        "axes": " ".join(axes.names),
    }
    attributes |= {"lower": np.array(axes.lower), "upper": np.array(axes.upper)}
    return {name: _entry(name, np.concatenate(arrays), (dim, last), attributes)}


def _count(location: Location) -> dict[str, Entry]:
    if location.counts is None:
        return {}
    name = count_of(location.dim)
    attributes = {"long_name": f"number of entries of {location.dim}", "sample_dimension": location.dim}
    return {name: _entry(name, location.counts.astype(np.int32), ("sample",), attributes)}


def _cells(meshes: Sequence[Mesh]) -> dict[str, Entry]:
    """Connectivity, filled up with -1 to the largest cell, and types, in the order of the blocks."""
    width = max(array.shape[1] for mesh in meshes for _, array in mesh.cells)
    blocks = [(kind, array) for mesh in meshes for kind, array in mesh.cells]
    cells = np.full((sum(len(array) for _, array in blocks), width), -1, np.int32)
    start = 0
    for _, array in blocks:
        cells[start : start + len(array), : array.shape[1]] = array
        start += len(array)
    used = sorted({kind for kind, _ in blocks}, key=_TYPES.index)
    types = np.concatenate([np.full(len(array), used.index(kind), np.int8) for kind, array in blocks])
    flags = _flags(used, np.dtype(np.int8))
    return {
        "cells": _entry(
            "cells", cells, ("cell", "corner"), {"long_name": "points of cells", "start_index": 0}
        ),
        "cell_type": _entry("cell_type", types, ("cell",), {"long_name": "types of cells", **flags}),
    }


def mesh_of(values: Mapping[str, NDArray[Any]], space: Space, types: Sequence[str]) -> Points:
    """The points or mesh of one sample from its variables; ``types`` are the names behind cell_type."""
    coordinates = values["node_coords"]
    if "cells" not in values:
        return Points(coordinates, space.names, space.units)
    cells, kinds = values["cells"], values["cell_type"]
    if kinds.min() < 0 or kinds.max() >= len(types):
        raise DataError(
            f"cell_type has values {kinds.min()} to {kinds.max()} for the types {', '.join(types)}."
        )
    sizes = (cells >= 0).sum(axis=1)
    cuts = np.flatnonzero((np.diff(kinds) != 0) | (np.diff(sizes) != 0)) + 1
    blocks = tuple(
        (types[int(kinds[rows[0]])], cells[rows, : sizes[rows[0]]])
        for rows in np.split(np.arange(len(cells)), cuts)
    )
    return Mesh(
        coordinates, space.names, space.units, blocks, values.get("boundary_tag"), space.boundary_names
    )


def check_points(
    file: Any,
    place: Any,
    locations: Mapping[str, Location],
    variables: Mapping[str, Variable],
    refuse: Callable[[str], None],
) -> None:
    """Tell ``refuse`` about points outside of the stated box, and samples whose cells are no mesh."""
    for dim in (d for d in locations if d != "cell"):
        name = coordinates_of(dim)
        stated, points = space_of(variables[name]), file[name][()]
        if not (np.array_equal(points.min(0), stated.lower) and np.array_equal(points.max(0), stated.upper)):
            refuse(f"{name!r}: lower and upper are not the box around the points.")
    if not isinstance(place, Space) or "cell" not in locations:
        return
    listed = list(structural(locations, variables))
    nodes = locations["node"]
    for row in range(1 if nodes.counts is None else len(nodes.counts)):
        values = {}
        for name, location in listed:
            if location.dim in ("node", "cell"):
                rows = np.array([row])
                values[name] = (
                    location.read(file[name], variables[name].dtype, rows)[0]
                    if location.ragged
                    else file[name][()]
                )
        try:
            mesh_of(values, place, cell_types(variables))
        except ValueError as error:  # DataError and ShapeError
            refuse(f"sample {row}: {error}")
            return


def read_locations(
    fields: Mapping[str, Variable],
    variables: Mapping[str, Variable],
    small: Mapping[str, NDArray[Any]],
    path: Path,
) -> dict[str, Location]:
    """The locations that the fields and the structure use, by dimension.

    Raises
    ------
    DataError
        If points or cells lack coordinates, or their counts do not add up.
    """
    dims = ["node"] * ("node_coords" in variables) + ["cell"] * ("cells" in variables)
    dims += [f"{name}_point" for name, variable in fields.items() if f"{name}_point" in variable.dims]
    found: dict[str, Location] = {}
    for dim in dims:
        name = "cells" if dim == "cell" else coordinates_of(dim)
        if name not in variables or variables[name].dims[0] != dim or len(variables[name].dims) != 2:
            raise DataError(f"{path}: has no variable {name!r} along the dimension {dim}.")
        size, counts = variables[name].shape[0], small.get(count_of(dim))
        if dim != "cell":
            _check_axes(variables[name], path)
        if counts is not None and (
            counts.dtype.kind != "i" or counts.min() < 1 or counts.sum(dtype=np.int64) != size
        ):
            raise DataError(f"{path}: {count_of(dim)!r} does not divide the {size} entries of {name!r}.")
        found[dim] = Location(dim, size, None if counts is None else counts.astype(np.int64))
    return found


def read_space(kind: str, domain: Any, variables: Mapping[str, Variable], path: Path) -> Space:
    """The box around the points, as the file states it.

    Raises
    ------
    DataError
        If a variable of this kind is missing, or the box is not that of the root attribute ``domain``.
    """
    needed = {"mesh": ("node_coords", "cells", "cell_type"), "points": ("node_coords",)}[kind]
    missing = [name for name in needed if name not in variables]
    if missing:
        raise DataError(f"{path}: is of the kind {kind!r} but has no variable {missing[0]!r}.")
    space = space_of(variables["node_coords"], _meanings(variables, "boundary_tag"))
    if domain != {n: list(ends) for n, *ends in zip(space.names, space.lower, space.upper, strict=True)}:
        raise DataError(f"{path}: the attribute domain, {domain}, is not the box around node_coords.")
    unknown = set(cell_types(variables)) - set(_TYPES)
    if unknown:
        raise DataError(f"{path}: has cells of the unknown types {', '.join(sorted(unknown))}.")
    return space


def cell_types(variables: Mapping[str, Variable]) -> tuple[str, ...]:
    """What the numbers in ``cell_type`` mean; nothing without cells."""
    return _meanings(variables, "cell_type")


def _meanings(variables: Mapping[str, Variable], name: str) -> tuple[str, ...]:
    if name not in variables:
        return ()
    return tuple(str(variables[name].attributes.get("flag_meanings", "")).split())


def space_of(variable: Variable, boundary_names: tuple[str, ...] = ()) -> Space:
    """The box around points, from the attributes of their variable of coordinates."""
    told = variable.attributes
    lower, upper = (tuple(np.atleast_1d(told[key]).tolist()) for key in ("lower", "upper"))
    return Space(tuple(told["axes"].split()), lower, upper, told["units"], boundary_names)


def _check_axes(variable: Variable, path: Path) -> None:
    told, rank = variable.attributes, variable.shape[1]
    bounds = [np.atleast_1d(told.get(key, ())) for key in ("lower", "upper")]
    good = all(b.shape == (rank,) and b.dtype.kind == "f" and np.isfinite(b).all() for b in bounds)
    if len(str(told.get("axes", "")).split()) != rank or not good or not isinstance(told.get("units"), str):
        raise DataError(
            f"{path}: {variable.name} needs the attributes axes, units, lower and upper for {rank} axes."
        )


def structural(
    locations: Mapping[str, Location], variables: Mapping[str, Variable]
) -> Iterator[tuple[str, Location]]:
    """Names of the variables that hold coordinates, cells, types and tags, with where they lie."""
    for dim, location in locations.items():
        names = {"node": ("node_coords", "boundary_tag"), "cell": ("cells", "cell_type")}.get(
            dim, (coordinates_of(dim),)
        )
        yield from ((name, location) for name in names if name in variables)
