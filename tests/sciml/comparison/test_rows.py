"""The file of rows: whole lines only, whoever writes and whenever a writer is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sciml.comparison.rows import Rows, current, identity, untimed
from sciml.errors import DataError

UNIT = {
    "kind": "unit",
    "benchmark": "b",
    "fingerprint": "f",
    "entry": "fno",
    "seed": 0,
    "samples": None,
    "steps": 10,
}


def test_rows_come_back_as_they_were_and_gaps_are_null(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "new")
    assert rows.read() == []
    rows.append({**UNIT, "metrics": {"relative_l2": [0.1 + 0.2, float("nan"), float("inf")]}})
    rows.append({**UNIT, "entry": "ünet"})
    first, second = rows.read()
    assert first["metrics"]["relative_l2"] == [0.1 + 0.2, None, None]
    assert second["entry"] == "ünet"
    assert "NaN" not in rows.path.read_text()


def test_a_torn_last_line_is_no_row_and_goes_with_the_next_append(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    for seed in range(3):
        rows.append({**UNIT, "seed": seed})
    whole = rows.path.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for end in range(start, len(whole)):  # killed after any byte of the last line
        rows.path.write_bytes(whole[:end])
        assert [row["seed"] for row in rows.read()] == [0, 1]
        rows.append({**UNIT, "seed": 7})
        assert [row["seed"] for row in rows.read()] == [0, 1, 7]
    rows.path.write_bytes(b'{"kind": "unit", ' + b"x" * 200_000)  # longer than a block, and no whole line
    rows.append(UNIT)
    assert rows.read() == [UNIT]


def test_a_damaged_whole_line_is_named(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    rows.append({"seed": 0})
    with pytest.raises(DataError, match=r"line 1 is no row \(not an object with kind\)"):
        Rows(tmp_path, needs=("kind",)).read()
    with rows.path.open("a") as file:
        file.write("[1, 2]\n")
    with pytest.raises(DataError, match="line 2 is no row"):
        rows.read()


def test_rows_are_found_by_some_of_their_entries(tmp_path: Path) -> None:
    rows = Rows(tmp_path, "other.jsonl")
    for seed, curve in enumerate([[1.0], [2.0], [1.0]]):
        rows.append({"name": "a", "seed": seed, "curve": curve})
    assert [row["seed"] for row in rows.having({"name": "a", "curve": [1.0]})] == [0, 2]
    assert rows.having({"name": "b"}) == [] and rows.having({"absent": None}) == []
    assert len(rows.having({})) == 3 and (tmp_path / "other.jsonl").exists()


def test_processes_append_side_by_side(tmp_path: Path) -> None:
    text = (
        "import sys; from pathlib import Path; from sciml.comparison.rows import Rows\n"
        "for i in range(40): Rows(Path(sys.argv[1])).append({'kind': sys.argv[2], 'i': i, 'long': 'x' * 999})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", text, str(tmp_path), name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    rows = Rows(tmp_path).read()
    for name in "ab":
        assert [row["i"] for row in rows if row["kind"] == name] == list(range(40))


def test_of_two_rows_about_the_same_the_later_counts() -> None:
    failed = {**UNIT, "status": "failed"}
    other = {**UNIT, "seed": 1, "status": "finished"}
    assert current([failed, other, {**UNIT, "status": "finished"}]) == [{**UNIT, "status": "finished"}, other]
    unfit = {**failed, "steps": None}  # failed at its calibration, then it was mended
    assert current([unfit, other, {**UNIT, "status": "finished"}]) == [other, {**UNIT, "status": "finished"}]
    assert current([unfit, other]) == [unfit, other]


def test_identity_tells_budgets_and_numbers_of_samples_apart() -> None:
    rows = [UNIT, {**UNIT, "steps": 11}, {**UNIT, "samples": 100}, {**UNIT, "kind": "calibration"}]
    assert len({identity(row) for row in rows}) == 4
    assert identity({**UNIT, "status": "failed"}) == identity(UNIT)


def test_untimed_rows_keep_all_but_times() -> None:
    history = [{"step": 1, "seconds": 0.5, "loss": 2.0}]
    row = {**UNIT, "train_seconds": 1.0, "alone": True, "history": history}
    assert untimed(row) == {**UNIT, "history": [{"step": 1, "loss": 2.0}]}
    assert json.loads(json.dumps(row))["history"] == history
