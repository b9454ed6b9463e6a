"""What every generator shares: seeds, blocks in processes, failed samples, error estimates, the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.parallel import available_cores, map_in_processes
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid
from sciml.schema import Field, Provenance
from sciml.streams import Streams

if TYPE_CHECKING:
    from sciml.dataset import Dataset

Float = NDArray[np.float64]

_BLOCK = 20  # samples per message to a worker: about 0.1 s of work, a few MB of results
_ESTIMATED = 100  # every 100th sample, and the first four, carry an error estimate
_ATTEMPTS = 4


class Problem(Protocol):
    """What a generator says about its equation; `make` does the rest.  Instances are frozen and picklable.

    If fields have a time axis, the problem also has ``times``, (frames,).
    """

    @property
    def name(self) -> str:
        """Machine name; enters the seeds of the samples."""
        ...

    @property
    def grid(self) -> Grid:
        """Where the fields live."""
        ...

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields, in the order of the arrays that `sample` returns."""
        ...

    def provenance(self, seed: int) -> Provenance:
        """Equation, boundary conditions, solver."""
        ...

    def settings(self) -> dict[str, float | int | str]:
        """Numbers that tell this instance from others, stored as attributes of the file."""
        ...

    def sample(self, seeds: Sequence[int]) -> tuple[Float, ...]:
        """One array (len(seeds), *shape) per field; a sample depends on its own seed only.

        NaN or infinite values mark a sample that failed; it is drawn anew.
        """
        ...

    def estimate_error(self, arrays: Sequence[Float]) -> Float:
        """Relative L2 discretization error of the outputs, (n,), from a run on a finer grid."""
        ...


@dataclass(frozen=True)
class Block:
    """The samples of consecutive indices, with their book-keeping."""

    arrays: tuple[Float, ...]
    seeds: NDArray[np.int64]
    status: NDArray[np.int8]
    error: Float


def sample_seed(problem: str, seed: int, index: int, attempt: int = 0) -> int:
    """Seed of one sample: a function of the problem's name, the file's seed and the index, nothing else.

    The first 63 bits of a SHA-256 (see `sciml.streams.Stream.seed`), so that sample i stays what it is when
    more samples, other splits or other workers are asked for.  ``attempt`` > 0 after a failed sample.
    """
    return Streams(seed).of(f"datasets/{problem}/{attempt}").seed(index)


def make(
    problem: Problem,
    path: str | Path,
    *,
    counts: tuple[int, int, int],
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Generate, check and write a dataset; see `sciml.datasets.Darcy.make` for the parameters.

    Raises
    ------
    ConfigError
        If the counts are negative or there is no training sample.
    FileNotFoundError
        If the folder of the file does not exist.
    DataError
        If a sample fails four times, or its values leave the range of float32.
    """
    from sciml.dataset import write_dataset

    total = sum(counts)
    if min(counts) < 0 or counts[0] < 1:
        raise ConfigError(f"{problem.name}: needs train >= 1, valid >= 0 and test >= 0, got {counts}.")
    if not Path(path).parent.is_dir():  # before the work, not after it
        raise FileNotFoundError(f"{problem.name}: there is no folder {Path(path).parent}; create it first.")
    blocks = [range(i, min(i + _BLOCK, total)) for i in range(0, total, _BLOCK)]
    results: dict[int, Block] = {}
    finished = 0
    for i, block in map_in_processes(
        partial(make_block, problem, seed), blocks, workers=available_cores() if workers is None else workers
    ):
        results[i] = block
        finished += len(blocks[i])
        if progress is not None:
            progress(finished, total)
    whole = [results[i] for i in range(len(blocks))]
    rounded = [_as_float32(problem, block) for block in whole]
    stored = [np.concatenate(parts) for parts in zip(*(arrays for arrays, _ in rounded), strict=True)]
    return write_dataset(
        path,
        grid=problem.grid,
        fields=list(zip(problem.fields, stored, strict=True)),
        split=np.repeat(np.arange(3), counts),
        variables={
            "sample_seed": np.concatenate([block.seeds for block in whole]),
            "status": np.concatenate([block.status for block in whole]),
            "discretization_error": np.concatenate([error for _, error in rounded]),
        },
        times=getattr(problem, "times", None) if any(item.time for item in problem.fields) else None,
        attributes={f"sciml_{key}": value for key, value in problem.settings().items()},
        provenance=dataclasses.replace(problem.provenance(seed), seed=seed),
    )


def make_block(problem: Problem, seed: int, indices: Sequence[int]) -> Block:
    """The samples of these indices; runs in a worker."""
    seeds = np.array([sample_seed(problem.name, seed, i) for i in indices], dtype=np.int64)
    status = np.zeros(len(seeds), dtype=np.int8)
    arrays = problem.sample(seeds.tolist())
    for attempt in range(1, _ATTEMPTS + 1):
        bad = _failed(arrays)
        if not bad:
            break
        if attempt == _ATTEMPTS:
            raise DataError(
                f"{problem.name}: sample {indices[bad[0]]} is not finite after {_ATTEMPTS} attempts with "
                "different seeds. The settings, not the luck of the draw, make the solver fail."
            )
        seeds[bad] = [sample_seed(problem.name, seed, indices[j], attempt) for j in bad]
        status[bad] = 1
        for array, again in zip(arrays, problem.sample(seeds[bad].tolist()), strict=True):
            array[bad] = again
    error = np.full(len(seeds), np.nan)
    chosen = [j for j, i in enumerate(indices) if i % _ESTIMATED == 0 or i < 4]
    if chosen:
        error[chosen] = problem.estimate_error([array[chosen] for array in arrays])
    return Block(tuple(arrays), seeds, status, error)


def _failed(arrays: Sequence[Float]) -> list[int]:
    """Rows in which any array is not finite."""
    finite = [np.isfinite(array).reshape(len(array), -1).all(axis=1) for array in arrays]
    return [int(j) for j in np.flatnonzero(~np.all(finite, axis=0))]


def _as_float32(problem: Problem, block: Block) -> tuple[list[NDArray[np.float32]], Float]:
    """The arrays rounded for storage, and the error of what is stored, (n,).

    That is the discretization error or, for solvers more accurate than the storage, the rounding (about
    3e-8).
    """
    stored, error = [], block.error
    for item, array in zip(problem.fields, block.arrays, strict=True):
        with np.errstate(over="ignore"):
            stored.append(array.astype(np.float32))
        if item.role in ("output", "state"):
            axes = tuple(range(1, array.ndim))
            scale = np.maximum((array**2).sum(axis=axes), np.finfo(np.float64).tiny)
            rounding = np.sqrt(((stored[-1] - array) ** 2).sum(axis=axes) / scale)
            if not rounding.max() <= 2**-24:  # of every normal number; not of 1e-40 or 1e40
                raise DataError(
                    f"{problem.name}: float32 rounds {item.name!r} by {rounding.max():.2g} of its size, more "
                    "than 6e-8: values leave the range of float32. Choose units in which they are near 1."
                )
            error = np.maximum(error, rounding)
    return stored, error
