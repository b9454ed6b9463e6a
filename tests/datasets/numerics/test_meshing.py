"""Triangles that fit curved boundaries."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from sciml.datasets.elasticity import _void_radius
from sciml.datasets.numerics.curves import Focus, Polygon, Star
from sciml.datasets.numerics.finite_elements import FiniteElements
from sciml.datasets.numerics.meshing import Domain, Triangulation
from sciml.errors import ConfigError, ShapeError

SQUARE = Polygon.rectangle((0.0, 0.0), (1.0, 1.0))
L_SHAPE = Polygon([(-1, -1), (1, -1), (1, 0), (0, 0), (0, 1), (-1, 1)])


def trefoil(angle):
    return 0.25 + 0.05 * np.cos(3 * angle)


def random_void(seed):
    return Star((0.5, 0.5), partial(_void_radius, np.random.default_rng(seed).standard_normal(17)), "void")


def angles(mesh):
    """All angles of triangles, in degrees."""
    corners = mesh.coordinates[mesh.cells[0][1][:, :3]]
    sides = np.roll(corners, -1, axis=1) - corners
    back = -np.roll(sides, 1, axis=1)
    cross = sides[..., 0] * back[..., 1] - sides[..., 1] * back[..., 0]
    return np.degrees(np.arctan2(cross, (sides * back).sum(axis=-1)))


def test_area_and_lengths_of_curves():
    """Of r = 1/4 + cos(3 t)/20: pi (1/16 + 1/800); the length by adaptive quadrature."""
    from scipy.integrate import quad

    star = Star((0.5, 0.5), trefoil)
    length = quad(lambda t: np.hypot(trefoil(t), 0.15 * np.sin(3 * t)), 0, 2 * np.pi, epsabs=1e-13)[0]
    assert abs(star.area() - np.pi * (1 / 16 + 1 / 800)) < 1e-14
    assert abs(star.length() - length) < 1e-12
    assert abs(Star((1.0, 2.0), 0.5).length() - np.pi) < 1e-14
    assert L_SHAPE.area() == 3.0
    inside = L_SHAPE.contains(np.array([[-0.5, 0.5], [0.5, 0.5], [0.5, -0.5], [2.0, 0.0], [-0.5, -0.5]]))
    assert inside.tolist() == [True, False, True, False, True]


@pytest.mark.parametrize("seed", range(20))
def test_random_voids_give_well_shaped_triangles(seed):
    """300 seeds gave no angle below 24.6 degrees."""
    domain = Domain(SQUARE, [random_void(seed)])
    mesh = domain.triangulate(1 / 16).mesh()
    found = angles(mesh)
    assert found.min() > 20 and found.max() < 130  # positive: all triangles run counter-clockwise
    void = mesh.boundary == mesh.boundary_names.index("void")
    x, y = (mesh.coordinates[void] - 0.5).T
    np.testing.assert_allclose(np.hypot(x, y), domain.holes[0].radius(np.arctan2(y, x)), rtol=1e-12)
    assert abs(mesh.measures().sum() - domain.area()) < 0.01
    # Euler: a domain with one hole has as many edges as nodes and cells.
    assert len(mesh) - len(mesh.edges()) + mesh.cell_count == 0


def test_same_arguments_give_the_same_bits():
    one, two = (Domain(SQUARE, [random_void(3)]).triangulate(0.05) for _ in range(2))
    assert np.array_equal(one.places, two.places) and np.array_equal(one.triangles, two.triangles)


@pytest.mark.parametrize(("degree", "order"), [(1, 2), pytest.param(2, 4, marks=pytest.mark.slow)])
def test_area_and_boundary_converge_to_the_exact_ones(degree, order):
    """Chords give order 2, parabolas 4; straight sides are exact."""
    domain = Domain(SQUARE, [Star((0.5, 0.5), lambda angle: 0.25 + 0.02 * np.cos(3 * angle))])
    triangles, errors = domain.triangulate(1 / 8), []
    for _ in range(5):
        elements = FiniteElements(triangles.mesh(degree))
        for side in SQUARE.names:
            assert abs(elements.integral(1.0, side) - 1) < 1e-12
        errors.append(
            (
                abs(elements.integral(1.0) - domain.area()),
                abs(elements.integral(1.0, "hole") - domain.holes[0].length()),
            )
        )
        triangles = triangles.refine()
    rates = np.log2(np.array(errors)[:-1] / np.array(errors)[1:])
    np.testing.assert_allclose(rates, order, atol=0.1)


def test_refined_nodes_are_coarse_nodes_and_middles():
    triangles = Domain(SQUARE, [Star((0.4, 0.5), trefoil)]).triangulate(0.1)
    fine = triangles.refine()
    assert np.array_equal(fine.coordinates[: len(triangles.places)], triangles.coordinates)
    quadratic = triangles.mesh(degree=2)
    np.testing.assert_array_equal(quadratic.coordinates, fine.mesh().coordinates)
    np.testing.assert_array_equal(quadratic.boundary, fine.mesh().boundary)
    assert fine.mesh().cell_count == 4 * quadratic.cell_count and angles(fine.mesh()).min() > 20


def test_sides_keep_their_names():
    """Also where two of them meet, at every degree and refinement."""
    names = ("inlet", "wall", "outlet", "wall")
    domain = Domain(Polygon([(0, 0), (2, 0), (2.5, 1), (0, 1)], names), [Star((1.2, 0.5), 0.2, "cylinder")])
    lengths = {"inlet": 2.0, "wall": np.hypot(0.5, 1) + 1.0, "outlet": 2.5}
    for triangles in (domain.triangulate(0.15), domain.triangulate(0.15).refine()):
        for degree in (1, 2):
            mesh = triangles.mesh(degree)
            assert mesh.boundary_names == ("interior", "inlet", "wall", "outlet", "cylinder")
            elements = FiniteElements(mesh)
            for name, length in lengths.items():
                assert abs(elements.integral(1.0, name) - length) < 1e-12
            assert abs(elements.integral(1.0, "cylinder") - 0.4 * np.pi) < 0.03


def test_triangles_shrink_toward_a_focus():
    domain = Domain(L_SHAPE, focus=Focus((0.0, 0.0), 0.8, 3.0))
    for triangles in (domain.triangulate(0.1), domain.triangulate(0.1).refine()):
        mesh = triangles.mesh()
        assert abs(mesh.measures().sum() - 3) < 1e-12 and angles(mesh).min() > 0
        assert abs(FiniteElements(triangles.mesh(2)).integral(1.0) - 3) < 1e-12
        assert abs(FiniteElements(mesh).integral(1.0, "wall") - 8) < 1e-12
    # The sides at the corner were about 0.1 and 0.05 long.
    near = np.sort(np.hypot(*mesh.coordinates.T))
    assert near[0] == 0 and near[1] < 1.5 * 0.8 * (0.05 / 0.8) ** 3


def test_a_lattice_has_the_sides_of_its_rectangle():
    triangles = Triangulation.lattice([-1, 0, 0.2, 2], [1, 1.5, 4], ("south", "east", "north", "west"))
    for one in (triangles, triangles.refine()):
        for mesh in (one.mesh(), one.mesh(2)):
            elements = FiniteElements(mesh)
            found = [elements.integral(lambda x, y: x * y, name) for name in mesh.boundary_names[1:]]
            np.testing.assert_allclose(found, [1.5, 15, 6, -7.5], rtol=1e-12)
            assert abs(elements.integral(1.0) - 9) < 1e-12 and angles(mesh).min() > 0
    with pytest.raises(ConfigError, match="three or more increasing coordinates"):
        Triangulation.lattice([0, 0, 1], [0, 1, 2])


def test_a_disc_is_a_domain():
    domain = Domain(Star((0.0, 0.0), 1.0, "rim"), [Polygon.rectangle((-0.2, -0.3), (0.4, 0.3), ("box",))])
    mesh = domain.triangulate(0.1).mesh(2)
    assert abs(FiniteElements(mesh).integral(1.0) - domain.area()) < 1e-5
    assert abs(FiniteElements(mesh).integral(1.0, "box") - 2.4) < 1e-12


def test_refused():
    with pytest.raises(ConfigError, match="counter-clockwise"):
        Polygon([(0, 0), (0, 1), (1, 1), (1, 0)])
    with pytest.raises(ConfigError, match="corners are finite"):
        Polygon([(0, 0), (1, 0), (1, np.nan)])
    with pytest.raises(ShapeError, match="4 sides need as many names"):
        Polygon.rectangle((0, 0), (1, 1), ("a", "b"))
    with pytest.raises(ShapeError, match=r"shape \(n, 2\)"):
        Polygon([(0, 0), (1, 1)])
    with pytest.raises(ConfigError, match="radius must be positive"):
        Star((0, 0), lambda t: np.cos(t))
    with pytest.raises(ConfigError, match="spacing must be positive"):
        Domain(SQUARE).triangulate(0.0)
    near = [Star((0.3, 0.5), 0.15), Star((0.65, 0.5), 0.15)]
    with pytest.raises(ConfigError, match=r"hole 1 \(hole\) comes within 0.05"):
        Domain(SQUARE, near).triangulate(0.1)
    with pytest.raises(ConfigError, match="comes within 0 of"):
        Domain(SQUARE, [Star((0.9, 0.5), 0.2)]).triangulate(0.05)
    with pytest.raises(ConfigError, match="comes within 0 of"):
        Domain(SQUARE, [Star((0.5, 0.5), 0.3), Star((0.5, 0.5), 0.1)]).triangulate(0.05)
    with pytest.raises(ConfigError, match="degree is 1 or 2"):
        Domain(SQUARE).triangulate(0.5).mesh(3)
