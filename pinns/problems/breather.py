"""A breather of the sine-Gordon equation: a pulse that swings forever."""

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
from sciml.errors import ConfigError
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Dirichlet, Function, Initial
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem
from sciml.pinns.problems.tables import Float, interpolated, leapfrog

_DERIVATIVES = [d("tt", variables="xt"), d("xx", variables="xt")]
_HALF = 10.0


@describable
@dataclass(frozen=True)
class Breather(Problem):
    r"""``u_tt = u_xx - sin(u)`` on (-10, 10) for one period, u at both ends and the start of a breather.

    Exactly u = 4 arctan(a cos(frequency t) / cosh(b x)), b = sqrt(1 - frequency^2), a = b / frequency.

    Parameters
    ----------
    frequency : float, between 0 and 1
        0.6 by default; the period is 2 pi / frequency.

    Raises
    ------
    ConfigError
        If the frequency is not between 0 and 1.

    Notes
    -----
    Source: Ablowitz, Kaup, Newell and Segur, Phys. Rev. Lett. 30 (1973) 1262.

    Examples
    --------
    >>> problem = Breather()
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    frequency: float = 0.6

    equation: ClassVar[str] = r"u_{tt} = u_{xx} - \sin u"
    source: ClassVar[str] = "Ablowitz, Kaup, Newell, Segur (1973)"
    grid: ClassVar[tuple[int, ...]] = (257, 129)

    def __post_init__(self) -> None:
        if not 0 < self.frequency < 1:
            raise ConfigError(f"Breather: needs a frequency between 0 and 1, got {self.frequency}.")

    @property
    def domain(self) -> Domain:
        return Domain(Box(((-_HALF, _HALF),)), time=(0.0, 2 * math.pi / self.frequency))

    @property
    def conditions(self) -> tuple[Dirichlet, Initial, Initial]:
        return Dirichlet(self.exact), Initial(self.exact), Initial(0.0, order=1, name="rate")

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(("boundary", "initial", "rate"), lift=self._lift, factor=_factor)

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, u_tt, u_xx = evaluate(u, x, _DERIVATIVES)
        return u_tt - u_xx + torch.sin(value)

    def exact(self, x: Tensor) -> Tensor:
        width = math.sqrt(1 - self.frequency**2)
        swing = width / self.frequency * torch.cos(self.frequency * x[:, 1])
        return 4 * torch.atan(swing / torch.cosh(width * x[:, 0]))

    def classical(self) -> Iterator[Classical]:
        for points in (64, 128, 256, 1024):
            yield Classical("leapfrog", {"points": points}, partial(self._leapfrog, points))

    def _lift(self, x: Tensor) -> Tensor:
        """The start, and what the ends, which are alike, have moved since."""
        now, then = x[:, 1], 0 * x[:, 1]
        start, end, first = (
            self.exact(torch.stack(pair, dim=1))
            for pair in ((x[:, 0], then), (then + _HALF, now), (then + _HALF, then))
        )
        return start + end - first

    def _leapfrog(self, points: int) -> Tensor:
        """Order 2, at three quarters of the longest stable step; the ends move by their own acceleration."""
        x = np.linspace(-_HALF, _HALF, points + 1)
        end = 2 * math.pi / self.frequency
        times = np.linspace(0.0, end, math.ceil(end * points / (0.75 * 2 * _HALF)) + 1)
        first = torch.from_numpy(np.stack([x, 0 * x], axis=1))

        def acceleration(u: Float, t: float) -> Float:
            found = -np.sin(u)
            found[1:-1] += (points / (2 * _HALF)) ** 2 * (u[2:] - 2 * u[1:-1] + u[:-2])
            # u_xx of the solution there is that of its tail, exp(-b x): b^2 u up to 4e-11.
            found[[0, -1]] += (1 - self.frequency**2) * u[[0, -1]]
            return found

        frames = leapfrog(self.exact(first).numpy(), acceleration, times)
        return interpolated(self, x, times, frames.T)


def _factor(x: Tensor) -> Tensor:
    s, t = x[:, 0] / _HALF, x[:, 1]
    return (1 - s * s) * (t * t / (1 + t * t))
