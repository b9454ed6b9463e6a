"""Values at points: on a grid if the points are one, else as a cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.axes import grid_points, is_uniform
from sciml.datasets.readers.pieces import grid_of
from sciml.errors import DataError
from sciml.grid import Grid
from sciml.mesh import Points
from sciml.schema import Field

# A field and its values (sample, time, component, point), whichever of these axes it has.
Column = tuple[Field, NDArray[Any]]


def placed(
    path: Path,
    names: Sequence[str],
    points: NDArray[np.float64],
    columns: Sequence[Column],
    notes: list[str],
    *,
    units: str = "1",
) -> tuple[Grid | Points, tuple[tuple[Field, NDArray[Any]], ...]]:
    """Where the values lie and the fields in the order that a dataset has there.

    Parameters
    ----------
    names : of the coordinates
    points : (point, dim)
    columns : sequence of (Field, (sample, frame, component, point))
        With all four axes; those that the field does not have are of length one.

    Raises
    ------
    DataError
        If a point is not finite.
    """
    if not np.isfinite(points).all():
        raise DataError(f"{path}: the coordinates {', '.join(names)} are not finite.")
    good = np.all([np.isfinite(values).all(axis=(0, 1, 2)) for _, values in columns], axis=0)
    if not good.any():
        raise DataError(f"{path}: no point has finite values of {', '.join(i.name for i, _ in columns)}.")
    if not good.all():
        notes.append(f"{int((~good).sum())} points without finite values are left out")
        points, columns = points[good], [(item, values[..., good]) for item, values in columns]
    found = grid_points(points)
    if found is not None and all(len(axis) > 1 and is_uniform(axis) for axis in found[0]):
        axes, order = found
        fields = [(item, values[..., order]) for item, values in columns]
        places = [3 + i for i in range(len(names))]
        grid = grid_of(
            path,
            list(zip(names, axes, strict=True)),
            fields[0][1],
            places,
            notes,
            periodic=False,
            units=units,
        )
        return grid, tuple((item, _squeezed(item, values, 2)) for item, values in fields)
    what = "a grid of unequal spacing" if found is not None else "no grid"
    notes.append(f"the {len(points)} points are {what} and kept as points")
    cloud = Points(points, tuple(names), units)
    last = [(item, np.moveaxis(values, 2, 3)) for item, values in columns]
    return cloud, tuple((item, _squeezed(item, values, 3)) for item, values in last)


def _squeezed(item: Field, values: NDArray[Any], component: int) -> NDArray[Any]:
    """Without the axes that the field does not have."""
    absent = ([] if item.components > 1 else [component]) + ([] if item.time else [1])
    return values.squeeze(tuple(absent))


def product(axes: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """The points (point, dim) of a tensor product, the last axis fastest."""
    mesh = np.meshgrid(*(np.asarray(a, dtype=np.float64).ravel() for a in axes.values()), indexing="ij")
    return np.stack([array.ravel() for array in mesh], axis=1)
