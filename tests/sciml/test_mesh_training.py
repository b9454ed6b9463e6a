"""Learning on ragged meshes: padding never counts, runs resume exactly, weights make norms of functions."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from sciml import metrics
from sciml.dataset import Dataset, Field, open_dataset, write_dataset
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.feeding import masked
from sciml.grid import Grid
from sciml.mesh import Mesh, Points, PointSet
from sciml.neighbors import CellEdges, Nearest, Radius
from sciml.objective import total
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.task import task_of
from sciml.trainer import Trainer

COUNT = 24


def triangulated(rng: np.random.Generator, count: int) -> Mesh:
    from scipy.spatial import Delaunay

    points = rng.uniform([0, -1], [2, 1], size=(count, 2))
    return Mesh(points, cells={"triangle": Delaunay(points).simplices.astype(int)}, units="m")


def write(path: Path, count: int = COUNT) -> Dataset:
    """u = c a sin x + mean of f, a field a, a number c, a function f on 3 to 6 points of its own."""
    rng = np.random.default_rng(0)
    meshes = [triangulated(rng, int(n)) for n in rng.integers(12, 40, size=count)]
    a = [rng.normal(2.0, 3.0, size=len(m)) for m in meshes]
    c = rng.uniform(1, 2, size=count)
    f = [PointSet(rng.normal(size=n), rng.random((n, 1))) for n in rng.integers(3, 7, size=count)]
    parts = zip(meshes, a, c, f, strict=True)
    u = [ci * ai * np.sin(m.coordinates[:, 0]) + np.mean(fi.values) for m, ai, ci, fi in parts]
    cells = [m.measures() for m in meshes]
    fields = [
        (Field("a", "input"), a),
        (Field("f", "input", on="own"), f),
        (Field("c", "parameter"), c),
        (Field("u", "output"), u),
        (Field("area", "output", on="cells"), cells),
        (Field("fine", "input", on="cells"), [2 * v for v in cells]),
    ]
    split = np.where(np.arange(count) < count - 6, 0, np.where(np.arange(count) < count - 3, 1, 2))
    return write_dataset(path / "ragged.h5", grid=meshes, fields=fields, split=split)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write(tmp_path_factory.mktemp("data"))


class Pointwise(nn.Module):
    """A user's plain module: the same network at every point, knowing where it is."""

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 16) -> None:
        super().__init__()
        with Streams(0).of("init").applied():
            self.layers = nn.Sequential(
                nn.Linear(in_channels + 2, width), nn.Tanh(), nn.Linear(width, out_channels)
            )

    def forward(self, x: Tensor, coordinates: Tensor, mask: Tensor) -> Tensor:
        assert x.shape[:2] == coordinates.shape[:2] == mask.shape and coordinates.shape[2] == 2
        assert mask.dtype == torch.bool and x[~mask].eq(0).all()
        found: Tensor = self.layers(torch.cat([x, coordinates], dim=-1))
        # What is said at padding must not matter.
        return torch.where(mask[..., None], found, torch.nan)


class Everything(nn.Module):
    """Asks for all that points have, and mixes it."""

    def __init__(self) -> None:
        super().__init__()
        with Streams(0).of("init").applied():
            self.local, self.outer = nn.Linear(5, 4), nn.Linear(4, 1)

    def forward(
        self,
        x: Tensor,
        coordinates: Tensor,
        mask: Tensor,
        parameters: Tensor,
        neighbors: Tensor,
        functions: tuple[PointSet, ...],
    ) -> Tensor:
        (f,) = functions
        mean = (f.values * f.mask[..., None]).sum(1) / f.mask.sum(1, keepdim=True)
        broadcast = torch.cat([parameters, mean], dim=-1)[:, None].expand(-1, x.shape[1], -1)
        hidden = torch.tanh(self.local(torch.cat([x, coordinates, broadcast], dim=-1)))
        received = torch.zeros_like(hidden)
        for i, pairs in enumerate(neighbors):
            real = pairs[pairs[:, 0] >= 0]
            received[i] = received[i].index_add(0, real[:, 0], hidden[i, real[:, 1]])
        return self.outer(hidden + received) / mask.sum(1)[:, None, None]


