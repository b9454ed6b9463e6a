"""Linear elasticity on meshes: exact cases, orders, stress at a hole, locking, the unit cell with a void."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sciml.datasets.elasticity import Elasticity, solve
from sciml.datasets.numerics.curves import Polygon, Star
from sciml.datasets.numerics.finite_elements import FiniteElements, scikit_fem
from sciml.datasets.numerics.linear_elasticity import lame_parameters, rigid_motions, stiffness, von_mises
from sciml.datasets.numerics.meshing import Domain
from sciml.errors import ConfigError, ShapeError

SQUARE = Polygon.rectangle((0.0, 0.0), (1.0, 1.0))
HOLED = Domain(SQUARE, [Star((0.45, 0.55), lambda angle: 0.25 + 0.05 * np.cos(2 * angle))])


def error(mesh, found, exact):
    """In L2, by quadrature of degree 8."""
    elements = FiniteElements(mesh)
    basis = scikit_fem().CellBasis(elements.basis.mesh, elements.basis.elem, intorder=8)
    wanted = exact(*np.asarray(basis.global_coordinates()))
    parts = [np.asarray(basis.interpolate(elements.unknowns(part))) for part in found.T]
    return np.sqrt(sum(np.sum((part - one) ** 2 * basis.dx) for part, one in zip(parts, wanted, strict=True)))


@pytest.mark.parametrize("degree", [1, 2])
def test_orders_around_a_curved_hole(degree):
    """degree + 1 in L2; u = (sin(3x + y), cos(x - 3y)) with its force, and its traction on the right."""
    lame, shear = lame_parameters(2.0, 0.3, "strain")

    def exact(x, y):
        return np.sin(3 * x + y), np.cos(x - 3 * y)

    def force(x, y):
        a, b = np.sin(3 * x + y), np.cos(x - 3 * y)
        return (
            10 * shear * a + (lame + shear) * (9 * a - 3 * b),
            10 * shear * b + (lame + shear) * (3 * a + 9 * b),
        )

    def traction(x, y):
        c, s = np.cos(3 * x + y), np.sin(x - 3 * y)
        return (2 * shear + lame) * 3 * c + lame * 3 * s, shear * (c - s)

    triangles, found = HOLED.triangulate(0.2 / degree ** (2 - degree)), []
    for _ in range(5):
        mesh = triangles.mesh(degree)
        clamped = dict.fromkeys(("left", "bottom", "top", "hole"), exact)
        solved = solve(
            mesh,
            young=2.0,
            plane="strain",
            body=force,
            loads={"right": traction},
            clamped=clamped,
        )
        found.append(error(mesh, solved["displacement"].values, exact))
        triangles = triangles.refine()
    rates = np.log2(np.array(found)[:-1] / np.array(found)[1:])
    np.testing.assert_allclose(rates, degree + 1, atol=0.1)


def kirsch_stress(x, y):
    """xx, yy, xy around a hole of radius 1 in an infinite plate under unit tension along x (Kirsch 1898)."""
    q, t = 1 / (x**2 + y**2), np.arctan2(y, x)
    c2, c4, s2, s4 = np.cos(2 * t), np.cos(4 * t), np.sin(2 * t), np.sin(4 * t)
    return (
        1 - q * (1.5 * c2 + c4) + 1.5 * q**2 * c4,
        -q * (0.5 * c2 - c4) - 1.5 * q**2 * c4,
        -q * (0.5 * s2 + s4) + 1.5 * q**2 * s4,
    )


def kirsch_displacement(x, y, plane, poisson=0.3):
    """Of the same plate with Young's modulus 1."""
    shear = 1 / (2 * (1 + poisson))
    k = (3 - poisson) / (1 + poisson) if plane == "stress" else 3 - 4 * poisson
    r, t = np.hypot(x, y), np.arctan2(y, x)
    c, s, c3, s3 = np.cos(t), np.sin(t), np.cos(3 * t), np.sin(3 * t)
    return (
        (r * (k + 1) * c + 2 / r * ((1 + k) * c + c3) - 2 / r**3 * c3) / (8 * shear),
        (r * (k - 3) * s + 2 / r * ((1 - k) * s + s3) - 2 / r**3 * s3) / (8 * shear),
    )


