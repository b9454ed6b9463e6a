"""Several samplers, one after the other, as optimizers follow each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.samplers.sampler import Sampler, Site, State
from sciml.streams import Stream


@describable
@dataclass(frozen=True)
class InTurn(Sampler):
    """Each sampler for its number of steps, the last one to the end; it takes the points of the one before.

    Parameters
    ----------
    stages : tuple of (steps, sampler)

    Raises
    ------
    ConfigError
        If there is no sampler, or one for less than a step.

    Examples
    --------
    >>> from sciml.pinns.samplers import R3, RAD
    >>> fresh_then_fixed = InTurn(((2000, R3()), (1000, RAD(every=500))))
    """

    stages: tuple[tuple[int, Sampler], ...]
    every: int = 1

    def __post_init__(self) -> None:
        if not self.stages or any(steps < 1 for steps, _ in self.stages):
            raise ConfigError(f"InTurn: needs samplers with at least one step each, got {self.stages}.")

    def draw_all(
        self,
        states: Mapping[str, State],
        sites: Mapping[str, Site],
        step: int,
        stream: Callable[[str], Stream],
    ) -> dict[str, State]:
        return self._at(step).draw_all(states, sites, step, stream)

    def draw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        return self._at(step).draw(state, site, step, stream)

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        return self._at(step).redraw(state, site, step, stream)

    def _at(self, step: int) -> Sampler:
        ends = accumulate(steps for steps, _ in self.stages)
        found = next((i for i, end in enumerate(ends) if step < end), len(self.stages) - 1)
        return self.stages[found][1]
