"""The protocol of samplers: pure functions from the last points to the next, so that runs resume exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.pinns.domain import Source
from sciml.streams import Stream

State = Mapping[str, Tensor]
"""``rows``, the lines that are looked at; ``weight`` (n,) where they count differently; what else is kept."""


@dataclass(frozen=True)
class Site:
    """One place to look at: the interior for an equation, or where a condition holds.

    Attributes
    ----------
    rows : callable
        A source of points of the unit cube and a count to rows (count, columns), points first.
    count : int
        Rows to look at.
    score : callable
        Rows to the size of the residual there, (n,), without gradients.
    time : callable, optional
        Rows to their time, 0 at the start and 1 at the end, (n,); None where there is no time, or one only.
    """

    rows: Callable[[Source, int], Tensor]
    count: int
    score: Callable[[Tensor], Tensor]
    time: Callable[[Tensor], Tensor] | None = None


class Sampler(ABC):
    """Chooses rows every ``every`` steps, and keeps them in between.

    A sampler is a value: what it knows from earlier steps is in the state that it returned then, and what it
    draws is a function of the stream and the step.  It chooses, keeps and drops whole rows.
    """

    every: int

    def draw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        """The rows of this step."""
        if state is not None and step % self.every:
            return state
        return self.redraw(state, site, step, stream)

    @abstractmethod
    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        """New rows; ``state`` is None at the first step."""


def uniform(generator: torch.Generator) -> Source:
    """A source of independent uniform points."""

    def points(n: int, k: int) -> Tensor:
        return torch.rand(n, k, generator=generator, dtype=torch.float64)

    return points


def numbered(seed: int, points: Callable[[int, int, int], Tensor]) -> Source:
    """A source from ``points(seed, n, k)`` whose every call has a seed of its own.

    A domain that rejects points asks again, and must get others.
    """
    calls = count()
    return lambda n, k: points(seed + next(calls), n, k)


def check_every(who: str, every: int) -> None:
    """Raise for a period below 1."""
    if every < 1:
        raise ConfigError(f"{who}: every must be at least 1 step, got {every}.")
