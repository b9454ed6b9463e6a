"""Both constants of Burgers' equation from scattered values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from torch import Tensor

from sciml.description import describable
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Condition, Function
from sciml.pinns.domain import Domain
from sciml.pinns.measurements import PointData
from sciml.pinns.problem import Problem, Solution
from sciml.pinns.problems.burgers import Burgers
from sciml.pinns.problems.inverse.measuring import check_numbers, from_table, measured
from sciml.pinns.unknowns import Coefficient

_DERIVATIVES = [d("t", variables="xt"), d("x", variables="xt"), d("xx", variables="xt")]


@describable
@dataclass(frozen=True)
class BurgersConstants(Problem):
    r"""``u_t + convection u u_x = viscosity u_xx``: both constants from values of u at scattered points.

    They are 1 and 0.01/pi; nothing is told of the start and of the walls.

    Parameters
    ----------
    measurements : int
        2000 by default, at random among the points of the reference.
    noise : float
        Standard deviation of their errors, as a share of that of u; 0.01 by default.
    seed : int
        Of choice and errors.
    table : str, optional
        An .npz file with u as ``usol`` over ``x`` and ``t`` instead of our reference.

    Notes
    -----
    Source: Raissi, Perdikaris and Karniadakis, J. Comput. Phys. 378 (2019), section 4 and appendix B.1, with
    as many values and up to 10 % noise.

    Examples
    --------
    >>> BurgersConstants().truth["convection"]
    1.0
    """

    measurements: int = 2000
    noise: float = 0.01
    seed: int = 0
    table: str | None = None

    equation: ClassVar[str] = r"u_t + \lambda_1 u u_x = \lambda_2 u_{xx}"
    source: ClassVar[str] = "Raissi, Perdikaris, Karniadakis (2019), B.1"
    grid: ClassVar[tuple[int, ...]] = Burgers.grid
    domain: ClassVar[Domain] = Burgers.domain
    coefficients: ClassVar[Mapping[str, Coefficient]] = {
        "convection": Coefficient(0.5),
        "viscosity": Coefficient(0.02, positive=True),
    }
    truth: ClassVar[Mapping[str, float]] = {"convection": 1.0, "viscosity": 0.01 / math.pi}

    def __post_init__(self) -> None:
        check_numbers(type(self).__name__, self.measurements, self.noise, self.seed)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return _measured(self)

    def residual(self, u: Function, x: Tensor, coefficients: Mapping[str, Tensor]) -> Tensor:
        value, u_t, u_x, u_xx = evaluate(u, x, _DERIVATIVES)
        return u_t + coefficients["convection"] * value * u_x - coefficients["viscosity"] * u_xx

    def solve(self) -> Solution:
        return Burgers().reference()


@lru_cache(maxsize=4)
def _measured(problem: BurgersConstants) -> tuple[PointData, ...]:
    if problem.table is None:
        known = problem.solve()
        x, values = known.x, known.values
    else:
        x, values = from_table(problem.table, dict(zip("xt", problem.domain.bounds, strict=True)), ("usol",))
    return measured(x, values, count=problem.measurements, noise=problem.noise, seed=problem.seed)
