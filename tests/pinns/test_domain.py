"""Points of domains: where they lie, how they are spread, what their normals are."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.pinns import Ball, Box, Domain
from sciml.pinns.domain import Geometry, Source
from sciml.pinns.fingerprints import kronecker


def rand(seed: int = 0) -> Source:
    generator = torch.Generator().manual_seed(seed)
    return lambda n, k: torch.rand(n, k, generator=generator, dtype=torch.float64)


class Disc(Geometry):
    """A ball as a region that is known by a test alone."""

    rejects = True
    dim, units, faces = 2, (2, 0), ()
    bounds = ((-1.0, 1.0), (-1.0, 1.0))

    def interior(self, unit: Tensor) -> Tensor:
        return 2 * unit - 1

    def boundary(self, unit: Tensor, faces: object) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def contains(self, x: Tensor) -> Tensor:
        return x.square().sum(1) <= 1


GEOMETRIES = [Box(((-1.0, 2.0),)), Box(((0.0, 1.0), (-2.0, 3.0), (1.0, 5.0))), Ball(1), Ball(2), Ball(7, 0.5)]


@pytest.mark.parametrize("space", GEOMETRIES, ids=repr)
@pytest.mark.parametrize("time", [None, (0.5, 2.0)])
def test_interior_and_boundary_lie_in_the_domain(space: Geometry, time: tuple[float, float] | None) -> None:
    domain = Domain(space, time)
    x = domain.interior(rand(), 200)
    assert x.shape == (200, space.dim + (time is not None))
    assert domain.contains(x).all()
    rows = domain.boundary(rand(), 100)
    points, normal = rows[:, : domain.dim], rows[:, domain.dim :]
    assert domain.contains(points).all() and normal.shape == (100, space.dim)
    torch.testing.assert_close(normal.norm(dim=1), torch.ones(100, dtype=torch.float64))
    # A little outward is outside, a little inward is inside.
    step = torch.zeros_like(points)
    step[:, : space.dim] = 1e-6 * normal
    assert not domain.contains(points + step).any()
    assert domain.contains(points - step).all()


def test_points_of_a_ball_are_uniform() -> None:
    """|x|^d of uniform points is uniform on [0, 1], and directions have mean zero."""
    for space in (Ball(3), Disc()):
        x = Domain(space).interior(rand(), 4000)
        volume = x.norm(dim=1) ** space.dim
        # Kolmogorov's statistic of n points is above 1.95 / sqrt(n) once in a thousand samples.
        steps = torch.arange(1, 4001, dtype=torch.float64) / 4000
        assert (volume.sort().values - steps).abs().max() < 1.95 / math.sqrt(4000)
        assert x.mean(0).abs().max() < 4 * 0.6 / math.sqrt(4000)  # four standard errors


def test_faces_are_shared_out_by_area() -> None:
    rows = Domain(Box(((0.0, 1.0), (0.0, 3.0)))).boundary(rand(), 80)
    # The faces 0- and 0+ have length 3 of 8, 1- and 1+ length 1 of 8.
    counts = [int((rows[:, 2 + i] == side).sum()) for i in (0, 1) for side in (-1, 1)]
    assert counts == [30, 30, 10, 10]


def test_one_source_serves_space_and_time_together() -> None:
    domain = Domain(Box(((0.0, 1.0),)), time=(0.0, 2.0))
    assert torch.equal(domain.interior(kronecker, 5), kronecker(5, 2) * torch.tensor([1.0, 2.0]))


def test_start_is_at_the_first_time() -> None:
    x = Domain(Ball(2), time=(0.5, 1.0)).start(rand(), 10)
    assert x.shape == (10, 3) and (x[:, 2] == 0.5).all()


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="lower < upper, got"):
        Box(((1.0, 0.0),))
    with pytest.raises(ConfigError, match="there is no face 2-; there is 0-, 0"):
        Domain(Box(((0.0, 1.0),))).boundary(rand(), 4, ["2-"])
    with pytest.raises(ConfigError, match="no time"):
        Domain(Ball(2)).start(rand(), 4)