def trained(task: Supervised, model: nn.Module, steps: int) -> Any:
    return Trainer(steps=steps, optimizer=partial(AdamW, lr=3e-3)).fit(model, task)


ALL = ["a", "f", "c"]


def full(data: Dataset, **options: Any) -> Supervised:
    return Supervised(data, ALL, ["u"], neighbors=CellEdges(), **options)


@pytest.mark.parametrize("space", ["physical", "encoded"])
@pytest.mark.parametrize(
    "loss", [metrics.relative_l2, metrics.rmse, metrics.vrmse, metrics.max_error, metrics.wasserstein]
)
def test_a_batch_with_padding_is_its_samples_one_by_one(data: Dataset, loss: Any, space: Any) -> None:
    model = Everything().double()
    task = full(data.train, loss=loss, space=space, batch_size=6)
    batch = task.draw(2, model, Streams(1))
    values = task.terms(model, batch)["u"].values
    rows = [int(r) for r in _rows(task, 2)]
    assert len({len(data.train.mesh(row)) for row in rows}) > 3  # so there is padding
    single = []
    for row in rows:
        one = Supervised(
            data.train.subset([row]), ALL, ["u"], loss=loss, space=space, batch_size=1, neighbors=CellEdges()
        )
        alone = one.draw(0, model, Streams(1))
        assert alone["mask"].all()
        single.append(one.terms(model, alone)["u"].values)
    # The same numbers, summed up to other orders: a few roundings of float64.
    torch.testing.assert_close(values, torch.cat(single), rtol=1e-12, atol=1e-14)


def _rows(task: Supervised, step: int) -> list[int]:
    from sciml.reading import rows_of_step

    return rows_of_step(step, len(task.dataset), task.batch_size, Streams(1).of("order"))


def test_gradients_of_a_padded_batch_are_the_mean_over_its_samples(data: Dataset) -> None:
    model = Pointwise().double()
    task = Supervised(data.train, ["a"], ["u"], batch_size=6)
    total(task.terms(model, task.draw(0, model, Streams(1)))).backward()
    together = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    for row in _rows(task, 0):
        one = Supervised(data.train.subset([row]), ["a"], ["u"], batch_size=1)
        (total(one.terms(model, one.draw(0, model, Streams(1)))) / 6).backward()
    for expected, p in zip(together, model.parameters(), strict=True):
        torch.testing.assert_close(p.grad, expected, rtol=1e-10, atol=1e-14)


def test_models_get_what_their_forward_names_normalized_by_training(data: Dataset) -> None:
    task = full(data.train, batch_size=5)
    batch = task.draw(0, Everything(), Streams(1))
    x, extras = task.feed.encode({**batch.shared, **batch.tensors})
    mask = extras["mask"]
    assert set(extras) == {"coordinates", "mask", "weights", "parameters", "neighbors", "functions"}
    assert extras["parameters"].shape == (5, 1) and extras["coordinates"].shape == (*mask.shape, 2)
    a, c = data.statistics("a"), data.statistics("c")
    for i, row in enumerate(_rows(task, 0)):
        real = mask[i]
        expected = (data.train.arrays("a", [row])[0] - a.mean) / a.std
        np.testing.assert_allclose(x[i, real, 0], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            extras["parameters"][i], (data.train.variable("c")[row] - c.mean) / c.std, rtol=1e-5
        )
        mesh = data.train.mesh(row)
        assert isinstance(mesh, Mesh)
        np.testing.assert_allclose(extras["weights"][i, real], mesh.weights(), rtol=1e-6)
        assert extras["weights"][i, ~real].eq(0).all()
        edges = CellEdges()(mesh)
        kept = batch["neighbors"][i][batch["neighbors"][i, :, 0] >= 0]
        assert np.array_equal(kept, edges)
        f = extras["functions"][0]
        assert (
            f.mask[i].sum() == len(data.train.arrays("f", [row])[0]) and f.values[i, ~f.mask[i]].eq(0).all()
        )


