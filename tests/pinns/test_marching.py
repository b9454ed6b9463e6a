"""Time marching: what is handed over, which network answers when, and that a march resumes to the bit."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.optim import Adam

from sciml.description import describe
from sciml.errors import ConfigError
from sciml.kernels import d, evaluate
from sciml.kernels.jet import jet
from sciml.optimizers import SelfScaledBroyden
from sciml.pinns import (
    Box,
    Coefficient,
    Constrained,
    Dirichlet,
    Domain,
    Initial,
    Problem,
    Recipe,
    Stage,
    march,
    problems,
)
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.marching import March, MarchAttempt, Window, Windows
from sciml.pinns.networks import MLP
from sciml.pinns.problem import Ansatz, residuals
from sciml.pinns.samplers import R3, Sobol
from sciml.pinns.weightings import Causal
from sciml.streams import Streams

NETWORK = partial(MLP, width=8, depth=2)


class Pair(Problem):
    """u' = v, v' = -u on a line that it ignores: u = sin t, v = cos t, from time 1 to 3."""

    domain = Domain(Box(((0.0, 1.0),)), time=(1.0, 3.0))
    outputs = 2
    conditions = (
        Initial(lambda x: torch.sin(x[:, 1]), component=0),
        Initial(lambda x: torch.cos(x[:, 1]), component=1),
    )

    def residual(self, u: Any, x: Tensor) -> dict[str, Tensor]:
        first, slope = evaluate(lambda x: u(x)[:, 0], x, [d("t", variables="xt")])
        second, rate = evaluate(lambda x: u(x)[:, 1], x, [d("t", variables="xt")])
        return {"position": slope - second, "speed": rate + first}

    def exact(self, x: Tensor) -> Tensor:
        return torch.stack([torch.sin(x[:, 1]), torch.cos(x[:, 1])], dim=1)


class BuiltIn(Pair):
    """With its start built in."""

    ansatz = Ansatz(
        ("initial", "initial.2"),
        lift=lambda x: torch.stack([torch.sin(x[:, 1] * 0 + 1.0), torch.cos(x[:, 1] * 0 + 1.0)], dim=1),
        factor=lambda x: x[:, 1:] - 1,
    )


class Growth(Problem):
    """u' = u on a line that it ignores, from 1 at time 1, to 3.  Interrupted after so many calls."""

    domain = Domain(Box(((0.0, 1.0),)), time=(1.0, 3.0))
    conditions = (Initial(1.0),)
    calls: ClassVar[int] = 10**9

    def residual(self, u: Any, x: Tensor) -> Tensor:
        Growth.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        value, rate = evaluate(u, x, [d("t", variables="xt")])
        return rate - value

    def exact(self, x: Tensor) -> Tensor:
        return torch.exp(x[:, 1] - 1)


class GrowthBuiltIn(Growth):
    """With its start built in."""

    ansatz = Ansatz(("initial",), lift=lambda x: 0 * x[:, 1] + 1, factor=lambda x: x[:, 1] - 1)


def networks(problem: Problem, count: int, *, hard: bool = True) -> tuple[list[Constrained], list[float]]:
    """Untrained networks that follow each other, and their times."""
    start, end = problem.domain.time  # type: ignore[misc]
    times = [start + (end - start) * k / count for k in range(count + 1)]
    found: list[Any] = []
    for k in range(count):
        window = Window(problem, (times[k], times[k + 1]), 0.1, found[-1] if found else None)
        found.append(Recipe(network=NETWORK, hard=hard).model(window, k))
    return found, times


def at(problem: Problem, t: float, count: int = 9) -> Tensor:
    x = problem.domain.interior(kronecker, count)
    return torch.cat([x[:, :-1], torch.full_like(x[:, :1], t)], dim=1)


PROBLEMS = [problems.Burgers(), problems.Wave(), problems.AllenCahn(), problems.Convection(), BuiltIn()]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: type(p).__name__)
def test_a_window_starts_where_the_one_before_ends(problem: Problem) -> None:
    """With all derivatives in space, of third order too: nothing is interpolated."""
    models, times = networks(problem, 3)
    for before, after, t in zip(models[:-1], models[1:], times[1:-1], strict=True):
        x = at(problem, t)
        # The lift is subtracted and added again.
        torch.testing.assert_close(after(x), before(x), rtol=1e-13, atol=1e-13)
        along = torch.tensor([1.0, 0.0], dtype=torch.float64)
        for one, other in zip(jet(after, x, along, 3), jet(before, x, along, 3), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-9)


def test_the_rate_is_handed_over_too() -> None:
    models, times = networks(problems.Wave(), 3)
    in_time = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for before, after, t in zip(models[:-1], models[1:], times[1:-1], strict=True):
        x = at(problems.Wave(), t)
        rates = [jet(u, x, in_time, 1)[1] for u in (after, before)]
        assert rates[1].abs().max() > 0.1
        torch.testing.assert_close(rates[0], rates[1], rtol=1e-11, atol=1e-11)


