r"""Collapsed series of first and second order through a function of every element: the forward Laplacian.

With ``g_m = f^(m)(u_0)/m!``, first orders u_r, the sum U of the second orders and ``q = Σ_r w_r u_r^2``,

    y_0 = g_0,        y_r = g_1 u_r,        Y = g_1 U + g_2 q,

and, gradients with a bar and ``s = 2 g_2 Ȳ``,

    ū_r = g_1 ȳ_r + s w_r u_r,        Ū = g_1 Ȳ,        ū_0 = g_1 ȳ_0 + 2 g_2 Σ_r ȳ_r u_r + s U + 3 g_3 q Ȳ.

What `sciml.kernels.jet_activation` does for every order, in fewer calls: most operators are of second order,
and for few directions the calls are a good part of the time.

Source: R. Li et al., A computational framework for neural network-based variational Monte Carlo with Forward
Laplacian (2024), for the forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.kernels.jet_series import Bundle, Ladder


@dataclass(frozen=True, eq=False)
class _Part:
    """Where the columns of a bundle lie, before (behind the value) and behind the function; None for none."""

    first_in: slice | None
    top_in: int | None
    first_out: slice | None
    top_out: int
    weights: Tensor | None


@dataclass(frozen=True, eq=False)
class SecondOrder:
    """The places of bundles of first and second order."""

    parts: tuple[_Part, ...]

    @staticmethod
    def of(bundles: Sequence[Bundle], degree: int, *, only_top: bool) -> SecondOrder | None:
        """None if the bundles are others."""
        parts = []
        before, behind = 0, 1
        for bundle in bundles:
            if bundle.order > 2 or not bundle.collapsed:
                return None
            first = bundle.count if bundle.order == 2 else 0
            top_in = before + first if degree >= bundle.order else None
            shown = 0 if only_top else first
            parts.append(
                _Part(
                    slice(before, before + first) if first else None,
                    top_in,
                    slice(behind, behind + shown) if shown else None,
                    behind + shown,
                    None if bundle.weights is None else bundle.weights.reshape(-1, 1, 1),
                )
            )
            before += first + (top_in is not None)
            behind += shown + 1
        return SecondOrder(tuple(parts))

    def forward(
        self, ladder: Ladder, rest: Tensor, stack: Tensor, tops: Sequence[Tensor | None] | None
    ) -> list[Tensor | None]:
        """Write the columns of f(u) to stack; return q per bundle of second order, or take it from tops."""
        g0, g1, g2, *_ = (*ladder, None)
        assert g0 is not None and g1 is not None
        stack[0] = g0
        found: list[Tensor | None] = []
        for part in self.parts:
            top = stack[part.top_out]
            if part.first_in is None:
                assert part.top_in is not None
                torch.mul(rest[part.top_in], g1, out=top)
                continue
            assert g2 is not None
            u = rest[part.first_in]
            first = None if part.first_out is None else stack[part.first_out]
            q = None if tops is None else tops[len(found)]
            if q is None:
                # Squares of unshared columns go where the first order will be written.
                squares = torch.mul(u, u, out=first if u.shape[1:] == g0.shape else None)
                q = (squares if part.weights is None else squares.mul_(part.weights)).sum(0)
            if first is not None:
                torch.mul(u, g1, out=first)
            torch.mul(g2, q, out=top)
            if part.top_in is not None:
                top.addcmul_(rest[part.top_in], g1)
            found.append(q)
        return found

    def backward(
        self,
        ladder: Ladder,
        rest: Tensor,
        tops: Sequence[Tensor | None],
        gradient: Tensor,
        result: Tensor,
    ) -> None:
        """Write the gradient with respect to the columns of u to result."""
        _, g1, g2, g3, *_ = (*ladder, None)
        assert g1 is not None and g2 is not None
        of_value = torch.mul(gradient[0], g1, out=result[0])
        known = iter(tops)
        for part in self.parts:
            top = gradient[part.top_out]
            t = g2 * top
            if part.top_in is not None:
                of_value.addcmul_(t, rest[part.top_in], value=2.0)
                torch.mul(g1, top, out=result[1 + part.top_in])
            if part.first_in is None:
                continue
            q = next(known)
            assert q is not None and g3 is not None
            of_value.addcmul_(g3 * q, top, value=3.0)
            u = rest[part.first_in]
            weighted = u if part.weights is None else part.weights * u
            place = result[1 + part.first_in.start : 1 + part.first_in.stop]
            if part.first_out is None:
                torch.mul(weighted, t + t, out=place)
                continue
            first = gradient[part.first_out]
            of_value.addcmul_(g2, torch.mul(first, u, out=place).sum(0), value=2.0)
            torch.mul(first, g1, out=place).addcmul_(weighted, t, value=2.0)
