"""How many steps a budget pays for: measured once, before training, on the very training.

A training of N steps costs ``c + N t + V v`` seconds: t is a step, v a validation and the checkpoint after
it, V their number (`VALIDATIONS`, but fewer where they would take more than a tenth of the budget), and c
what the first step and the first validation take beyond, for reading data and warming up. All are measured in
a child process like that of a unit, with the same threads, alone. A first batch of steps gives a first guess
of N; then, of a training of that length, a few steps with validation and checkpoint are timed, and steps in
the middle of each of `PIECES` equal parts, because a curriculum or a second optimizer makes later steps cost
more. The N that spends the budget is stored as a row, and every later call reads it. How well the budget is
met depends on how steady the machine is.
"""

from __future__ import annotations

import platform
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sciml.comparison.budget import Budget
from sciml.comparison.contest import Plan
from sciml.comparison.flops import flops_per_step
from sciml.comparison.isolation import Tell
from sciml.comparison.unit import Unit
from sciml.cores import available_cores
from sciml.errors import ConfigError
from sciml.training import Step, Training

PIECES = 4
# The share of the budget that timing may take, and its bounds in seconds: two seconds average over what else
# a machine does, a few more suffice for any training.
SHARE, LEAST, MOST = 0.1, 2.0, 12.0
# Never more than this share of a short budget.
SHORT = 0.3
# Validations of a training, and the share of a budget that they may take: they are for people to watch.
VALIDATIONS, WATCHING = 20, 0.1
# The length of the training whose first steps give the first guess, and the least length guessed: schedules
# must not run out while steps are timed.
PROBE, SHORTEST = 1_000_000, 100


@dataclass(frozen=True)
class Cost:
    """What a training costs.

    Attributes
    ----------
    step : float
        Seconds of one optimizer step, the mean over the training.
    validation : float
        Seconds of one validation with its checkpoint.
    start : float
        Seconds that the first step and the first validation take beyond.
    every : int or None
        Steps between validations, where the training fixes them.
    """

    step: float
    validation: float
    start: float
    every: int | None = None

    def seconds(self, steps: int, every: int) -> float:
        """Of a training with a validation after each ``every`` steps and after the last one."""
        return self.start + steps * self.step + -(-steps // every) * self.validation

    def course(self, seconds: float) -> tuple[int, int]:
        """The steps, at least one, of the training that lasts so long, and the steps between validations.

        Examples
        --------
        >>> Cost(step=0.1, validation=1.0, start=0.5, every=50).course(40.5)
        (330, 50)
        >>> Cost(step=0.1, validation=1.0, start=0.5).course(40.5)  # four validations are a tenth
        (360, 90)
        """
        if self.every is None:
            affordable = WATCHING * seconds / self.validation if self.validation else VALIDATIONS
            count = int(min(VALIDATIONS, max(1, affordable)))
            steps = max(1, int((seconds - self.start - count * self.validation) / self.step + 1e-9))
            return steps, -(-steps // count)
        low, high = 1, 2
        while self.seconds(high, self.every) <= seconds:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.seconds(middle, self.every) <= seconds else (low, middle)
        return low, self.every


def calibrate(tell: Tell, unit: Unit, budget: Budget, device: str, folder: Path) -> dict[str, Any]:
    """What turns the budget into steps for ``unit``, whose own steps do not count; run in a child process.

    Returns the columns of a "calibration" row; ``folder`` is for checkpoints, which do not stay.

    Raises
    ------
    ConfigError
        If the FLOPs of the entry cannot be counted, and the budget is in FLOPs.
    """
    row: dict[str, Any] = {"threads": torch.get_num_threads(), "device": device}
    if budget.unit == "flops":
        flops = flops_per_step(replace(unit, steps=PROBE).plan(device))
        if not flops:
            raise ConfigError(f"the FLOPs of {unit.entry.name} cannot be counted; give seconds or steps.")
        return {**row, "steps": max(1, int(budget.amount / flops)), "flops_per_step": flops}
    cost, flops = measure(unit, budget.amount, device, folder)
    steps, every = cost.course(budget.amount)
    return {
        **row,
        "steps": steps,
        "every": every,
        "seconds_per_step": cost.step,
        "seconds_per_validation": cost.validation,
        "seconds_predicted": cost.seconds(steps, every),
        "flops_per_step": flops,
    }


def machine() -> dict[str, Any]:
    """Where a calibration holds."""
    return {
        "host": socket.gethostname(),
        "processor": platform.processor() or platform.machine(),
        "cores": available_cores(),
        "system": platform.platform(),
    }


def measure(unit: Unit, seconds: float, device: str, folder: Path) -> tuple[Cost, float | None]:
    """The cost of a training that lasts about ``seconds``, see the head of this file, and FLOPs of a step."""
    quota = min(MOST, max(LEAST, SHARE * seconds), SHORT * seconds) / (PIECES + 3)
    # Twice as long as the others: a process is slow in its first second.
    first, *steady = _plain(replace(unit, steps=PROBE).plan(device), [0], 2 * quota)[0]
    guess = max(SHORTEST, int(seconds / _typical(steady)))
    plan = replace(unit, steps=guess).plan(device)
    places = [(2 * i + 1) * guess // (2 * PIECES) for i in range(PIECES)]
    # Validations first: what they take and free of memory changes how fast later steps are.
    judged = _judged(plan, folder, quota)
    parts = [_typical(part[1:]) for part in _plain(plan, places, quota)]
    extra = [max(0.0, spent - parts[0]) for spent in judged]
    later = statistics.mean(extra[1:]) if extra else 0.0
    cost = Cost(
        step=statistics.mean(parts),
        validation=later,
        start=max(0.0, first - _typical(steady)) + (max(0.0, extra[0] - later) if extra else 0.0),
        every=plan.every,
    )
    return cost, flops_per_step(plan)


def _plain(plan: Plan, places: list[int], quota: float) -> list[list[float]]:
    """Seconds of steps that begin at each of ``places``, without validation; at least three at each."""
    training = plan.trainer.iterate(plan.model, plan.objective)
    found = []
    with closing(iter(training)) as steps:
        for place in places:
            training.step = place
            found.append(list(_until(training, steps, quota, least=3)))
    return found


def _judged(plan: Plan, folder: Path, quota: float) -> list[float]:
    """Seconds of steps with validation and checkpoint, at least two; none where nothing is validated."""
    if plan.validation is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".calibration-", dir=folder) as place:
        training = plan.trainer.iterate(
            plan.model, plan.objective, validation=plan.validation, every=1, output=place
        )
        with closing(iter(training)) as steps:
            first = next(steps).row["seconds"]  # by its own clock: a look at all data comes before
            return [first, *_until(training, steps, quota, least=1)]


def _until(training: Training, steps: Iterator[Step], quota: float, *, least: int) -> Iterator[float]:
    """Seconds of the next steps, enough to fill the quota; at the end of the training the last ones again."""
    total, count, place = 0.0, 0, training.step
    while total < quota or count < least:
        if training.step + 1 >= training.trainer.steps:
            training.step = place
        started = time.perf_counter()
        next(steps)
        spent = time.perf_counter() - started
        total, count = total + spent, count + 1
        yield spent


def _typical(seconds: list[float]) -> float:
    """The mean without the slowest tenth, in which the machine did something else, and the fastest one."""
    cut = len(seconds) // 10
    return statistics.mean(sorted(seconds)[cut : len(seconds) - cut])
