"""A ball in many dimensions, seen evenly from its center to its sphere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.domain import Ball, Geometry
from sciml.pinns.sources import Random


@describable
@dataclass(frozen=True)
class RadialBall(Geometry):
    """The ball around the origin, whose interior points have a uniform direction and a uniform length.

    Of the volume of `Ball` all but ``a^dim`` lies farther than ``a radius`` from the center: uniform points
    are on the sphere, in many dimensions, and see a solution that vanishes there as zero.

    Parameters
    ----------
    dim : int
        At least 1; a disc by default.
    radius : float, positive

    Raises
    ------
    ConfigError
        If a number is out of range, or the volume is asked for, by which its points are not spread.

    Notes
    -----
    Source of the law: Hu et al., Hutchinson trace estimation for high-dimensional and high-order
    physics-informed neural networks, arXiv:2312.14499, by its released code.

    Examples
    --------
    >>> source = Random(torch.Generator().manual_seed(0))
    >>> x = RadialBall(1000).random(source, 2000)
    >>> abs(x.norm(dim=1).mean().item() - 1 / 2) < 0.03  # four standard errors
    True
    """

    dim: int = 2
    radius: float = 1.0

    def __post_init__(self) -> None:
        if self.dim < 1 or not 0 < self.radius < math.inf:
            raise ConfigError(f"RadialBall: needs dim >= 1 and a positive radius, got {self}.")

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        return ((-self.radius, self.radius),) * self.dim

    @property
    def units(self) -> tuple[int, int]:
        return self._ball.units

    @property
    def faces(self) -> tuple[str, ...]:
        return self._ball.faces

    @property
    def volume(self) -> float:
        raise ConfigError("RadialBall: its points are not spread by volume; integrate over Ball.")

    def interior(self, unit: Tensor) -> Tensor:
        # The first column is the radius, of the others the ball makes a direction.
        sphere, _ = self._ball.boundary(unit[:, 1:], self.faces)
        return unit[:, :1] * sphere

    def random(self, source: Random, count: int) -> Tensor:
        away = self.radius * source(count, 1)
        x = source.normal(count, self.dim)
        return x.mul_(away / torch.linalg.vector_norm(x, dim=1, keepdim=True))

    def boundary(self, unit: Tensor, faces: Sequence[str]) -> tuple[Tensor, Tensor]:
        return self._ball.boundary(unit, faces)

    def contains(self, x: Tensor) -> Tensor:
        return self._ball.contains(x)

    def area(self, face: str) -> float:
        return self._ball.area(face)

    @property
    def _ball(self) -> Ball:
        return Ball(self.dim, self.radius)
