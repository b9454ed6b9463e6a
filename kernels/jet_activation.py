r"""A function of every element on a block of columns, and its transpose, for `sciml.kernels.jet_fused`.

The same mathematics as `sciml.kernels.jet_series.compose`, without autograd and with as few passes over the
columns as possible. With ``g_m = f^(m)(u_0)/m!`` and the powers ``p^m_k`` of the series without its value,

    y_k = Σ_m g_m p^m_k.

The sums over directions of ``p^m_K`` are all that a collapsed bundle needs of its highest order; they are
small, and kept for the backward pass. That pass needs the same powers with the ladder of f' instead of f: if
h is the series of ``f'(u(t))``, the gradients are ``ū_k = Σ_{l >= k} h_{l-k} ȳ_l``, and the value receives
``Σ_{l >= 1} Σ_r h_l ȳ_l``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from sciml.kernels.jet_ladders import LadderFunction, tanh
from sciml.kernels.jet_memory import Apart, Columns, Memory
from sciml.kernels.jet_second import SecondOrder
from sciml.kernels.jet_series import Bundle, Ladder, Series, order_of, split
from sciml.kernels.jet_tanh import TanhStage

# The highest orders of the powers of each bundle, see above.
Tops = list[Tensor | None]


class AnyStage(Protocol):
    """An activation in a row of layers, see `Stage`; only it knows what it recalls."""

    @property
    def tops(self) -> int:
        """How many tensors `forward` returns."""

    @property
    def columns_out(self) -> int:
        """Columns behind it."""

    def forward(self, u: Any, stack: Columns, memory: Memory) -> Sequence[Tensor | None]: ...

    def recall(self, u: Any, memory: Memory) -> Any: ...

    def again(self, state: Any, u: Any, tops: Any, stack: Columns, /) -> None: ...

    def backward(
        self, state: Any, u: Any, tops: Any, gradient: Columns, result: Columns, memory: Memory, /
    ) -> None: ...


class Stage:
    """An activation in a row of layers.

    Parameters
    ----------
    function : ladder function
    bundles : sequence of Bundle
    degree : int
        Of the columns that come in.
    only_top : bool
        Whether only the value and the highest order of each bundle are wanted.
    """

    def __init__(
        self, function: LadderFunction, bundles: Sequence[Bundle], degree: int, *, only_top: bool
    ) -> None:
        self.function, self.bundles, self.degree, self.only_top = function, bundles, degree, only_top
        self.order, self.checked = order_of(bundles), False
        self.tops = sum(bundle.order - 1 for bundle in bundles)  # how many
        self.columns_out = columns_behind(bundles, only_top=only_top)
        self.second = SecondOrder.of(bundles, degree, only_top=only_top)

    def forward(self, u: Columns | Apart, stack: Columns, memory: Memory) -> Tops:
        """Write the columns of f(u) to stack; return the highest orders of the powers."""
        ladder = self._ladder(u.value, self.order)
        if self.second is not None and _smooth(ladder):
            return self.second.forward(ladder, u.rest, stack, None)
        return self._compose(ladder, u.rest, stack, None)

    def recall(self, u: Columns | Apart, memory: Memory) -> Ladder:
        """What `again` and `backward` need: the ladder, one order longer for the series of f'."""
        return self._ladder(u.value, self.order + 1)

    def again(self, ladder: Ladder, u: Columns | Apart, tops: Tops, stack: Columns) -> None:
        """Write the columns of f(u) to stack once more."""
        if self.second is not None and _smooth(ladder):
            self.second.forward(ladder, u.rest, stack, tops)
        else:
            self._compose(ladder, u.rest, stack, tops)

    def backward(
        self,
        ladder: Ladder,
        u: Columns | Apart,
        tops: Tops,
        gradient: Columns,
        result: Columns,
        memory: Memory,
    ) -> None:
        """Write the gradient with respect to the columns of u, from that with respect to those of f(u)."""
        if self.second is not None and _smooth(ladder):
            self.second.backward(ladder, u.rest, tops, gradient, result)
        else:
            self._correlate(ladder, u.rest, tops, gradient.whole, result.whole)

    def _ladder(self, value: Tensor, order: int) -> Ladder:
        if self.checked:
            return self.function(value, order)
        with torch.enable_grad():
            ladder = self.function(value.detach(), order)
        if any(g is not None and g.requires_grad for g in ladder):
            raise ValueError(
                "sciml.kernels.jet: an elementwise rule depends on a tensor that requires a gradient, which "
                "would be lost. Write the rule with @rule, as a formula of operations that have rules."
            )
        self.checked = True
        return ladder

    def _compose(self, ladder: Ladder, rest: Tensor, stack: Columns, tops: Tops | None) -> Tops:
        assert ladder[0] is not None
        stack.value.copy_(ladder[0])
        found: Tops = []
        places = _places(stack.whole, self.bundles, self.only_top)
        for bundle, u, place in zip(
            self.bundles, split(rest, self.bundles, self.degree), places, strict=True
        ):
            known = tops[len(found) : len(found) + bundle.order - 1] if tops and bundle.collapsed else None
            raised = _powers(u, bundle, known, lower=known is None or not self.only_top)
            for k, slot in place.items():
                _combine(ladder, raised, k, slot)
            found += [power.get(bundle.order) if bundle.collapsed else None for power in raised[1:]]
        return found

    def _correlate(self, ladder: Ladder, rest: Tensor, tops: Tops, gradient: Tensor, result: Tensor) -> None:
        slopes = [None if g is None else m * g if m > 1 else g for m, g in enumerate(ladder[1:], start=1)]
        if slopes[0] is None:
            result[0].zero_()
        else:
            torch.mul(gradient[0], slopes[0], out=result[0])
        parts = zip(
            self.bundles,
            split(rest, self.bundles, self.degree),
            _places(gradient, self.bundles, self.only_top),
            split(result[1:], self.bundles, self.degree),
            strict=True,
        )
        start = 0
        for bundle, u, ȳ, ū in parts:
            known = tops[start : start + bundle.order - 1] if bundle.collapsed else None
            start += bundle.order - 1
            raised = _powers(u, bundle, known)
            h: Series = {}
            for k in range(1, bundle.order + 1):
                if k in ȳ or (k < bundle.order and any(k + l in ȳ for l in ū)):
                    h[k] = result.new_empty(bundle.width(k), *result.shape[1:])
                    _combine(slopes, raised, k, h[k])
            for k in ȳ:
                product = h[k] * ȳ[k]
                result[0] += product[0] if len(product) == 1 else product.sum(0)
            for k, slot in ū.items():
                _correlate(slopes[0], h, ȳ, k, slot, bundle)


