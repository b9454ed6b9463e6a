"""Pictures of meshes: the values are in the figure, where the mesh has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sciml import plots
from sciml.dataset import Dataset, Field, write_dataset
from sciml.errors import ShapeError
from sciml.gallery import pictures
from sciml.mesh import Mesh, Points, PointSet
from sciml.mesh_plots import Canvas, boundary_faces

SQUARE = Mesh(
    [[0, 0], [2, 0], [2, 1], [0, 1], [3, 0.5]],
    cells=[("quad", [[0, 1, 2, 3]]), ("triangle", [[1, 4, 2]])],
    units="m",
)


def cube(n: int) -> Mesh:
    points = np.stack(np.meshgrid(*[np.linspace(0, 1, n + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    number = np.arange((n + 1) ** 3).reshape((n + 1,) * 3)
    steps = ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1))
    corners = [number[i : n + i, j : n + j, k : n + k].ravel() for i, j, k in steps]
    return Mesh(points, cells={"hexahedron": np.stack(corners, 1)})


def test_values_on_points_are_drawn_on_the_triangles_of_all_cells() -> None:
    values = np.arange(5.0)
    figure = plots.fields({"u": values, "error": -values}, SQUARE, units="K")
    ax = figure.axes[0]
    drawn = ax.collections[0]
    assert np.array_equal(drawn.get_array(), values)
    assert len(drawn._triangulation.triangles) == 3  # of a quadrilateral two
    assert ax.get_xlabel() == "x [m]" and ax.get_xlim()[0] <= 0 and ax.get_xlim()[1] >= 3
    assert figure.axes[1].collections[0].get_clim() == (-4.0, 4.0)


def test_values_on_cells_color_their_triangles() -> None:
    figure = plots.fields({"k": np.array([7.0, 9.0])}, SQUARE)
    assert figure.axes[0].collections[0].get_array().tolist() == [7.0, 7.0, 9.0]


def test_of_a_solid_only_the_surface_is_drawn() -> None:
    faces, owners = boundary_faces(cube(3))
    assert len(faces) == 6 * 9 * 2  # two triangles for each of nine squares on six sides
    assert set(owners) == set(range(27)) - {13}  # all cells but the one in the middle
    points = cube(3).coordinates[faces]
    normal = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    assert np.linalg.norm(normal, axis=1).sum() / 2 == pytest.approx(6.0)
    # All normals point outwards.
    assert (np.einsum("ij,ij->i", normal, points.mean(axis=1) - 0.5) > 0).all()
    figure = plots.fields({"u": cube(3).coordinates[:, 0]}, cube(3))
    assert len(figure.axes[0].collections[0].get_array()) == len(faces)


def test_two_solids_that_touch_share_no_visible_face() -> None:
    both = cube(1)
    wedge = Mesh(
        np.concatenate([both.coordinates, [[2.0, 0.0, 0.0], [2.0, 1.0, 0.0]]]),
        cells=[*both.cells, ("wedge", np.array([[4, 8, 5], [6, 9, 7]]).reshape(1, 6))],
    )
    faces, _ = boundary_faces(wedge)
    # The cube's six squares and the wedge's two triangles and three squares, without the common square twice.
    assert len(faces) == 2 * 5 + 2 + 2 * 2


def test_each_panel_may_have_a_mesh_of_its_own() -> None:
    other = Points(np.random.default_rng(0).random((30, 2)))
    figure = plots.fields({"a": np.zeros(5), "b": np.ones(30)}, {"a": SQUARE, "b": other})
    assert len(figure.axes[1].collections[0].get_offsets()) == 30
    assert figure.axes[0].collections[0].get_clim() == (0.0, 1.0)  # one scale for both


def test_points_on_a_line_go_up_by_their_value() -> None:
    figure = plots.fields({"f": np.array([1.0, 3.0])}, Points([[0.0], [2.0]]))
    assert figure.axes[0].collections[0].get_offsets().tolist() == [[0.0, 1.0], [2.0, 3.0]]


def test_equal_meshes_give_equal_files() -> None:
    first, second = (plots.png(plots.fields({"u": np.arange(5.0)}, SQUARE), dpi=50) for _ in range(2))
    assert first == second


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match="values on 5 points or 2 cells with up to three axes"):
        plots.fields({"u": np.zeros(4)}, SQUARE)
    with pytest.raises(ShapeError, match="with 4 axes"):
        Canvas.of(Points(np.zeros((3, 4)), names=tuple("abcd")), np.zeros(3))


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    fields: list[tuple[Field, Any]] = [
        (Field("u", "output", units="K"), [np.arange(5.0), np.arange(8.0)]),
        (Field("k", "coefficient", on="cells"), [np.arange(2.0), np.ones(1)]),
        (Field("v", "state", components=2, time=True), [np.ones((2, 5, 2)), np.ones((2, 8, 2))]),
        (Field("g", "input", on="own"), [PointSet(np.ones(3), np.random.default_rng(0).random((3, 1)))] * 2),
    ]
    flat = Mesh(cube(1).coordinates[:, :2] * [[1.0, 2.0]], cells={"quad": [[0, 4, 6, 2]]}, units="m")
    return write_dataset(
        tmp_path / "two.h5", grid=[SQUARE, flat], fields=fields, split=[0, 0], times=[0.0, 1.0]
    )


def test_every_field_of_a_mesh_dataset_has_a_picture(data: Dataset) -> None:
    figures = pictures(data, 0)
    assert list(figures) == ["u", "k", "v", "g"]
    titles = [ax.get_title() for ax in figures["u"].axes if ax.get_title()]
    assert titles[:2] == ["u, sample 0", "u, sample 1"]
    assert "v[1], sample 0, t = 1" in [ax.get_title() for ax in figures["v"].axes]


def test_the_command_line_shows_mesh_datasets(
    data: Dataset, run: Callable[..., tuple[int, str, str]]
) -> None:
    status, out, _ = run("data", "info", data.path, "--json")
    assert status == 0 and json.loads(out)["space"]["counts"]["points"] == {"least": 5, "most": 8, "all": 13}
    status, out, _ = run("data", "info", data.path)
    assert status == 0 and "cells    1 to 2 in a sample, 3 in all" in out
    status, _, _ = run("data", "show", data.path, "--output", "two.png")
    assert status == 0 and Path("two.png").read_bytes()[:4] == b"\x89PNG"
    assert run("data", "check", data.path)[0] == 0
