"""The message-passing solver: what it holds exactly, its symmetries, its graphs, its frames."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sciml.calling import call
from sciml.dataset import Dataset, write_dataset
from sciml.errors import ConfigError, ShapeError
from sciml.evolution import Evolution
from sciml.grid import Grid
from sciml.mesh import Points
from sciml.neighbors import Nearest, nearest, within
from sciml.objective import total
from sciml.operators.message_passing import MPPDE, published
from sciml.operators.message_settings import Context, Graph, State
from sciml.operators.neighbor_table import lattice, table_of
from sciml.padding import padded
from sciml.rollout import Rollout
from sciml.schema import Field
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.unroll import Frames, Unroll

# Sums in another order, in float64.
EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}
NOWHERE = Context(position=False)


def mppde(*arguments: int, seed: int = 0, **settings: Any) -> MPPDE:
    torch.manual_seed(seed)
    return MPPDE(*arguments, **{"width": 8, "depth": 2, **settings}).double().eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def places(*shape: int, batch: int = 1) -> Tensor:
    """Unit coordinates of a periodic grid of nodes, (batch, rank, *shape)."""
    grid = Grid.box(shape, location="node", periodic=True)
    return torch.as_tensor(grid.unit_coordinates()).expand(batch, len(shape), *shape)


def scattered(count: int, rank: int = 2, seed: int = 3) -> Tensor:
    return torch.rand(1, count, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rows(x: Tensor) -> Tensor:
    """(batch, channel, *space) as (batch, point, channel)."""
    return x.flatten(2).mT


def near(points: Tensor, radius: float, period: list[float | None] | None = None) -> Tensor:
    """All neighbors (edge, 2) within a radius that no distance equals."""
    return torch.from_numpy(within(points.numpy(), radius + 1e-9, period=period))


class Same(nn.Module):
    """In the place of the normalization."""

    def forward(self, f: Tensor, mask: Tensor | None) -> Tensor:
        return f


# Sizes.


@pytest.mark.parametrize(("name", "count"), [("E1", 634_745), ("E3", 639_737)])
def test_t13_published_sizes(name: str, count: int) -> None:
    arguments, source = published[name]
    assert sum(p.numel() for p in MPPDE(1, 25, 25, **arguments).parameters()) == count
    assert "Brandstetter" in source


@pytest.mark.parametrize("bundle", [1, 2, 7, 20, 25, 50, 128])
def test_bundles_of_any_length_up_to_the_width(bundle: int) -> None:
    model = MPPDE(1, 1, bundle, depth=1)
    assert model(torch.zeros(1, 1, 7), places(7).float()).shape == (1, bundle, 7)


# What it holds exactly.


def difference_step(rank: int, difference: str, factor: float) -> MPPDE:
    """u + factor D u in one layer, D u a difference along the first axis, the mean over the neighborhood.

    swish(z) - swish(-z) = z makes pairs of units linear. With s = x_i - x_j = ±1 and δ = u_i - u_j,
    swish(δ + 40 s) - swish(-δ + 40 s) is 2 δ for s = 1 and 0 for s = -1, up to 40 exp(-40) = 2e-16.
    """
    graph = Graph(reach=1, period=(1.0,) * rank)
    model = mppde(rank, 1, 1, depth=1, graph=graph, context=NOWHERE)
    layer: Any = model.layers[0]
    layer.norm = Same()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        jump, away = 16, 17
        layer.pair.weight[:4, jump] = torch.tensor([1.0, -1.0, 1.0, -1.0])
        layer.pair.weight[:4, away] = torch.tensor([40.0, 40.0, -40.0, -40.0])
        m = {"central": [0.5, -0.5, -0.5, 0.5], "upwind": [1.0, -1.0, 0.0, 0.0]}[difference]
        pair = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
        layer.message.weight[:2, :4] = pair * torch.tensor(m, dtype=torch.float64)
        layer.update[0].weight[:2, 8:10] = pair * pair.T
        layer.update[2].weight[:2, :2] = pair * pair.T
        model.decoder.first.weight[:2, 0, :2] = pair * pair.T
        model.decoder.second.weight[0, :2, 0] = factor * pair[:, 0]
    return model


@pytest.mark.parametrize("difference", ["central", "upwind"])
def test_t7_hand_set_weights_are_an_explicit_step_of_finite_differences(difference: str) -> None:
    courant, u = 0.4, noise(2, 1, 12)
    behind, ahead = u.roll(1, -1), u.roll(-1, -1)
    expected = u - courant * ((ahead - behind) / 2 if difference == "central" else u - behind)
    model = difference_step(1, difference, -courant)
    torch.testing.assert_close(model(u, places(12, batch=2)), expected, **EXACT)


def test_t7_in_two_dimensions_along_one_axis() -> None:
    """The mean over the eight around of s δ: the sum over three rows of ahead minus behind, over eight."""
    u = noise(1, 1, 6, 5)
    across = sum(u.roll((1, k), (2, 3)) * -1 + u.roll((-1, k), (2, 3)) for k in (-1, 0, 1)) / 8
    model = difference_step(2, "central", 1.0)
    torch.testing.assert_close(model(u, places(6, 5)), u + across, **EXACT)


def test_the_frames_of_a_constant_rate_are_a_straight_line() -> None:
    model = mppde(1, 2, 4, context=NOWHERE)
    with torch.no_grad():
        model.decoder.second.weight.zero_()
        model.decoder.second.bias.fill_(3.0)
    x = noise(2, 2, 9)
    line = 3.0 * torch.arange(1, 5, dtype=torch.float64)[:, None] / 4
    torch.testing.assert_close(model(x, places(9, batch=2)), x[:, 1:] + line, **EXACT)


def test_frames_of_several_fields_start_from_the_last_given_one() -> None:
    """A vector and a scalar, two frames and a fixed field to three frames, in the order of `Evolution`."""
    evolution = Evolution((2, 1), window=2, bundle=3)
    model = mppde(1, 7, 9, state=State((2, 1), inputs=1))
    with torch.no_grad():
        model.decoder.second.weight.zero_()
        model.decoder.second.bias.copy_(torch.tensor([3.0, 6.0, 9.0]))
    frames, fixed = noise(2, 2, 3, 9), noise(2, 1, 9)
    y = model(torch.cat([evolution.stacked(frames), fixed], dim=1), places(9, batch=2))
    rate = torch.tensor([3.0, 6.0, 9.0], dtype=torch.float64)[:, None]
    expected = torch.stack([frames[:, -1] + rate * part / 3 for part in (1, 2, 3)], dim=1)
    torch.testing.assert_close(evolution.unstacked(y), expected, **EXACT)


def test_a_map_between_fields_has_no_frames() -> None:
    model = mppde(1, 2, 3, state=State((3,), inputs=2))
    with torch.no_grad():
        model.decoder.second.weight.zero_()
        model.decoder.second.bias.fill_(5.0)
    assert (model(noise(1, 2, 9), places(9)) == 5.0).all()
    of_coordinates = mppde(2, 0, 1)
    assert of_coordinates(torch.zeros(1, 10, 0).double(), scattered(10)).shape == (1, 10, 1)


# Symmetries.


@pytest.mark.parametrize("shape", [(11,), (7, 6), (4, 3, 5)])
def test_t4_a_wrapped_graph_commutes_with_all_translations(shape: tuple[int, ...]) -> None:
    rank = len(shape)
    model = mppde(rank, 2, 2, graph=Graph(period=(1.0,) * rank), context=NOWHERE)
    x, where = noise(1, 2, *shape), places(*shape)
    y = model(x, where)
    for axis in range(2, 2 + rank):
        torch.testing.assert_close(model(x.roll(1, axis), where), y.roll(1, axis), **EXACT)


@pytest.mark.parametrize("settings", [{"context": NOWHERE}, {"graph": Graph(period=(1.0,))}])
def test_t4_a_cut_graph_and_positions_do_not(settings: dict[str, Any]) -> None:
    model, x, where = mppde(1, 2, 2, **settings), noise(1, 2, 11), places(11)
    assert (model(x.roll(1, 2), where) - model(x, where).roll(1, 2)).abs().max() > 1e-6


def test_a_reflection_reverses_the_weights_of_the_difference_of_positions() -> None:
    model = mppde(2, 2, 2, graph=Graph(period=(1.0, None)), context=NOWHERE)
    x, where = noise(1, 2, 7, 6), places(7, 6)
    y, reflected = model(x, where).flip(3), model(x.flip(3), where)
    assert (reflected - y).abs().max() > 1e-6
    with torch.no_grad():
        for layer in model.layers:
            layer.get_parameter("pair.weight")[:, 8 + 8 + 2 + 1] *= -1
    torch.testing.assert_close(model(x.flip(3), where), y, **EXACT)


def test_t3_points_and_edges_come_in_any_order() -> None:
    model = mppde(2, 1, 3)
    where, x = scattered(30), noise(1, 30, 1)
    edges = near(where[0], 0.3)
    y = model(x, where, edges[None])
    order = torch.randperm(30, generator=torch.Generator().manual_seed(4))
    moved = torch.argsort(order)[edges][torch.randperm(len(edges))]
    torch.testing.assert_close(model(x[:, order], where[:, order], moved[None]), y[:, order], **EXACT)


def test_t5_at_another_resolution_it_is_another_operator() -> None:
    """What it adds to a smooth function is not the same at 32 and at 64 points."""
    model = mppde(1, 1, 1, graph=Graph(period=(1.0,)), context=NOWHERE)
    changes = []
    for n in (32, 64):
        u = torch.exp(torch.sin(2 * math.pi * places(n)))
        changes.append(model(u, places(n)) - u)
    coarse, fine = changes[0], changes[1][..., ::2]
    assert (fine - coarse).norm() > 1e-4 * coarse.norm()
    assert MPPDE.properties.resolution_bound


# Graphs.


@pytest.mark.parametrize("period", [(1.0, 1.0), (1.0, None), (None, None)])
def test_the_table_of_a_grid_lists_who_is_near(period: tuple[float | None, ...]) -> None:
    space, wrapped = (5, 4), tuple(length is not None for length in period)
    where = places(*space)
    table = lattice("mine", 1, space, reach=1, wrapped=wrapped, like=where)
    # One step along every axis in a metric in which all eight around are near: cells of unit size.
    points = rows(where)[0] * torch.tensor(space)
    lengths = [float(n) if around else None for n, around in zip(space, wrapped, strict=True)]
    listed = near(points, math.sqrt(2), lengths)
    real = torch.ones_like(table.index, dtype=torch.bool) if table.real is None else table.real
    found = [(i, int(j)) for i in range(20) for j in table.index[i][real[i]]]
    assert sorted(found) == [tuple(pair) for pair in listed.tolist()]


@pytest.mark.parametrize("period", [(1.0,), (None,)])
@pytest.mark.parametrize("shape", [(12,), (7, 5)])
def test_a_grid_is_its_points_and_their_neighbors(
    shape: tuple[int, ...], period: tuple[float | None]
) -> None:
    """Wrapped and cut graphs, in one dimension of reach 3: the radius graph of the paper."""
    rank = len(shape)
    model = mppde(rank, 2, 2, graph=Graph(period=period * rank))
    x, where = noise(1, 2, *shape), places(*shape)
    steps = rows(where)[0] * torch.tensor(shape)
    radius = 3.0 if rank == 1 else math.sqrt(2)
    lengths = [None if period[0] is None else float(n) for n in shape]
    edges = near(steps, radius, lengths)
    found = model(rows(x), rows(where), edges[None])
    torch.testing.assert_close(found, rows(model(x, where)), **EXACT)


def test_points_without_lists_take_the_nearest() -> None:
    model = mppde(2, 1, 1, graph=Graph(nearest=4, period=(1.0, None)))
    where, x = torch.cat([scattered(20), scattered(20, seed=9)]), noise(2, 20, 1)
    lists = [nearest(points, 4, period=[1.0, None]) for points in where.numpy()]
    expected = model(x, where, torch.from_numpy(np.stack(lists)))
    torch.testing.assert_close(model(x, where), expected, **EXACT)


@pytest.mark.parametrize("listed", [True, False])
def test_padding_counts_for_nothing(listed: bool) -> None:
    """A short sample beside a long one, with anything at its padding, is what it is alone."""
    model = mppde(2, 1, 2, graph=Graph(nearest=4))
    where, x = torch.cat([scattered(20), scattered(20, seed=9)]), noise(2, 20, 1)
    x[1, 13:], where[1, 13:] = math.nan, math.inf
    mask = torch.arange(20) < torch.tensor([[20], [13]])
    edges = [near(where[0], 0.3), near(where[1, :13], 0.4)]
    lists = padded([e.numpy() for e in edges], fill=-1) if listed else None
    y = model(x, where, lists, mask)
    alone = model(x[1:, :13], where[1:, :13], edges[1][None] if listed else None)
    torch.testing.assert_close(y[1:, :13], alone, **EXACT)
    assert (y[1, 13:] == 0).all()


def test_a_point_without_neighbors_receives_nothing() -> None:
    edges = torch.tensor([[[0, 1], [1, 0], [-1, -1]]])
    table = table_of(edges, torch.tensor([[[0.0], [0.5], [9.0]]]))
    assert table.mean(torch.ones(3, 1, 2)).tolist() == [[1, 1], [1, 1], [0, 0]]


def test_gradients_in_float64() -> None:
    on_grid = mppde(2, 1, 2, width=4, depth=1, graph=Graph(period=(1.0, None)))
    where = places(4, 3)
    assert torch.autograd.gradcheck(lambda x: on_grid(x, where), (noise(1, 1, 4, 3).requires_grad_(),))
    points = scattered(6)
    edges = near(points[0], 0.4)[None]
    # Positions too, through the differences between neighbors.
    assert torch.autograd.gradcheck(
        lambda x, place: on_grid(x, place, edges), (noise(1, 6, 1).requires_grad_(), points.requires_grad_())
    )
    weight = on_grid.layers[0].get_parameter("pair.weight")

    def of_weight(w: Tensor) -> Tensor:
        return torch.func.functional_call(on_grid, {"layers.0.pair.weight": w}, (noise(1, 1, 4, 3), where))

    assert torch.autograd.gradcheck(of_weight, (weight.detach().clone().requires_grad_(),))


# What it is told.


def test_time_and_parameters_are_told_divided_or_not_at_all() -> None:
    context = Context(time=4.0, parameters=(None, 0.2, 5.0))
    model, plain = (
        mppde(1, 1, 1, context=context),
        mppde(1, 1, 1, context=Context(time=1.0, parameters=(1.0,) * 2)),
    )
    x, where = noise(1, 1, 9), places(9)
    time, numbers = torch.tensor([2.0]), torch.tensor([[7.0, 0.1, 3.0]])
    y = model(x, where, time=time, parameters=numbers)
    torch.testing.assert_close(
        plain(x, where, time=time / 4, parameters=torch.tensor([[0.5, 0.6]])), y, rtol=0, atol=1e-7
    )  # numbers in float32
    assert torch.equal(model(x, where, time=time, parameters=torch.tensor([[0.0, 0.1, 3.0]])), y)
    assert (model(x, where, time=time + 1, parameters=numbers) - y).abs().max() > 1e-6
    with pytest.raises(ConfigError, match="needs parameters, time"):
        call(model, x, {"coordinates": where})
    with pytest.raises(ShapeError, match=r"parameters must have shape \(1, 3\), got \(1, 2\)"):
        model(x, where, time=time, parameters=numbers[:, :2])


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Smooth waves that go around, one cell per frame, with a number of each sample."""
    n, x = 8, 2 * math.pi * np.arange(16) / 16
    phases = np.random.default_rng(0).uniform(0, 2 * math.pi, (n, 1))
    u = np.stack([np.sin(x - 2 * math.pi * t / 16 + phases) for t in range(12)], axis=1)
    return write_dataset(
        tmp_path_factory.mktemp("data") / "u.h5",
        grid=Grid.box((16,), periodic=True),
        fields=[(Field("u", "state", time=True), u)],
        split=np.array([0] * 6 + [1, 2], dtype=np.int8),
        times=0.5 * np.arange(12),
        variables={"speed": np.full(n, 2.0)},
    )


