"""Between labelled arrays of xarray and tensors (sample, channel, *space): names, units, axes, domain.

Everything that a bare tensor cannot say is checked here: which variable is which, in which units, along which
axes, in which direction, on which domain and at which points of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciml.errors import ConfigError, DataError, ShapeError, nearest
from sciml.grid import Axis, Grid, Location

if TYPE_CHECKING:
    import xarray

    from sciml.dataset import Dataset

# Conventions besides which a coordinate is recognized, to say what is wrong with it.
_CONVENTIONS: dict[str, tuple[Location, bool]] = {
    "nodes with both ends": ("node", False),
    "nodes without the right end (periodic)": ("node", True),
    "cell centers": ("cell", False),
    "nodes without the right end (bounded)": ("left", False),
}


@dataclass(frozen=True)
class Channel:
    """One field of a surrogate's input or output, and the range in which it was seen in training.

    Parameters
    ----------
    name, units, long_name : str
        As in the dataset; units "1" for a quantity without dimension.
    components : int
        Channels of the tensor that the field takes.
    minimum, maximum : (components,), optional
        Range of the training split, in ``units``.

    Raises
    ------
    ShapeError
        If a range does not have one value for each component.

    Examples
    --------
    >>> Channel("velocity", "m/s", components=2, minimum=(0.0, -1.0)).minimum
    (0.0, -1.0)
    """

    name: str
    units: str = "1"
    long_name: str = ""
    components: int = 1
    minimum: tuple[float, ...] | None = None
    maximum: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("minimum", "maximum"):
            value = getattr(self, name)
            if value is None:
                continue
            values = tuple(float(v) for v in np.atleast_1d(value))
            if len(values) != self.components:
                raise ShapeError(
                    f"Channel {self.name!r}: {name} needs {self.components} values, got {len(values)}."
                )
            object.__setattr__(self, name, values)

    @classmethod
    def from_dataset(cls, dataset: Dataset, name: str) -> Channel:
        """The field or parameter ``name`` of a dataset, with the range of its training split."""
        if name not in dataset.fields and name not in dataset.parameter_names:
            raise KeyError(
                f"{dataset.path} has no field {name!r}; it has {', '.join(map(repr, dataset.fields))}."
                f"{nearest(name, dataset.fields)}"
            )
        statistics = dataset.statistics(name)
        ranges = (tuple(float(v) for v in np.atleast_1d(s)) for s in (statistics.min, statistics.max))
        if name not in dataset.fields:
            return cls(name, "1", "", 1, *ranges)
        field = dataset.fields[name]
        return cls(name, field.units, field.long_name, field.components, *ranges)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Channel:
        """The inverse of `to_dict`."""
        return cls(**data)


@dataclass(frozen=True)
class Layout:
    """How a labelled array was arranged, so that a result can be arranged alike."""

    grid: Grid
    sample: Hashable | None
    dims: tuple[Hashable, ...]
    descending: tuple[str, ...]
    coordinates: Mapping[Hashable, Any]
    history: str


def read(
    data: xarray.Dataset | xarray.DataArray, channels: Sequence[Channel], grid: Grid
) -> tuple[NDArray[np.floating[Any]], Layout]:
    """The values (sample, channel, *space) of the named variables, and their arrangement.

    Axes are found by name and may stand in any order and run in either direction; at most one further
    dimension of any name counts samples.  The coordinates must be those of ``grid``'s domain at some
    resolution.

    Raises
    ------
    KeyError
        If a variable is missing.
    ShapeError
        If dimensions or coordinates are not those of the domain.
    DataError
        If units differ, or a value is not finite.
    """
    variables = [_variable(data, channel, alone=len(channels) == 1) for channel in channels]
    samples = {s for v, c in zip(variables, channels, strict=True) if (s := _sample(v, c, grid)) is not None}
    if len(samples) > 1:
        raise ShapeError(
            f"Surrogate: the inputs have different sample dimensions, {sorted(map(str, samples))}."
        )
    sample = next(iter(samples), None)
    places = [_place(variables[0], axis, grid) for axis in grid.axes]
    descending = tuple(axis.name for axis, backwards in places if backwards)
    arrays = []
    for variable, channel in zip(variables, channels, strict=True):
        _check_units(f"variable {channel.name!r}", variable.attrs, channel.units)
        arrays.append(_values(variable, channel, grid, sample, descending))
    count = max(len(array) for array in arrays)
    values = np.concatenate([np.broadcast_to(a, (count, *a.shape[1:])) for a in arrays], axis=1)
    first = variables[int(np.argmax([sample in v.dims for v in variables]))]
    dims = tuple(d for d in first.dims if d == sample or d in grid.names)
    coordinates = {name: c for name, c in first.coords.items() if set(c.dims) <= set(dims)}
    history = str(data.attrs.get("history", ""))
    layout = Layout(Grid(tuple(axis for axis, _ in places)), sample, dims, descending, coordinates, history)
    return np.ascontiguousarray(values), layout


def write(
    values: NDArray[np.floating[Any]], channels: Sequence[Channel], layout: Layout, note: str
) -> xarray.Dataset:
    """The values (sample, channel, *space) arranged as the input was; ``note`` joins the history."""
    import xarray

    counts = {c.components for c in channels if c.components > 1}
    names: tuple[Hashable, ...] = layout.grid.names
    variables, start = {}, 0
    for channel in channels:
        part = values[:, start : start + channel.components]
        start += channel.components
        dims = (*(() if layout.sample is None else (layout.sample,)), *names)
        last: tuple[Hashable, ...] = ()
        if layout.sample is None:
            part = part.squeeze(0)
        axis = part.ndim - len(names) - 1
        if channel.components > 1:
            last = ("component" if len(counts) == 1 else f"component_{channel.components}",)
            part = np.moveaxis(part, axis, -1)
        else:
            part = part.squeeze(axis)
        array = xarray.DataArray(part, dims=(*dims, *last))
        array = array.isel({name: slice(None, None, -1) for name in layout.descending})
        array = array.transpose(*layout.dims, *last)
        attributes = {"units": channel.units, "long_name": channel.long_name or channel.name}
        variables[channel.name] = (array.dims, np.ascontiguousarray(array.values), attributes)
    history = f"{layout.history}\n{note}" if layout.history else note
    return xarray.Dataset(variables, coords=dict(layout.coordinates), attrs={"history": history})


def _variable(data: xarray.Dataset | xarray.DataArray, channel: Channel, *, alone: bool) -> xarray.DataArray:
    """The variable of a channel's name; a lone DataArray may be without a name."""
    import xarray

    if isinstance(data, xarray.DataArray):
        if not alone:
            raise KeyError(
                f"Surrogate: needs several inputs, so an xarray.Dataset with {channel.name!r} and the "
                "others, not one DataArray."
            )
        if data.name is not None and data.name != channel.name:
            raise KeyError(
                f"Surrogate: expected the field {channel.name!r}, got a DataArray named {str(data.name)!r}. "
                f"If it is the same quantity, array.rename({channel.name!r}) says so."
            )
        return data
    if channel.name not in data.variables:
        known = [str(name) for name in data.data_vars]
        raise KeyError(
            f"Surrogate: the dataset has no variable {channel.name!r}; it has {', '.join(map(repr, known))}."
            f"{nearest(channel.name, known)}"
        )
    return data[channel.name]


