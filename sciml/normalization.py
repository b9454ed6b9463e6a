"""Fields to numbers of order one and back, with one mean and one scale per channel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from sciml.errors import DataError, ShapeError

if TYPE_CHECKING:
    from sciml.schema import Statistics

Float = NDArray[np.float64]
_SMALLEST, _LARGEST = (float(v) for v in (np.finfo(np.float32).tiny, np.finfo(np.float32).max))


class Normalization(nn.Module):
    """The affine map x -> (x - mean)/scale of each channel, the same at every point and so on every grid.

    There may be no channel at all: the input of a map of coordinates alone.

    Parameters
    ----------
    mean, scale : (channels,)
        In the units of the channels.  A scale of 0 (a channel without variance) becomes 1: such a channel is
        shifted to 0, and a deviation from it keeps its physical size.

    Both are buffers in float64, not trained.  Arithmetic is that of the argument; float16 and bfloat16 become
    float32.  The mean is subtracted in two parts, so that a float32 field of 1e5 + 1e-2 keeps its digits.

    Raises
    ------
    DataError
        If a value is not finite, a scale is negative or outside the range of float32.
    ShapeError
        If the two lengths differ, or an argument has another number of channels.

    Examples
    --------
    >>> normalization = Normalization([10.0, 0.0], [2.0, 1.0])
    >>> x = torch.tensor([[[12.0, 8.0], [1.0, 1.0]]])
    >>> normalization.encode(x).tolist()
    [[[1.0, -1.0], [1.0, 1.0]]]
    >>> torch.equal(normalization.decode(normalization.encode(x)), x)
    True
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: ArrayLike, scale: ArrayLike) -> None:
        super().__init__()
        means, scales = (np.atleast_1d(np.array(v, dtype=np.float64)) for v in (mean, scale))
        if means.ndim != 1 or means.shape != scales.shape:
            raise ShapeError(
                f"Normalization: mean and scale must be two vectors of one length, "
                f"got shapes {means.shape} and {scales.shape}."
            )
        for name, values in (("mean", means), ("scale", scales)):
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                raise DataError(
                    f"Normalization: the {name} of channel {bad[0]} is {values[bad[0]]}, not finite. "
                    "Look for NaN or infinity in the training data (dataset.scan names the place)."
                )
        scales[scales == 0] = 1.0
        bad = np.flatnonzero((scales < _SMALLEST) | (np.maximum(scales, np.abs(means)) > _LARGEST))
        if bad.size:
            raise DataError(
                f"Normalization: channel {bad[0]} has mean {means[bad[0]]:g} and scale {scales[bad[0]]:g}; "
                "a scale must be positive, and float32 must hold both. Choose other units for this channel."
            )
        self.register_buffer("mean", torch.from_numpy(means))
        self.register_buffer("scale", torch.from_numpy(scales))

    @classmethod
    def from_statistics(cls, statistics: Sequence[Statistics]) -> Normalization:
        """From the statistics of fields, whose components become channels in this order.

        Each has ``mean`` and ``std`` (and ``min``, ``max``) of shape (components,).  Where min equals max the
        channel is constant, whatever rounding made of its std.
        """
        if not statistics:
            return cls.identity(0)
        means = np.concatenate([np.atleast_1d(s.mean) for s in statistics])
        scales = np.concatenate(
            [np.where(np.equal(s.min, s.max), 0.0, np.atleast_1d(s.std)) for s in statistics]
        )
        return cls(means, scales)

    @classmethod
    def fit(cls, values: Tensor | ArrayLike) -> Normalization:
        """From values (batch, channel, *space): mean and population standard deviation of each channel.

        Two passes in float64, since E[x^2] - E[x]^2 loses all digits for a large mean.

        Raises
        ------
        DataError
            If there are no values, or one of them is not finite; names its place.
        """
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        if array.ndim < 2 or array.size == 0:
            raise DataError(
                f"Normalization.fit: needs values (batch, channel, *space), got shape {array.shape}."
            )
        means, scales = [], []
        for channel in range(array.shape[1]):
            x = array[:, channel].astype(np.float64)
            if not np.isfinite(x).all():
                where = np.argwhere(~np.isfinite(x))[0]
                place = tuple(int(i) for i in where[1:])
                raise DataError(
                    f"Normalization.fit: {x[tuple(where)]} in sample {where[0]}, channel {channel}, "
                    f"grid index {place}. Remove the sample or repair it."
                )
            means.append(float(x.mean()))
            scales.append(0.0 if x.min() == x.max() else math.sqrt(float(np.mean((x - means[-1]) ** 2))))
        return cls(means, scales)

    @classmethod
    def identity(cls, channels: int) -> Normalization:
        """The map that changes nothing."""
        return cls(np.zeros(channels), np.ones(channels))

    @property
    def channels(self) -> int:
        """How many channels the argument has."""
        return int(self.mean.numel())

    def encode(self, x: Tensor, *, axis: int = 1) -> Tensor:
        """(x - mean)/scale of x (batch, channel, *space), physical to normalized.

        ``axis`` is that of the channels: 2 for trajectories (batch, time, channel, *space).
        """
        high, low, scale = self._shaped(x, axis)
        return (x - high - low) / scale

    def decode(self, x: Tensor, *, axis: int = 1) -> Tensor:
        """x * scale + mean of x (batch, channel, *space): the inverse of `encode`."""
        high, low, scale = self._shaped(x, axis)
        return x * scale + low + high

    def _shaped(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
        """Leading and trailing part of the mean, and the scale, in the dtype of x and ready to broadcast."""
        if x.ndim <= axis or x.shape[axis] != self.channels:
            hint = ""
            if x.ndim > axis and x.shape[-1] == self.channels:
                hint = " Channels come second; x.movedim(-1, 1) puts them there."
            raise ShapeError(
                f"Normalization: x must have {self.channels} channels on axis {axis}, "
                f"got shape {tuple(x.shape)}.{hint}"
            )
        dtype = torch.promote_types(x.dtype, torch.float32)
        mean, scale = self.mean.to(x.device), self.scale.to(x.device)
        high = mean.to(dtype)
        low = (mean - high).to(dtype)  # promoted to the wider of both before the difference is taken
        shape = (-1,) + (1,) * (x.ndim - axis - 1)
        return high.reshape(shape), low.reshape(shape), scale.to(dtype).reshape(shape)

    def extra_repr(self) -> str:
        """For print(model)."""
        return f"channels={self.channels}"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON, exact."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Normalization:
        """The inverse of `to_dict`."""
        return cls(data["mean"], data["scale"])
