"""A network beside a reference that is known at single points."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor, nn

from sciml.errors import DataError
from sciml.pinns.problem import Problem, predict


@dataclass(frozen=True)
class Beside:
    """One point.

    Attributes
    ----------
    network, reference : float
    standard_error : float
        Of the reference; 0 for a formula.
    lower, upper : float
        Three standard errors, and what the reference says of its bias, to either side of it.
    network_seconds, reference_seconds : float
        For all points together, divided by their number.
    source : str
        How the reference was found.
    """

    network: float
    reference: float
    standard_error: float
    lower: float
    upper: float
    network_seconds: float
    reference_seconds: float
    source: str


def beside(
    problem: Problem, model: nn.Module, points: Tensor, accuracy: float = 1e-3, seed: int = 0
) -> list[Beside]:
    """Values of a network with one output at points (n, dim), each beside `Problem.expected` or the formula.

    Parameters
    ----------
    problem : Problem
    model : module
    points : (n, dim)
    accuracy : float
        Standard errors of the reference are to be at most this times its values.
    seed : int
        Of its random paths.

    Raises
    ------
    DataError
        If neither is known.

    Examples
    --------
    >>> import torch
    >>> from sciml.pinns import problems
    >>> from sciml.pinns.recipe import Recipe
    >>> problem = problems.Heat()
    >>> rows = beside(problem, Recipe().model(problem, seed=0), torch.tensor([[0.5, 0.0]]).double())
    >>> rows[0].network, rows[0].reference, rows[0].source
    (1.0, 1.0, 'formula')
    """
    if problem.outputs != 1:
        raise DataError(
            f"{type(problem).__name__}: beside a reference stands one output, not {problem.outputs}."
        )
    started = time.perf_counter()
    network = predict(model, points, 1)[:, 0]
    network_seconds = (time.perf_counter() - started) / len(points)
    x = points.double().cpu()
    started = time.perf_counter()
    if type(problem).exact is not Problem.exact:
        values = problem.exact(x)
        columns = [values, 0 * values, values, values]
        source = "formula"
    else:
        found = problem.expected(x, accuracy=accuracy, seed=seed)
        columns = [found.values, found.standard_error, *found.interval()]
        source = f"Monte Carlo, {found.paths} paths"
    seconds = (time.perf_counter() - started) / len(points)
    numbers = zip(network.tolist(), *(column.tolist() for column in columns), strict=True)
    return [
        Beside(u, mean, error, lower, upper, network_seconds, seconds, source)
        for u, mean, error, lower, upper in numbers
    ]