@pytest.mark.parametrize("plane", ["stress", "strain"])
def test_stress_concentration_of_a_hole(plane):
    """3 at the top of the hole and -1 at its side, within 2 %."""
    domain = Domain(Polygon.rectangle((-3.0, -3.0), (3.0, 3.0)), [Star((0.0, 0.0), 1.0)])
    mesh = domain.triangulate(0.15).mesh(2)
    loads = {
        "right": lambda x, y: (kirsch_stress(x, y)[0], kirsch_stress(x, y)[2]),
        "top": lambda x, y: (kirsch_stress(x, y)[2], kirsch_stress(x, y)[1]),
    }
    clamped = dict.fromkeys(("left", "bottom"), lambda x, y: kirsch_displacement(x, y, plane))
    found = solve(mesh, plane=plane, loads=loads, clamped=clamped)
    assert error(mesh, found["displacement"].values, lambda x, y: kirsch_displacement(x, y, plane)) < 5e-3
    x, y = mesh.coordinates.T
    stress, rim = found["stress"].values, np.hypot(x, y) < 1 + 1e-9
    assert abs(stress[rim, 0].max() - 3) < 0.06
    assert abs(stress[rim, 1].min() + 1) < 0.06
    far = np.hypot(x, y) > 1.5
    assert np.abs(stress - np.stack(kirsch_stress(x, y), axis=1))[far].max() < 0.02


@pytest.mark.parametrize("degree", [1, 2])
def test_motions_of_the_whole_body_cost_nothing(degree):
    """Three of them in the plane, and nothing else."""
    elements = FiniteElements(HOLED.triangulate(0.2).mesh(degree))
    matrix = stiffness(elements, 1.2, 0.8).toarray()
    assert np.abs(matrix - matrix.T).max() < 1e-14
    values = np.linalg.eigvalsh(matrix)
    assert (np.abs(values[:3]) < 1e-12).all() and values[3] > 1e-3
    for motion in rigid_motions(elements.mesh):
        unknowns = np.concatenate([elements.unknowns(part) for part in motion.T])
        assert np.abs(matrix @ unknowns).max() < 1e-13


def bending(nu, degree, plane="strain", spacing=0.125):
    """How far the end of a cantilever of length 4 and height 1 goes down under a unit load."""
    mesh = Domain(Polygon.rectangle((0.0, 0.0), (4.0, 1.0))).triangulate(spacing).mesh(degree)
    found = solve(mesh, poisson=nu, plane=plane, loads={"right": (0.0, -1.0)}, clamped=("left",))
    end = np.isclose(mesh.coordinates, (4.0, 0.0)).all(axis=1)
    return -float(found["displacement"].values[end, 1][0])


def test_linear_elements_lock_and_quadratic_ones_do_not():
    """As the docstring says.  Of the stiffness that remains, 8 % at nu = 0.3 are the coarse mesh."""
    true = {nu: bending(nu, 2, spacing=0.0625) for nu in (0.3, 0.4999)}
    assert bending(0.3, 1) > 0.85 * true[0.3]
    assert bending(0.4999, 1) < 0.5 * true[0.4999]
    assert abs(bending(0.4999, 2) / true[0.4999] - 1) < 0.02
    assert bending(0.5, 1, "stress") > 0.85 * bending(0.5, 2, "stress")


def test_plane_strain_is_plane_stress_of_another_material():
    """E' = E / (1 - nu^2), nu' = nu / (1 - nu); von Mises differs, since sigma_zz does."""
    mesh = HOLED.triangulate(0.15).mesh(2)
    given = {"loads": {"top": (0.3, 1.0)}, "clamped": ("bottom",)}
    strain = solve(mesh, young=2.0, poisson=0.25, plane="strain", **given)
    stress = solve(mesh, young=2.0 / (1 - 0.0625), poisson=0.25 / 0.75, plane="stress", **given)
    for name in ("displacement", "stress"):
        np.testing.assert_allclose(strain[name].values, stress[name].values, atol=1e-11)
    xx, yy, xy = strain["stress"].values.T
    zz = 0.25 * (xx + yy)
    full = np.sqrt(((xx - yy) ** 2 + (yy - zz) ** 2 + (zz - xx) ** 2) / 2 + 3 * xy**2)
    np.testing.assert_allclose(strain["von_mises"].values, full, rtol=1e-12)
    xx, yy, xy = stress["stress"].values.T
    flat = np.sqrt(xx**2 - xx * yy + yy**2 + 3 * xy**2)
    np.testing.assert_allclose(stress["von_mises"].values, flat, rtol=1e-12)


