"""The three constants of Lorenz' system from a few of its states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.datasets import lorenz
from sciml.description import describable
from sciml.kernels.partials import Partials
from sciml.pinns.conditions import Condition, Function
from sciml.pinns.domain import Box, Domain
from sciml.pinns.measurements import PointData
from sciml.pinns.problem import Problem, Solution
from sciml.pinns.problems.inverse.measuring import arrays, axis, check_numbers, check_shape, measured
from sciml.pinns.unknowns import Coefficient

_DERIVATIVES = Partials([(0,)], dim=1)
_START = -8.0, 7.0, 27.0
_END = 3.0
_STEP = 1 / 512  # of the method of order 8


@describable
@dataclass(frozen=True)
class LorenzConstants(Problem):
    r"""``x' = sigma (y - x)``, ``y' = x (rho - z) - y``, ``z' = x y - beta z``: the constants from states.

    They are 10, 15 and 8/3, the orbit goes from (-8, 7, 27) to t = 3; its start is measured like the rest.

    Parameters
    ----------
    measurements : int
        25 states at equal distances by default.
    noise : float
        Standard deviation of their errors, as a share of that of each component; 0.01 by default.
    seed : int
        Of the errors.
    table : str, optional
        An .npz file with times ``t`` (n, 1) and states ``y`` (n, 3) instead.

    Notes
    -----
    Source: an example of DeepXDE (Lu, Meng, Mao and Karniadakis, SIAM Review 63 (2021)), which knows the
    start too.  Reference: Runge-Kutta of order 8 with steps of 1/512.

    Examples
    --------
    >>> [len(states.values) for states in LorenzConstants(measurements=10).conditions]
    [10, 10, 10]
    """

    measurements: int = 25
    noise: float = 0.01
    seed: int = 0
    table: str | None = None

    equation: ClassVar[str] = r"x' = \sigma (y - x), y' = x (\rho - z) - y, z' = x y - \beta z"
    source: ClassVar[str] = "DeepXDE's inverse Lorenz system"
    grid: ClassVar[tuple[int, ...]] = (301,)
    outputs: ClassVar[int] = 3
    domain: ClassVar[Domain] = Domain(Box(((0.0, _END),)))
    coefficients: ClassVar[Mapping[str, Coefficient]] = {
        name: Coefficient(1.0, positive=True) for name in ("sigma", "rho", "beta")
    }
    truth: ClassVar[Mapping[str, float]] = {"sigma": 10.0, "rho": 15.0, "beta": 8 / 3}

    def __post_init__(self) -> None:
        check_numbers(type(self).__name__, self.measurements, self.noise, self.seed)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return _measured(self)

    def residual(self, u: Function, x: Tensor, coefficients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        value, by = _DERIVATIVES(u, x)
        rate, (a, b, c) = by[0,], value.unbind(1)
        return {
            "x": rate[:, 0] - coefficients["sigma"] * (b - a),
            "y": rate[:, 1] - a * (coefficients["rho"] - c) + b,
            "z": rate[:, 2] - a * b + coefficients["beta"] * c,
        }

    def solve(self) -> Solution:
        x, shape = self.points()
        values, coarse = (self.orbit(x[:, 0].numpy(), step) for step in (_STEP, 2 * _STEP))
        error = float((values - coarse).norm() / values.norm())
        return Solution(x, values, error, "Runge-Kutta of order 8, refined", shape)

    def orbit(self, times: NDArray[np.float64], step: float = _STEP) -> Tensor:
        """The states (n, 3) with the true constants at increasing times, of which the first is 0."""
        constants = self.truth
        system = lorenz.Lorenz63(sigma=constants["sigma"], rho=constants["rho"], beta=constants["beta"])
        found = lorenz.solve(list(_START), system=system, times=times.tolist(), step=step)
        return torch.from_numpy(np.stack([found[name].values for name in "xyz"], axis=1))


@lru_cache(maxsize=4)
def _measured(problem: LorenzConstants) -> tuple[PointData, ...]:
    if problem.table is None:
        times = np.linspace(0.0, _END, problem.measurements)
        states = problem.orbit(times)
    else:
        file = arrays(problem.table, ("t", "y"))
        times = axis(problem.table, "t", file["t"], problem.domain.bounds[0])
        check_shape(problem.table, "y", file["y"], (len(times), 3), "a state for each time")
        states = torch.from_numpy(file["y"])
    x = torch.from_numpy(times)[:, None]
    names = [f"states_{name}" for name in "xyz"]
    return measured(x, states, count=None, noise=problem.noise, seed=problem.seed, names=names)
