"""Types of cells, named and numbered as meshio does: corners, edges, facets, and their measure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Integers = NDArray[np.int64]
Pairs = tuple[tuple[int, ...], ...]

POLYGON = "polygon"  # any number of corners, the same within a block


@dataclass(frozen=True)
class Cell:
    """One type of cell.

    Parameters
    ----------
    dimension : int
    points : int
        Including those on edges and inside.
    corners : int
        They come first.
    edges : pairs of corners
    facets : tuples of corners
        Of the boundary, one dimension lower; turning around a polygon.
    simplices : tuples of corners
        Whose measures add up to that of the cell.
    """

    dimension: int
    points: int
    corners: int
    edges: Pairs
    facets: Pairs
    simplices: Pairs


def _ring(count: int) -> Pairs:
    return tuple((i, (i + 1) % count) for i in range(count))


def _fan(count: int) -> Pairs:
    return tuple((0, i, i + 1) for i in range(1, count - 1))


_VERTEX = Cell(0, 1, 1, (), (), ((0,),))
_LINE = Cell(1, 2, 2, ((0, 1),), ((0,), (1,)), ((0, 1),))
_TRIANGLE = Cell(2, 3, 3, _ring(3), _ring(3), _fan(3))
_QUAD = Cell(2, 4, 4, _ring(4), _ring(4), _fan(4))
_TETRA = Cell(
    3,
    4,
    4,
    ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)),
    ((0, 2, 1), (0, 1, 3), (1, 2, 3), (2, 0, 3)),
    ((0, 1, 2, 3),),
)
_PYRAMID = Cell(
    3,
    5,
    5,
    (*_ring(4), (0, 4), (1, 4), (2, 4), (3, 4)),
    ((0, 3, 2, 1), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),
    ((0, 1, 2, 4), (0, 2, 3, 4)),
)
_WEDGE = Cell(
    3,
    6,
    6,
    (*_ring(3), (3, 4), (4, 5), (5, 3), (0, 3), (1, 4), (2, 5)),
    ((0, 2, 1), (3, 4, 5), (0, 1, 4, 3), (1, 2, 5, 4), (2, 0, 3, 5)),
    ((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)),
)
_HEXAHEDRON = Cell(
    3,
    8,
    8,
    (*_ring(4), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)),
    ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)),
    ((0, 1, 3, 4), (1, 2, 3, 6), (1, 4, 5, 6), (3, 4, 6, 7), (1, 3, 4, 6)),
)


def _with_points(cell: Cell, points: int) -> Cell:
    """The same cell with further points on its edges, faces or inside."""
    return Cell(cell.dimension, points, cell.corners, cell.edges, cell.facets, cell.simplices)


CELLS: dict[str, Cell] = {
    "vertex": _VERTEX,
    "line": _LINE,
    "line3": _with_points(_LINE, 3),
    "triangle": _TRIANGLE,
    "triangle6": _with_points(_TRIANGLE, 6),
    "triangle7": _with_points(_TRIANGLE, 7),
    "quad": _QUAD,
    "quad8": _with_points(_QUAD, 8),
    "quad9": _with_points(_QUAD, 9),
    "tetra": _TETRA,
    "tetra10": _with_points(_TETRA, 10),
    "pyramid": _PYRAMID,
    "pyramid13": _with_points(_PYRAMID, 13),
    "pyramid14": _with_points(_PYRAMID, 14),
    "wedge": _WEDGE,
    "wedge15": _with_points(_WEDGE, 15),
    "wedge18": _with_points(_WEDGE, 18),
    "hexahedron": _HEXAHEDRON,
    "hexahedron20": _with_points(_HEXAHEDRON, 20),
    "hexahedron27": _with_points(_HEXAHEDRON, 27),
}


def cell(kind: str, points: int) -> Cell:
    """The type of that name; of a polygon the one with this many corners."""
    if kind == POLYGON:
        return Cell(2, points, points, _ring(points), _ring(points), _fan(points))
    return CELLS[kind]


def measures(shape: Cell, corners: Float) -> Float:
    """Length, area or volume, (cell,), of straight-sided cells with these points, (cell, point, dim).

    The simplices of a plane polygon keep their signs, so that polygons need not be convex.

    Examples
    --------
    >>> corners = np.array([[[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]]])
    >>> measures(CELLS["quad"], corners).tolist()
    [2.0]
    """
    dim = corners.shape[2]
    if shape.dimension == 0:
        return np.ones(len(corners))
    total = np.zeros(len(corners))
    for simplex in shape.simplices:
        first = corners[:, simplex[0]]
        sides = np.stack([corners[:, i] - first for i in simplex[1:]], axis=1)
        if shape.dimension == dim and dim == 2:
            total += np.linalg.det(sides) / 2
        elif shape.dimension == dim:
            total += np.abs(np.linalg.det(sides)) / math.factorial(dim)
        else:
            gram = np.einsum("nid,njd->nij", sides, sides)
            total += np.sqrt(np.maximum(np.linalg.det(gram), 0.0)) / math.factorial(shape.dimension)
    return np.abs(total)
