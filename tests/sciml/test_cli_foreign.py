"""Files of other programs on the command line: trained on, converted, shown, judged on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray

from sciml.dataset import open_dataset
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
