"""Files of other programs on the command line: trained on, converted, shown, judged on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray

from sciml.dataset import open_dataset
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.surrogate import Surrogate

SMALL = ["--set", "width=4", "--set", "modes=2", "--set", "depth=1", "--batch-size", "4", "--steps", "2"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def quick_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are tested elsewhere."""
    monkeypatch.setattr("sciml.cli.train.write_report", lambda path, **_: path.write_text("a report"))


def torch_file(path: Path, n: int, samples: int = 10) -> Path:
    generator = torch.Generator().manual_seed(n)
    y = torch.rand(samples, n, n, generator=generator) + 1
    y[:, 0], y[:, :, 0] = 0, 0  # slices of a node grid: only the lower edges are walls
    torch.save({"x": y > 1.5, "y": y}, path)
    return path


def netcdf_file(path: Path) -> Path:
    rng = np.random.default_rng(0)
    fields = {name: (("case", "x"), rng.random((10, 8))) for name in ("heat", "load", "rest")}
    xarray.Dataset(fields, coords={"x": np.linspace(0, 2, 8)}).to_netcdf(path, engine="scipy")
    return path


def test_a_torch_file_trains_and_judges_at_another_resolution(run: Run, tmp_path: Path) -> None:
    source = torch_file(tmp_path / "flow_16.pt", 16)
    status, out, err = run("train", source, "--operator", "fno", *SMALL, "--json")
    assert status == 0, err
    found = json.loads(out)
    assert "is a neuraloperator file" in err and "every 26th of 421 nodes" in err
    assert found["run"].startswith("runs/flow_16-")
    assert found["test"]["relative_l2"] > 0
    (cached,) = Path("runs/data").glob("flow_16-*.h5")
    assert open_dataset(cached).digest in json.dumps(found)
    fine = torch_file(tmp_path / "fine.dat", 32, samples=5)
    status, out, err = run("evaluate", found["run"], fine, "--json")
    assert status == 0, err
    assert json.loads(out)["split"] == "all" and "judging on 5 samples" in err
    status, out, _ = run("evaluate", found["run"], source, "--json")
    assert status == 0 and json.loads(out)["split"] == "test"  # the file that it was trained on


def test_a_netcdf_file_trains_when_told_what_is_what(run: Run, tmp_path: Path) -> None:
    source = netcdf_file(tmp_path / "plate.nc")
    names = ("--inputs", "load", "--outputs", "heat", "--sample", "case")
    status, _, err = run("train", source, *SMALL)
    assert status == 3 and "--inputs a --outputs u" in err and "load (case, x)" in err
    status, _, err = run("train", source, "--inputs", "load", *SMALL)
    assert status == 2 and "belong together" in err
    status, out, err = run("train", source, *names, "--split", "0.5", "0.2", "0.3", *SMALL, "--json")
    assert status == 0, err
    settings = json.loads(Path(json.loads(out)["run"], "run.json").read_text())["settings"]
    assert settings["objective"]["arguments"]["inputs"] == ["load"]
    (cached,) = Path("runs/data").glob("plate-*.h5")
    assert [len(part) for part in (lambda d: (d.train, d.valid, d.test))(open_dataset(cached))] == [5, 2, 3]
    for wrong in (("darcy", *names), ("--like", json.loads(out)["run"], *names)):
        status, _, err = run("train", *wrong)
        assert status == 2 and "--inputs" in err


def test_names_choose_fields_of_our_own_files_too(run: Run, tmp_path: Path) -> None:
    source = torch_file(tmp_path / "flow.pt", 8)
    assert run("data", "convert", source, "own.h5")[0] == 0
    status, out, _ = run("train", "own.h5", "--inputs", "u", "--outputs", "a", *SMALL, "--json")
    assert status == 0
    settings = json.loads(Path(json.loads(out)["run"], "run.json").read_text())["settings"]
    assert settings["objective"]["arguments"]["outputs"] == ["a"]
    status, _, err = run("train", "own.h5", "--inputs", "v", "--outputs", "a", *SMALL)
    assert status == 3 and "has no field 'v'; it has a, u" in err
    status, _, err = run("train", "own.h5", "--inputs", "u", *SMALL)
    assert status == 2 and "belong together" in err