def test_von_mises_of_known_stresses():
    pressure = 5.0 * np.eye(3)
    shear = np.array([[0.0, 2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert von_mises(pressure) == 0
    assert abs(von_mises(pressure + shear) - 2 * math.sqrt(3)) < 1e-14
    assert abs(von_mises(np.diag([3.0, 0.0])) - 3) < 1e-14


def test_forces_balance():
    """Weight and traction against the reactions, which the stiffness gives at the clamped nodes."""
    elements = FiniteElements(HOLED.triangulate(0.15).mesh(2))
    found = solve(elements.mesh, loads={"top": (1.0, 2.0)}, clamped=("bottom",), body=(0.0, -3.0))
    lame, shear = lame_parameters(1.0, 0.3, "stress")
    moved = np.concatenate([elements.unknowns(part) for part in found["displacement"].values.T])
    forces = (stiffness(elements, lame, shear) @ moved).reshape(2, -1)[:, elements.order]
    held = elements.nodes("bottom")
    expected = np.array([1.0, 2.0 - 3 * elements.integral(1.0)])
    weight = np.stack([elements.moments(elements.quadrature("w", f))[elements.order] for f in (0.0, -3.0)])
    reaction = (forces - weight)[:, held].sum(axis=1)
    np.testing.assert_allclose(reaction, -expected, atol=1e-12)


def test_refused():
    mesh = HOLED.triangulate(0.2).mesh()
    with pytest.raises(ShapeError, match="needs 2 values, one for each axis, got 1.0"):
        solve(mesh, loads={"top": 1.0}, clamped="bottom")
    with pytest.raises(ConfigError, match=r"clamped=\[\] leaves the body free"):
        solve(mesh, loads={"top": (0.0, 1.0)})
    with pytest.raises(ConfigError, match="free to move as a whole"):
        solve(mesh, loads={"top": (0.0, 1.0)}, clamped={"bottom": (None, 0.0), "top": (None, 0.0)})
    with pytest.raises(
        ShapeError, match="load on 'top' needs 2 values, one for each axis, got .0.0, 1.0, 0.0."
    ):
        solve(mesh, loads={"top": (0.0, 1.0, 0.0)}, clamped=("bottom",))
    with pytest.raises(ConfigError, match="0.5 itself only in plane stress"):
        solve(mesh, poisson=0.5, plane="strain", clamped=("bottom",))
    with pytest.raises(ConfigError, match="plane is one of"):
        solve(mesh, plane="stres", clamped=("bottom",))
    for setting in ({"resolution": 4}, {"traction": 0.0}, {"degree": 3}, {"modes": -1}):
        with pytest.raises(ConfigError, match=f"{next(iter(setting))}="):
            Elasticity(**setting)


@pytest.mark.slow
def test_the_void_is_the_same_at_every_resolution():
    """And lies between 0.2 and 0.4 from the middle; its field has the variance of its law."""
    coarse, fine = Elasticity(resolution=16), Elasticity(resolution=24)
    angle = np.linspace(0, 2 * np.pi, 50)
    for seed in range(5):
        one, two = (problem._void(seed).radius(angle) for problem in (coarse, fine))
        assert np.array_equal(one, two) and one.min() > 0.2 and one.max() < 0.4
        mesh, radius = coarse.meshes([seed])[0], coarse.sample([seed])[0][0]
        rim = mesh.boundary == mesh.boundary_names.index("void")
        np.testing.assert_allclose(np.hypot(*(mesh.coordinates[rim] - 0.5).T), radius[rim], rtol=1e-12)
    drawn = [coarse._void(seed).radius(angle[:1])[0] for seed in range(400)]
    g = np.log(0.2 / (np.array(drawn) - 0.2) - 1)
    variance = 16 / np.pi * (1 / 18 + sum(1 / (k**2 + 9) for k in range(1, 9)))
    assert abs(np.var(g) / variance - 1) < 4 * math.sqrt(2 / 400)


def test_stress_does_not_depend_on_youngs_modulus_and_scales_with_the_load():
    one = Elasticity(resolution=16).sample([3])
    two = Elasticity(resolution=16, young=2e5, traction=300.0).sample([3])
    np.testing.assert_allclose(two[1][0], 3 * one[1][0], rtol=1e-9)
    np.testing.assert_allclose(two[2][0], 1.5 * one[2][0], rtol=1e-9, atol=1e-12)


def test_a_sample_depends_on_its_seed_only():
    problem = Elasticity(resolution=16)
    many, one = problem.sample([5, 6, 7]), problem.sample([6])
    for several, single in zip(many, one, strict=True):
        assert np.array_equal(several[1], single[0])


@pytest.mark.slow
def test_error_estimate_is_near_the_error():
    """The error from triangles split twice: it falls faster than the order 1 that the estimate counts on, so
    that the estimate is above it, at most twice."""
    problem, seeds = Elasticity(resolution=16), [0, 1]
    arrays = problem.sample(seeds)
    estimate = problem.estimate_error(seeds, arrays)
    for i, seed in enumerate(seeds):
        best = problem._solved(problem._triangles(seed).refine().refine().mesh(2))
        error = np.linalg.norm(arrays[1][i] - best[2][: len(arrays[1][i])]) / np.linalg.norm(arrays[1][i])
        assert 1 <= estimate[i] / error < 2
    assert estimate.max() < 0.2 and problem.name == "elasticity"
    finer = Elasticity(resolution=32)
    assert finer.estimate_error([0], finer.sample([0]))[0] < 0.07
