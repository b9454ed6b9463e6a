"""What a generator of data is: an equation, a law of its inputs, and a verified classical solver."""

from __future__ import annotations

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sciml.baseline import Baseline, MeshBaseline, Stepper
from sciml.grid import Grid
from sciml.mesh import Mesh
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    from sciml.dataset import Dataset

Float = NDArray[np.float64]
Values = Float | list[Float]

NOTHING: Mapping[str, Float] = MappingProxyType({})


class Generator(ABC):
    """A frozen dataclass of settings that turns seeds into solved samples; `make` writes them to a file.

    A subclass says where its fields live, what they are, how samples are drawn and solved, and how large the
    error of a solution is.  Everything else, from the seeds to the resumed file, is shared.  Instances are
    picklable, and ``settings`` are numbers, text and truth values, so that a file can name them.
    """

    counts: ClassVar[tuple[int, int, int]] = (1000, 100, 200)
    """Samples of the splits train, valid and test if nobody asks for others."""

    least: ClassVar[int] = 4
    """The lowest of `resolutions`."""

    @property
    def name(self) -> str:
        """Machine name, such as "navier_stokes"; enters the seeds of the samples."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    @abstractmethod
    def grid(self) -> Grid | Mesh | None:
        """Where the fields live; None if each sample has a mesh of its own, which `meshes` makes."""

    @property
    @abstractmethod
    def fields(self) -> tuple[Field, ...]:
        """The fields, in the order of the arrays that `sample` returns."""

    @property
    def times(self) -> Any:
        """Of the frames, (frames,), if fields have a time axis, else None.

        By default those of the settings ``frames`` and ``final_time``: equally spaced, both ends included.
        """
        frames = getattr(self, "frames", None)
        return None if frames is None else np.linspace(0.0, getattr(self, "final_time"), frames)  # noqa: B009

    @property
    @abstractmethod
    def about(self) -> Provenance:
        """Title, equation, boundary conditions and solver; `provenance` adds the rest."""

    @abstractmethod
    def sample(self, seeds: Sequence[int]) -> tuple[Values, ...]:
        """One array per field, float64, in memory order (sample, [time,] [component,] *space).

        (sample,) for a parameter; on meshes (sample, [time,] point[, component]), as a list of arrays where
        samples have meshes of their own.  A sample depends on its own seed only, **to the last bit**: not on
        its neighbors, nor on how many there are.  NaN or infinite values mark a sample that failed; it is
        drawn anew.
        """

    def meshes(self, seeds: Sequence[int]) -> list[Mesh]:
        """The mesh of each sample, for generators whose ``grid`` is None."""
        raise NotImplementedError(f"{self.name} has one grid for all samples.")

    @abstractmethod
    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 discretization error of the outputs, (n,), from a run on a finer grid."""

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Those of `coarser`, from that of the solver that made the data down: 1, 3/4, 1/2, 3/8, .. of it."""
        return halved(getattr(self, "resolution", 0) * getattr(self, "refinement", 1), least=self.least)

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> Baseline | MeshBaseline | Stepper | None:
        """The same equation, solved on another grid and with other steps.

        Parameters
        ----------
        resolution : int
            In the unit of the solver, see `resolutions`.
        step : float
            In units of the longest steps that make sense at this resolution.  A solver without steps is the
            same for all.
        known : mapping
            What the samples to be solved have besides inputs or start, by name, samples first: parameters,
            fields constant in time, "sample_seed" where the problem itself is drawn.

        Returns
        -------
        Baseline, MeshBaseline, Stepper or None
            None if there is no such solver, or more must be known.
        """
        return None

    def baselines(self) -> Sequence[Baseline | Stepper]:
        """Classical solvers of the same equation: on the grid of the data and on 1/2, 1/4 and 1/8 of it.

        None where samples differ in more than inputs or start.
        """
        sizes = [n for n in self.resolutions[::2] if n <= getattr(self, "resolution", n)][:4]
        found = [self.coarser(n) for n in sizes]
        return [solver for solver in found if isinstance(solver, Baseline | Stepper)]

    def settings(self) -> dict[str, float | int | str]:
        """The constructor's arguments, for the attributes of the file."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}  # type: ignore[arg-type]

    def provenance(self, seed: int) -> Provenance:
        """What the file says about its origin."""
        return dataclasses.replace(self.about, generator=f"sciml.datasets.{type(self).__name__}", seed=seed)

    def make(
        self,
        path: str | Path,
        *,
        train: int | None = None,
        valid: int | None = None,
        test: int | None = None,
        seed: int = 0,
        workers: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Dataset:
        """Generate a file.

        Parameters
        ----------
        path : str or Path
            Of the new file; its folder must exist.
        train, valid, test : int, optional
            Samples of each split, in this order in the file; by default ``counts``.
        seed : int
            The whole file is a function of the settings, the counts and this number.
        workers : int, optional
            Child processes; by default one per available core.  Does not change a bit of the result.
        progress : callable, optional
            Called with (finished, all) samples.

        Raises
        ------
        ConfigError
            If the counts are negative or there is no training sample.
        FileNotFoundError
            If the folder of the file does not exist.
        DataError
            If a sample fails four times, or its values leave the range of float32.

        Notes
        -----
        Sample i has the seed `sciml.datasets.generation.sample_seed(name, seed, i)`: asking for more samples
        leaves the others as they are.  Every 100th sample and the first four carry ``discretization_error``.
        Fields are stored as float32, parameters as float64.  Finished blocks of samples lie in a hidden
        folder beside the file until all are there, so that memory stays bounded, and a call with the same
        arguments after a kill goes on where the first one was.
        """
        from sciml.datasets.generation import make

        counts = [d if n is None else n for n, d in zip((train, valid, test), self.counts, strict=True)]
        return make(self, path, counts=counts, seed=seed, workers=workers, progress=progress)


def halved(finest: int, *, least: int) -> tuple[int, ...]:
    """1, 3/4, 1/2, 3/8, .. of ``finest``, rounded, down to ``least``.

    Examples
    --------
    >>> halved(64, least=8), halved(85, least=16)
    ((64, 48, 32, 24, 16, 12, 8), (85, 64, 42, 32, 21, 16))
    """
    found = [round(part * finest / 2**k) for k in range(finest.bit_length()) for part in (1.0, 0.75)]
    return tuple(n for n in dict.fromkeys(found) if n >= least)


def richardson(
    coarse: Generator, fine: Generator, seeds: Sequence[int], arrays: Sequence[Values], *, order: float
) -> Float:
    """Relative L2 error of ``arrays``, (n,), from the samples of the same seeds on a finer grid.

    ``fine`` has half the spacing and steps so much shorter that both errors fall by 2^order; the change times
    2^order / (2^order - 1) is then the error of the coarse samples.  Values of the fine grid are taken to the
    coarse one exactly: at common nodes, and as averages over cells.  Of several outputs the largest error
    counts.

    Parameters
    ----------
    coarse, fine : Generator
        On grids.
    seeds : sequence of int
    arrays : sequence of arrays
        What ``coarse.sample(seeds)`` returned.
    order : float, positive
        Of the scheme, in space and time together.
    """
    assert isinstance(coarse.grid, Grid) and isinstance(fine.grid, Grid)
    worst = np.zeros(len(seeds))
    for item, given, found in zip(coarse.fields, arrays, fine.sample(seeds), strict=True):
        if item.role in ("output", "state"):
            values = np.asarray(given)
            worst = np.maximum(
                worst, relative_change(values, restrict(np.asarray(found), fine.grid, coarse.grid))
            )
    return worst * 2**order / (2**order - 1)


def relative_change(values: Float, other: Float) -> Float:
    """|values - other| / |values| of each sample in the L2 norm over all other axes, (n,)."""
    axes = tuple(range(1, values.ndim))
    with np.errstate(over="ignore", invalid="ignore"):
        change: Float = np.sqrt(((values - other) ** 2).sum(axis=axes) / (values**2).sum(axis=axes))
    return change


def restrict(values: Float, fine: Grid, coarse: Grid) -> Float:
    """Values (..., *fine.shape) on a coarser grid of the same domain, without interpolation.

    Common nodes are picked; of cells the averages are taken.
    """
    for i, (a, b) in enumerate(zip(fine.axes, coarse.axes, strict=True)):
        at = values.ndim - fine.rank + i
        ratio = round(b.spacing / a.spacing)
        if a.location == "cell":
            shape = (*values.shape[:at], b.size, ratio, *values.shape[at + 1 :])
            values = values.reshape(shape).mean(axis=at + 1)
        else:
            values = values[(*[slice(None)] * at, slice(None, None, ratio))]
    return values
