"""Kuramoto and Sivashinsky's equation: an instability that convection tames, regular or chaotic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from sciml.datasets import kuramoto_sivashinsky
from sciml.description import describable
from sciml.grid import Grid
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Function, Initial, Periodic
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem, Solution
from sciml.pinns.problems.tables import as_start, certified, periodic_grid, refined, times_of, unrefined

if TYPE_CHECKING:
    import xarray

_DERIVATIVES = [d(name, variables="xt") for name in ("t", "x", "xx", "xxxx")]


_CHAOTIC = (100 / 16, 100 / 16**2, 100 / 16**4)

Numbers = tuple[float, float, float]


def _wave(x: Tensor) -> Tensor:
    return -torch.sin(math.pi * x[:, 0])


def _waves(x: Tensor) -> Tensor:
    return torch.cos(x[:, 0]) * (1 + torch.sin(x[:, 0]))


def _residual(u: Function, x: Tensor, numbers: Numbers) -> Tensor:
    value, u_t, u_x, u_xx, u_xxxx = evaluate(u, x, _DERIVATIVES)
    convection, growth, damping = numbers
    return u_t + convection * value * u_x + growth * u_xx + damping * u_xxxx


def _found(
    problem: Problem, numbers: Numbers, start: Function, grid: Grid, **settings: Any
) -> xarray.Dataset:
    return kuramoto_sivashinsky.solve(
        as_start(start), grid, coefficients=numbers, times=times_of(problem), **settings
    )


@describable
@dataclass(frozen=True)
class KuramotoSivashinsky(Problem):
    """``u_t + convection u u_x + growth u_xx + damping u_xxxx = 0``, periodic on (-1, 1), from -sin(pi x).

    Parameters
    ----------
    convection, growth, damping : float
        5, 0.5 and 0.005 by default, with which the flow settles.
    end : float, positive
        Last time, 1 by default.

    Notes
    -----
    Source: Wang, Sankaran and Perdikaris, Respecting causality for training physics-informed neural networks,
    Comput. Methods Appl. Mech. Eng. 421 (2024), regular.  Reference: Fourier modes and ETDRK4, refined
    until the change promises a relative error of 1e-9.

    Examples
    --------
    >>> KuramotoSivashinsky().fingerprint() == ChaoticKuramotoSivashinsky().fingerprint()
    False
    """

    convection: float = 5.0
    growth: float = 0.5
    damping: float = 0.005
    end: float = 1.0

    equation: ClassVar[str] = r"u_t + \alpha u u_x + \beta u_{xx} + \gamma u_{xxxx} = 0"
    source: ClassVar[str] = "Wang, Sankaran, Perdikaris (2024), regular"
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    conditions: ClassVar[tuple[Periodic, Initial]] = (
        Periodic(0, order=3),
        Initial(_wave),
    )
    ansatz: ClassVar[Ansatz] = Ansatz(("initial",), lift=_wave, factor=lambda x: x[:, 1])

    @property
    def domain(self) -> Domain:
        return Domain(Box(((-1.0, 1.0),)), time=(0.0, self.end))

    def residual(self, u: Function, x: Tensor) -> Tensor:
        return _residual(u, x, self._numbers)

    def solve(self) -> Solution:
        return refined(self, self._found(periodic_grid(self, self.grid[0] - 1)))

    def classical(self) -> Iterator[Classical]:
        yield from unrefined(self, self._found, (64, 128, 256), steps=4.0)

    @property
    def _numbers(self) -> Numbers:
        return self.convection, self.growth, self.damping

    @property
    def _found(self) -> Callable[..., xarray.Dataset]:
        return partial(_found, self, self._numbers, _wave)


@describable
@dataclass(frozen=True)
class ChaoticKuramotoSivashinsky(Problem):
    """``u_t + (100/16) u u_x + (100/16^2) u_xx + (100/16^4) u_xxxx = 0``, periodic on (0, 2 pi).

    From cos(x) (1 + sin(x)) to t = ``end``.

    Parameters
    ----------
    end : float, positive
        1 by default; papers stop at 0.4, 0.5, 0.8 or 1, and errors grow a hundredfold between these.

    Notes
    -----
    Source: Wang, Sankaran and Perdikaris (2024), chaotic.  Reference: 512
    points and steps of 1/16000; three quarters of the points or twice the step change it by 2e-7.

    Examples
    --------
    >>> ChaoticKuramotoSivashinsky(end=0.5).domain.time
    (0.0, 0.5)
    """

    end: float = 1.0

    equation: ClassVar[str] = r"u_t + \alpha u u_x + \beta u_{xx} + \gamma u_{xxxx} = 0"
    source: ClassVar[str] = "Wang, Sankaran, Perdikaris (2024), chaotic"
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    conditions: ClassVar[tuple[Periodic, Initial]] = (
        Periodic(0, order=3),
        Initial(_waves),
    )
    ansatz: ClassVar[Ansatz] = Ansatz(("initial",), lift=_waves, factor=lambda x: x[:, 1])

    @property
    def domain(self) -> Domain:
        return Domain(Box(((0.0, 2 * math.pi),)), time=(0.0, self.end))

    def residual(self, u: Function, x: Tensor) -> Tensor:
        return _residual(u, x, _CHAOTIC)

    def solve(self) -> Solution:
        return certified(self, self._found, 512, 1 / 16000)

    def classical(self) -> Iterator[Classical]:
        yield from unrefined(self, self._found, (128, 256, 512), steps=16.0)

    @property
    def _found(self) -> Callable[..., xarray.Dataset]:
        return partial(_found, self, _CHAOTIC, _waves)
