"""The tool that solves the inverse problems: one row, once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from sciml.comparison.rows import Rows
from sciml.pinns.networks import MLP
from sciml.pinns.problems import inverse
from sciml.pinns.recipes import INVERSE


@pytest.mark.filterwarnings("ignore:the data do not determine")  # nor does anything, after three steps
def test_rows_are_made_once(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(INVERSE, network=partial(MLP, width=3, depth=1), points=6).scaled(3)
    numbers = tool.Entry(lambda seed: inverse.LorenzConstants(6, seed=seed), seeds=1, recipe=few)
    function = tool.Entry(lambda seed: inverse.DiffusionCoefficient(1, 8, seed=seed), seeds=1, recipe=few)
    monkeypatch.setattr(tool, "ENTRIES", {"numbers": numbers, "function": function})
    kept = Rows(tmp_path)
    for _ in range(2):
        tool.run(kept, [])
    rows = kept.read()
    told = [(row["name"], row["seed"], row["steps"]) for row in rows]
    assert told == [("numbers", 0, 3), ("function", 0, 3)]
    assert set(rows[0]["unknowns"]) == {"sigma", "rho", "beta"}
    assert rows[1]["unknowns"]["a"]["value"] is None and rows[1]["unknowns"]["a"]["standard_error"] > 0
    assert sum(" | " in line for line in tool.table(rows)) == 1 + 3 + 1


def test_the_entries_are_problems_with_a_truth(tool: ModuleType) -> None:
    for entry in tool.ENTRIES.values():
        problem = entry.problem(1)
        assert problem.seed == 1 and set(problem.truth) == set(problem.coefficients)
