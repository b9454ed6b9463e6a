"""A regular grid of points that never change: the classical, weak baseline."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.domain import Source
from sciml.pinns.samplers.sampler import Sampler, Site, State
from sciml.streams import Stream

_GOLDEN = (math.sqrt(5) - 1) / 2


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
        return {"rows": site.rows(on_grid("GridPoints", _centers), site.count)}


def on_grid(who: str, axis: Callable[[int], Tensor]) -> Source:
    """A source of the points of grids, first coordinate slowest.

    Parameters
    ----------
    who : str
        For the error.
    axis : callable
        A number to that many coordinates between 0 and 1, such that neighbors in this order lie far apart:
        faces of a boundary get rows that follow each other, and each has to be looked at from end to end.
    """

    def points(n: int, k: int) -> Tensor:
        size = int(n ** (1 / k) + 1e-9)
        if size < 2:
            raise ConfigError(
                f"{who}: {n} points make no grid of {k} axes; take {2**k} at least, or Sobol points."
            )
        return torch.cartesian_prod(*(axis(size) for _ in range(k))).reshape(-1, k)

    return points


def _centers(size: int) -> Tensor:
    # Multiples of the golden ratio, modulo 1, have large gaps between neighbors and small ones elsewhere.
    order = (torch.arange(size, dtype=torch.float64) * _GOLDEN % 1).argsort().argsort()
    return (order + 0.5) / size
