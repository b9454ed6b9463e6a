"""Triangles that fit the boundary of a plane domain with holes, made without a mesher and refined exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.numerics.curves import Curve, Focus, Polygon
from sciml.errors import ConfigError
from sciml.mesh import Mesh

Float = NDArray[np.float64]
Integers = NDArray[np.int64]

# Found on random stars: points of the lattice nearer to the boundary than 0.65 spacings leave, and two rounds
# of smoothing follow.  No angle is then below 24 degrees; more rounds change nothing.
_CLEARANCE = 0.65
_ROUNDS = 2


@dataclass(frozen=True)
class Domain:
    """The inside of a curve, without the insides of others.

    Parameters
    ----------
    outline : Polygon or Star
    holes : sequence of Polygon or Star
        Inside the outline, apart from each other.
    focus : Focus, optional

    Examples
    --------
    A channel with a cylinder, in triangles of side 0.1:

    >>> from sciml.datasets.numerics.curves import Star
    >>> channel = Polygon.rectangle((0.0, 0.0), (2.0, 1.0), ("wall", "outlet", "wall", "inlet"))
    >>> domain = Domain(channel, [Star((0.5, 0.5), 0.2, name="cylinder")])
    >>> mesh = domain.triangulate(0.1).mesh()
    >>> mesh.boundary_names, mesh.cells[0][0]
    (('interior', 'wall', 'outlet', 'inlet', 'cylinder'), 'triangle')
    >>> bool(abs(mesh.measures().sum() - domain.area()) < 0.01)
    True
    """

    outline: Curve
    holes: Sequence[Curve] = ()
    focus: Focus | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "holes", tuple(self.holes))

    @property
    def curves(self) -> tuple[Curve, ...]:
        """The outline first."""
        return (self.outline, *self.holes)

    @property
    def boundary_names(self) -> tuple[str, ...]:
        """As in the meshes: "interior", then every name once."""
        return tuple(dict.fromkeys(["interior", *(name for c in self.curves for name in c.names)]))

    def area(self) -> float:
        """Of the exact domain."""
        return self.outline.area() - sum(hole.area() for hole in self.holes)

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Whether points (n, 2) lie inside."""
        array = np.asarray(points, dtype=np.float64)
        inside = self.outline.contains(array)
        for hole in self.holes:
            inside &= ~hole.contains(array)
        return inside

    def triangulate(self, spacing: float) -> Triangulation:
        """Triangles with sides of about ``spacing``, the same for the same arguments.

        Nodes on the boundary lie on the exact curves at equal distances, and a lattice of equilateral
        triangles fills the inside; Delaunay's triangulation joins them, and nodes inside move to the middle
        of their neighbors.

        Parameters
        ----------
        spacing : float, positive
            Below about the distance of the boundaries from each other and below their radii of curvature.

        Raises
        ------
        ConfigError
            If the spacing is too large for the boundary, or the boundaries cross.
        """
        from scipy.spatial import cKDTree

        if not 0 < spacing < np.inf:
            raise ConfigError(f"Domain.triangulate: spacing must be positive, got {spacing}.")
        parameters = [curve.split(spacing) for curve in self.curves]
        rings = [curve.at(t) for curve, t in zip(self.curves, parameters, strict=True)]
        self._check(rings, spacing)
        walls = np.concatenate(rings)
        lattice = _lattice(walls.min(axis=0), walls.max(axis=0), spacing)
        lattice = lattice[self.contains(lattice)]
        dense = [
            ring + (np.roll(ring, -1, 0) - ring) * part for ring in rings for part in (0, 0.25, 0.5, 0.75)
        ]
        distance, _ = cKDTree(np.concatenate(dense)).query(lattice)
        places = np.concatenate([walls, lattice[distance > _CLEARANCE * spacing]])
        for _ in range(_ROUNDS):
            places[len(walls) :] = _smoothed(places, _delaunay(places, rings))[len(walls) :]
        curve = np.full(len(places), -1)
        curve[: len(walls)] = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
        parameter = np.zeros(len(places))
        parameter[: len(walls)] = np.concatenate(parameters)
        found = Triangulation(self, _delaunay(places, rings), places, curve, parameter)
        wanted = Polygon(rings[0]).area() - sum(Polygon(ring).area() for ring in rings[1:])
        if abs(np.sum(_areas(places, found.triangles)) - wanted) > 1e-9 * wanted:
            raise ConfigError(
                f"Domain.triangulate: triangles of side {spacing:g} do not resolve the boundary; use less."
            )
        return found

    def _check(self, rings: list[Float], spacing: float) -> None:
        from scipy.spatial import cKDTree

        for i, ring in enumerate(rings[1:], start=1):
            others = [other for j, other in enumerate(rings) if j != i]
            crossing = not self.outline.contains(ring).all() or any(
                hole.contains(ring).any() for j, hole in enumerate(self.holes, start=1) if j != i
            )
            gap = 0.0 if crossing else float(cKDTree(np.concatenate(others)).query(ring)[0].min())
            if gap < 0.6 * spacing:
                names = " and ".join(self.curves[i].names[:3])
                raise ConfigError(
                    f"Domain.triangulate: hole {i} ({names}) comes within {gap:.3g} of another boundary; "
                    f"holes lie apart and inside, and spacing {spacing:g} is at most 1.6 times the gap."
                )


