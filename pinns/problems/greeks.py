"""Sensitivities of options on many assets: of a network by its derivatives, of the truth by Monte Carlo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.kernels.jet import jet
from sciml.pinns.conditions import Function
from sciml.pinns.problems.market import Market
from sciml.streams import Streams

_NUMBERS = 2**19  # held together
_PILOT = 2000  # paths that tell how controls go along


@dataclass(frozen=True)
class Greeks:
    r"""Sensitivities of a value v, of assets with prices S in units of the strike.

    Attributes
    ----------
    delta : (n, dim)
        ``∂v/∂S_i``.
    gamma : (n,)
        ``Σ_ij S_i S_j ∂²v/∂S_i∂S_j``, of all prices in proportion.
    vega : (n,)
        ``∂v/∂λ`` with all volatilities times λ, at λ = 1.
    """

    delta: Tensor
    gamma: Tensor
    vega: Tensor


def greeks(problem: Market, u: Function, x: Tensor) -> Greeks:
    r"""Of a function u of points (n, dim + 1), a network or a formula, by its derivatives.

    ``v = e^{-rt} h(x + r t, λ² t)``, where h is the solution without interest, so that vega needs no
    derivative with respect to volatilities: it is ``t (Σ c_ij v_ij - Σ s_i² v_i)``.

    Examples
    --------
    >>> from sciml.pinns.problems import GeometricBasket
    >>> problem = GeometricBasket(dim=1, volatilities=(0.2, 0.2), rate=0.05)
    >>> found = greeks(problem, problem.exact, torch.tensor([[0.0, 1.0]], dtype=torch.float64))
    >>> round(found.delta.item(), 6), round(found.gamma.item(), 6)  # Phi(0.35), phi(0.35) / 0.2
    (0.636831, 1.876202)
    """
    with torch.enable_grad():
        points = x.detach().requires_grad_()
        (slopes,) = torch.autograd.grad(u(points).sum(), points)
    slopes = slopes[:, :-1]
    s = problem.deviations(x)
    along = torch.cat([torch.ones_like(s), s.new_zeros(1)])
    with torch.no_grad():
        _, once, twice = jet(u, x, along, 2)
        curvature = problem.curvature(u, x)
        vega = x[:, -1] * (curvature - slopes @ s.square())
        return Greeks(slopes * torch.exp(-x[:, :-1]), twice - once, vega)


def greeks_by_paths(
    problem: Market, x: Tensor, *, paths: int, seed: int = 0, control: Market | None = None
) -> tuple[Greeks, Greeks]:
    """Means over paths, and their standard errors.

    Slopes are those of the payoff along each path, for gamma multiplied by the score of the end of the path,
    the derivative of the logarithm of its density when all prices rise.

    Parameters
    ----------
    problem : Market
    x : (n, dim + 1)
    paths : int
        Pairs with opposite increments, for each point.
    seed : int
    control : Market, optional
        An option on the same assets with a formula, whose sensitivities along paths are subtracted.

    Notes
    -----
    Source: Glasserman, Monte Carlo Methods in Financial Engineering (2003), sections 7.2 to 7.4.
    """
    found = [
        _of_point(problem, row[None], paths, Streams(seed).of(f"paths/{k}").generator(), control)
        for k, row in enumerate(x)
    ]
    means, errors = (torch.stack(of_all) for of_all in zip(*found, strict=True))
    return _greeks_of(means), _greeks_of(errors)


def _of_point(
    problem: Market, x: Tensor, paths: int, generator: torch.Generator, control: Market | None
) -> tuple[Tensor, Tensor]:
    known = None if control is None else _columns_of(greeks(control, control.exact, x))
    options = [problem.payoff] + ([] if control is None else [control.payoff])
    chunk = max(2, _NUMBERS // problem.dim)
    slope: Tensor | None = None
    if known is not None:
        values, controls = _along_paths(problem, options, x, min(_PILOT, chunk), generator)
        apart = controls - controls.mean(0)
        slope = (apart * values).sum(0) / apart.square().sum(0).clamp(min=1e-300)
    total = torch.zeros(problem.dim + 2, dtype=x.dtype, device=x.device)
    squares, done = total.clone(), 0
    while done < paths:
        count = min(chunk, paths - done)
        values, *others = _along_paths(problem, options, x, count, generator)
        if slope is not None and known is not None:
            values = values - slope * (others[0] - known)
        total, squares, done = total + values.sum(0), squares + values.square().sum(0), done + count
    mean = total / paths
    return mean, ((squares / paths - mean.square()).clamp(min=0) / paths).sqrt()


def _along_paths(
    problem: Market,
    payoffs: Sequence[Callable[[Tensor], Tensor]],
    x: Tensor,
    count: int,
    generator: torch.Generator,
) -> list[Tensor]:
    """(count, dim + 2) for each payoff: delta, gamma and vega of pairs of paths."""
    t, s = x[:, -1], problem.deviations(x)
    z = torch.randn(count, problem.dim, generator=generator, dtype=x.dtype, device=x.device)
    found: list[list[Tensor]] = [[] for _ in payoffs]
    for w in (z, -z):
        moved = s * problem.correlated(w) * t.sqrt()
        ends = x[:, :-1] + (problem.rate - s.square() / 2) * t + moved
        ends = torch.cat([ends, torch.zeros_like(ends[:, :1])], dim=1).requires_grad_()
        score = problem.uncorrelated(1 / s.expand_as(w), w) / t.sqrt()
        for payoff, columns in zip(payoffs, found, strict=True):
            with torch.enable_grad():
                (slopes,) = torch.autograd.grad(payoff(ends).sum(), ends)
            slopes = slopes[:, :-1] * torch.exp(-problem.rate * t)
            once = slopes.sum(1)
            vega = (slopes * (moved - s.square() * t)).sum(1)
            delta = slopes * torch.exp(-x[:, :-1])
            columns.append(torch.cat([delta, (once * score - once)[:, None], vega[:, None]], dim=1))
    return [torch.stack(columns).mean(0) for columns in found]


def _columns_of(found: Greeks) -> Tensor:
    return torch.cat([found.delta, found.gamma[:, None], found.vega[:, None]], dim=1)


def _greeks_of(columns: Tensor) -> Greeks:
    return Greeks(columns[:, :-2], columns[:, -2], columns[:, -1])
