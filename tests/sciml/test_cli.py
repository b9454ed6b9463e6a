"""The command line in this process: what it prints, writes and returns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from sciml import presets
from sciml.cli import main, output
from sciml.dataset import Field, open_dataset, write_dataset
from sciml.datasets.darcy import Darcy
from sciml.grid import Grid
from sciml.operators.fno import FNO
from sciml.presets import Preset, Recipe
from sciml.run import RunFolder
from sciml.surrogate import Surrogate

SMALL = ["--set", "width=6", "--set", "modes=3", "--set", "depth=2", "--batch-size", "4"]

OWN = """
import torch

def build(in_channels, out_channels, data, width=4):
    layers = torch.nn.Conv2d(in_channels, width, 1), torch.nn.Conv2d(width, out_channels, 1)
    return torch.nn.Sequential(*layers)

def wrong(in_channels, out_channels, data):
    return "a text"
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty samples of Darcy flow on 16 x 16 cells."""
    path = tmp_path_factory.mktemp("data") / "darcy.h5"
    Darcy(resolution=16).make(path, train=12, valid=4, test=4, workers=1)
    return path


@pytest.fixture
def pictures() -> None:
    """Asked for by a test that wants the whole report, which takes a second to draw."""


@pytest.fixture(autouse=True)
def _plain_report(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("sciml.cli.train.write_report", lambda path, **_: path.write_text("a report"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_file: Path) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", str(data_file), "--steps", "6", "--output", str(folder), *SMALL]) == 0
    return folder


def test_every_verb_has_help_with_an_example(run: Run) -> None:
    for verb in (
        ["train"],
        ["evaluate"],
        ["predict"],
        ["data", "make"],
        ["data", "info"],
        ["data", "convert"],
        ["doctor"],
    ):
        status, out, _ = run(*verb, "--help")
        assert status == 0
        assert "Example" in out and f"sciml {' '.join(verb)}" in out and "--json" in out


def test_without_a_command_it_shows_the_commands(run: Run) -> None:
    status, out, _ = run()
    assert status == 0 and "train" in out and "doctor" in out


def test_train_prints_one_json_object(run: Run, data_file: Path, pictures: None) -> None:
    """The contract for programs: these keys stay."""
    command = ("train", data_file, "--steps", "4", "--output", "run", "--json", *SMALL)
    status, out, err = run(*command)
    assert status == 0 and out.count("\n") == 1
    result = json.loads(out)
    assert {"run", "operator", "parameters", "train_seconds", "test", "baselines"} <= result.keys()
    assert result["run"] == "run" and result["operator"] == "fno" and result["train_seconds"] > 0
    surrogate = Surrogate.load("run/surrogate")
    assert result["parameters"] == sum(p.numel() for p in surrogate.model.parameters())
    # The stored surrogate is the one that was judged; the command feeds it float32, `evaluate` float64.
    scores = surrogate.evaluate(open_dataset(data_file).test)
    assert result["test"]["relative_l2"] == pytest.approx(scores["relative_l2"].mean, rel=1e-5)
    assert {"mean of training outputs", "finite volumes 16x16"} <= result["baselines"].keys()
    for row in result["baselines"].values():
        assert "relative_l2" in row and "seconds_per_sample" in row
    assert all(Path(name).exists() for name in result["files"])
    assert {"run/report.html", "run/surrogate", "run/run.json"} <= set(result["files"])
    assert "training 4/4" in err


def test_a_finished_run_is_printed_not_trained(run: Run, data_file: Path) -> None:
    command = ("train", data_file, "--steps", "4", "--output", "run", *SMALL)
    _, first, _ = run(*command, "--json")
    before = {p: p.stat().st_mtime_ns for p in Path("run").rglob("*") if p.is_file() and p.suffix != ".lock"}
    status, second, err = run(*command, "--json")
    assert status == 0 and json.loads(second) == json.loads(first)
    assert "training" not in err
    for path, written in before.items():
        # metrics.jsonl is cut to the last checkpoint, here to itself.
        assert path.name == "metrics.jsonl" or path.stat().st_mtime_ns == written
    status, shown, _ = run(*command)
    assert status == 0 and "finite volumes 8x8" in shown and "report.html" in shown
    Path("run/report.html").unlink()  # lost, or never written because the process was killed
    assert run(*command)[0] == 0 and Path("run/report.html").exists()


def test_other_settings_in_the_same_folder_are_refused_and_forced(run: Run, data_file: Path) -> None:
    command = ("train", data_file, "--output", "run", *SMALL)
    assert run(*command, "--steps", "4")[0] == 0
    status, out, err = run(*command, "--steps", "5")
    assert status == 2 and out == "" and "trainer.steps: 4 there, 5 now" in err and "--force" in err
    status, out, _ = run(*command, "--steps", "5", "--force", "--json")
    assert status == 0 and json.loads(out)["steps"] == 5


def test_the_default_folder_depends_on_the_settings_alone(run: Run, data_file: Path) -> None:
    command = ("train", data_file, "--steps", "4", "--json", *SMALL)
    first, again, other = (json.loads(run(*command, *more)[1])["run"] for more in ((), (), ("--seed", "1")))
    assert first == again != other
    assert first.startswith("runs/darcy-")


def test_a_folder_in_use_is_left_alone(run: Run, data_file: Path) -> None:
    held = RunFolder("run")
    held.acquire()
    try:
        status, _, err = run("train", data_file, "--steps", "4", "--output", "run", "--force", *SMALL)
    finally:
        held.release()
    assert status == 2 and f"pid {os.getpid()} on " in err


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_stops_with_a_checkpoint_and_the_same_command_goes_on(
    run: Run, data_file: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: int
) -> None:
    command = ("train", data_file, "--steps", "6", *SMALL)
    _, straight, _ = run(*command, "--output", "straight", "--json")

    def interrupt(_self: Any, done: int, _note: str = "") -> None:
        if done == 3:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(output._Lines, "update", interrupt)
        status, out, err = run(*command, "--output", "broken", "--json")
    assert status == expected and out == "" and "goes on" in err
    assert not Path("broken/surrogate").exists()
    status, resumed, _ = run(*command, "--output", "broken", "--json")
    assert status == 0 and json.loads(resumed)["test"] == json.loads(straight)["test"]


def test_a_signal_before_training_means_start_again(
    run: Run, data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGTERM)

    def interrupt(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("sciml.cli.plan.open_file", interrupt)
    assert run("train", data_file)[0] == 75
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_run_is_repeated_from_its_folder(run: Run, trained: Path) -> None:
    status, out, _ = run("train", "--like", trained, "--output", "again", "--json")
    assert status == 0
    again, first = (json.loads((f / "assessment.json").read_text()) for f in (Path("again"), trained))
    assert again["assessment"]["rows"][0]["errors"] == first["assessment"]["rows"][0]["errors"]
    assert json.loads(out)["operator"] == "fno"
    status, out, _ = run("train", "--like", trained, "--seed", "7", "--output", "other", "--json")
    assert status == 0 and json.loads(out)["seed"] == 7
    assert (
        json.loads(out)["test"]["relative_l2"]
        != first["assessment"]["rows"][0]["metrics"]["relative_l2"]["mean"]
    )
    status, _, err = run("train", "--like", trained, "--steps", "9")
    assert status == 2 and "leave out --steps" in err
    assert run("train", "--like", "nowhere")[0] == 2


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> Preset:
    preset = Preset(
        name="tiny",
        generator=Darcy(resolution=16),
        operator=partial(FNO, modes=3, width=6, depth=2),
        recipe=Recipe(steps=4, batch_size=4),
        train=8,
        valid=2,
        test=3,
    )
    monkeypatch.setitem(presets.PRESETS, "tiny", preset)
    return preset


def test_a_preset_makes_its_data_once(run: Run, tiny_preset: Preset) -> None:
    status, out, err = run("train", "tiny", "--json")
    assert status == 0 and "generating 13 samples of tiny" in err
    path = Path("runs/data") / tiny_preset.file_name
    data = open_dataset(path)
    assert data.digest in err and json.loads(out)["digest"] == data.digest
    status, out, err = run("train", "tiny", "--set", "width=7", "--json")
    assert status == 0 and "generating" not in err
    # --set changes one argument of the preset's operator and keeps the others.
    settings = json.loads((Path(json.loads(out)["run"]) / "run.json").read_text())["settings"]
    assert settings["model"]["arguments"]["width"] == 7 and settings["model"]["arguments"]["modes"] == 3
    path.unlink()
    assert run("train", "--like", json.loads(out)["run"], "--output", "again")[0] == 0
    assert open_dataset(path).digest == data.digest


def test_own_code_is_run_with_permission_only(run: Run, data_file: Path) -> None:
    Path("mymodel.py").write_text(OWN)
    command = ("train", data_file, "--steps", "4", "--batch-size", "4", "--output", "run", "--operator")
    status, _, err = run(*command, "mymodel.py:build")
    assert status == 2 and "--allow-code" in err
    status, out, _ = run(*command, "mymodel.py:build", "--allow-code", "--set", "width=5", "--json")
    assert status == 0 and json.loads(out)["parameters"] == 5 + 5 + 5 + 1
    own = ("--operator", "mymodel.py:build", "--allow-code", "--set", "width=5")
    status, again, _ = run("evaluate", "run", data_file, "--json", *own)
    assert status == 0 and json.loads(again)["test"] == json.loads(out)["test"]
    status, _, err = run("evaluate", "run", data_file)  # nothing in a file names code
    assert status == 3 and "model=mine" in err
    for function, said in (("biuld", "Did you mean 'build'?"), ("wrong", "must return a torch.nn.Module")):
        status, _, err = run(*command, f"mymodel.py:{function}", "--allow-code")
        assert status == 2 and said in err


def test_evaluate(run: Run, trained: Path, data_file: Path, tmp_path: Path) -> None:
    stored = json.loads((trained / "assessment.json").read_text())["assessment"]["rows"][0]
    status, out, _ = run("evaluate", trained, data_file, "--json", "--output", "result.json")
    result = json.loads(out)
    assert status == 0 and result["test"]["relative_l2"] == stored["metrics"]["relative_l2"]["mean"]
    assert json.loads(Path("result.json").read_text())["assessment"]["rows"][0]["errors"] == stored["errors"]
    status, out, _ = run("evaluate", trained / "surrogate", data_file, "--split", "valid")
    assert status == 0 and "4 samples" in out
    fine = Darcy(resolution=32).make(tmp_path / "fine.h5", train=1, valid=0, test=2, workers=1)
    status, out, _ = run("evaluate", trained, fine.path, "--json")
    assert status == 0 and "finite volumes 32x32" in json.loads(out)["baselines"]
    status, _, err = run("evaluate", trained, fine.path, "--split", "valid")
    assert status == 3 and "test 2" in err


def test_predict_answers_on_the_coordinates_of_the_input(run: Run, trained: Path) -> None:
    grid = Grid.box((24, 24))
    a, _ = Darcy(resolution=24).sample([5])
    coordinates = {axis.name: axis.coordinates for axis in grid.axes}
    field = xarray.Dataset({"a": (("x", "y"), a[0])}, coords=coordinates)
    field.to_netcdf("field.nc", engine="h5netcdf")
    status, out, _ = run("predict", trained, "field.nc", "--output", "u.nc", "--json")
    assert status == 0 and json.loads(out)["fields"] == {"u": [24, 24]}
    with xarray.open_dataset("u.nc") as written:
        np.testing.assert_array_equal(written["x"], field["x"])
        expected = Surrogate.load(trained / "surrogate")(field)
        np.testing.assert_array_equal(written["u"], expected["u"])
    status, _, err = run("predict", trained, "field.nc", "--output", "u.nc")
    assert status == 2 and "--force" in err
    assert run("predict", trained, "field.nc", "--output", "u.nc", "--force")[0] == 0
    field.rename(a="b").to_netcdf("other.nc", engine="h5netcdf")
    status, _, err = run("predict", trained, "other.nc", "--output", "v.nc")
    assert status == 3 and "'a'" in err and not Path("v.nc").exists()


def test_data_make_and_info(run: Run) -> None:
    command = ("data", "make", "darcy", "--samples", "13", "--resolution", "16", "--workers", "1")
    status, out, err = run(*command, "--set", "high=6.0", "--seed", "3", "--output", "d.h5", "--json")
    made = json.loads(out)
    assert status == 0 and made["samples"] == {"train": 10, "valid": 1, "test": 2}
    assert made["fields"]["a"]["train_statistics"]["max"] == [6.0]
    assert made["attributes"]["seed"] == 3 and made["digest"] in err
    status, out, _ = run("data", "info", "d.h5", "--json")
    assert status == 0 and json.loads(out) == made
    status, out, _ = run("data", "info", "d.h5")
    assert status == 0 and made["digest"] in out and "permeability" in out
    status, _, err = run(*command, "--output", "d.h5")
    assert status == 2 and "--force" in err
    command = ("data", "make", "darcy", "--resolution", "16", "--workers", "1", "--output", "e.h5")
    status, out, _ = run(*command, "--train", "2", "--valid", "0", "--test", "1", "--json")
    assert status == 0 and json.loads(out)["samples"] == {"train": 2, "valid": 0, "test": 1}


def test_doctor(run: Run) -> None:
    status, out, _ = run("doctor", "--json")
    found = json.loads(out)
    assert status == 0 and found["packages"]["torch"] and found["writable"]["here"] and found["hdf5"]
    status, out, _ = run("doctor")
    assert status == 0 and "GPU" in out and 'pip install "sciml-pde[' in out


MISTAKES = [
    (["trian"], 2, "Did you mean"),
    (["train"], 2, "needs a preset (darcy, navier-stokes"),
    (["train", "dracy"], 2, "Did you mean 'darcy'?"),
    (["train", "DATA", "--stps", "3"], 2, "--steps"),
    (["train", "DATA", "--steps", "0"], 2, "--steps must be positive"),
    (["train", "DATA", "--operator", "fon"], 2, "Did you mean 'fno'?"),
    (
        ["train", "DATA", "--set", "widht=3"],
        2,
        "it has modes, width, depth, coordinates, padding. Did you mean",
    ),
    (["train", "DATA", "--set", "width=a"], 2, "'a' is not a number"),
    (["train", "DATA", "--set", "width"], 2, "NAME=VALUE"),
    (["train", "DATA", "--set", "width='a'"], 2, "does not accept"),
    (["train", "DATA", "--set", "rank=3"], 2, "the data decide"),
    (["train", "DATA", "--set", "modes=99"], 2, "need at least 198 grid points"),
    (["train", "DATA", "--device", "toaster"], 2, "the device toaster cannot be used here"),
    (["train", "DATA", "--steps", "4", "--learning-rate", "1e30", *SMALL], 4, "Lower the learning rate"),
    (["train", "TEXT"], 3, "not a sciml dataset"),
    (["data", "info", "nothing.h5"], 3, "nothing.h5"),
    (["data", "make", "darzy"], 2, "Did you mean 'darcy'?"),
    (["data", "make", "darcy", "--samples", "5", "--test", "2"], 2, "leave out"),
    (["data", "make", "darcy", "--resolution", "1"], 2, "resolution >= 2"),
    (["evaluate", "nowhere", "DATA"], 2, "holds no surrogate"),
    (["predict", "nowhere", "nothing.nc", "--output", "x.nc"], 3, "nothing.nc"),
]


@pytest.mark.parametrize(("command", "expected", "said"), MISTAKES)
def test_a_mistake_is_one_line_and_a_status(
    run: Run, data_file: Path, command: list[str], expected: int, said: str
) -> None:
    Path("text.h5").write_text("no dataset")
    named = {"DATA": str(data_file), "TEXT": "text.h5"}
    status, out, err = run(*(named.get(word, word) for word in command))
    logged = [
        line for line in err.splitlines() if line.startswith("sciml: ") and not line.startswith("sciml: run:")
    ]
    assert (status, out, len(logged)) == (expected, "", 1), err
    assert said in logged[0]


def test_a_missing_dependency_and_a_bug(run: Run, data_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("No module named 'pyvista'", name="pyvista")

    monkeypatch.setattr("sciml.cli.data.open_file", absent)
    status, _, err = run("data", "info", data_file)
    assert status == 5 and 'pip install "sciml-pde[mesh]"' in err

    def broken(*_: Any, **__: Any) -> None:
        raise AssertionError("impossible")

    monkeypatch.setattr("sciml.cli.data.open_file", broken)
    status, _, err = run("data", "info", data_file)
    assert status == 1 and "AssertionError: impossible" in err and "Traceback" not in err
    monkeypatch.setenv("SCIML_DEBUG", "1")
    assert "Traceback" in run("data", "info", data_file)[2]


def test_other_data_are_refused(run: Run) -> None:
    """From an initial field to all later frames at once: no state, and no field without time."""
    u = np.zeros((3, 4, 8), dtype=np.float32)
    fields = [(Field("a", "input"), u[:, 0]), (Field("u", "output", time=True), u)]
    write_dataset("waves.h5", grid=Grid.box((8,)), fields=fields, split=[0, 0, 2], times=np.arange(4.0))
    status, _, err = run("train", "waves.h5")
    assert status == 3 and "must be both input and output" in err and "a -> u" in err
    write_dataset("alone.h5", grid=Grid.box((8,)), fields=[fields[0]], split=[0, 0, 2])
    status, _, err = run("train", "alone.h5")
    assert status == 3 and "Give fields the roles" in err


@pytest.mark.parametrize("unbuffered", ["", "1"])  # the pipe breaks at the end, or at the first line
def test_a_reader_that_leaves_early_is_no_error(data_file: Path, unbuffered: str) -> None:
    """`sciml data info FILE | head -1`, in a process of its own: Python flushes stdout again at its end."""
    command = [
        sys.executable,
        "-c",
        "import sys; from sciml.cli import main; sys.exit(main())",
        "data",
        "info",
    ]
    child = subprocess.Popen(
        [*command, str(data_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    err = child.stderr.read()
    child.stderr.close()
    assert (child.wait(), err) == (0, b"")