def stage_of(
    function: LadderFunction, bundles: Sequence[Bundle], degree: int, *, only_top: bool, private: bool
) -> AnyStage:
    """The fastest way through an activation; private says that the stacks before it may be overwritten."""
    if function is tanh and private and degree >= order_of(bundles):
        places = SecondOrder.of(bundles, degree, only_top=only_top)
        if places is not None:
            tops = sum(bundle.order == 2 for bundle in bundles)
            return TanhStage(places, tops, columns_behind(bundles, only_top=only_top), only_top)
    return Stage(function, bundles, degree, only_top=only_top)


def columns_behind(bundles: Sequence[Bundle], *, only_top: bool) -> int:
    """The columns behind an activation."""
    if only_top:
        return 1 + sum(bundle.width(bundle.order) for bundle in bundles)
    return 1 + sum(sum(bundle.widths(bundle.order)) for bundle in bundles)


def _smooth(ladder: Ladder) -> bool:
    return all(g is not None for g in ladder)


def _places(stack: Tensor, bundles: Sequence[Bundle], only_top: bool) -> Iterator[Series]:
    """Per bundle, where in the stack its orders lie."""
    start = 1
    for bundle in bundles:
        place = {}
        for k in [bundle.order] if only_top else range(1, bundle.order + 1):
            place[k] = stack[start : start + bundle.width(k)]
            start += bundle.width(k)
        yield place


def _powers(u: Series, bundle: Bundle, tops: Tops | None, *, lower: bool = True) -> list[Series]:
    """The powers 1, ..., K of a series without value, their highest orders summed or taken from tops."""
    highest = bundle.order
    raised = [u]
    for m in range(2, highest + 1):
        power: Series = {}
        for k in range(m, highest + 1):
            if k < highest or tops is None:
                if lower or k == highest:
                    term = _product(raised[-1], u, k, square=m == 2)
                    if term is not None:
                        power[k] = bundle.total(term) if k == highest else term
            else:
                known = tops[m - 2]
                if known is not None:
                    power[k] = known
        raised.append(power)
    return raised


def _product(a: Series, b: Series, k: int, *, square: bool) -> Tensor | None:
    """``Σ_{0<i<k} a_i b_{k-i}``; of a square each product is formed once."""
    total: Tensor | None = None
    if square and k % 2 == 0 and k // 2 in a:
        total = a[k // 2] * a[k // 2]
    for i in range(1, (k + 1) // 2 if square else k):
        if i in a and k - i in b:
            if total is None:
                total = a[i] * b[k - i]
                if square:
                    total *= 2.0
            else:
                total.addcmul_(a[i], b[k - i], value=2.0 if square else 1.0)
    return total


def _combine(ladder: Ladder, raised: Sequence[Series], k: int, out: Tensor) -> None:
    """``Σ_m g_m p^m_k``, written to a place."""
    empty = True
    for factor, power in zip(ladder[1:], raised, strict=False):
        if factor is not None and k in power:
            if empty:
                torch.mul(power[k], factor, out=out)
                empty = False
            else:
                out.addcmul_(power[k], factor)
    if empty:
        out.zero_()


def _correlate(slope: Tensor | None, h: Series, ȳ: Series, k: int, out: Tensor, bundle: Bundle) -> None:
    """``Σ_{l >= k} h_{l-k} ȳ_l``, written to a place."""
    empty = True
    if slope is not None and k in ȳ:
        torch.mul(ȳ[k], slope, out=out)
        empty = False
    for l in range(k + 1, bundle.order + 1):
        if l in ȳ and l - k in h:
            gradient = bundle.spread(ȳ[l]) if l == bundle.order else ȳ[l]
            if empty:
                torch.mul(h[l - k], gradient, out=out)
                empty = False
            else:
                out.addcmul_(h[l - k], gradient)
    if empty:
        out.zero_()
