"""One problem from text to solution."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sciml import processes
from sciml.errors import ConfigError
from sciml.kernels.estimators import Estimator
from sciml.pinns.problem import Problem
from sciml.pinns.recipe import Recipe
from sciml.pinns.recipes import suited
from sciml.pinns.residual import EQUATION
from sciml.run import Run, RunFolder
from sciml.training import Step, Training

# Judging a network on the points of its reference costs as much as a few steps, writing its state likewise.
_VALIDATIONS = 50


class Attempt:
    """A network on a problem, ready to be trained: what `solve` runs, for those who want to own the loop.

    Parameters
    ----------
    problem : Problem
    recipe : Recipe
    seed : int
        Of weights and points.
    device : torch.device or str

    Examples
    --------
    >>> from sciml.pinns import problems
    >>> attempt = Attempt(problems.Poisson(), suited(problems.Poisson()).scaled(4))
    >>> [step.number for step in attempt.steps()]
    [1, 2, 3, 4]
    """

    def __init__(
        self, problem: Problem, recipe: Recipe, *, seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        self.problem, self.recipe, self.seed = problem, recipe, seed
        self.model = recipe.model(problem, seed, device)
        self.objective = recipe.objective(problem, seed)
        self.objective.unknowns.to(device)
        self.trainer = recipe.trainer(seed)
        self._training: Training | None = None

    def steps(
        self,
        *,
        time_limit: float | None = None,
        every: int | None = None,
        output: Path | str | None = None,
        force: bool = False,
    ) -> Iterator[Step]:
        """Train, one step at a time.

        Parameters
        ----------
        time_limit : float, optional
            Seconds of training, over all resumptions of a run.  After the first step beyond, a checkpoint is
            written and the iterator ends; with a larger limit the same run goes on there.
        every : int, optional
            Steps between validations and checkpoints; a fiftieth of all steps by default.
        output : path, optional
            Folder of the run, which is resumed there, see `sciml.Trainer.fit`.
        force : bool
            Start anew whatever the folder holds.

        Raises
        ------
        ConfigError
            If the time limit is not positive.
        """
        if time_limit is not None and not time_limit > 0:
            raise ConfigError(f"Attempt: time_limit is a positive number of seconds, got {time_limit}.")
        self._training = self.trainer.iterate(
            self.model,
            self.objective,
            validation=self.objective,
            every=every or max(1, self.trainer.steps // _VALIDATIONS),
            output=output,
            force=force,
        )
        return self._limited(self._training, time_limit)

    def _limited(self, training: Training, time_limit: float | None) -> Iterator[Step]:
        with contextlib.closing(iter(training)) as steps:
            for step in steps:
                yield step
                if time_limit is None or training.finished:
                    continue
                # All processes stop after the same step: the clock of the first one counts.
                if processes.tell(step.row["seconds"] >= time_limit):
                    if training.folder is not None and processes.rank() == 0:
                        training.folder.checkpoints.save(training.step, training.state_dict())
                    return

    @property
    def total(self) -> int:
        """Steps of all stages."""
        return self.trainer.steps

    def history(self, folder: Path | str) -> list[dict[str, Any]]:
        """The rows that are stored in a folder."""
        return RunFolder(folder).history()

    def stages(self) -> list[str]:
        """The optimizers, in turn."""
        return [_name(stage.optimizer) for stage in self.recipe.stages]

    def stage(self, step: int) -> str:
        """The optimizer that made this step, counted from 1."""
        ends = accumulate(stage.steps for stage in self.recipe.stages)
        return next(name for name, end in zip(self.stages(), ends, strict=True) if step <= end)

    def points(self) -> Tensor:
        """Where the equation was looked at last, (n, dim)."""
        rows: Tensor = self.objective.state_dict()["points"][EQUATION]["rows"]
        return rows[:, : self.problem.domain.dim]

    @property
    def run(self) -> Run:
        """What there is so far."""
        if self._training is None:
            return Run(self.model, self.objective)
        return self._training.run

    @property
    def finished(self) -> bool:
        """Whether all steps have been made."""
        return self._training is not None and self._training.finished


def steps_per_second(history: Sequence[Mapping[str, Any]]) -> float:
    """Steps by the seconds that they took, without validations and checkpoints where there are other steps.

    Examples
    --------
    >>> rows = [{"seconds": 2.0}, {"seconds": 2.5}, {"seconds": 9.0, "validation": {}}, {"seconds": 9.6}]
    >>> steps_per_second(rows)
    2.0
    """
    apart = [
        after["seconds"] - before["seconds"]
        for before, after in pairwise(history)
        if "validation" not in before and "validation" not in after
    ]
    spent = float(sum(apart) if apart else history[-1]["seconds"])
    # Rows are rounded to milliseconds.
    return (len(apart) or len(history)) / max(spent, 1e-3)


def _name(factory: object) -> str:
    found = getattr(factory, "func", factory)
    return str(getattr(found, "__name__", type(found).__name__))


def solve(
    problem: Problem,
    *,
    recipe: Recipe | None = None,
    estimator: Estimator | None = None,
    steps: int | None = None,
    time_limit: float | None = None,
    seed: int = 0,
    output: Path | str | None = None,
    device: torch.device | str = "cpu",
) -> Run:
    """Train a network on a problem.

    Parameters
    ----------
    problem : Problem
    recipe : Recipe, optional
        One of `sciml.pinns.recipes`, or your own; by default what suits the problem, in windows of time
        (`sciml.pinns.march`) if it is known to need them.
    estimator : Estimator, optional
        Instead of the recipe's.
    steps : int, optional
        Instead of the recipe's, shared between its stages as before.
    time_limit : float, optional
        Seconds of training, over all resumptions, after which it stops with a checkpoint.
    seed : int
        Of weights and points.
    output : path, optional
        Folder of the run, which is resumed there, see `sciml.Trainer.fit`.
    device : torch.device or str

    Returns
    -------
    Run
        ``run.model`` maps points (n, dim) to values (n,), of a system (n, outputs); errors against the
        reference are in ``run.history``.

    Raises
    ------
    ConfigError
        If the recipe does not fit the problem, or a number is out of range.

    Examples
    --------
    >>> from sciml.pinns import problems
    >>> problem = problems.Poisson()
    >>> run = solve(problem, steps=4)
    >>> problem.relative_l2(run.model) < 1
    True
    """
    chosen = suited(problem, estimated=estimator is not None) if recipe is None else recipe
    chosen = chosen if estimator is None else replace(chosen, estimator=estimator)
    chosen = chosen if steps is None else chosen.scaled(steps)
    if recipe is None and problem.windows is not None:
        from sciml.pinns.marching import MarchAttempt

        march = MarchAttempt(problem, chosen, windows=problem.windows, seed=seed, device=device)
        for _ in march.steps(time_limit=time_limit, output=output):
            pass
        return march.run
    attempt = Attempt(problem, chosen, seed=seed, device=device)
    for _ in attempt.steps(time_limit=time_limit, output=output):
        pass
    return attempt.run
