"""Spectral convolution: multiplication of the lowest Fourier coefficients by one matrix per frequency."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import prod

import torch
from torch import Tensor

from sciml.kernels.fourier import matrix


def spectral_conv(
    x: Tensor, weight: Tensor, modes: Sequence[int], *, out_shape: Sequence[int] | None = None
) -> Tensor:
    r"""Multiply the Fourier coefficients of periodic fields by a complex matrix per frequency.

    ``y_o(ξ) = Re Σ_k c(k_d) Σ_i R_io(k) X_i(k) exp(2πi k·ξ)`` with ``X_i(k)`` the Fourier coefficients of the
    trigonometric polynomial through the samples, ``-m_a <= k_a < m_a`` on every axis but the last,
    ``0 <= k_d < m_d`` on the last one, and ``c = 1`` for ``k_d = 0``, else 2.

    Parameters
    ----------
    x : (batch, c_in, n_1, ..., n_d) real
        Samples at ``ξ_a = j / n_a``; the right end of the period is not repeated. Any d >= 1.
    weight : (c_in, c_out, 2 m_1, ..., 2 m_{d-1}, m_d, 2) real
        ``R(k)`` as pairs (real part, imaginary part), frequencies in ascending order: ``-m_a..m_a-1`` on
        every axis but the last, ``0..m_d-1`` on the last.
    modes : d integers
        ``m_1, ..., m_d``, each at least 1.
    out_shape : d integers, default: the grid of x
        The grid on which the result is sampled.

    Returns
    -------
    (batch, c_out, *out_shape) in the dtype of x

    Raises
    ------
    ValueError
        If a rank, a shape, a dtype or a number of modes does not fit.

    Notes
    -----
    The layer is a map between functions: its value does not depend on the grids as long as they resolve the
    kept frequencies. Where a grid is too coarse, the frequencies that it cannot represent are left out
    (`frequency_range`). The Nyquist frequency of the input grid stands for the cosine, that of a coarser
    output grid is sampled as it is; on ``k_d = 0`` the real part makes the spectrum Hermitian. At equal grids
    all this is ``irfftn(pad(R * truncate(rfftn(x))))``.

    The arithmetic is real and at least in float32: halves (also under autocast) are widened, and the result
    is rounded back to the dtype of x. Weights are never stored narrower than the caller's. Everything is
    matrix products, so derivatives of any order, ``torch.func`` and ``torch.export`` work; tensors are traced
    with fixed grid sizes.

    Source: Li et al., *Fourier Neural Operator*, ICLR 2021 (arXiv:2010.08895), equations (4) and (5).

    Examples
    --------
    The heat equation ``u_t = ν u_xx`` over a time t multiplies by ``exp(-ν (2πk)² t)``:

    >>> import torch
    >>> from sciml.kernels import spectral_conv
    >>> ξ = torch.arange(16, dtype=torch.float64) / 16
    >>> decay = torch.exp(-0.01 * (2 * torch.pi * torch.arange(4, dtype=torch.float64)) ** 2)
    >>> weight = torch.stack((decay, torch.zeros(4, dtype=torch.float64)), dim=-1)[None, None]
    >>> u = spectral_conv(torch.cos(6 * torch.pi * ξ)[None, None], weight, (4,))
    >>> torch.allclose(u[0, 0], decay[3] * torch.cos(6 * torch.pi * ξ))
    True
    """
    modes = tuple(modes)
    out_shape = tuple(x.shape[2:] if out_shape is None else out_shape)
    _check(x, weight, modes, out_shape)
    dtype = torch.promote_types(torch.promote_types(x.dtype, weight.dtype), torch.float32)
    with _without_autocast(x.device.type):
        return _convolve(x.to(dtype), weight.to(dtype), modes, out_shape).to(x.dtype)


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


def _convolve(x: Tensor, weight: Tensor, modes: tuple[int, ...], out_shape: tuple[int, ...]) -> Tensor:
    batch, shape, rank = x.shape[0], tuple(x.shape[2:]), len(modes)
    ranges = [
        frequency_range(m, n, n_out, half=axis == rank - 1)
        for axis, (m, n, n_out) in enumerate(zip(modes, shape, out_shape, strict=True))
    ]
    counts = [last - first + 1 for first, last in ranges]
    # Samples to coefficients, last axis first. The frequencies of finished axes collect in one, (k_d, ..,
    # k_a). The contracted axis is brought to the end: one large product of contiguous rows each, here and in
    # backward.
    spectrum = x.reshape(-1, shape[-1]) @ matrix("half_analysis", shape[-1], *ranges[-1], shape[-1], x)
    for axis in reversed(range(rank - 1)):
        n = shape[axis]
        columns = spectrum.reshape(-1, n, prod(counts[axis + 1 :]), 2).transpose(1, 2).reshape(-1, 2 * n)
        spectrum = columns @ matrix("analysis", n, *ranges[axis], n, x)

    spectrum = _mix(spectrum.reshape(batch, weight.shape[0], prod(counts), 2), _used(weight, modes, ranges))

    # Coefficients to samples, first axis first, the same steps backwards.
    for axis in range(rank - 1):
        n = out_shape[axis]
        columns = spectrum.reshape(-1, 2 * counts[axis])
        samples = columns @ matrix("synthesis", n, *ranges[axis], shape[axis], x)
        spectrum = samples.reshape(-1, prod(counts[axis + 1 :]), n, 2).transpose(1, 2)
    samples = spectrum.reshape(-1, 2 * counts[-1]) @ matrix(
        "half_synthesis", out_shape[-1], *ranges[-1], shape[-1], x
    )
    return samples.reshape(batch, weight.shape[1], *out_shape)


def _mix(spectrum: Tensor, weight: Tensor) -> Tensor:
    """A matrix per frequency: (batch, c_in, K, 2), (K, c_in, c_out, 2) -> (batch, c_out, K, 2).

    Real and imaginary parts of the batch are rows, those of the weight columns of one real product, whose
    four blocks are then added up. This reads the weight, the largest operand, once.
    """
    batch, c_in, count, _ = spectrum.shape
    c_out = weight.shape[2]
    rows = spectrum.permute(2, 3, 0, 1).reshape(count, 2 * batch, c_in)
    product = torch.bmm(rows, weight.reshape(count, c_in, 2 * c_out)).view(count, 2, batch, c_out, 2)
    of_real, of_imaginary = product.unbind(1)
    (rr, ri), (ir, ii) = of_real.unbind(-1), of_imaginary.unbind(-1)
    return torch.stack((rr - ii, ri + ir), dim=-1).permute(1, 2, 0, 3)


def _used(weight: Tensor, modes: tuple[int, ...], ranges: list[tuple[int, int]]) -> Tensor:
    """The weights of the used frequencies, (K, c_in, c_out, 2) with (k_d, .., k_1) in one axis."""
    rank = len(modes)
    for axis, (first, last) in enumerate(ranges):
        offset = modes[axis] if axis < rank - 1 else 0
        weight = weight.narrow(2 + axis, first + offset, last - first + 1)
    return weight.permute(*reversed(range(2, 2 + rank)), 0, 1, 2 + rank).flatten(0, rank - 1)


def _without_autocast(device_type: str) -> AbstractContextManager[object]:
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()  # keeps the region out of exported graphs


def _check(x: Tensor, weight: Tensor, modes: tuple[int, ...], out_shape: tuple[int, ...]) -> None:
    rank = len(modes)
    if rank < 1 or any(m < 1 for m in modes):
        raise ValueError(
            f"spectral_conv: modes must name at least one axis, with at least 1 mode each, got {modes}."
        )
    for name, tensor in (("x", x), ("weight", weight)):
        if not tensor.is_floating_point():
            raise ValueError(
                f"spectral_conv: {name} must be real floating point, got {tensor.dtype}. Complex weights are "
                "passed as real pairs, torch.view_as_real(weight); integers as x.float()."
            )
    if x.ndim != rank + 2 or min(x.shape[2:]) < 1:
        raise ValueError(
            f"spectral_conv: x must have shape (batch, c_in, *grid) with {rank} grid axes, one per entry "
            f"of modes, and at least one point on each, got {tuple(x.shape)}."
        )
    stored = (*(2 * m for m in modes[:-1]), modes[-1], 2)
    if weight.ndim != rank + 3 or weight.shape[0] != x.shape[1] or tuple(weight.shape[2:]) != stored:
        raise ValueError(
            f"spectral_conv: weight must have shape (c_in, c_out, *frequencies, 2) = ({x.shape[1]}, c_out, "
            f"{', '.join(map(str, stored))}) for modes {modes}, got {tuple(weight.shape)}."
        )
    if len(out_shape) != rank or any(n < 1 for n in out_shape):
        raise ValueError(
            f"spectral_conv: out_shape must be {rank} positive grid sizes, one per axis, got {out_shape}."
        )
