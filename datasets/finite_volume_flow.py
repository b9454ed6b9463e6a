"""What the generators of compressible and shallow flows share: frames, settings, the honest baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.finite_volume import FiniteVolumes, cell_averages, half_slopes
from sciml.datasets.generator import Values
from sciml.datasets.solutions import Function, on_grid
from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.schema import Field

if TYPE_CHECKING:
    from torch import Tensor

Float = NDArray[np.float64]

SOLVER = "finite volumes of order 2: MUSCL, HLLC, SSP Runge-Kutta; Courant number 0.4"


class Flow(Protocol):
    """A generator whose samples are the frames of a finite-volume run."""

    @property
    def name(self) -> str:
        """Machine name."""
        ...

    @property
    def resolution(self) -> int:
        """Cells per axis."""
        ...

    @property
    def frames(self) -> int:
        """Instants."""
        ...

    @property
    def final_time(self) -> float:
        """Of the last frame."""
        ...

    @property
    def times(self) -> Float:
        """Of the frames."""
        ...

    @property
    def grid(self) -> Grid:
        """Cells."""
        ...

    @property
    def fields(self) -> tuple[Field, ...]:
        """Conserved values, in the order of the components."""
        ...

    def sample(self, seeds: Sequence[int]) -> tuple[Values, ...]:
        """One array per field."""
        ...

    def scheme(self, grid: Grid) -> FiniteVolumes:
        """The solver on another grid of the same box."""
        ...


def check_flow(flow: Flow) -> None:
    """Refuse settings out of range with a `ConfigError`."""
    if flow.resolution < 4 or flow.frames < 2 or not 0 < flow.final_time < math.inf:
        raise ConfigError(
            f"{type(flow).__name__}: needs resolution >= 4, frames >= 2 and final_time > 0, got "
            f"resolution={flow.resolution}, frames={flow.frames}, final_time={flow.final_time}."
        )
    flow.scheme(flow.grid)


def frames_of(flow: Flow, initial: Float) -> tuple[Float, ...]:
    """Conserved starts (n, components, *space) to one array per field, with time.

    A sample in which a value fell below a floor is NaN, so that it is drawn anew and its status says so: what
    was lifted is no solution.
    """
    frames, floored = flow.scheme(flow.grid).run(initial, flow.times.tolist())
    frames[floored > 0] = np.nan
    arrays, first = [], 0
    for item in flow.fields:
        values = frames[:, :, first : first + item.components]
        arrays.append(np.ascontiguousarray(values[:, :, 0] if item.components == 1 else values))
        first += item.components
    return tuple(arrays)


def state_error(flow: Flow, fine: Flow, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
    """Relative L2 error of the whole state over all frames, (n,), from twice the cells with half the steps.

    Twice the change, which is the error of a scheme of order 1, that of shocks: where the flow is smooth 1.5
    times too careful.  All conserved values are taken together, as losses and metrics do: the momentum of a
    flow that starts at rest, taken alone, has no scale of its own.
    """
    change, size = np.zeros(len(seeds)), np.zeros(len(seeds))
    for given, found in zip(arrays, fine.sample(seeds), strict=True):
        values = np.asarray(given)
        difference = values - cell_averages(np.asarray(found), 2, flow.grid.rank)
        change += (difference**2).reshape(len(seeds), -1).sum(axis=1)
        size += (values**2).reshape(len(seeds), -1).sum(axis=1)
    return 2 * np.sqrt(change / size)


def vector_on_grid(who: str, value: ArrayLike | Function, grid: Grid) -> Float:
    """A vector field (rank, *grid.shape); on one axis the component axis may be missing."""
    if grid.rank > 1:
        return on_grid(who, value, grid, components=grid.rank)
    flat = value if callable(value) or np.ndim(value) < 2 else np.asarray(value)[0]
    return on_grid(who, flat, grid)[None]


def coarser(flow: Flow) -> list[FiniteVolumeSolver]:
    """The flow's own solver on 1, 1/2 and 1/4 of the cells per axis, as far as they are whole."""
    return [
        FiniteVolumeSolver(flow.resolution // factor, flow)
        for factor in (1, 2, 4)
        if flow.resolution % factor == 0 and flow.resolution // factor >= 4
    ]


@describable
@dataclass(frozen=True)
class FiniteVolumeSolver:
    """Classical solver of a flow on its own, coarser cells, for roll-outs.

    A given state is averaged over the coarser cells; frames are taken back by the scheme's own limited linear
    reconstruction.  Both conserve mass, momentum and energy.

    Parameters
    ----------
    cells : int
        Per axis.
    flow : ShallowWater or Euler
        Law, box, boundary and limiter.
    """

    cells: int
    flow: Flow

    @property
    def name(self) -> str:
        """For tables."""
        return f"finite volumes {'x'.join([str(self.cells)] * self.flow.grid.rank)}"

    def trajectory(self, initial: Tensor, times: Sequence[float]) -> Tensor:
        """Frames (n, len(times), components, *space) from the state ``initial`` (n, components, *space).

        Parameters
        ----------
        initial : (n, components, *space)
            Conserved averages over cells at ``times[0]``, on ``cells`` times a whole number of them per axis.
        times : increasing
            Frame 0 is ``initial`` as it is.

        Returns
        -------
        (n, len(times), components, *space)
            Type and device of ``initial``; NaN from where a solution has blown up.

        Raises
        ------
        ShapeError
            If the shape of ``initial`` does not fit.
        """
        import torch

        rank = self.flow.grid.rank
        scheme = self.flow.scheme(self.flow.grid.with_shape([self.cells] * rank))
        shape = tuple(initial.shape)
        factor = shape[-1] // self.cells
        if shape[1:] != (scheme.law.components, *[self.cells * factor] * rank) or factor < 1:
            raise ShapeError(
                f"FiniteVolumeSolver: initial must have shape (n, {scheme.law.components}, *space) with "
                f"equal multiples of {self.cells} cells on {rank} axes, got {shape}."
            )
        values = initial.detach().cpu().numpy().astype(np.float64)
        frames, _ = scheme.run(cell_averages(values, factor, rank), times)
        found = _refined(frames, factor, scheme)
        found[:, 0] = values
        return torch.from_numpy(found).to(device=initial.device, dtype=initial.dtype)


def _refined(frames: Float, factor: int, scheme: FiniteVolumes) -> Float:
    """Averages (..., *space) on ``factor`` times the cells per axis, linear inside the given ones."""
    rank = scheme.grid.rank
    offsets = (2 * np.arange(factor) + 1) / factor - 1
    for i, axis in enumerate(scheme.grid.axes):
        at = frames.ndim - rank + i
        width = [(0, 0)] * frames.ndim
        width[at] = (1, 1)
        padded = np.pad(frames, width, mode="wrap" if axis.periodic else "edge")
        half = half_slopes(padded, at, scheme.limiter)
        fine = np.stack([frames + offset * half for offset in offsets], axis=at + 1)
        frames = fine.reshape(*frames.shape[:at], -1, *frames.shape[at + 1 :])
    return frames
