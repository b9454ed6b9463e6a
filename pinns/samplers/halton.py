"""Points of low discrepancy: Halton's sequence, scrambled anew at every draw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.pinns.samplers.sampler import Sampler, Site, State, check_every, numbered
from sciml.streams import Stream


@describable
@dataclass(frozen=True)
class Halton(Sampler):
    """Halton's sequence: along axis k the digits of 0, 1, 2, ... to the k-th prime, mirrored at the point.

    Its digits are permuted at random, anew at every draw, since the plain sequence would give the same points
    again and its axes of large primes run in parallel.  Any count of points is as good as any other, where
    `Sobol` wants powers of two.

    Notes
    -----
    Source: Owen, A randomized Halton algorithm in R, arXiv:1706.02808 (2017), as in SciPy.
    """

    every: int = 1

    def __post_init__(self) -> None:
        check_every("Halton", self.every)

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        return {"rows": site.rows(numbered(stream.seed(step), _points), site.count)}


def _points(seed: int, n: int, k: int) -> Tensor:
    from scipy.stats import qmc

    # `rng` since SciPy 1.15, which takes the older name too.
    return torch.from_numpy(qmc.Halton(k, seed=seed).random(n))
