"""The content of an open dataset file, validated: what `sciml.dataset.Dataset` is a view of."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.dataset_points import cell_types, read_locations, read_space
from sciml.errors import DataError, ShapeError
from sciml.grid import Axis, Grid
from sciml.hdf5 import (
    HARMLESS,
    Refuse,
    check_tree,
    check_variable,
    dimension_numbers,
    filters,
    first_names,
    foreign,
    is_dimension_only,
    open_file,
    read_attributes,
    refusing,
    sha256_of,
    stop,
)
from sciml.locations import Location
from sciml.mesh import Space
from sciml.schema import (
    BOOKKEEPING,
    JSON_ATTRIBUTES,
    KINDS,
    SCHEMA,
    SPLITS,
    STRUCTURE,
    Field,
    Statistics,
    Variable,
    content_digest,
    dimensions,
    location_of,
)


@dataclass(frozen=True)
class Layout:
    """Everything of a file but its fields' values.

    ``small`` holds the values along one dimension (coordinates, split, seeds, parameters), already verified.
    """

    attributes: Mapping[str, Any]
    digest: str
    place: Grid | Space
    locations: Mapping[str, Location]
    fields: Mapping[str, Field]
    parameters: tuple[str, ...]
    variables: Mapping[str, Variable]
    small: Mapping[str, NDArray[Any]]

    def location(self, item: Field) -> Location | None:
        """The points or cells that a field lives on; None on a grid."""
        on_grid = isinstance(self.place, Grid) and item.on == "points"
        return None if on_grid else self.locations[location_of(item)]


def rehearse(path: Path) -> None:
    """Do everything that opening a file and reading its fields will do; to be run by `sciml.sandbox.examine`.

    Fields are read only if they pass through other filters than those whose input cannot be crafted to harm.

    Raises
    ------
    DataError
        As `read_layout`.
    """
    file = open_file(path)
    try:
        layout = read_layout(file, path)
        with refusing(path, "its values"):
            for name in file:
                for key in STRUCTURE & set(file[name].attrs):
                    file[name].attrs[key]  # for xarray
            for name in layout.variables:
                if not set(filters(file[name].id)) <= HARMLESS:
                    sha256_of(file[name])
    finally:
        file.close()


def read_layout(file: Any, path: Path) -> Layout:
    """Validate an open file as far as that is cheap: structure, attributes, coordinates, numbers per sample.

    Raises
    ------
    DataError
        If it is not a sciml dataset of a known version and kind, incomplete, unsafe, contradictory or
        damaged.
    """
    with refusing(path, "its structure"):
        check_header(file, path)
        names = check_tree(file, path)
        attributes = read_attributes(file, path, "the root")
        variables = read_variables(file, path, [n for n in names if not is_dimension_only(file[n])])
        check_digest(attributes, variables, path)
        small = {}
        for name, variable in variables.items():
            if is_small(variable):
                check_sha256(file[name], variable, path)
                small[name] = file[name][()].astype(variable.dtype.newbyteorder("="))
        return interpret(attributes, variables, small, path)


def check_header(file: Any, path: Path, refuse: Refuse = stop) -> None:
    """Version, completion and kind, in this order, since each decides how the next is understood."""
    from h5py import h5a

    if not h5a.exists(file.id, b"sciml_schema"):
        raise DataError(foreign(path, first_names(file)))
    schema = _header_text(file, "sciml_schema")
    if schema.split(".")[0] != SCHEMA.split(".")[0]:
        raise DataError(
            f"{path}: written in schema {schema!r}; this version of sciml reads {SCHEMA.split('.')[0]}.x. "
            "Read it with the version of sciml that wrote it, or a newer one."
        )
    if not h5a.exists(file.id, b"sciml_complete") or dimension_numbers(file, "sciml_complete") != (1,):
        refuse(f"{path}: lacks the mark sciml_complete: its writer was interrupted. Generate it again.")
    kind = _header_text(file, "sciml_format")
    if kind not in KINDS:
        raise DataError(
            f"{path}: holds data of the kind {kind!r}; this version of sciml reads {', '.join(KINDS)}. "
            "A newer version may read it."
        )


def check_digest(attributes: Mapping[str, Any], variables: Mapping[str, Variable], path: Path) -> None:
    """Compare ``sciml_digest`` with what the attributes and variables give."""
    stated, found = attributes.get("sciml_digest"), content_digest(attributes, list(variables.values()))
    if stated != found:
        raise DataError(
            f"{path}: attributes or variables are not those that were written (sciml_digest is {stated}, "
            f"the content gives {found}). The file was edited or is damaged: restore a copy, or write it "
            "anew with write_dataset."
        )


def _header_text(file: Any, name: str) -> str:
    value = file.attrs.get(name, "")
    return (
        value
        if isinstance(value, str)
        else bytes(value).decode()
        if isinstance(value, bytes)
        else repr(value)
    )


def read_variables(file: Any, path: Path, names: Sequence[str]) -> dict[str, Variable]:
    """Check each variable and read its type, shape, dimensions and attributes, but no values."""
    numbers = dimension_names(file)
    return {name: read_variable(file, path, name, numbers) for name in names}


def dimension_names(file: Any) -> dict[int, str]:
    """The names of the dimensions by netCDF-4's numbers."""
    return {number: name for name in file for number in dimension_numbers(file[name], "_Netcdf4Dimid")}


