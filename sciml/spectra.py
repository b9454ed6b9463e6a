"""Spectra of fields on grids, as the metrics need them; differentiable."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from sciml.errors import ShapeError
from sciml.field_derivatives import derivative
from sciml.grid import Grid
from sciml.kernels.spectrum import binned, energy_spectrum, mode_energies, multiplicity, wavenumbers


def mean_squares(
    values: Tensor, keep: int, edges: tuple[float, ...], spacings: tuple[float, ...] | None = None
) -> Tensor:
    """Mean square of ``values`` (..., *space) carried by \\|k\\| in [edges[i], edges[i+1]): (..., bands).

    ``keep`` axes are not space; ``spacings`` is the step of k along each axis of space, by default 1. Bands
    from 0 to infinity add up to the mean square (Parseval).
    """
    axes = axes_of_space(values, keep)
    period = tuple(1.0 / step for step in spacings) if spacings else 1.0
    return energy_spectrum(values, axes=axes, period=period, edges=edges)


def spaced_edges(shape: tuple[int, ...]) -> tuple[float, ...]:
    """Three bins of wavenumbers per grid point: 0, two edges between 2 pi/max(n) and the corner, infinity."""
    first, last = math.log(2 * math.pi / max(shape)), math.log(math.pi * math.sqrt(len(shape)))
    return (0.0, *(math.exp(first + third * (last - first)) for third in (1 / 3, 2 / 3)), math.inf)


def shells(values: Tensor, keep: int) -> Tensor:
    """|F|^2/N^2 of the non-negative wavenumbers, summed where floor(|k|) is equal: (..., shells).

    Shells end below half the smallest n; in one dimension every wavenumber up to Nyquist is one. [PDEBench]
    """
    axes = axes_of_space(values, keep)
    shape = tuple(values.shape[keep:])
    squares = mode_energies(values, axes) / multiplicity(shape[-1], values)
    if len(shape) == 1:
        return squares
    sizes = wavenumbers(shape, (1.0,) * len(shape), device=values.device)
    for i, n in enumerate(shape):
        first = 0 if i == len(shape) - 1 else n // 2  # of the ascending frequencies, that of k = 0
        squares, sizes = squares.narrow(keep + i, first, n // 2), sizes.narrow(i, first, n // 2)
    return binned(squares, sizes, [float(s) for s in range(min(shape) // 2 + 1)])


def band_means(amplitudes: Tensor, edges: tuple[float, ...]) -> Tensor:
    """Means of ``amplitudes`` (shells,) over the shells in [edges[i], edges[i+1]): (bands,)."""
    number = torch.arange(amplitudes.shape[0], device=amplitudes.device)
    inside = [amplitudes[(number >= low) & (number < high)] for low, high in itertools.pairwise(edges)]
    return torch.stack([band.mean() for band in inside])


def h1_square(values: Tensor, grid: Grid) -> Tensor:
    """Pointwise u^2 + |grad u|^2 of u (..., *space)."""
    total = values.square()
    for axis in grid.axes:
        total = total + derivative(values, grid, [axis.name]).square()
    return total


def axes_of_space(values: Tensor, keep: int) -> tuple[int, ...]:
    """All axes but the first ``keep``."""
    if values.ndim <= keep:
        raise ShapeError(f"a spectrum needs axes of space, got {tuple(values.shape)}.")
    return tuple(range(keep, values.ndim))
