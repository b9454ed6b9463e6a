"""Choosing from a pool of fresh points by the residual there, and sets that grow by what was chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Generator, Tensor

from sciml.errors import ConfigError
from sciml.pinns.samplers.sampler import Site, State, uniform

Choose = Callable[[Tensor, int, Generator], Tensor]
"""Sizes of residuals (n,), a number of points and a generator to the indices of the chosen ones."""


def density(size: Tensor, power: float, offset: float) -> Tensor:
    """``size^power / mean(size^power) + offset``, relative to its mean: (n,) in float64, on the processor.

    Where all residuals are zero it is 1.
    """
    size = size.double().cpu()
    # Scaled first: powers of tiny residuals would vanish.
    r = (size / size.max().clamp_min(torch.finfo(size.dtype).tiny)) ** power
    p = r / r.mean() + offset if r.sum() > 0 else torch.ones_like(r)
    return p / p.mean()


def without_replacement(p: Tensor, count: int, generator: Generator) -> Tensor:
    """Indices of ``count`` entries, one drawn after the other in proportion to p among those that are left.

    By Gumbel's trick: the largest of ``log p + noise``.
    """
    noise = -torch.log(-torch.log(torch.rand(len(p), generator=generator, dtype=torch.float64)))
    return torch.topk(p.log() + noise, min(count, len(p))).indices


class Growth(Protocol):
    """How a set grows, in shares of the number of its rows at the beginning."""

    @property
    def added(self) -> float:
        """Rows that are added at a draw, at least one."""

    @property
    def limit(self) -> float:
        """Rows at the end."""

    @property
    def pool(self) -> int:
        """Rows of the pool."""


def grown(state: State | None, site: Site, generator: Generator, growth: Growth, choose: Choose) -> State:
    """The rows there are, and behind them those that ``choose`` takes from a fresh pool.

    Without a state the rows are uniform, as many as the site wants.  The state keeps as ``begun`` how many
    there were at the beginning.
    """
    source = uniform(generator)
    if state is None:
        return {"rows": site.rows(source, site.count), "begun": torch.tensor(site.count)}
    rows = state["rows"]
    begun = int(state["begun"]) if "begun" in state else len(rows)
    more = min(max(1, round(growth.added * begun)), round(growth.limit * begun) - len(rows))
    if more > 0:
        fresh = site.rows(source, growth.pool * begun)
        rows = torch.cat([rows, fresh[choose(site.score(fresh).cpu(), more, generator)]])
    return {"rows": rows, "begun": torch.tensor(begun)}


def check_growth(who: str, growth: Growth) -> None:
    """Raise for numbers with which a set does not grow."""
    if not 0 < growth.added <= 1 or growth.limit <= 1 or growth.pool < 2:
        raise ConfigError(
            f"{who}: needs 0 < added <= 1, limit > 1 and a pool of at least 2, got {growth.added}, "
            f"{growth.limit} and {growth.pool}."
        )
