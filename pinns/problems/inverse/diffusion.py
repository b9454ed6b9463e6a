"""A diffusivity that differs from place to place, from the solution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.partials import Partials
from sciml.pinns.conditions import Condition, Dirichlet, Function
from sciml.pinns.domain import Box, Domain
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.measurements import PointData, Prior
from sciml.pinns.problem import Ansatz, Problem
from sciml.pinns.problems.inverse.measuring import check_numbers, measured
from sciml.pinns.unknowns import CoefficientField


@describable
@dataclass(frozen=True)
class DiffusionCoefficient(Problem):
    r"""``div(a grad u) = f`` on the unit box, u = 0 on its boundary: the function a from values of u.

    u is the product of ``sin(pi x_i)``, a is ``1 + prod sin(2 pi x_i) / 2``, f what these two make of it.

    Parameters
    ----------
    dim : int, at least 1
    measurements : int
        At points of low discrepancy; 200 by default.
    noise : float
        Standard deviation of their errors, as a share of that of u; 0.01 by default.
    seed : int
        Of the errors.

    Notes
    -----
    The values of u determine a: along the slope of u the equation is one of first order for a, and where the
    slope vanishes, in the middle, it gives a itself.  Errors of the values count by their second derivatives,
    so a is believed to be smooth: its slopes are about 2 in size, which weighs as one measurement.

    Examples
    --------
    >>> problem = DiffusionCoefficient(dim=2)
    >>> problem.truth["a"](torch.tensor([[0.25, 0.25]], dtype=torch.float64)).tolist()
    [1.5]
    """

    dim: int = 1
    measurements: int = 200
    noise: float = 0.01
    seed: int = 0

    equation: ClassVar[str] = r"\nabla \cdot (a \nabla u) = f"
    source: ClassVar[str] = "manufactured"
    coefficients: ClassVar[Mapping[str, CoefficientField]] = {"a": CoefficientField(positive=True)}
    ansatz: ClassVar[Ansatz] = Ansatz(("boundary",), factor=lambda x: _product(4 * x * (1 - x)))

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ConfigError(f"DiffusionCoefficient: dim must be at least 1, got {self.dim}.")
        check_numbers("DiffusionCoefficient", self.measurements, self.noise, self.seed)

    @property
    def grid(self) -> tuple[int, ...]:  # type: ignore[override]
        return {1: (201,), 2: (41, 41)}.get(self.dim, (11,) * self.dim)

    @property
    def domain(self) -> Domain:
        return Domain(Box(((0.0, 1.0),) * self.dim))

    @property
    def truth(self) -> Mapping[str, Function]:
        return {"a": _diffusivity}

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return Dirichlet(0.0), *_measured(self), Prior("a", order=1, deviation=2.0)

    def exact(self, x: Tensor) -> Tensor:
        return _product(torch.sin(math.pi * x))

    def residual(self, u: Function, x: Tensor, coefficients: Mapping[str, Function]) -> Tensor:
        # Scaled to what is of size 1.
        return (self._flux(u, coefficients["a"], x) - self._source(x)) / (math.pi**2 * self.dim)

    def _flux(self, u: Function, a: Function, x: Tensor) -> Tensor:
        axes = range(self.dim)
        slopes, bends = [(i,) for i in axes], [(i, i) for i in axes]
        diffusivity, a_by = Partials(slopes, self.dim)(a, x)
        _, u_by = Partials([*slopes, *bends], self.dim)(u, x)
        total = 0 * diffusivity
        for i in axes:
            total = total + a_by[i,] * u_by[i,] + diffusivity * u_by[i, i]
        return total

    def _source(self, x: Tensor) -> Tensor:
        """f, by hand."""
        one, two = math.pi * x, 2 * math.pi * x
        found = -self.dim * math.pi**2 * _diffusivity(x) * torch.sin(one).prod(1)
        for i in range(self.dim):
            others = [k for k in range(self.dim) if k != i]
            slope_a = math.pi * torch.cos(two[:, i]) * torch.sin(two[:, others]).prod(1)
            slope_u = math.pi * torch.cos(one[:, i]) * torch.sin(one[:, others]).prod(1)
            found = found + slope_a * slope_u
        return found


def _diffusivity(x: Tensor) -> Tensor:
    return 1 + 0.5 * _product(torch.sin(2 * math.pi * x))


def _product(factors: Tensor) -> Tensor:
    """Over the coordinates, (n,), by what jets know."""
    found = factors[:, 0]
    for i in range(1, factors.shape[1]):
        found = found * factors[:, i]
    return found


@lru_cache(maxsize=4)
def _measured(problem: DiffusionCoefficient) -> tuple[PointData, ...]:
    x = kronecker(problem.measurements, problem.dim)
    values = problem.exact(x)[:, None]
    return measured(x, values, count=None, noise=problem.noise, seed=problem.seed)
