"""The comparison of a surrogate with trivial and classical methods, on data whose errors are known."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sciml.assessment import Assessment, Row, assess, milliseconds, percent
from sciml.dataset import Dataset, Field, write_dataset
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid
from sciml.normalization import Normalization
from sciml.surrogate import Channel, Surrogate


@dataclass(frozen=True)
class Scaled:
    """A "solver" that returns the input times a factor."""

    factor: float
    name: str

    def predict(self, inputs: Tensor, grid: Grid) -> Tensor:
        assert inputs.dtype == torch.float64 and inputs.shape[2:] == grid.shape
        return self.factor * inputs


def linear_data(folder: Path) -> Dataset:
    """u = 2 a, so that a factor of 2 (1 + e) has the relative error e in every sample, up to rounding."""
    a = np.random.default_rng(0).uniform(1.0, 2.0, (9, 8)).astype(np.float32)
    return write_dataset(
        folder / "linear.h5",
        grid=Grid.box((8,)),
        fields=[(Field("a", "input"), a), (Field("u", "output", units="m"), 2 * a)],
        split=[0, 0, 0, 0, 1, 2, 2, 2, 2],
        variables={"discretization_error": [0.1, 0.3, *[np.nan] * 7]},
    )


def surrogate_of(factor: float, upper: float = 1.0) -> Surrogate:
    """The map a -> factor a, as a model without bias and with no normalization."""
    model = nn.Conv1d(1, 1, 1, bias=False)
    nn.init.constant_(model.weight, factor)
    one = Normalization.identity(1)
    return Surrogate(
        model,
        inputs=[Channel("a")],
        outputs=[Channel("u", "m")],
        grid=Grid.box((8,), upper=upper),
        input_normalization=one,
        output_normalization=one,
    )


def test_errors_are_those_of_the_factor(tmp_path: Path) -> None:
    data = linear_data(tmp_path)
    solvers = [Scaled(2.0, "exact"), Scaled(2.04, "good"), Scaled(2.2, "coarse")]
    found = assess(surrogate_of(2.1), data.test, baselines=solvers, training=data.train)
    names = [(row.name, row.kind) for row in found.rows]
    assert names == [
        ("Conv1d", "surrogate"),
        ("mean of training outputs", "trivial"),
        ("exact", "classical"),
        ("good", "classical"),
        ("coarse", "classical"),
    ]
    errors = {row.name: row.error for row in found.rows}
    # The model computes in float32: 1e-6.
    assert errors["Conv1d"] == pytest.approx(0.05, rel=1e-5)
    assert errors["exact"] == 0.0
    assert errors["good"] == pytest.approx(0.02, rel=1e-12)
    assert found.samples == 4 and found.batch == 4 and found.digest == data.digest
    assert found.floor == pytest.approx(0.2)  # the mean of what the file states, of whichever split
    assert len(found.surrogate.errors) == 4
    # H1 and max scale with the field as well; the latter in its own unit.
    assert found.surrogate.means["relative_h1"] == pytest.approx(0.05, rel=1e-5)
    largest = np.abs(data.test.load("u")).max(axis=1).mean()
    assert found.surrogate.means["max_error"] == pytest.approx(0.05 * largest, rel=1e-5)


def test_the_trivial_predictor_is_the_mean_of_the_training_outputs(tmp_path: Path) -> None:
    data = linear_data(tmp_path)
    found = assess(surrogate_of(2.1), data.test, training=data.train, batch_size=2)
    u = data.load("u").astype(np.float64)
    mean = u[:4].mean(axis=0)
    expected = [np.linalg.norm(mean - v) / np.linalg.norm(v) for v in u[5:]]
    assert found.rows[1].errors == pytest.approx(expected, rel=1e-12)
    assert found.rows[1].seconds is None
    assert len(assess(surrogate_of(2.1), data.test).rows) == 1


def row(name: str, kind: str, error: float, seconds: float | None) -> Row:
    summary = {"mean": error, "median": error, "worst": error, "interval": [error, error]}
    metrics = {name: summary for name in ("relative_l2", "relative_h1", "rmse", "max_error")}
    return Row(name, kind, metrics, [error], seconds)  # type: ignore[arg-type]


def table(*rows: Row) -> Assessment:
    return Assessment(rows, samples=1, batch=1, threads=2, device="cpu", digest="sha256:0")


def test_the_speed_up_is_over_the_cheapest_solver_that_is_as_accurate() -> None:
    own, mean = row("FNO", "surrogate", 0.02, 1e-3), row("mean", "trivial", 0.3, None)
    fine, even = row("fine", "classical", 0.0, 9e-3), row("even", "classical", 0.02, 4e-3)
    coarse = row("coarse", "classical", 0.03, 1e-6)
    found = table(own, mean, fine, even, coarse)
    assert found.equal == even and found.speed_up == pytest.approx(4.0)
    assert "even (2.00% in 4 ms per sample)" in found.verdict and "4 times faster" in found.verdict
    slow = table(dataclasses.replace(own, seconds=8e-3), mean, fine, even, coarse)
    assert slow.speed_up == pytest.approx(0.5) and "2 times slower" in slow.verdict


def test_no_speed_up_is_stated_where_there_is_none() -> None:
    own, coarse = row("FNO", "surrogate", 0.02, 1e-3), row("coarse", "classical", 0.03, 1e-6)
    assert table(own, coarse).speed_up is None
    assert table(own, coarse).verdict.startswith("None of the classical solvers")
    assert table(own).verdict.startswith("No classical solver is known")
    bad = table(own, row("mean", "trivial", 0.01, None), row("fine", "classical", 0.0, 1e-3))
    assert "learned nothing yet" in bad.verdict


def test_it_survives_json(tmp_path: Path) -> None:
    data = linear_data(tmp_path)
    found = assess(surrogate_of(2.1), data.test, baselines=[Scaled(2.0, "exact")], training=data.train)
    read = Assessment.from_dict(json.loads(json.dumps(found.to_dict())))
    assert read == found and read.verdict == found.verdict


def test_mistakes(tmp_path: Path) -> None:
    data = linear_data(tmp_path)
    with pytest.raises(DataError, match="no samples"):
        assess(surrogate_of(2.0), data.test.subset([]))
    with pytest.raises(ConfigError, match="axis 'x'"):
        assess(surrogate_of(2.0, upper=2.0), data.test)
    surrogate = surrogate_of(2.0)
    surrogate.outputs = (Channel("u", "km"),)
    with pytest.raises(DataError, match="has 'u' in 'm', the surrogate in 'km'"):
        assess(surrogate, data.test)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "-"), (float("nan"), "-"), (1.234e-3, "1.23 ms"), (2.5, "2.5 s")]
)
def test_times_for_people(seconds: float | None, shown: str) -> None:
    assert milliseconds(seconds) == shown


def test_errors_for_people() -> None:
    assert [percent(v) for v in (0.0, 0.0199, 2.1e-8)] == ["0.00%", "1.99%", "2e-08"]
