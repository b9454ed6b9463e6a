"""Files of others: the real ones, near misses made here, and hostile ones."""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import xarray
from torch import Tensor

from sciml.dataset import Dataset, open_dataset
from sciml.datasets.readers import NetCDF, NeuralOperator, convert, open_any
from sciml.datasets.readers.conversion import recognize, split_by_hash
from sciml.datasets.readers.torch_file import load_tensors
from sciml.description import build, describe
from sciml.errors import ConfigError, DataError
from sciml.files import sha256
from sciml.grid import Axis, Grid


def saved(path: Path, **tensors: Any) -> Path:
    torch.save(tensors, path)
    return path


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def bump(n: int, upper: float) -> Tensor:
    """sin(pi s) sin(pi t) at n nodes of [0, upper]: zero at the lower edges."""
    s = torch.sin(torch.pi * torch.linspace(0, upper, n))
    return s[:, None] * s[None, :]


# neuraloperator


def test_darcy_of_neuraloperator(test_data: Path, tmp_path: Path) -> None:
    source = test_data / "neuraloperator" / "darcy_train_16.pt"
    data = open_any(source, cache=tmp_path / "cache")
    raw = torch.load(source, weights_only=True)
    assert [(f.name, f.role) for f in data.fields.values()] == [("a", "input"), ("u", "output")]
    a, u = data.tensor(["a"]), data.tensor(["u"])
    assert a.shape == u.shape == (1000, 1, 16, 16)
    assert torch.equal(a[:, 0], raw["x"].float()) and torch.equal(u[:, 0], raw["y"])
    for axis in data.grid.axes:  # the 421 nodes of the unit interval with stride 26
        np.testing.assert_allclose(axis.coordinates, np.linspace(0, 1, 421)[::26][:16], rtol=1e-14)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [900, 50, 50]
    notes = data.attributes["conversion_notes"]
    for word in (
        "truth values",
        "every 26th of 421 nodes",
        "exchanging the axes",
        "split 0.9 : 0.05 : 0.05",
        "seed 0",
    ):
        assert word in notes
    assert data.attributes["source_sha256"] == sha256(source)
    assert data.attributes["source_file"] == "darcy_train_16.pt"
    assert data.attributes["task"]["inputs"] == ["a"]
    # The second time the file is only opened, under whatever name the source has.
    written = data.path.stat().st_mtime_ns
    again = open_any(source, cache=tmp_path / "cache")
    assert (again.path, again.digest, again.path.stat().st_mtime_ns) == (data.path, data.digest, written)


def test_burgers_of_neuraloperator(test_data: Path, tmp_path: Path) -> None:
    source = test_data / "neuraloperator" / "burgers_train_16.pt"
    data = convert(source, tmp_path / "burgers.h5")
    raw = torch.load(source, weights_only=True)
    assert data.grid == Grid((Axis("x", 0.0, 1.0, 16, "node", periodic=True),))
    assert data.attributes["viscosity"] == 0.01
    assert data.attributes["task"] == {"kind": "rollout", "inputs": ["u"], "outputs": ["u"]}
    u = data.tensor(["u"], dtype=torch.float64)
    assert u.shape == (800, 17, 1, 16) and torch.equal(u[:, :, 0], raw["y"])
    assert torch.equal(data.tensor(["u0"], dtype=torch.float64)[:, 0], raw["x"])
    assert data.times is not None and data.times.tolist() == list(range(17))


def test_a_finer_slice_of_the_same_nodes_is_the_same_domain(tmp_path: Path) -> None:
    files = {}
    for n, stride in ((16, 26), (32, 13)):
        y = bump(421, 1.0)[::stride, ::stride][:n, :n].expand(4, -1, -1).clone()
        files[n] = convert(
            saved(tmp_path / f"{n}.pt", x=y > 0.3, y=y), tmp_path / f"{n}.h5", fractions=(1, 0, 0)
        )
    assert files[32].grid == files[16].grid.with_shape((32, 32))


