"""Problems with their answers, as classical solvers are given them and judged on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.assessment import discretization_error
from sciml.baseline import Baseline, MeshBaseline, Stepper
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid
from sciml.mesh import Mesh
from sciml.metrics import max_error, nrmse, relative_l2, rmse, vrmse

if TYPE_CHECKING:
    from sciml.dataset import Dataset

Float = NDArray[np.float64]
Place = Grid | Mesh
Solver = Baseline | MeshBaseline | Stepper
Measure = Callable[[Tensor, Tensor, Place], Mapping[str, Tensor]]
"""(prediction, truth, place) to metrics, (n,) each; both (n, [frame,] channel, *space), float64.

On a mesh n is 1 and space is the nodes.
"""


def distances(prediction: Tensor, truth: Tensor, place: Place) -> dict[str, Tensor]:
    """The metrics of `sciml.metrics` that know neither grid nor frames."""
    rank = place.rank if isinstance(place, Grid) else 1
    named = {metric.__name__: metric for metric in (rmse, nrmse, vrmse, max_error)}
    found = {name: metric(prediction, truth, rank=rank) for name, metric in named.items()}
    return {"relative_l2": relative_l2(prediction, truth), **found}


@dataclass(frozen=True)
class Block:
    """Some problems in one place, for one call of a solver; float64, physical units.

    Attributes
    ----------
    given : (n, channel, *space)
        All inputs of the file side by side, or all states of the last frame given.
    truth : (n, channel, *space) or (n, frame, channel, *space)
        The outputs, or the states of the frames that follow, which are judged.
    place : Grid or Mesh
    channels : list of int
        Those of the solver's result that are judged.
    known : mapping
        What `Generator.coarser` may ask for, samples first.
    times : (1 + frame,) array or None
        Of the last frame given and those that follow.
    """

    given: Tensor
    truth: Tensor
    place: Place
    channels: list[int]
    known: Mapping[str, Float]
    times: Float | None = None

    def __len__(self) -> int:
        """Problems."""
        return len(self.given)

    def part(self, start: int, stop: int) -> Block:
        """Those from ``start`` to ``stop``."""
        rows = slice(start, stop)
        known = {name: values[rows] for name, values in self.known.items()}
        return replace(self, given=self.given[rows], truth=self.truth[rows], known=known)

    def solved(self, solver: Solver) -> Tensor:
        """What the solver finds, of the shape of ``truth``.

        Raises
        ------
        ConfigError
            If it solves another kind of problem.
        """
        if isinstance(solver, Stepper) and self.times is not None:
            scalar = self.given.shape[1] == 1
            initial = self.given[:, 0] if scalar else self.given
            frames = solver.trajectory(initial, self.times.tolist())[:, 1:]
            return frames[:, :, None] if scalar else frames[:, :, self.channels]
        if isinstance(solver, Baseline) and self.times is None and isinstance(self.place, Grid):
            return solver.predict(self.given, self.place)[:, self.channels]
        if isinstance(solver, MeshBaseline) and isinstance(self.place, Mesh):
            one = solver.at_nodes(self.given[0], self.place)
            return one[None, self.channels]
        raise ConfigError(f"{solver.name} solves another kind of problem than these data hold.")


@dataclass(frozen=True)
class Problems:
    """The samples of a split as problems: `maps` from inputs to outputs, or `trajectories`.

    Attributes
    ----------
    blocks : sequence of Block
        One for a grid; one for each sample on meshes.
    floor : float or None
        Mean relative discretization error of the data, where the file states it.

    Examples
    --------
    >>> import tempfile
    >>> from sciml.datasets import Darcy
    >>> darcy = Darcy(resolution=16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = darcy.make(folder + "/darcy.h5", train=1, valid=0, test=2, workers=1)
    ...     problems = Problems.maps(data.test, ["u"])
    >>> (block,) = problems.blocks
    >>> metrics = distances(block.solved(darcy.coarser(16)), block.truth, block.place)
    >>> bool(metrics["relative_l2"].max() < 1e-6)  # the rounding of the stored numbers
    True
    """

    blocks: Sequence[Block]
    floor: float | None = None

    @classmethod
    def maps(cls, dataset: Dataset, outputs: Sequence[str]) -> Problems:
        """Inputs of the samples and the outputs that are judged, on a grid or on meshes."""
        fields = dataset.fields.values()
        inputs = [f.name for f in fields if f.role in ("input", "coefficient") and not f.time]
        known, channels = _known(dataset), _channels(dataset, "output", outputs)
        floor = discretization_error(dataset)
        if dataset.kind == "grid":
            given, truth = (dataset.tensor(names, dtype=torch.float64) for names in (inputs, list(outputs)))
            return cls([Block(given, truth, dataset.grid, channels, known)], floor)
        blocks = []
        for row in range(len(dataset)):
            place = dataset.mesh(row)
            if not isinstance(place, Mesh):
                raise DataError(f"{dataset.path}: has points without cells, which no solver of meshes takes.")
            given, truth = (
                dataset.tensor(names, [row], torch.float64).movedim(-1, 1)
                for names in (inputs, list(outputs))
            )
            one = {name: values[row : row + 1] for name, values in known.items()}
            blocks.append(Block(given, truth, place, channels, one))
        return cls(blocks, floor)

    @classmethod
    def trajectories(
        cls, dataset: Dataset, states: Sequence[str], *, window: int = 1, stride: int = 1
    ) -> Problems:
        """The last of ``window`` frames, ``stride`` apart, and the states that are judged after it.

        Raises
        ------
        DataError
            If there is no grid or no time axis, or no frame is left to predict.
        """
        if dataset.kind != "grid" or dataset.times is None:
            raise DataError(f"{dataset.path}: trajectories need a grid and a time axis.")
        every = [field.name for field in dataset.fields.values() if field.role == "state"]
        frames = dataset.tensor(every, dtype=torch.float64)[:, ::stride]
        if frames.shape[1] <= window:
            raise DataError(
                f"{dataset.path}: a window takes {window} of {frames.shape[1]} frames, and none is left."
            )
        channels, times = _channels(dataset, "state", states), dataset.times[::stride][window - 1 :]
        fixed = [field.name for field in dataset.fields.values() if not field.time]
        known = _known(dataset) | {name: np.asarray(dataset.load(name), dtype=np.float64) for name in fixed}
        block = Block(
            frames[:, window - 1], frames[:, window:, channels], dataset.grid, channels, known, times
        )
        return cls([block], discretization_error(dataset))

    def __len__(self) -> int:
        """Problems."""
        return sum(map(len, self.blocks))

    def batches(self, size: int) -> Iterator[Block]:
        """All of them, in parts of at most ``size`` for one call."""
        for block in self.blocks:
            for start in range(0, len(block), size):
                yield block.part(start, start + size)


def _known(dataset: Dataset) -> dict[str, Float]:
    """Parameters of the samples, and the seeds they were drawn from."""
    found = {name: np.asarray(dataset.variable(name)) for name in dataset.parameter_names}
    try:
        return {**found, "sample_seed": dataset.variable("sample_seed")}
    except DataError:
        return found


def _channels(dataset: Dataset, role: str, wanted: Sequence[str]) -> list[int]:
    """Of all fields of a role, side by side in the order of the file, those of the wanted ones."""
    places, start = {}, 0
    for field in dataset.fields.values():
        if field.role == role:
            places[field.name] = list(range(start, start + field.components))
            start += field.components
    missing = [name for name in wanted if name not in places]
    if missing:
        raise ConfigError(
            f"{dataset.path}: {missing} are not among the fields of role {role!r}, {[*places]}."
        )
    return [channel for name in wanted for channel in places[name]]
