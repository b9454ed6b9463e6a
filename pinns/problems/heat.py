"""A rod that cools."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sciml.description import describable
from sciml.grid import Grid
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Dirichlet, Function, Initial
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem
from sciml.pinns.problems.tables import as_start, as_values, times_of

_DERIVATIVES = [d("t", variables="xt"), d("xx", variables="xt")]


def _start(x: Tensor) -> Tensor:
    return torch.sin(math.pi * x[:, 0])


@describable
@dataclass(frozen=True)
class Heat(Problem):
    """``u_t = diffusivity u_xx`` on (0, 1), u = 0 at both ends, from sin(pi x), to t = 1.

    Exactly sin(pi x) exp(-diffusivity pi^2 t).

    Parameters
    ----------
    diffusivity : float, positive
        0.4 by default.

    Notes
    -----
    Source: the heat equation among the examples of DeepXDE, Lu et al., SIAM Review 63 (2021) 208.

    Examples
    --------
    >>> problem = Heat()
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    diffusivity: float = 0.4

    equation: ClassVar[str] = r"u_t = a u_{xx}"
    source: ClassVar[str] = "Lu et al. (2021), example"
    grid: ClassVar[tuple[int, ...]] = (129, 129)
    domain: ClassVar[Domain] = Domain(Box(((0.0, 1.0),)), time=(0.0, 1.0))
    conditions: ClassVar[tuple[Dirichlet, Initial]] = (Dirichlet(0.0), Initial(_start))
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("boundary", "initial"), lift=_start, factor=lambda x: x[:, 1] * (4 * x[:, 0] * (1 - x[:, 0]))
    )

    def residual(self, u: Function, x: Tensor) -> Tensor:
        _, u_t, u_xx = evaluate(u, x, _DERIVATIVES)
        return u_t - self.diffusivity * u_xx

    def exact(self, x: Tensor) -> Tensor:
        return _start(x) * torch.exp(-self.diffusivity * math.pi**2 * x[:, 1])

    def classical(self) -> Iterator[Classical]:
        yield Classical("sine series, exact in time", {"points": self.grid[0]}, self._series)

    def _series(self) -> Tensor:
        from sciml.datasets import heat

        found = heat.solve(
            as_start(_start),
            Grid.box(self.grid[:1], location="node"),
            boundary="dirichlet",
            diffusivity=self.diffusivity,
            times=times_of(self).tolist(),
        )
        return as_values(np.asarray(found["u"].values))
