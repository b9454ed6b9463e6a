"""What weightings of whole terms share: the gradient of a share, and weights that make sizes equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sciml import processes
from sciml.pinns.weightings.weighting import State

_FLOOR = 1e-5  # of a size, relative to the mean of all: a term that is learned keeps a finite weight


def balanced(before: State | None, sizes: Mapping[str, Tensor], memory: float) -> dict[str, Tensor]:
    """Weights that bring the sizes of all terms to their mean, averaged with those before, at first 1."""
    mean = torch.stack([*sizes.values()]).mean().clamp_min(torch.finfo(torch.float64).tiny)
    found: dict[str, Tensor] = {}
    for name, size in sizes.items():
        old = torch.ones_like(size) if before is None else before[name]
        found[name] = memory * old + (1 - memory) * mean / (size + _FLOOR * mean)
    return found


def length(share: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Of the gradient of a sum of which each process has a share with its graph: float64, on the CPU."""
    gradients = torch.autograd.grad(share, parameters, retain_graph=True, materialize_grads=True)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    norm: Tensor = torch.linalg.vector_norm(processes.add_up(flat), dtype=torch.float64)
    return norm.cpu()
