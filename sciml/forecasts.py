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
from sciml.evolution import evolution_of
from sciml.grid import Grid
from sciml.metrics import max_error, nrmse, relative_l2, rmse, vrmse
from sciml.rollout import VALID
from sciml.scores import Scores
from sciml.stepping import Start, predict_from, start_of
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

_RESAMPLES = 2000


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
    size = min(TIMED_SAMPLES, len(dataset))
    blocks = [range(i, min(i + size, len(dataset))) for i in range(0, len(dataset), size)]
    methods: list[tuple[str, Kind, Forecast]] = [
        (name_of(surrogate.model), "surrogate", _of_surrogate(surrogate)),
        ("persistence", "trivial", lambda start: start.window[:, -1:].expand_as(start.truth)),
    ]
    if training is not None and len(training):
        mean = _mean_trajectory(surrogate, training)
        methods.append(("mean of training trajectories", "trivial", lambda s: mean.expand_as(s.truth)))
    for baseline in baselines:
        if not isinstance(baseline, Stepper):
            raise ConfigError(f"assess: {baseline.name} is no solver that steps through time.")
        methods.append((baseline.name, "classical", _of_stepper(baseline)))
    quantity, spectrum = _spectrum_of(surrogate, dataset.grid)
    tallies = [_Tally(spectrum) for _ in methods]
    truth = _Tally(spectrum)
    times: list[float] = []
    for start in _starts(surrogate, dataset, blocks):
        times = (start.times[1:] - start.times[0]).tolist()
        truth.add_spectrum(start.truth)
        for (_, _, forecast), tally in zip(methods, tallies, strict=True):
            tally.judge(forecast, start, dataset.grid)
    rows = [tally.row(name, kind, size) for (name, kind, _), tally in zip(methods, tallies, strict=True)]
    return Assessment(
        rows=tuple(rows),
        samples=len(dataset),
        batch=size,
        threads=torch.get_num_threads(),
        device=str(surrogate.device),
        digest=dataset.digest,
        floor=discretization_error(dataset),
        calls=len(tallies[0].counted(size)),
        indices=dataset.indices.tolist(),
        timeline=Timeline(times, evolution_of(surrogate).units, truth.mean_spectrum(), quantity),
    )


def _starts(surrogate: Surrogate, dataset: Dataset, blocks: Sequence[range]) -> Iterator[Start]:
    for rows in blocks:
        yield start_of(surrogate, dataset, rows)


@dataclass
class _Tally:
    """What is known of one method after some blocks of samples."""

    spectrum: Spectrum | None
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
        truth = start.truth
        for metric in (rmse, nrmse, vrmse, max_error):
            self._add(metric.__name__, metric(prediction, truth, rank=grid.rank))
        errors = error_over_time(prediction, truth)
        self._add("relative_l2", relative_l2(prediction, truth))
        self._add("relative_l2_frames", errors.mean(1))
        self._add("relative_l2_first", errors[:, 0])
        self._add("relative_l2_last", errors[:, -1])
        times = torch.from_numpy(start.times[1:] - start.times[0])
        self._add_duration("valid_time", valid_time(errors, times, threshold=VALID))
        correlation = correlation_over_time(prediction, truth)
        self._add_duration("correlation_time", correlation_time(correlation, times))
        self.courses.append(errors.numpy())
        self.add_spectrum(prediction)

    def add_spectrum(self, frames: Tensor) -> None:
        """Of the last frame."""
        if self.spectrum is not None:
            self.spectra.append(self.spectrum(frames[:, -1]).numpy())

    def _add(self, name: str, values: Tensor) -> None:
        self.scores.setdefault(name, Scores()).add(values)

    def _add_duration(self, name: str, duration: Duration) -> None:
        self._add(name, duration.values)
        self.censored[name] = self.censored.get(name, 0) + duration.count

    def counted(self, size: int) -> list[float]:
        """Seconds of the full blocks, without the first if there are others: it warms up."""
        full = [seconds for count, seconds in self.seconds if count == size]
        return full[1:] or full

    def mean_spectrum(self) -> list[float] | None:
        """Over samples."""
        return np.concatenate(self.spectra).mean(0).tolist() if self.spectra else None

    def row(self, name: str, kind: Kind, size: int) -> Row:
        metrics: dict[str, dict[str, Any]] = {key: dict(s.summary()) for key, s in self.scores.items()}
        for key, count in self.censored.items():
            # Of a duration the shortest is the worst.
            metrics[key] |= {"worst": float(self.scores[key].values.min()), "censored": count}
        seconds = None if kind == "trivial" else statistics.median(self.counted(size)) / size
        errors = self.scores["relative_l2"].values.tolist()
        return Row(name, kind, metrics, errors, seconds, _course(self.courses), self.mean_spectrum())


def _course(parts: Sequence[NDArray[np.float64]]) -> Course:
    """Mean errors (frames,) of errors (sample, frames), with the bootstrap interval of the mean."""
    errors = np.concatenate(parts)
    n = len(errors)
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    with np.errstate(invalid="ignore", over="ignore"):  # a solution that blew up stays NaN
        mean = errors.mean(axis=0)
        low, high = np.quantile(counts @ errors / n, [0.025, 0.975], axis=0)
    return Course(mean.tolist(), low.tolist(), high.tolist())


def _of_surrogate(surrogate: Surrogate) -> Forecast:
    return lambda start: predict_from(surrogate, start)


def _of_stepper(stepper: Stepper) -> Forecast:
    """The frames after the window, with the channel axis that a solver of one scalar does not have."""

    def forecast(start: Start) -> Tensor:
        initial, scalar = start.window[:, -1], start.window.shape[2] == 1
        frames = stepper.trajectory(initial[:, 0] if scalar else initial, start.times.tolist())
        return frames[:, 1:, None] if scalar else frames[:, 1:]

    return forecast


def _mean_trajectory(surrogate: Surrogate, training: Dataset) -> Tensor:
    """(frames, channel, *space), those after the window."""
    total = torch.zeros((), dtype=torch.float64)
    for i in range(0, len(training), TIMED_SAMPLES):
        rows = range(i, min(i + TIMED_SAMPLES, len(training)))
        total = total + start_of(surrogate, training, rows).truth.sum(0)
    return total / len(training)


def _spectrum_of(surrogate: Surrogate, grid: Grid) -> tuple[str, Spectrum | None]:
    """What a spectrum of the state is called, and the spectrum (n, shells) of states (n, channel, *space)."""
    if not all(axis.periodic for axis in grid.axes):
        return "", None
    states = surrogate.outputs
    if grid.rank == 2 and len(states) == 1 and states[0].long_name == "vorticity":
        return "kinetic energy", lambda state: kinetic_spectrum(state[:, 0], grid)
    return "half the mean square", lambda state: energy_spectrum(state, components=2).sum(1)
