"""Two solitons of Korteweg and de Vries' equation, of which the fast one overtakes the slow one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.kernels.calculus import resample
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Dirichlet, Function, Initial, Neumann, Robin
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Classical, Problem
from sciml.pinns.problems.hirota import moment
from sciml.pinns.problems.tables import as_start, as_values, times_of

_DERIVATIVES = [d("t", variables="xt"), d("x", variables="xt"), d("xxx", variables="xt")]
_LENGTH = 20.0


@describable
@dataclass(frozen=True)
class Solitons(Problem):
    r"""``u_t + 6 u u_x + u_xxx = 0`` on (0, 20) to t = 5; u at both ends, and its slope at the right one.

    Exactly u = 2 (log F)_xx with F = (k_1 - k_2) cosh((z_1 + z_2) / 2) + (k_1 + k_2) cosh((z_1 - z_2) / 2),
    k_i = sqrt(speed_i), z_i = k_i (x - speed_i t - center_i).

    Parameters
    ----------
    speeds : (float, float)
        Positive, the first one larger.
    centers : (float, float)
        -2 and 2: the fast one starts outside and has left by t = 4.

    Raises
    ------
    ConfigError
        If the speeds are not positive, or not in this order.

    Notes
    -----
    Papers ask for u at the ends alone; waves that leave to the left need the slope at the right one too for
    there to be one solution.  None of this is built in: the domain is 20 wide and a soliton 1, so that a lift
    which has the data on the boundary is large where u is zero, and a network has to cancel it.

    Source: Kiyani et al., arXiv:2501.16371; Hirota, Phys. Rev. Lett. 27 (1971) 1192.

    Examples
    --------
    >>> problem = Solitons()
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    speeds: tuple[float, float] = (6.0, 2.0)
    centers: tuple[float, float] = (-2.0, 2.0)

    equation: ClassVar[str] = r"u_t + 6 u u_x + u_{xxx} = 0"
    source: ClassVar[str] = "Kiyani et al. (2025), with the slope at the right end"
    grid: ClassVar[tuple[int, ...]] = (257, 101)
    recipe: ClassVar[str] = "waves"
    windows: ClassVar[int] = 4
    domain: ClassVar[Domain] = Domain(Box(((0.0, _LENGTH),)), time=(0.0, 5.0))

    def __post_init__(self) -> None:
        if not math.inf > self.speeds[0] > self.speeds[1] > 0:
            raise ConfigError(f"Solitons: needs speeds a > b > 0, got {self.speeds}.")

    @property
    def conditions(self) -> tuple[Dirichlet, Robin, Initial]:
        return (
            Dirichlet(self.exact),
            Neumann(lambda x: self._moment(x, 3), faces=("0+",), name="slope"),
            Initial(self.exact),
        )

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, u_t, u_x, u_xxx = evaluate(u, x, _DERIVATIVES)
        return u_t + 6 * value * u_x + u_xxx

    def exact(self, x: Tensor) -> Tensor:
        return self._moment(x, 2)

    def classical(self) -> Iterator[Classical]:
        for points in (128, 256, 512, 1024):
            settings = {"points": points}
            yield Classical(
                "pseudo-spectral, ETDRK4, on (-20, 60)", settings, partial(self._spectral, points)
            )

    def _moment(self, x: Tensor, order: int) -> Tensor:
        """``2 ∂^order log(F)`` in x."""
        (fast, slow), (first, second) = self.speeds, self.centers
        k, m = math.sqrt(fast), math.sqrt(slow)
        z, y = k * (x[:, 0] - fast * x[:, 1] - first), m * (x[:, 0] - slow * x[:, 1] - second)
        even, odd = (z + y) * 0.5, (z - y) * 0.5
        low, high = math.log(k - m), math.log(k + m)
        exponents = torch.stack([even + low, low - even, odd + high, high - odd], dim=1)
        half = ((k + m) / 2, (k - m) / 2)
        return moment(exponents, (half[0], -half[0], half[1], -half[1]), order)

    def _spectral(self, points: int) -> Tensor:
        """On an interval four times as long, whose ends no wave reaches."""
        from sciml.datasets import korteweg_de_vries

        fine = 4 * (self.grid[0] - 1)
        grid = Grid.box((points,), lower=-_LENGTH, upper=3 * _LENGTH, location="node", periodic=True)
        start = as_start(lambda x: self.exact(torch.cat([x, 0 * x], dim=1)))
        found = korteweg_de_vries.solve(start, grid, times=times_of(self), step=1 / points, refinement=1)
        frames = resample(torch.from_numpy(found["u"].values), fine, axes=1).numpy()
        return as_values(frames[:, fine // 4 : fine // 2 + 1])
