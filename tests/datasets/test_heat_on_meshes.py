"""The heat equation on meshes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import j0, jn_zeros

from sciml.datasets import poisson
from sciml.datasets.heat_on_meshes import solve
from sciml.datasets.numerics.curves import Polygon, Star
from sciml.datasets.numerics.finite_elements import FiniteElements
from sciml.datasets.numerics.meshing import Domain
from sciml.datasets.poisson import Neumann, Robin
from sciml.errors import ConfigError

SQUARE = Domain(Polygon.rectangle((0.0, 0.0), (1.0, 1.0)))


def test_order_in_time():
    """2 over four refinements, of u_t = lap u + sin(3 t) f on a disc, against steps 8 times shorter."""
    mesh = Domain(Star((0.0, 0.0), 1.0, "rim")).triangulate(0.3).mesh()

    def run(step):
        return solve(
            mesh,
            initial=lambda x, y: (1 - x**2 - y**2) * (1 + x),
            times=[0.4],
            step=step,
            source=lambda x, y: 5 + x,
            modulation=lambda time: np.sin(3 * time),
            boundary={"rim": Robin(2.0, 0.1)},
        )["u"].values[0]

    best = run(0.4 / 1024)
    errors = [np.linalg.norm(run(0.4 / steps) - best) for steps in (8, 16, 32, 64, 128)]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2, atol=0.1)


def test_slowest_mode_of_a_disc():
    """J0(j r) decays as exp(-j^2 t), j = 2.405; the error falls with order 3 in the mesh, 2 in time."""
    j = jn_zeros(0, 1)[0]
    triangles, errors = Domain(Star((0.0, 0.0), 1.0, "rim")).triangulate(0.4), []
    for step in (0.01, 0.01 / 8**0.5, 0.01 / 8):
        mesh = triangles.mesh(2)
        mode = j0(j * np.hypot(*mesh.coordinates.T))
        u = solve(mesh, initial=mode, times=[0.05, 0.2], step=step)["u"].values
        errors.append(np.linalg.norm(u[1] - np.exp(-0.2 * j**2) * mode) / np.linalg.norm(mode))
        triangles = triangles.refine()
    assert errors[-1] < 1e-5 and (np.log2(np.divide(errors[:-1], errors[1:])) > 2.8).all()


def test_what_flows_in_stays():
    """The heat in an insulated body grows by flux and source alone, exactly: both are linear in time here."""
    elements = FiniteElements(SQUARE.triangulate(0.2).mesh(2))
    u = solve(
        elements.mesh,
        initial=lambda x, y: x,
        times=[0.0, 1.0],
        step=0.1,
        source=lambda x, y: y,
        boundary={"left": Neumann(2.0)},
    )["u"].values
    np.testing.assert_allclose([elements.integral(one) for one in u], [0.5, 3.0], rtol=1e-10)


def test_ends_at_the_steady_state():
    mesh = SQUARE.triangulate(0.2).mesh()
    given = {"source": lambda x, y: x, "boundary": {"left": 1.0, "top": Robin(2.0, 0.5)}}
    late = solve(mesh, initial=0.0, times=[50.0], step=2.0, **given)["u"].values[0]
    np.testing.assert_allclose(late, poisson.solve(mesh, **given)["u"].values, rtol=1e-9)


def test_refused():
    mesh = SQUARE.triangulate(0.5).mesh()
    for times, step in (([-1.0], 0.1), ([1.0], 0.0)):
        with pytest.raises(ConfigError, match="times >= 0 and a step > 0"):
            solve(mesh, initial=0.0, times=times, step=step)
    for wrong in ([0.0, 0.0], [], 0.5, [0.0, np.nan]):
        with pytest.raises(ConfigError, match="heat_on_meshes.solve: times must increase"):
            solve(mesh, initial=0.0, times=wrong, step=0.1)
