"""What an error is worth: almost no network, and the classical solver that is as accurate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from sciml.pinns.predictors import best_constant, best_linear
from sciml.pinns.problem import Problem

_FEATURES = 200  # of a linear network: more of them cost as much as a training


@dataclass(frozen=True)
class Yardstick:
    """One predictor that is no trained network.

    Attributes
    ----------
    name : str
    kind : "trivial" or "classical"
    error : float
        Relative L2, over all points and components of the reference.
    seconds : float, optional
        Of a classical solution, the second time, when tables and compiled code are there.
    """

    name: str
    kind: Literal["trivial", "classical"]
    error: float
    seconds: float | None = None


def yardsticks(problem: Problem, error: float = 0.0) -> Iterator[Yardstick]:
    """The best constant and the best linear network in the ansatz, then the classical solver, coarse to fine.

    It ends at the first classical solution that is at least as accurate as ``error``.

    Examples
    --------
    >>> from sciml.pinns.problems import Poisson
    >>> found = list(yardsticks(Poisson(), error=0.02))
    >>> [y.name for y in found]
    ['best constant', 'best linear network', 'differences of order 2, 16 points']
    >>> found[-1].error < 0.02
    True
    """
    known = problem.reference()

    def error_of(values: Tensor) -> float:
        return float((values - known.values).norm() / known.values.norm())

    yield Yardstick("best constant", "trivial", error_of(best_constant(problem, known)))
    if problem.domain.dim <= _FEATURES:
        yield Yardstick("best linear network", "trivial", error_of(best_linear(problem, known)))
    for solver in problem.classical():
        solver.solve()
        started = time.perf_counter()
        values = solver.solve()
        seconds = time.perf_counter() - started
        told = ", ".join(f"{value} {name}" for name, value in solver.settings.items())
        yield Yardstick(f"{solver.name}, {told}", "classical", found := error_of(values), seconds)
        if found <= error:
            return
