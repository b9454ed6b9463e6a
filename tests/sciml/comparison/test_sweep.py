"""Sweeps: what a kill leaves, what a crash costs, who does what, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import sciml
from sciml.comparison.budget import Budget
from sciml.comparison.comparison import Comparison, compare
from sciml.comparison.contest import Judgement, Reference
from sciml.comparison.entry import Entry
from sciml.comparison.isolation import ChildError, run_isolated
from sciml.comparison.presence import Presence
from sciml.comparison.rows import Rows, current, untimed
from sciml.comparison.sweep import Sweep
from sciml.datasets.darcy import Darcy
from sciml.errors import ConfigError
from sciml.files import claimed
from sciml.operators.fno import FNO

QUIET: Any = lambda text: None  # noqa: E731

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tiny_contest import Line, Lines
from sciml.comparison.budget import Budget
from sciml.comparison.sweep import Sweep
entries = [Line("bad", 0.03, "kill the sweep", Path({mark!r}))]
Sweep([Lines()], entries, [0], Budget(20, "steps"), Path({folder!r}), threads=1).run()
"""


def sweep(tiny: ModuleType, folder: Path, *, entries: Any = None, **others: Any) -> Sweep:
    """Two entries, two seeds, 20 steps."""
    listed = entries or [tiny.Line("good", 0.02), tiny.Line("bad", 0.03)]
    settings = {"seeds": [0, 1], "budget": Budget(20, "steps"), "threads": 1, "say": QUIET, **others}
    return Sweep([tiny.Lines()], listed, folder=folder, **settings)


def results(rows: list[dict[str, Any]], *without: str) -> list[dict[str, Any]]:
    """Rows without times, in an order of their own."""
    found = [{k: v for k, v in untimed(row).items() if k not in without} for row in current(rows)]
    return sorted(found, key=repr)


