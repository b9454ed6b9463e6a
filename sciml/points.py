"""From grids to points: interpolation of fields, with the ends of the axes treated as what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.errors import ConfigError, DataError, ShapeError
from sciml.grid import Axis, Grid

if TYPE_CHECKING:
    import xarray

Method = Literal["cubic", "linear"]
Float = NDArray[np.float64]

# Points beyond each end of a periodic axis. The influence of the ends of a cubic spline falls by 0.268 from
# one point to the next: 0.268^12 = 1e-7.
_WRAPPED = 12


def checked_points(points: ArrayLike, grid: Grid) -> Float:
    """Points (n, rank) inside the domain, float64; along periodic axes they are moved into it.

    Raises
    ------
    ShapeError
        If they are not (n, rank).
    DataError
        If one is not finite, or lies outside the domain by more than float32 rounding.
    """
    array = np.array(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != grid.rank:
        hint = ""
        if array.ndim == 2 and array.shape[1] == 3 > grid.rank:
            hint = f" Of a mesh in space, mesh.points[:, :{grid.rank}] takes the first coordinates."
        raise ShapeError(
            f"Surrogate.at: points must have shape (n, {grid.rank}), the coordinates "
            f"{', '.join(grid.names)}, got {array.shape}.{hint}"
        )
    if not np.isfinite(array).all():
        first = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise DataError(f"Surrogate.at: point {first} is {array[first].tolist()}.")
    for i, axis in enumerate(grid.axes):
        length = axis.upper - axis.lower
        if axis.periodic:
            array[:, i] = axis.lower + np.mod(array[:, i] - axis.lower, length)
            continue
        # A mesh file may hold float32; a point on the wall is inside.
        slack = 4 * float(np.finfo(np.float32).eps) * max(abs(axis.lower), abs(axis.upper), length)
        outside = (array[:, i] < axis.lower - slack) | (array[:, i] > axis.upper + slack)
        if outside.any():
            first = int(np.flatnonzero(outside)[0])
            raise DataError(
                f"Surrogate.at: {int(outside.sum())} of {len(array)} points lie outside the domain; the "
                f"first, point {first}, has {axis.name} = {array[first, i]:g}, and {axis.name} runs from "
                f"{axis.lower:g} to {axis.upper:g}. A prediction there would mean nothing."
            )
        array[:, i] = np.clip(array[:, i], axis.lower, axis.upper)
    return array


def interpolate(values: NDArray[Any], points: Float, grid: Grid, method: Method) -> Float:
    """Fields (*space, ...) at checked points (n, rank): (n, ...), float64.

    Tensor-product splines of degree 3 or 1 through the values.  Periodic axes are continued periodically.  On
    bounded axes whose first or last point lies inside the domain (cell centers), the last piece of the
    spline is continued to the wall.

    Raises
    ------
    ConfigError
        For another method, or too few points along an axis.
    """
    from scipy.interpolate import NdBSpline, make_interp_spline

    if method not in get_args(Method):
        raise ConfigError(f"Surrogate.at: method is one of {get_args(Method)}, got {method!r}.")
    degree = 3 if method == "cubic" else 1
    coefficients, knots = np.asarray(values, dtype=np.float64), []
    for i, axis in enumerate(grid.axes):
        if axis.size <= degree:
            raise ConfigError(
                f"Surrogate.at: method={method!r} needs {degree + 1} points along each axis, got {axis.size} "
                f"along {axis.name!r}."
            )
        array, places = _continued(coefficients, i, axis)
        spline = make_interp_spline(places, array, k=degree, axis=i)
        knots.append(spline.t)
        coefficients = np.moveaxis(spline.c, 0, i)
    found = NdBSpline(tuple(knots), np.ascontiguousarray(coefficients), degree)(points)
    return np.asarray(found, dtype=np.float64)


def _continued(values: Float, position: int, axis: Axis) -> tuple[Float, Float]:
    """Values and coordinates along one axis, with some periods more if it has periods."""
    if not axis.periodic:
        return values, axis.coordinates
    wanted = np.arange(-_WRAPPED, axis.size + _WRAPPED)
    taken = np.take(values, wanted % axis.size, axis=position)
    return taken, axis.coordinates[0] + axis.spacing * wanted


def interpolate_labelled(data: xarray.Dataset, points: Float, grid: Grid, method: Method) -> xarray.Dataset:
    """All variables of a prediction on ``grid`` at the points: a dimension ``point`` in place of the axes."""
    import xarray

    variables: dict[Any, Any] = {}
    for name, variable in data.data_vars.items():
        rest = [d for d in variable.dims if d not in grid.names]
        # Ascending, whichever way the file runs.
        ordered = variable.sortby(list(grid.names)).transpose(*grid.names, *rest)
        values = np.asarray(ordered.values)
        found = interpolate(values, points, grid.with_shape(values.shape[: grid.rank]), method)
        front = [d for d in rest if not str(d).startswith("component")]
        last = [d for d in rest if d not in front]
        array = xarray.DataArray(found, dims=("point", *rest)).transpose(*front, "point", *last)
        variables[name] = (array.dims, array.values.astype(variable.dtype, copy=False), variable.attrs)
    kept = {n: c for n, c in data.coords.items() if not set(c.dims) & set(grid.names)}
    places = {axis.name: ("point", points[:, i], {"units": axis.units}) for i, axis in enumerate(grid.axes)}
    return xarray.Dataset(variables, coords={**kept, **places}, attrs=data.attrs)
