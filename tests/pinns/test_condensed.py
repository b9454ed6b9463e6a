"""Residuals at points of which few numbers are kept: those of whole points, and how points come and go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from sciml.errors import ConfigError
from sciml.objective import Batch
from sciml.pinns import Attempt, Residual, fit_directions, problems
from sciml.pinns.losses import Condensed
from sciml.pinns.networks import MLP, Projected
from sciml.pinns.recipes import HIGH_DIM, RECIPES, RIDGE, SMALL, suited
from sciml.streams import Streams

PROBLEM = problems.SineGordon(dim=40, interaction="hidden")
NETWORK = partial(Projected, directions=10, network=partial(MLP, width=6, depth=2))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    model = PROBLEM.build(NETWORK).double()
    fit_directions(model, PROBLEM, points=4000)
    return model


@pytest.mark.parametrize("equation", [problems.SineGordon, problems.AllenCahnInBall, problems.PoissonInBall])
def test_residuals_and_gradients_are_those_of_whole_points(model: nn.Module, equation: type) -> None:
    problem = equation(dim=40, interaction="hidden")
    loss, whole = Condensed(problem, points=7), Residual(problem, points=7)
    x = whole.draw(0, model, Streams(3))["equation/rows"]
    rows = loss._condensed(model.network, x)  # type: ignore[arg-type]
    found = [
        objective.terms(model, Batch({"equation/rows": points, "seed": torch.tensor([0])}))
        for objective, points in ((loss, rows), (whole, x))
    ]
    one, other = (terms["equation"] for terms in found)
    # Sums of a thousand terms, rounded to 1e-16 of the largest.
    torch.testing.assert_close(
        one.values, other.values, rtol=1e-11, atol=1e-11 * float(other.values.detach().norm())
    )
    slopes = [torch.autograd.grad(term.mean(), list(model.parameters())) for term in (one, other)]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * float(b.norm()))


def test_points_are_made_piece_by_piece_and_the_last_ones_are_kept(model: nn.Module) -> None:
    loss = Condensed(PROBLEM, points=20, kept=50, numbers=200)
    seen = []
    for step in range(12):
        rows = loss.draw(step, model, Streams(0))["equation/rows"]
        kept = loss.state_dict()["points"]["equation"]["rows"]
        assert rows.shape == (20, 12) and len(kept) == min(50, 20 + 5 * step)
        assert bool((rows[:, None] == kept).all(2).any(1).all())
        seen.append(kept)
    assert torch.equal(seen[-1][:45], seen[-2][5:])
    assert len(torch.unique(torch.cat(seen), dim=0)) == 20 + 5 * 11


def test_a_state_draws_what_would_have_been_drawn(model: nn.Module) -> None:
    loss, again = Condensed(PROBLEM, points=5, numbers=80), Condensed(PROBLEM, points=5, numbers=80)
    again.load_state_dict(again.state_dict())
    for step in range(3):
        loss.draw(step, model, Streams(1))
    again.load_state_dict(loss.state_dict())
    for step in range(3, 6):
        one, other = (objective.draw(step, model, Streams(1)) for objective in (loss, again))
        assert torch.equal(one["equation/rows"], other["equation/rows"])


def test_a_run_that_was_left_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    recipe = replace(
        RIDGE,
        network=NETWORK,
        points=20,
        loss=partial(Condensed, numbers=200),
        fit=partial(fit_directions, points=4000),
    ).scaled(6)
    whole, left, again = (Attempt(PROBLEM, recipe) for _ in range(3))
    for _ in whole.steps(every=2):
        pass
    for step in left.steps(every=2, output=tmp_path / "run"):
        if step.number == 3:
            break
    assert [step.number for step in again.steps(every=2, output=tmp_path / "run")] == [3, 4, 5, 6]
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])


def test_the_recipe_finds_what_no_linear_function_does() -> None:
    """The best linear network leaves 0.55."""
    network = partial(Projected, network=partial(MLP, width=24, depth=2))
    attempt = Attempt(PROBLEM, replace(RIDGE, network=network, points=150).scaled(120))
    for _ in attempt.steps(every=120):
        pass
    assert PROBLEM.relative_l2(attempt.model, points=2000) < 0.5


@pytest.mark.slow  # half a minute
def test_the_error_does_not_depend_on_the_dimension() -> None:
    """What is left of the direction's errors gets smaller, and the rest is the same problem."""
    errors = []
    for dim in (100, 10_000):
        problem = problems.SineGordon(dim=dim, interaction="hidden")
        attempt = Attempt(problem, RIDGE.scaled(600))
        for _ in attempt.steps(every=600):
            pass
        errors.append(problem.relative_l2(attempt.model, points=400))
    # Two samples of 400 points, and two runs.
    assert max(errors) < 0.25 and errors[1] < 1.5 * errors[0]


def test_problems_of_ten_directions_are_solved_by_it() -> None:
    for dim, recipe in ((20, SMALL), (21, RIDGE), (1_000_000, RIDGE)):
        assert suited(problems.SineGordon(dim=dim, interaction="hidden")) is recipe
    assert suited(PROBLEM) is RECIPES["ridge"] and suited(PROBLEM, estimated=True) is HIGH_DIM


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Condensed(problems.Poisson()), "needs a BallProblem, got Poisson; take the loss Residual"),
        (lambda: Condensed(PROBLEM, points=9, kept=8), "kept at least points, got 9, 131072 and 8"),
        (lambda: Condensed(PROBLEM, numbers=0), "numbers must be at least 1"),
        (lambda: Condensed(PROBLEM).check(PROBLEM.build(MLP)), "of a Projected network, conditions built in"),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()
