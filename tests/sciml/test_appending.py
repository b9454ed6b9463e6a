"""Appending: the file of all samples at once, to the byte; and at any instant a complete file."""

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sciml import files
from sciml.appending import append_dataset
from sciml.conformance import check
from sciml.dataset import Dataset, Field, Provenance, open_dataset, write_dataset
from sciml.errors import DataError
from sciml.grid import Axis, Grid
from sciml.mesh import Mesh, Points, PointSet

COUNT = 9
RNG = np.random.default_rng(0)
GRID = Grid((Axis("x", 0.0, 1.0, 6, "node", periodic=True, units="m"), Axis("y", 0.0, 2.0, 5)))
GRID_VALUES = {
    "a": RNG.normal(size=(COUNT, 6, 5)).astype(np.float32),
    "v": RNG.normal(size=(COUNT, 3, 2, 6, 5)),
    "m": RNG.normal(size=(COUNT, 6, 5)) > 0,
    "s": RNG.normal(size=(6, 5)) > 0,
}
NUMBERS = {"c": RNG.normal(size=COUNT), "sample_seed": np.arange(COUNT) + 2**40}
SPLIT = np.array([0, 2, 0, 1, 0, 0, 2, 0, 1])


def write_grid(path: Path, count: int) -> Dataset:
    fields = [
        (Field("a", "input", units="m/s", long_name="speed"), GRID_VALUES["a"][:count]),
        (Field("v", "state", components=2, time=True), GRID_VALUES["v"][:count]),
        (Field("m", "mask"), GRID_VALUES["m"][:count]),
        (Field("s", "mask", sample=False), GRID_VALUES["s"]),
        (Field("c", "parameter", units="kg", long_name="mass"), NUMBERS["c"][:count]),
    ]
    return write_dataset(
        path,
        grid=GRID,
        fields=fields,
        split=SPLIT[:count],
        times=[0.0, 0.1, 0.3],
        variables={"sample_seed": NUMBERS["sample_seed"][:count]},
        attributes={"mylab_run": 12, "date_created": "2001-01-01"},
        provenance=Provenance(title="Waves", boundary={"y": ("wall", "open")}, time_units="s", seed=3),
    )


def append_grid(path: Path, rows: slice) -> Dataset:
    fields = {name: GRID_VALUES[name][rows] for name in ("a", "v", "m")}
    return append_dataset(
        path, fields, SPLIT[rows], variables={name: values[rows] for name, values in NUMBERS.items()}
    )


def test_a_grid_file_grows_to_the_file_of_all_samples(tmp_path: Path) -> None:
    whole = write_grid(tmp_path / "whole.h5", COUNT).path
    write_grid(tmp_path / "grown.h5", 4)
    append_grid(tmp_path / "grown.h5", slice(4, 5))
    grown = append_grid(tmp_path / "grown.h5", slice(5, COUNT))
    assert len(grown) == COUNT
    assert grown.path.read_bytes() == whole.read_bytes()
    assert check(grown.path).conforms
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grown.h5", "whole.h5"]


SQUARE = Mesh([[0, 0], [1, 0], [1, 1], [0, 1]], cells={"triangle": [[0, 1, 2], [0, 2, 3]]})
QUAD = Mesh([[0, 0], [3, 0], [3, 1], [0, 1]], cells={"quad": [[0, 1, 2, 3]]})
MESHES = [SQUARE, SQUARE, QUAD, SQUARE]


def mesh_values(rows: slice) -> dict[str, Any]:
    rng = [np.random.default_rng(i) for i in range(len(MESHES))]
    found: dict[str, list[Any]] = {
        "t": [g.normal(size=(2, len(mesh))) for g, mesh in zip(rng, MESHES, strict=True)],
        "k": [g.normal(size=mesh.cell_count) > 0 for g, mesh in zip(rng, MESHES, strict=True)],
        "q": [PointSet(g.normal(size=i + 1), g.normal(size=(i + 1, 2))) for i, g in enumerate(rng)],
    }
    return {name: values[rows] for name, values in found.items()}