def _component(variable: xarray.DataArray, channel: Channel) -> Hashable | None:
    """The dimension that counts the components of a vector field."""
    if channel.components == 1:
        return None
    for name in ("component", f"component_{channel.components}"):
        if name in variable.dims and variable.sizes[name] == channel.components:
            return name
    raise ShapeError(
        f"Surrogate: variable {channel.name!r} needs a dimension 'component' of length {channel.components}, "
        f"got {dict(variable.sizes)}."
    )


def _sample(variable: xarray.DataArray, channel: Channel, grid: Grid) -> Hashable | None:
    """The one dimension, if any, that is neither an axis nor the components."""
    missing = [name for name in grid.names if name not in variable.dims]
    rest = [d for d in variable.dims if d not in grid.names and d != _component(variable, channel)]
    if missing or len(rest) > 1:
        raise ShapeError(
            f"Surrogate: variable {channel.name!r} must have the dimensions {', '.join(grid.names)} and at "
            f"most one more, for samples; got {', '.join(map(str, variable.dims))}. array.rename gives a "
            "dimension its name, array.isel selects along one that is too many."
        )
    return rest[0] if rest else None


def _check_units(who: str, attributes: Mapping[Any, Any], expected: str) -> None:
    given = str(attributes.get("units", "")).strip()
    same = {"dimensionless": "1", "-": "1"}
    if given and same.get(given, given) != same.get(expected, expected):
        raise DataError(
            f"Surrogate: {who} is in {given!r}, but training used {expected!r}. Convert the values and set "
            "attrs['units']."
        )


