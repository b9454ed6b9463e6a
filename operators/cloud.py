"""What operators on points have in common: points, meshes and grids seen as rows, and padding cleared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sciml.errors import ConfigError, ShapeError
from sciml.feeding import cleared
from sciml.mesh import PointSet
from sciml.operators.box import check_counts


class Rows(NamedTuple):
    """Fields at points, one row for each; 0 at padding, whatever was there.

    Attributes
    ----------
    values : (batch, point, channel)
    coordinates : (batch, point, rank)
    mask : (batch, point) bool, or None if all points are real
    space : tuple of int, or None
        The shape of the grid that the points come from, in row-major order.
    """

    values: Tensor
    coordinates: Tensor
    mask: Tensor | None
    space: tuple[int, ...] | None

    @property
    def located(self) -> Tensor:
        """Values and coordinates side by side, (batch, point, channel + rank)."""
        return torch.cat((self.values, self.coordinates), dim=-1)

    def back(self, u: Tensor) -> Tensor:
        """Values (batch, point, channel) in the layout that came in, 0 at padding."""
        u = u if self.mask is None else cleared(u, self.mask)
        return u if self.space is None else u.mT.reshape(u.shape[0], u.shape[2], *self.space)


class Cloud:
    """Fields at points in no order, on meshes, or on a grid, of which only the points count.

    Parameters
    ----------
    who : str
        The operator, for messages.
    rank, channels : int
        Coordinates of a point; channels of the input, which may have none.
    parameters : int
        Numbers of each sample.
    functions : sequence of int
        For each function on points of its own the length of its rows: coordinates and values.

    Raises
    ------
    ConfigError
        If a count is out of range.

    Examples
    --------
    >>> cloud = Cloud("Mine", rank=2, channels=1)
    >>> rows = cloud.enter(torch.zeros(3, 1, 8, 6), torch.zeros(3, 2, 8, 6), None)
    >>> rows.values.shape, rows.back(torch.zeros(3, 48, 5)).shape
    (torch.Size([3, 48, 1]), torch.Size([3, 5, 8, 6]))
    """

    def __init__(
        self, who: str, rank: int, channels: int, *, parameters: int = 0, functions: Sequence[int] = ()
    ) -> None:
        check_counts(who, {"rank": rank})
        counts = {"in_channels": channels, "parameters": parameters}
        for name, count in counts.items():
            if count < 0:
                raise ConfigError(f"{who}: {name} must be at least 0, got {count}.")
        self.who, self.rank, self.channels = who, rank, channels
        self.parameters, self.functions = parameters, tuple(functions)
        for width in self.functions:
            check_counts(who, {"the length of the rows of a function": width})

    @property
    def requires(self) -> tuple[str, ...]:
        """The extras that a model cannot do without."""
        given = {"coordinates": True, "parameters": self.parameters, "functions": self.functions}
        return tuple(name for name, needed in given.items() if needed)

    def enter(self, x: Tensor, coordinates: Tensor | None, mask: Tensor | None) -> Rows:
        """Points, or a grid, as rows.

        Raises
        ------
        ShapeError
            If a shape does not fit, or coordinates are missing.
        """
        if coordinates is None:
            raise ShapeError(
                f"{self.who}: coordinates are missing, (batch, point, {self.rank}) or on a grid (batch, "
                f"{self.rank}, *space), with the domain scaled to the unit box."
            )
        batch, shape, place = x.shape[0], tuple(x.shape), tuple(coordinates.shape)
        on_grid = mask is None and x.ndim == self.rank + 2 and shape[1] == self.channels
        if on_grid and place == (batch, self.rank, *shape[2:]):
            return Rows(_flat(x), _flat(coordinates).to(x.dtype), None, shape[2:])
        if x.ndim != 3 or shape[2] != self.channels or place != (*shape[:2], self.rank):
            raise ShapeError(
                f"{self.who}: x must have shape (batch, point, {self.channels}) with coordinates (batch, "
                f"point, {self.rank}), or on a grid (batch, {self.channels}, *space) with coordinates "
                f"(batch, {self.rank}, *space), got {shape} with coordinates {place}."
            )
        coordinates = coordinates.to(x.dtype)
        if mask is None:
            return Rows(x, coordinates, None, None)
        if tuple(mask.shape) != shape[:2]:
            raise ShapeError(f"{self.who}: mask must have shape {shape[:2]}, got {tuple(mask.shape)}.")
        return Rows(cleared(x, mask), cleared(coordinates, mask), mask, None)

    def at_every_point(self, parts: Sequence[Tensor], parameters: Tensor | None) -> Tensor:
        """Features (batch, point, ...) side by side, the numbers of the sample behind those of each point.

        Raises
        ------
        ShapeError
            If numbers are needed and missing, or are another number.
        """
        batch, points = parts[0].shape[:2]
        if self.parameters == 0:
            return torch.cat(tuple(parts), dim=-1)
        if parameters is None or tuple(parameters.shape) != (batch, self.parameters):
            got = "none" if parameters is None else tuple(parameters.shape)
            raise ShapeError(f"{self.who}: parameters must have shape {(batch, self.parameters)}, got {got}.")
        spread = parameters.to(parts[0].dtype)[:, None].expand(-1, points, -1)
        return torch.cat((*parts, spread), dim=-1)

    def rows_of(
        self, functions: Sequence[PointSet] | None, dtype: torch.dtype
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Rows (batch, point, coordinates and values) of each function, 0 at padding, and its mask.

        Raises
        ------
        ShapeError
            If functions are needed and missing, or are others.
        """
        if not self.functions:
            return []
        found = []
        for values, coordinates, mask in functions or ():
            rows = torch.cat((coordinates, values), dim=-1).to(dtype)
            found.append((rows if mask is None else cleared(rows, mask), mask))
        widths = tuple(rows.shape[-1] for rows, _ in found)
        if widths != self.functions:
            raise ShapeError(
                f"{self.who}: functions must have rows, coordinates and values, of lengths "
                f"{self.functions}, got {widths}."
            )
        return found


def _flat(x: Tensor) -> Tensor:
    """(batch, channel, *space) as (batch, point, channel)."""
    return x.flatten(2).mT
