"""Several sums over the same lines in one sweep: lower coefficients of a jet take no column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import factorial

import torch
from torch import Tensor

from sciml.kernels.jet import Directions, Jet, directional_sums
from sciml.kernels.jet_chain import Source
from sciml.kernels.jet_series import Bundle, split


@dataclass(frozen=True, eq=False)
class Sweep:
    """Sums ``Σ_r w_r D^k u[v_r, …, v_r]`` over one set of lines.

    Parameters
    ----------
    vectors : (R, d) or (R, batch, d)
        v_r.
    sums : tuple of (order k, weights)
        One result for each; the weights are (R,) or (R, batch), None for ones.
    """

    vectors: Tensor
    sums: tuple[tuple[int, Tensor | None], ...]

    @property
    def order(self) -> int:
        """The highest order."""
        return max(k for k, _ in self.sums)


def sweep(
    function: Callable[[Tensor], Tensor], x: Tensor, sweeps: Sequence[Sweep]
) -> tuple[Tensor, list[Tensor]]:
    """The value of a function and the sums of all sweeps, in their order.

    Columns behind the value: R (K - 1) + 1 for a sweep of order K with a single sum of that order, however
    many of lower orders; R K where several sums, or weights that differ from point to point, have the highest
    order.
    """
    if all(len(s.sums) == 1 for s in sweeps):
        # `directional_sums` knows further ways to collapse a single sum.
        groups = [Directions(k, s.vectors, w) for s in sweeps for k, w in s.sums]
        value, *found = directional_sums(function, x, groups)
        return value, found
    carried = [_carried(s) for s in sweeps]
    vectors = [columns for pieces in carried for columns, _ in pieces]
    bundles = [bundle for pieces in carried for _, bundle in pieces]
    width = max(v.shape[1] for v in vectors)
    rest = torch.cat([v.expand(-1, width, -1) for v in vectors])
    result = function(Jet(Source(tuple(bundles), 1, value=x, rest=rest), x.shape))  # type: ignore[arg-type]
    if not isinstance(result, Jet):
        return result, [torch.zeros_like(result) for s in sweeps for _ in s.sums]
    columns = result.columns
    series = iter(split(columns[1:], bundles, result.degree))
    sums: list[Tensor] = []
    for s, pieces in zip(sweeps, carried, strict=True):
        parts = [next(series) for _ in pieces]
        for number, (k, weights) in enumerate(s.sums):
            part, (_, bundle) = (parts[number], pieces[number]) if s.order == 1 else (parts[0], pieces[0])
            if k not in part:
                sums.append(torch.zeros_like(columns[0]))
            elif bundle.collapsed and k == s.order:
                sums.append(factorial(k) * part[k][0])
            else:
                sums.append(factorial(k) * _weighted(part[k], weights))
    return columns[0], sums


def _carried(s: Sweep) -> list[tuple[Tensor, Bundle]]:
    """Directions (R, 1 or batch, d) and how their series are carried: each first derivative by itself."""
    vectors = s.vectors if s.vectors.ndim == 3 else s.vectors[:, None]
    if s.order == 1:  # each sum is one derivative along one direction
        merged = [_weighted(vectors, None if w is None else w.reshape(len(w), -1)) for _, w in s.sums]
        return [(v[None], Bundle(1, 1, collapsed=True)) for v in merged]
    highest = [w for k, w in s.sums if k == s.order]
    collapsed = len(highest) == 1 and (highest[0] is None or highest[0].ndim == 1)
    return [(vectors, Bundle(s.order, len(vectors), collapsed, highest[0] if collapsed else None))]


def _weighted(terms: Tensor, weights: Tensor | None) -> Tensor:
    """The sum over lines, terms (R, batch, ...)."""
    if weights is None:
        return terms.sum(0)
    return (weights.reshape(*weights.shape, *(1,) * (terms.ndim - weights.ndim)) * terms).sum(0)
