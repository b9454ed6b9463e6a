"""Contests on problems: recipes of physics-informed networks, their samplers, optimizers and estimators.

There is one solution and no data.  The points of the reference are split: errors along the way are measured
on a fifth of them, which a search of settings may look at; the rest decides.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sciml.cli.names import dashed
from sciml.comparison.contest import Contest, Judgement, Metrics, Plan, Reference
from sciml.comparison.published import Published
from sciml.comparison.published_problems import published_on
from sciml.description import describe
from sciml.errors import ConfigError, nearest
from sciml.grid import Grid
from sciml.kernels.estimators import Exact
from sciml.pinns import problems
from sciml.pinns.fields import grid_of, names_of_outputs
from sciml.pinns.predictors import best_constant, best_linear
from sciml.pinns.problem import Problem, predict
from sciml.pinns.recipe import Recipe
from sciml.pinns.residual import Residual
from sciml.pinns.variance import variance_over_directions
from sciml.report import Example
from sciml.run import Run
from sciml.spelling import calls_in, spelled
from sciml.streams import Streams

SEED = 0  # of the split of the reference's points
VALIDATION = 5  # one point of so many is for validation
DRAWS = 16  # of directions, for the spread of the gradient of an estimated loss
_PREFIX = "pinn/"


@dataclass(frozen=True)
class RecipeEntry:
    """A recipe that competes.

    Parameters
    ----------
    name : str
        What tables call it.
    recipe : Recipe

    Raises
    ------
    ConfigError
        If there is no name, or no recipe.

    Examples
    --------
    >>> RecipeEntry("adam", Recipe()).changed({"points": 500}).recipe.points
    500
    """

    name: str
    recipe: Recipe

    def __post_init__(self) -> None:
        if not self.name.strip() or not isinstance(self.recipe, Recipe):
            raise ConfigError(
                f"RecipeEntry: needs a name and a sciml.pinns.Recipe, got {self.name!r} and a "
                f"{type(self.recipe).__name__}."
            )

    def description(self) -> dict[str, Any]:
        """JSON-able settings; see `Contestant`."""
        found: dict[str, Any] = describe(self.recipe)
        return found

    def changed(self, settings: Mapping[str, Any]) -> RecipeEntry:
        """With other settings of the recipe."""
        known = [field.name for field in dataclasses.fields(Recipe)]
        for name in settings:
            if name not in known:
                raise ConfigError(
                    f"RecipeEntry {self.name!r}: there is no setting {name}; there is {', '.join(known)}."
                    f"{nearest(name, known)}"
                )
        return RecipeEntry(self.name, dataclasses.replace(self.recipe, **settings))


@dataclass(frozen=True)
class ProblemContest(Contest[RecipeEntry]):
    """One problem whose solution is known, for recipes.

    Parameters
    ----------
    problem : Problem
        With a formula or a solver for its solution.

    Notes
    -----
    Metrics, all on the test points and over all components: ``relative_l2``, ``relative_l1`` and
    ``max_error``.  Where the equation may be estimated also ``gradient_deviation``: the root mean square
    deviation of the gradient of the loss from its mean over directions, over the norm of that mean, with the
    trained weights and fixed points; 0 for `Exact`.  What an estimator costs is in the seconds per step.

    ``samples`` in a comparison are the points of the equation, so that errors against their number can be
    told.  Nothing is selected: the network of the last step is judged.
    """

    problem: Problem

    entry_type: ClassVar[type[Any]] = RecipeEntry

    @property
    def name(self) -> str:
        """``pinn/allen-cahn``, with the arguments that are not the usual ones: ``pinn/wave(mode=4)``."""
        problem = self.problem
        changed: dict[str, Any] = {}
        if dataclasses.is_dataclass(problem):
            values = [(field, getattr(problem, field.name)) for field in dataclasses.fields(problem)]
            changed = {field.name: value for field, value in values if value != field.default}
        return spelled(f"{_PREFIX}{dashed(type(problem).__name__)}", changed)

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Solve for the reference, which is then in the cache folder."""
        if not self.problem.has_reference:
            raise ConfigError(
                f"{type(self.problem).__name__}: has neither a formula nor a solver for its solution, so no "
                "error can be told. Give the class exact(self, x) or solve(self)."
            )
        self.problem.reference()
        if progress is not None:
            progress(1, 1)

    def describe(self) -> dict[str, Any]:
        """The problem, its mathematics, its reference and how errors are measured."""
        problem = self.problem
        return {
            "problem": describe(problem),
            "mathematics": problem.fingerprint(),
            "equation": problem.equation,
            "source": problem.source,
            "bounds": [list(pair) for pair in problem.domain.bounds],
            "reference": {"points": list(problem.grid) if problem.grid is not None else "sampled"},
            "split": {"seed": SEED, "validation": f"1 of {VALIDATION} points", "test": "all others"},
            "metrics": "over all test points and components of the one solution",
            "selection": "none: the last step",
        }

    def plan(
        self,
        entry: RecipeEntry,
        *,
        seed: int,
        steps: int,
        samples: int | None = None,
        device: torch.device | str,
    ) -> Plan:
        recipe = entry.recipe.scaled(steps)
        if samples is not None:
            recipe = dataclasses.replace(recipe, points=samples)
        return Plan(
            recipe.model(self.problem, seed, device),
            recipe.trainer(seed),
            recipe.objective(self.problem),
            _Validation(self.problem),
        )

    def judge(self, run: Run) -> Judgement:
        known = self.problem.reference()
        predict(run.model, known.x[:1], self.problem.outputs)  # what the first call costs is not inference
        started = time.perf_counter()
        values = predict(run.model, known.x, self.problem.outputs)
        seconds = time.perf_counter() - started
        metrics = dict(self._metrics(values))
        if (deviation := _gradient_deviation(run)) is not None:
            metrics["gradient_deviation"] = [deviation]
        return Judgement("test", [0], metrics, seconds, course=self._course(values))

    def references(self) -> Iterator[Reference]:
        """The best constant and the best linear network in the ansatz, and the classical solver."""
        known = self.problem.reference()
        for name, found in (("best constant", best_constant), ("best linear network", best_linear)):
            if (model := found(self.problem)) is not None:
                values = predict(model, known.x, self.problem.outputs)
                yield Reference(name, "trivial", self._metrics(values))
        for solver in self.problem.classical():
            solver.solve()  # imports and tables are not the solver's
            started = time.perf_counter()
            values = solver.solve()
            seconds = time.perf_counter() - started
            settings = dict(solver.settings)
            told = ", ".join(f"{value} {name}" for name, value in settings.items())
            yield Reference(f"{solver.name}, {told}", "classical", self._metrics(values), seconds, settings)

    def published(self) -> list[Published]:
        """Numbers of others on the same problem."""
        return published_on(self.problem)

    def examples(self, run: Run) -> list[Example] | None:
        """The solution on the reference's grid, if that has two axes."""
        known = self.problem.reference()
        shape = known.shape
        if shape is None or len(shape) != 2:
            return None
        values = predict(run.model, known.x, self.problem.outputs)
        error = float(self._metrics(values)["relative_l2"][0])
        names = names_of_outputs(self.problem)

        def fields(flat: Tensor) -> dict[str, Any]:
            return {name: flat[:, k].reshape(shape).numpy() for k, name in enumerate(names)}

        return [
            Example(
                "solution",
                0,
                error,
                inputs={},
                truth=fields(known.values),
                prediction=fields(values),
                units={name: "1" for name in names},
                place=self.grid,
            )
        ]

    @property
    def grid(self) -> Grid | None:
        """The grid of the reference, time as its last axis."""
        return grid_of(self.problem, self.problem.reference())

    def _metrics(self, values: Tensor) -> Metrics:
        known = self.problem.reference()
        test = ~validation_points(len(known.x))
        error, truth = (values - known.values)[test], known.values[test]
        return {
            "relative_l2": [float(error.norm() / truth.norm())],
            "relative_l1": [float(error.abs().sum() / truth.abs().sum())],
            "max_error": [float(error.abs().max())],
        }

    def _course(self, values: Tensor) -> dict[str, Any] | None:
        """The error at each time."""
        known, domain = self.problem.reference(), self.problem.domain
        if known.shape is None or domain.time is None:
            return None
        shape = (*known.shape, self.problem.outputs)
        axes = tuple(i for i in range(len(shape)) if i != domain.dim - 1)
        squares = [v.reshape(shape).square().sum(axes) for v in (values - known.values, known.values)]
        frames = known.shape[-1]
        return {
            "times": np.linspace(*domain.time, frames).tolist(),
            "units": "1",
            "mean": (squares[0] / squares[1]).sqrt().tolist(),
        }


