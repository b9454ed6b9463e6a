"""The tool that solves the standard problems: one row, once."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from sciml.comparison.rows import Rows
from sciml.pinns import Recipe, problems


def test_rows_are_made_once(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = Recipe(points=20)
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


def test_the_command_line_of_tools(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def called(*arguments: str) -> list[object]:
        found: list[object] = []
        monkeypatch.setattr("sys.argv", ["tool", *arguments])
        tool.main(
            "How it is called.",
            ["heat", "wave"],
            lambda rows, names: found.extend([rows.path, names]),
            lambda rows: [f"{len(rows)} rows"],
        )
        return found

    assert called("run", str(tmp_path), "wave") == [tmp_path / "rows.jsonl", ["wave"]]
    assert called("table", str(tmp_path)) == [] and capsys.readouterr().out == "0 rows\n"
    for wrong in (["run"], ["walk", "f"], ["run", "f", "ware"]):
        with pytest.raises(SystemExit, match="(?s)How it is called.*names: heat, wave"):
            called(*wrong)


def test_a_march_tells_where_it_was_lost(tool: ModuleType) -> None:
    fine = [{"step": 1}, {"step": 2, "validation": {"relative_l2": 0.2}}]
    late = [{"step": 1, "validation": {"relative_l2": 3.0}}, {"step": 2, "validation": {"relative_l2": 0.2}}]
    gone = [{"step": 1, "validation": {"relative_l2": 0.2}}, {"step": 2, "validation": {"relative_l2": 3.0}}]
    nowhere = [{"step": 1, "validation": {"relative_l2": float("nan")}}]
    unknown = [{"step": 1, "validation": {"loss": 3.0}}]
    assert tool.lost([fine, unknown, late]) is None
    assert tool.lost([fine, gone, fine]) == tool.lost([unknown, nowhere]) == 2
