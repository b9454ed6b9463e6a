"""Which samples a step sees, and how they are read: from memory, from the file, or ahead in processes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.cores import available_cores
from sciml.errors import ConfigError
from sciml.streams import Stream

if TYPE_CHECKING:
    from sciml.dataset import Dataset

# Fields up to this size are read once and kept; larger ones are read batch by batch.
RESIDENT_BYTES = 2**30


def check_settings(who: str, dataset: Dataset, *, space: str, batch_size: int, workers: int) -> None:
    """What every objective on a dataset asks of its settings.

    Raises
    ------
    ConfigError
        For an empty split, an unknown space, or a batch size or worker count out of range.
    """
    if space not in ("physical", "encoded"):
        raise ConfigError(f"{who}: space is 'physical' or 'encoded', got {space!r}.")
    if batch_size < 1 or workers < 0:
        raise ConfigError(f"{who}: needs batch_size >= 1 and workers >= 0, got {batch_size} and {workers}.")
    if len(dataset) == 0:
        raise ConfigError(f"{who}: {dataset.path} has no samples in this split.")


def rows_of_step(step: int, size: int, batch_size: int, order: Stream) -> list[int]:
    """The samples of one step: consecutive positions in an endless sequence of shuffled epochs.

    A pure function of its arguments, so nothing has to be saved, no sample is seen twice or left out in an
    epoch, and every batch is full.

    Examples
    --------
    >>> from sciml.streams import Streams
    >>> order = Streams(0).of("order")
    >>> sorted(rows_of_step(0, 4, 2, order) + rows_of_step(1, 4, 2, order))
    [0, 1, 2, 3]
    """
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    return [int(_shuffled(order, int(p // size), size)[p % size]) for p in positions]


@functools.lru_cache(maxsize=2)  # the epochs that one step may touch; they are made anew at will
def _shuffled(order: Stream, epoch: int, size: int) -> NDArray[np.int64]:
    return order.numpy(epoch).permutation(size)


def room(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An empty tensor to read into; in a worker of a loader in shared memory, where it has to go anyway."""
    if torch.utils.data.get_worker_info() is None:
        return torch.empty(*shape, dtype=dtype)
    size = math.prod(shape)
    storage = torch.UntypedStorage._new_shared(size * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage, 0, tuple(shape))  # type: ignore[call-overload,no-any-return]


class Samples:
    """Groups of fields of a dataset, each group side by side in the channel axis, float32.

    Parameters
    ----------
    dataset : Dataset
    groups : sequence of sequences of names
        Within a group all fields have a time axis, or none has.
    """

    def __init__(self, dataset: Dataset, groups: Sequence[Sequence[str]]) -> None:
        self.dataset, self.groups = dataset, [list(group) for group in groups]
        self._timed = [dataset.fields[group[0]].time for group in self.groups]
        self._resident: tuple[Tensor, ...] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_resident": None}  # another process reads for itself

    @property
    def resident(self) -> bool:
        """Whether everything has been read and is kept."""
        return self._resident is not None

    def read(self, rows: Sequence[int], frames: Tensor | None = None) -> tuple[Tensor, ...]:
        """The groups at these rows; all of them are read at once, and kept, if they are small.

        ``frames`` (row, frame) are the positions to take along the time axis of groups that have one.
        """
        if self._resident is None:
            part = self._load(rows[:1])
            if len(self.dataset) * sum(tensor.nbytes for tensor in part) > RESIDENT_BYTES:
                return self.stored(rows, frames)
            self._resident = self._load(None)
        return self._take(self._resident, torch.as_tensor(rows), frames)

    def stored(self, rows: Sequence[int], frames: Tensor | None = None) -> tuple[Tensor, ...]:
        """As `read`, always from the file, of which no other frames are read."""
        return self._load(rows, frames)

    def _load(self, rows: Sequence[int] | None, frames: Tensor | None = None) -> tuple[Tensor, ...]:
        return tuple(
            self.dataset.tensor(group, rows, frames=frames if timed else None)
            for group, timed in zip(self.groups, self._timed, strict=True)
        )

    def _take(self, tensors: tuple[Tensor, ...], rows: Tensor, frames: Tensor | None) -> tuple[Tensor, ...]:
        return tuple(
            tensor[rows[:, None], frames] if timed and frames is not None else tensor[rows]
            for tensor, timed in zip(tensors, self._timed, strict=True)
        )


class ReadAhead:
    """Batches of consecutive steps, read ahead in worker processes; any step may be asked for.

    Parameters
    ----------
    read : callable
        The key of a step, such as its rows, to tensors; must be picklable.
    workers : int
        Processes, at least 1; not more than there are cores are started, which is no matter of what is read.
    start : "fork", "spawn" or "forkserver", optional
        How they are started; by default as Python does on this system.
    """

    def __init__(
        self,
        read: Callable[[Any], tuple[Tensor, ...]],
        workers: int,
        *,
        start: Literal["fork", "spawn", "forkserver"] | None = None,
    ) -> None:
        self.read, self.workers, self.start = read, min(workers, available_cores()), start
        self._loader: Iterator[tuple[Tensor, ...]] | None = None
        self._next: tuple[int, int] | None = None  # (seed, step) that the loader delivers next

    def batch(self, step: int, seed: int, key: Callable[[int], Any]) -> tuple[Tensor, ...]:
        """``read(key(step))``; ``key`` is a pure function of the step for this ``seed``.

        It must not refer to the owner of this object: the loader would be part of a cycle, and one that the
        garbage collector takes apart waits 5 s for each of its processes.
        """
        if self._loader is None or self._next != (seed, step):
            loader: torch.utils.data.DataLoader[tuple[Tensor, ...]] = torch.utils.data.DataLoader(
                _Keyed(self.read),
                sampler=_Keys(step, key),
                batch_size=None,
                num_workers=self.workers,
                multiprocessing_context=self.start,
                # Without its own generator the loader would draw from, and so change, the global state.
                generator=torch.Generator().manual_seed(0),
            )
            self._loader = iter(loader)
        self._next = (seed, step + 1)
        return tuple(next(self._loader))


class _Keys(torch.utils.data.Sampler[Any]):
    """The keys of step ``start``, ``start + 1``, ... without end."""

    def __init__(self, start: int, key: Callable[[int], Any]) -> None:
        self.start, self.key = start, key

    def __iter__(self) -> Iterator[Any]:
        step = self.start
        while True:
            yield self.key(step)
            step += 1


class _Keyed(torch.utils.data.Dataset[tuple[Tensor, ...]]):
    """A function as the loader wants it; lives in the worker processes."""

    def __init__(self, read: Callable[[Any], tuple[Tensor, ...]]) -> None:
        self.read = read

    def __getitem__(self, key: Any) -> tuple[Tensor, ...]:
        return self.read(key)
