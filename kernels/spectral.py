"""Spectral convolution: multiplication of the lowest Fourier coefficients by one matrix per frequency."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
from torch import Tensor

from sciml.kernels.contractions import Contraction, Dense
from sciml.kernels.convolution import convolve
from sciml.kernels.fourier import Line
from sciml.kernels.products import plain, precision
from sciml.kernels.transform import Transform, to_grid, to_modes


def spectral_conv(
    x: Tensor,
    weight: Tensor | Contraction,
    modes: Sequence[int],
    *,
    axes: Sequence[int] | None = None,
    out_shape: Sequence[int] | None = None,
) -> Tensor:
    r"""Multiply the Fourier coefficients of periodic fields by a complex matrix per frequency.

    ``y_o(ξ) = Re Σ_k c(k_d) Σ_i R_io(k) X_i(k) exp(2πi k·ξ)`` with ``X_i(k)`` the Fourier coefficients of the
    trigonometric polynomial through the samples, ``-m_a <= k_a < m_a`` on every axis but the last,
    ``0 <= k_d < m_d`` on the last one, and ``c = 1`` for ``k_d = 0``, else 2.

    Parameters
    ----------
    x : (batch, c_in, n_1, ..., n_r) real
        Samples at ``ξ_a = j / n_a``; the right end of the period is not repeated. Any r >= 1.
    weight : (2 m_1, ..., 2 m_{d-1}, m_d, c_in, c_out, 2) real, or Contraction
        ``R(k)`` as pairs (real part, imaginary part), frequencies in ascending order: ``-m_a..m_a-1`` on
        every axis but the last, ``0..m_d-1`` on the last. Or factors that stand for such a tensor.
    modes : d integers
        ``m_1, ..., m_d``, each at least 1.
    axes : d ascending integers from 0 to r - 1, default: all axes of the grid
        The axes that are transformed; every position along the others is a sample of its own.
    out_shape : r integers, default: the grid of x
        The grid on which the result is sampled. Axes that are not transformed keep their size.

    Returns
    -------
    (batch, c_out, *out_shape) in the dtype of x

    Raises
    ------
    ValueError
        If a rank, a shape, a dtype, an axis or a number of modes does not fit.

    Notes
    -----
    The layer is a map between functions: its value does not depend on the grids as long as they resolve the
    kept frequencies. Where a grid is too coarse, the frequencies that it cannot represent are left out
    (`frequency_range`). The Nyquist frequency of the input grid stands for the cosine, that of a coarser
    output grid is sampled as it is; on ``k_d = 0`` the real part makes the spectrum Hermitian. At equal grids
    all this is ``irfftn(pad(R * truncate(rfftn(x))))``.

    The arithmetic is real and at least in float32: halves (also under autocast) are widened, and the result
    is rounded back to the dtype of x. The transforms are products with small matrices or FFTs, whichever is
    faster (`sciml.kernels.transform`). The backward pass keeps the kept coefficients of x and the weight,
    nothing else; derivatives of any order and ``torch.func`` work. A traced graph (``torch.compile``,
    ``torch.export``) consists of real matrix products.

    Source: Li et al., *Fourier Neural Operator*, ICLR 2021 (arXiv:2010.08895), equations (4) and (5).

    Examples
    --------
    The heat equation ``u_t = ν u_xx`` over a time t multiplies by ``exp(-ν (2πk)² t)``:

    >>> import torch
    >>> from sciml.kernels import spectral_conv
    >>> ξ = torch.arange(16, dtype=torch.float64) / 16
    >>> decay = torch.exp(-0.01 * (2 * torch.pi * torch.arange(4, dtype=torch.float64)) ** 2)
    >>> weight = torch.stack((decay, torch.zeros(4, dtype=torch.float64)), dim=-1)[:, None, None]
    >>> u = spectral_conv(torch.cos(6 * torch.pi * ξ)[None, None], weight, (4,))
    >>> torch.allclose(u[0, 0], decay[3] * torch.cos(6 * torch.pi * ξ))
    True
    """
    contraction = Dense(weight) if isinstance(weight, Tensor) else weight
    modes = tuple(modes)
    rank = len(modes) if axes is None else x.ndim - 2
    axes = tuple(range(rank) if axes is None else axes)
    check(x, contraction, modes, axes, rank)
    shape = tuple(x.shape[2:])
    out_shape = shape if out_shape is None else tuple(out_shape)
    _check_out_shape(shape, axes, out_shape)
    if x.is_cuda and isinstance(weight, Tensor) and axes == tuple(range(x.ndim - 2)):
        from sciml.kernels import triton

        if triton.usable(x, weight):
            return triton.spectral_layer(x, weight, modes, precision=precision(), out_shape=out_shape)
    dtype = torch.float32
    for tensor in (x, *contraction.tensors):
        dtype = torch.promote_types(dtype, tensor.dtype)
    with without_autocast(x.device.type):
        analysis, synthesis, kept = plan(modes, axes, shape, out_shape)
        used = contraction.to(dtype).narrow(kept)
        if isinstance(used, Dense) and not plain():
            return convolve(x.to(dtype), used.weight, None, None, analysis, synthesis).to(x.dtype)
        return to_grid(used.mix(to_modes(x.to(dtype), analysis)), synthesis).to(x.dtype)


def frequency_range(modes: int, size: int, out_size: int, *, half: bool) -> tuple[int, int]:
    """First and last frequency that `spectral_conv` uses along one axis.

    Parameters
    ----------
    modes : int
        The m of the axis.
    size, out_size : int
        Points of the input and of the output grid along it.
    half : bool
        Whether it is the last axis, on which k and -k are one.

    Examples
    --------
    >>> frequency_range(4, 32, 32, half=False), frequency_range(4, 32, 32, half=True)
    ((-4, 3), (0, 3))
    >>> frequency_range(16, 12, 12, half=False)  # the -6 of 12 points stands for ±6
    (-6, 5)
    """
    last = min(modes - 1, size // 2 if half else (size - 1) // 2, out_size // 2)
    return (0 if half else max(-modes, -(size // 2), -(out_size // 2))), last


Plan = tuple[Transform, Transform, tuple[tuple[int, int], ...]]


def plan(
    modes: tuple[int, ...], axes: tuple[int, ...], shape: tuple[int, ...], out_shape: tuple[int, ...]
) -> Plan:
    """Analysis on the grid of x, synthesis on that of the result, and the part of the weight they use."""
    # Sizes of a traced graph may be symbols, which have no hash; not every tracer says that it compiles.
    if torch.compiler.is_compiling() or any(type(n) is not int for n in (*shape, *out_shape)):
        return _plan(modes, axes, shape, out_shape)
    return _plan_once(modes, axes, shape, out_shape)


def _plan(
    modes: tuple[int, ...], axes: tuple[int, ...], shape: tuple[int, ...], out_shape: tuple[int, ...]
) -> Plan:
    analysis, synthesis, kept = [], [], []
    for axis, m in zip(axes, modes, strict=True):
        n, n_out, half = shape[axis], out_shape[axis], axis == axes[-1]
        first, last = frequency_range(m, n, n_out, half=half)
        analysis.append(Line(n, first, last, half))
        synthesis.append(Line(n_out, first, last, half, source=n))
        offset = 0 if half else m
        kept.append((first + offset, last + offset + 1))
    return Transform(shape, axes, tuple(analysis)), Transform(out_shape, axes, tuple(synthesis)), tuple(kept)


_plan_once = lru_cache(maxsize=256)(_plan)


def without_autocast(device_type: str) -> AbstractContextManager[object]:
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()  # keeps the region out of exported graphs


def check(x: Tensor, weight: Contraction, modes: tuple[int, ...], axes: tuple[int, ...], rank: int) -> None:
    if not modes or any(m < 1 for m in modes):
        raise ValueError(
            f"spectral_conv: modes must name at least one axis, with at least 1 mode each, got {modes}."
        )
    for name, tensor in (("x", x), *(("weight", tensor) for tensor in weight.tensors)):
        if not tensor.is_floating_point():
            raise ValueError(
                f"spectral_conv: {name} must be real floating point, got {tensor.dtype}. Complex weights are "
                "passed as real pairs, torch.view_as_real(weight); integers as x.float()."
            )
    # Sizes one by one: their minimum would order the symbolic sizes of an exported graph.
    if rank < 1 or x.ndim != rank + 2 or any(n < 1 for n in x.shape[2:]):
        raise ValueError(
            f"spectral_conv: x must have shape (batch, c_in, *grid) with {rank} grid axes, one per entry "
            f"of modes, and at least one point on each, got {tuple(x.shape)}."
        )
    if len(axes) != len(modes) or list(axes) != sorted(set(axes)) or not 0 <= axes[0] <= axes[-1] < rank:
        raise ValueError(
            f"spectral_conv: axes must be {len(modes)} ascending grid axes from 0 to {rank - 1}, one per "
            f"entry of modes {modes}, got {axes}."
        )
    stored = (*(2 * m for m in modes[:-1]), modes[-1])
    if weight.frequencies != stored or weight.channels[0] != x.shape[1]:
        raise ValueError(
            f"spectral_conv: weight must have shape (*frequencies, c_in, c_out, 2) = "
            f"({', '.join(map(str, stored))}, {x.shape[1]}, c_out, 2) for modes {modes}, got "
            f"{(*weight.frequencies, *weight.channels, 2)}."
        )


def _check_out_shape(shape: tuple[int, ...], axes: tuple[int, ...], out_shape: tuple[int, ...]) -> None:
    if len(out_shape) != len(shape) or any(n < 1 for n in out_shape):
        raise ValueError(
            f"spectral_conv: out_shape must be {len(shape)} positive grid sizes, got {out_shape}."
        )
    if any(n != m for a, (n, m) in enumerate(zip(shape, out_shape, strict=True)) if a not in axes):
        raise ValueError(
            f"spectral_conv: out_shape {out_shape} changes an axis of the grid {shape} that is not "
            f"transformed; only axes {axes} are."
        )
