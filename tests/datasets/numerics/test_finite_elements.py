"""Finite elements on meshes, and functions around them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from sciml.datasets import elasticity, poisson
from sciml.datasets.numerics.curves import Polygon, Star
from sciml.datasets.numerics.finite_elements import Constrained, FiniteElements
from sciml.datasets.numerics.mesh_functions import at_points, nodal_richardson, tag_boundary
from sciml.datasets.numerics.meshing import Domain
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.mesh import Mesh

SQUARE = Domain(Polygon.rectangle((0.0, 0.0), (1.0, 1.0)))


def cube(degree=1, cells=2):
    """The unit cube in tetrahedra, six for each of cells^3 small cubes."""
    k = np.arange(cells + 1) / cells
    points = np.stack(np.meshgrid(k, k, k, indexing="ij"), axis=-1).reshape(-1, 3)
    step = np.array([(cells + 1) ** 2, cells + 1, 1])
    first = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ step
    paths = [np.cumsum([0, *step[list(p)]]) for p in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1))]
    paths.append(np.cumsum([0, *step[[2, 1, 0]]]))
    tetra = np.concatenate([first[:, None] + path for path in paths])
    mesh = Mesh(points, cells={"tetra": tetra})
    if degree == 1:
        return mesh
    shape, _ = next(iter(mesh.blocks()))
    edges = mesh.edges()
    numbers = {tuple(edge): len(points) + i for i, edge in enumerate(edges.tolist())}
    middles = [[numbers[tuple(sorted((t[a], t[b])))] for a, b in shape.edges] for t in tetra.tolist()]
    return Mesh(
        np.concatenate([points, points[edges].mean(axis=1)]),
        cells={"tetra10": np.concatenate([tetra, np.array(middles)], axis=1)},
    )


def shuffled(mesh, seed=0):
    """The same mesh with its nodes and cells numbered in another order."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(mesh))
    place = np.argsort(order)
    kind, cells = mesh.cells[0]
    boundary = None if mesh.boundary is None else mesh.boundary[order]
    return Mesh(
        mesh.coordinates[order],
        cells={kind: random.permutation(place[cells])},
        boundary=boundary,
        boundary_names=mesh.boundary_names,
    )


@pytest.mark.parametrize("degree", [1, 2])
def test_integrals_of_polynomials(degree):
    """Of degree 2 and 4 on straight cells; whatever the numbers of nodes."""
    plane = shuffled(SQUARE.triangulate(0.3).mesh(degree))
    space = shuffled(cube(degree))
    power = 2 * degree
    assert abs(FiniteElements(plane).integral(lambda x, y: x**power) - 1 / (power + 1)) < 1e-13
    assert abs(FiniteElements(plane).integral(lambda x, y: x * y, "top") - 1 / 2) < 1e-13
    assert abs(FiniteElements(space).integral(lambda x, y, z: z**power) - 1 / (power + 1)) < 1e-13
    assert abs(FiniteElements(space).integral(1.0, "boundary") - 6) < 1e-12


@pytest.mark.parametrize("degree", [1, 2])
def test_patch(degree):
    """A linear solution is exact on every mesh, curved and spatial ones too; so is constant stress."""
    holed = Domain(SQUARE.outline, [Star((0.5, 0.5), 0.2)]).triangulate(0.2).mesh(degree)
    space = tag_boundary(cube(degree), {"floor": lambda x, y, z: z < 1e-9, "rest": lambda x, y, z: z > 0})
    for mesh in (shuffled(holed), shuffled(space)):
        linear = 1 + mesh.coordinates @ [2.0, -1.0, 0.5][: mesh.dim]
        names = mesh.boundary_names[1:]
        u = poisson.solve(mesh, coefficient=3.0, boundary=dict.fromkeys(names, linear))["u"].values
        np.testing.assert_allclose(u, linear, atol=1e-12)
        slopes = np.array([[0.1, 0.3, 0.2], [-0.2, 0.4, 0.1], [0.3, 0.0, -0.5]])[: mesh.dim, : mesh.dim]
        moved = mesh.coordinates @ slopes.T
        given = {name: list(moved.T) for name in names}
        found = elasticity.solve(mesh, young=2.0, poisson=0.25, plane="strain", clamped=given)
        np.testing.assert_allclose(found["displacement"].values, moved, atol=1e-12)
        strain = (slopes + slopes.T) / 2
        stress = 1.6 * strain + 0.8 * np.trace(strain) * np.eye(mesh.dim)
        wanted = [stress["xyz".index(a), "xyz".index(b)] for a, b in found["entry"].values.tolist()]
        np.testing.assert_allclose(
            found["stress"].values, np.broadcast_to(wanted, (len(mesh), len(wanted))), atol=1e-11
        )


