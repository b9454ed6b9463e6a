"""Predictions at points: exact where a spline is, refused outside, labels kept."""

from __future__ import annotations

from pathlib import Path

import meshio
import numpy as np
import pytest
import torch
import xarray
from torch import nn

from sciml.errors import ConfigError, DataError, ShapeError
from sciml.evolution import Evolution
from sciml.grid import Axis, Grid
from sciml.normalization import Normalization
from sciml.surrogate import Channel, Surrogate

RANDOM = np.random.default_rng(0)


def identity(grid: Grid, channels: int = 1, **settings: object) -> Surrogate:
    """Whatever goes in comes out, so that the answer at a point is known."""
    field, one = Channel("u", "K", components=channels), Normalization.identity(channels)
    model = nn.Identity()
    model.register_parameter(
        "unused", nn.Parameter(torch.zeros((), dtype=torch.float64))
    )  # sets the precision
    return Surrogate(
        model,
        inputs=[field],
        outputs=[field],
        grid=grid,
        input_normalization=one,
        output_normalization=one,
        **settings,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("method", "degree"), [("linear", 1), ("cubic", 3)])
def test_polynomials_of_the_degree_are_exact_up_to_the_walls(method: str, degree: int) -> None:
    """Cell centers along x (continued to the walls), nodes along y: a spline reproduces its polynomials."""
    grid = Grid((Axis("x", 0.0, 2.0, 6), Axis("y", -1.0, 1.0, 7, location="node")))

    def field(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.stack([x**degree * y - y**degree, 1.0 + x])

    points = RANDOM.uniform((0.0, -1.0), (2.0, 1.0), (40, 2))
    points[:3] = [(0.0, -1.0), (2.0, 1.0), (0.01, 0.0)]  # corners, and between wall and center
    values = torch.from_numpy(field(*grid.coordinates()))
    found = identity(grid, 2).at(points, torch.stack([values, 2 * values]), method=method)
    assert found.shape == (2, 40, 2) and found.dtype == torch.float64
    expected = field(*points.T).T
    # Rounding of a few operations on numbers up to 8.
    np.testing.assert_allclose(found[0], expected, atol=1e-12)
    np.testing.assert_allclose(found[1], 2 * expected, atol=1e-12)


def test_periodic_axes_go_on() -> None:
    """A wave at points on both sides of the seam, and a period away."""
    grid = Grid.box((32, 32), location="node", periodic=True)

    def wave(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * x) * np.cos(2 * np.pi * y)

    points = np.array([[0.99, 0.01], [0.0, 0.999], [0.5, 0.5]])
    values = torch.from_numpy(wave(*grid.coordinates()))[None, None]
    found = identity(grid).at(points, values)[0, :, 0]
    # The error of cubic splines is below (2 pi h)^4/384 * 2 = 8e-6 for a wave along each of two axes.
    np.testing.assert_allclose(found, wave(*points.T), atol=1e-5)
    np.testing.assert_allclose(identity(grid).at(points + [3.0, -2.0], values)[0, :, 0], found, atol=1e-12)
    # No seam: values at a grid point and just before it, one period on, agree.
    near = identity(grid).at([[0.0, 0.3], [1.0 - 1e-9, 0.3]], values)[0, :, 0]
    assert abs(float(near[0] - near[1])) < 1e-7


def test_labelled_arrays_keep_names_and_times() -> None:
    grid = Grid.box((5, 6), units="m")
    x, y = grid.coordinates()
    field = xarray.DataArray(
        np.stack([x + 2 * y, 3 * x])[:, ::-1],  # x descends
        dims=("run", "x", "y"),
        coords={"x": grid.axes[0].coordinates[::-1], "y": grid.axes[1].coordinates, "run": [7, 8]},
        name="u",
    )
    points = np.array([[0.2, 0.7], [0.5, 0.5], [1.0, 0.0]])
    found = identity(grid).at(points, field)
    assert found["u"].dims == ("run", "point") and found["u"].attrs["units"] == "K"
    np.testing.assert_allclose(found["u"][0], points @ [1.0, 2.0], atol=1e-12)
    np.testing.assert_allclose(found["u"][1], 3 * points[:, 0], atol=1e-12)
    assert found["run"].values.tolist() == [7, 8]
    np.testing.assert_array_equal(found["y"], points[:, 1])
    assert found["x"].dims == ("point",) and found["x"].attrs["units"] == "m"


def test_a_step_in_time_at_points() -> None:
    grid = Grid.box((5,))
    surrogate = identity(grid, evolution=Evolution(components=(1,), dt=0.5))
    field = xarray.Dataset(
        {"u": (("time", "x"), grid.coordinates())}, {"time": [2.0], "x": grid.axes[0].coordinates}
    )
    found = surrogate.at([[0.25], [0.5], [1.0]], field)["u"]
    assert found.dims == ("time", "point") and found["time"].values.tolist() == [2.5]
    np.testing.assert_allclose(found[0], [0.25, 0.5, 1.0], atol=1e-12)


def test_a_mesh_gets_the_field(tmp_path: Path) -> None:
    """Through a file of somebody else's format and back."""
    grid = Grid.box((8, 8))
    corners = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    middle = [0.5, 0.4, 0.0]
    triangles = [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
    meshio.Mesh([*corners, middle], [("triangle", triangles)]).write(tmp_path / "mesh.vtu")
    mesh = meshio.read(tmp_path / "mesh.vtu")
    x, y = grid.coordinates()
    mesh.point_data["u"] = (
        identity(grid).at(mesh.points[:, :2], torch.from_numpy(x - y)[None, None])[0, :, 0].numpy()
    )
    mesh.write(tmp_path / "solved.vtu")
    found = meshio.read(tmp_path / "solved.vtu").point_data["u"]
    np.testing.assert_allclose(found, [0.0, 1.0, 0.0, -1.0, 0.1], atol=1e-12)


def test_mistakes() -> None:
    grid = Grid((Axis("x", 0.0, 2.0, 4), Axis("y", 0.0, 1.0, 4, location="node", periodic=True)))
    surrogate, field = identity(grid), torch.zeros(1, 1, 4, 4)
    with pytest.raises(DataError, match="1 of 2 points lie outside.*point 1, has x = 2.1, .* from 0 to 2"):
        surrogate.at([[1.0, 5.0], [2.1, 0.0]], field)  # 5 along y is a periodic image of 0
    with pytest.raises(DataError, match="point 0 is"):
        surrogate.at([[np.nan, 0.0]], field)
    with pytest.raises(ShapeError, match=r"mesh.points\[:, :2\]"):
        surrogate.at(np.zeros((5, 3)), field)
    with pytest.raises(ConfigError, match="'cubic', 'linear'"):
        surrogate.at([[1.0, 0.0]], field, method="quintic")  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="needs 4 points along each axis, got 3 along 'x'"):
        surrogate.at([[1.0, 0.0]], field[:, :, :3])
    assert surrogate.at(np.float32([[2.0000001, 0.0]]), field).shape == (1, 1, 1)
    assert surrogate.at(np.zeros((0, 2)), field).shape == (1, 0, 1)
