"""What the generators of compressible and shallow flows share: frames, settings, the honest baseline."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values
from sciml.datasets.numerics.cells import redistributed
from sciml.datasets.numerics.finite_volume import FiniteVolumes, cell_averages, half_slopes
from sciml.datasets.numerics.series import check_settings
from sciml.datasets.solutions import Function, on_grid
from sciml.description import describable
from sciml.errors import DataError, ShapeError
from sciml.grid import Grid

if TYPE_CHECKING:
    from torch import Tensor

Float = NDArray[np.float64]

SOLVER = "finite volumes of order 2: MUSCL, HLLC, SSP Runge-Kutta; Courant number 0.4"


class Flow(Generator):
    """A generator whose samples are the frames of a finite-volume run."""

    resolution: int
    frames: int
    final_time: float

    @property
    @abstractmethod
    def grid(self) -> Grid:
        """Cells."""

    @abstractmethod
    def scheme(self, grid: Grid) -> FiniteVolumes:
        """The solver on another grid of the same box."""

    @abstractmethod
    def initial(self, seeds: Sequence[int]) -> Float:
        """Conserved values at time 0, (n, components, *grid.shape)."""

    @property
    def times(self) -> Float:
        """Of the frames, (frames,)."""
        return np.linspace(0.0, self.final_time, self.frames)

    def check(self, *positive: str) -> None:
        """Refuse settings out of range, those named among them, with a `ConfigError`."""
        check_settings(self, least={"resolution": 4, "frames": 2}, positive=("final_time", *positive))
        self.scheme(self.grid)

    def sample(self, seeds: Sequence[int]) -> tuple[Float, ...]:
        """One array per field, with time.

        A sample in which a value fell below a floor is NaN, so that it is drawn anew and its status says so:
        what was lifted is no solution.
        """
        frames, floored = self.scheme(self.grid).run(self.initial(seeds), self.times.tolist())
        frames[floored > 0] = np.nan
        arrays, first = [], 0
        for item in self.fields:
            values = frames[:, :, first : first + item.components]
            arrays.append(np.ascontiguousarray(values[:, :, 0] if item.components == 1 else values))
            first += item.components
        return tuple(arrays)

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error of the whole state over all frames, (n,), from twice the cells, half the steps.

        Twice the change, which is the error of a scheme of order 1, that of shocks: where the flow is smooth
        1.5 times too careful.  All conserved values are taken together, as losses and metrics do: the
        momentum of a flow that starts at rest, taken alone, has no scale of its own.
        """
        fine = dataclasses.replace(self, resolution=2 * self.resolution)  # type: ignore[type-var]
        change, size = np.zeros(len(seeds)), np.zeros(len(seeds))
        for given, found in zip(arrays, fine.sample(seeds), strict=True):
            values = np.asarray(given)
            difference = values - cell_averages(np.asarray(found), 2, self.grid.rank)
            change += (difference**2).reshape(len(seeds), -1).sum(axis=1)
            size += (values**2).reshape(len(seeds), -1).sum(axis=1)
        return 2 * np.sqrt(change / size)

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> FiniteVolumeSolver:
        """The same solver on other cells, with the steps that the Courant number allows."""
        return FiniteVolumeSolver(resolution, self)


def vector_on_grid(who: str, value: ArrayLike | Function, grid: Grid) -> Float:
    """A vector field (rank, *grid.shape); on one axis the component axis may be missing."""
    if grid.rank > 1:
        return on_grid(who, value, grid, components=grid.rank)
    whole = not callable(value) and np.shape(value) == (1, *grid.shape)
    return on_grid(who, np.asarray(value)[0] if whole else value, grid)[None]


def one_flow(who: str, scheme: FiniteVolumes, state: Float, times: Sequence[float]) -> tuple[Float, int]:
    """Frames (components, len(times), *space) of one flow that starts as ``state``, and lifted values.

    Raises
    ------
    DataError
        If it blows up: whoever looks at one flow shall not find out from a picture of nothing.
    """
    frames, floored = scheme.run(state[None], times)
    found = np.moveaxis(frames[0], 1, 0)
    lost = ~np.isfinite(frames[0]).reshape(len(times), -1).all(axis=1)
    if lost.any():
        raise DataError(
            f"{who}: the flow blows up, or needs more than 100 000 steps, before time "
            f"{times[int(lost.argmax())]:g}. Take other values at the start, or more frames."
        )
    return found, int(floored[0])


@describable
@dataclass(frozen=True)
class FiniteVolumeSolver:
    """Classical solver of a flow on its own, coarser cells, for roll-outs.

    A given state is taken to its cells, and frames are taken back, by the scheme's own limited linear
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
            Conserved averages over cells at ``times[0]``.
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

        rank, shape = self.flow.grid.rank, tuple(initial.shape)
        scheme = self.flow.scheme(self.flow.grid.with_shape([self.cells] * rank))
        if len(shape) != rank + 2 or shape[1] != scheme.law.components:
            raise ShapeError(
                f"FiniteVolumeSolver: initial must have shape (n, {scheme.law.components}, *space) with "
                f"{rank} axes of space, got {shape}."
            )
        values = initial.detach().cpu().numpy().astype(np.float64)
        frames, _ = scheme.run(_redistributed(values, scheme.grid.shape, scheme), times)
        found = _redistributed(frames, shape[2:], scheme)
        found[:, 0] = values
        return torch.from_numpy(found).to(device=initial.device, dtype=initial.dtype)


def _redistributed(frames: Float, shape: Sequence[int], scheme: FiniteVolumes) -> Float:
    """Averages (..., *space) on other cells, by the limited linear reconstruction of the scheme."""
    rank = scheme.grid.rank
    for i, (axis, count) in enumerate(zip(scheme.grid.axes, shape, strict=True)):
        at = frames.ndim - rank + i
        width = [(0, 0)] * frames.ndim
        width[at] = (1, 1)
        padded = np.pad(frames, width, mode="wrap" if axis.periodic else "edge")
        half = half_slopes(padded, at, scheme.limiter)
        frames = redistributed(frames, frames - half, frames + half, count, at)
    return frames