# Allen and Cahn's start has slopes that differ between the ends, and no ansatz makes them equal.
@pytest.mark.parametrize("problem", [*PROBLEMS[:2], PROBLEMS[3]], ids=lambda p: type(p).__name__)
def test_conditions_stay_built_in(problem: Problem) -> None:
    models, times = networks(problem, 3)
    for k, model in enumerate(models):
        window = Window(problem, (times[k], times[k + 1]), 0.1, models[k - 1] if k else None)
        assert set(model.satisfies) >= {c.name for c in problem.conditions if isinstance(c, Initial)}
        for condition in window.conditions:
            rows = condition.rows(window.domain, kronecker, 12)
            # Derivatives of sums of networks, by 1e-11 at most.
            assert condition.residual(model, rows, window.domain).abs().max() < 1e-11


def test_without_an_ansatz_the_loss_asks_for_the_network_before() -> None:
    models, times = networks(problems.Wave(), 2, hard=False)
    window = Window(problems.Wave(), (times[1], times[2]), 0.0, models[0])
    rows = window.domain.start(kronecker, 7)
    assert rows[:, 1].tolist() == [0.5] * 7
    _, initial, rate = window.conditions
    first, speed = jet(models[0], rows, torch.tensor([0.0, 1.0], dtype=torch.float64), 1)
    assert torch.equal(initial.value(rows), first)  # type: ignore[attr-defined]
    assert torch.equal(rate.value(rows), speed)  # type: ignore[attr-defined]
    loss = Recipe(hard=False, points=20).objective(window)
    loss.check(models[1])
    single = rows.float()
    assert initial.value(single).dtype == torch.float32  # type: ignore[attr-defined]
    torch.testing.assert_close(initial.value(single).double(), first, rtol=1e-6, atol=1e-6)  # type: ignore[attr-defined]


def test_each_time_has_its_network() -> None:
    models, times = networks(BuiltIn(), 4)
    whole = Windows(models, times)
    t = torch.tensor([1.0, 1.5, 1.5 + 1e-12, 2.2, 2.5, 3.0, 0.5, 3.5], dtype=torch.float64)
    assert whole.window(t).tolist() == [0, 0, 1, 2, 2, 3, 0, 3]
    x = torch.stack([torch.linspace(0, 1, 8, dtype=torch.float64), t], dim=1)
    expected = torch.stack([models[k](x[i : i + 1])[0] for i, k in enumerate(whole.window(t).tolist())])
    # One row or several: products round differently.
    torch.testing.assert_close(whole(x), expected, rtol=1e-13, atol=1e-14)
    assert whole(x[:0]).shape == (0, 2)


def test_its_residual_is_that_of_its_networks() -> None:
    problem = problems.Burgers()
    models, times = networks(problem, 3)
    whole = Windows(models, times)
    x = problem.domain.interior(kronecker, 40)
    found = residuals(problem, whole, x, coefficients={})["equation"]
    number = whole.window(x[:, 1])
    assert set(number.tolist()) == {0, 1, 2}
    for k, model in enumerate(models):
        own = residuals(problem, model, x[number == k], coefficients={})["equation"]
        torch.testing.assert_close(found[number == k], own, rtol=1e-9, atol=1e-10)


def test_time_never_is_periodic() -> None:
    """Trap: features of which the window is one period force the end to equal the start."""
    problem = problems.Convection()
    models, times = networks(problem, 2)
    assert all(model.coordinates.periodic == (0,) for model in models)
    ends = [models[1].network(models[1].coordinates(at(problem, t))) for t in times[1:]]
    assert (ends[0] - ends[1]).abs().max() > 1e-2


def test_a_window_knows_its_part_of_the_reference() -> None:
    window = Window(problems.Convection(), (0.25, 0.5), 0.1, None)
    known = window.reference()
    assert known.x[:, 1].min() == 0.25 and known.x[:, 1].max() == 0.5
    assert window.relative_l2(problems.Convection().exact) == 0.0
    assert window.domain.time == (0.25, 0.525)
    assert Window(problems.Convection(), (0.5, 1.0), 0.1, None).domain.time == (0.5, 1.0)
    assert not Window(problems.Convection(), (0.001, 0.002), 0.1, None).has_reference
    models, _ = networks(problems.Convection(), 2)
    told = [describe(Window(problems.Convection(), (0.5, 1.0), 0.1, m)) for m in (None, *models)]
    assert told[0] != told[1] != told[2]


SHORT = Recipe(
    network=partial(MLP, width=6, depth=1),
    stages=(
        Stage(partial(Adam, lr=1e-2), 4, R3()),
        Stage(partial(SelfScaledBroyden, iterations=10), 5, Sobol(every=100)),
    ),
    points=20,
    weights={"initial": 100.0},
)


