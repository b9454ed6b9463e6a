"""Residual-based adaptive refinement: the points of a fresh pool with the largest residuals are added."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.samplers.pool import check_growth, grown
from sciml.pinns.samplers.sampler import Sampler, Site, State, check_every
from sciml.streams import Stream


@describable
@dataclass(frozen=True)
class RAR(Sampler):
    """Points that stay; at each draw those of a fresh uniform pool with the largest residuals are added.

    It begins with as many points as are wanted, uniform, or with those of the sampler before it.  RAR-G, the
    name that later papers give it, is the same with ``enough = 0``.

    Parameters
    ----------
    every : int
        Steps between draws.
    added : float
        Points that are added at a draw, as a share of those at the beginning; at least one.
    limit : float
        As many times the points of the beginning are the most.
    pool : int
        Points of the pool, in the same measure.
    enough : float, not negative
        Nothing is added while the mean size of the residual on the pool is below it.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    Candidates are never the points of the training: among those there is nothing to discover.  Neighbors of
    one peak are all chosen, so points cluster; `RARD` spreads them.  A number of rows that changes can seldom
    be cut into equal parts by ``Trainer(accumulate=...)``.

    Source: Lu, Meng, Mao and Karniadakis, DeepXDE, SIAM Review 63 (2021), procedure 2; defaults are those of
    Wu, Zhu, Tan, Kartha and Lu, Comput. Methods Appl. Mech. Eng. 403 (2023), algorithm 1: 1000 points, 10
    more at each draw, from 100 000.

    Examples
    --------
    >>> from sciml.pinns import Residual, problems
    >>> loss = Residual(problems.Burgers(), points=1000, sampler=RAR(every=500))
    """

    every: int = 1000
    added: float = 0.01
    limit: float = 2.0
    pool: int = 100
    enough: float = 0.0

    def __post_init__(self) -> None:
        check_every("RAR", self.every)
        check_growth("RAR", self)
        if self.enough < 0:
            raise ConfigError(f"RAR: enough must not be negative, got {self.enough}.")

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        return grown(state, site, stream.generator(step), self, self._largest)

    def _largest(self, size: Tensor, count: int, generator: Generator) -> Tensor:
        if size.mean() < self.enough:
            return torch.empty(0, dtype=torch.int64)
        return torch.topk(size, count).indices
