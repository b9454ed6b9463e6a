"""Lorenz' system: three ordinary equations whose solutions part from each other exponentially."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sciml.datasets import lorenz
from sciml.description import describable
from sciml.kernels.partials import Partials
from sciml.pinns.conditions import Condition, Dirichlet, Function
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem, Solution

_DERIVATIVES = Partials([(0,)], dim=1)
_STEP = 1 / 512  # of the method of order 8


@describable
@dataclass(frozen=True)
class Lorenz(Problem):
    r"""``x' = sigma (y - x)``, ``y' = x (rho - z) - y``, ``z' = x y - beta z``, from (1, 1, 1).

    To t = ``end``; the coordinate is time; three outputs: x, y, z.

    Parameters
    ----------
    sigma, rho, beta : float
        10, 28 and 8/3 by default: the chaotic case.
    end : float, positive
        20 by default.  Errors grow like exp(0.9 t): beyond 35 float64 knows nothing.

    Notes
    -----
    Source: Lorenz, J. Atmos. Sci. 20 (1963) 130; the start and the horizon of 20 as in Wang, Sankaran and
    Perdikaris, Respecting causality (2024).  Reference: Runge-Kutta of order 8 with steps of 1/512; steps of
    1/256 give what its error says.

    Examples
    --------
    >>> Lorenz(end=1.0).reference().shape
    (1001,)
    """

    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8 / 3
    end: float = 20.0

    equation: ClassVar[str] = r"x' = \sigma (y - x), y' = x (\rho - z) - y, z' = x y - \beta z"
    source: ClassVar[str] = "Lorenz (1963)"
    grid: ClassVar[tuple[int, ...]] = (1001,)
    outputs: ClassVar[int] = 3
    conditions: ClassVar[tuple[Condition, ...]] = tuple(
        Dirichlet(1.0, ("0-",), component=k, name=f"initial_{name}") for k, name in enumerate("xyz")
    )
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("initial_x", "initial_y", "initial_z"),
        lift=lambda t: 1 + 0 * t,
        factor=lambda t: 1 - torch.exp(-t),
    )

    @property
    def domain(self) -> Domain:
        return Domain(Box(((0.0, self.end),)))

    def residual(self, u: Function, x: Tensor) -> dict[str, Tensor]:
        value, by = _DERIVATIVES(u, x)
        rate, (a, b, c) = by[0,], value.unbind(1)
        return {
            "x": rate[:, 0] - self.sigma * (b - a),
            "y": rate[:, 1] - a * (self.rho - c) + b,
            "z": rate[:, 2] - a * b + self.beta * c,
        }

    def solve(self) -> Solution:
        x, shape = self.points()
        values, coarse = self._orbit(_STEP), self._orbit(2 * _STEP)
        error = float((values - coarse).norm() / values.norm())
        return Solution(x, values, error, "Runge-Kutta of order 8, refined", shape)

    def classical(self) -> Iterator[Classical]:
        for steps in (50, 100, 200):
            yield Classical("Runge-Kutta of order 8", {"steps": steps}, partial(self._orbit, 1 / steps))

    def _orbit(self, step: float) -> Tensor:
        system = lorenz.Lorenz63(sigma=self.sigma, rho=self.rho, beta=self.beta)
        times = np.linspace(0.0, self.end, self.grid[0]).tolist()
        found = lorenz.solve([1.0, 1.0, 1.0], system=system, times=times, step=step)
        return torch.from_numpy(np.stack([found[name].values for name in "xyz"], axis=1))
