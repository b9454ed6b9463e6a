"""One axis at a time: from samples of a function to samples of its derivative, at the same or at other nodes.

A real linear map of samples: a product with a small matrix or, for a Fourier basis of more than some tens of
points, a real FFT there and back. That is one node of the autograd graph, whose transpose is of the same
kind: no complex tensors are differentiated, derivatives exist to every order and ``torch.func`` works. A
trace (``torch.compile``, ``torch.export``) contains matrix products only, and sizes may stay symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import pi
from typing import Any

import torch
from torch import Tensor

from sciml.kernels.basis import Basis, Fourier
from sciml.kernels.products import plain
from sciml.kernels.spectral import without_autocast

# A product costs two operations per sample of the finer and point of the coarser grid. Measured on one x86
# core with MKL, 10^6 numbers in float32 and float64: with 64 points on the coarser grid it is as fast as the
# FFT of sizes with small prime factors, with 128 it takes twice and with 512 seven times as long. The FFT of
# a size with a prime factor above 13 takes as long as the product with 512 points.
PRODUCTS_UP_TO = 64
PRODUCTS_OF_LARGE_PRIMES_UP_TO = 512
# Grids x orders x dtypes in use at once.
CACHED_MATRICES = 128


@dataclass(frozen=True)
class Transfer:
    """Samples on `source` nodes to those of a derivative of their interpolant on `size` nodes.

    Parameters
    ----------
    source, size : int
        Points of the axis before and after.
    order : int
        Of the derivative.
    length : float
        Of the domain; the functions of a basis live on [0, 1].
    """

    source: int
    size: int
    order: int = 0
    length: float = 1.0


def carry(u: Tensor, axes: Sequence[int], transfers: Sequence[Transfer], basis: Basis) -> Tensor:
    """Apply one transfer along each of the axes (negative), in float32 at least."""
    wanted = [(a, t) for a, t in zip(axes, transfers, strict=True) if t.order > 0 or t.size != t.source]
    wanted.sort(key=lambda item: item[1].size / item[1].source)  # what makes the field smaller comes first
    with without_autocast(u.device.type):
        result = u.to(torch.promote_types(u.dtype, torch.float32))
        for axis, transfer in wanted:
            result = _along(result, axis, transfer, basis)
        return result.to(u.dtype)


def roomy(size: int, source: int) -> int:
    """A size of at least `size` to which transfers from `source` points are fast."""
    if plain() or source <= PRODUCTS_UP_TO:
        return size
    while size % 8 or not _smooth(size, 5):  # the sizes that real FFTs like best
        size += 1
    return size


def _along(u: Tensor, axis: int, transfer: Transfer, basis: Basis) -> Tensor:
    if plain() or type(u) not in (Tensor, torch.nn.Parameter):
        # What is only a shape or a symbol must not enter the cache, and without a cache the product of the
        # two matrices would cost more than it saves.
        analysis, synthesis = (matrix.to(u.dtype) for matrix in _matrices(basis, transfer, u.device))
        return _product(synthesis, _product(analysis, u, axis), axis)
    if isinstance(basis, Fourier) and _prefers_fft(transfer) and u.numel() > 0:
        return _by_fft(u, axis, transfer, False)
    return _product(_matrix(basis, transfer, u.dtype, u.device), u, axis)


def _prefers_fft(transfer: Transfer) -> bool:
    coarser = min(transfer.source, transfer.size)
    if coarser <= PRODUCTS_UP_TO:
        return False
    smooth = _smooth(transfer.source, 13) and _smooth(transfer.size, 13)
    return smooth or coarser > PRODUCTS_OF_LARGE_PRIMES_UP_TO


@lru_cache
def _smooth(size: int, largest: int) -> bool:
    """Whether no prime factor of a size exceeds `largest`."""
    for factor in range(2, largest + 1):
        while size % factor == 0:
            size //= factor
    return size == 1


def _matrices(basis: Basis, transfer: Transfer, device: torch.device) -> tuple[Tensor, Tensor]:
    """(count, source) and (size, count), with as many functions as both grids have."""
    source, size, order = transfer.source, transfer.size, transfer.order
    count = source if source <= size else size  # of min() a symbolic trace knows less
    analysis = basis.analysis(source, device=device)[:count]
    return analysis, basis.synthesis(size, count, order, device=device) / transfer.length**order


@lru_cache(maxsize=CACHED_MATRICES)
def _matrix(basis: Basis, transfer: Transfer, dtype: torch.dtype, device: torch.device) -> Tensor:
    # A tensor born in inference mode could never be used for training afterwards.
    with torch.inference_mode(False), torch.no_grad():
        analysis, synthesis = _matrices(basis, transfer, device)
        return (synthesis @ analysis).to(dtype)


def _product(matrix: Tensor, u: Tensor, axis: int) -> Tensor:
    if axis == -1:
        return u @ matrix.T
    product: Tensor = matrix @ u.flatten(axis + 1)
    return product.reshape(*product.shape[:-1], *u.shape[axis + 1 :])


def _by_fft(u: Tensor, axis: int, transfer: Transfer, transposed: bool) -> Tensor:
    result: Tensor = _ByFFT.apply(u, axis, transfer, transposed)  # type: ignore[no-untyped-call]
    return result


class _ByFFT(torch.autograd.Function):
    """One transfer along one axis (negative), or its transpose; it keeps nothing for the backward pass."""

    @staticmethod
    def forward(u: Tensor, axis: int, transfer: Transfer, transposed: bool) -> Tensor:
        size = transfer.source if transposed else transfer.size
        top = min(transfer.source, transfer.size) // 2
        modes = torch.fft.rfft(u, dim=axis, norm="forward").narrow(axis, 0, top + 1)
        factors = _factors(transfer, transposed, modes.dtype, u.device)
        modes = modes * factors.reshape(-1, *[1] * (-axis - 1))
        if 2 * top == size:
            modes.select(axis, top).imag.zero_()  # the sine of the Nyquist frequency vanishes at the nodes
        samples: Tensor = torch.fft.irfft(modes, n=size, dim=axis, norm="forward")
        return samples

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, *ctx.settings = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        axis, transfer, transposed = ctx.settings
        return _by_fft(gradient, axis, transfer, not transposed), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return _by_fft(tangent, *ctx.settings)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int, None, None, None], u: Tensor, *settings: Any
    ) -> tuple[Tensor, int]:
        return _by_fft(u.movedim(in_dims[0], 0), *settings), 0


@lru_cache(maxsize=CACHED_MATRICES)
def _factors(transfer: Transfer, transposed: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    r"""What each coefficient is multiplied by between the two transforms, (min(n, m)//2 + 1,).

    With c_k(n) = 1 for k = 0 and k = n/2, else 2, the map from n to m samples is
    ``y_j = Re Σ_k c_k(n) (2πik/L)^p X_k exp(2πi k j / m)``, and the inverse transform counts c_k(m). In the
    transposed map source and target change places, i becomes -i, and the average is over n instead of m.
    """
    source, size = transfer.source, transfer.size
    with torch.inference_mode(False), torch.no_grad():
        k = torch.arange(min(source, size) // 2 + 1, dtype=torch.float64, device=device)
        factors = (2.0 * pi / transfer.length * k) ** transfer.order
        if transposed:
            factors = factors * (size / source)
        else:
            count, counted = (1.0 + ((k > 0) & (2 * k != n)).to(k.dtype) for n in (source, size))
            factors = factors * count / counted
        unit = (1, 1j, -1, -1j)[(-transfer.order if transposed else transfer.order) % 4]
        return (unit * factors).to(dtype)
