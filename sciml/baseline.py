"""What the core knows of a classical solver: a name and predictions, of maps or of trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from sciml.grid import Grid
    from sciml.mesh import Mesh


@runtime_checkable
class Baseline(Protocol):
    """A method that needs no training and maps the same inputs to the same outputs as the model does."""

    @property
    def name(self) -> str:
        """For tables, such as "finite volumes 32x32"."""
        ...

    def predict(self, inputs: Tensor, grid: Grid) -> Tensor:
        """Inputs (n, in_channels, *space) in physical units to outputs (n, out_channels, *space)."""
        ...


@runtime_checkable
class MeshBaseline(Protocol):
    """The same for samples on meshes, one by one."""

    @property
    def name(self) -> str:
        """For tables, such as "finite elements of degree 2, 16 triangles per side"."""
        ...

    def at_nodes(self, inputs: Tensor, mesh: Mesh) -> Tensor:
        """Inputs (in_channels, node) in physical units to outputs (out_channels, node)."""
        ...


@runtime_checkable
class Stepper(Protocol):
    """A method that needs no training and steps the same state through time as the model does."""

    @property
    def name(self) -> str:
        """For tables, such as "pseudo-spectral 32x32"."""
        ...

    def trajectory(self, initial: Tensor, times: Sequence[float]) -> Tensor:
        """Frames (n, len(times), *space) from the state ``initial`` (n, *space) at ``times[0]``.

        Frame 0 is ``initial``; physical units; NaN from where a solution has blown up.  Of a state with
        several channels both are with a channel axis before space.
        """
        ...
