"""Points of low discrepancy: Sobol's sequence, scrambled anew at every draw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.samplers.sampler import Sampler, Site, State, check_every, numbered
from sciml.streams import Stream

_MOST = torch.quasirandom.SobolEngine.MAXDIM


@describable
@dataclass(frozen=True)
class Sobol(Sampler):
    """Sobol's sequence with Owen's scrambling, another scrambling at every draw.

    The plain sequence would give the same points again.  Counts that are powers of two are balanced best.
    """

    every: int = 1

    def __post_init__(self) -> None:
        check_every("Sobol", self.every)

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        return {"rows": site.rows(numbered(stream.seed(step), _points), site.count)}


def _points(seed: int, n: int, k: int) -> Tensor:
    if k > _MOST:
        raise ConfigError(f"Sobol: knows {_MOST} dimensions, not {k}; take Uniform.")
    return torch.quasirandom.SobolEngine(k, scramble=True, seed=seed % 2**31).draw(n, dtype=torch.float64)
