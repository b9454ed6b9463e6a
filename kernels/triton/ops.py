"""The layer as operators that torch knows: shapes without values, derivatives, batching."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from sciml.kernels.contractions import Dense
from sciml.kernels.triton import launch
from sciml.kernels.triton.guard import on_device_of, refuse_forward_mode
from sciml.kernels.triton.plain import Kept, differentiable_gradients, gated, pad, plan

_refuse_forward_mode = partial(
    refuse_forward_mode, "sciml::spectral_layer", "sciml.kernels.triton.spectral_layer"
)


@torch.library.custom_op("sciml::spectral_layer", mutates_args=())
def spectral_layer(
    x: Tensor,
    weight: Tensor,
    skip: Tensor | None,
    bias: Tensor | None,
    modes: list[int],
    out_shape: list[int],
    activation: str,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """y, the modes of the input, and with "gelu" what that is applied to, else an empty tensor."""
    _refuse_forward_mode()
    analysis, synthesis, kept = plan(modes, x.shape[2:], out_shape)
    x = x.contiguous()
    with on_device_of(x):
        first = activation == "gelu_first"
        coefficients, _ = launch.analyze(x, analysis, precision, gelu=first)
        mixed = launch.mix(coefficients, _kept(weight, kept), precision)
        y, z = launch.synthesize(
            mixed,
            synthesis,
            precision,
            x.dtype,
            skip=None if skip is None else launch.Skip(skip.contiguous(), x, first),
            bias=None if bias is None else bias.contiguous(),
            output="gelu" if activation == "gelu" else "plain",
        )
    return y, coefficients, x.new_empty(0) if z is None else z


@spectral_layer.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    skip: Tensor | None,
    bias: Tensor | None,
    modes: list[int],
    out_shape: list[int],
    activation: str,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor]:
    _refuse_forward_mode()
    analysis, _, _ = plan(modes, x.shape[2:], out_shape)
    y = x.new_empty(x.shape[0], weight.shape[-2], *out_shape)
    coefficients = x.new_empty(*analysis.counts, 2, x.shape[0], x.shape[1], dtype=torch.float32)
    return y, coefficients, torch.empty_like(y) if activation == "gelu" else x.new_empty(0)


@torch.library.custom_op("sciml::spectral_layer_backward", mutates_args=())
def spectral_layer_backward(
    gradient: Tensor,
    coefficients: Tensor,
    z: Tensor,
    x: Tensor | None,
    weight: Tensor,
    skip: Tensor | None,
    modes: list[int],
    shape: list[int],
    needed: list[bool],
    activation: str,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, weight, skip and bias from that of y; empty tensors where not needed.

    z belongs to "gelu"; x to the gradient of skip, and to "gelu_first".
    """
    _refuse_forward_mode()
    analysis, synthesis, kept = plan(modes, shape, gradient.shape[2:])
    gradient, x = gradient.contiguous(), None if x is None else x.contiguous()
    first = activation == "gelu_first"
    with on_device_of(gradient):
        gate = z if activation == "gelu" else None
        of_mixed, gated = launch.analyze(gradient, synthesis, precision, z=gate)
        gradient = gradient if gated is None else gated
        of_x, of_weight, of_skip, of_bias = (gradient.new_empty(0) for _ in range(4))
        if needed[0]:
            of_modes = launch.mix_adjoint(of_mixed, _kept(weight, kept), precision)
            through = None if skip is None else launch.Skip(skip.T.contiguous(), gradient, False)
            of_x, _ = launch.synthesize(
                of_modes,
                analysis,
                precision,
                gradient.dtype,
                skip=through,
                output="slope" if first else "plain",
                z=x if first else None,
            )
        if needed[1]:
            of_weight = pad(launch.mix_gradient(coefficients, of_mixed, precision), weight.shape, kept)
        if needed[2]:
            assert x is not None
            of_skip = launch.skip_gradient(gradient, x, precision, first)
        if needed[3]:
            zero = tuple(-line.first for line in synthesis.lines)  # the coefficient of a constant is its sum
            of_bias = of_mixed[zero][0].sum(0)
    return of_x, of_weight, of_skip, of_bias


