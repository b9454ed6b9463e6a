"""Learning a map between fields from examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from sciml.calling import call, evaluating
from sciml.description import describable
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.metrics import relative_l2
from sciml.normalization import Normalization
from sciml.objective import Batch, Objective, Term
from sciml.streams import Stream, Streams

if TYPE_CHECKING:
    from sciml.dataset import Dataset
    from sciml.surrogate import Surrogate

Loss = Callable[[Tensor, Tensor], Tensor]

# Fields up to this size are read once and kept; larger ones are read batch by batch.
_RESIDENT_BYTES = 2**30


def rows_of_step(step: int, size: int, batch_size: int, order: Stream) -> list[int]:
    """The samples of one step: consecutive positions in an endless sequence of shuffled epochs.

    A pure function of its arguments, so nothing has to be saved, no sample is seen twice or left out in an
    epoch, and every batch is full.

    Examples
    --------
    >>> order = Streams(0).of("order")
    >>> sorted(rows_of_step(0, 4, 2, order) + rows_of_step(1, 4, 2, order))
    [0, 1, 2, 3]
    """
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = {int(e): order.numpy(int(e)).permutation(size) for e in np.unique(positions // size)}
    return [int(epochs[int(p // size)][p % size]) for p in positions]


class _Rows(torch.utils.data.Sampler[list[int]]):
    """The rows of step ``start``, ``start + 1``, ... without end, for a loader that reads ahead."""

    def __init__(self, start: int, size: int, batch_size: int, order: Stream) -> None:
        self.start, self.size, self.batch_size, self.order = start, size, batch_size, order

    def __iter__(self) -> Iterator[list[int]]:
        step = self.start
        while True:
            yield rows_of_step(step, self.size, self.batch_size, self.order)
            step += 1


class _Reader(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Rows to (inputs, outputs); lives in the loader's worker processes."""

    def __init__(self, dataset: Dataset, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self.dataset, self.inputs, self.outputs = dataset, list(inputs), list(outputs)

    def __getitem__(self, rows: Any) -> tuple[Tensor, Tensor]:
        return self.dataset.tensor(self.inputs, rows), self.dataset.tensor(self.outputs, rows)


@describable
class Supervised(Objective):
    """Minimize the mean of ``loss(model(inputs), outputs)`` over the samples of a dataset.

    Inputs and outputs are named fields, concatenated along the channel axis: (batch, channel, *space).  Both
    are normalized per channel with statistics of the training split, whichever split ``dataset`` is.

    Parameters
    ----------
    dataset : Dataset
        A split, such as ``data.train``.
    inputs, outputs : names of fields
    loss : callable
        (prediction, target) to values per sample, such as the functions of `sciml.metrics`.
    space : "physical" or "encoded"
        Whether the loss compares physical values, which a relative error is meant for, or normalized ones.
    batch_size : int
        Samples per optimizer step.
    workers : int
        Processes that read ahead.  0 keeps small data in memory and reads large data in the training process.

    Raises
    ------
    ConfigError
        For an empty split, unknown ``space``, or a batch size or worker count out of range.
    DataError
        For an unknown field.
    """

    def __init__(
        self,
        dataset: Dataset,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        loss: Loss = relative_l2,
        space: Literal["physical", "encoded"] = "physical",
        batch_size: int = 16,
        workers: int = 0,
    ) -> None:
        if space not in ("physical", "encoded"):
            raise ConfigError(f"Supervised: space is 'physical' or 'encoded', got {space!r}.")
        if batch_size < 1 or workers < 0:
            raise ConfigError(
                f"Supervised: needs batch_size >= 1 and workers >= 0, got {batch_size} and {workers}."
            )
        if isinstance(inputs, str) or isinstance(outputs, str) or not inputs or not outputs:
            raise ConfigError("Supervised: inputs and outputs are lists of field names, such as ['a'].")
        if len(dataset) == 0:
            raise ConfigError(f"Supervised: {dataset.path} has no samples in this split.")
        self.dataset = dataset
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.loss, self.space = loss, space
        self.batch_size, self.workers = batch_size, workers
        self.encoder = Normalization.from_statistics([dataset.statistics(name) for name in self.inputs])
        self.decoder = Normalization.from_statistics([dataset.statistics(name) for name in self.outputs])
        self._coordinates = torch.from_numpy(dataset.grid.unit_coordinates()).float()
        self._resident: tuple[Tensor, Tensor] | None = None
        self._loader: Iterator[tuple[Tensor, Tensor]] | None = None
        self._next: tuple[int, int] | None = None  # (seed, step) that the loader delivers next

    # Reading.

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        x, y = self._read_ahead(step, streams) if self.workers else self._read(self._rows(step, streams))
        return Batch({"x": x, "y": y}, {"coordinates": self._coordinates})

    def _rows(self, step: int, streams: Streams) -> list[int]:
        return rows_of_step(step, len(self.dataset), self.batch_size, streams.of("order"))

    def _read(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        if self._resident is None:
            read = _Reader(self.dataset, self.inputs, self.outputs)
            x, y = read[list(rows)]
            if len(self.dataset) * (x[0].nbytes + y[0].nbytes) > _RESIDENT_BYTES:
                return x, y
            self._resident = read[None]
        x, y = self._resident
        return x[rows], y[rows]

    def _read_ahead(self, step: int, streams: Streams) -> tuple[Tensor, Tensor]:
        if self._loader is None or self._next != (streams.seed, step):
            rows = _Rows(step, len(self.dataset), self.batch_size, streams.of("order"))
            loader: torch.utils.data.DataLoader[tuple[Tensor, Tensor]] = torch.utils.data.DataLoader(
                _Reader(self.dataset, self.inputs, self.outputs),
                sampler=rows,
                batch_size=None,
                num_workers=self.workers,
                # Without its own generator the loader would draw from, and so change, the global state.
                generator=torch.Generator().manual_seed(0),
            )
            self._loader = iter(loader)
        self._next = (streams.seed, step + 1)
        return next(self._loader)

    # Minimizing.

    def predict(self, model: nn.Module, x: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        """Physical inputs to normalized outputs, (batch, channel, *space) each."""
        coordinates = extras["coordinates"]
        every = {"coordinates": coordinates.to(x.dtype).expand(len(x), *coordinates.shape)}
        return call(model, self.encoder.to(x.device).encode(x), every).to(x.dtype)

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        encoded = self.predict(model, batch["x"], batch.shared)
        decoder = self.decoder.to(encoded.device)
        if self.space == "physical":
            values = self.loss(decoder.decode(encoded), batch["y"])
        else:
            values = self.loss(encoded, decoder.encode(batch["y"]))
        return {"+".join(self.outputs): Term(values)}

    def check(self, model: nn.Module) -> None:
        """What can be known before the first step: finite data, fitting shapes, an admissible grid."""
        self.dataset.scan([*self.inputs, *self.outputs])
        check_grid = getattr(model, "check_grid", None)
        if callable(check_grid):
            check_grid(self.dataset.grid.shape)
        x, y = (self.dataset.tensor(names, [0]) for names in (self.inputs, self.outputs))
        first = next(model.parameters(), x)
        try:
            with torch.no_grad(), evaluating(model):
                extras = {"coordinates": self._coordinates.to(first.device)}
                prediction = self.predict(model, x.to(first.device), extras)
        except (RuntimeError, ValueError, IndexError) as error:
            if isinstance(error, ConfigError | DataError):
                raise
            raise ShapeError(
                f"Supervised: the model fails on one sample of {self.inputs}, x of shape {tuple(x.shape)} "
                f"(batch, channel, *space): {error}"
            ) from error
        if prediction.shape != y.shape:
            raise ShapeError(
                f"Supervised: the model maps {self.inputs}, shape {tuple(x.shape)}, to "
                f"{tuple(prediction.shape)}, but {self.outputs} have shape {tuple(y.shape)} (batch, channel, "
                f"*space). Set its in_channels to {x.shape[1]} and its out_channels to {y.shape[1]}."
            )

    # Judging and using.

    def evaluate(self, model: nn.Module, streams: Streams) -> dict[str, float]:
        """Mean over all samples of the relative L2 error, and of the loss if that is another one; float64."""
        losses: dict[str, Loss] = {"relative_l2": relative_l2}
        losses.setdefault(getattr(self.loss, "__name__", "loss"), self.loss)
        sums = dict.fromkeys(losses, 0.0)
        device = next(model.parameters(), self._coordinates).device
        for start in range(0, len(self.dataset), self.batch_size):
            rows = list(range(start, min(start + self.batch_size, len(self.dataset))))
            x, y = (tensor.to(device) for tensor in self._read(rows))
            with torch.no_grad(), evaluating(model):
                encoded = self.predict(model, x, {"coordinates": self._coordinates.to(device)})
            decoded = self.decoder.to(device).decode(encoded.double())
            for name, loss in losses.items():
                sums[name] += float(loss(decoded, y.double()).sum())
        return {name: value / len(self.dataset) for name, value in sums.items()}

    def surrogate(self, model: nn.Module) -> Surrogate:
        from sciml.surrogate import Channel, Surrogate

        def channels(names: Sequence[str]) -> list[Channel]:
            return [Channel.from_dataset(self.dataset, name) for name in names]

        return Surrogate(
            model,
            inputs=channels(self.inputs),
            outputs=channels(self.outputs),
            grid=self.dataset.grid,
            input_normalization=self.encoder,
            output_normalization=self.decoder,
        )
