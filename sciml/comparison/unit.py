"""One unit of a comparison: one training of one entry with one seed, judged; run in a child process."""

from __future__ import annotations

import re
import time
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sciml.calling import parameter_count
from sciml.comparison.contest import Contest, Contestant, Plan
from sciml.comparison.examples import NAME as EXAMPLES
from sciml.comparison.examples import write_examples
from sciml.comparison.flops import flops_per_step, step_memory
from sciml.comparison.isolation import Tell
from sciml.comparison.results import read_by_sample
from sciml.errors import ConfigError, DivergedError, RunLockedError
from sciml.run import Run, versions
from sciml.training import Training

HISTORY = 60
"""Most rows of a training's history that a unit's row keeps."""
SPEAK = 1.0
"""Seconds between two words about progress."""


@dataclass(frozen=True)
class Unit:
    """What is trained: its identity in the file of rows, and the objects to do it.

    ``every`` counts the steps between validations, if not those of the plan.
    """

    contest: Contest[Any]
    entry: Contestant
    seed: int
    samples: int | None
    steps: int | None
    threads: int = 1
    every: int | None = None

    def plan(self, device: str) -> Plan:
        """The training; see `Contest.plan`."""
        assert self.steps is not None
        found = self.contest.plan(
            self.entry, seed=self.seed, steps=self.steps, samples=self.samples, device=device
        )
        return found if self.every is None else replace(found, every=self.every)

    @property
    def identity(self) -> dict[str, Any]:
        """The first columns of its row."""
        return {
            "kind": "unit",
            "benchmark": self.contest.name,
            "fingerprint": self.contest.fingerprint(),
            "entry": self.entry.name,
            "seed": self.seed,
            "samples": self.samples,
            "steps": self.steps,
        }

    @property
    def kind(self) -> tuple[str, str, int | None]:
        """What units share that differ in their seed only."""
        return self.contest.name, self.entry.name, self.samples

    @property
    def place(self) -> str:
        """Its folder inside that of the comparison."""
        counted = "" if self.samples is None else f"-n{self.samples}"
        contest = f"{safe_name(self.contest.name)}-{self.contest.fingerprint()}"
        return f"units/{contest}/{safe_name(self.entry.name)}-{self.seed}{counted}-{self.steps}steps"

    @property
    def label(self) -> str:
        """For people."""
        counted = "" if self.samples is None else f", {self.samples} samples"
        return f"{self.entry.name} on {self.contest.name}, seed {self.seed}{counted}"


def safe_name(name: str) -> str:
    """The name as a folder's.

    Examples
    --------
    >>> safe_name("models/mine.py:build")
    'models_mine.py_build'
    """
    return re.sub(r"[^A-Za-z0-9._=+-]+", "_", name)


def run_unit(tell: Tell, unit: Unit, folder: Path, device: str, fresh: bool) -> dict[str, Any]:
    """Train or go on in ``folder``, judge, write the examples; columns of the row, or that it is locked.

    An exception costs this unit alone: it is told in the row.
    """
    row = {"versions": versions(), "device": device, "threads": torch.get_num_threads()}
    loop: Training | None = None
    try:
        plan = unit.plan(device)
        row["parameters"] = parameter_count(plan.model)
        loop = plan.trainer.iterate(
            plan.model,
            plan.objective,
            validation=plan.validation,
            every=plan.every,
            output=folder,
            force=fresh,
        )
        _train(tell, loop)
        judgement = unit.contest.judge(loop.run)
        _keep_examples(unit.contest, loop.run, folder)
        ending = {"status": "finished", "message": "", **_numbers(loop.run), **_costs(unit, device)}
        ending |= asdict(judgement)
    except RunLockedError:
        return {"status": "locked"}
    except DivergedError as error:
        reached = loop.run if loop is not None else None
        ending = {"status": "diverged", "message": _text(error), **_numbers(reached)}
    except Exception as error:
        traceback.print_exc()
        reached = loop.run if loop is not None else None
        message = f"{type(error).__name__}: {_text(error)}"
        ending = {"status": "failed", "message": message, **_numbers(reached)}
    return {**row, **ending}


def _train(tell: Tell, loop: Training) -> None:
    spoken = 0.0
    for step in loop:
        now = time.perf_counter()
        if now - spoken > SPEAK or step.number == step.total:
            spoken = now
            seconds = step.row["seconds"]
            tell({"step": step.number, "total": step.total, "loss": step.loss, "seconds": seconds})


def _text(error: Exception) -> str:
    return " ".join(str(error).split())


def _keep_examples(contest: Contest[Any], run: Run, folder: Path) -> None:
    """Pictures are a gift: what goes wrong with them costs no result."""
    try:
        examples = contest.examples(run)
        if examples:
            write_examples(folder / EXAMPLES, examples, contest.grid)
    except Exception:
        traceback.print_exc()


def _numbers(run: Run | None) -> dict[str, Any]:
    """Times and history of a training, as far as it came."""
    history = [] if run is None else run.history
    seconds = 0.0 if run is None else run.seconds
    return {
        "train_seconds": seconds,
        "seconds_per_step": seconds / len(history) if history else None,
        "history": thinned(history),
    }


def _costs(unit: Unit, device: str) -> dict[str, Any]:
    """What a step takes besides time, counted on trainings that are thrown away; None where that fails."""
    found: dict[str, Any] = {"flops_per_step": None, "memory_bytes": None}
    try:
        found["flops_per_step"] = flops_per_step(unit.plan("cpu"))
        found["memory_bytes"] = step_memory(unit.plan(device))
    except Exception:
        traceback.print_exc()
    return found


def thinned(history: list[dict[str, Any]], most: int = HISTORY) -> list[dict[str, Any]]:
    """Rows with a validation, and as many of the others as there is room for, at equal distances.

    Examples
    --------
    >>> rows = [{"step": i, "loss": 1 / i, "seconds": i} for i in range(1, 101)]
    >>> [row["step"] for row in thinned(rows, most=4)]
    [1, 34, 67, 100]
    """
    judged = [i for i, row in enumerate(history) if "validation" in row]
    if len(judged) > most:
        judged = [judged[i] for i in _spread(len(judged), most)]
    plain = [i for i, row in enumerate(history) if "validation" not in row]
    room = most - len(judged)
    if len(plain) > room:
        plain = [plain[i] for i in _spread(len(plain), room)]
    kept = ("step", "seconds", "loss", "validation")
    return [{k: history[i][k] for k in kept if k in history[i]} for i in sorted([*judged, *plain])]


def _spread(count: int, most: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, most).round().astype(int)).tolist() if most > 0 else []


def run_references(tell: Tell, contest: Contest[Any]) -> None:
    """Tell the columns of each reference as it is found, thinned; run in a child process."""
    kept = read_by_sample(contest.describe())
    for reference in contest.references():
        head = {"kind": "reference", "benchmark": contest.name, "fingerprint": contest.fingerprint()}
        tell({**head, **asdict(reference.thinned(kept))})


def check_entry(contest: Contest[Any], entry: Contestant) -> None:
    """Refuse an entry of the wrong kind.

    Raises
    ------
    ConfigError
        With both kinds.
    """
    if not isinstance(entry, contest.entry_type):
        raise ConfigError(
            f"compare: {contest.name} takes {contest.entry_type.__name__}, got {entry.name!r}, a "
            f"{type(entry).__name__}."
        )
