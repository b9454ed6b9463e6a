"""Learning a map between fields from examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from sciml import processes
from sciml.calling import call, dtype_of, evaluating, try_out
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.metrics import relative_l2
from sciml.normalization import Normalization
from sciml.objective import Batch, Objective, Term
from sciml.reading import ReadAhead, Samples, check_settings, rows_of_step
from sciml.streams import Streams

if TYPE_CHECKING:
    from sciml.dataset import Dataset
    from sciml.surrogate import Surrogate

Loss = Callable[[Tensor, Tensor], Tensor]


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
        check_settings("Supervised", dataset, space=space, batch_size=batch_size, workers=workers)
        if isinstance(inputs, str) or isinstance(outputs, str) or not inputs or not outputs:
            raise ConfigError("Supervised: inputs and outputs are lists of field names, such as ['a'].")
        self.dataset = dataset
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.loss, self.space = loss, space
        self.batch_size, self.workers = batch_size, workers
        self.encoder = Normalization.from_statistics([dataset.statistics(name) for name in self.inputs])
        self.decoder = Normalization.from_statistics([dataset.statistics(name) for name in self.outputs])
        self._coordinates = torch.from_numpy(dataset.grid.unit_coordinates()).float()
        self._samples = Samples(dataset, (self.inputs, self.outputs))
        self._ahead = ReadAhead(self._samples.stored, workers) if workers else None

    # Reading.

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        order = streams.of("order")
        rows = partial(rows_of_step, size=len(self.dataset), batch_size=self.batch_size, order=order)
        if self._ahead is None:
            x, y = self._samples.read(rows(step))
        else:
            x, y = self._ahead.batch(step, streams.seed, rows)
        dtype = dtype_of(model)
        return Batch({"x": x.to(dtype), "y": y.to(dtype)}, {"coordinates": self._coordinates})

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
        dtype = dtype_of(model)
        x, y = (self.dataset.tensor(names, [0], dtype) for names in (self.inputs, self.outputs))
        device = next(model.parameters(), x).device
        extras = {"coordinates": self._coordinates.to(device)}
        predict = partial(self.predict, model, x.to(device), extras)
        try_out("Supervised", model, predict, x, y, (str(self.inputs), str(self.outputs)))

    # Judging and using.

    def evaluate(self, model: nn.Module, streams: Streams) -> dict[str, float]:
        """Mean over all samples of the relative L2 error, and of the loss if that is another one; float64.

        With several processes each judges its share of the samples.
        """
        losses: dict[str, Loss] = {"relative_l2": relative_l2}
        losses.setdefault(getattr(self.loss, "__name__", "loss"), self.loss)
        sums = dict.fromkeys(losses, 0.0)
        device = next(model.parameters(), self._coordinates).device
        own = range(processes.rank(), len(self.dataset), processes.count())
        for start in range(0, len(own), self.batch_size):
            rows = list(own[start : start + self.batch_size])
            x, y = (tensor.to(device, dtype_of(model)) for tensor in self._samples.read(rows))
            with torch.no_grad(), evaluating(model):
                encoded = self.predict(model, x, {"coordinates": self._coordinates.to(device)})
            decoded = self.decoder.to(device).decode(encoded.double())
            for name, loss in losses.items():
                sums[name] += float(loss(decoded, y.double()).sum())
        whole = processes.add_up(
            torch.tensor(list(sums.values()), dtype=torch.float64, device=device)
        ).tolist()
        return {name: value / len(self.dataset) for name, value in zip(sums, whole, strict=True)}

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
