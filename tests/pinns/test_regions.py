"""Regions made of regions, polygons and meshes: where their points lie, how they spread, and distances."""

from __future__ import annotations

import math

import meshio
import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.description import build, describe
from sciml.errors import ConfigError, DataError
from sciml.kernels import laplacian
from sciml.kernels.jet import jet
from sciml.mesh import Mesh
from sciml.pinns import (
    Ball,
    Box,
    Difference,
    Dirichlet,
    Domain,
    MeshGeometry,
    Polygon,
    Problem,
    Renamed,
    Union,
    distance,
)
from sciml.pinns.distances import region_of
from sciml.pinns.domain import Geometry, Source
from sciml.pinns.samplers import R3, Sobol
from sciml.streams import Streams

PI = math.pi
SQUARE = Box(((-1.0, 1.0), (-1.0, 1.0)))
DISCS = tuple(Ball(2, 0.1, (x, y)) for x in (-0.3, 0.3) for y in (-0.3, 0.3))
FOUR_DISCS = Difference(Box(((-0.5, 0.5), (-0.5, 0.5))), DISCS)
CORNER = Polygon(((-1.0, -1.0), (1.0, -1.0), (1.0, 0.0), (0.0, 0.0), (0.0, 1.0), (-1.0, 1.0)))
TRIANGLES = Mesh(
    [[0, 0], [2, 0], [2, 1], [0, 1], [0.8, 0.6]],
    cells={"triangle": [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]},
)
QUARTER = Box(((0.0, 1.0), (0.0, 1.0)))
REGIONS: dict[str, tuple[Geometry, float, float]] = {  # with area and length of the boundary, by hand
    "square without discs": (FOUR_DISCS, 1 - 0.04 * PI, 4 + 0.8 * PI),
    "square without square": (SQUARE - QUARTER, 3.0, 8.0),
    "L-shape": (CORNER, 3.0, 8.0),
    "capsule": (
        Box(((-1.0, 1.0), (-0.5, 0.5))) | Ball(2, 0.5, (1.0, 0.0)),
        2 + PI / 8,
        5 + PI / 2,
    ),
    "quarter of a disc": (Ball(2) & Box(((0.0, 2.0), (0.0, 2.0))), PI / 4, 2 + PI / 2),
    "square without quarter of a disc": (SQUARE - (Ball(2, 0.5) & QUARTER), 4 - PI / 16, 9 + PI / 4),
    "square without triangle": (SQUARE - Polygon(((0.0, 0.0), (0.6, 0.0), (0.0, 0.8))), 3.76, 10.4),
    "hole in a union": (
        (SQUARE | Renamed(Box(((0.5, 2.0), (-0.5, 0.5))), {"0+": "outlet"})) - Ball(2, 0.25),
        5 - PI / 16,
        10 + PI / 2,
    ),
    "mesh": (MeshGeometry(TRIANGLES, {"floor": [[0, 1]]}), 2.0, 6.0),
}
named = pytest.mark.parametrize("name", REGIONS)


def rand(seed: int = 0) -> Source:
    generator = torch.Generator().manual_seed(seed)
    return lambda n, k: torch.rand(n, k, generator=generator, dtype=torch.float64)


