"""The heat equation on meshes, for reference solutions on domains of any shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.numerics.finite_elements import Constrained, FiniteElements, Value, scikit_fem
from sciml.datasets.numerics.mesh_diffusion import Condition, assembled
from sciml.datasets.numerics.mesh_functions import labelled_nodes
from sciml.datasets.numerics.series import instants
from sciml.errors import ConfigError
from sciml.mesh import Mesh

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]

_GAMMA = 1 - math.sqrt(0.5)


def solve(
    mesh: Mesh,
    *,
    initial: Value,
    times: ArrayLike,
    step: float,
    coefficient: Value = 1.0,
    source: Value = 0.0,
    modulation: Callable[[float], float] | None = None,
    boundary: Condition | Mapping[str, Condition] = 0.0,
) -> xarray.Dataset:
    """The u with u_t - div(a grad u) = m(t) f from a start at time 0; everything dimensionless.

    Elements and conditions are those of `sciml.datasets.poisson.solve`; time steps are those of the
    diagonally implicit Runge-Kutta method of two stages and order 2 with gamma = 1 - 1/sqrt(2), which damps
    every mode at any step (L-stable).  Each stage solves one system, factorized once for each length of step.

    Parameters
    ----------
    mesh : Mesh
    initial : number, callable or (node,)
        Replaced by the boundary's values where it has values.
    times : (frames,) increasing, not negative
        Of the frames; steps hit them.
    step : float, positive
        At most; intervals between frames are divided evenly.
    coefficient, source : number, callable or array
        a > 0 and f.
    modulation : callable, optional
        The number m(t), by default 1.
    boundary
        Values, `Neumann` and `Robin`, constant in time.

    Returns
    -------
    xarray.Dataset
        ``u`` (time, node).

    Raises
    ------
    ConfigError
        If times or step are out of range, or as `poisson.solve`.

    Notes
    -----
    Source: Alexander, Diagonally Implicit Runge-Kutta Methods for Stiff O.D.E.'s (1977), SIAM J. Numer.
    Anal. 14, p. 1012.

    Examples
    --------
    The slowest mode of a square with cold walls decays as exp(-2 pi^2 t):

    >>> from sciml.datasets.numerics.curves import Polygon
    >>> from sciml.datasets.numerics.meshing import Domain
    >>> mesh = Domain(Polygon.rectangle((0, 0), (1, 1))).triangulate(0.1).mesh(degree=2)
    >>> mode = lambda x, y: np.sin(np.pi * x) * np.sin(np.pi * y)
    >>> u = solve(mesh, initial=mode, times=[0.0, 0.1], step=0.005)["u"]
    >>> bool(abs(u[1] - np.exp(-0.2 * np.pi**2) * mode(u["x"], u["y"])).max() < 1e-3)
    True
    """
    frames = instants("heat_on_meshes.solve", times)
    if frames[0] < 0 or not step > 0:
        raise ConfigError(
            f"heat_on_meshes.solve: needs times >= 0 and a step > 0, got {frames[0]:g} and {step}."
        )
    elements = FiniteElements(mesh)
    system = assembled(elements, coefficient, 0.0, 0.0, boundary)
    heating = elements.moments(elements.quadrature("heat_on_meshes.solve: source", source))
    amount = modulation if modulation is not None else lambda time: 1.0
    u = elements.unknowns(elements.nodal_values("heat_on_meshes.solve: initial", initial))
    u[system.known] = system.values
    zero = np.zeros(len(system.known))
    mass = scikit_fem().BilinearForm(lambda u, v, w: u * v).assemble(elements.basis)
    factors: dict[float, Constrained] = {}
    found, now = [], 0.0
    for frame in frames:
        count = math.ceil((frame - now) / step - 1e-9)
        dt = (frame - now) / max(count, 1)
        for i in range(count):
            if dt not in factors:
                matrix = mass + _GAMMA * dt * system.matrix
                factors = {dt: Constrained("heat_on_meshes.solve", matrix, system.known)}
            slopes: list[Any] = []
            for part in (_GAMMA, 1.0):
                stage = u + dt * (1 - _GAMMA) * slopes[0] if slopes else u
                load = system.load + amount(now + (i + part) * dt) * heating
                slopes.append(factors[dt].solve(load - system.matrix @ stage, zero))
            u = u + dt * ((1 - _GAMMA) * slopes[0] + _GAMMA * slopes[1])
        found.append(u[elements.order])
        now = frame
    result = labelled_nodes(
        {"u": (("time", "node"), np.stack(found), {"units": "1", "long_name": "temperature"})},
        mesh,
        attributes={
            "equation": "u_t - div(a grad u) = m(t) f",
            "solver": f"finite elements of degree {elements.degree}, implicit Runge-Kutta method of order 2",
            "step": step,
        },
    )
    return result.assign_coords(time=("time", frames, {"units": "1", "long_name": "time"}))