def test_training_lowers_the_error_and_evaluation_ignores_padding(data: Dataset) -> None:
    model = Pointwise(width=32)
    task = Supervised(data.train, ["a"], ["u"], batch_size=6)
    before = task.evaluate(model, Streams(0))["relative_l2"]
    run = trained(task, model, 150)
    after = task.evaluate(run.model, Streams(0))["relative_l2"]
    assert after < 0.5 * before
    # One sample at a time there is no padding.
    alone = Supervised(data.train, ["a"], ["u"], batch_size=1).evaluate(run.model, Streams(0))["relative_l2"]
    assert alone == pytest.approx(after, rel=1e-6)


@pytest.mark.parametrize("workers", [0, 1])
def test_resumed_training_is_bit_identical(data: Dataset, tmp_path: Path, workers: int) -> None:
    trainer = Trainer(steps=9, optimizer=partial(AdamW, lr=3e-3))

    def task() -> Supervised:
        return full(data.train, batch_size=4, workers=workers)

    whole = trainer.fit(Everything(), task()).model
    for step in trainer.iterate(Everything(), task(), every=4, output=tmp_path / "run"):
        if step.number == 6:
            break
    resumed = trainer.fit(Everything(), task(), every=4, output=tmp_path / "run").model
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_readers_ahead_give_the_same_batches(data: Dataset) -> None:
    here, ahead = full(data.train, batch_size=4), full(data.train, batch_size=4, workers=1)
    for step in (0, 1, 5):
        a, b = (task.draw(step, Everything(), Streams(3)) for task in (here, ahead))
        assert a.tensors.keys() == b.tensors.keys()
        assert all(torch.equal(a[name], b[name]) for name in a.tensors)


def test_neighbors_are_found_once_for_each_sample(data: Dataset) -> None:
    calls = []

    class Counting(Nearest):
        def __call__(self, points: Points) -> Any:
            calls.append(len(points))
            return super().__call__(points)

    task = Supervised(data.train, ["a"], ["u"], batch_size=6, neighbors=Counting(3))
    for step in range(9):
        task.draw(step, Pointwise(), Streams(0))
    assert len(calls) == len(data.train)


def test_cells_stand_for_their_centers(data: Dataset) -> None:
    task = Supervised(data.train, ["fine"], ["area"], batch_size=3, neighbors=Radius(0.5))
    batch = task.draw(0, Pointwise(), Streams(0))
    row = _first(task)
    mesh = data.train.mesh(row)
    assert isinstance(mesh, Mesh)
    real = batch["mask"][0]
    assert real.sum() == mesh.cell_count
    np.testing.assert_allclose(batch["weights"][0, real], mesh.measures(), rtol=1e-6)
    np.testing.assert_allclose(
        batch["coordinates"][0, real], data.space.unit(mesh.centers()), rtol=1e-6, atol=1e-7
    )
    expected = Radius(0.5)(Points(mesh.centers()))
    kept = batch["neighbors"][0][batch["neighbors"][0, :, 0] >= 0]
    assert np.array_equal(kept, expected)


def _first(task: Supervised) -> int:
    from sciml.reading import rows_of_step

    return rows_of_step(0, len(task.dataset), task.batch_size, Streams(0).of("order"))[0]