@pytest.mark.parametrize(
    ("problem", "warm"), [(GrowthBuiltIn(), False), pytest.param(Growth(), True, marks=pytest.mark.slow)]
)
def test_it_marches_to_the_solution(problem: Problem, warm: bool) -> None:
    found = march(problem, windows=[1.8], recipe=SHORT, warm=warm)
    assert [run.history[-1]["step"] for run in found.runs] == [9, 9]
    # 8e-3, warm and asked for 1.1e-2, with these few steps; 0.77 for what stays where it starts.
    assert problem.relative_l2(found.model) < 5e-2
    assert all(p.dtype == torch.float64 and not p.requires_grad for p in found.model.parameters())


class Piece(Growth):
    """Growth between two times, from given values."""

    def __init__(self, start: float, end: float, value: Any) -> None:
        self.domain = Domain(Box(((0.0, 1.0),)), time=(start, end))  # type: ignore[misc]
        self.conditions = (Initial(value),)  # type: ignore[misc]


def test_sequence_to_sequence_training_is_a_march_without_overlap() -> None:
    """By hand: a fresh network for each piece, asked for what the frozen one before has at its start."""
    recipe = replace(SHORT, hard=False, stages=SHORT.stages[:1])
    found = march(Growth(), windows=[1.5, 2.0], recipe=recipe, overlap=0.0)
    value: Any = 1.0
    for k, (start, end) in enumerate([(1.0, 1.5), (1.5, 2.0), (2.0, 3.0)]):
        seed = Streams(0).of("window").seed(k)
        piece = Piece(start, end, value)
        model = recipe.model(piece, seed)
        recipe.trainer(seed).fit(model, recipe.objective(piece))
        own = found.model.models[k].parameters()
        assert all(torch.equal(one, other) for one, other in zip(model.parameters(), own, strict=True))
        value = model.requires_grad_(False)


def weights_of(found: March) -> list[bytes]:
    return [p.numpy().tobytes() for p in found.model.parameters()]


def test_interrupted_in_a_window_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    # Few iterations: bits are compared, not errors.
    curved = Stage(partial(SelfScaledBroyden, iterations=2), 4, Sobol(every=100))
    stages = (SHORT.stages[0], curved)
    recipe = replace(SHORT, stages=stages, weighting=Causal((0.1, 1.0), slabs=4))
    problem = GrowthBuiltIn()
    Growth.calls = most = 10**9
    whole = march(problem, windows=2, recipe=recipe, output=tmp_path / "a")
    try:
        Growth.calls = (most - Growth.calls) * 3 // 4
        with pytest.raises(KeyboardInterrupt):
            march(problem, windows=2, recipe=recipe, output=tmp_path / "b")
    finally:
        Growth.calls = most
    first, second = [(tmp_path / "b" / f"window-0{k}" / "metrics.jsonl").read_text() for k in (0, 1)]
    assert first.count("\n") == 8 and 0 < second.count("\n") < 8
    torch.manual_seed(1)
    assert weights_of(march(problem, windows=2, recipe=recipe, output=tmp_path / "b")) == weights_of(whole)
    assert weights_of(march(problem, windows=2, recipe=recipe, output=tmp_path / "a")) == weights_of(whole)


class Unknown(Growth):
    coefficients = {"k": Coefficient()}  # noqa: RUF012


class Walled(Problem):
    """Without time."""

    domain = Domain(Box(((0.0, 1.0),)))
    conditions = (Dirichlet(),)

    def residual(self, u: Any, x: Tensor) -> Tensor:
        return evaluate(u, x, [d("xx")])[1]


def test_a_signal_in_the_last_step_of_a_window_ends_the_march(tmp_path: Path) -> None:
    attempt = MarchAttempt(Growth(), Recipe(network=NETWORK, points=4).scaled(1), windows=3)
    with pytest.raises(KeyboardInterrupt):
        for step in attempt.steps(output=tmp_path):
            if step.row["window"] == 1:
                os.kill(os.getpid(), signal.SIGINT)
    assert len(attempt.runs) == 2 and not attempt.finished


def test_refusals() -> None:
    refused: list[tuple[Problem, dict[str, Any], str]] = [
        (Walled(), {"windows": 2}, "Walled has no time"),
        (Unknown(), {"windows": 2}, "unknown coefficients"),
        (Growth(), {"windows": 0}, "at least one window"),
        (Growth(), {"windows": [2.5, 2.0]}, "must grow and lie inside"),
        (Growth(), {"windows": [3.5]}, "must grow and lie inside"),
        (Growth(), {"windows": 2, "overlap": -0.1}, "must not be negative"),
    ]
    for problem, settings, message in refused:
        with pytest.raises(ConfigError, match=message):
            march(problem, **settings)
