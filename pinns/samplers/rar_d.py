"""Residual-based adaptive refinement with a distribution: points are added where the residual is large."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.samplers.pool import check_growth, density, grown, without_replacement
from sciml.pinns.samplers.sampler import Sampler, Site, State, check_every
from sciml.streams import Stream


@describable
@dataclass(frozen=True)
class RARD(Sampler):
    """Points that stay, and at each draw more of them by the density of `RAD`.

    That is ``p ~ r^power / mean(r^power) + offset`` with r the size of the residual, on a fresh uniform pool.

    Parameters
    ----------
    every, added, limit, pool
        As for `RAR`, to which it tends for a large ``power``.
    power : float
        0 is uniform.
    offset : float, not negative
        A large one is uniform; 0 leaves parts without a residual as they are.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    Source: Wu, Zhu, Tan, Kartha and Lu, A comprehensive study of non-adaptive and residual-based adaptive
    sampling for physics-informed neural networks, Comput. Methods Appl. Mech. Eng. 403 (2023), algorithm 3;
    defaults are theirs.

    Examples
    --------
    >>> from sciml.pinns import Residual, problems
    >>> loss = Residual(problems.Burgers(), points=1000, sampler=RARD(every=500))
    """

    every: int = 1000
    added: float = 0.01
    limit: float = 2.0
    pool: int = 100
    power: float = 2.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        check_every("RARD", self.every)
        check_growth("RARD", self)
        if self.power < 0 or self.offset < 0:
            raise ConfigError(
                f"RARD: power and offset must not be negative, got {self.power}, {self.offset}."
            )

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        return grown(state, site, stream.generator(step), self, self._drawn)

    def _drawn(self, size: Tensor, count: int, generator: Generator) -> Tensor:
        return without_replacement(density(size, self.power, self.offset), count, generator)
