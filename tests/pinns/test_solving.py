"""Solving: the loop, its limit of time, and the recipes by name."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Adam

from sciml.errors import ConfigError
from sciml.kernels import FactoredAdam, Hutchinson, d, evaluate
from sciml.optimizers import Polyak, SelfScaledBroyden
from sciml.pinns import Attempt, Box, Dirichlet, Domain, Problem, Recipe, Stage, problems, solve
from sciml.pinns.losses.backward_sde import BackwardSDE
from sciml.pinns.losses.condensed import Condensed
from sciml.pinns.losses.forward_backward import ForwardBackward
from sciml.pinns.networks import MLP
from sciml.pinns.recipes import HIGH_DIM, RECIPES, SMALL, suited
from sciml.pinns.samplers import RAD, Sobol
from sciml.pinns.yardsticks import yardsticks
from sciml.run import Run, RunFolder


class Beam(Problem):
    """u'' = -1 in time, which does nothing: little to judge on."""

    domain = Domain(Box(((0.0, 1.0),)), time=(0.0, 1.0))
    conditions = (Dirichlet(0.0),)
    grid = (9, 3)

    def residual(self, u: Any, x: Tensor) -> Tensor:
        found: Tensor = evaluate(u, x, [d("xx", variables="xt")])[1]
        return found + 1.0

    def exact(self, x: Tensor) -> Tensor:
        return x[:, 0] * (1 - x[:, 0]) / 2


TINY = Recipe(
    network=partial(MLP, width=6, depth=2),
    stages=(
        Stage(partial(Adam, lr=1e-2), 4, Sobol(every=2)),
        Stage(partial(SelfScaledBroyden, iterations=3), 5, RAD(every=2, pool=4)),
    ),
    points=32,
)


def bits(run: Run) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in run.model.parameters()]


def test_a_limit_of_time_ends_with_a_checkpoint_and_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """Every call makes one step, since all take longer than the limit; the last one has no limit."""
    problem = Beam()
    whole = solve(problem, recipe=TINY)
    for stop in range(1, 8):
        run = solve(problem, recipe=TINY, time_limit=1e-9, output=tmp_path / "run")
        assert run.history[-1]["step"] == stop
        record = RunFolder(tmp_path / "run").read()
        assert record is not None and record["status"] == "running"
        torch.manual_seed(stop)
    run = solve(problem, recipe=TINY, output=tmp_path / "run")
    assert bits(run) == bits(whole)
    assert [row["loss"] for row in run.history] == [row["loss"] for row in whole.history]
    assert run.history[-1]["validation"]["relative_l2"] == problem.relative_l2(run.model)


def test_a_limit_that_is_not_reached_changes_nothing() -> None:
    problem = Beam()
    assert bits(solve(problem, recipe=TINY, time_limit=1e9)) == bits(solve(problem, recipe=TINY))
    with pytest.raises(ConfigError, match="positive number of seconds, got 0"):
        solve(problem, recipe=TINY, time_limit=0)


def test_attempts_tell_their_stage_and_their_points() -> None:
    attempt = Attempt(Beam(), TINY, seed=3)
    assert attempt.run.history == [] and not attempt.finished
    told = [attempt.stage(step.number) for step in attempt.steps()]
    assert told == ["Adam"] * 4 + ["SelfScaledBroyden"] * 5
    assert attempt.finished and attempt.points().shape == (32, 2)
    assert bool(attempt.problem.domain.contains(attempt.points()).all())


# Losses that need an equation of their kind have tests of their own.
OWN = (BackwardSDE, Condensed, ForwardBackward)


@pytest.mark.parametrize(
    "name",
    [n for n, r in RECIPES.items() if getattr(r.loss, "func", r.loss) not in OWN],
)
def test_every_recipe_makes_a_step_of_each_stage(name: str) -> None:
    recipe = RECIPES[name]
    made_by = [getattr(stage.optimizer, "func", stage.optimizer) for stage in recipe.stages]
    assert recipe.dtype == torch.float64 or set(made_by) <= {Adam, FactoredAdam, Polyak}  # of first order
    problem = problems.PoissonOfSines(dim=2)
    # What is fitted before the first step belongs to the network.
    network = partial(MLP, width=5, depth=1) if recipe.fit is None else recipe.network
    small = replace(recipe, network=network, points=24, weights={})
    run = solve(problem, recipe=small, steps=len(recipe.stages))
    assert [row["step"] for row in run.history] == list(range(1, len(recipe.stages) + 1))
    assert math.isfinite(problem.relative_l2(run.model))


def test_what_suits_depends_on_the_number_of_coordinates() -> None:
    assert suited(problems.Burgers()) is SMALL
    assert suited(problems.PoissonOfSines(dim=50)) is HIGH_DIM
    small = replace(HIGH_DIM, network=partial(MLP, width=5, depth=1), points=8)
    problem = problems.PoissonOfSines(dim=50)
    run = solve(problem, recipe=small, estimator=Hutchinson(2), steps=2)
    assert run.objective.estimator == Hutchinson(2)  # type: ignore[attr-defined]


def test_yardsticks_end_at_the_first_solver_that_is_as_accurate() -> None:
    problem = problems.Poisson()
    found = list(yardsticks(problem, error=1e-2))
    trivial, classical = ([y for y in found if y.kind == kind] for kind in ("trivial", "classical"))
    assert [y.name for y in trivial] == ["best constant", "best linear network"]
    # sin sin is odd and its ansatz even: no constant helps, and no linear function either.
    assert all(y.error > 0.3 and y.seconds is None for y in trivial)
    assert classical[-1].error <= 1e-2 < classical[-2].error
    assert classical[-2].error / classical[-1].error == pytest.approx(4, rel=0.1)  # order 2
    everything = list(yardsticks(problem))
    assert len(everything) > len(found)
