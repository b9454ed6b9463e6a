from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sciml.errors import DataError, ShapeError
from sciml.grid import Axis, Grid


@pytest.mark.parametrize(
    ("location", "periodic", "points"),
    [
        ("node", False, [2.0, 3.0, 4.0, 5.0, 6.0]),
        ("node", True, [2.0, 2.8, 3.6, 4.4, 5.2]),
        ("cell", False, [2.4, 3.2, 4.0, 4.8, 5.6]),
        ("left", False, [2.0, 2.8, 3.6, 4.4, 5.2]),
    ],
)
def test_points_of_the_four_conventions(location: Any, periodic: bool, points: list[float]) -> None:
    axis = Axis("x", 2.0, 6.0, 5, location, periodic)
    np.testing.assert_allclose(axis.coordinates, points, rtol=1e-15)
    assert np.diff(axis.coordinates) == pytest.approx(axis.spacing)
    again = Axis.from_coordinates("x", axis.coordinates, location=location, periodic=periodic)
    assert (again.lower, again.upper) == pytest.approx((2.0, 6.0), rel=1e-15)


@pytest.mark.parametrize(("location", "periodic"), [("node", False), ("node", True), ("cell", False)])
def test_weights_integrate_at_second_order_or_better(location: Any, periodic: bool) -> None:
    def error(n: int) -> float:
        axis = Axis("x", 0.0, 2.0, n, location, periodic)
        return abs(float(axis.weights @ np.exp(np.sin(np.pi * axis.coordinates))) - 2 * 1.2660658777520084)

    assert Axis("x", 0.0, 2.0, 9, location, periodic).weights.sum() == pytest.approx(2.0, rel=1e-15)
    # The integrand has period 2, for which all three rules converge faster than any power: I0(1) is exact.
    assert error(24) < 1e-14


def test_weights_of_a_bounded_axis_have_order_two() -> None:
    for location, expected in (("node", 2.0), ("cell", 2.0)):
        errors = []
        for n in (20, 40, 80):
            axis = Axis("x", 0.0, 1.0, n + (location == "node"), location)  # type: ignore[arg-type]
            errors.append(abs(float(axis.weights @ np.exp(axis.coordinates)) - (np.e - 1)))
        slopes = -np.diff(np.log2(errors))
        np.testing.assert_allclose(slopes, expected, atol=0.01)


def test_left_ends_are_a_strided_node_grid_at_every_stride() -> None:
    nodes = Axis("x", 0.0, 1.0, 421, "node").coordinates
    coarse = Axis("x", 0.0, 416 / 420, 16, "left")
    np.testing.assert_allclose(coarse.coordinates, nodes[::26][:16], rtol=1e-14)
    np.testing.assert_allclose(coarse.with_size(32).coordinates, nodes[::13][:32], rtol=1e-14)
    assert coarse.weights.sum() == pytest.approx(416 / 420, rel=1e-15)


def test_resolution_changes_leave_the_domain() -> None:
    grid = Grid.box((8, 4), lower=(0.0, -1.0), upper=(2.0, 1.0), periodic=(True, False), units="m")
    fine = grid.with_shape((16, 12))
    assert [(a.lower, a.upper, a.periodic, a.units) for a in fine.axes] == [
        (0.0, 2.0, True, "m"),
        (-1.0, 1.0, False, "m"),
    ]
    assert fine.weights().sum() == pytest.approx(4.0)
    unit = fine.unit_coordinates()
    assert unit.shape == (2, 16, 12)
    assert (unit[0, :, 0] == unit[0, :, 5]).all()
    assert unit.min() > 0 and unit.max() < 1
    np.testing.assert_allclose(fine.coordinates()[1], 2 * unit[1] - 1)


def test_grid_survives_json() -> None:
    grid = Grid.box((8, 4), lower=0.1, upper=(0.3, 1 / 3), location="node")
    assert Grid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid


def test_impossible_axes_are_refused() -> None:
    with pytest.raises(ShapeError, match="finite lower < upper, got 1.0 and 1.0"):
        Axis("x", 1.0, 1.0, 4)
    with pytest.raises(ShapeError, match="at least 2 points, got 1"):
        Axis("x", 0.0, 1.0, 1, "node")
    with pytest.raises(ShapeError, match="location='node', not 'left'"):
        Axis("x", 0.0, 1.0, 4, "left", periodic=True)
    with pytest.raises(ShapeError, match="distinct names"):
        Grid((Axis("x", 0, 1, 2), Axis("x", 0, 1, 2)))
    with pytest.raises(DataError, match="one spacing"):
        Axis.from_coordinates("x", np.array([0.0, 0.1, 0.3]))
    with pytest.raises(KeyError, match="Did you mean 'east'"):
        Grid.box((2, 2), names=("east", "north")).axis("esat")
