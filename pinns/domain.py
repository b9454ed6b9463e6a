"""Where an equation holds: a geometry in space, with or without an interval of time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.sources import Random

Source = Callable[[int, int], Tensor]
"""``(n, k)`` to n points of the unit cube of k axes, float64 (n, k): random, quasi-random or on a grid."""


class Geometry(ABC):
    """A bounded region of space, as a map from points of a unit cube.

    So one source of points, random or of low discrepancy, serves every region.  A region that is no image of
    a cube maps onto a box around it and has ``rejects = True``; points that are not inside are drawn again.

    ``a | b``, ``a - b`` and ``a & b`` are the `Union`, `Difference` and `Intersection` of regions.
    """

    rejects: bool = False

    @property
    @abstractmethod
    def dim(self) -> int:
        """Coordinates of a point."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """A box around it, (lower, upper) for each coordinate."""

    @property
    @abstractmethod
    def units(self) -> tuple[int, int]:
        """Axes of the unit cubes from which interior and boundary points are made."""

    @property
    @abstractmethod
    def faces(self) -> tuple[str, ...]:
        """Names of the parts of the boundary."""

    def interior(self, unit: Tensor) -> Tensor:
        """Points (n, dim) from points of the unit cube, uniform if those are; by default of the box."""
        ends = torch.tensor(self.bounds, dtype=unit.dtype, device=unit.device)
        return ends[:, 0] + (ends[:, 1] - ends[:, 0]) * unit

    def random(self, source: Random, count: int) -> Tensor:
        """As `interior`, of independent points; by default by way of the unit cube."""
        return self.interior(source(count, self.units[0]))

    def at(self, x: Tensor, time: Tensor) -> Tensor:
        """Points (n, dim) as they lie at times (n, 1), where their law moves; else as they are."""
        return x

    @abstractmethod
    def boundary(self, unit: Tensor, faces: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Points on these faces, shared out by area, and outward normals of length one: (n, dim) each.

        A region that rejects gives a normal of zeros where a point turned out not to lie on the boundary.
        """

    @abstractmethod
    def contains(self, x: Tensor) -> Tensor:
        """Whether points (n, dim) lie inside or on the boundary, (n,)."""

    def area(self, face: str) -> float:
        """Length or area of a face, or of that on which its points are drawn if the region rejects."""
        raise ConfigError(f"{type(self).__name__}: does not know the areas of its faces.")

    @property
    def volume(self) -> float:
        """Of the region, or of that in which its points are drawn if it rejects: by default the box."""
        if not self.rejects:
            raise ConfigError(f"{type(self).__name__}: does not know its volume.")
        return math.prod(b - a for a, b in self.bounds)

    @property
    def size(self) -> float:
        """The diagonal of the box around it."""
        return math.hypot(*(b - a for a, b in self.bounds))

    def encloses(self, x: Tensor) -> Tensor:
        """Whether points (n, dim) lie inside and not on the boundary, (n,): a 1e-9 of the size around them
        is inside too, along every axis."""
        found = self.contains(x)
        for step in 1e-9 * self.size * torch.eye(self.dim, dtype=x.dtype, device=x.device):
            found = found & self.contains(x + step) & self.contains(x - step)
        return found

    def __or__(self, other: Geometry) -> Geometry:
        from sciml.pinns.csg import Union

        return Union((self, other))

    def __sub__(self, other: Geometry) -> Geometry:
        from sciml.pinns.csg import Difference

        return Difference(self, (other,))

    def __and__(self, other: Geometry) -> Geometry:
        from sciml.pinns.csg import Intersection

        return Intersection((self, other))


