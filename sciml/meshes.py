"""Between datasets on meshes and `meshio.Mesh`, one for each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.errors import DataError, nearest
from sciml.mesh import Mesh, Points
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import meshio

    from sciml.dataset import Dataset

_TAGS = "boundary_tag"  # the point data that hold a mesh's boundary


def to_meshio(data: Dataset, row: int, frame: int | None = None) -> meshio.Mesh:
    """See `Dataset.to_meshio`."""
    import meshio

    mesh = data.mesh(row)
    points: dict[str, Any] = {}
    cells: dict[str, Any] = {}
    for name, item in data.fields.items():
        if item.on == "own" or (item.time and frame is None):
            continue
        values = data.arrays(name, [row])[0]
        values = values[frame] if item.time else values
        (points if item.on == "points" else cells)[name] = np.ascontiguousarray(values)
    if not isinstance(mesh, Mesh):
        vertices = np.arange(len(mesh))[:, None]
        return meshio.Mesh(mesh.coordinates, [("vertex", vertices)], point_data=points)
    if mesh.boundary is not None:
        points[_TAGS] = mesh.boundary
    cuts = np.cumsum([len(array) for _, array in mesh.cells])[:-1]
    return meshio.Mesh(
        mesh.coordinates,
        list(mesh.cells),
        point_data=points,
        cell_data={name: np.split(values, cuts) for name, values in cells.items()},
    )


def values_of(mesh: meshio.Mesh, *, cells: bool) -> dict[str, NDArray[Any]]:
    """The point data of a mesh, or its cell data over all blocks."""
    if not cells:
        return {name: np.asarray(values) for name, values in mesh.point_data.items()}
    return {name: np.concatenate(list(blocks)) for name, blocks in mesh.cell_data.items()}


def with_values(mesh: meshio.Mesh, values: Mapping[str, NDArray[Any]], *, cells: bool) -> meshio.Mesh:
    """The points and cells of a mesh with other point data, or cell data."""
    import meshio

    if not cells:
        return meshio.Mesh(mesh.points, mesh.cells, point_data=dict(values))
    cuts = np.cumsum([len(block.data) for block in mesh.cells])[:-1]
    return meshio.Mesh(
        mesh.points, mesh.cells, cell_data={name: np.split(array, cuts) for name, array in values.items()}
    )


def from_meshio(
    path: str | Path,
    meshes: Sequence[meshio.Mesh],
    fields: Mapping[str, Field] | Sequence[Field],
    *,
    split: ArrayLike,
    variables: Mapping[str, ArrayLike] | None = None,
    provenance: Provenance | None = None,
    units: str = "1",
    boundary_names: Sequence[str] = (),
) -> Dataset:
    """See `Dataset.from_meshio`."""
    from sciml.dataset_writing import write_dataset

    if not meshes:
        raise DataError("from_meshio: needs at least one mesh.")
    named = dict(fields) if isinstance(fields, Mapping) else {item.name: item for item in fields}
    rank = _rank(meshes)
    tags = [mesh.point_data[_TAGS] for mesh in meshes if _TAGS in mesh.point_data]
    if tags and not boundary_names:
        boundary_names = [f"boundary_{i}" for i in range(int(np.max(np.concatenate(tags))) + 1)]
    converted = [mesh_from(m, rank=rank, units=units, boundary_names=boundary_names) for m in meshes]
    shared = all(_same(converted[0], mesh) for mesh in converted[1:])
    listed = []
    for name, item in named.items():
        values: Any = [_values(mesh, name, item, i) for i, mesh in enumerate(meshes)]
        listed.append((item, np.stack(values) if shared else values))
    return write_dataset(
        path,
        grid=converted[0] if shared else converted,
        fields=listed,
        split=split,
        variables=variables,
        provenance=provenance,
    )


def mesh_from(
    mesh: meshio.Mesh, *, rank: int | None = None, units: str = "1", boundary_names: Sequence[str] = ()
) -> Points:
    """The `Mesh` of a `meshio.Mesh`, or its `Points` if it has no cells but vertices.

    Parameters
    ----------
    mesh : meshio.Mesh
        Integers in its point data ``boundary_tag`` become the boundary, if it has ``boundary_names``.
    rank : int, optional
        Keep only the first coordinates; by default without a last one that is the same everywhere, which
        formats of space give to plane meshes.
    units : str
    boundary_names : sequence of str

    Raises
    ------
    DataError, ShapeError
        As `Mesh`, for polyhedra and other cells that are not known.
    """
    points = np.asarray(mesh.points, dtype=np.float64)[:, : _rank([mesh]) if rank is None else rank]
    blocks = [(block.type, block.data) for block in mesh.cells if len(block.data)]
    if all(kind == "vertex" for kind, _ in blocks):
        return Points(points, units=units)
    tags = mesh.point_data.get(_TAGS) if boundary_names else None
    return Mesh(points, units=units, cells=tuple(blocks), boundary=tags, boundary_names=tuple(boundary_names))


def _rank(meshes: Sequence[meshio.Mesh]) -> int:
    """Coordinates without last ones that are the same for all points of all meshes."""
    rank = min(int(np.shape(mesh.points)[1]) for mesh in meshes)
    last = float(meshes[0].points[0][rank - 1])
    while rank > 1 and all((np.asarray(mesh.points)[:, rank - 1] == last).all() for mesh in meshes):
        rank -= 1
        last = float(meshes[0].points[0][rank - 1])
    return rank


def _same(a: Points, b: Points) -> bool:
    """Whether two meshes are equal, so that one is enough."""
    if type(a) is not type(b) or not np.array_equal(a.coordinates, b.coordinates):
        return False
    if not isinstance(a, Mesh) or not isinstance(b, Mesh):
        return True
    blocks = len(a.cells) == len(b.cells) and all(
        x[0] == y[0] and np.array_equal(x[1], y[1]) for x, y in zip(a.cells, b.cells, strict=True)
    )
    tags = [m.boundary for m in (a, b)]
    return (
        blocks
        and ((tags[0] is None) == (tags[1] is None))
        and (tags[0] is None or np.array_equal(tags[0], np.asarray(tags[1])))
    )


def _values(mesh: meshio.Mesh, name: str, item: Field, number: int) -> NDArray[Any]:
    """The point or cell data of that name."""
    on_cells = item.on == "cells"
    known: Mapping[str, Any] = mesh.cell_data if on_cells else mesh.point_data
    if name not in known:
        where = "cell" if on_cells else "point"
        raise DataError(
            f"from_meshio: mesh {number} has no {where} data {name!r}, only "
            f"{', '.join(map(repr, known)) or 'none'}.{nearest(name, known)}"
        )
    if not on_cells:
        return np.asarray(known[name])
    return np.concatenate(
        [np.asarray(a) for a, block in zip(known[name], mesh.cells, strict=True) if len(block.data)]
    )
