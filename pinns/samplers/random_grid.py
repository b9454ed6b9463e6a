"""A grid with new coordinates at every draw, which separable networks see for the price of its axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.pinns.samplers.grid import on_grid
from sciml.pinns.samplers.sampler import Sampler, Site, State, check_every
from sciml.streams import Stream


@describable
@dataclass(frozen=True)
class RandomGrid(Sampler):
    """A grid of the unit cube: along every axis one coordinate in each of n equal slabs, new at every draw.

    Each point is uniform in the cube, so the loss has the mean that independent points give it.  `SPINN`
    evaluates its networks at n numbers for each axis instead of all points.  As many per axis as the wanted
    count has room for.

    Notes
    -----
    Source: Cho et al., Separable physics-informed neural networks, NeurIPS 2023, arXiv:2306.15969, where
    coordinates are independent; one in each slab is a `LatinHypercube` along every axis.
    """

    every: int = 1

    def __post_init__(self) -> None:
        check_every("RandomGrid", self.every)

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        generator = stream.generator(step)

        def axis(size: int) -> Tensor:
            inside = torch.rand(size, generator=generator, dtype=torch.float64)
            return (torch.randperm(size, generator=generator) + inside) / size

        return {"rows": site.rows(on_grid("RandomGrid", axis), site.count)}