@spectral_layer_backward.register_fake
def _(
    gradient: Tensor,
    coefficients: Tensor,
    z: Tensor,
    x: Tensor | None,
    weight: Tensor,
    skip: Tensor | None,
    modes: list[int],
    shape: list[int],
    needed: list[bool],
    activation: str,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, c_out = gradient.shape[:2]
    c_in = weight.shape[-3]
    shapes = (batch, c_in, *shape), weight.shape, (c_out, c_in), (c_out,)
    of_x = gradient.new_empty(shapes[0] if needed[0] else 0)
    of_weight, of_skip, of_bias = (
        gradient.new_empty(size if need else 0, dtype=torch.float32 if need else None)
        for size, need in zip(shapes[1:], needed[1:], strict=True)
    )
    return of_x, of_weight, of_skip, of_bias


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, weight, skip, _, modes, out_shape, activation, precision = inputs
    _, coefficients, z = output
    ctx.set_materialize_grads(False)  # nobody differentiates with respect to what is kept: no zeros for it
    of_x, _, of_skip, *_ = ctx.needs_input_grad
    x_enters = of_skip or (of_x and activation == "gelu_first")
    ctx.save_for_backward(coefficients, z, weight, skip, x if x_enters else None)
    ctx.settings = modes, list(x.shape[2:]), out_shape, activation, precision
    ctx.dtypes = [None if tensor is None else tensor.dtype for tensor in inputs[:4]]


def _backward(
    ctx: Any, of_y: Tensor | None, of_coefficients: Tensor | None, of_z: Tensor | None
) -> tuple[Tensor | None, ...]:
    coefficients, z, weight, skip, x = ctx.saved_tensors
    modes, shape, out_shape, activation, precision = ctx.settings
    needed = list(ctx.needs_input_grad[:4])
    gradients: tuple[Tensor | None, ...]
    if of_y is not None and of_coefficients is None and of_z is None and not torch.is_grad_enabled():
        gradients = spectral_layer_backward(
            of_y, coefficients, z, x, weight, skip, modes, shape, needed, activation, precision
        )
    else:  # what is kept is differentiable as well: so are these formulas, to every order
        gradient = coefficients.new_zeros(coefficients.shape[-2], weight.shape[-2], *out_shape)
        if of_y is not None:
            gradient = gradient + (gated(of_y, z) if activation == "gelu" else of_y)
        if of_z is not None and activation == "gelu":
            gradient = gradient + of_z
        transforms = plan(modes, shape, out_shape)
        first = activation == "gelu_first"
        gradients = differentiable_gradients(
            gradient, coefficients, x, weight, skip, transforms, of_coefficients, first
        )
    cast = (
        gradient.to(dtype) if need and gradient is not None else None
        for gradient, dtype, need in zip(gradients, ctx.dtypes, needed, strict=True)
    )
    return *cast, None, None, None, None


spectral_layer.register_autograd(_backward, setup_context=_save)


@spectral_layer.register_vmap
def _(
    info: Any, in_dims: tuple[int | None, ...], x: Tensor, *others: Any
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Fields of several calls with the same weights are one larger batch; other calls are made in turn."""
    size = info.batch_size
    tensors = [isinstance(dim, int) for dim in in_dims]  # lists of integers have lists of None
    if isinstance(in_dims[0], int) and not any(tensors[1:]):
        y, coefficients, z = spectral_layer(x.movedim(in_dims[0], 0).flatten(0, 1), *others)
        z = z.unflatten(0, (size, -1)) if z.numel() else z.new_empty(size, 0)
        batched = y.unflatten(0, (size, -1)), coefficients.unflatten(-2, (size, -1)), z
        return batched, (0, coefficients.ndim - 2, 0)
    calls = []
    for i in range(size):
        values = zip((x, *others), in_dims, tensors, strict=True)
        calls.append(spectral_layer(*(v.select(dim, i) if batched else v for v, dim, batched in values)))
    return tuple(torch.stack(results) for results in zip(*calls, strict=True)), (0, 0, 0)


def _kept(weight: Tensor, kept: Kept) -> Tensor:
    return Dense(weight).narrow(kept).weight.contiguous()
