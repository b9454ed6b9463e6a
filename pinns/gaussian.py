"""All of space, seen where a diffusion goes: points with a normal law whose width may change in time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.domain import Geometry
from sciml.pinns.sources import Random

_DEVIATIONS = 3.0


@describable
@dataclass(frozen=True)
class Gaussian(Geometry):
    """All of space, with points of the law ``N(0, (variance + rate t) I)`` at time t.

    For equations without a boundary.  A solution at (0, T) is a mean over paths of a process that starts
    there; with t the time to go, these paths are at time t where ``N(0, c (T - t) I)`` is: variance c T, rate
    -c.

    There are no faces, ``contains`` holds everywhere, and ``bounds``, by which coordinates are scaled, are
    three deviations at time 0.

    Parameters
    ----------
    dim : int
        At least 1.
    variance : float, positive
        Of each coordinate at time 0.
    rate : float
        Of its change; where it has become negative, it counts as 0.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    In many dimensions all points have almost the same length, ``sqrt(dim (variance + rate t))``: a law whose
    width does not follow the process says nothing about the point from which it starts.

    Examples
    --------
    >>> from sciml.pinns import Domain
    >>> domain = Domain(Gaussian(1000, variance=2.0, rate=-2.0), time=(0.0, 1.0))
    >>> x = domain.interior(torch.rand, 50)
    >>> size = x[:, :-1].square().mean(1) / (2 - 2 * x[:, -1])
    >>> bool((size - 1).abs().max() < 0.3)  # 7 deviations of 0.045
    True
    """

    dim: int = 1
    variance: float = 1.0
    rate: float = 0.0

    def __post_init__(self) -> None:
        if self.dim < 1 or not 0 < self.variance < math.inf or not math.isfinite(self.rate):
            raise ConfigError(
                f"Gaussian: needs dim >= 1, a positive variance and a finite rate, got {self.dim}, "
                f"{self.variance} and {self.rate}."
            )

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        end = _DEVIATIONS * math.sqrt(self.variance)
        return ((-end, end),) * self.dim

    @property
    def units(self) -> tuple[int, int]:
        return self.dim, 0

    @property
    def faces(self) -> tuple[str, ...]:
        return ()

    def interior(self, unit: Tensor) -> Tensor:
        # Rounded away from 0 and 1, where the inverse of the normal distribution is infinite.
        tiny = torch.finfo(unit.dtype).eps
        normal: Tensor = torch.special.ndtri(unit.clamp(tiny, 1 - tiny))
        return math.sqrt(self.variance) * normal

    def random(self, source: Random, count: int) -> Tensor:
        return source.normal(count, self.dim).mul_(math.sqrt(self.variance))

    def at(self, x: Tensor, time: Tensor) -> Tensor:
        return x * (1 + self.rate / self.variance * time).clamp_min(0).sqrt()

    def boundary(self, unit: Tensor, faces: Sequence[str]) -> tuple[Tensor, Tensor]:
        raise ConfigError("Gaussian: all of space has no boundary, so no condition can be asked for there.")

    def contains(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), dtype=torch.bool, device=x.device)
