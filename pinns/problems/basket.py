"""Calls on baskets of correlated assets: on the geometric mean, with a formula, and on the arithmetic one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.pinns.conditions import Function
from sciml.pinns.monte_carlo.expected import Expected
from sciml.pinns.monte_carlo.feynman_kac import Control, feynman_kac
from sciml.pinns.problem import Ansatz, Classical, Estimate, Solution
from sciml.pinns.problems.basket_network import BasketNetwork
from sciml.pinns.problems.basket_sums import Matched, by_factor, matched, matched_call, price_sums
from sciml.pinns.problems.market import Market, normal_call, normal_series

_CERTIFIED = 500  # points at which the reference is compared with a finer one


@describable
@dataclass(frozen=True)
class GeometricBasket(Market):
    r"""A call on the geometric mean of assets, ``max(exp(mean x_i) - 1, 0)`` at expiry.

    The logarithm of the mean is normal, so its value is that of a call on one asset, whatever the number.

    Parameters
    ----------
    dim : int
        Assets, 10 by default.
    rate : float
        r, of interest.
    volatilities : (lowest, highest), positive
        s, evenly spread over the assets.
    correlation : float, at least 0 and below 1
        ρ, between any two.
    end : float, positive
        The longest time to expiry.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    The lift is the value without interest and drift, as for `BlackScholes`.  Source: Vorst, Int. Rev.
    Financ. Anal. 1 (1992) 179, for geometric means of lognormal prices.

    Examples
    --------
    One asset is that of Black and Scholes:

    >>> one = GeometricBasket(dim=1, volatilities=(0.2, 0.2))
    >>> round(50 * one.exact(torch.tensor([[0.0, 1.0]], dtype=torch.float64)).item(), 6)
    5.225292
    """

    equation: ClassVar[str] = r"v_t = \sum c_{ij} v_{ij} / 2 + \sum (r - s_i^2 / 2) v_i - r v"
    source: ClassVar[str] = "Vorst (1992), with numbers of ours"

    def payoff(self, x: Tensor) -> Tensor:
        return (torch.exp(x[:, :-1].mean(1)) - 1).clamp(min=0)

    @property
    def ansatz(self) -> Ansatz:
        def lift(x: Tensor) -> Tensor:
            return normal_call(x[:, :-1].mean(1), self._variance(x) * x[:, -1])

        return Ansatz(("initial",), lift=lift, factor=lambda x: x[:, -1])

    def exact(self, x: Tensor) -> Tensor:
        t = x[:, -1]
        return torch.exp(-self.rate * t) * self.undiscounted(x)

    def undiscounted(self, x: Tensor) -> Tensor:
        """The mean of the payoff, (n,)."""
        t = x[:, -1]
        mean = x[:, :-1].mean(1) + self._drift(x) * t
        return normal_call(mean, self._variance(x) * t)

    def classical(self) -> Iterator[Classical]:
        for terms in (16, 32, 64):
            yield Classical("cosine series", {"terms": terms}, partial(self._series, terms))

    def _series(self, terms: int) -> Tensor:
        x, _ = self.points()
        t = x[:, -1]
        mean = x[:, :-1].mean(1) + self._drift(x) * t
        return (torch.exp(-self.rate * t) * normal_series(mean, self._variance(x) * t, terms))[:, None]

    def _drift(self, x: Tensor) -> float:
        return self.rate - float(self.deviations(x).square().mean()) / 2

    def _variance(self, x: Tensor) -> float:
        """Of the logarithm, in a unit of time."""
        s = self.deviations(x)
        own = (1 - self.correlation) * float(s.square().sum()) / self.dim**2
        return own + self.correlation * float(s.mean()) ** 2


@describable
@dataclass(frozen=True)
class Basket(Market):
    r"""A call on the mean of assets, ``max(mean exp(x_i) - 1, 0)`` at expiry: a European basket option.

    Sums of lognormal prices have no law with a formula.

    Parameters
    ----------
    dim, rate, volatilities, correlation, end
        As for `GeometricBasket`.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    The lift is the value if the sum were lognormal, with mean and variance as they are (Levy), and the factor
    is what a larger variance would add to it, times the variance: the network is a correction of the implied
    volatility.  `build` shows it what determines that correction most, sums over the assets, see
    `BasketNetwork`.  So the yardstick of a network is the lift, which alone is wrong by less than a percent.

    `expected` follows paths, with the geometric mean and the arithmetic one as controls.  The reference
    conditions on the common factor: given that, the sum is one of independent prices, taken as a shifted
    lognormal number of its mean, variance and skewness, corrected for the fourth cumulant; the factor by the
    rule of trapezoids.  Its ``error`` is the difference that the fourth cumulant makes.

    Sources: Levy, J. Int. Money Finance 11 (1992) 474; Kemna and Vorst, J. Bank. Finance 14 (1990) 113, for
    the geometric mean as a control; Curran, Manage. Sci. 40 (1994) 1705, for conditioning.

    Examples
    --------
    >>> x = torch.tensor([[0.1] * 10 + [1.0]], dtype=torch.float64)
    >>> problem = Basket()
    >>> found = problem.expected(x, accuracy=2e-3)
    >>> bool(found.contains(problem.by_factor(x)))
    True
    """

    equation: ClassVar[str] = GeometricBasket.equation
    recipe: ClassVar[str] = "pooled"
    source: ClassVar[str] = "Black, Scholes (1973) on a basket, with numbers of ours"

    def payoff(self, x: Tensor) -> Tensor:
        return (torch.exp(x[:, :-1]).mean(1) - 1).clamp(min=0)

    @property
    def geometric(self) -> GeometricBasket:
        """The call on the geometric mean of the same assets."""
        return GeometricBasket(self.dim, self.rate, self.volatilities, self.correlation, self.end)

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(
            ("initial",),
            lift=self.matched,
            factor=lambda x: self._law(x).vega,
        )

    def matched(self, x: Tensor) -> Tensor:
        """The value (n,) if the sum of prices were lognormal."""
        return matched_call(self._law(x))

    def _law(self, x: Tensor) -> Matched:
        sums = price_sums(x, self.deviations(x), self.correlation)
        return matched(sums, x[:, -1], self.rate, self.correlation)

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        # In as many dimensions as the network sees, whatever that of the basket.
        if isinstance(u, BasketNetwork) and u.problem == self and estimate["draws"] is None:
            return u.residual(x)
        return super().residual(u, x, estimate)

    def build(
        self, network: Callable[[int, int], nn.Module], *, hard: bool = True, harmonics: int = 1
    ) -> nn.Module:
        if not hard:
            return super().build(network, hard=False, harmonics=harmonics)
        return BasketNetwork(self, network(BasketNetwork.features, 1))

    def expected(self, x: Tensor, *, accuracy: float, seed: int = 0) -> Expected:
        geometric = self.geometric

        def value(ends: Tensor) -> Tensor:
            return torch.stack([geometric.payoff(ends), torch.exp(ends[:, :-1]).mean(1)], dim=1)

        def mean(starts: Tensor) -> Tensor:
            forward = torch.exp(starts[:, :-1] + self.rate * starts[:, -1:]).mean(1)
            return torch.stack([geometric.undiscounted(starts), forward], dim=1)

        return feynman_kac(self.diffusion, x, accuracy=accuracy, seed=seed, control=Control(value, mean))

    def by_factor(self, x: Tensor, *, moments: int = 4) -> Tensor:
        """The value (n,) by conditioning on the common factor, from two to four moments."""
        return by_factor(x, self.deviations(x), self.rate, self.correlation, moments=moments)

    def solve(self) -> Solution:
        x, shape = self.points()
        values = self.by_factor(x)
        some = values[:_CERTIFIED]
        apart = self.by_factor(x[:_CERTIFIED], moments=3) - some
        return Solution(
            x, values[:, None], float(apart.norm() / some.norm()), "conditional on the common factor", shape
        )

    def classical(self) -> Iterator[Classical]:
        yield Classical("lognormal sum", {"moments": 2}, lambda: self.matched(self.points()[0])[:, None])
        for moments in (2, 3):
            yield Classical(
                "conditional on the factor", {"moments": moments}, partial(self._given_factor, moments)
            )

    def _given_factor(self, moments: int) -> Tensor:
        return self.by_factor(self.points()[0], moments=moments)[:, None]
