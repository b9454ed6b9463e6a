"""Regions made of regions: unions, differences and intersections, of any kind and any depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.domain import Geometry

# Of the size of the region: how far to both sides of a surface one looks for what is inside.
_PROBE = 1e-7


class Combination(Geometry):
    """What `Union`, `Difference` and `Intersection` have in common.

    Faces keep the names that they have in the parts; faces of one name are one face.  A point of a part's
    boundary belongs to the boundary of the whole if a step to one side of it, a 1e-7 of the size, is inside
    and a step to the other is not, and the normal points to the latter.  Where the boundaries of two parts
    coincide, the first part has it.
    """

    rejects = True

    parts: tuple[Geometry, ...]
    """All regions that it is made of."""

    @property
    def dim(self) -> int:
        return self.parts[0].dim

    @property
    def units(self) -> tuple[int, int]:
        # One more for the boundary: to which part a point belongs.
        return self.dim, max(part.units[1] for part in self.parts) + 1

    @property
    def faces(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(face for part in self.parts for face in part.faces))

    def area(self, face: str) -> float:
        return sum(part.area(face) for part in self.parts if face in part.faces)

    def boundary(self, unit: Tensor, faces: Sequence[str]) -> tuple[Tensor, Tensor]:
        # Drawn and not shared out: what is rejected and drawn again must not favor a face.
        choices = [(k, face) for k, part in enumerate(self.parts) for face in part.faces if face in faces]
        areas = torch.tensor([self.parts[k].area(face) for k, face in choices], dtype=unit.dtype)
        ends = (areas.cumsum(0) / areas.sum()).to(unit.device)
        chosen = torch.searchsorted(ends, unit[:, 0].contiguous(), right=True).clamp(max=len(choices) - 1)
        points = unit.new_zeros(len(unit), self.dim)
        normals = torch.zeros_like(points)
        for number, (k, face) in enumerate(choices):
            rows = chosen == number
            if not rows.any():
                continue
            part = self.parts[k]
            points[rows], normal = part.boundary(unit[rows, 1 : 1 + part.units[1]], (face,))
            normals[rows] = normal * self._side(k, points[rows], normal)[:, None]
        return points, normals

    def _side(self, k: int, points: Tensor, normals: Tensor) -> Tensor:
        """1 where a normal of part k is one of the whole, -1 where it points inward, 0 where neither."""
        step = _PROBE * self.size * normals
        before, behind = points - step, points + step
        side = self.contains(before).to(points.dtype) - self.contains(behind).to(points.dtype)
        for earlier in self.parts[:k]:
            side = side * (earlier.contains(before) == earlier.contains(behind))
        return side

    def __post_init__(self) -> None:
        parts = self.parts
        if len(parts) < 2 or not all(isinstance(part, Geometry) for part in parts):
            raise ConfigError(
                f"{type(self).__name__}: needs at least 2 regions, got {parts}; one region is a tuple too, "
                "(region,)."
            )
        if len({part.dim for part in parts}) > 1:
            raise ConfigError(
                f"{type(self).__name__}: regions must have one dimension, got {[part.dim for part in parts]}."
            )
        if any(a >= b for a, b in self.bounds):
            raise ConfigError(f"{type(self).__name__}: the boxes around {parts} do not meet, it is empty.")


@describable
@dataclass(frozen=True)
class Union(Combination):
    """All points of any of these regions; also ``a | b``.

    Parameters
    ----------
    parts : tuple of Geometry
        Two or more of one dimension.

    Raises
    ------
    ConfigError
        If there are fewer, or they differ in dimension.

    Examples
    --------
    >>> from sciml.pinns import Ball, Box
    >>> capsule = Union((Box(((-1.0, 1.0), (-0.5, 0.5))), Ball(2, 0.5, (1.0, 0.0))))
    >>> capsule.contains(torch.tensor([[1.4, 0.0], [1.4, 0.4]])).tolist()
    [True, False]
    """

    parts: tuple[Geometry, ...]

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        every = zip(*(part.bounds for part in self.parts), strict=True)
        return tuple((min(a for a, _ in axis), max(b for _, b in axis)) for axis in every)

    def contains(self, x: Tensor) -> Tensor:
        return torch.stack([part.contains(x) for part in self.parts]).any(0)


@describable
@dataclass(frozen=True)
class Intersection(Combination):
    """All points that all of these regions share; also ``a & b``.

    Parameters
    ----------
    parts : tuple of Geometry
        Two or more of one dimension.

    Raises
    ------
    ConfigError
        If there are fewer, they differ in dimension, or the boxes around them do not meet.

    Examples
    --------
    >>> from sciml.pinns import Ball, Box
    >>> quarter = Intersection((Ball(2), Box(((0.0, 2.0), (0.0, 2.0)))))
    >>> quarter.bounds, quarter.faces
    (((0.0, 1.0), (0.0, 1.0)), ('sphere', '0-', '0+', '1-', '1+'))
    """

    parts: tuple[Geometry, ...]

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        every = zip(*(part.bounds for part in self.parts), strict=True)
        return tuple((max(a for a, _ in axis), min(b for _, b in axis)) for axis in every)

    def contains(self, x: Tensor) -> Tensor:
        return torch.stack([part.contains(x) for part in self.parts]).all(0)


@describable
@dataclass(frozen=True)
class Difference(Combination):
    """All points of a region that lie inside none of its holes; also ``whole - hole``.

    Parameters
    ----------
    whole : Geometry
    holes : tuple of Geometry
        One or more of its dimension.

    Raises
    ------
    ConfigError
        If there are none, or they differ in dimension.

    Examples
    --------
    A square without four discs, whose faces are its own four and the ``sphere``, all circles together:

    >>> from sciml.pinns import Ball, Box
    >>> square = Box(((-0.5, 0.5), (-0.5, 0.5)))
    >>> discs = tuple(Ball(2, 0.1, (x, y)) for x in (-0.3, 0.3) for y in (-0.3, 0.3))
    >>> Difference(square, discs).faces
    ('0-', '0+', '1-', '1+', 'sphere')
    """

    whole: Geometry
    holes: tuple[Geometry, ...]

    @property
    def parts(self) -> tuple[Geometry, ...]:  # type: ignore[override]
        return (self.whole, *self.holes)

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        return self.whole.bounds

    @property
    def units(self) -> tuple[int, int]:
        return self.whole.units[0], super().units[1]

    @property
    def volume(self) -> float:
        return self.whole.volume

    def interior(self, unit: Tensor) -> Tensor:
        return self.whole.interior(unit)

    def contains(self, x: Tensor) -> Tensor:
        return self.whole.contains(x) & ~torch.stack([hole.encloses(x) for hole in self.holes]).any(0)


@describable
@dataclass(frozen=True)
class Renamed(Geometry):
    """The same region with other names of faces; faces that get one name become one face.

    Parameters
    ----------
    region : Geometry
    names : mapping
        From its names to the new ones; others stay.

    Raises
    ------
    ConfigError
        For a face that there is not.

    Examples
    --------
    >>> from sciml.pinns import Ball, Box
    >>> square = Renamed(Box(((0.0, 1.0), (0.0, 1.0))), {"0-": "inlet", "1-": "wall", "1+": "wall"})
    >>> (square - Renamed(Ball(2, 0.1, (0.5, 0.5)), {"sphere": "cylinder"})).faces
    ('inlet', '0+', 'wall', 'cylinder')
    """

    region: Geometry
    names: Mapping[str, str]

    def __post_init__(self) -> None:
        if unknown := [face for face in self.names if face not in self.region.faces]:
            raise ConfigError(
                f"Renamed: there is no face {', '.join(unknown)}; there is {', '.join(self.region.faces)}."
            )

    @property
    def rejects(self) -> bool:  # type: ignore[override]
        return self.region.rejects

    @property
    def dim(self) -> int:
        return self.region.dim

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        return self.region.bounds

    @property
    def units(self) -> tuple[int, int]:
        return self.region.units

    @property
    def faces(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.names.get(face, face) for face in self.region.faces))

    @property
    def volume(self) -> float:
        return self.region.volume

    def interior(self, unit: Tensor) -> Tensor:
        return self.region.interior(unit)

    def boundary(self, unit: Tensor, faces: Sequence[str]) -> tuple[Tensor, Tensor]:
        return self.region.boundary(unit, self.own(faces))

    def contains(self, x: Tensor) -> Tensor:
        return self.region.contains(x)

    def encloses(self, x: Tensor) -> Tensor:
        return self.region.encloses(x)

    def area(self, face: str) -> float:
        return sum(self.region.area(own) for own in self.own((face,)))

    def own(self, faces: Sequence[str]) -> tuple[str, ...]:
        """The region's own names of these faces."""
        return tuple(face for face in self.region.faces if self.names.get(face, face) in faces)
