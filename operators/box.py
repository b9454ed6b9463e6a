"""What operators on boxes have in common before and after their layers: checks, coordinates, padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TypeVar

import torch
from torch import Tensor, nn

from sciml.errors import ConfigError, ShapeError

Number = TypeVar("Number", int, float)

DENOMINATOR = 10**6  # of padding fractions: 0.1 is one tenth, not the nearest binary number


class Box:
    """Fields on a regular grid over a box, which is extended behind its upper end for the layers only.

    Parameters
    ----------
    who : str
        The operator, for messages.
    rank, channels : int
        Axes of the grid, channels of the input without coordinates.
    coordinates : bool
        Whether the unit coordinates join the input.
    padding : float or one float per axis
        The fraction of the domain that is added, 0 to 1.

    Raises
    ------
    ConfigError
        If a fraction is out of range.

    Examples
    --------
    >>> box = Box("Mine", rank=2, channels=1, coordinates=False, padding=(0.0, 0.25))
    >>> v = box.extend(box.enter(torch.zeros(3, 1, 8, 8), None))
    >>> v.shape, box.restrict(v, (8, 8)).shape
    (torch.Size([3, 1, 8, 10]), torch.Size([3, 1, 8, 8]))
    """

    def __init__(
        self, who: str, rank: int, channels: int, *, coordinates: bool, padding: float | Sequence[float]
    ) -> None:
        self.who, self.rank, self.channels, self.coordinates = who, rank, channels, coordinates
        self.padding: tuple[float, ...] = per_axis(who, "padding", padding, rank)
        if any(not 0.0 <= fraction <= 1.0 for fraction in self.padding):
            raise ConfigError(f"{who}: padding is a fraction of the domain, 0 to 1, got {self.padding}.")
        self._ratios = tuple(
            Fraction(fraction).limit_denominator(DENOMINATOR).as_integer_ratio() for fraction in self.padding
        )

    def enter(self, x: Tensor, coordinates: Tensor | None) -> Tensor:
        """The input with its coordinates, (batch, channels [+ rank], *space).

        Raises
        ------
        ShapeError
            As `check`.
        """
        self.check(x, coordinates)
        if not self.coordinates or coordinates is None:
            return x
        return torch.cat((x, coordinates.to(x.dtype)), dim=1)

    def check(self, x: Tensor, coordinates: Tensor | None) -> None:
        """Refuse an input, or coordinates, that do not fit.

        Raises
        ------
        ShapeError
            If a shape does not fit, or coordinates are needed and missing.
        """
        if x.ndim != self.rank + 2 or x.shape[1] != self.channels:
            last = x.ndim == self.rank + 2 and x.shape[-1] == self.channels
            hint = " Channels come second; x.movedim(-1, 1) puts them there." if last else ""
            raise ShapeError(
                f"{self.who}: x must have shape (batch, {self.channels}, *grid) with {self.rank} grid axes, "
                f"got {tuple(x.shape)}.{hint}"
            )
        if not self.coordinates:
            return
        expected = (x.shape[0], self.rank, *x.shape[2:])
        if coordinates is None:
            raise ShapeError(
                f"{self.who}: coordinates of shape {expected} are missing. Pass Grid.unit_coordinates(), "
                "expanded over the batch, or build the model with coordinates=False."
            )
        if tuple(coordinates.shape) != expected:
            raise ShapeError(
                f"{self.who}: coordinates must have shape {expected}, got {tuple(coordinates.shape)}."
            )

    def cells(self, shape: Sequence[int]) -> tuple[int, ...]:
        """How many grid points the padding is on a grid of this shape.

        ``fraction * size`` rounded to the nearest whole number, ties to the even one, and at least 1.
        """
        return tuple(
            _part(p, q, size) if fraction > 0.0 else 0
            for fraction, (p, q), size in zip(self.padding, self._ratios, shape, strict=True)
        )

    def extend(self, v: Tensor) -> Tensor:
        """The fields with zeros behind the upper ends."""
        if not any(self.padding):
            return v
        # torch.nn.functional.pad counts from the last axis.
        cells = reversed(self.cells(v.shape[2:]))
        return nn.functional.pad(v, [size for count in cells for size in (0, count)])

    def restrict(self, v: Tensor, shape: Sequence[int]) -> Tensor:
        """The fields without the padding; `shape` is that of the grid."""
        for axis, (fraction, size) in enumerate(zip(self.padding, shape, strict=True)):
            if fraction:
                v = v.narrow(2 + axis, 0, size)
        return v

    def check_modes(self, modes: Sequence[int], shape: Sequence[int]) -> None:
        """Refuse a grid on which the frequencies up to `modes` are not all there.

        Raises
        ------
        ShapeError
            If ``2 m`` exceeds the (padded) grid size on an axis.
        """
        if len(shape) != self.rank:
            raise ShapeError(f"{self.who}: the grid must have {self.rank} axes, got shape {tuple(shape)}.")
        for axis, (m, size, count) in enumerate(zip(modes, shape, self.cells(shape), strict=True)):
            if 2 * m > size + count:
                padded = f" ({size} and {count} of padding)" if count else ""
                raise ShapeError(
                    f"{self.who}: modes={m} on axis {axis} need at least {2 * m} grid points, got "
                    f"{size + count}{padded}. Use modes of at most {(size + count) // 2} there, or a finer "
                    "grid."
                )


def check_queries(who: str, batch: int, rank: int, queries: Tensor) -> None:
    """Refuse points at which outputs are asked for, if they are not (batch, query, rank).

    Raises
    ------
    ShapeError
        With both shapes.
    """
    if queries.ndim != 3 or queries.shape[0] != batch or queries.shape[2] != rank:
        got = tuple(queries.shape)
        raise ShapeError(f"{who}: queries must have shape ({batch}, query, {rank}), got {got}.")


def per_axis(who: str, name: str, value: Number | Sequence[Number], rank: int) -> tuple[Number, ...]:
    """One number as a tuple with one for each axis.

    Raises
    ------
    ConfigError
        If a sequence has another length.

    Examples
    --------
    >>> per_axis("Mine", "modes", 8, rank=3)
    (8, 8, 8)
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,) * rank
    if len(values) != rank:
        raise ConfigError(f"{who}: {name} must be one number or one per axis ({rank}), got {values}.")
    return values


def modes_per_axis(who: str, modes: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """`per_axis`, of numbers of modes.

    Raises
    ------
    ConfigError
        If one is not whole or below 1.
    """
    counts: tuple[int, ...] = per_axis(who, "modes", modes, rank)
    if not all(isinstance(m, int) and m >= 1 for m in counts):
        raise ConfigError(f"{who}: modes must be whole and at least 1 on every axis, got {counts}.")
    return counts


def check_counts(who: str, counts: Mapping[str, int]) -> None:
    """Refuse counts below one.

    Raises
    ------
    ConfigError
        Naming the first.
    """
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{who}: {name} must be at least 1, got {count}.")


def _part(p: int, q: int, size: int) -> int:
    """``max(1, round(p / q * size))`` in whole numbers, so that a size may be symbolic in a trace."""
    odd = p * size // q % 2  # a half goes up to the even number from an odd one only
    found: int = torch.sym_max(1, (2 * p * size + q - 1 + odd) // (2 * q))
    return found
