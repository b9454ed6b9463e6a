from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from sciml.dataset import Dataset, open_dataset, write_dataset
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.grid import Grid
from sciml.metrics import relative_l2
from sciml.objective import total
from sciml.operators.fno import FNO
from sciml.reading import rows_of_step
from sciml.schema import Field
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.trainer import Trainer

COUNT, SHAPE = 10, (8, 6)


def write(path: Path, *, a: Any = None, u: Any = None) -> Dataset:
    rng = np.random.default_rng(0)
    a = 5 + 3 * rng.standard_normal((COUNT, *SHAPE)) if a is None else a
    u = 2e-3 * rng.standard_normal((COUNT, 2, *SHAPE)) if u is None else u
    fields = [
        (Field("a", "input"), a.astype(np.float32)),
        (Field("u", "output", components=u.shape[1] if u.ndim == 4 else 1), u.astype(np.float32)),
    ]
    split = np.array([0] * 6 + [1] * 2 + [2] * 2, dtype=np.int8)
    return write_dataset(path / "data.h5", grid=Grid.box(SHAPE), fields=fields, split=split)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return write(tmp_path)


class Affine(nn.Conv2d):
    """A user's plain module: no extras, no declarations."""

    def __init__(self, in_channels: int = 1, out_channels: int = 2) -> None:
        with Streams(0).of("init").applied():
            super().__init__(in_channels, out_channels, 1)


class Positioned(Affine):
    def forward(self, x: Tensor, coordinates: Tensor) -> Tensor:  # type: ignore[override]
        assert coordinates.shape == (len(x), 2, *SHAPE)
        return super().forward(x) + coordinates


class Timed(Affine):
    def forward(self, x: Tensor, time: Tensor) -> Tensor:  # type: ignore[override]
        raise NotImplementedError


def test_every_epoch_visits_each_sample_once() -> None:
    order = Streams(4).of("order")
    for batch_size in (1, 4, 7, 10, 23):
        rows = [r for step in range(30) for r in rows_of_step(step, 10, batch_size, order)]
        assert all(len(rows_of_step(step, 10, batch_size, order)) == batch_size for step in range(30))
        epochs = [rows[i : i + 10] for i in range(0, len(rows) - 9, 10)]
        assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
        assert batch_size * 30 < 20 or epochs[0] != epochs[1]


def test_loss_is_that_of_physical_values(data: Dataset) -> None:
    task = Supervised(data.train, ["a"], ["u"], batch_size=6)
    model = Affine()
    batch = task.draw(0, model, Streams(0))
    a, u = data.train.load("a"), data.train.load("u")
    mean_a, std_a = a.astype(np.float64).mean(), a.astype(np.float64).std()
    mean_u, std_u = (f(u.astype(np.float64), axis=(0, 2, 3)).reshape(2, 1, 1) for f in (np.mean, np.std))
    x = torch.as_tensor((a[:, None] - mean_a) / std_a, dtype=torch.float32)
    prediction = model(x).detach().numpy() * std_u + mean_u
    norms = [np.linalg.norm(p - t) / np.linalg.norm(t) for p, t in zip(prediction, u, strict=True)]
    terms = task.terms(model, batch)
    assert list(terms) == ["u"]
    assert total(terms).item() == pytest.approx(np.mean(norms), rel=1e-5)  # float32 sums of 96 values
    assert task.evaluate(model, Streams(0))["relative_l2"] == pytest.approx(np.mean(norms), rel=1e-5)


def test_encoded_loss_differs_and_keeps_its_gradient(data: Dataset) -> None:
    task = Supervised(data.train, ["a"], ["u"], space="encoded", batch_size=6)
    model = Affine()
    loss = total(task.terms(model, task.draw(0, model, Streams(0))))
    loss.backward()  # type: ignore[no-untyped-call]
    physical = Supervised(data.train, ["a"], ["u"], batch_size=6)
    assert loss.item() != total(physical.terms(model, physical.draw(0, model, Streams(0)))).item()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_other_splits_use_the_statistics_of_training(data: Dataset) -> None:
    train, valid = (Supervised(part, ["a"], ["u"]) for part in (data.train, data.valid))
    assert torch.equal(train.encoder.mean, valid.encoder.mean)
    assert torch.equal(train.decoder.scale, valid.decoder.scale)


@pytest.mark.parametrize("workers", [1, 2])
def test_reading_ahead_changes_nothing(workers: int, data: Dataset) -> None:
    plain = Supervised(data.train, ["a"], ["u"], batch_size=4)
    ahead = Supervised(data.train, ["a"], ["u"], batch_size=4, workers=workers)
    model, streams = Affine(), Streams(2)
    state = torch.get_rng_state()
    for step in (0, 1, 2, 7, 8):  # also after a jump, as on resume
        one, two = plain.draw(step, model, streams), ahead.draw(step, model, streams)
        assert torch.equal(one["x"], two["x"])
        assert torch.equal(one["y"], two["y"])
    assert torch.equal(torch.get_rng_state(), state)


