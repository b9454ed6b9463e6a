"""The tool that solves the standard problems: one row, once."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from sciml.pinns import problems
from sciml.pinns.recipes import SMALL


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "tools" / "pinn_records.py"
    spec = importlib.util.spec_from_file_location("pinn_records", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_are_made_once(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(SMALL, points=50)  # a step of the second stage is fifty iterations
    alone = tool.Entry(problems.Heat(), few.scaled(4), 60.0, 1.0, seeds=1)
    marched = tool.Entry(problems.Heat(), few.scaled(2), 60.0, 1.0, seeds=1, windows=2)
    monkeypatch.setattr(tool, "ENTRIES", {"heat": alone, "heat/rad": marched})
    for _ in range(2):
        tool.main("run", tmp_path, ["heat", "heat/rad"])
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [(row["name"], row["seed"], row["steps"]) for row in rows] == [("heat", 0, 4), ("heat/rad", 0, 4)]
    assert all(row["relative_l2"] > row["reference_error"] for row in rows)
    lines = tool.table(rows)
    assert sum("heat" in line for line in lines) == 2
