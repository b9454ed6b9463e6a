"""Budgets as people write them, and how time becomes steps: on a clock that the test turns."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sciml.checkpoints import Checkpoints
from sciml.comparison.budget import Budget
from sciml.comparison.calibration import Cost, calibrate
from sciml.comparison.unit import Unit
from sciml.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("40s", 40.0, "seconds"),
        ("10m", 600.0, "seconds"),
        ("1.5h", 5400.0, "seconds"),
        ("5000steps", 5000.0, "steps"),
        ("1 step", 1.0, "steps"),
        (300, 300.0, "steps"),
        ("2e15flops", 2e15, "flops"),
        (" 2E15 FLOPs ", 2e15, "flops"),
    ],
)
def test_budgets_read_as_written(text: str | int, amount: float, unit: Any) -> None:
    budget = Budget.parse(text)
    assert budget == Budget(amount, unit)
    assert Budget.parse(str(budget)) == budget


@pytest.mark.parametrize(
    "text", ["", "40", "40 parsecs", "s", "-3s", "0s", "1.5steps", "1e400s", "nans", True]
)
def test_other_budgets_are_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match="budget"):
        Budget.parse(text)


def test_steps_spend_the_budget_and_no_more() -> None:
    for cost in (Cost(0.1, 1.0, 0.5, 50), Cost(0.01, 0.3, 2.0), Cost(3.0, 5.0, 1.0), Cost(1e-4, 0.0, 0.0)):
        for seconds in (20.0, 40.0, 3600.0):
            steps, every = cost.course(seconds)
            if steps > 1:
                assert cost.seconds(steps, every) <= seconds
            # One more step, and the validation that it may bring, is too much.
            if steps > 1:
                assert cost.seconds(steps + 1, every) + cost.validation > seconds
    assert Cost(10.0, 0.0, 0.0).course(1.0) == (1, 1)


class Clock:
    """Seconds that pass only where the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timed(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> type:
    """A contest whose steps take 10 ms, 30 ms in the second half, whose first takes 0.5 s more, validations
    200 ms and checkpoints 50 ms."""
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    save = Checkpoints.save

    def slow_save(self: Checkpoints, *arguments: Any) -> Any:
        clock.now += 0.05
        return save(self, *arguments)

    monkeypatch.setattr(Checkpoints, "save", slow_save)

    class Timed(tiny.Lines):  # type: ignore[name-defined, misc]
        drawn = 0

        def plan(self, entry: Any, *, seed: int, steps: int, **others: Any) -> Any:
            plan = super().plan(entry, seed=seed, steps=steps, **others)
            draw, evaluate = plan.objective.draw, plan.validation.evaluate

            def slow_draw(step: int, *arguments: Any) -> Any:
                clock.now += 0.01 if step < steps // 2 else 0.03
                clock.now += 0.0 if Timed.drawn else 0.5
                Timed.drawn += 1
                return draw(step, *arguments)

            def slow_evaluate(*arguments: Any) -> Any:
                clock.now += 0.2
                return evaluate(*arguments)

            plan.objective.draw, plan.objective.evaluate = slow_draw, slow_evaluate
            return dataclasses.replace(plan, every=50)

    return Timed


def test_calibrated_steps_take_the_budget(timed: Any, tiny: ModuleType, tmp_path: Path) -> None:
    unit = Unit(timed(), tiny.Line("line", rate=0.01), 0, None, None)
    row = calibrate(lambda told: None, unit, Budget.parse("60s"), "cpu", tmp_path)
    assert row["seconds_per_step"] == pytest.approx(0.02, rel=1e-6)
    timed.drawn = 0
    plan = unit.contest.plan(unit.entry, seed=3, steps=row["steps"])
    run = plan.trainer.fit(
        plan.model, plan.objective, validation=plan.validation, every=plan.every, output=tmp_path / "run"
    )
    # The clock counts nothing but what the contest says: what is left is rounding to whole steps, the last
    # checkpoint, which the training does not count, and the draws of validations.
    assert run.seconds == pytest.approx(row["seconds_predicted"], rel=0.01)
    assert run.seconds == pytest.approx(60.0, rel=0.01)
    assert list(tmp_path.glob(".calibration*")) == []


def test_flops_become_steps(tiny: ModuleType, tmp_path: Path) -> None:
    unit = Unit(tiny.Lines(), tiny.Line("line"), 0, None, None)
    row = calibrate(lambda told: None, unit, Budget.parse("1e6flops"), "cpu", tmp_path)
    # x (8, 1) times the weight (1, 1), forward, and x^T times the gradient, backward: 2 * 8 operations each.
    assert row["flops_per_step"] == 32
    assert row["steps"] == 1_000_000 // 32
