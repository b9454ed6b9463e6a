r"""The product of two jets, element by element, as one differentiable operation on blocks of elements.

``c_k = Σ_{i+j=k} a_i b_j``, the highest order of a collapsed bundle summed over the directions.
Multiplicative gates (of a modified MLP, say) are made of it. By single operations each term would be a pass
over the columns through memory, and autograd would keep most of them; this one keeps its factors. Derivatives
of its backward pass are those of the reference, `plain_product`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from sciml.kernels.jet_chain import Source
from sciml.kernels.jet_series import Bundle, Series, join, order_of, split

# Bytes of a block of the columns of one factor; about five such blocks are in use at a time.
BLOCK = 2**20

Operand = tuple[Tensor | None, Tensor | None, Tensor | None]


def plain_product(operation: Callable[[Tensor, Tensor], Tensor], a: Source, b: Source) -> tuple[Tensor, int]:
    """A bilinear operation on two jets by operations of torch alone: its columns and their degree.

    Parameters
    ----------
    operation : callable
        Takes (columns, *shape of a) and (columns, *shape of b), where one number of columns may be one.
    """
    bundles = a.bundles
    degree = min(a.degree + b.degree, order_of(bundles))
    (a0, a_rest), (b0, b_rest) = a.apart(), b.apart()
    parts = zip(
        bundles,
        split(operation(a_rest, b0), bundles, a.degree),
        split(operation(a0, b_rest), bundles, b.degree),
        split(a_rest, bundles, a.degree),
        split(b_rest, bundles, b.degree),
        strict=True,
    )
    series = [_merged(operation, *part, degree=degree) for part in parts]
    return join(operation(a0, b0), series, bundles, degree), degree


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


def product_of(a: Source, b: Source) -> Tensor:
    """The columns of a product of two jets of one shape and of the highest degree."""
    result: Tensor = _Product.apply(a.bundles, *_operand(a), *_operand(b))  # type: ignore[no-untyped-call]
    return result


def _operand(source: Source) -> Operand:
    if source.stack is not None:
        return source.stack, None, None
    value, rest = source.apart()
    return None, value[0], rest.expand(-1, *source.shape)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, bundles: tuple[Bundle, ...], *operands: Tensor | None) -> Tensor:
        ctx.bundles = bundles
        ctx.save_for_backward(*operands)
        a, b = _columns(operands[:3]), _columns(operands[3:])
        result = a[0].new_empty(1 + len(a[1]), a[0].numel())
        for place in _blocks(result):
            (a0, a_rest), (b0, b_rest) = _block(a, place), _block(b, place)
            block = result[:, place]
            torch.mul(a0, b0, out=block[0])
            torch.mul(a_rest, b0, out=block[1:]).addcmul_(b_rest, a0)
            for bundle, u, v, out in _parts(bundles, a_rest, b_rest, block[1:]):
                for k in range(2, bundle.order + 1):
                    _add_cross(bundle, u, v, k, out[k])
        return result.reshape(-1, *a[0].shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        operands, needed = ctx.saved_tensors, ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():
            return None, *_differentiable_backward(ctx.bundles, operands, gradient, needed)
        a, b = _columns(operands[:3]), _columns(operands[3:])
        found: list[Tensor | None] = []
        for mine, own, other in ((needed[:3], operands[:3], b), (needed[3:], operands[3:], a)):
            gradients = [
                torch.empty_like(t, memory_format=torch.contiguous_format) if t is not None and need else None
                for t, need in zip(own, mine, strict=True)
            ]
            if any(mine):
                _transposed(ctx.bundles, gradient, other, gradients)
            found += gradients
        return None, *found


def _columns(operand: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
    """Value and the other columns."""
    stack, value, rest = operand
    if stack is not None:
        return stack[0], stack[1:]
    assert value is not None and rest is not None
    return value, rest


def _blocks(columns: Tensor) -> Iterator[slice]:
    """Parts of the elements of (columns, elements)."""
    count, elements = columns.shape
    length = (
        elements if columns.device.type != "cpu" else max(2048, BLOCK // (count * columns.element_size()))
    )
    for start in range(0, elements, length):
        yield slice(start, start + length)


def _block(columns: tuple[Tensor, Tensor], place: slice) -> tuple[Tensor, Tensor]:
    value, rest = columns
    return value.reshape(-1)[place], rest.reshape(len(rest), -1)[:, place]


def _parts(
    bundles: Sequence[Bundle], a: Tensor, b: Tensor, c: Tensor
) -> Iterator[tuple[Bundle, Series, Series, Series]]:
    degree = order_of(bundles)
    return zip(
        bundles, split(a, bundles, degree), split(b, bundles, degree), split(c, bundles, degree), strict=True
    )


def _add_cross(bundle: Bundle, a: Series, b: Series, k: int, out: Tensor) -> None:
    """Add ``Σ_{0<i<k} a_i b_{k-i}`` to a place."""
    if k < bundle.order or not bundle.collapsed:
        for i in range(1, k):
            out.addcmul_(a[i], b[k - i])
        return
    total = a[1] * b[k - 1]
    for i in range(2, k):
        total.addcmul_(a[i], b[k - i])
    out += bundle.total(total)


def _transposed(
    bundles: Sequence[Bundle],
    gradient: Tensor,
    other: tuple[Tensor, Tensor],
    gradients: Sequence[Tensor | None],
) -> None:
    """Write the gradient of a factor: ``ā_i = Σ_k b_{k-i} grad_c_k``, over all directions for the value."""
    whole = gradient.reshape(len(gradient), -1)
    stack, value, rest = gradients
    of_value = stack[0] if stack is not None else value
    of_rest = stack[1:] if stack is not None else rest
    for place in _blocks(whole):
        b0, b_rest = _block(other, place)
        c = whole[:, place]
        if of_value is not None:
            total = torch.mul(c[1:], b_rest).sum(0).addcmul_(c[0], b0)
            of_value.view(-1)[place] = total
        if of_rest is None:
            continue
        block = of_rest.view(len(of_rest), -1)[:, place]
        torch.mul(c[1:], b0, out=block)
        for bundle, b, grad_c, out in _parts(bundles, b_rest, c[1:], block):
            for k in range(2, bundle.order + 1):
                c_k = bundle.spread(grad_c[k]) if k == bundle.order else grad_c[k]
                for i in range(1, k):
                    out[i].addcmul_(b[k - i], c_k)


def _differentiable_backward(
    bundles: tuple[Bundle, ...], operands: Sequence[Tensor | None], gradient: Tensor, needed: Sequence[bool]
) -> list[Tensor | None]:
    with torch.enable_grad():
        # Aliases tell apart the uses of a tensor that is both factors.
        aliases = [None if t is None else t.view_as(t) for t in operands]
        degree = order_of(bundles)
        a, b = Source(bundles, degree, *aliases[:3]), Source(bundles, degree, *aliases[3:])
        result, _ = plain_product(torch.mul, a, b)
        wanted = [t for t, need in zip(aliases, needed, strict=True) if need and t is not None]
        found = iter(torch.autograd.grad(result, wanted, gradient, create_graph=True, allow_unused=True))
    return [next(found) if need and t is not None else None for t, need in zip(aliases, needed, strict=True)]
