"""Gray and Scott's reaction: one substance feeds on the other and forms patterns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from sciml.datasets import gray_scott
from sciml.description import describable
from sciml.grid import Grid
from sciml.kernels.partials import Partials
from sciml.pinns.conditions import Condition, Function, Initial
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem, Solution
from sciml.pinns.problems.tables import all_periodic, as_start, certified, times_of, unrefined

if TYPE_CHECKING:
    import xarray

_DERIVATIVES = Partials([(2,), (0, 0), (1, 1)], dim=3)


@describable
@dataclass(frozen=True)
class GrayScott(Problem):
    r"""``u_t = 0.2 Laplace(u) + 40 (1 - u) - 1000 u v^2``, ``v_t = 0.1 Laplace(v) - 100 v + 1000 u v^2``.

    Periodic on (-1, 1)^2, from 1 - exp(-10 ((x + 0.05)^2 + (y + 0.02)^2)) and exp(-10 ((x - 0.05)^2 + (y -
    0.02)^2)), to t = ``end``.  Two outputs: u and v.

    Parameters
    ----------
    end : float, positive
        2 by default.

    Notes
    -----
    The starts jump by 1e-4 where the period closes, and so do their slopes, which diffusion smooths; so the
    lift decays, as that of `AllenCahn`, at the rate of the feed.  Source: Wang, Li, Chen and Perdikaris,
    PirateNets, J. Mach. Learn. Res. 25 (2024); for PINNacle's problem of this name see `GrayScottForLong`.
    Reference: 256^2 points and steps of 1/1024; three quarters of the points or twice the step change it by
    9e-6.

    Examples
    --------
    >>> GrayScott().periods
    (0, 1)
    """

    end: float = 2.0

    equation: ClassVar[str] = (
        r"u_t = \epsilon_1 \Delta u + b_1 (1 - u) - c u v^2, v_t = \epsilon_2 \Delta v - b_2 v + c u v^2"
    )
    source: ClassVar[str] = "Wang, Li, Chen, Perdikaris (2024)"
    grid: ClassVar[tuple[int, ...]] = (65, 65, 21)
    outputs: ClassVar[int] = 2
    diffusivity: ClassVar[tuple[float, float]] = (0.2, 0.1)
    rates: ClassVar[tuple[float, float, float]] = (40.0, 100.0, 1000.0)
    sharpness: ClassVar[float] = 10.0

    @property
    def domain(self) -> Domain:
        return Domain(Box(((-1.0, 1.0), (-1.0, 1.0))), time=(0.0, self.end))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (
            *all_periodic([0, 1], 2),
            Initial(self._fed, component=0, name="initial_u"),
            Initial(self._eater, component=1, name="initial_v"),
        )

    @property
    def ansatz(self) -> Ansatz:
        feed = self.rates[0]
        return Ansatz(
            ("initial_u", "initial_v"),
            lift=lambda x: torch.exp(-feed * x[:, 2:]) * self.start(x),
            factor=lambda x: 1 - torch.exp(-feed * x[:, 2:]),
        )

    def residual(self, u: Function, x: Tensor) -> dict[str, Tensor]:
        value, by = _DERIVATIVES(u, x)
        changes, laplacians = by[2,].unbind(1), (by[0, 0] + by[1, 1]).unbind(1)
        feed, removal, rate = self.rates
        eaten = rate * value[:, 0] * value[:, 1] ** 2
        return {
            "fed": changes[0] - self.diffusivity[0] * laplacians[0] - feed * (1 - value[:, 0]) + eaten,
            "eater": changes[1] - self.diffusivity[1] * laplacians[1] + removal * value[:, 1] - eaten,
        }

    def start(self, x: Tensor) -> Tensor:
        """Both components at points (n, 3), (n, 2)."""
        return torch.stack([self._fed(x), self._eater(x)], dim=1)

    def solve(self) -> Solution:
        return certified(self, self._found, 256, 1 / 1024)

    def classical(self) -> Iterator[Classical]:
        yield from unrefined(self, self._found, (64, 96, 192), steps=5.0)

    def _found(self, grid: Grid, **settings: Any) -> xarray.Dataset:
        return gray_scott.solve(
            as_start(self._fed),
            as_start(self._eater),
            grid,
            diffusivity=self.diffusivity,
            rates=self.rates,
            times=times_of(self),
            **settings,
        )

    def _fed(self, x: Tensor) -> Tensor:
        away = (x[:, 0] + 0.05) ** 2 + (x[:, 1] + 0.02) ** 2
        return 1 - torch.exp(-self.sharpness * away)

    def _eater(self, x: Tensor) -> Tensor:
        away = (x[:, 0] - 0.05) ** 2 + (x[:, 1] - 0.02) ** 2
        return torch.exp(-self.sharpness * away)