@dataclass(frozen=True, eq=False)
class Triangulation:
    """Triangles of a domain whose boundary nodes know where on their curves they lie.

    Attributes
    ----------
    domain : Domain
    triangles : (cell, 3) integers, counter-clockwise
    places : (node, 2)
        Before the domain's focus draws them together.
    curve : (node,) integers
        Position in ``domain.curves``, -1 inside.
    parameter : (node,)
        On the curve.
    """

    domain: Domain
    triangles: Integers
    places: Float
    curve: Integers
    parameter: Float

    @classmethod
    def lattice(
        cls, x: ArrayLike, y: ArrayLike, names: tuple[str, ...] = ("bottom", "right", "top", "left")
    ) -> Triangulation:
        """Of a rectangle, two triangles between neighboring coordinates: interfaces along them are sides.

        Parameters
        ----------
        x, y : (n,) increasing, n >= 3
        names : sequence of str
            Of the sides, in this order, or one for all.

        Raises
        ------
        ConfigError
            If the coordinates do not increase, or are too few.

        Examples
        --------
        >>> Triangulation.lattice([0.0, 0.4, 1.0], np.linspace(0, 1, 4)).mesh().cell_count
        12
        """
        a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        for axis in (a, b):
            if axis.ndim != 1 or len(axis) < 3 or (np.diff(axis) <= 0).any():
                raise ConfigError(
                    f"Triangulation.lattice: needs three or more increasing coordinates, got {axis[:5]}."
                )
        columns, n = len(a), len(b)
        first = (np.arange(columns - 1)[:, None] * n + np.arange(n - 1)).reshape(-1)
        halves = [first[:, None] + np.array(offsets) for offsets in ([0, n, n + 1], [0, n + 1, 1])]
        s, t = (a - a[0]) / (a[-1] - a[0]), (b - b[0]) / (b[-1] - b[0])
        parameter = np.zeros((columns, n))
        parameter[0, :], parameter[:, -1] = 4 - t, 3 - s
        parameter[-1, :], parameter[:, 0] = 1 + t, s
        curve = np.full((columns, n), -1)
        curve[0, :] = curve[-1, :] = curve[:, 0] = curve[:, -1] = 0
        outline = Polygon.rectangle((a[0], b[0]), (a[-1], b[-1]), names)
        places = np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1).reshape(-1, 2)
        return cls(Domain(outline), np.concatenate(halves), places, curve.ravel(), parameter.ravel())

    @property
    def coordinates(self) -> Float:
        """Of the nodes, (node, 2)."""
        focus = self.domain.focus
        return self.places if focus is None else focus.move(self.places)

    def refine(self) -> Triangulation:
        """Each triangle in four, with new boundary nodes on the exact curves; old nodes keep their numbers.

        New ones follow in the order of the mid-side nodes of ``mesh(degree=2)``: without a focus the two
        meshes have the same nodes.
        """
        edges, sides = _edges(self.triangles)
        places, curve, parameter = self._middles(edges, sides)
        a, b, c = self.triangles.T
        ab, bc, ca = (len(self.places) + sides).T
        corners = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        return replace(
            self,
            triangles=np.stack([np.stack(one, axis=1) for one in corners], axis=1).reshape(-1, 3),
            places=np.concatenate([self.places, places]),
            curve=np.concatenate([self.curve, curve]),
            parameter=np.concatenate([self.parameter, parameter]),
        )

    def mesh(self, degree: int = 1) -> Mesh:
        """For elements of degree 1 ("triangle"), or 2 ("triangle6") whose sides follow curved boundaries.

        Raises
        ------
        ConfigError
            For another degree.
        """
        names = self.domain.boundary_names
        if degree == 1:
            tags = self._tags(self.curve, self.parameter)
            return Mesh(
                self.coordinates, cells=(("triangle", self.triangles),), boundary=tags, boundary_names=names
            )
        if degree != 2:
            raise ConfigError(f"Triangulation.mesh: degree is 1 or 2, got {degree}.")
        edges, sides = _edges(self.triangles)
        places, curve, parameter = self._middles(edges, sides)
        if self.domain.focus is not None:
            bent = np.array([len(c.names) == 1 for c in self.domain.curves] + [False])[curve]
            straight = self.coordinates[edges].mean(axis=1)
            places = np.where(bent[:, None], self.domain.focus.move(places), straight)
        tags = self._tags(np.concatenate([self.curve, curve]), np.concatenate([self.parameter, parameter]))
        return Mesh(
            np.concatenate([self.coordinates, places]),
            cells=(("triangle6", np.concatenate([self.triangles, len(self.places) + sides], axis=1)),),
            boundary=tags,
            boundary_names=names,
        )

    def _middles(self, edges: Integers, sides: Integers) -> tuple[Float, Integers, Float]:
        """Places, curves and parameters of the middles of edges."""
        places = self.places[edges].mean(axis=1)
        outer = np.bincount(sides.ravel(), minlength=len(edges)) == 1
        curve = np.where(outer, self.curve[edges[:, 0]], -1)
        parameter = np.zeros(len(edges))
        for i, one in enumerate(self.domain.curves):
            here = curve == i
            low, high = np.sort(self.parameter[edges[here]], axis=1).T
            low = np.where(high - low > one.period / 2, low + one.period, low)
            parameter[here] = np.mod((low + high) / 2, one.period)
            places[here] = one.at(parameter[here])
        return places, curve, parameter

    def _tags(self, curve: Integers, parameter: Float) -> Integers:
        """Positions in the boundary names; a corner has the lower one of its two sides."""
        names = self.domain.boundary_names
        tags = np.zeros(len(curve), dtype=np.int64)
        for i, one in enumerate(self.domain.curves):
            numbers = np.array([names.index(name) for name in one.names])
            t = parameter[curve == i]
            if len(numbers) > 1:
                before, after = np.ceil(t).astype(int) - 1, np.floor(t).astype(int)
                tags[curve == i] = np.minimum(numbers[before % len(numbers)], numbers[after % len(numbers)])
            else:
                tags[curve == i] = numbers[0]
        return tags


