"""Swift and Hohenberg's equation, which makes patterns, in any dimension."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.evaluation import evaluate
from sciml.kernels.forms import Form, LineForm, SquaredLaplacian
from sciml.pinns.conditions import Function, Initial, Periodic
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Estimate, Problem
from sciml.pinns.problems.parabolic import space_laplacian


@describable
@dataclass(frozen=True)
class SwiftHohenberg(Problem):
    r"""``u_t = r u - (1 + Laplace)^2 u - u^3 + f``, periodic on (0, 2 pi)^d, to t = 1.

    Exactly ``u = sum_i c_i cos(x_i + x_{i+1} - t) / |c|`` over all coordinates, the first one behind the
    last, with normal c_i: no sum and no product of functions of one coordinate each.

    Parameters
    ----------
    dim : int
        Coordinates of space, at least 3, 3 by default.
    growth : float
        r, 0.3 by default.
    seed : int
        Of the coefficients.

    Raises
    ------
    ConfigError
        If ``dim`` is below 3.

    Notes
    -----
    ``Laplace^2 + 2 Laplace`` is estimated, the rest is exact.  Source of the equation: Swift and Hohenberg,
    Phys. Rev. A 15 (1977) 319; the solution is made up, which f pays for.

    Examples
    --------
    >>> problem = SwiftHohenberg(dim=3)
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    dim: int = 3
    growth: float = 0.3
    seed: int = 0

    equation: ClassVar[str] = r"u_t = r u - (1 + \Delta)^2 u - u^3 + f"
    source: ClassVar[str] = "Swift, Hohenberg (1977), with a solution that was made up"

    def __post_init__(self) -> None:
        if self.dim < 3:
            raise ConfigError(f"SwiftHohenberg: needs dim >= 3, got {self.dim}.")

    @property
    def domain(self) -> Domain:
        return Domain(Box(((0.0, 2 * math.pi),) * self.dim), time=(0.0, 1.0))

    @property
    def conditions(self) -> tuple[Periodic | Initial, ...]:
        return *(Periodic(axis, order=3) for axis in range(self.dim)), Initial(self.exact)

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(("initial",), lift=self._start, factor=lambda x: x[:, -1])

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        space = x.new_ones(x.shape[1])
        space[-1] = 0
        time = (1 - space)[None]
        operators: list[Form] = [LineForm(1, time), space_laplacian(x), SquaredLaplacian(space)]
        value, rate, laplacian, squared = evaluate(u, x, operators, **estimate)
        rest = rate + (1 - self.growth) * value + value**3 - self.forcing(x)
        return rest + 2 * laplacian + squared

    def exact(self, x: Tensor) -> Tensor:
        return torch.cos(self._angles(x)) @ self._coefficients(x)

    def forcing(self, x: Tensor) -> Tensor:
        """f at points (n, dim + 1), (n,): of each wave the Laplacian is -2, so ``(1 + Laplace)^2`` is 1."""
        angle, c = self._angles(x), self._coefficients(x)
        value = torch.cos(angle) @ c
        return torch.sin(angle) @ c + (1 - self.growth) * value + value**3

    def _start(self, x: Tensor) -> Tensor:
        return self.exact(x * x.new_tensor([1.0] * self.dim + [0.0]))

    def _angles(self, x: Tensor) -> Tensor:
        space = x[:, :-1]
        return space + torch.cat([space[:, 1:], space[:, :1]], dim=1) - x[:, -1:]

    def _coefficients(self, x: Tensor) -> Tensor:
        return _drawn(self.dim, self.seed).to(x.dtype).to(x.device)


@functools.lru_cache(maxsize=4)
def _drawn(count: int, seed: int) -> Tensor:
    found = torch.randn(count, generator=Generator().manual_seed(seed), dtype=torch.float64)
    unit: Tensor = found / found.norm()
    return unit
