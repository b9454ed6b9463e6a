"""A generator and a plain loop in turns: milliseconds per sample, and whether they make the same samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciml.kernels.bench.harness import interleave, quartiles, seconds_on_cpu

Float = NDArray[np.float64]
Spread = tuple[float, float, float]


@dataclass(frozen=True)
class Race:
    """Two ways to the same samples.

    Parameters
    ----------
    caption : str
        What is made and what is timed, in whole sentences.
    plain : callable
        The sample of one seed by a plain loop.
    ours : callable
        The samples of many seeds, (len(seeds), ...).
    samples : int
        Made by either side in a round.
    """

    caption: str
    plain: Callable[[int], Float]
    ours: Callable[[Sequence[int]], Float]
    samples: int


@dataclass(frozen=True)
class Outcome:
    """Lower quartile, median and upper quartile over the rounds, milliseconds per sample.

    ``ratio`` is the time of the plain loop over ours, round by round; ``difference`` the greatest relative L2
    distance of a sample of ours from that of the plain loop.
    """

    plain: Spread
    ours: Spread
    ratio: Spread
    difference: float


def run(race: Race, *, rounds: int) -> Outcome:
    """Time both sides on one thread."""
    import torch
    from threadpoolctl import threadpool_limits

    seeds = range(race.samples)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            difference = max(
                float(np.linalg.norm(ours - plain) / np.linalg.norm(plain))
                for ours, plain in zip(race.ours(seeds), map(race.plain, seeds), strict=True)
            )
            passes = [lambda: [race.plain(seed) for seed in seeds], lambda: race.ours(seeds)]
            plain, ours = interleave(passes, rounds=rounds, warmup=1, stopwatch=seconds_on_cpu)
    finally:
        torch.set_num_threads(threads)
    scale = 1e3 / race.samples
    return Outcome(
        plain=quartiles([scale * t for t in plain]),
        ours=quartiles([scale * t for t in ours]),
        ratio=quartiles([a / b for a, b in zip(plain, ours, strict=True)]),
        difference=difference,
    )
