"""Black and Scholes' equation for a call option, in the logarithm of the price."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from sciml.description import describable
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Dirichlet, Function, Initial
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem
from sciml.pinns.problems.market import normal_call, normal_series

_DERIVATIVES = [d("t", variables="xt"), d("x", variables="xt"), d("xx", variables="xt")]


@describable
@dataclass(frozen=True)
class BlackScholes(Problem):
    r"""``v_t = s^2/2 v_xx + (r - s^2/2) v_x - r v`` on (-1.5, 1.5), from max(e^x - 1, 0), to t = 1.

    x is the logarithm of price over strike, v the value of a European call over the strike, t the time to
    expiry.  Exactly v = e^x Phi(a) - e^{-r t} Phi(a - s sqrt(t)) with a = (x + (r + s^2/2) t) / (s sqrt(t))
    and Phi the normal distribution; v is given at both ends.

    Parameters
    ----------
    rate : float
        r, 0.05 by default.
    volatility : float, positive
        s, 0.2 by default.

    Notes
    -----
    The start has a kink.  The lift is the value without interest and drift, v_t = s^2/2 v_xx, which has the
    same kink and the same smooth corner just after: what is left for the network is of the size of r and s^2.
    Source: Black and Scholes, J. Polit. Econ. 81 (1973) 637.

    Examples
    --------
    The value of a call at the money with strike 50, a year before it expires:

    >>> value = BlackScholes().exact(torch.tensor([[0.0, 1.0]], dtype=torch.float64))
    >>> round(50 * value.item(), 6)
    5.225292
    """

    rate: float = 0.05
    volatility: float = 0.2

    equation: ClassVar[str] = r"v_t = \sigma^2 v_{xx} / 2 + (r - \sigma^2 / 2) v_x - r v"
    source: ClassVar[str] = "Black, Scholes (1973)"
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    domain: ClassVar[Domain] = Domain(Box(((-1.5, 1.5),)), time=(0.0, 1.0))

    @property
    def conditions(self) -> tuple[Dirichlet, Initial]:
        return Dirichlet(self.exact), Initial(self.exact)

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(("initial",), lift=lambda x: self._call(x, 0.0, 0.0), factor=lambda x: x[:, 1])

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, u_t, u_x, u_xx = evaluate(u, x, _DERIVATIVES)
        half = self.volatility**2 / 2
        return u_t - half * u_xx - (self.rate - half) * u_x + self.rate * value

    def exact(self, x: Tensor) -> Tensor:
        return self._call(x, self.rate - self.volatility**2 / 2, self.rate)

    def classical(self) -> Iterator[Classical]:
        for terms in (16, 32):
            yield Classical("cosine series", {"terms": terms}, partial(self._series, terms))

    def _series(self, terms: int) -> Tensor:
        x, _ = self.points()
        t, variance = x[:, 1], self.volatility**2 * x[:, 1]
        value = normal_series(x[:, 0] + self.rate * t - variance / 2, variance, terms)
        return (torch.exp(-self.rate * t) * value)[:, None]

    def _call(self, x: Tensor, drift: float, discount: float) -> Tensor:
        """The mean of the discounted payoff where the logarithm of the price is normal, with this drift."""
        t = x[:, 1]
        return torch.exp(-discount * t) * normal_call(x[:, 0] + drift * t, self.volatility**2 * t)