def test_it_is_trained_by_pushforward(moving: Dataset) -> None:
    """The gradient is that of the last call on a window that is taken as it is; some steps do learn."""
    context = Context(time=6.0, parameters=(2.0,))
    graph = MPPDE.suited(moving.grid)["graph"]
    model = mppde(1, 3, 3, width=16, context=context, graph=graph).train()
    task = Rollout(
        moving.train, ["u"], frames=Frames(window=3, bundle=3), unroll=Unroll(calls=2, pushforward=True)
    )
    task.check(model)
    batch = task.draw(0, model, Streams(0))
    total(task.terms(model, batch)).backward()
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()

    window = task.normalization.encode(batch["x"], axis=2)
    first = task.evolution.unstacked(task.predict(model, window, 0, batch)).detach()
    pushed = task.evolution.slide(window, first)
    bundle = task.evolution.unstacked(task.predict(model, pushed, 1, batch))
    truth = batch["y"].split(3, dim=1)[1]
    bundle = task.normalization.decode(bundle, axis=2)
    loss = ((bundle - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)).mean()
    loss.backward()
    expected = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(found) == len(list(model.parameters())) == len(expected)
    for own, known in zip(found, expected, strict=True):
        torch.testing.assert_close(own, known, rtol=1e-9, atol=1e-12)

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(60):
        optimizer.zero_grad()
        total(task.terms(model, task.draw(step, model, Streams(0)))).backward()
        optimizer.step()
    # A third of what persistence has over nine frames: the root mean square of 2 sin(k π / 16), 1.56.
    assert task.evaluate(model, Streams(0))["relative_l2"] < 0.52


