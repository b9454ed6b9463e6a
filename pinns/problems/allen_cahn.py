"""Allen and Cahn's equation: two phases with sharp walls."""

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

from sciml.datasets import allen_cahn
from sciml.description import describable
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Function, Initial, Periodic
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem, Solution
from sciml.pinns.problems.tables import on_nodes, periodic_grid, times_of

_INSTANT = 1e-16  # of time, for the width of a layer that has none at the start

_DERIVATIVES = [d("t", variables="xt"), d("xx", variables="xt")]


@describable
@dataclass(frozen=True)
class AllenCahn(Problem):
    """``u_t = diffusivity u_xx + 5 (u - u^3)``, periodic on (-1, 1), from x^2 cos(pi x), to t = 1.

    Parameters
    ----------
    diffusivity : float, positive
        1e-4 by default.  With 1e-3, as in papers on adaptive points, it is far easier.

    Notes
    -----
    The slope of the start jumps by 4 at the ends, where u = -1, and no periodic network makes good a lift
    that carries the jump along: residuals between the ends do not see it, and the error stays at 1.4e-4.  So
    the lift does with the jump what the equation does when it is linearized about u = -1: exp(-10 t) times
    the solution of the heat equation.  Source: Raissi, Perdikaris and Karniadakis, J. Comput. Phys. 378
    (2019), section 3.2.2.  Reference: Fourier modes and ETDRK4, refined until nothing changes.

    Examples
    --------
    >>> AllenCahn().periods
    (0,)
    """

    diffusivity: float = 1e-4

    equation: ClassVar[str] = r"u_t = d u_{xx} + 5 (u - u^3)"
    source: ClassVar[str] = "Raissi, Perdikaris, Karniadakis (2019), 3.2.2"
    recipe: ClassVar[str] = "precise"
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    domain: ClassVar[Domain] = Domain(Box(((-1.0, 1.0),)), time=(0.0, 1.0))

    @property
    def conditions(self) -> tuple[Periodic, Initial]:
        return Periodic(0), Initial(_start)

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(("initial",), lift=self._lift, factor=lambda x: 1 - torch.exp(-10 * x[:, 1]))

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, u_t, u_xx = evaluate(u, x, _DERIVATIVES)
        return u_t - self.diffusivity * u_xx - 5 * (value - value**3)

    def _lift(self, x: Tensor) -> Tensor:
        # The heat equation's solution from 2 |s|, s the distance to the ends, less 2 |s| itself.
        s, width = 1 - abs(x[:, 0]), torch.sqrt(4 * self.diffusivity * (x[:, 1] + _INSTANT))
        z = s / width
        smoothing = 2 * (width / math.sqrt(math.pi) * torch.exp(-z * z) - s * torch.erfc(z))
        return torch.exp(-10 * x[:, 1]) * (_start(x) + smoothing)

    def solve(self) -> Solution:
        x, shape = self.points()
        # Twice the nodes, of which every other one is kept: the solver refines 16 times at most.
        frames, error = self._frames(2 * (self.grid[0] - 1), step=None, refinement=None)
        return Solution(x, on_nodes(self, frames), error, "Fourier modes, ETDRK4, refined", shape)

    def classical(self) -> Iterator[Classical]:
        for points in (128, 256, 512, 1024):
            yield Classical("pseudo-spectral, ETDRK4", {"points": points}, partial(self._spectral, points))

    def _spectral(self, points: int) -> Tensor:
        frames, _ = self._frames(points, step=2 / points, refinement=1)
        return on_nodes(self, frames)

    def _frames(
        self, points: int, *, step: float | None, refinement: int | None
    ) -> tuple[NDArray[np.float64], float]:
        found = allen_cahn.solve(
            lambda x: x**2 * np.cos(math.pi * x),
            periodic_grid(self, points),
            diffusivity=self.diffusivity,
            reaction=5.0,
            times=times_of(self),
            step=step,
            refinement=refinement,
            tolerance=1e-9,
        )
        return np.asarray(found["u"].values), float(found.attrs.get("relative_error", math.nan))


def _start(x: Tensor) -> Tensor:
    return x[:, 0] * x[:, 0] * torch.cos(math.pi * x[:, 0])