@pytest.mark.parametrize(
    ("y", "axis"),
    [
        (bump(85, 1.0).expand(2, -1, -1), Axis("x", 0.0, 1.0, 85, "node")),
        (torch.cos(2 * torch.pi * torch.arange(20) / 20).expand(2, -1), Axis("x", 0, 1, 20, "node", True)),
        (torch.cos(torch.linspace(0, 2 * torch.pi, 21)).expand(2, -1), Axis("x", 0, 1, 20, "node", True)),
        ((1 + torch.linspace(0, 1, 9)).expand(2, -1), Axis("x", 0, 1, 9, "node")),
        (torch.linspace(0, 1, 9).expand(2, -1), Axis("x", 0, 1, 9, "left")),
    ],
)
def test_the_grid_is_read_off_the_edges(y: Tensor, axis: Axis, tmp_path: Path) -> None:
    data = convert(saved(tmp_path / "a.pt", x=y.clone(), y=y.clone()), tmp_path / "a.h5", fractions=(1, 0, 0))
    assert data.grid.axes[0] == axis
    assert data.tensor(["u"]).shape[2:] == data.grid.shape


def test_channels_integers_half_precision_and_parameters(tmp_path: Path) -> None:
    x, y = random(6, 3, 8, 8).mul(9).to(torch.int32), random(6, 2, 8, 8, seed=1).half()
    path = saved(tmp_path / "a.pt", x=x, y=y, visc=torch.arange(6.0))
    data = convert(path, tmp_path / "a.h5")
    assert data.tensor(["a"]).shape == (6, 3, 8, 8) and data.tensor(["u"]).shape == (6, 2, 8, 8)
    torch.testing.assert_close(data.tensor(["u"]), y.float(), rtol=0, atol=0)
    assert data.parameter_names == ("viscosity",)
    assert "x was integers" in data.attributes["conversion_notes"]
    assert "y was float16" in data.attributes["conversion_notes"]
    flow = saved(tmp_path / "b.pt", x=random(3, 8), y=random(3, 5, 8, seed=1))
    other = convert(flow, tmp_path / "b.h5", fractions=(1, 0, 0))
    assert "does not equal" in other.attributes["conversion_notes"]
    assert other.fields["u"].role == "output" and other.fields["u"].time


def test_views_of_larger_storage_and_any_order_of_strides_are_read(tmp_path: Path) -> None:
    """The shipped files are slices of Fortran-ordered arrays."""
    x = random(8, 8, 9).permute(2, 0, 1)[:5]
    found = load_tensors(saved(tmp_path / "a.pt", x=x, y=x))
    assert torch.equal(found["x"], x) and not found["x"].is_contiguous()


