"""A region given by a mesh: triangles, tetrahedra, or whatever cells can be cut into them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.errors import ConfigError, DataError
from sciml.mesh import Mesh
from sciml.pinns.domain import Geometry

if TYPE_CHECKING:
    import meshio

Float = NDArray[np.float64]
Integers = NDArray[np.int64]

BOUNDARY = "boundary"  # facets that nobody has named
_TAGS = ("gmsh:physical", "su2:tag", "medit:ref", "cell_tags", "nastran:ref")  # cell data of meshio's readers
_ROOM = 1e-9  # in barycentric coordinates: how far outside a cell a point still counts as inside


@dataclass(frozen=True, eq=False)
class MeshGeometry(Geometry):
    """The union of the cells of a mesh.

    Interior points are uniform by volume, boundary points uniform by area on the facets that belong to one
    cell.  Cells are cut into simplices, with straight sides whatever their order.

    Parameters
    ----------
    mesh : sciml.mesh.Mesh
        Plane in two dimensions, volumes in three, lines in one.
    names : mapping from names to (facet, corner) integers, optional
        Corners of the facets of each face.  Others get the boundary name that their points carry in the mesh
        (where points of one facet carry different ones, that of the neighbor that continues it), and are the
        face ``boundary`` if they carry none.

    Raises
    ------
    ConfigError
        If the cells do not fill the dimension of the points.

    Examples
    --------
    >>> square = Mesh([[0, 0], [2, 0], [2, 1], [0, 1]], cells={"triangle": [[0, 1, 2], [0, 2, 3]]})
    >>> region = MeshGeometry(square, {"floor": [[0, 1]]})
    >>> region.faces, region.area("floor"), region.volume
    (('floor', 'boundary'), 2.0, 2.0)
    """

    mesh: Mesh = field(repr=False)
    names: Mapping[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        mesh, dim = self.mesh, self.mesh.dim
        if mesh.cell_dimension != dim:
            raise ConfigError(
                f"MeshGeometry: cells of dimension {mesh.cell_dimension} do not fill the {dim} dimensions of "
                "the points; a plane mesh needs points (x, y)."
            )
        parts = [
            array[:, list(simplex)]
            for shape, array in mesh.blocks()
            if shape.dimension == dim
            for simplex in shape.simplices
        ]
        simplices = mesh.coordinates[np.concatenate(parts)]
        corners, facets, labels = _boundary(mesh, self.names or {})
        known = {
            "simplices": simplices,
            "volumes": _measures(simplices),
            "facets": facets,
            "normals": _normals(facets, corners),
            "areas": _measures(facets),
            "labels": labels,
        }
        for name, value in known.items():
            object.__setattr__(self, f"_{name}", value)

    @classmethod
    def from_meshio(cls, mesh: meshio.Mesh) -> MeshGeometry:
        """The region of a `meshio.Mesh`, as `meshio.read` gives it.

        Faces are named after its cell sets of boundary facets, or after the tags that files of gmsh, SU2 and
        Medit give them; the names of gmsh's physical groups are kept.

        Examples
        --------
        >>> import meshio
        >>> cells = [("triangle", [[0, 1, 2]]), ("line", [[0, 1], [1, 2], [2, 0]])]
        >>> read = meshio.Mesh([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], cells,
        ...     cell_data={"gmsh:physical": [[7], [1, 2, 2]]}, field_data={"inlet": [1, 1]})
        >>> MeshGeometry.from_meshio(read).faces
        ('inlet', '2')
        """
        from sciml.meshes import mesh_from

        found = mesh_from(mesh)
        if not isinstance(found, Mesh):
            raise ConfigError("MeshGeometry: this meshio.Mesh has no cells but vertices.")
        outer = _outer(found)  # without tagged interfaces inside
        named = {
            name: [facet for facet in facets if tuple(sorted(facet)) in outer]
            for name, facets in _named_facets(mesh, found.cell_dimension - 1).items()
        }
        return cls(found, {name: facets for name, facets in named.items() if facets})

    def description(self) -> dict[str, Any]:
        """For `describe`: the mesh by its digest."""
        from sciml.pinns.fingerprints import digest

        return {"cells": digest([torch.from_numpy(self._simplices)]), "faces": list(self.faces)}

    @property
    def dim(self) -> int:
        return self.mesh.dim

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        flat = self._simplices.reshape(-1, self.dim)
        return tuple(zip(flat.min(axis=0).tolist(), flat.max(axis=0).tolist(), strict=True))

    @property
    def units(self) -> tuple[int, int]:
        return self.dim + 1, self.dim  # the first says in which cell or facet

    @property
    def faces(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._labels))

    @property
    def volume(self) -> float:
        return float(self._volumes.sum())

    def area(self, face: str) -> float:
        return float(self._areas[self._on((face,))].sum())

    def interior(self, unit: Tensor) -> Tensor:
        return _placed(unit, self._simplices, self._volumes)[0]

    def boundary(self, unit: Tensor, faces: Sequence[str]) -> tuple[Tensor, Tensor]:
        rows = self._on(faces)
        points, chosen = _placed(unit, self._facets[rows], self._areas[rows])
        return points, torch.from_numpy(self._normals[rows]).to(unit)[chosen]

    def contains(self, x: Tensor) -> Tensor:
        from scipy.spatial import cKDTree

        points = x.detach().cpu().double().numpy()
        corners = self._simplices
        centers = corners.mean(axis=1)
        radii = np.linalg.norm(corners - centers[:, None], axis=2).max(axis=1)
        # Points that lie in the ball around a simplex, then those that lie in the simplex.
        near = cKDTree(points).query_ball_point(centers, radii * (1 + _ROOM))
        counts = np.array([len(found) for found in near])
        pairs = np.concatenate([np.asarray(found, dtype=np.int64) for found in near])
        cell = np.repeat(np.arange(len(corners)), counts)
        sides = corners[:, 1:] - corners[:, :1]
        inverse = np.linalg.inv(sides)
        weights = np.einsum("pi,pij->pj", points[pairs] - corners[cell, 0], inverse[cell])
        least = np.minimum(weights.min(axis=1), 1 - weights.sum(axis=1))
        inside = np.zeros(len(points), dtype=bool)
        inside[pairs[least >= -_ROOM]] = True
        return torch.from_numpy(inside).to(x.device)

    def segments(self, faces: Sequence[str], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ends of the edges of some faces of a plane region, (edge, 2) each, and vectors of length one that
        point inward."""
        rows = self._on(faces)
        ends = torch.from_numpy(self._facets[rows]).to(like)
        return ends[:, 0], ends[:, 1], -torch.from_numpy(self._normals[rows]).to(like)

    def _on(self, faces: Sequence[str]) -> Integers:
        return np.flatnonzero([label in faces for label in self._labels])

    # Set above: what the mesh says, in the form in which points are made of it.
    _simplices: Float = field(init=False, repr=False)
    _volumes: Float = field(init=False, repr=False)
    _facets: Float = field(init=False, repr=False)
    _normals: Float = field(init=False, repr=False)
    _areas: Float = field(init=False, repr=False)
    _labels: tuple[str, ...] = field(init=False, repr=False)


