"""Between arrays of the solvers, (time, space), and lists of points, space first: what the problems share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.grid import Grid
from sciml.kernels.calculus import resample
from sciml.pinns.conditions import Function, Periodic
from sciml.pinns.problem import Classical, Problem, Solution

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]


def periodic_grid(problem: Problem, points: int) -> Grid:
    """``points`` periodic nodes along each coordinate of space."""
    lower, upper = zip(*problem.domain.space.bounds, strict=True)
    return Grid.box((points,) * len(lower), lower=lower, upper=upper, location="node", periodic=True)


def all_periodic(axes: Iterable[int], outputs: int, *, order: int = 1) -> tuple[Periodic, ...]:
    """Every component is periodic along these axes, with derivatives up to this order."""
    return tuple(Periodic(axis, order, component=k) for axis in axes for k in range(outputs))


def times_of(problem: Problem) -> Float:
    """The times of the reference's grid."""
    assert problem.grid is not None and problem.domain.time is not None
    return np.linspace(*problem.domain.time, problem.grid[-1])


def on_nodes(problem: Problem, *components: Float) -> Tensor:
    """Frames (time, *nodes) of each component on any periodic nodes, at the reference's, (n, components).

    The right ends of the periods are included.
    """
    assert problem.grid is not None
    columns = []
    for frames in components:
        for axis, points in enumerate(problem.grid[:-1], start=1):
            wanted, given = points - 1, frames.shape[axis]
            # Nodes that contain both: on the wanted ones alone, waves would be lost.
            common = math.lcm(given, wanted)
            if common > given:
                frames = resample(torch.from_numpy(frames), common, axes=axis).numpy()
            frames = np.take(frames, range(0, common, common // wanted), axis)
            frames = np.concatenate([frames, np.take(frames, [0], axis)], axis)
        columns.append(as_values(frames))
    return torch.cat(columns, dim=1)


def as_values(frames: Float) -> Tensor:
    """Frames (time, *space) as a list of values (n, 1), first coordinate first."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(frames, 0, -1)).reshape(-1, 1))


def as_start(start: Function) -> Callable[..., Float]:
    """A function of points (n, dim) as one of arrays of coordinates, as the solvers take their starts."""

    def of_arrays(*coordinates: Float) -> Float:
        arrays = np.broadcast_arrays(*coordinates)
        points = torch.stack([torch.from_numpy(np.ravel(a)) for a in arrays], dim=1)
        return start(points).numpy().reshape(arrays[0].shape)

    return of_arrays


def refined(problem: Problem, found: xarray.Dataset) -> Solution:
    """What a periodic solver found, refined until its own estimate of the error was small enough."""
    x, shape = problem.points()
    values = on_nodes(problem, *(found[name].values for name in found.data_vars))
    return Solution(x, values, float(found.attrs["relative_error"]), "Fourier modes, ETDRK4, refined", shape)


def certified(problem: Problem, solve: Callable[..., xarray.Dataset], points: int, step: float) -> Solution:
    """A periodic solver on this grid with this step, for where steps and points are known to be enough.

    Its error is the larger one of the changes from three quarters of the points, which are an even number,
    and from twice the step: more than what is left, as both converge fast.
    """
    x, shape = problem.points()
    values, *others = (
        _unrefined(problem, solve, n, h)
        for n, h in ((points, step), (3 * points // 4, step), (points, 2 * step))
    )
    error = max(float((values - other).norm() / values.norm()) for other in others)
    return Solution(x, values, error, f"Fourier modes, ETDRK4, {points} points, steps of {step:g}", shape)


def unrefined(
    problem: Problem, solve: Callable[..., xarray.Dataset], sizes: Iterable[int], *, steps: float
) -> Iterator[Classical]:
    """A periodic solver on few points, ``solve(grid, step=..., refinement=1)``: steps 1/(steps points)."""
    for points in sizes:
        yield Classical(
            "pseudo-spectral, ETDRK4",
            {"points": points},
            partial(_unrefined, problem, solve, points, 1 / (steps * points)),
        )


def _unrefined(problem: Problem, solve: Callable[..., xarray.Dataset], points: int, step: float) -> Tensor:
    found = solve(periodic_grid(problem, points), step=step, refinement=1)
    return on_nodes(problem, *(found[name].values for name in found.data_vars))


def leapfrog(start: Float, acceleration: Callable[[Float, float], Float], times: Float) -> Float:
    """Frames (time, space) of u_tt = acceleration(u, t) from rest at equally spaced times, order 2."""
    h = times[1] - times[0]
    frames = [start, start + h**2 / 2 * acceleration(start, times[0])]
    for t in times[1:-1].tolist():
        frames.append(2 * frames[-1] - frames[-2] + h**2 * acceleration(frames[-1], t))
    return np.stack(frames)


def interpolated(problem: Problem, first: Float, second: Float, values: Float) -> Tensor:
    """Values (first, second) on a coarse grid with both ends, at the reference's points, by cubic splines."""
    from scipy.interpolate import RectBivariateSpline

    assert problem.grid is not None
    wanted = [np.linspace(a, b, n) for (a, b), n in zip(problem.domain.bounds, problem.grid, strict=True)]
    found = RectBivariateSpline(first, second, values)(*wanted)
    return torch.from_numpy(np.ascontiguousarray(found).reshape(-1, 1))


def five_point(
    size: int, shift: float, source: Callable[[Float, Float], Float], half: float
) -> tuple[Float, Float]:
    """``Laplace(u) + shift u = source`` on the square of this half width about 0, u = 0 outside, order 2.

    Returns the ``size + 1`` nodes of an axis and the values at all of them.
    """
    from scipy.sparse import diags_array, eye_array, kron
    from scipy.sparse.linalg import spsolve

    nodes = np.linspace(-half, half, size + 1)
    inner, h = size - 1, 2 * half / size
    second = diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(inner, inner)) / h**2
    same = eye_array(inner)
    matrix = kron(second, same) + kron(same, second) + shift * eye_array(inner**2)
    x, y = np.meshgrid(nodes[1:-1], nodes[1:-1], indexing="ij")
    values = np.zeros((size + 1, size + 1))
    values[1:-1, 1:-1] = spsolve(matrix.tocsc(), source(x, y).ravel()).reshape(inner, inner)
    return nodes, values
