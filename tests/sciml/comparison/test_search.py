"""Searches for settings: equal budgets, validation samples alone, resumption, samplers, spaces."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from sciml.comparison import search as module
from sciml.comparison.entry import Entry
from sciml.comparison.isolation import ChildError
from sciml.comparison.rows import Rows, current, untimed
from sciml.comparison.search import SEED, Options, Optuna, Sobol, search, validation_error
from sciml.comparison.spaces import Choice, Log, Space, Whole, space_of
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.operators import FNO, ResNet, UNet

SPACE = Space({"rate": Log(1e-3, 0.3)})
QUIET = Options(say=lambda text: None)


@pytest.fixture
def trained(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Trials run in this process; the list has the name of each function and its unit."""
    calls: list[tuple[str, Any]] = []

    def run(function: Callable[..., Any], unit: Any, *arguments: Any, threads: int) -> Any:
        calls.append((function.__name__, unit))
        try:
            return function(lambda told: None, unit, *arguments)
        except ArithmeticError as error:
            raise ChildError(f"ArithmeticError: {error}") from error

    monkeypatch.setattr(module, "run_isolated", run)
    return calls


def contest_and_entry(tiny: ModuleType, **settings: Any) -> tuple[Any, Any]:
    class Tuned(tiny.Line):
        def changed(self, settings: Mapping[str, Any]) -> Any:
            return dataclasses.replace(self, **settings)

    class Blind(tiny.Lines):
        def judge(self, run: Any) -> Any:
            raise AssertionError("a search looked at the test samples")

    return Blind(), Tuned("line", **settings)


def test_the_winner_has_the_smallest_validation_error(tiny, trained, tmp_path: Path) -> None:
    contest, entry = contest_and_entry(tiny, rate=1e-3)
    found = search(
        contest, entry, trials=6, budget="30steps", rows=Rows(tmp_path), space=SPACE, options=QUIET
    )
    rows = Rows(tmp_path).read()
    assert [row["trial"] for row in rows] == list(range(6))
    assert {row["steps"] for row in rows} == {30} and {row["status"] for row in rows} == {"finished"}
    assert rows[0]["settings"] == {}  # the entry itself takes part
    best = min(rows, key=validation_error)
    assert found.rate == best["settings"]["rate"] and found.name == "line"
    assert validation_error(best) < validation_error(rows[0])
    assert {unit.seed for _, unit in trained} == {SEED}
    # y = 2 x by gradient descent: the larger the rate, up to its limit, the smaller the error.
    stable = [row for row in rows[1:] if row["settings"]["rate"] < 0.25]
    ordered = sorted(stable, key=lambda row: row["settings"]["rate"])
    assert [validation_error(row) for row in ordered] == sorted(map(validation_error, stable), reverse=True)


def test_a_stopped_search_goes_on_to_the_same_rows(tiny, trained, tmp_path: Path) -> None:
    contest, entry = contest_and_entry(tiny)
    whole, parts = Rows(tmp_path / "whole"), Rows(tmp_path / "parts")
    first = search(contest, entry, trials=4, budget=20, rows=whole, space=SPACE, options=QUIET)
    search(contest, entry, trials=2, budget=20, rows=parts, space=SPACE, options=QUIET)
    trained.clear()
    assert search(contest, entry, trials=4, budget=20, rows=parts, space=SPACE, options=QUIET) == first
    assert len(trained) == 2
    assert [untimed(row) for row in parts.read()] == [untimed(row) for row in whole.read()]
    search(contest, entry, trials=4, budget=20, rows=parts, space=SPACE, options=QUIET)
    assert len(trained) == 2
    for other in ({"budget": 21}, {"space": Space({"rate": Log(1e-3, 0.2)})}):
        with pytest.raises(ConfigError, match="of 'line' with other (budget|settings)"):
            search(
                contest, entry, trials=4, rows=parts, options=QUIET, **{"budget": 20, "space": SPACE, **other}
            )


