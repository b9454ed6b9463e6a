"""The spectral layer in Triton kernels, for GPUs: samples are read once and written once.

Three steps: the lowest Fourier modes of each plane (`analysis`), their products with one matrix per
frequency (`mixing`), and samples again, with the skip path, the bias and the activation (`synthesis`). What
passes between them has the size of the modes. Importing this module imports no Triton.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from sciml.kernels.contractions import Dense
from sciml.kernels.spectral import check
from sciml.kernels.triton.guard import available, wanted
from sciml.kernels.triton.plain import plain_layer

__all__ = ["available", "spectral_layer", "usable"]

ACTIVATIONS = (None, "gelu", "gelu_first")
PRECISIONS = ("tf32x3", "tf32", "bf16")


def usable(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernels take these tensors.

    That is: plain tensors in float32 or bfloat16 on one NVIDIA GPU of compute capability 8.0 or later, Triton
    installed, ``SCIML_KERNELS=reference`` not set, no graph being exported, and no transformation of
    ``torch.func`` at work, ``vmap`` over x excepted: forward-mode derivatives exist in the plain path only.
    With ``TRITON_INTERPRET=1`` tensors on the CPU are taken as well, for tests.
    """
    tensors = x, weight
    if any(t.dtype not in (torch.float32, torch.bfloat16) or t.numel() == 0 for t in tensors):
        return False
    if x.device != weight.device or not wanted(x.device):
        return False
    if torch.compiler.is_compiling():
        return not torch.compiler.is_exporting()
    return all(type(t) in (Tensor, torch.nn.Parameter) for t in tensors) and not _transformed(weight)


def spectral_layer(
    x: Tensor,
    weight: Tensor,
    modes: Sequence[int],
    skip: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    activation: str | None = None,
    precision: str = "tf32x3",
    out_shape: Sequence[int] | None = None,
) -> Tensor:
    r"""One Fourier layer, ``σ(K x + W x + b)`` or ``K σ(x) + W σ(x) + b``, K being `spectral_conv`.

    Parameters
    ----------
    x : (batch, c_in, n_1, ..., n_d) real
        Periodic fields; any d >= 1.
    weight : (2 m_1, ..., 2 m_{d-1}, m_d, c_in, c_out, 2) real
        One complex matrix per frequency as real pairs, see `sciml.kernels.spectral_conv`.
    modes : d integers
        ``m_1, ..., m_d``.
    skip : (c_out, c_in) or None
        W, the same at every point; only where the result has the grid of x.
    bias : (c_out,) or None
    activation : None, "gelu" or "gelu_first"
        σ is nothing or the exact GELU ``z Φ(z)``, applied to the result or to x. In a chain of layers the
        second form moves and keeps less: a layer has one field to write, and its input is all it keeps.
    precision : "tf32x3", "tf32" or "bf16"
        How the kernels multiply; sums are in float32 always. "tf32x3" is as exact as float32; "tf32" rounds
        factors to 10 bits (about 3e-4 of the result), "bf16" to 7 (about 3e-3, and high modes lose more: not
        for losses and gradients of spectra). `sciml.kernels.precision` emulates all three. The plain path
        computes in float32 or what is wider.
    out_shape : d integers, default: the grid of x
        The grid on which the result is sampled.

    Returns
    -------
    (batch, c_out, *out_shape) in the dtype of x

    Raises
    ------
    ValueError
        If a shape, a dtype, the activation or the precision does not fit.

    Notes
    -----
    Where `usable` says no, the layer is computed from `sciml.kernels.transform` and torch operations. For the
    backward pass the kernels keep the coefficients of x at the frequencies in use and the weight; x itself
    for the gradient of a skip path, and what GELU is applied to. Derivatives of gradients
    (``create_graph=True``) take the plain path.

    The first calls with a new grid, number of modes or width compile and measure a few sizes of blocks, which
    takes some seconds each.

    Source: Li et al., *Fourier Neural Operator*, ICLR 2021 (arXiv:2010.08895), equation (2) with (4), (5).

    Examples
    --------
    >>> import torch
    >>> x, weight = torch.randn(2, 3, 16, 16), torch.randn(8, 4, 3, 5, 2)
    >>> spectral_layer(x, weight, (4, 4), torch.randn(5, 3), activation="gelu").shape
    torch.Size([2, 5, 16, 16])
    """
    modes = tuple(modes)
    check(x, Dense(weight), modes, tuple(range(len(modes))), len(modes))
    out_shape = tuple(x.shape[2:]) if out_shape is None else tuple(out_shape)
    _check(x, weight, out_shape, skip, bias)
    if activation not in ACTIVATIONS:
        raise ValueError(f"spectral_layer: activation must be one of {ACTIVATIONS}, got {activation!r}.")
    if precision not in PRECISIONS:
        raise ValueError(f"spectral_layer: precision must be one of {PRECISIONS}, got {precision!r}.")
    chosen = activation or "none"
    if not usable(x, weight):
        return plain_layer(x, weight, modes, out_shape, skip, bias, chosen)
    from sciml.kernels.triton import ops  # imports Triton

    y: Tensor
    y, _, _ = ops.spectral_layer(x, weight, skip, bias, list(modes), list(out_shape), chosen, precision)
    return y


def _transformed(weight: Tensor) -> bool:
    """Whether ``torch.func`` or forward mode takes derivatives, or vmap has a batch of weights."""
    if forward_ad._current_level >= 0:
        return True
    stack = torch._C._functorch.get_interpreter_stack() or []
    kinds = {interpreter.key() for interpreter in stack}
    return bool(kinds - {torch._C._functorch.TransformType.Vmap}) or torch._C._functorch.is_batchedtensor(
        weight
    )


def _check(
    x: Tensor, weight: Tensor, out_shape: tuple[int, ...], skip: Tensor | None, bias: Tensor | None
) -> None:
    c_in, c_out = weight.shape[-3], weight.shape[-2]
    if len(out_shape) != x.ndim - 2 or any(n < 1 for n in out_shape):
        raise ValueError(
            f"spectral_layer: out_shape must be {x.ndim - 2} positive grid sizes, got {out_shape}."
        )
    if skip is not None and tuple(skip.shape) != (c_out, c_in):
        raise ValueError(
            f"spectral_layer: skip must have shape (c_out, c_in) = ({c_out}, {c_in}), got "
            f"{tuple(skip.shape)}."
        )
    if skip is not None and out_shape != tuple(x.shape[2:]):
        raise ValueError(
            f"spectral_layer: with a skip path the result has the grid of x, {tuple(x.shape[2:])}, got "
            f"out_shape {out_shape}. Pass skip=None and add what else you need on the other grid."
        )
    if bias is not None and tuple(bias.shape) != (c_out,):
        raise ValueError(
            f"spectral_layer: bias must have shape (c_out,) = ({c_out},), got {tuple(bias.shape)}."
        )
