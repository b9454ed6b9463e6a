"""Input fields read at fixed points, and where outputs are asked for: what operators with a branch share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi, prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Axis, Location
from sciml.operators.box import check_queries

if TYPE_CHECKING:
    from sciml.grid import Grid

HARMONICS = 2  # of a periodic axis, as in the authors' code for Burgers' equation
_ROUNDING = 1e-3  # of a spacing; coordinates in float32 are off by less up to several thousand points


@describable
@dataclass(frozen=True)
class Sensors:
    """A regular grid of points over the unit box at which input fields are read.

    Parameters
    ----------
    shape : int or one int per axis
        Points along each axis.
    location, periodic : one value or one per axis
        As of `sciml.grid.Axis`.

    Raises
    ------
    ConfigError
        If the numbers of axes differ.
    ShapeError
        If an axis has too few points.

    Examples
    --------
    >>> Sensors(4).axes[0].coordinates.tolist()
    [0.125, 0.375, 0.625, 0.875]
    """

    shape: int | Sequence[int]
    location: Location | Sequence[Location] = "cell"
    periodic: bool | Sequence[bool] = False

    def __post_init__(self) -> None:
        shape = (self.shape,) if isinstance(self.shape, int) else tuple(self.shape)
        object.__setattr__(self, "shape", shape)
        for name, plain in (("location", str), ("periodic", bool)):
            value: Any = getattr(self, name)
            values = (value,) * len(shape) if isinstance(value, plain) else tuple(value)
            if len(values) != len(shape):
                raise ConfigError(f"Sensors: {name} has {len(values)} values for {len(shape)} axes.")
            object.__setattr__(self, name, values)
        _ = self.axes

    @classmethod
    def on(cls, grid: Grid, most: int) -> Sensors:
        """The points of a grid, or of a coarser one over the same domain with at most ``most`` points.

        Examples
        --------
        >>> from sciml.grid import Grid
        >>> Sensors.on(Grid.box((16, 100)), most=1024)
        Sensors(shape=(16, 32), location=('cell', 'cell'), periodic=(False, False))
        """
        side = max(2, int(most ** (1 / grid.rank) * (1 + 1e-9)))
        shape = tuple(min(axis.size, side) for axis in grid.axes)
        return cls(shape, [axis.location for axis in grid.axes], [axis.periodic for axis in grid.axes])

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes, each over the unit interval."""
        values: Any = zip(self.shape, self.location, self.periodic, strict=True)  # type: ignore[arg-type]
        return tuple(
            Axis(f"axis {number}", 0.0, 1.0, size, location, periodic)
            for number, (size, location, periodic) in enumerate(values)
        )

    @property
    def count(self) -> int:
        """How many there are."""
        return prod(axis.size for axis in self.axes)

    @property
    def features(self) -> int:
        """Numbers that `features_of` makes of a point."""
        return sum(2 * HARMONICS if axis.periodic else 1 for axis in self.axes)

    def read(self, x: Tensor, coordinates: Tensor) -> Tensor:
        """Fields on a regular grid, at the sensors.

        Linear interpolation along every axis, continued behind the last point of a bounded one; exact where
        the grid has a point at a sensor.

        Parameters
        ----------
        x : (batch, channel, *space)
        coordinates : (batch, rank, *space)
            `Grid.unit_coordinates`; those of the first sample count for all, and as constants.

        Returns
        -------
        (batch, channel, *shape)

        Raises
        ------
        ShapeError
            If an axis of the grid has a single point.
        """
        points = coordinates[0].detach()
        for number, axis in enumerate(self.axes):
            if points.shape[1 + number] < 2:
                raise ShapeError(
                    f"Sensors: axis {number} of the input has a single point, between which nothing can be "
                    "interpolated; it takes 2 at least."
                )
            line = points[number].movedim(number, 0).reshape(points.shape[1 + number], -1)[:, 0]
            # The contracted axis goes to the end: after all of them, they are in their order again.
            x = torch.tensordot(x, _interpolation(line, axis).to(x.dtype), dims=([2], [1]))
        return x

    def features_of(self, points: Tensor) -> Tensor:
        """What a trunk is told of points of the unit box: (..., rank) -> (..., features).

        ``2 ξ - 1`` of bounded axes; ``cos 2πkξ, sin 2πkξ`` for k = 1, 2 of periodic ones, so that outputs
        are periodic.
        """
        parts = []
        for number, axis in enumerate(self.axes):
            ξ = points[..., number]
            if axis.periodic:
                waves = [2 * pi * (k + 1) * ξ for k in range(HARMONICS)]
                parts += [wave for angle in waves for wave in (angle.cos(), angle.sin())]
            else:
                parts.append(2 * ξ - 1)
        return torch.stack(parts, dim=-1)

    def check_grid(self, who: str, shape: Sequence[int]) -> None:
        """Refuse a training grid that is coarser than the sensors.

        Raises
        ------
        ShapeError
            If it has another rank, or fewer points than sensors on an axis: there the values of some are
            combinations of those of others, and their weights would not be determined.
        """
        own = tuple(axis.size for axis in self.axes)
        if len(shape) != len(own) or any(n < m for n, m in zip(shape, own, strict=True)):
            raise ShapeError(
                f"{who}: a training grid must have at least as many points as there are sensors, {own}, got "
                f"{tuple(shape)}. Set sensors to {tuple(shape)}, or use a finer grid."
            )


def as_sensors(who: str, given: Sensors | int | Sequence[int], rank: int) -> Sensors:
    """Numbers of points as centers of cells of a bounded domain.

    Raises
    ------
    ConfigError
        If there are not ``rank`` axes.

    Examples
    --------
    >>> as_sensors("Mine", 8, rank=2).shape
    (8, 8)
    """
    sensors = (
        given if isinstance(given, Sensors) else Sensors((given,) * rank if isinstance(given, int) else given)
    )
    if len(sensors.axes) != rank:
        raise ConfigError(f"{who}: sensors must have {rank} axes, as rank says, got {sensors}.")
    return sensors


def points_of(who: str, rank: int, coordinates: Tensor, queries: Tensor | None) -> Tensor:
    """Where outputs are asked for: (batch, point, rank), or (1, point, rank) if that is the same for all.

    Raises
    ------
    ShapeError
        If the queries have another shape.
    """
    if queries is None:
        points = coordinates.flatten(2).mT if coordinates.stride(0) else coordinates[:1].flatten(2).mT
        return points
    check_queries(who, len(coordinates), rank, queries)
    return queries if queries.stride(0) else queries[:1]


def _interpolation(line: Tensor, axis: Axis) -> Tensor:
    """The matrix (sensor, point) that takes values at the points ``line`` to the sensors of ``axis``."""
    size = line.shape[0]
    sensors = (
        torch.arange(axis.size, dtype=line.dtype, device=line.device) * axis.spacing + axis.coordinates[0]
    )
    at = (sensors - line[0]) * ((size - 1) / (line[-1] - line[0]))  # in spacings from the first point
    at = torch.where((at - at.round()).abs() < _ROUNDING, at.round(), at)
    low = at.floor() if axis.periodic else at.floor().clamp(0, size - 2)
    share = (at - low)[:, None]
    index, low = torch.arange(size, dtype=line.dtype, device=line.device), low[:, None]
    if axis.periodic:
        here, there = index == low.remainder(size), index == (low + 1).remainder(size)
    else:
        here, there = index == low, index == low + 1
    return (1 - share) * here + share * there
