"""A small network applied at every point of a field."""

from __future__ import annotations

from collections.abc import Iterator
from math import pi, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu

from sciml.kernels.products import plain, product

# Hidden values at once: 2 MB in float32, which stay in the cache of a core.
CHUNK = 2**19


def pointwise_mlp(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """``W2 GELU(W1 x(ξ) + b1) + b2`` at every point ξ.

    Parameters
    ----------
    x : (batch, c_in, points)
    w1, b1 : (hidden, c_in), (hidden,)
    w2, b2 : (c_out, hidden), (c_out,)

    Returns
    -------
    (batch, c_out, points)

    Notes
    -----
    The hidden values, by far the largest tensor of such a network, are computed a piece at a time and again
    in the backward pass, so they are never stored as a whole: less memory, and less time too, since the
    pieces stay in the cache. Derivatives of any order and ``torch.func`` work.

    Examples
    --------
    >>> import torch
    >>> x, w1, w2 = torch.randn(2, 3, 50), torch.randn(8, 3), torch.randn(1, 8)
    >>> pointwise_mlp(x, w1, torch.zeros(8), w2, torch.zeros(1)).shape
    torch.Size([2, 1, 50])
    """
    if plain() or x.device.type != "cpu":
        return _whole(x, w1, b1, w2, b2)
    result: Tensor = _PointwiseMLP.apply(x, w1, b1, w2, b2)  # type: ignore[no-untyped-call]
    return result


def _whole(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    hidden = gelu(torch.baddbmm(b1[:, None], w1.expand(x.shape[0], *w1.shape), x))
    return torch.baddbmm(b2[:, None], w2.expand(x.shape[0], *w2.shape), hidden)


class _PointwiseMLP(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        result = x.new_empty(x.shape[0], w2.shape[0], x.shape[2])
        for sample, place in _pieces(x, len(w1)):
            piece = x[sample, :, place].contiguous()
            active = gelu(product(w1, piece).add_(b1[:, None]))
            result[sample, :, place] = product(w2, active).add_(b2[:, None])
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        x, w1, b1, w2, _ = ctx.saved_tensors
        if torch.is_grad_enabled():  # a derivative will be taken of this: whole, and by differentiable steps
            before = w1 @ x + b1[:, None]
            inner = (w2.T @ gradient) * gelu_slope(before)
            of_w1 = (inner @ x.transpose(1, 2)).sum(0)
            of_w2 = (gradient @ gelu(before).transpose(1, 2)).sum(0)
            return w1.T @ inner, of_w1, inner.sum((0, 2)), of_w2, gradient.sum((0, 2))
        of_x = gradient.new_empty(x.shape)  # of the gradient, which vmap may have batched
        of_w1, of_b1, of_w2 = (gradient.new_zeros(parameter.shape) for parameter in (w1, b1, w2))
        for sample, place in _pieces(x, len(w1)):
            piece, outer = x[sample, :, place].contiguous(), gradient[sample, :, place].contiguous()
            before = product(w1, piece).add_(b1[:, None])
            of_w2 += product(outer, gelu(before).T)
            inner = torch.ops.aten.gelu_backward(product(w2.T, outer), before)
            of_w1 += product(inner, piece.T)
            of_b1 += inner.sum(1)
            of_x[sample, :, place] = product(w1.T, inner)
        return of_x, of_w1, of_b1, of_w2, gradient.sum((0, 2))

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        x, w1, b1, w2, _ = ctx.saved_tensors
        dx, dw1, db1, dw2, db2 = (
            torch.zeros_like(i) if t is None else t for i, t in zip(ctx.saved_tensors, tangents, strict=True)
        )
        before = w1 @ x + b1[:, None]
        inner = (w1 @ dx + dw1 @ x + db1[:, None]) * gelu_slope(before)
        change: Tensor = w2 @ inner + dw2 @ gelu(before) + db2[:, None]
        return change

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        return torch.vmap(_whole, in_dims)(*inputs), 0


def gelu_slope(x: Tensor) -> Tensor:
    """The derivative of GELU, ``Φ(x) + x φ(x)`` with the normal distribution Φ and its density φ."""
    return 0.5 * (1.0 + torch.erf(x / sqrt(2.0))) + x * torch.exp(-0.5 * x * x) / sqrt(2.0 * pi)


def _pieces(x: Tensor, hidden: int) -> Iterator[tuple[int, slice]]:
    """One sample at a time, and of a large one a part of its points."""
    points = max(1, CHUNK // hidden)
    for sample in range(x.shape[0]):
        for start in range(0, x.shape[2], points):
            yield sample, slice(start, start + points)
