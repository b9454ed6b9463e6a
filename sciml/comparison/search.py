"""Search for settings: as many trials of the same budget for every entry, judged on validation samples.

A trial is a training with seed `SEED` that nobody uses afterwards; its last validation decides, and no
test sample is looked at.  The first trial has the settings of the entry itself, so nobody loses by a search.
Trials are rows "search" of the comparison: a search that was stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sciml.calling import parameter_count
from sciml.comparison.budget import Budget
from sciml.comparison.calibration import calibrate
from sciml.comparison.contest import Contest, Contestant
from sciml.comparison.isolation import ChildError, Tell, run_isolated
from sciml.comparison.results import DECISIVE
from sciml.comparison.rows import Rows, current, identity
from sciml.comparison.spaces import Space, space_of
from sciml.comparison.unit import Unit, check_entry, safe_name
from sciml.description import describe
from sciml.errors import ConfigError, DivergedError
from sciml.files import claimed, dump_json, finite

SEED = 10_000
PAUSE = 0.5  # seconds between two looks at what another process holds


class Tunable(Contestant, Protocol):
    """A contestant whose settings can be changed."""

    def changed(self, settings: Mapping[str, Any]) -> Any:
        """With other settings."""
        ...


C = TypeVar("C", bound=Tunable)


class Sampler(Protocol):
    """Proposes settings, and may learn from what came of them."""

    def ask(self) -> dict[str, Any]:
        """The settings of the next trial."""
        ...

    def tell(self, value: float) -> None:
        """The validation error of the settings asked for last; infinite if they gave none."""
        ...


class Sobol:
    """Settings at the points of a scrambled Sobol sequence: random, and evenly spread.

    The settings of the first trials do not depend on how many there are.  Source: Owen, *Journal of
    Complexity* 14 (1998) 466, for the scrambling.

    Examples
    --------
    >>> from sciml.comparison.spaces import Log
    >>> sampler = Sobol(Space({"learning_rate": Log(1e-3, 1e-1)}), seed=0)
    >>> sorted(sampler.ask()["learning_rate"] > 1e-2 for _ in range(4))
    [False, False, True, True]
    """

    def __init__(self, space: Space, seed: int, trials: int = 0) -> None:
        from scipy.stats import qmc

        self.space = space
        self._points = qmc.Sobol(len(space.ranges), seed=seed)

    def ask(self) -> dict[str, Any]:
        """See `Sampler`."""
        return self.space.at(self._points.random(1)[0])

    def tell(self, value: float) -> None:
        """A sequence does not learn."""


class Optuna:
    """Settings from optuna's tree-structured Parzen estimator, of the extra ``sweep``.

    A quarter of the trials, at least two, are random; the others follow what was told.
    """

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ImportError(
                'search: the sampler Optuna needs optuna: pip install "sciml-pde[sweep]".'
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space = space
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(2, trials // 4))
        self._study = optuna.create_study(sampler=sampler)
        self._distributions = {name: found.distribution() for name, found in space.ranges.items()}
        self._trial: Any = None

    def ask(self) -> dict[str, Any]:
        """See `Sampler`."""
        self._trial = self._study.ask(self._distributions)
        return {name: self.space.ranges[name].value(drawn) for name, drawn in self._trial.params.items()}

    def tell(self, value: float) -> None:
        """See `Sampler`."""
        from optuna.trial import TrialState

        if math.isfinite(value):
            self._study.tell(self._trial, value)
        else:
            self._study.tell(self._trial, state=TrialState.FAIL)


@dataclass(frozen=True)
class Options:
    """How to search.

    Attributes
    ----------
    sampler : callable (space, seed, trials) -> Sampler
        `Sobol`, `Optuna`, or your own.
    seed : int
        Of the sampler.
    rungs : int
        Rounds of successive halving: each but the last has half the budget of the next one and hands on the
        better half of its trials, which are trained anew.  Source: Jamieson and Talwalkar, AISTATS 2016.
    device : str
    threads : int
        Of the child process of each trial.
    say : callable
        Takes lines about the progress.
    """

    sampler: Callable[[Space, int, int], Sampler] = Sobol
    seed: int = 0
    rungs: int = 1
    device: str = "cpu"
    threads: int = 1
    say: Callable[[str], None] = print


def search(
    contest: Contest[Any],
    entry: C,
    *,
    trials: int = 8,
    budget: str | int | Budget = "40s",
    rows: Rows,
    space: Space | None = None,
    options: Options | None = None,
) -> C:
    """The entry with the best settings that were found, its own ones included.

    Parameters
    ----------
    contest : Contest
        Prepared.
    entry : Entry, or another contestant that has ``changed``
    trials : int
        Trainings, that of the entry itself included.
    budget : str, int or Budget
        Of each trial; with several rounds, of those in the last one.  See `Budget.parse`.
    rows : Rows
        Where earlier trials are found, and new ones appended.  A trial that failed stays failed: what was
        chosen must not change once it has been trained.
    space : Space, optional
        By default `space_of` the entry.
    options : Options, optional

    Raises
    ------
    ConfigError
        For too few trials, and rows of another search for an entry of that name.
    """
    check_entry(contest, entry)
    chosen = options or Options()
    if trials < 1 or not 1 <= chosen.rungs <= 1 + math.log2(trials):
        raise ConfigError(
            f"search: needs 2^(rungs - 1) trials at least, got {trials} of them and {chosen.rungs} rungs."
        )
    found = _Search(
        contest, entry, trials, Budget.parse(budget), rows, space or space_of(entry, contest), chosen
    )
    with _held(rows.path.parent / ".sweeps" / f"search-{safe_name(contest.name + entry.name)}.claim"):
        winner = found.run()
    tuned: C = entry.changed(winner) if winner else entry
    return tuned


@dataclass(frozen=True)
class _Search:
    contest: Contest[Any]
    entry: Any
    trials: int
    budget: Budget
    rows: Rows
    space: Space
    options: Options

    def run(self) -> dict[str, Any]:
        """The settings that won; none if those of the entry did, or no trial finished."""
        options, number = self.options, self.trials
        sampler = options.sampler(self.space, options.seed, self.trials)
        listed: list[tuple[float, dict[str, Any]]] = []
        for trial in range(self.trials):
            settings = sampler.ask() if trial else {}
            value = self._tried(trial, settings, 0)
            if trial:
                sampler.tell(value)
            listed.append((value, settings))
        for rung in range(1, options.rungs):
            listed.sort(key=lambda pair: pair[0])  # stable: of equal ones the earlier
            kept = listed[: -(-len(listed) // 2)]
            listed = []
            for _, settings in kept:
                listed.append((self._tried(number, settings, rung), settings))
                number += 1
        value, settings = min(listed, key=lambda pair: pair[0])
        shown = ", ".join(f"{name} {chosen}" for name, chosen in settings.items()) or "its own settings"
        place = f"{self.entry.name} on {self.contest.name}"
        options.say(
            f"{place}: best of {self.trials} trials: {shown}"
            if value < math.inf
            else f"{place}: no trial finished"
        )
        return settings if value < math.inf else {}

    def _tried(self, trial: int, settings: dict[str, Any], rung: int) -> float:
        """The validation error of one trial; infinite where there is none."""
        budget = self._budget(rung)
        head = {
            "kind": "search",
            "benchmark": self.contest.name,
            "fingerprint": self.contest.fingerprint(),
            "entry": self.entry.name,
            "trial": trial,
            "rung": rung,
            "settings": describe(settings)["dict"],
            "budget": str(budget),
            "own": self.entry.description(),
        }
        head = json.loads(dump_json(finite(head)))
        row = self._earlier(head)
        if row is None or row["status"] == "calibrated":
            row = self._attempt(head, self.entry.changed(settings), budget, row)
            self.rows.append(row)
            self.options.say(f"{self.entry.name} on {self.contest.name}, trial {trial}: {_told(row)}")
        return validation_error(row)

    def _budget(self, rung: int) -> Budget:
        amount = self.budget.amount / 2 ** (self.options.rungs - 1 - rung)
        return replace(self.budget, amount=max(1.0, round(amount)) if self.budget.unit == "steps" else amount)

    def _earlier(self, head: dict[str, Any]) -> dict[str, Any] | None:
        """The row of that trial, which must be of the same search."""
        found = [row for row in current(self.rows.read()) if identity(row) == identity(head)]
        if not found:
            return None
        changed = [name for name, value in head.items() if found[0].get(name) != value]
        if changed:
            raise ConfigError(
                f"search: {self.rows.path} holds trial {head['trial']} of {self.entry.name!r} with other "
                f"{', '.join(changed)}. Give the entry another name, or choose another folder."
            )
        return dict(found[0])

    def _attempt(
        self, head: dict[str, Any], entry: Any, budget: Budget, calibrated: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Train in a child; the steps that the budget pays for are stored first."""
        options, steps = self.options, int(budget.amount) if budget.unit == "steps" else None
        unit = Unit(self.contest, entry, SEED, None, steps, options.threads)
        started = time.perf_counter()
        try:
            if steps is None and calibrated is None:
                place = self.rows.path.parent
                found = run_isolated(calibrate, unit, budget, options.device, place, threads=options.threads)
                calibrated = {**head, "status": "calibrated", "valid": {}, **found}
                self.rows.append(calibrated)
            if calibrated is not None:
                unit = replace(unit, steps=int(calibrated["steps"]), threads=int(calibrated["threads"]))
            found = run_isolated(run_trial, unit, options.device, threads=unit.threads)
        except ChildError as error:
            found = {"status": "failed", "message": str(error), "valid": {}}
        seconds = time.perf_counter() - started
        row = {
            "threads": unit.threads,
            "device": options.device,
            "steps": unit.steps,
            "train_seconds": seconds,
        }
        return {**head, **row, **found}


