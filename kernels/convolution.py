"""The spectral convolution, with or without the rest of a Fourier layer, as one differentiable step."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu

from sciml.kernels.contractions import mix, mix_backward
from sciml.kernels.pointwise import gelu_slope
from sciml.kernels.products import writable
from sciml.kernels.transform import Transform, to_grid, to_modes


def convolve(
    x: Tensor,
    weight: Tensor,
    skip: Tensor | None,
    bias: Tensor | None,
    analysis: Transform,
    synthesis: Transform,
    *,
    activation: bool = False,
) -> Tensor:
    """``K a + S a + b`` of ``a = x`` or ``a = GELU(x)``; without S and b just ``K a``.

    Parameters
    ----------
    x : (batch, c_in, *grid)
    weight : (*frequencies of the transforms, c_in, c_out, 2)
    skip, bias : (c_out, c_in) and (c_out,), or None
        S needs equal grids before and behind.
    analysis, synthesis : Transform

    Notes
    -----
    The backward pass keeps x, the modes of a and the parameters, and applies the same transforms with their
    roles exchanged. Its derivatives, and those that ``torch.func`` takes, are of steps that autograd knows.
    """
    if writable(x):  # nothing to record: spares the call of an autograd.Function
        return _Convolution.forward(x, weight, skip, bias, analysis, synthesis, activation)[0]
    result, _ = _Convolution.apply(x, weight, skip, bias, analysis, synthesis, activation)  # type: ignore[no-untyped-call]
    return result  # type: ignore[no-any-return]


class _Convolution(torch.autograd.Function):
    """Result and modes of the activated input; the modes are an output for the sake of second derivatives."""

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        skip: Tensor | None,
        bias: Tensor | None,
        analysis: Transform,
        synthesis: Transform,
        activation: bool,
    ) -> tuple[Tensor, Tensor]:
        a = gelu(x) if activation else x
        modes = to_modes(a, analysis)
        mixed = mix(modes, weight)
        if bias is not None:
            mixed[_constant(synthesis)] += bias  # the constant mode adds it without a pass over the field
        result = to_grid(mixed, synthesis).contiguous()
        if skip is not None:
            result.flatten(2).baddbmm_(skip.expand(len(x), *skip.shape), a.flatten(2))
        return result, modes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], outputs: tuple[Tensor, Tensor]) -> None:
        x, weight, skip, _, *ctx.settings = inputs
        kept = (x if skip is not None or ctx.settings[-1] else None), weight, skip, outputs[1]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)

    @staticmethod
    def backward(ctx: Any, outer: Tensor | None, of_modes: Tensor | None) -> tuple[Any, ...]:
        kept, settings = ctx.saved_tensors, ctx.settings
        if outer is None or of_modes is not None or not writable(outer):
            found = _gradients(outer, of_modes, *kept, *settings)
        else:
            found = _gradients_in_place(outer, *kept, *settings)
        return *found, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, Tensor]:
        x, weight, skip, modes = ctx.saved_tensors
        dx, dweight, dskip, dbias, *_ = tangents
        analysis, synthesis, activation = ctx.settings
        dmodes = torch.zeros_like(modes)
        da = None
        if dx is not None:
            da = gelu_slope(x) * dx if activation else dx
            dmodes = to_modes(da, analysis)
        dmixed = mix(dmodes, weight)
        if dweight is not None:
            dmixed = dmixed + mix(modes, dweight)
        change = to_grid(dmixed, synthesis)
        if skip is not None and da is not None:
            change = change + _pointwise(skip, da)
        if dskip is not None:
            change = change + _pointwise(dskip, gelu(x) if activation else x)
        if dbias is not None:
            change = change + _along_channels(dbias, change.ndim)
        return change, dmodes

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[tuple[Tensor, Tensor], Any]:
        *tensors, analysis, synthesis, activation = inputs

        def whole(x: Tensor, weight: Tensor, *around: Tensor) -> tuple[Tensor, Tensor]:
            a = gelu(x) if activation else x
            modes = to_modes(a, analysis)
            y = to_grid(mix(modes, weight), synthesis)
            if around:
                skip, bias = around
                y = y + _pointwise(skip, a) + _along_channels(bias, x.ndim)
            return y, modes

        given = [(t, dim) for t, dim in zip(tensors, in_dims, strict=False) if t is not None]
        return torch.vmap(whole, tuple(dim for _, dim in given))(*(t for t, _ in given)), (0, 0)


def _gradients_in_place(
    outer: Tensor,
    x: Tensor | None,
    weight: Tensor,
    skip: Tensor | None,
    modes: Tensor,
    analysis: Transform,
    synthesis: Transform,
    activation: bool,
) -> tuple[Tensor | None, ...]:
    outer_modes = to_modes(outer, synthesis)
    of_modes, of_weight = mix_backward(modes, weight, outer_modes)
    of_a = to_grid(of_modes, analysis).contiguous()
    of_skip = of_bias = None
    if skip is not None:
        assert x is not None
        flat, a = outer.flatten(2), gelu(x) if activation else x
        of_skip = torch.bmm(flat, a.flatten(2).transpose(1, 2)).sum(0)
        of_bias = outer_modes[_constant(synthesis)].sum(0)
        of_a.flatten(2).baddbmm_(skip.T.expand(len(x), *skip.T.shape), flat)
    if activation:
        assert x is not None
        torch.ops.aten.gelu_backward.grad_input(of_a, x, grad_input=of_a)
    return of_a, of_weight, of_skip, of_bias


def _gradients(
    outer: Tensor | None,
    of_modes: Tensor | None,
    x: Tensor | None,
    weight: Tensor,
    skip: Tensor | None,
    modes: Tensor,
    analysis: Transform,
    synthesis: Transform,
    activation: bool,
) -> tuple[Tensor | None, ...]:
    """The same by steps that autograd and ``torch.func`` can follow."""
    of_a = of_weight = of_skip = of_bias = None
    if outer is not None:
        through, of_weight = mix_backward(modes, weight, to_modes(outer, synthesis))
        of_modes = through if of_modes is None else of_modes + through
        if skip is not None:
            assert x is not None
            a, flat = _flat(gelu(x) if activation else x), _flat(outer)
            of_a = _pointwise(skip.T, outer)
            of_skip, of_bias = (flat @ a.transpose(1, 2)).sum(0), flat.sum((0, 2))
    if of_modes is not None:
        spectral = to_grid(of_modes, analysis)
        of_a = spectral if of_a is None else of_a + spectral
    if activation and of_a is not None:
        assert x is not None
        of_a = of_a * gelu_slope(x)
    return of_a, of_weight, of_skip, of_bias


def _pointwise(matrix: Tensor, x: Tensor) -> Tensor:
    return (matrix @ _flat(x)).reshape(x.shape[0], matrix.shape[0], *x.shape[2:])


def _flat(field: Tensor) -> Tensor:
    """(batch, channel, points); autograd's batches know no ``flatten``."""
    return field.reshape(*field.shape[:2], prod(field.shape[2:]))


def _along_channels(vector: Tensor, ndim: int) -> Tensor:
    return vector.reshape(-1, *[1] * (ndim - 2))


def _constant(transform: Transform) -> tuple[int, ...]:
    """Where the real part of the constant mode lies."""
    return (*(-line.first for line in transform.lines), 0)
