"""Real matrices of the truncated discrete Fourier transform, one axis at a time.

For a few modes a transform is a small matrix product: exact, fast, differentiable to every order, and without
complex tensors, which compilers, exporters, optimizers and collectives do not all know.

Pairs. Complex numbers lie as neighbors (real part, imaginary part) in the last axis of a tensor, and every
matrix multiplies that axis from the right. Coefficients follow the "forward" convention: ``X(k) = 1/n Σ_j x_j
exp(-2πi k j / n)`` approximates the Fourier coefficient of the function, so it does not depend on the
resolution.

Nyquist. On a grid of even size n the samples cannot tell the frequency n/2 from -n/2; the interpolant with
the least oscillation takes the cosine. A matrix that synthesizes on another grid needs the size of the grid
on which the coefficients were computed to know it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

# Grids x modes x dtypes x devices in use at once: a 3-D layer takes six matrices for each of its resolutions.
CACHED_MATRICES = 128


def matrix(name: str, size: int, first: int, last: int, source: int, like: Tensor) -> Tensor:
    """A transform matrix for the frequencies first..last, in the dtype and on the device of `like`.

    Parameters
    ----------
    name : {"half_analysis", "analysis", "synthesis", "half_synthesis"}
        Which of the four functions of this module builds it.
    size : int
        Grid points n of the axis on the grid side of the matrix.
    first, last : int
        The frequencies, both included; `first` is 0 for the half spectrum of the last axis.
    source : int
        Size of the grid on which the coefficients were computed (that of the input).

    Returns
    -------
    (rows, columns) without gradient; shared between calls, never to be written to.
    """
    key = (name, size, first, last, source, like.dtype, like.device)
    # While a graph is traced the numbers belong into that graph: a symbolic tensor must not enter the cache.
    if torch.compiler.is_compiling() or type(like) not in (Tensor, torch.nn.Parameter):
        return _build(*key)
    return _build_once(*key)


@lru_cache(maxsize=CACHED_MATRICES)
def _build_once(
    name: str, size: int, first: int, last: int, source: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    # A tensor born in inference mode could never be used for training afterwards.
    with torch.inference_mode(False), torch.no_grad():
        return _build(name, size, first, last, source, dtype, device)


def _build(
    name: str, size: int, first: int, last: int, source: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    builder = {
        "half_analysis": half_analysis,
        "analysis": analysis,
        "synthesis": synthesis,
        "half_synthesis": half_synthesis,
    }[name]
    return builder(size, first, last, source, device).to(dtype)


def half_analysis(size: int, first: int, last: int, source: int, device: torch.device) -> Tensor:
    """(n, 2K): real samples of the last axis to coefficients k = 0..K-1."""
    cosine, sine = _cosine_sine(size, first, last, device)
    return torch.stack((cosine, -sine), dim=-1).reshape(size, -1) / size


def analysis(size: int, first: int, last: int, source: int, device: torch.device) -> Tensor:
    """(2n, 2K): complex samples along one axis to coefficients first..last."""
    cosine, sine = _cosine_sine(size, first, last, device)
    return _complex_product(cosine, -sine) / size


def synthesis(size: int, first: int, last: int, source: int, device: torch.device) -> Tensor:
    """(2K, 2n): coefficients first..last along one axis to complex samples."""
    cosine, sine = _cosine_sine(size, first, last, device)
    return _complex_product(cosine.T, (sine * _not_nyquist(first, last, source, device)).T)


def half_synthesis(size: int, first: int, last: int, source: int, device: torch.device) -> Tensor:
    """(2K, n): the half spectrum k = 0..K-1 of the last axis to real samples.

    Every k > 0 stands for itself and its mirror image, hence the factor 2; the constant and the Nyquist
    frequency of the source have no mirror image.
    """
    cosine, sine = _cosine_sine(size, first, last, device)
    mirrored = _not_nyquist(first, last, source, device)
    mirrored[0] = 0.0
    return torch.stack(((1.0 + mirrored) * cosine, -2.0 * mirrored * sine), dim=-1).reshape(size, -1).T


def _complex_product(real: Tensor, imaginary: Tensor) -> Tensor:
    """(2r, 2c) real: what multiplies rows of pairs as the complex (r, c) matrix does numbers."""
    of_real = torch.stack((real, imaginary), dim=-1)  # (a + ib) (p + iq) = (a p - b q) + i (a q + b p)
    of_imaginary = torch.stack((-imaginary, real), dim=-1)
    return torch.stack((of_real, of_imaginary), dim=1).reshape(2 * real.shape[0], -1)


def _cosine_sine(size: int, first: int, last: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin of 2π k j / n, (n, K) each; k j is reduced modulo n in integers, so no digit is lost."""
    grid = torch.arange(size, device=device)
    frequencies = torch.arange(first, last + 1, device=device)
    turns = torch.remainder(torch.outer(grid, frequencies), size).to(torch.float64) / size
    angle = 2.0 * torch.pi * turns
    return torch.cos(angle), torch.sin(angle)


def _not_nyquist(first: int, last: int, source: int, device: torch.device) -> Tensor:
    """(K,), 0 where 2|k| equals the size of the source grid, else 1."""
    frequencies = torch.arange(first, last + 1, device=device)
    return (2 * frequencies.abs() != source).to(torch.float64)