def run_trial(tell: Tell, unit: Unit, device: str) -> dict[str, Any]:
    """Train ``unit``, and look at the validation samples once, at the end; run in a child process.

    Raises
    ------
    ConfigError
        If there are none.
    """
    plan = unit.plan(device)
    if plan.validation is None:
        raise ConfigError(f"search: {unit.contest.name} has no validation samples to choose by.")
    row: dict[str, Any] = {"parameters": parameter_count(plan.model), "valid": {}, "message": ""}
    started = time.perf_counter()
    try:
        run = plan.trainer.fit(
            plan.model, plan.objective, validation=plan.validation, every=plan.trainer.steps
        )
    except DivergedError as error:
        return {**row, "status": "diverged", "message": " ".join(str(error).split())}
    seconds = time.perf_counter() - started
    return {**row, "status": "finished", "valid": run.history[-1]["validation"], "train_seconds": seconds}


def validation_error(row: Mapping[str, Any]) -> float:
    """Of a row "search": relative L2 if it was taken, else the first metric; infinite where there is none."""
    valid = row["valid"]
    value = valid.get(DECISIVE, next(iter(valid.values()), None))
    return math.inf if value is None or not math.isfinite(value) else float(value)


def _told(row: Mapping[str, Any]) -> str:
    if row["status"] == "finished":
        return f"validation error {validation_error(row):.4g}"
    return f"{row['status']}: {row['message']}"


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Wait until no other process searches the same, and keep others waiting."""
    while True:
        with claimed(path) as mine:
            if mine:
                yield
                return
        time.sleep(PAUSE)