def _lattice(lower: Float, upper: Float, spacing: float) -> Float:
    """Corners of equilateral triangles inside a box, its width and height filled by whole numbers of them."""
    width, height = upper - lower
    columns = max(2, round(width / spacing))
    rows = max(2, round(height / (spacing * np.sqrt(0.75))))
    i, j = np.meshgrid(np.arange(columns + 1), np.arange(1, rows), indexing="ij")
    x = (i + 0.5 * (j % 2)) * (width / columns)
    found = np.stack([lower[0] + x, lower[1] + j * (height / rows)], axis=-1).reshape(-1, 2)
    return np.asarray(found[(found[:, 0] > lower[0]) & (found[:, 0] < upper[0])])


def _delaunay(places: Float, rings: list[Float]) -> Integers:
    """Triangles inside the first ring and outside the others, whose points come first, counter-clockwise."""
    from scipy.spatial import Delaunay

    found = Delaunay(places).simplices.astype(np.int64)
    areas = _areas(places, found)
    found[areas < 0] = found[areas < 0][:, ::-1]
    # On straight walls rounding may make flat triangles.
    found = found[np.abs(areas) > 1e-8 * np.median(np.abs(areas))]
    # Sides of rings are sides of triangles, so one with a node inside lies inside; of the others look.
    doubtful = np.flatnonzero((found < sum(len(ring) for ring in rings)).all(axis=1))
    centers = places[found[doubtful]].mean(axis=1)
    inside = Polygon(rings[0]).contains(centers)
    for ring in rings[1:]:
        inside &= ~Polygon(ring).contains(centers)
    return np.delete(found, doubtful[~inside], axis=0)


def _smoothed(places: Float, triangles: Integers) -> Float:
    """Each node in the middle of the triangles around it."""
    areas = _areas(places, triangles)
    moments = areas[:, None] * places[triangles].mean(axis=1)
    corners = triangles.ravel()
    total = np.bincount(corners, np.repeat(areas, 3), len(places))
    sums = [np.bincount(corners, np.repeat(moments[:, i], 3), len(places)) for i in range(2)]
    return np.asarray(np.stack(sums, axis=1) / total[:, None])


def _areas(places: Float, triangles: Integers) -> Float:
    """Positive for counter-clockwise ones."""
    a, b, c = np.moveaxis(places[triangles], 1, 0)
    return np.asarray(((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2)


def _edges(triangles: Integers) -> tuple[Integers, Integers]:
    """Pairs of nodes, each edge once, and for each triangle its edges (cell, 3): ab, bc, ca."""
    pairs = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, where = np.unique(pairs, axis=0, return_inverse=True)
    return edges, where.reshape(-1, 3)
