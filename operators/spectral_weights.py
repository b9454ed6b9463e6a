"""How the matrices of a Fourier layer are stored: whole, in factors, or with most entries zero.

An operator takes one of these as its ``modes``; a plain number of modes m stands for ``DenseWeights(m)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.contractions import Contraction
from sciml.kernels.factorized import CP, BlockDiagonal, Separable, Tucker

BISECTIONS = 40  # of the fraction of every mode that a Tucker form keeps; ranks are far coarser than 2^-40


class FactorizedWeight(nn.Module):
    """The tensors of a structured weight as parameters."""

    def __init__(self, start: CP | Tucker | Separable | BlockDiagonal) -> None:
        super().__init__()
        self.kind = type(start)
        self.tensors = nn.ParameterList(start.tensors)

    def contraction(self) -> Contraction:
        """What `sciml.kernels.spectral_conv` takes."""
        first, *others = self.tensors
        if self.kind is CP:
            return CP((first, *others))
        if self.kind is Tucker:
            return Tucker(first, tuple(others))
        return Separable(first) if self.kind is Separable else BlockDiagonal(first)


Weight = nn.Parameter | FactorizedWeight


def contraction_of(weight: Weight) -> Tensor | Contraction:
    """A weight that `SpectralWeights.make` made, as `sciml.kernels.spectral_conv` takes it."""
    return weight if isinstance(weight, Tensor) else weight.contraction()


@runtime_checkable
class SpectralWeights(Protocol):
    """What an operator takes as its modes: how many there are, and how to make the weight of one layer."""

    @property
    def modes(self) -> int | Sequence[int]:
        """m, or one for each axis."""

    def make(self, frequencies: Sequence[int], channels: tuple[int, int], *, power: float = 1.0) -> Weight:
        """A random weight (*frequencies, c_in, c_out) with ``E|Σ_i R_io X_i|² = power · mean_i |X_i|²``."""


def as_weights(modes: int | Sequence[int] | SpectralWeights) -> SpectralWeights:
    """The argument ``modes`` of an operator, plain numbers as `DenseWeights`."""
    return modes if isinstance(modes, SpectralWeights) else DenseWeights(modes)


@describable
@dataclass(frozen=True)
class DenseWeights:
    """A full complex matrix for each frequency.

    Parameters
    ----------
    modes : int or one int per axis

    Examples
    --------
    >>> DenseWeights(8).make((16, 8), (4, 4)).shape
    torch.Size([16, 8, 4, 4, 2])
    """

    modes: int | Sequence[int] = 16

    def make(self, frequencies: Sequence[int], channels: tuple[int, int], *, power: float = 1.0) -> Weight:
        std = sqrt(power / (2.0 * channels[0]))
        return nn.Parameter(torch.randn(*frequencies, *channels, 2) * std)


@describable
@dataclass(frozen=True)
class CPWeights:
    """A sum of outer products over frequencies and channels, `sciml.kernels.factorized.CP`.

    Parameters
    ----------
    modes : int or one int per axis
    rank : float or int
        A float is the fraction of the parameters of `DenseWeights` that may be spent, 0 to 1; an int is the
        number of terms.

    Raises
    ------
    ConfigError
        If the rank is out of range.

    Examples
    --------
    >>> weight = CPWeights(8, rank=0.1).make((16, 8), (16, 16))  # 16 · 8 · 16 · 16 / (16 + 8 + 16 + 16) = 585
    >>> weight.contraction().rank
    58
    """

    modes: int | Sequence[int] = 16
    rank: float | int = 0.1

    def __post_init__(self) -> None:
        _check_rank("CPWeights", self.rank)

    def make(self, frequencies: Sequence[int], channels: tuple[int, int], *, power: float = 1.0) -> Weight:
        sizes = (*frequencies, *channels)
        rank = self.rank
        if isinstance(rank, float):
            rank = max(1, int(rank * prod(sizes) / sum(sizes)))
        return FactorizedWeight(CP.random(frequencies, channels, rank, variance=power / channels[0]))


@describable
@dataclass(frozen=True)
class TuckerWeights:
    """A small core with a matrix for each axis and for both channels, `sciml.kernels.factorized.Tucker`.

    Parameters
    ----------
    modes : int or one int per axis
    rank : float, int or sequence of int
        A float is the fraction of the parameters of `DenseWeights` that may be spent, 0 to 1: every mode of
        the tensor keeps the same part of its size, as large as that allows. An int is the rank of every
        mode, a sequence that of each, frequencies first, then c_in and c_out; none exceeds the size.

    Raises
    ------
    ConfigError
        If a rank is out of range.

    Examples
    --------
    >>> weight = TuckerWeights(8, rank=0.1).make((16, 8), (16, 16))
    >>> weight.contraction().ranks, sum(p.numel() for p in weight.parameters()) / (2 * 16 * 8 * 16 * 16)
    ((8, 4, 8, 8), 0.0751953125)
    """

    modes: int | Sequence[int] = 16
    rank: float | int | Sequence[int] = 0.1

    def __post_init__(self) -> None:
        for rank in self.rank if isinstance(self.rank, Sequence) else (self.rank,):
            _check_rank("TuckerWeights", rank)

    def make(self, frequencies: Sequence[int], channels: tuple[int, int], *, power: float = 1.0) -> Weight:
        ranks = self._ranks((*frequencies, *channels))
        return FactorizedWeight(Tucker.random(frequencies, channels, ranks, variance=power / channels[0]))

    def _ranks(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if isinstance(self.rank, float):
            return _proportional(sizes, self.rank * prod(sizes))
        ranks = tuple(self.rank) if isinstance(self.rank, Sequence) else (self.rank,) * len(sizes)
        if len(ranks) != len(sizes):
            raise ConfigError(
                f"TuckerWeights: rank must be one number or one for each of the {len(sizes)} modes of the "
                f"weight {sizes}, got {ranks}."
            )
        return tuple(min(rank, size) for rank, size in zip(ranks, sizes, strict=True))


@describable
@dataclass(frozen=True)
class SeparableWeights:
    """One complex number for each frequency and channel: the channels do not meet in Fourier space.

    Parameters
    ----------
    modes : int or one int per axis

    Examples
    --------
    >>> SeparableWeights(8).make((16, 8), (4, 4)).contraction().weight.shape
    torch.Size([16, 8, 4, 2])
    """

    modes: int | Sequence[int] = 16

    def make(self, frequencies: Sequence[int], channels: tuple[int, int], *, power: float = 1.0) -> Weight:
        if channels[0] != channels[1]:
            raise ConfigError(f"SeparableWeights: a layer with {channels} channels has to mix them.")
        return FactorizedWeight(Separable.random(frequencies, channels[0], variance=power))


@describable
@dataclass(frozen=True)
class BlockDiagonalWeights:
    """A matrix for each frequency and group of channels.

    Parameters
    ----------
    modes : int or one int per axis
    groups : int
        Groups of channels; the width is a multiple of it.

    Raises
    ------
    ConfigError
        If groups is below 1.

    Examples
    --------
    >>> BlockDiagonalWeights(8, groups=2).make((16, 8), (4, 4)).contraction().weight.shape
    torch.Size([16, 8, 2, 2, 2, 2])
    """

    modes: int | Sequence[int] = 16
    groups: int = 4

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise ConfigError(f"BlockDiagonalWeights: groups must be at least 1, got {self.groups}.")

    def make(self, frequencies: Sequence[int], channels: tuple[int, int], *, power: float = 1.0) -> Weight:
        if any(count % self.groups for count in channels):
            raise ConfigError(
                f"BlockDiagonalWeights: groups={self.groups} must divide the channels of a layer, {channels}."
            )
        variance = power * self.groups / channels[0]
        return FactorizedWeight(BlockDiagonal.random(frequencies, channels, self.groups, variance=variance))


def _check_rank(who: str, rank: float | int) -> None:
    if not (0.0 < rank <= 1.0 if isinstance(rank, float) else rank >= 1):
        raise ConfigError(
            f"{who}: rank must be a whole number from 1, or a fraction of the full parameters, above 0.0 and "
            f"up to 1.0, got {rank!r}."
        )


def _proportional(sizes: tuple[int, ...], budget: float) -> tuple[int, ...]:
    """Ranks in proportion to the sizes, the largest whose core and factors together stay within a budget."""

    def ranks(part: float) -> tuple[int, ...]:
        return tuple(max(1, round(part * size)) for size in sizes)

    def cost(part: float) -> int:
        chosen = ranks(part)
        return prod(chosen) + sum(size * rank for size, rank in zip(sizes, chosen, strict=True))

    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if cost(middle) <= budget else (low, middle)
    return ranks(low)
