"""Around finite elements: names of boundaries, values at any point, results as xarray objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.numerics.finite_elements import WHOLE, FiniteElements
from sciml.errors import DataError, ShapeError
from sciml.mesh import Mesh

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]
Values = Float | Sequence[Float]

# A point may lie outside its cell by this part of it: tables round, and cells of degree 1 cut curves short.
_OUTSIDE = 0.1


def tag_boundary(mesh: Mesh, names: Mapping[str, Callable[..., ArrayLike]]) -> Mesh:
    """The same mesh with names for parts of its boundary, told by where the middles of the facets lie.

    Parameters
    ----------
    mesh : Mesh
        Of cells that `FiniteElements` knows.
    names : mapping
        Name to a condition on the coordinates, such as ``lambda x, y: x < 1e-6``; the first that holds
        counts.

    Raises
    ------
    DataError
        If tags of nodes cannot tell the parts from each other, as those of a side that is one facet cannot.

    Examples
    --------
    >>> from sciml.datasets.numerics.curves import Polygon
    >>> from sciml.datasets.numerics.meshing import Domain
    >>> square = Domain(Polygon.rectangle((0, 0), (1, 1))).triangulate(0.5).mesh()
    >>> tagged = tag_boundary(square, {"floor": lambda x, y: y == 0, "wall": lambda x, y: y > 0})
    >>> [round(FiniteElements(tagged).integral(1.0, name), 12) for name in ("floor", "wall")]
    [1.0, 3.0]
    """
    plain = replace(mesh, boundary=None, boundary_names=())
    elements = FiniteElements(plain)
    facets = elements.facets(WHOLE)
    middles = elements.basis.mesh.p[:, elements.basis.mesh.facets[:, facets]].mean(axis=1)
    numbers = np.zeros(len(facets), dtype=np.int64)
    for number, condition in reversed(list(enumerate(names.values(), start=1))):
        numbers[np.broadcast_to(np.asarray(condition(*middles), dtype=bool), numbers.shape)] = number
    tags = np.zeros(len(mesh), dtype=np.int64)
    for number in range(len(names), 0, -1):
        unknowns = elements.basis.get_dofs(facets[numbers == number]).flatten()
        tags[np.isin(elements.order, unknowns)] = number
    found = replace(plain, boundary=tags, boundary_names=("interior", *names))
    told = FiniteElements(found).tags_of(facets)
    if (told != numbers).any():
        wrong = int(np.flatnonzero(told != numbers)[0])
        raise DataError(
            f"tag_boundary: the facet at {middles[:, wrong].tolist()} lies alone between other parts of the "
            "boundary; refine the mesh, or use cells of degree 2, whose middle nodes tell such facets apart."
        )
    return found


def at_points(mesh: Mesh, values: ArrayLike, points: ArrayLike, *, outside: float = _OUTSIDE) -> Float:
    """The finite element function with given values at the nodes, at other points.

    Parameters
    ----------
    mesh : Mesh
        Of cells that `FiniteElements` knows.
    values : (node,) or (node, components)
    points : (n, dim)
        In the domain.
    outside : float
        Points outside by less than this part of a cell are extrapolated.

    Returns
    -------
    (n,) or (n, components)

    Raises
    ------
    ShapeError
        If a shape does not fit.
    DataError
        If a point lies outside.

    Examples
    --------
    >>> square = Mesh([[0, 0], [1, 0], [1, 1], [0, 1]], cells={"triangle": [[0, 1, 2], [0, 2, 3]]})
    >>> at_points(square, [0.0, 1.0, 1.0, 0.0], [[0.25, 0.5]]).round(12).tolist()
    [0.25]
    """
    where, nodal = np.asarray(points, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if where.ndim != 2 or where.shape[1] != mesh.dim or nodal.shape[:1] != (len(mesh),):
        raise ShapeError(
            f"at_points: needs values of {len(mesh)} nodes and points (n, {mesh.dim}), got {nodal.shape} and "
            f"{where.shape}."
        )
    elements = FiniteElements(mesh)
    cell, local = _located(elements, where, outside)
    corners = elements.basis.element_dofs[:, cell]
    columns = nodal.reshape(len(mesh), -1)
    found = np.zeros((len(where), columns.shape[1]))
    unknowns = np.stack([elements.unknowns(column) for column in columns.T], axis=1)
    for i, corner in enumerate(corners):
        found += elements.basis.elem.lbasis(local, i)[0][:, None] * unknowns[corner]
    return found.reshape(len(where), *nodal.shape[1:])


def _located(elements: FiniteElements, points: Float, outside: float) -> tuple[NDArray[np.int64], Float]:
    """The cell of each point, and the point in the reference cell, (dim, n).

    Of the 8 or 32 cells with the nearest centers the one that the point lies deepest in, and of up to 512 if
    it lies in none.
    """
    from scipy.spatial import cKDTree

    basis = elements.basis
    tree = cKDTree(basis.mesh.p[:, basis.mesh.t].mean(axis=1).T)
    best, count = np.full(len(points), -np.inf), 8
    cell, local = np.zeros(len(points), dtype=np.int64), np.zeros((points.shape[1], len(points)))
    left = np.arange(len(points))
    while len(left):
        count = min(count, tree.n)
        near = tree.query(points[left], k=list(range(1, count + 1)))[1]
        inside = _pulled_back(basis.mapping, np.repeat(points[left], count, axis=0), near.ravel())
        depth = np.minimum(inside.min(axis=0), 1 - inside.sum(axis=0)).reshape(len(left), count)
        choice = np.argmax(depth, axis=1)
        rows = np.arange(len(left))
        best[left], cell[left] = depth[rows, choice], near[rows, choice]
        local[:, left] = inside.reshape(-1, len(left), count)[:, rows, choice]
        if count == tree.n or count >= 512:
            break
        left = left[best[left] < (-1e-9 if count < 32 else -outside)]
        count *= 4
    if (best < -outside).any():
        first = int(np.flatnonzero(best < -outside)[0])
        raise DataError(
            f"at_points: {int((best < -outside).sum())} of {len(points)} points lie outside the mesh; the "
            f"first is {points[first].tolist()}."
        )
    return cell, local


def _pulled_back(mapping: Any, points: Float, cells: NDArray[np.int64]) -> Float:
    """Each point in the reference coordinates of its cell, (dim, n), by Newton's method.

    -1 where it fails, as it may for points far outside of a curved cell.
    """
    dim = points.shape[1]
    found = np.full((dim, len(points), 1), 1 / (dim + 1))
    for _ in range(8):  # straight cells need one step, curved ones three or four
        miss = points - mapping.F(found, tind=cells)[:, :, 0].T
        slopes = mapping.DF(found, tind=cells)[:, :, :, 0].transpose(2, 0, 1)
        step = np.linalg.solve(slopes, miss[:, :, None])[:, :, 0]
        found[:, :, 0] += np.clip(step, -4.0, 4.0).T
    return np.where(np.abs(step).max(axis=1) < 1e-6, found[:, :, 0], -1.0)


def labelled_nodes(
    fields: Mapping[str, tuple[tuple[str, ...], Any, Mapping[str, Any]]],
    mesh: Mesh,
    *,
    attributes: Mapping[str, Any] | None = None,
) -> xarray.Dataset:
    """Arrays over the nodes of a mesh, whose coordinates are those of the dimension "node".

    Parameters
    ----------
    fields : mapping
        Name to (dimensions, values, attributes).
    mesh : Mesh
        The corners of its cells become the variable "cells", (cell, corner), for plots.
    attributes : mapping, optional
        Of the whole.

    Examples
    --------
    >>> mesh = Mesh([[0, 0], [1, 0], [0, 1]], cells={"triangle": [[0, 1, 2]]})
    >>> found = labelled_nodes({"u": (("node",), [1.0, 2.0, 3.0], {"units": "1"})}, mesh)
    >>> found["u"].where(found["x"] == 1, drop=True).item()
    2.0
    """
    import xarray

    coordinates: dict[str, Any] = {
        name: ("node", mesh.coordinates[:, i], {"units": mesh.units, "long_name": name})
        for i, name in enumerate(mesh.names)
    }
    corners = [array[:, : s.corners] for s, array in mesh.blocks() if s.dimension == mesh.cell_dimension]
    coordinates["cells"] = (("cell", "corner"), np.concatenate(corners), {"long_name": "corners of cells"})
    return xarray.Dataset(
        {name: (dims, np.asarray(values), dict(told)) for name, (dims, values, told) in fields.items()},
        coordinates,
        dict(attributes or {}),
    )


def nodal_richardson(outputs: Sequence[tuple[Values, Values]], *, order: float) -> Float:
    """Relative error of samples on meshes, (n,), from those on meshes of half the spacing.

    The change at common nodes, in the mean square, times 2^order / (2^order - 1); of several outputs the
    largest counts.

    Parameters
    ----------
    outputs : sequence of (coarse, fine)
        For each output the values (node, ...) of each sample; the first nodes of the fine meshes are those of
        the coarse ones.
    order : float, positive
    """
    worst = np.zeros(len(outputs[0][0]))
    for coarse, fine in outputs:
        for i, (given, found) in enumerate(zip(coarse, fine, strict=True)):
            change = np.sqrt(np.sum((given - found[: len(given)]) ** 2) / np.sum(given**2))
            worst[i] = max(worst[i], float(change))
    return worst * 2**order / (2**order - 1)
