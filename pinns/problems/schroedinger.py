"""The nonlinear Schroedinger equation: a pulse that focuses and spreads again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from sciml.datasets import schrodinger
from sciml.description import describable
from sciml.grid import Grid
from sciml.kernels.partials import Partials
from sciml.pinns.conditions import Condition, Function, Initial
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem, Solution
from sciml.pinns.problems.tables import all_periodic, as_start, certified, times_of, unrefined

if TYPE_CHECKING:
    import xarray

_DERIVATIVES = Partials([(1,), (0, 0)], dim=2)
_DECAY = 10.0


@describable
@dataclass(frozen=True)
class Schroedinger(Problem):
    r"""``i h_t + h_xx / 2 + |h|^2 h = 0``, periodic, from 2 / cosh(x), to t = pi/2, for h = u + i v.

    Two outputs: u and v.

    Parameters
    ----------
    half_width : float, positive
        Of the interval about 0: 5 by default, 15 in papers on optimizers.  On the line the solution is known:
        4 exp(i t/2) (cosh 3x + 3 exp(4 i t) cosh x) / (cosh 4x + 4 cosh 2x + 3 cos 4t).

    Notes
    -----
    The slope of the periodic start jumps at the ends (by 0.05 for 5), and dispersion takes the jump apart at
    once, so the lift decays, as that of `AllenCahn`.  Source: Raissi, Perdikaris and Karniadakis, J. Comput.
    Phys. 378 (2019), section 3.1.1.  Reference: Fourier modes and ETDRK4; because of that jump
    the modes decay like 1/k^2 and the order in time is below 4, so that it is good for 3e-6.

    Examples
    --------
    >>> Schroedinger().periods
    (0,)
    """

    half_width: float = 5.0

    equation: ClassVar[str] = r"i h_t + h_{xx} / 2 + |h|^2 h = 0"
    source: ClassVar[str] = "Raissi, Perdikaris, Karniadakis (2019), 3.1.1"
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    outputs: ClassVar[int] = 2
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("initial_u", "initial_v"),
        lift=lambda x: torch.stack([torch.exp(-_DECAY * x[:, 1]) * _start(x), 0 * x[:, 0]], dim=1),
        factor=lambda x: 1 - torch.exp(-_DECAY * x[:, 1:]),
    )

    @property
    def domain(self) -> Domain:
        return Domain(Box(((-self.half_width, self.half_width),)), time=(0.0, math.pi / 2))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (
            *all_periodic([0], 2),
            Initial(_start, component=0, name="initial_u"),
            Initial(0.0, component=1, name="initial_v"),
        )

    def residual(self, u: Function, x: Tensor) -> dict[str, Tensor]:
        h, by = _DERIVATIVES(u, x)
        force = by[0, 0] / 2 + h.square().sum(1, keepdim=True) * h
        return {"real": force[:, 0] - by[1,][:, 1], "imaginary": force[:, 1] + by[1,][:, 0]}

    def solve(self) -> Solution:
        return certified(self, self._found, 2048, 1 / 4000)

    def classical(self) -> Iterator[Classical]:
        yield from unrefined(self, self._found, (64, 128, 256, 512), steps=4.0)

    def _found(self, grid: Grid, **settings: Any) -> xarray.Dataset:
        found = schrodinger.solve(as_start(_start), grid, times=times_of(self), **settings)
        return found.assign(u=found["h"].real, v=found["h"].imag).drop_vars("h")


def _start(x: Tensor) -> Tensor:
    return 2 / torch.cosh(x[:, 0])
