"""Fields of a comparison: common scales, any kind of place, files that come back as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sciml.animation import Film
from sciml.comparison.examples import read_examples, write_examples
from sciml.comparison.field_figures import field_pictures
from sciml.errors import DataError, ShapeError
from sciml.field_plots import FieldRow, field_table
from sciml.grid import Grid
from sciml.mesh import Mesh
from sciml.report import Example

GRID = Grid.box((12, 12), periodic=True)


def example(error: float) -> Example:
    x, y = 2 * np.pi * GRID.coordinates()
    truth = np.sin(x) * np.cos(y)
    wrong = truth + error * np.cos(3 * x)
    return Example(
        "best", 1100, error, {"a": np.sign(truth)}, {"u": truth}, {"u": wrong}, {"u": "m"}, place=GRID
    )


def test_rows_of_fields_share_their_scales() -> None:
    shown = [example(0.012), example(0.019)]
    (picture,) = field_pictures({"fno": [shown[0]], "unet": [shown[1]]})
    assert picture.name == "fields-best" and "fno 1.20% (sample 1100), unet 1.90%" in picture.caption
    clims = np.array([ax.collections[0].get_clim() for ax in picture.figure.axes[:8]]).reshape(2, 4, 2)
    np.testing.assert_array_equal(clims[0], clims[1])  # rows
    np.testing.assert_array_equal(clims[:, 1], clims[:, 2])  # truth and prediction
    largest = max(np.abs(e.prediction["u"] - e.truth["u"]).max() for e in shown)
    np.testing.assert_allclose(clims[0, 3], [-largest, largest])


def test_fields_on_one_axis_are_lines_and_their_roll_outs_images() -> None:
    grid = Grid.box((8,))
    x = np.arange(8.0)
    film = Film(np.array([0.0, 1.0]), "s", np.stack([x, x]), np.stack([x, x + 1]))
    plain = Example("median", 3, 0.1, {"a": x}, {"u": x}, {"u": x + 1}, {"u": "1"}, place=grid)
    rolled = replace(plain, films={"u": film}, time="t = 1 s")
    (lines,), (images,) = (list(field_pictures({"fno": [one]})) for one in (plain, rolled))
    assert [len(ax.lines) for ax in lines.figure.axes] == [1, 2, 1]  # input; truth and prediction; difference
    assert [ax.get_title() for ax in images.figure.axes[:3]] == ["truth", "prediction", "difference"]
    assert images.figure.axes[0].collections[0].get_array().shape == (2, 8)


def test_roll_outs_in_the_plane_show_frames_on_one_scale() -> None:
    one = example(0.1)
    truth = np.stack([i * one.truth["u"] for i in range(7)])
    film = Film(np.arange(7.0), "s", truth, truth + 1)
    rolled = replace(one, label="median", films={"u": film}, time="t = 6 s")
    last, frames = field_pictures({"fno": [rolled]})
    assert (last.name, frames.name) == ("fields-median", "frames-u") and "shown at t = 6 s" in last.caption
    axes = frames.figure.axes[:10]
    assert [ax.get_title() for ax in axes[:5]] == ["t = 0 s", "t = 2 s", "t = 3 s", "t = 4 s", "t = 6 s"]
    assert len({ax.collections[0].get_clim() for ax in axes}) == 1
    np.testing.assert_array_equal(axes[9].collections[0].get_array(), (truth[6] + 1).T)


def test_fields_without_a_place_and_on_meshes_are_drawn() -> None:
    square = Mesh([[0, 0], [1, 0], [1, 1], [0, 1]], cells={"triangle": [[0, 1, 2], [0, 2, 3]]})
    u = {"u": np.arange(4.0)}
    meshed = Example("worst", 1, 0.5, {}, u, u, {"u": "K"}, place=square)
    flat = {"u": np.ones((3, 4))}
    lost = Example("worst", 1, 0.5, {}, flat, flat, {"u": "K"})
    both = list(field_pictures({"fno": [meshed, lost]}))
    assert len(both) == 1 and len(both[0].figure.axes) == 2 * 3 + 2


def test_panels_that_do_not_fit_are_refused() -> None:
    rows = [FieldRow("a", {"u": np.zeros((2, 2))}, Grid.box((2, 2)))]
    with pytest.raises(ShapeError, match="same titles"):
        field_table([*rows, FieldRow("b", {"v": np.zeros((2, 2))}, Grid.box((2, 2)))])
    with pytest.raises(ShapeError, match=r"panel 'u' of 'b' has shape \(3,\); expected \(2, 2\)"):
        field_table([*rows, FieldRow("b", {"u": np.zeros(3)}, Grid.box((2, 2)))])


def test_examples_come_back_as_they_were(tmp_path: Path) -> None:
    square = Mesh([[0, 0], [1, 0], [1, 1], [0, 1]], cells={"triangle": [[0, 1, 2], [0, 2, 3]]}, units="m")
    field = {"u": np.arange(4.0)}
    meshed = Example("worst", 7, 0.5, field, field, {"u": field["u"] + 1}, {"u": "K"}, place=square)
    gridded = example(0.1)
    write_examples(tmp_path / "examples.npz", [meshed, gridded])
    first, second = read_examples(tmp_path / "examples.npz")
    assert (first.label, first.sample, first.error, first.units) == ("worst", 7, 0.5, {"u": "K"})
    np.testing.assert_array_equal(first.prediction["u"], field["u"] + 1)
    assert isinstance(first.place, Mesh) and first.place.units == "m" and first.place.cell_count == 2
    assert second.place == GRID
    np.testing.assert_allclose(second.truth["u"], gridded.truth["u"], rtol=1e-6)  # float32


def test_a_damaged_file_of_examples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "examples.npz"
    path.write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="examples"):
        read_examples(path)