def test_on_a_grid_numbers_and_functions_go_in_beside_the_fields(tmp_path: Path) -> None:
    class Conditioned(nn.Conv2d):
        def forward(self, x: Tensor, parameters: Tensor, functions: tuple[PointSet, ...]) -> Tensor:  # type: ignore[override]
            seen.append((parameters, functions))
            return super().forward(x) + parameters[:, :1, None, None] + functions[0].values.mean()

    seen: list[Any] = []
    rng = np.random.default_rng(0)
    sensors = [PointSet(rng.normal(size=n), rng.random((n, 1))) for n in (2, 3, 4)]
    fields: list[tuple[Field, Any]] = [
        (Field("a", "input"), rng.normal(size=(3, 4, 5))),
        (Field("u", "output"), rng.normal(size=(3, 4, 5))),
        (Field("f", "input", on="own"), sensors),
        (Field("nu", "parameter"), [1.0, 2.0, 6.0]),
        (Field("re", "parameter"), [5.0, 5.0, 5.0]),
    ]
    data = write_dataset(tmp_path / "g.h5", grid=Grid.box((4, 5)), fields=fields, split=[0, 0, 0])
    task = Supervised(data, ["f", "a", "re", "nu"], ["u"], batch_size=3)
    run = trained(task, Conditioned(1, 1, 1), 2)
    parameters, (f,) = seen[-1]
    # Normalized, in the order asked for: a constant is 0, nu has mean 3 and variance 14/3.
    assert parameters[:, 0].eq(0).all()
    np.testing.assert_allclose(
        sorted(parameters[:, 1].tolist()), (np.array([1, 2, 6]) - 3) / (14 / 3) ** 0.5, rtol=1e-6
    )
    assert sorted(f.mask.sum(1).tolist()) == [2, 3, 4] and f.coordinates.shape == (3, 4, 1)
    with pytest.raises(ConfigError, match="fields on a grid alone"):
        run.surrogate()
    with pytest.raises(ConfigError, match="'f' of .* is not on the grid"):
        Supervised(data, ["a"], ["f"])


def test_feeds_go_to_other_processes(data: Dataset) -> None:
    task = full(data.train)
    first = task.feed.read([3, 1])
    other = pickle.loads(pickle.dumps(task.feed))
    assert not other.resident and all(map(torch.equal, first, other.stored([3, 1])))


def test_a_map_of_coordinates_alone_has_no_input_channels(data: Dataset) -> None:
    task = Supervised(data.train, [], ["u"], batch_size=3)
    assert task.draw(0, Pointwise(0), Streams(0))["x"].shape[2] == 0
    assert task.encoder.channels == 0
    trained(task, Pointwise(0), 2)


def test_a_loss_of_ones_own_is_called_without_padding() -> None:
    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target).abs().median(-1).values.mean(1)

    rng = torch.Generator().manual_seed(0)
    p, y = torch.randn(2, 5, 3, generator=rng), torch.randn(2, 5, 3, generator=rng)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    found = masked(loss, p, y, mask)
    assert found.shape == (2,)
    assert found[1] == loss(p[1:, :3].movedim(-1, 1), y[1:, :3].movedim(-1, 1))[0]


def test_measures_as_weights_make_norms_of_functions(tmp_path: Path) -> None:
    # The same function on a coarse and on a fine mesh: root mean squares agree to second order.
    rng = np.random.default_rng(1)
    meshes = []
    for count in (900, 3600):
        edge = np.linspace(0, 1, round(count**0.5))
        border = [(x, y) for x in edge for y in (0, 1)] + [(x, y) for y in edge for x in (0, 1)]
        points = np.unique(np.concatenate([rng.random((count, 2)) ** 2, border]), axis=0)
        from scipy.spatial import Delaunay

        meshes.append(Mesh(points, cells={"triangle": Delaunay(points).simplices.astype(int)}))
    values = [np.exp(m.coordinates[:, 0]) for m in meshes]
    fields = [(Field("u", "output"), values)]
    data = write_dataset(tmp_path / "n.h5", grid=meshes, fields=fields, split=[0, 0])
    u = data.tensor("u", dtype=torch.float64).movedim(-1, 1)
    found = metrics.rmse(u, torch.zeros_like(u), weights=data.weights())
    exact = ((np.e**2 - 1) / 2) ** 0.5
    assert abs(found - exact).max() < 2e-3
    # Points crowd near the origin, so that their plain mean is another one.
    assert abs(metrics.rmse(u, torch.zeros_like(u), weights=data.mask()) - exact).min() > 0.2


