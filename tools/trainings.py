"""What tools share that keep trainings as rows: their command line, a training by the processor's clock."""

import contextlib
import math
import platform
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch

from sciml.comparison.rows import Rows
from sciml.errors import DivergedError
from sciml.pinns import Attempt

ENDLESS = 10**9  # steps of a stage that the clock ends


def for_seconds(attempt: Attempt, seconds: float) -> tuple[float, bool]:
    """Train until the processor has worked for so long; the seconds that it has, and whether it diverged."""
    started, diverged = time.process_time(), False
    try:
        with contextlib.closing(attempt.steps(every=ENDLESS)) as steps:  # type: ignore[type-var]
            for _ in steps:
                if time.process_time() - started >= seconds:
                    break
    except DivergedError:
        diverged = True
    return time.process_time() - started, diverged


def error_of(value: float | None) -> float:
    """As a row has it, null if the training diverged."""
    return math.inf if value is None else value


def machine() -> dict[str, Any]:
    """What a row tells of where it was made."""
    return {
        "threads": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
    }


def main(
    told: str | None,
    names: Collection[str],
    run: Callable[[Rows, list[str]], None],
    table: Callable[[list[dict[str, Any]]], list[str]],
) -> None:
    """The command line ``run FOLDER [NAME ...]`` or ``table FOLDER``."""
    if len(sys.argv) < 3 or sys.argv[1] not in ("run", "table") or set(sys.argv[3:]) - set(names):
        sys.exit(f"{told}\nnames: {', '.join(names)}")
    rows = Rows(Path(sys.argv[2]))
    if sys.argv[1] == "run":
        run(rows, sys.argv[3:])
    else:
        print("\n".join(table(rows.read())))