def _place(variable: xarray.DataArray, axis: Axis, grid: Grid) -> tuple[Axis, bool]:
    """The axis at the resolution of the data, and whether its coordinate descends."""
    who = f"coordinate {axis.name!r}"
    if axis.name not in variable.coords:
        raise ShapeError(
            f"Surrogate: {who} has no values, so nothing shows that the field lies on the domain "
            f"[{axis.lower:g}, {axis.upper:g}]. array.assign_coords({axis.name}=...) sets them; "
            "surrogate.grid.with_shape(...).axes have the right ones."
        )
    coordinate = variable.coords[axis.name]
    if coordinate.ndim != 1 or coordinate.dtype.kind not in "fiu":
        raise ShapeError(
            f"Surrogate: {who} must be a vector of numbers, got {coordinate.dtype} {coordinate.dims}."
        )
    _check_units(who, coordinate.attrs, axis.units)
    points = coordinate.values.astype(np.float64)
    backwards = bool(points[0] > points[-1])
    points = points[::-1] if backwards else points
    fits = _fits(points, axis)
    if fits is None:
        raise ShapeError(_misfit(who, points, axis, grid))
    return fits, backwards


def _fits(points: NDArray[np.float64], axis: Axis) -> Axis | None:
    """The axis with as many points, if the points are its coordinates up to float32 rounding."""
    if axis.location == "node" and not axis.periodic and points.size < 2:
        return None
    resized = axis.with_size(points.size)
    # A thousandth of a cell; half a cell tells nodes from cell centers.
    tolerance = 1e-3 * resized.spacing + 4 * float(np.finfo(np.float32).eps) * max(
        abs(axis.lower), abs(axis.upper)
    )
    return resized if np.max(np.abs(points - resized.coordinates)) <= tolerance else None


def _misfit(who: str, points: NDArray[np.float64], axis: Axis, grid: Grid) -> str:
    """What is wrong with coordinates, as a sentence with numbers."""
    size = max(points.size, 2)
    wanted = axis.with_size(size).coordinates
    text = (
        f"Surrogate: {who} runs from {points[0]:.6g} to {points[-1]:.6g} in {points.size} points; the "
        f"surrogate was trained on [{axis.lower:g}, {axis.upper:g}], where {size} points run from "
        f"{wanted[0]:.6g} to {wanted[-1]:.6g}."
    )
    for name, convention in _CONVENTIONS.items():
        other_kind = Axis(axis.name, axis.lower, axis.upper, size, *convention)
        if _fits(points, other_kind) is not None:
            own = next(k for k, v in _CONVENTIONS.items() if _same_points(axis, v))
            return f"{text} The points given are {name}, those of training {own}; interpolate first."
    for other in grid.axes:
        if other.name != axis.name and _fits(points, other) is not None:
            return f"{text} They are points of the axis {other.name!r}: are the axes swapped?"
    return f"{text} Predictions outside the trained domain would mean nothing."


def _same_points(axis: Axis, convention: tuple[Location, bool]) -> bool:
    """Whether the convention names the points of the axis; cells are the same, periodic or not."""
    return axis.location == convention[0] and (axis.location == "cell" or axis.periodic == convention[1])


def _values(
    variable: xarray.DataArray,
    channel: Channel,
    grid: Grid,
    sample: Hashable | None,
    descending: Sequence[str],
) -> NDArray[np.floating[Any]]:
    """(samples or 1, components, *space), ascending, finite."""
    if variable.dtype.kind not in "fiub":
        raise DataError(f"Surrogate: variable {channel.name!r} must be real numbers, got {variable.dtype}.")
    component = _component(variable, channel)
    front = [d for d in (sample, component) if d is not None and d in variable.dims]
    ordered = variable.transpose(*front, *grid.names)
    array = np.asarray(ordered.values)
    array = array.astype(np.result_type(array.dtype.newbyteorder("="), np.float32), copy=False)
    if not np.isfinite(array).all():
        index = np.argwhere(~np.isfinite(array))[0]
        place = ", ".join(f"{d}={int(i)}" for d, i in zip(ordered.dims, index, strict=True))
        raise DataError(
            f"Surrogate: variable {channel.name!r} is {array[tuple(index)]} at index {place}; fill or remove "
            "it."
        )
    for name in descending:
        array = np.flip(array, axis=array.ndim - grid.rank + grid.names.index(name))
    if component is None:
        array = np.expand_dims(array, array.ndim - grid.rank)
    return array if array.ndim == grid.rank + 2 else array[None]


def check_same_domain(who: str, given: Grid, trained: Grid) -> None:
    """Refuse a grid that is not the trained domain at some resolution.

    Raises
    ------
    ConfigError
        Naming the first axis that differs.
    """
    if given.names != trained.names:
        raise ConfigError(f"{who}: axes {given.names} are not those of training, {trained.names}.")
    for mine, theirs in zip(trained.axes, given.axes, strict=True):
        if dataclasses.replace(theirs, size=mine.size) != mine:
            raise ConfigError(f"{who}: axis {theirs.name!r} is {theirs}, but training used {mine}.")
