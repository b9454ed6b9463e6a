"""Logistic growth at every point by itself: no exchange, but a sharp front."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sciml.datasets.numerics.runge_kutta import integrate
from sciml.description import describable
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Function, Initial
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem
from sciml.pinns.problems.tables import as_values

_DERIVATIVES = [d("t", variables="xt")]
_WIDTH = math.pi / 4


@describable
@dataclass(frozen=True)
class Reaction(Problem):
    """``u_t = rate u (1 - u)`` on (0, 2 pi), from a Gaussian of height 1 and deviation pi/4, to t = 1.

    Parameters
    ----------
    rate : float
        5 by default.

    Notes
    -----
    Papers call it periodic.  Nothing in the equation connects two points, and the slope of the start jumps
    where the interval would close, so that a periodic network had to imitate a kink: there is no condition at
    the ends here.  Source: Krishnapriyan et al. (NeurIPS 2021), section 3.2, without diffusion.

    Examples
    --------
    >>> problem = Reaction()
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    rate: float = 5.0

    equation: ClassVar[str] = r"u_t = \rho u (1 - u)"
    source: ClassVar[str] = "Krishnapriyan et al. (2021), 3.2"
    recipe: ClassVar[str] = "precise"
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    domain: ClassVar[Domain] = Domain(Box(((0.0, 2 * math.pi),)), time=(0.0, 1.0))
    ansatz: ClassVar[Ansatz] = Ansatz(("initial",), lift=lambda x: _bell(x[:, 0]), factor=lambda x: x[:, 1])

    @property
    def conditions(self) -> tuple[Initial]:
        return (Initial(lambda x: _bell(x[:, 0])),)

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, u_t = evaluate(u, x, _DERIVATIVES)
        return u_t - self.rate * value * (1 - value)

    def exact(self, x: Tensor) -> Tensor:
        grown = _bell(x[:, 0]) * torch.exp(self.rate * x[:, 1])
        return grown / (grown + 1 - _bell(x[:, 0]))

    def classical(self) -> Iterator[Classical]:
        for steps in (1, 4, 16):
            yield Classical("Runge-Kutta of order 4", {"steps": steps}, partial(self._stepped, steps))

    def _stepped(self, steps: int) -> Tensor:
        x = np.linspace(*self.domain.bounds[0], self.grid[0])
        start = np.exp(-((x - math.pi) ** 2) / (2 * _WIDTH**2))
        times = np.linspace(0.0, 1.0, self.grid[1])
        coarse = np.linspace(0.0, 1.0, steps + 1)
        frames = integrate(lambda u: self.rate * u * (1 - u), start, coarse.tolist(), order=4)
        # Between the steps by the cubic that has their values and slopes, of order 4 as well.
        from scipy.interpolate import CubicHermiteSpline

        found = CubicHermiteSpline(coarse, frames, self.rate * frames * (1 - frames))(times)
        return as_values(np.asarray(found))


def _bell(x: Tensor) -> Tensor:
    return torch.exp((x - math.pi) * (x - math.pi) * (-1 / (2 * _WIDTH**2)))
