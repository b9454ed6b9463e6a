"""The tool that sets PINNACLE beside other points: equal starts and measurements, rows that are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from sciml.comparison.rows import Rows


def test_all_measure_as_often_and_rows_are_kept(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {name: replace(trial, seconds=1e-3, before=1e-3) for name, trial in tool.TRIALS.items()}
    monkeypatch.setattr(tool, "TRIALS", {name: small[name] for name in ("inverse", "transfer")})
    monkeypatch.setattr(tool, "WAYS", {way: tool.WAYS[way] for way in (tool.CHOOSER, "uniform")})
    monkeypatch.setattr(tool, "SEEDS", 1)
    kept = Rows(tmp_path)
    tool.run(kept, [])
    rows = kept.read()
    assert [(row["name"], row["way"]) for row in rows] == [
        (name, way) for name in ("inverse", "transfer") for way in (tool.CHOOSER, "uniform")
    ]
    # PINNACLE begins with five of the fifteen that the others have, and shares all other points out.
    assert [row["points"]["data_a"] for row in rows[:2]] == [5, 15]
    shared = [sum(n for site, n in row["points"].items() if "data" not in site) for row in rows]
    assert shared[0] == shared[1] and shared[2] == shared[3]
    assert (tmp_path / "starts" / "transfer-0.safetensors").exists()
    monkeypatch.setattr(tool, "solved", None)
    tool.run(kept, [])
    assert kept.read() == rows
    assert tool.wins({0: 1.0, 1: 2.0}, {0: 2.0, 1: 2.0}, "R3") == "R3 1/2"
