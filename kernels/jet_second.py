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

from sciml.kernels.jet_memory import Columns
from sciml.kernels.jet_series import Bundle, Ladder

# Directions up to which their products are added one by one: no more calls than all of them and then a sum.
FEW = 3


@dataclass(frozen=True, eq=False)
class _Part:
    """Where the columns of a bundle lie in a stack, before and behind the function; None for none."""

    first_in: tuple[int, int] | None
    top_in: int | None
    first_out: tuple[int, int] | None
    top_out: int
    weights: Tensor | None

    @property
    def top(self) -> int:
        """`top_in` where it is known to exist."""
        assert self.top_in is not None
        return self.top_in


@dataclass(frozen=True, eq=False)
class SecondOrder:
    """The places of bundles of first and second order."""

    parts: tuple[_Part, ...]

    @staticmethod
    def of(bundles: Sequence[Bundle], degree: int, *, only_top: bool) -> SecondOrder | None:
        """None if the bundles are others."""
        parts = []
        before, behind = 1, 1
        for bundle in bundles:
            if bundle.order > 2 or not bundle.collapsed:
                return None
            first = bundle.count if bundle.order == 2 else 0
            top_in = before + first if degree >= bundle.order else None
            shown = 0 if only_top else first
            parts.append(
                _Part(
                    (before, before + first) if first else None,
                    top_in,
                    (behind, behind + shown) if shown else None,
                    behind + shown,
                    bundle.weights,
                )
            )
            before += first + (top_in is not None)
            behind += shown + 1
        return SecondOrder(tuple(parts))

    def forward(
        self, ladder: Ladder, rest: Tensor, stack: Columns, tops: Sequence[Tensor | None] | None
    ) -> list[Tensor | None]:
        """Write the columns of f(u) to stack; return q per bundle of second order, or take it from tops."""
        g0, g1, g2, *_ = (*ladder, None)
        assert g0 is not None and g1 is not None
        stack.value.copy_(g0)
        found: list[Tensor | None] = []
        for part in self.parts:
            top = stack.part(part.top_out, part.top_out + 1)
            if part.first_in is None:
                assert part.top_in is not None
                torch.mul(rest[part.top_in - 1], g1, out=top[0])
                continue
            assert g2 is not None
            u = rest[part.first_in[0] - 1 : part.first_in[1] - 1]
            first = None if part.first_out is None else stack.part(*part.first_out)
            q = None if tops is None else tops[len(found)]
            if q is None:
                # Squares of unshared columns go where the first order will be written.
                q = contracted(u, u, part.weights, first if u.shape[1:] == g0.shape else None)
            if first is not None:
                torch.mul(u, g1, out=first)
            torch.mul(g2, q, out=top[0])
            if part.top_in is not None:
                top.addcmul_(rest[part.top_in - 1], g1)
            found.append(q)
        return found

    def backward(
        self,
        ladder: Ladder,
        rest: Tensor,
        tops: Sequence[Tensor | None],
        gradient: Columns,
        result: Columns,
    ) -> None:
        """Write the gradient with respect to the columns of u to result."""
        _, g1, g2, g3, *_ = (*ladder, None)
        assert g1 is not None and g2 is not None
        of_value = torch.mul(gradient.value, g1, out=result.value)
        known = iter(tops)
        for part in self.parts:
            top = gradient.part(part.top_out, part.top_out + 1)[0]
            t = g2 * top
            if part.top_in is not None:
                of_value.addcmul_(t, rest[part.top_in - 1], value=2.0)
                torch.mul(g1, top, out=result.part(part.top_in, part.top_in + 1)[0])
            if part.first_in is None:
                continue
            q = next(known)
            assert q is not None and g3 is not None
            of_value.addcmul_(g3 * q, top, value=3.0)
            u = rest[part.first_in[0] - 1 : part.first_in[1] - 1]
            weighted = u if part.weights is None else part.weights.reshape(-1, 1, 1) * u
            place = result.part(*part.first_in)
            if part.first_out is None:
                torch.mul(weighted, t.mul_(2.0), out=place)
                continue
            first = gradient.part(*part.first_out)
            of_value.addcmul_(g2, contracted(first, u, None, place), value=2.0)
            torch.mul(first, g1, out=place).addcmul_(weighted, t, value=2.0)


def contracted(
    a: Tensor, b: Tensor, weights: Tensor | None, room: Tensor | None, out: Tensor | None = None
) -> Tensor:
    """``Σ_r w_r a_r b_r``; room is memory for the products, out for the result."""
    if weights is not None:
        products = torch.mul(a, b, out=room)
        return torch.mv(products.flatten(1).T, weights).view(products.shape[1:])
    if len(a) > FEW:
        return torch.sum(torch.mul(a, b, out=room), 0, out=out)
    pairs = zip(a.unbind(), b.unbind(), strict=True)
    total = torch.mul(*next(pairs), out=out)
    for pair in pairs:
        total.addcmul_(*pair)
    return total
