"""Rate and diffusivity of two substances that react, from scattered values of both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.datasets import bounded_reaction
from sciml.description import describable
from sciml.kernels.partials import Partials
from sciml.pinns.conditions import Condition, Dirichlet, Function, Initial
from sciml.pinns.domain import Box, Domain
from sciml.pinns.measurements import PointData
from sciml.pinns.problem import Ansatz, Problem, Solution
from sciml.pinns.problems.inverse.measuring import check_numbers, from_table, measured
from sciml.pinns.problems.tables import as_start, as_values
from sciml.pinns.unknowns import Coefficient

_DERIVATIVES = Partials([(1,), (0, 0)], dim=2)
_END = 10.0


@describable
@dataclass(frozen=True)
class ReactionConstants(Problem):
    r"""``a_t = D a_xx - k a b^2``, ``b_t = D b_xx - 2 k a b^2`` on (0, 1): k and D from a and b, to t = 10.

    They are 0.1 and 2e-3.  Both substances are exp(-20 x) at first, less 2e-9 x, and always 1 at the left
    wall and 0 at the right one, which is known.

    Parameters
    ----------
    measurements : int
        2000 points by default, at random among those of the reference, of both substances.
    noise : float
        Standard deviation of their errors, as a share of that of each substance; 0.01 by default.
    seed : int
        Of choice and errors.
    table : str, optional
        An .npz file with ``Ca`` and ``Cb`` over ``t`` and ``x`` instead of our reference.

    Notes
    -----
    Source: an example of DeepXDE (Lu, Meng, Mao and Karniadakis, SIAM Review 63 (2021)), which is told all
    40401 values.  Reference: Chebyshev points and ETDRK4, refined.

    Examples
    --------
    >>> sorted(ReactionConstants.truth.items())
    [('diffusivity', 0.002), ('rate', 0.1)]
    """

    measurements: int = 2000
    noise: float = 0.01
    seed: int = 0
    table: str | None = None

    equation: ClassVar[str] = r"a_t = D a_{xx} - k a b^2, b_t = D b_{xx} - 2 k a b^2"
    source: ClassVar[str] = "DeepXDE's inverse reaction"
    grid: ClassVar[tuple[int, ...]] = (101, 101)
    outputs: ClassVar[int] = 2
    domain: ClassVar[Domain] = Domain(Box(((0.0, 1.0),)), time=(0.0, _END))
    coefficients: ClassVar[Mapping[str, Coefficient]] = {
        "rate": Coefficient(0.05, positive=True),
        "diffusivity": Coefficient(1e-3, positive=True),
    }
    truth: ClassVar[Mapping[str, float]] = {"rate": 0.1, "diffusivity": 2e-3}
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("wall_a", "wall_b", "start_a", "start_b"),
        lift=lambda x: _fallen(x[:, :1]).expand(-1, 2),
        factor=lambda x: 4 * x[:, :1] * (1 - x[:, :1]) * (1 - torch.exp(-x[:, 1:])),
    )

    def __post_init__(self) -> None:
        check_numbers(type(self).__name__, self.measurements, self.noise, self.seed)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        walls = [Dirichlet(_linear, component=k, name=f"wall_{name}") for k, name in enumerate("ab")]
        starts = [Initial(_start, component=k, name=f"start_{name}") for k, name in enumerate("ab")]
        return (*walls, *starts, *_measured(self))

    def residual(self, u: Function, x: Tensor, coefficients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        value, by = _DERIVATIVES(u, x)
        eaten = coefficients["rate"] * value[:, 0] * value[:, 1] ** 2
        rest = by[1,] - coefficients["diffusivity"] * by[0, 0]
        return {"a": rest[:, 0] + eaten, "b": rest[:, 1] + 2 * eaten}

    def solve(self) -> Solution:
        x, shape = self.points()
        return Solution(x, _solution(), _TOLERANCE, "Chebyshev points, ETDRK4, refined", shape)


_TOLERANCE = 1e-6


@cache
def _solution() -> Tensor:
    """Both substances with the true constants at the points of the reference, (n, 2)."""
    sizes, truth = ReactionConstants.grid, ReactionConstants.truth

    def reaction(u: NDArray[np.float64], x: NDArray[np.float64], t: float) -> NDArray[np.float64]:
        eaten = truth["rate"] * u[0] * u[1] ** 2
        return np.stack([-eaten, -2 * eaten])

    found = bounded_reaction.solve(
        reaction,
        dict.fromkeys("ab", as_start(_start)),
        diffusivity=truth["diffusivity"],
        walls=(bounded_reaction.Wall(value=1.0), bounded_reaction.Wall()),
        times=np.linspace(0.0, _END, sizes[1]).tolist(),
        resolution=sizes[0],
        tolerance=_TOLERANCE,
    )
    return torch.cat([as_values(found[name].values) for name in "ab"], dim=1)


def _fallen(x: Tensor) -> Tensor:
    # Made 0 at the right wall, as it stays.
    return torch.exp(-20 * x) - math.exp(-20) * x


def _start(x: Tensor) -> Tensor:
    return _fallen(x[:, 0])


def _linear(x: Tensor) -> Tensor:
    return 1 - x[:, 0]


@lru_cache(maxsize=4)
def _measured(problem: ReactionConstants) -> tuple[PointData, ...]:
    if problem.table is None:
        x, values = problem.points()[0], _solution()
    else:
        space, time = problem.domain.bounds
        x, values = from_table(problem.table, {"t": time, "x": space}, ("Ca", "Cb"))
        x = x.flip(1)
    names = ("data_a", "data_b")
    return measured(
        x, values, count=problem.measurements, noise=problem.noise, seed=problem.seed, names=names
    )
