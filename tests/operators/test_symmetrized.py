from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.calling import call
from sciml.description import build, describe
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.operators import FNO, Symmetrized

# Rounding of a mean over the group: sums of some terms of order one, in another order.
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


class Uneven(nn.Module):
    """Point-wise, but different at every point and for every channel: no symmetry of its own."""

    rank, in_channels = 2, 3
    requires = ("coordinates",)

    def forward(self, x: Tensor, coordinates: Tensor) -> Tensor:
        weight = torch.sin(3 * coordinates[:, :1] + 5 * coordinates[:, 1:] ** 2)
        return torch.tanh(x * weight + x.roll(1, 2) * x.roll(1, 1)) + weight


def fields(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def points(shape: tuple[int, ...], batch: int, dtype: torch.dtype = torch.float64, **kind: Any) -> Tensor:
    grid = Grid.box(shape, **kind)
    return torch.as_tensor(grid.unit_coordinates(), dtype=dtype).expand(batch, *(-1,) * (len(shape) + 1))


def signed_permutations(rank: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [
        (order, tuple(axis for axis in range(rank) if flips[axis]))
        for order in itertools.permutations(range(rank))
        for flips in itertools.product((False, True), repeat=rank)
    ]


def moved(x: Tensor, order: tuple[int, ...], flips: tuple[int, ...], *, roll: bool = False) -> Tensor:
    """Written without the class under test: permute, then flip."""
    dims = [2 + axis for axis in flips]
    y = x.permute(0, 1, *(2 + axis for axis in order)).flip(dims)
    return y.roll([1] * len(dims), dims) if roll and dims else y


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rank", "size", "location"), [(1, 9, "cell"), (2, 8, "cell"), (3, 5, "node")])
def test_the_full_average_commutes_with_every_symmetry_of_the_box(
    rank: int, size: int, location: str, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    model = Symmetrized(FNO(rank, 2, 1, modes=2, width=6, depth=2)).to(dtype).eval()
    shape = (size,) * rank
    x, where = fields(2, 2, *shape, dtype=dtype), points(shape, 2, dtype, location=location)
    with torch.no_grad():
        y = model(x, where)
        plain = model.model(x, where)
        for order, flips in signed_permutations(rank)[:: 1 if rank < 3 else 7]:
            image = model(moved(x, order, flips), where)
            assert (image - moved(y, order, flips)).abs().max() < TOLERANCE[dtype] * max(1, y.abs().max())
    assert (plain - y).abs().max() > 1e-3 * y.abs().max()  # the model alone does not


def test_reflections_of_periodic_nodes_keep_the_first_point() -> None:
    torch.manual_seed(0)
    model = Symmetrized(FNO(2, 1, 1, modes=2, width=6, depth=1), group="reflections", periodic_nodes=True)
    model = model.double().eval()
    x, where = fields(1, 1, 6, 8), points((6, 8), 1, location="node", periodic=True)
    with torch.no_grad():
        for flips in ((0,), (1,), (0, 1)):
            image = model(moved(x, (0, 1), flips, roll=True), where)
            torch.testing.assert_close(
                image, moved(model(x, where), (0, 1), flips, roll=True), rtol=0, atol=1e-12
            )


@pytest.mark.parametrize(
    ("group", "rank", "count"),
    [
        ("reflections", 2, 4), ("permutations", 2, 2), ("rotations", 2, 4), ("full", 2, 8),
        ("reflections", 3, 8), ("permutations", 3, 6), ("rotations", 3, 24), ("full", 3, 48), ("full", 1, 2),
    ],
)  # fmt: skip
def test_orders_of_the_groups(group: Any, rank: int, count: int) -> None:
    calls = []

    class Counting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(x)
            return x

    x = fields(1, 1, *(3,) * rank)
    y = Symmetrized(Counting(), group=group).eval()(x)
    torch.testing.assert_close(y, x, rtol=0, atol=1e-15 * count)  # the identity is equivariant already
    assert len({tuple(seen.flatten().tolist()) for seen in calls}) == len(calls) == count
    assert torch.equal(calls[0], x)


def test_only_some_axes_take_part() -> None:
    model = Symmetrized(Uneven(), axes=(0, 1)).eval()
    assert model.requires == ("coordinates",)
    torch.manual_seed(0)
    flat = (
        Symmetrized(FNO(3, 1, 1, modes=2, width=4, depth=1, coordinates=False), axes=(0, 1)).double().eval()
    )
    x = fields(1, 1, 4, 4, 6)
    with torch.no_grad():
        y = flat(x)
        torch.testing.assert_close(
            flat(moved(x, (1, 0, 2), (0,))), moved(y, (1, 0, 2), (0,)), rtol=0, atol=1e-12
        )
        assert (flat(x.flip(4)) - y.flip(4)).abs().max() > 1e-3


def test_vectors_and_pseudoscalars_turn_with_the_axes() -> None:
    """The gradient of a scalar is a vector, the curl of a vector in the plane a pseudoscalar."""

    def gradient(a: Tensor) -> Tensor:  # centered differences with wrap-around commute with the group
        return torch.cat([a.roll(-1, dim) - a.roll(1, dim) for dim in (2, 3)], dim=1)

    class Gradient(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return gradient(x)

    class Curl(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            u, v = x[:, :1], x[:, 1:]
            return (v.roll(-1, 2) - v.roll(1, 2)) - (u.roll(-1, 3) - u.roll(1, 3))

    a, v = fields(2, 1, 6, 6), fields(2, 2, 6, 6, seed=1)
    close: dict[str, Any] = {"rtol": 0, "atol": 1e-13}
    torch.testing.assert_close(Symmetrized(Gradient(), outputs=("vector",))(a), gradient(a), **close)
    curl = Symmetrized(Curl(), inputs=("vector",), outputs=("pseudoscalar",))
    torch.testing.assert_close(curl(v), Curl()(v), **close)
    # Taken for a scalar, the curl cancels: every mirror image contributes its negative.
    assert Symmetrized(Curl(), inputs=("vector",))(v).abs().max() < 1e-13
    assert Symmetrized(Gradient(), outputs=("scalar", "scalar"))(a).abs().max() < 1  # not the gradient
    with pytest.raises(ShapeError, match=r"inputs=\('vector',\) are 2 channels .* but there are 1"):
        curl(a)


def test_mixed_channels_commute_with_the_group() -> None:
    kinds = ("pseudoscalar", "vector")
    model = Symmetrized(Uneven(), inputs=kinds, outputs=kinds).eval()
    x, where = fields(1, 3, 6, 6), points((6, 6), 1)

    def turned(y: Tensor) -> Tensor:  # a quarter turn: (x, y) -> (-y, x), determinant one
        y = moved(y, (1, 0), (0,))
        return torch.stack((y[:, 0], -y[:, 2], y[:, 1]), dim=1)

    def mirrored(y: Tensor) -> Tensor:
        y = moved(y, (0, 1), (1,))
        return torch.stack((-y[:, 0], y[:, 1], -y[:, 2]), dim=1)

    for image in (turned, mirrored):
        torch.testing.assert_close(model(image(x), where), image(model(x, where)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["step", "sample"])
def test_training_with_random_elements_is_augmentation(mode: Any) -> None:
    model = Symmetrized(Uneven(), in_training=mode)
    x, where = fields(64, 3, 5, 5), points((5, 5), 64)
    torch.manual_seed(3)
    first = model(x, where)
    torch.manual_seed(3)
    assert torch.equal(first, model(x, where))  # a function of the global generator
    # Every sample is g⁻¹ M(g a) for one of the eight g.
    images = []
    for order, flips in signed_permutations(2):
        y = Uneven()(moved(x, order, flips), where).flip([2 + axis for axis in flips])
        images.append(y.permute(0, 1, *(2 + order.index(axis) for axis in range(2))))
    same = torch.stack([(first - image).flatten(1).abs().max(dim=1).values < 1e-12 for image in images])
    assert same.any(dim=0).all()
    # 64 samples meet all eight elements: some element is missed with probability 8 (7/8)^64 = 0.2 percent.
    assert int(same.any(dim=1).sum()) == (1 if mode == "step" else 8)
    model.eval()
    torch.testing.assert_close(model(x, where), torch.stack(images).mean(dim=0), rtol=0, atol=1e-12)


def test_a_mask_moves_with_the_field_and_numbers_pass() -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor, mask: Tensor, parameters: Tensor) -> Tensor:
            return x * mask * parameters[:, :1, None, None]

    x, mask, numbers = fields(3, 1, 4, 4), (fields(3, 1, 4, 4, seed=2) > 0).double(), fields(3, 2)
    for mode in ("average", "step", "sample"):
        model = Symmetrized(Masked(), in_training=mode)  # type: ignore[arg-type]
        y = call(model, x, {"mask": mask, "parameters": numbers, "coordinates": points((4, 4), 3)})
        torch.testing.assert_close(y, x * mask * numbers[:, :1, None, None], rtol=0, atol=1e-14)


def test_describes_itself_with_its_model() -> None:
    model = Symmetrized(FNO(2, 1, 1, modes=3, width=4), group="rotations", axes=(0, 1), in_training="sample")
    again = build(describe(model))
    assert describe(again) == describe(model)
    again.load_state_dict(model.state_dict())
    x, where = fields(1, 1, 8, 8, dtype=torch.float32), points((8, 8), 1, torch.float32)
    assert torch.equal(again.eval()(x, where), model.eval()(x, where))
    assert model.properties == FNO.properties


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'rotations'"):
        Symmetrized(Uneven(), group="rotation")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="inputs and outputs must be one of scalar"):
        Symmetrized(Uneven(), inputs=("tensor",))

    class Cloud(nn.Module):
        def forward(self, x: Tensor, neighbors: Tensor) -> Tensor:
            return x

    with pytest.raises(ConfigError, match="Cloud works on points"):
        Symmetrized(Cloud())
    model = Symmetrized(FNO(2, 1, 1, modes=2, width=4))
    with pytest.raises(ShapeError, match=r"permutes axes of equal size, got a grid \(8, 6\)"):
        model(torch.zeros(1, 1, 8, 6), points((8, 6), 1))
    with pytest.raises(ShapeError, match="permutes axes"):
        model.check_grid((8, 6))
    with pytest.raises(ShapeError, match="FNO: modes=2 on axis 0 need"):
        model.check_grid((3, 3))
    with pytest.raises(ShapeError, match="not distinct axes"):
        Symmetrized(FNO(2, 1, 1), axes=(0, 2)).check_grid((8, 8))


def test_refuses_points_without_the_symmetry() -> None:
    x = torch.zeros(1, 1, 8, 8)
    plain = FNO(2, 1, 1, modes=2, width=4)
    for kind in ({"location": "left"}, {"location": "node", "periodic": True}):
        with pytest.raises(ShapeError, match="does not map its points onto themselves"):
            Symmetrized(plain)(x, points((8, 8), 1, torch.float32, **kind))
        Symmetrized(plain, group="permutations")(x, points((8, 8), 1, torch.float32, **kind))
    for kind in ({"location": "cell", "periodic": True}, {"location": "node"}):
        Symmetrized(plain)(x, points((8, 8), 1, torch.float32, **kind))
        with pytest.raises(ShapeError, match="does not map its points onto themselves"):
            Symmetrized(plain, periodic_nodes=True)(x, points((8, 8), 1, torch.float32, **kind))


@pytest.mark.parametrize("group", ["full", "reflections", "permutations"])
def test_a_mirror_changes_nothing_on_points_that_the_group_keeps(group: Any) -> None:
    x, at = fields(2, 3, 8, 8), points((8, 8), 2)
    kept, moving = (Symmetrized(Uneven(), group=group, mirror=mirror).eval() for mirror in (None, 1.0))
    assert (kept(x, coordinates=at) - moving(x, coordinates=at)).abs().max() < TOLERANCE[torch.float64]


def test_with_a_mirror_the_points_move_along() -> None:
    """S(h a, h points) = h S(a, points) on left ends, whose reflection are other points."""
    x, at = fields(2, 3, 8, 8), points((8, 8), 2, location="left")
    model = Symmetrized(Uneven(), mirror=1.1).eval()
    value = model(x, coordinates=at)
    for order, flips in signed_permutations(2):
        there = moved(at, order, flips)[:, list(order)]
        for axis in flips:
            there[:, axis] = 1.1 - there[:, axis]
        wanted = moved(value, order, flips)
        assert (model(moved(x, order, flips), coordinates=there) - wanted).abs().max() < 1e-12
    assert (model(x.mT.flip(2), coordinates=at) - value.mT.flip(2)).abs().max() > 1e-2


class Places(nn.Module):
    """What it is given as coordinates."""

    rank, in_channels = 2, 1

    def forward(self, x: Tensor, coordinates: Tensor) -> Tensor:
        return (coordinates**2).sum(1, keepdim=True) + x


@pytest.mark.parametrize("mode", ["sample", "step", "average"])
def test_in_training_a_mirror_moves_the_points_of_every_element(mode: Any) -> None:
    at = points((4, 4), 3, location="left")
    model = Symmetrized(Places(), in_training=mode, mirror=1.5)
    # |g ξ|² at the point ξ itself: each coordinate, or its mirror image, of all choices.
    squares = [torch.stack([at**2, (1.5 - at) ** 2])[i, :, j] for i in (0, 1) for j in (0, 1)]
    choices = [squares[i] + squares[j] for i in (0, 2) for j in (1, 3)]
    seen = set()
    for _ in range(60):  # four choices: none of 60 draws misses one, but for (3/4)^60
        y = model(torch.zeros(3, 1, 4, 4, dtype=torch.float64), coordinates=at)[:, 0]
        if mode == "average":
            assert (y - torch.stack(choices).mean(0)).abs().max() < 1e-12
            return
        for row in range(3):
            seen |= {k for k, c in enumerate(choices) if (y[row] - c[row]).abs().max() < 1e-12} or {-1}
    assert seen == {0, 1, 2, 3}


def test_in_a_graph_all_images_are_one_batch_with_their_points(monkeypatch: pytest.MonkeyPatch) -> None:
    x, at = fields(2, 3, 8, 8), points((8, 8), 2, location="left")
    model = Symmetrized(Uneven(), mirror=1.1).eval()
    one_by_one = model(x, coordinates=at)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert (model(x, coordinates=at) - one_by_one).abs().max() < TOLERANCE[torch.float64]


def test_a_mirror_needs_bounded_axes_and_coordinates() -> None:
    with pytest.raises(ConfigError, match="mirror=1.0 moves the points of bounded axes"):
        Symmetrized(Uneven(), periodic_nodes=True, mirror=1.0)
    with pytest.raises(ConfigError, match="Leave mirror out"):
        Symmetrized(FNO(2, 1, 1, modes=2, width=4, coordinates=False), mirror=1.0)
