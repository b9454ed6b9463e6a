"""Where values live: axes and their tensor products, with units and quadrature."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sciml.description import describable
from sciml.errors import DataError, ShapeError, nearest

Location = Literal["node", "cell", "left"]
Float = NDArray[np.float64]


@describable
@dataclass(frozen=True)
class Axis:
    """Uniform points on the interval [lower, upper].

    Four conventions, and the difference between them is a classical source of O(h) errors:

    ==================  =====================================  ==========================
    location, periodic  points, i = 0 .. size - 1              spacing h
    ==================  =====================================  ==========================
    node, bounded       lower + i h, both ends included        (upper - lower)/(size - 1)
    node, periodic      lower + i h, right end left out        (upper - lower)/size
    cell                lower + (i + 1/2) h, cell centers      (upper - lower)/size
    left, bounded       lower + i h, left ends of cells        (upper - lower)/size
    ==================  =====================================  ==========================

    "left" is what strided slicing of a node grid leaves, ``x[::26][:16]`` of 421 nodes: the left edge is on
    the boundary and the right one is not, and every 13th node on the same interval is the same grid, refined.

    Raises
    ------
    ShapeError
        If there are too few points, or ``upper`` does not exceed ``lower``.

    Examples
    --------
    >>> Axis("x", 0.0, 1.0, 4).coordinates.tolist()
    [0.125, 0.375, 0.625, 0.875]
    >>> Axis("x", 0.0, 1.0, 3, location="node").coordinates.tolist()
    [0.0, 0.5, 1.0]
    """

    name: str
    lower: float
    upper: float
    size: int
    location: Location = "cell"
    periodic: bool = False
    units: str = "1"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper):
            raise ShapeError(
                f"Axis {self.name!r}: needs finite lower < upper, got {self.lower} and {self.upper}."
            )
        if self.location not in ("node", "cell", "left"):
            raise ShapeError(
                f"Axis {self.name!r}: location is 'node', 'cell' or 'left', got {self.location!r}."
            )
        if self.location == "left" and self.periodic:
            raise ShapeError(f"Axis {self.name!r}: periodic nodes are location='node', not 'left'.")
        least = 2 if self.location == "node" and not self.periodic else 1
        if self.size < least:
            raise ShapeError(
                f"Axis {self.name!r}: a {self.location} axis needs at least {least} points, got {self.size}."
            )

    @property
    def kind(self) -> str:
        """What the points are, for people: "nodes", "cells" or "left ends"."""
        return "left ends" if self.location == "left" else f"{self.location}s"

    @property
    def spacing(self) -> float:
        """Distance of neighboring points, in ``units``."""
        intervals = self.size - 1 if self.location == "node" and not self.periodic else self.size
        return (self.upper - self.lower) / intervals

    @property
    def coordinates(self) -> Float:
        """The points, (size,), float64, in ``units``."""
        offset = 0.5 if self.location == "cell" else 0.0
        points: Float = self.lower + (np.arange(self.size, dtype=np.float64) + offset) * self.spacing
        return points

    @property
    def weights(self) -> Float:
        """Quadrature weights, (size,), that sum to the length: trapezoid at bounded nodes, else h each.

        That is the midpoint rule for cells, exact to rounding for smooth periodic functions, and only of
        first order for "left".
        """
        weights = np.full(self.size, self.spacing, dtype=np.float64)
        if self.location == "node" and not self.periodic:
            weights[[0, -1]] *= 0.5
        return weights

    def with_size(self, size: int) -> Axis:
        """The same interval with another number of points."""
        return dataclasses.replace(self, size=size)

    @classmethod
    def from_coordinates(
        cls,
        name: str,
        values: Float,
        *,
        location: Location = "node",
        periodic: bool = False,
        units: str = "1",
    ) -> Axis:
        """The axis whose points are ``values``, (size,), uniform and increasing.

        ``location`` and ``periodic`` cannot be read off the points, so the caller states them.

        Raises
        ------
        DataError
            If the values do not increase, or their spacing varies by more than 1e-5 of itself (float32
            coordinates stay below 1e-6 on a unit interval with a thousand points).
        """
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 1 or values.size < 2:
            raise DataError(
                f"axis {name!r}: needs a vector of at least two points, got shape {values.shape}."
            )
        steps = np.diff(values)
        spacing = float((values[-1] - values[0]) / (values.size - 1))
        if (
            not np.all(np.isfinite(values))
            or spacing <= 0
            or np.max(np.abs(steps - spacing)) > 1e-5 * spacing
        ):
            raise DataError(
                f"axis {name!r}: points must increase with one spacing, got steps from {steps.min():g} "
                f"to {steps.max():g}. Non-uniform points belong to a point cloud, not to a Grid."
            )
        if location == "cell":
            lower, upper = values[0] - spacing / 2, values[-1] + spacing / 2
        else:
            lower, upper = values[0], values[-1] + (spacing if periodic or location == "left" else 0.0)
        return cls(name, float(lower), float(upper), int(values.size), location, periodic, units)


@describable
@dataclass(frozen=True)
class Grid:
    """The tensor product of axes, x first (``indexing="ij"``).

    Examples
    --------
    >>> grid = Grid.box((4, 2), upper=(1.0, 2.0))
    >>> grid.shape, grid.names
    ((4, 2), ('x', 'y'))
    >>> float(grid.weights().sum())
    2.0
    """

    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        if not self.axes or len(set(self.names)) != len(self.axes):
            raise ShapeError(f"Grid: needs axes with distinct names, got {self.names}.")

    @classmethod
    def box(
        cls,
        shape: Sequence[int],
        *,
        lower: float | Sequence[float] = 0.0,
        upper: float | Sequence[float] = 1.0,
        location: Location = "cell",
        periodic: bool | Sequence[bool] = False,
        names: Sequence[str] = ("x", "y", "z"),
        units: str = "1",
    ) -> Grid:
        """A box; a single number or truth value holds for every axis."""
        rank = len(shape)
        if rank > len(names):
            raise ShapeError(f"Grid.box: {rank} axes need as many names, got {tuple(names)}.")
        lowers = [float(lower)] * rank if isinstance(lower, int | float) else [float(v) for v in lower]
        uppers = [float(upper)] * rank if isinstance(upper, int | float) else [float(v) for v in upper]
        wraps = [periodic] * rank if isinstance(periodic, bool) else list(periodic)
        if not len(lowers) == len(uppers) == len(wraps) == rank:
            raise ShapeError(f"Grid.box: shape {tuple(shape)} needs {rank} values of lower, upper, periodic.")
        return cls(
            tuple(
                Axis(names[i], lowers[i], uppers[i], int(shape[i]), location, wraps[i], units)
                for i in range(rank)
            )
        )

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along each axis."""
        return tuple(axis.size for axis in self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        """The axes' names, in order."""
        return tuple(axis.name for axis in self.axes)

    def axis(self, name: str) -> Axis:
        """The axis of that name."""
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise KeyError(f"Grid has axes {self.names}, not {name!r}.{nearest(name, self.names)}")

    def with_shape(self, shape: Sequence[int]) -> Grid:
        """The same domain at another resolution."""
        if len(shape) != self.rank:
            raise ShapeError(f"Grid.with_shape: the grid has {self.rank} axes, got shape {tuple(shape)}.")
        return Grid(tuple(axis.with_size(int(n)) for axis, n in zip(self.axes, shape, strict=True)))

    def coordinates(self) -> Float:
        """Physical coordinates, (rank, *shape), float64."""
        return np.stack(np.meshgrid(*(axis.coordinates for axis in self.axes), indexing="ij"))

    def unit_coordinates(self) -> Float:
        """Coordinates in a domain scaled to the unit box, (rank, *shape), float64: operators receive them."""
        scaled = [(axis.coordinates - axis.lower) / (axis.upper - axis.lower) for axis in self.axes]
        return np.stack(np.meshgrid(*scaled, indexing="ij"))

    def weights(self) -> Float:
        """Quadrature weights, (*shape); they sum to the volume of the domain."""
        weights = np.ones(())
        for axis in self.axes:
            weights = np.multiply.outer(weights, axis.weights)
        return weights

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text, for JSON."""
        return {"axes": [dataclasses.asdict(axis) for axis in self.axes]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Grid:
        """The inverse of `to_dict`."""
        return cls(tuple(Axis(**axis) for axis in data["axes"]))