def test_large_data_are_read_batch_by_batch(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    resident = Supervised(data.train, ["a"], ["u"], batch_size=4).draw(3, Affine(), Streams(0))
    monkeypatch.setattr("sciml.reading.RESIDENT_BYTES", 0)
    task = Supervised(data.train, ["a"], ["u"], batch_size=4)
    assert torch.equal(task.draw(3, Affine(), Streams(0))["x"], resident["x"])
    assert not task.feed.resident


def test_extras_go_to_models_that_name_them(data: Dataset) -> None:
    task = Supervised(data.train, ["a"], ["u"])
    for model in (Affine(), Positioned()):
        task.check(model)
    with pytest.raises(ConfigError, match=r"Timed\.forward needs time, which this data does not give"):
        Trainer(1).fit(Timed(), task)


# Mistakes are refused before the first step (N1, N3, N5, N7, N8).


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["a", "u"])
def test_n1_value_that_is_not_finite_is_located(field: str, value: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {"a": rng.standard_normal((COUNT, *SHAPE)), "u": rng.standard_normal((COUNT, *SHAPE))}
    arrays[field][3, 7, 2] = value
    with pytest.raises(DataError, match=rf"'{field}' is not finite at file index \(3, 7, 2\)"):
        write(tmp_path, **arrays)


def test_n1_objective_scans_before_the_first_step(tmp_path: Path) -> None:
    """Our writer refuses such values, so they are put into the file behind its back."""
    path = write(tmp_path).path
    shutil.copy(path, spoiled := tmp_path / "spoiled.h5")  # no reader holds the copy open
    with h5py.File(spoiled, "r+") as file:
        file["u"][5, 7, 2, 1] = np.nan
    with pytest.raises(DataError, match=r"spoiled\.h5.*'u'.*sample 5.*component 1.*\(7, 2\)"):
        Trainer(1).fit(Affine(), Supervised(open_dataset(spoiled).train, ["a"], ["u"]))


def test_n3_constant_fields_and_a_single_sample_train(tmp_path: Path) -> None:
    data = write(tmp_path, a=np.full((COUNT, *SHAPE), 7.0), u=np.full((COUNT, *SHAPE), 3.0))
    task = Supervised(data.subset([0]), ["a"], ["u"])
    run = Trainer(3, optimizer=partial(SGD, lr=1e-2)).fit(Affine(1, 1), task)
    assert all(np.isfinite(row["loss"]) for row in run.history)


def test_n5_zero_target_gives_the_absolute_error(tmp_path: Path) -> None:
    u = np.random.default_rng(1).standard_normal((COUNT, *SHAPE))
    u[0] = 0
    data = write(tmp_path, u=u)
    model = Affine(1, 1)
    run = Trainer(3, optimizer=partial(SGD, lr=1e-3)).fit(model, Supervised(data.train, ["a"], ["u"]))
    assert all(np.isfinite(row["loss"]) for row in run.history)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    # The absolute error is the root mean square, which does not depend on the number of points.
    assert relative_l2(torch.full((1, 1, 4), 2.0), torch.zeros(1, 1, 4)).item() == 2.0


def test_n7_wrong_channel_counts_name_both_sides(data: Dataset) -> None:
    task = Supervised(data.train, ["a"], ["u"])
    message = r"\(1, 1, 8, 6\).*\(1, 1, 8, 6\).*'u'\] have shape \(1, 2, 8, 6\).*out_channels to 2"
    with pytest.raises(ShapeError, match=message):
        Trainer(1).fit(Affine(1, 1), task)
    with pytest.raises(ShapeError, match=r"one sample of \['a'\], x of shape \(1, 1, 8, 6\)"):
        Trainer(1).fit(Affine(3, 2), task)
    with pytest.raises(ShapeError, match="FNO"):
        Trainer(1).fit(FNO(2, 2, 2, modes=2, width=4), task)
    with pytest.raises(ShapeError, match="FNO"):
        Trainer(1).fit(FNO(1, 1, 2, modes=2, width=4), task)


def test_n7_unknown_field_gets_the_nearest_spelling(data: Dataset) -> None:
    with pytest.raises((DataError, KeyError), match="'a'"):
        Supervised(data.train, ["A"], ["u"])


def test_n8_more_modes_than_the_grid_resolves_are_refused(data: Dataset) -> None:
    with pytest.raises(ShapeError, match=r"modes=4 on axis 1 need at least 8 grid points, got 6"):
        Trainer(1).fit(FNO(2, 1, 2, modes=4, width=4), Supervised(data.train, ["a"], ["u"]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": "log"}, "'physical' or 'encoded'"),
        ({"batch_size": 0}, "batch_size >= 1"),
        ({"workers": -1}, "workers >= 0"),
        ({"inputs": "a"}, "lists of field names"),
        ({"outputs": []}, "lists of field names"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str, data: Dataset) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Supervised(data.train, **{"inputs": ["a"], "outputs": ["u"], **settings})


def test_trained_run_gives_a_surrogate_in_physical_units(data: Dataset, tmp_path: Path) -> None:
    task = Supervised(data.train, ["a"], ["u"])
    run = Trainer(2).fit(Affine(), task, output=tmp_path / "run")
    x = data.train.tensor(["a"])  # other splits leave the range of training, which is warned about
    surrogate = run.surrogate()
    with torch.no_grad():
        expected = task.decoder.decode(run.model(task.encoder.encode(x)))
    torch.testing.assert_close(surrogate(x), expected)
    assert (tmp_path / "run" / "surrogate" / "card.json").exists()


def test_moved_data_file_is_known_by_its_digest(data: Dataset, tmp_path: Path) -> None:
    Trainer(2).fit(Affine(), Supervised(data.train, ["a"], ["u"]), output=tmp_path / "run")
    moved = data.path.rename(tmp_path / "moved.h5")
    task = Supervised(open_dataset(moved).train, ["a"], ["u"])
    assert len(Trainer(2).fit(Affine(), task, output=tmp_path / "run").history) == 2
