"""How the mean square of a periodic field is distributed over wavenumbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import floor, hypot, inf

import torch
from torch import Tensor

from sciml.kernels.fourier import Line
from sciml.kernels.spectral import without_autocast
from sciml.kernels.transform import Transform, to_modes


def energy_spectrum(
    u: Tensor,
    *,
    axes: int | Sequence[int],
    period: float | Sequence[float] = 1.0,
    edges: Sequence[float] | None = None,
) -> Tensor:
    r"""Σ |û(k)|² over shells of wavenumbers; the shells add up to the mean square (Parseval).

    ``E_s = Σ |û(k)|²`` over all k, of both signs, whose size \|κ\| lies in shell s; κ = k / period counts
    waves per unit of length on each axis, so that shells are round in any box.

    Parameters
    ----------
    u : real, any shape
        Samples on a uniform periodic grid.
    axes : int or several
        The axes of the grid; the others are a batch.
    period : float or one per axis
        Lengths of the domain.
    edges : ascending numbers, optional
        Shell s is ``edges[s] <= |κ| < edges[s+1]``, in waves per unit of length; the last edge may be
        infinite. What lies outside is left out. By default shell s holds ``s - 1/2 <= |κ| L < s + 1/2``,
        L the longest period, from the mean (s = 0) to the corner of the spectrum.

    Returns
    -------
    (*other axes, shells) in the dtype of u

    Raises
    ------
    ValueError
        If u is not real floating point, or axes, period and edges do not fit.

    Notes
    -----
    The kinetic energy of a velocity is half the sum over its components. The Nyquist frequency of an even
    axis counts as the samples see it: the mean square of its cosine on the grid is 1.

    Examples
    --------
    >>> import torch
    >>> from sciml.kernels.spectrum import energy_spectrum
    >>> x = torch.arange(16, dtype=torch.float64) / 16
    >>> u = 3.0 + torch.cos(2 * torch.pi * 2 * x)
    >>> energy_spectrum(u, axes=0).round(decimals=12)[:4].tolist()
    [9.0, 0.0, 0.5, 0.0]
    """
    given = (axes,) if isinstance(axes, int) else tuple(axes)
    periods = (period,) * len(given) if isinstance(period, int | float) else tuple(period)
    energies = mode_energies(u, given)
    shape = tuple(u.shape[a] for a in given)
    if len(periods) != len(given) or not all(0 < length < inf for length in periods):
        raise ValueError(
            f"energy_spectrum: period must be one positive length per axis of {given}, got {period}."
        )
    sizes = wavenumbers(shape, periods, device=u.device)
    edges = shell_edges(shape, periods) if edges is None else edges
    return binned(energies, sizes, edges).to(u.dtype)


def mode_energies(u: Tensor, axes: Sequence[int]) -> Tensor:
    """\\|û(k)\\|² of the coefficients 1/n Σ u exp(-2πi k j/n): (*other axes, *frequencies).

    Frequencies ascend from -⌊n/2⌋ on all axes but the last, which holds 0..⌊n/2⌋; there those that stand for
    two signs are counted twice, so that the sum is the mean square. At least float32.
    """
    rank = u.ndim
    where = tuple(a % rank if -rank <= a < rank else -1 for a in axes)
    if not where or -1 in where or len(set(where)) < len(where) or any(u.shape[a] < 1 for a in where):
        raise ValueError(
            "energy_spectrum: axes must name at least one axis, each once and none of them empty, got "
            f"{tuple(axes)} for a tensor of shape {tuple(u.shape)}."
        )
    if not u.is_floating_point():
        raise ValueError(
            f"energy_spectrum: needs real floating point, got {u.dtype}. Integers go as u.double()."
        )
    rows = u.movedim(where, tuple(range(-len(where), 0)))
    others, shape = rows.shape[: rank - len(where)], tuple(rows.shape[rank - len(where) :])
    lines = [Line(n, -(n // 2), (n - 1) // 2, half=False) for n in shape[:-1]]
    lines.append(Line(shape[-1], 0, shape[-1] // 2, half=True))
    transform = Transform(shape, tuple(range(len(shape))), tuple(lines))
    with without_autocast(u.device.type):
        wide = rows.to(torch.promote_types(u.dtype, torch.float32))
        # All frequencies are wanted: from 64 points on the FFT takes at most half the time of products.
        modes = to_modes(wide.reshape(-1, 1, *shape), transform, "fft")
        real, imaginary = modes.squeeze(-1).unbind(-2)
        squares = (real.square() + imaginary.square()) * multiplicity(shape[-1], modes)[:, None]
        return squares.movedim(-1, 0).reshape(*others, *squares.shape[:-1])


def multiplicity(size: int, like: Tensor) -> Tensor:
    """How many frequencies of a line of n points each of 0..⌊n/2⌋ stands for: 1 or 2."""
    k = torch.arange(size // 2 + 1, device=like.device)
    return 1.0 + ((k > 0) & (2 * k != size)).to(like.dtype)


def wavenumbers(
    shape: Sequence[int], period: Sequence[float], *, device: torch.device | None = None
) -> Tensor:
    """The sizes \\|κ\\|, κ = k / period, in the layout of `mode_energies`: (*frequencies), float64."""
    rank = len(shape)
    total = torch.zeros((), dtype=torch.float64, device=device)
    for axis, (n, length) in enumerate(zip(shape, period, strict=True)):
        first, last = (0, n // 2) if axis == rank - 1 else (-(n // 2), (n - 1) // 2)
        k = torch.arange(first, last + 1, dtype=torch.float64, device=device) / length
        total = total + k.square().reshape(-1, *[1] * (rank - 1 - axis))
    return total.sqrt()


def shell_edges(shape: Sequence[int], period: Sequence[float]) -> tuple[float, ...]:
    """Halfway between the multiples of 1 / L, L the longest period, up to the corner of the spectrum."""
    longest = max(period)
    corner = hypot(*(n // 2 / length for n, length in zip(shape, period, strict=True)))
    last = floor(corner * longest + 0.5)
    return (0.0, *((s + 0.5) / longest for s in range(last)), inf)


def binned(values: Tensor, sizes: Tensor, edges: Sequence[float]) -> Tensor:
    """Sums of values (..., *frequencies) where edges[s] <= sizes (*frequencies) < edges[s+1]."""
    if len(edges) < 2 or any(not low <= high for low, high in pairwise(edges)):
        raise ValueError(f"energy_spectrum: edges must ascend and enclose a shell, got {tuple(edges)}.")
    limits = torch.tensor(edges, dtype=torch.float64, device=values.device)
    shell = torch.bucketize(sizes.flatten(), limits, right=True)  # 0 and len(edges) lie outside
    rows = values.flatten(values.ndim - sizes.ndim)
    sums = rows.new_zeros(*rows.shape[:-1], len(edges) + 1).index_add(-1, shell, rows)
    return sums[..., 1:-1]
