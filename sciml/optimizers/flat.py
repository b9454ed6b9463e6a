"""Parameters and their gradients as one vector."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from sciml.errors import ConfigError


class Flat:
    """The parameters of an optimizer in one row.

    Raises
    ------
    ConfigError
        For several groups, complex parameters, or parameters of several dtypes or devices.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        who = type(optimizer).__name__
        if len(optimizer.param_groups) != 1:
            raise ConfigError(f"{who}: takes one group of parameters, got {len(optimizer.param_groups)}.")
        self.parameters: list[Tensor] = list(optimizer.param_groups[0]["params"])
        kinds = {(p.dtype, p.device) for p in self.parameters}
        if len(kinds) != 1 or any(p.is_complex() for p in self.parameters):
            shown = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
            raise ConfigError(f"{who}: needs real parameters of one dtype on one device, got {shown}.")
        if self.parameters[0].dtype == torch.float32:
            warnings.warn(
                f"{who}: in float32 rounding hides the curvature after a few digits; use model.double().",
                stacklevel=3,
            )
        self.size = sum(p.numel() for p in self.parameters)

    def values(self) -> Tensor:
        """The parameters, (size,), copied."""
        return joined(p.detach() for p in self.parameters)

    def gradient(self) -> Tensor:
        """Their gradients, (size,), copied; 0 where there is none."""
        return joined((torch.zeros_like(p) if p.grad is None else p.grad).detach() for p in self.parameters)

    def assign(self, values: Tensor) -> None:
        """Give the parameters these values."""
        with torch.no_grad():
            for p, part in zip(self.parameters, split(values, self.parameters), strict=True):
                p.copy_(part)


def joined(tensors: Iterable[Tensor]) -> Tensor:
    """All numbers in one row."""
    return torch.cat([t.reshape(-1) for t in tensors])


def split(values: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `joined`, for tensors of these shapes."""
    parts = values.split([t.numel() for t in like])
    return [part.view_as(t) for part, t in zip(parts, like, strict=True)]
