"""Between finite elements on triangles and the points of a reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.datasets.numerics.mesh_functions import at_points
from sciml.mesh import Mesh
from sciml.pinns.problem import Classical, Problem, Solution

Float = NDArray[np.float64]
Solve = Callable[[Tensor, float], Tensor]
"""``solve(x, width)``: values (n, outputs) at points (n, dim) from triangles of this width."""


def at(mesh: Mesh, values: Float, x: Tensor) -> Tensor:
    """Values (node, columns) of a mesh at points (n, 2) of space, which corners of the domain may be."""
    # Chords cut curved boundaries short by less than a tenth of a triangle: these points are extrapolated.
    return torch.from_numpy(np.ascontiguousarray(at_points(mesh, values, x.numpy())))


def refined(problem: Problem, solve: Solve, widths: tuple[float, float], source: str) -> Solution:
    """The reference from the second width, whose error is told as its change from the first, coarser one."""
    x, shape = problem.points()
    coarse, fine = (solve(x, width) for width in widths)
    error = float((coarse - fine).norm() / fine.norm())
    return Solution(x, fine, error, source, shape)


def coarser(problem: Problem, solve: Solve, widths: Sequence[float], name: str) -> Iterator[Classical]:
    """The same solver on triangles that are larger."""
    settings: dict[str, Any]
    for width in widths:
        settings = {"width": width}
        yield Classical(name, settings, partial(solve, problem.points()[0], width))
