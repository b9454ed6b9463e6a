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

_PROCESSOR = torch.device("cpu")

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
    slopes : callable, optional
        Rows to their residuals (n, k), as many for each row as there are, times the roots of what they weigh
        in the loss, and to the derivatives (n, k, P) of those by everything that is trained.
    given : bool
        Whether the rows are data, ``count`` of them and no others.
    device, dtype
        Of the network that will be evaluated there.
    """

    rows: Callable[[Source, int], Tensor]
    count: int
    score: Callable[[Tensor], Tensor]
    time: Callable[[Tensor], Tensor] | None = None
    slopes: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
    given: bool = False
    device: torch.device = _PROCESSOR
    dtype: torch.dtype = torch.float64


class Sampler(ABC):
    """Chooses rows every ``every`` steps, and keeps them in between.

    A sampler is a value: what it knows from earlier steps is in the state that it returned then, and what it
    draws is a function of the stream and the step.  It chooses, keeps and drops whole rows, and their number
    may change.
    """

    every: int

    def draw_all(
        self,
        states: Mapping[str, State],
        sites: Mapping[str, Site],
        step: int,
        stream: Callable[[str], Stream],
    ) -> dict[str, State]:
        """The rows of all sites at this step: by default of each on its own, and all that are data.

        ``states`` lacks sites that have none yet; ``stream`` maps the name of a site to its stream.
        """
        return {
            name: (states.get(name) or {"rows": all_given(site)})
            if site.given
            else self.draw(states.get(name), site, step, stream(name))
            for name, site in sites.items()
        }

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


def all_given(site: Site) -> Tensor:
    """The rows of a site whose rows are data."""

    def nothing(n: int, k: int) -> Tensor:
        raise AssertionError("rows of data are not drawn")

    return site.rows(nothing, site.count)


def check_every(who: str, every: int) -> None:
    """Raise for a period below 1."""
    if every < 1:
        raise ConfigError(f"{who}: every must be at least 1 step, got {every}.")
