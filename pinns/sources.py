"""Where random points come from: a source that regions in many dimensions draw from directly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Random:
    """Independent uniform points of the unit cube, and normal numbers too.

    A direction in space is a normal vector: regions that know it take that instead of a point of a cube,
    see `sciml.pinns.Geometry.random`.

    Parameters
    ----------
    generator : torch.Generator
        Numbers are made on its device.
    dtype : torch.dtype

    Examples
    --------
    >>> source = Random(Generator().manual_seed(0), torch.float32)
    >>> source(2, 3).shape, source.normal(2, 3).dtype
    (torch.Size([2, 3]), torch.float32)
    """

    generator: Generator
    dtype: torch.dtype = torch.float64

    def __call__(self, n: int, k: int) -> Tensor:
        """Points (n, k) of the unit cube."""
        return torch.rand(n, k, generator=self.generator, device=self.generator.device, dtype=self.dtype)

    def normal(self, n: int, k: int) -> Tensor:
        """Standard normal numbers (n, k)."""
        return torch.randn(n, k, generator=self.generator, device=self.generator.device, dtype=self.dtype)
