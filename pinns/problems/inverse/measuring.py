"""Measurements that are made: some values of a solution, with errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.datasets.readers.containers import load
from sciml.errors import ConfigError, DataError
from sciml.pinns.measurements import PointData

Float = NDArray[np.float64]


def check_numbers(who: str, measurements: int, noise: float, seed: int) -> None:
    """Raise where nothing can be measured: wrong kinds, no measurement, a negative noise or seed."""
    whole = isinstance(measurements, int) and isinstance(seed, int) and measurements >= 1 and seed >= 0
    if not (whole and isinstance(noise, int | float) and noise >= 0):
        raise ConfigError(
            f"{who}: measurements and seed are whole numbers, from 1 and from 0 on, and noise is not "
            f"negative, got {measurements=}, {seed=} and {noise=}."
        )


def measured(
    x: Tensor, values: Tensor, *, count: int | None, noise: float, seed: int, names: Sequence[str] = ("data",)
) -> tuple[PointData, ...]:
    """Values at ``count`` of the points, chosen at random, with normal errors; one set for each component.

    Parameters
    ----------
    x : (n, dim)
    values : (n, outputs)
    count : int, optional
        All points by default, in their order.
    noise : float
        Standard deviation of the errors as a share of that of all values of the component; 0 for none.
    seed : int
        Of choice and errors.
    names : sequence of str
        One for each component.

    Raises
    ------
    ConfigError
        If there are fewer points, or a component is the same everywhere, so that its noise has no size.
    """
    if count is not None and count > len(x):
        raise ConfigError(f"measured: needs a count up to {len(x)}, got {count}.")
    generator = torch.Generator().manual_seed(seed)
    if count is None:
        rows = torch.arange(len(x))
    else:
        rows = torch.randperm(len(x), generator=generator)[:count]
    deviations = noise * values.std(0, correction=0)
    if noise and not bool((deviations > 0).all()):
        raise ConfigError("measured: all values are the same, so a share of their spread is no noise.")
    errors = torch.randn(len(rows), values.shape[1], generator=generator, dtype=torch.float64)
    seen = values[rows].double() + errors * deviations
    return tuple(
        PointData(x[rows].double(), seen[:, k], k, name, float(deviations[k]) if noise else None)
        for k, name in enumerate(names)
    )


def from_table(
    path: str, coordinates: Mapping[str, tuple[float, float]], fields: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Points (n, dim) and values (n, outputs) of fields over the product of coordinates in an .npz file.

    ``coordinates`` tells by name between which bounds each lies; it is the order of the axes of the fields.

    Raises
    ------
    DataError
        If there is no such file, it lacks an array, one has another shape or is not finite, or a coordinate
        leaves its bounds.
    """
    file = arrays(path, (*coordinates, *fields))
    axes = [axis(path, name, file[name], bounds) for name, bounds in coordinates.items()]
    shape = tuple(len(a) for a in axes)
    for name in fields:
        check_shape(path, name, file[name], shape, f"over {' and '.join(coordinates)}")
    grid = np.stack([c.ravel() for c in np.meshgrid(*axes, indexing="ij")], axis=1)
    columns = np.stack([file[name].ravel() for name in fields], axis=1)
    return torch.from_numpy(grid), torch.from_numpy(columns)


def arrays(path: str, names: Sequence[str]) -> dict[str, Float]:
    """Arrays of these names in an .npz file, or in a container like it, as finite float64."""
    if not isinstance(path, str) or not Path(path).is_file():
        raise DataError(f"there is no table {path!r}; give the path of an .npz file.")
    found = {name: values.astype(np.float64) for name, values in load(Path(path), names).items()}
    for name, values in found.items():
        if wrong := int((~np.isfinite(values)).sum()):
            raise DataError(
                f"{path}: {wrong} of the {values.size} values of {name} are not finite; leave them out."
            )
    return found


def axis(path: str, name: str, values: Float, bounds: tuple[float, float]) -> Float:
    """A coordinate as a list of numbers, which it may also be as a row or a column."""
    flat = values.ravel()
    if not flat.size or flat.size != max(values.shape, default=1):
        raise DataError(f"{path}: {name} must be a list of numbers, got shape {values.shape}.")
    low, high = bounds
    slack = 1e-9 * (high - low)
    if flat.min() < low - slack or flat.max() > high + slack:
        raise DataError(
            f"{path}: {name} goes from {flat.min():g} to {flat.max():g}, but the problem from {low:g} to "
            f"{high:g}."
        )
    return flat


def check_shape(path: str, name: str, values: Float, shape: tuple[int, ...], what: str) -> None:
    """Raise for another shape than this one."""
    if values.shape == shape:
        return
    hint = f" It is transposed: save {name}.T." if values.shape == shape[::-1] else ""
    raise DataError(f"{path}: {name} must have shape {shape}, {what}, got {values.shape}.{hint}")
