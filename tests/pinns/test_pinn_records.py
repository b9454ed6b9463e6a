"""The tool that solves the standard problems: one row, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from sciml.comparison.rows import Rows
from sciml.pinns import problems
from sciml.pinns.recipes import SMALL


def test_rows_are_made_once(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(SMALL, points=50)  # a step of the second stage is fifty iterations
    alone = tool.Entry(problems.Heat(), few.scaled(4), 60.0, 1.0, seeds=1)
    marched = tool.Entry(problems.Heat(), few.scaled(2), 60.0, 1.0, seeds=1, windows=2)
    monkeypatch.setattr(tool, "ENTRIES", {"heat": alone, "heat/rad": marched})
    kept = Rows(tmp_path)
    for _ in range(2):
        tool.run(kept, ["heat", "heat/rad"])
    rows = kept.read()
    assert [(row["name"], row["seed"], row["steps"]) for row in rows] == [("heat", 0, 4), ("heat/rad", 0, 4)]
    assert all(row["relative_l2"] > row["reference_error"] for row in rows)
    lines = tool.table(rows)
    assert sum("heat" in line for line in lines) == 2
