"""Latin hypercubes: one point in each of n slabs of every axis."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.pinns.samplers.sampler import Sampler, Site, State, check_every
from sciml.streams import Stream


@describable
@dataclass(frozen=True)
class LatinHypercube(Sampler):
    """Of n points, one in each of n equal slabs of every axis of the unit cube; new ones at every draw.

    Notes
    -----
    Source: McKay, Beckman and Conover, Technometrics 21 (1979).
    """

    every: int = 1

    def __post_init__(self) -> None:
        check_every("LatinHypercube", self.every)

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        generator = stream.generator(step)

        def points(n: int, k: int) -> Tensor:
            slabs = [torch.randperm(n, generator=generator) for _ in range(k)]
            inside = torch.rand(n, k, generator=generator, dtype=torch.float64)
            return (torch.stack(slabs, dim=1) + inside) / n

        return {"rows": site.rows(points, site.count)}
