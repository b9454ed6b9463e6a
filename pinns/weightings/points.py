"""What weightings of single points share: squares of all processes, and what new points take over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciml import processes
from sciml.errors import ConfigError, nearest
from sciml.objective import Term
from sciml.pinns.conditions import names_of
from sciml.pinns.weightings.weighting import EQUATION, Scene, State, named, part_of

if TYPE_CHECKING:
    from sciml.pinns.problem import Problem

Sites = tuple[str, ...] | None
"""Sites of which each point has a weight: ``equation`` and names of conditions; None for all."""


def moved(
    state: State | None,
    scene: Scene,
    sites: Sites,
    move: Callable[[Mapping[str, Tensor] | None, Tensor], Mapping[str, Tensor]],
) -> tuple[State, dict[str, dict[str, Tensor]]]:
    """Move what is kept for each point of each term by its square: the new state, and by term what is kept.

    ``move`` maps what a term has kept, tensors (n, ...) and scalars, None at first, and the squares (n,) at
    the points, with their weights so far, to what it keeps.  Points that are new take over what the nearest
    of the last ones had.
    """
    with torch.no_grad():
        terms = scene.terms()
    found: dict[str, Tensor] = {}
    by_term: dict[str, dict[str, Tensor]] = {}
    for site in terms if sites is None else [site for site in sites if site in terms]:
        rows = scene.rows[site]
        kept = None if state is None else taken_over(part_of(state, site), rows)
        own: dict[str, Tensor] = {"rows": rows}
        for name, term in terms[site].items():
            before = None if kept is None else part_of(kept, name)
            by_term[name] = dict(move(before, _squares(term, scene, len(rows))))
            own |= named(name, by_term[name])
        found |= named(site, own)
    return found, by_term


def taken_over(kept: State, rows: Tensor) -> State:
    """What is kept for ``kept["rows"]`` at other rows: for each that of the nearest, itself if it was there.

    Distances are relative to the extent of the rows along each column.
    """
    from sciml.neighbors import nearest as nearest_points

    old = kept["rows"]
    if torch.equal(old, rows):
        return kept
    extent = old.amax(0) - old.amin(0)
    extent = torch.where(extent > 0, extent, 1.0)
    pairs = nearest_points((old / extent).numpy(), 1, (rows / extent).numpy())
    index = torch.from_numpy(pairs[:, 1])
    return {key: value[index] if value.ndim else value for key, value in kept.items()}


def check_sites(who: str, sites: Sites, problem: Problem) -> None:
    """Raise for a name that is no site of the problem."""
    known = (EQUATION, *names_of(problem.conditions))
    for name in sites or ():
        if name not in known:
            raise ConfigError(
                f"{who}: there is no {name!r} in {type(problem).__name__}; there is {', '.join(known)}."
                f"{nearest(name, known)}"
            )


def _squares(term: Term, scene: Scene, count: int) -> Tensor:
    """What each of all rows adds to the mean of a term, (n,), float64 on the processor."""
    own = term.summands()
    own = own.reshape(len(own), -1).double().mean(1)
    squares = own.new_zeros(count)
    squares[scene.own(torch.arange(count)).to(own.device)] = own
    # An estimated square is a product of two estimates, and may be negative.
    return processes.add_up(squares).cpu().clamp_min(0)