def boundary(space: Geometry, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rows = Domain(space).boundary(rand(seed), count)
    return rows[:, : space.dim], rows[:, space.dim :]


@named
def test_points_lie_inside_and_normals_point_outward(name: str) -> None:
    space = REGIONS[name][0]
    domain = Domain(space, time=(0.0, 1.0))
    x = domain.interior(rand(), 500)
    assert x.shape == (500, 3) and domain.contains(x).all()
    points, normal = boundary(space, 500)
    torch.testing.assert_close(normal.norm(dim=1), torch.ones(500, dtype=torch.float64))
    assert space.contains(points).all()
    assert space.contains(points - 1e-6 * normal).all()
    assert not space.contains(points + 1e-6 * normal).any()


@named
def test_points_are_uniform(name: str) -> None:
    """Shares of quadrants are those of the area, by points that know nothing of how others were made."""
    space, area, length = REGIONS[name]
    lower, upper = torch.tensor(space.bounds, dtype=torch.float64).T
    box = float((upper - lower).prod())
    cloud = lower + (upper - lower) * rand(5)(40_000, 2)
    inside = space.contains(cloud)
    # Four standard errors.
    assert abs(box * inside.double().mean() - area) < 4 * box * 0.5 / math.sqrt(len(cloud))
    x = Domain(space).interior(rand(), 4000)
    middle = (lower + upper) / 2
    known = cloud[inside]

    def quadrant(p: Tensor) -> Tensor:
        return 2 * (p[:, 0] > middle[0]) + (p[:, 1] > middle[1])

    shares = [torch.bincount(quadrant(p).int(), minlength=4) / len(p) for p in (x, known)]
    assert (shares[0] - shares[1]).abs().max() < 4 * math.sqrt(0.25 / len(x) + 0.25 / len(known))
    # The divergence theorem with x: the mean of x·n over the boundary is twice the area over its length.
    points, normal = boundary(space, 4000)
    flux = (points * normal).sum(1)
    assert abs(flux.mean() - 2 * area / length) < 4 * float(flux.std()) / math.sqrt(4000)


@named
def test_distance_is_zero_on_the_boundary_with_slope_one(name: str) -> None:
    space = REGIONS[name][0]
    φ = distance(space)
    points, normal = boundary(space, 300)
    value, slope = jet(φ, points, normal, 1)
    # Rounding; near corners, where joined distances bend, some digits more are lost.
    assert value.abs().max() < 1e-14
    assert (slope + 1).abs().max() < 1e-9 and (slope + 1).abs().median() < 1e-13
    x = Domain(space).interior(rand(), 300)
    assert (φ(x) > 0).all()
    assert (φ(points - 1e-3 * normal) < 1.01e-3).all()
    single = distance(space, space.faces[:1])
    on, _ = Domain(space).boundary(rand(), 50, space.faces[:1]).chunk(2, dim=1)
    assert single(on).abs().max() < 1e-14
    others = Domain(space).boundary(rand(), 200, space.faces[1:])[:, :2] if len(space.faces) > 1 else x
    assert (single(others) > 0).all()


@named
def test_the_sign_of_the_region(name: str) -> None:
    space = REGIONS[name][0]
    lower, upper = torch.tensor(space.bounds, dtype=torch.float64).T
    cloud = lower - 0.1 + (upper - lower + 0.2) * rand()(2000, 2)
    assert torch.equal(region_of(space)(cloud) > 0, space.contains(cloud))


@named
def test_distances_pass_through_jets(name: str) -> None:
    space = REGIONS[name][0]
    φ = distance(space)
    x = Domain(space).interior(rand(), 40).requires_grad_()
    (slope,) = torch.autograd.grad(φ(x).sum(), x, create_graph=True)
    twice = [torch.autograd.grad(slope[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(2)]
    # Second derivatives grow like 1 / distance near corners.
    torch.testing.assert_close(laplacian(φ, x.detach()), twice[0] + twice[1], rtol=1e-9, atol=1e-9)


def test_faces_keep_their_names() -> None:
    assert FOUR_DISCS.faces == ("0-", "0+", "1-", "1+", "sphere")
    points = Domain(FOUR_DISCS).boundary(rand(), 100, ("sphere",))[:, :2]
    centers = torch.tensor([disc.center for disc in DISCS], dtype=torch.float64)
    away = torch.cdist(points, centers)
    torch.testing.assert_close(away.min(1).values, torch.full((100,), 0.1, dtype=torch.float64))
    assert (torch.bincount(away.argmin(1), minlength=4) > 8).all()  # 25 each, 4 standard errors below
    flow = REGIONS["hole in a union"][0]
    assert flow.faces == ("0-", "0+", "1-", "1+", "outlet", "sphere")
    outlet = Domain(flow).boundary(rand(), 20, ("outlet",))
    assert (outlet[:, 0] == 2).all() and (outlet[:, 2] == 1).all()


def test_lengths_share_out_points() -> None:
    """An eighth of a disc's boundary beside a long side: no part is preferred, however often points are
    rejected."""
    space, _, length = REGIONS["capsule"]
    points, normal = boundary(space, 8000)
    curved = ((points[:, 0] > 1) & (normal[:, 0] > 0)).double().mean()
    assert abs(curved - PI / 2 / length) < 4 * 0.5 / math.sqrt(8000)


def test_boundaries_that_coincide_count_once() -> None:
    space = Union((SQUARE, Box(((1.0, 2.0), (-1.0, 1.0)))))  # the face between them is none of the union
    points, normal = boundary(space, 3000)
    assert not ((points[:, 0] - 1).abs() < 1e-9).any()
    doubled = SQUARE & Box(((-1.0, 3.0), (-5.0, 5.0)))
    points, normal = boundary(doubled, 4000)
    left = (normal[:, 0] == -1).double().mean()
    assert abs(left - 0.25) < 4 * 0.5 / math.sqrt(4000)


def test_any_dimension() -> None:
    holes = (Box(((0.3, 0.6),) * 3), Ball(3, 0.1, (0.8, 0.8, 0.8)))
    space = Difference(Box(((0.0, 1.0),) * 3), holes)
    domain = Domain(space)
    assert domain.contains(domain.interior(rand(), 500)).all()
    rows = domain.boundary(rand(), 500)
    points, normal = rows[:, :3], rows[:, 3:]
    assert space.contains(points - 1e-6 * normal).all()
    assert not space.contains(points + 1e-6 * normal).any()
    value, slope = jet(distance(space), points, normal, 1)
    assert value.abs().max() < 1e-14 and (slope + 1).abs().max() < 1e-9
    line = Domain(Box(((0.0, 1.0),)) - Box(((0.4, 0.5),)))
    rows = line.boundary(rand(), 50)
    assert set(rows[:, 0].tolist()) == {0.0, 0.4, 0.5, 1.0}
    assert set(map(tuple, rows.tolist())) == {(0.0, -1.0), (0.4, 1.0), (0.5, -1.0), (1.0, 1.0)}


def test_samplers_and_fingerprints_take_regions_that_reject() -> None:
    class Laplace(Problem):
        grid = (21, 21)  # 9 nodes are strictly inside each disc
        domain = Domain(FOUR_DISCS)
        conditions = (Dirichlet(0.0, ("sphere",)),)

        def residual(self, u: object, x: Tensor) -> Tensor:
            return x[:, 0]

    assert Laplace().fingerprint() == Laplace().fingerprint()
    from sciml.pinns.residual import Residual

    x, shape = Laplace().points()
    assert shape is None and len(x) == 21**2 - 4 * 9 and FOUR_DISCS.contains(x).all()
    model = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Flatten(0)).double()
    for sampler in (Sobol(), R3()):
        loss = Residual(Laplace(), sampler=sampler, points=128)
        for step in range(3):
            batch = loss.draw(step, model, Streams(0))
            assert batch["equation/rows"].shape == (128, 2)
            assert FOUR_DISCS.contains(batch["equation/rows"]).all()


@pytest.mark.parametrize("space", [FOUR_DISCS, CORNER, SQUARE | QUARTER, Renamed(SQUARE, {"0-": "in"})])
def test_regions_are_described(space: Geometry) -> None:
    assert build(describe(space)) == space


# Meshes.

LINES = [("triangle", TRIANGLES.cells[0][1]), ("line", [[0, 1], [1, 2], [2, 3]])]


def test_faces_of_files() -> None:
    tags = {"gmsh:physical": [np.full(4, 9), np.array([1, 2, 2])]}
    names = {"inlet": np.array([1, 1]), "inside": np.array([9, 2])}
    read = meshio.Mesh(
        np.pad(TRIANGLES.coordinates, ((0, 0), (0, 1))), LINES, cell_data=tags, field_data=names
    )
    space = MeshGeometry.from_meshio(read)
    assert space.dim == 2 and [space.area(face) for face in ("inlet", "2", "boundary")] == [2.0, 3.0, 1.0]
    sets = {"walls": [None, np.array([1, 2])]}
    space = MeshGeometry.from_meshio(meshio.Mesh(TRIANGLES.coordinates, LINES, cell_sets=sets))
    assert space.area("walls") == 3.0 and space.area("boundary") == 3.0
    points = Domain(space).boundary(rand(), 50, ("walls",))
    assert ((points[:, 0] == 2) | (points[:, 1] == 1)).all()


def test_tags_of_points_name_facets() -> None:
    """Corners carry one of two names: their facets go with the neighbor in their line."""
    n = 4
    grid = np.stack(np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"), -1).reshape(-1, 2) / n
    corner = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    quads = np.stack([corner, corner + n + 1, corner + n + 2, corner + 1], axis=1)
    tags = np.zeros(len(grid), dtype=int)
    tags[grid[:, 0] == 0] = 1
    tags[(grid[:, 1] == 0) | (grid[:, 1] == 1) | (grid[:, 0] == 1)] = 2
    mesh = Mesh(grid, cells={"quad": quads}, boundary=tags, boundary_names=("inside", "left", "rest"))
    space = MeshGeometry(mesh)
    assert space.area("left") == pytest.approx(1.0) and space.area("rest") == pytest.approx(3.0)
    assert space.volume == pytest.approx(1.0)
    assert Domain(space).boundary(rand(), 20, ("left",))[:, 0].abs().max() == 0


def test_volumes_of_tetrahedra_and_hexahedra() -> None:
    """A cube of one hexahedron: points uniform in it, six faces of two triangles, normals outward."""
    corners = np.array(
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]
    )
    cube = MeshGeometry(Mesh(corners, cells={"hexahedron": [[0, 1, 2, 3, 4, 5, 6, 7]]}))
    domain = Domain(cube)
    x = domain.interior(rand(), 4000)
    assert cube.volume == pytest.approx(1.0) and cube.area("boundary") == pytest.approx(6.0)
    assert (x.mean(0) - 0.5).abs().max() < 4 * 0.29 / math.sqrt(4000)
    assert (x.var(0) - 1 / 12).abs().max() < 4 * 0.075 / math.sqrt(4000)
    rows = domain.boundary(rand(), 1000)
    points, normal = rows[:, :3], rows[:, 3:]
    assert torch.allclose((points - 0.5) * normal * 2, normal.abs(), atol=1e-12)
    assert cube.contains(points).all() and not cube.contains(points + 1e-6 * normal).any()
    assert Domain(SQUARE | MeshGeometry(TRIANGLES)).interior(rand(), 100).shape == (100, 2)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="one dimension, got"):
        Union((SQUARE, Ball(3)))
    with pytest.raises(ConfigError, match="do not meet"):
        SQUARE & Ball(2, 0.5, (3.0, 0.0))
    with pytest.raises(ConfigError, match="at least 2 regions"):
        Difference(SQUARE, ())
    with pytest.raises(ConfigError, match="no face sphere; there is 0-"):
        Renamed(SQUARE, {"sphere": "hole"})
    with pytest.raises(ConfigError, match="edges 0 and 2 meet"):
        Polygon(((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)))
    with pytest.raises(ConfigError, match="has 3 edges, but names"):
        Polygon(((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)), names=("wall",))
    with pytest.raises(ConfigError, match="found too few points in"):
        Domain(SQUARE - Ball(2, 3.0)).interior(rand(), 1)
    with pytest.raises(DataError, match="facet .0, 4. of face 'cut' is not one of the boundary"):
        MeshGeometry(TRIANGLES, {"cut": [[0, 4]]})
    with pytest.raises(ConfigError, match="do not fill the 2 dimensions"):
        MeshGeometry(Mesh([[0, 0], [1, 0]], cells={"line": [[0, 1]]}))
    with pytest.raises(ConfigError, match="no face 2-"):
        distance(SQUARE, ("2-",))
    solid = Mesh(np.eye(4)[:, :3], cells={"tetra": [[0, 1, 2, 3]]})
    with pytest.raises(ConfigError, match="not in 3 dimensions"):
        distance(MeshGeometry(solid))(torch.zeros(1, 3))
