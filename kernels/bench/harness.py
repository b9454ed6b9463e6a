"""Contestants in turns: seconds, memory, and whether they compute the same."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from math import ceil
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

# A sample shorter than this repeats the pass: the clock and a stray interrupt cost some microseconds.
SHORTEST_SAMPLE = 2e-3

Pass = Callable[[], object]
Stopwatch = Callable[[Pass, int], float]


class Missing(Exception):
    """A contestant cannot take part; the message says why."""


@dataclass(frozen=True)
class Prepared:
    """A contestant with its tensors in place.

    Parameters
    ----------
    run : callable
        One pass, which leaves nothing behind that the next one would have to free.
    values : callable, optional
        The tensors that a pass computes, to compare with those of the first contestant; None if its function
        is another one by design.
    note : str
        What the table adds to the name.
    figures : mapping
        Numbers that go beside the measured ones.
    """

    run: Pass
    values: Callable[[], tuple[Tensor, ...]] | None = None
    note: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contestant:
    """A name and what builds it; `prepare` raises `Missing` where a library is absent."""

    name: str
    prepare: Callable[[], Prepared]


@dataclass(frozen=True)
class Measured:
    """One contestant of one case.

    Parameters
    ----------
    name : str
    seconds : one per round
        Of one pass.
    peak_bytes : int
        The most memory that a pass holds beyond what is there before it.
    difference : float or None
        Greatest relative L2 distance of its tensors from those of the first contestant.
    figures : mapping
        Further numbers.
    """

    name: str
    seconds: tuple[float, ...]
    peak_bytes: int
    difference: float | None
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def spread(self) -> tuple[float, float, float]:
        """Lower quartile, median, upper quartile of the seconds."""
        return quartiles(self.seconds)

    def ratio(self, ours: Measured) -> tuple[float, float, float]:
        """Quartiles and median of this time over ours, round by round: what slows both drops out."""
        return quartiles([mine / other for mine, other in zip(self.seconds, ours.seconds, strict=True)])


@dataclass(frozen=True)
class Effort:
    """How long to measure, and on what.

    Parameters
    ----------
    device : torch.device
    rounds : int
        Timed samples of each contestant.
    warmup : int
        Passes before, at least 1.
    quick : bool
        Tiny cases, to see that everything runs.
    """

    device: torch.device
    rounds: int = 9
    warmup: int = 3
    quick: bool = False


def measure(contestants: Sequence[Contestant], effort: Effort) -> tuple[list[Measured], dict[str, str]]:
    """Time all contestants in turns; also the reasons of those that cannot take part.

    The first one is the measure of the others.
    """
    prepared: dict[str, Prepared] = {}
    skipped = {}
    for contestant in contestants:
        try:
            made = contestant.prepare()
        except Missing as reason:
            skipped[contestant.name] = str(reason)
        else:
            prepared[f"{contestant.name}, {made.note}" if made.note else contestant.name] = made
    entries = list(prepared.values())
    differences = compare(entries)
    seconds = interleave(
        [entry.run for entry in entries],
        rounds=effort.rounds,
        warmup=effort.warmup,
        stopwatch=stopwatch(effort.device),
    )
    memory = [peak_memory(entry.run, effort.device) for entry in entries]
    measured = [
        Measured(name, times, peak, difference, entry.figures)
        for (name, entry), times, peak, difference in zip(
            prepared.items(), seconds, memory, differences, strict=True
        )
    ]
    return measured, skipped


def interleave(
    passes: Sequence[Pass], *, rounds: int, warmup: int, stopwatch: Stopwatch
) -> list[tuple[float, ...]]:
    """Seconds of one pass, per round, of each.

    In every round each takes one sample; the order moves on by one, so that nobody always follows the same.
    """
    repeats = []
    for run in passes:
        seconds = [stopwatch(run, 1) for _ in range(max(1, warmup))][-1]
        repeats.append(max(1, ceil(SHORTEST_SAMPLE / max(seconds, 1e-9))))
    samples: list[list[float]] = [[] for _ in passes]
    for turn in range(rounds):
        for place in range(len(passes)):
            index = (turn + place) % len(passes)
            samples[index].append(stopwatch(passes[index], repeats[index]))
    return [tuple(of_one) for of_one in samples]


def stopwatch(device: torch.device) -> Stopwatch:
    """Mean seconds of a pass over some repeats, on the clock of the device."""
    return _seconds_on_cuda if device.type == "cuda" else seconds_on_cpu


def seconds_on_cpu(run: Pass, repeats: int) -> float:
    """Mean seconds of a pass on the clock of the process."""
    start = perf_counter()
    for _ in range(repeats):
        run()
    return (perf_counter() - start) / repeats


def _seconds_on_cuda(run: Pass, repeats: int) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        run()
    end.record()
    torch.cuda.synchronize()
    milliseconds: float = start.elapsed_time(end)
    return milliseconds / 1e3 / repeats


def peak_memory(run: Pass, device: torch.device) -> int:
    """The most bytes that a pass holds in tensors beyond those that exist before it.

    On CPUs every allocation of torch counts, in the order of the profiler; what a library allocates for
    itself during a call (the scratch space of an FFT or a matrix product) is not seen.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with (
        muted_stderr(),
        torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
        ) as profiler,
    ):
        run()
    return _highest(profiler)


def _highest(profiler: Any) -> int:
    """The highest running total of the signed allocations."""
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest


@contextmanager
def muted_stderr() -> Iterator[None]:
    """The profiler's library writes two lines there at every start, past Python."""
    kept = os.dup(2)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def compare(entries: Sequence[Prepared]) -> list[float | None]:
    """Greatest relative L2 distance of the tensors of each from those of the first."""
    first = entries[0].values if entries else None
    wanted = first() if first is not None else ()
    return [
        max(relative(value, other) for value, other in zip(entry.values(), wanted, strict=True))
        if entry.values is not None and wanted
        else None
        for entry in entries
    ]


def relative(value: Tensor, wanted: Tensor) -> float:
    """``|value - wanted| / |wanted|`` in float64."""
    value, wanted = value.detach().double(), wanted.detach().double()
    return float((value - wanted).norm() / wanted.norm())


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile.

    Examples
    --------
    >>> quartiles([4.0, 1.0, 2.0, 3.0, 5.0])
    (2.0, 3.0, 4.0)
    """
    if len(values) == 1:
        return (values[0],) * 3
    lower, _, upper = quantiles(values, n=4, method="inclusive")
    return lower, median(values), upper


def find(place: str, hint: str) -> Any:
    """The object at ``"package.module:Name"``, imported when a bench runs.

    Contestants lie above the kernels (a whole operator) or in other people's libraries. Their names are data
    of a bench, resolved here, so that no module of the kernels imports upward or needs more than torch.

    Raises
    ------
    Missing
        With `hint` if an import fails.
    """
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise Missing(f"{module} cannot be imported ({error}); {hint}") from error
