"""Contests on fields: maps between them, roll-outs in time, values on meshes and points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sciml.assessment import TIMED_SAMPLES, Predictor, map_scores, predictor_of, seconds_per_sample
from sciml.comparison import trivial
from sciml.comparison.benchmark import Benchmark, stepping_card
from sciml.comparison.contest import Contest, Judgement, Plan, Reference
from sciml.comparison.entry import Entry
from sciml.comparison.ladder import ladder
from sciml.comparison.measures import of_fields, of_frames
from sciml.comparison.posed import Measure, Place, Problems
from sciml.comparison.published import Published
from sciml.comparison.resolutions import samples_at
from sciml.dataset import Dataset
from sciml.errors import ConfigError
from sciml.evolution import Evolution
from sciml.forecasts import Forecast, Tally, Trajectories, forecast_of, persistence
from sciml.grid import Grid
from sciml.point_assessment import mean_on_points, point_examples, point_predictor, point_scores
from sciml.presets import DATA_FOLDER, Progress, generator_of
from sciml.report import Example, pick_examples
from sciml.rollout import Rollout
from sciml.run import Run
from sciml.scores import Scores
from sciml.supervised import Supervised
from sciml.task import Task, task_of
from sciml.trajectories import energy_spectrum
from sciml.unroll import Stepping

if TYPE_CHECKING:
    from sciml.surrogate import Surrogate


class _Views(NamedTuple):
    """The data of a benchmark: as opened, as learned from, as judged on, and the last on other grids."""

    whole: Dataset
    learned: Dataset
    judged: Dataset
    elsewhere: list[Dataset]


class FieldContest(Contest[Entry]):
    """A benchmark with its data on this machine.

    A map between fields on a grid, the step of a state through time (judged on roll-outs from the first
    window to the last frame), or a map on meshes and points.  Trained as ``sciml train`` does it.

    Parameters
    ----------
    benchmark : Benchmark
    folder : Path
        Where data are looked for, made and converted.
    resolutions : sequence of int
        Of other grids on which models are judged too (`Judgement.transfer`): points along the first axis,
        any for data of our generators, and coarser ones for others (`samples_at`); a model that cannot be
        used there is not.  No part of the fingerprint.

    Examples
    --------
    >>> import tempfile
    >>> from sciml.datasets import Darcy
    >>> from sciml.operators import FNO
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = Darcy(resolution=8).make(folder + "/darcy.h5", train=8, valid=2, test=3, workers=1)
    ...     contest = FieldContest(Benchmark.of_dataset(data))
    ...     plan = contest.plan(Entry("fno", FNO, {"modes": 2, "width": 4}), seed=0, steps=4, device="cpu")
    ...     found = contest.judge(plan.trainer.fit(plan.model, plan.objective))
    >>> found.split, len(found.metrics["relative_l2"])
    ('test', 3)
    """

    entry_type = Entry

    def __init__(
        self,
        benchmark: Benchmark,
        folder: Path | str = DATA_FOLDER,
        *,
        resolutions: Sequence[int] = (),
    ) -> None:
        self.benchmark = benchmark
        self.folder = Path(folder).absolute()
        self.resolutions = tuple(resolutions)
        self._opened: _Views | None = None
        self._judged: tuple[Run, Judgement] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_judged": None}  # views of datasets hold no open file once pickled

    @property
    def name(self) -> str:
        return self.benchmark.name

    def describe(self) -> dict[str, Any]:
        found, task = self.benchmark.describe(), self.task
        found |= {"inputs": list(task.inputs), "outputs": list(task.outputs)}
        found["stepping"] = None if task.stepping is None else stepping_card(task.stepping)
        card = found["data"]
        if "generator" not in card:
            card["digest"] = self._views.whole.digest
        return found

    def prepare(self, progress: Progress | None = None) -> None:
        """Make or open the data; ``progress`` is called with (finished, all) samples as they are made."""
        whole = self.benchmark.open(self.folder, progress=progress)
        learned, judged = self.benchmark.learned(whole), self.benchmark.judged(whole)
        others = [samples_at(self.benchmark, whole, n, self.folder) for n in self.resolutions]
        self._opened = _Views(whole, learned, judged, others)

    @property
    def _views(self) -> _Views:
        if self._opened is None:
            self.prepare()
        assert self._opened is not None
        return self._opened

    @property
    def data(self) -> Dataset:
        """All samples, at the points and frames of the protocol."""
        return self._views.learned

    @property
    def test(self) -> Dataset:
        """The samples that decide, as they are judged."""
        return self._views.judged.test

    @property
    def task(self) -> Task:
        """What is learned."""
        b = self.benchmark
        found = task_of(self.data, b.inputs, b.outputs, b.stepping or Stepping())
        return found if b.points is None else replace(found, points=b.points)

    @property
    def grid(self) -> Grid | None:
        return self.data.grid if self.data.kind == "grid" else None

    # Training.

    def plan(
        self, entry: Entry, *, seed: int, steps: int, samples: int | None = None, device: torch.device | str
    ) -> Plan:
        data = self.data if samples is None else self._first(samples)
        recipe = entry.recipe(self.benchmark.recipe, steps)
        loss = entry.loss(self.benchmark.loss, self.grid)
        make = partial(entry.make, context=self.benchmark.context)
        model, objective, validation = self.task.training(
            data, make, seed=seed, batch_size=recipe.batch_size, loss=loss
        )
        return Plan(model.to(device), recipe.trainer(seed), objective, validation)

    def _first(self, samples: int) -> Dataset:
        """With the first training samples alone; statistics are those of these."""
        data = self.data
        training = np.flatnonzero(data.variable("split") == 0)
        if not 1 <= samples <= len(training):
            raise ConfigError(
                f"{self.name}: has {len(training)} training samples, got {samples} to take of them."
            )
        split = data.variable("split").astype(np.int64)
        split[training[samples:]] = -1
        return data.resplit(split)

    # Judging.

    def judge(self, run: Run) -> Judgement:
        found = self._judgement(run)
        self._judged = run, found
        return found

    def _judgement(self, run: Run) -> Judgement:
        test, objective = self.test, run.objective
        indices = test.indices.tolist()
        if isinstance(objective, Rollout):
            surrogate = run.surrogate()
            trajectories = self._trajectories(test, objective.evolution)
            (tally,) = trajectories.tally([forecast_of(surrogate)])
            return Judgement(
                "test",
                indices,
                per_sample(tally.scores),
                tally.seconds_per_sample,
                course=_course(trajectories, tally),
                spectrum=_last_spectrum(trajectories, tally),
                transfer=self._transfer(surrogate),
            )
        assert isinstance(objective, Supervised)
        if test.kind != "grid":
            task = objective.on(test)
            predict = point_predictor(task, run.model)
            rows = list(range(min(TIMED_SAMPLES, len(test))))
            seconds = seconds_per_sample(lambda _: predict(rows)[0], torch.empty(len(rows)))
            return Judgement("test", indices, per_sample(point_scores(task, predict)), seconds)
        surrogate = run.surrogate()
        tested = _Tested(test.grid)
        scores = self._map_scores(predictor_of(surrogate), tested)
        x = test.tensor(list(self.task.inputs), range(min(TIMED_SAMPLES, len(test))), dtype=torch.float64)
        return Judgement(
            "test",
            indices,
            per_sample(scores),
            seconds_per_sample(predictor_of(surrogate), x),
            spectrum=tested.spectrum,
            transfer=self._transfer(surrogate),
        )

    def _transfer(self, surrogate: Surrogate) -> dict[str, dict[str, list[float]]]:
        """The errors at `resolutions`; where a model refuses or breaks it has none."""
        found = {}
        for test in self._views.elsewhere:
            try:
                if surrogate.evolution is None:
                    scores = self._map_scores(predictor_of(surrogate), test=test)
                else:
                    trajectories = self._trajectories(test, surrogate.evolution)
                    scores = trajectories.tally([forecast_of(surrogate)])[0].scores
            except (ValueError, RuntimeError):  # ours are ValueErrors; torch's, of shapes, RuntimeErrors
                continue
            found["x".join(map(str, test.grid.shape))] = per_sample(scores)
        return found

    def _map_scores(
        self, predict: Predictor, measure: Measure = of_fields, *, test: Dataset | None = None
    ) -> dict[str, Scores]:
        task, data = self.task, self.test if test is None else test
        return map_scores(predict, data, task.inputs, task.outputs, measure=measure)

    def _trajectories(self, test: Dataset, evolution: Evolution) -> Trajectories:
        task = self.task
        return Trajectories(test, evolution, task.outputs, task.fixed, measure=of_frames)

    def examples(self, run: Run) -> list[Example] | None:
        known = self._judged is not None and self._judged[0] is run
        found = self._judged[1] if known and self._judged is not None else self.judge(run)
        test, errors = self.test, found.metrics["relative_l2"]
        if test.kind == "grid":
            return pick_examples(run.surrogate(), test, errors)
        assert isinstance(run.objective, Supervised)
        return point_examples(run.objective.on(test), run.model, errors)

    # Methods that need no training.

    def references(self) -> Iterator[Reference]:
        """Trivial predictors from the training samples; then the solver that made the data, if it is ours."""
        if self.task.stepping is not None:
            yield from self._steady_forecasts()
        elif self.data.kind == "grid":
            yield from self._trivial_maps()
        else:
            task = self.task.objective(self.data.train, batch_size=TIMED_SAMPLES)
            assert isinstance(task, Supervised)
            tested = task.on(self.test)
            scores = point_scores(tested, mean_on_points(tested))
            yield Reference("mean of training outputs", "trivial", per_sample(scores))
        yield from self._solvers()

    def _trivial_maps(self) -> Iterator[Reference]:
        task, training = self.task, self.data.train
        scores = self._map_scores(trivial.mean(training, task.outputs))
        yield Reference("mean of training outputs", "trivial", per_sample(scores))
        found = trivial.linear(training, task.inputs, task.outputs)
        if found is not None:
            predict, ridge = found
            scores = self._map_scores(predict)
            yield Reference("best linear map", "trivial", per_sample(scores), settings={"ridge": ridge})

    def _steady_forecasts(self) -> Iterator[Reference]:
        objective = self.task.objective(self.data.train, batch_size=1)
        assert isinstance(objective, Rollout)
        trajectories = self._trajectories(self.test, objective.evolution)
        forecasts: dict[str, Forecast] = {
            "persistence": persistence,
            "mean of training trajectories": trajectories.mean_of(self._views.judged.train),
        }
        tallies = trajectories.tally(list(forecasts.values()))
        for name, tally in zip(forecasts, tallies, strict=True):
            yield Reference(name, "trivial", per_sample(tally.scores))

    def _solvers(self) -> Iterator[Reference]:
        generator, task, test = generator_of(self._views.whole), self.task, self.test
        if generator is None:
            return
        if task.stepping is None:
            yield from ladder(generator, Problems.maps(test, task.outputs), measure=of_fields)
            return
        frames = task.stepping.frames
        problems = Problems.trajectories(test, task.outputs, window=frames.window, stride=frames.stride)
        times = problems.blocks[0].times
        assert times is not None
        since = torch.from_numpy(times[1:] - times[0])

        def measure(prediction: Tensor, truth: Tensor, place: Place) -> dict[str, Tensor]:
            assert isinstance(place, Grid)
            found = of_frames(prediction, truth, since, place)
            return {**found.scores, **{name: d.values for name, d in found.durations.items()}}

        yield from ladder(generator, problems, measure=measure)

    def published(self) -> list[Published]:
        return list(self.benchmark.published)


class _Tested:
    """The metrics of fields, and, on periodic grids, what is needed for their spectra."""

    def __init__(self, grid: Grid) -> None:
        self.periodic = all(axis.periodic for axis in grid.axes)
        self._spectra: list[list[Tensor]] = []

    def __call__(self, prediction: Tensor, truth: Tensor, place: Place) -> dict[str, Tensor]:
        if self.periodic:
            spectra = [energy_spectrum(values, components=2).sum(1) for values in (truth, prediction)]
            self._spectra.append(spectra)
        return of_fields(prediction, truth, place)

    @property
    def spectrum(self) -> dict[str, Any] | None:
        """Means over samples, as in `Judgement`."""
        if not self._spectra:
            return None
        truth, prediction = (torch.cat(parts).mean(0).tolist() for parts in zip(*self._spectra, strict=True))
        return spectrum_card(truth, prediction, "half the mean square")


def spectrum_card(truth: list[float], prediction: list[float], quantity: str) -> dict[str, Any]:
    """As in `Judgement`; shell s holds the wavenumbers around s."""
    return {"k": list(range(len(truth))), "truth": truth, "prediction": prediction, "quantity": quantity}


def per_sample(scores: Mapping[str, Scores]) -> dict[str, list[float]]:
    """The values of every metric, the deciding one first."""
    names = sorted(scores, key=lambda name: name != "relative_l2")
    return {name: scores[name].samples.tolist() for name in names}


def _course(trajectories: Trajectories, tally: Tally) -> dict[str, Any]:
    timeline = trajectories.timeline
    return {"times": timeline.times, "units": timeline.units, "mean": tally.course.mean}


def _last_spectrum(trajectories: Trajectories, tally: Tally) -> dict[str, Any] | None:
    truth, prediction = trajectories.timeline.spectrum, tally.mean_spectrum()
    if truth is None or prediction is None:
        return None
    return spectrum_card(truth, prediction, f"{trajectories.timeline.quantity}, last frame")
