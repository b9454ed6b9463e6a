"""Real matrices of the truncated discrete Fourier transform, one axis at a time.

For a few modes a transform is a small matrix product: exact, fast, and without complex tensors, which
compilers, exporters, optimizers and collectives do not all know.

Coefficients follow the "forward" convention: ``X(k) = 1/n Σ_j x_j exp(-2πi k j / n)`` approximates the
Fourier coefficient of the function, so it does not depend on the resolution.

Nyquist. On a grid of even size n the samples cannot tell the frequency n/2 from -n/2; the interpolant with
the least oscillation takes the cosine. A line that synthesizes on another grid needs the size of the grid
on which the coefficients were computed to know it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

Build = Callable[["Line", torch.dtype, torch.device], Tensor]

# Grids x modes x dtypes x devices in use at once: a 3-D layer takes six matrices for each of its resolutions.
CACHED_MATRICES = 128


@dataclass(frozen=True)
class Line:
    """The frequencies of one axis and how they weigh: one factor of a tensor-product transform.

    Parameters
    ----------
    size : int
        Grid points n.
    first, last : int
        The frequencies, both included; ``first = 0`` on a half axis.
    half : bool
        Whether it is the axis on which k and -k are one, the last of a real transform.
    source : int or None
        None for analysis, which averages: ``d_k = 1/n``. For synthesis, which sums, the size of the grid on
        which the coefficients were computed: ``d_k = 1``, on a half axis 2 where k has a mirror image.

    Notes
    -----
    The map from samples to modes is ``X_k = d_k Σ_j x_j exp(-2πi k j / n)``; the map from modes to samples
    is its transpose, ``x_j = Re Σ_k d_k X_k exp(2πi k j / n)``. Analysis reads the first, synthesis the
    second, and the backward pass of each is the other direction of the same line.
    """

    size: int
    first: int
    last: int
    half: bool
    source: int | None = None

    @property
    def count(self) -> int:
        """Frequencies of the line."""
        return self.last - self.first + 1

    @property
    def highest(self) -> int:
        """The largest absolute frequency."""
        return max(-self.first, self.last)


def half_matrix(line: Line, like: Tensor) -> Tensor:
    """(2, K, n) of a half axis: ``d cos`` and ``-d sin``, which give real and imaginary part of X.

    The result, without gradient and in the dtype and on the device of `like`, is shared between calls and
    never to be written to.
    """
    return _matrix(line, like, _pair)


def full_matrix(line: Line, like: Tensor) -> Tensor:
    """(2, P + 1, n) of a full axis: ``d cos`` and ``d sin`` for 0..P, P the highest frequency.

    The pair k, -k shares both, so this takes half the products of one row for each frequency.
    """
    return _matrix(line, like, _pair)


def half_rows(line: Line, like: Tensor) -> Tensor:
    """(2 K, n) of a half axis: what `half_matrix` holds, the two rows of a frequency beside each other."""
    return _matrix(line, like, _half_rows)


def full_rows(line: Line, like: Tensor) -> Tensor:
    """(2, K, n) of a full axis: ``d cos`` and ``d sin`` for each frequency from first to last."""
    return _matrix(line, like, _full_rows)


def _matrix(line: Line, like: Tensor, build: Build) -> Tensor:
    # While a graph is traced the numbers belong into that graph: a symbolic tensor must not enter the cache.
    if torch.compiler.is_compiling() or type(like) not in (Tensor, torch.nn.Parameter):
        return build(line, like.dtype, like.device)
    return _build_once(line, like.dtype, like.device, build)


@lru_cache(maxsize=CACHED_MATRICES)
def _build_once(line: Line, dtype: torch.dtype, device: torch.device, build: Build) -> Tensor:
    # A tensor born in inference mode could never be used for training afterwards.
    with torch.inference_mode(False), torch.no_grad():
        return build(line, dtype, device)


def _half_rows(line: Line, dtype: torch.dtype, device: torch.device) -> Tensor:
    return _pair(line, dtype, device).transpose(0, 1).flatten(0, 1)


def _full_rows(line: Line, dtype: torch.dtype, device: torch.device) -> Tensor:
    cosine, sine = _pair(line, dtype, device)
    negative, positive = slice(1, 1 - line.first), slice(0, line.last + 1)
    return torch.stack(
        (
            torch.cat((cosine[negative].flip(0), cosine[positive])),
            torch.cat((-sine[negative].flip(0), sine[positive])),
        )
    )


def _pair(line: Line, dtype: torch.dtype, device: torch.device) -> Tensor:
    frequencies = torch.arange(line.highest + 1, device=device)
    cosine, sine = cosine_sine(frequencies, line.size)
    if line.source is None:
        cosine, sine = cosine / line.size, sine / line.size
    else:
        mirrored = (2 * frequencies != line.source).to(torch.float64)[:, None]
        sine = mirrored * sine
        if line.half:
            mirrored = mirrored * (frequencies > 0)[:, None]
            cosine, sine = (1.0 + mirrored) * cosine, 2.0 * sine
    return torch.stack((cosine, -sine if line.half else sine)).to(dtype)


def cosine_sine(frequencies: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """cos and sin of 2π k j / n, (K, n) in float64; k j is reduced modulo n in integers: no digit is lost."""
    grid = torch.arange(size, device=frequencies.device)
    period = torch.full((1,), size, device=frequencies.device)  # ONNX has no remainder of a symbolic number
    turns = torch.remainder(torch.outer(frequencies, grid), period).to(torch.float64) / size
    angle = 2.0 * torch.pi * turns
    return torch.cos(angle), torch.sin(angle)
