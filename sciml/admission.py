"""What a surrogate takes: shapes, finite values, and a warning outside the range of training."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.errors import DataError, ShapeError
from sciml.evolution import evolution_of

if TYPE_CHECKING:
    from sciml.point_surrogate import PointSurrogate
    from sciml.surrogate import Surrogate


def check(surrogate: Surrogate, x: Tensor) -> None:
    """Refuse a tensor that is not (batch, channel, *space), real and finite.

    Raises
    ------
    ShapeError, DataError
        Saying where.
    """
    channels, shape = surrogate.input_normalization.channels, tuple(x.shape)
    grid = surrogate.grid
    if x.ndim != grid.rank + 2 or shape[1] != channels:
        hint = " Channels come second; x.movedim(-1, 1) puts them there." if shape[-1:] == (channels,) else ""
        raise ShapeError(
            f"Surrogate: x must have shape (batch, {channels}, *space) with {grid.rank} axes of "
            f"space ({', '.join(grid.names)}), got {shape}.{hint}"
        )
    if not x.is_floating_point():
        raise DataError(f"Surrogate: x must be real floating-point numbers, got {x.dtype}; use x.float().")
    if not torch.isfinite(x).all():
        index = [int(i) for i in torch.nonzero(~torch.isfinite(x))[0]]
        raise DataError(
            f"Surrogate: x is {x[tuple(index)].item()} in sample {index[0]}, channel {index[1]} "
            f"({surrogate.columns[index[1]][0].name}), grid index {tuple(index[2:])}."
        )


def check_window(surrogate: Surrogate, window: Tensor, steps: int) -> None:
    """Refuse a window (batch, frames, channel, *space) that a roll-out cannot start from.

    Raises
    ------
    ShapeError, DataError
    """
    evolution, rank = evolution_of(surrogate), surrogate.grid.rank
    shape = (evolution.window, evolution.channels)
    if window.ndim != rank + 3 or tuple(window.shape[1:3]) != shape or steps < 0:
        raise ShapeError(
            f"Surrogate.roll_out: needs steps >= 0 and a window (batch, {shape[0]} frames, {shape[1]} "
            f"channels, *space) with {rank} axes of space, got steps={steps} and {tuple(window.shape)}."
        )
    if not window.is_floating_point() or not torch.isfinite(window).all():
        raise DataError("Surrogate.roll_out: the window must be finite floating-point numbers.")


def warn_outside(surrogate: Surrogate | PointSurrogate, x: Tensor) -> None:
    """One warning that names all fields beyond the range of training; x has the first channels, or all."""
    outside = []
    columns = surrogate.columns[: x.shape[1]]
    for field, i in dict.fromkeys(columns) if x.numel() else ():
        used = [k for k, column in enumerate(columns) if column == (field, i)]
        low, high = (float(v) for v in x[:, used].aminmax())
        least = -torch.inf if field.minimum is None else field.minimum[i]
        most = torch.inf if field.maximum is None else field.maximum[i]
        slack = 1e-6 * (abs(low) + abs(high))  # float32 rounding of the statistics' own extremes
        if low < least - slack or high > most + slack:
            which = f"{field.name}[{i}]" if field.components > 1 else field.name
            outside.append(f"{which} in [{low:.4g}, {high:.4g}], trained on [{least:.4g}, {most:.4g}]")
    if outside:
        warnings.warn(
            f"Surrogate: extrapolating, inputs leave the range of training: {'; '.join(outside)}.",
            UserWarning,
            stacklevel=3,
        )


def warn_beyond(places: NDArray[np.floating[Any]]) -> None:
    """One warning of places (place, dim) outside the unit box, to which the points of training are scaled."""
    outside = (abs(places - 0.5) > 0.5 + 1e-6).any(axis=1)  # float32 rounding
    if outside.any():
        warnings.warn(
            f"PointSurrogate: extrapolating, {int(outside.sum())} of {len(places)} points lie outside the "
            "box around the points of training.",
            UserWarning,
            stacklevel=3,
        )