def test_time_becomes_steps_once_for_each_trial(tiny, trained, tmp_path, monkeypatch) -> None:
    contest, entry = contest_and_entry(tiny)
    counts = iter([11, 12])

    def calibrate(tell: Any, unit: Any, budget: Any, device: str, folder: Path) -> dict[str, Any]:
        assert (budget.amount, budget.unit, unit.steps) == (3.0, "seconds", None)
        return {"steps": next(counts), "threads": 1}

    monkeypatch.setattr(module, "calibrate", calibrate)
    rows = Rows(tmp_path)
    search(contest, entry, trials=1, budget="3s", rows=rows, space=SPACE, options=QUIET)
    assert [row["status"] for row in rows.read()] == ["calibrated", "finished"]
    # Stopped between calibration and training: the stored steps count.
    rows.append(rows.read()[0] | {"trial": 1, "steps": 77, "settings": {"rate": sobol_rate()}})
    search(contest, entry, trials=3, budget="3s", rows=rows, space=SPACE, options=QUIET)
    assert [row["steps"] for row in current(rows.read())] == [11, 77, 12]


def sobol_rate() -> float:
    return float(Sobol(SPACE, 0, 8).ask()["rate"])


def test_what_fails_or_diverges_never_wins(tiny, trained, tmp_path: Path) -> None:
    contest, entry = contest_and_entry(tiny)
    space = Space({"trouble": Choice(["raise", "nan"])})
    rows = Rows(tmp_path)
    assert search(contest, entry, trials=5, budget=20, rows=rows, space=space, options=QUIET) == entry
    statuses = Counter(row["status"] for row in rows.read())
    assert statuses == {"finished": 1, "failed": 2, "diverged": 2}
    assert all(row["message"] for row in rows.read()[1:])
    hopeless = dataclasses.replace(entry, name="other", trouble="raise")
    said: list[str] = []
    options = Options(say=said.append)
    assert search(contest, hopeless, trials=2, budget=20, rows=rows, space=space, options=options) == hopeless
    assert "no trial finished" in said[-1]


def test_successive_halving_spends_less_on_what_looks_bad(tiny, trained, tmp_path: Path) -> None:
    contest, entry = contest_and_entry(tiny, rate=1e-3)
    rows, options = Rows(tmp_path), Options(rungs=3, say=lambda text: None)
    found = search(contest, entry, trials=6, budget=40, rows=rows, space=SPACE, options=options)
    listed = rows.read()
    assert [(row["rung"], row["steps"]) for row in listed] == [(0, 10)] * 6 + [(1, 20)] * 3 + [(2, 40)] * 2
    ranked = sorted(listed[:6], key=validation_error)
    assert [row["settings"] for row in listed[6:9]] == [row["settings"] for row in ranked[:3]]
    assert found.rate == min(listed[9:], key=validation_error)["settings"]["rate"]
    with pytest.raises(ConfigError, match=r"2\^\(rungs - 1\) trials at least, got 3 of them and 3 rungs"):
        search(contest, entry, trials=3, rows=rows, space=SPACE, options=options)


def test_without_validation_samples_nothing_is_chosen(tiny, trained, tmp_path, monkeypatch) -> None:
    contest, entry = contest_and_entry(tiny)
    plan = tiny.Lines.plan
    monkeypatch.setattr(
        tiny.Lines, "plan", lambda *a, **k: dataclasses.replace(plan(*a, **k), validation=None)
    )
    with pytest.raises(ConfigError, match="has no validation samples"):
        search(contest, entry, trials=1, budget=20, rows=Rows(tmp_path), space=SPACE, options=QUIET)


