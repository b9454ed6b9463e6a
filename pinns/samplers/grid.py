"""A regular grid of points that never change: the classical, weak baseline."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.samplers.sampler import Sampler, Site, State
from sciml.streams import Stream


@describable
@dataclass(frozen=True)
class GridPoints(Sampler):
    """The centers of the cells of a regular grid of the unit cube, the same at every step.

    As many per axis as the wanted count has room for; boundaries are shared out between their faces.
    """

    every: int = 1

    def draw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        return state if state is not None else self.redraw(state, site, step, stream)

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        return {"rows": site.rows(_centers, site.count)}


def _centers(n: int, k: int) -> Tensor:
    size = int(n ** (1 / k) + 1e-9)
    if size < 2:
        raise ConfigError(
            f"GridPoints: {n} points make no grid of {k} axes; take {2**k} at least, or Sobol points."
        )
    axis = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    return torch.cartesian_prod(*[axis] * k).reshape(-1, k)
