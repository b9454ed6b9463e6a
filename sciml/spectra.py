"""Spectra and derivatives of fields on grids, as the metrics need them; differentiable."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.errors import ShapeError
from sciml.grid import Axis, Grid


def power(values: Tensor, keep: int) -> tuple[Tensor, tuple[int, ...]]:
    """|F|^2/N^2 of the real discrete Fourier transform over space, and the shape of space.

    The last axis holds the non-negative wavenumbers; those that stand for two are counted twice, so that the
    sum is the mean square (Parseval).
    """
    shape = tuple(values.shape[keep:])
    if not shape:
        raise ShapeError(f"a spectrum needs axes of space, got {tuple(values.shape)}.")
    axes = tuple(range(keep, values.ndim))
    squares = torch.view_as_real(torch.fft.rfftn(values, dim=axes)).square().sum(-1) / math.prod(shape) ** 2
    count = torch.full((squares.shape[-1],), 2.0, dtype=values.dtype, device=values.device)
    count[0] = 1.0
    if shape[-1] % 2 == 0:
        count[-1] = 1.0
    return squares * count, shape


def radius(shape: tuple[int, ...], spacings: tuple[float, ...] | None = None) -> NDArray[np.float64]:
    """|k| in the layout of `power`, float64; ``spacings`` is the step along each axis (default 1)."""
    steps = spacings or (1.0,) * len(shape)
    ks = [s * np.fft.fftfreq(n, 1 / n) for s, n in zip(steps[:-1], shape[:-1], strict=True)]
    ks.append(steps[-1] * np.arange(shape[-1] // 2 + 1))
    return np.asarray(np.sqrt(sum(k**2 for k in np.meshgrid(*ks, indexing="ij", sparse=True))))


def spaced_edges(shape: tuple[int, ...]) -> tuple[float, ...]:
    """Three bins of wavenumbers per grid point: 0, two edges between 2 pi/max(n) and the corner, infinity."""
    spaced = np.geomspace(2 * np.pi / max(shape), np.pi * math.sqrt(len(shape)), 4)
    return (0.0, float(spaced[1]), float(spaced[2]), math.inf)


def binned(values: Tensor, keep: int, sizes: NDArray[np.float64], edges: tuple[float, ...]) -> Tensor:
    """Sums of ``values`` over the wavenumbers whose size lies in [edges[i], edges[i+1]): (..., bins)."""
    parts = []
    for low, high in itertools.pairwise(edges):
        inside = torch.as_tensor((sizes >= low) & (sizes < high), device=values.device)
        parts.append(torch.where(inside, values, 0.0).flatten(keep).sum(-1))
    return torch.stack(parts, dim=-1)


def shells(values: Tensor, keep: int) -> Tensor:
    """|F|^2/N^2 of the non-negative wavenumbers, summed where floor(|k|) is equal: (..., shells).

    Shells end below half the smallest n; in one dimension every wavenumber up to Nyquist is one. [PDEBench]
    """
    shape = tuple(values.shape[keep:])
    axes = tuple(range(keep, values.ndim))
    squares = torch.view_as_real(torch.fft.rfftn(values, dim=axes)).square().sum(-1) / math.prod(shape) ** 2
    if len(shape) == 1:
        return squares
    for dim, n in zip(axes, shape, strict=True):
        squares = squares.narrow(dim, 0, n // 2)
    ks = np.meshgrid(*(np.arange(n // 2) for n in shape), indexing="ij", sparse=True)
    floor = np.floor(np.sqrt(sum(k.astype(np.float64) ** 2 for k in ks)))
    return binned(squares, keep, floor, tuple(float(i) for i in range(min(shape) // 2 + 1)))


def band_means(amplitudes: Tensor, edges: tuple[float, ...]) -> Tensor:
    """Means of ``amplitudes`` (shells,) over the shells in [edges[i], edges[i+1]): (bands,)."""
    number = torch.arange(amplitudes.shape[0], device=amplitudes.device)
    bands = [amplitudes[(number >= low) & (number < high)] for low, high in itertools.pairwise(edges)]
    return torch.stack([band.mean() for band in bands])


def derivative(values: Tensor, dim: int, axis: Axis) -> Tensor:
    """d/dx along ``dim``: spectral on a periodic axis, else of second order, one-sided at the ends."""
    if not axis.periodic:
        if axis.size < 2:
            raise ShapeError(f"a derivative along {axis.name!r} needs at least 2 points, got {axis.size}.")
        order = 2 if axis.size > 2 else 1
        return torch.gradient(values, spacing=axis.spacing, dim=dim, edge_order=order)[0]
    k = torch.arange(axis.size // 2 + 1, dtype=values.dtype, device=values.device)
    if axis.size % 2 == 0:
        k[-1] = 0.0  # the derivative of the Nyquist mode vanishes at the grid points
    k = (2 * math.pi / (axis.upper - axis.lower) * k).reshape((-1,) + (1,) * (values.ndim - dim - 1))
    slope: Tensor = torch.fft.irfft(1j * k * torch.fft.rfft(values, dim=dim), n=axis.size, dim=dim)
    return slope


def h1_square(values: Tensor, grid: Grid) -> Tensor:
    """Pointwise u^2 + |grad u|^2 of u (..., *space)."""
    first = values.ndim - grid.rank
    if tuple(values.shape[first:]) != grid.shape:
        raise ShapeError(
            f"relative_h1: values {tuple(values.shape)} do not lie on the grid of shape {grid.shape}; "
            "grid.with_shape(shape) is the same domain at another resolution."
        )
    total = values.square()
    for i, axis in enumerate(grid.axes):
        total = total + derivative(values, first + i, axis).square()
    return total
