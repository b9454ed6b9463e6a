"""A small network applied at every point of a field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import pi, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu

from sciml.kernels.products import of_one_precision, plain, product, writable

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
    if plain() or x.device.type != "cpu" or not of_one_precision(x, w1, b1, w2, b2):
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
        affine = torch.cat((w1, b1[:, None]), dim=1)
        for piece, place, (hidden,) in _pieces(x, len(w1), 1):
            product(affine, piece, out=hidden)
            product(w2, torch.ops.aten.gelu_(hidden), out=result[place])
        return result.add_(b2[:, None])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        x, w1, b1, w2, _ = ctx.saved_tensors
        if not writable(gradient):
            before = w1 @ x + b1[:, None]
            inner = (w2.T @ gradient) * gelu_slope(before)
            of_w1 = (inner @ x.transpose(1, 2)).sum(0)
            of_w2 = (gradient @ gelu(before).transpose(1, 2)).sum(0)
            return w1.T @ inner, of_w1, inner.sum((0, 2)), of_w2, gradient.sum((0, 2))
        affine = torch.cat((w1, b1[:, None]), dim=1)
        of_x, of_affine, of_w2 = torch.empty_like(x), torch.zeros_like(affine), torch.zeros_like(w2)
        for piece, place, (hidden, active, inner) in _pieces(x, len(w1), 3):
            outer = gradient[place]
            product(affine, piece, out=hidden)
            of_w2 += product(outer, torch.ops.aten.gelu.out(hidden, out=active).T)
            product(w2.T, outer, out=active)
            torch.ops.aten.gelu_backward.grad_input(active, hidden, grad_input=inner)
            of_affine += product(inner, piece.T)
            product(w1.T, inner, out=of_x[place])
        return of_x, of_affine[:, :-1], of_affine[:, -1], of_w2, gradient.sum((0, 2))

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


Piece = tuple[Tensor, tuple[int, slice, slice], Sequence[Tensor]]


def _pieces(x: Tensor, hidden: int, places: int) -> Iterator[Piece]:
    """Points of one sample at a time, (c_in + 1, points) with a row of ones for the bias; where they lie in
    (batch, channel, points); and places for (hidden, points), which the next piece takes over."""
    most = min(x.shape[2], max(1, CHUNK // hidden))
    piece, values = x.new_ones(x.shape[1] + 1, most), x.new_empty(places, hidden, most)
    for sample in range(x.shape[0]):
        for start in range(0, x.shape[2], most):
            points = min(most, x.shape[2] - start)
            piece[:-1, :points] = x[sample, :, start : start + points]
            yield (
                piece[:, :points],
                (sample, slice(None), slice(start, start + points)),
                values[..., :points].unbind(),
            )
