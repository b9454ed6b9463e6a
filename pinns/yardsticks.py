"""What an error is worth: almost no network, and the classical solver that is as accurate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sciml.pinns.predictors import best_constant, best_linear
from sciml.pinns.problem import Problem, relative_l2


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


def yardsticks(problem: Problem, error: float = 0.0, *, points: int | None = None) -> Iterator[Yardstick]:
    """The best constant and the best linear network in the ansatz, then the classical solver, coarse to fine.

    The linear one is left out where it cannot be told, see `sciml.pinns.predictors`.

    Parameters
    ----------
    problem : Problem
    error : float
        It ends at the first classical solution that is at least as accurate.
    points : int, optional
        Judge the first two on so many points of the reference only.

    Examples
    --------
    >>> from sciml.pinns.problems import Poisson
    >>> found = list(yardsticks(Poisson(), error=0.02))
    >>> [y.name for y in found]
    ['best constant', 'best linear network', 'differences of order 2, 16 points']
    >>> found[-1].error < 0.02
    True
    """
    models = {"best constant": best_constant(problem), "best linear network": best_linear(problem)}
    told = {name: model for name, model in models.items() if model is not None}
    errors = relative_l2(problem, list(told.values()), points)
    yield from (Yardstick(name, "trivial", e) for name, e in zip(told, errors, strict=True))
    known = problem.reference()
    for solver in problem.classical():
        solver.solve()
        started = time.perf_counter()
        values = solver.solve()
        seconds = time.perf_counter() - started
        settings = ", ".join(f"{value} {name}" for name, value in solver.settings.items())
        found = float((values - known.values).norm() / known.values.norm())
        yield Yardstick(f"{solver.name}, {settings}", "classical", found, seconds)
        if found <= error:
            return
