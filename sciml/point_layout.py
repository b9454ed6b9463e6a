"""What a model on points sees of one sample: input values, places in the unit box, weights and neighbors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.errors import DataError, ShapeError
from sciml.mesh import Mesh, Points, Space
from sciml.neighbors import Neighborhood

Item = dict[str, NDArray[Any]]
"""The arrays of one sample, without padding."""


@dataclass(frozen=True)
class PointLayout:
    """How the samples of a dataset on points or meshes are told to a model; it needs no dataset.

    Parameters
    ----------
    space : Space
        The box around all points of the dataset, which is scaled to the unit box.
    boundaries : tuple of str
        The inputs that are distances to a boundary of the mesh.
    cells : bool
        Whether values live on the cells, which then stand for their centers.
    measured : bool
        Whether samples are meshes, whose points have quadrature weights.
    neighbors : callable, optional
        The points of a sample, in the units of the space, to pairs (edge, 2).
    """

    space: Space
    boundaries: tuple[str, ...] = ()
    cells: bool = False
    measured: bool = False
    neighbors: Neighborhood | None = None

    def check(self, who: str, cloud: Points) -> None:
        """Refuse points of another space.

        Raises
        ------
        ShapeError
            If they have another number of coordinates.
        DataError
            If they are in other units, or have no cells where these are needed.
        """
        if cloud.dim != self.space.rank:
            raise ShapeError(
                f"{who}: points must have {self.space.rank} coordinates, {', '.join(self.space.names)}, got "
                f"{cloud.dim}."
            )
        if cloud.units not in (self.space.units, "1"):
            raise DataError(f"{who}: points are in {cloud.units!r}, training used {self.space.units!r}.")
        if self.measured and not isinstance(cloud, Mesh):
            raise DataError(
                f"{who}: training was on meshes; Points without cells have no weights, give a Mesh."
            )

    def points(self, cloud: Points) -> Points:
        """Where the values live, in the units of the space: the points, or the centers of cells."""
        if not self.cells:
            return cloud
        assert isinstance(cloud, Mesh)
        return Points(cloud.centers(), cloud.names, cloud.units)

    def item(self, cloud: Points, inputs: Sequence[str], values: Mapping[str, NDArray[Any]]) -> Item:
        """Input channels, coordinates, weights and neighbors of one sample.

        Parameters
        ----------
        cloud : Points or Mesh
        inputs : names
            Of fields, and of `boundaries`, in the order of the channels.
        values : mapping
            Field to its values, (point,) or (point, component).
        """
        points = self.points(cloud)
        places = self.space.unit(points.coordinates)
        columns = [
            self._distances(name, cloud, places) if name in self.boundaries else values[name]
            for name in inputs
        ]
        item: Item = {"x": side_by_side(columns, len(places)), "coordinates": places.astype(np.float32)}
        if self.measured:
            assert isinstance(cloud, Mesh)
            item["weights"] = (cloud.measures() if self.cells else cloud.weights()).astype(np.float32)
        if self.neighbors is not None:
            item["neighbors"] = self.neighbors(points if self.cells else cloud)
        return item

    def _distances(self, boundary: str, cloud: Points, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far the places are from a boundary, in the unit box."""
        assert isinstance(cloud, Mesh)
        return distances(places, self.space.unit(cloud.coordinates)[cloud.on(boundary)])


def distances(places: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """From each place (place, dim) of the unit box to the nearest of others: (place,).

    Where there are none, the diagonal of the box: nothing in it is farther away.

    Examples
    --------
    >>> distances(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 0.5], [0.0, 1.0]]))
    array([0.5, 1. ])
    """
    from scipy.spatial import cKDTree

    if not len(others):
        return np.full(len(places), np.sqrt(places.shape[1]))
    return np.asarray(cKDTree(others).query(places)[0])


def side_by_side(columns: Sequence[NDArray[Any]], points: int) -> NDArray[np.float32]:
    """Values (point,) and (point, component) as channels, (point, channel), of which there may be none.

    Examples
    --------
    >>> side_by_side([np.array([1.0, 2.0]), np.array([[3.0, 4.0], [5.0, 6.0]])], 2).tolist()
    [[1.0, 3.0, 4.0], [2.0, 5.0, 6.0]]
    """
    parts = [np.asarray(column).reshape(points, -1) for column in columns]
    return np.concatenate([*parts, np.empty((points, 0))], axis=1).astype(np.float32)
