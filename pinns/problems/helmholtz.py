"""Helmholtz' equation with a manufactured solution of two unequal frequencies."""

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
from sciml.kernels.differential import laplacian
from sciml.pinns.conditions import Dirichlet, Function
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Estimate, Problem
from sciml.pinns.problems.tables import five_point, interpolated


@describable
@dataclass(frozen=True)
class Helmholtz(Problem):
    """``u_xx + u_yy + wavenumber^2 u = q`` on (-1, 1)^2, u = 0 on the boundary.

    q is that of u = sin(a pi x) sin(b pi y) with (a, b) = ``waves``.

    Parameters
    ----------
    waves : (int, int)
        (4, 1) by default; papers use (1, 4), (6, 6) and (10, 10) as well.
    wavenumber : float

    Notes
    -----
    Source: Wang, Teng and Perdikaris, Understanding and mitigating gradient flow pathologies in
    physics-informed neural networks (2021), section 4.1, with (1, 4).

    Examples
    --------
    >>> problem = Helmholtz()
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    waves: tuple[int, int] = (4, 1)
    wavenumber: float = 1.0

    equation: ClassVar[str] = r"\Delta u + k^2 u = q"
    source: ClassVar[str] = "Wang, Teng, Perdikaris (2021), 4.1"
    grid: ClassVar[tuple[int, ...]] = (129, 129)
    domain: ClassVar[Domain] = Domain(Box(((-1.0, 1.0), (-1.0, 1.0))))
    conditions: ClassVar[tuple[Dirichlet, ...]] = (Dirichlet(0.0),)
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("boundary",), factor=lambda x: (1 - x[:, 0] * x[:, 0]) * (1 - x[:, 1] * x[:, 1])
    )

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        return laplacian(u, x, **estimate) + self.wavenumber**2 * u(x) - self._factor * self.exact(x)

    def exact(self, x: Tensor) -> Tensor:
        a, b = self.waves
        return torch.sin(a * math.pi * x[:, 0]) * torch.sin(b * math.pi * x[:, 1])

    def classical(self) -> Iterator[Classical]:
        for points in (32, 64, 128):
            yield Classical("differences of order 2", {"points": points}, partial(self._differences, points))

    @property
    def _factor(self) -> float:
        return self.wavenumber**2 - math.pi**2 * (self.waves[0] ** 2 + self.waves[1] ** 2)

    def _differences(self, points: int) -> Tensor:
        a, b = self.waves
        nodes, values = five_point(
            points,
            self.wavenumber**2,
            lambda x, y: self._factor * np.sin(a * math.pi * x) * np.sin(b * math.pi * y),
            half=1.0,
        )
        return interpolated(self, nodes, nodes, values)
