"""Derivatives, other resolutions and products of functions that samples on a grid stand for.

Fields are real tensors of any rank; the functions act along the axes that they are told and treat the others
as a batch. They are differentiable to every order (`sciml.kernels.transfer` says how).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from math import inf

from torch import Tensor

from sciml.kernels.basis import FOURIER, Basis
from sciml.kernels.transfer import Transfer, carry, roomy


def derivative(
    u: Tensor,
    order: int | Sequence[int],
    *,
    axis: int | Sequence[int],
    period: float | Sequence[float] = 1.0,
    basis: Basis = FOURIER,
) -> Tensor:
    r"""∂^α u of the trigonometric polynomial through samples on periodic axes, at the same points.

    Parameters
    ----------
    u : real, any shape
        Samples at ``lower + j period / n``; the right end is not repeated. The derivative of a grid of cell
        centers is the same.
    order : int or one per axis
        The multi-index α.
    axis : int or several
        The axes that α is about.
    period : float or one per axis
        Length of the domain, in the unit of the coordinate.
    basis : Basis, default: Fourier
        What the samples stand for along these axes.

    Returns
    -------
    the shape and dtype of u

    Raises
    ------
    ValueError
        If u is not real floating point, or order, axis and period do not fit each other.

    Notes
    -----
    Exact for trigonometric polynomials of degree below n/2. On an even grid odd orders drop the Nyquist
    frequency, because the derivative of its cosine vanishes at the points; even orders keep the cosine, so
    the second derivative is not the first one taken twice. Odd orders are antisymmetric matrices, even ones
    symmetric: integration by parts holds exactly.

    Rounding is amplified by the largest derivative that the grid knows: errors are about
    ``ε (π n / period)^order max|u|``, with ε of the dtype.

    Source: Trefethen, *Spectral Methods in MATLAB*, SIAM 2000, chapter 3.

    Examples
    --------
    >>> import torch
    >>> from sciml.kernels.calculus import derivative
    >>> x = 3.0 * torch.arange(16, dtype=torch.float64) / 16
    >>> wave = 2 * torch.pi / 3.0
    >>> torch.allclose(derivative(torch.sin(wave * x), 2, axis=0, period=3.0), -wave**2 * torch.sin(wave * x))
    True
    >>> mixed = derivative(torch.zeros(4, 16, 16), (1, 1), axis=(-2, -1))
    """
    axes = _axes("derivative", u, axis)
    orders = (order,) * len(axes) if isinstance(order, int) else tuple(order)
    periods = (period,) * len(axes) if isinstance(period, int | float) else tuple(period)
    if len(orders) != len(axes) or any(p < 0 for p in orders):
        raise ValueError(
            f"derivative: order must hold one non-negative integer per axis of {axes}, got {order}."
        )
    if len(periods) != len(axes) or not all(0 < length < inf for length in periods):
        raise ValueError(f"derivative: period must be one positive length per axis of {axes}, got {period}.")
    transfers = [
        Transfer(u.shape[a], u.shape[a], p, float(length))
        for a, p, length in zip(axes, orders, periods, strict=True)
    ]
    return carry(u, axes, transfers, basis)


def resample(
    u: Tensor, shape: int | Sequence[int], *, axes: int | Sequence[int], basis: Basis = FOURIER
) -> Tensor:
    r"""Sample the trigonometric polynomial through the samples of u on another grid, finer or coarser.

    Parameters
    ----------
    u : real, any shape
        Samples at ``j / n`` of the period.
    shape : int or one per axis
        New sizes of the axes. The first point of every axis stays where it is.
    axes : int or several
    basis : Basis, default: Fourier

    Returns
    -------
    u with other sizes along `axes`, in the same dtype

    Raises
    ------
    ValueError
        If u is not real floating point, or shape and axes do not fit.

    Notes
    -----
    On a coarser grid frequencies that it does not have are cut off, not aliased. The Nyquist frequency of an
    even grid is a cosine: half at n/2 and half at -n/2 of a finer grid, while a coarser even grid samples
    what is there at ±n/2. So there and back again is the identity if the grid between is not coarser, and
    the values are those of `spectral_conv` with identity weights and enough modes.

    Examples
    --------
    >>> import torch
    >>> from sciml.kernels.calculus import resample
    >>> def wave(n):
    ...     return torch.sin(2 * torch.pi * torch.arange(n, dtype=torch.float64) / n)
    >>> torch.allclose(resample(wave(8), 13, axes=0), wave(13))
    True
    """
    axes = _axes("resample", u, axes)
    sizes = (shape,) * len(axes) if isinstance(shape, int) else tuple(shape)
    if len(sizes) != len(axes) or any(n < 1 for n in sizes):
        raise ValueError(f"resample: shape must be one positive size per axis of {axes}, got {shape}.")
    transfers = [Transfer(u.shape[a], n) for a, n in zip(axes, sizes, strict=True)]
    return carry(u, axes, transfers, basis)


def dealiased_product(*factors: Tensor, axes: int | Sequence[int], basis: Basis = FOURIER) -> Tensor:
    r"""The product of the functions through the samples, projected on the functions of the grid.

    ``P(u_1 ... u_p)`` with P the orthogonal projection of L² on the span of the first n functions of the
    basis on each axis, here trigonometric polynomials. The plain product of samples instead adds to each
    frequency all those that the grid cannot tell from it (aliasing).

    Parameters
    ----------
    factors : real, of shapes that broadcast, one dtype
        At least one. All have the same sizes along `axes`.
    axes : int or several
        Counted from the end (negative) if the factors have different ranks.
    basis : Basis, default: Fourier

    Returns
    -------
    the product, on the grid of the factors

    Raises
    ------
    ValueError
        If a factor is not real floating point, or grids differ.

    Notes
    -----
    Products are formed on ``⌊(p + 1) n / 2⌋ + 1`` points or more: the rule of 3/2 for two factors, with the
    point that makes it exact also for the Nyquist frequency of an even grid. No mode of the factors is
    zeroed, and one factor returns itself.

    Source: Canuto, Hussaini, Quarteroni and Zang, *Spectral Methods*, Springer 2006, section 3.3.

    Examples
    --------
    >>> import torch
    >>> from sciml.kernels.calculus import dealiased_product
    >>> wave = torch.cos(2 * torch.pi * 3 * torch.arange(8, dtype=torch.float64) / 8)
    >>> torch.allclose(dealiased_product(wave, wave, axes=0), torch.full_like(wave, 0.5))  # without cos(6 x)
    True
    >>> (wave * wave)[1].item() > 0.49  # 1/2 + 1/2 cos(6 x), which looks like cos(2 x)
    True
    """
    if not factors:
        raise ValueError("dealiased_product: needs at least one factor.")
    places = [_axes("dealiased_product", factor, axes) for factor in factors]
    grids = [tuple(factor.shape[a] for a in at) for factor, at in zip(factors, places, strict=True)]
    if any(at != places[0] for at in places) or any(grid != grids[0] for grid in grids):
        raise ValueError(
            "dealiased_product: factors must lie on one grid along the same axes, counted from the end, "
            f"got shapes {[tuple(factor.shape) for factor in factors]} and axes {axes}. Use resample first."
        )
    # ⌊(p + 1) n / 2⌋ + 1, in a form from which a symbolic trace sees that it exceeds n.
    fine = [roomy(n + (len(factors) - 1) * n // 2 + 1, n) for n in grids[0]]
    # Powers are frequent: each tensor is refined once.
    refined = {id(factor): resample(factor, fine, axes=places[0], basis=basis) for factor in factors}
    product = reduce(operator.mul, (refined[id(factor)] for factor in factors))
    return resample(product, grids[0], axes=places[0], basis=basis)


def _axes(who: str, u: Tensor, axes: int | Sequence[int]) -> tuple[int, ...]:
    """The axes counted from the end."""
    if not u.is_floating_point():
        raise ValueError(f"{who}: needs real floating point, got {u.dtype}. Integers go as u.double().")
    given = (axes,) if isinstance(axes, int) else tuple(axes)
    if any(not -u.ndim <= a < u.ndim for a in given):
        raise ValueError(f"{who}: axes must lie in a tensor of shape {tuple(u.shape)}, got {axes}.")
    counted = tuple(a if a < 0 else a - u.ndim for a in given)
    if not counted or len(set(counted)) < len(counted) or any(u.shape[a] < 1 for a in counted):
        raise ValueError(
            f"{who}: axes must name at least one axis, each once and none of them empty, got {axes} for a "
            f"tensor of shape {tuple(u.shape)}."
        )
    return counted
