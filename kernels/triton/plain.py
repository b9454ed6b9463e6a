"""The layer and its derivatives in differentiable torch operations: the reference, and higher derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from sciml.kernels import spectral
from sciml.kernels.contractions import Dense
from sciml.kernels.transform import Transform, to_grid, to_modes

# Grids and numbers of modes in use at once.
CACHED_PLANS = 64

Kept = tuple[tuple[int, int], ...]
Transforms = tuple[Transform, Transform, Kept]


def plan(modes: Sequence[int], shape: Sequence[int], out_shape: Sequence[int]) -> Transforms:
    """Analysis on the grid of x, synthesis on that of the result, and the part of the weight they use."""
    sizes = tuple(modes), tuple(shape), tuple(out_shape)
    if all(type(n) is int for group in sizes for n in group):
        return _plan_once(*sizes)
    return _plan(*sizes)  # sizes of a trace may be symbols, which no dictionary takes


def _plan(modes: tuple[int, ...], shape: tuple[int, ...], out_shape: tuple[int, ...]) -> Transforms:
    return spectral.plan(modes, tuple(range(len(modes))), shape, out_shape)


_plan_once = lru_cache(maxsize=CACHED_PLANS)(_plan)


def plain_layer(
    x: Tensor,
    weight: Tensor,
    modes: Sequence[int],
    out_shape: Sequence[int],
    skip: Tensor | None,
    bias: Tensor | None,
    activation: str,
) -> Tensor:
    """The layer in matrix products, at least in float32, of which every kind of derivative exists."""
    analysis, synthesis, kept = plan(modes, x.shape[2:], out_shape)
    tensors = [tensor for tensor in (x, weight, skip, bias) if tensor is not None]
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    with torch.autocast(x.device.type, enabled=False):
        wide = functional.gelu(x.to(dtype)) if activation == "gelu_first" else x.to(dtype)
        y = to_grid(Dense(weight.to(dtype)).narrow(kept).mix(to_modes(wide, analysis)), synthesis)
        if skip is not None:
            y = y + apply_skip(skip.to(dtype), wide)
        if bias is not None:
            y = y + bias.to(dtype).reshape(-1, *[1] * len(modes))
        return (functional.gelu(y) if activation == "gelu" else y).to(x.dtype)


def differentiable_gradients(
    gradient: Tensor,
    coefficients: Tensor,
    x: Tensor | None,
    weight: Tensor,
    skip: Tensor | None,
    transforms: Transforms,
    extra: Tensor | None,
    first: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Gradients of x, weight, skip and bias in float32, themselves differentiable.

    Parameters
    ----------
    gradient : (batch, c_out, *out_shape)
        With respect to what the activation is applied to.
    coefficients : (*frequencies, 2, batch, c_in)
        The modes of the input, x or GELU(x).
    x : (batch, c_in, *shape) or None
        Needed for the gradient of skip and if `first`; without it these parts are left out.
    extra : (*frequencies, 2, batch, c_in) or None
        A gradient with respect to the coefficients.
    first : bool
        Whether the input of the layer is GELU(x).
    """
    analysis, synthesis, kept = transforms
    gradient = gradient.float()
    of_mixed = to_modes(gradient, synthesis)
    narrow = Dense(weight.float()).narrow(kept).weight
    adjoint = torch.stack((narrow[..., 0], -narrow[..., 1]), dim=-1).transpose(-2, -3)
    of_modes = Dense(adjoint).mix(of_mixed)
    if extra is not None:
        of_modes = of_modes + extra
    of_x = to_grid(of_modes, analysis)
    (re, im), (g_re, g_im) = coefficients.unbind(-3), of_mixed.unbind(-3)
    re, im = re.transpose(-1, -2), im.transpose(-1, -2)
    of_weight = torch.stack((re @ g_re + im @ g_im, re @ g_im - im @ g_re), dim=-1)
    of_skip = None
    if skip is not None:
        of_x = of_x + apply_skip(skip.float().T, gradient)
    if skip is not None and x is not None:
        entered = functional.gelu(x.float()) if first else x.float()
        of_skip = torch.einsum("bop,bip->oi", gradient.flatten(2), entered.flatten(2))
    if first and x is not None:
        of_x = gated(of_x, x)
    return of_x, pad(of_weight, weight.shape, kept), of_skip, gradient.flatten(2).sum((0, 2))


def gated(gradient: Tensor, z: Tensor) -> Tensor:
    """``gradient GELU'(z)`` in float32, differentiable in both."""
    product: Tensor = torch.ops.aten.gelu_backward(gradient.float(), z.float())
    return product


def apply_skip(skip: Tensor, x: Tensor) -> Tensor:
    """``Σ_i skip[o, i] x[b, i, ...]``."""
    return torch.einsum("oi,bip->bop", skip, x.flatten(2)).reshape(x.shape[0], -1, *x.shape[2:])


def pad(of_weight: Tensor, shape: torch.Size, kept: Kept) -> Tensor:
    """Zeros where the grid does not resolve a frequency."""
    if of_weight.shape == shape:
        return of_weight
    ends = [(start, size - stop) for (start, stop), size in zip(kept, shape, strict=False)]
    return functional.pad(of_weight, [0, 0] * 3 + [end for pair in reversed(ends) for end in pair])
