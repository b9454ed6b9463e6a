r"""Smooth functions of points that are zero on the faces of a region and positive inside.

What a network is multiplied with so that a condition holds whatever its weights.  All are made of operations
that jets know.  *Normalized* means that the derivative inward is 1 on the face, as for the distance itself,
which is not smooth where two faces are equally far.

Sources: V. L. Rvachev's R-functions, in the form of V. Shapiro, Semi-analytic geometry with R-functions,
Acta Numerica 16 (2007), for regions made of regions and for the trimmed surface; N. Sukumar and A.
Srivastava, Exact imposition of boundary conditions with distance functions in physics-informed deep neural
networks, Comput. Methods Appl. Mech. Eng. 389 (2022), for joining by equivalence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.pinns.csg import Difference, Intersection, Renamed, Union
from sciml.pinns.domain import Ball, Box, Geometry
from sciml.pinns.mesh_geometry import MeshGeometry
from sciml.pinns.polygon import Polygon, inside, inward

Function = Callable[[Tensor], Tensor]
_PLANES = 12  # the product of more would be almost zero almost everywhere

Role = Literal["whole", "part", "hole"]
"""How a region takes part: it contains all there is, it is one of several, or it is left out.  Surfaces of
the first may go on outside of it, where nothing is."""


@dataclass(frozen=True)
class Surface:
    """One or several pieces of the boundary.

    Attributes
    ----------
    face : str
    distance : function of points (n, dim) to (n, k)
        From each of k pieces, normalized; not negative in the region, but for rounding.
    inward : function of points (n, dim) to (n, k, dim)
        Fields that are the inward normals on the pieces.
    plane : bool
        Whether the distance is linear, so that products stay smooth where two planes meet.
    """

    face: str
    distance: Function
    inward: Function
    plane: bool = False


def distance(space: Geometry, faces: Sequence[str] | None = None) -> Function:
    """The normalized distance from faces, by default from the whole boundary: points (n, dim) to (n,).

    It is smooth but at edges and corners, where surfaces meet: there its second derivatives are not bounded.

    Parameters
    ----------
    space : Geometry
        A box, a ball, a polygon, a plane mesh, or made of them by `Union`, `Difference` and `Intersection`.
    faces : sequence of str, optional

    Raises
    ------
    ConfigError
        For any other region, or a face that there is not.

    Examples
    --------
    >>> from sciml.pinns import Ball, Box
    >>> ring = Ball(2, 2.0) - Ball(2, 1.0)
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.5, 0.0]], dtype=torch.float64)
    >>> distance(ring)(x).round(decimals=6).tolist()
    [0.0, 0.0, 0.233333]
    """
    chosen = on_faces(space, faces)
    return lambda x: joined(torch.cat([surface.distance(x) for surface in chosen], dim=1))


def vanishing(surfaces: Sequence[Surface]) -> Function:
    """A function that is zero on these surfaces, to first order, and as smooth as it can be: (n,).

    Planes are multiplied, at most twelve of them; everything else is joined.
    """
    planes = [surface for surface in surfaces if surface.plane]
    if len(planes) > _PLANES:
        planes = []
    others = [surface for surface in surfaces if not any(surface is plane for plane in planes)]

    def product(x: Tensor) -> Tensor:
        return reduce(torch.mul, [plane.distance(x) for plane in planes])

    def found(x: Tensor) -> Tensor:
        columns = [*([product(x)] if planes else []), *(surface.distance(x) for surface in others)]
        return joined(torch.cat(columns, dim=1))

    return found


def on_faces(space: Geometry, faces: Sequence[str] | None = None) -> list[Surface]:
    """The surfaces of these faces, by default of all.

    Raises
    ------
    ConfigError
        For a region whose surfaces are not known, or a face that there is not.
    """
    wanted = space.faces if faces is None else tuple(faces)
    if unknown := [face for face in wanted if face not in space.faces]:
        raise ConfigError(
            f"distance: there is no face {', '.join(unknown)}; there is {', '.join(space.faces)}."
        )
    return [surface for surface in surfaces_of(space, "whole") if surface.face in wanted]


def surfaces_of(space: Geometry, role: Role) -> list[Surface]:
    """The surfaces of a region.

    Raises
    ------
    ConfigError
        For a region whose surfaces are not known.
    """
    if isinstance(space, Box):
        return _of_box(space, role)
    if isinstance(space, Ball):
        return [_of_ball(space, role)]
    if isinstance(space, Polygon | MeshGeometry):
        return [_of_segments(space, face, role) for face in space.faces]
    if isinstance(space, Renamed):
        return [
            replace(surface, face=space.names.get(surface.face, surface.face))
            for surface in surfaces_of(space.region, role)
        ]
    if isinstance(space, Difference):
        return _of_difference(space, role)
    if isinstance(space, Intersection) and role == "whole":
        return [surface for part in space.parts for surface in surfaces_of(part, "whole")]
    if isinstance(space, Intersection | Union):
        return _of_parts(space, role)
    raise ConfigError(
        f"distance: no distance function is known for a {type(space).__name__}, only for boxes, balls, "
        "polygons, plane meshes and what Union, Difference and Intersection make of them."
    )


def region_of(space: Geometry) -> Function:
    """A function (n,) that is positive inside, zero on the boundary and negative outside, by R-functions."""
    if isinstance(space, Box):
        pairs = space.intervals
        return lambda x: both(
            *((x[:, i] - a) * (b - x[:, i]) * (1 / (b - a)) for i, (a, b) in enumerate(pairs))
        )
    if isinstance(space, Ball):
        return lambda x: _of_ball(space, "part").distance(x)[:, 0]
    if isinstance(space, Renamed):
        return region_of(space.region)
    if isinstance(space, Polygon | MeshGeometry):
        pieces = surfaces_of(space, "part")

        def signed(x: Tensor) -> Tensor:
            size = joined(torch.cat([piece.distance(x) for piece in pieces], dim=1))
            start, end, _ = _segments(space, space.faces, x)
            return torch.where(inside(x.detach(), start, end), size, -size)

        return signed
    if isinstance(space, Difference):
        whole, holes = region_of(space.whole), [region_of(hole) for hole in space.holes]
        return lambda x: both(whole(x), *(-hole(x) for hole in holes))
    if isinstance(space, Intersection | Union):
        parts = [region_of(part) for part in space.parts]
        if isinstance(space, Intersection):
            return lambda x: both(*(part(x) for part in parts))
        return lambda x: -both(*(-part(x) for part in parts))
    raise ConfigError(f"distance: no function is known that tells the inside of a {type(space).__name__}.")


# How functions are put together.


def joined(distances: Tensor) -> Tensor:
    r"""``1 / Σ_i 1/φ_i`` of distances (n, k), (n,): zero where one of them is, and normalized if all are.

    The smallest one is taken out of the sum, so that value and derivative are right where it is zero.
    """
    if distances.shape[1] == 1:
        return distances[:, 0]
    shares, least = shared(distances)
    return least / shares.sum(1)


def shared(distances: Tensor) -> tuple[Tensor, Tensor]:
    """``φ / φ_i`` (n, k) with the smallest φ of each row, whose own share is 1, and that φ, (n,)."""
    values = distances.detach()
    # A comparison and not one_hot, which looks at its numbers: so it can be had for each point, vectorized.
    number = torch.arange(values.shape[1], device=values.device)
    smallest = values.argmin(1, keepdim=True) == number
    # Where two are zero, in a corner, the share of the other one is zero too.
    least = 1e-100 if values.dtype == torch.float64 else 1e-12
    others = torch.where(smallest | (values < least), least, distances)
    one = torch.where(smallest, distances, 0.0).sum(1)
    return torch.where(smallest, 1.0, one[:, None] / torch.where(smallest, 1.0, others)), one


def both(*regions: Tensor) -> Tensor:
    """Positive where all are: R-conjunctions ``a + b - sqrt(a^2 + b^2)``, normalized on each boundary."""
    return reduce(lambda a, b: a + b - torch.sqrt(a * a + b * b), regions)


def trimmed(line: Tensor, trim: Tensor, far: float) -> Tensor:
    """The normalized distance from that part of ``line = 0`` where ``trim >= 0``, both (n, k).

    ``sqrt(d^2 + q^2)``, ``q = (sqrt(t^2 + d^4) - t) / 2``; where t > 0 with d before the root, so that the
    derivative is right where d = 0.  The line is positive on that side of the part where the region is; what
    rounding of coordinates as large as ``far`` makes negative is on the part, and keeps this derivative.
    """
    d = torch.where(line >= -16 * torch.finfo(line.dtype).eps * far, line, -line)
    squared = d * d
    kept = trim > 0
    t = torch.where(kept, trim, 1.0)
    ratio = d * squared / (2 * (torch.sqrt(t * t + squared * squared) + t))
    on = d * torch.sqrt(1 + ratio * ratio)
    t = torch.where(kept, -1.0, trim)
    excess = (torch.sqrt(t * t + squared * squared) - t) / 2
    return torch.where(kept, on, torch.sqrt(squared + excess * excess))


# The surfaces of each kind of region.


def _of_box(space: Box, role: Role) -> list[Surface]:
    found = []
    for i, (lower, upper) in enumerate(space.intervals):
        rest = [(j, pair) for j, pair in enumerate(space.intervals) if j != i]
        for face, end, sign in ((f"{i}-", lower, 1.0), (f"{i}+", upper, -1.0)):
            normal = torch.zeros(space.dim, dtype=torch.float64)
            normal[i] = -sign if role == "hole" else sign
            line = _plane(i, end, float(normal[i]))
            if role == "whole":
                found.append(Surface(face, line, _constant(normal[None]), plane=True))
            else:
                found.append(Surface(face, _rectangle(line, rest, _far(space)), _constant(normal[None])))
    return found


def _plane(axis: int, end: float, sign: float) -> Function:
    return lambda x: sign * (x[:, axis : axis + 1] - end)


def _rectangle(line: Function, rest: Sequence[tuple[int, tuple[float, float]]], far: float) -> Function:
    """A plane, trimmed by the intervals of the other axes."""

    def distance(x: Tensor) -> Tensor:
        between = [(x[:, j : j + 1] - a) * (b - x[:, j : j + 1]) * (1 / (b - a)) for j, (a, b) in rest]
        plane = line(x)
        return trimmed(plane, both(*between) if between else 0 * plane + 1, far)

    return distance


def _of_ball(space: Ball, role: Role) -> Surface:
    radius = space.radius

    def away(x: Tensor) -> Tensor:
        value = x.detach()
        return x - torch.tensor(space.center or (0.0,), dtype=value.dtype, device=value.device)

    def within(x: Tensor) -> Tensor:  # a polynomial, smooth in the center
        r = away(x)
        return (radius**2 - (r * r).sum(1, keepdim=True)) * (0.5 / radius)

    def outside(x: Tensor) -> Tensor:
        r = away(x)
        return torch.sqrt((r * r).sum(1, keepdim=True)) - radius

    def centripetal(x: Tensor) -> Tensor:
        return (away(x) * (-1 / radius))[:, None]

    def centrifugal(x: Tensor) -> Tensor:
        r = away(x)
        return (r / torch.sqrt((r * r).sum(1, keepdim=True)))[:, None]

    return (
        Surface("sphere", outside, centrifugal) if role == "hole" else Surface("sphere", within, centripetal)
    )


def _of_segments(space: Polygon | MeshGeometry, face: str, role: Role) -> Surface:
    """Edges, each trimmed by the disc of which it is a diameter."""
    sign = -1.0 if role == "hole" else 1.0

    def distance(x: Tensor) -> Tensor:
        start, end, normal = _segments(space, (face,), x)
        length: Tensor = torch.linalg.vector_norm(end - start, dim=1)
        line = ((x[:, None] - start) * (sign * normal)).sum(2)
        middle = x[:, None] - (start + end) / 2
        return trimmed(line, (length * length / 4 - (middle * middle).sum(2)) * (1 / length), _far(space))

    def normals(x: Tensor) -> Tensor:
        normal = _segments(space, (face,), x)[2]
        return (sign * normal)[None].expand(x.shape[0], -1, -1)

    return Surface(face, distance, normals)


def _segments(
    space: Polygon | MeshGeometry, faces: Sequence[str], x: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Beginnings, ends and inward normals of edges, (edge, 2) each."""
    if space.dim != 2:
        raise ConfigError(f"distance: is known for plane meshes, not in {space.dim} dimensions.")
    like = x.detach()
    if isinstance(space, MeshGeometry):
        return space.segments(faces, like)
    start, end = space.edges(like, faces)
    return start, end, inward(end - start)


