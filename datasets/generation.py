"""From a generator to a file: seeds, blocks in processes, failed samples, parts that outlive a kill."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from sciml.cores import available_cores
from sciml.dataset_content import Values as Stored
from sciml.dataset_content import prepare
from sciml.dataset_writer import write_file
from sciml.datasets.generator import Generator, Values
from sciml.datasets.parallel import map_in_processes
from sciml.errors import ConfigError, DataError
from sciml.files import dump_json, locked_folder, write_bytes_atomic
from sciml.grid import Grid
from sciml.schema import Field
from sciml.streams import Streams

if TYPE_CHECKING:
    from sciml.dataset import Dataset

Float = NDArray[np.float64]

_BLOCK = 20  # samples per message to a worker and per part on disk: about 0.1 s of work, a few MB
_ESTIMATED = 100  # every 100th sample, and the first four, carry an error estimate
_ATTEMPTS = 4


@dataclass(frozen=True)
class Block:
    """The samples of consecutive indices, with their book-keeping."""

    arrays: tuple[Values, ...]
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
    generator: Generator,
    path: str | Path,
    *,
    counts: Sequence[int],
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Generate, check and write a dataset; see `sciml.datasets.generator.Generator.make`.

    Finished blocks lie in the hidden folder ``.NAME.parts`` beside the file until the file is there.

    Raises
    ------
    ConfigError
        If the counts are negative or there is no training sample, or the folder holds the parts of a file
        with other settings.
    FileNotFoundError
        If the folder of the file does not exist.
    DataError
        If a sample fails four times, or its values leave the range of float32.
    """
    from sciml.dataset import Dataset

    target = Path(path).absolute()
    total = sum(counts)
    if min(counts) < 0 or counts[0] < 1:
        raise ConfigError(f"{generator.name}: needs train >= 1, valid >= 0 and test >= 0, got {counts}.")
    if not target.parent.is_dir():  # before the work, not after it
        raise FileNotFoundError(f"{generator.name}: there is no folder {target.parent}; create it first.")
    folder = parts_folder(target)
    folder.mkdir(exist_ok=True)
    with locked_folder(folder):
        folder.mkdir(exist_ok=True)  # who held the lock before has removed it
        _claim(folder, generator, seed)
        parts = _solve(generator, folder, seed, total, workers, progress)
        write_file(target, _content(generator, parts, seed, np.repeat(np.arange(3), counts)))
        shutil.rmtree(folder)
    return Dataset(target)


def parts_folder(path: Path) -> Path:
    """Where the finished blocks of a file lie while it is being made."""
    return path.with_name(f".{path.name}.parts")


def discard_other_parts(generator: Generator, path: Path, seed: int) -> None:
    """Remove the unfinished samples beside ``path`` if they are of another generator, settings or seed."""
    folder = parts_folder(path)
    noted = folder / "plan.json"
    if noted.exists() and noted.read_bytes() != _plan(generator, seed):
        shutil.rmtree(folder)


def _plan(generator: Generator, seed: int) -> bytes:
    """Everything that decides the content of the blocks."""
    kind = f"{type(generator).__module__}.{type(generator).__qualname__}"
    settings = {"class": kind, "solver": generator.about.solver, **generator.settings()}
    settings |= {"seed": seed, "block": _BLOCK}
    return dump_json(settings, indent=None).encode()


def _claim(folder: Path, generator: Generator, seed: int) -> None:
    """Note in the folder what it holds blocks of, or compare with what is noted there."""
    plan, noted = _plan(generator, seed), folder / "plan.json"
    if noted.exists() and noted.read_bytes() != plan:
        raise ConfigError(
            f"{generator.name}: {folder} holds the finished samples of a file with other settings, "
            f"{noted.read_text()}. Repeat that call to finish it, or delete the folder."
        )
    write_bytes_atomic(noted, plan)