@dataclass(frozen=True)
class _Validation:
    """The error on the points for validation."""

    problem: Problem

    def __call__(self, model: nn.Module) -> dict[str, float]:
        known = self.problem.reference()
        chosen = validation_points(len(known.x))
        truth = known.values[chosen]
        error = predict(model, known.x[chosen], self.problem.outputs) - truth
        return {"relative_l2": float(error.norm() / truth.norm())}


def validation_points(count: int) -> Tensor:
    """Which points of a reference are for validation, (count,)."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SEED))
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[order[: count // VALIDATION]] = True
    return chosen


def _gradient_deviation(run: Run) -> float | None:
    """How far the gradient of an estimated loss is spread over draws of directions; None where none are."""
    loss = run.objective
    if not isinstance(loss, Residual):
        return None
    if "estimate" not in inspect.signature(type(loss.problem).residual).parameters:
        return None
    if isinstance(loss.estimator, Exact):
        return 0.0
    model = run.model
    batch = Residual(loss.problem, points=256).draw(0, model, Streams(SEED))
    batch = batch.to(next(model.parameters()).device)
    return math.sqrt(variance_over_directions(loss, model, batch, draws=DRAWS, seed=SEED))


def named() -> dict[str, Callable[..., ProblemContest]]:
    """The contests on the problems of `sciml.pinns.problems`, by name."""
    return {f"{_PREFIX}{dashed(name)}": partial(_contest, name) for name in problems.__all__}


def _contest(name: str, **arguments: Any) -> ProblemContest:
    return ProblemContest(getattr(problems, name)(**arguments))


def contest_called(name: str) -> ProblemContest | None:
    """The contest of a name with arguments in it, ``pinn/wave(mode=4)``; None if it begins like no other.

    Raises
    ------
    ConfigError
        For arguments that the problem does not take.

    Examples
    --------
    >>> contest_called("pinn/wave(mode=4)").name, contest_called("darcy")
    ('pinn/wave(mode=4)', None)
    """
    head, _, _ = name.partition("(")
    known = {f"{_PREFIX}{dashed(each)}": getattr(problems, each) for each in problems.__all__}
    if (cls := known.get(head.strip())) is None:
        return None
    form = f"{head.strip()}(name=value)"
    call, *more = calls_in(cls.__name__ + name[len(head) :], form)
    if more:
        raise ConfigError(f"{name!r} is not of the form {form}.")
    try:
        return ProblemContest(cls(**call.arguments(cls)))
    except TypeError as error:
        raise ConfigError(f"{name}: {cls.__name__} does not accept this: {error}.") from None
