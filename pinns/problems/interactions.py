r"""The inner functions S of solutions ``(1 - |x|^2) S(x)`` in the unit ball, in any number of dimensions.

Each is known with its derivatives at the cost of one pass over the points, and so is the linear function that
is nearest to it: all points of one distance from the center count alike, so that coordinates are not
correlated and a mean over two of them decides.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.kernels.neighbor_sums import PIECE_ON_CPU, PIECE_ON_CUDA, neighbor_sum, three_body, two_body

Derivatives = tuple[Tensor, Tensor, Tensor]
"""S, ``x . grad S`` and ``Laplace(S)``, (n,) each."""

_NODES = 64  # of each quadrature: of analytic functions, to rounding


class Interaction(ABC):
    """S with what equations and yardsticks ask of it; a value that holds a seed and no tensors."""

    dim: int
    seed: int

    flattens: ClassVar[bool]
    """Whether it comes closer to its Taylor polynomial the more coordinates there are, see `Problem`."""

    @property
    def directions(self) -> int | None:
        """How many of them it changes along, if that is few whatever the dimension."""
        return None

    @abstractmethod
    def values(self, x: Tensor) -> Tensor:
        """S at points (n, dim), (n,); also of jets."""

    @abstractmethod
    def derivatives(self, x: Tensor) -> Derivatives:
        """S and what a Laplacian needs of it, without anything of the size of the points in between."""

    @abstractmethod
    def nearest_linear(self) -> tuple[float, Tensor]:
        """a and w (dim,) for which the mean of ``(1 - |x|^2)^2 (S - a - w . x)^2`` is least.

        The mean is over directions and lengths that are uniform, as in `sciml.pinns.RadialBall`.
        """


@dataclass(frozen=True)
class _Neighbors(Interaction):
    """``S = sum_i c_i s(x_i, ..., x_{i+k-1})``, ``c_i`` normal numbers."""

    dim: int
    seed: int

    bodies: ClassVar[int]
    flattens: ClassVar[bool] = True

    @staticmethod
    @abstractmethod
    def plain(x: Tensor) -> Tensor:
        """s of consecutive columns, (n, columns - k + 1)."""

    @staticmethod
    @abstractmethod
    def terms(x: Tensor) -> Derivatives:
        """s with its derivatives, see `sciml.kernels.neighbor_sum`."""

    def __post_init__(self) -> None:
        check_dim(self, self.bodies)

    def values(self, x: Tensor) -> Tensor:
        return _summed(x, self._coefficients(x), self.plain, self.bodies)

    def derivatives(self, x: Tensor) -> Derivatives:
        return neighbor_sum(x, self._coefficients(x), self.terms, self.bodies)

    def _coefficients(self, like: Tensor) -> Tensor:
        return _normal(self.dim - self.bodies + 1, self.seed, like.dtype, like.device)


class TwoBody(_Neighbors):
    """``s = sin(a + cos b + b cos a)`` of neighbors a, b.

    Close to constant in many dimensions, as coordinates are of size ``1 / sqrt(dim)``.

    Examples
    --------
    >>> S = TwoBody(1000, seed=0)
    >>> S.values(torch.zeros(1, 1000)).shape, S.nearest_linear()[1].shape
    (torch.Size([1]), torch.Size([1000]))
    """

    bodies = 2

    @staticmethod
    def terms(x: Tensor) -> Derivatives:
        return two_body(x)

    @staticmethod
    def plain(x: Tensor) -> Tensor:
        cosines = torch.cos(x)
        return torch.sin(x[:, :-1] + cosines[:, 1:] + x[:, 1:] * cosines[:, :-1])

    def nearest_linear(self) -> tuple[float, Tensor]:
        c = _normal(self.dim - 1, self.seed)
        mean, left, right = two_body_means(self.dim, 1.0)
        return mean * float(c.sum()), _spread(c, left, right)


class ThreeBody(_Neighbors):
    """``s = exp(a b c)`` of neighbors a, b, c.

    Almost constant: no linear function helps, because s is the same with the signs of two neighbors changed.
    """

    bodies = 3

    @staticmethod
    def terms(x: Tensor) -> Derivatives:
        return three_body(x)

    @staticmethod
    def plain(x: Tensor) -> Tensor:
        return torch.exp(x[:, :-2] * x[:, 1:-1] * x[:, 2:])

    def nearest_linear(self) -> tuple[float, Tensor]:
        c = _normal(self.dim - 2, self.seed)
        return three_body_mean(self.dim) * float(c.sum()), torch.zeros(self.dim, dtype=torch.float64)


@dataclass(frozen=True)
class HiddenDirections(Interaction):
    r"""The two-body interaction of ten hidden coordinates: a function that is hard at every dimension.

    ``S(x) = sum_{k=1}^{9} c_k sin(y_k + cos y_{k+1} + y_{k+1} cos y_k)`` with ``y = sqrt(dim) Q^T x``, the
    ten columns of Q orthonormal and random, and normal numbers ``c_k`` less their mean.

    Notes
    -----
    A point at distance r from the center has hidden coordinates with the deviation r, whatever the dimension,
    while its own ones have ``r / sqrt(dim)``.  So the law of S does not depend on dim, apart from terms of
    order 1 / dim.  The ``c_k`` add up to zero, and with them the mean of S: the best constant is zero, with
    an error of 1.  The best linear network leaves more than half, 0.51 to 0.58 over six seeds, since s bends
    over the range of y.  A network that gets further has to find the directions.

    ``x . grad S = y . grad_y S`` and ``Laplace(S) = dim Laplace_y(S)``: all costs 10 dim per point.
    """

    dim: int
    seed: int

    count: ClassVar[int] = 10
    flattens: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_dim(self, self.count)

    @property
    def directions(self) -> int:
        return self.count

    @property
    def stretch(self) -> float:
        """``|grad y_k|``."""
        return math.sqrt(self.dim)

    def values(self, x: Tensor) -> Tensor:
        return _summed(self._seen(x), self._coefficients(x), TwoBody.plain, 2)

    def derivatives(self, x: Tensor) -> Derivatives:
        value, outward, laplacian = neighbor_sum(self._seen(x), self._coefficients(x), two_body, 2)
        return value, outward, self.stretch**2 * laplacian

    def nearest_linear(self) -> tuple[float, Tensor]:
        c = _centered(self.count - 1, self.seed)
        mean, left, right = two_body_means(self.dim, self.stretch)
        rows = _directions(self.dim, self.count, self.seed)
        return mean * float(c.sum()), self.stretch * (rows @ _spread(c, left, right))

    def _seen(self, x: Tensor) -> Tensor:
        return self.stretch * (x @ _directions(self.dim, self.count, self.seed, x.dtype, x.device))

    def _coefficients(self, like: Tensor) -> Tensor:
        return _centered(self.count - 1, self.seed).to(like.device, like.dtype)


INTERACTIONS: dict[str, Callable[[int, int], Interaction]] = {
    "two-body": TwoBody,
    "three-body": ThreeBody,
    "hidden": HiddenDirections,
}


def check_dim(interaction: Interaction, least: int) -> None:
    """Raise for too few coordinates."""
    if interaction.dim < least:
        raise ConfigError(
            f"{type(interaction).__name__}: dim must be at least {least}, got {interaction.dim}."
        )


# Random numbers that belong to a problem: made in float64 on the processor, wherever they are needed.


@lru_cache(maxsize=8)
def _normal(
    count: int,
    seed: int,
    dtype: torch.dtype = torch.float64,
    device: torch.device = torch.device("cpu"),  # noqa: B008 - a value
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, generator=generator, dtype=torch.float64).to(device, dtype)


def _centered(count: int, seed: int) -> Tensor:
    c = _normal(count, seed)
    return c - c.mean()


@lru_cache(maxsize=4)
def _directions(
    dim: int,
    count: int,
    seed: int,
    dtype: torch.dtype = torch.float64,
    device: torch.device = torch.device("cpu"),  # noqa: B008
) -> Tensor:
    """Orthonormal columns (dim, count), apart from the coefficients of the same seed."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(count + dim * count, generator=generator, dtype=torch.float64)
    columns: Tensor = torch.linalg.qr(numbers[count:].reshape(dim, count)).Q
    return columns.to(device, dtype)


