"""Parameters and their gradients as one vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sciml.errors import ConfigError


class Flat:
    """The parameters of an optimizer in one row.

    Raises
    ------
    ConfigError
        For complex parameters, or parameters of several dtypes or devices.
    """

    def __init__(self, who: str, parameters: Sequence[Tensor]) -> None:
        kinds = {(p.dtype, p.device) for p in parameters}
        if len(kinds) != 1 or any(p.is_complex() for p in parameters):
            shown = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
            raise ConfigError(f"{who}: needs real parameters of one dtype on one device, got {shown}.")
        self.parameters = list(parameters)
        self.size = sum(p.numel() for p in parameters)

    def values(self) -> Tensor:
        """The parameters, (size,), copied."""
        return torch.cat([p.detach().reshape(-1) for p in self.parameters])

    def gradient(self) -> Tensor:
        """Their gradients, (size,), copied; 0 where there is none."""
        return torch.cat(
            [
                (torch.zeros_like(p) if p.grad is None else p.grad).detach().reshape(-1)
                for p in self.parameters
            ]
        )

    def assign(self, values: Tensor) -> None:
        """Give the parameters these values."""
        with torch.no_grad():
            for p, part in zip(
                self.parameters, values.split([p.numel() for p in self.parameters]), strict=True
            ):
                p.copy_(part.view_as(p))
