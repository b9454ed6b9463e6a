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
from sciml.kernels.jet_fused import only_plain
from sciml.kernels.jet_product import plain_product, product_of
from sciml.kernels.jet_registry import rule, unsupported
from sciml.kernels.jet_series import join, order_of, split
from sciml.kernels.jet_tensor import Jet

Operand = Jet | Tensor | float


# Sums and products.


@rule(torch.add)
def add(a: Operand, b: Operand, *, alpha: float = 1) -> Jet:
    """a + alpha b."""
    if not isinstance(a, Jet):
        assert isinstance(b, Jet)
        stack = b.settled.stack
        if isinstance(a, float | int) and stack is not None:
            return Jet.stacked(torch.add(_in_value(a, stack), stack, alpha=alpha), b)
        a, b, alpha = (b, a, 1) if alpha == 1 else (multiply(alpha, b), a, 1)
    assert isinstance(a, Jet)
    if not isinstance(b, Jet):
        stack = a.settled.stack
        if isinstance(b, float | int) and stack is not None:
            return Jet.stacked(stack + _in_value(alpha * b, stack), a)
        value = torch.add(a.value, b, alpha=alpha)
        return Jet.apart(value, lifted(a.rest, value.ndim), a)
    a, b = of_one_degree(a, b)
    first, second = a.settled, b.settled
    if first.stack is not None and second.stack is not None and a.shape == b.shape:
        return Jet.stacked(torch.add(first.stack, second.stack, alpha=alpha), a)
    ndim = max(a.ndim, b.ndim)
    value = torch.add(a.value, b.value, alpha=alpha)
    return Jet.apart(value, torch.add(lifted(a.rest, ndim), lifted(b.rest, ndim), alpha=alpha), a)


def _in_value(number: float, stack: Tensor) -> Tensor:
    """A number in the value and zero in all other columns: one pass over the stack, and one back."""
    columns = stack.new_zeros(len(stack), *(1,) * (stack.ndim - 1))
    columns[0] = number
    return columns


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
        if a.shape == b.shape:
            return _product(a, b)
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


def _product(a: Jet, b: Jet) -> Jet:
    """The product of jets of one shape."""
    a, b = _ready(a, b)
    degree = order_of(a.bundles)
    if a.degree < degree or b.degree < degree:
        return bilinear(torch.mul, a, b)
    first, second = a.settled, b.settled
    tensors = [t for source in (first, second) for t in (source.stack, source.value, source.rest)]
    if only_plain(tensors, a.bundles):
        return bilinear(torch.mul, a, b)
    return Jet.stacked(product_of(first, second), a)


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


def _ready(a: Jet, b: Jet) -> tuple[Jet, Jet]:
    """Two jets of one sweep, the shorter way to be computed first: the longer one may lead over it."""
    if a.bundles is not b.bundles:
        raise ValueError(
            "sciml.kernels.jet: two jets of different sweeps meet in one operation: one was kept from "
            "another call of `jet` or `directional_sums`. Use a jet only within its call."
        )
    if a.pending > b.pending:
        _ = b.settled
    return a, b


def of_one_degree(a: Jet, b: Jet) -> tuple[Jet, Jet]:
    """Two jets of one sweep with columns of the same orders."""
    a, b = _ready(a, b)
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
    a, b = _ready(a, b)
    columns, degree = plain_product(operation, a.settled, b.settled)
    return Jet.stacked(columns, a, degree)