def _summed(x: Tensor, coefficients: Tensor, plain: Callable[[Tensor], Tensor], bodies: int) -> Tensor:
    """``sum_i c_i s``: of a jet at once, of points in pieces that stay in the cache of a processor."""
    if not isinstance(x, Tensor):  # a jet
        return (plain(x) * coefficients).sum(1)
    count = len(coefficients)
    piece = PIECE_ON_CPU * torch.get_num_threads() if x.device.type == "cpu" else PIECE_ON_CUDA
    width = max(1, piece // max(1, len(x)))
    total = x.new_zeros(len(x), dtype=torch.float64)
    for start in range(0, count, width):
        stop = min(start + width, count)
        total = total + plain(x[:, start : stop + bodies - 1]) @ coefficients[start:stop]
    return total.to(x.dtype)


# Means over directions and lengths that are uniform, with the weight (1 - r^2)^2.


def _spread(c: Tensor, left: float, right: float) -> Tensor:
    """The slopes of ``sum_i c_i (left y_i + right y_{i+1})``."""
    slopes = c.new_zeros(len(c) + 1)
    slopes[:-1] += left * c
    slopes[1:] += right * c
    return slopes


@lru_cache(maxsize=64)
def two_body_means(dim: int, stretch: float) -> tuple[float, float, float]:
    """Means of s, and its slopes in a and b, where (a, b) are two coordinates times ``stretch``.

    That is ``E[w s] / E[w]``, ``E[w s a] / E[w a^2]`` and ``E[w s b] / E[w b^2]``, ``w = (1 - r^2)^2``.

    Notes
    -----
    Of a direction in dim dimensions two coordinates have the squared length ``1 - exp(-2 t / (dim - 2))``,
    t exponential: quadratures of Gauss and Laguerre for t, Gauss and Legendre for r, equal steps for the
    angle.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    r, of_r = (nodes + 1) / 2, weights / 2
    t, of_t = np.polynomial.laguerre.laggauss(_NODES)
    length = -np.expm1(-2 * t / (dim - 2)) if dim > 2 else np.ones_like(t)
    angle = 2 * np.pi / _NODES * (np.arange(_NODES) + 0.5)
    away = stretch * r[:, None, None] * np.sqrt(length)[:, None]
    a, b = away * np.cos(angle), away * np.sin(angle)
    s = np.sin(a + np.cos(b) + b * np.cos(a))
    share = (of_r * (1 - r**2) ** 2)[:, None, None] * of_t[:, None] / _NODES + 0 * angle
    means = [(share * s).sum() / share.sum(), *((share * s * y).sum() / (share * y**2).sum() for y in (a, b))]
    return float(means[0]), float(means[1]), float(means[2])


def three_body_mean(dim: int) -> float:
    r"""``E[w exp(a b c)] / E[w]`` for three coordinates, ``w = (1 - r^2)^2``.

    By ``E[(a b c)^{2m}] = E[r^{6m}] ((2m-1)!!)^3 / (dim (dim + 2) ... (dim + 6m - 2))`` and
    ``int (1 - r^2)^2 r^p dr = 8 / ((p+1) (p+3) (p+5))``; odd powers have mean 0.
    """

    def weighted(p: int) -> float:
        return 8 / ((p + 1) * (p + 3) * (p + 5))

    total, of_directions, factorial = 1.0, 1.0, 1.0
    for m in range(1, 10):  # terms fall by at least 1e3 each
        of_directions *= (2 * m - 1) ** 3 / math.prod(dim + 6 * m - k for k in (6, 4, 2))
        factorial *= (2 * m - 1) * (2 * m)
        total += of_directions * weighted(6 * m) / weighted(0) / factorial
    return total
