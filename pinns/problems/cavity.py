"""Steady flow in a square under a moving lid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sciml.datasets import cavity
from sciml.description import describable
from sciml.kernels.partials import Partials
from sciml.pinns.conditions import Condition, Dirichlet, Function
from sciml.pinns.domain import Box, Domain
from sciml.pinns.measurements import PointData
from sciml.pinns.problem import Ansatz, Classical, Problem, Solution

_DERIVATIVES = Partials([(0,), (1,), (0, 0), (1, 1)], dim=2)
_WALLS = ("0-", "0+", "1-")


@describable
@dataclass(frozen=True)
class Cavity(Problem):
    r"""``(u . grad) u + grad p = viscosity Laplace(u)``, ``div u = 0`` on the unit square.

    The lid y = 1 moves with the speed 4 x (1 - x), the other walls rest, p = 0 in the middle.  Three outputs:
    u, v, p; the error is that of all three together.

    Parameters
    ----------
    viscosity : float, positive
        0.01 by default.

    Notes
    -----
    Source: problem NS2d-C of PINNacle, Hao et al., NeurIPS 2024, which puts p = 0 into the corner at the
    origin instead.  Lids of other papers move with speed 1, or 1 - cosh(50 (x - 1/2)) / cosh(25): other
    problems.  The lid's slope does not vanish in the corners, where p is infinite, like log(r): the points of
    the reference are centers of cells.  Reference: collocation of the stream function with splines of degree
    9 (`sciml.datasets.cavity`); from 16^2 to 24^2 elements u, v and p change by 5e-7, from 12^2 to 16^2 by
    4e-6, which is told as its error.

    Examples
    --------
    >>> Cavity().outputs, Cavity().satisfied()
    (3, ('lid_u', 'wall_u', 'wall_v'))
    """

    viscosity: float = 0.01

    equation: ClassVar[str] = r"(u \cdot \nabla) u + \nabla p = \nu \Delta u, \nabla \cdot u = 0"
    source: ClassVar[str] = "Hao et al. (2024), NS2d-C"
    grid: ClassVar[tuple[int, ...]] = (64, 64)
    outputs: ClassVar[int] = 3
    domain: ClassVar[Domain] = Domain(Box(((0.0, 1.0), (0.0, 1.0))))
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("lid_u", "wall_u", "wall_v"),
        lift=lambda x: torch.stack([_lid(x) * x[:, 1], 0 * x[:, 0], 0 * x[:, 0]], dim=1),
        factor=lambda x: torch.stack([_inside(x), _inside(x), 1 + 0 * x[:, 0]], dim=1),
    )

    @property
    def conditions(self) -> tuple[Condition, ...]:
        middle = torch.full((1, 2), 0.5, dtype=torch.float64)
        return (
            Dirichlet(_lid, ("1+",), component=0, name="lid_u"),
            Dirichlet(0.0, _WALLS, component=0, name="wall_u"),
            Dirichlet(0.0, component=1, name="wall_v"),
            PointData(middle, torch.zeros(1, dtype=torch.float64), component=2, name="pressure"),
        )

    def residual(self, u: Function, x: Tensor) -> dict[str, Tensor]:
        value, by = _DERIVATIVES(u, x)
        flow = value[:, :1] * by[0,] + value[:, 1:2] * by[1,] - self.viscosity * (by[0, 0] + by[1, 1])
        return {
            "momentum_x": flow[:, 0] + by[0,][:, 2],
            "momentum_y": flow[:, 1] + by[1,][:, 2],
            "continuity": by[0,][:, 0] + by[1,][:, 1],
        }

    def points(self) -> tuple[Tensor, tuple[int, ...] | None]:
        """Centers of the cells of a grid."""
        line = (torch.arange(self.grid[0], dtype=torch.float64) + 0.5) / self.grid[0]
        return torch.cartesian_prod(line, line), self.grid

    def solve(self) -> Solution:
        x, shape = self.points()
        values, coarse = self._flow(16), self._flow(12)
        error = float((values - coarse).norm() / values.norm())
        return Solution(x, values, error, "stream function, splines of degree 9, refined", shape)

    def classical(self) -> Iterator[Classical]:
        for elements in (6, 8, 12):
            solve = partial(self._flow, elements)
            yield Classical("stream function, splines of degree 9", {"elements": elements}, solve)

    def _flow(self, elements: int) -> Tensor:
        """u, v and p at the centers, as columns (n, 3)."""
        flow = cavity.solve(
            "parabolic",
            reynolds=1 / self.viscosity,
            resolution=2 * self.grid[0] + 1,  # every other node is the center of a cell
            elements=elements,
            degree=9,
        )
        columns = [flow[name].transpose("x", "y").values[1::2, 1::2].ravel() for name in ("u", "v", "p")]
        return torch.from_numpy(np.stack(columns, axis=1))


def _lid(x: Tensor) -> Tensor:
    return 4 * x[:, 0] * (1 - x[:, 0])


def _inside(x: Tensor) -> Tensor:
    return 16 * x[:, 0] * (1 - x[:, 0]) * x[:, 1] * (1 - x[:, 1])