@pytest.mark.parametrize(
    "metric", [metrics.relative_l1, metrics.mse, metrics.nrmse, metrics.pearson, metrics.mae]
)
def test_weights_of_a_batch_leave_out_whatever_is_at_padding(metric: Any) -> None:
    rng = torch.Generator().manual_seed(1)
    p, y = (torch.randn(3, 2, 7, generator=rng, dtype=torch.float64) for _ in range(2))
    mask = torch.arange(7) < torch.tensor([[7], [4], [2]])
    p[~mask[:, None].expand_as(p)] = torch.nan
    found = metric(p, y, weights=mask)
    for i, n in enumerate((7, 4, 2)):
        torch.testing.assert_close(found[i], metric(p[i : i + 1, :, :n], y[i : i + 1, :, :n])[0])


def test_what_does_not_fit_is_refused_before_the_first_step(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="must all live on the points or all on the cells, got u on points, fine on"
    ):
        Supervised(data.train, ["fine"], ["u"])
    with pytest.raises(ShapeError, match=r"\(batch, point, channel\). Set its in_channels to 1"):
        trained(Supervised(data.train, ["a"], ["u"]), Pointwise(1, 2), 1)
    with pytest.raises(
        ConfigError, match=r"needs functions, neighbors, parameters, which this data does not"
    ):
        trained(Supervised(data.train, ["a"], ["u"]), Everything(), 1)
    grid = write_dataset(
        tmp_path / "g.h5", grid=Grid.box((4,)), fields=[(Field("u", "output"), np.ones((2, 4)))], split=[0, 0]
    )
    with pytest.raises(ConfigError, match="neighbors are those of points or meshes"):
        Supervised(grid, ["u"], ["u"], neighbors=Nearest(2))
    with pytest.raises(ConfigError, match="lists of field names"):
        Supervised(grid, [], ["u"])


def test_the_objective_can_be_described(data: Dataset) -> None:
    from sciml.description import build, describe

    again = build(describe(full(data.train, batch_size=3)))
    assert again.neighbors == CellEdges() and again.inputs == ALL
    assert open_dataset(data.path).digest == again.dataset.digest


OPERATOR = """
import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self, channels, out, rank):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels + rank + 1, 8), nn.Tanh(), nn.Linear(8, out))

    def forward(self, x, coordinates, parameters):
        numbers = parameters[:, None].expand(-1, x.shape[1], -1)
        return self.layers(torch.cat([x, coordinates, numbers], dim=-1))


def build(in_channels, out_channels, rank):
    return Plain(in_channels, out_channels, rank)
"""


def test_the_command_line_trains_on_meshes_and_reports_with_pictures(
    data: Dataset, run: Callable[..., tuple[int, str, str]]
) -> None:
    Path("mine.py").write_text(OPERATOR)
    arguments = ("--operator", "mine.py:build", "--allow-code", "--steps", "4", "--output", "here", "--json")
    fields = [word for name in ("a", "c") for word in ("--inputs", name)]
    status, out, log = run("train", data.path, *arguments, *fields, "--outputs", "u")
    assert status == 0, log
    found = json.loads(out)
    page = Path("here/report.html").read_text()
    assert "Best, median and worst sample" in page and page.count("data:image/png") == 6
    assert "every point counted once" in page and "12 to 39 points" in page
    test = Supervised(data.test, ["a", "c"], ["u"])
    mean = np.mean(
        [np.linalg.norm(u - data.statistics("u").mean) / np.linalg.norm(u) for u in data.test.arrays("u")]
    )
    stored = json.loads(Path("here/assessment.json").read_text())["assessment"]
    assert stored["rows"][1]["metrics"]["relative_l2"]["mean"] == pytest.approx(mean, rel=1e-6)
    assert found["samples"] == len(test.dataset) and stored["rows"][0]["seconds"] > 0
    status, _, log = run("train", data.path, "--operator", "fno", *fields, "--outputs", "u")
    assert status == 2 and "fno needs fields on a grid" in log


