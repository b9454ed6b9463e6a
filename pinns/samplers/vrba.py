"""Variational residual-based attention as a density: points drawn by the slope of a convex potential."""

from __future__ import annotations

from dataclasses import dataclass

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.samplers.pool import density, without_replacement
from sciml.pinns.samplers.sampler import Sampler, Site, State, check_every, uniform
from sciml.pinns.weightings.variational import Exponential, Potential
from sciml.streams import Stream


@describable
@dataclass(frozen=True)
class VRBA(Sampler):
    r"""All points drawn anew from a uniform pool with density ``p ~ q / mean(q) + offset``.

    q is the attention ``Phi'(|r|)`` to the residual on the pool, so that the loss follows the mean of Phi and
    not of the square.  With ``Power(2)`` it is `RAD`; ``Exponential()`` looks at the largest residuals, the
    more so the longer training lasts.  As weights of points it is `sciml.pinns.weightings.ResidualAttention`.

    Parameters
    ----------
    every : int
        Steps between draws.
    potential : Potential
        Phi.
    offset : float, not negative
        A large one is uniform.
    pool : int
        Points of the pool for each that is drawn.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    Source: Toscano et al., arXiv:2509.14198 (2025).  Its code draws from a fixed pool, whose points have an
    average of q over time; a fresh pool has none, which is that average without memory.

    Examples
    --------
    >>> from sciml.pinns import Box, Domain
    >>> domain = Domain(Box(((0.0, 1.0), (0.0, 1.0))))
    >>> site = Site(domain.interior, 100, lambda x: x[:, 0])  # residuals grow from left to right
    >>> sampler, stream = VRBA(offset=0.0), Stream(0, "points")
    >>> rows = sampler.redraw(sampler.redraw(None, site, 0, stream), site, 1000, stream)["rows"]
    >>> bool(rows[:, 0].mean() > 0.8)
    True
    """

    every: int = 500
    potential: Potential = Exponential()  # noqa: RUF009 - a frozen value
    offset: float = 1.0
    pool: int = 50

    def __post_init__(self) -> None:
        check_every("VRBA", self.every)
        if self.offset < 0 or self.pool < 2:
            raise ConfigError(f"VRBA: needs offset >= 0 and a pool of at least 2, got {self}.")

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        generator = stream.generator(step)
        if state is None:  # nothing has been learned yet
            return {"rows": site.rows(uniform(generator), site.count)}
        pool = site.rows(uniform(generator), self.pool * site.count)
        attention = self.potential.attention(site.score(pool).double().cpu(), step)
        chosen = without_replacement(density(attention, 1.0, self.offset), site.count, generator)
        return {"rows": pool[chosen]}
