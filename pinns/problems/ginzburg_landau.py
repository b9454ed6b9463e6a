"""Ginzburg and Landau's equation: a pair of lobes that grows into a spiral."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from sciml.datasets import reaction_diffusion
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
_DIFFUSIVITY, _RATE, _TURN = 0.004, 10.0, 1.5


@describable
@dataclass(frozen=True)
class GinzburgLandau(Problem):
    r"""``A_t = 0.004 Laplace(A) + 10 (A - (1 + 1.5 i) |A|^2 A)``, periodic on (-1, 1)^2, for A = u + i v.

    From (10 y + 10 i x) exp(-25 (x^2 + y^2)) to t = ``end``.  Two outputs: u and v.

    Parameters
    ----------
    end : float, positive
        1 by default.

    Notes
    -----
    Source: Wang, Li, Chen and Perdikaris, PirateNets, J. Mach. Learn. Res. 25 (2024).  Reference:
    256^2 points and steps of 1/400; three quarters of the points change it by 6e-5, 384^2 points by 5e-6.

    Examples
    --------
    >>> GinzburgLandau().periods
    (0, 1)
    """

    end: float = 1.0

    equation: ClassVar[str] = r"A_t = \epsilon \Delta A + k (A - (1 + 1.5 i) |A|^2 A)"
    source: ClassVar[str] = "Wang, Li, Chen, Perdikaris (2024)"
    grid: ClassVar[tuple[int, ...]] = (65, 65, 21)
    outputs: ClassVar[int] = 2
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("initial_u", "initial_v"),
        lift=lambda x: torch.stack([_real(x), _imaginary(x)], dim=1),
        factor=lambda x: x[:, 2:],
    )

    @property
    def domain(self) -> Domain:
        return Domain(Box(((-1.0, 1.0), (-1.0, 1.0))), time=(0.0, self.end))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (
            *all_periodic([0, 1], 2),
            Initial(_real, component=0, name="initial_u"),
            Initial(_imaginary, component=1, name="initial_v"),
        )

    def residual(self, u: Function, x: Tensor) -> dict[str, Tensor]:
        value, by = _DERIVATIVES(u, x)
        flow = by[2,] - _DIFFUSIVITY * (by[0, 0] + by[1, 1])
        grown, turned = _reaction(value[:, 0], value[:, 1])
        return {"real": flow[:, 0] - grown, "imaginary": flow[:, 1] - turned}

    def solve(self) -> Solution:
        return certified(self, self._found, 256, 1 / 400)

    def classical(self) -> Iterator[Classical]:
        yield from unrefined(self, self._found, (64, 128, 192), steps=1.0)

    def _found(self, grid: Grid, **settings: Any) -> xarray.Dataset:
        return reaction_diffusion.solve(
            {"u": as_start(_real), "v": as_start(_imaginary)},
            grid,
            diffusivity=(_DIFFUSIVITY, _DIFFUSIVITY),
            reaction=_reaction,
            times=times_of(self),
            **settings,
        )


def _reaction(u: Any, v: Any) -> tuple[Any, Any]:
    """Of tensors and of arrays."""
    square = u**2 + v**2
    return _RATE * (u - square * (u - _TURN * v)), _RATE * (v - square * (v + _TURN * u))


def _bell(x: Tensor) -> Tensor:
    return 10 * torch.exp(-25 * (x[:, 0] ** 2 + x[:, 1] ** 2))


def _real(x: Tensor) -> Tensor:
    return x[:, 1] * _bell(x)


def _imaginary(x: Tensor) -> Tensor:
    return x[:, 0] * _bell(x)