def write_meshes(path: Path, count: int) -> Dataset:
    values = mesh_values(slice(count))
    fields = [
        (Field("t", "output", time=True), values["t"]),
        (Field("k", "mask", on="cells"), values["k"]),
        (Field("q", "input", on="own"), values["q"]),
    ]
    return write_dataset(path, grid=MESHES[:count], fields=fields, split=[0, 2, 0, 1][:count], times=[0, 1])


def test_a_file_of_meshes_grows_with_cells_of_another_type(tmp_path: Path) -> None:
    whole = write_meshes(tmp_path / "whole.h5", 4).path
    write_meshes(tmp_path / "grown.h5", 2)
    grown = append_dataset(tmp_path / "grown.h5", mesh_values(slice(2, 4)), [0, 1], grid=MESHES[2:])
    assert grown.path.read_bytes() == whole.read_bytes()
    with pytest.raises(DataError, match="grid holds 1 of them"):
        append_dataset(grown.path, mesh_values(slice(2, 3)), [0])


def test_shared_points_and_functions_on_shared_points(tmp_path: Path) -> None:
    cloud, values = Points(RNG.normal(size=(7, 2))), RNG.normal(size=(5, 7, 2))
    own, loads = RNG.normal(size=(3, 2)), RNG.normal(size=(5, 3))

    def write(path: Path, count: int) -> Path:
        fields: Sequence[Any] = [
            (Field("u", "output", components=2), values[:count]),
            (Field("q", "input", on="own"), PointSet(loads[:count], own)),
        ]
        return write_dataset(path, grid=cloud, fields=fields, split=[0] * count).path

    whole, path = write(tmp_path / "whole.h5", 5), write(tmp_path / "grown.h5", 2)
    append_dataset(path, {"u": values[2:], "q": PointSet(loads[2:], own)}, [0, 0, 0])
    assert path.read_bytes() == whole.read_bytes()
    with pytest.raises(DataError, match="one PointSet at the points of the file"):
        append_dataset(path, {"u": values[2:], "q": PointSet(loads[2:], own + 1)}, [0, 0, 0])


def test_what_does_not_fit_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    path = write_grid(tmp_path / "u.h5", 4).path
    before = path.read_bytes()
    rows = slice(4, 6)
    good: dict[str, Any] = {name: GRID_VALUES[name][rows] for name in ("a", "v", "m")}
    numbers: dict[str, Any] = {name: values[rows] for name, values in NUMBERS.items()}
    infinite = good["v"] + np.inf
    cases: list[tuple[dict[str, Any], dict[str, Any], Any, str]] = [
        ({**good, "a": good["a"][:, :5]}, numbers, [0, 0], r"field 'a' must have shape \(sample, x, y\)"),
        ({**good, "a": good["a"].astype(np.float64)}, numbers, [0, 0], "'a' is float32 in the file"),
        ({"a": good["a"]}, numbers, [0, 0], r"has the fields \['a', 'v', 'm'\]"),
        ({**good, "s": good["m"]}, numbers, [0, 0], "has the fields"),
        (good, {}, [0, 0], r"has the variables \['c', 'sample_seed'\]"),
        (good, numbers, [0, 3], "split holds 0"),
        ({**good, "v": infinite}, numbers, [0, 0], "'v' is not finite"),
    ]
    for fields, variables, split, message in cases:
        with pytest.raises(DataError, match=message):
            append_dataset(path, fields, split, variables=variables)
    with pytest.raises(DataError, match="share one grid"):
        append_dataset(path, good, [0, 0], variables=numbers, grid=GRID)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["u.h5"]
    with pytest.raises(FileNotFoundError):
        append_grid(tmp_path / "absent.h5", rows)


def test_a_file_with_changed_values_is_not_made_good_by_appending(tmp_path: Path) -> None:
    import h5py

    path = write_grid(tmp_path / "u.h5", 4).path
    with h5py.File(path, "r+") as file:
        file["v"][1, 0, 0, 0, 0] += 1e-9  # the checksum of the chunk is renewed, sha256 is not
    with pytest.raises(DataError, match="values of 'v' are not those that were written"):
        append_grid(path, slice(4, 6))


