"""The Well: tiling, ranks, boundaries, parameters, folders, and near misses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sciml.datasets.readers import TheWell, convert
from sciml.errors import DataError
from sciml.grid import Axis


def test_axes_that_do_not_vary_are_tiled_or_left_out(foreign: Any, tmp_path: Path) -> None:
    path = foreign("well")
    data = convert(path, tmp_path / "a.h5")
    fields = {n: (f.role, f.components, f.rank, f.time, f.sample) for n, f in data.fields.items()}
    assert fields == {
        "density": ("state", 1, 0, True, True),
        "mask": ("coefficient", 1, 0, False, False),
        "profile": ("coefficient", 1, 0, False, True),
        "velocity": ("state", 2, 1, True, True),
        "stress": ("state", 4, 2, True, True),
    }
    with h5py.File(path) as file:
        np.testing.assert_array_equal(data.load("density"), file["t0_fields/density"][:])
        np.testing.assert_array_equal(data.load("mask")[2], file["t0_fields/mask"][:])
        profile = np.repeat(file["t0_fields/profile"][:][:, None], 6, axis=1)
        np.testing.assert_array_equal(data.load("profile"), profile)
        np.testing.assert_array_equal(
            data.load("velocity"), np.moveaxis(file["t1_fields/velocity"][:], -1, 2)
        )
        stress = file["t2_fields/stress"][:].reshape(3, 4, 6, 5, 4)
        np.testing.assert_array_equal(data.load("stress"), np.moveaxis(stress, -1, 2))
        np.testing.assert_array_equal(data.variable("forcing"), file["scalars/forcing"][:])
    assert data.grid.axes == (
        Axis("x", 0.0, 1.0, 6, "node", periodic=True),
        Axis("y", 0.0, 1.0, 5, "cell"),
    )
    assert data.attributes["boundary"] == {"x": ["periodic", "periodic"], "y": ["wall", "wall"]}
    assert data.attributes["viscosity"] == 0.1
    notes = data.attributes["conversion_notes"]
    assert "profile does not vary along x and is repeated" in notes
    assert "clock changes in time and is left out" in notes


def test_a_folder_has_its_split_and_parameters_that_differ(foreign: Any, tmp_path: Path) -> None:
    folder = foreign("well_folder")
    data = convert(folder, tmp_path / "a.h5")
    assert [len(part) for part in (data.train, data.valid, data.test)] == [3, 1, 2]
    np.testing.assert_allclose(data.variable("viscosity"), [0.1, 0.1, 0.1, 0.2, 0.3, 0.3])
    with h5py.File(folder / "data" / "test" / "toy_2.hdf5") as file:
        np.testing.assert_array_equal(data.test.load("density"), file["t0_fields/density"][:])
    with h5py.File(folder / "data" / "test" / "toy_2.hdf5", "a") as file:
        del file["t0_fields/profile"]
        file["t0_fields"].attrs["field_names"] = ["density", "mask"]
    with pytest.raises(DataError, match=r"toy_2.hdf5: has other fields"):
        TheWell().read(folder)


@pytest.mark.parametrize(
    ("drop", "words"),
    [
        ("dimensions/time", "lacks 'dimensions/time'"),
        ("dimensions/y", "lacks 'dimensions/y'"),
        ("t1_fields/velocity", "lacks 't1_fields/velocity'"),
        ("dimensions", "lacks 'dimensions', 'dimensions/time'"),
        ("@n_trajectories", "the root attribute n_trajectories"),
        ("@dim_varying", r"t0_fields/profile has shape \(3, 5\); expected \(3, 6, 5\)"),
    ],
)
def test_near_misses_name_what_is_missing(drop: str, words: str, foreign: Any) -> None:
    path = foreign("well")
    with h5py.File(path, "a") as file:
        if drop == "@n_trajectories":
            del file.attrs["n_trajectories"]
        elif drop == "@dim_varying":
            del file["t0_fields/profile"].attrs["dim_varying"]
        else:
            del file[drop]
    assert TheWell().detect(path)
    with pytest.raises(DataError, match=words):
        TheWell().read(path)
