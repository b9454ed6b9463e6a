"""Klein and Gordon's equation with manufactured solutions, on a line and on a square."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sciml.description import describable
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Dirichlet, Function, Initial
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem
from sciml.pinns.problems.tables import Float, interpolated, leapfrog

_ON_LINE = [d("tt", variables="xt"), d("xx", variables="xt")]
_ON_SQUARE = [d("tt", variables="xyt"), d("xx", variables="xyt") + d("yy", variables="xyt")]


@describable
@dataclass(frozen=True)
class KleinGordon(Problem):
    """``u_tt - u_xx + u^3 = f`` on (0, 1) to t = 1, with f, u at both ends and the start of a known solution.

    It is u = x cos(waves pi t) + (x t)^3.

    Parameters
    ----------
    waves : float
        5 by default.

    Notes
    -----
    The lift is the straight line between the boundary data, x cos(waves pi t) + x t^3, so that the network
    has to find x t^3 (x^2 - 1): easy, but nothing that the problem does not say.  Without building conditions
    in (``hard=False``) it is the problem of the source: Wang, Teng and Perdikaris, Understanding and
    mitigating gradient flow pathologies in physics-informed neural networks (2021), section 4.2.

    Examples
    --------
    >>> problem = KleinGordon()
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    waves: float = 5.0

    equation: ClassVar[str] = r"u_{tt} - u_{xx} + u^3 = f"
    source: ClassVar[str] = "Wang, Teng, Perdikaris (2021), 4.2"
    recipe: ClassVar[str] = "precise"
    grid: ClassVar[tuple[int, ...]] = (129, 129)
    domain: ClassVar[Domain] = Domain(Box(((0.0, 1.0),)), time=(0.0, 1.0))

    @property
    def conditions(self) -> tuple[Dirichlet, Initial, Initial]:
        return Dirichlet(self.exact), Initial(lambda x: x[:, 0]), Initial(0.0, order=1, name="rate")

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(
            ("boundary", "initial", "rate"),
            lift=lambda x: x[:, 0] * (torch.cos(self._frequency * x[:, 1]) + x[:, 1] ** 3),
            factor=lambda x: x[:, 1] * x[:, 1] * (4 * x[:, 0] * (1 - x[:, 0])),
        )

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, u_tt, u_xx = evaluate(u, x, _ON_LINE)
        return u_tt - u_xx + value**3 - self._source(x)

    def exact(self, x: Tensor) -> Tensor:
        return x[:, 0] * torch.cos(self._frequency * x[:, 1]) + (x[:, 0] * x[:, 1]) ** 3

    def classical(self) -> Iterator[Classical]:
        for points in (32, 64, 128, 512):
            yield Classical("leapfrog", {"points": points}, partial(self._leapfrog, points))

    @property
    def _frequency(self) -> float:
        return self.waves * math.pi

    def _source(self, x: Tensor) -> Tensor:
        along, t = x[:, 0], x[:, 1]
        rate = -(self._frequency**2) * along * torch.cos(self._frequency * t) + 6 * along**3 * t
        return rate - 6 * along * t**3 + self.exact(x) ** 3

    def _leapfrog(self, points: int) -> Tensor:
        """Order 2, at three quarters of the longest stable step; the ends move by their own acceleration."""
        x = np.linspace(0.0, 1.0, points + 1)
        times = np.linspace(0.0, 1.0, math.ceil(points / 0.75) + 1)

        def acceleration(u: Float, t: float) -> Float:
            at = torch.from_numpy(np.stack([x, np.full_like(x, t)], axis=1))
            found = self._source(at).numpy() - u**3
            found[1:-1] += points**2 * (u[2:] - 2 * u[1:-1] + u[:-2])
            found[[0, -1]] += 6 * x[[0, -1]] * t**3  # u_xx of the solution
            return found

        return interpolated(self, x, times, leapfrog(x, acceleration, times).T)


@describable
@dataclass(frozen=True)
class KleinGordonSquare(Problem):
    """``u_tt - u_xx - u_yy + u^2 = f`` on (-1, 1)^2 to t = 10, of u = (x + y) cos(2 t) + x y sin(2 t).

    Notes
    -----
    Start and rate are built in; what interpolates u between its values on the boundary is linear in x and y,
    as the solution is, and would be the solution itself, so that the loss has to ask for those.  Source: Cho
    et al., Separable physics-informed neural networks, NeurIPS 2023.

    Examples
    --------
    >>> problem = KleinGordonSquare()
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    equation: ClassVar[str] = r"u_{tt} - \Delta u + u^2 = f"
    source: ClassVar[str] = "Cho et al. (2023), in two dimensions"
    grid: ClassVar[tuple[int, ...]] = (33, 33, 101)
    domain: ClassVar[Domain] = Domain(Box(((-1.0, 1.0), (-1.0, 1.0))), time=(0.0, 10.0))
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("initial", "rate"),
        lift=lambda x: x[:, 0] + x[:, 1] + 2 * x[:, 0] * x[:, 1] * x[:, 2] / (1 + x[:, 2] * x[:, 2]),
        factor=lambda x: x[:, 2] * x[:, 2] / (1 + x[:, 2] * x[:, 2]),
    )

    @property
    def conditions(self) -> tuple[Dirichlet, Initial, Initial]:
        return (
            Dirichlet(self.exact),
            Initial(self.exact),
            Initial(lambda x: 2 * x[:, 0] * x[:, 1], order=1, name="rate"),
        )

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, u_tt, laplacian = evaluate(u, x, _ON_SQUARE)
        exact = self.exact(x)
        return u_tt - laplacian + value**2 - (exact**2 - 4 * exact)  # u_tt = -4 u and no Laplacian

    def exact(self, x: Tensor) -> Tensor:
        angle = 2 * x[:, 2]
        return (x[:, 0] + x[:, 1]) * torch.cos(angle) + x[:, 0] * x[:, 1] * torch.sin(angle)