def read_variable(
    file: Any, path: Path, name: str, numbers: Mapping[int, str], refuse: Refuse = stop
) -> Variable:
    """One variable; ``numbers`` are those of `dimension_names`."""
    dataset = file[name]
    check_variable(dataset, path, name, refuse)
    own = dimension_numbers(dataset, "_Netcdf4Coordinates")
    dims = tuple(numbers.get(number, "?") for number in own)
    sizes = tuple(file[dim].shape[0] for dim in dims if dim != "?")
    if len(dims) != len(dataset.shape) or sizes != dataset.shape:
        refuse(f"{path}: {name} has shape {dataset.shape}, but its dimensions {dims} have the sizes {sizes}.")
    attributes = read_attributes(dataset, path, name, refuse)
    return Variable(name, dataset.dtype, tuple(dataset.shape), dims, attributes)


def is_small(variable: Variable) -> bool:
    """Whether the values are read and verified at once: coordinates and numbers per sample, not fields."""
    along = variable.dims in (("sample",), (variable.name,))
    return is_parameter(variable) or (along and "sciml_role" not in variable.attributes)


def is_parameter(variable: Variable) -> bool:
    return variable.attributes.get("sciml_role") == "parameter"


def check_sha256(dataset: Any, variable: Variable, path: Path) -> None:
    with refusing(path, f"{variable.name!r}"):
        found = sha256_of(dataset)
    if variable.attributes.get("sha256") != found:
        raise DataError(
            f"{path}: the values of {variable.name!r} are not those that were written (sha256 "
            f"{found[:12]}..., stated {str(variable.attributes.get('sha256'))[:12]}...). Restore a copy."
        )


