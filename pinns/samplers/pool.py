"""Choosing from a pool of fresh points by the residual there, and sets that grow by what was chosen."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from sciml.errors import ConfigError
from sciml.pinns.samplers.sampler import Site, State, check_every, uniform

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


def grown(
    state: State | None,
    site: Site,
    generator: Generator,
    *,
    added: float,
    limit: float,
    pool: int,
    choose: Choose,
) -> State:
    """The rows there are, and behind them those that ``choose`` takes from a fresh pool.

    Shares are of the number of rows at the beginning, which the state keeps as ``begun``: ``added`` of it are
    added until there are ``limit`` times as many, from ``pool`` times as many.  Without a state the rows are
    uniform, as many as the site wants.
    """
    source = uniform(generator)
    if state is None:
        return {"rows": site.rows(source, site.count), "begun": torch.tensor(site.count)}
    rows = state["rows"]
    begun = int(state["begun"]) if "begun" in state else len(rows)
    more = min(max(1, round(added * begun)), round(limit * begun) - len(rows))
    if more > 0:
        fresh = site.rows(source, pool * begun)
        rows = torch.cat([rows, fresh[choose(site.score(fresh).cpu(), more, generator)]])
    return {"rows": rows, "begun": torch.tensor(begun)}


def check_growth(who: str, every: int, added: float, limit: float, pool: int) -> None:
    """Raise for numbers with which a set does not grow."""
    check_every(who, every)
    if not 0 < added <= 1 or limit <= 1 or pool < 2:
        raise ConfigError(
            f"{who}: needs 0 < added <= 1, limit > 1 and a pool of at least 2, got {added}, {limit}, {pool}."
        )