def _placed(unit: Tensor, simplices: Float, measures: Float) -> tuple[Tensor, Tensor]:
    """Points from the unit cube, uniform over simplices (m, k + 1, dim), and in which of them each lies.

    The gaps between sorted uniform numbers are uniform barycentric coordinates.
    """
    ends = torch.from_numpy(np.cumsum(measures) / measures.sum()).to(unit)
    chosen = torch.searchsorted(ends, unit[:, 0].contiguous(), right=True).clamp(max=len(ends) - 1)
    inner = unit[:, 1:].sort(dim=1).values
    zero, one = torch.zeros_like(unit[:, :1]), torch.ones_like(unit[:, :1])
    weights = torch.cat([inner, one], dim=1) - torch.cat([zero, inner], dim=1)
    corners = torch.from_numpy(simplices).to(unit)[chosen]
    # From the first corner: on a facet along an axis the other coordinate is that of its corners to the bit.
    return corners[:, 0] + (weights[:, 1:, None] * (corners[:, 1:] - corners[:, :1])).sum(1), chosen


def _measures(simplices: Float) -> Float:
    """Lengths, areas or volumes of simplices (m, k + 1, dim); 1 for points."""
    sides = simplices[:, 1:] - simplices[:, :1]
    k = sides.shape[1]
    if k == 0:
        return np.ones(len(simplices))
    gram = np.einsum("nid,njd->nij", sides, sides)
    return np.asarray(np.sqrt(np.maximum(np.linalg.det(gram), 0.0)) / math.factorial(k))


def _outer(mesh: Mesh) -> dict[tuple[int, ...], tuple[tuple[int, ...], Float]]:
    """Corners and center of the cell of each facet that belongs to one cell, by its sorted corners."""
    seen: dict[tuple[int, ...], tuple[tuple[int, ...], Float] | None] = {}
    for shape, array in mesh.blocks():
        if shape.dimension != mesh.dim:
            continue
        centers = mesh.coordinates[array[:, : shape.corners]].mean(axis=1)
        for facet in shape.facets:
            for corners, center in zip(array[:, list(facet)].tolist(), centers, strict=True):
                key = tuple(sorted(corners))
                seen[key] = None if key in seen else (tuple(corners), center)
    return {key: value for key, value in seen.items() if value is not None}