def test_all_units_get_rows_and_a_second_call_does_nothing(
    tiny: ModuleType, inline: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    rows = sweep(tiny, tmp_path).run()
    units = [row for row in rows if row["kind"] == "unit"]
    assert [(row["seed"], row["entry"]) for row in units] == [
        (0, "good"),
        (0, "bad"),
        (1, "good"),
        (1, "bad"),
    ]
    first = units[0]
    assert first["status"] == "finished" and first["parameters"] == 1 and first["alone"] is True
    assert first["metrics"]["relative_l2"][2] is None  # not finite
    assert first["flops_per_step"] == 32 and first["memory_bytes"] == 8
    assert [row["step"] for row in first["history"]] == list(range(1, 21))
    assert "validation" in first["history"][4]
    zero, exact = (row for row in rows if row["kind"] == "reference")
    assert [zero["name"], exact["name"]] == ["zero", "exact"]
    assert zero["metrics"] == {"relative_l2": [1.0, 1.0, 1.0]} and zero["means"] == {"rmse": 3.0}
    assert not list(tmp_path.glob("units/*/*/checkpoints"))
    inline.clear()
    assert sweep(tiny, tmp_path).run() == rows
    assert inline == []


def test_a_sweep_killed_in_mid_unit_ends_with_the_same_bits(
    tiny: ModuleType, inline: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    settings = {"tests": str(Path(__file__).parent), "mark": str(tmp_path / "mark")}
    script = textwrap.dedent(SCRIPT).format(folder=str(tmp_path / "killed"), **settings)
    killed = subprocess.run([sys.executable, "-c", script], timeout=120, stdout=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    assert [row["kind"] for row in Rows(tmp_path / "killed").read()] == ["benchmark"]
    # The child outlives the sweep by a checkpoint, and holds the run until that is written.
    entries = [tiny.Line("bad", 0.03)]
    resumed = sweep(tiny, tmp_path / "killed", entries=entries, seeds=[0]).run()
    assert 19 in tiny.Fit.drawn and 9 not in tiny.Fit.drawn  # it went on, and did not start anew
    unbroken = sweep(tiny, tmp_path / "unbroken", entries=entries, seeds=[0]).run()
    assert len(unbroken) == 4
    assert results(resumed) == results(unbroken)


def test_a_sweep_stopped_between_units_ends_with_the_same_rows(
    tiny: ModuleType, inline: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    class Stop(BaseException):
        pass

    def stop(text: str) -> None:
        if "relative L2" in text:
            raise Stop

    for _ in range(4):  # after each unit, whose row is written
        with pytest.raises(Stop):
            sweep(tiny, tmp_path / "stopped", say=stop).run()
    resumed = sweep(tiny, tmp_path / "stopped").run()
    assert results(resumed) == results(sweep(tiny, tmp_path / "unbroken").run())
    assert len(resumed) == 7  # nothing was done twice


@pytest.mark.parametrize(("trouble", "status"), [("raise", "failed"), ("nan", "diverged")])
def test_a_crash_costs_one_unit(
    tiny: ModuleType, inline: list[tuple[Any, ...]], tmp_path: Path, trouble: str, status: str
) -> None:
    entries = [tiny.Line("bad", 0.03, trouble), tiny.Line("good", 0.02)]
    rows = sweep(tiny, tmp_path, entries=entries, seeds=[0]).run()
    bad, good = (row for row in rows if row["kind"] == "unit")
    assert (bad["status"], good["status"]) == (status, "finished")
    assert ("ArithmeticError: the entry stumbles" if trouble == "raise" else "the loss is nan") in bad[
        "message"
    ]
    assert "metrics" not in bad
    found = Comparison(current(rows), tmp_path)
    assert found.failures == [bad]
    # A second call tries what failed again, mended or not; what diverged is a result.
    inline.clear()
    entries[0] = tiny.Line("bad", 0.03)
    again = sweep(tiny, tmp_path, entries=entries, seeds=[0]).run()
    assert [call[0] for call in inline] == (["run_unit"] if trouble == "raise" else [])
    assert Comparison(current(again), tmp_path).failures == ([] if trouble == "raise" else [bad])


def test_whatever_ends_a_child_is_told() -> None:
    def leave(tell: Any) -> None:
        os._exit(3)

    def die(tell: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def fail(tell: Any) -> None:
        tell({"said": 1})
        print("not an answer")
        raise ValueError("no\nsuch thing")

    heard: list[Any] = []
    with pytest.raises(ChildError, match="status 3 before it had an answer"):
        run_isolated(leave, threads=1)
    with pytest.raises(ChildError, match="ended by SIGKILL.*memory"):
        run_isolated(die, threads=1)
    with pytest.raises(ChildError, match="^ValueError: no such thing$"):
        run_isolated(fail, threads=1, heard=heard.append)
    assert heard == [{"said": 1}]
    environment = run_isolated(lambda tell: [os.environ["OMP_NUM_THREADS"], "RANK" in os.environ], threads=3)
    assert environment == ["3", False]


def test_a_child_that_dies_costs_one_unit(
    tiny: ModuleType, inline: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sciml.comparison.sweep as module

    answered = module.run_isolated

    def run(function: Any, *arguments: Any, **others: Any) -> Any:
        if function.__name__ == "run_unit" and arguments[0].entry.name == "bad":
            raise ChildError("the process was ended by SIGKILL")
        return answered(function, *arguments, **others)

    monkeypatch.setattr(module, "run_isolated", run)
    rows = sweep(tiny, tmp_path, seeds=[0]).run()
    states = {row["entry"]: (row["status"], row.get("message")) for row in rows if row["kind"] == "unit"}
    assert states["bad"] == ("failed", "the process was ended by SIGKILL")
    assert states["good"][0] == "finished"


def test_an_entry_that_fails_at_its_calibration_costs_its_units(
    tiny: ModuleType, inline: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calibrated(tell: Any, unit: Any, *_: Any) -> dict[str, Any]:
        if unit.entry.name == "bad":
            raise ChildError("RuntimeError: shapes")
        return {"threads": 1, "steps": 7}

    monkeypatch.setattr("sciml.comparison.sweep.calibrate", calibrated)
    timed = partial(sweep, tiny, tmp_path, seeds=[0], budget=Budget.parse("3s"))
    rows = timed().run()
    units = {row["entry"]: row for row in rows if row["kind"] == "unit"}
    assert (units["bad"]["status"], units["bad"]["message"]) == ("failed", "RuntimeError: shapes")
    assert units["good"]["steps"] == 7
    (calibration,) = (row for row in rows if row["kind"] == "calibration")
    assert calibration["budget"] == "3s" and calibration["machine"]["cores"] >= 1
    # A later call takes the stored steps.
    monkeypatch.setattr("sciml.comparison.sweep.calibrate", lambda *_: {"threads": 1, "steps": 9})
    units = {row["entry"]: row for row in current(timed().run()) if row["kind"] == "unit"}
    assert (units["good"]["steps"], units["bad"]["steps"], units["bad"]["status"]) == (7, 9, "finished")
    # Unless they were measured with other settings, and nothing was trained to the end with those.
    for steps, entry in ((20, tiny.Line("new", 0.02, "raise")), (11, tiny.Line("new", 0.04))):
        answer = {"threads": 1, "steps": steps}
        monkeypatch.setattr("sciml.comparison.sweep.calibrate", lambda *_, answer=answer: answer)
        rows = timed(entries=[entry]).run()
    found = [row for row in rows if row["kind"] == "unit" and row["entry"] == "new"]
    assert [(row["steps"], row["status"]) for row in found] == [(20, "failed"), (11, "finished")]


def test_jobs_share_the_units_and_find_the_same(
    tiny: ModuleType, inline: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    alone = sweep(tiny, tmp_path / "one").run()
    together = sweep(tiny, tmp_path / "two", jobs=2).run()
    assert len(together) == len(alone)
    assert results(together) == results(alone)
    assert not any(row["alone"] for row in together if row["kind"] == "unit")


def test_what_others_hold_is_waited_for(
    tiny: ModuleType, inline: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = sweep(tiny, tmp_path, seeds=[0])
    finished = sweep(tiny, tmp_path / "elsewhere", seeds=[0]).run()
    unit = next(row for row in finished if row["kind"] == "unit" and row["entry"] == "good")
    place = tmp_path / ".sweeps" / f"{unit['folder'].replace('/', '_')}.claim"
    with claimed(place) as mine:
        assert mine
        # The other one finishes while this one waits.
        monkeypatch.setattr(
            "sciml.comparison.sweep.time.sleep", lambda seconds: waiting.rows.append({**unit, "alone": None})
        )
        rows = waiting.run()
    units = [row for row in rows if row["kind"] == "unit"]
    assert [(row["entry"], row["alone"]) for row in units] == [("bad", True), ("good", None)]


def test_sweeps_of_one_machine_see_each_other(tmp_path: Path) -> None:
    presence = Presence(tmp_path)
    with presence.shown():
        assert presence.alone
        other = presence.place / f"{presence._host}-1.lock"
        with claimed(other):
            assert not presence.alone
        assert presence.alone  # it has ended, and its file is gone
        assert not other.exists()
    assert not presence._own.exists()


def test_what_contradicts_is_refused(
    tiny: ModuleType, inline: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = Budget.parse("3s")
    with pytest.raises(ConfigError, match="2 units at a time with the time budget 3s"):
        sweep(tiny, tmp_path, budget=timed, jobs=2)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="4 units at a time"):
        sweep(tiny, tmp_path, budget=timed)
    monkeypatch.delenv("WORLD_SIZE")
    line = tiny.Line("good", 0.02)
    with pytest.raises(ConfigError, match="entries of different names, got good, good"):
        sweep(tiny, tmp_path, entries=[line, line])
    with pytest.raises(ConfigError, match="at least one seed"):
        sweep(tiny, tmp_path, seeds=[])
    with pytest.raises(ConfigError, match="lines/v1 takes Line, got 'fno', a Entry"):
        sweep(tiny, tmp_path, entries=[Entry("fno", FNO)])
    sweep(tiny, tmp_path, entries=[line], seeds=[0]).run()
    with pytest.raises(
        ConfigError, match=r"holds results of 'good' with other settings \(rate: 0.02 there, 0.5"
    ):
        sweep(tiny, tmp_path, entries=[tiny.Line("good", 0.5)], seeds=[0]).run()


def test_judgements_need_a_value_for_every_sample() -> None:
    with pytest.raises(ConfigError, match="must have 'relative_l2', got rmse"):
        Judgement("test", [0], {"rmse": [1.0]})
    with pytest.raises(ConfigError, match="one value per sample, 2, got"):
        Judgement("test", [0, 1], {"relative_l2": [1.0]})
    with pytest.raises(ConfigError, match="Reference 'zero'"):
        Reference("zero", "trivial", {"relative_l2": [1.0], "rmse": [1.0, 2.0]})


class OwnNet(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, width: int = 2) -> None:
        super().__init__()
        self.mix = nn.Conv2d(in_channels, out_channels, 1)
        self.width = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.mix(x)
        return mixed


def test_python_entries_of_all_kinds(
    inline: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = Darcy(resolution=8).make(tmp_path / "darcy.h5", train=6, valid=2, test=2, workers=1)

    def function(data: Any, rank: int) -> nn.Module:
        assert rank == 2 and len(data.train) == 6
        return nn.Conv2d(1, 1, 3, padding=1)

    entries: dict[str, Any] = {
        "partial": partial(FNO, modes=2, width=4, depth=1),
        "class": OwnNet,
        "lambda": lambda in_channels, out_channels: nn.Conv2d(in_channels, out_channels, 1),
        "function": function,
        "neither": lambda in_channels, secret: nn.Conv2d(1, 1, 1),
    }
    found = compare(entries, data, seeds=[0], budget=2)
    assert found.folder.parent == Path.cwd() / "runs" or found.folder.parent == Path("runs").absolute()
    states = {row["entry"]: row for row in found.rows if row["kind"] == "unit"}
    assert {name for name, row in states.items() if row["status"] == "finished"} == set(entries) - {"neither"}
    assert "neither needs secret, which the data do not give" in states["neither"]["message"]
    assert set(found.examples()) == {("darcy", name) for name in set(entries) - {"neither"}}
    assert compare(entries, data, seeds=[0], budget=2).folder == found.folder


def test_main_and_lambdas_travel_to_children(tmp_path: Path) -> None:
    text = """
    from sciml.comparison.isolation import run_isolated

    class Net:
        pass

    def build():
        return Net()

    print(run_isolated(lambda tell, make: type(make()).__name__, build, threads=1))
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(text))
    shown = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert shown.stdout == "Net\n", shown.stderr


def test_entries_refuse_what_cannot_compete() -> None:
    with pytest.raises(ConfigError, match="got a model of class OwnNet; every seed needs fresh weights"):
        Entry("own", OwnNet(1, 1))
    with pytest.raises(ConfigError, match="there is no setting widht; there is width. Did you mean 'width'"):
        Entry("own", OwnNet, {"widht": 3})
    with pytest.raises(ConfigError, match="the data decide its in_channels"):
        Entry("own", OwnNet, {"in_channels": 3})
    with pytest.raises(ConfigError, match="there is no setting steps; there is batch_size"):
        Entry("own", OwnNet, training={"steps": 3})
    with pytest.raises(ConfigError, match="loss is one of standard, h1, got 'h2'"):
        Entry("own", OwnNet, training={"loss": "h2"})
    changed = Entry("own", OwnNet).changed({"width": 5, "learning_rate": 0.1})
    assert (changed.settings, changed.training) == ({"width": 5}, {"learning_rate": 0.1})
    assert changed.description() != Entry("own", OwnNet).description()
    assert "compare" in sciml.__all__
