"""MATLAB, NumPy and torch files: FNO, reference solutions, lists of points, folders of cases."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import xarray

from sciml.datasets.readers import CFDBench, FNOFile, NetCDF, PointLists, ReferenceSolution, convert, open_any
from sciml.datasets.readers.axes import axis_of
from sciml.datasets.readers.containers import contents, load
from sciml.errors import ConfigError, DataError
from sciml.grid import Axis


def test_darcy_of_the_fno_is_turned(foreign: Any, tmp_path: Path) -> None:
    path = foreign("fno_darcy")
    data = convert(path, tmp_path / "a.h5")
    raw = scipy.io.loadmat(path)
    np.testing.assert_array_equal(data.load("a"), raw["coeff"].swapaxes(1, 2))
    np.testing.assert_array_equal(data.load("u"), raw["sol"].swapaxes(1, 2))
    assert data.grid.axes[0] == Axis("x", 0.0, 1.0, 9, "node")
    assert list(data.fields) == ["a", "Kcoeff", "u"] and data.attributes["task"]["inputs"] == ["a"]


def test_maps_and_trajectories_of_the_fno(foreign: Any, tmp_path: Path) -> None:
    data = convert(foreign("fno_burgers"), tmp_path / "a.h5")
    assert data.grid.axes[0] == Axis("x", 0.0, 1.0, 32, "node", periodic=True)
    assert data.fields["u"].role == "output" and data.load("u").shape == (12, 32)
    data = convert(foreign("fno_navier_stokes"), tmp_path / "b.h5")
    arrays = foreign.navier_stokes_arrays()
    np.testing.assert_array_equal(data.load("u"), np.moveaxis(arrays["u"], -1, 1))
    np.testing.assert_array_equal(data.load("u0"), arrays["a"])
    assert data.times is not None and data.times.tolist() == [1, 2, 3, 4, 5]
    assert data.attributes["task"] == {"kind": "rollout", "inputs": ["u"], "outputs": ["u"]}
    data = convert(foreign("fno_viscous"), tmp_path / "c.h5")
    assert data.load("u").shape == (6, 5, 16) and "left out: gamma" in data.attributes["conversion_notes"]


def test_the_same_names_in_hdf5_but_not_in_netcdf(foreign: Any, tmp_path: Path) -> None:
    arrays = {"coeff": foreign.values(4, 5, 5), "sol": foreign.values(4, 5, 5, seed=1)}
    path = foreign.hdf5(tmp_path / "a", arrays)
    np.testing.assert_array_equal(convert(path, tmp_path / "a.h5").load("u"), arrays["sol"].swapaxes(1, 2))
    assert not FNOFile().detect(foreign.hdf5(tmp_path / "b", {"a": arrays["sol"]}))
    fields = {name: (("sample", "x"), foreign.values(6, 8)) for name in ("a", "u")}
    labelled = xarray.Dataset(fields, coords={"x": np.linspace(0, 1, 8)})
    labelled.to_netcdf(tmp_path / "c.nc", engine="h5netcdf")
    assert not FNOFile().detect(tmp_path / "c.nc")
    data = convert(tmp_path / "c.nc", tmp_path / "c.h5", readers=(NetCDF(("a",), ("u",)), FNOFile()))
    assert data.attributes["source_format"] == NetCDF().format


def test_matlab_5_and_7_3_give_the_same_arrays(foreign: Any, tmp_path: Path) -> None:
    arrays = {
        **foreign.navier_stokes_arrays(),
        "z": np.exp(1j * np.arange(6.0)).reshape(2, 3),
        "flags": np.array([[True, False]]),
        "n": np.arange(4, dtype="i4")[None],
    }
    scipy.io.savemat(tmp_path / "five", arrays, appendmat=False)
    foreign.mat73(tmp_path / "seven", arrays)
    found = {name: load(tmp_path / name, arrays) for name in ("five", "seven")}
    for name, array in arrays.items():
        for loaded in found.values():
            np.testing.assert_array_equal(loaded[name], array)
        assert found["five"][name].dtype.kind == found["seven"][name].dtype.kind or name == "flags"
    notes = [
        convert(tmp_path / name, tmp_path / f"{name}.h5").attributes["conversion_notes"] for name in found
    ]
    assert notes[0] == notes[1]


def test_near_misses_of_the_fno(foreign: Any, tmp_path: Path) -> None:
    cases = {
        "lacks 'sol'": {"coeff": foreign.values(4, 8, 8)},
        "lacks 'u'": {"a": foreign.values(4, 8)},
        "lacks 'output'": {"input": foreign.values(4, 8)},
        r"a has shape \(4, 8\) and u \(4, 9\)": {"a": foreign.values(4, 8), "u": foreign.values(4, 9)},
        r"a has shape \(4, 8\) and u \(3, 8, 5\)": {"a": foreign.values(4, 8), "u": foreign.values(3, 8, 5)},
        "4 frames but times": {
            "a": foreign.values(4, 8),
            "u": foreign.values(4, 8, 4),
            "t": np.arange(9.0),
        },
    }
    for words, arrays in cases.items():
        scipy.io.savemat(tmp_path / "m", arrays, appendmat=False)
        with pytest.raises(DataError, match=words):
            FNOFile().read(tmp_path / "m")


def test_reference_solutions(foreign: Any, tmp_path: Path) -> None:
    path = foreign("reference_npz")
    data = convert(path, tmp_path / "a.h5")
    raw = np.load(path)
    np.testing.assert_array_equal(data.load("usol")[0], raw["usol"].T)  # stored [x, t]
    assert data.grid.axes[0] == Axis("x", -1.0, 1.0, 9, "node")
    data = convert(foreign("reference_mat"), tmp_path / "b.h5")
    raw = scipy.io.loadmat(foreign.folder / "reference_mat")
    np.testing.assert_array_equal(data.load("uu")[0, :, 0], raw["uu"].T.real)
    np.testing.assert_array_equal(data.load("uu")[0, :, 1], raw["uu"].T.imag)
    assert data.grid.axes[0] == Axis("x", -5.0, 5.0, 16, "node", periodic=True)
    assert data.attributes["nu"] == 0.5 and data.times is not None and len(data.times) == 7


def test_axes_of_equal_length_must_be_named(foreign: Any, tmp_path: Path) -> None:
    x = np.linspace(0, 1, 9)
    path = foreign.npz(tmp_path / "square", t=x, x=x, Ca=foreign.values(9, 9))
    with pytest.raises(DataError, match=r"it may be \(x, t\) or \(t, x\).*--axes t --axes x"):
        open_any(path, cache=tmp_path)
    for axes, turned in ((("t", "x"), False), (("x", "t"), True)):
        data = convert(path, tmp_path / "a.h5", readers=(ReferenceSolution(axes),))
        raw = np.load(path)["Ca"]
        np.testing.assert_array_equal(data.load("Ca")[0], raw.T if turned else raw)
    with pytest.raises(ConfigError, match="some of x, y, z, t"):
        ReferenceSolution(("t", "q"))


def test_points_become_a_grid_where_they_are_one(foreign: Any, tmp_path: Path) -> None:
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, 1, 5), np.linspace(0, 2, 4)))
    order = np.random.default_rng(0).permutation(20)
    path = foreign.npz(tmp_path / "a", x=x[order], y=y[order], w=(x + 10 * y)[order])
    data = convert(path, tmp_path / "a.h5")
    assert data.kind == "grid" and data.grid.shape == (5, 4)
    np.testing.assert_allclose(data.load("w")[0], np.linspace(0, 1, 5)[:, None] + 10 * np.linspace(0, 2, 4))
    # Chebyshev points and a wake: X_star, t, and fields [point, component, time].
    cloud = foreign.values(30, 2, dtype="f8")
    wake = {
        "X_star": cloud,
        "t": np.arange(7.0)[:, None],
        "U_star": foreign.values(30, 2, 7),
        "p_star": foreign.values(30, 7),
    }
    scipy.io.savemat(tmp_path / "wake", wake, appendmat=False)
    data = convert(tmp_path / "wake", tmp_path / "b.h5")
    assert data.kind == "points" and data.times is not None and len(data.times) == 7
    np.testing.assert_array_equal(data.load("U_star")[0], wake["U_star"].transpose(2, 0, 1))
    np.testing.assert_array_equal(data.load("p_star")[0], wake["p_star"].T)
    x = np.cos(np.pi * np.arange(9) / 8)[::-1].copy()
    path = foreign.npz(tmp_path / "c", x=x, t=np.arange(4.0), u=foreign.values(4, 9))
    data = convert(path, tmp_path / "c.h5")
    assert data.kind == "points" and data.load("u").shape == (1, 4, 9)
    gaps = cloud.copy()
    gaps[3] = np.nan
    path = foreign.npz(tmp_path / "d", X_test=cloud, y_ref=np.where(np.arange(30) == 3, np.nan, 1.0)[:, None])
    data = convert(path, tmp_path / "d.h5")
    assert len(data.mesh(0)) == 29 and "1 points without finite values" in data.attributes["conversion_notes"]


def test_near_misses_of_reference_solutions(foreign: Any, tmp_path: Path) -> None:
    x = np.linspace(0, 1, 9)
    cases = {
        r"no array fits the axes": {"x": x, "t": x[:4], "u": foreign.values(9, 5)},
        "the axis x does not increase": {"x": x[::-1].copy(), "t": x[:4], "u": foreign.values(9, 4)},
        "no array has one row for each of 9 points": {"X": foreign.values(9, 2), "y": foreign.values(8, 1)},
    }
    for words, arrays in cases.items():
        path = foreign.npz(tmp_path / "a", **arrays)
        with pytest.raises(DataError, match=words):
            open_any(path, cache=tmp_path)


def test_objects_and_bombs_in_archives_are_refused(foreign: Any, tmp_path: Path) -> None:
    ragged = np.empty(2, object)
    ragged[:] = [foreign.values(3), foreign.values(4)]
    np.savez(tmp_path / "a.npz", X=ragged, y=foreign.values(3))
    assert "pickled objects" in contents(tmp_path / "a.npz").others["X"]  # type: ignore[union-attr]
    with pytest.raises(DataError, match="no reader recognizes it.*pickled objects, which could run any code"):
        open_any(tmp_path / "a.npz", cache=tmp_path)
    header = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }".ljust(117)
        + b"\n"
    )
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("x.npy", header + bytes(80))
    with pytest.raises(DataError, match="'x' declares 8000000000000 bytes but stores"):
        open_any(tmp_path / "bomb.npz", cache=tmp_path)
    scipy.io.savemat(tmp_path / "cell.mat", {"x": ragged, "u": foreign.values(3)})
    with pytest.raises(DataError, match=r"x \(a MATLAB cell\)"):
        open_any(tmp_path / "cell.mat", cache=tmp_path)
    note = foreign.npz(tmp_path / "note", x=np.arange(4.0), u=foreign.values(4), about=np.array("text"))
    assert contents(note).others == {"about": "type <U4"}  # type: ignore[union-attr]
    assert len(open_any(note, cache=tmp_path)) == 1
    np.save(tmp_path / "one.npy", foreign.values(3))
    with pytest.raises(DataError, match="one array without a name"):
        open_any(tmp_path / "one.npy", cache=tmp_path)


def test_deeponets(foreign: Any, tmp_path: Path) -> None:
    path = foreign("deeponet")
    data, raw = convert(path, tmp_path / "a.h5"), np.load(path)
    assert data.kind == "points" and len(data.test) == 3 and data.fields["v"].on == "own"
    np.testing.assert_array_equal(data.test.load("u"), raw["y_test"])
    np.testing.assert_array_equal(np.stack(data.test.arrays("v")), raw["X_test0"])
    np.testing.assert_array_equal(data.mesh(0).coordinates, raw["X_train1"])
    path = foreign("deeponet_grid")
    data, raw = convert(path, tmp_path / "b.h5"), scipy.io.loadmat(path)
    assert data.grid.axes == (Axis("x", 0.0, 1.0, 9, "node"),)
    np.testing.assert_array_equal(data.load("v"), raw["X0"])
    arrays = {"X0": foreign.values(4, 3), "X1": foreign.values(5, 1)}
    with pytest.raises(DataError, match="lacks 'y'"):
        open_any(foreign.npz(tmp_path / "c", **arrays), cache=tmp_path)
    with pytest.raises(DataError, match=r"expected \(sample, sensor\), \(point, dim\)"):
        open_any(foreign.npz(tmp_path / "c", **arrays, y=foreign.values(4, 6)), cache=tmp_path)


@pytest.mark.parametrize("name", ["gnot_torch", "gnot_npz", "gnot_hdf5"])
def test_lists_of_points(name: str, foreign: Any, tmp_path: Path) -> None:
    data = convert(foreign(name), tmp_path / "a.h5")
    assert data.kind == "points" and data.parameter_names == ("theta_0", "theta_1")
    assert [(f.name, f.role, f.components, f.on) for f in data.fields.values()] == [
        ("u", "output", 3, "points"),
        ("input_0", "input", 1, "own"),
        ("input_1", "input", 1, "own"),
    ]
    for i, (x, y, theta, functions) in enumerate(foreign.gnot_samples()):
        np.testing.assert_allclose(data.mesh(i).coordinates, x, rtol=1e-7)
        np.testing.assert_array_equal(data.arrays("u")[i], y)
        np.testing.assert_array_equal(data.parameters()[i], theta.astype("f8"))  # type: ignore[index]
        np.testing.assert_array_equal(data.arrays("input_0")[i], functions[0][:, 2])
        assert (data.arrays("input_1")[i] == 1).all() and len(data.arrays("input_1")[i]) == 3


def test_near_misses_of_lists(foreign: Any, tmp_path: Path) -> None:
    x, y = torch.rand(5, 2), torch.rand(5, 1)
    cases: dict[str, Any] = {
        "sample 1 holds": [[x, y], [x, "text"]],
        r"points \(5, 2\) and u \(4, 1\)": [[x, y[:4].clone()]],
        "expected the same": [[x, y, y[0].clone()], [x, y]],
        "neither a tensor nor None": [[x, y, y[0].clone(), ("text",)]],
        "input 0 of sample 1 is None": [[x, y, y[0].clone(), (x,)], [x, y, y[0].clone(), (None,)]],
        "has no points": [{"a": y}],
        "is a Tensor": [x, y],
    }
    for words, content in cases.items():
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(DataError, match=words):
            PointLists().read(tmp_path / "a.pt")
    path = foreign.npz(tmp_path / "a.npz", X_0=foreign.values(5, 2))
    with pytest.raises(DataError, match="lacks 'Y of sample 0'"):
        open_any(path, cache=tmp_path)
    looped: list[Any] = [[x, y]]
    looped.append(looped)
    torch.save(looped, tmp_path / "loop.pt")
    with pytest.raises(DataError):
        PointLists().read(tmp_path / "loop.pt")


def test_cars(foreign: Any, test_data: Path, tmp_path: Path) -> None:
    data = convert(test_data / "neuraloperator" / "mini_car.pt", tmp_path / "a.h5")
    raw = torch.load(test_data / "neuraloperator" / "mini_car.pt", weights_only=True)
    assert data.kind == "points" and [f.role for f in data.fields.values()] == ["input", "output"]
    for i, sample in enumerate(raw):
        np.testing.assert_array_equal(data.arrays("press")[i], sample["press"][0].numpy())
        np.testing.assert_array_equal(data.mesh(i).coordinates, sample["vertices"].double().numpy())


def test_folders_of_cases(foreign: Any, tmp_path: Path) -> None:
    folder = foreign("cfdbench")
    data = convert(folder, tmp_path / "a.h5")
    assert data.load("u").shape == (3, 3, 2, 6, 5) and data.parameter_names == ("vel_in", "density")
    np.testing.assert_array_equal(
        data.load("u")[1, :, 1], np.load(folder / "case0001" / "v.npy").swapaxes(1, 2)
    )
    assert "cut to the shortest, 3" in data.attributes["conversion_notes"]
    (folder / "case0002" / "v.npy").unlink()
    with pytest.raises(DataError, match="case0002 lacks v.npy"):
        CFDBench().read(folder)
    np.save(folder / "case0002" / "v.npy", np.array([{}], object))
    with pytest.raises(DataError, match="pickled objects"):
        CFDBench().read(folder)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ((np.arange(64) + 0.5) / 64, Axis("x", 0.0, 1.0, 64, "cell")),
        (((np.arange(1024) + 0.5) / 1024).astype("f4"), Axis("x", 0.0, 1.0, 1024, "cell")),
        (np.linspace(0, 1, 1000, dtype="f4"), Axis("x", 0.0, 1.0, 1000, "node")),
        (np.linspace(-np.pi, np.pi, 65)[:-1], Axis("x", -np.pi, np.pi, 64, "left")),
        (np.linspace(2.5, 7.5, 33), Axis("x", 2.5, 7.5, 33, "node")),
        (np.arange(10.0), Axis("x", 0.0, 9.0, 10, "node")),
    ],
)
def test_ends_of_an_axis_are_the_rounder_numbers(points: Any, expected: Axis) -> None:
    assert axis_of(Path("f"), "x", points)[0] == expected


def test_values_tell_whether_an_axis_is_periodic() -> None:
    x = np.arange(64) / 64
    waves = np.sin(2 * np.pi * (x + np.linspace(0, 1, 9)[:, None]))
    axis, note = axis_of(Path("f"), "x", x, waves)
    assert axis == Axis("x", 0.0, 1.0, 64, "node", periodic=True) and "periodic nodes on [0, 1)" in note
    centers = (np.arange(64) + 0.5) / 64
    assert axis_of(Path("f"), "x", centers, waves)[0].periodic
    assert not axis_of(Path("f"), "x", centers, np.sin(np.pi * centers)[None])[0].periodic  # walls
    closed = np.linspace(0, 1, 65)
    assert axis_of(Path("f"), "x", closed, np.cos(2 * np.pi * closed)[None])[0].location == "node"
    with pytest.raises(DataError, match="must be finite and increase"):
        axis_of(Path("f"), "x", x[::-1])
