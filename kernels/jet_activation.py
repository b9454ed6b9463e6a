r"""A function of every element on a block of columns, and its transpose, for `sciml.kernels.jet_fused`.

Nothing here is differentiated by autograd. The common case, a collapsed bundle of second order, is written
out: with ``g_m = f^(m)(u_0)/m!`` and ``q = Σ_r u_1r^2``

    y_1r = g_1 u_1r,        Y_2 = g_1 U_2 + g_2 q,

and, gradients with a bar and ``s = 2 g_2 Ȳ_2``,

    ū_1r = g_1 ȳ_1r + s u_1r,        Ū_2 = g_1 Ȳ_2,
    ū_0 = g_1 ȳ_0 + 2 g_2 Σ_r ȳ_1r u_1r + s U_2 + 3 g_3 q Ȳ_2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sciml.kernels.jet_series import Bundle, Ladder, Series, compose, compose_transposed, split


def activate(
    ladder: Ladder,
    rest: Tensor,
    bundles: Sequence[Bundle],
    degree: int,
    *,
    only_top: bool,
    squares: Sequence[Tensor | None] | None = None,
) -> tuple[Tensor, list[Tensor | None]]:
    """The columns of f(u).

    Parameters
    ----------
    ladder : tensors (points, features) or None
        ``f^(m)(u_0)/m!`` for m = 0..K at least.
    rest : (columns - 1, points or 1, features)
        The columns of u behind the value.
    only_top : bool
        Whether only the value and the highest order of each bundle are wanted.
    squares : sequence, optional
        What an earlier call returned, to be used again.

    Returns
    -------
    stack of columns, and per bundle the q above, or None
    """
    value = ladder[0]
    assert value is not None
    stack = value.new_empty(_columns(bundles, only_top), *value.shape)
    stack[0] = value
    kept: list[Tensor | None] = []
    slots = _slots(stack, bundles, only_top)
    for n, (bundle, u, slot) in enumerate(zip(bundles, split(rest, bundles, degree), slots, strict=True)):
        if _written_out(bundle, ladder):
            known = None if squares is None else squares[n]
            kept.append(_second(ladder, u, slot, known))
            continue
        series = compose(ladder, u, bundle, only_top=only_top)
        for k, place in slot.items():
            if k in series:
                place.copy_(series[k])
            else:
                place.zero_()
        kept.append(None)
    return stack, kept


def activate_transposed(
    ladder: Ladder,
    rest: Tensor,
    gradient: Tensor,
    bundles: Sequence[Bundle],
    degree: int,
    *,
    only_top: bool,
    squares: Sequence[Tensor | None],
) -> Tensor:
    """The gradient with respect to the columns of u, (columns, points, features), from that of f(u).

    Parameters
    ----------
    ladder : tensors (points, features) or None
        ``f^(m)(u_0)/m!`` for m = 0..K+1 at least.
    gradient : stack of columns
        Of the columns that `activate` returned.
    """
    columns = 1 + sum(sum(bundle.widths(degree)) for bundle in bundles)
    result = gradient.new_empty(columns, *gradient.shape[1:])
    slope = ladder[1]
    if slope is None:
        result[0].zero_()
    else:
        torch.mul(gradient[0], slope, out=result[0])
    places = split(result[1:], bundles, degree)
    for bundle, u, ȳ, ū, q in zip(
        bundles,
        split(rest, bundles, degree),
        _slots(gradient, bundles, only_top),
        places,
        squares,
        strict=True,
    ):
        if _written_out(bundle, ladder):
            assert q is not None
            result[0] += _second_transposed(ladder, u, ȳ, ū, q)
            continue
        series, of_value = compose_transposed(ladder, u, ȳ, bundle)
        for k, place in ū.items():
            place.copy_(series[k])
        if of_value is not None:
            result[0] += of_value
    return result


def _columns(bundles: Sequence[Bundle], only_top: bool) -> int:
    if only_top:
        return 1 + sum(bundle.width(bundle.order) for bundle in bundles)
    return 1 + sum(sum(bundle.widths(bundle.order)) for bundle in bundles)


def _slots(stack: Tensor, bundles: Sequence[Bundle], only_top: bool) -> Iterator[Series]:
    """Per bundle, where in the stack its orders lie."""
    start = 1
    for bundle in bundles:
        slot = {}
        for k in [bundle.order] if only_top else range(1, bundle.order + 1):
            slot[k] = stack[start : start + bundle.width(k)]
            start += bundle.width(k)
        yield slot


def _written_out(bundle: Bundle, ladder: Ladder) -> bool:
    smooth = all(g is not None for g in ladder[1:])
    return bundle.order == 2 and bundle.collapsed and bundle.weights is None and smooth


def _second(ladder: Ladder, u: Series, slot: Series, q: Tensor | None) -> Tensor:
    _, g1, g2, *_ = ladder
    assert g1 is not None and g2 is not None
    first = u[1]
    if q is None:
        # Squares of unshared columns go where the first order will be written: no allocation.
        scratch = slot.get(1) if first.shape[1:] == g1.shape else None
        q = torch.mul(first, first, out=scratch).sum(0)
    if 1 in slot:
        torch.mul(first, g1, out=slot[1])
    highest = torch.mul(g2, q, out=slot[2][0])
    if 2 in u:
        highest.addcmul_(g1, u[2][0])
    return q


def _second_transposed(ladder: Ladder, u: Series, ȳ: Series, ū: Series, q: Tensor) -> Tensor:
    _, g1, g2, g3, *_ = ladder
    assert g1 is not None and g2 is not None and g3 is not None
    highest = ȳ[2][0]
    s = (2.0 * g2).mul_(highest)
    of_value = (3.0 * g3).mul_(q).mul_(highest)
    if 1 in ȳ:
        products = torch.mul(ȳ[1], u[1], out=ū[1])
        of_value.addcmul_(g2, products.sum(0), value=2.0)
        torch.mul(ȳ[1], g1, out=ū[1]).addcmul_(u[1], s)
    else:
        torch.mul(u[1], s, out=ū[1])
    if 2 in u:
        of_value.addcmul_(s, u[2][0])
        torch.mul(g1, highest, out=ū[2][0])
    return of_value
