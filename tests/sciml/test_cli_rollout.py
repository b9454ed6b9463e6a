"""States in time on the command line: train, evaluate, predict, repeat."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray

from sciml import presets
from sciml.cli import main
from sciml.dataset import Field, open_dataset, write_dataset
from sciml.datasets.navier_stokes import NavierStokes
from sciml.grid import Grid
from sciml.operators.fno import FNO
from sciml.presets import Preset, Recipe, Stepping
from sciml.surrogate import Surrogate
from sciml.unroll import Frames, Unroll

SMALL = ["--set", "width=4", "--set", "modes=2", "--set", "depth=1", "--batch-size", "4", "--steps", "4"]

OWN = """
import torch

def build(in_channels, out_channels, data):
    return torch.nn.Conv2d(in_channels, out_channels, 1)
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def quick_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are tested elsewhere."""
    monkeypatch.setattr("sciml.cli.train.write_report", lambda path, **_: path.write_text("a report"))


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight trajectories of five frames on 16 x 16 points."""
    path = tmp_path_factory.mktemp("data") / "flow.h5"
    generator = NavierStokes(resolution=16, final_time=2.0, frames=5)
    generator.make(path, train=4, valid=1, test=3, workers=1)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, flow: Path) -> Path:
    """The folder of a finished run, report included."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    command = ["train", str(flow), "--output", str(folder), "--window", "2", "--calls", "2", *SMALL]
    assert main(command) == 0
    return folder


def test_a_file_with_a_state_trains_and_is_judged_beside_the_solver(
    trained: Path, flow: Path, run: Run
) -> None:
    settings = json.loads((trained / "run.json").read_text())["settings"]
    assert settings["objective"]["class"] == "sciml.rollout.Rollout"
    status, out, _ = run(
        "train", flow, "--output", trained, "--window", "2", "--calls", "2", *SMALL, "--json"
    )
    result = json.loads(out)
    assert status == 0 and result["train_seconds"] > 0
    judged = Surrogate.load(trained / "surrogate").evaluate(open_dataset(flow).test)
    # Computed in other pieces: a few roundings of float32, over three calls.
    assert result["test"]["relative_l2"] == pytest.approx(judged["relative_l2"].mean, rel=1e-4)
    names = {"persistence", "mean of training trajectories", "pseudo-spectral 8x8, steps up to 1"}
    assert names <= result["baselines"].keys()
    assert result["times"] == [0.5, 1.0, 1.5] and len(result["error_over_time"]["persistence"]["mean"]) == 3
    assert result["censored"].keys() == {"valid_time", "correlation_time"}
    page = (trained / "report.html").read_text(encoding="utf-8")
    assert "error over time" in page and "image/gif" in page
    status, shown, _ = run("train", flow, "--output", trained, "--window", "2", "--calls", "2", *SMALL)
    assert status == 0 and "last frame" in shown and "3 trajectories" in shown and "per trajectory" in shown


def test_evaluate_and_repeat(trained: Path, flow: Path, run: Run, tmp_path: Path) -> None:
    stored = json.loads((trained / "assessment.json").read_text())["assessment"]["rows"][0]
    status, out, _ = run("evaluate", trained, flow, "--json")
    assert status == 0 and json.loads(out)["test"]["relative_l2"] == stored["metrics"]["relative_l2"]["mean"]
    status, out, _ = run("train", "--like", trained, "--output", "again", "--json")
    assert status == 0 and json.loads(out)["test"]["relative_l2"] == stored["metrics"]["relative_l2"]["mean"]
    fine = NavierStokes(resolution=32, final_time=2.0, frames=5).make(
        tmp_path / "fine.h5", train=1, valid=0, test=1, workers=1
    )
    status, out, _ = run("evaluate", trained, fine.path, "--json")
    assert status == 0 and "pseudo-spectral 32x32, steps up to 1" in json.loads(out)["baselines"]


def test_predict_goes_on_from_the_last_frames(trained: Path, flow: Path, run: Run) -> None:
    test = open_dataset(flow).test.to_xarray()
    test.to_netcdf("state.nc", engine="h5netcdf")
    status, out, err = run("predict", trained, "state.nc", "--output", "later.nc", "--frames", "3", "--json")
    assert status == 0 and json.loads(out)["fields"] == {"w": [3, 3, 16, 16]}
    assert "last 2 frames" in err
    with xarray.open_dataset("later.nc") as later:
        assert later["time"].values.tolist() == [2.5, 3.0, 3.5]
        window = torch.from_numpy(test["w"].values[:, -2:, None])
        expected = Surrogate.load(trained / "surrogate").roll_out(window, 3)[:, :, 0]
        np.testing.assert_allclose(later["w"].transpose("sample", "time", "x", "y"), expected, rtol=1e-6)
    status, out, _ = run("predict", trained, "state.nc", "--output", "next.nc", "--json")
    assert status == 0 and json.loads(out)["fields"]["w"][1] == 1
    assert run("predict", trained, "state.nc", "--output", "x.nc", "--frames", "0")[0] == 2


def test_own_code_gets_the_channels_of_windows_and_bundles(run: Run, flow: Path) -> None:
    Path("mine.py").write_text(OWN)
    own = ("--operator", "mine.py:build", "--allow-code")
    frames = ("--window", "2", "--bundle", "2", "--steps", "4", "--batch-size", "4")
    status, out, err = run("train", flow, *own, *frames, "--output", "run", "--json")
    assert status == 0, err
    assert json.loads(out)["parameters"] == 2 * 2 + 2  # two frames in, two frames out
    status, again, _ = run("evaluate", "run", flow, *own, "--json")
    assert status == 0 and json.loads(again)["test"] == json.loads(out)["test"]
    status, again, _ = run("train", "--like", "run", *own, "--output", "again", "--json")
    assert status == 0 and json.loads(again)["test"] == json.loads(out)["test"]


def test_a_preset_says_how_to_step_and_options_change_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = Preset(
        name="tiny",
        generator=NavierStokes(resolution=16, final_time=2.0, frames=5),
        operator=partial(FNO, modes=2, width=4, depth=1),
        recipe=Recipe(steps=4, batch_size=2),
        stepping=Stepping(Frames(bundle=2), Unroll(pushforward=True, noise=0.1)),
        train=3,
        valid=1,
        test=1,
    )
    monkeypatch.setitem(presets.PRESETS, "tiny", preset)
    status, out, _ = run("train", "tiny", "--calls", "2", "--json")
    assert status == 0
    settings = json.loads((Path(json.loads(out)["run"]) / "run.json").read_text())["settings"]
    frames, unroll = (settings["objective"]["arguments"][name]["arguments"] for name in ("frames", "unroll"))
    assert (frames["window"], frames["bundle"]) == (1, 2)
    assert (unroll["calls"], unroll["pushforward"], unroll["noise"]) == (2, True, 0.1)


def test_a_forcing_goes_in_beside_the_state(run: Run) -> None:
    """A field without time is an input of every call."""
    random = np.random.default_rng(0)
    fields = [
        (Field("f", "input"), random.normal(size=(4, 8)).astype(np.float32)),
        (Field("u", "state", components=2, time=True), random.normal(size=(4, 3, 2, 8)).astype(np.float32)),
    ]
    write_dataset("u.h5", grid=Grid.box((8,)), fields=fields, split=[0, 0, 1, 2], times=[0.0, 1.0, 2.0])
    status, out, err = run("train", "u.h5", *SMALL, "--output", "run", "--json")
    assert status == 0, err
    surrogate = Surrogate.load("run/surrogate")
    assert [c.name for c in surrogate.inputs] == ["u", "f"] and surrogate.input_normalization.channels == 3
    assert json.loads(out)["baselines"].keys() == {"persistence", "mean of training trajectories"}


def test_options_for_states_are_refused_for_maps(run: Run) -> None:
    fields = [(Field(n, r), np.ones((3, 8), dtype=np.float32)) for n, r in (("a", "input"), ("u", "output"))]
    write_dataset("map.h5", grid=Grid.box((8,)), fields=fields, split=[0, 0, 2])
    status, _, err = run("train", "map.h5", "--window", "2")
    assert status == 2 and "holds a map" in err
    status, _, err = run("train", "navier-stoks")
    assert status == 2 and "Did you mean 'navier-stokes'?" in err


def test_generators_have_dashed_names(run: Run) -> None:
    command = ("data", "make", "navier-stokes", "--resolution", "16", "--set", "frames=2", "--samples", "2")
    status, out, err = run(*command, "--set", "final_time=0.5", "--workers", "1", "--json")
    assert status == 0, err
    assert json.loads(out)["path"].endswith("navier-stokes.h5")
