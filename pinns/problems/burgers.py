"""Burgers' equation with a shock that nearly forms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.datasets import burgers
from sciml.description import describable
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Dirichlet, Function, Initial
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem, Solution
from sciml.pinns.problems.tables import on_nodes, periodic_grid, times_of

_DERIVATIVES = [d("t", variables="xt"), d("x", variables="xt"), d("xx", variables="xt")]


@describable
@dataclass(frozen=True)
class Burgers(Problem):
    """``u_t + u u_x = viscosity u_xx`` on (-1, 1), u = 0 at both ends, from -sin(pi x), to t = 1.

    Parameters
    ----------
    viscosity : float, positive
        0.01/pi by default.  Papers also use 0.01, 0.02 and 0.001 under this name.

    Notes
    -----
    Source: Raissi, Perdikaris and Karniadakis, J. Comput. Phys. 378 (2019), appendix A.1.  Reference: the
    integrals of Cole and Hopf (`sciml.datasets.burgers.cole_hopf`).

    Examples
    --------
    >>> Burgers().fingerprint() == Burgers(viscosity=0.01).fingerprint()
    False
    """

    viscosity: float = 0.01 / math.pi

    equation: ClassVar[str] = r"u_t + u u_x = \nu u_{xx}"
    source: ClassVar[str] = "Raissi, Perdikaris, Karniadakis (2019), A.1"
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    domain: ClassVar[Domain] = Domain(Box(((-1.0, 1.0),)), time=(0.0, 1.0))
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("boundary", "initial"),
        lift=lambda x: -torch.sin(math.pi * x[:, 0]),
        factor=lambda x: x[:, 1] * (1 - x[:, 0] * x[:, 0]),
    )

    @property
    def conditions(self) -> tuple[Dirichlet, Initial]:
        return Dirichlet(0.0), Initial(_start)

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, u_t, u_x, u_xx = evaluate(u, x, _DERIVATIVES)
        return u_t + value * u_x - self.viscosity * u_xx

    def solve(self) -> Solution:
        x, shape = self.points()
        grid = periodic_grid(self, self.grid[0] - 1)
        frames = burgers.cole_hopf(_start_of, grid, viscosity=self.viscosity, times=times_of(self))
        # Rounding of the quadrature, see the solver.
        return Solution(x, on_nodes(self, frames), 1e-12, "integrals of Cole and Hopf", shape)

    def classical(self) -> Iterator[Classical]:
        for points in (128, 256, 512, 1024):
            yield Classical("pseudo-spectral, ETDRK4", {"points": points}, partial(self._spectral, points))

    def _spectral(self, points: int) -> Tensor:
        found = burgers.solve(
            _start_of,
            periodic_grid(self, points),
            viscosity=self.viscosity,
            times=times_of(self),
            step=2 / points,
            refinement=1,
        )
        return on_nodes(self, found["u"].values)


def _start(x: Tensor) -> Tensor:
    return -torch.sin(math.pi * x[:, 0])


def _start_of(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-np.sin(math.pi * x))
