"""Reading for training: only what is asked for, in any order, from any process, the same values always."""

import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from sciml import training
from sciml.dataset import Dataset, Field, open_dataset, write_dataset
from sciml.description import build, describe
from sciml.errors import DataError, ShapeError
from sciml.grid import Axis, Grid
from sciml.objective import Batch, Objective, Term
from sciml.reading import ReadAhead, Samples, rows_of_step
from sciml.rollout import Rollout
from sciml.streams import Streams
from sciml.subsampling import thinned
from sciml.trainer import Trainer
from sciml.unroll import Frames, Unroll

COUNT, FRAMES = 6, 12
GRID = Grid(
    (
        Axis("x", 0.0, 1.0, 9, "node"),
        Axis("y", 0.0, 1.0, 8, "node", periodic=True),
        Axis("z", 0.0, 3.0, 9, "cell"),
    )
)
RNG = np.random.default_rng(0)
VALUES = {
    "u": RNG.normal(size=(COUNT, FRAMES, 9, 8, 9)).astype(np.float32),
    "v": RNG.normal(size=(COUNT, FRAMES, 2, 9, 8, 9)),
    "f": RNG.normal(size=(FRAMES, 9, 8, 9)),
    "a": RNG.normal(size=(COUNT, 9, 8, 9)),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    fields = [
        (Field("u", "state", time=True), VALUES["u"]),
        (Field("v", "state", time=True, components=2), VALUES["v"]),
        (Field("f", "static", time=True, sample=False), VALUES["f"]),
        (Field("a", "coefficient"), VALUES["a"]),
    ]
    return write_dataset(
        tmp_path_factory.mktemp("reading") / "u.h5",
        grid=GRID,
        fields=fields,
        split=[0, 0, 1, 0, 2, 0],
        times=0.5 * np.arange(FRAMES),
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=5),
    start=st.integers(0, 5),
    stride=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_windows_are_the_frames_asked_for(
    data: Dataset, rows: list[int], start: int, stride: int, seed: int
) -> None:
    regular = start + np.random.default_rng(seed).integers(0, 1 + 5 - stride, len(rows))[:, None]
    regular = np.minimum(regular + stride * np.arange(3), FRAMES - 1)
    scattered = np.random.default_rng(seed).integers(0, FRAMES, (len(rows), 4))
    for frames in (regular, scattered):
        wanted = torch.from_numpy(frames)
        for view in (data, data.in_memory()):
            for name in ("u", "v", "f"):
                whole = view.tensor(name, rows, torch.float64)
                part = view.tensor(name, rows, torch.float64, frames=wanted)
                assert torch.equal(part, whole[torch.arange(len(rows))[:, None], wanted])


def test_other_frames_are_not_read(tmp_path: Path) -> None:
    values = RNG.normal(size=(2, 6, 20_000))  # a frame of 160 kB is a chunk of its own
    fields, times = [(Field("u", "state", time=True), values)], np.arange(6)
    grid, path = Grid.box((20_000,)), tmp_path / "u.h5"
    write_dataset(path, grid=grid, fields=fields, split=[0, 0], times=times)
    with h5py.File(path) as file:
        chunk = file["u"].id.get_chunk_info_by_coord((1, 5, 0))
    whole = bytearray(path.read_bytes())
    whole[chunk.byte_offset + 5] ^= 1
    path.write_bytes(whole)
    damaged = open_dataset(path)
    found = damaged.tensor("u", [1], torch.float64, frames=torch.arange(5)[None])
    np.testing.assert_array_equal(found[0, :, 0], values[1, :5])
    with pytest.raises(DataError, match="checksum"):
        damaged.tensor("u", [1])


def test_roll_outs_read_windows(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Rollout(data.train, ["u"], frames=Frames(window=2, stride=2), unroll=Unroll(calls=2), batch_size=3)
    model = nn.Conv3d(1, 1, 1)
    kept = task.draw(4, model, Streams(1))
    monkeypatch.setattr("sciml.reading.RESIDENT_BYTES", 0)
    again = Rollout(
        data.train, ["u"], frames=Frames(window=2, stride=2), unroll=Unroll(calls=2), batch_size=3
    )
    read = again.draw(4, model, Streams(1))
    assert not again._samples.resident
    assert all(torch.equal(kept[name], read[name]) for name in ("x", "y", "time"))


# Sub-sampling.


@pytest.mark.parametrize(
    ("axis", "step", "kept"),
    [
        (Axis("x", 0.0, 1.0, 9, "node"), 4, [0, 4, 8]),
        (Axis("x", 0.0, 1.0, 8, "node", periodic=True), 4, [0, 4]),
        (Axis("x", 0.0, 1.0, 8, "left"), 2, [0, 2, 4, 6]),
        (Axis("x", -1.0, 2.0, 9), 3, [1, 4, 7]),
        (Axis("x", -1.0, 2.0, 9), 1, list(range(9))),
    ],
)
def test_what_is_left_of_an_axis_is_an_axis(axis: Axis, step: int, kept: list[int]) -> None:
    coarse, cut = thinned(axis, step)
    assert list(range(axis.size))[cut] == kept
    # Both are lower + i h with rounded h.
    np.testing.assert_allclose(coarse.coordinates, axis.coordinates[kept], rtol=0, atol=4e-16 * 3)
    assert (coarse.lower, coarse.upper, coarse.location) == (axis.lower, axis.upper, axis.location)


def test_steps_that_do_not_fit_are_refused(data: Dataset) -> None:
    with pytest.raises(ShapeError, match="every 3 does not divide the 8 intervals"):
        thinned(Axis("x", 0.0, 1.0, 9, "node"), 3)
    with pytest.raises(ShapeError, match="no middle cell"):
        thinned(Axis("x", 0.0, 1.0, 8), 2)
    for every, message in (
        ({"x": 3}, "does not divide"),
        ({"w": 2}, "every has no axis 'w'"),
        ({"time": slice(20, None)}, "leaves no frames"),
        ({"time": -1}, "leaves no frames"),
        ({"x": slice(0, 5, 2)}, "one step for an axis of space"),
    ):
        with pytest.raises(DataError, match=message):
            data.subsampled(every)
    with pytest.raises(DataError, match="sub-sampled or in memory already"):
        data.subsampled({"x": 2}).subsampled({"y": 2})


def test_sub_sampled_views_are_datasets(data: Dataset) -> None:
    every = {"x": 4, "y": 2, "z": 3, "time": slice(1, None, 5)}
    view = data.subsampled(every)
    space, times = (slice(None, None, 4), slice(None, None, 2), slice(1, None, 3)), slice(1, None, 5)
    assert view.grid.shape == (3, 4, 3)
    np.testing.assert_array_equal(view.times, [0.5, 3.0, 5.5])
    expected = {
        "u": VALUES["u"][(slice(None), times, *space)],
        "v": VALUES["v"][(slice(None), times, slice(None), *space)],
        "f": np.broadcast_to(VALUES["f"][(times, *space)], (COUNT, 3, 3, 4, 3)),
        "a": VALUES["a"][(slice(None), *space)],
    }
    for shown in (view, view.in_memory(), pickle.loads(pickle.dumps(view)), build(describe(view))):
        for name, values in expected.items():
            np.testing.assert_array_equal(shown.load(name, [4, 0, 0]), values[[4, 0, 0]])
        frames = torch.tensor([[2, 0]])
        np.testing.assert_array_equal(
            shown.tensor("u", [3], frames=frames)[0, :, 0], expected["u"][3, [2, 0]]
        )
    opened = view.test.to_xarray()
    np.testing.assert_array_equal(opened["u"], expected["u"][[4]])
    np.testing.assert_allclose(opened["z"], view.grid.axis("z").coordinates, rtol=1e-15)
    opened.close()
    # Statistics are those of what is left; float64 sums of a few hundred numbers of order one.
    train = expected["v"][[0, 1, 3, 5]]
    np.testing.assert_allclose(view.statistics("v").mean, train.mean(axis=(0, 1, 3, 4, 5)), atol=1e-14)
    delta = view.statistics("v").std_delta
    np.testing.assert_allclose(delta, np.diff(train, axis=1).std(axis=(0, 1, 3, 4, 5)), rtol=1e-13)
    assert view.statistics("v") is view.statistics("v")  # taken once
    view.scan()
    assert data.subsampled(1).grid == data.grid


def test_a_sub_sampled_roll_out_has_its_own_time_step(data: Dataset) -> None:
    task = Rollout(data.subsampled({"time": 3}).train, ["u"], batch_size=2)
    assert task.evolution.dt == 1.5
    batch = task.draw(0, nn.Conv3d(1, 1, 1), Streams(0))
    row = rows_of_step(0, 4, 2, Streams(0).of("order"))[0]
    frame = int(batch["time"][0] / 0.5)
    np.testing.assert_array_equal(batch["y"][0, 0, 0], VALUES["u"][data.train.indices[row], frame + 3])


# Order and processes.


def test_the_order_is_a_function_of_seed_and_step() -> None:
    order = Streams(3).of("order")
    steps = [rows_of_step(step, 10, 4, order) for step in range(5)]
    assert sorted(row for rows in steps for row in rows) == sorted([*range(10)] * 2)
    assert rows_of_step(3, 10, 4, Streams(3).of("order")) == steps[3]
    assert steps != [rows_of_step(step, 10, 4, Streams(4).of("order")) for step in range(5)]


def batches(data: Dataset, workers: int, start: Any) -> list[tuple[torch.Tensor, ...]]:
    samples = Samples(data.train, (["a"], ["u", "v"]))
    key = partial(rows_of_step, size=len(data.train), batch_size=3, order=Streams(0).of("order"))
    if not workers:
        return [samples.stored(key(step)) for step in range(2, 7)]
    ahead = ReadAhead(samples.stored, workers, start=start)
    return [ahead.batch(step, 0, key) for step in range(2, 7)]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("workers", "start"),
    [
        (1, "fork"),
        (2, "fork"),
        (1, "spawn"),
        pytest.param(2, "spawn", marks=pytest.mark.slow),
        pytest.param(1, "forkserver", marks=pytest.mark.slow),
        pytest.param(2, "forkserver", marks=pytest.mark.slow),
    ],
)
def test_processes_read_the_same_batches_in_the_same_order(data: Dataset, workers: int, start: str) -> None:
    if start not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {start}")
    data.load("a", [0])  # an open handle, which no child must use
    expected, found = batches(data, 0, None), batches(data, workers, start)
    for one, other in zip(expected, found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.equal(data.tensor("a"), torch.from_numpy(VALUES["a"]).float()[:, None])


# Waiting.


class Slow(Objective):
    """Drawing takes three units of a clock, a step one."""

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        self.clock[0] += 3.0
        return Batch({"x": torch.ones(2, 1)})

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        self.clock[0] += 1.0
        return {"loss": Term(model(batch["x"]).square())}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: now[0])
    yield now


def test_the_share_of_waiting_is_reported(clock: list[float], tmp_path: Path) -> None:
    run = Trainer(5).fit(nn.Linear(1, 1), Slow(clock), output=tmp_path / "run")
    assert [row["waited"] for row in run.history] == [3.0, 6.0, 9.0, 12.0, 15.0]
    assert (run.seconds, run.waiting) == (20.0, 0.75)
    again = Trainer(5).fit(nn.Linear(1, 1), Slow(clock), output=tmp_path / "run")
    assert again.waiting == 0.75  # of a finished run, as stored
