"""States in time: windows of frames go into a model, bundles of frames come out, again and again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.errors import ConfigError, DataError

if TYPE_CHECKING:
    from sciml.surrogate import Surrogate


@dataclass(frozen=True)
class Evolution:
    """One call of a model takes the last ``window`` frames of a state to the next ``bundle`` frames.

    Parameters
    ----------
    components : tuple of int
        Channels of each field of the state in a frame.
    window, bundle : int
    dt : float, unit ``units``
        Time between two frames, the same everywhere.
    units : str
        Of time.
    parameters : tuple of str
        Names of the numbers per sample that the model may ask for, in order.

    Raises
    ------
    ConfigError
        If a count is below 1, or ``dt`` is not positive and finite.

    Examples
    --------
    >>> evolution = Evolution(components=(1,), window=2)
    >>> double = lambda window, call: 2 * window[:, -1:]
    >>> evolution.roll_out(double, torch.ones(1, 2, 1, 1), 3).flatten().tolist()
    [2.0, 4.0, 8.0]
    """

    components: tuple[int, ...]
    window: int = 1
    bundle: int = 1
    dt: float = 1.0
    units: str = "1"
    parameters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if min((self.window, self.bundle, *self.components)) < 1 or not 0 < self.dt < math.inf:
            raise ConfigError(f"Evolution: needs counts of at least 1 and a positive dt, got {self}.")

    @property
    def channels(self) -> int:
        """Of the state in one frame."""
        return sum(self.components)

    def stacked(self, frames: Tensor) -> Tensor:
        """Frames (batch, n, channel, *space) side by side in the channel axis: (batch, n channel, *space).

        Field after field; within a field frame after frame; within a frame its components.
        """
        return torch.cat([part.flatten(1, 2) for part in frames.split(self.components, dim=2)], dim=1)

    def unstacked(self, x: Tensor) -> Tensor:
        """The inverse of `stacked`."""
        count = x.shape[1] // self.channels
        parts = x.split([count * c for c in self.components], dim=1)
        pairs = zip(parts, self.components, strict=True)
        return torch.cat([part.unflatten(1, (count, c)) for part, c in pairs], dim=2)

    def slide(self, window: Tensor, bundle: Tensor) -> Tensor:
        """The window of the next call: the last frames of both, (batch, window, channel, *space)."""
        return torch.cat([window, bundle], dim=1)[:, -self.window :]

    def extras(self, call: int, time: Tensor, parameters: Tensor | None) -> dict[str, Tensor]:
        """What call number ``call`` (from 0) may ask for: time and dt (batch,), parameters (batch, p).

        ``time`` (batch,) is that of the last frame of the first window; a call is told that of its own.
        """
        found = {"time": time + call * self.bundle * self.dt, "dt": torch.full_like(time, self.dt)}
        return found if parameters is None else {**found, "parameters": parameters}

    def example(self) -> dict[str, Tensor]:
        """Some extras for a single sample, always the same."""
        return self.extras(
            0, torch.zeros(1), torch.ones(1, len(self.parameters)) if self.parameters else None
        )

    def roll_out(self, advance: Callable[[Tensor, int], Tensor], window: Tensor, steps: int) -> Tensor:
        """The ``steps`` frames after a window: (batch, steps, channel, *space).

        ``advance(window, call)`` gives the bundle after a window (batch, window, channel, *space).
        """
        bundles = [window[:, :0]]
        for call in range(math.ceil(steps / self.bundle)):
            bundles.append(advance(window, call))
            window = self.slide(window, bundles[-1])
        return torch.cat(bundles, dim=1)[:, :steps]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evolution:
        """The inverse of `to_dict`."""
        tuples = {name: tuple(data[name]) for name in ("components", "parameters")}
        return cls(**{**data, **tuples})


def frame_step(times: NDArray[np.float64], who: str) -> float:
    """The time between frames.

    Raises
    ------
    DataError
        If it varies by more than 1e-3 of itself: one map cannot take several time steps.
    """
    if len(times) < 2:
        raise DataError(f"{who}: needs at least two frames, got {len(times)}.")
    steps = np.diff(times)
    mean = float((times[-1] - times[0]) / (len(times) - 1))
    if np.abs(steps - mean).max() > 1e-3 * mean:
        raise DataError(
            f"{who}: frames must be equally spaced in time, got steps from {steps.min():g} to "
            f"{steps.max():g}. Interpolate, or leave frames out."
        )
    return mean


def evolution_of(surrogate: Surrogate) -> Evolution:
    """The evolution of a surrogate that has one."""
    if surrogate.evolution is None:
        raise ConfigError(
            "Surrogate.roll_out: this surrogate is a map between fields, trained by Supervised; "
            "sciml.Rollout trains one that steps through time."
        )
    return surrogate.evolution
