"""Taylor and Green's vortices, which decay without changing their shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sciml.description import describable
from sciml.kernels.partials import Partials
from sciml.pinns.conditions import Condition, Function, Initial
from sciml.pinns.domain import Box, Domain
from sciml.pinns.measurements import PointData
from sciml.pinns.problem import Ansatz, Problem
from sciml.pinns.problems.tables import all_periodic

_DERIVATIVES = Partials([(0,), (1,), (2,), (0, 0), (1, 1)], dim=3)
_TIMES = 64  # at which the pressure is known in a corner


@describable
@dataclass(frozen=True)
class TaylorGreen(Problem):
    r"""``u_t + (u . grad) u + grad p = viscosity Laplace(u)``, ``div u = 0``, periodic on (0, 2 pi)^2.

    To t = 1; exactly u = -cos(x) sin(y) e, v = sin(x) cos(y) e, p = -(cos(2 x) + cos(2 y)) e^2 / 4 with e =
    exp(-2 viscosity t).  Three outputs: u, v, p.

    Parameters
    ----------
    viscosity : float, positive
        0.01 by default.

    Notes
    -----
    The equations say nothing about the mean of the pressure, so its value in the corner is told at 64 times.
    Source: Taylor and Green, Proc. R. Soc. Lond. A 158 (1937) 499, in the plane.

    Examples
    --------
    >>> problem = TaylorGreen()
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    viscosity: float = 0.01

    equation: ClassVar[str] = r"u_t + (u \cdot \nabla) u + \nabla p = \nu \Delta u, \nabla \cdot u = 0"
    source: ClassVar[str] = "Taylor, Green (1937)"
    grid: ClassVar[tuple[int, ...]] = (33, 33, 21)
    outputs: ClassVar[int] = 3
    domain: ClassVar[Domain] = Domain(Box(((0.0, 2 * math.pi), (0.0, 2 * math.pi))), time=(0.0, 1.0))
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("initial_u", "initial_v"),
        lift=lambda x: torch.stack([*_swirl(x), 0 * x[:, 0]], dim=1),
        factor=lambda x: torch.stack([x[:, 2], x[:, 2], 1 + 0 * x[:, 2]], dim=1),
    )

    @property
    def conditions(self) -> tuple[Condition, ...]:
        corner = torch.zeros(_TIMES, 3, dtype=torch.float64)
        corner[:, 2] = torch.linspace(0.0, 1.0, _TIMES, dtype=torch.float64)
        return (
            *all_periodic([0, 1], 3),
            Initial(lambda x: _swirl(x)[0], component=0, name="initial_u"),
            Initial(lambda x: _swirl(x)[1], component=1, name="initial_v"),
            PointData(corner, self.exact(corner)[:, 2], component=2, name="pressure"),
        )

    def residual(self, u: Function, x: Tensor) -> dict[str, Tensor]:
        value, by = _DERIVATIVES(u, x)
        carried = value[:, :1] * by[0,] + value[:, 1:2] * by[1,]
        flow = by[2,] + carried - self.viscosity * (by[0, 0] + by[1, 1])
        return {
            "momentum_x": flow[:, 0] + by[0,][:, 2],
            "momentum_y": flow[:, 1] + by[1,][:, 2],
            "continuity": by[0,][:, 0] + by[1,][:, 1],
        }

    def exact(self, x: Tensor) -> Tensor:
        decay = torch.exp(-2 * self.viscosity * x[:, 2])
        u, v = _swirl(x)
        p = -(torch.cos(2 * x[:, 0]) + torch.cos(2 * x[:, 1])) / 4
        return torch.stack([u * decay, v * decay, p * decay * decay], dim=1)


def _swirl(x: Tensor) -> tuple[Tensor, Tensor]:
    return -torch.cos(x[:, 0]) * torch.sin(x[:, 1]), torch.sin(x[:, 0]) * torch.cos(x[:, 1])
