"""Where values live that lie on no grid: points, meshes, and functions known at points of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.cells import CELLS, POLYGON, Cell, cell, measures
from sciml.errors import DataError, ShapeError, nearest

Float = NDArray[np.float64]
Integers = NDArray[np.int64]

AXES = ("x", "y", "z")


class PointSet(NamedTuple):
    """A function known at points: what a model receives in ``functions``, and what a dataset is written from.

    Attributes
    ----------
    values : (batch, point, channel), or without batch
        Tensors for a model; arrays when writing, where one channel may be without its axis.
    coordinates : (batch, point, dim), or without batch
        For a model the function's own domain is scaled to the unit box.
    mask : (batch, point) bool, optional
        True at points, False at padding.
    """

    values: Any
    coordinates: Any
    mask: Any = None


@dataclass(frozen=True, eq=False)
class Points:
    """The points at which the values of one sample are known, in no particular order.

    Parameters
    ----------
    coordinates : (point, dim)
        Kept in float64.
    names : sequence of str, optional
        Of the axes; by default x, y, z.
    units : str
        Of the coordinates.

    Raises
    ------
    ShapeError
        If the coordinates are not (point, dim), or the names are not as many.
    DataError
        If a coordinate is not finite.

    Examples
    --------
    >>> points = Points([[0.0, 0.0], [2.0, 1.0]], units="m")
    >>> len(points), points.names
    (2, ('x', 'y'))
    """

    coordinates: Float
    names: tuple[str, ...] = ()
    units: str = "1"

    def __post_init__(self) -> None:
        who = type(self).__name__
        array = np.array(self.coordinates, dtype=np.float64)
        if array.ndim != 2 or 0 in array.shape:
            raise ShapeError(f"{who}: coordinates must have shape (point, dim), got {array.shape}.")
        if not np.isfinite(array).all():
            first = int(np.argwhere(~np.isfinite(array))[0, 0])
            raise DataError(f"{who}: point {first} is {array[first].tolist()}, not finite.")
        names = tuple(self.names) or AXES[: array.shape[1]]
        if len(names) != array.shape[1] or len(set(names)) != len(names):
            raise ShapeError(
                f"{who}: coordinates {array.shape} need {array.shape[1]} distinct names of axes, got {names}."
            )
        object.__setattr__(self, "coordinates", array)
        object.__setattr__(self, "names", names)

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def dim(self) -> int:
        """The number of axes."""
        return int(self.coordinates.shape[1])


@dataclass(frozen=True, eq=False)
class Mesh(Points):
    """Points and the cells between them: the mesh of one sample.

    Parameters
    ----------
    coordinates, names, units
        As for `Points`.
    cells : mapping or sequence of (type, (cell, corner) integers)
        Blocks, numbered on in this order; types and the order of corners are meshio's ("triangle", "quad",
        "tetra", "line", ..., "polygon").  Blocks of lower dimension, such as the lines of a boundary, are
        allowed.
    boundary : (point,) integers, optional
        For each point the position in ``boundary_names``.
    boundary_names : sequence of str
        The first one for points inside.

    Raises
    ------
    ShapeError, DataError
        As `Points`; for an unknown type, or a corner that is not a point.

    Examples
    --------
    >>> square = Mesh([[0, 0], [1, 0], [1, 1], [0, 1]], cells={"triangle": [[0, 1, 2], [0, 2, 3]]})
    >>> square.measures().tolist(), round(float(square.weights().sum()), 12)
    ([0.5, 0.5], 1.0)
    """

    cells: tuple[tuple[str, Integers], ...] = ()
    boundary: Integers | None = None
    boundary_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        given: Any = self.cells.items() if isinstance(self.cells, Mapping) else self.cells
        blocks = tuple((str(kind), _connectivity(str(kind), array, len(self))) for kind, array in given)
        if not blocks:
            raise DataError("Mesh: needs cells, such as {'triangle': [[0, 1, 2]]}; points alone are Points.")
        object.__setattr__(self, "cells", blocks)
        object.__setattr__(self, "boundary_names", tuple(self.boundary_names))
        bad = [name for name in self.boundary_names if not name or name.split() != [name]]
        if bad or len(set(self.boundary_names)) != len(self.boundary_names):
            raise DataError(
                f"Mesh: boundary_names are distinct words without spaces, got {self.boundary_names}."
            )
        if self.boundary is None:
            return
        tags = np.array(self.boundary)
        if tags.shape != (len(self),) or tags.dtype.kind not in "iub":
            raise ShapeError(f"Mesh: boundary needs one integer for each of {len(self)} points.")
        if tags.min() < 0 or tags.max() >= len(self.boundary_names):
            raise DataError(
                f"Mesh: boundary has values {tags.min()} to {tags.max()}, which are positions in "
                f"boundary_names {self.boundary_names}, such as ('interior', 'wall')."
            )
        object.__setattr__(self, "boundary", tags.astype(np.int64))

    @property
    def cell_count(self) -> int:
        """How many cells there are in all blocks."""
        return sum(len(array) for _, array in self.cells)

    @property
    def cell_dimension(self) -> int:
        """The highest dimension of a cell: 2 for surfaces and plane meshes, 3 for volumes."""
        return max(shape.dimension for shape, _ in self.blocks())

    def blocks(self) -> Iterator[tuple[Cell, Integers]]:
        """Shape and connectivity (cell, points) of each block."""
        for kind, array in self.cells:
            yield cell(kind, array.shape[1]), array

    def centers(self) -> Float:
        """The mean of each cell's corners, (cell, dim)."""
        parts = [self.coordinates[array[:, : shape.corners]].mean(axis=1) for shape, array in self.blocks()]
        return np.concatenate(parts)

    def measures(self) -> Float:
        """Length, area or volume of each cell, (cell,), positive whatever the orientation.

        Cells of higher order count with straight edges between their corners.
        """
        return np.concatenate([measures(shape, self.coordinates[array]) for shape, array in self.blocks()])

    def weights(self) -> Float:
        """Quadrature weights of the points, (point,): each cell of the highest dimension gives its measure to
        its corners, in equal parts.

        On triangles and tetrahedra this is the lumped mass matrix of linear elements: of second order.
        """
        found = np.zeros(len(self))
        for shape, array in self.blocks():
            if shape.dimension == self.cell_dimension:
                share = measures(shape, self.coordinates[array]) / shape.corners
                np.add.at(found, array[:, : shape.corners], share[:, None])
        return found

    def on(self, boundary: str) -> NDArray[np.bool_]:
        """Which points lie on a boundary, (point,).

        Raises
        ------
        DataError
            If the mesh has no boundary of this name.

        Examples
        --------
        >>> line = Mesh([[0.0], [1.0]], ("x",), cells={"line": [[0, 1]]}, boundary=[0, 1],
        ...     boundary_names=("inside", "end"))
        >>> line.on("end")
        array([False,  True])
        """
        if self.boundary is None or boundary not in self.boundary_names:
            raise DataError(f"Mesh: there is no boundary {boundary!r}, only {self.boundary_names}.")
        return np.asarray(np.equal(self.boundary, self.boundary_names.index(boundary)))

    def edges(self) -> Integers:
        """Pairs of points that the edge of a cell joins, each once, the smaller number first: (edge, 2)."""
        pairs = [
            array[:, np.array(shape.edges)].reshape(-1, 2) for shape, array in self.blocks() if shape.edges
        ]
        every = np.concatenate([*pairs, np.empty((0, 2), np.int64)])
        return np.unique(np.sort(every, axis=1), axis=0)


