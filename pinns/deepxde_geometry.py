"""Geometries of DeepXDE as ours: by their numbers where we have the same, by asking them where not."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.pinns.csg import Difference, Intersection, Union
from sciml.pinns.deepxde_import import imported, precision, quiet, seeded
from sciml.pinns.domain import Ball, Box, Domain, Geometry
from sciml.pinns.polygon import Polygon

_LINES, _STEPS = 4000, 400  # for the area of a boundary: 1 percent of a circle
_ROOM = 0.01  # of the size, around the boundary points that were seen


def geometry_from_deepxde(theirs: Any) -> Geometry:
    """A ``deepxde.geometry`` object as a `Geometry`.

    Intervals, rectangles, cuboids, hypercubes, discs, balls, triangles and polygons become ours, and so do
    unions, differences and intersections, whose boundary points are shared out by length here.  Any other
    object, such as a class of the user, becomes a `DeepXDEGeometry`.

    Raises
    ------
    ConfigError
        For an object that is no geometry, has a time, or is a list of points.

    Examples
    --------
    >>> dde = imported()
    >>> square = dde.geometry.Rectangle([-1, -1], [1, 1])
    >>> geometry_from_deepxde(square - dde.geometry.Disk([0, 0], 0.5))
    Difference(whole=Box(intervals=((-1.0, 1.0), (-1.0, 1.0))), holes=(Ball(dim=2, radius=0.5, center=(0.0, 0.0)),))
    """  # noqa: E501 (what it prints)
    kinds = imported().geometry
    convert = _known(kinds).get(type(theirs))
    if convert is not None:
        return convert(theirs)
    if isinstance(theirs, kinds.GeometryXTime):
        raise ConfigError("geometry_from_deepxde: it has a time; domain_from_deepxde makes a Domain of it.")
    if not isinstance(theirs, kinds.Geometry) or isinstance(theirs, kinds.PointCloud):
        raise ConfigError(
            f"geometry_from_deepxde: expected a region of deepxde.geometry, got a {type(theirs).__name__}. "
            "Points that are given belong into PointData."
        )
    return DeepXDEGeometry(theirs)


def domain_from_deepxde(theirs: Any) -> Domain:
    """A geometry of DeepXDE, with or without time, as a `Domain`.

    Raises
    ------
    ConfigError
        As `geometry_from_deepxde`.

    Examples
    --------
    >>> dde = imported()
    >>> space, time = dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 0.5)
    >>> domain_from_deepxde(dde.geometry.GeometryXTime(space, time)).bounds
    ((-1.0, 1.0), (0.0, 0.5))
    """
    if isinstance(theirs, imported().geometry.GeometryXTime):
        time = theirs.timedomain
        return Domain(geometry_from_deepxde(theirs.geometry), (_number(time.t0), _number(time.t1)))
    return Domain(geometry_from_deepxde(theirs))


def _known(kinds: Any) -> dict[type, Callable[[Any], Geometry]]:
    """How objects of exactly these classes, whose meaning nobody has changed, become ours."""

    def box(g: Any) -> Box:
        return Box(tuple(zip(_numbers(g.xmin), _numbers(g.xmax), strict=True)))

    def interval(g: Any) -> Box:
        return Box(((_number(g.l), _number(g.r)),))

    def ball(g: Any) -> Ball:
        return Ball(g.dim, _number(g.radius), _numbers(g.center))

    def corners(*points: Any) -> Polygon:
        return Polygon(tuple((_number(x), _number(y)) for x, y in points))

    def both(g: Any) -> tuple[Geometry, Geometry]:
        return geometry_from_deepxde(g.geom1), geometry_from_deepxde(g.geom2)

    def difference(g: Any) -> Difference:
        whole, hole = both(g)
        return Difference(whole, (hole,))

    return {
        **dict.fromkeys((kinds.Rectangle, kinds.Cuboid, kinds.Hypercube), box),
        **dict.fromkeys((kinds.Interval, kinds.TimeDomain), interval),
        **dict.fromkeys((kinds.Disk, kinds.Sphere, kinds.Hypersphere), ball),
        kinds.Triangle: lambda g: corners(g.x1, g.x2, g.x3),
        kinds.Polygon: lambda g: corners(*g.vertices),
        kinds.CSGUnion: lambda g: Union(both(g)),
        kinds.CSGIntersection: lambda g: Intersection(both(g)),
        kinds.CSGDifference: difference,
    }


def _number(value: Any) -> float:
    # They keep float32. The shortest text of one is what the user wrote: 0.1, not 0.10000000149.
    return float(str(np.asarray(value)[()]))


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(_number(value) for value in np.asarray(values))


@dataclass(frozen=True, eq=False)
class DeepXDEGeometry(Geometry):
    """A region that only an object of DeepXDE knows, with one face, ``boundary``.

    Interior points come from the box around it, by its ``inside``.  Boundary points are those that its
    ``random_boundary_points`` draws with a seed made of the points of the unit cube, so that a run repeats
    them, and are as uniform as it makes them; points of which ``boundary_normal`` does not know the normal
    are drawn again.

    Parameters
    ----------
    theirs : deepxde.geometry.Geometry

    Raises
    ------
    ConfigError
        When boundary points are asked for and its class has no ``boundary_normal``.

    Examples
    --------
    >>> dde = imported()
    >>> star = DeepXDEGeometry(dde.geometry.StarShaped([0, 0], 1, [0.2], [0]))
    >>> star.dim, star.faces, star.contains(torch.zeros(1, 2)).tolist()
    (2, ('boundary',), [True])
    """

    theirs: Any = field(repr=False)

    rejects = True
    faces = ("boundary",)

    def description(self) -> dict[str, Any]:
        """For `describe`: its class, and where it is."""
        return {"geometry": type(self.theirs).__name__, "bounds": [list(pair) for pair in self.bounds]}

    @property
    def dim(self) -> int:
        return int(self.theirs.dim)

    @functools.cached_property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        # Their own box is too small for some: of an ellipse it is the one of its half axes, not turned.
        with precision(torch.float64), seeded(0), quiet():
            seen = np.concatenate(
                [*np.atleast_2d(*self.theirs.bbox), self.theirs.random_boundary_points(1000)]
            )
        lower, upper = seen.min(axis=0), seen.max(axis=0)
        room = _ROOM * float(np.linalg.norm(upper - lower))
        return tuple((float(a) - room, float(b) + room) for a, b in zip(lower, upper, strict=True))

    @property
    def units(self) -> tuple[int, int]:
        return self.dim, self.dim

    def boundary(self, unit: Tensor, faces: Sequence[str]) -> tuple[Tensor, Tensor]:
        if len(unit) == 0:
            return unit.new_zeros(0, self.dim), unit.new_zeros(0, self.dim)
        seed = hashlib.sha256(unit.detach().cpu().numpy().tobytes()).digest()[:4]
        try:
            with precision(torch.float64), seeded(int.from_bytes(seed)), quiet():
                found = self.theirs.random_boundary_points(len(unit))[: len(unit)]
                normal = self.theirs.boundary_normal(found)
        except NotImplementedError as error:
            raise ConfigError(
                f"DeepXDEGeometry: {type(self.theirs).__name__} has no boundary_normal. Give it one, in a "
                "subclass: points (n, dim) to outward vectors of length one."
            ) from error
        # Some find a few points less than asked for: the others have no normal.
        both = unit.new_zeros(2, len(unit), self.dim)
        both[0, : len(found)] = torch.as_tensor(found, dtype=unit.dtype)
        both[1, : len(found)] = torch.as_tensor(normal, dtype=unit.dtype)
        return both[0], both[1]

    def contains(self, x: Tensor) -> Tensor:
        with precision(torch.float64), quiet():
            found = self.theirs.inside(x.detach().cpu().double().numpy())
        return torch.from_numpy(np.array(found, dtype=bool)).to(x.device)

    def area(self, face: str) -> float:
        return self._area

    @functools.cached_property
    def _area(self) -> float:
        """Of the boundary, by counting how often random lines cross it (Cauchy and Crofton): half the area of
        a sphere around it times the mean number of crossings of lines that are uniform in that sphere."""
        generator = torch.Generator().manual_seed(0)
        d, radius = self.dim, self.size / 2
        middle = torch.tensor(self.bounds, dtype=torch.float64).mean(1)
        along, offset = torch.randn(2, _LINES, d, generator=generator, dtype=torch.float64)
        along = along / along.norm(dim=1, keepdim=True)
        if d > 1:
            offset = offset - (offset * along).sum(1, keepdim=True) * along
            away = torch.rand(_LINES, 1, generator=generator, dtype=torch.float64) ** (1 / (d - 1))
            offset = radius * away * offset / offset.norm(dim=1, keepdim=True)
        else:
            offset = torch.zeros_like(offset)
        places = torch.linspace(-radius, radius, _STEPS, dtype=torch.float64)
        points = middle + offset[:, None] + places[:, None] * along[:, None]
        inside = self.contains(points.reshape(-1, d)).reshape(_LINES, _STEPS)
        crossings = (inside[:, 1:] != inside[:, :-1]).double().sum(1).mean().item()
        return d / radius * Ball(d, radius).volume * crossings / 2
