"""What lies between two spheres in many dimensions, seen evenly from the inner to the outer one."""

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
class RadialShell(Geometry):
    """The shell between two spheres around the origin, whose points have a uniform direction and length.

    Its faces are ``inner`` and ``outer``; points of the boundary are shared out evenly between them.  See
    `sciml.pinns.radial.RadialBall` for the reason.

    Parameters
    ----------
    dim : int
        At least 1; an annulus by default.
    inner, outer : float
        Radii, 0 < inner < outer.

    Raises
    ------
    ConfigError
        If a number is out of range, or the volume is asked for, by which its points are not spread.

    Examples
    --------
    >>> shell = RadialShell(1000)
    >>> x = shell.random(Random(torch.Generator().manual_seed(0)), 2000)
    >>> bool(shell.contains(x).all()), abs(x.norm(dim=1).mean().item() - 3 / 2) < 0.03  # four standard errors
    (True, True)
    """

    dim: int = 2
    inner: float = 1.0
    outer: float = 2.0

    def __post_init__(self) -> None:
        if self.dim < 1 or not 0 < self.inner < self.outer < math.inf:
            raise ConfigError(f"RadialShell: needs dim >= 1 and radii 0 < inner < outer, got {self}.")

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        return ((-self.outer, self.outer),) * self.dim

    @property
    def units(self) -> tuple[int, int]:
        return self.dim + 1, self.dim

    @property
    def faces(self) -> tuple[str, ...]:
        return ("inner", "outer")

    @property
    def volume(self) -> float:
        raise ConfigError(
            "RadialShell: its points are not spread by volume; integrate over Ball(dim, outer) - "
            "Ball(dim, inner)."
        )

    def interior(self, unit: Tensor) -> Tensor:
        direction, _ = Ball(self.dim).boundary(unit[:, 1:], ("sphere",))
        return self._away(unit[:, :1]) * direction

    def random(self, source: Random, count: int) -> Tensor:
        away = self._away(source(count, 1))
        x = source.normal(count, self.dim)
        return x.mul_(away / torch.linalg.vector_norm(x, dim=1, keepdim=True))

    def boundary(self, unit: Tensor, faces: Sequence[str]) -> tuple[Tensor, Tensor]:
        direction, _ = Ball(self.dim).boundary(unit, ("sphere",))
        # Every second point is on the inner one, if both are asked for.
        number = torch.arange(len(unit), device=unit.device)[:, None] % len(faces)
        inside = number == (faces.index("inner") if "inner" in faces else -1)
        radius = torch.where(inside, self.inner, self.outer).to(unit.dtype)
        return radius * direction, torch.where(inside, -direction, direction)

    def contains(self, x: Tensor) -> Tensor:
        distance: Tensor = torch.linalg.vector_norm(x, dim=1)
        margin = 4 * torch.finfo(x.dtype).eps
        return (distance >= self.inner * (1 - margin)) & (distance <= self.outer * (1 + margin))

    def area(self, face: str) -> float:
        return Ball(self.dim, self.inner if face == "inner" else self.outer).area("sphere")

    def _away(self, unit: Tensor) -> Tensor:
        return self.inner + (self.outer - self.inner) * unit