def test_a_step_may_see_a_choice_of_points(tmp_path: Path) -> None:
    """Real points of their sample, no one twice, others in another step; judging takes all."""
    data = write(tmp_path)
    task = Supervised(data, ["a", "c"], ["u"], batch_size=6, points=15)
    model = nn.Linear(1, 1)
    first, again, later = (task.draw(step, model, Streams(0)) for step in (0, 0, 1))
    whole = dataclasses.replace(task_of(data, ("a", "c"), ("u",))).objective(data, batch_size=6)
    every = whole.draw(0, model, Streams(0))
    assert torch.equal(first["y"], again["y"]) and first["y"].shape == (6, 15, 1)
    assert not torch.equal(first["coordinates"], later["coordinates"])
    counts = every["mask"].sum(1)
    assert int(counts.min()) < 15 < int(counts.max())
    assert torch.equal(first["mask"].sum(1), counts.clamp(max=15))
    for row in range(6):
        pairs = [
            {(*c.tolist(), *x.tolist(), *y.tolist()) for c, x, y, m in zip(*found, strict=True) if m}
            for found in (
                [batch[name][row] for name in ("coordinates", "x", "y", "mask")] for batch in (first, every)
            )
        ]
        assert len(pairs[0]) == min(15, int(counts[row])) and pairs[0] <= pairs[1]
    # Weights of all points when there are no more; else their mean over points stays, in the mean over draws.
    few = counts <= 15
    torch.testing.assert_close(first["weights"].sum(1)[few], every["weights"].sum(1)[few])
    draws = torch.stack(
        [
            task.feed.thinned(  # type: ignore[union-attr]
                [0], task.feed.read([0]), 6, Streams(0).of("points").generator(k)
            )[4].sum()
            for k in range(400)
        ]
    )
    # Standard error of the mean of 400 draws.
    exact = task.feed.read([0])[4].sum()
    assert abs(float(draws.mean() - exact)) < 4 * float(draws.std()) / 20
    assert task.on(data.test).points == 15
    assert task.judged(model, [0])[0].shape[1] == int(data.count([0])[0])
    for wrong in ({"points": 0}, {"points": 5, "neighbors": CellEdges()}):
        with pytest.raises(ConfigError, match="points="):
            Supervised(data, ["a"], ["u"], **wrong)  # type: ignore[arg-type]


def test_a_boundary_that_is_named_as_input_is_a_channel_of_distances(tmp_path: Path) -> None:
    """In the unit box, by search among all pairs; a mesh without that boundary is as far as can be."""
    rng = np.random.default_rng(0)
    meshes = []
    for count in (12, 9, 15):
        plain = triangulated(rng, count)
        tags = np.where(np.arange(count) < (0 if count == 9 else 4), 1, 0)
        meshes.append(dataclasses.replace(plain, boundary=tags, boundary_names=("inside", "wall")))
    a = [rng.normal(2.0, 3.0, size=len(m)) for m in meshes]
    fields = [(Field("a", "input"), a), (Field("u", "output"), a)]
    data = write_dataset(tmp_path / "walls.h5", grid=meshes, fields=fields, split=np.zeros(3, int))
    task = Supervised(data, ["wall", "a"], ["u"], batch_size=3)
    batch = task._batch(task.feed.read([0, 1, 2]), torch.float32)
    x, extras = task.feed.encode(batch.tensors)
    assert task.encoder.channels == x.shape[-1] == 2
    for row, (places, mask) in enumerate(zip(extras["coordinates"], extras["mask"], strict=True)):
        wall = places[: 0 if row == 1 else 4]
        apart = torch.cdist(places[mask], wall).amin(1) if len(wall) else torch.tensor(2.0).sqrt()
        torch.testing.assert_close(x[row, mask, 0], apart.expand(int(mask.sum())), rtol=0, atol=1e-6)
        assert not x[row, ~mask].any()
    assert task_of(data, ("wall", "a"), ("u",)).inputs == ("wall", "a")
    with pytest.raises(DataError, match="no boundary 'door', only"):
        meshes[0].on("door")
