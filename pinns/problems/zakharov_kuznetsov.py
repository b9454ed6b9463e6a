"""Zakharov and Kuznetsov's equation in two and three dimensions: line solitons that cross."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.derivatives import Derivative, d, laplace
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Function
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problems.crossing import CrossingWaves, bell

_HALF = 5.0


@describable
@dataclass(frozen=True)
class ZakharovKuznetsov(CrossingWaves):
    r"""``u_t + 6 u u_x + Laplace(u)_x = f`` on (-5, 5)^d to t = 1, d = 2 or 3, x the first coordinate.

    u is the sum of line solitons ``w_i = 2 |k_i|^2 sech^2(k_i . x - 4 k_i1 |k_i|^2 t - s_i)``.  Each of them
    solves the equation without f, which is what they do to each other, ``6 (u u_x - sum_i w_i w_i,x)``: one
    alone is an exact solution at an angle to the axes, with f = 0.

    u is given on the boundary and at the start, and its slope where x is largest.

    Parameters
    ----------
    vectors : tuple of vectors
        k_i, of two or of three numbers, the first one positive; by default two that cross.
    shifts : tuple of float
        s_i.

    Raises
    ------
    ConfigError
        If the vectors do not fit, or there is not one shift for each.

    Notes
    -----
    Source of the equation: Zakharov and Kuznetsov, Sov. Phys. JETP 39 (1974) 285; as a benchmark for mixed
    third derivatives: Shi et al., arXiv:2412.00088.

    Examples
    --------
    >>> ZakharovKuznetsov(vectors=((0.8, 0.4, -0.2),), shifts=(0.0,)).dim
    3
    """

    vectors: tuple[tuple[float, ...], ...] = ((0.9, 0.4), (0.7, -0.6))
    shifts: tuple[float, ...] = (-1.5, 0.5)

    equation: ClassVar[str] = r"u_t + 6 u u_x + (\Delta u)_x = f"
    source: ClassVar[str] = "Zakharov, Kuznetsov (1974), with waves that cross"

    def __post_init__(self) -> None:
        sizes = {len(vector) for vector in self.vectors}
        if len(sizes) != 1 or not sizes <= {2, 3} or any(not vector[0] > 0 for vector in self.vectors):
            raise ConfigError(
                "ZakharovKuznetsov: vectors are all of 2 or all of 3 numbers, the first one positive, got "
                f"{self.vectors}."
            )
        if len(self.shifts) != len(self.vectors):
            raise ConfigError(
                f"ZakharovKuznetsov: needs one shift for each of the {len(self.vectors)} vectors, got "
                f"{self.shifts}."
            )

    @property
    def dim(self) -> int:
        """Coordinates of space."""
        return len(self.vectors[0])

    @property
    def domain(self) -> Domain:
        return Domain(Box(((-_HALF, _HALF),) * self.dim), time=(0.0, 1.0))

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, u_x, linear = evaluate(u, x, [d(0), _LINEAR[self.dim]])
        return linear + 6 * value * u_x - self.forcing(x)

    def waves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        vectors, shifts = (x.new_tensor(values) for values in (self.vectors, self.shifts))
        squares, along = vectors.square().sum(1), vectors[:, 0]
        angle = x[:, :-1] @ vectors.T - 4 * along * squares * x[:, -1:] - shifts
        waves = 2 * squares * bell(angle)
        return waves, -2 * along * torch.tanh(angle) * waves


def _linear(dim: int) -> Derivative:
    return d(dim) + d(0) * laplace(dim)


_LINEAR = {dim: _linear(dim) for dim in (2, 3)}
