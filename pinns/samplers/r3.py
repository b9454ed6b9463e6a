"""Retain, resample, release: points stay where the residual is above its mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.pinns.domain import Source
from sciml.pinns.samplers.sampler import Sampler, Site, State, check_every, uniform
from sciml.streams import Stream


@describable
@dataclass(frozen=True)
class R3(Sampler):
    """Points with more than the mean residual stay, all others are replaced by new uniform ones.

    The population keeps its size, and points gather where a network fails for long, as at the front of what
    it has not learned yet.

    Parameters
    ----------
    every : int
        Steps between draws.

    Notes
    -----
    The threshold is the mean, not the median: a heavy tail retains few points, as intended.  Source: Daw, Bu,
    Wang, Perdikaris and Karpatne, Mitigating propagation failures in physics-informed neural networks using
    retain-resample-release sampling, ICML 2023, algorithm 1.
    """

    every: int = 1

    def __post_init__(self) -> None:
        check_every("R3", self.every)

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        source = uniform(stream.generator(step))
        if state is None:
            return {"rows": site.rows(source, site.count)}
        return {"rows": renewed(state["rows"], site.score(state["rows"]).cpu(), site, source)}


def renewed(rows: Tensor, fitness: Tensor, site: Site, source: Source) -> Tensor:
    """The rows fitter than the mean, in their order, and new ones in the place of all others."""
    retained = rows[fitness > fitness.mean()]
    return torch.cat([retained, site.rows(source, len(rows) - len(retained))])
