"""The classical solver of equations in series: on its own grid, with its own steps, between given frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.numerics.pseudo_spectral import Modes
from sciml.datasets.numerics.random_fields import Boundary
from sciml.datasets.numerics.series import Series
from sciml.description import describable
from sciml.errors import ShapeError
from sciml.grid import Grid

if TYPE_CHECKING:
    from torch import Tensor

Float = NDArray[np.float64]


def resample(values: Float, grid: Grid, other: Grid, boundary: Boundary = "periodic") -> Float:
    """Values (..., *grid.shape) at the nodes of another grid of the domain, by their `Series`.

    Waves that the coarser of the two grids cannot hold are dropped.
    """
    if boundary == "periodic":
        given, wanted = Modes(grid, degree=1), Modes(other, degree=1)
        return wanted.to_values(given.convert(given.to_modes(values), wanted))
    there = Series(other, boundary)
    modes = Series(grid, boundary).to_modes(values)
    found = np.zeros((*modes.shape[: -grid.rank], *there.eigenvalues.shape))
    # The highest cosine looks like none of its kind on other grids: nodes do not tell it from its alias.
    counts = [min(n, m) - 1 - (boundary == "dirichlet") for n, m in zip(grid.shape, other.shape, strict=True)]
    kept: tuple[Any, ...] = (..., *map(slice, counts))
    found[kept] = modes[kept]
    return there.to_values(found)


class Flow(Protocol):
    """What `SpectralSolver` asks of a generator."""

    @property
    def grid(self) -> Grid:
        """Nodes of a `Series`; the domain counts, not their number."""
        ...

    def evolve(self, initial: Float, times: ArrayLike, *, step: float) -> Float:
        """Frames (n, len(times), components, *space) from values on any grid of the domain; see `run`."""
        ...


class Varied(Protocol):
    """A `Flow` whose samples may have parameters or fields of their own."""

    @property
    def grid(self) -> Grid:
        """As that of `Flow`."""
        ...

    def evolve(self, initial: Float, times: ArrayLike, *, step: float, known: Mapping[str, Float]) -> Float:
        """As that of `Flow`; ``known`` holds arrays, samples first, fields on any grid of the domain."""
        ...


@dataclass(frozen=True)
class Bound:
    """The `Flow` of certain samples: one whose parameters are known."""

    flow: Varied
    known: Mapping[str, Float] = field(compare=False)

    @property
    def grid(self) -> Grid:
        """That of the flow."""
        return self.flow.grid

    def evolve(self, initial: Float, times: ArrayLike, *, step: float) -> Float:
        """That of the flow, for these samples."""
        return self.flow.evolve(initial, times, step=step, known=self.known)


@describable
@dataclass(frozen=True)
class SpectralSolver:
    """Classical solver in a `Series` on its own grid and with its own step, for roll-outs.

    Parameters
    ----------
    flow : Flow
        A generator; samples that do not share all their parameters come as `Bound`.
    resolution : int
        Intervals per axis.
    step : float
        Longest step.
    boundary : "periodic", "dirichlet" or "neumann"

    Raises
    ------
    ShapeError
        From `trajectory`, if ``initial`` does not have the axes of the flow.
    """

    flow: Flow
    resolution: int
    step: float
    boundary: Boundary = "periodic"

    @property
    def name(self) -> str:
        """For tables."""
        shape = "x".join([str(self.resolution)] * self.flow.grid.rank)
        return f"pseudo-spectral {shape}, steps up to {self.step:g}"

    def trajectory(self, initial: Tensor, times: Sequence[float]) -> Tensor:
        """Frames (n, len(times), [components,] *space) from the state ``initial`` (n, [components,] *space).

        Parameters
        ----------
        initial : tensor
            At the nodes of any grid of the domain: cut to the waves of the solver's grid.
        times : increasing
            Frame 0 is ``initial`` as it is.

        Returns
        -------
        tensor
            Type and device of ``initial``; NaN from where a solution has blown up.
        """
        import torch

        rank = self.flow.grid.rank
        if initial.ndim not in (rank + 1, rank + 2):
            raise ShapeError(
                f"SpectralSolver: initial must have shape (n, [components,] *space) with {rank} axes of "
                f"space, got {tuple(initial.shape)}."
            )
        given = self.flow.grid.with_shape(tuple(initial.shape[-rank:]))
        size = self.resolution + (self.boundary != "periodic")
        grid = self.flow.grid.with_shape((size,) * rank)
        values = initial.detach().cpu().numpy().astype(np.float64)
        state = values if initial.ndim == rank + 2 else values[:, None]
        frames = self.flow.evolve(resample(state, given, grid, self.boundary), times, step=self.step)
        found = resample(frames, grid, given, self.boundary)
        found[:, 0] = state
        shaped = found.reshape(len(values), len(times), *values.shape[1:])
        return torch.from_numpy(shaped).to(device=initial.device, dtype=initial.dtype)
