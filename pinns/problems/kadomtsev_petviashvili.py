"""Kadomtsev and Petviashvili's equation: two line solitons that cross, and shift each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Dirichlet, Function, Initial, Neumann, Robin
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Problem
from sciml.pinns.problems.hirota import moment

_HALF = 5.0
_NAMES = "xyt"
_LINEAR = {
    sign: d("xt", variables=_NAMES) + d("xxxx", variables=_NAMES) + 3 * sign * d("yy", variables=_NAMES)
    for sign in (1, -1)
}
_FIRST, _SECOND = d("x", variables=_NAMES), d("xx", variables=_NAMES)


@describable
@dataclass(frozen=True)
class KadomtsevPetviashvili(Problem):
    r"""``(u_t + 6 u u_x + u_xxx)_x + 3 s u_yy = 0`` on (-5, 5)^2 to t = 1/2.

    Exactly ``u = 2 (log F)_xx`` with ``F = 1 + e^a + e^b + A e^(a + b)``, for
    ``a = k_1 (x + p_1 y - (k_1^2 + 3 s p_1^2) t)``, b with k_2 and p_2, and
    ``A = ((k_1 - k_2)^2 - s (p_1 - p_2)^2) / ((k_1 + k_2)^2 - s (p_1 - p_2)^2)``: two line solitons that
    cross in an X, each shifted by the other where they do.

    u is given on the boundary and at the start, and its slopes where x is smallest and largest: four
    conditions for four derivatives in x.

    Parameters
    ----------
    sign : 1 or -1
        s; with 1, the second of the two equations of that name, line solitons are stable.
    wavenumbers : (float, float)
        k_1 and k_2, positive.
    tilts : (float, float)
        p_1 and p_2: line i stands at the angle atan(p_i) to the y axis.

    Raises
    ------
    ConfigError
        If a wavenumber is not positive, the sign is another one, or A is not positive: with s = 1 that is for
        ``|k_1 - k_2| <= |p_1 - p_2| <= k_1 + k_2``.

    Notes
    -----
    Source: Kadomtsev and Petviashvili, Sov. Phys. Dokl. 15 (1970) 539; solution by Satsuma, J. Phys. Soc.
    Japan 40 (1976) 286; as a benchmark for mixed fourth derivatives: Shi et al., arXiv:2412.00088.

    Examples
    --------
    >>> problem = KadomtsevPetviashvili()
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    sign: Literal[1, -1] = 1
    wavenumbers: tuple[float, float] = (1.2, 1.0)
    tilts: tuple[float, float] = (1.2, -1.2)

    equation: ClassVar[str] = r"(u_t + 6 u u_x + u_{xxx})_x + 3 s u_{yy} = 0"
    source: ClassVar[str] = "Kadomtsev, Petviashvili (1970); Satsuma (1976)"
    grid: ClassVar[tuple[int, ...]] = (49, 49, 21)
    domain: ClassVar[Domain] = Domain(Box(((-_HALF, _HALF),) * 2), time=(0.0, 0.5))

    def __post_init__(self) -> None:
        who = "KadomtsevPetviashvili"
        if self.sign not in (1, -1) or not all(0 < k < math.inf for k in self.wavenumbers):
            raise ConfigError(
                f"{who}: needs a sign of 1 or -1 and positive wavenumbers, got {self.sign} and "
                f"{self.wavenumbers}."
            )
        if not 0 < self._coupling < math.inf:
            raise ConfigError(
                f"{who}: wavenumbers {self.wavenumbers} and tilts {self.tilts} resonate: |p_1 - p_2| must be "
                "smaller than |k_1 - k_2|, or larger than k_1 + k_2."
            )

    @property
    def conditions(self) -> tuple[Dirichlet, Robin, Initial]:
        return (
            Dirichlet(self.exact),
            # The outward normal points to smaller x on the left.
            Neumann(lambda x: torch.sign(x[:, 0]) * self._moment(x, 3), faces=("0-", "0+"), name="slope"),
            Initial(self.exact),
        )

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, u_x, u_xx, linear = evaluate(u, x, [_FIRST, _SECOND, _LINEAR[self.sign]])
        return linear + 6 * (u_x**2 + value * u_xx)

    def exact(self, x: Tensor) -> Tensor:
        return self._moment(x, 2)

    @property
    def _coupling(self) -> float:
        """A."""
        (k, m), tilt = self.wavenumbers, self.sign * (self.tilts[0] - self.tilts[1]) ** 2
        above, below = (k - m) ** 2 - tilt, (k + m) ** 2 - tilt
        return above / below if below else math.inf

    def _moment(self, x: Tensor, order: int) -> Tensor:
        k, m = self.wavenumbers
        a, b = (
            number * (x[:, 0] + p * x[:, 1] - (number**2 + 3 * self.sign * p**2) * x[:, 2])
            for number, p in zip(self.wavenumbers, self.tilts, strict=True)
        )
        exponents = torch.stack([0 * a, a, b, a + b + math.log(self._coupling)], dim=1)
        return moment(exponents, (0.0, k, m, k + m), order)