def _solve(
    generator: Generator,
    folder: Path,
    seed: int,
    total: int,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> list[Path]:
    """The parts of all blocks, in order; those that are missing are computed."""
    blocks = [range(i, min(i + _BLOCK, total)) for i in range(0, total, _BLOCK)]
    parts = [folder / f"{block.start:09d}-{len(block)}.npz" for block in blocks]
    missing = [i for i, part in enumerate(parts) if not part.exists()]
    finished = total - sum(len(blocks[i]) for i in missing)
    if finished and progress is not None:
        progress(finished, total)
    jobs = [(blocks[i], parts[i]) for i in missing]
    cores = available_cores() if workers is None else workers
    for i, _ in map_in_processes(partial(_make_part, generator, seed), jobs, workers=cores):
        finished += len(jobs[i][0])
        if progress is not None:
            progress(finished, total)
    return parts


def _make_part(generator: Generator, seed: int, job: tuple[range, Path]) -> None:
    """Compute a block and write it, whole or not at all; runs in a worker."""
    indices, path = job
    block = make_block(generator, seed, indices)
    arrays, error = _as_float32(generator, block)
    content: dict[str, Any] = {"sample_seed": block.seeds, "status": block.status}
    content["discretization_error"] = error
    for item, array in zip(generator.fields, arrays, strict=True):
        if isinstance(array, list):
            content |= {f"{item.name}/{j}": part for j, part in enumerate(array)}
        else:
            content[item.name] = array
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **content)
    write_bytes_atomic(path, buffer.getvalue())


def _content(generator: Generator, parts: Sequence[Path], seed: int, split: NDArray[np.int64]) -> Any:
    """What the file will hold: small things in memory, fields on a grid as the parts that they lie in."""
    names = ("sample_seed", "status", "discretization_error")
    book = {name: np.concatenate([_load(part, name) for part in parts]) for name in names}
    place = generator.grid if generator.grid is not None else generator.meshes(book["sample_seed"].tolist())
    listed: list[tuple[Field, Stored]] = []
    later: dict[str, Parts] = {}
    for item in generator.fields:
        if item.role == "parameter":
            listed.append((item, np.concatenate([_load(part, item.name) for part in parts])))
        elif generator.grid is None:
            listed.append((item, [array for part in parts for array in _load_list(part, item.name)]))
        else:
            inner = isinstance(generator.grid, Grid) and item.components > 1
            later[item.name] = Parts(parts, item.name, component_axis=1 + item.time if inner else None)
            stand_in = np.zeros((), later[item.name].dtype)
            listed.append((item, np.broadcast_to(stand_in, later[item.name].memory_shape)))
    content = prepare(
        place,
        listed,
        split,
        times=generator.times if any(item.time for item in generator.fields) else None,
        variables=book,
        attributes={f"sciml_{key}": value for key, value in generator.settings().items()},
        provenance=generator.provenance(seed),
    )
    for name, lazy in later.items():
        # As far as the writer asks, an array.
        content.variables[name] = (content.variables[name][0], cast(NDArray[Any], lazy))
    return content


class Parts:
    """A field that lies in parts on disk as one array, of which the writer takes blocks and rows.

    In file order: components, which stand before space in memory, come last.
    """

    def __init__(self, paths: Sequence[Path], name: str, *, component_axis: int | None) -> None:
        self._paths, self._name, self._axis = paths, name, component_axis
        first = _load(paths[0], name)
        self._block = len(first)
        self.memory_shape = (self._block * (len(paths) - 1) + len(_load(paths[-1], name)), *first.shape[1:])
        self.shape = (self.memory_shape[0], *self._ordered(first[:1]).shape[1:])
        self.dtype = first.dtype
        self._held: tuple[int, NDArray[Any]] = (0, self._ordered(first))

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        """A slice without step, or increasing positions."""
        wanted = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        where = wanted // self._block
        for i in np.unique(where).tolist():
            if self._held[0] != i:
                self._held = (i, self._ordered(_load(self._paths[i], self._name)))
            chosen = where == i
            found[chosen] = self._held[1][wanted[chosen] - i * self._block]
        return found

    def _ordered(self, array: NDArray[Any]) -> NDArray[Any]:
        return array if self._axis is None else np.moveaxis(array, self._axis, -1)


