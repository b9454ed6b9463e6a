"""Functions that samples along one axis stand for: what differentiation and resampling ask of them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import pi
from typing import Protocol

import torch
from torch import Tensor

from sciml.kernels.fourier import cosine_sine


class Basis(Hashable, Protocol):
    """Functions φ_0, φ_1, ... on [0, 1] and, for every n, n nodes that determine a sum of the first n.

    Everything that `derivative`, `resample` and `dealiased_product` do is ``synthesis @ analysis`` along one
    axis after the other: coefficients of the interpolant, cut to as many functions as both grids have, then
    values of a derivative of the sum at the nodes of another grid. Cosines, sines and orthogonal polynomials
    fit as Fourier series do: derivatives are those of the functions, which need not lie in the basis.

    A basis is hashable, and its matrices depend on nothing but the arguments: they are cached. All are
    float64 on the device asked for. `dealiased_product` also takes it that ``⌊(p + 1) n / 2⌋ + 1`` nodes give
    the first n coefficients of a product of p sums of n functions exactly. So they do for Fourier series, and
    for cosines and Chebyshev polynomials on their usual nodes.

    Examples
    --------
    >>> basis: Basis = Fourier()
    >>> samples = torch.cos(2 * torch.pi * basis.nodes(8))
    >>> (basis.analysis(8) @ samples).round(decimals=12).abs().tolist()
    [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """

    def nodes(self, size: int, *, device: torch.device | None = None) -> Tensor:
        """The n points, (n,)."""

    def weights(self, size: int, *, device: torch.device | None = None) -> Tensor:
        """The integral over [0, 1] of the interpolant is the sum of weights (n,) times samples."""

    def analysis(self, size: int, *, device: torch.device | None = None) -> Tensor:
        """Samples on n nodes to coefficients, (n, n)."""

    def synthesis(
        self, size: int, count: int, order: int = 0, *, device: torch.device | None = None
    ) -> Tensor:
        """The derivatives of an order of the first `count` functions at n nodes, (n, count)."""


@dataclass(frozen=True)
class Fourier:
    """1, cos 2πx, sin 2πx, cos 4πx, sin 4πx, ...; nodes j/n. For periodic functions.

    For even n the last of the first n functions is the cosine of the Nyquist frequency n/2: of all that pass
    through the samples the one with the least oscillation. Every convention about that frequency follows.
    Its odd derivatives are multiples of its sine, which vanishes at the nodes, so they drop out; even
    derivatives keep the cosine. On a finer grid the cosine is two halves, at n/2 and -n/2; on a coarser grid
    of even size the sine of its Nyquist frequency drops out, as sampling has it. `spectral_conv` agrees.

    Examples
    --------
    >>> (Fourier().synthesis(4, 4) @ Fourier().analysis(4)).round(decimals=12).abs().diagonal().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    def nodes(self, size: int, *, device: torch.device | None = None) -> Tensor:
        return torch.arange(size, dtype=torch.float64, device=device) / size

    def weights(self, size: int, *, device: torch.device | None = None) -> Tensor:
        return torch.full((size,), 1.0 / size, dtype=torch.float64, device=device)

    def analysis(self, size: int, *, device: torch.device | None = None) -> Tensor:
        # The functions are orthogonal on the nodes: mean squares 1/2, but 1 for the constant and Nyquist.
        frequencies = _frequencies(size, device)
        doubled = (frequencies > 0) & (2 * frequencies != size)
        factors = (1.0 + doubled.to(torch.float64)) / size
        return factors[:, None] * self.synthesis(size, size, device=device).T

    def synthesis(
        self, size: int, count: int, order: int = 0, *, device: torch.device | None = None
    ) -> Tensor:
        frequencies = _frequencies(count, device)
        cosine, sine = cosine_sine(frequencies, size)
        # A sine is a cosine a quarter turn late; a derivative turns a quarter forward: cos, -sin, -cos, sin.
        late = torch.remainder(torch.arange(count, device=device), 2) == 0
        late = late & (frequencies > 0)
        quarters = torch.remainder(order - late.to(torch.int64), 4)[:, None]
        values = torch.where(quarters % 2 == 0, cosine, -sine)
        values = torch.where(quarters < 2, values, -values)
        return ((2.0 * pi * frequencies.to(torch.float64)) ** order * values.T).contiguous()


def _frequencies(count: int, device: torch.device | None) -> Tensor:
    """0, 1, 1, 2, 2, ...: those of the first `count` functions."""
    return torch.div(torch.arange(count, device=device) + 1, 2, rounding_mode="floor")


FOURIER = Fourier()
