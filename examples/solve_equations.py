"""Classical solvers at hand: one call for one instance of each equation, and its picture.

    python examples/solve_equations.py [FOLDER] [NAME ...]

Every ``sciml.datasets.<equation>.solve`` takes a start or a coefficient (a number, an array or a function of
the coordinates), a grid or a mesh, and returns an ``xarray.Dataset`` with names, units, coordinates and the
equation.  The same solvers make the data of ``sciml data make``.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from sciml.datasets import (
    advection,
    allen_cahn,
    bounded_reaction,
    bounded_waves,
    burgers,
    cahn_hilliard,
    cavity,
    darcy,
    elasticity,
    euler,
    fisher,
    fitzhugh_nagumo,
    forced_burgers,
    gray_scott,
    heat,
    korteweg_de_vries,
    kuramoto_sivashinsky,
    lorenz,
    navier_stokes,
    poisson,
    reaction_diffusion,
    schrodinger,
    shallow_water,
    swift_hohenberg,
    wave,
)
from sciml.datasets.numerics.curves import Polygon, Star
from sciml.datasets.numerics.meshing import Domain
from sciml.grid import Grid
from sciml.mesh import Mesh

PI = np.pi


def torus(*shape: int, lower: float = 0.0, upper: float = 1.0) -> Grid:
    """Periodic nodes."""
    return Grid.box(shape, lower=lower, upper=upper, location="node", periodic=True)


def noise(*shape: int) -> np.ndarray:
    """Smooth random numbers of mean zero on a torus."""
    waves = np.random.default_rng(0).standard_normal(shape)
    for axis in range(len(shape)):
        for _ in range(8):
            waves = waves + np.roll(waves, 1, axis) + np.roll(waves, -1, axis)
    return waves / waves.std()


def bump(*x: np.ndarray, width: float = 0.1) -> np.ndarray:
    """A Gaussian in the middle of the unit box."""
    return np.exp(-sum((c - 0.5) ** 2 for c in x) / width**2)


def two_solitons(x: np.ndarray) -> np.ndarray:
    """Far apart; a soliton of speed c is c/2 sech^2(sqrt(c)/2 (x - x0))."""
    return sum(c / 2 / np.cosh(np.sqrt(c) / 2 * (x - x0)) ** 2 for c, x0 in ((6.0, 10.0), (2.0, 16.0)))


def plate(spacing: float) -> Mesh:
    """A square plate with a round hole."""
    hole = Star((0.5, 0.5), 0.2, name="hole")
    return Domain(Polygon.rectangle((0.0, 0.0), (1.0, 1.0)), [hole]).triangulate(spacing).mesh()


def landau(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ginzburg and Landau's reaction A - (1 + 1.5 i) |A|^2 A of A = u + i v."""
    square = u**2 + v**2
    return 10 * (u - square * (u - 1.5 * v)), 10 * (v - square * (v + 1.5 * u))


