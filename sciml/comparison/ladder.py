"""The ladder of a classical solver: coarser runs of the one that made the data, judged and timed."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sciml.assessment import TIMED_SAMPLES
from sciml.comparison.contest import Reference
from sciml.comparison.posed import Block, Measure, Problems, distances
from sciml.errors import ShapeError

if TYPE_CHECKING:
    from sciml.datasets.generator import Generator

_USELESS = 0.5  # relative error
_HALVINGS = 8  # of the steps at one resolution, at most
_GAIN = 0.9  # half the steps that leave more of the error than this are not worth their time
_STALLED = 0.8  # a finer grid that leaves more of the error than this calls for shorter steps
_LEAST, _MOST = 6, 21  # repeats of a timed call
_SECONDS = 0.5  # that the repeats of a call are to take together
_SLOW = 1.0  # seconds of one solve above which no batch is tried


def ladder(
    generator: Generator | None,
    problems: Problems,
    *,
    measure: Measure = distances,
    enough: float = 1e-4,
    cap: float = math.inf,
) -> Iterator[Reference]:
    """The generator's own solver, from cheap to costly: coarse grids and long steps first.

    At each of `Generator.resolutions`, from the coarsest on, steps are halved until that lowers the mean
    relative L2 error by less than a tenth; where that did not help at the resolution before, and this one
    does, they stay.  Settings that blow up, or miss half of the solution, give no row.

    Every row is judged on all problems with the same ``measure`` as the contestants.  Its seconds are those
    of one solve with everything that belongs to it: the inputs to the solver's grid, the solve, the result to
    the test grid.  They are medians of 6 to 21 calls, for one problem alone and for a batch of 16, of which
    the better counts.

    Parameters
    ----------
    generator : Generator or None
        That made the data; None, or one without `Generator.coarser`, gives no rows.
    problems : Problems
    measure : callable
        (prediction, truth, place) to metrics per problem; see `Problems`.
    enough : float
        Relative L2 error below which no finer grid is tried, but for the one that made the data.
    cap : float
        Seconds of one solve above which nothing more is tried.

    Yields
    ------
    Reference
        ``settings``: ``resolution``; ``step``, in units of the longest; ``batch``; ``threads``; ``repeats``;
        ``latency``, the seconds of one problem alone; ``low`` and ``high``, the 95 % interval of the median
        seconds; ``native``, whether it has the resolution of the solver that made the data; ``floor``, the
        discretization error of the data.

    Examples
    --------
    >>> import tempfile
    >>> from sciml.datasets import Darcy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = Darcy(resolution=16).make(folder + "/darcy.h5", train=1, valid=0, test=2, workers=1)
    ...     rows = list(ladder(Darcy(resolution=16), Problems.maps(data.test, ["u"])))
    >>> [row.settings["resolution"] for row in rows]
    [4, 6, 8, 12, 16]
    """
    if generator is None:
        return
    best, shorter = math.inf, True
    for resolution in reversed(generator.resolutions):
        native = resolution == generator.resolutions[0]
        if best <= enough and not native:
            continue
        error, last = math.inf, None
        for halving in range(_HALVINGS):
            step = 0.5**halving
            solver = generator.coarser(resolution, step, problems.blocks[0].known)
            if solver is None or solver == last:
                break
            last = solver
            solved = _solved_by(generator, resolution, step)
            try:
                metrics = _judged(solved, problems, measure)
            except ShapeError:  # the data lie on a coarser grid than this solver's
                break
            found = float(np.mean(metrics["relative_l2"]))
            if not math.isfinite(found):
                continue
            if found > _USELESS:
                break
            seconds, told = _timed(solved, problems)
            settings = {"resolution": resolution, "step": step, **told, "native": native}
            settings["floor"] = problems.floor
            yield Reference(solver.name, "classical", metrics, seconds, settings)
            if seconds > cap:
                return
            gained = found <= _GAIN * error
            shorter = gained if halving else shorter
            error = min(error, found)
            if not gained or found <= enough or not (shorter or found > _STALLED * best):
                break
        best = min(best, error)


def _solved_by(generator: Generator, resolution: int, step: float) -> Callable[[Block], Tensor]:
    def solved(block: Block) -> Tensor:
        solver = generator.coarser(resolution, step, block.known)
        assert solver is not None
        return block.solved(solver)

    return solved


def _judged(
    solved: Callable[[Block], Tensor], problems: Problems, measure: Measure
) -> dict[str, list[float]]:
    """Every metric, one value per problem."""
    found: dict[str, list[float]] = {}
    for block in problems.batches(TIMED_SAMPLES):
        for name, values in measure(solved(block), block.truth, block.place).items():
            found.setdefault(name, []).extend(values.tolist())
    return found


def _timed(solved: Callable[[Block], Tensor], problems: Problems) -> tuple[float, dict[str, Any]]:
    """Seconds of one solve, alone or in a batch, whichever is better, and how they were taken."""
    alone = _repeats(solved, list(problems.batches(1))[:_MOST])
    best, batch = alone, 1
    block = next(problems.batches(TIMED_SAMPLES))
    if len(block) > 1 and statistics.median(alone) < _SLOW:
        together = [seconds / len(block) for seconds in _repeats(solved, [block])]
        if statistics.median(together) < statistics.median(alone):
            best, batch = together, len(block)
    low, high = median_interval(best)
    return statistics.median(best), {
        "low": low,
        "high": high,
        "latency": statistics.median(alone),
        "batch": batch,
        "threads": torch.get_num_threads(),
        "repeats": len(best),
    }


def _repeats(solved: Callable[[Block], Tensor], blocks: Sequence[Block]) -> list[float]:
    """Seconds of one call after another, on one block after the other; the first is not counted."""
    found: list[float] = []
    while len(found) <= _LEAST or (len(found) <= _MOST and sum(found) < _SECONDS):
        block = blocks[len(found) % len(blocks)]
        start = time.perf_counter()
        solved(block)
        found.append(time.perf_counter() - start)
    return found[1:]


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 percent confidence interval of the median by order statistics; the range of few values.

    Source: Conover, *Practical Nonparametric Statistics* (1999), section 3.2.

    Examples
    --------
    >>> median_interval([3.0, 1.0, 2.0]), median_interval(list(range(21)))
    ((1.0, 3.0), (5, 15))
    """
    from scipy.stats import binom

    ordered = sorted(values)
    skipped = max(0, int(binom.ppf(0.025, len(ordered), 0.5)) - 1)
    return ordered[skipped], ordered[-1 - skipped]
