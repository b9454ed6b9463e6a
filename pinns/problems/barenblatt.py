"""Black, Scholes and Barenblatt's equation: volatilities that are known only to lie in an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.estimators import Exact, SparseDirections
from sciml.kernels.jet import jet
from sciml.pinns.conditions import Function, Initial
from sciml.pinns.diffusions import Diffusion
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Estimate, Problem
from sciml.pinns.problems.parabolic import space_laplacian, squared_length


@describable
@dataclass(frozen=True)
class BlackScholesBarenblatt(Problem):
    r"""``u_t = 1/2 Σ s(u_ii)^2 x_i^2 u_ii + r (x . grad u - u)`` on (0, 2)^dim, from ``|x|^2``.

    The dearest value of an option on independent assets of prices x, t before it expires: s is the highest
    volatility where ``u_ii`` is positive, the lowest where it is negative.  Exactly
    ``exp((r + highest^2) t) |x|^2``, which is convex.

    Parameters
    ----------
    dim : int
        10 by default.
    rate : float
        r.
    volatilities : (lowest, highest), positive
    end : float, positive
        The longest time.

    Raises
    ------
    ConfigError
        If a number is out of range, or an estimator gives no derivatives along single coordinates, on whose
        signs the equation depends: `Exact` and `SparseDirections` do.

    Notes
    -----
    The factor is t times the number of assets.  `diffusion` follows the highest volatility: with it alone the
    equation is linear, and has the same solution.  Source: Raissi, Forward-backward stochastic neural
    networks (arXiv:1804.07010), section 4.1, with T - t in the place of t and the highest volatility alone;
    Avellaneda, Levy and Paras, Appl. Math. Finance 2 (1995) 73, for the interval.

    Examples
    --------
    >>> problem = BlackScholesBarenblatt(dim=3)
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    dim: int = 10
    rate: float = 0.05
    volatilities: tuple[float, float] = (0.1, 0.4)
    end: float = 1.0

    equation: ClassVar[str] = r"u_t = \sum s(u_{ii})^2 x_i^2 u_{ii} / 2 + r (x \cdot \nabla u - u)"
    source: ClassVar[str] = "Raissi (2018), 4.1"

    def __post_init__(self) -> None:
        low, high = self.volatilities
        if self.dim < 1 or not 0 < low <= high < math.inf or not 0 < self.end < math.inf:
            raise ConfigError(
                "BlackScholesBarenblatt: needs dim >= 1, volatilities 0 < lowest <= highest and a positive "
                f"end, got {self.dim}, {self.volatilities} and {self.end}."
            )

    @property
    def domain(self) -> Domain:
        return Domain(Box(((0.0, 2.0),) * self.dim), time=(0.0, self.end))

    @property
    def conditions(self) -> tuple[Initial]:
        return (Initial(squared_length),)

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(("initial",), lift=squared_length, factor=lambda x: self.dim * x[:, -1])

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        rate = torch.ones_like(x[:, -1:])
        value, first = jet(u, x, torch.cat([-self.rate * x[:, :-1], rate], dim=1), 1)
        return first + self.rate * value - self._dearest(u, x, estimate)

    def exact(self, x: Tensor) -> Tensor:
        return torch.exp((self.rate + self.volatilities[1] ** 2) * x[:, -1]) * squared_length(x)

    @property
    def diffusion(self) -> Diffusion:
        high = self.volatilities[1]

        def transition(x: Tensor, duration: Tensor, w: Tensor) -> Tensor:
            return x[:, :-1] * torch.exp((self.rate - high**2 / 2) * duration[:, None] + high * w)

        return Diffusion(
            squared_length,
            lambda x, w: high * x[:, :-1] * w,
            drift=lambda x: self.rate * x[:, :-1],
            driver=lambda x, u, z: -self.rate * u,
            affine=True,
            transition=transition,
        )

    def _dearest(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        """``1/2 Σ s(u_ii)^2 x_i^2 u_ii``, (n,) or (draws, n), over all coordinates or some that are drawn."""
        estimator, generator, draws = estimate["estimator"], estimate["generator"], estimate["draws"]
        if not isinstance(estimator, Exact | SparseDirections):
            raise ConfigError(
                "BlackScholesBarenblatt: the volatility of an asset depends on the sign of the second "
                f"derivative along it, which {estimator} does not give; Exact and SparseDirections do."
            )
        source = torch.Generator().manual_seed(generator) if isinstance(generator, int) else generator
        found = []
        for _ in range(draws or 1):
            total = torch.zeros_like(x[:, 0])
            for group in estimator.directions(space_laplacian(x), x, source):
                vectors = (
                    group.vectors
                    if group.vectors.ndim == 3
                    else group.vectors[:, None].expand(-1, len(x), -1)
                )
                second = jet(u, x, vectors, 2)[2]
                low, high = self.volatilities
                variance = low**2 + (high**2 - low**2) * (second > 0).to(x.dtype)
                squared = variance * (vectors * x).sum(2).square()
                weights = second.new_ones(len(second)) if group.weights is None else group.weights
                total = total + (weights.reshape(len(second), -1) * squared * second).sum(0) / 2
            found.append(total)
        return found[0] if draws is None else torch.stack(found)