def interpret(
    attributes: Mapping[str, Any],
    variables: Mapping[str, Variable],
    small: Mapping[str, NDArray[Any]],
    path: Path,
) -> Layout:
    """The grid, the fields and the parameters that the variables describe."""
    roles = {name: v for name, v in variables.items() if "sciml_role" in v.attributes}
    listed = {name: v for name, v in roles.items() if not is_parameter(v)}
    if not listed:
        raise DataError(f"{path}: has no field (no variable with sciml_role but parameters).")
    decoded = {k: json.loads(v) if k in JSON_ATTRIBUTES else v for k, v in attributes.items()}
    for name in ("sample", "split"):
        if name not in small or variables[name].dims != ("sample",):
            raise DataError(f"{path}: has no variable {name!r} along the dimension sample.")
    if not np.isin(small["split"], range(len(SPLITS))).all():
        raise DataError(f"{path}: split has values other than 0 (train), 1 (valid) and 2 (test).")
    for name in (n for n in (*BOOKKEEPING, *roles) if n in small and variables[n].dims != ("sample",)):
        raise DataError(f"{path}: {name} must lie along the dimension sample, got {variables[name].dims}.")
    locations = read_locations(listed, variables, small, path)
    place: Grid | Space
    if attributes["sciml_format"] == "grid":
        place = read_grid(axis_names(listed.values()), decoded.get("domain"), variables, small, path)
    else:
        place = read_space(str(attributes["sciml_format"]), decoded.get("domain"), variables, path)
    fields = {name: read_field(variable, place, locations, path) for name, variable in listed.items()}
    parameters = tuple(name for name in roles if name not in listed)
    digest = str(attributes["sciml_digest"])
    return Layout(decoded, digest, place, locations, fields, parameters, variables, small)


def axis_names(fields: Iterable[Variable]) -> tuple[str, ...]:
    """The dimensions of the first field on the grid that are its axes."""
    on_grid = (v.dims for v in fields if f"{v.name}_point" not in v.dims)
    return tuple(
        d for d in next(on_grid, ()) if d not in ("sample", "time") and not d.startswith("component")
    )


