"""Independent uniform points."""

from __future__ import annotations

from dataclasses import dataclass

from sciml.description import describable
from sciml.pinns.samplers.sampler import Sampler, Site, State, check_every, uniform
from sciml.streams import Stream


@describable
@dataclass(frozen=True)
class Uniform(Sampler):
    """Independent uniform points, new ones every ``every`` steps.

    New ones at every step are the strong baseline for first-order optimizers; quasi-Newton methods need the
    same points for some hundred steps.
    """

    every: int = 1

    def __post_init__(self) -> None:
        check_every("Uniform", self.every)

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        return {"rows": site.rows(uniform(stream.generator(step)), site.count)}
