"""The tool that solves the inverse problems: one row, once."""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from sciml.pinns.networks import MLP
from sciml.pinns.problems import inverse


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "tools" / "pinn_inverse.py"
    spec = importlib.util.spec_from_file_location("pinn_inverse", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_are_made_once(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, part = partial(MLP, width=3, depth=1), (1, {"x": 0.1})
    numbers = tool.Entry(
        lambda seed: inverse.LorenzConstants(6, seed=seed), small, 6, (part, (1, {})), seeds=1
    )
    function = tool.Entry(
        lambda seed: inverse.DiffusionCoefficient(1, 8, seed=seed), small, 6, ((1, {}),), seeds=1
    )
    monkeypatch.setattr(tool, "ENTRIES", {"numbers": numbers, "function": function})
    for _ in range(2):
        tool.main("run", tmp_path, [])
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [(row["name"], row["seed"], row["steps"]) for row in rows] == [
        ("numbers", 0, 2),
        ("function", 0, 1),
    ]
    assert set(rows[0]["found"]) == set(rows[0]["errors"]) == set(rows[0]["standard_errors"])
    assert rows[1]["found"] == {} and rows[1]["standard_errors"]["a"] > 0
    assert sum(" | " in line for line in tool.table(rows)) == 1 + 3 + 1


def test_the_entries_are_problems_with_a_truth(tool: ModuleType) -> None:
    for entry in tool.ENTRIES.values():
        problem = entry.problem(1)
        assert problem.seed == 1 and set(problem.truth) == set(problem.coefficients)
        assert [recipe.steps for recipe in entry.recipes] == [steps for steps, _ in entry.parts]
