"""Roll-outs: pieces of trajectories, gradients through calls, curricula, surrogates that step through time.

The data are fields that move by one cell per frame on a periodic axis, so the exact operator is a shift.
"""

from __future__ import annotations

import math
import re
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn
from torch.optim import SGD, Adam

from sciml.dataset import Dataset, write_dataset
from sciml.description import build, describe
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.grid import Grid
from sciml.metrics import mse
from sciml.objective import Batch, total
from sciml.operators.fno import FNO
from sciml.rollout import METRICS, Rollout
from sciml.schema import Field, Provenance
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.surrogate import Surrogate
from sciml.trainer import Trainer
from sciml.unroll import Frames, Unroll

COUNT, SIZE, STEPS, DT = 8, 16, 12, 0.25
GRID = Grid.box((SIZE,), periodic=True)
TIMES = 3.0 + DT * np.arange(STEPS)


def moving(first: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """(sample, time, [component,] x): the first frame, one cell further right in each frame."""
    return np.stack([np.roll(first, shift, axis=-1) for shift in range(steps)], axis=1)


def write(path: Path, **changes: Any) -> Dataset:
    """State u (moving), state v (2 components, moving), input f, parameters p and q."""
    rng = np.random.default_rng(0)
    settings: dict[str, Any] = {
        "grid": GRID,
        "fields": [
            (Field("u", "state", units="m", time=True), moving(5 + 3 * rng.standard_normal((COUNT, SIZE)))),
            (Field("v", "state", components=2, time=True), moving(rng.standard_normal((COUNT, 2, SIZE)))),
            (Field("f", "input"), rng.standard_normal((COUNT, SIZE))),
        ],
        "split": np.array([0] * 5 + [1] * 2 + [2], dtype=np.int8),
        "times": TIMES,
        "variables": {"p": np.arange(COUNT) + 0.5, "q": -np.arange(COUNT)},
        "provenance": Provenance(time_units="s"),
    }
    return write_dataset(path / "data.h5", **{**settings, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write(tmp_path_factory.mktemp("data"))


class Shift(nn.Module):
    """Frame i of the bundle is the last frame of the window, shifted by (i + 1) stride cells."""

    def __init__(self, window: int, bundle: int, stride: int = 1) -> None:
        super().__init__()
        self.window, self.bundle, self.stride = window, bundle, stride
        self.one = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == self.window
        frames = [x[:, -1:].roll((i + 1) * self.stride, -1) for i in range(self.bundle)]
        return self.one * torch.cat(frames, dim=1)


class Small(nn.Module):
    """Not linear, with dropout if asked for."""

    def __init__(self, into: int = 1, out: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        with Streams(1).of("init").applied():
            self.layers = nn.Sequential(
                nn.Conv1d(into, 4, 3, padding=1, padding_mode="circular"),
                nn.Tanh(),
                nn.Dropout(dropout),
                nn.Conv1d(4, out, 1),
            )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


class Spy(nn.Module):
    """Keeps what it is told; adds the first parameter."""

    def __init__(self, bundle: int = 1) -> None:
        super().__init__()
        self.bundle, self.one = bundle, nn.Parameter(torch.ones(()))
        self.told: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x: Tensor, time: Tensor, dt: Tensor, parameters: Tensor) -> Tensor:
        self.told.append((time.clone(), dt.clone(), parameters.clone()))
        return (self.one * x[:, -1:] + parameters[:, :1, None]).repeat(1, self.bundle, 1)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def gradient(task: Rollout, model: nn.Module, batch: Batch) -> Tensor:
    model.zero_grad()
    total(task.terms(model, batch)).backward()  # type: ignore[no-untyped-call]
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


# Which frames go where.


@pytest.mark.parametrize(
    ("window", "bundle", "stride", "calls"), [(1, 1, 1, 1), (3, 1, 1, 4), (2, 4, 1, 2), (1, 3, 2, 1)]
)
def test_exact_operator_has_no_error_over_any_horizon(
    window: int, bundle: int, stride: int, calls: int, data: Dataset
) -> None:
    for pushforward in (False, True):
        unroll = Unroll(calls, pushforward=pushforward)
        task = Rollout(data.train, ["u"], frames=Frames(window, bundle, stride), unroll=unroll, batch_size=3)
        model = Shift(window, bundle, stride)
        task.check(model)
        for step in range(5):
            batch = task.draw(step, model, Streams(0))
            assert batch["x"].shape == (3, window, 1, SIZE)
            assert batch["y"].shape == (3, calls * bundle, 1, SIZE)
            # The data are read in float32: encoding and decoding cost a few roundings of float64.
            assert total(task.terms(model, batch)).item() < 1e-14
    found = task.evaluate(model, Streams(0))
    assert tuple(found) == METRICS
    assert found["relative_l2"] < 1e-14 and found["relative_l2_last"] < 1e-14
    frames = math.ceil(STEPS / stride) - window
    assert found["valid_time"] == found["correlation_time"] == pytest.approx(frames * stride * DT)
    assert found["valid_time_censored"] == found["correlation_time_censored"] == len(data.train)


def test_batches_hold_the_frames_that_the_file_has(data: Dataset) -> None:
    frames = Frames(window=2, bundle=3, stride=2, inputs=("f",))
    task = Rollout(data.train, ["u", "v"], frames=frames, unroll=Unroll(1), batch_size=4)
    streams = Streams(5)
    u, v, f = (data.train.load(name) for name in "uvf")
    for step in range(3):
        batch = task.draw(step, Small(), streams)
        rows, positions = task._pieces(streams)(step)
        for i, (row, at) in enumerate(zip(rows, positions.tolist(), strict=True)):
            assert at == list(range(at[0], at[0] + 9, 2))
            truth = np.concatenate([u[row, at][:, None], v[row, at]], axis=1).astype(np.float32)
            assert np.array_equal(torch.cat([batch["x"], batch["y"]], dim=1)[i].numpy(), truth)
            assert np.array_equal(batch["inputs"][i, 0].numpy(), f[row].astype(np.float32))
            assert batch["time"][i].item() == TIMES[at[1]]
            assert batch["parameters"][i].tolist() == [row + 0.5, -row]


def test_channels_are_field_after_field_and_frame_after_frame(data: Dataset) -> None:
    task = Rollout(data.train, ["u", "v"], frames=Frames(window=2, bundle=1, inputs=("f",)), batch_size=3)

    class Echo(Small):
        def forward(self, x: Tensor) -> Tensor:
            self.seen = x
            return x[:, [1, 4, 5]] + 0 * super().forward(x[:, :1])

    model = Echo()
    batch = task.draw(0, model, Streams(0))
    loss = total(task.terms(model, batch))
    x = task.normalization.encode(batch["x"], axis=2)
    f = data.statistics("f")
    fixed = ((batch["inputs"] - f.mean[0]) / f.std[0]).float()
    # u of both frames, (v0, v1) of the first, (v0, v1) of the second, f.
    expected = torch.stack([x[:, 0, 0], x[:, 1, 0], x[:, 0, 1], x[:, 0, 2], x[:, 1, 1], x[:, 1, 2]], dim=1)
    torch.testing.assert_close(model.seen, torch.cat([expected, fixed], dim=1))
    last, truth = batch["x"][:, 1], batch["y"][:, 0]  # the model's answer is persistence
    norms = (last - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)
    torch.testing.assert_close(loss, norms.mean())


def test_starts_cover_all_that_fit_uniformly(data: Dataset) -> None:
    task = Rollout(data.train, ["u"], frames=Frames(2, 2), unroll=Unroll(2), batch_size=10)
    streams = Streams(0)
    starts = np.concatenate([task._pieces(streams)(step)[1][:, 0].numpy() for step in range(200)])
    counts = np.bincount(starts)
    assert len(counts) == STEPS - 6 + 1  # the last piece ends with the trajectory
    # 7 equally likely starts: chi-square with 6 degrees of freedom stays below 22.5 with probability 0.999.
    assert (((counts - len(starts) / 7) ** 2) / (len(starts) / 7)).sum() < 22.5


@pytest.mark.parametrize("workers", [1, 2])
def test_reading_ahead_and_from_the_file_change_nothing(
    workers: int, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {
        "frames": Frames(2, 1, inputs=("f",)),
        "unroll": Unroll(((0, 1), (3, 2)), noise=0.1),
        "batch_size": 3,
    }
    plain = Rollout(data.train, ["u"], **settings)
    others = [Rollout(data.train, ["u"], workers=workers, **settings)]
    others += [Rollout(data.train, ["u"], **settings)] if workers == 1 else []
    model, streams, state = Small(), Streams(2), torch.get_rng_state()
    for step in (0, 1, 2, 3, 7, 8):  # also after a jump, as on resume
        expected = plain.draw(step, model, streams)
        with monkeypatch.context() as patched:
            patched.setattr("sciml.reading.RESIDENT_BYTES", 0)
            for other in others:
                found = other.draw(step, model, streams)
                assert all(torch.equal(found[name], tensor) for name, tensor in expected.tensors.items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("make", [Rollout, partial(Supervised, outputs=["f"])])
def test_loader_ends_with_its_objective(make: Any, data: Dataset) -> None:
    """Were it part of a cycle, the garbage collector would end it, and wait 5 s for each worker."""
    names = ["u"] if make is Rollout else ["f"]
    task = make(data.train, names, workers=1)
    task.draw(0, Small(), Streams(0))
    found = weakref.ref(task)
    del task
    assert found() is None


# Chained calls.


def test_first_step_of_a_roll_out_is_the_one_step_prediction(data: Dataset) -> None:
    """T16."""
    task = Rollout(data.train, ["u", "v"], frames=Frames(window=2, bundle=2))
    model = Small(6, 6).double()
    batch = task.draw(0, model, Streams(0))
    encoded = task.predict(model, task.normalization.encode(batch["x"], axis=2), 0, batch)
    one_step = task.normalization.decode(task.evolution.unstacked(encoded), axis=2)
    surrogate = task.surrogate(model)
    rolled = surrogate.roll_out(batch["x"], 5)
    assert rolled.shape == (16, 5, 3, SIZE)
    torch.testing.assert_close(rolled[:, :2], one_step, rtol=1e-13, atol=1e-13)
    # The map itself, and the next call from its own output.
    mapped = surrogate(task.evolution.stacked(batch["x"]))
    assert torch.equal(task.evolution.unstacked(mapped), rolled[:, :2])
    assert torch.equal(surrogate.roll_out(rolled[:, :2], 2), rolled[:, 2:4])


@pytest.mark.parametrize("space", ["physical", "encoded"])
def test_pushforward_gradient_is_the_detached_one(space: Any, data: Dataset) -> None:
    """T16: only the last of three calls carries gradient."""
    unroll = Unroll(3, pushforward=True)
    task = Rollout(data.train, ["u"], frames=Frames(2), unroll=unroll, space=space, loss=mse)
    model = Small(2).double()
    batch = task.draw(0, model, Streams(0))
    window = task.normalization.encode(batch["x"], axis=2)
    for number in range(2):
        bundle = task.predict(model, window, number, batch)[:, :, None]
        window = torch.cat([window[:, 1:], bundle], dim=1)
    prediction, truth = task.predict(model, window.detach(), 2, batch), batch["y"][:, 2]
    if space == "physical":
        prediction = task.normalization.decode(prediction)
    else:
        truth = task.normalization.encode(truth)
    model.zero_grad()
    mse(prediction, truth).mean().backward()
    detached = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    found = gradient(task, model, batch)
    torch.testing.assert_close(found, detached, rtol=1e-12, atol=1e-12)
    through = Rollout(data.train, ["u"], frames=Frames(2), unroll=Unroll(3), space=space, loss=mse)
    assert (gradient(through, model, batch) - found).norm() > 1e-3 * found.norm()


def test_pushforward_keeps_its_gradient_in_mixed_precision(data: Dataset) -> None:
    """Autocast caches the weights that it casts; those cast without gradient must not serve the last call."""
    task = Rollout(data.train, ["u"], unroll=Unroll(2, pushforward=True), space="encoded")
    model = Small()
    batch = task.draw(0, model, Streams(0))
    exact = gradient(task, model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradient(task, model, batch)
    assert len(found) == len(exact)
    assert (found - exact).norm() < 0.05 * exact.norm()  # bfloat16 has 8 bits: a few 2^-8 are expected


def test_unrolled_gradient_goes_through_all_calls(data: Dataset) -> None:
    task = Rollout(data.train, ["u"], frames=Frames(2, 2), unroll=Unroll(3), loss=mse)
    model = Small(2, 2).double()
    batch = task.draw(0, model, Streams(0))
    found = gradient(task, model, batch)
    direction = torch.randn(len(found), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    start, h = weights(model), 1e-5

    def loss(offset: float) -> float:
        nn.utils.vector_to_parameters(start + offset * direction, model.parameters())
        with torch.no_grad():
            return total(task.terms(model, batch)).item()

    # Central differences of values of order 1: truncation h^2 ~ 1e-10, rounding 1e-16/h ~ 1e-11.
    slope = (loss(h) - loss(-h)) / (2 * h)
    assert slope == pytest.approx(float(found @ direction), rel=1e-7)


def test_all_bundles_count_when_unrolled(data: Dataset) -> None:
    task = Rollout(data.train, ["u"], frames=Frames(1, 2), unroll=Unroll(3))
    model = Small(1, 2)
    values = task.terms(model, task.draw(0, model, Streams(0)))["u"].values
    assert values.shape == (16, 3)


def test_accumulation_gives_the_gradient_of_the_whole_batch(data: Dataset) -> None:
    task = Rollout(data.train, ["u"], unroll=Unroll(2), batch_size=8)
    found = [
        weights(
            Trainer(3, optimizer=partial(SGD, lr=0.1), accumulate=count).fit(Small().double(), task).model
        )
        for count in (1, 4)
    ]
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-14)


# Random choices are functions of (seed, step).


def test_curriculum_says_how_many_calls(data: Dataset) -> None:
    task = Rollout(data.train, ["u"], unroll=Unroll(((0, 1), (3, 2), (5, 4))))
    lengths = [task.draw(step, Small(), Streams(0))["y"].shape[1] for step in range(7)]
    assert lengths == [1, 1, 1, 2, 2, 4, 4]
    varied = Rollout(data.train, ["u"], unroll=Unroll(3, vary=True))
    lengths = [varied.draw(step, Small(), Streams(0))["y"].shape[1] for step in range(60)]
    # Each of 1, 2, 3 is drawn 20 times on average, with a standard deviation of 3.7.
    assert set(lengths) == {1, 2, 3} and min(lengths.count(n) for n in (1, 2, 3)) > 5


@pytest.mark.parametrize("stop", [1, 5, 9, 13])
def test_resume_in_the_middle_of_a_curriculum_is_exact(stop: int, data: Dataset, tmp_path: Path) -> None:
    unroll = Unroll(((0, 1), (4, 2), (8, 3)), pushforward=True, vary=True, noise=0.05)
    task = Rollout(data.train, ["u"], frames=Frames(2), unroll=unroll, batch_size=3)
    trainer = Trainer(14, optimizer=partial(Adam, lr=1e-2), seed=3)
    whole = trainer.fit(Small(2, dropout=0.2), task)
    for step in trainer.iterate(Small(2, dropout=0.2), task, output=tmp_path, every=4):
        if step.number == stop:
            break
    run = trainer.fit(Small(2, dropout=0.2), task, output=tmp_path, every=4)
    assert torch.equal(weights(run.model), weights(whole.model))
    assert [row["loss"] for row in run.history] == [row["loss"] for row in whole.history]


def test_noise_comes_from_its_stream_and_has_its_size(data: Dataset) -> None:
    plain, noisy = (
        Rollout(data.train, ["u", "v"], unroll=Unroll(noise=noise), batch_size=64) for noise in (0.0, 0.1)
    )
    model, streams, state = Small(), Streams(7), torch.get_rng_state()
    batch, clean = noisy.draw(4, model, streams), plain.draw(4, model, streams)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(123)
    assert torch.equal(noisy.draw(4, model, streams)["x"], batch["x"])
    assert torch.equal(batch["y"], clean["y"])
    noise = noisy.normalization.encode(batch["x"], axis=2) - noisy.normalization.encode(clean["x"], axis=2)
    generator = streams.of("noise").generator(4)
    expected = 0.1 * torch.randn(noise.shape, generator=generator)
    # u has mean 5 and scale 3: the sum rounds at 1e-6 of its size.
    torch.testing.assert_close(noise, expected, rtol=0, atol=2e-6)
    other = noisy.draw(5, model, streams)["x"] - plain.draw(5, model, streams)["x"]
    assert not torch.equal(other, batch["x"] - clean["x"])


# What the model is told.


@pytest.mark.parametrize(("bundle", "calls"), [(1, 3), (2, 2)])
def test_time_dt_and_parameters_reach_the_model(bundle: int, calls: int, data: Dataset) -> None:
    frames = Frames(window=2, bundle=bundle, stride=2)
    task = Rollout(data.train, ["u"], frames=frames, unroll=Unroll(calls), batch_size=4)
    model, streams = Spy(bundle), Streams(0)
    task.check(model)
    model.told.clear()
    total(task.terms(model, batch := task.draw(0, model, streams)))
    rows, positions = task._pieces(streams)(0)
    for number, (time, dt, parameters) in enumerate(model.told):
        # Exact: times and steps are multiples of 1/4.
        assert time.tolist() == [TIMES[at[1 + number * bundle]] for at in positions.tolist()]
        assert dt.tolist() == [2 * DT] * 4
        assert torch.equal(parameters, batch["parameters"])
        assert parameters[:, 0].tolist() == [row + 0.5 for row in rows]
    model.told.clear()
    task.evaluate(model, streams)
    used = math.ceil(4 / bundle)  # frames at 0, 2, ..., 10: a window of two, four to predict
    times = [time[0].item() for time, _, _ in model.told[:used]]
    assert times == [TIMES[2] + 2 * DT * bundle * i for i in range(used)]
    assert model.told[0][2][:, 0].tolist() == [0.5, 1.5, 2.5, 3.5]  # the first four samples


def test_model_that_asks_for_what_is_not_there_is_refused(tmp_path: Path) -> None:
    u = moving(np.random.default_rng(0).standard_normal((COUNT, SIZE)))
    data = write(tmp_path, fields=[(Field("u", "state", time=True), u)], variables={})
    with pytest.raises(ConfigError, match=r"Spy\.forward needs parameters, which this data does not give"):
        Trainer(1).fit(Spy(), Rollout(data.train, ["u"]))


def test_coordinates_reach_the_model(data: Dataset) -> None:
    task = Rollout(data.train, ["u"], frames=Frames(window=2), unroll=Unroll(2), batch_size=2)
    with Streams(0).of("init").applied():
        model = FNO(1, 2, 1, modes=3, width=4, depth=1, coordinates=True)
    assert math.isfinite(
        Trainer(2).fit(model, task, validation=task).history[-1]["validation"]["relative_l2"]
    )
    with pytest.raises(ShapeError, match="modes=9"):
        Trainer(1).fit(FNO(1, 2, 1, modes=9, width=4), task)


# Judging.


def test_evaluation_of_persistence_has_known_numbers(tmp_path: Path) -> None:
    """A sine that moves by one of n = 32 cells: after k frames the error is 2 sin(pi k/n), the correlation
    cos(2 pi k/n); the error passes 0.4 at k = 3, the correlation 0.8 between 3 and 4."""
    n, steps = 32, 8
    phases = np.linspace(0, 1, COUNT, endpoint=False)
    u = moving(np.sin(2 * np.pi * (np.arange(n)[None] / n - phases[:, None])), steps)
    grid, times = Grid.box((n,), periodic=True), DT * np.arange(steps)
    data = write(tmp_path, grid=grid, fields=[(Field("u", "state", time=True), u)], times=times, variables={})
    model = Shift(1, 1, stride=0)
    found = Rollout(data.valid, ["u"], batch_size=1).evaluate(model, Streams(0))
    k = np.arange(1, steps)
    errors = 2 * np.sin(np.pi * k / n)
    above, below = np.cos(2 * np.pi * 3 / n), np.cos(2 * np.pi * 4 / n)
    assert found == {
        "relative_l2": pytest.approx(np.sqrt(np.mean(errors**2))),
        "relative_l2_frames": pytest.approx(errors.mean()),
        "relative_l2_first": pytest.approx(errors[0]),
        "relative_l2_last": pytest.approx(errors[-1]),
        "valid_time": pytest.approx(3 * DT),
        "valid_time_censored": 0,
        "correlation_time": pytest.approx((3 + (above - 0.8) / (above - below)) * DT),
        "correlation_time_censored": 0,
    }


def test_batches_of_an_evaluation_do_not_matter(data: Dataset) -> None:
    model = Small().double()
    found = [
        Rollout(data.train, ["u"], batch_size=size).evaluate(model, Streams(0)) for size in (1, 2, 5, 50)
    ]
    assert all(other == pytest.approx(found[0], rel=1e-12) for other in found[1:])


def test_unrolled_training_learns_the_shift(data: Dataset) -> None:
    with Streams(0).of("init").applied():
        model = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")
    task = Rollout(data.train, ["u"], unroll=Unroll(((0, 1), (60, 3))), space="encoded")
    run = Trainer(120, optimizer=partial(Adam, lr=2e-2)).fit(
        model, task, validation=Rollout(data.valid, ["u"])
    )
    # Persistence has an error of 0.6 here; the exact operator is representable.
    assert run.history[-1]["validation"]["relative_l2"] < 0.02


# As a surrogate.


def labelled(data: Dataset, window: int, **changes: Any) -> xr.Dataset:
    opened: xr.Dataset = data.to_xarray().load()
    return opened[["u", "f", "p", "q"]].isel(time=slice(0, window), **changes)


def test_labelled_roll_out_is_that_of_tensors_and_continues_the_times(data: Dataset) -> None:
    task = Rollout(data.train, ["u"], frames=Frames(window=3, bundle=2, inputs=("f",)))
    surrogate = task.surrogate(Small(4, 2).double())
    window = labelled(data.train, 3)
    found = surrogate.roll_out(window, 5)
    tensor = surrogate.roll_out(
        data.train.tensor(["u"], dtype=torch.float64)[:, :3],
        5,
        inputs=data.train.tensor(["f"], dtype=torch.float64),
    )
    assert found["u"].dims == ("sample", "time", "x")
    assert np.array_equal(found["u"].values, tensor[:, :, 0].numpy())
    assert np.allclose(found["time"], TIMES[2] + DT * np.arange(1, 6), rtol=1e-12)
    assert found.attrs["sciml_surrogate"] == surrogate.digest in found.attrs["history"]
    assert (found["u"].attrs["units"], found["time"].attrs["units"]) == ("m", "s")
    # One sample, time last, x backwards: the result is arranged alike. A call gives one bundle.
    turned = window.isel(sample=1, x=slice(None, None, -1)).transpose("x", "time")
    again = surrogate(turned)
    assert again["u"].dims == ("time", "x")
    assert np.array_equal(again["u"].values[:, ::-1], tensor[1, :2, 0].numpy())


def test_labelled_roll_out_tells_the_model_times_and_parameters(data: Dataset) -> None:
    surrogate = Rollout(data.train, ["u"], frames=Frames(window=2)).surrogate(model := Spy())
    model.told.clear()
    surrogate.roll_out(labelled(data.train, 2), 2)
    assert [time[0].item() for time, _, _ in model.told] == [TIMES[1], TIMES[2]]
    assert model.told[0][2].tolist() == [[i + 0.5, -i] for i in range(5)]
    with pytest.raises(DataError, match=r"\['p', 'q'\] belong together, got only \['p'\]"):
        surrogate.roll_out(labelled(data.train, 2).drop_vars("q"), 2)
    with pytest.raises(ConfigError, match="needs parameters"):
        surrogate.roll_out(labelled(data.train, 2)["u"], 2)


def test_saved_surrogate_steps_on(data: Dataset, tmp_path: Path) -> None:
    frames = Frames(window=2, bundle=2, stride=2, inputs=("f",))
    task = Rollout(data.train, ["u"], frames=frames)
    model = Small(3, 2)
    run = Trainer(2).fit(model, task, output=tmp_path / "run")
    loaded = Surrogate.load(tmp_path / "run" / "surrogate", model=Small(3, 2))
    assert loaded.evolution == task.evolution
    x, f = data.train.tensor(["u"])[:, :4:2], data.train.tensor(["f"])
    assert torch.equal(loaded.roll_out(x, 3, inputs=f), run.surrogate().roll_out(x, 3, inputs=f))
    scores = loaded.evaluate(data.test)
    assert scores["relative_l2"].mean == pytest.approx(
        Rollout(data.test, ["u"], frames=frames).evaluate(model, Streams(0))["relative_l2"]
    )
    Rollout(data.train, ["u"]).surrogate(Spy()).save(tmp_path / "told")  # needs time and parameters
    assert Surrogate.load(tmp_path / "told", model=Spy()).evolution is not None


def test_windows_that_do_not_fit_are_refused(data: Dataset) -> None:
    surrogate = Rollout(data.train, ["u"], frames=Frames(window=2)).surrogate(Small(2))
    with pytest.raises(ShapeError, match=r"\(batch, 2 frames, 1 channels, \*space\).*got steps=3 and"):
        surrogate.roll_out(torch.zeros(1, 3, 1, SIZE), 3)
    with pytest.raises(DataError, match="finite floating-point"):
        surrogate.roll_out(torch.full((1, 2, 1, SIZE), torch.nan), 3)
    with pytest.raises(ShapeError, match=r"needs 2 frames along the dimension 'time', got 3.*slice\(-2"):
        surrogate.roll_out(labelled(data.train, 3), 3)
    with pytest.raises(ShapeError, match="got no such dimension"):
        surrogate.roll_out(labelled(data.train, 3).isel(time=0), 3)
    with pytest.raises(DataError, match=r"training used frames 0\.25 apart"):
        surrogate.roll_out(labelled(data.train, 4).isel(time=slice(0, 4, 3)), 3)
    metres = labelled(data.train, 2)
    metres["u"].attrs["units"] = "km"
    with pytest.raises(DataError, match="'km', but training used 'm'"):
        surrogate.roll_out(metres, 3)
    with pytest.warns(UserWarning, match=r"u in \[100, 100\], trained on"):
        surrogate.roll_out(torch.full((1, 2, 1, SIZE), 100.0), 1)
    still = Surrogate(
        Small(),
        inputs=surrogate.inputs,
        outputs=surrogate.outputs,
        grid=GRID,
        input_normalization=surrogate.output_normalization,
        output_normalization=surrogate.output_normalization,
    )
    with pytest.raises(ConfigError, match="is a map between fields"):
        still.roll_out(torch.zeros(1, 2, 1, SIZE), 1)


def test_other_time_steps_are_matched_or_refused(data: Dataset, tmp_path: Path) -> None:
    surrogate = Rollout(data.train, ["u"], frames=Frames(stride=2)).surrogate(Shift(1, 1, 2))
    assert surrogate.evaluate(data.test)["relative_l2"].mean < 1e-14  # every other frame is taken
    u = moving(np.random.default_rng(0).standard_normal((COUNT, SIZE)))
    fields = [(Field("u", "state", units="m", time=True), u)]
    other = write(tmp_path, fields=fields, times=0.4 * np.arange(STEPS))
    with pytest.raises(DataError, match=r"frames are 0\.4 apart, but the model steps by 0\.5"):
        surrogate.evaluate(other)


# Mistakes are refused before the first step.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": "log"}, "'physical' or 'encoded'"),
        ({"batch_size": 0}, "batch_size >= 1"),
        ({"workers": -1}, "workers >= 0"),
        ({"state": "u"}, "list of field names"),
        ({"state": []}, "list of field names"),
        ({"state": ["U"]}, "has no field 'U'; it has 'u', 'v', 'f'"),
        ({"state": ["f"]}, "'f' has no time axis"),
        ({"frames": Frames(inputs=("v",))}, "'v' has a time axis"),
        (
            {"frames": Frames(3, 2, stride=2), "unroll": Unroll(((0, 1), (9, 2)))},
            "window=3 and 2 calls with bundle=2, at stride=2, need 13 frames in a row, but",
        ),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str, data: Dataset) -> None:
    with pytest.raises((ConfigError, DataError), match=re.escape(message)):
        Rollout(data.train, **{"state": ["u"], **settings})


@pytest.mark.parametrize(
    "make",
    [
        partial(Frames, window=0),
        partial(Frames, inputs="f"),
        partial(Unroll, 0),
        partial(Unroll, noise=-1.0),
        partial(Unroll, ()),
        partial(Unroll, ((1, 1),)),
        partial(Unroll, ((0, 1), (5, 2), (5, 3))),
    ],
)
def test_impossible_strategies_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()


def test_empty_split_and_unequal_times_are_refused(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no samples"):
        Rollout(data.subset([]), ["u"])
    uneven = write(tmp_path, times=np.arange(STEPS) ** 2.0)
    with pytest.raises(DataError, match=r"equally spaced in time, got steps from 1 to 21"):
        Rollout(uneven.train, ["u"])


def test_wrong_channel_counts_name_both_sides(data: Dataset) -> None:
    task = Rollout(data.train, ["u", "v"], frames=Frames(window=2, bundle=2, inputs=("f",)))
    message = r"2 frames of \['u', 'v'\] and \['f'\].*\(1, 7, 16\).*out_channels to 6"
    with pytest.raises(ShapeError, match=message):
        Trainer(1).fit(Small(7, 5), task)
    with pytest.raises(ShapeError, match=r"the model fails on one sample.*\(1, 7, 16\)"):
        Trainer(1).fit(Small(6, 6), task)


def test_settings_are_described_and_built(data: Dataset) -> None:
    task = Rollout(
        data.train,
        ["u"],
        frames=Frames(2, inputs=("f",)),
        unroll=Unroll(((0, 1), (2, 2)), pushforward=True, noise=0.1),
        loss=mse,
    )
    again = build(describe(task))
    assert describe(again) == describe(task)
    model = Small(3)
    assert torch.equal(again.draw(3, model, Streams(0))["x"], task.draw(3, model, Streams(0))["x"])


@pytest.mark.gpu
def test_training_and_evaluation_on_a_gpu(data: Dataset) -> None:
    unroll = Unroll(2, pushforward=True, noise=0.1)
    task = Rollout(data.train, ["u"], frames=Frames(window=2, inputs=("f",)), unroll=unroll)
    runs = [
        Trainer(3, optimizer=partial(SGD, lr=0.1)).fit(Small(3).to(device), task, validation=task)
        for device in ("cpu", "cuda")
    ]
    # Three steps in float32, whose sums round differently.
    torch.testing.assert_close(weights(runs[1].model).cpu(), weights(runs[0].model), rtol=1e-4, atol=1e-5)
