r"""Truncated Taylor series along directions: how their columns lie, multiply, and pass through a function.

A *bundle* is a family of R directions v_r along which series ``u(t) = Σ_k u_k t^k``, ``k <= K``, run; the
order 0 is the value, which all bundles share. Of a collapsed bundle only the sum ``Σ_r w_r u_K^(r)`` of the
highest coefficients is carried: each operation maps the highest coefficient by a linear map that does not
depend on the direction, and adds a function of the lower ones, so the sum is all it needs.

Coefficients are Taylor's, ``u_k = 1/k! d^k u / dt^k``. The coefficients of one order are one tensor ``(width,
*shape)``, width = R, or 1 for the sum; a series is a dict ``{order: tensor}`` without the value, absent
orders are zero.

Source: A. Griewank, A. Walther, Evaluating Derivatives (2008), chapter 13; F. Dangel, T. Siebert, M.
Zeinhofer, A. Walther, Collapsing Taylor mode automatic differentiation (2025), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Series = dict[int, Tensor]
# f^(m)(u) / m! for m = 0, 1, ...; None is zero.
Ladder = Sequence[Tensor | None]


@dataclass(frozen=True, eq=False)
class Bundle:
    """Directions with series of one order.

    Parameters
    ----------
    order : int
        K >= 1.
    count : int
        R, the number of directions.
    collapsed : bool
        Whether the coefficients of order K are carried as their weighted sum.
    weights : (R,), optional
        w_r of that sum; without, they are all one.
    """

    order: int
    count: int
    collapsed: bool
    weights: Tensor | None = None

    def width(self, order: int) -> int:
        """Columns of the coefficients of one order."""
        return 1 if self.collapsed and order == self.order else self.count

    def widths(self, degree: int) -> list[int]:
        """Columns of the orders 1, 2, ... of series that are polynomials of some degree."""
        return [self.width(k) for k in range(1, min(degree, self.order) + 1)]

    def total(self, terms: Tensor) -> Tensor:
        """(R, ...) -> (1, ...), the weighted sum; terms themselves if the bundle is not collapsed."""
        if not self.collapsed:
            return terms
        if self.weights is None:
            return terms.sum(0, keepdim=True)
        weighted: Tensor = torch.tensordot(self.weights[None], terms, 1)
        return weighted

    def spread(self, gradient: Tensor) -> Tensor:
        """(1, ...) -> (1 or R, ...), the transpose of `total`, to be broadcast."""
        if not self.collapsed or self.weights is None:
            return gradient
        return self.weights.reshape(-1, *(1,) * (gradient.ndim - 1)) * gradient


def order_of(bundles: Sequence[Bundle]) -> int:
    """The highest order."""
    return max([bundle.order for bundle in bundles])


def split(rest: Tensor, bundles: Sequence[Bundle], degree: int) -> list[Series]:
    """The columns behind the value, (columns, *shape), as one series per bundle."""
    widths = [bundle.widths(degree) for bundle in bundles]
    parts = iter(rest.split([w for of_bundle in widths for w in of_bundle]))
    return [{k: next(parts) for k in range(1, len(of_bundle) + 1)} for of_bundle in widths]


def join(value: Tensor, series: Sequence[Series], bundles: Sequence[Bundle], degree: int) -> Tensor:
    """The value (1, *shape) and one series per bundle as one stack of columns, (columns, *shape)."""
    columns = [value]
    for bundle, part in zip(bundles, series, strict=True):
        for k, width in enumerate(bundle.widths(degree), start=1):
            column = part.get(k)
            if column is None:
                columns.append(value.new_zeros(()).expand(width, *value.shape[1:]))
            else:
                columns.append(column.expand(width, *value.shape[1:]))
    return torch.cat(columns)


def top(value: Tensor, series: Sequence[Series], bundles: Sequence[Bundle]) -> Tensor:
    """The value (1, *shape) and the highest coefficients of each bundle as one stack of columns."""
    highest = [
        part.get(bundle.order, value.new_zeros(())).expand(bundle.width(bundle.order), *value.shape[1:])
        for bundle, part in zip(bundles, series, strict=True)
    ]
    return torch.cat([value, *highest])


def times(a: Series, b: Series, bundle: Bundle) -> Series:
    """The product of two series without values: ``c_k = Σ_{0<i<k} a_i b_{k-i}``."""
    product: Series = {}
    for k in range(2, bundle.order + 1):
        if a is b:  # every pair i < j counts twice, the middle one once
            sums = [2.0 * a[i] * a[k - i] for i in range(1, (k + 1) // 2) if i in a and k - i in a]
            if k % 2 == 0 and k // 2 in a:
                sums.append(a[k // 2].square())
        else:
            sums = [a[i] * b[k - i] for i in range(1, k) if i in a and k - i in b]
        if sums:
            total = sums[0]
            for term in sums[1:]:
                total = total + term
            product[k] = bundle.total(total) if k == bundle.order else total
    return product


def compose(ladder: Ladder, u: Series, bundle: Bundle, *, only_top: bool = False) -> Series:
    """The series of ``f(u)`` without its value: ``Σ_m f^(m)(u_0)/m! (Σ_k u_k t^k)^m``.

    Parameters
    ----------
    ladder : sequence of (*shape,) or None
        ``f^(m)(u_0)/m!`` for m = 0..K at least.
    u : series
        That of the argument.
    only_top : bool
        Whether the coefficient of order K is all that is asked for.
    """
    orders = [bundle.order] if only_top else list(range(1, bundle.order + 1))
    result: Series = {}
    power = u
    for m in range(1, bundle.order + 1):
        if m > 1:
            power = times(power, u, bundle)
        factor = ladder[m]
        if factor is None:
            continue
        for k in orders:
            if k in power:
                term = factor * power[k]
                result[k] = result[k] + term if k in result else term
    return result