def _of_difference(space: Difference, role: Role) -> list[Surface]:
    if role == "whole":
        holes = [surface for hole in space.holes for surface in surfaces_of(hole, "hole")]
        return [*surfaces_of(space.whole, "whole"), *holes]
    opposite: Role = "hole" if role == "part" else "part"
    whole = region_of(space.whole)
    outside = [_negative(region_of(hole)) for hole in space.holes]
    found = _trimmed_all(surfaces_of(space.whole, role), outside, _far(space))
    for k, hole in enumerate(space.holes):
        others = [*outside[:k], *outside[k + 1 :]]
        found += _trimmed_all(surfaces_of(hole, opposite), [whole, *others], _far(space))
    return found


def _of_parts(space: Union | Intersection, role: Role) -> list[Surface]:
    """Of each part what lies outside the others, or inside of them."""
    found = []
    regions = [region_of(part) for part in space.parts]
    if isinstance(space, Union):
        regions = [_negative(region) for region in regions]
    for k, part in enumerate(space.parts):
        others = [*regions[:k], *regions[k + 1 :]]
        own = surfaces_of(part, "part" if role == "whole" else role)
        found += _trimmed_all(own, others, _far(space))
    return found


def _trimmed_all(surfaces: Sequence[Surface], regions: Sequence[Function], far: float) -> list[Surface]:
    def cut(own: Function) -> Function:
        return lambda x: trimmed(own(x), both(*(region(x) for region in regions))[:, None], far)

    return [Surface(surface.face, cut(surface.distance), surface.inward) for surface in surfaces]


def _negative(region: Function) -> Function:
    return lambda x: -region(x)


def _far(space: Geometry) -> float:
    """The largest coordinate."""
    return max(abs(end) for pair in space.bounds for end in pair)


def _constant(vectors: Tensor) -> Function:
    return lambda x: vectors.to(x.detach())[None].expand(x.shape[0], -1, -1)