def test_it_is_trained_on_points_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clouds = [Points(rng.random((count, 2))) for count in (12, 9, 15)]
    data = write_dataset(
        tmp_path / "points.h5",
        grid=clouds,
        fields=[
            (Field("a", "input"), [rng.random(len(c)) for c in clouds]),
            (Field("u", "output"), [rng.random(len(c)) for c in clouds]),
        ],
        split=np.zeros(3, dtype=np.int8),
    )
    model = mppde(2, 1, 1)
    task = Supervised(data.train, ["a"], ["u"], neighbors=Nearest(3), batch_size=3)
    task.check(model)
    total(task.terms(model, task.draw(0, model, Streams(0)))).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


# What it refuses.


def test_refuses_in_a_sentence() -> None:
    with pytest.raises(ShapeError, match="around the periodic axis 0 needs at least 7 grid points, got 6"):
        MPPDE(1, 1, 1, graph=Graph(period=(1.0,))).check_grid((6,))
    with pytest.raises(ConfigError, match="a period for each of 2 axes"):
        MPPDE(2, 1, 1, graph=Graph(period=(1.0,)))
    with pytest.raises(ConfigError, match="width must be at least the 9 frames of a bundle, got 8"):
        MPPDE(1, 1, 9, width=8)
    with pytest.raises(ConfigError, match="not whole frames of 2"):
        MPPDE(1, 3, 2, state=State((2,)))
    with pytest.raises(ConfigError, match="positive length or None"):
        Graph(period=(-1.0,))
    with pytest.raises(ConfigError, match="divide by 0"):
        Context(time=0.0)
    model, where = mppde(2, 1, 1), scattered(5)
    with pytest.raises(ShapeError, match="name the point 5, but there are 5"):
        model(noise(1, 5, 1), where, torch.tensor([[[0, 5]]]))
    with pytest.raises(ShapeError, match=r"neighbors must have shape \(1, edge, 2\), got \(3, 2\)"):
        model(noise(1, 5, 1), where, torch.tensor([[0, 1], [1, 2], [2, 0]]))
