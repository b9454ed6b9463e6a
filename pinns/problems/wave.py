"""A string between fixed ends."""

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

_DERIVATIVES = [d("tt", variables="xt"), d("xx", variables="xt")]


@describable
@dataclass(frozen=True)
class Wave(Problem):
    """``u_tt = 4 u_xx`` on (0, 1), u = 0 at both ends, from rest at sin(pi x) + sin(mode pi x) / 2, to t = 1.

    Exactly sin(pi x) cos(2 pi t) + sin(mode pi x) cos(2 mode pi t) / 2.

    Parameters
    ----------
    mode : int
        3 by default; 4 is the problem Wave1d-C of PINNacle.

    Notes
    -----
    Source of mode 3: Zhao, Ding and Prakash, PINNsFormer, ICLR 2024, whose text prints the coefficient 3 of
    u_xx and whose solution has 4.

    Examples
    --------
    >>> problem = Wave(mode=4)
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    mode: int = 3

    equation: ClassVar[str] = r"u_{tt} = 4 u_{xx}"
    source: ClassVar[str] = "Zhao, Ding, Prakash (2024), with the coefficient of their solution"
    recipe: ClassVar[str] = "precise"
    grid: ClassVar[tuple[int, ...]] = (129, 129)
    domain: ClassVar[Domain] = Domain(Box(((0.0, 1.0),)), time=(0.0, 1.0))

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(
            ("boundary", "initial", "rate"),
            lift=self._start,
            factor=lambda x: x[:, 1] * x[:, 1] * (4 * x[:, 0] * (1 - x[:, 0])),
        )

    @property
    def conditions(self) -> tuple[Dirichlet, Initial, Initial]:
        return Dirichlet(0.0), Initial(self._start), Initial(0.0, order=1, name="rate")

    def residual(self, u: Function, x: Tensor) -> Tensor:
        _, u_tt, u_xx = evaluate(u, x, _DERIVATIVES)
        return u_tt - 4 * u_xx

    def exact(self, x: Tensor) -> Tensor:
        parts = [
            torch.sin(k * math.pi * x[:, 0]) * torch.cos(2 * k * math.pi * x[:, 1]) for k in (1, self.mode)
        ]
        return parts[0] + parts[1] / 2

    def classical(self) -> Iterator[Classical]:
        for points in (32, 128, 512):
            yield Classical("leapfrog", {"points": points}, partial(self._leapfrog, points))

    def _start(self, x: Tensor) -> Tensor:
        return torch.sin(math.pi * x[:, 0]) + torch.sin(self.mode * math.pi * x[:, 0]) / 2

    def _leapfrog(self, points: int) -> Tensor:
        """Order 2, at three quarters of the longest stable step."""
        x = np.linspace(0.0, 1.0, points + 1)
        times = np.linspace(0.0, 1.0, math.ceil(2 * points / 0.75) + 1)

        def bent(u: Float, t: float) -> Float:
            curvature = np.zeros_like(u)
            curvature[1:-1] = 4 * points**2 * (u[2:] - 2 * u[1:-1] + u[:-2])
            return curvature

        u = np.sin(math.pi * x) + np.sin(self.mode * math.pi * x) / 2
        u[[0, -1]] = 0.0
        return interpolated(self, x, times, leapfrog(u, bent, times).T)
