"""What the ``solve`` functions of the equations share: starts in several forms, results as xarray objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.errors import DataError, ShapeError
from sciml.grid import Grid

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]
Function = Callable[..., ArrayLike]
"""Of the coordinates, one array per axis: ``lambda x, y: np.sin(x) * y``."""


def on_grid(who: str, value: ArrayLike | Function, grid: Grid, *, components: int = 1) -> Float:
    """A function of space as float64 values ([components,] *grid.shape).

    Parameters
    ----------
    who : str
        For messages, such as "burgers.solve: initial".
    value : number, array, xarray.DataArray or callable
        An array of this shape, in this order of axes (one with labels is transposed); a number for a
        constant; or a function of the coordinates (one array per axis) that returns such an array, or a
        sequence of them for several components.
    grid : Grid
    components : int

    Raises
    ------
    ShapeError
        If the shape does not fit.
    DataError
        If a value is not finite.
    """
    shape = grid.shape if components == 1 else (components, *grid.shape)
    if callable(value):
        found: Any = value(*grid.coordinates())
        parts = [_real(who, part) for part in ([found] if components == 1 else found)]
        if len(parts) != components or any(part.shape not in ((), grid.shape) for part in parts):
            raise ShapeError(
                f"{who} must return {'an array' if components == 1 else f'{components} arrays'} of shape "
                f"{grid.shape}, got {[part.shape for part in parts][:5]}."
            )
        values = np.stack([np.broadcast_to(part, grid.shape) for part in parts]).reshape(shape)
    else:
        if set(grid.names) <= set(getattr(value, "dims", ())):
            value = cast("xarray.DataArray", value).transpose(..., *grid.names)
        values = _real(who, value)
        values = np.broadcast_to(values, shape) if values.ndim == 0 else values
    if values.shape != shape:
        raise ShapeError(f"{who} must have shape {shape} on this grid, got {values.shape}.")
    if not np.isfinite(values).all():
        raise DataError(f"{who} has values that are not finite.")
    return np.array(values)


def _real(who: str, value: Any) -> Float:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{who} needs real numbers, got {array.dtype} {value!r:.60}.")
    return array.astype(np.float64)


def labelled(
    fields: Mapping[str, tuple[tuple[str, ...], Any, Mapping[str, str]]],
    grid: Grid,
    *,
    times: ArrayLike | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> xarray.Dataset:
    """Arrays with names, coordinates and units.

    Parameters
    ----------
    fields : mapping
        Name to (dimensions, values, attributes); among the dimensions may be "time", "component" (numbered)
        and the axes of the grid.
    grid : Grid
    times : (frames,), optional
    attributes : mapping, optional
        Of the whole: equation, solver, settings.

    Examples
    --------
    >>> found = labelled({"u": (("x",), [1.0, 2.0], {"units": "1"})}, Grid.box((2,)))
    >>> found["u"].sel(x=0.75).item()
    2.0
    """
    import xarray

    coordinates: dict[str, Any] = {
        axis.name: (axis.name, axis.coordinates, {"units": axis.units, "long_name": axis.name})
        for axis in grid.axes
    }
    if times is not None:
        coordinates["time"] = (
            "time",
            np.asarray(times, dtype=np.float64),
            {"units": "1", "long_name": "time"},
        )
    variables = {
        name: (dims, np.asarray(values), dict(told)) for name, (dims, values, told) in fields.items()
    }
    return xarray.Dataset(variables, coordinates, dict(attributes or {}))
