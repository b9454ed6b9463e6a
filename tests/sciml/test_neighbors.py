"""Neighbor lists against all distances, with periods, queries and cut-offs."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.description import build, describe
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.mesh import Mesh, Points
from sciml.neighbors import CellEdges, Nearest, Radius, nearest, within
from sciml.padding import padded

POINTS = np.random.default_rng(0).random((60, 2))


def distances(a: np.ndarray, b: np.ndarray, period: tuple[float | None, ...] = (None, None)) -> np.ndarray:
    difference = np.abs(a[:, None] - b[None])
    for axis, length in enumerate(period):
        if length is not None:
            wrapped = difference[..., axis] % length
            difference[..., axis] = np.minimum(wrapped, length - wrapped)
    return np.linalg.norm(difference, axis=-1)


@pytest.mark.parametrize("period", [None, (1.0, None), (1.0, 1.0)])
def test_within_lists_all_pairs_at_most_the_radius_apart(period: tuple[float | None, ...] | None) -> None:
    expected = distances(POINTS, POINTS, period or (None, None)) <= 0.2
    np.fill_diagonal(expected, False)
    # A shift by whole periods changes nothing.
    for moved in (POINTS, POINTS - [length or 0.0 for length in period or (None, None)]):
        assert np.array_equal(within(moved, 0.2, period=period), np.argwhere(expected))


def test_nearest_are_the_nearest() -> None:
    table = distances(POINTS, POINTS)
    np.fill_diagonal(table, np.inf)
    expected = np.sort(np.argsort(table, axis=1)[:, :5], axis=1)
    assert np.array_equal(nearest(POINTS, 5)[:, 1].reshape(-1, 5), expected)


def test_queries_receive_from_points() -> None:
    queries = POINTS[:7] + 0.01
    found = within(POINTS, 0.15, queries)
    assert np.array_equal(found, np.argwhere(distances(queries, POINTS) <= 0.15))
    assert np.array_equal(nearest(POINTS, 1, POINTS)[:, 1], np.arange(60))  # here a point may be its own


def test_points_that_coincide_are_neighbors_but_not_of_themselves() -> None:
    same = np.zeros((4, 2))
    assert len(within(same, 0.1)) == 12
    found = nearest(same, 2)
    assert (np.bincount(found[:, 0]) == 2).all() and (found[:, 0] != found[:, 1]).all()


def test_few_points_have_all_others_as_neighbors() -> None:
    assert nearest([[0.0], [1.0], [3.0]], 8).tolist() == [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]
    assert nearest([[0.0]], 3).shape == (0, 2)
    assert within([[0.0], [1.0]], 0.5).shape == (0, 2)


def test_a_cut_off_that_truncates_warns_and_keeps_the_nearest() -> None:
    line = np.array([[0.0], [0.1], [0.3], [0.35]])
    with pytest.warns(RuntimeWarning, match="6 of 10 neighbors within 0.3 were left out"):
        found = within(line, 0.3, most=1)
    assert found.tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]
    assert len(within(line, 0.3, most=3)) == 10  # nothing left out: no warning


def test_rules_are_the_functions_and_can_be_described() -> None:
    mesh = Mesh([[0, 0], [1, 0], [1, 1], [0, 1]], cells={"quad": [[0, 1, 2, 3]]})
    assert CellEdges()(mesh).tolist() == [[0, 1], [0, 3], [1, 0], [1, 2], [2, 1], [2, 3], [3, 0], [3, 2]]
    assert np.array_equal(Radius(1.1)(mesh), CellEdges()(mesh))
    assert np.array_equal(Nearest(2)(mesh), nearest(mesh.coordinates, 2))
    for rule in (Radius(0.3, most=4, period=(1.0, None)), Nearest(3), CellEdges()):
        assert build(describe(rule)) == rule
    with pytest.raises(ConfigError, match="points have no cells"):
        CellEdges()(Points([[0.0]]))


def test_lists_of_several_samples_are_filled_up_with_minus_one() -> None:
    lists = [nearest(POINTS[:n], 1) for n in (3, 5)]
    batch = padded(lists, fill=-1)
    assert batch.shape == (2, 5, 2) and batch[0, 3:].eq(-1).all() and np.array_equal(batch[1], lists[1])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="positive radius"):
        within(POINTS, 0.0)
    with pytest.raises(ConfigError, match="exceeds half of a period"):
        within(POINTS, 0.6, period=(1.0, 1.0))
    with pytest.raises(ConfigError, match="count must be at least 1"):
        nearest(POINTS, 0)
    with pytest.raises(ShapeError, match=r"\(point, dim\)"):
        nearest(POINTS[0], 1)
    with pytest.raises(DataError, match="not finite"):
        within([[np.nan, 0.0]], 0.1)