@describable
@dataclass(frozen=True)
class Box(Geometry):
    """A product of intervals.  Face ``i-`` is where coordinate i has its lower end, ``i+`` its upper.

    Parameters
    ----------
    intervals : sequence of (lower, upper)
        One for each coordinate.

    Raises
    ------
    ConfigError
        If an interval is empty or not finite.

    Examples
    --------
    >>> square = Box(((0.0, 1.0), (0.0, 2.0)))
    >>> square.interior(torch.tensor([[0.5, 0.5]])).tolist()
    [[0.5, 1.0]]
    >>> square.faces
    ('0-', '0+', '1-', '1+')
    """

    intervals: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not self.intervals or not all(math.isfinite(b - a) and a < b for a, b in self.intervals):
            raise ConfigError(f"Box: needs intervals (lower, upper), lower < upper, got {self.intervals}.")

    @property
    def dim(self) -> int:
        return len(self.intervals)

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        return self.intervals

    @property
    def units(self) -> tuple[int, int]:
        return self.dim, self.dim - 1

    @property
    def faces(self) -> tuple[str, ...]:
        return tuple(f"{i}{end}" for i in range(self.dim) for end in "-+")

    def boundary(self, unit: Tensor, faces: Sequence[str]) -> tuple[Tensor, Tensor]:
        lower, size = self._corner(unit)
        axes = [int(face[:-1]) for face in faces]
        # In proportion to the areas, which are the volume divided by these; it may be beyond all numbers.
        counts = _shares(len(unit), [1 / (self.intervals[i][1] - self.intervals[i][0]) for i in axes])
        points, normals = [], []
        for i, face, rows in zip(axes, faces, unit.split(counts), strict=True):
            end = float(face.endswith("+"))
            full = torch.cat([rows[:, :i], torch.full_like(rows[:, :1], end), rows[:, i:]], dim=1)
            if self.dim == 1:
                full = torch.full((len(rows), 1), end, dtype=unit.dtype)
            normal = torch.zeros_like(full)
            normal[:, i] = 2 * end - 1
            points.append(lower + size * full)
            normals.append(normal)
        return torch.cat(points), torch.cat(normals)

    def contains(self, x: Tensor) -> Tensor:
        lower, size = self._corner(x)
        return ((x >= lower) & (x <= lower + size)).all(1)

    def area(self, face: str) -> float:
        axis = int(face[:-1])
        return math.prod(b - a for i, (a, b) in enumerate(self.intervals) if i != axis)

    @property
    def volume(self) -> float:
        return math.prod(b - a for a, b in self.intervals)

    def _corner(self, like: Tensor) -> tuple[Tensor, Tensor]:
        ends = torch.tensor(self.intervals, dtype=like.dtype, device=like.device)
        return ends[:, 0], ends[:, 1] - ends[:, 0]


@describable
@dataclass(frozen=True)
class Ball(Geometry):
    """All points closer than ``radius`` to the center, in any dimension.  Its face is the ``sphere``.

    Parameters
    ----------
    dim : int
        At least 1; a disc by default.
    radius : float, positive
    center : tuple of floats, optional
        The origin by default.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Examples
    --------
    >>> disc = Ball(2)
    >>> x = disc.interior(torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)))
    >>> bool(disc.contains(x).all())
    True
    """

    dim: int = 2
    radius: float = 1.0
    center: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        middle = (0.0,) * self.dim if self.center is None else self.center
        if self.dim < 1 or not 0 < self.radius < math.inf or len(middle) != self.dim:
            raise ConfigError(
                f"Ball: needs dim >= 1, a positive radius and a center of that many coordinates, got {self}."
            )

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        middle = (0.0,) * self.dim if self.center is None else self.center
        return tuple((c - self.radius, c + self.radius) for c in middle)

    @property
    def units(self) -> tuple[int, int]:
        return self.dim + 1, self.dim

    @property
    def faces(self) -> tuple[str, ...]:
        return ("sphere",)

    def interior(self, unit: Tensor) -> Tensor:
        away = unit[:, :1] ** (1 / self.dim)  # the volume within r grows as r^dim
        return self._middle(unit) + self.radius * away * _directions(unit[:, 1:])

    def random(self, source: Random, count: int) -> Tensor:
        away = source(count, 1) ** (1 / self.dim)
        x = source.normal(count, self.dim)
        x *= self.radius * away / torch.linalg.vector_norm(x, dim=1, keepdim=True)
        return x if self.center is None else x.add_(self._middle(x))

    def boundary(self, unit: Tensor, faces: Sequence[str]) -> tuple[Tensor, Tensor]:
        normal = _directions(unit)
        return self._middle(unit) + self.radius * normal, normal

    def contains(self, x: Tensor) -> Tensor:
        distance: Tensor = torch.linalg.vector_norm(x - self._middle(x), dim=1)
        return distance <= self.radius * (1 + 4 * torch.finfo(x.dtype).eps)

    def area(self, face: str) -> float:
        return self.dim / self.radius * self.volume

    @property
    def volume(self) -> float:
        d = self.dim
        return math.exp(d / 2 * math.log(math.pi) + d * math.log(self.radius) - math.lgamma(d / 2 + 1))

    def _middle(self, like: Tensor) -> Tensor:
        return torch.tensor(self.center or (0.0,), dtype=like.dtype, device=like.device)


