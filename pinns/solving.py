"""One problem from text to solution."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from sciml.kernels.estimators import Estimator
from sciml.pinns.problem import Problem
from sciml.pinns.recipe import Recipe
from sciml.pinns.recipes import SMALL
from sciml.run import Run


def solve(
    problem: Problem,
    *,
    recipe: Recipe = SMALL,
    steps: int | None = None,
    estimator: Estimator | None = None,
    seed: int = 0,
    output: Path | str | None = None,
    every: int | None = None,
    device: torch.device | str = "cpu",
) -> Run:
    """Train a network on a problem.

    Parameters
    ----------
    problem : Problem
    recipe : Recipe
        One of `sciml.pinns.recipes`, or your own.
    steps : int, optional
        Instead of the recipe's, shared between its stages as before.
    estimator : Estimator, optional
        Instead of the recipe's.
    seed : int
        Of weights and points.
    output : path, optional
        Folder of the run, which is resumed there, see `sciml.Trainer.fit`.
    every : int, optional
        Steps between validations and checkpoints.
    device : torch.device or str

    Returns
    -------
    Run
        ``run.model`` maps points (n, dim) to values (n,), of a system (n, outputs); errors against the
        reference are in ``run.history``.

    Raises
    ------
    ConfigError
        If the recipe does not fit the problem.

    Examples
    --------
    >>> from sciml.pinns import problems
    >>> problem = problems.Poisson()
    >>> run = solve(problem, steps=20)
    >>> problem.relative_l2(run.model) < 1
    True
    """
    chosen = recipe if estimator is None else replace(recipe, estimator=estimator)
    chosen = chosen if steps is None else chosen.scaled(steps)
    objective = chosen.objective(problem)
    return chosen.trainer(seed).fit(
        chosen.model(problem, seed).to(device),
        objective,
        validation=objective,
        every=every,
        output=output,
    )