def test_convert_and_info(run: Run, tmp_path: Path) -> None:
    source = netcdf_file(tmp_path / "plate.nc")
    names = ("--inputs", "load", "--outputs", "heat", "--sample", "case")
    status, out, err = run("data", "convert", source, "plate.h5", *names, "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["digest"] == open_dataset("plate.h5").digest and "left out: rest" in str(found["attributes"])
    status, _, err = run("data", "convert", source, "plate.h5", *names)
    assert status == 2 and "--force" in err
    status, out, _ = run("data", "convert", source, "plate.h5", *names, "--seed", "1", "--force")
    assert status == 0 and "hashes of the index with seed 1" in out
    status, out, _ = run("data", "info", source, *names, "--json")
    assert status == 0 and json.loads(out)["path"] == str(source)
    assert not Path("runs").exists()  # showing keeps nothing
    status, out, _ = run("data", "info", "plate.h5")
    assert status == 0 and "8 nodes on [0, 2]" in out


def pdebench_file(path: Path) -> Path:
    """Ten trajectories of one wave; the first of them is for PDEBench's test."""
    x, t = (np.arange(16) + 0.5) / 16, np.arange(6) / 10
    waves = np.sin(2 * np.pi * (x - t[:, None] + np.arange(10)[:, None, None] / 10))
    with h5py.File(path, "w") as file:
        file["tensor"] = waves.astype("f4")
        file["x-coordinate"], file["t-coordinate"] = x, np.arange(7) / 10
        file.attrs["beta"] = 1.0
    return path


def test_to_pdebench_and_to_well_and_back(run: Run, tmp_path: Path) -> None:
    source = pdebench_file(tmp_path / "wave.hdf5")
    status, out, err = run("data", "to-well", source, "well", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert (found["samples"], found["notes"]) == (10, []) and Path("well/data/test/wave.hdf5")
    assert run("data", "convert", "well", "well.h5")[0] == 0
    status, out, err = run("data", "to-pdebench", "well.h5", "again.hdf5", "--json")
    assert status == 0 and json.loads(out)["notes"] == [], err
    assert run("data", "convert", "again.hdf5", "again.h5")[0] == 0
    with h5py.File(source) as file:
        raw = file["tensor"][:]
    again = open_dataset("again.h5")
    assert again.attributes["beta"] == 1.0 and len(again.test) == 1
    np.testing.assert_array_equal(again.load("u")[0], raw[0])
    np.testing.assert_array_equal(np.sort(again.load("u"), axis=0), np.sort(raw, axis=0))
    status, _, err = run("data", "to-well", source, "well")
    assert status == 2 and "--force" in err
    assert run("data", "to-well", source, "well", "--force")[0] == 0
    status, _, err = run("data", "to-pdebench", netcdf_file(tmp_path / "a.nc"), "b.hdf5")
    assert status == 3 and "nothing says which variables" in err


def test_options_of_single_formats(run: Run, tmp_path: Path) -> None:
    x = np.linspace(0, 1, 9)
    np.savez("square.npz", t=x, x=x, u=np.random.default_rng(0).random((9, 9)))
    status, _, err = run("data", "info", "square.npz")
    assert status == 3 and "--axes t --axes x" in err
    status, out, _ = run("data", "info", "square.npz", "--axes", "t", "--axes", "x", "--json")
    assert status == 0 and json.loads(out)["fields"]["u"]["time"]
    with h5py.File("mp.h5", "w") as file:
        for n in (8, 16):
            file[f"train/pde_5-{n}"] = np.random.default_rng(n).random((6, 5, n))
            file[f"train/pde_5-{n}"].attrs.update(dt=0.1, dx=16 / n, x=np.arange(n) * 16 / n)
    status, _, err = run("data", "info", "mp.h5")
    assert status == 3 and "--array" in err
    status, out, _ = run("data", "info", "mp.h5", "--array", "pde_5-16", "--json")
    assert status == 0 and json.loads(out)["grid"]["axes"][0]["size"] == 16


@pytest.mark.slow  # without the command line in tests/datasets/test_readers_conversion.py
def test_info_on_every_real_file_is_an_answer_or_one_sentence(run: Run, test_data: Path) -> None:
    statuses = []
    for path in sorted(test_data.glob("*/*")):
        status, out, err = run("data", "info", path, "--json")
        statuses.append(status)
        if status == 0:
            assert json.loads(out)["fields"] and not err, path
        else:
            assert status == 3 and not out and err.count("\n") == 1 and str(path) in err, path
    assert statuses.count(3) <= 10


def test_supervised_files_of_others_train(run: Run, test_data: Path) -> None:
    for name in ("darcy_train_16.pt", "burgers_train_16.pt"):
        status, out, err = run("train", test_data / "neuraloperator" / name, *SMALL, "--json")
        assert status == 0, err
        assert json.loads(out)["test"]["relative_l2"] > 0
    status, _, err = run("data", "convert", test_data / "neuraloperator" / "mini_car.pt", "car.h5")
    assert status == 0, err
    task = Supervised(open_dataset("car.h5"), ["vertex_normals"], ["press"])
    batch = task.draw(0, torch.nn.Identity(), Streams(0))
    assert batch is not None
    status, _, err = run(
        "data", "convert", test_data / "deepxde" / "reaction.npz", "r.h5", "--axes", "t", "--axes", "x"
    )
    assert status == 0, err
    raw = np.load(test_data / "deepxde" / "reaction.npz")
    np.testing.assert_array_equal(open_dataset("r.h5").load("Ca")[0], raw["Ca"])


def test_symmetry_wraps_the_operator(run: Run, tmp_path: Path) -> None:
    source = torch_file(tmp_path / "flow_16.pt", 16)
    status, out, err = run("train", source, "--symmetry", "permutations", *SMALL, "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["operator"] == "fno"
    surrogate = Surrogate.load(Path(found["run"]) / "surrogate")
    x = open_dataset(next(Path("runs/data").glob("*.h5"))).tensor(["a"])
    with torch.no_grad():
        torch.testing.assert_close(surrogate(x.mT.contiguous()), surrogate(x).mT, rtol=0, atol=1e-5)
    status, _, err = run("train", source, "--symmetry", "full", *SMALL)  # the upper edges are no walls
    assert status == 2 and "use group='permutations'" in err
