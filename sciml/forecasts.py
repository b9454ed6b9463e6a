"""What a surrogate that steps through time is worth: roll-outs beside persistence, the mean, and solvers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.assessment import (
    TIMED_SAMPLES,
    Assessment,
    Course,
    Kind,
    Row,
    Timeline,
    discretization_error,
)
from sciml.baseline import Baseline, Stepper
from sciml.calling import name_of
from sciml.errors import ConfigError
from sciml.evolution import Evolution, evolution_of
from sciml.grid import Grid
from sciml.intervals import mean_interval
from sciml.metrics import max_error, nrmse, relative_l2, rmse, vrmse
from sciml.rollout import VALID
from sciml.scores import Scores
from sciml.stepping import Start, predict_from, read_start
from sciml.trajectories import (
    Duration,
    correlation_over_time,
    correlation_time,
    energy_spectrum,
    error_over_time,
    kinetic_spectrum,
    valid_time,
)

if TYPE_CHECKING:
    from sciml.dataset import Dataset
    from sciml.surrogate import Surrogate

Forecast = Callable[[Start], Tensor]
Spectrum = Callable[[Tensor], Tensor]


def assess_forecasts(
    surrogate: Surrogate,
    dataset: Dataset,
    *,
    baselines: Sequence[Baseline | Stepper] = (),
    training: Dataset | None = None,
) -> Assessment:
    """Roll-outs from the first window of each sample to its last frame, of every method on the same samples.

    Rows: the surrogate; persistence, which repeats the last frame given; the mean of the training
    trajectories at each time; each classical solver, started from the last frame given.  ``relative_l2`` is
    over all predicted frames together, the frames given are not counted.  Metrics besides: the error of the
    first and last predicted frame and its mean over frames; RMSE, NRMSE, VRMSE and largest error; valid time
    (up to an error of 0.4) and correlation time (down to 0.8), with the number of samples in which they were
    not over at the end (``censored``).  Seconds are those of whole roll-outs.

    Raises
    ------
    ConfigError
        If a baseline does not step through time.
    DataError
        If the frames of the data do not fit the model's time step.
    """
    trajectories = Trajectories(
        dataset,
        evolution_of(surrogate),
        [field.name for field in surrogate.outputs],
        [field.name for field in surrogate.inputs],
    )
    methods: list[tuple[str, Kind, Forecast]] = [
        (name_of(surrogate.model), "surrogate", forecast_of(surrogate)),
        ("persistence", "trivial", persistence),
    ]
    if training is not None and len(training):
        methods.append(("mean of training trajectories", "trivial", trajectories.mean_of(training)))
    for baseline in baselines:
        if not isinstance(baseline, Stepper):
            raise ConfigError(f"assess: {baseline.name} is no solver that steps through time.")
        methods.append((baseline.name, "classical", forecast_of_stepper(baseline)))
    tallies = trajectories.tally([forecast for _, _, forecast in methods])
    rows = [tally.row(name, kind) for (name, kind, _), tally in zip(methods, tallies, strict=True)]
    return Assessment(
        rows=tuple(rows),
        samples=len(dataset),
        batch=trajectories.size,
        threads=torch.get_num_threads(),
        device=str(surrogate.device),
        digest=dataset.digest,
        floor=discretization_error(dataset),
        calls=len(tallies[0].counted),
        indices=dataset.indices.tolist(),
        timeline=trajectories.timeline,
    )


@dataclass(frozen=True)
class FrameErrors:
    """What predicted frames are worth: ``scores`` (sample,), ``durations``, ``course`` (sample, frame)."""

    scores: dict[str, Tensor]
    durations: dict[str, Duration]
    course: Tensor


def frame_errors(prediction: Tensor, truth: Tensor, times: Tensor, grid: Grid) -> FrameErrors:
    """The metrics of `assess_forecasts` for frames (sample, frame, channel, *space).

    ``times`` (frame,) are since the last frame given.
    """
    named = {m.__name__: m(prediction, truth, rank=grid.rank) for m in (rmse, nrmse, vrmse, max_error)}
    course = error_over_time(prediction, truth)
    scores = {
        **named,
        "relative_l2": relative_l2(prediction, truth),
        "relative_l2_frames": course.mean(1),
        "relative_l2_first": course[:, 0],
        "relative_l2_last": course[:, -1],
    }
    correlation = correlation_over_time(prediction, truth)
    durations = {
        "valid_time": valid_time(course, times, threshold=VALID),
        "correlation_time": correlation_time(correlation, times),
    }
    return FrameErrors(scores, durations, course)


FrameMeasure = Callable[[Tensor, Tensor, Tensor, Grid], FrameErrors]


class Trajectories:
    """The trajectories of a dataset at the time step of a model, judged in blocks of ``size`` samples.

    Parameters
    ----------
    dataset : Dataset
    evolution : Evolution
    states, inputs : names of fields
        States may be among the inputs, and are no inputs then.
    measure : callable
        As `frame_errors`.

    Attributes
    ----------
    timeline : Timeline
        With the spectrum of the truth, once `tally` has seen it.
    """

    def __init__(
        self,
        dataset: Dataset,
        evolution: Evolution,
        states: Sequence[str],
        inputs: Sequence[str] = (),
        *,
        measure: FrameMeasure = frame_errors,
    ) -> None:
        self.measure = measure
        self.dataset, self.evolution, self.states = dataset, evolution, list(states)
        self.fixed = [name for name in inputs if name not in self.states]
        self.size = min(TIMED_SAMPLES, len(dataset))
        self.timeline = Timeline([], evolution.units, None, "")

    def starts(self, dataset: Dataset) -> Iterator[Start]:
        """Blocks of samples, the last one smaller."""
        for i in range(0, len(dataset), self.size):
            rows = range(i, min(i + self.size, len(dataset)))
            yield read_start(dataset, rows, self.evolution, self.states, self.fixed)

    def tally(self, forecasts: Sequence[Forecast]) -> list[Tally]:
        """Every forecast on every sample; the samples are read once."""
        quantity, spectrum = self._spectrum()
        truth, *tallies = (Tally(spectrum, self.size, self.measure) for _ in range(len(forecasts) + 1))
        times: list[float] = []
        for start in self.starts(self.dataset):
            times = (start.times[1:] - start.times[0]).tolist()
            truth.add_spectrum(start.truth)
            for forecast, found in zip(forecasts, tallies, strict=True):
                found.judge(forecast, start, self.dataset.grid)
        self.timeline = Timeline(times, self.evolution.units, truth.mean_spectrum(), quantity)
        return tallies

    def mean_of(self, training: Dataset) -> Forecast:
        """The mean of the training trajectories at each time after the window."""
        total = torch.zeros((), dtype=torch.float64)
        for start in self.starts(training):
            total = total + start.truth.sum(0)
        mean = total / len(training)
        return lambda start: mean.expand_as(start.truth)

    def _spectrum(self) -> tuple[str, Spectrum | None]:
        """What a spectrum of the state is called, and the spectrum (n, shells) of states."""
        grid, fields = self.dataset.grid, [self.dataset.fields[name] for name in self.states]
        if not all(axis.periodic for axis in grid.axes):
            return "", None
        if grid.rank == 2 and len(fields) == 1 and fields[0].long_name == "vorticity":
            return "kinetic energy", lambda state: kinetic_spectrum(state[:, 0], grid)
        return "half the mean square", lambda state: energy_spectrum(state, components=2).sum(1)


@dataclass
class Tally:
    """What is known of one method after some blocks of samples, of ``size`` but for the last.

    ``scores`` are per sample, ``courses`` the errors (sample, frame) of the blocks, ``censored`` counts in
    how many samples a duration was not over at the end.
    """

    spectrum: Spectrum | None
    size: int
    measure: FrameMeasure
    scores: dict[str, Scores] = field(default_factory=dict)
    censored: dict[str, int] = field(default_factory=dict)
    seconds: list[tuple[int, float]] = field(default_factory=list)
    courses: list[NDArray[np.float64]] = field(default_factory=list)
    spectra: list[NDArray[np.float64]] = field(default_factory=list)

    def judge(self, forecast: Forecast, start: Start, grid: Grid) -> None:
        """Add one block; its time is that of the forecast alone."""
        before = time.perf_counter()
        prediction = forecast(start)
        self.seconds.append((len(prediction), time.perf_counter() - before))
        times = torch.from_numpy(start.times[1:] - start.times[0])
        found = self.measure(prediction, start.truth, times, grid)
        for name, values in found.scores.items():
            self._add(name, values)
        for name, duration in found.durations.items():
            self._add(name, duration.values)
            self.censored[name] = self.censored.get(name, 0) + duration.count
        self.courses.append(found.course.numpy())
        self.add_spectrum(prediction)

    def add_spectrum(self, frames: Tensor) -> None:
        """Of the last frame."""
        if self.spectrum is not None:
            self.spectra.append(self.spectrum(frames[:, -1]).numpy())

    def _add(self, name: str, values: Tensor) -> None:
        self.scores.setdefault(name, Scores()).add(values)

    @property
    def counted(self) -> list[float]:
        """Seconds of the full blocks, without the first if there are others: it warms up."""
        full = [seconds for count, seconds in self.seconds if count == self.size]
        return full[1:] or full

    @property
    def seconds_per_sample(self) -> float:
        """The median over full blocks."""
        return statistics.median(self.counted) / self.size

    @property
    def course(self) -> Course:
        """The mean error of each frame with its bootstrap interval."""
        return _course(self.courses)

    def mean_spectrum(self) -> list[float] | None:
        """Over samples."""
        return np.concatenate(self.spectra).mean(0).tolist() if self.spectra else None

    def row(self, name: str, kind: Kind) -> Row:
        """For an `Assessment`."""
        metrics: dict[str, dict[str, Any]] = {key: dict(s.summary()) for key, s in self.scores.items()}
        for key, count in self.censored.items():
            # Of a duration the shortest is the worst.
            metrics[key] |= {"worst": float(self.scores[key].values.min()), "censored": count}
        seconds = None if kind == "trivial" else self.seconds_per_sample
        errors = self.scores["relative_l2"].values.tolist()
        return Row(name, kind, metrics, errors, seconds, self.course, self.mean_spectrum())


def _course(parts: Sequence[NDArray[np.float64]]) -> Course:
    """Mean errors (frames,) of errors (sample, frames), with the interval of the mean."""
    errors = np.concatenate(parts)
    with np.errstate(invalid="ignore", over="ignore"):  # a solution that blew up stays NaN
        mean = errors.mean(axis=0)
    low, high = mean_interval(errors)
    return Course(mean.tolist(), low.tolist(), high.tolist())


def forecast_of(surrogate: Surrogate) -> Forecast:
    """Its roll-outs."""
    return lambda start: predict_from(surrogate, start)


def persistence(start: Start) -> Tensor:
    """The last frame given, again and again."""
    return start.window[:, -1:].expand_as(start.truth)


def forecast_of_stepper(stepper: Stepper) -> Forecast:
    """The frames after the window, with the channel axis that a solver of one scalar does not have."""

    def forecast(start: Start) -> Tensor:
        initial, scalar = start.window[:, -1], start.window.shape[2] == 1
        frames = stepper.trajectory(initial[:, 0] if scalar else initial, start.times.tolist())
        return frames[:, 1:, None] if scalar else frames[:, 1:]

    return forecast
