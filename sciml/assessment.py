"""What a surrogate is worth: its errors beside trivial predictors and classical solvers, with their times."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from sciml.baseline import Baseline, Stepper
from sciml.calling import name_of
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid
from sciml.labelled import check_same_domain
from sciml.metrics import max_error, nrmse, relative_h1, relative_l2, rmse, vrmse
from sciml.scores import Scores

if TYPE_CHECKING:
    from sciml.dataset import Dataset
    from sciml.surrogate import Surrogate

# Samples per call when a method is timed: enough to fill the threads, few enough for any memory.
TIMED_SAMPLES = 16
REPEATS = 5

Predictor = Callable[[Tensor], Tensor]
MapMeasure = Callable[[Tensor, Tensor, Grid], Mapping[str, Tensor]]
Kind = Literal["surrogate", "trivial", "classical"]


@dataclass(frozen=True)
class Course:
    """The relative L2 error of each frame of a roll-out: the mean over samples and its 95 % interval."""

    mean: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Timeline:
    """What the curves of roll-outs are drawn over.

    Attributes
    ----------
    times : list of float
        Of the predicted frames, since the last frame that was given.
    units : str
        Of time.
    spectrum : list of float, optional
        ``quantity`` of each shell of wavenumbers 0, 1, ... at the last frame of the truth, its mean over
        samples; None where the domain is not periodic.
    quantity : str
    """

    times: list[float]
    units: str
    spectrum: list[float] | None
    quantity: str


@dataclass(frozen=True)
class Row:
    """One method on one set of samples.

    Attributes
    ----------
    name : str
    kind : "surrogate", "trivial" or "classical"
    metrics : mapping
        Metric name to its statistics over samples, see `sciml.scores.Scores.summary`.
    errors : list of float
        The relative L2 error of every sample, in the order of the set.
    seconds : float or None
        Per sample; None where a time would mean nothing.
    course : Course or None
        Of roll-outs.
    spectrum : list of float or None
        As in `Timeline`, of the prediction.
    """

    name: str
    kind: Kind
    metrics: Mapping[str, Mapping[str, Any]]
    errors: list[float]
    seconds: float | None = None
    course: Course | None = None
    spectrum: list[float] | None = None

    @property
    def error(self) -> float:
        """The mean relative L2 error."""
        return float(self.metrics["relative_l2"]["mean"])

    @property
    def means(self) -> dict[str, float]:
        """Metric name to its mean over samples."""
        return {name: float(summary["mean"]) for name, summary in self.metrics.items()}


@dataclass(frozen=True)
class Assessment:
    """The rows of a comparison, the surrogate first, and what is needed to read them.

    Attributes
    ----------
    rows : tuple of Row
    samples : int
    batch : int
        Samples per call at which the seconds were taken.
    threads : int
        Threads that PyTorch might use.
    device : str
        Where the surrogate ran; classical solvers run on the CPU.
    digest : str
        Of the data.
    floor : float or None
        Mean relative L2 discretization error of the data themselves, where the file states it.
    calls : int
        Over how many the seconds are a median.
    indices : list of int
        Positions of the samples in the file.
    timeline : Timeline or None
        Of roll-outs; each sample is then a trajectory.
    """

    rows: tuple[Row, ...]
    samples: int
    batch: int
    threads: int
    device: str
    digest: str
    floor: float | None = None
    calls: int = REPEATS
    indices: list[int] = dataclasses.field(default_factory=list)
    timeline: Timeline | None = None

    @property
    def noun(self) -> str:
        """What a sample is."""
        return "sample" if self.timeline is None else "trajectory"

    @property
    def surrogate(self) -> Row:
        """The row of the surrogate."""
        return self.rows[0]

    @property
    def equal(self) -> Row | None:
        """The cheapest classical method whose mean relative L2 error does not exceed the surrogate's."""
        able = [r for r in self.rows if r.kind == "classical" and r.error <= self.surrogate.error]
        return min((r for r in able if r.seconds is not None), key=lambda r: r.seconds or 0.0, default=None)

    @property
    def speed_up(self) -> float | None:
        """Seconds of `equal` over those of the surrogate; below 1 the classical method is faster."""
        equal, own = self.equal, self.surrogate.seconds
        return None if equal is None or equal.seconds is None or not own else equal.seconds / own

    @property
    def verdict(self) -> str:
        """The speed-up in words."""
        trivial = [r for r in self.rows if r.kind == "trivial" and r.error <= self.surrogate.error]
        if trivial:
            return (
                f"The surrogate ({percent(self.surrogate.error)}) is no better than the {trivial[0].name} "
                f"({percent(trivial[0].error)}): it has learned nothing yet, and no speed-up can be stated."
            )
        if not any(row.kind == "classical" for row in self.rows):
            return "No classical solver is known for these data, so no speed-up can be stated."
        equal, ratio, own = self.equal, self.speed_up, self.surrogate
        if equal is None or ratio is None:
            return (
                f"None of the classical solvers compared is as accurate as the surrogate "
                f"({percent(own.error)}), so no speed-up at equal error can be stated."
            )
        which = "faster" if ratio >= 1 else "slower"
        return (
            f"At equal or smaller error the cheapest classical solver is {equal.name} "
            f"({percent(equal.error)} in {milliseconds(equal.seconds)} per {self.noun}); the surrogate "
            f"({percent(own.error)} in "
            f"{milliseconds(own.seconds)}) is {max(ratio, 1 / ratio):.3g} times {which}."
        )

    @property
    def conditions(self) -> str:
        """How the times were taken, in words."""
        nouns = "samples" if self.timeline is None else "trajectories"
        return (
            f"Times: median of {self.calls} calls with {self.batch} {nouns} each; surrogate on "
            f"{self.device}, PyTorch with {self.threads} thread{'s' if self.threads > 1 else ''}; classical "
            "solvers on the CPU."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text, for JSON."""
        found = dataclasses.asdict(self)
        return {**found, "rows": list(found["rows"]), "speed_up": self.speed_up, "verdict": self.verdict}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Assessment:
        """The inverse of `to_dict`."""
        names = {field.name for field in dataclasses.fields(cls)} - {"rows", "timeline"}
        timeline = data.get("timeline")
        return cls(
            rows=tuple(_row_from(row) for row in data["rows"]),
            timeline=None if timeline is None else Timeline(**timeline),
            **{name: data[name] for name in names if name in data},
        )


def _row_from(data: Mapping[str, Any]) -> Row:
    """A row from JSON, where null stands for what is not finite."""
    found = {**data, **{name: _restored(data[name]) for name in ("metrics", "errors")}}
    if data.get("course") is not None:
        found["course"] = Course(**_restored(data["course"]))
    if data.get("spectrum") is not None:
        found["spectrum"] = _restored(data["spectrum"])
    return Row(**found)


def _restored(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _restored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item) for item in value]
    return math.nan if value is None else value


def assess(
    surrogate: Surrogate,
    dataset: Dataset,
    *,
    baselines: Sequence[Baseline | Stepper] = (),
    training: Dataset | None = None,
    batch_size: int = 64,
) -> Assessment:
    """Errors and times of a surrogate, of the trivial predictor and of classical solvers on the same samples.

    Errors are those of `sciml.metrics` in physical units and float64, each grid point counted once; the mean
    over samples comes last.  Nothing is selected here: every method given has its row.  A surrogate that
    steps through time is judged on roll-outs, see `sciml.forecasts.assess_forecasts`.

    Parameters
    ----------
    surrogate : Surrogate
    dataset : Dataset
        The samples to judge on, such as ``data.test``, at any resolution of the surrogate's domain.
    baselines : sequence of Baseline
        Classical solvers; they get the input fields, stacked as the surrogate's channels are.  Of a surrogate
        that steps through time they are `Stepper`.
    training : Dataset, optional
        Samples on the same grid whose mean output is the trivial predictor; left out, or empty, there is
        none.
    batch_size : int
        Samples held in memory at a time.

    Raises
    ------
    DataError
        If there are no samples, a field is missing, or is in other units.
    ConfigError
        If the data live on another domain than the surrogate, or a baseline solves another kind of task.
    """
    if len(dataset) == 0:
        raise DataError(f"assess: {dataset.path} has no samples in this split; choose another one.")
    check_same_domain(f"assess: {dataset.path}", dataset.grid, surrogate.grid)
    _check_units(surrogate, dataset)
    if surrogate.evolution is not None:
        from sciml.forecasts import assess_forecasts

        return assess_forecasts(surrogate, dataset, baselines=baselines, training=training)
    inputs, outputs = ([f.name for f in fields] for fields in (surrogate.inputs, surrogate.outputs))
    batch = min(TIMED_SAMPLES, len(dataset))
    x = dataset.tensor(inputs, range(batch), dtype=torch.float64)

    def judged(name: str, kind: Kind, predict: Predictor) -> Row:
        scores = map_scores(predict, dataset, inputs, outputs, batch_size=batch_size)
        seconds = None if kind == "trivial" else seconds_per_sample(predict, x)
        summaries = {metric: values.summary() for metric, values in scores.items()}
        return Row(name, kind, summaries, scores["relative_l2"].values.tolist(), seconds)

    rows = [judged(name_of(surrogate.model), "surrogate", predictor_of(surrogate))]
    if training is not None and len(training):
        mean = mean_output(training, outputs, batch_size)
        rows.append(judged("mean of training outputs", "trivial", lambda x: mean.expand(len(x), *mean.shape)))
    for baseline in baselines:
        if not isinstance(baseline, Baseline):
            raise ConfigError(f"assess: {baseline.name} steps through time, but the surrogate is a map.")
        rows.append(judged(baseline.name, "classical", predictor_of_baseline(baseline, dataset.grid)))
    return Assessment(
        rows=tuple(rows),
        samples=len(dataset),
        batch=batch,
        threads=torch.get_num_threads(),
        device=str(surrogate.device),
        digest=dataset.digest,
        floor=discretization_error(dataset),
        indices=dataset.indices.tolist(),
    )


def _check_units(surrogate: Surrogate, dataset: Dataset) -> None:
    for field in (*surrogate.inputs, *surrogate.outputs):
        if field.name in dataset.fields and dataset.fields[field.name].units != field.units:
            raise DataError(
                f"assess: {dataset.path} has {field.name!r} in {dataset.fields[field.name].units!r}, the "
                f"surrogate in {field.units!r}."
            )


def predictor_of(surrogate: Surrogate) -> Predictor:
    """The surrogate in the precision in which it computes, not in that of the data."""

    def predict(x: Tensor) -> Tensor:
        result = surrogate.predict(x.to(surrogate.device, surrogate.dtype))
        return result.cpu()  # waits for the device, as everybody who uses the result has to

    return predict


def predictor_of_baseline(baseline: Baseline, grid: Grid) -> Predictor:
    """A classical solver on the grid of the data."""
    return lambda x: baseline.predict(x, grid)


def map_errors(prediction: Tensor, truth: Tensor, grid: Grid) -> dict[str, Tensor]:
    """The metrics of `assess` for fields (sample, channel, *space) on a grid, (sample,) each."""
    named = {m.__name__: m(prediction, truth) for m in (relative_l2, nrmse, vrmse, rmse, max_error)}
    return {**named, "relative_h1": relative_h1(prediction, truth, grid)}


def map_scores(
    predict: Predictor,
    dataset: Dataset,
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    batch_size: int = 64,
    measure: MapMeasure = map_errors,
) -> dict[str, Scores]:
    """Every metric of a map of input to output channels, one value per sample, in physical units, float64."""
    scores: dict[str, Scores] = {}
    for start in range(0, len(dataset), batch_size):
        rows = range(start, min(start + batch_size, len(dataset)))
        x, y = (dataset.tensor(names, rows, dtype=torch.float64) for names in (inputs, outputs))
        for name, values in measure(predict(x).double(), y, dataset.grid).items():
            scores.setdefault(name, Scores()).add(values)
    return scores


def seconds_per_sample(predict: Predictor, x: Tensor, repeats: int = REPEATS) -> float:
    """The median time of ``predict(x)`` over ``repeats`` calls, after one that is not counted, per sample."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        predict(x)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]) / len(x)


def mean_output(dataset: Dataset, outputs: Sequence[str], batch_size: int = 64) -> Tensor:
    """The mean of the outputs over all samples at each grid point, (channel, *space), float64."""
    total = torch.zeros((), dtype=torch.float64)
    for start in range(0, len(dataset), batch_size):
        rows = range(start, min(start + batch_size, len(dataset)))
        total = total + dataset.tensor(outputs, rows, dtype=torch.float64).sum(0)
    return total / len(dataset)


def discretization_error(dataset: Dataset) -> float | None:
    """The mean of the discretization errors that the file states, of whichever split, or None."""
    from sciml.dataset import open_dataset

    try:
        stated = open_dataset(dataset.path).variable("discretization_error")
    except DataError:
        return None
    known = stated[np.isfinite(stated)]
    return float(known.mean()) if len(known) else None


def percent(value: float) -> str:
    """A relative error for people; errors of rounding in powers of ten."""
    if not math.isfinite(value):
        return "not finite"
    return f"{value:.2%}" if value >= 5e-5 or value == 0 else f"{value:.0e}"


def milliseconds(seconds: float | None) -> str:
    """A time per sample for people, with two or three digits; a dash for none."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
