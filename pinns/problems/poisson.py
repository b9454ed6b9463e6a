"""Poisson's equation with manufactured solutions: two dimensions, and any number of them."""

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
from sciml.kernels.differential import laplacian
from sciml.pinns.conditions import Dirichlet, Function
from sciml.pinns.domain import Box, Domain
from sciml.pinns.gradients import value_and_gradient
from sciml.pinns.problem import Ansatz, Classical, Estimate, Problem
from sciml.pinns.problems.tables import five_point, interpolated


@describable
@dataclass(frozen=True)
class Poisson(Problem):
    """``-u_xx - u_yy = 2 pi^2 k^2 u*`` on (-1, 1)^2, u = 0 on the boundary, u* = sin(k pi x) sin(k pi y).

    Parameters
    ----------
    waves : int
        k, 1 by default.

    Notes
    -----
    Source of k = 1 on the unit square: Mueller and Zeinhofer, Achieving high accuracy with PINNs via energy
    natural gradient descent, ICML 2023, section 4.1; four of its squares make this one.

    Examples
    --------
    >>> problem = Poisson()
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    waves: int = 1

    equation: ClassVar[str] = r"-\Delta u = f"
    source: ClassVar[str] = "Mueller, Zeinhofer (2023), 4.1, on four of their squares"
    grid: ClassVar[tuple[int, ...]] = (129, 129)
    domain: ClassVar[Domain] = Domain(Box(((-1.0, 1.0), (-1.0, 1.0))))
    conditions: ClassVar[tuple[Dirichlet, ...]] = (Dirichlet(0.0),)
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("boundary",), factor=lambda x: (1 - x[:, 0] * x[:, 0]) * (1 - x[:, 1] * x[:, 1])
    )

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        return -laplacian(u, x, **estimate) - 2 * (math.pi * self.waves) ** 2 * self.exact(x)

    def energy(self, u: Function, x: Tensor) -> Tensor:
        return _energy(u, x, 2 * (math.pi * self.waves) ** 2 * self.exact(x))

    def exact(self, x: Tensor) -> Tensor:
        k = self.waves * math.pi
        return torch.sin(k * x[:, 0]) * torch.sin(k * x[:, 1])

    def classical(self) -> Iterator[Classical]:
        for points in (16, 32, 64, 128):
            yield Classical("differences of order 2", {"points": points}, partial(self._differences, points))

    def _differences(self, points: int) -> Tensor:
        k = self.waves * math.pi
        nodes, values = five_point(
            points, 0.0, lambda x, y: -2 * k**2 * np.sin(k * x) * np.sin(k * y), half=1.0
        )
        return interpolated(self, nodes, nodes, values)


@describable
@dataclass(frozen=True)
class PoissonOfSines(Problem):
    """``-Laplace(u) = (pi/2)^2 u*`` on the unit cube, u = u* on its faces, u* the sum of sin(pi x_i / 2).

    Parameters
    ----------
    dim : int
        5 by default.

    Raises
    ------
    ConfigError
        If ``dim`` is below 1.

    Notes
    -----
    Source of dim = 5: problem PNd of PINNacle, Hao et al., NeurIPS 2024.  In many dimensions the sum is
    close to its mean, so that its deviation is what a network has to learn: see the best constant.

    Examples
    --------
    >>> problem = PoissonOfSines(dim=3)
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    dim: int = 5

    equation: ClassVar[str] = r"-\Delta u = f"
    source: ClassVar[str] = "Hao et al. (2024), PNd"

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ConfigError(f"PoissonOfSines: dim must be at least 1, got {self.dim}.")

    @property
    def domain(self) -> Domain:
        return Domain(Box(((0.0, 1.0),) * self.dim))

    @property
    def conditions(self) -> tuple[Dirichlet]:
        return (Dirichlet(self.exact),)

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        return -laplacian(u, x, **estimate) - (math.pi / 2) ** 2 * self.exact(x)

    def energy(self, u: Function, x: Tensor) -> Tensor:
        return _energy(u, x, (math.pi / 2) ** 2 * self.exact(x))

    def exact(self, x: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * x).sum(1)


def _energy(u: Function, x: Tensor, source: Tensor) -> Tensor:
    """``|grad u|^2/2 - f u``, (n,)."""
    value, slope = value_and_gradient(u, x)
    return slope.square().sum(1) / 2 - source * value
