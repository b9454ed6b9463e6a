"""Rules of jets for arithmetic, and how the columns of two jets meet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import log
from typing import Any

import torch
from torch import Tensor

from sciml.kernels import jet_ladders as ladders
from sciml.kernels.jet_chain import Activation
from sciml.kernels.jet_registry import rule, unsupported
from sciml.kernels.jet_series import Bundle, Series, join, order_of, split
from sciml.kernels.jet_tensor import Jet

Operand = Jet | Tensor | float


# Sums and products.


@rule(torch.add)
def add(a: Operand, b: Operand, *, alpha: float = 1) -> Jet:
    """a + alpha b."""
    if not isinstance(a, Jet):
        a, b, alpha = (b, a, 1) if alpha == 1 else (multiply(alpha, b), a, 1)
    assert isinstance(a, Jet)
    if not isinstance(b, Jet):
        value = torch.add(a.value, b, alpha=alpha)
        return Jet.apart(value, lifted(a.rest, value.ndim), a)
    a, b = of_one_degree(a, b)
    first, second = a.settled, b.settled
    if first.stack is not None and second.stack is not None and a.shape == b.shape:
        return Jet.stacked(torch.add(first.stack, second.stack, alpha=alpha), a)
    ndim = max(a.ndim, b.ndim)
    value = torch.add(a.value, b.value, alpha=alpha)
    return Jet.apart(value, torch.add(lifted(a.rest, ndim), lifted(b.rest, ndim), alpha=alpha), a)


@rule(torch.sub, torch.subtract)
def subtract(a: Operand, b: Operand, *, alpha: float = 1) -> Jet:
    """a - alpha b."""
    return add(a, b, alpha=-alpha)


@rule(torch.rsub, Tensor.__rsub__)
def _subtract_from(a: Operand, b: Operand, *, alpha: float = 1) -> Jet:
    return subtract(b, a, alpha=alpha)


@rule(torch.neg, torch.negative)
def _negative(x: Jet) -> Jet:
    return x.times_number(-1.0)


@rule(torch.mul, torch.multiply)
def multiply(a: Operand, b: Operand) -> Jet:
    """a b."""
    if isinstance(a, Jet) and isinstance(b, Jet):
        ndim = max(a.ndim, b.ndim)
        return bilinear(torch.mul, reshaped(a, ndim), reshaped(b, ndim))
    if not isinstance(a, Jet):
        a, b = b, a
    assert isinstance(a, Jet) and not isinstance(b, Jet)
    if not isinstance(b, Tensor):
        return a.times_number(b)
    ndim = max(a.ndim, b.ndim)
    source = a.settled
    if source.stack is not None and torch.broadcast_shapes(a.shape, b.shape) == a.shape:
        return Jet.stacked(source.stack * b, a)
    return Jet.apart(a.value * b, lifted(a.rest, ndim) * b, a)


@rule(torch.div, torch.divide, torch.true_divide)
def divide(a: Operand, b: Operand, *, rounding_mode: str | None = None) -> Jet:
    """a / b."""
    if rounding_mode is not None:
        raise unsupported(torch.div, f"Only a true division is smooth, got rounding_mode={rounding_mode!r}.")
    if isinstance(b, Jet):
        inverse = b.then(Activation(ladders.reciprocal))
        return inverse if isinstance(a, float | int) and a == 1 else multiply(a, inverse)
    return multiply(a, torch.reciprocal(b) if isinstance(b, Tensor) else 1.0 / b)


@rule(Tensor.__rdiv__, Tensor.__rtruediv__)
def _divide_by(a: Operand, b: Operand) -> Jet:
    return divide(b, a)


@rule(torch.pow, Tensor.__pow__)
def power(a: Operand, b: Operand) -> Jet:
    """a^b; the base is positive unless the exponent is a number."""
    if isinstance(a, Jet) and not isinstance(b, Jet | Tensor):
        return x_to(a, float(b))
    if isinstance(a, Jet):
        base: Any = a.then(Activation(ladders.logarithm))
    else:
        base = torch.log(a) if isinstance(a, Tensor) else log(a)
    return multiply(b, base).then(Activation(ladders.exp))


def x_to(x: Jet, exponent: float) -> Jet:
    """A power with a number as exponent."""
    return x if exponent == 1.0 else x.then(Activation(partial(ladders.power, exponent=exponent)))


@rule(Tensor.__rpow__)
def _power_of(a: Operand, b: Operand) -> Jet:
    return power(b, a)


@rule(torch.addcmul)
def _add_product(x: Any, a: Any, b: Any, *, value: float = 1) -> Jet:
    return add(x, a * b, alpha=value)


@rule(torch.addcdiv)
def _add_quotient(x: Any, a: Any, b: Any, *, value: float = 1) -> Jet:
    return add(x, a / b, alpha=value)


@rule(torch.lerp)
def _between(a: Any, b: Any, weight: Any) -> Jet:
    return add(a, (b - a) * weight)


# Choices by the value.


@rule(torch.where)
def where(condition: Tensor, a: Operand, b: Operand) -> Jet:
    """Element by element one of two jets."""
    if isinstance(a, Jet) and isinstance(b, Jet):
        a, b = of_one_degree(a, b)
    like = a if isinstance(a, Jet) else b
    assert isinstance(like, Jet)
    first, second = (x.value if isinstance(x, Jet) else x for x in (a, b))
    value = torch.where(condition, first, second)
    zero = value.new_zeros(())
    yes, no = (lifted(x.rest, value.ndim) if isinstance(x, Jet) else zero for x in (a, b))
    return Jet.apart(value, torch.where(condition, yes, no), like)


@rule(torch.maximum)
def _maximum(a: Any, b: Any) -> Jet:
    return where(a >= b, a, b)


@rule(torch.minimum)
def _minimum(a: Any, b: Any) -> Jet:
    return where(a <= b, a, b)


# How columns of two jets meet.


def lifted(columns: Tensor, ndim: int) -> Tensor:
    """(columns, *shape) with axes of length one in front of the shape, so that it has ndim axes."""
    return columns.reshape(len(columns), *(1,) * (ndim + 1 - columns.ndim), *columns.shape[1:])


def reshaped(x: Jet, ndim: int) -> Jet:
    """A jet with axes of length one in front, so that it has ndim axes."""
    return x if x.ndim == ndim else x.map(lambda columns: lifted(columns, ndim), ())


def of_one_degree(a: Jet, b: Jet) -> tuple[Jet, Jet]:
    """Two jets of one sweep with columns of the same orders."""
    if a.bundles is not b.bundles:
        raise ValueError(
            "sciml.kernels.jet: two jets of different sweeps meet in one operation: one was kept from "
            "another call of `jet` or `directional_sums`. Use a jet only within its call."
        )
    if a.pending > b.pending:  # the shorter way first: the longer one may lead over it
        _ = b.settled
    degree = max(a.degree, b.degree)
    return raised(a, degree), raised(b, degree)


def raised(x: Jet, degree: int) -> Jet:
    """With columns of zeros up to some order."""
    if x.degree == degree:
        return x
    value, rest = x.settled.apart()
    return Jet.stacked(join(value, split(rest, x.bundles, x.degree), x.bundles, degree), x, degree)


def bilinear(operation: Callable[[Tensor, Tensor], Tensor], a: Jet, b: Jet) -> Jet:
    """A bilinear operation: ``c_k = Σ_{i+j=k} a_i · b_j``.

    Parameters
    ----------
    operation : callable
        Takes (columns, *shape of a) and (columns, *shape of b), where one number of columns may be one.
    a, b : Jet
    """
    if a.bundles is not b.bundles:
        of_one_degree(a, b)  # raises
    if a.pending > b.pending:
        _ = b.settled
    bundles = a.bundles
    degree = min(a.degree + b.degree, order_of(bundles))
    (a0, a_rest), (b0, b_rest) = a.settled.apart(), b.settled.apart()
    value = operation(a0, b0)
    parts = zip(
        bundles,
        split(operation(a_rest, b0), bundles, a.degree),
        split(operation(a0, b_rest), bundles, b.degree),
        split(a_rest, bundles, a.degree),
        split(b_rest, bundles, b.degree),
        strict=True,
    )
    series = [_merged(operation, *part, degree=degree) for part in parts]
    return Jet.stacked(join(value, series, bundles, degree), a, degree)


def _merged(
    operation: Callable[[Tensor, Tensor], Tensor],
    bundle: Bundle,
    left: Series,
    right: Series,
    a: Series,
    b: Series,
    *,
    degree: int,
) -> Series:
    """The orders of a product, from its terms with the values, left and right, and those without, a and b."""
    result: Series = {}
    for k in range(1, min(degree, bundle.order) + 1):
        terms = [part[k] for part in (left, right) if k in part]
        cross = [operation(a[i], b[k - i]) for i in range(1, k) if i in a and k - i in b]
        if cross:
            total = sum(cross[1:], cross[0])
            terms.append(bundle.total(total) if k == bundle.order else total)
        if terms:
            result[k] = sum(terms[1:], terms[0])
    return result
