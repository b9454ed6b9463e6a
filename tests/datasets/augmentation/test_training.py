"""Augmentation while training, and into a file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from sciml.dataset import Dataset, write_dataset
from sciml.datasets import check
from sciml.datasets.augmentation import (
    Augmented,
    CoordinateChange,
    Galilean,
    Problem,
    Scaling,
    Shift,
    Symmetries,
    enlarged,
)
from sciml.description import build, describe
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid
from sciml.objective import Batch
from sciml.rollout import Rollout
from sciml.schema import Field, Provenance
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.trainer import Trainer
from sciml.unroll import Frames, Unroll

PARTS = {"a": "diffusion", "f": "source", "u": "solution"}
CHANGE = CoordinateChange("elliptic", PARTS)
MOVING = Symmetries(shifts=("x",), galilean=1.0, velocity=("u",))


def stationary(path: Path) -> Dataset:
    """Samples with two inputs, an output and a number."""
    rng = np.random.default_rng(0)
    fields = [(Field(n, "output" if n == "u" else "input"), 1 + rng.random((8, 12))) for n in PARTS]
    number = (Field("k", "parameter", units="m"), rng.random(8))
    book = {"sample_seed": np.arange(8), "discretization_error": np.linspace(0.1, 0.2, 8)}
    return write_dataset(
        path / "data.h5",
        grid=Grid.box((12,)),
        fields=[(item, values.astype(np.float32)) for item, values in fields] + [number],
        split=[0, 0, 1, 0, 0, 0, 2, 0],
        variables=book,
        attributes={"note": "made up"},
        provenance=Provenance(pde="mine", boundary={"x": ("dirichlet", "dirichlet")}),
    )


def moving(path: Path) -> Dataset:
    """Trajectories with a velocity, a tracer and a speed."""
    rng, grid = np.random.default_rng(0), Grid.box((16,), location="node", periodic=True)
    smooth = np.fft.irfft(np.fft.rfft(rng.random((4, 9, 16)))[..., :4], 16)
    fields = [
        (Field("u", "state", time=True), smooth),
        (Field("c", "state", time=True, components=2, rank=0), np.stack([smooth, 2 * smooth], 2)),
        (Field("k", "parameter"), rng.random(4)),
    ]
    times = 0.5 * np.arange(9)
    return write_dataset(path / "u.h5", grid=grid, fields=fields, split=[0, 0, 0, 0], times=times)


class Point(nn.Conv1d):
    """A model of one point, for the trainer."""

    def __init__(self, in_channels: int = 2, out_channels: int = 1) -> None:
        with Streams(0).of("init").applied():
            super().__init__(in_channels, out_channels, 1)


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a.tensors)


def test_every_step_is_a_function_of_seed_and_step(tmp_path: Path) -> None:
    data, model = stationary(tmp_path), Point()
    task = partial(Supervised, data.train, ["a", "f"], ["u"], batch_size=4)
    one, two = Augmented(task(), CHANGE), Augmented(task(workers=1), CHANGE)
    drawn = {step: one.draw(step, model, Streams(1)) for step in range(4)}
    state = torch.get_rng_state()
    for step in (3, 1, 2):
        assert same(two.draw(step, model, Streams(1)), drawn[step])
    assert torch.equal(torch.get_rng_state(), state)
    assert not same(one.draw(1, model, Streams(2)), drawn[1])
    plain = task().draw(1, model, Streams(1))
    assert not torch.allclose(plain["x"], drawn[1]["x"], atol=1e-3)


def test_samples_of_a_step_are_what_the_augmentation_makes_of_them(tmp_path: Path) -> None:
    data, model = stationary(tmp_path), Point()
    powers = Symmetries(powers={"a": 2.0, "u": -1.0, "k": 1.0})
    task = Supervised(data.train, ["f", "k", "a"], ["u"], batch_size=5)
    batch = task.draw(3, model, Streams(1))
    new = Augmented(task, Scaling(4.0, powers)).draw(3, model, Streams(1))
    scale = new["parameters"][:, 0] / batch["parameters"][:, 0]
    assert scale.max() > 1.5 and scale.min() < 1 / 1.5
    wanted = torch.cat([batch["x"][:, :1], batch["x"][:, 1:] * scale[:, None, None] ** 2], 1)
    assert torch.allclose(new["x"], wanted, rtol=1e-5)
    assert torch.allclose(new["y"], batch["y"] / scale[:, None, None], rtol=1e-5)
    assert new["x"].dtype == batch["x"].dtype
    changed = Augmented(task, Scaling(4.0, powers), share=0.5)
    rows = torch.cat([changed.draw(s, model, Streams(1))["y"] for s in range(40)])
    before = torch.cat([task.draw(s, model, Streams(1))["y"] for s in range(40)])
    kept = (rows == before).all(dim=(1, 2)).sum()
    assert 70 < kept < 130  # of 200; four standard deviations are 28
    nothing = Augmented(task, Scaling(4.0, powers), share=0.0)
    assert same(nothing.draw(3, model, Streams(1)), batch)


def test_windows_and_what_follows_are_seen_from_one_frame(tmp_path: Path) -> None:
    data = moving(tmp_path)
    frames = Frames(window=2, bundle=2, stride=2)
    task = Rollout(data.train, ["u", "c"], frames=frames, unroll=Unroll(), batch_size=3)
    how, model, streams = Galilean(symmetries=MOVING), Point(), Streams(0)
    batch, new = task.draw(2, model, streams), Augmented(task, how).draw(2, model, streams)
    boost = (new["x"] - batch["x"])[:, 0, 0].mean(-1)  # a shift keeps the mean
    assert boost.abs().min() > 0.01
    both = torch.cat([batch["x"], batch["y"]], 1).double()
    wave = torch.arange(9)
    for t in range(4):  # one unit of time between two frames
        phase = torch.polar(torch.ones(3, 9), -2 * torch.pi * boost[:, None] * t * wave)
        wanted = torch.fft.irfft(torch.fft.rfft(both[:, t]) * phase[:, None], 16)
        wanted[:, 0] += boost[:, None]
        found = torch.cat([new["x"], new["y"]], 1)[:, t]
        assert torch.allclose(found.double(), wanted, rtol=0, atol=1e-5)  # float32
    assert torch.equal(new["parameters"], batch["parameters"])
    assert torch.equal(new["time"], batch["time"])


def test_an_unfinished_run_is_resumed_to_the_same_bits(tmp_path: Path) -> None:
    data = stationary(tmp_path)

    def task() -> Augmented:
        return Augmented(Supervised(data.train, ["a", "f"], ["u"], batch_size=2), CHANGE, share=0.7)

    def weights(model: nn.Module) -> Tensor:
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    trainer, whole, broken, resumed = (
        Trainer(6, optimizer=partial(SGD, lr=0.01), seed=3),
        *[Point() for _ in range(3)],
    )
    trainer.fit(whole, task())
    for step in trainer.iterate(broken, task(), output=tmp_path / "run", every=3):
        if step.number == 4:
            break
    run = trainer.fit(resumed, task(), output=tmp_path / "run", every=3)
    assert torch.equal(weights(run.model), weights(whole))
    assert not torch.equal(weights(broken), weights(whole))
    assert task().evaluate(whole, Streams(3)) == task().task.evaluate(whole, Streams(3))
    surrogate = task().surrogate(whole)
    assert surrogate is not None and [c.name for c in surrogate.inputs] == ["a", "f"]


def test_a_task_is_described_and_built_again(tmp_path: Path) -> None:
    data = stationary(tmp_path)
    task = Augmented(Supervised(data.train, ["a", "f"], ["u"], batch_size=2), CHANGE, share=0.7)
    again = build(describe(task))
    assert same(again.draw(5, Point(), Streams(0)), task.draw(5, Point(), Streams(0)))
    assert again.augmentation == CHANGE


def test_a_larger_file_holds_the_samples_and_changed_copies(tmp_path: Path) -> None:
    data = stationary(tmp_path)
    change = CoordinateChange("elliptic", PARTS)
    larger = enlarged(data, tmp_path / "larger.h5", change, copies=2, seed=5)
    assert check(larger.path).conforms
    assert (len(larger.train), len(larger.valid), len(larger.test)) == (18, 1, 1)
    for name in PARTS:
        assert np.array_equal(larger.load(name)[:8], data.load(name))
        assert larger.load(name).dtype == data.load(name).dtype
    order = np.concatenate([np.arange(8), *[np.flatnonzero(data.variable("split") == 0)] * 2])
    for name in ("k", "sample_seed", "discretization_error"):
        assert np.array_equal(larger.variable(name), data.variable(name)[order])
    assert larger.attributes["note"] == "made up" and larger.attributes["pde"] == "mine"
    assert larger.attributes["boundary"] == data.attributes["boundary"]
    assert larger.attributes["augmentation_copies"] == 2
    assert larger.to_xarray()["k"].attrs["units"] == "m"
    # Copy 1 of the sample at position 3, made alone.
    generator = Streams(5).of("augmentation/1").generator(3)
    one = {name: torch.from_numpy(data.load(name, [3])).double()[:, None] for name in PARTS}
    one["k"] = torch.from_numpy(data.variable("k")[[3]])
    alone = change.apply(one, Problem.of(data), generator)
    place = 8 + 6 + 2  # samples, the first copies, and two training samples before it
    assert order[place] == 3
    assert np.array_equal(larger.load("u", [place])[0], alone["u"][0, 0].float().numpy())
    again = enlarged(data, tmp_path / "again.h5", change, copies=2, seed=5)
    assert again.digest == larger.digest
    other = enlarged(data, tmp_path / "other.h5", change, copies=1, seed=6)
    assert not np.allclose(other.load("u")[8:], larger.load("u")[8:14], atol=1e-3)


def test_a_larger_file_of_trajectories(tmp_path: Path) -> None:
    data = moving(tmp_path)
    larger = enlarged(data, tmp_path / "larger.h5", Shift(symmetries=MOVING))
    assert len(larger) == 8 and larger.times is not None and larger.times[-1] == 4.0
    energy = (larger.load("c") ** 2).sum(axis=(1, 2, 3))
    assert np.allclose(energy[4:], energy[:4], rtol=1e-12)
    assert not np.allclose(larger.load("c")[4:], data.load("c"), atol=1e-2)


def test_refusals(tmp_path: Path) -> None:
    data = stationary(tmp_path)
    task = Supervised(data.train, ["a"], ["u"])
    with pytest.raises(ConfigError, match="share is a probability, got 1.5"):
        Augmented(task, CHANGE, share=1.5)
    with pytest.raises(DataError, match="parts names 'f', which is not among the fields"):
        Augmented(task, CHANGE)
    with pytest.raises(DataError, match="symmetries of the equation 'mine' are not known"):
        Augmented(task, Shift())
    with pytest.raises(ConfigError, match="copies must not be negative, got -1"):
        enlarged(data, tmp_path / "x.h5", CHANGE, copies=-1)
    fields = [
        (Field("f", "coefficient", sample=False), np.arange(8.0)),
        (Field("u", "output"), np.ones((2, 8))),
    ]
    grid = Grid.box((8,), periodic=True)
    shared = write_dataset(tmp_path / "shared.h5", grid=grid, fields=fields, split=[0, 0])
    with pytest.raises(DataError, match="'f' is one field for all samples, but would change in each copy"):
        enlarged(shared, tmp_path / "x.h5", Shift(symmetries=MOVING))
    with pytest.raises(DataError, match="no training samples in this view"):
        enlarged(data.test, tmp_path / "x.h5", CHANGE)
