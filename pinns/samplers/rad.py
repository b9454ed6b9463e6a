"""Residual-based adaptive distribution: points drawn where the residual is large."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.samplers.pool import density, without_replacement
from sciml.pinns.samplers.sampler import Sampler, Site, State, check_every, uniform
from sciml.streams import Stream


@describable
@dataclass(frozen=True)
class RAD(Sampler):
    r"""All points drawn anew from a uniform pool with density ``p ~ r^power / mean(r^power) + offset``.

    r is the size of the residual on the pool.  The draw is without replacement.

    Parameters
    ----------
    every : int
        Steps between draws.
    power : float
        0 is uniform.
    offset : float, not negative
        A large one is uniform, 0 leaves no points where the residual is zero.
    pool : int
        Points of the pool for each that is drawn.  With few of them, the drawn ones follow p no longer.
    importance : bool
        Weigh the points with 1 / p, so that the loss stays an estimate of the mean square over the domain.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    Source: Wu, Zhu, Tan, Kartha and Lu, A comprehensive study of non-adaptive and residual-based adaptive
    sampling for physics-informed neural networks, Comput. Methods Appl. Mech. Eng. 403 (2023), equation 2;
    defaults are theirs.
    """

    every: int = 500
    power: float = 1.0
    offset: float = 1.0
    pool: int = 50
    importance: bool = False

    def __post_init__(self) -> None:
        check_every("RAD", self.every)
        if self.power < 0 or self.offset < 0 or self.pool < 2:
            raise ConfigError(f"RAD: needs power >= 0, offset >= 0 and a pool of at least 2, got {self}.")

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        generator = stream.generator(step)
        if state is None:  # nothing has been learned yet
            return self._weighted(site.rows(uniform(generator), site.count), None)
        pool = site.rows(uniform(generator), self.pool * site.count)
        p = density(site.score(pool), self.power, self.offset)
        chosen = without_replacement(p, site.count, generator)
        return self._weighted(pool[chosen], p[chosen])

    def _weighted(self, rows: Tensor, p: Tensor | None) -> State:
        if not self.importance:
            return {"rows": rows}
        weight = torch.ones(len(rows), dtype=torch.float64) if p is None else 1 / p
        return {"rows": rows, "weight": weight}