SOLUTIONS: dict[str, Callable[[], xr.Dataset]] = {
    "advection": lambda: advection.solve(bump, torus(128), velocity=0.5, times=np.linspace(0, 2, 41)),
    "heat": lambda: heat.solve(
        lambda x, y: np.sin(PI * x) * np.sin(3 * PI * y),
        Grid.box((49, 49), location="node"),
        boundary="dirichlet",
        diffusivity=0.02,
        source=bump,
        times=[0.0, 0.5, 1.0],
    ),
    "wave": lambda: wave.solve(
        bump, Grid.box((97,), location="node"), boundary="neumann", times=np.linspace(0, 2, 61)
    ),
    "burgers": lambda: burgers.solve(
        lambda x: -np.sin(PI * x),
        torus(256, lower=-1.0),
        viscosity=0.01 / PI,
        times=np.linspace(0, 1, 51),
        step=1e-3,
    ),
    "korteweg_de_vries": lambda: korteweg_de_vries.solve(
        two_solitons, torus(256, upper=40.0), times=np.linspace(0, 4, 41), step=2e-3
    ),
    "kuramoto_sivashinsky": lambda: kuramoto_sivashinsky.solve(
        lambda x: np.cos(x / 16) * (1 + np.sin(x / 16)),
        torus(192, upper=32 * PI),
        times=np.linspace(0, 100, 101),
        step=0.05,
    ),
    "schrodinger": lambda: schrodinger.solve(
        lambda x: 2 / np.cosh(x),
        torus(256, lower=-5.0, upper=5.0),
        times=np.linspace(0, PI / 2, 41),
        step=5e-3,
    ),
    "allen_cahn": lambda: allen_cahn.solve(
        noise(64, 64) / 10,
        torus(64, 64),
        diffusivity=5e-4,
        reaction=5.0,
        times=[0.0, 1.0, 3.0],
        step=0.02,
        refinement=2,
    ),
    "cahn_hilliard": lambda: cahn_hilliard.solve(
        noise(64, 64) / 10, torus(64, 64), epsilon=0.02, times=[0.0, 0.01, 0.05], step=2.5e-4, refinement=2
    ),
    "gray_scott": lambda: gray_scott.solve(
        lambda x, y: 1 - 0.5 * bump(x / 2 + 0.5, y / 2 + 0.5),
        lambda x, y: 0.25 * bump(x / 2 + 0.5, y / 2 + 0.5),
        torus(64, 64, lower=-1.0),
        times=[0.0, 500.0, 2000.0],
        step=4.0,
        refinement=2,
    ),
    "fisher": lambda: fisher.solve(
        bump, torus(128), diffusivity=1e-3, growth=8.0, times=np.linspace(0, 1.5, 31), step=0.01
    ),
    "fitzhugh_nagumo": lambda: fitzhugh_nagumo.solve(
        noise(49, 49),
        0.0,
        Grid.box((49, 49), lower=-1.0, location="node"),
        times=[0.0, 2.0, 5.0],
        step=0.02,
        refinement=2,
    ),
    "darcy": lambda: darcy.solve(
        lambda x, y: np.where(np.sin(7 * x) * np.cos(9 * y) > 0, 12.0, 3.0), Grid.box((64, 64))
    ),
    "shallow_water": lambda: shallow_water.solve(
        lambda x, y: np.where(x**2 + y**2 < 0.25, 2.0, 1.0),
        Grid.box((64, 64), lower=-2.5, upper=2.5),
        times=[0.0, 0.5, 1.0],
    ),
    "euler": lambda: euler.solve(
        lambda x: np.where(x < 0.5, 1.0, 0.125),
        Grid.box((200,)),
        pressure=lambda x: np.where(x < 0.5, 1.0, 0.1),
        times=np.linspace(0, 0.2, 41),
    ),
    "navier_stokes": lambda: navier_stokes.solve(
        noise(64, 64) * 5, torus(64, 64), viscosity=1e-3, times=[0.0, 1.0, 3.0]
    ),
    "cavity": lambda: cavity.solve("regularized", reynolds=400.0, resolution=65, elements=8, degree=7),
    "forced_burgers": lambda: forced_burgers.solve(
        lambda x: np.sin(PI * x / 8),
        Grid.box((100,), upper=16.0, periodic=True),
        alpha=3.0,
        beta=0.2,
        gamma=0.5,
        forcing=lambda t, x: 0.3 * np.sin(0.4 * t + PI * x / 4),
        times=np.linspace(0, 4, 41),
    ),
    "bounded_waves": lambda: bounded_waves.solve(1.0, right="neumann", times=np.linspace(0, 16, 65)),
    "bounded_reaction": lambda: bounded_reaction.solve(
        lambda u, x, t: 5 * (u - u**3),
        lambda x: x**2 * np.cos(PI * x),
        diffusivity=1e-3,
        walls=(bounded_reaction.Wall("dirichlet", -1.0), bounded_reaction.Wall("dirichlet", -1.0)),
        interval=(-1.0, 1.0),
        times=np.linspace(0, 1, 41),
        points=96,
        tolerance=1e-6,
    ),
    "reaction_diffusion": lambda: reaction_diffusion.solve(
        {
            "u": lambda x, y: 10 * y * np.exp(-25 * (x**2 + y**2)),
            "v": lambda x, y: 10 * x * np.exp(-25 * (x**2 + y**2)),
        },
        torus(64, 64, lower=-1.0),
        diffusivity=(0.004, 0.004),
        reaction=landau,
        times=[0.0, 0.5, 1.0],
        step=0.01,
        refinement=1,
    ),
    "swift_hohenberg": lambda: swift_hohenberg.solve(
        noise(64, 64) / 10,
        torus(64, 64, upper=16 * PI),
        control=0.4,
        times=[0.0, 10.0, 40.0],
        step=0.2,
        refinement=1,
    ),
    "poisson": lambda: poisson.solve(plate(0.05), source=1.0, boundary={"hole": 1.0}),
    "elasticity": lambda: elasticity.solve(plate(0.05), loads={"top": (0.0, 1.0)}, clamped=["bottom"]),
    "lorenz": lambda: lorenz.solve([1.0, 1.0, 1.0], times=np.linspace(0, 20, 2001)),
}


def draw(ax: plt.Axes, name: str, solution: xr.Dataset) -> None:
    """The first field: over space and time, at the last time, or along its trajectory."""
    field = solution["von_mises" if "von_mises" in solution else next(iter(solution.data_vars))]
    if np.iscomplexobj(field):
        field = abs(field)
    space = [dim for dim in field.dims if dim != "time"]
    if "node" in space:
        ax.tricontourf(*(solution[axis] for axis in "xy"), solution["cells"], field, levels=32)
        ax.set_aspect("equal")
    elif not space or all(field.sizes[dim] == 1 for dim in space):
        field.squeeze().plot.line(ax=ax)
    elif len(space) == 1:
        field.plot.imshow(ax=ax, x="time", y=space[0], add_colorbar=False)
    else:
        last = field.isel(time=-1) if "time" in field.dims else field
        last.plot.imshow(ax=ax, x=space[0], y=space[1], add_colorbar=False)
    ax.set_title(name.replace("_", " "), fontsize=10)


def main(folder: Path, names: list[str] | None = None) -> dict[str, xr.Dataset]:
    """Solve, draw all solutions to ``folder/solutions.png`` and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {name: SOLUTIONS[name]() for name in names or SOLUTIONS}
    rows = -(-len(found) // 5)
    figure, axes = plt.subplots(rows, 5, figsize=(14, 2.6 * rows), layout="constrained", squeeze=False)
    for ax in axes.flat[len(found) :]:
        ax.set_axis_off()
    for ax, (name, solution) in zip(axes.flat, found.items(), strict=False):
        draw(ax, name, solution)
        print(f"{name}: {solution.attrs['equation']}")
    figure.savefig(folder / "solutions.png", dpi=70)
    plt.close(figure)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/solutions"), sys.argv[2:])
