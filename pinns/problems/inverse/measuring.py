"""Measurements that are made: some values of a solution, with errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.errors import ConfigError
from sciml.pinns.measurements import PointData


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
        If there are fewer points, or a number is out of range.
    """
    if noise < 0 or not (count is None or 1 <= count <= len(x)):
        raise ConfigError(f"measured: needs noise >= 0 and a count up to {len(x)}, got {noise} and {count}.")
    generator = torch.Generator().manual_seed(seed)
    if count is None:
        rows = torch.arange(len(x))
    else:
        rows = torch.randperm(len(x), generator=generator)[:count]
    deviations = noise * values.std(0, correction=0)
    errors = torch.randn(len(rows), values.shape[1], generator=generator, dtype=torch.float64)
    seen = values[rows].double() + errors * deviations
    return tuple(
        PointData(x[rows].double(), seen[:, k], k, name, float(deviations[k]) if noise else None)
        for k, name in enumerate(names)
    )


def from_table(path: str, coordinates: Sequence[str], fields: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Points (n, dim) and values (n, outputs) of fields over the product of coordinates in an .npz file."""
    with np.load(path, allow_pickle=False) as file:
        axes: list[NDArray[np.float64]] = [file[name].ravel() for name in coordinates]
        grid = np.stack([c.ravel() for c in np.meshgrid(*axes, indexing="ij")], axis=1)
        columns = [np.asarray(file[name], dtype=np.float64).reshape(-1) for name in fields]
    return torch.from_numpy(grid), torch.from_numpy(np.stack(columns, axis=1))
