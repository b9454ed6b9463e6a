"""Structured weights of the spectral convolution, which multiply by a tensor without building it.

Each is a `sciml.kernels.contractions.Contraction` for a complex tensor ``R (*frequencies, c_in, c_out)``.
Complex numbers are pairs on the last axis: ranks are those of complex tensors, but no tensor is complex.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt

import torch
from torch import Tensor

from sciml.kernels.contractions import Dense

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class CP:
    """Canonical polyadic form, a sum of outer products: ``R_io(k) = Σ_r u(i, r) v(o, r) Π_a f^a(k_a, r)``.

    Parameters
    ----------
    factors : tuple of tensors
        ``f^a (n_a, rank, 2)`` for each frequency axis, then ``u (c_in, rank, 2)`` and ``v (c_out, rank, 2)``.

    Raises
    ------
    ValueError
        If the factors are not pairs of one rank.

    Notes
    -----
    `mix` multiplies by u, by the product of the f and by v in turn: ``4 K batch rank (c_in + c_out)``
    multiplications for K frequencies, and tensors of ``2 K batch rank`` numbers. Where ``batch · rank``
    exceeds ``c_in · c_out``, ``Dense(cp.dense())`` takes less memory; that is left to the caller, because a
    choice by the size of the batch would fix it in exported graphs.

    Examples
    --------
    >>> cp = CP.random((6, 3), (8, 8), rank=4)
    >>> cp.frequencies, cp.channels, cp.rank, sum(factor.numel() for factor in cp.tensors)
    ((6, 3), (8, 8), 4, 200)
    """

    factors: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        ranks = {tuple(factor.shape[1:]) for factor in self.factors}
        if len(self.factors) < 3 or len(ranks) > 1 or any(len(r) != 2 or r[1] != 2 for r in ranks):
            raise ValueError(
                "CP: factors must be (size, rank, 2) for every frequency axis, c_in and c_out, with one "
                f"rank, got {[tuple(factor.shape) for factor in self.factors]}."
            )

    @staticmethod
    def random(
        frequencies: Sequence[int], channels: tuple[int, int], rank: int, *, variance: float = 1.0
    ) -> CP:
        """Independent complex normal factors, such that ``E|R_io(k)|² = variance``.

        The rank terms of the sum are uncorrelated and each is a product of p = d + 2 independent entries, so
        the entries get ``E|f|² = (variance / rank)^(1/p)``, half of it in each part.
        """
        power = (variance / rank) ** (1.0 / (len(frequencies) + 2))
        return CP(tuple(_normal((size, rank), power) for size in (*frequencies, *channels)))

    @property
    def rank(self) -> int:
        """Terms of the sum."""
        return self.factors[0].shape[1]

    @property
    def frequencies(self) -> tuple[int, ...]:
        return tuple(factor.shape[0] for factor in self.factors[:-2])

    @property
    def channels(self) -> tuple[int, int]:
        return self.factors[-2].shape[0], self.factors[-1].shape[0]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.factors

    def to(self, dtype: torch.dtype) -> CP:
        return CP(tuple(factor.to(dtype) for factor in self.factors))

    def narrow(self, ranges: Ranges) -> CP:
        return CP((*_narrow_each(self.factors[:-2], ranges), *self.factors[-2:]))

    def mix(self, modes: Tensor) -> Tensor:
        *axes, into, out = self.factors
        values = _times_matrix(modes, into)
        values = _times_diagonal(values, _outer(axes))
        return _times_matrix(values, out.transpose(0, 1))

    def dense(self) -> Tensor:
        *axes, into, out = self.factors
        terms = _multiply(into.transpose(0, 1)[:, :, None], out.transpose(0, 1)[:, None])
        dense = _mode_product(terms, 0, _outer(axes).flatten(0, -3))  # of (rank, c_in, c_out, 2)
        return dense.reshape(*self.frequencies, *dense.shape[1:])


@dataclass(frozen=True)
class Tucker:
    """A core times one matrix per mode: ``R_io(k) = Σ_rst g(r, s, t) u(i, s) v(o, t) Π_a f^a(k_a, r_a)``.

    Parameters
    ----------
    core : (r_1, ..., r_d, r_in, r_out, 2)
    factors : tuple of tensors
        ``f^a (n_a, r_a, 2)`` for each frequency axis, then ``u (c_in, r_in, 2)`` and ``v (c_out, r_out, 2)``.

    Raises
    ------
    ValueError
        If the factors do not fit the core.

    Notes
    -----
    `mix` expands the core along the frequencies to ``(*frequencies, r_in, r_out)``, whatever the batch, and
    puts these small matrices between u and v. Nothing larger than that and the modes is made.

    Examples
    --------
    >>> tucker = Tucker.random((6, 3), (8, 8), ranks=(3, 2, 4, 4))
    >>> tucker.ranks, [tuple(factor.shape) for factor in tucker.factors]
    ((3, 2, 4, 4), [(6, 3, 2), (3, 2, 2), (8, 4, 2), (8, 4, 2)])
    """

    core: Tensor
    factors: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        shapes = [tuple(factor.shape) for factor in self.factors]
        fits = self.core.ndim >= 4 and self.core.shape[-1] == 2 and len(shapes) == self.core.ndim - 1
        if not fits or any(s[1:] != (r, 2) for s, r in zip(shapes, self.core.shape, strict=False)):
            raise ValueError(
                "Tucker: a core (r_1, ..., r_d, r_in, r_out, 2) needs one factor (size, r, 2) for each of "
                f"its ranks, got a core {tuple(self.core.shape)} and factors {shapes}."
            )

    @staticmethod
    def random(
        frequencies: Sequence[int],
        channels: tuple[int, int],
        ranks: Sequence[int],
        *,
        variance: float = 1.0,
    ) -> Tucker:
        """Independent complex normal core and factors, such that ``E|R_io(k)|² = variance``.

        R is a sum of ``Π ranks`` uncorrelated terms, each a product of one entry of the core and p = d + 2 of
        the factors; all entries get the same ``E|z|² = (variance / Π ranks)^(1/(p + 1))``.
        """
        sizes = (*frequencies, *channels)
        power = (variance / prod(ranks)) ** (1.0 / (len(sizes) + 1))
        factors = tuple(_normal((size, rank), power) for size, rank in zip(sizes, ranks, strict=True))
        return Tucker(_normal(tuple(ranks), power), factors)

    @staticmethod
    @torch.no_grad()
    def from_dense(weight: Tensor, ranks: Sequence[int] | None = None) -> Tucker:
        """Higher-order singular value decomposition of a tensor.

        The factor of a mode holds the leading left singular vectors of its unfolding: no other factor of that
        rank loses less along that mode. With all ranks the tensor is reproduced; truncated along several
        modes the squared error is at most the sum of the squared singular values that are left out.

        Parameters
        ----------
        weight : (*frequencies, c_in, c_out, 2) real, float32 or float64
        ranks : one int per mode, default: all
            A rank above that of the unfolding is lowered to it.
        """
        tensor = torch.view_as_complex(weight.contiguous())
        core, factors = tensor, []
        for mode, rank in enumerate(tensor.shape if ranks is None else ranks):
            vectors = torch.linalg.svd(tensor.movedim(mode, 0).flatten(1), full_matrices=False).U[:, :rank]
            core = torch.tensordot(core, vectors.conj(), ([0], [0]))  # the new axis comes last: a full turn
            factors.append(torch.view_as_real(vectors.contiguous()))
        return Tucker(torch.view_as_real(core.resolve_conj().contiguous()), tuple(factors))

    @property
    def ranks(self) -> tuple[int, ...]:
        """Of every frequency axis, of c_in and of c_out."""
        return tuple(self.core.shape[:-1])

    @property
    def frequencies(self) -> tuple[int, ...]:
        return tuple(factor.shape[0] for factor in self.factors[:-2])

    @property
    def channels(self) -> tuple[int, int]:
        return self.factors[-2].shape[0], self.factors[-1].shape[0]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.core, *self.factors)

    def to(self, dtype: torch.dtype) -> Tucker:
        return Tucker(self.core.to(dtype), tuple(factor.to(dtype) for factor in self.factors))

    def narrow(self, ranges: Ranges) -> Tucker:
        return Tucker(self.core, (*_narrow_each(self.factors[:-2], ranges), *self.factors[-2:]))

    def mix(self, modes: Tensor) -> Tensor:
        *axes, into, out = self.factors
        matrices = self.core
        for axis, factor in enumerate(axes):
            matrices = _mode_product(matrices, axis, factor)
        mixed = Dense(matrices).mix(_times_matrix(modes, into))
        return _times_matrix(mixed, out.transpose(0, 1))

    def dense(self) -> Tensor:
        tensor = self.core
        for mode, factor in enumerate(self.factors):
            tensor = _mode_product(tensor, mode, factor)
        return tensor


@dataclass(frozen=True)
class Separable:
    """One number per frequency and channel, ``R_io(k) = w_i(k) δ_io``: every channel is filtered by itself.

    Parameters
    ----------
    weight : (*frequencies, channels, 2)

    Examples
    --------
    >>> Separable(torch.zeros(6, 3, 8, 2)).channels
    (8, 8)
    """

    weight: Tensor

    @staticmethod
    def random(frequencies: Sequence[int], channels: int, *, variance: float = 1.0) -> Separable:
        """Independent complex normal numbers with ``E|w|² = variance``."""
        return Separable(_normal((*frequencies, channels), variance))

    @property
    def frequencies(self) -> tuple[int, ...]:
        return tuple(self.weight.shape[:-2])

    @property
    def channels(self) -> tuple[int, int]:
        return self.weight.shape[-2], self.weight.shape[-2]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    def to(self, dtype: torch.dtype) -> Separable:
        return Separable(self.weight.to(dtype))

    def narrow(self, ranges: Ranges) -> Separable:
        return Separable(_narrow_all(self.weight, ranges))

    def mix(self, modes: Tensor) -> Tensor:
        return _times_diagonal(modes, self.weight)

    def dense(self) -> Tensor:
        return torch.diag_embed(self.weight.movedim(-1, 0)).movedim(0, -1)


@dataclass(frozen=True)
class BlockDiagonal:
    """One matrix per frequency and group of channels: the channels of different groups do not meet.

    Parameters
    ----------
    weight : (*frequencies, groups, c_in / groups, c_out / groups, 2)

    Notes
    -----
    The linear part of the mixer of AFNO (Guibas et al., ICLR 2022, arXiv:2111.13587), there with the same
    blocks for all frequencies.

    Examples
    --------
    >>> BlockDiagonal(torch.zeros(6, 3, 4, 2, 3, 2)).channels
    (8, 12)
    """

    weight: Tensor

    @staticmethod
    def random(
        frequencies: Sequence[int], channels: tuple[int, int], groups: int, *, variance: float = 1.0
    ) -> BlockDiagonal:
        """Independent complex normal entries of the blocks, with ``E|R_io(k)|² = variance``.

        Raises
        ------
        ValueError
            If the groups do not divide both numbers of channels.
        """
        if groups < 1 or any(count % groups for count in channels):
            raise ValueError(f"BlockDiagonal: {groups} groups do not divide the channels {channels}.")
        block = (channels[0] // groups, channels[1] // groups)
        return BlockDiagonal(_normal((*frequencies, groups, *block), variance))

    @property
    def groups(self) -> int:
        """Of channels."""
        return self.weight.shape[-4]

    @property
    def frequencies(self) -> tuple[int, ...]:
        return tuple(self.weight.shape[:-4])

    @property
    def channels(self) -> tuple[int, int]:
        return self.groups * self.weight.shape[-3], self.groups * self.weight.shape[-2]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    def to(self, dtype: torch.dtype) -> BlockDiagonal:
        return BlockDiagonal(self.weight.to(dtype))

    def narrow(self, ranges: Ranges) -> BlockDiagonal:
        return BlockDiagonal(_narrow_all(self.weight, ranges))

    def mix(self, modes: Tensor) -> Tensor:
        # A group is one more position of the frequencies: (*frequencies, groups, 2, batch, channel of it).
        grouped = modes.unflatten(-1, (self.groups, self.weight.shape[-3])).movedim(-2, -4)
        return Dense(self.weight).mix(grouped).movedim(-4, -2).flatten(-2)

    def dense(self) -> Tensor:
        same = torch.eye(self.groups, dtype=self.weight.dtype, device=self.weight.device)
        blocks = self.weight.unsqueeze(-3) * same[:, None, :, None, None]
        return blocks.flatten(-5, -4).flatten(-3, -2)


def _normal(shape: Sequence[int], power: float) -> Tensor:
    """Independent complex normal numbers with ``E|z|² = power`` and ``E z² = 0``, as pairs."""
    return torch.randn(*shape, 2) * sqrt(0.5 * power)


def _narrow_all(weight: Tensor, ranges: Ranges) -> Tensor:
    for axis, (start, stop) in enumerate(ranges):
        if (start, stop) != (0, weight.shape[axis]):  # the gradient of a slice is a padded copy
            weight = weight.narrow(axis, start, stop - start)
    return weight


def _narrow_each(factors: Sequence[Tensor], ranges: Ranges) -> list[Tensor]:
    return [_narrow_all(factor, (limits,)) for factor, limits in zip(factors, ranges, strict=True)]


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    """Products of complex numbers, pairs last, broadcast."""
    (ar, ai), (br, bi) = a.unbind(-1), b.unbind(-1)
    return torch.stack((ar * br - ai * bi, ar * bi + ai * br), dim=-1)


def _outer(factors: Sequence[Tensor]) -> Tensor:
    """(n_1, rank, 2), ..., (n_d, rank, 2) -> (n_1, ..., n_d, rank, 2), the products for each r."""
    first, *others = factors
    for factor in others:
        first = _multiply(first.unsqueeze(-3), factor)
    return first


def _times_diagonal(modes: Tensor, diagonal: Tensor) -> Tensor:
    """(..., 2, batch, r) times (..., r, 2), entry by entry of r."""
    (xr, xi), (dr, di) = modes.unbind(-3), diagonal.unsqueeze(-3).unbind(-1)
    return torch.stack((xr * dr - xi * di, xr * di + xi * dr), dim=-3)


def _times_matrix(modes: Tensor, matrix: Tensor) -> Tensor:
    """(..., 2, batch, c) times one complex matrix (c, r, 2) -> (..., 2, batch, r).

    One real product; the doubled side, (x, i x) before it or four sums after it, is the smaller one.
    """
    if matrix.shape[0] <= matrix.shape[1]:
        real, imaginary = modes.unbind(-3)
        turned = torch.stack((-imaginary, real), dim=-3)
        return torch.cat((modes, turned), dim=-1) @ torch.cat(matrix.unbind(-1))
    product = (modes @ matrix.flatten(1)).unflatten(-1, (matrix.shape[1], 2))
    of_real, of_imaginary = product.unbind(-4)
    (rr, ri), (ir, ii) = of_real.unbind(-1), of_imaginary.unbind(-1)
    return torch.stack((rr - ii, ri + ir), dim=-3)


def _mode_product(tensor: Tensor, mode: int, matrix: Tensor) -> Tensor:
    """Complex ``Σ_r matrix(n, r) tensor(..., r, ...)`` along one mode, pairs last in both."""
    moved = tensor.movedim(mode, 0)
    real, imaginary = moved.unbind(-1)
    turned = torch.stack((-imaginary, real), dim=-1)  # i times it
    product = torch.cat(matrix.unbind(-1), dim=1) @ torch.cat((moved, turned)).flatten(1)
    return product.reshape(-1, *moved.shape[1:]).movedim(0, mode)