@pytest.mark.parametrize("degree", [1, 2])
def test_values_at_points_reproduce_polynomials(degree):
    random = np.random.default_rng(1)
    for mesh in (shuffled(SQUARE.triangulate(0.3).mesh(degree)), shuffled(cube(degree))):
        values = np.stack([mesh.coordinates[:, 0] ** degree, mesh.coordinates.sum(axis=1)], axis=1)
        points = random.uniform(0, 1, (200, mesh.dim))
        found = at_points(mesh, values, points)
        np.testing.assert_allclose(found[:, 0], points[:, 0] ** degree, atol=1e-12)
        np.testing.assert_allclose(found[:, 1], points.sum(axis=1), atol=1e-12)
        np.testing.assert_allclose(at_points(mesh, values[:, 0], mesh.coordinates), values[:, 0], atol=1e-12)


def test_values_at_points_in_curved_cells_converge():
    """Of order 3, up to the rim itself; a linear function is exact."""
    triangles = Domain(Star((0.0, 0.0), 1.0, "rim"), [Star((0.1, 0.0), 0.4)]).triangulate(0.2)
    random = np.random.default_rng(2)
    angle, radius = random.uniform(0, 2 * np.pi, 300), random.uniform(0.55, 1.0, 300)
    radius[:50] = 1.0
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    errors = []
    for _ in range(3):
        mesh = triangles.mesh(2)
        x, y = mesh.coordinates.T
        np.testing.assert_allclose(at_points(mesh, x - 2 * y, points), points @ [1, -2], atol=1e-5)
        exact = np.sin(2 * points[:, 0]) * np.exp(points[:, 1])
        errors.append(np.sqrt(np.mean((at_points(mesh, np.sin(2 * x) * np.exp(y), points) - exact) ** 2)))
        triangles = triangles.refine()
    rates = np.log2(np.array(errors)[:-1] / np.array(errors)[1:])
    assert (rates > 2.8).all() and (rates < 3.3).all(), rates


def test_points_outside_are_refused():
    mesh = SQUARE.triangulate(0.3).mesh()
    with pytest.raises(DataError, match=r"1 of 2 points lie outside the mesh; the first is \[1.5, 0.5\]"):
        at_points(mesh, np.zeros(len(mesh)), [[0.5, 0.5], [1.5, 0.5]])
    with pytest.raises(ShapeError, match="needs values of"):
        at_points(mesh, np.zeros(3), [[0.5, 0.5]])


def test_names_for_a_foreign_mesh():
    for mesh in (cube(), cube(2)):
        tagged = tag_boundary(mesh, {"floor": lambda x, y, z: z < 1e-9, "sides": lambda x, y, z: z > 0})
        elements = FiniteElements(tagged)
        assert abs(elements.integral(1.0, "floor") - 1) < 1e-12
        assert abs(elements.integral(1.0, "sides") - 5) < 1e-12
        assert (mesh.coordinates[elements.nodes("floor"), 2] == 0).all()
        assert len(elements.nodes("floor")) == (mesh.coordinates[:, 2] == 0).sum()
    part = tag_boundary(cube(), {"floor": lambda x, y, z: z < 1e-9})
    assert abs(FiniteElements(part).integral(1.0, "floor") - 1) < 1e-12