def test_sobol_fills_the_space_evenly() -> None:
    space = Space({"a": Whole(0, 7), "b": Choice("wxyz"), "c": Log(1.0, 16.0)})
    drawn = [found for sampler in [Sobol(space, 3)] for found in (sampler.ask() for _ in range(16))]
    assert Counter(found["a"] for found in drawn) == dict.fromkeys(range(8), 2)
    assert Counter(found["b"] for found in drawn) == dict.fromkeys("wxyz", 4)
    assert Counter(math.floor(math.log2(found["c"])) for found in drawn) == dict.fromkeys(range(4), 4)
    again, other = Sobol(space, 3), Sobol(space, 4)
    assert [again.ask() for _ in range(16)] == drawn != [other.ask() for _ in range(16)]


def test_optuna_learns_from_what_it_is_told() -> None:
    pytest.importorskip("optuna")
    space = Space({"x": Log(1e-3, 1e3), "n": Whole(8, 64, 8), "kind": Choice([(1, 2), (1, 2, 2)])})

    def run(seed: int) -> list[dict[str, Any]]:
        sampler, asked = Optuna(space, seed, 40), []
        for number in range(40):
            asked.append(sampler.ask())
            sampler.tell(abs(math.log10(asked[-1]["x"]) - 1) if number != 5 else math.inf)
        return asked

    asked = run(0)
    assert asked == run(0) != run(1)
    assert {found["n"] % 8 for found in asked} == {0} and {f["kind"] for f in asked} <= {(1, 2), (1, 2, 2)}
    distance = np.array([abs(math.log10(found["x"]) - 1) for found in asked])
    assert distance[20:].mean() < 0.6 * distance[:10].mean()


def test_optuna_searches_and_resumes(tiny, trained, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    contest, entry = contest_and_entry(tiny, rate=1e-3)
    options = Options(sampler=Optuna, say=lambda text: None)
    whole, parts = Rows(tmp_path / "whole"), Rows(tmp_path / "parts")
    first = search(contest, entry, trials=8, budget=20, rows=whole, space=SPACE, options=options)
    for row in whole.read()[:5]:
        parts.append(row)
    assert search(contest, entry, trials=8, budget=20, rows=parts, space=SPACE, options=options) == first
    assert [untimed(row) for row in parts.read()] == [untimed(row) for row in whole.read()]


class Suggesting(torch.nn.Module):
    @staticmethod
    def search_space(grid: Grid) -> dict[str, Any]:
        return {"slices": Whole(2, grid.shape[0])}


def test_the_space_of_an_operator_is_what_it_takes(tiny) -> None:
    class OnGrid(tiny.Lines):
        grid = Grid.box((32, 20))

    def names(factory: Any) -> list[str]:
        return list(space_of(Entry("entry", factory), OnGrid()).ranges)

    assert names(FNO) == ["learning_rate", "width", "modes"]
    assert space_of(Entry("fno", FNO), OnGrid()).ranges["modes"] == Whole(4, 10)
    assert names(UNet) == ["learning_rate", "width", "levels"]
    assert names(ResNet) == ["learning_rate", "width"]
    assert names(lambda in_channels: None) == ["learning_rate"]
    assert names(Suggesting) == ["learning_rate", "slices"]
    for factory in (FNO, UNet, ResNet):
        entry = Entry("entry", factory)
        settings = space_of(entry, OnGrid()).at([0.999] * len(names(factory)))
        assert entry.changed(settings).training == {"learning_rate": settings["learning_rate"]}
    with pytest.raises(ConfigError, match="say which settings of 'line' are searched"):
        space_of(tiny.Line("line"), OnGrid())


def test_ranges_reach_their_ends_and_refuse_empty_ones() -> None:
    assert (Log(1e-3, 1e-1).at(0.0), Whole(3, 3).at(0.9), Choice([None]).at(0.5)) == (1e-3, 3, None)
    shares = np.random.default_rng(0).random(4000)
    counts = Counter(Whole(2, 8, 2).at(share) for share in shares)
    assert set(counts) == {2, 4, 6, 8} and min(counts.values()) > 1000 - 5 * math.sqrt(750)
    for wrong in (lambda: Log(0.0, 1.0), lambda: Whole(1, 4, 2), lambda: Choice([]), lambda: Space({})):
        with pytest.raises(ConfigError):
            wrong()