@describable
@dataclass(frozen=True)
class Domain:
    """A geometry, and for problems in time the interval of time: points are (*space, t).

    Parameters
    ----------
    space : Geometry
    time : (start, end), optional

    Raises
    ------
    ConfigError
        If the interval of time is empty, or a face is asked for that there is not.

    Examples
    --------
    >>> domain = Domain(Box(((-1.0, 1.0),)), time=(0.0, 1.0))
    >>> domain.dim, domain.bounds
    (2, ((-1.0, 1.0), (0.0, 1.0)))
    """

    space: Geometry
    time: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.time is not None and not (math.isfinite(self.time[1]) and self.time[0] < self.time[1]):
            raise ConfigError(f"Domain: time is (start, end) with start < end, got {self.time}.")

    @property
    def dim(self) -> int:
        """Columns of a point, time included."""
        return self.space.dim + (self.time is not None)

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """(lower, upper) for each column."""
        return (*self.space.bounds, *([self.time] if self.time is not None else []))

    def interior(self, source: Source, count: int) -> Tensor:
        """Points (count, dim) inside."""
        if isinstance(source, Random) and not self.space.rejects:
            found = self.space.random(source, count)
            if self.time is None:
                return found
            start, end = self.time
            return self._in_time(found, start + (end - start) * source(count, 1))
        return self._drawn(source, count, self.space.units[0], self.space.interior, self.space.contains)

    def boundary(self, source: Source, count: int, faces: Sequence[str] | None = None) -> Tensor:
        """Points on these faces (all by default) at all times, and outward normals in space, in one row.

        (count, dim + space.dim).
        """
        chosen, d = self.check_faces(faces), self.space.dim

        def points(unit: Tensor) -> Tensor:
            return torch.cat(self.space.boundary(unit, chosen), dim=1)

        found = self._drawn(source, count, self.space.units[1], points, lambda rows: rows[:, d:].any(1))
        if self.time is None:
            return found
        # The column of time stands last, behind the normal: move it.
        return torch.cat([found[:, :d], found[:, -1:], found[:, d:-1]], dim=1)

    def start(self, source: Source, count: int) -> Tensor:
        """Points (count, dim) at the start of time."""
        if self.time is None:
            raise ConfigError("Domain: this problem has no time, so it has no initial condition.")
        points = Domain(self.space).interior(source, count)
        return self._in_time(points, torch.full_like(points[:, :1], self.time[0]))

    def contains(self, x: Tensor) -> Tensor:
        """Whether points (n, dim) lie inside, (n,)."""
        inside = self.space.contains(x[:, : self.space.dim])
        if self.time is None:
            return inside
        return inside & (x[:, -1] >= self.time[0]) & (x[:, -1] <= self.time[1])

    def check_faces(self, faces: Sequence[str] | None) -> tuple[str, ...]:
        """These faces, or all there are."""
        known = self.space.faces
        chosen = known if faces is None else tuple(faces)
        if wrong := [face for face in chosen if face not in known]:
            raise ConfigError(f"Domain: there is no face {', '.join(wrong)}; there is {', '.join(known)}.")
        return chosen

    def _in_time(self, rows: Tensor, time: Tensor) -> Tensor:
        return torch.cat([self.space.at(rows, time), time], dim=1)

    def _drawn(
        self,
        source: Source,
        count: int,
        units: int,
        place: Callable[[Tensor], Tensor],
        keeps: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Rows of space by ``place`` that it ``keeps``, with the last column of the cube as time behind."""
        columns = units + (self.time is not None)
        if columns == 0:  # the two ends of an interval
            return place(torch.empty(count, 0, dtype=torch.float64))
        kept: list[Tensor] = []
        missing, tries = count, 0
        while missing > 0:
            # An infinite loop would need a region of no volume in its own bounding box.
            if (tries := tries + 1) > 1000:
                raise ConfigError(
                    f"Domain: found too few points in {self.space}. Is it empty, or does the source give the "
                    "same points again and again, as GridPoints does?"
                )
            unit = source(missing, columns)
            rows = place(unit[:, :units])
            found = rows
            if self.time is not None:
                start, end = self.time
                found = self._in_time(found, start + (end - start) * unit[:, -1:])
            if not self.space.rejects:
                return found
            kept.append(found[keeps(rows)])
            missing -= len(kept[-1])
        return torch.cat(kept)


def _shares(count: int, areas: Sequence[float]) -> list[int]:
    """Whole numbers that add up to ``count``, in proportion to the areas: each the rounded difference of
    cumulative shares."""
    whole = sum(areas)
    ends = [round(count * sum(areas[: i + 1]) / whole) for i in range(len(areas))]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def _directions(unit: Tensor) -> Tensor:
    """Unit vectors (n, d), uniform over the sphere if ``unit`` is uniform over the cube."""
    # Rounded away from 0 and 1, where the inverse of the normal distribution is infinite.
    tiny = torch.finfo(unit.dtype).eps
    normal = torch.special.ndtri(unit.clamp(tiny, 1 - tiny))
    length: Tensor = torch.linalg.vector_norm(normal, dim=1, keepdim=True)
    direction: Tensor = normal / length
    return direction