def test_a_file_replaced_meanwhile_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_grid(tmp_path / "u.h5", 4).path
    verify = Dataset.verify

    def slow(self: Dataset) -> None:
        verify(self)
        write_grid(path, 5)

    monkeypatch.setattr(Dataset, "verify", slow)
    with pytest.raises(DataError, match="was replaced by another process meanwhile"):
        append_grid(path, slice(4, 6))
    assert len(open_dataset(path)) == 5


def test_two_that_append_wait_for_each_other(tmp_path: Path) -> None:
    path = write_grid(tmp_path / "u.h5", 3).path
    threads = [threading.Thread(target=append_grid, args=(path, slice(3, 5))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(open_dataset(path)) == 9
    assert check(path).conforms


def test_leftovers_of_killed_writers_are_removed_after_an_hour(tmp_path: Path) -> None:
    path = write_grid(tmp_path / "u.h5", 4).path
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True)
    names = [f".u.h5.{int(dead.stdout)}.part", f".u.h5.{os.getpid()}.part", ".u.h5.x.part", ".v.h5.1.part"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (1, 1))
    fresh = tmp_path / f".u.h5.{int(dead.stdout) + 2**22}.part"
    fresh.write_bytes(b"")
    files.remove_stale(path)
    assert sorted(p.name for p in tmp_path.glob(".*")) == sorted([*names[1:], fresh.name])


CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import importlib.util
spec = importlib.util.spec_from_file_location("appending_test", {test!r})
test = importlib.util.module_from_spec(spec)
spec.loader.exec_module(test)
from sciml import dataset_writer
point, seen = int(sys.argv[2]), 0

def counted(function):
    def work(*arguments):
        global seen
        seen += 1
        if seen == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return work

for name in ("_reserve", "_create", "_fill", "_stream", "_trim", "_rename", "_sync", "_remove"):
    setattr(dataset_writer, name, counted(getattr(dataset_writer, name)))
print("begin", flush=True)
test.append_grid(Path(sys.argv[1]), slice(4, 6))
print(seen, flush=True)
"""


def start(path: Path, point: int) -> "subprocess.Popen[str]":
    """A process that appends and kills itself at a step of the writer; 0 for none."""
    script = textwrap.dedent(CHILD.format(folder=str(Path(__file__).parent), test=__file__))
    command = [sys.executable, "-c", script, str(path), str(point)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def state(path: Path, old: bytes, new: bytes) -> str:
    found = path.read_bytes()
    assert found in (old, new), "neither the old nor the new file"
    return "old" if found == old else "new"


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize("points", [(12,), pytest.param(range(1, 40), marks=pytest.mark.slow)])
def test_killed_at_any_step_the_old_or_the_new_file_is_there(tmp_path: Path, points: Sequence[int]) -> None:
    old = write_grid(tmp_path / "old.h5", 4).path.read_bytes()
    new = write_grid(tmp_path / "new.h5", 6).path.read_bytes()
    path, seen = tmp_path / "u.h5", set()
    for point in points:
        shutil.copy(tmp_path / "old.h5", path)
        child = start(path, point)
        said = child.communicate()[0].split()
        if child.returncode == 0:
            assert int(said[1]) < point  # the writer has no more steps
            seen.add("done")
        else:
            assert child.returncode == -signal.SIGKILL
            left = state(path, old, new)
            seen.add(left)
            if left == "old":
                append_grid(path, slice(4, 6))
        assert state(path, old, new) == "new"
    if len(points) > 1:
        assert seen == {"old", "new", "done"}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_killed_at_random_instants(tmp_path: Path) -> None:
    old = write_grid(tmp_path / "old.h5", 4).path.read_bytes()
    new = write_grid(tmp_path / "new.h5", 6).path.read_bytes()
    choose, seen = random.Random(0), []
    for _ in range(40):
        path = Path(shutil.copy(tmp_path / "old.h5", tmp_path / "u.h5"))
        child = start(path, 0)
        assert child.stdout is not None
        child.stdout.readline()
        threading.Event().wait(choose.uniform(0.0, 0.5))
        child.kill()
        child.communicate()
        seen.append(state(path, old, new))
        assert open_dataset(path).verify() is None
    assert {"old", "new"} <= set(seen)