def _boundary(mesh: Mesh, names: Mapping[str, Any]) -> tuple[Float, Float, tuple[str, ...]]:
    """Facets of one cell as simplices: the center of that cell (m, dim), corners (m, dim, dim), names."""
    outer = _outer(mesh)
    given = _given(names, outer)
    corners = [corners for corners, _ in outer.values()]
    centers = [center for _, center in outer.values()]
    labels = _labels(mesh, corners, [given.get(key) for key in outer], centers)
    # A quadrilateral is two triangles.
    cut = [
        (center, mesh.coordinates[list(part)], label)
        for facet, center, label in zip(corners, centers, labels, strict=True)
        for part in _fan(facet, mesh.dim)
    ]
    middles, simplices, found = zip(*cut, strict=True)
    return np.stack(middles), np.stack(simplices), tuple(found)


def _fan(corners: tuple[int, ...], dim: int) -> list[tuple[int, ...]]:
    if len(corners) == dim:
        return [corners]
    return [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]


def _given(names: Mapping[str, Any], outer: Mapping[tuple[int, ...], object]) -> dict[tuple[int, ...], str]:
    found: dict[tuple[int, ...], str] = {}
    for name, facets in names.items():
        for facet in np.asarray(facets).tolist():
            key = tuple(sorted(facet))
            if key not in outer:
                raise DataError(
                    f"MeshGeometry: facet {facet} of face {name!r} is not one of the boundary, which belongs "
                    "to exactly one cell."
                )
            found[key] = name
    return found


def _labels(
    mesh: Mesh, corners: list[tuple[int, ...]], given: list[str | None], centers: list[Float]
) -> list[str]:
    """Names of facets: the given ones, else those of their points, else of the neighbor in their plane."""
    if mesh.boundary is None:
        return [label or BOUNDARY for label in given]
    tags = [sorted({int(mesh.boundary[point]) for point in facet}) for facet in corners]
    plain = {0} if mesh.boundary_names[:1] else set()

    def settled(facet: int) -> str | None:
        if given[facet] is not None:
            return given[facet]
        if plain & set(tags[facet]):
            return BOUNDARY
        return mesh.boundary_names[tags[facet][0]] if len(tags[facet]) == 1 else None

    labels = [settled(facet) for facet in range(len(corners))]
    sides = [mesh.coordinates[list(facet[: mesh.dim])] for facet in corners]
    normals = _normals(np.stack(sides), np.stack(centers))
    for facet in [k for k, label in enumerate(labels) if label is None]:
        allowed = {mesh.boundary_names[tag] for tag in tags[facet]}
        neighbors = [
            k for k, label in enumerate(labels) if label in allowed and set(corners[k]) & set(corners[facet])
        ]
        best = max(neighbors, key=lambda k: float(normals[k] @ normals[facet]), default=None)
        labels[facet] = BOUNDARY if best is None else labels[best]
    return [label or BOUNDARY for label in labels]


def _normals(facets: Float, centers: Float) -> Float:
    """Vectors of length one across simplices (m, dim, dim), away from the centers of their cells."""
    first = facets[:, 0]
    if facets.shape[2] == 1:
        return np.asarray(np.sign(first - centers))
    sides = facets[:, 1:] - facets[:, :1]
    # The last right singular vector is orthogonal to all sides.
    across = np.linalg.svd(sides)[2][:, -1]
    return np.asarray(across * np.sign(np.einsum("nd,nd->n", across, first - centers))[:, None])


def _named_facets(mesh: meshio.Mesh, dimension: int) -> dict[str, list[list[int]]]:
    """Facets of one dimension lower by cell sets, else by tags."""
    from sciml.cells import CELLS

    known = {name: shape for name, shape in CELLS.items() if shape.dimension == dimension}
    found: dict[str, list[list[int]]] = {}
    sets = {
        name: blocks
        for name, blocks in mesh.cell_sets.items()
        if not name.startswith("gmsh:") and any(b.type in known for b in mesh.cells)
    }
    titles = {int(value[0]): name for name, value in mesh.field_data.items() if int(value[1]) == dimension}
    tags = next((mesh.cell_data[name] for name in _TAGS if name in mesh.cell_data), None)
    for number, block in enumerate(mesh.cells):
        if block.type not in known:
            continue
        facets = np.asarray(block.data)[:, : known[block.type].corners]
        for name, blocks in sets.items():
            if blocks[number] is not None:
                found.setdefault(name, []).extend(facets[np.asarray(blocks[number], dtype=np.int64)].tolist())
        if not sets and tags is not None:
            for facet, tag in zip(facets.tolist(), np.asarray(tags[number]).tolist(), strict=True):
                found.setdefault(titles.get(int(tag), str(int(tag))), []).append(facet)
    return {name: facets for name, facets in found.items() if facets}
