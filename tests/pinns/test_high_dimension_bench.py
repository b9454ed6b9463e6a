"""The tool that measures many dimensions: one row, once."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sciml.comparison.rows import Rows
from sciml.kernels.bench.harness import Missing


@pytest.fixture(autouse=True)
def elsewhere(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and runs."""
    monkeypatch.setattr(tool, "ROWS", Rows(tmp_path))
    monkeypatch.setattr(tool, "RUNS", tmp_path / "runs")


def answer(*arguments: object, **_: object) -> dict[str, Any]:
    """What `sciml solve --json` says, without the minutes."""
    assert "--dim" in arguments and "--time-limit" in arguments
    return {
        "relative_l2": 2e-3,
        "yardsticks": [
            {"name": "best constant", "kind": "trivial", "error": 4e-2},
            {"name": "best linear network", "kind": "trivial", "error": 8e-3},
        ],
        "recipe": "high-dim",
        "estimator": "SparseDirections(16)",
        "steps": 5,
        "finished": False,
        "judged_on": None,
        "seconds": 1.0,
        "steps_per_second": 5.0,
        "peak_memory_bytes": 2**20,
    }


def test_rows_are_made_once(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise Missing("JAX is not installed")

    monkeypatch.setattr(tool, "solved", answer)
    monkeypatch.setattr(tool, "started", missing)
    for _ in range(2):
        tool.main(["speed", "1000"])
        tool.main(["accuracy", "sine-gordon/two-body/100", "sine-gordon/hidden/100", "--seeds", "0", "1"])
    rows = tool.ROWS.read()
    assert [row["kind"] for row in rows] == ["speed", *["accuracy"] * 4]
    assert rows[0]["jax"] is None and rows[0]["steps_per_second"] == 5.0
    # 2e-3 is below 3e-3 and half of 8e-3, but not below a tenth of it.
    assert [row["passed"] for row in rows[1:]] == [True, True, False, False]
    assert all(row["processor_seconds"] == 0 for row in rows[1:])  # no program was started
    told = "\n".join(tool.tables())
    assert "| 1,000 | 5 | - | - | 2.0 |" in told and "| 2 of 2 |" in told and "| 0 of 2 |" in told


def test_what_is_aimed_at(tool: ModuleType) -> None:
    row = {"error": 3.9e-3, "linear": 8e-3, "constant": 4e-2}
    bars = {"two-body/100": False, "two-body/1000": True, "three-body/100": True, "hidden/100000": None}
    assert {name: tool.ENTRIES[f"sine-gordon/{name}"].passed(row) for name in bars} == bars
    with pytest.raises(SystemExit):
        tool.main(["accuracy", "sine-gordon/two-body/7"])


@pytest.mark.slow
def test_the_command_line_answers_what_the_rows_need(tool: ModuleType) -> None:
    entry = tool.Entry("sine-gordon", "hidden", 30, of_linear=0.1)
    tool.accuracy(entry, 0, 0.01)
    assert tool.ROWS.read()[0]["name"] == "sine-gordon/hidden/30" and tool.ROWS.read()[0]["passed"] is False
