"""Six problems of DeepXDE's collection, in its own API, with the settings of its examples.

Each is a function of the folder of its reference data and of the share of the points, 1 for the published
number; `PROBLEMS` names them.  DeepXDE has to be loaded with PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sciml.pinns.deepxde_import import imported

Array = NDArray[Any]
Predict = Callable[[Array], Array]


@dataclass(frozen=True)
class Example:
    """A problem, how DeepXDE trains it, and how it is judged.

    Attributes
    ----------
    network : (*widths) -> dde.nn.NN
        With fresh weights, and hidden layers of these widths, by default those of the example.
    error : (predict) -> float
        Relative L2 error of the solution, or of inverse problems the largest relative one of the unknowns.
    adam : int
        Iterations with rate 1e-3.
    decay : tuple, optional
        Of the rate, as DeepXDE writes it.
    quasi_newton : bool
        Whether L-BFGS follows.
    """

    data: Any
    network: Callable[..., Any]
    error: Callable[[Predict], float]
    adam: int
    decay: tuple[Any, ...] | None = None
    quasi_newton: bool = True
    external: dict[str, Any] = field(default_factory=dict)


def relative(found: Array, exact: Array) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def lattice(x: Array, t: Array) -> Array:
    """All (x, t), x fastest."""
    return np.stack(np.meshgrid(x.ravel(), t.ravel()), axis=-1).reshape(-1, 2)


def everywhere(_: Array, there: bool) -> bool:
    return there


def constant(value: float) -> Callable[[Array], float]:
    """As function of points; DeepXDE counts arguments, so a default must not hold the value."""
    return lambda _: value


def network_of(inputs: int, outputs: int, widths: tuple[int, ...], weights: str) -> Any:
    return imported().nn.FNN([inputs, *widths, outputs], "tanh", weights)


def count(number: int, share: float) -> int:
    return max(2, round(number * share))


def burgers(folder: Path, share: float = 1.0) -> Example:
    """u_t + u u_x = 0.01/pi u_xx, u(x, 0) = -sin(pi x), u = 0 at both ends."""
    dde = imported()

    def equation(x: Any, u: Any) -> Any:
        u_x = dde.grad.jacobian(u, x, i=0, j=0)
        u_t = dde.grad.jacobian(u, x, i=0, j=1)
        return u_t + u * u_x - 0.01 / np.pi * dde.grad.hessian(u, x, i=0, j=0)

    space = dde.geometry.GeometryXTime(dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 0.99))
    walls = dde.icbc.DirichletBC(space, lambda x: 0, everywhere)
    start = dde.icbc.IC(space, lambda x: -np.sin(np.pi * x[:, :1]), everywhere)
    data = dde.data.TimePDE(
        space,
        equation,
        [walls, start],
        num_domain=count(2540, share),
        num_boundary=count(80, share),
        num_initial=count(160, share),
    )
    table = np.load(folder / "Burgers.npz")
    points, exact = lattice(table["x"], table["t"]), table["usol"].T.reshape(-1, 1)
    return Example(
        data,
        lambda *widths: network_of(2, 1, widths or (20, 20, 20), "Glorot normal"),
        lambda predict: relative(predict(points), exact),
        adam=15_000,
    )


def allen_cahn(folder: Path, share: float = 1.0) -> Example:
    """u_t = 1e-3 u_xx + 5 (u - u^3), start and walls built into the network; its table is 2e-4 off."""
    from scipy.io import loadmat

    dde = imported()

    def equation(x: Any, u: Any) -> Any:
        u_t = dde.grad.jacobian(u, x, i=0, j=1)
        return u_t - 1e-3 * dde.grad.hessian(u, x, i=0, j=0) - 5 * (u - u**3)

    def built_in(x: Any, u: Any) -> Any:
        place, time = x[:, :1], x[:, 1:]
        return place**2 * torch.cos(np.pi * place) + time * (1 - place**2) * u

    def network(*widths: int) -> Any:
        net = network_of(2, 1, widths or (20, 20, 20), "Glorot normal")
        net.apply_output_transform(built_in)
        return net

    space = dde.geometry.GeometryXTime(dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 1))
    data = dde.data.TimePDE(
        space,
        equation,
        [],
        num_domain=count(8000, share),
        num_boundary=count(400, share),
        num_initial=count(800, share),
    )
    table = loadmat(folder / "Allen_Cahn.mat")
    points, exact = lattice(table["x"], table["t"]), table["u"].reshape(-1, 1)
    return Example(data, network, lambda predict: relative(predict(points), exact), adam=40_000)


def l_shape(folder: Path, share: float = 1.0) -> Example:
    """-Laplace(u) = 1, u = 0 on the boundary; judged by our finite elements, 1e-5 off.

    DeepXDE's table solves another equation, -Laplace(u) + u = 1.
    """
    dde = imported()

    def equation(x: Any, u: Any) -> Any:
        return -dde.grad.hessian(u, x, i=0, j=0) - dde.grad.hessian(u, x, i=1, j=1) - 1

    corners = [[0, 0], [1, 0], [1, -1], [-1, -1], [-1, 1], [0, 1]]
    shape = dde.geometry.Polygon(corners)
    walls = dde.icbc.DirichletBC(shape, lambda x: 0, everywhere)
    data = dde.data.PDE(
        shape,
        equation,
        walls,
        num_domain=count(1200, share),
        num_boundary=count(120, share),
        num_test=count(1500, share),
    )
    known: list[tuple[Array, Array]] = []

    def error(predict: Predict) -> float:
        if not known:
            known.append(_l_shape_solution(corners))
        points, exact = known[0]
        return relative(predict(points), exact)

    return Example(
        data,
        lambda *widths: network_of(2, 1, widths or (50, 50, 50, 50), "Glorot uniform"),
        error,
        adam=50_000,
    )


def _l_shape_solution(corners: list[list[int]]) -> tuple[Array, Array]:
    from sciml.datasets.numerics.curves import Focus, Polygon
    from sciml.datasets.numerics.mesh_functions import at_points
    from sciml.datasets.numerics.meshing import Domain
    from sciml.datasets.poisson import solve

    axis = np.linspace(-0.99, 0.99, 67)
    points = lattice(axis, axis)
    points = points[~((points[:, 0] > 0) & (points[:, 1] > 0))]
    outline = Polygon(corners[::-1])
    mesh = Domain(outline, focus=Focus((0.0, 0.0), 0.8, 4.0)).triangulate(0.025).mesh(2)
    return points, at_points(mesh, solve(mesh, source=1.0)["u"].values, points)[:, None]


def stokes(folder: Path, share: float = 1.0) -> Example:
    """Stokes flow in a cavity under the lid x (1 - x), viscosity 0.01; velocities on walls but the lid, and
    the pressure on the bottom, built into the network.  DeepXDE learns it as one function of an operator.
    """
    dde = imported()

    def equation(x: Any, flow: Any) -> Any:
        def laplacian(component: int) -> Any:
            parts = (dde.grad.hessian(flow, x, component=component, i=k, j=k) for k in range(2))
            return sum(parts)

        mass = dde.grad.jacobian(flow, x, i=0, j=0) + dde.grad.jacobian(flow, x, i=1, j=1)
        return [
            0.01 * laplacian(0) - dde.grad.jacobian(flow, x, i=2, j=0),
            0.01 * laplacian(1) - dde.grad.jacobian(flow, x, i=2, j=1),
            mass,
        ]

    def built_in(inputs: Any, outputs: Any) -> Any:
        x, y = inputs[:, :1], inputs[:, 1:]
        across = x * (1 - x) * y
        u, v, p = outputs[:, :1], outputs[:, 1:2], outputs[:, 2:]
        return torch.cat([across * u, across * (1 - y) * v, y * p], dim=1)

    def network(*widths: int) -> Any:
        net = network_of(2, 3, widths or (128, 128, 128), "Glorot normal")
        net.apply_output_transform(built_in)
        return net

    square = dde.geometry.Rectangle([0, 0], [1, 1])
    lid = dde.icbc.DirichletBC(
        square, lambda x: x[:, :1] * (1 - x[:, :1]), lambda x, _: bool(np.isclose(x[1], 1.0)), component=0
    )
    data = dde.data.PDE(
        square,
        equation,
        lid,
        num_domain=count(5000, share),
        num_boundary=count(4000, share),
        num_test=count(500, share),
    )
    table = np.load(folder / "stokes.npz")["arr_0"]
    points = lattice(np.linspace(0, 1, 101), np.linspace(0, 1, 101))[:, ::-1]
    return Example(
        data,
        network,
        lambda predict: relative(predict(points)[:, :2], table[:, :2]),
        adam=50_000,
        decay=("inverse time", 10_000, 0.5),
        quasi_newton=False,
    )


def reaction(folder: Path, share: float = 1.0) -> Example:
    """Two species that react while they diffuse: find the rate 0.1 and the diffusivity 2e-3 from both."""
    dde = imported()
    unknown = {"rate": dde.Variable(0.05), "diffusivity": dde.Variable(1.0)}

    def equation(x: Any, c: Any) -> Any:
        speed = unknown["rate"] * c[:, :1] * c[:, 1:] ** 2
        found = []
        for k in range(2):
            spread = 1e-3 * unknown["diffusivity"] * dde.grad.hessian(c, x, component=k, i=0, j=0)
            found.append(dde.grad.jacobian(c, x, i=k, j=1) - spread + (1 + k) * speed)
        return found

    space = dde.geometry.GeometryXTime(dde.geometry.Interval(0, 1), dde.geometry.TimeDomain(0, 10))
    table = np.load(folder / "reaction.npz")
    every = max(1, round(1 / share))
    points = lattice(table["x"], table["t"])[::every]
    walls = [dde.icbc.DirichletBC(space, lambda x: 1 - x[:, :1], everywhere, component=k) for k in (0, 1)]
    start = [dde.icbc.IC(space, lambda x: np.exp(-20 * x[:, :1]), everywhere, component=k) for k in (0, 1)]
    seen = [
        dde.icbc.PointSetBC(points, table[name].reshape(-1, 1)[::every], component=k)
        for k, name in enumerate(("Ca", "Cb"))
    ]
    data = dde.data.TimePDE(
        space,
        equation,
        [*walls, *start, *seen],
        num_domain=count(2000, share),
        num_boundary=count(100, share),
        num_initial=count(100, share),
        anchors=points,
        num_test=count(50_000, share),
    )
    return Example(
        data,
        lambda *widths: network_of(2, 2, widths or (20, 20, 20), "Glorot uniform"),
        lambda _: _furthest(unknown, {"rate": 0.1, "diffusivity": 2.0}),
        adam=80_000,
        quasi_newton=False,
        external=unknown,
    )


def lorenz(folder: Path, share: float = 1.0) -> Example:
    """The three coefficients of Lorenz' system, 10, 15 and 8/3, from 25 states."""
    dde = imported()
    truth = {"sigma": 10.0, "rho": 15.0, "beta": 8 / 3}
    unknown = {name: dde.Variable(1.0) for name in truth}

    def equation(t: Any, y: Any) -> Any:
        x, y_, z = y[:, :1], y[:, 1:2], y[:, 2:]
        rates = (
            unknown["sigma"] * (y_ - x),
            x * (unknown["rho"] - z) - y_,
            x * y_ - unknown["beta"] * z,
        )
        return [dde.grad.jacobian(y, t, i=k) - rate for k, rate in enumerate(rates)]

    time = dde.geometry.TimeDomain(0, 3)
    table = np.load(folder / "Lorenz.npz")
    start = [
        dde.icbc.IC(time, constant(value), everywhere, component=k) for k, value in enumerate((-8, 7, 27))
    ]
    seen = [dde.icbc.PointSetBC(table["t"], table["y"][:, k : k + 1], component=k) for k in range(3)]
    data = dde.data.PDE(
        time,
        equation,
        [*start, *seen],
        num_domain=count(400, share),
        num_boundary=2,
        anchors=table["t"],
    )
    return Example(
        data,
        lambda *widths: network_of(1, 3, widths or (40, 40, 40), "Glorot uniform"),
        lambda _: _furthest(unknown, truth),
        adam=60_000,
        quasi_newton=False,
        external=unknown,
    )


def _furthest(found: dict[str, Any], truth: dict[str, float]) -> float:
    return max(abs(float(found[name].detach()) / value - 1) for name, value in truth.items())


PROBLEMS: dict[str, Callable[..., Example]] = {
    "burgers": burgers,
    "allen-cahn": allen_cahn,
    "l-shape": l_shape,
    "stokes": stokes,
    "reaction": reaction,
    "lorenz": lorenz,
}
