"""Datasets written in the layouts of others, and read back value for value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sciml.dataset import Dataset, write_dataset
from sciml.datasets.readers import PDEBench, TheWell, convert, to_pdebench, to_well
from sciml.errors import DataError
from sciml.grid import Grid
from sciml.mesh import Points
from sciml.schema import Field

TO_PDEBENCH = (
    "pdebench_advection",
    "pdebench_burgers",
    "pdebench_darcy",
    "pdebench_flow",
    "pdebench_smoke",
    "pdebench_groups",
    "pdebench_sorption",
)


def arrays_in(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda n, item: found.update({n: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
    return found


def same(a: Dataset, b: Dataset) -> None:
    assert a.fields == b.fields and a.grid == b.grid
    np.testing.assert_array_equal(np.asarray(a.times), np.asarray(b.times))
    for name in a.fields:
        np.testing.assert_array_equal(a.load(name), b.load(name))
        assert a.load(name).dtype == b.load(name).dtype


@pytest.mark.parametrize("name", TO_PDEBENCH)
def test_pdebench_and_back(name: str, foreign: Any, tmp_path: Path) -> None:
    source = foreign(name)
    data = convert(source, tmp_path / "a.h5")
    assert to_pdebench(data, tmp_path / "b.hdf5") == ()
    first, again = arrays_in(source), arrays_in(tmp_path / "b.hdf5")
    for key, values in first.items():
        if key != "t-coordinate" or name != "pdebench_darcy":
            np.testing.assert_allclose(again[key], values, rtol=1e-6, atol=1e-7)  # coordinates were float32
        if key.split("/")[-1] in ("tensor", "nu", "density", "Vx", "velocity", "force", "data"):
            np.testing.assert_array_equal(again[key], values)
    other = convert(tmp_path / "b.hdf5", tmp_path / "c.h5")
    same(data, other)
    np.testing.assert_array_equal(data.variable("split"), other.variable("split"))
    numbers = {k: v for k, v in data.attributes.items() if isinstance(v, float)}
    assert {k: v for k, v in other.attributes.items() if isinstance(v, float)} == numbers


@pytest.mark.parametrize("name", ["well", "well_folder"])
def test_the_well_and_back(name: str, foreign: Any, tmp_path: Path) -> None:
    data = convert(foreign(name), tmp_path / "a.h5")
    assert to_well(data, tmp_path / "w") == ()
    other = convert(tmp_path / "w", tmp_path / "b.h5")
    for split in ("train", "valid", "test"):
        same(getattr(data, split), getattr(other, split))
        for key in data.parameter_names:
            mine, theirs = (getattr(d, split).variable(key) for d in (data, other))
            np.testing.assert_array_equal(mine, theirs)
    assert data.attributes["boundary"] == other.attributes["boundary"]
    assert data.attributes.get("viscosity") == other.attributes.get("viscosity")


def test_a_map_becomes_a_well_with_roles_units_and_statistics(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = write_dataset(
        tmp_path / "a.h5",
        grid=Grid.box((4, 5)),
        fields=[
            (Field("a", "input", units="m2"), rng.random((6, 4, 5))),
            (Field("q", "output", components=2, rank=1), rng.random((6, 2, 4, 5))),
            (Field("c", "output", components=3, rank=0), rng.random((6, 3, 4, 5))),
        ],
        split=[0, 0, 2, 1, 0, 2],
    )
    notes = to_well(data, tmp_path / "w", name="toy")
    assert notes == ("c has 3 components, which are fields of their own",)
    other = convert(tmp_path / "w", tmp_path / "b.h5")
    assert (other.fields["a"].role, other.fields["a"].units) == ("input", "m2")
    assert list(other.fields) == ["a", "c_0", "c_1", "c_2", "q"]
    np.testing.assert_array_equal(other.test.load("c_1"), data.test.load("c")[:, 1])
    np.testing.assert_array_equal(other.train.load("q"), data.train.load("q"))
    lines = (tmp_path / "w" / "stats.yaml").read_text().splitlines()
    entry = lines[lines.index("std:") + 1 :]
    assert float(entry[0].removeprefix("  a: ")) == pytest.approx(data.train.load("a").std(), rel=1e-12)
    assert entry[1].startswith("  q: [")
    with h5py.File(tmp_path / "w" / "data" / "train" / "toy.hdf5") as file:
        assert file.attrs["n_trajectories"] == 3 and file.attrs["n_spatial_dims"] == 2
        assert list(file["t1_fields"].attrs["field_names"]) == ["q"]
        assert file["boundary_conditions/x_wall"].attrs["bc_type"] == "WALL"


def test_what_does_not_fit_is_refused_or_told(foreign: Any, tmp_path: Path) -> None:
    data = convert(foreign("mppde"), tmp_path / "a.h5")
    told = to_pdebench(data, tmp_path / "b.hdf5")
    assert "parameter alpha left out" in told and "3 test samples, but PDEBench takes 1" in told
    assert (PDEBench().read(tmp_path / "b.hdf5").fields[0][1][:3] == data.test.load("u")).all()
    with pytest.raises(FileExistsError, match="b.hdf5 exists"):
        to_pdebench(data, tmp_path / "b.hdf5")
    with pytest.raises(FileNotFoundError, match="no folder"):
        to_well(data, tmp_path / "none" / "w")
    points = write_dataset(
        tmp_path / "p.h5",
        grid=Points(np.random.default_rng(0).random((5, 2))),
        fields=[(Field("u", "output"), np.zeros((1, 5)))],
        split=[0],
    )
    for write in (to_pdebench, to_well):
        with pytest.raises(DataError, match="holds values on points; that layout is for grids"):
            write(points, tmp_path / "q")
    one = write_dataset(
        tmp_path / "o.h5", grid=Grid.box((4,)), fields=[(Field("u", "output"), np.zeros((1, 4)))], split=[0]
    )
    with pytest.raises(DataError, match="has the fields u on 1 axes"):
        to_pdebench(one, tmp_path / "q")
    assert not list(tmp_path.glob("q*")) and not list(tmp_path.glob(".q*"))
    assert TheWell().format.startswith("a file")
