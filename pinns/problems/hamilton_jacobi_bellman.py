"""Hamilton, Jacobi and Bellman's equation of a particle that is pushed towards the origin."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from sciml.description import describable
from sciml.pinns.conditions import Function, Initial
from sciml.pinns.diffusions import Diffusion
from sciml.pinns.domain import Domain
from sciml.pinns.problem import Ansatz, Estimate, Problem
from sciml.pinns.problems.parabolic import (
    along_paths,
    check_numbers,
    evolution,
    squared_length,
    steepened,
    white,
)

if TYPE_CHECKING:
    from sciml.pinns.monte_carlo.expected import Expected

_LEAST = 0.1  # of values to which an accuracy is relative

# Nodes of a quadrature in the logarithm: an integrand that is analytic within pi/2 of the real line leaves
# an error of exp(-pi^2 / step), and is left out where it is below exp(-_SMALL).
_STEP, _SMALL = 0.25, 38.0


@describable
@dataclass(frozen=True)
class HamiltonJacobiBellman(Problem):
    r"""``u_t = Laplace(u) - lambda |grad u|^2`` in all of space, from ``log((1 + |x|^2) / 2)``.

    The least cost of a control m of ``dX = 2 sqrt(lambda) m ds + sqrt(2) dW`` that pays ``|m|^2`` for all of
    the time t to go, and ``log((1 + |X|^2) / 2)`` at its end.

    Parameters
    ----------
    dim : int
        10 by default.
    strength : float, positive
        lambda, 1 by default.
    end : float, positive
        The last t, 1 by default.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    ``exp(-lambda u)`` solves the heat equation (Cole and Hopf), from ``(2 / (1 + |x|^2))^lambda``, a mixture
    of bells ``exp(-y |x|^2)``.  So u is an integral over y in every dimension, here by trapezoids in log y to
    rounding.

    The lift is the start at ``|x|^2 + 2 d t`` in the place of ``|x|^2``, the mean of ``|X|^2`` without
    control: the start itself has a dent of width 1 at the origin, which is gone as soon as t > 1/d.

    Source: E, Han and Jentzen, Commun. Math. Stat. 5 (2017) 349, section 4.3, with T - t in the place of t,
    dim = 100 and end = 1.  There u = 4.5901 at x = 0, by Monte Carlo.

    Examples
    --------
    >>> problem = HamiltonJacobiBellman(dim=100)
    >>> x = torch.zeros(1, 101, dtype=torch.float64)
    >>> x[0, -1] = 1.0
    >>> round(problem.exact(x).item(), 7)
    4.5901617
    """

    dim: int = 10
    strength: float = 1.0
    end: float = 1.0

    equation: ClassVar[str] = r"u_t = \Delta u - \lambda |\nabla u|^2"
    source: ClassVar[str] = "E, Han, Jentzen (2017), 4.3"

    def __post_init__(self) -> None:
        check_numbers(type(self).__name__, self.dim, strength=self.strength, end=self.end)

    @property
    def domain(self) -> Domain:
        return along_paths(self.dim, self.end)

    @property
    def conditions(self) -> tuple[Initial]:
        return (Initial(_start),)

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(("initial",), lift=self.lift, factor=lambda x: x[:, -1] * (1 / self.end))

    @property
    def diffusion(self) -> Diffusion:
        # z = sqrt(2) grad u
        return Diffusion(
            _start, white, driver=lambda x, u, z: -self.strength / 2 * torch.einsum("nk,nk->n", z, z)
        )

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        value, rate, laplacian = evolution(steepened(u, x, -self.strength), x, estimate)
        return (laplacian - rate) / (self.strength * value)

    def exact(self, x: Tensor) -> Tensor:
        squared, t, power = squared_length(x)[:, None], x[:, -1:], self.strength
        right = math.log(self.dim / 2 * math.expm1(2 * _SMALL / self.dim)) + 1
        nodes = torch.arange(-_SMALL / power, right, _STEP, dtype=x.dtype, device=x.device)
        # The integrand is large where y is about one over the rate at which it falls at first.
        logarithm = nodes - torch.log(1 + 2 * self.dim * t + squared)
        y = torch.exp(logarithm)
        wider = 1 + 4 * t * y
        exponent = power * logarithm - y - self.dim / 2 * torch.log(wider) - squared * y / wider
        mean = torch.logsumexp(exponent, 1) + math.log(_STEP) - math.lgamma(power)
        return -math.log(2) - mean / power

    def expected(self, x: Tensor, *, accuracy: float, seed: int = 0) -> Expected:
        """By Cole and Hopf: minus the logarithm of the mean of ``exp(-lambda g)`` over lambda.

        The bias is that of the logarithm of a mean.
        """
        from sciml.pinns.monte_carlo import feynman_kac

        power = self.strength
        heat = Diffusion(lambda x: torch.exp(-power * _start(x)), white)
        # The smallest value decides, short of zeros.
        size = float(self.lift(x).abs().min().clamp_min(_LEAST))
        found = feynman_kac(heat, x, accuracy=power * accuracy * size, seed=seed)
        relative = found.standard_error / found.values
        return replace(
            found,
            values=-torch.log(found.values) / power,
            standard_error=relative / power,
            bias=relative.square() / (2 * power),
        )

    def lift(self, x: Tensor) -> Tensor:
        return torch.log((1 + squared_length(x) + 2 * self.dim * x[:, -1]) / 2)


def _start(x: Tensor) -> Tensor:
    return torch.log((1 + squared_length(x)) / 2)
