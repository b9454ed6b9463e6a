"""PDEBench, MP-PDE and PDEArena: layouts, fix-ups, splits, and near misses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sciml.datasets.readers import MessagePassing, PDEArena, PDEBench, convert, open_any
from sciml.errors import DataError
from sciml.grid import Axis


def edited(path: Path, drop: str = "", **put: Any) -> Path:
    with h5py.File(path, "a") as file:
        if drop:
            del file[drop]
        for name, array in put.items():
            file[name.replace("__", "/").replace("_coordinate", "-coordinate")] = array
    return path


def test_scalars_in_one_dimension(foreign: Any, tmp_path: Path) -> None:
    path = foreign("pdebench_advection")
    data = convert(path, tmp_path / "a.h5")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(data.load("u"), file["tensor"][:])
        np.testing.assert_allclose(data.grid.axes[0].coordinates, file["x-coordinate"][:], rtol=1e-6)
        assert data.times is not None and np.allclose(data.times, file["t-coordinate"][:5])
    assert data.grid.axes == (Axis("x", 0.0, 1.0, 16, "cell", periodic=True),)
    assert "6 entries for 5 frames, the last one left out" in data.attributes["conversion_notes"]
    assert data.attributes["beta"] == 0.4 and data.attributes["pde"] == "advection_1d"
    assert data.attributes["task"]["kind"] == "rollout"
    # PDEBench's test samples are the first tenth; validation is taken from the others.
    assert data.variable("split").tolist()[:2] == [2, 2]
    assert np.bincount(data.variable("split")).tolist() == [17, 1, 2]


def test_the_coefficient_of_burgers_is_divided_by_pi(foreign: Any, tmp_path: Path) -> None:
    data = convert(foreign("pdebench_burgers"), tmp_path / "a.h5")
    assert data.attributes["viscosity"] == pytest.approx(0.01 / math.pi, rel=1e-15)
    assert data.attributes["Nu"] == 0.01 and "Nu / pi" in data.attributes["conversion_notes"]


def test_darcy(foreign: Any, tmp_path: Path) -> None:
    path = foreign("pdebench_darcy")
    data = convert(path, tmp_path / "a.h5")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(data.load("a"), file["nu"][:])
        np.testing.assert_array_equal(data.load("u"), file["tensor"][:, 0])
    assert [axis.size for axis in data.grid.axes] == [8, 6] and data.grid.axes[0].location == "cell"
    assert data.attributes["task"]["inputs"] == ["a"] and data.attributes["task"]["outputs"] == ["u"]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_compressible_flow_of_every_rank(rank: int, foreign: Any, tmp_path: Path) -> None:
    path = foreign.pdebench_flow(tmp_path / "flow", rank)
    data = convert(path, tmp_path / "a.h5")
    assert list(data.fields) == ["density", "pressure", "Vx", "Vy", "Vz"][: 2 + rank]
    with h5py.File(path) as file:
        for name in data.fields:
            np.testing.assert_array_equal(data.load(name), file[name][:])
    assert data.attributes["M"] == 0.1 and data.grid.rank == rank


def test_smoke_has_its_components_in_front(foreign: Any, tmp_path: Path) -> None:
    path = foreign("pdebench_smoke")
    data = convert(path, tmp_path / "a.h5")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(data.load("velocity"), np.moveaxis(file["velocity"][:], -1, 2))
        np.testing.assert_array_equal(data.load("force"), np.moveaxis(file["force"][:], -1, 1))
    assert "no coordinates" in data.attributes["conversion_notes"]
    uneven = edited(path, "t")
    edited(uneven, t=np.arange(20.0).reshape(4, 5))
    with pytest.raises(DataError, match="the samples have different times"):
        PDEBench().read(uneven)


def test_groups_keep_or_turn_their_axes_and_test_on_the_last(foreign: Any, tmp_path: Path) -> None:
    path = foreign("pdebench_groups")
    data = convert(path, tmp_path / "a.h5")
    u = data.load("u")
    assert u.shape == (10, 3, 2, 8, 6)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(u[3], np.moveaxis(file["0003/data"][:], -1, 1))
    assert data.variable("split")[-1] == 2 and data.variable("split")[0] != 2
    assert data.attributes["pdebench_config"].startswith("D_u")
    assert [axis.lower for axis in data.grid.axes] == [-1.0, -1.0] and not data.grid.axes[0].periodic
    swapped = foreign.pdebench_groups(tmp_path / "swapped", swapped=True)
    other = convert(swapped, tmp_path / "b.h5")
    with h5py.File(swapped) as file:
        np.testing.assert_array_equal(
            other.load("u")[3], np.moveaxis(file["0003/data"][:], -1, 1).swapaxes(2, 3)
        )
    assert "order y, x and is turned" in other.attributes["conversion_notes"]


def test_near_misses_of_pdebench_name_what_is_missing(foreign: Any) -> None:
    def refused(path: Path, words: str) -> None:
        with pytest.raises(DataError, match=words):
            PDEBench().read(path)

    refused(edited(foreign("pdebench_advection"), "t-coordinate"), "lacks 't-coordinate'")
    refused(edited(foreign("pdebench_darcy"), "x-coordinate"), "lacks 'x-coordinate'")
    refused(edited(foreign("pdebench_flow"), "Vy"), "lacks 'Vy'")
    refused(edited(foreign("pdebench_smoke"), "force"), "lacks 'force'")
    refused(edited(foreign("pdebench_groups"), "0004/grid/x"), "lacks '0004/grid/x'")
    refused(edited(foreign("pdebench_sorption"), "0000/data"), "lacks '0000/data'")
    path = edited(foreign("pdebench_burgers"), "x-coordinate")
    refused(edited(path, x_coordinate=np.arange(15.0)), r"x-coordinate has shape \(15,\)")
    path = edited(foreign("pdebench_advection"), "x-coordinate")
    refused(edited(path, x_coordinate=np.arange(16.0) ** 2), "a grid has one spacing")
    path = edited(foreign("pdebench_groups"), "0002/data")
    refused(edited(path, **{"0002__data": np.zeros((3, 8, 7, 2))}), "0002/data has shape")


def test_soft_links_and_types_by_name_are_passed_over(foreign: Any, tmp_path: Path) -> None:
    path = foreign("pdebench_groups")
    plain = convert(path, tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file["0003/circle"] = h5py.SoftLink("/0003")
        file["kind"] = np.dtype("f4")
    other = convert(path, tmp_path / "b.h5")
    np.testing.assert_array_equal(plain.load("u"), other.load("u"))


def test_message_passing(foreign: Any, tmp_path: Path) -> None:
    path = foreign("mppde")
    data = convert(path, tmp_path / "a.h5")
    with h5py.File(path) as file:
        for view, split in ((data.train, "train"), (data.valid, "valid"), (data.test, "test")):
            np.testing.assert_array_equal(view.load("u"), file[f"{split}/pde_6-8"][:])
            np.testing.assert_array_equal(
                view.parameters(), np.stack([file[f"{split}/{n}"][:] for n in ("alpha", "beta", "gamma")], 1)
            )
    assert data.grid.axes == (Axis("x", 0.0, 16.0, 8, "node", periodic=True),)
    assert data.times is not None and data.times.tolist() == np.linspace(0, 4, 6).tolist()


def test_one_of_several_resolutions_must_be_chosen(foreign: Any, tmp_path: Path) -> None:
    path = foreign.mppde(tmp_path / "m", ("pde_6-8", "pde_6-16"), (("train", 6),))
    with pytest.raises(DataError, match="several resolutions, pde_6-16, pde_6-8. Choose one.*--array"):
        open_any(path, cache=tmp_path / "cache")
    data = convert(path, tmp_path / "a.h5", readers=(MessagePassing("pde_6-16"),))
    assert data.grid.shape == (16,)
    assert len(data.train) < 6  # one group is no split
    with pytest.raises(DataError, match="no array 'pde_6-17'.*Did you mean 'pde_6-16'"):
        MessagePassing("pde_6-17").read(path)
    with pytest.raises(DataError, match="lacks 'train/beta'|lacks 'valid/beta'"):
        MessagePassing().read(edited(foreign("mppde"), "valid/beta"))


def test_pdearena(foreign: Any, tmp_path: Path) -> None:
    path = foreign("pdearena")
    data = convert(path, tmp_path / "a.h5")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(data.valid.load("vy"), file["valid/vy"][:])
        np.testing.assert_array_equal(data.variable("buoyancy")[:4], file["train/buo_y"][:])
    assert data.times is not None and data.times.tolist() == [0.0, 1.5, 3.0]
    assert [axis.upper for axis in data.grid.axes] == [32.0, 32.0]
    with pytest.raises(DataError, match="lacks 'train/vx'"):
        PDEArena().read(edited(path, "train/vx"))