def read_grid(
    names: Sequence[str],
    domain: Any,
    variables: Mapping[str, Variable],
    small: Mapping[str, NDArray[Any]],
    path: Path,
) -> Grid:
    axes = []
    for name in names:
        if name not in small or not isinstance(domain, dict) or name not in domain:
            raise DataError(
                f"{path}: the axis {name!r} has no coordinates or no entry in the attribute domain."
            )
        told = variables[name].attributes
        try:
            lower, upper = (float(v) for v in domain[name])
            axis = Axis(
                name,
                lower,
                upper,
                small[name].size,
                told["grid_location"],
                bool(told["periodic"]),
                told["units"],
            )
        except (ShapeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: the axis {name!r} is not described ({error}).") from error
        # Both were computed by the same formula; the tolerance leaves room for another order of rounding.
        if not np.allclose(small[name], axis.coordinates, rtol=0.0, atol=1e-9 * (upper - lower)):
            raise DataError(
                f"{path}: the coordinates of {name!r}, {small[name][0]:g} to {small[name][-1]:g}, are not "
                f"the {axis.size} {axis.location} points of the domain [{lower:g}, {upper:g}]."
            )
        axes.append(axis)
    return Grid(tuple(axes))


def described_field(variable: Variable, path: Path) -> Field:
    """A field as its attributes and dimensions describe it, whatever it lives on."""
    dims, told = variable.dims, variable.attributes
    last = dims[-1].startswith("component")
    title = str(told.get("long_name", ""))
    try:
        return Field(
            variable.name,
            str(told["sciml_role"]),
            units=str(told.get("units", "1")),
            long_name="" if title == variable.name else title,
            components=variable.shape[-1] if last else 1,
            time="time" in dims,
            rank=int(told.get("sciml_rank", 0)),
            on="own" if f"{variable.name}_point" in dims else "cells" if "cell" in dims else "points",
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def read_field(
    variable: Variable, place: Grid | Space, locations: Mapping[str, Location], path: Path
) -> Field:
    """A field, whose dimensions must be those of the place it lives on, in the order of the format."""
    dims, item = variable.dims, described_field(variable, path)
    on_grid = isinstance(place, Grid) and item.on == "points"
    spot = None if on_grid else locations.get(location_of(item))
    item = dataclasses.replace(item, sample="sample" in dims or (spot is not None and spot.ragged))
    space = place.names if isinstance(place, Grid) and on_grid else (location_of(item),)
    component = {item.components: dims[-1]}
    order = dimensions(item, space, component, ragged=spot is not None and spot.ragged)
    if dims != order or (spot is None and not on_grid):
        raise DataError(f"{path}: field {variable.name!r} has dimensions {dims}, expected the order {order}.")
    return item


def verify_file(file: Any, layout: Layout, path: Path) -> None:
    """Read every value and compare its SHA-256; compare HDF5's references to dimensions with the numbers.

    Raises
    ------
    DataError
    """
    for name, variable in layout.variables.items():
        check_sha256(file[name], variable, path)
        check_scales(file[name], variable, path)


def check_scales(dataset: Any, variable: Variable, path: Path) -> None:
    """Compare HDF5's references to the scales of a variable with its dimensions by netCDF-4's numbers."""
    name = variable.name
    if variable.dims == (name,):
        return
    with refusing(path, f"the dimensions of {name!r}"):
        scales = tuple(dataset.dims[i][0].name.lstrip("/") for i in range(len(variable.dims)))
    if scales != variable.dims:
        raise DataError(f"{path}: {name!r} refers to the scales {scales}, expected {variable.dims}.")


def stored_statistics(layout: Layout, name: str, path: Path) -> Statistics | None:
    """The moments that the writer left in the attributes of a field, or None."""
    told = layout.variables[name].attributes
    if told.get("statistics_split") != "train":
        return None
    keys = ("mean", "std", "min", "max", "mean_delta", "std_delta")
    found = {key: np.atleast_1d(np.asarray(told[key], np.float64)) for key in keys if key in told}
    shape = (layout.fields[name].components,)
    good = all(value.shape == shape and np.isfinite(value).all() for value in found.values())
    if not good or not {"mean", "std", "min", "max"} <= set(found):
        raise DataError(f"{path}: the stored statistics of {name!r} are incomplete or not finite.")
    return Statistics(**found)


def _place_lines(layout: Layout, indices: NDArray[np.int64]) -> Iterable[str]:
    if isinstance(layout.place, Grid):
        for axis in layout.place.axes:
            kind = f"{'periodic ' if axis.periodic else ''}{axis.kind}"
            bounds = f"[{axis.lower:g}, {axis.upper:g}] {axis.units}"
            yield f"  {axis.name:<12} {axis.size} {kind} on {bounds}"
        return
    space = layout.place
    for name, lower, upper in zip(space.names, space.lower, space.upper, strict=True):
        yield f"  {name:<12} on [{lower:g}, {upper:g}] {space.units}"
    for dim, spot in layout.locations.items():
        counts = spot.count(indices)
        if len(counts) and dim in ("node", "cell"):
            each = f"{counts.min()} to {counts.max()} in a sample" if spot.ragged else f"{spot.size}, shared"
            kinds = f" ({', '.join(cell_types(layout.variables))})" if dim == "cell" else ""
            yield f"  {dim + 's':<12} {each}{kinds}"


def summary(layout: Layout, name: str, indices: NDArray[np.int64]) -> str:
    """A few lines for people: splits, axes, fields, parameters."""
    parts = layout.small["split"][indices]
    counts = ", ".join(f"{int((parts == i).sum())} {split}" for i, split in enumerate(SPLITS) if i in parts)
    lines = [f"<Dataset {name}: {len(indices)} samples ({counts})>"]
    lines += _place_lines(layout, indices)
    if "time" in layout.small:
        times = layout.small["time"]
        lines.append(f"  {'time':<12} {times.size} frames from {times[0]:g} to {times[-1]:g}")
    for item in layout.fields.values():
        variable = layout.variables[item.name]
        sizes = zip(variable.dims, variable.shape, strict=True)
        shape = ", ".join(f"{dim} {size}" for dim, size in sizes if dim != "sample")
        fixed = "" if item.sample else ", same for all samples"
        lines.append(f"  {item.name:<12} {item.role} ({shape}) {variable.dtype.name} [{item.units}]{fixed}")
    if layout.parameters:
        lines.append(f"  parameters   {', '.join(layout.parameters)}")
    return "\n".join(lines)
