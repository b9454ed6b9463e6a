"""How fields on meshes and points are drawn into one picture's axes; `sciml.plots.fields` is the way in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciml.errors import ShapeError
from sciml.mesh import Integers, Mesh, Points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

Float = NDArray[np.float64]

# Directions of right and up in pictures of space, seen from above and in front.
_RIGHT = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6), 0.0])
_AWAY = np.array([-np.sin(np.pi / 6), np.cos(np.pi / 6), -0.6]) / np.sqrt(1.36)
_VIEW = np.stack([_RIGHT, np.cross(_RIGHT, _AWAY)], axis=1)
_SPARSE = 2000  # cells up to which their edges are drawn


@dataclass(frozen=True)
class Canvas:
    """Where a panel's values are drawn: the points of a mesh or cloud in the plane of the picture.

    Parameters
    ----------
    place : Points
    flat : (point, 2)
        In space the orthographic view from above and in front; of one axis the values go upwards.
    """

    place: Points
    flat: Float

    @classmethod
    def of(cls, place: Points, values: Float) -> Canvas:
        """For values on the points, or on the cells.

        Raises
        ------
        ShapeError
            If they are neither (point,) nor (cell,), or there are more than three axes.
        """
        sizes = {len(place), place.cell_count if isinstance(place, Mesh) else len(place)}
        if values.ndim != 1 or len(values) not in sizes or place.dim > 3:
            raise ShapeError(
                f"plots.fields: values on {len(place)} points{_cells(place)} with up to three axes have one "
                f"number for each, got shape {values.shape} with {place.dim} axes."
            )
        if place.dim == 1:
            height = values if len(values) == len(place) else np.zeros(len(place))
            return cls(place, np.stack([place.coordinates[:, 0], height], axis=1))
        return cls(place, place.coordinates if place.dim == 2 else place.coordinates @ _VIEW)

    def on_points(self, values: Float) -> bool:
        """Whether values belong to the points, not to the cells."""
        return len(values) == len(self.place)

    def draw(self, ax: Axes, values: Float, *, cmap: str, low: float, high: float) -> ScalarMappable:
        """Draw the values: triangles of a plane mesh, the surface of a mesh in space, dots of points."""
        style: dict[str, Any] = {"cmap": cmap, "vmin": low, "vmax": high, "rasterized": True}
        pen: Any = ax  # whose many overloads take no mapping
        corners, owner = self._surface()
        if len(corners) == 0:
            return self._dots(pen, values, style)
        x, y = self.flat.T
        if self.on_points(values) and self.place.dim == 2:
            picture: ScalarMappable = pen.tripcolor(x, y, corners, values, shading="gouraud", **style)
            self._outline(ax)
            return picture
        colors = values[corners].mean(axis=1) if self.on_points(values) else values[owner]
        if self.place.dim == 3:  # what is far away first, so that what is near covers it
            order = np.argsort(-(self.place.coordinates[corners].mean(axis=1) @ _AWAY), kind="stable")
            corners, colors = corners[order], colors[order]
        lines = {"edgecolors": "face", "linewidth": 0.2}
        picture = pen.tripcolor(x, y, corners, facecolors=colors, **lines, **style)
        if self.place.dim == 2:
            self._outline(ax)
        return picture

    def _dots(self, pen: Any, values: Float, style: dict[str, Any]) -> ScalarMappable:
        places = self.flat
        if not self.on_points(values) and isinstance(self.place, Mesh):
            centers = self.place.centers()
            places = centers if self.place.dim == 2 else np.stack([centers[:, 0], values], axis=1)
        order = np.arange(len(values))
        if self.place.dim == 3:
            order = np.argsort(-(self.place.coordinates @ _AWAY), kind="stable")
        size = float(np.clip(4000 / len(values), 2, 40))
        x, y = places[order].T
        picture: ScalarMappable = pen.scatter(x, y, c=values[order], s=size, linewidths=0, **style)
        return picture

    def _surface(self) -> tuple[Integers, Integers]:
        """Triangles to be drawn, (triangle, 3), and the cell that each belongs to."""
        place = self.place
        if not isinstance(place, Mesh) or place.cell_dimension < 2 or place.dim < 2:
            return np.empty((0, 3), np.int64), np.empty(0, np.int64)
        triangles, owners, start = [], [], 0
        for shape, array in place.blocks():
            numbers = np.arange(start, start + len(array))
            start += len(array)
            if shape.dimension == 2:
                for simplex in shape.simplices:
                    triangles.append(array[:, list(simplex)])
                    owners.append(numbers)
        if place.cell_dimension == 3:
            faces, cells = boundary_faces(place)
            triangles, owners = [faces], [cells]
        return np.concatenate(triangles), np.concatenate(owners)

    def _outline(self, ax: Axes) -> None:
        """The edges of one cell alone, and of all cells if there are few."""
        assert isinstance(self.place, Mesh)
        sides = [
            array[:, np.array(shape.edges)].reshape(-1, 2)
            for shape, array in self.place.blocks()
            if shape.dimension == 2
        ]
        edges, counts = np.unique(np.sort(np.concatenate(sides), axis=1), axis=0, return_counts=True)
        from matplotlib.collections import LineCollection

        if self.place.cell_count <= _SPARSE:
            ax.add_collection(LineCollection(list(self.flat[edges]), colors="#00000030", linewidths=0.3))
        border = self.flat[edges[counts == 1]]
        ax.add_collection(LineCollection(list(border), colors="#333333", linewidths=0.8))


def boundary_faces(mesh: Mesh) -> tuple[Integers, Integers]:
    """The faces of solid cells that belong to one cell alone, cut into triangles, and these cells.

    (triangle, 3) points and (triangle,) numbers of cells.

    Examples
    --------
    >>> tetra = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], cells={"tetra": [[0, 1, 2, 3]]})
    >>> len(boundary_faces(tetra)[0])
    4
    """
    found: dict[int, tuple[list[Integers], list[Integers]]] = {}
    start = 0
    for shape, array in mesh.blocks():
        for facet in shape.facets if shape.dimension == 3 else ():
            faces, cells = found.setdefault(len(facet), ([], []))
            faces.append(array[:, list(facet)])
            cells.append(np.arange(start, start + len(array)))
        start += len(array)
    triangles, owners = [np.empty((0, 3), np.int64)], [np.empty(0, np.int64)]
    for corners, (faces, cells) in found.items():
        every, owner = np.concatenate(faces), np.concatenate(cells)
        _, first, counts = np.unique(np.sort(every, axis=1), axis=0, return_index=True, return_counts=True)
        alone = first[counts == 1]
        for i in range(1, corners - 1):
            triangles.append(every[alone][:, [0, i, i + 1]])
            owners.append(owner[alone])
    return np.concatenate(triangles), np.concatenate(owners)


def _cells(place: Points) -> str:
    return f" or {place.cell_count} cells" if isinstance(place, Mesh) else ""
