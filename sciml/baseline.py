"""What the core knows of a classical solver: a name and predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from sciml.grid import Grid


class Baseline(Protocol):
    """A method that needs no training and maps the same inputs to the same outputs as the model does."""

    @property
    def name(self) -> str:
        """For tables, such as "finite volumes 32x32"."""
        ...

    def predict(self, inputs: Tensor, grid: Grid) -> Tensor:
        """Inputs (n, in_channels, *space) in physical units to outputs (n, out_channels, *space)."""
        ...
