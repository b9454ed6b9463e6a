"""Cells and meshes: measures, quadrature, edges, the box around many of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sciml.cells import CELLS, POLYGON, cell, measures
from sciml.errors import DataError, ShapeError
from sciml.mesh import Mesh, Points, Space

# Corners of the reference cells of meshio, and their measure.
REFERENCE = {
    "line": ([[0.0], [1.0]], 1.0),
    "triangle": ([[0, 0], [1, 0], [0, 1]], 1 / 2),
    "quad": ([[0, 0], [1, 0], [1, 1], [0, 1]], 1.0),
    "tetra": ([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], 1 / 6),
    "pyramid": ([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]], 1 / 3),
    "wedge": ([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1]], 1 / 2),
    "hexahedron": (
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]],
        1.0,
    ),
}


def grid_mesh(n: int, m: int) -> Mesh:
    """Triangles on the unit square, the vertical lines at uneven places."""
    x, y = np.meshgrid(np.linspace(0, 1, n + 1) ** 1.3, np.linspace(0, 1, m + 1), indexing="ij")
    number = np.arange((n + 1) * (m + 1)).reshape(n + 1, m + 1)
    a, b, c, d = (number[i : n + i, j : m + j].ravel() for i, j in ((0, 0), (1, 0), (1, 1), (0, 1)))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return Mesh(np.stack([x.ravel(), y.ravel()], 1), cells={"triangle": triangles})


@pytest.mark.parametrize("kind", REFERENCE)
def test_measure_is_that_of_the_reference_cell_and_scales_under_affine_maps(kind: str) -> None:
    corners, expected = REFERENCE[kind]
    array = np.array([corners], dtype=float)
    dim = array.shape[2]
    assert measures(CELLS[kind], array).item() == pytest.approx(expected, rel=1e-14)
    matrix = np.random.default_rng(1).normal(size=(dim, dim))
    moved = array @ matrix.T + 3.0
    # A mirrored cell has the same measure.
    for image in (moved, moved * np.array([-1.0] + [1.0] * (dim - 1))):
        found = measures(CELLS[kind], image).item()
        assert found == pytest.approx(expected * abs(np.linalg.det(matrix)), rel=1e-12)


@pytest.mark.parametrize("kind", ["line", "triangle", "quad"])
def test_measure_of_a_cell_in_space_does_not_change_when_it_is_turned(kind: str) -> None:
    corners, expected = REFERENCE[kind]
    flat = np.zeros((1, len(corners), 3))
    flat[0, :, : len(corners[0])] = corners
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    assert measures(CELLS[kind], flat @ turn).item() == pytest.approx(expected, rel=1e-13)


def test_polygons_need_not_be_convex() -> None:
    arrow = np.array([[[0.0, 0.0], [2.0, 1.0], [0.0, 2.0], [1.0, 1.0]]])
    assert measures(cell(POLYGON, 4), arrow).item() == pytest.approx(1.0)
    dart = Mesh(arrow[0], cells={"polygon": [[0, 1, 2, 3]]})
    assert dart.measures().tolist() == [1.0]


@pytest.mark.parametrize("kind", [k for k in CELLS if CELLS[k].dimension > 0])
def test_facets_edges_and_simplices_fit_together(kind: str) -> None:
    shape = CELLS[kind]
    assert shape.corners <= shape.points
    used = {i for simplex in shape.simplices for i in simplex}
    assert used == set(range(shape.corners))
    assert {i for edge in shape.edges for i in edge} == used
    if shape.dimension == 3:
        # Euler: corners - edges + faces = 2, and every edge is a side of exactly two faces.
        assert shape.corners - len(shape.edges) + len(shape.facets) == 2
        sides = [frozenset((f[i - 1], f[i])) for f in shape.facets for i in range(len(f))]
        assert all(sides.count(frozenset(edge)) == 2 for edge in shape.edges)
        # Turned the same way around: each edge is run through once in each direction.
        directed = [(f[i - 1], f[i]) for f in shape.facets for i in range(len(f))]
        assert len(set(directed)) == len(directed)


def test_weights_are_a_quadrature_of_second_order() -> None:
    errors = []
    for n in (8, 16, 32):
        mesh = grid_mesh(n, n)
        assert mesh.weights().sum() == pytest.approx(1.0, rel=1e-13)
        x, y = mesh.coordinates.T
        errors.append(abs(mesh.weights() @ (np.exp(x) * np.cos(y)) - (math.e - 1) * math.sin(1.0)))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (orders > 1.9).all()
    # Linear functions exactly.
    assert mesh.weights() @ (2 * x - 3 * y + 1) == pytest.approx(0.5, abs=1e-12)


def test_weights_leave_out_cells_of_the_boundary() -> None:
    square = [[0, 0], [1, 0], [1, 1], [0, 1]]
    mesh = Mesh(square, cells=[("line", [[0, 1]]), ("quad", [[0, 1, 2, 3]])])
    assert mesh.cell_dimension == 2 and mesh.cell_count == 2
    assert mesh.weights().tolist() == [0.25] * 4
    assert mesh.measures().tolist() == [1.0, 1.0]
    assert mesh.centers().tolist() == [[0.5, 0.0], [0.5, 0.5]]


def test_edges_are_listed_once() -> None:
    mesh = grid_mesh(3, 2)
    points, faces = len(mesh), mesh.cell_count
    assert points - len(mesh.edges()) + faces == 1  # Euler, of a disk
    assert (mesh.edges()[:, 0] < mesh.edges()[:, 1]).all()


def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    triangle = [[0, 0], [1, 0], [0, 1]]
    with pytest.raises(DataError, match="name points 0 to 3, but there are 3"):
        Mesh(triangle, cells={"triangle": [[0, 1, 3]]})
    with pytest.raises(DataError, match=r"'triangel' are not known.*Did you mean 'triangle'"):
        Mesh(triangle, cells={"triangel": [[0, 1, 2]]})
    with pytest.raises(ShapeError, match=r"integers of shape \(cell, 3\)"):
        Mesh(triangle, cells={"triangle": [[0, 1]]})
    with pytest.raises(DataError, match="points alone are Points"):
        Mesh(triangle, cells={})
    with pytest.raises(DataError, match="boundary has values 0 to 2"):
        Mesh(triangle, cells={"triangle": [[0, 1, 2]]}, boundary=[0, 1, 2], boundary_names=("inside", "wall"))
    with pytest.raises(DataError, match="distinct words without spaces"):
        Mesh(triangle, cells={"triangle": [[0, 1, 2]]}, boundary=[0, 1, 1], boundary_names=("in", "a wall"))
    with pytest.raises(DataError, match="point 1 is"):
        Points([[0.0, 0.0], [np.nan, 0.0]])
    with pytest.raises(ShapeError, match=r"\(point, dim\), got \(3,\)"):
        Points([0.0, 1.0, 2.0])


def test_space_is_the_box_around_all_samples() -> None:
    space = Space.around([Points([[0.0, 1.0]]), Points([[2.0, 1.0], [1.0, 1.0]])])
    assert (space.lower, space.upper) == ((0.0, 1.0), (2.0, 1.0))
    # The second axis is flat: it is shifted, not divided by zero.
    assert space.unit(np.array([[1.0, 1.0], [2.0, 3.0]])).tolist() == [[0.5, 0.0], [1.0, 2.0]]
    with pytest.raises(DataError, match=r"sample 1 is a Points with axes \('r', 's'\)"):
        Space.around([Points([[0.0, 1.0]]), Points([[0.0, 1.0]], names=("r", "s"))])
