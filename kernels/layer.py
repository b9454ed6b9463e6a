"""One layer of a Fourier neural operator: activation, spectral convolution, skip path and bias in one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import gelu

from sciml.kernels.contractions import Contraction, Dense
from sciml.kernels.convolution import convolve
from sciml.kernels.products import of_one_precision, plain, precision
from sciml.kernels.spectral import check, plan, spectral_conv


def spectral_layer(
    x: Tensor,
    weight: Tensor | Contraction,
    modes: Sequence[int],
    skip: Tensor,
    bias: Tensor,
    *,
    activation: bool = True,
) -> Tensor:
    """``K a + S a + b`` of ``a = GELU(x)``, with K the spectral convolution and S a matrix at every point.

    Parameters
    ----------
    x : (batch, c_in, *grid)
    weight, modes
        As for `spectral_conv`; the result lies on the grid of x.
    skip : (c_out, c_in)
    bias : (c_out,)
    activation : bool
        Without it, ``a = x``.

    Returns
    -------
    (batch, c_out, *grid)

    Raises
    ------
    ValueError
        As `spectral_conv`.

    Notes
    -----
    The activation stands at the entrance, where it is cheap to repeat: all that the backward pass keeps is x
    and the modes. The bias enters as the constant mode, and the skip path adds itself to the result of the
    transform, so neither takes a pass over the field. Derivatives of any order and ``torch.func`` work.

    Examples
    --------
    >>> import torch
    >>> x, weight = torch.randn(4, 3, 16, 16), torch.randn(8, 4, 3, 5, 2)
    >>> spectral_layer(x, weight, (4, 4), torch.randn(5, 3), torch.zeros(5)).shape
    torch.Size([4, 5, 16, 16])
    """
    modes = tuple(modes)
    if x.is_cuda and isinstance(weight, Tensor):
        from sciml.kernels import triton

        if triton.usable(x, weight):
            first = "gelu_first" if activation else None
            return triton.spectral_layer(
                x, weight, modes, skip, bias, activation=first, precision=precision()
            )
    if plain() or not isinstance(weight, Tensor) or not of_one_precision(x, weight, skip, bias):
        return _composed(x, weight, modes, skip, bias, activation)
    axes = tuple(range(len(modes)))
    check(x, Dense(weight), modes, axes, len(modes))
    shape = tuple(x.shape[2:])
    analysis, synthesis, kept = plan(modes, axes, shape, shape)
    used = Dense(weight).narrow(kept).weight
    return convolve(x, used, skip, bias, analysis, synthesis, activation=activation)


def _composed(
    x: Tensor,
    weight: Tensor | Contraction,
    modes: tuple[int, ...],
    skip: Tensor,
    bias: Tensor,
    activation: bool,
) -> Tensor:
    a = gelu(x) if activation else x
    local = torch.baddbmm(bias[:, None], skip.expand(a.shape[0], *skip.shape), a.flatten(2))
    return spectral_conv(a, weight, modes) + local.reshape(a.shape[0], skip.shape[0], *a.shape[2:])
