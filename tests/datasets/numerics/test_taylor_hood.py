"""Flow on triangles: orders of convergence, against a formula in space and against shorter steps in time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from sciml.datasets.numerics import taylor_hood
from sciml.datasets.numerics.curves import Polygon
from sciml.datasets.numerics.meshing import Domain
from sciml.errors import ConfigError

pytest.importorskip("skfem")

Float = NDArray[np.float64]
_VISCOSITY = 0.05


def columns(x: Float, y: Float) -> tuple[Float, Float, Float, Float, Float]:
    """u, v, p and the force of a flow with the stream function (1 - (1 - x)^3) sin(pi y)^2, free at x = 1."""
    pi, left = math.pi, 1 - x
    g, g_x, g_xx = 1 - left**3, 3 * left**2, -6 * left
    wave, cosine, square = np.sin(2 * pi * y), np.cos(2 * pi * y), np.sin(pi * y) ** 2
    u, v, p = pi * g * wave, -g_x * square, left * np.cos(pi * y)
    force_x = u * pi * g_x * wave + v * 2 * pi**2 * g * cosine - np.cos(pi * y)
    force_x -= _VISCOSITY * (pi * g_xx - 4 * pi**3 * g) * wave
    force_y = -u * g_xx * square - v * pi * g_x * wave - pi * left * np.sin(pi * y)
    force_y -= _VISCOSITY * (-6 * square - 2 * pi**2 * g_x * cosine)
    return u, v, p, force_x, force_y


def test_orders_of_convergence() -> None:
    outline = Polygon.rectangle((0.0, 0.0), (1.0, 1.0), ("wall", "outlet", "wall", "inlet"))
    triangles = Domain(outline).triangulate(0.2)
    errors = []
    for finer in (triangles, triangles.refine()):
        mesh = finer.mesh(degree=2)
        flow = taylor_hood.steady(
            mesh,
            viscosity=_VISCOSITY,
            velocity={"wall": (0.0, 0.0), "inlet": (0.0, lambda x, y: columns(x, y)[1])},
            force=(lambda x, y: columns(x, y)[3], lambda x, y: columns(x, y)[4]),
        )
        gap = flow - np.stack(columns(*mesh.coordinates.T)[:3], axis=1)
        errors.append(np.sqrt(np.mean(gap**2, axis=0)))
    orders = np.log2(errors[0] / errors[1])
    assert orders[:2].min() > 2.6 and orders[2] > 1.7  # 3 and 2 in the end


def test_steps_in_time_are_of_order_two() -> None:
    outline = Polygon.rectangle((0.0, 0.0), (1.0, 1.0), ("wall", "outlet", "wall", "inlet"))
    mesh = Domain(outline).triangulate(0.5).mesh(degree=2)

    def velocity(time: float) -> dict[str, taylor_hood.Velocity]:
        grown = math.sin(time) ** 2
        return {"wall": (0.0, 0.0), "inlet": (lambda x, y: 4 * y * (1 - y) * grown, 0.0)}

    def last(step: float) -> Float:
        *_, frame = taylor_hood.unsteady(
            mesh,
            viscosity=0.1,
            velocity=velocity,
            force=lambda time: (0.0, 0.0),
            times=[0.0, math.pi / 4],
            step=step,
        )
        return frame

    coarse, middle, fine = (last(math.pi / 4 / n) for n in (8, 16, 64))
    ratio = np.abs(coarse - fine)[:, :2].max() / np.abs(middle - fine)[:, :2].max()
    assert 3.3 < ratio < 6  # 4.2 if the error is of order 2 and a sixteenth of it is left in the finest


def test_what_is_refused() -> None:
    outline = Polygon.rectangle((0.0, 0.0), (1.0, 1.0), ("wall",))
    triangles = Domain(outline).triangulate(0.5)
    with pytest.raises(ConfigError, match="flow must be free to leave somewhere"):
        taylor_hood.steady(triangles.mesh(degree=2), viscosity=1.0, velocity={"wall": (0.0, 0.0)})
    with pytest.raises(ConfigError, match="needs a plane mesh of triangle6"):
        taylor_hood.steady(triangles.mesh(), viscosity=1.0, velocity={})
    steps = taylor_hood.unsteady(
        triangles.mesh(degree=2),
        viscosity=1.0,
        velocity=lambda time: {},
        force=lambda time: (0.0, 0.0),
        times=[0.1],
        step=0.3,
    )
    with pytest.raises(ConfigError, match="multiples of the step"):
        next(steps)
