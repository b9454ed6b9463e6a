"""The methods of one benchmark as lines of a table: entries with their significance, and references."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from sciml.comparison.contest import Reference
from sciml.comparison.results import DECISIVE, DURATIONS, Float, Results, Training
from sciml.comparison.statistics import Estimate, mean_error, power_law, significance
from sciml.files import dump_json, finite

LEVEL = 0.05  # a difference with a smaller p counts as significant
COSTS = (
    "parameters",
    "flops_per_step",
    "memory_bytes",
    "train_seconds",
    "seconds_per_step",
    "seconds_per_sample",
)
UNKNOWN = Estimate(math.nan, math.nan, math.nan, "nothing")

Place = Literal["best", "tied", "behind", ""]


@dataclass(frozen=True)
class Line:
    """One method on one benchmark.

    Attributes
    ----------
    name : str
    kind : "entry", "trivial" or "classical"
    error : Estimate
        Mean relative L2 error over seeds and samples, with its interval; NaN if nothing finished.
    median, worst : float
        Over all seeds and samples.
    p : float
        Of the hypothesis that it is as good as the entry with the smallest mean error, see
        `sciml.comparison.statistics.significance`; NaN for that entry, and for references.
    place : "best", "tied", "behind" or ""
        "best": every other entry is significantly worse, and no seed failed.  "tied": not significantly
        different from the entry with the smallest mean, which is then tied too.  "": nothing can be said.
    done, failed : int
        Seeds with a result, and without.
    samples : int or None
        Training samples; None for all.
    steps : int or None
    costs : mapping
        Each of `COSTS` and ``seconds_per_epoch``, of as many steps as draw every training sample once: the
        mean over seeds, None where it is not known.
    alone : bool
        Whether nothing else ran while times were taken.
    means : mapping
        Metric to its mean over seeds and samples.
    own : Estimate or None
        Of the metric by which the protocol itself judges, where it is another one.
    lasted : mapping
        Of each of `DURATIONS`, the share of samples in which it lasted to the last frame: the data end
        there, so the mean is a lower bound.
    transfer : mapping
        Another resolution to the error there.
    efficiency : mapping
        Number of training samples, None for all, to the error.
    slope : Estimate or None
        The exponent p of error ~ samples^p, with its interval over seeds.
    settings : mapping
    """

    name: str
    kind: Literal["entry", "trivial", "classical"]
    error: Estimate
    median: float = math.nan
    worst: float = math.nan
    p: float = math.nan
    place: Place = ""
    done: int = 0
    failed: int = 0
    samples: int | None = None
    steps: int | None = None
    costs: Mapping[str, float | None] = field(default_factory=dict)
    alone: bool = True
    means: Mapping[str, float] = field(default_factory=dict)
    own: Estimate | None = None
    lasted: Mapping[str, float] = field(default_factory=dict)
    transfer: Mapping[str, Estimate] = field(default_factory=dict)
    efficiency: Mapping[int | None, Estimate] = field(default_factory=dict)
    slope: Estimate | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finite(self) -> bool:
        """Whether it has a mean error."""
        return math.isfinite(self.error.value)

    def record(self) -> dict[str, Any]:
        """Everything that is known, flat: ``mean`` is of relative L2, ``mean_METRIC`` of another metric."""
        found: dict[str, Any] = {
            "name": self.name,
            "kind": self.kind,
            **_bounds("", self.error),
            "median": self.median,
            "worst": self.worst,
            "over": self.error.over,
            "p": self.p,
            "place": self.place,
            "done": self.done,
            "failed": self.failed,
            "samples": self.samples,
            "steps": self.steps,
            **self.costs,
            "alone": self.alone,
        }
        found |= {f"mean_{name}": value for name, value in self.means.items() if name != DECISIVE}
        found |= {f"to_the_end_{name}": value for name, value in self.lasted.items()}
        for size, estimate in self.transfer.items():
            found |= _bounds(f"at_{size}_", estimate)
        for count, estimate in self.efficiency.items():
            found |= _bounds(f"with_{'all' if count is None else count}_samples_", estimate)
        if self.slope is not None:
            found |= _bounds("exponent_", self.slope)
        return found | {"settings": dump_json(finite(dict(self.settings)), indent=None)}


def _bounds(prefix: str, estimate: Estimate) -> dict[str, float]:
    return {f"{prefix}mean": estimate.value, f"{prefix}low": estimate.low, f"{prefix}high": estimate.high}


def lines_of(results: Results) -> list[Line]:
    """Entries from the best on, those without a result last; trivial predictors; classical solvers.

    An entry that was trained with several budgets has a line for each; of several numbers of training
    samples the line has the largest, and ``efficiency`` all of them.
    """
    samples = {training.entry: training.samples for training in results.main}
    budgets: dict[str, int] = {}
    shown = [t for t in results.trainings if t.samples == samples[t.entry]]
    for training in shown:
        budgets[training.entry] = budgets.get(training.entry, 0) + 1
    end = _last_time(results)
    lines = [_trained(results, t, end, named=budgets[t.entry] > 1) for t in shown]
    lines = _compared(lines, shown)
    lines += [
        Line(name, "entry", UNKNOWN, failed=_failed(results, name, None, None))
        for name in results.entries
        if name not in samples
    ]
    lines.sort(key=lambda line: line.error.value if line.finite else math.inf)
    for family in ("trivial", "classical"):
        lines += [_reference(results, row, end) for row in results.family(family)]
    return lines


def _trained(results: Results, training: Training, end: float | None, *, named: bool) -> Line:
    units = training.units
    values = {name: training.values(name) for name in units[0]["metrics"] if training.has(name)}
    errors = values[DECISIVE]
    return Line(
        f"{training.entry}, {training.steps} steps" if named else training.entry,
        "entry",
        mean_error(errors),
        float(np.median(errors)),
        float(errors.max()),
        done=len(units),
        failed=_failed(results, training.entry, training.samples, training.steps),
        samples=training.samples,
        steps=training.steps,
        costs={
            **{name: training.of(name) for name in COSTS},
            "seconds_per_epoch": _epoch(results, training),
        },
        alone=all(unit.get("alone", True) for unit in units),
        means={name: float(value.mean()) for name, value in values.items()},
        own=_own(results, values),
        lasted=_lasted(values, end),
        transfer=_transfer(training),
        **_efficiency(results, training.entry),
        settings=units[0].get("settings") or {},
    )


def _epoch(results: Results, training: Training) -> float | None:
    """Seconds; None where a step draws no samples, as with equations alone."""
    own = (training.units[0].get("settings") or {}).get("training") or {}
    recipe = results.description.get("recipe") or {}
    batch = own.get("batch_size") or recipe.get("batch_size")
    samples = results.training_samples if training.samples is None else training.samples
    step = training.of("seconds_per_step")
    return step * samples / batch if step and samples and batch else None


def _reference(results: Results, row: Reference, end: float | None) -> Line:
    values = {name: np.array([listed]) for name, listed in row.metrics.items()}
    errors = values[DECISIVE]
    return Line(
        row.name,
        row.family,
        mean_error(errors),
        float(np.median(errors)),
        float(errors.max()),
        costs={"seconds_per_sample": row.seconds_per_sample},
        means={**{name: float(value.mean()) for name, value in values.items()}, **row.means},
        own=_own(results, values),
        lasted=_lasted(values, end),
        settings=row.settings,
    )


def _failed(results: Results, entry: str, samples: int | None, steps: int | None) -> int:
    """Seeds without a result; a unit whose steps are not known belongs to every budget."""
    return sum(
        unit["entry"] == entry
        and unit["samples"] == samples
        and (steps is None or unit.get("steps") in (steps, None))
        for unit in results.failures
    )


def _own(results: Results, values: Mapping[str, Float]) -> Estimate | None:
    return mean_error(values[results.own_metric]) if results.own_metric in values else None


def _last_time(results: Results) -> float | None:
    courses = (unit.get("course") for unit in results.units)
    return next((float(course["times"][-1]) for course in courses if course), None)


def _lasted(values: Mapping[str, Float], end: float | None) -> dict[str, float]:
    if end is None:
        return {}
    return {name: float((values[name] >= end * (1 - 1e-6)).mean()) for name in DURATIONS if name in values}


def _transfer(training: Training) -> dict[str, Estimate]:
    """Resolutions at which every seed was judged, the coarsest first."""
    found = {}
    for size in sorted(training.units[0].get("transfer") or {}, key=_points):
        judged = [unit["transfer"].get(size, {}).get(DECISIVE) for unit in training.units]
        if None not in judged:
            found[size] = mean_error(np.array(judged, dtype=np.float64))
    return found


def _points(size: str) -> int:
    return math.prod(int(n) for n in size.split("x"))


def _efficiency(results: Results, entry: str) -> dict[str, Any]:
    """Errors by number of training samples, of the largest budget each, and their slope."""
    trainings = {t.samples: t for t in results.trainings if t.entry == entry}
    if len(trainings) < 2:
        return {}
    sizes = [results.training_samples if count is None else count for count in trainings]
    seeds = set.intersection(*({unit["seed"] for unit in t.units} for t in trainings.values()))
    means = np.array(
        [
            [
                float(row.mean())
                for unit, row in zip(t.units, t.values(), strict=True)
                if unit["seed"] in seeds
            ]
            for t in trainings.values()
        ]
    ).T
    known = [size for size in sizes if size is not None]
    able = means.size and len(known) == len(sizes) and len(set(known)) > 1 and (means > 0).all()
    return {
        "efficiency": {count: mean_error(t.values()) for count, t in trainings.items()},
        "slope": power_law(known, means) if able else None,
    }


def _compared(lines: Sequence[Line], trainings: Sequence[Training]) -> list[Line]:
    """With p-values and places; as every pair counts in Holm's adjustment, one may look for the best."""
    able = [i for i, line in enumerate(lines) if line.finite]
    judged = {tuple(unit.get("indices") or ()) for t in trainings for unit in t.units}
    if len(able) < 2 or len(judged) != 1:
        return list(lines)
    best = min(able, key=lambda i: lines[i].error.value)
    p = dict(zip(able, significance([trainings[i].values() for i in able])[able.index(best)], strict=True))
    del p[best]
    result = list(lines)
    for i, value in p.items():
        place: Place = "" if math.isnan(value) else "behind" if value < LEVEL else "tied"
        result[i] = replace(lines[i], p=float(value), place=place)
    places = {result[i].place for i in p}
    first: Place = "tied" if "tied" in places else "best" if places == {"behind"} else ""
    complete = lines[best].failed == 0
    result[best] = replace(lines[best], place=first if complete or first == "tied" else "")
    return result


def notable(lines: Iterable[Line]) -> list[Line]:
    """Without the classical lines that are neither the cheapest as good as the best entry nor the most exact.

    Solvers are run at many settings; those at equal error are what an entry has to beat.
    """
    listed = list(lines)
    goal = min(
        (line.error.value for line in listed if line.kind == "entry" and line.finite), default=math.nan
    )
    solvers = [line for line in listed if line.kind == "classical" and line.finite]
    kept = {id(min(solvers, key=lambda line: line.error.value))} if solvers else set()
    equal = [line for line in solvers if line.error.value <= goal and line.costs["seconds_per_sample"]]
    if equal:
        kept.add(id(min(equal, key=lambda line: line.costs["seconds_per_sample"] or 0.0)))
    return [line for line in listed if line.kind != "classical" or id(line) in kept]
