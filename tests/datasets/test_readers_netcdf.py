"""netCDF files of every kind, near misses, and hostile ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray

from sciml.datasets.readers import NetCDF, convert, open_any
from sciml.errors import ConfigError, DataError
from sciml.grid import Axis, Grid


def labelled(samples: int = 5) -> xarray.Dataset:
    rng = np.random.default_rng(0)
    lat, lon = np.linspace(60.0, 20.0, 5), np.linspace(-10.0, 30.0, 9)
    return xarray.Dataset(
        {
            "t2m": (("lon", "run", "lat"), rng.random((9, samples, 5)), {"units": "K", "long_name": "T"}),
            "wind": (("run", "lat", "lon", "component"), rng.random((samples, 5, 9, 2)).astype("f4")),
            "height": (("lat", "lon"), rng.integers(0, 99, (5, 9)).astype("i2"), {"units": "m"}),
            "other": ("run", rng.random(samples)),
        },
        coords={
            "lat": ("lat", lat, {"units": "degrees_north", "axis": "X"}),
            "lon": ("lon", lon, {"axis": "Y"}),
        },
        attrs={"title": "weather", "source": "somewhere"},
    )


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4", "scipy"])
def test_netcdf_files_of_every_kind(engine: Any, tmp_path: Path) -> None:
    made = labelled()
    made.to_netcdf(tmp_path / "a.dat", engine=engine, format="NETCDF3_64BIT" if engine == "scipy" else None)
    reader = NetCDF(inputs=("t2m", "height"), outputs=("wind",), sample="run")
    data = open_any(tmp_path / "a.dat", cache=tmp_path, readers=(reader,))
    assert [(f.name, f.role, f.units, f.components, f.sample) for f in data.fields.values()] == [
        ("t2m", "input", "K", 1, True),
        ("height", "input", "m", 1, False),
        ("wind", "output", "1", 2, True),
    ]
    assert data.grid == Grid(
        (
            Axis("lat", 20.0, 60.0, 5, "node", units="degrees_north"),
            Axis("lon", -10.0, 30.0, 9, "node"),
        )
    )
    turned = made.isel(lat=slice(None, None, -1))
    want = turned["t2m"].transpose("run", "lat", "lon").values
    np.testing.assert_array_equal(data.load("t2m"), want)
    np.testing.assert_array_equal(
        data.load("wind"), turned["wind"].transpose("run", "component", "lat", "lon").values
    )
    assert data.attributes["title"] == "weather"
    for word in ("lat: descended", "left out: other", "nodes with both ends, an assumption", "split"):
        assert word in data.attributes["conversion_notes"]
    assert data.fields["t2m"].long_name == "T"


def test_trajectories_and_axes_in_the_order_of_xarray(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = xarray.Dataset(
        {"w": (("sample", "time", "y", "x"), rng.random((4, 3, 6, 5)), {"sciml_role": "state"})},
        coords={
            "time": ("time", [0.0, 0.5, 2.0], {"units": "s"}),
            "x": ("x", np.arange(5) / 5, {"grid_location": "node", "periodic": np.int64(1)}),
            "y": ("y", (np.arange(6) + 0.5) / 6, {"grid_location": "cell"}),
        },
    )
    made.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    data = convert(tmp_path / "a.nc", tmp_path / "b.h5")
    assert data.grid.axes == (Axis("x", 0, 1.0, 5, "node", True), Axis("y", 0.0, 1.0, 6, "cell"))
    assert data.times is not None and data.times.tolist() == [0.0, 0.5, 2.0]
    assert data.attributes["task"]["kind"] == "rollout"
    np.testing.assert_array_equal(data.load("w"), made["w"].transpose("sample", "time", "x", "y").values)
    assert xarray.open_dataset(data.path, engine="h5netcdf", decode_times=False)["time"].units == "s"


def test_a_real_netcdf3_file_is_refused_for_a_reason(test_data: Path, tmp_path: Path) -> None:
    source = test_data / "foreign_netcdf" / "example_1.nc"
    with pytest.raises(DataError, match=r"nothing says which variables .* temp \(time, level, lat, lon\)"):
        open_any(source, cache=tmp_path)
    with pytest.raises(DataError, match="has no variable 'tmep'.*Did you mean 'temp'"):
        NetCDF(inputs=("tmep",), outputs=("rh",)).read(source)
    with pytest.raises(DataError, match="no dimension 'sample' counts samples"):
        NetCDF(inputs=("rh",), outputs=("rh",)).read(source)
    with pytest.raises(DataError, match="lon.*points must increase with one spacing"):  # its longitudes
        NetCDF(inputs=("rh",), outputs=("rh",), sample="time").read(source)
    with pytest.raises(DataError, match="the same axes of space"):
        NetCDF(inputs=("temp",), outputs=("rh",), sample="time").read(source)


def test_near_misses_of_netcdf(tmp_path: Path) -> None:
    path, reader = tmp_path / "a.nc", NetCDF(("t2m",), ("wind",), sample="run")
    labelled().drop_vars("lat").to_netcdf(path, engine="h5netcdf")
    with pytest.raises(DataError, match="the dimensions lat have no coordinates"):
        reader.read(path)
    labelled().assign(t2m=labelled()["t2m"].where(labelled()["t2m"] > 0.1)).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(DataError, match="'t2m' is not finite"):
        convert(path, tmp_path / "b.h5", readers=(reader,))
    assert not (tmp_path / "b.h5").exists()
    with pytest.raises(ConfigError, match="name both inputs and outputs"):
        NetCDF(inputs=("a",))


def test_hdf5_that_reaches_elsewhere_or_lies_about_its_size(tmp_path: Path) -> None:
    path, reader = tmp_path / "a.nc", NetCDF(("t2m",), ("wind",), sample="run")
    labelled().to_netcdf(path, engine="h5netcdf")

    def refused(name: str, words: str) -> None:
        with pytest.raises(DataError, match=words):
            convert(tmp_path / name, tmp_path / "out.h5", readers=(reader,))

    for name in ("link.nc", "bomb.nc"):
        shutil.copyfile(path, tmp_path / name)
    with h5py.File(tmp_path / "link.nc", "a") as file:
        file["elsewhere"] = h5py.ExternalLink("/etc/hosts", "/")
    refused("link.nc", "link into another file")
    with h5py.File(tmp_path / "bomb.nc", "a") as file:
        file.create_dataset("big", shape=(10**6, 10**6), dtype="f8", chunks=(1000, 1000))
    refused("bomb.nc", "big declares 8000000000000 bytes, none of which were ever written")
    (tmp_path / "half.nc").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused("half.nc", "half.nc")
    (tmp_path / "cdf5.nc").write_bytes(b"CDF\x05" + bytes(60))
    refused("cdf5.nc", "a netCDF-3 file with 64-bit data")


def test_truncated_netcdf3_is_refused(tmp_path: Path) -> None:
    labelled().to_netcdf(tmp_path / "a.nc", engine="scipy")
    raw = (tmp_path / "a.nc").read_bytes()
    reader = NetCDF(("t2m",), ("wind",), sample="run")
    for cut in range(5, len(raw) - 800, 401):
        (tmp_path / "b.nc").write_bytes(raw[:cut])
        with pytest.raises(DataError, match="b.nc"):
            reader.read(tmp_path / "b.nc")


@pytest.mark.filterwarnings("ignore")  # of xarray about odd attributes
@pytest.mark.parametrize("count", [60, pytest.param(5_000, marks=pytest.mark.fuzz)])
def test_mutated_netcdf3_is_read_or_refused(count: int, survive: Any, tmp_path: Path) -> None:
    labelled().to_netcdf(tmp_path / "a.nc", engine="scipy")
    survive(tmp_path / "a.nc", NetCDF(("t2m",), ("wind",), sample="run").read, count, seed=2)


@pytest.mark.fuzz
def test_mutated_hdf5_ends_at_most_a_child(survive: Any, tmp_path: Path) -> None:
    labelled().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    survive(tmp_path / "a.nc", NetCDF(("t2m",), ("wind",), sample="run").read, 300, seed=3)