def _connectivity(kind: str, given: ArrayLike, points: int) -> Integers:
    if kind not in CELLS and kind != POLYGON:
        raise DataError(
            f"Mesh: cells of type {kind!r} are not known, only {', '.join((*CELLS, POLYGON))}."
            f"{nearest(kind, CELLS)}"
        )
    array = np.asarray(given)
    expected = CELLS[kind].points if kind in CELLS else max(array.shape[-1], 3) if array.ndim else 3
    if array.ndim != 2 or array.dtype.kind not in "iu" or array.shape[1] != expected:
        raise ShapeError(
            f"Mesh: cells of type {kind!r} are integers of shape (cell, {expected}), got {array.dtype} "
            f"{array.shape}."
        )
    if array.size and (array.min() < 0 or array.max() >= points):
        raise DataError(
            f"Mesh: the cells of type {kind!r} name points {array.min()} to {array.max()}, but there are "
            f"{points}, numbered from 0."
        )
    return array.astype(np.int64)


@dataclass(frozen=True)
class Space:
    """The box around all points of a dataset: names, units and bounds of the axes.

    Parameters
    ----------
    names : tuple of str
    lower, upper : tuple of float
        In ``units``.
    units : str
    boundary_names : tuple of str
        What the numbers in the meshes' ``boundary`` mean.
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    units: str = "1"
    boundary_names: tuple[str, ...] = ()

    @classmethod
    def around(cls, clouds: Sequence[Points]) -> Space:
        """The box around these points or meshes, which must have the same axes.

        Raises
        ------
        DataError
            Naming the first one that differs.
        """
        first = clouds[0]
        tags = boundary_names_of(first)
        for i, cloud in enumerate(clouds):
            told = (cloud.names, cloud.units, boundary_names_of(cloud), type(cloud))
            if told != (first.names, first.units, tags, type(first)):
                raise DataError(
                    f"sample {i} is a {type(cloud).__name__} with axes {cloud.names} in {cloud.units!r} and "
                    f"boundary_names {boundary_names_of(cloud)}; sample 0 is a {type(first).__name__} with "
                    f"{first.names} in {first.units!r} and {tags}. All samples must agree."
                )
        lower = np.min([cloud.coordinates.min(axis=0) for cloud in clouds], axis=0)
        upper = np.max([cloud.coordinates.max(axis=0) for cloud in clouds], axis=0)
        return cls(first.names, tuple(lower.tolist()), tuple(upper.tolist()), first.units, tags)

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.names)

    def unit(self, coordinates: NDArray[Any]) -> Float:
        """Coordinates (..., rank) with the box scaled to the unit box; a flat axis is only shifted."""
        extent = np.subtract(self.upper, self.lower)
        return np.asarray((coordinates - np.array(self.lower)) / np.where(extent > 0, extent, 1.0))


def boundary_names_of(cloud: Points) -> tuple[str, ...]:
    """The names of a mesh's boundaries; none for points, and for a mesh without tags."""
    return cloud.boundary_names if isinstance(cloud, Mesh) and cloud.boundary is not None else ()
