"""The tool that sets methods beside baselines: claims can be trained, the table says what the rows say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch.optim import SGD

from sciml.comparison.rows import Rows
from sciml.description import describe
from sciml.pinns import Attempt, Stage


def test_method_and_baseline_differ_on_a_problem_that_is_known(tool: ModuleType) -> None:
    for name, claim in tool.CLAIMS.items():
        told = [json.dumps(describe(recipe)) for recipe in (claim.recipe, claim.baseline)]
        # Windows and ladders are the difference.
        assert told[0] != told[1] or claim.windows > 1 or claim.ladder, name
        assert claim.problem.has_reference and claim.recipe.dtype == claim.baseline.dtype, name
        assert claim.recipe.points == claim.baseline.points, name


@pytest.mark.slow
def test_every_claim_trains(tool: ModuleType) -> None:
    """Few steps on few points bring the loss down, with the network of the recipe, whole."""
    for name, claim in tool.CLAIMS.items():
        for recipe in (claim.recipe, claim.baseline):
            small = replace(recipe, points=343).scaled(12)
            rows = [step.row for step in Attempt(claim.problem, small).steps()]
            assert math.isfinite(rows[-1]["loss"]) and min(r["loss"] for r in rows[1:]) < rows[0]["loss"], (
                name
            )


def row(name: str, way: str, seed: int, error: float | None) -> dict[str, Any]:
    fixed = {"problem": "P", "seconds": 2.0, "steps": 3, "parameters": 4}
    return {"name": name, "way": way, "seed": seed, "relative_l2": error, **fixed}


def test_the_table_pairs_seeds(tool: ModuleType) -> None:
    """The ratio is a geometric mean: of 1/2 and 1/8 it is 1/4; a seed without its partner does not count."""
    rows = [row("rar", w, s, e) for w, s, e in [("method", 0, 0.1), ("baseline", 0, 0.2), ("method", 1, 0.1)]]
    rows += [row("rar", "baseline", 1, 0.8), row("rar", "method", 2, 0.5)]
    found = tool.table(rows)[-1].split("|")
    assert [cell.strip() for cell in found[1:-1]] == [
        "rar",
        "P",
        "0.1, 0.1",
        "0.2, 0.8",
        "0.25",
        "2",
        "confirmed",
    ]
    rows += [row("rad", "method", 0, 0.1), row("rad", "baseline", 0, None)]  # which diverged
    assert tool.table(rows)[-1].endswith("| 0.1 | inf | 0 | 2 | confirmed |")
    assert tool.verdict([1.0, 2.0]) == "not confirmed" and tool.verdict([0.9, 1.1]) == "undecided"


def test_rows_that_are_there_are_not_run_again(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = replace(
        tool.CLAIMS["natural-gradient"],
        recipe=replace(tool.CLAIMS["natural-gradient"].baseline, points=20),
        baseline=replace(tool.CLAIMS["natural-gradient"].baseline, points=10),
        seconds=0.02,
    )
    monkeypatch.setattr(tool, "CLAIMS", {"small": claim, "as small": claim})
    monkeypatch.setattr(tool, "SEEDS", 1)
    kept = Rows(tmp_path)
    tool.run(kept, [])
    rows = kept.read()
    assert [r["way"] for r in rows] == ["method", "baseline"] * 2 and rows[1]["seconds"] >= 0.02
    # Both are set beside one training.
    assert {k: v for k, v in rows[1].items() if k != "name"} == {
        k: v for k, v in rows[3].items() if k != "name"
    }
    monkeypatch.setattr(tool, "trained", None)
    tool.run(kept, ["small"])
    assert kept.read() == rows


def test_a_training_that_diverges_has_an_infinite_error(tool: ModuleType) -> None:
    claim = tool.CLAIMS["natural-gradient"]
    wild = replace(claim.baseline, points=10, stages=(Stage(partial(SGD, lr=1e30), 5),))
    found = tool.trained(claim.problem, wild, 60.0, 0)
    assert found["relative_l2"] == math.inf and found["seconds"] < 60
