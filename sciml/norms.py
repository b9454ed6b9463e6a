"""What the metrics are made of: shape checks, weighted means, roots with a finite gradient."""

from __future__ import annotations

import functools
import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid

Per = Literal["sample", "channel"]
Weights = Tensor | NDArray[np.float64]


def check(who: str, prediction: Tensor, target: Tensor, rank: int | None) -> tuple[Tensor, Tensor, int]:
    """Both tensors, in float32 at least, and the number of axes before space; shapes must match exactly.

    float16 and bfloat16 become float32: a sum of squares in them loses every digit.
    """
    if prediction.shape != target.shape:
        shape, wanted = tuple(prediction.shape), tuple(target.shape)
        hint = ""
        if len(shape) == len(wanted) and len(shape) > 2 and sorted(shape) == sorted(wanted):
            hint = " Channels come second: x.movedim(-1, 1) puts them there."
        raise ShapeError(
            f"{who}: prediction and target must have the same shape (nothing is broadcast), "
            f"got {shape} and {wanted}.{hint}"
        )
    before = 2 if rank is None else prediction.ndim - rank
    if prediction.ndim < 1 or (rank is not None and before not in (2, 3)):
        raise ShapeError(
            f"{who}: expected (batch, channel, *space) or, with rank, (batch, time, channel, *space), "
            f"got {tuple(prediction.shape)} with rank={rank}."
        )
    if prediction.is_complex() or target.is_complex():
        raise ShapeError(
            f"{who}: expected real values; torch.view_as_real makes two channels of a complex one."
        )
    if prediction.dtype in (torch.float16, torch.bfloat16) or not prediction.is_floating_point():
        prediction = prediction.float()
    target = target.to(torch.promote_types(target.dtype, prediction.dtype))
    return prediction, target, min(before, prediction.ndim)


def mean(values: Tensor, keep: int, weights: Weights | None = None, *, before: int | None = None) -> Tensor:
    """The mean over all axes after the first ``keep``, of which the last, after ``before``, are space.

    ``weights`` are (*space), or (batch, *space).
    """
    if weights is not None:
        values = _weighted(values, keep if before is None else before, weights)
    return values.flatten(keep).mean(-1) if values.ndim > keep else values


def spread_weights(values: Tensor, before: int, weights: Weights) -> Tensor:
    """Weights (*space) or (batch, *space), to multiply ``values``, whose axes after ``before`` are space."""
    w = torch.as_tensor(weights, dtype=values.dtype, device=values.device)
    if w.ndim <= values.ndim - before and w.shape == values.shape[values.ndim - w.ndim :]:
        return w
    if w.shape != (values.shape[0], *values.shape[before:]):
        raise ShapeError(
            f"weights must have the shape of space, the last axes of {tuple(values.shape)}, with or without "
            f"a batch axis before it, got {tuple(w.shape)}. grid.weights() gives them; a mask is one too."
        )
    return w.reshape(len(w), *(1,) * (before - 1), *w.shape[1:])


def _weighted(values: Tensor, before: int, weights: Weights) -> Tensor:
    """Values whose plain mean over space is the weighted one."""
    w = spread_weights(values, before, weights)
    if w.ndim < values.ndim:
        return values * (w * (w.numel() / w.sum()))
    count = math.prod(values.shape[before:])
    w = w * (count / w.flatten(1).sum(1).reshape(-1, *(1,) * (w.ndim - 1)))
    return torch.where(w == 0, 0.0, values) * w  # padding may hold anything, NaN included


def counted(values: Tensor, before: int, weights: Weights | None) -> Tensor:
    """How many points of space have a weight, as a divisor of the means over space."""
    if weights is None:
        return torch.tensor(math.prod(values.shape[before:]), dtype=values.dtype, device=values.device)
    present = (spread_weights(values, before, weights) != 0).expand(values.shape)
    return present.flatten(before).sum(-1).to(values.dtype)


def face_weights(shape: tuple[int, ...], grid: Grid | None) -> list[tuple[int, NDArray[np.float64]]]:
    """Axes across which the faces of a box lie, each with the weights of the points of a face, (*other axes).

    Of a grid the quadrature on its bounded axes; without one, 1 on all.
    """
    if grid is None:
        return [(axis, np.ones(shape[:axis] + shape[axis + 1 :])) for axis in range(len(shape))]
    if shape != grid.shape:
        raise ShapeError(f"values on {shape} points do not lie on the grid of shape {grid.shape}.")
    found = []
    for axis in range(grid.rank):
        if not grid.axes[axis].periodic:
            others = [other.weights for i, other in enumerate(grid.axes) if i != axis]
            found.append((axis, functools.reduce(np.multiply.outer, others, np.ones(()))))
    if not found:
        raise ShapeError(f"a grid that is periodic along {', '.join(grid.names)} has no boundary.")
    return found


def root(values: Tensor, p: float = 2.0) -> Tensor:
    """The p-th root of non-negative values, with gradient 0 instead of infinity at 0."""
    if p == 1:
        return values
    positive = values > 0
    safe = torch.where(positive, values, 1.0)
    return torch.where(positive, safe.sqrt() if p == 2 else safe ** (1 / p), values)


def scale_of(target: Tensor, keep: int) -> Tensor:
    """A power of two near max |target| over the axes after ``keep``, 1 for a zero target; without gradient.

    Dividing by it first keeps squares of 1e-38 and 1e38 from leaving float32, and rounds nothing.
    """
    flat = target.detach().flatten(keep) if target.ndim > keep else target.detach().unsqueeze(-1)
    peak = flat.abs().amax(-1)
    usable = (peak > 0) & peak.isfinite()
    exponent = torch.frexp(torch.where(usable, peak, 1.0))[1].to(target.dtype) - 1
    scale = torch.where(usable, exponent.clamp(min=math.log2(torch.finfo(target.dtype).tiny)).exp2(), 1.0)
    return scale.reshape(scale.shape + (1,) * (target.ndim - keep))


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator/denominator, and the numerator itself where the denominator is 0."""
    return numerator / torch.where(denominator == 0, 1.0, denominator)


def spread(values: Tensor, like: Tensor) -> Tensor:
    """Values of the leading axes with axes of length 1 for space."""
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))


def per_sample(values: Tensor, per: Per) -> Tensor:
    """From (batch, [time,] channel) to (batch,) by the mean over time and channel, or unchanged."""
    if per not in ("sample", "channel"):
        raise ConfigError(f"per must be 'sample' or 'channel', got {per!r}.")
    return values if per == "channel" or values.ndim == 1 else values.flatten(1).mean(1)


def zero_target(target: Tensor) -> Tensor:
    """Whether all values of a sample are 0, (batch,) bool: there relative metrics are absolute ones."""
    return (target == 0).flatten(1).all(1) if target.ndim > 1 else target == 0
