"""The ladder of a classical solver: coarser runs of the one that made the data, judged and timed."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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

_HALVINGS = 8  # of the steps at one resolution, at most
_GAIN = 0.9  # half the steps that leave more of the error than this are not worth their time
_LEAST, _MOST = 6, 21  # repeats of a timed call
_SECONDS = 0.5  # that the repeats of a call are to take together
_SLOW = 0.25  # seconds of one solve above which a batch saves nothing


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
    relative L2 error by less than a tenth.  Settings that blow up give no row.

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
    done = False
    for resolution in reversed(generator.resolutions):
        native = resolution == generator.resolutions[0]
        if done and not native:
            continue
        for row in _rows(generator, resolution, problems, measure, enough):
            yield replace(row, settings={**row.settings, "native": native, "floor": problems.floor})
            done = done or float(np.mean(row.metrics["relative_l2"])) <= enough
            if (row.seconds_per_sample or 0.0) > cap:
                return


def _rows(
    generator: Generator, resolution: int, problems: Problems, measure: Measure, enough: float
) -> Iterator[Reference]:
    """At one resolution, with shorter and shorter steps as long as that helps."""
    error, last = math.inf, None
    for halving in range(_HALVINGS):
        step = 0.5**halving
        solver = generator.coarser(resolution, step, problems.blocks[0].known)
        if solver is None or solver == last:
            return
        last = solver
        solved = _solved_by(generator, resolution, step)
        try:
            metrics = _judged(solved, problems, measure)
        except ShapeError:  # the data lie on a coarser grid than this solver's
            return
        found = float(np.mean(metrics["relative_l2"]))
        if not math.isfinite(found):
            continue
        seconds, told = _timed(solved, problems)
        settings = {"resolution": resolution, "step": step, **told}
        yield Reference(solver.name, "classical", metrics, seconds, settings)
        if found > _GAIN * error or found <= enough:
            return
        error = found


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
