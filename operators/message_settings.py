"""Settings of the message-passing solver: its graph, what its points are told, what its channels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.evolution import Evolution
from sciml.operators.box import check_counts


@describable
@dataclass(frozen=True)
class Graph:
    """Which points are neighbors, where the sample does not tell.

    Parameters
    ----------
    reach : int, optional
        On a grid: all points at most so many steps away along every axis; by default 3 in one dimension (6
        neighbors), 1 in others (8, 26).
    period : one number or None per axis, optional
        After which length the axis repeats, in the unit coordinates that the model gets; on a grid it is 1.0.
        None cuts the axis at its ends, which is also what the published code does to periodic domains.
    nearest : int
        On points that come without ``neighbors``: so many nearest ones, found anew in every call.

    Raises
    ------
    ConfigError
        If a number is not positive.
    """

    reach: int | None = None
    period: Sequence[float | None] | None = None
    nearest: int = 6

    def __post_init__(self) -> None:
        check_counts("Graph", {"nearest": self.nearest, "reach": 1 if self.reach is None else self.reach})
        if self.period is not None:
            object.__setattr__(self, "period", tuple(self.period))
            if any(length is not None and not length > 0 for length in self.period):
                raise ConfigError(f"Graph: a period is a positive length or None, got {self.period}.")


@describable
@dataclass(frozen=True)
class Context:
    """What every point is told beside the state.

    Parameters
    ----------
    position : bool
        Where it is, in unit coordinates. Without it the operator commutes with translations of a wrapped
        graph.
    time : float, optional
        The time of the last frame of the window, over this time; None does not tell it.
    parameters : sequence of float or None
        For each number of a sample, in the order of the dataset, the size to divide it by; None does not tell
        it.

    Raises
    ------
    ConfigError
        If a size is 0.
    """

    position: bool = True
    time: float | None = None
    parameters: Sequence[float | None] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(self.parameters))
        if any(size == 0 for size in (self.time, *self.parameters)):
            raise ConfigError(f"Context: one cannot divide by 0, got {self}.")

    @property
    def numbers(self) -> int:
        """How many there are besides the position, the same at all points."""
        return sum(size is not None for size in (self.time, *self.parameters))

    @property
    def requires(self) -> tuple[str, ...]:
        """The extras that they are read from."""
        needed = {"time": self.time is not None, "parameters": any(s is not None for s in self.parameters)}
        return tuple(name for name, told in needed.items() if told)

    def told(self, like: Tensor, time: Tensor | None, parameters: Tensor | None) -> Tensor:
        """The numbers (batch, `numbers`) of the samples of ``like`` (batch, ...), divided.

        Raises
        ------
        ShapeError
            If one is missing or has another shape.
        """
        batch, found = like.shape[0], [like.new_empty(like.shape[0], 0)]
        shapes = {"time": (batch,), "parameters": (batch, len(self.parameters))}
        for name, value in (("time", time), ("parameters", parameters)):
            if name in self.requires and (value is None or tuple(value.shape) != shapes[name]):
                got = "none" if value is None else tuple(value.shape)
                raise ShapeError(f"Context: {name} must have shape {shapes[name]}, got {got}.")
        if self.time is not None and time is not None:
            found.append(time[:, None].to(like.dtype) / self.time)
        for number, size in enumerate(self.parameters):
            if size is not None and parameters is not None:
                found.append(parameters[:, number, None].to(like.dtype) / size)
        return torch.cat(found, dim=1)


@describable
@dataclass(frozen=True)
class State:
    """What the channels are: frames of a state, in the order of `sciml.evolution.Evolution.stacked`.

    Parameters
    ----------
    components : sequence of int
        Of each field of the state: (1,) one scalar, (2,) a vector of two components, (1, 1) two scalars.
    inputs : int
        Channels of the input behind its frames that do not change with time. If they are all there is, then
        there are no frames, and the operator is a map between fields.

    Raises
    ------
    ConfigError
        If a number is out of range.
    """

    components: Sequence[int] = (1,)
    inputs: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "components", tuple(self.components))
        check_counts("State", {"components": min(self.components, default=0), "inputs": self.inputs + 1})

    def evolution(self, in_channels: int, out_channels: int) -> tuple[int, Evolution]:
        """The frames of the window, 0 of a map, and the order of the channels.

        Raises
        ------
        ConfigError
            If the channels are not whole frames.
        """
        width = sum(self.components)
        window, rest = divmod(in_channels - self.inputs, width)
        if window < 0 or rest or out_channels % width:
            raise ConfigError(
                f"MPPDE: {in_channels} input channels, {self.inputs} of them without time, and "
                f"{out_channels} output channels are not whole frames of {width}; see State."
            )
        return window, Evolution(tuple(self.components), max(1, window), out_channels // width)
