"""Plane regions with straight edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.domain import Geometry

_CHUNK = 2**20  # pairs of points and edges that are looked at together


@describable
@dataclass(frozen=True)
class Polygon(Geometry):
    """A plane region with straight edges that do not cross, convex or not.

    Edge i runs from vertex i to the next one and is the face ``str(i)``, or whatever ``names`` call it.

    Parameters
    ----------
    vertices : tuple of (x, y)
        At least three, in either direction around.
    names : tuple of str, optional
        One for each edge; edges of one name are one face.

    Raises
    ------
    ConfigError
        If there are too few vertices, edges cross, or names are not as many.

    Examples
    --------
    >>> shape = Polygon(((0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (1.0, 1.0), (1.0, 2.0), (0.0, 2.0)))
    >>> shape.contains(torch.tensor([[0.5, 1.5], [1.5, 1.5]])).tolist(), shape.area("0")
    ([True, False], 2.0)
    """

    vertices: tuple[tuple[float, float], ...]
    names: tuple[str, ...] | None = None

    rejects = True
    dim = 2
    units = (2, 1)

    def __post_init__(self) -> None:
        corners = self.vertices
        if len(corners) < 3 or any(len(v) != 2 or not math.isfinite(sum(v)) for v in corners):
            raise ConfigError(f"Polygon: needs at least three vertices (x, y), got {corners}.")
        if self.names is not None and len(self.names) != len(corners):
            raise ConfigError(f"Polygon: has {len(corners)} edges, but names are {self.names}.")
        if (pair := _crossing(corners)) is not None:
            raise ConfigError(f"Polygon: its edges {pair[0]} and {pair[1]} meet; edges must not.")

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        return tuple((min(axis), max(axis)) for axis in zip(*self.vertices, strict=True))

    @property
    def edge_names(self) -> tuple[str, ...]:
        """The face of each edge."""
        return self.names or tuple(str(i) for i in range(len(self.vertices)))

    @property
    def faces(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.edge_names))

    def boundary(self, unit: Tensor, faces: Sequence[str]) -> tuple[Tensor, Tensor]:
        start, end = self.edges(unit, faces)
        along = end - start
        length: Tensor = torch.linalg.vector_norm(along, dim=1)
        ends = length.cumsum(0)
        place = unit[:, 0] * ends[-1]
        edge = torch.searchsorted(ends, place.contiguous(), right=True).clamp(max=len(ends) - 1)
        share = (1 - (ends[edge] - place) / length[edge]).clamp(0, 1)[:, None]
        return start[edge] + share * along[edge], -inward(along)[edge]

    def contains(self, x: Tensor) -> Tensor:
        start, end = self.edges(x)
        near = 1e-12 * self.size
        parts = []
        for part in x.split(max(1, _CHUNK // len(start))):
            distance, *_ = to_segments(part, start, end)
            parts.append(inside(part, start, end) | (distance <= near).any(1))
        return torch.cat(parts)

    def area(self, face: str) -> float:
        pairs = zip(self.edge_names, self._ends(), strict=True)
        return sum(math.dist(a, b) for name, (a, b) in pairs if name == face)

    def edges(self, like: Tensor, faces: Sequence[str] | None = None) -> tuple[Tensor, Tensor]:
        """Beginnings and ends of the edges of some faces, by default all, (edge, 2) each, the region on their
        left."""
        chosen = [
            ends
            for name, ends in zip(self.edge_names, self._ends(), strict=True)
            if faces is None or name in faces
        ]
        both = torch.tensor(chosen, dtype=like.dtype, device=like.device)
        return (both[:, 0], both[:, 1]) if _turns_left(self.vertices) else (both[:, 1], both[:, 0])

    def _ends(self) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        return list(zip(self.vertices, (*self.vertices[1:], self.vertices[0]), strict=True))


def inward(along: Tensor) -> Tensor:
    """Vectors of length one to the left of edges along (edge, 2)."""
    turned = torch.stack([-along[:, 1], along[:, 0]], dim=1)
    unit: Tensor = turned / torch.linalg.vector_norm(along, dim=1, keepdim=True)
    return unit


def inside(x: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Whether points (n, 2) are inside closed lines of edges (edge, 2), (n,): a ray to the right crosses an
    odd number of them.  Points on the edges may be either.

    x may be a jet; the answer depends on its value alone.
    """
    px, py = x[:, :1], x[:, 1:]
    above, below = start[:, 1] > py, end[:, 1] > py
    rise = torch.where(start[:, 1] == end[:, 1], 1.0, end[:, 1] - start[:, 1])
    crossing = (py - start[:, 1]) * ((end[:, 0] - start[:, 0]) / rise) + start[:, 0]
    hits = (above != below) & (px < crossing)
    return hits.sum(1) % 2 == 1


def to_segments(x: Tensor, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (n, edge) of points (n, 2) from segments (edge, 2), and where the nearest points lie, from 0
    at the start to 1 at the end."""
    along, away = end - start, x[:, None] - start
    share = ((away * along).sum(2) / along.square().sum(1)).clamp(0, 1)
    distance: Tensor = torch.linalg.vector_norm(away - share[:, :, None] * along, dim=2)
    return distance, share


def _turns_left(corners: Sequence[tuple[float, float]]) -> bool:
    """Whether the signed area is positive."""
    pairs = zip(corners, (*corners[1:], corners[0]), strict=True)
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairs) > 0


def _crossing(corners: Sequence[tuple[float, float]]) -> tuple[int, int] | None:
    """Two edges that have a point in common, and are not neighbors."""
    count = len(corners)
    ends = list(zip(corners, (*corners[1:], corners[0]), strict=True))
    for i in range(count):
        if ends[i][0] == ends[i][1]:
            return i, (i + 1) % count
        for j in range(i + 2, count - (i == 0)):
            if _meet(*ends[i], *ends[j]):
                return i, j
    return None


def _meet(
    a: tuple[float, float], b: tuple[float, float], c: tuple[float, float], d: tuple[float, float]
) -> bool:
    """Whether segments ab and cd have a point in common."""

    def turn(p: tuple[float, float], q: tuple[float, float], r: tuple[float, float]) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    sides = turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)
    if sides[0] * sides[1] < 0 and sides[2] * sides[3] < 0:
        return True
    boxed = [(a, b, c, sides[0]), (a, b, d, sides[1]), (c, d, a, sides[2]), (c, d, b, sides[3])]
    return any(
        side == 0 and all(min(p[i], q[i]) <= r[i] <= max(p[i], q[i]) for i in (0, 1))
        for p, q, r, side in boxed
    )
