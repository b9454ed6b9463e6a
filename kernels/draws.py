"""Random numbers from a generator that is passed. Nothing here touches global state.

They are drawn on the device of the generator: one on the CPU gives every device the same directions.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def normal(shape: tuple[int, ...], x: Tensor, generator: Generator) -> Tensor:
    """Standard normal numbers, in the dtype and on the device of x."""
    return torch.randn(shape, dtype=x.dtype, device=generator.device, generator=generator).to(x.device)


def uniform(shape: tuple[int, ...], x: Tensor, generator: Generator) -> Tensor:
    """Uniform numbers in [0, 1)."""
    return torch.rand(shape, dtype=x.dtype, device=generator.device, generator=generator).to(x.device)


def signs(shape: tuple[int, ...], x: Tensor, generator: Generator) -> Tensor:
    """Signs with equal probability."""
    bits = torch.randint(2, shape, device=generator.device, generator=generator)
    return (2 * bits - 1).to(x)


def orthonormal(shape: tuple[int, ...], x: Tensor, generator: Generator) -> Tensor:
    """The first columns of random orthogonal matrices (Haar), as rows (R, d), or (R, batch, d)."""
    count, *batch, size = shape
    # Gram-Schmidt of Gaussian columns; signs that make the diagonal of R positive make it uniform.
    q, r = torch.linalg.qr(normal((*batch, size, count), x, generator))
    columns: Tensor = q * torch.sign(torch.diagonal(r, dim1=-2, dim2=-1))[..., None, :]
    return columns.movedim(-1, 0)


def with_replacement(count: int, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Numbers below `count`, (R,) or (R, batch)."""
    return torch.randint(count, shape, device=generator.device, generator=generator)


def without_replacement(count: int, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Different numbers below `count`, (R,), or (R, batch) with a set for each point."""
    samples, *batch = shape
    if not batch:
        return torch.randperm(count, device=generator.device, generator=generator)[:samples]
    if samples**2 > count:
        keys = torch.rand(*batch, count, device=generator.device, generator=generator)
        return keys.topk(samples, dim=1).indices.T
    # Few of many: sets with a repetition are rare (less than half) and drawn again, as a whole.
    drawn = torch.randint(count, (*batch, samples), device=generator.device, generator=generator)
    while True:
        ordered = drawn.sort(dim=1).values
        repeated = (ordered[:, 1:] == ordered[:, :-1]).any(dim=1)
        again = int(repeated.sum())
        if not again:
            return drawn.T
        drawn[repeated] = torch.randint(count, (again, samples), device=generator.device, generator=generator)
