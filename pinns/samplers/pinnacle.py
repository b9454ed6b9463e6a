"""PINNACLE: points of all conditions, equation and experiments, chosen together by the tangent kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.samplers.sampler import Sampler, Site, State, all_given, check_every, uniform
from sciml.pinns.samplers.tangents import Sketch, directions, pulls_of, slopes_of, spread
from sciml.streams import Stream

_FIXED = -1  # the step of what is drawn once: points that the kernel is known by, and its sketch
_CHECKS = 5  # per period


@describable
@dataclass(frozen=True)
class PINNACLE(Sampler):
    r"""Points of every kind, as many of each as help most, by the empirical neural tangent kernel.

    A point z, of the equation or of a condition, has the residual R(z), times the root of its weight in the
    loss, and pulls the weights of the network along :math:`g(z) = \nabla_\theta R(z)^2 / 2`.  Of that counts
    what lies in the directions U in which reference points of all kinds, m of them, move the weights,

    .. math::

        a(z) = U^T g(z) = \Lambda^{-1/2} V^T K(Z, z) R(z), \qquad K(Z, Z) = V \Lambda V^T,

    and :math:`|a(z)|^2` is the convergence degree of z.  At each choice a share of all points is new, drawn
    from a fresh uniform pool: by k-means++ on the vectors a, so that they differ too (PINNACLE-K), or in
    proportion to :math:`|a|^2` (PINNACLE-S).  All others are a random part of those before, which at the
    beginning are uniform.  At least one of each kind is new.  The number of points is that of all sites.

    Measurements are chosen by the same rule with R = 1, since nobody knows the residual before: their values
    take no part.  What has been measured stays.

    Parameters
    ----------
    every : int
        Steps between choices.  The kernel of the reference points is looked at five times as often,
    change : float, positive
        and where it differs by this share, in Frobenius' norm, from that of the last choice, points are
        chosen at once.
    fresh : float
        The share of new points.
    candidates : int
        Of the pool, for each new point: so many of the equation, a quarter of them for each condition.
    reference : int
        Points of the equation by which the kernel is known, and a quarter of them for each condition.
    sketch : int
        Slopes are projected at random to this many numbers, which keeps the kernel on average, see
        `sciml.pinns.samplers.tangents.Sketch`.  Slopes of networks with fewer weights are used as they are.
    diverse : bool
        PINNACLE-K, else PINNACLE-S.
    experiments : mapping
        From the name of a condition whose rows are data, as `PointData`, to how many of them may be measured
        and how many at each choice; without it all of them are seen.

    Raises
    ------
    ConfigError
        If a number is out of range, there are no data of that name, or the objective tells no slopes.

    Notes
    -----
    A row with several residuals, of a system, is the set of them: its vector is the sum of theirs.  Unknown
    coefficients belong to the weights.  Causal weights take part by their mean.  The loss remains a mean for
    each kind, so more points of a kind know it better and do not weigh more.

    Source: Lau, Hemachandra, Ng and Low, PINNACLE: PINN adaptive collocation and experimental points
    selection, ICLR 2024, arXiv:2404.07662; defaults as in their code.  That differs: new points alone are the
    first set, which grows by more choices; residuals have no weights; the first center of k-means++ is
    uniform, here it is zero, where points without a residual lie; measurements take as residual what 100 more
    steps would change; candidates of conditions are also some of the equation; coefficients are no weights.

    Examples
    --------
    >>> from sciml.pinns import Residual, problems
    >>> loss = Residual(problems.Burgers(), points=500, sampler=PINNACLE(every=1000))
    """

    every: int = 5000
    change: float = 0.5
    fresh: float = 0.2
    candidates: int = 8
    reference: int = 200
    sketch: int = 4096
    diverse: bool = True
    experiments: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_every("PINNACLE", self.every)
        if not (self.change > 0 and 0 < self.fresh <= 1):
            raise ConfigError(
                f"PINNACLE: needs change > 0 and 0 < fresh <= 1, got {self.change} and {self.fresh}."
            )
        if self.candidates < 4 or self.reference < 4 or self.sketch < 1:
            raise ConfigError(
                "PINNACLE: needs at least 4 candidates, 4 reference points and a sketch of 1 number, got "
                f"{self.candidates}, {self.reference} and {self.sketch}."
            )
        for name, (most, at_once) in self.experiments.items():
            if not 1 <= at_once <= most:
                raise ConfigError(
                    f"PINNACLE: of {name!r} at least one row must be measured at each choice, and no more "
                    f"than in all, got {at_once} of {most}."
                )

    def draw_all(
        self,
        states: Mapping[str, State],
        sites: Mapping[str, Site],
        step: int,
        stream: Callable[[str], Stream],
    ) -> dict[str, State]:
        first = next(iter(sites))
        known = states[first].get("kernel") if first in states else None
        if known is not None and step % self.every and step % max(1, self.every // _CHECKS):
            return {name: states[name] for name in sites}
        self._check(sites)
        slopes, sketch = self._reference(sites, stream)
        kernel = slopes @ slopes.T
        if known is not None and step % self.every and not self._moved(known, kernel):
            return {name: states[name] for name in sites}
        generators = {name: stream(name).generator(step) for name in sites}
        basis = directions(slopes)
        found = self._points(states, sites, generators, basis, sketch)
        for name, site in sites.items():
            if site.given:
                found[name] = self._measured(name, states.get(name), site, generators[name], basis, sketch)
        found[first] = {**found[first], "kernel": kernel}
        return {name: found[name] for name in sites}

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        states = {} if state is None else {"": {"rows": state["rows"]}}
        return self.draw_all(states, {"": site}, step, lambda _: stream)[""]

    def _check(self, sites: Mapping[str, Site]) -> None:
        if any(site.slopes is None for site in sites.values()):
            raise ConfigError(
                "PINNACLE: needs slopes of residuals, which this objective does not tell; Residual does."
            )
        for name in self.experiments:
            if name not in sites or not sites[name].given:
                data = ", ".join(name for name, site in sites.items() if site.given) or "none"
                raise ConfigError(f"PINNACLE: there are no data {name!r} to measure; there is {data}.")

    def _reference(self, sites: Mapping[str, Site], stream: Callable[[str], Stream]) -> tuple[Tensor, Sketch]:
        """Slopes (m, width) of residuals at points that are always the same, and how they are sketched."""
        first = next(iter(sites))
        sketch = Sketch(self.sketch, stream(first).seed(_FIXED))
        found = []
        for name, site in sites.items():
            generator = stream(name).generator(_FIXED)
            count = self.reference if name == first else self.reference // 4
            rows = _some(site, generator, count)
            found.append(slopes_of(site, rows, sketch).flatten(0, 1))
        return torch.cat(found), sketch

    def _moved(self, known: Tensor, kernel: Tensor) -> bool:
        if known.shape != kernel.shape:
            return True  # that of another sampler
        return bool((kernel - known).norm() > self.change * known.norm())

    def _points(
        self,
        states: Mapping[str, State],
        sites: Mapping[str, Site],
        generators: Mapping[str, Generator],
        basis: Tensor,
        sketch: Sketch,
    ) -> dict[str, State]:
        """A part of the points before, and behind them new ones, of all sites whose rows are drawn."""
        drawn = {name: site for name, site in sites.items() if not site.given}
        if not drawn:
            return {}
        budget = sum(site.count for site in drawn.values())
        new = min(budget, max(len(drawn), round(self.fresh * budget)))
        before, pools, vectors = [], [], []
        for number, (name, site) in enumerate(drawn.items()):
            source = uniform(generators[name])
            before.append(states[name]["rows"] if name in states else site.rows(source, site.count))
            pools.append(site.rows(source, self.candidates * new // (1 if number == 0 else 4)))
            vectors.append(pulls_of(site, pools[-1], sketch) @ basis.T)
        generator = next(iter(generators.values()))
        kept = torch.randperm(sum(map(len, before)), generator=generator)[: budget - new]
        kinds = torch.cat([torch.full((len(pool),), i) for i, pool in enumerate(pools)])
        chosen = spread(
            torch.cat(vectors), new, generator, kinds=kinds, taken=kinds[:0], diverse=self.diverse
        )
        pairs = zip(_of_each(before, kept), _of_each(pools, chosen), strict=True)
        return {name: {"rows": torch.cat(pair)} for name, pair in zip(drawn, pairs, strict=True)}

    def _measured(
        self,
        name: str,
        state: State | None,
        site: Site,
        generator: Generator,
        basis: Tensor,
        sketch: Sketch,
    ) -> State:
        """The rows of data that have been measured, in the order of ``index``: those before and new ones."""
        rows = all_given(site)
        most, at_once = self.experiments.get(name, (len(rows), len(rows)))
        index = torch.arange(len(rows)) if name not in self.experiments else torch.empty(0, dtype=torch.int64)
        if state is not None:
            index = state.get("index", torch.arange(len(rows)))  # others see them all
        more = min(at_once, most - len(index), len(rows) - len(index))
        if more > 0:
            vectors = (slopes_of(site, rows, sketch) @ basis.T).flatten(1)
            kinds = torch.zeros(len(rows), dtype=torch.int64)
            chosen = spread(vectors, more, generator, kinds=kinds, taken=index, diverse=self.diverse)
            index = torch.cat([index, chosen])
        return {"rows": rows[index], "index": index}


def _some(site: Site, generator: Generator, count: int) -> Tensor:
    """Rows of a site: new ones, or some of those given."""
    if not site.given:
        return site.rows(uniform(generator), count)
    return all_given(site)[torch.randperm(site.count, generator=generator)[:count]]


def _of_each(parts: list[Tensor], indices: Tensor) -> list[Tensor]:
    """Those rows of the parts, joined, that have these indices: in their order, apart again."""
    chosen = torch.zeros(sum(map(len, parts)), dtype=torch.bool)
    chosen[indices] = True
    masks = chosen.split([len(part) for part in parts])
    return [part[mask] for part, mask in zip(parts, masks, strict=True)]
