"""Which points are neighbors: within a radius, the k nearest, or joined by an edge of a mesh.

A list of neighbors is (edge, 2) int64: row (i, j) says that point i receives from point j.  Rows are sorted
by i, then j; no point is its own neighbor.  `sciml.padding.padded` with ``fill=-1`` puts the lists of several
samples side by side, which is what a model gets as ``neighbors``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.description import describable
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.mesh import Mesh, Points

Edges = NDArray[np.int64]
Period = Sequence[float | None]


def within(
    points: ArrayLike,
    radius: float,
    queries: ArrayLike | None = None,
    *,
    period: Period | None = None,
    most: int | None = None,
) -> Edges:
    """All neighbors at a distance of at most ``radius``: (edge, 2).

    Parameters
    ----------
    points : (point, dim)
    radius : float
        In the units of the points.
    queries : (query, dim), optional
        The points that receive, if they are not ``points``; then a query may coincide with its neighbor.
    period : sequence, optional
        For each axis the length after which it repeats, or None.
    most : int, optional
        Keep only so many for each receiving point, the nearest ones.  If that leaves out any, a warning says
        how many: the operator is another one then.

    Raises
    ------
    ConfigError
        For a radius or a number that is not positive, or a period below twice the radius.
    ShapeError
        If the points are not (point, dim).

    Examples
    --------
    >>> within([[0.0], [0.4], [1.0]], 0.5).tolist()
    [[0, 1], [1, 0]]
    >>> within([[0.0], [0.4], [0.9]], 0.2, period=[1.0]).tolist()
    [[0, 2], [2, 0]]
    """
    if not radius > 0 or (most is not None and most < 1):
        raise ConfigError(f"within: needs a positive radius and most >= 1, got {radius} and {most}.")
    if period is not None and any(length is not None and length < 2 * radius for length in period):
        raise ConfigError(f"within: the radius {radius} exceeds half of a period of {tuple(period)}.")
    receiving, tree, own = _trees("within", points, queries, period)
    found = receiving.sparse_distance_matrix(tree, radius, output_type="ndarray")
    i, j, distance = (found[name] for name in ("i", "j", "v"))
    keep = i != j if own else np.ones(len(i), dtype=bool)
    i, j, distance = i[keep], j[keep], distance[keep]
    if most is not None:
        order = np.lexsort((j, distance, i))
        i, j = i[order], j[order]
        rank = np.arange(len(i)) - np.searchsorted(i, i)
        if (rank >= most).any():
            warnings.warn(
                f"within: {int((rank >= most).sum())} of {len(i)} neighbors within {radius:g} were left out, "
                f"since at most {most} are kept for each point.",
                RuntimeWarning,
                stacklevel=2,
            )
        i, j = i[rank < most], j[rank < most]
    return _sorted(i, j)


def nearest(
    points: ArrayLike, count: int, queries: ArrayLike | None = None, *, period: Period | None = None
) -> Edges:
    """The ``count`` nearest neighbors of every point, or all others where there are fewer: (edge, 2).

    Not symmetric: a far point has neighbors that do not have it.

    Parameters
    ----------
    points, queries, period
        As in `within`.
    count : int

    Raises
    ------
    ConfigError
        If ``count`` is not positive.
    ShapeError
        If the points are not (point, dim).

    Examples
    --------
    >>> nearest([[0.0], [0.4], [1.0]], 1).tolist()
    [[0, 1], [1, 0], [2, 1]]
    """
    if count < 1:
        raise ConfigError(f"nearest: count must be at least 1, got {count}.")
    receiving, tree, own = _trees("nearest", points, queries, period)
    wanted = min(count + own, tree.n)
    j = np.reshape(tree.query(receiving.data, k=wanted)[1], (receiving.n, wanted))
    i = np.broadcast_to(np.arange(receiving.n)[:, None], j.shape)
    keep = np.ones(j.shape, dtype=bool)
    if own:
        # A point is its own nearest one, unless enough others coincide with it: then the last one is dropped.
        keep = i != j
        keep[keep.all(axis=1), -1] = False
    return _sorted(i[keep], j[keep])


def _trees(
    who: str, points: ArrayLike, queries: ArrayLike | None, period: Period | None
) -> tuple[Any, Any, bool]:
    """The trees of the receiving and the giving points, and whether they are the same points."""
    from scipy.spatial import cKDTree

    arrays = [np.array(points, dtype=np.float64)]
    arrays += [] if queries is None else [np.array(queries, dtype=np.float64)]
    dim = arrays[0].shape[-1]
    if any(a.ndim != 2 or a.shape[1] != dim or not a.size for a in arrays) or (
        period is not None and len(period) != dim
    ):
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise ShapeError(
            f"{who}: points must have shape (point, dim), with a period for each axis; got {shapes}."
        )
    if not all(np.isfinite(a).all() for a in arrays):
        raise DataError(f"{who}: a coordinate is not finite.")
    box = None
    if period is not None:
        box = np.array([0.0 if length is None else length for length in period])
        wrapped = box > 0
        for array in arrays:
            # The remainder of a tiny negative number is the period itself, which the tree refuses.
            rest = np.mod(array[:, wrapped], box[wrapped])
            array[:, wrapped] = np.where(rest == box[wrapped], 0.0, rest)
    trees = [cKDTree(array, boxsize=box) for array in arrays]
    return trees[-1], trees[0], queries is None


def _sorted(i: NDArray[Any], j: NDArray[Any]) -> Edges:
    order = np.lexsort((j, i))
    return np.stack([i[order], j[order]], axis=1).astype(np.int64)


class Neighborhood(Protocol):
    """A rule that says which points of a sample are neighbors, in the units of the file."""

    def __call__(self, points: Points) -> Edges:
        """The neighbors in one sample, (edge, 2)."""


@describable
@dataclass(frozen=True)
class Radius:
    """All points within ``radius``: see `within`."""

    radius: float
    most: int | None = None
    period: tuple[float | None, ...] | None = None

    def __call__(self, points: Points) -> Edges:
        return within(points.coordinates, self.radius, period=self.period, most=self.most)


@describable
@dataclass(frozen=True)
class Nearest:
    """The ``count`` nearest points: see `nearest`."""

    count: int
    period: tuple[float | None, ...] | None = None

    def __call__(self, points: Points) -> Edges:
        return nearest(points.coordinates, self.count, period=self.period)


@describable
@dataclass(frozen=True)
class CellEdges:
    """The points that an edge of a cell joins, in both directions.

    Raises
    ------
    ConfigError
        When called with points without cells.
    """

    def __call__(self, points: Points) -> Edges:
        if not isinstance(points, Mesh):
            raise ConfigError("CellEdges: points have no cells; use Radius or Nearest.")
        once = points.edges()
        both = np.concatenate([once, once[:, ::-1]])
        return _sorted(both[:, 0], both[:, 1])
