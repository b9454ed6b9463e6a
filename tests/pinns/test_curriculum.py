"""Curriculum training: what goes on from problem to problem, and that a climb resumes to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam

from sciml.errors import ConfigError
from sciml.kernels import d, evaluate
from sciml.pinns import (
    Box,
    Coefficient,
    Domain,
    Initial,
    Problem,
    Recipe,
    Stage,
    climb,
    march,
    problems,
    solve,
)
from sciml.pinns.curriculum import Climb
from sciml.pinns.networks import MLP
from sciml.pinns.problem import Ansatz
from sciml.pinns.recipes import PLAIN
from sciml.pinns.samplers import R3, Sobol, Uniform
from sciml.pinns.weightings import Causal


@dataclass(frozen=True)
class Growth(Problem):
    """u' = rate u on a line that it ignores, from 1 at time 0.  Interrupted after so many calls."""

    rate: float
    domain: ClassVar[Domain] = Domain(Box(((0.0, 1.0),)), time=(0.0, 1.0))
    conditions: ClassVar[tuple[Initial, ...]] = (Initial(1.0),)
    ansatz: ClassVar[Ansatz | None] = Ansatz(
        ("initial",), lift=lambda x: 0 * x[:, 1] + 1, factor=lambda x: x[:, 1]
    )
    calls: ClassVar[int] = 10**9

    def residual(self, u: Any, x: Tensor) -> Tensor:
        Growth.calls -= 1
        if Growth.calls < 0:
            raise KeyboardInterrupt
        value, slope = evaluate(u, x, [d("t", variables="xt")])
        return slope - self.rate * value

    def exact(self, x: Tensor) -> Tensor:
        return torch.exp(self.rate * x[:, 1])


SHORT = Recipe(
    network=partial(MLP, width=6, depth=1),
    stages=(Stage(partial(Adam, lr=1e-2), 4, R3()),),
    points=20,
    weighting=Causal((0.1, 1.0), slabs=4),
)
STEADY = [Growth(0.5), Growth(1.0), Growth(1.5)]


def weights_of(found: Climb) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in found.model.parameters()]


def test_each_problem_begins_with_the_weights_of_the_one_before(tmp_path: Path) -> None:
    """With steps of length zero the last network is the first one's."""
    still = replace(SHORT, stages=(Stage(partial(SGD, lr=0.0), 1, Uniform()),))
    found = climb(STEADY, recipe=[SHORT, still, still], output=tmp_path)
    alone = climb(STEADY[:1], recipe=SHORT)
    assert weights_of(found) == weights_of(alone)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["stage-00", "stage-01", "stage-02"]
    first, _, last = [run.history[-1]["validation"]["relative_l2"] for run in found.runs]
    assert last == pytest.approx(STEADY[2].relative_l2(alone.model)) != pytest.approx(first)


def test_interrupted_in_a_stage_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    Growth.calls = most = 10**9
    whole = climb(STEADY, recipe=SHORT, output=tmp_path / "a")
    try:
        Growth.calls = (most - Growth.calls) // 2
        with pytest.raises(KeyboardInterrupt):
            climb(STEADY, recipe=SHORT, output=tmp_path / "b")
    finally:
        Growth.calls = most
    rows = [(tmp_path / "b" / f"stage-0{k}" / "metrics.jsonl").read_text().count("\n") for k in (0, 1)]
    assert rows[0] == 4 and 0 < rows[1] < 4
    torch.manual_seed(1)
    assert weights_of(climb(STEADY, recipe=SHORT, output=tmp_path / "b")) == weights_of(whole)
    assert weights_of(climb(STEADY, recipe=SHORT, output=tmp_path / "a")) == weights_of(whole)


@dataclass(frozen=True)
class Unknown(Growth):
    coefficients: ClassVar[Mapping[str, Coefficient]] = {"k": Coefficient()}

    def residual(self, u: Any, x: Tensor, coefficients: Mapping[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().residual(u, x) - coefficients["k"]


def test_unknown_coefficients_go_on() -> None:
    still = replace(SHORT, stages=(Stage(partial(SGD, lr=0.0), 1, Uniform()),), weighting=Recipe().weighting)
    moving = replace(still, stages=(Stage(partial(SGD, lr=0.1), 1, Uniform()),))
    found = climb([Unknown(1.0), Unknown(2.0)], recipe=[moving, still])
    first, second = [float(run.objective.coefficients["k"].detach()) for run in found.runs]  # type: ignore[attr-defined]
    assert first == second != 1.0


def test_refusals() -> None:
    refused: list[tuple[list[Problem], Any, str]] = [
        ([], SHORT, "needs at least one problem"),
        (STEADY, [SHORT], "3 problems take one recipe or as many, got 1"),
        (STEADY[:2], [SHORT, replace(SHORT, network=partial(MLP, width=7, depth=1))], "of problem 1 are not"),
        ([STEADY[0], Unknown(1.0)], SHORT, "of problem 1 are not"),
    ]
    for given, recipe, message in refused:
        with pytest.raises(ConfigError, match=message):
            climb(given, recipe=recipe)


@pytest.mark.slow
def test_a_reaction_that_is_not_learned_at_once_is_learned_step_by_step() -> None:
    """The acceptance problem: the same network, points and optimizer, and 1000 steps altogether.

    Errors are 0.99 at once (the network stays at zero), 0.57 from window to window and 0.091 by climbing.
    """
    adam = Stage(partial(Adam, lr=3e-3), 1000, Sobol(every=10**9))
    whole = replace(PLAIN, network=partial(MLP, width=20, depth=2), points=300, stages=(adam,))
    part, problem = whole.scaled(200), problems.Reaction(5.0)
    alone = solve(problem, recipe=whole).model
    marched = march(problem, windows=5, recipe=part, overlap=0.0).model
    climbed = climb([problems.Reaction(float(rate)) for rate in range(1, 6)], recipe=part).model
    assert problem.relative_l2(climbed) < 0.2 < problem.relative_l2(marched) < 0.8
    assert problem.relative_l2(alone) > 0.9
