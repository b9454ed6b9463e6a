"""The generalized equation of Korteweg and de Vries: waves of any steepness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Function
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problems.crossing import CrossingWaves

_DERIVATIVES = [d("t", variables="xt"), d("x", variables="xt"), d("xxx", variables="xt")]
_HALF = 10.0


@describable
@dataclass(frozen=True)
class GeneralizedKortewegDeVries(CrossingWaves):
    r"""``u_t + 6 u^p u_x + u_xxx = f`` on (-10, 10) to t = 2; u at both ends, and its slope at the right one.

    u is the sum of solitary waves ``w_i = (A_i sech^2(p sqrt(c_i) / 2 (x - c_i t - a_i)))^(1/p)`` with
    ``A_i = (p + 1)(p + 2) c_i / 12``.  Each of them solves the equation without f, so that f is what they do
    to each other, ``6 (u^p u_x - sum_i w_i^p w_i,x)``: with one wave it is zero.

    Parameters
    ----------
    power : int
        p, 3 by default; 1 is Korteweg and de Vries' equation, 2 the modified one.  From 4 on solitary waves
        are not stable.
    speeds, centers : tuples of float
        c_i, positive, and a_i: by default a fast wave runs after a slow one.

    Raises
    ------
    ConfigError
        If ``power`` is below 1, a speed is not positive, or there is not one center for each speed.

    Notes
    -----
    Source of the equation as a benchmark for third derivatives: Shi et al., arXiv:2412.00088, with other
    data.  The solution is no product of functions of x and of t.

    Where steep waves overlap f is larger than all that they are made of, and a network answers to it as if
    there were no waves: by default they come close, but do not meet.

    Examples
    --------
    >>> problem = GeneralizedKortewegDeVries(power=2, speeds=(1.0,), centers=(0.0,))
    >>> float(problem.forcing(torch.tensor([[1.0, 0.5]])))
    0.0
    """

    power: int = 3
    speeds: tuple[float, ...] = (2.0, 1.0)
    centers: tuple[float, ...] = (-5.0, 1.0)

    equation: ClassVar[str] = r"u_t + 6 u^p u_x + u_{xxx} = f"
    source: ClassVar[str] = "Shi et al. (2024), with two waves"
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    domain: ClassVar[Domain] = Domain(Box(((-_HALF, _HALF),)), time=(0.0, 2.0))

    def __post_init__(self) -> None:
        if self.power < 1 or not self.speeds or not all(0 < speed < math.inf for speed in self.speeds):
            raise ConfigError(
                f"GeneralizedKortewegDeVries: needs power >= 1 and positive speeds, got {self.power} and "
                f"{self.speeds}."
            )
        if len(self.centers) != len(self.speeds):
            raise ConfigError(
                f"GeneralizedKortewegDeVries: needs one center for each of the {len(self.speeds)} speeds, "
                f"got {self.centers}."
            )

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, u_t, u_x, u_xxx = evaluate(u, x, _DERIVATIVES)
        return u_t + 6 * value**self.power * u_x + u_xxx - self.forcing(x)

    def waves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        p = self.power
        speeds, centers = (x.new_tensor(values) for values in (self.speeds, self.centers))
        rates = speeds.sqrt()
        heights = (p + 1) * (p + 2) / 12 * speeds
        angle = p / 2 * rates * (x[:, :1] - speeds * x[:, 1:] - centers)
        # By the logarithm of sech: the root of a rounded zero would have no slope.
        log_sech = math.log(2) - torch.logsumexp(torch.stack([angle, -angle], dim=-1), dim=-1)
        waves = torch.exp((heights.log() + 2 * log_sech) / p)
        return waves, -rates * torch.tanh(angle) * waves
