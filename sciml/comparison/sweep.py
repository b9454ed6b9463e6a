"""Every entry on every contest with every seed: in which order, by whom, and what is left after a stop."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch

from sciml.cli.output import duration
from sciml.comparison.budget import Budget
from sciml.comparison.calibration import calibrate, machine
from sciml.comparison.contest import Contest, Contestant
from sciml.comparison.isolation import ChildError, run_isolated, stop_children
from sciml.comparison.presence import Presence
from sciml.comparison.rows import Row, Rows, identity
from sciml.comparison.search import Options, search
from sciml.comparison.unit import Unit, check_entry, run_references, run_unit, safe_name
from sciml.errors import ConfigError
from sciml.files import claimed, finite, write_bytes_atomic
from sciml.run import differences

PAUSE = 0.5
"""Seconds between two looks at what other processes hold."""
SPEAK = 10.0
"""Seconds between two lines about a unit in progress."""
SETTLED = ("finished", "diverged")


@dataclass
class Sweep:
    """All units of a comparison, in one folder.

    A unit is one (contest, entry, seed, number of samples), trained in a child process, so that a crash costs
    a unit; its row says what happened, and a second sweep tries it again.  A sweep that was stopped at any
    instant goes on where it was: rows are whole or absent, trainings resume from their last checkpoint to
    the same bits, steps are those of the stored calibration.  Several sweeps on one folder share the units,
    each claimed by a lock that the system drops when its holder dies.

    Parameters
    ----------
    contests, entries, seeds : sequences
    budget : Budget
        Of each training.
    folder : Path
    samples : sequence of int or None
        Training samples, each with units of its own; None for all.
    jobs : int
        Units at a time, for budgets in steps or FLOPs: units whose time counts run alone.
    device : str
        A device of torch.
    trials : int
        Of a search for the settings of each entry on each contest before training, see
        `sciml.comparison.search`.
    trial_budget : Budget, optional
        Of each trial; that of a training by default.
    threads : int, optional
        Of each child; by default those of this process, divided by ``jobs``.
    say : callable
        Takes lines about the progress.

    Raises
    ------
    ConfigError
        For several jobs or processes of torchrun with a budget in seconds, entries of the wrong kind or of
        one name, and a folder that holds results of entries of the same name with other settings.
    """

    contests: Sequence[Contest[Any]]
    entries: Sequence[Contestant]
    seeds: Sequence[int]
    budget: Budget
    folder: Path
    samples: Sequence[int | None] = (None,)
    jobs: int = 1
    device: str = "cpu"
    trials: int = 0
    trial_budget: Budget | None = None
    threads: int | None = None
    say: Callable[[str], None] = print
    troubles: list[str] = field(default_factory=list, init=False)
    _spent: list[float] = field(default_factory=list, init=False)
    _unfit: dict[tuple[Any, ...], str] = field(default_factory=dict, init=False)
    _all: list[Unit] = field(default_factory=list, init=False)
    _tuned: dict[tuple[str, str], Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder).absolute()
        self.rows = Rows(self.folder, needs=("kind",))
        self.presence = Presence(self.folder)
        self.threads = self.threads or max(1, torch.get_num_threads() // max(1, self.jobs))
        self._before = 0
        self._stopped = threading.Event()
        if not self.seeds or self.jobs < 1:
            raise ConfigError(
                f"compare: needs at least one seed and one job, got {list(self.seeds)} and {self.jobs}."
            )
        together = max(self.jobs, int(os.environ.get("WORLD_SIZE", "1")))
        if self.budget.unit == "seconds" and together > 1:
            raise ConfigError(
                f"compare: {together} units at a time with the time budget {self.budget}: trainings side by "
                "side slow each other down. Let one run at a time, or give a budget in steps."
            )
        for contest, entry in product(self.contests, self.entries):
            check_entry(contest, entry)
        for what, names in (
            ("entries", [safe_name(entry.name) for entry in self.entries]),
            ("contests", [safe_name(contest.name) for contest in self.contests]),
        ):
            if not names or len(set(names)) != len(names):
                shown = ", ".join(names) or "none"
                raise ConfigError(f"compare: needs {what} of different names, got {shown}.")

    def run(self) -> list[dict[str, Any]]:
        """Do what is not done yet, and return all rows of the folder."""
        self._before = len(self.rows.read())
        with self.presence.shown():
            for contest in self.contests:
                self._prepare(contest)
            self._tune()
            self._check_settings()
            self._all = self._units()
            self._work(self._all)
            for contest in self.contests:
                self._refer(contest)
        return self.rows.read()

    # Before training.

    def _prepare(self, contest: Contest[Any]) -> None:
        spoken = time.monotonic()

        def progress(done: int, total: int) -> None:
            nonlocal spoken
            if time.monotonic() - spoken > SPEAK:
                spoken = time.monotonic()
                self.say(f"{contest.name}: {done} of {total} samples are made")

        with self._held("prepare"):
            contest.prepare(progress)
            self._once(
                {
                    "kind": "benchmark",
                    "benchmark": contest.name,
                    "fingerprint": contest.fingerprint(),
                    "description": contest.describe(),
                    "published": [dataclasses.asdict(number) for number in contest.published()],
                }
            )

    def _once(self, row: dict[str, Any]) -> None:
        if all(identity(row) != identity(old) for old in self.rows.read()):
            self.rows.append(row)

    @contextlib.contextmanager
    def _held(self, name: str) -> Iterator[None]:
        """Wait for a lock of the folder, and hold it."""
        while True:
            with self._claimed(name) as mine:
                if mine:
                    yield
                    return
            time.sleep(PAUSE)

    def _claimed(self, name: str) -> contextlib.AbstractContextManager[bool]:
        return claimed(self.presence.place / f"{safe_name(name)}.claim")

    def _tune(self) -> None:
        """The entries with the settings that a search finds, each contest for itself."""
        threads = self.threads or 1
        options = Options(device=self.device, threads=threads, say=self.say)
        budget = self.trial_budget or self.budget
        for contest, entry in product(self.contests, self.entries):
            found: Any = entry
            if self.trials:
                found = search(
                    contest, found, trials=self.trials, budget=budget, rows=self.rows, options=options
                )
            self._tuned[contest.name, entry.name] = found

    def _check_settings(self) -> None:
        own = {key: finite(entry.description()) for key, entry in self._tuned.items()}
        fingerprints = {contest.name: contest.fingerprint() for contest in self.contests}
        for row in self.rows.read():
            key = row["benchmark"], row.get("entry")
            if row["kind"] != "unit" or key not in own or row["status"] not in SETTLED:
                continue
            changed = list(differences(row["settings"], own[key]))
            if changed and row["fingerprint"] == fingerprints[row["benchmark"]]:
                shown = "; ".join(f"{name}: {old!r} there, {new!r} now" for name, old, new in changed)
                raise ConfigError(
                    f"compare: {self.folder} holds results of {row['entry']!r} with other settings ({shown})."
                    " Give the entry another name, or choose another folder."
                )

    def _units(self) -> list[Unit]:
        """By seed first: what a stopped sweep leaves is a comparison with fewer seeds."""
        kinds = [
            (samples, contest, self._tuned[contest.name, entry.name])
            for samples, contest, entry in product(self.samples, self.contests, self.entries)
        ]
        courses = [self._course(contest, entry, samples) for samples, contest, entry in kinds]
        return [
            Unit(contest, entry, seed, samples, *course)
            for seed in self.seeds
            for (samples, contest, entry), course in zip(kinds, courses, strict=True)
        ]

    def _course(
        self, contest: Contest[Any], entry: Contestant, samples: int | None
    ) -> tuple[int | None, int, int | None]:
        """Steps that the budget pays for, threads, and steps between validations: stored, or measured now.

        No steps if the entry fails at that; its units then fail for the same reason.
        """
        assert self.threads is not None
        if self.budget.unit == "steps":
            return int(self.budget.amount), self.threads, None
        unit = Unit(contest, entry, self.seeds[0], samples, None, self.threads)
        columns = {**unit.identity, "kind": "calibration", "budget": str(self.budget)}
        head = {name: value for name, value in columns.items() if name not in ("seed", "steps")}
        head["settings"] = finite(entry.description())
        with self._held("calibration"):
            stored = [row for row in self.rows.read() if identity(row) == identity(head)]
            row = next((row for row in stored if row["settings"] == head["settings"]), None)
            if row is None:
                self.say(f"calibrating {entry.name} on {contest.name}: how many steps are {self.budget}")
                try:
                    found = run_isolated(
                        calibrate, unit, self.budget, self.device, self.folder, threads=self.threads
                    )
                except ChildError as error:
                    self._unfit[unit.kind] = str(error)
                    return None, self.threads, None
                row = {**head, **found, "machine": machine()}
                self.rows.append(row)
                self.say(f"{entry.name} on {contest.name}: {self.budget} are {row['steps']} steps")
        # With other threads sums would round differently, and steps take another time.
        return int(row["steps"]), int(row["threads"]), row.get("every")

    # Training.

    def _work(self, units: Sequence[Unit]) -> None:
        """All units, those that others hold included, with ``jobs`` workers."""
        if self.jobs == 1:
            self._worker(units)
            return
        with ThreadPoolExecutor(self.jobs) as pool:
            workers = [pool.submit(self._worker, units) for _ in range(self.jobs)]
            try:
                for worker in workers:
                    worker.result()
            except BaseException:
                self._stopped.set()
                stop_children()
                raise

    def _worker(self, units: Sequence[Unit]) -> None:
        """Take what nobody holds until all is done; locks keep workers and processes apart."""
        left, told = list(units), False
        while left and not self._stopped.is_set():
            waiting = []
            for unit in left:
                if self._stopped.is_set():
                    return
                if not self._settle(unit):
                    waiting.append(unit)
            if waiting and len(waiting) == len(left):  # there is nothing to take
                if not told and self.jobs == 1:
                    self.say(f"waiting for {len(waiting)} trainings that other processes hold")
                told = True
                time.sleep(PAUSE)
            left = waiting

    def _settle(self, unit: Unit) -> bool:
        """Whether the unit is done: before, by others, or now by us."""
        place = self.folder / unit.place
        if self._done(unit):
            return True
        with self._claimed(unit.place) as mine:
            if not mine:
                return False
            if self._done(unit):  # somebody has finished it in between
                return True
            alone = self.jobs == 1 and self.presence.alone
            started = time.monotonic()
            row = self._attempt(unit, place)
            if self._stopped.is_set():
                return True
            row["alone"] = alone and self.presence.alone
            self.rows.append(row)
            if row["status"] == "finished":
                shutil.rmtree(place / "checkpoints", ignore_errors=True)
        self._tell(unit, row, time.monotonic() - started)
        return True

    def _done(self, unit: Unit) -> bool:
        """Whether there is a result, or a failure since this sweep began: that is not tried twice."""
        own = identity(unit.identity)
        rows = self.rows.read()
        return any(
            identity(row) == own and (row["status"] in SETTLED or number >= self._before)
            for number, row in enumerate(rows)
            if row["kind"] == "unit"
        )

    def _attempt(self, unit: Unit, place: Path) -> dict[str, Any]:
        """Train the unit in a child; its row whatever happens."""
        head = {**unit.identity, "settings": unit.entry.description(), "folder": unit.place}
        failed = {**head, "status": "failed", "device": self.device, "threads": unit.threads}
        if unit.steps is None:
            return {**failed, "message": self._unfit[unit.kind]}
        self.say(f"{unit.label}: {unit.steps} steps")
        fresh = self._failed_with_other_settings(unit)
        try:
            while True:
                row: dict[str, Any] = run_isolated(
                    run_unit,
                    unit,
                    place,
                    self.device,
                    fresh,
                    threads=unit.threads,
                    heard=_Voice(self.say, unit),
                )
                if row["status"] != "locked":
                    return {**head, **row}
                time.sleep(PAUSE)  # the child of a sweep that was killed is writing its last checkpoint
        except ChildError as error:
            return {**failed, "message": str(error)}

    def _failed_with_other_settings(self, unit: Unit) -> bool:
        """Whether what lies in the folder of a failed unit was left by settings that have changed since."""
        own = identity(unit.identity)
        earlier = [row for row in self.rows.read() if identity(row) == own]
        return bool(earlier) and earlier[-1]["settings"] != finite(unit.entry.description())

    def _tell(self, unit: Unit, row: Row, seconds: float) -> None:
        """A line about a finished unit, with the time that the others will take at this pace."""
        self._spent.append(seconds)
        known = {identity(r) for r in self.rows.read() if r["kind"] == "unit"}
        left = sum(identity(u.identity) not in known for u in self._all)
        ahead = left * sum(self._spent) / len(self._spent) / self.jobs
        rest = f"; {left} more, about {duration(ahead)}" if left else ""
        if row["status"] == "finished":
            values = [value for value in row["metrics"]["relative_l2"] if value is not None]
            found = f"relative L2 {sum(values) / len(values):.4g}" if values else "no finite prediction"
            self.say(f"{unit.label}: {found}, trained {duration(row['train_seconds'])}{rest}")
        else:
            self.say(f"{unit.label}: {row['status']}: {row['message']}{rest}")

    # Methods that need no training.

    def _refer(self, contest: Contest[Any]) -> None:
        """Rows of references, once; those of a stopped sweep are kept."""
        place = self.folder / "units" / safe_name(contest.name)
        mark = place / f"references-{contest.fingerprint()}.done"
        with self._held(f"references-{contest.name}"):
            if mark.exists():
                return
            self.say(f"{contest.name}: trivial predictors and classical solvers")

            def heard(told: dict[str, Any]) -> None:
                head = {name: told[name] for name in ("kind", "benchmark", "fingerprint")}
                self._once({**head, **told, "alone": self.presence.alone})
                self.say(f"{contest.name}: {told['name']}")

            try:
                run_isolated(run_references, contest, threads=self.threads or 1, heard=heard)
            except ChildError as error:
                self.troubles.append(f"the references of {contest.name} stopped: {error}")
                return
            place.mkdir(parents=True, exist_ok=True)
            write_bytes_atomic(mark, b"")


class _Voice:
    """Lines about the progress of a unit, now and then."""

    def __init__(self, say: Callable[[str], None], unit: Unit) -> None:
        self.say, self.unit, self.last = say, unit, time.monotonic()
        self.first: tuple[int, float] | None = None

    def __call__(self, told: dict[str, Any]) -> None:
        now = time.monotonic()
        step, total = told["step"], told["total"]
        if self.first is None:
            self.first = step, now
        if now - self.last < SPEAK or step == total:
            return
        self.last = now
        begun, when = self.first
        left = duration((total - step) * (now - when) / max(1, step - begun))
        self.say(f"{self.unit.label}: {step}/{total}, loss {told['loss']:.4g}, {left} left")