def _load(part: Path, name: str) -> NDArray[Any]:
    try:
        with part.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            array: NDArray[Any] = file[name]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{part} is damaged ({error}); delete it and repeat the call.") from error
    return array


def _load_list(part: Path, name: str) -> list[NDArray[Any]]:
    with np.load(part, allow_pickle=False) as file:
        return [file[f"{name}/{j}"] for j in range(len(file["status"]))]


def make_block(generator: Generator, seed: int, indices: Sequence[int]) -> Block:
    """The samples of these indices; runs in a worker."""
    seeds = np.array([sample_seed(generator.name, seed, i) for i in indices], dtype=np.int64)
    status = np.zeros(len(seeds), dtype=np.int8)
    arrays = generator.sample(seeds.tolist())
    for attempt in range(1, _ATTEMPTS + 1):
        bad = _failed(arrays)
        if not bad:
            break
        if attempt == _ATTEMPTS:
            raise DataError(
                f"{generator.name}: sample {indices[bad[0]]} is not finite after {_ATTEMPTS} attempts with "
                "different seeds. The settings, not the luck of the draw, make the solver fail."
            )
        seeds[bad] = [sample_seed(generator.name, seed, indices[j], attempt) for j in bad]
        status[bad] = 1
        for array, again in zip(arrays, generator.sample(seeds[bad].tolist()), strict=True):
            for j, values in zip(bad, again, strict=True):
                array[j] = values
    error = np.full(len(seeds), np.nan)
    chosen = [j for j, i in enumerate(indices) if i % _ESTIMATED == 0 or i < 4]
    if chosen:
        picked = [
            [array[j] for j in chosen] if isinstance(array, list) else array[chosen] for array in arrays
        ]
        error[chosen] = generator.estimate_error(seeds[chosen].tolist(), picked)
        status[[j for j in chosen if not np.isfinite(error[j])]] = 2  # suspect: the finer run has failed
    return Block(tuple(arrays), seeds, status, error)


def _failed(arrays: Sequence[Values]) -> list[int]:
    """Rows in which any array is not finite."""
    return [
        j for j in range(len(arrays[0])) if not all(bool(np.isfinite(array[j]).all()) for array in arrays)
    ]


def _as_float32(generator: Generator, block: Block) -> tuple[list[Values | NDArray[np.float32]], Float]:
    """The arrays as they are stored, and the error of what is stored, (n,).

    That is the discretization error or, for solvers more accurate than the storage, the rounding to float32
    (about 3e-8).  Parameters stay float64.
    """
    stored: list[Any] = []
    error = block.error
    for item, array in zip(generator.fields, block.arrays, strict=True):
        if item.role == "parameter":
            stored.append(array)
            continue
        with np.errstate(over="ignore"):
            rounded = [values.astype(np.float32) for values in array]
        stored.append(rounded if isinstance(array, list) else np.stack(rounded))
        if item.role in ("output", "state"):
            rounding = np.array([_rounding(a, b) for a, b in zip(array, rounded, strict=True)])
            if not rounding.max() <= 2**-24:  # of every normal number; not of 1e-40 or 1e40
                raise DataError(
                    f"{generator.name}: float32 rounds {item.name!r} by {rounding.max():.2g} of its size, "
                    "more than 6e-8: values leave the range of float32. Choose units that bring them near 1."
                )
            error = np.maximum(error, rounding)
    return stored, error


def _rounding(values: Float, rounded: NDArray[np.float32]) -> float:
    scale = max(float((values**2).sum()), np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        return float(np.sqrt(((rounded - values) ** 2).sum() / scale))
