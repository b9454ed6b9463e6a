"""Speed of reading random samples for training, beside reading the same bytes from front to back.

``python tools/reading_speed.py [--samples 1024] [--json]`` writes two files to a temporary folder: a dataset
(chunks and checksums as the format has them), and the same values as one contiguous block without checksums.
Each contestant delivers batches of 16 samples of shape (21, 64, 64) as float32 tensors; the file is in the
memory of the system, so that the program is measured and not the disk.  Rounds take turns; medians.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from sciml.dataset import Dataset, Field, write_dataset
from sciml.grid import Grid
from sciml.reading import ReadAhead, Samples, rows_of_step
from sciml.streams import Streams

SHAPE, BATCH, ROUNDS = (21, 64, 64), 16, 5
Reader = Callable[[], Iterator[Tensor]]


def contiguous_file(path: Path) -> Iterator[Tensor]:
    """A block without chunks and checksums, from front to back."""
    with h5py.File(path, "r") as file:
        for start in range(0, len(file["u"]), BATCH):
            yield torch.from_numpy(file["u"][start : start + BATCH])


def in_order(data: Dataset) -> Iterator[Tensor]:
    """The dataset from front to back."""
    for start in range(0, len(data), BATCH):
        yield data.tensor("u", slice(start, start + BATCH))


class Shuffled:
    """Random samples, in this process or through worker processes, which stay from round to round."""

    def __init__(self, data: Dataset, workers: int, start: str | None) -> None:
        self.steps, self.round = len(data) // BATCH, 0
        self.samples = Samples(data, (["u"],))
        order = Streams(0).of("order")
        self.key = partial(rows_of_step, size=len(data), batch_size=BATCH, order=order)
        self.ahead = ReadAhead(self.samples.stored, workers, start=start) if workers else None  # type: ignore[arg-type]

    def __call__(self) -> Iterator[Tensor]:
        first = self.round * self.steps
        self.round += 1
        for step in range(first, first + self.steps):
            if self.ahead is None:
                yield self.samples.stored(self.key(step))[0]
            else:
                yield self.ahead.batch(step, 0, self.key)[0]


def timed(reader: Reader) -> tuple[float, str]:
    """Seconds for one round, and a hash of every 61st number in the order of delivery."""
    found = hashlib.sha256()
    seconds = -time.perf_counter()
    for batch in reader():
        seconds += time.perf_counter()
        found.update(batch.reshape(-1)[::61].numpy().tobytes())
        seconds -= time.perf_counter()
    return seconds + time.perf_counter(), found.hexdigest()[:12]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        values = np.random.default_rng(0).normal(size=(options.samples, *SHAPE)).astype(np.float32)
        with h5py.File(Path(folder) / "plain.h5", "w") as file:
            file["u"] = values
        fields = [(Field("u", "state", time=True), values)]
        settings = {"split": np.zeros(len(values), np.int8), "times": np.arange(SHAPE[0])}
        data = write_dataset(Path(folder) / "data.h5", grid=Grid.box(SHAPE[1:]), fields=fields, **settings)
        readers: dict[str, Reader] = {
            "contiguous block, no checksums": partial(contiguous_file, Path(folder) / "plain.h5"),
            "the dataset from front to back": partial(in_order, data),
            "random samples, 0 workers": Shuffled(data, 0, None),
        }
        for start in ("fork", "spawn"):
            for workers in (1, 2):
                readers[f"random samples, {workers} workers, {start}"] = Shuffled(data, workers, start)
        report(readers, values.nbytes, as_json=options.json)


def report(readers: dict[str, Reader], size: int, *, as_json: bool) -> None:
    """Time all in turns, and print what they read in a second and whether their order is one."""
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    orders: dict[str, list[str]] = {name: [] for name in readers}
    for turn in range(ROUNDS + 1):
        for name, reader in readers.items():
            spent, order = timed(reader)
            if turn:  # the first round starts processes and opens files
                seconds[name].append(spent)
            orders[name].append(order)
    speed = {name: size / statistics.median(spent) / 1e6 for name, spent in seconds.items()}
    block, front = (speed[name] for name in list(readers)[:2])
    random = [orders[name] for name in readers if name.startswith("random")]
    result = {
        name: {
            "MB/s": round(value),
            "to front to back": round(value / front, 2),
            "to block": round(value / block, 2),
        }
        for name, value in speed.items()
    }
    if as_json:
        json.dump({"speed": result, "one order": all(o == random[0] for o in random)}, sys.stdout)
        return
    print("| reader | MB/s | of front to back | of a block without checksums |\n|---|---|---|---|")
    for name, row in result.items():
        print("| " + " | ".join([name, *(str(value) for value in row.values())]) + " |")
    print(f"\nOne order of samples in all: {all(o == random[0] for o in random)}.")


if __name__ == "__main__":
    main()