def test_tags_that_cannot_tell_parts_apart():
    """A triangle's three sides have one facet each: its nodes cannot name them, those in the middle can."""
    names = {"a": lambda x, y: y < 1e-9, "b": lambda x, y: x < 1e-9, "c": lambda x, y: x + y > 0.99}
    with pytest.raises(DataError, match="lies alone between other parts"):
        tag_boundary(Mesh([[0, 0], [1, 0], [0, 1]], cells={"triangle": [[0, 1, 2]]}), names)
    points = [[0, 0], [1, 0], [0, 1], [0.5, 0], [0.5, 0.5], [0, 0.5]]
    tagged = tag_boundary(Mesh(points, cells={"triangle6": [[0, 1, 2, 3, 4, 5]]}), names)
    assert abs(FiniteElements(tagged).integral(1.0, "c") - np.sqrt(2)) < 1e-12


def test_values_in_all_forms():
    mesh = SQUARE.triangulate(0.25).mesh()
    elements = FiniteElements(mesh)
    centers = mesh.centers()
    forms = [lambda x, y: x + y, mesh.coordinates.sum(axis=1), centers.sum(axis=1)]
    for form in forms:
        assert abs(elements.integral(form) - 1) < 1e-12
    assert abs(elements.integral(mesh.coordinates[:, 0], "top") - 0.5) < 1e-12
    with pytest.raises(ShapeError, match="one value for each of"):
        elements.quadrature("f", np.zeros(3))
    with pytest.raises(DataError, match="f is not finite"), np.errstate(divide="ignore"):
        elements.quadrature("f", lambda x, y: 1 / (0 * x))
    with pytest.raises(ShapeError, match="one value for each of"):
        elements.nodal_values("f", np.zeros(3))
    with pytest.raises(DataError, match="f is not finite"):
        elements.nodal_values("f", np.nan)


def test_other_meshes_are_refused():
    with pytest.raises(ConfigError, match="needs cells of one type among triangle"):
        FiniteElements(Mesh([[0, 0], [1, 0], [1, 1], [0, 1]], cells={"quad": [[0, 1, 2, 3]]}))
    with pytest.raises(DataError, match="1 of 4 nodes belong to no triangle"):
        FiniteElements(Mesh([[0, 0], [1, 0], [1, 1], [0, 1]], cells={"triangle": [[0, 1, 2]]}))
    with pytest.raises(ConfigError, match="has no boundary 'botom'.*Did you mean 'bottom'"):
        FiniteElements(SQUARE.triangulate(0.5).mesh()).facets("botom")
    lines = Mesh([[0, 0], [1, 0], [0, 1]], cells=[("line", [[0, 1]]), ("triangle", [[0, 1, 2]])])
    assert abs(FiniteElements(lines).integral(1.0) - 0.5) < 1e-14


def test_without_scikit_fem_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skfem", None)
    with pytest.raises(ConfigError, match=r"pip install 'sciml-pde\[fem\]'"):
        FiniteElements(SQUARE.triangulate(0.5).mesh())


def test_singular_matrices_are_refused():
    from scipy.sparse import csr_array

    singular = csr_array(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    with pytest.raises(DataError, match="test: the matrix is singular"):
        Constrained("test", singular, np.array([], dtype=int)).solve(np.array([1.0, 0.0]), np.array([]))
    found = Constrained("test", singular, np.array([1])).solve(np.array([1.0, 0.0]), np.array([2.0]))
    assert found.tolist() == [3.0, 2.0]


def test_richardson_finds_the_error_of_a_known_order():
    """u + h^2 e has the error h^2 e; the first nodes of the fine mesh count, the worse output wins."""
    u, e = np.linspace(1, 2, 5), np.ones(5)
    coarse, fine = [u + 0.01 * e], [np.append(u + 0.0025 * e, 7.0)]
    found = nodal_richardson([(coarse, fine), ([u], [u])], order=2)
    np.testing.assert_allclose(found, [0.01 * np.sqrt(5 / np.sum(coarse[0] ** 2))])
