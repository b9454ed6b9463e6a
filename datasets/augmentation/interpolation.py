"""Values of fields between the points of their grid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Literal, get_args

import torch
from torch import Tensor

from sciml.errors import ConfigError, ShapeError
from sciml.grid import Axis, Grid

Interpolation = Literal["linear", "cubic", "quintic"]
DEGREES: dict[str, int] = {"linear": 1, "cubic": 3, "quintic": 5}

# A place closer than this to a point of the grid, in spacings, is that point: rounding of coordinates.
_SAME = 1e-9


def interpolate(values: Tensor, grid: Grid, places: Tensor, kind: Interpolation = "cubic") -> Tensor:
    r"""Piecewise Lagrange interpolation on a uniform grid: order 2, 4 or 6 for smooth fields.

    Along each axis the polynomial through the 2, 4 or 6 points around a place; near an end of a bounded axis
    the stencil is shifted inwards, and up to the ends of the outermost cells the polynomial is continued.
    Around a periodic axis it wraps.  Points of the grid keep their values, exactly.

    Parameters
    ----------
    values : (batch, channel, *grid.shape)
    grid : Grid
    places : (batch, d, *shape)
        Coordinates in the units of the grid.
    kind : "linear", "cubic" or "quintic"
        Fields with jumps want "linear", which never leaves the range of the data; the others overshoot.

    Returns
    -------
    (batch, channel, *shape)

    Raises
    ------
    ConfigError
        For another kind.
    ShapeError
        If an axis has fewer points than the polynomial needs.

    Examples
    --------
    >>> grid = Grid.box((5,), location="node")
    >>> x = torch.from_numpy(grid.coordinates())[None]
    >>> cube = interpolate(x**3, grid, torch.full((1, 1, 1), 0.3, dtype=torch.float64))
    >>> round(cube.item(), 14)  # exact for cubics
    0.027
    """
    if kind not in get_args(Interpolation):
        raise ConfigError(f"interpolate: kind is one of {get_args(Interpolation)}, got {kind!r}.")
    count = DEGREES[kind] + 1
    if min(grid.shape) < count:
        raise ShapeError(f"interpolate: {kind} needs {count} points on every axis, got a grid {grid.shape}.")
    stencils = [_stencil(axis, places[:, i], count) for i, axis in enumerate(grid.axes)]
    flat, total = values.flatten(2), None
    channels = values.shape[1]
    for corner in product(range(count), repeat=grid.rank):
        index, weight = torch.zeros_like(stencils[0][0][0]), None
        for i, j in enumerate(corner):
            index = index * grid.shape[i] + stencils[i][0][j]
            weight = stencils[i][1][j] if weight is None else weight * stencils[i][1][j]
        assert weight is not None
        found = flat.gather(2, index.flatten(1)[:, None].expand(-1, channels, -1))
        term = weight.to(values.dtype).flatten(1)[:, None] * found
        total = term if total is None else total + term
    assert total is not None
    return total.reshape(*values.shape[:2], *places.shape[2:])


def _stencil(axis: Axis, places: Tensor, count: int) -> tuple[list[Tensor], list[Tensor]]:
    """Positions along an axis and Lagrange weights of the ``count`` points for each place."""
    s = (places.double() - float(axis.coordinates[0])) / axis.spacing
    near = s.round()
    s = torch.where((s - near).abs() < _SAME, near, s)
    start = s.floor().long() - (count // 2 - 1)
    if not axis.periodic:
        start = start.clamp(0, axis.size - count)
    t = s - start
    index = [start + j for j in range(count)]
    return [i % axis.size for i in index] if axis.periodic else index, list(_weights(t, count))


def _weights(t: Tensor, count: int) -> Iterator[Tensor]:
    """The Lagrange polynomials of the points 0 .. count - 1 at t."""
    for j in range(count):
        others = [m for m in range(count) if m != j]
        weight = torch.ones_like(t)
        for m in others:
            weight = weight * (t - m)
        yield weight / math.prod(j - m for m in others)
