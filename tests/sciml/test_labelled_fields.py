"""Datasets from labelled arrays: what xarray says is kept, and a dataset goes there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from sciml.dataset import Dataset, Field, Provenance, write_dataset
from sciml.errors import DataError
from sciml.grid import Axis, Grid

COUNT = 4
GRID = Grid((Axis("x", -0.1, 0.7, 6, "node", periodic=True, units="m"), Axis("y", 0.0, 0.3, 5, units="m")))


def write(path: Path) -> Dataset:
    rng = np.random.default_rng(2)
    fields: list[tuple[Field, Any]] = [
        (
            Field("a", "input", units="m/s", long_name="speed"),
            rng.normal(size=(COUNT, 6, 5)).astype(np.float32),
        ),
        (Field("v", "state", components=2, time=True), rng.normal(size=(COUNT, 3, 2, 6, 5))),
        (Field("m", "mask", sample=False), rng.normal(size=(6, 5)) > 0),
        (Field("c", "parameter", units="K"), rng.uniform(size=COUNT)),
    ]
    return write_dataset(
        path,
        grid=GRID,
        fields=fields,
        split=[0, 1, 0, 2],
        times=[0.0, 0.5, 2.0],
        variables={"sample_seed": np.arange(COUNT), "discretization_error": np.full(COUNT, 1e-3)},
        attributes={"mylab_run": 7},
        provenance=Provenance(title="T", boundary={"y": ("wall", "open")}, seed=1, time_units="s"),
    )


def test_a_dataset_goes_to_xarray_and_comes_back_the_same(tmp_path: Path) -> None:
    data = write(tmp_path / "a.h5")
    again = Dataset.from_xarray(tmp_path / "b.h5", data.to_xarray())
    assert again.digest == data.digest
    assert again.path.read_bytes() == data.path.read_bytes()


def test_reading_through_xarray_is_lazy(tmp_path: Path) -> None:
    opened = write(tmp_path / "a.h5").test.to_xarray()
    assert not opened["v"].variable._in_memory and opened.sizes["sample"] == 1


def test_axes_stand_in_any_order_and_run_in_any_direction(tmp_path: Path) -> None:
    data = write(tmp_path / "a.h5")
    moved = data.to_xarray().load().transpose("y", "component", "x", ...).isel(y=slice(None, None, -1))
    again = Dataset.from_xarray(tmp_path / "b.h5", moved, {"v": "state", "c": "parameter"})
    assert np.array_equal(again.load("v"), data.load("v"))
    assert again.attributes["conversion_notes"] == "y: descended and is turned"
    assert again.grid == data.grid and again.times is not None and again.time_units == "s"


def plain() -> xarray.Dataset:
    coords = {"x": np.linspace(0, 1, 4), "run": np.arange(3)}
    return xarray.Dataset({"u": (("run", "x"), np.ones((3, 4), np.float16))}, coords=coords)


def test_assumptions_are_noted(tmp_path: Path) -> None:
    data = Dataset.from_xarray(tmp_path / "u.h5", plain(), {"u": "output"}, split=[0, 0, 0], sample="run")
    assert data.load("u").dtype == np.float32
    assert data.attributes["conversion_notes"] == (
        "x: nodes with both ends, an assumption; u was float16 and is float32"
    )
    assert (data.grid.axes[0].lower, data.grid.axes[0].upper) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda d: d, {"roles": {"v": "output"}}, "has no variable 'v'; it has u"),
        (lambda d: d, {"roles": None}, "nothing says which variables are inputs"),
        (lambda d: d, {"split": None}, "needs split="),
        (lambda d: d, {"sample": "sample"}, "no dimension 'sample' counts samples"),
        (lambda d: d.drop_vars("x"), {}, "x have no coordinates"),
        (lambda d: d.assign_coords(x=[0.0, 1.0, 3.0, 4.0]), {}, "points must increase with one spacing"),
        (lambda d: d.assign(p=d.u), {"roles": {"u": "output", "p": "parameter"}}, "parameter p must have"),
        (lambda d: d * 1j, {}, "type complex64; fields are real numbers"),
    ],
)
def test_what_is_no_grid_with_samples_is_refused(
    tmp_path: Path, change: Any, options: dict[str, Any], message: str
) -> None:
    settings = {"roles": {"u": "output"}, "split": [0, 0, 0], "sample": "run"} | options
    with pytest.raises(DataError, match=message):
        Dataset.from_xarray(tmp_path / "u.h5", change(plain()), **settings)
