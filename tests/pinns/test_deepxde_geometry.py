"""Geometries of DeepXDE: the same regions here, and nothing changed by asking for them."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest
import torch

from sciml.errors import ConfigError
from sciml.pinns import (
    Ball,
    Box,
    DeepXDEGeometry,
    Difference,
    Domain,
    Polygon,
    domain_from_deepxde,
    geometry_from_deepxde,
)
from sciml.pinns.deepxde_import import imported, precision
from sciml.pinns.domain import Source


@pytest.fixture(scope="module")
def kinds() -> Any:
    before = torch.get_default_dtype(), torch.get_default_device(), os.environ.get("DDE_BACKEND")
    found = imported().geometry
    assert before == (torch.get_default_dtype(), torch.get_default_device(), os.environ.get("DDE_BACKEND"))
    return found


def rand(seed: int = 0) -> Source:
    generator = torch.Generator().manual_seed(seed)
    return lambda n, k: torch.rand(n, k, generator=generator, dtype=torch.float64)


def test_known_ones_become_ours(kinds: Any) -> None:
    assert geometry_from_deepxde(kinds.Interval(-1, 1)) == Box(((-1.0, 1.0),))
    assert geometry_from_deepxde(kinds.Rectangle([0, 0.1], [1, 2])) == Box(((0.0, 1.0), (0.1, 2.0)))
    assert geometry_from_deepxde(kinds.Cuboid([0, 0, 0], [1, 2, 0.3])).dim == 3
    assert geometry_from_deepxde(kinds.Disk([0.3, -0.3], 0.1)) == Ball(2, 0.1, (0.3, -0.3))
    assert geometry_from_deepxde(kinds.Sphere([0, 0, 1], 2)) == Ball(3, 2.0, (0.0, 0.0, 1.0))
    corner = [[0, 0], [1, 0], [1, -1], [-1, -1], [-1, 1], [0, 1]]
    assert isinstance(geometry_from_deepxde(kinds.Polygon(corner)), Polygon)
    assert geometry_from_deepxde(kinds.Triangle([0, 0], [1, 0], [0, 1])).area("1") == math.sqrt(2)
    domain = domain_from_deepxde(kinds.GeometryXTime(kinds.Interval(0, 1), kinds.TimeDomain(0, 0.1)))
    assert domain == Domain(Box(((0.0, 1.0),)), (0.0, 0.1))


@pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")  # their triangle, with numpy 2
def test_inside_is_the_same(kinds: Any) -> None:
    disc = kinds.Disk([0.2, 0], 0.5)
    triangle = kinds.Triangle([-1, -1], [0, -1], [-1, 0.5])
    square = kinds.Rectangle([-1, -1], [1, 1])
    x = 3 * rand()(2000, 2) - 1.5
    for theirs in (square - disc, disc | triangle, (square & disc) - triangle, triangle):
        ours = geometry_from_deepxde(theirs)
        np.testing.assert_array_equal(ours.contains(x).numpy(), theirs.inside(x.numpy()))


def test_boundary_points_are_shared_out_by_length(kinds: Any) -> None:
    """DeepXDE gives half of them to the small circle."""
    space = geometry_from_deepxde(kinds.Rectangle([-1, -1], [1, 1]) - kinds.Disk([0, 0], 0.1))
    assert isinstance(space, Difference)
    rows = Domain(space).boundary(rand(), 4000)
    share = (rows[:, :2].norm(dim=1) < 0.5).double().mean()
    assert abs(share - 0.2 * math.pi / (8 + 0.2 * math.pi)) < 4 * 0.27 / math.sqrt(4000)


def test_others_are_asked(kinds: Any) -> None:
    star = kinds.StarShaped([0.5, 0], 1, [0.3, 0.1], [0.2, 0.0])
    space = DeepXDEGeometry(star)
    domain = Domain(space, time=(0.0, 1.0))
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    x = domain.interior(rand(), 300)
    rows = domain.boundary(rand(), 300)
    again = domain.boundary(rand(), 300)
    assert torch.equal(rows, again) and not torch.equal(rows, domain.boundary(rand(1), 300))
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]
    assert x.dtype == torch.float64 and x.shape == (300, 3) and star.inside(x[:, :2].numpy()).all()
    points, normal = rows[:, :2], rows[:, 3:]
    torch.testing.assert_close(normal.norm(dim=1), torch.ones(300, dtype=torch.float64))
    assert space.contains(points - 1e-5 * normal).all()
    assert not space.contains(points + 1e-5 * normal).any()
    assert imported().config.default_float() == "float32" and torch.get_default_dtype() == torch.float32


def test_lengths_are_found_by_lines_that_cross(kinds: Any) -> None:
    # 4000 lines with 0 to 2 crossings each: one percent.
    assert DeepXDEGeometry(kinds.Disk([1, 2], 0.5)).area("boundary") == pytest.approx(math.pi, rel=0.03)
    assert DeepXDEGeometry(kinds.Sphere([0, 0, 0], 1)).area("boundary") == pytest.approx(
        4 * math.pi, rel=0.03
    )


def test_a_class_of_the_user(kinds: Any) -> None:
    class Half(kinds.Disk):  # type: ignore[misc, name-defined]
        """The upper half: a Disk by name, but not the disc."""

        def inside(self, x: Any) -> Any:
            return super().inside(x) & (x[:, 1] >= 0)

    space = geometry_from_deepxde(kinds.Rectangle([-2, -2], [2, 2]) - Half([0, 0], 1))
    assert isinstance(space, Difference) and isinstance(space.holes[0], DeepXDEGeometry)
    assert space.contains(torch.tensor([[0.0, -0.5], [0.0, 0.5]])).tolist() == [True, False]
    x = Domain(space).interior(rand(), 200)
    assert not ((x.norm(dim=1) < 1) & (x[:, 1] > 0)).any()


def test_precision_lasts_for_a_while(kinds: Any) -> None:
    with precision(torch.float64):
        assert imported().config.default_float() == "float64" and torch.get_default_dtype() == torch.float64
    assert imported().config.default_float() == "float32" and torch.get_default_dtype() == torch.float32
    with pytest.raises(ConfigError, match="not torch.bfloat16"), precision(torch.bfloat16):
        pass


def test_refusals(kinds: Any) -> None:
    with pytest.raises(ConfigError, match="Ellipse has no boundary_normal"):
        Domain(geometry_from_deepxde(kinds.Ellipse([0, 0], 2, 1))).boundary(rand(), 5)
    with pytest.raises(ConfigError, match="got a PointCloud"):
        geometry_from_deepxde(kinds.PointCloud(np.zeros((3, 2))))
    with pytest.raises(ConfigError, match="it has a time"):
        geometry_from_deepxde(kinds.GeometryXTime(kinds.Interval(0, 1), kinds.TimeDomain(0, 1)))
    with pytest.raises(ConfigError, match="got a list"):
        geometry_from_deepxde([0, 1])
