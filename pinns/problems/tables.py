"""Between arrays of the solvers, (time, space), and lists of points, space first: what the problems share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.grid import Grid
from sciml.kernels.calculus import resample
from sciml.pinns.problem import Problem

Float = NDArray[np.float64]


def periodic_grid(problem: Problem, points: int) -> Grid:
    """``points`` periodic nodes of the first coordinate."""
    lower, upper = problem.domain.bounds[0]
    return Grid.box((points,), lower=lower, upper=upper, location="node", periodic=True)


def times_of(problem: Problem) -> Float:
    """The times of the reference's grid."""
    assert problem.grid is not None and problem.domain.time is not None
    return np.linspace(*problem.domain.time, problem.grid[-1])


def on_nodes(problem: Problem, frames: Float) -> Tensor:
    """Frames (time, nodes) on any periodic nodes, at the reference's, right end of the period included."""
    assert problem.grid is not None
    wanted, given = problem.grid[0] - 1, frames.shape[1]
    if given % wanted == 0:
        frames = frames[:, :: given // wanted]
    else:
        frames = resample(torch.from_numpy(frames), wanted, axes=1).numpy()
    return as_values(np.concatenate([frames, frames[:, :1]], axis=1))


def as_values(frames: Float) -> Tensor:
    """Frames (time, space) as a list of values (n, 1), first coordinate first."""
    return torch.from_numpy(np.ascontiguousarray(frames.T).reshape(-1, 1))


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
