"""Convection: a wave that travels many times around."""

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
from sciml.pinns.conditions import Function, Initial, Periodic
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem
from sciml.pinns.problems.tables import on_nodes, periodic_grid, times_of

_DERIVATIVES = [d("t", variables="xt"), d("x", variables="xt")]


@describable
@dataclass(frozen=True)
class Convection(Problem):
    """``u_t + speed u_x = 0``, periodic on (0, 2 pi), from sin(x), to t = 1.  Exactly sin(x - speed t).

    Parameters
    ----------
    speed : float
        50 by default; papers use 30, 40, 50 and 80.

    Notes
    -----
    Source: Krishnapriyan et al., Characterizing possible failure modes in physics-informed neural networks,
    NeurIPS 2021, section 3.1.

    Examples
    --------
    >>> problem = Convection(speed=30.0)
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    speed: float = 50.0

    equation: ClassVar[str] = r"u_t + \beta u_x = 0"
    source: ClassVar[str] = "Krishnapriyan et al. (2021), 3.1"
    recipe: ClassVar[str] = "window"
    windows: ClassVar[int] = 3
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    domain: ClassVar[Domain] = Domain(Box(((0.0, 2 * math.pi),)), time=(0.0, 1.0))
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("initial",), lift=lambda x: torch.sin(x[:, 0]), factor=lambda x: x[:, 1]
    )

    @property
    def conditions(self) -> tuple[Periodic, Initial]:
        return Periodic(0, order=0), Initial(lambda x: torch.sin(x[:, 0]))

    def residual(self, u: Function, x: Tensor) -> Tensor:
        _, u_t, u_x = evaluate(u, x, _DERIVATIVES)
        return u_t + self.speed * u_x

    def exact(self, x: Tensor) -> Tensor:
        return torch.sin(x[:, 0] - self.speed * x[:, 1])

    def classical(self) -> Iterator[Classical]:
        for points in (64, 256, 1024):
            yield Classical("Lax-Wendroff", {"points": points}, partial(self._lax_wendroff, points))
        yield Classical("Fourier modes, exact in time", {"points": 8}, self._fourier)

    def _fourier(self) -> Tensor:
        from sciml.datasets import advection

        grid = periodic_grid(self, 8)
        start = np.sin(grid.axes[0].coordinates)
        found = advection.solve(start, grid, velocity=self.speed, times=times_of(self).tolist())
        return on_nodes(self, found["u"].values)

    def _lax_wendroff(self, points: int) -> Tensor:
        """Order 2 in space and time, with steps of half the stable length."""
        grid, times = periodic_grid(self, points), times_of(self)
        spacing = grid.axes[0].spacing
        steps = max(1, math.ceil(abs(self.speed) * times[1] / (0.5 * spacing)))
        c = self.speed * times[1] / steps / spacing
        u = np.sin(grid.axes[0].coordinates)
        frames = [u]
        for _ in times[1:]:
            for _ in range(steps):
                right, left = np.roll(u, -1), np.roll(u, 1)
                u = u - c / 2 * (right - left) + c**2 / 2 * (right - 2 * u + left)
            frames.append(u)
        return on_nodes(self, np.stack(frames))