class Harmful:
    """Its pickle would make a folder when read without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


def test_code_in_a_file_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "a.pt", x=random(4, 8), y=Harmful())
    with pytest.raises(DataError, match="torch refuses to load it as plain tensors"):
        open_any(path, cache=tmp_path / "cache")
    assert sorted(p.name for p in tmp_path.iterdir()) in (["a.pt"], ["a.pt", "cache"])


def test_size_tricks_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    bomb = torch.zeros(1).as_strided((10**6, 10**6), (0, 0))  # 4 TB when copied, in 1 kB
    with pytest.raises(DataError, match=r"claims shape \(1000000, 1000000\) .* share memory"):
        NeuralOperator().read(saved(tmp_path / "a.pt", x=bomb, y=random(4, 8)))
    windows = random(100).as_strided((50, 50), (1, 1))
    with pytest.raises(DataError, match="share memory"):
        NeuralOperator().read(saved(tmp_path / "b.pt", x=windows, y=random(4, 8)))
    plain = saved(tmp_path / "c.pt", x=torch.zeros(64, 1024), y=torch.zeros(64, 1024))
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(tmp_path / "d.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, old.read(member), zipfile.ZIP_STORED if "pkl" in member else None)
    with pytest.raises(DataError, match="is compressed or encrypted"):
        NeuralOperator().read(tmp_path / "d.pt")
    with zipfile.ZipFile(plain, "a") as archive:
        archive.writestr("c/code/run.py", "print()")
    with pytest.raises(DataError, match="none that torch.save writes"):
        NeuralOperator().read(plain)
    deep = saved(tmp_path / "e.pt", x=random(2, 4), y=random(2, 4), **{"k" * 70_000: random(1)})
    with pytest.raises(DataError, match="more than names and shapes"):
        NeuralOperator().read(deep)


@pytest.mark.parametrize("cut", [0, 1, 100, 0.5, 0.98])
def test_truncated_archives_are_refused(cut: float, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", x=random(8, 16), y=random(8, 16))
    raw = path.read_bytes()
    path.write_bytes(raw[: cut if isinstance(cut, int) else int(cut * len(raw))])
    with pytest.raises(DataError, match=str(path)):
        open_any(path, cache=tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"x": random(4, 8)}, "no reader recognizes it.*names 'x'"),
        ({"x": random(4, 8), "y": random(4, 8), "z": random(1)}, "expected the names x, y and perhaps visc"),
        ({"x": random(4, 8), "y": [1.0]}, "'y' is a list, not a tensor"),
        ({"x": random(4, 8), "y": random(4, 8) * 1j}, "'y' must be a plain tensor of real numbers"),
        ({"x": random(4, 8), "y": random(0, 8)}, "at least one entry"),
        ({"x": random(4, 8), "y": random(4, 9)}, r"x has shape \(4, 8\) and y \(4, 9\)"),
        ({"x": random(4, 8), "y": random(3, 8)}, "x has shape"),
        ({"x": random(4), "y": random(4)}, "x has shape"),
        ({"x": random(4, 8), "y": random(4, 8), "visc": random(3)}, "visc has 3 numbers"),
        ({"x": random(4, 8), "y": random(4, 8).log() * float("inf")}, "not finite"),
        ({"x": random(4, 8), "y": random(4, 8).to_sparse()}, "plain tensor"),
    ],
)
def test_near_misses_are_refused_in_a_sentence(content: Any, match: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(DataError, match=match):
        open_any(tmp_path / "a.pt", cache=tmp_path / "cache")


def test_other_files_are_refused_by_what_they_hold(test_data: Path, tmp_path: Path) -> None:
    expected = {
        "pina/advection_input_training.pt": "a torch archive of bare tensors without names",
        "neuraloperator/mini_car.pt": "a torch archive with the names 'centroids'",
        "mesh_sfepy/citroen.h5": "HDF5 file without dimension scales; its root holds 'last_step'",
        "foreign_hdf5/vlen_string_dset_utc.h5": "HDF5 file without dimension scales",
        "deepxde/Burgers.npz": "a zip archive that holds 't.npy'",
        "raissi_pinns/AC.mat": "a MATLAB 5 file",
        "mesh_mfem/star.mesh": "an unknown format that begins with",
    }
    for name, words in expected.items():
        with pytest.raises(DataError, match=words) as refusal:
            open_any(test_data / name, cache=tmp_path)
        assert "Tried: a neuraloperator file" in str(refusal.value)
    ordered = OrderedDict(x=random(4, 8), y=random(4, 8))  # a dictionary all the same
    torch.save(ordered, tmp_path / "a.pt")
    assert len(open_any(tmp_path / "a.pt", cache=tmp_path)) == 4


# netCDF


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
    refused("cdf5.nc", "no reader recognizes it")


def test_truncated_netcdf3_is_refused(tmp_path: Path) -> None:
    labelled().to_netcdf(tmp_path / "a.nc", engine="scipy")
    raw = (tmp_path / "a.nc").read_bytes()
    reader = NetCDF(("t2m",), ("wind",), sample="run")
    for cut in range(5, len(raw) - 800, 401):
        (tmp_path / "b.nc").write_bytes(raw[:cut])
        with pytest.raises(DataError, match="b.nc"):
            reader.read(tmp_path / "b.nc")


# conversion


def small(folder: Path) -> Path:
    return saved(folder / "small.pt", x=random(10, 8), y=random(10, 8, seed=1))


def test_our_own_file_is_opened_as_it_is(tmp_path: Path) -> None:
    data = convert(small(tmp_path), tmp_path / "own.dat")
    opened = open_any(data.path, cache=tmp_path / "untouched")
    assert isinstance(opened, Dataset) and opened.path == data.path
    assert not (tmp_path / "untouched").exists()
    with pytest.raises(DataError, match="is a sciml dataset already"):
        convert(data.path, tmp_path / "again.h5")
    raw = bytearray(data.path.read_bytes())
    raw[raw.find(data.load("a")[3].tobytes())] ^= (
        1  # damage is for open_dataset to name, not "an unknown format"
    )
    (tmp_path / "damaged.dat").write_bytes(raw)  # another file: HDF5 shares what it holds of open ones
    with pytest.raises(DataError, match="damaged.dat"):
        open_any(tmp_path / "damaged.dat", cache=tmp_path).verify()


def test_the_cache_follows_content_and_settings(tmp_path: Path) -> None:
    source, cache = small(tmp_path), tmp_path / "deep" / "cache"
    first = open_any(source, cache=cache)
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.copy(source, tmp_path / "elsewhere" / "small.pt"))
    assert open_any(moved, cache=cache).path == first.path
    assert open_any(source, cache=cache, seed=1).path != first.path
    assert open_any(source, cache=cache, fractions=(1.0, 0.0, 0.0)).path != first.path
    saved(source, x=random(10, 8), y=random(10, 8, seed=2))
    assert open_any(source, cache=cache).path != first.path
    first.path.write_bytes(b"damaged")
    assert open_any(moved, cache=cache).digest == first.digest
    # Two conversions of one file are equal byte by byte.
    convert(moved, tmp_path / "a.h5")
    convert(moved, tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert open_dataset(tmp_path / "a.h5").digest == first.digest


def test_splits_are_exact_disjoint_and_seeded() -> None:
    for count, expected in ((1000, [800, 100, 100]), (10, [8, 1, 1]), (9, [7, 1, 1]), (2, [2, 0, 0])):
        assert np.bincount(split_by_hash(count, (0.8, 0.1, 0.1), 0), minlength=3).tolist() == expected
    one, other = (split_by_hash(200, (0.8, 0.1, 0.1), seed) for seed in (0, 1))
    assert (one == split_by_hash(200, (0.8, 0.1, 0.1), 0)).all() and (one != other).any()
    for wrong in ((0.5, 0.5, 0.5), (0.0, 0.5, 0.5), (1.1, -0.1, 0.0)):
        with pytest.raises(DataError, match="three shares that sum to 1"):
            split_by_hash(10, wrong, 0)


def test_readers_describe_themselves_and_never_look_at_names(tmp_path: Path) -> None:
    for reader in (NeuralOperator(), NetCDF(("a",), ("u",), sample="run")):
        assert build(describe(reader)) == reader
    source = small(tmp_path).rename(tmp_path / "strange.nc")
    assert isinstance(recognize(source), NeuralOperator)
    with pytest.raises(DataError, match=r"could be read as .*readers=\(\.\.\.\)"):
        recognize(source, (NeuralOperator(), NeuralOperator()))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        open_any(tmp_path / "absent.pt", cache=tmp_path)
    with pytest.raises(DataError, match="not a regular file"):
        open_any(tmp_path, cache=tmp_path)
    (tmp_path / "p.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="a Python pickle, which could run any code"):
        open_any(tmp_path / "p.pkl", cache=tmp_path)


def survive(source: Path, read: Any, count: int, seed: int) -> None:
    """Random bytes at random places: read, or refused by DataError, and nothing else."""
    raw, rng = source.read_bytes(), np.random.default_rng(seed)
    for i in range(count):
        mutated = bytearray(raw)
        for place in rng.integers(0, len(raw) if i % 3 == 0 else 500, rng.integers(1, 9)):
            mutated[place] = rng.integers(256)
        source.write_bytes(mutated)
        with contextlib.suppress(DataError):
            read(source)


@pytest.mark.filterwarnings("ignore")  # of xarray about odd attributes
@pytest.mark.parametrize("count", [60, pytest.param(5_000, marks=pytest.mark.fuzz)])
def test_mutated_files_are_read_or_refused(count: int, tmp_path: Path) -> None:
    survive(small(tmp_path), lambda path: recognize(path).read(path), count, seed=1)
    labelled().to_netcdf(tmp_path / "a.nc", engine="scipy")
    survive(tmp_path / "a.nc", NetCDF(("t2m",), ("wind",), sample="run").read, count, seed=2)


@pytest.mark.fuzz
def test_mutated_hdf5_ends_at_most_a_child(tmp_path: Path) -> None:
    labelled().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    survive(tmp_path / "a.nc", NetCDF(("t2m",), ("wind",), sample="run").read, 300, seed=3)
