"""Learning a map between fields from examples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from sciml import processes
from sciml.calling import call, dtype_of, evaluating, try_out
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.feeding import GridFeed, Loss, PointFeed, feed_of
from sciml.metrics import relative_l2
from sciml.neighbors import Neighborhood
from sciml.normalization import Normalization
from sciml.objective import Batch, Objective, Term
from sciml.reading import ReadAhead, check_settings, rows_of_step
from sciml.streams import Streams

if TYPE_CHECKING:
    from sciml.dataset import Dataset
    from sciml.point_surrogate import PointSurrogate
    from sciml.surrogate import Surrogate


@describable
class Supervised(Objective):
    """Minimize the mean of ``loss(model(inputs), outputs)`` over the samples of a dataset.

    Inputs and outputs are named fields, concatenated along the channel axis: (batch, channel, *space) on a
    grid, (batch, point, channel) on points and meshes, filled up to the largest sample of the batch.  All are
    normalized per channel with statistics of the training split, whichever split ``dataset`` is.

    On points the model may ask for ``coordinates`` (batch, point, dim), scaled to the unit box, ``mask``
    (batch, point), true where a point is real, ``weights`` (batch, point), the quadrature weights of meshes,
    ``parameters`` (batch, p), ``functions``, a tuple of `PointSet`, and ``neighbors`` (batch, edge, 2).  The
    input is 0 at padding, and what the model says there counts for nothing, exactly.

    Parameters
    ----------
    dataset : Dataset
        A split, such as ``data.train``.
    inputs, outputs : names of fields
        ``inputs`` may also name parameters and functions on points of their own, which go to models that ask
        for ``parameters`` or ``functions``, and boundaries of meshes: the distance of each point to one, in
        the unit box, is a channel like a field.  On points there may be no other input (a map of coordinates
        alone), and outputs may live on cells, if the input fields do.
    loss : callable
        (prediction, target) to values per sample, such as the functions of `sciml.metrics`.
    space : "physical" or "encoded"
        Whether the loss compares physical values, which a relative error is meant for, or normalized ones.
    batch_size : int
        Samples per optimizer step.
    workers : int
        Processes that read ahead.  0 keeps small data in memory and reads large data in the training process.
    points : int, optional
        On points and meshes a step sees so many random ones of each sample, spread evenly, others in every
        step. Operators that take means over points learn from more samples in the same time; judging takes
        all points.
    neighbors : callable, optional
        On points: which are neighbors, such as `sciml.neighbors.Radius`; found once for each sample.

    Raises
    ------
    ConfigError
        For an empty split, unknown ``space``, a number out of range, or a choice of points on a grid or
        together with neighbors.
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
        points: int | None = None,
        neighbors: Neighborhood | None = None,
    ) -> None:
        check_settings("Supervised", dataset, space=space, batch_size=batch_size, workers=workers)
        if isinstance(inputs, str) or isinstance(outputs, str) or not outputs:
            raise ConfigError("Supervised: inputs and outputs are lists of field names, such as ['a'].")
        self.dataset = dataset
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.loss, self.space = loss, space
        self.batch_size, self.workers, self.neighbors = batch_size, workers, neighbors
        self.decoder = Normalization.from_statistics([dataset.statistics(name) for name in self.outputs])
        self.feed = feed_of(dataset, self.inputs, self.outputs, neighbors)
        self.points = points
        if points is not None and (points < 1 or neighbors is not None or dataset.kind == "grid"):
            raise ConfigError(
                f"Supervised: points={points} must be at least 1; it is for points and meshes, without "
                "neighbors, of which a choice of points would leave few."
            )
        self.encoder = self.feed.encoder
        self._ahead = ReadAhead(self.feed.stored, workers) if workers else None

    def on(self, dataset: Dataset) -> Supervised:
        """The same task on other samples, such as another split."""
        return Supervised(
            dataset,
            self.inputs,
            self.outputs,
            loss=self.loss,
            space=self.space,
            batch_size=self.batch_size,
            workers=self.workers,
            points=self.points,
            neighbors=self.neighbors,
        )

    # Reading.

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        order = streams.of("order")
        rows = partial(rows_of_step, size=len(self.dataset), batch_size=self.batch_size, order=order)
        if self._ahead is None:
            tensors = self.feed.read(rows(step))
        else:
            tensors = self._ahead.batch(step, streams.seed, rows)
        if self.points is not None and isinstance(self.feed, PointFeed):
            tensors = self.feed.thinned(
                rows(step), tensors, self.points, streams.of("points").generator(step)
            )
        return self._batch(tensors, dtype_of(model))

    def _batch(self, tensors: Sequence[Tensor], dtype: torch.dtype) -> Batch:
        named = zip(self.feed.keys, tensors, strict=True)
        real = {name: t.to(dtype) if t.is_floating_point() else t for name, t in named}
        return Batch(real, self.feed.shared())

    # Minimizing.

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """The normalized outputs for a batch of physical inputs."""
        x, extras = self.feed.encode({**batch.shared, **batch.tensors})
        return call(model, x, extras).to(x.dtype)

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        encoded, y = self.predict(model, batch), batch["y"]
        decoder, axis = self.decoder.to(encoded.device), self.feed.axis % encoded.ndim
        if self.space == "physical":
            pair = decoder.decode(encoded, axis=axis), y
        else:
            pair = encoded, decoder.encode(y, axis=axis)
        return {"+".join(self.outputs): Term(self.feed.compare(self.loss, *pair, batch.tensors))}

    def check(self, model: nn.Module) -> None:
        """What can be known before the first step: finite data, fitting shapes, an admissible grid."""
        self.dataset.scan([name for name in (*self.inputs, *self.outputs) if name in self.dataset.fields])
        check_grid = getattr(model, "check_grid", None)
        if callable(check_grid) and isinstance(self.feed, GridFeed):
            check_grid(self.dataset.grid.shape)
        batch = self._batch(self.feed.stored([0]), dtype_of(model))
        predict = partial(self.predict, model, batch.to(next(model.parameters(), batch["x"]).device))
        names = str(self.inputs), str(self.outputs)
        try_out("Supervised", model, predict, batch["x"], batch["y"], names, axis=self.feed.axis)

    # Judging and using.

    def evaluate(self, model: nn.Module, streams: Streams) -> dict[str, float]:
        """Mean over all samples of the relative L2 error, and of the loss if that is another one; float64.

        With several processes each judges its share of the samples.
        """
        losses: dict[str, Loss] = {"relative_l2": relative_l2}
        losses.setdefault(getattr(self.loss, "__name__", "loss"), self.loss)
        sums = dict.fromkeys(losses, 0.0)
        device = next(model.parameters(), self.decoder.mean).device
        own = range(processes.rank(), len(self.dataset), processes.count())
        for start in range(0, len(own), self.batch_size):
            rows = list(own[start : start + self.batch_size])
            prediction, batch = self.judged(model, rows)
            for name, loss in losses.items():
                pair = prediction, batch["y"].double()
                sums[name] += float(self.feed.compare(loss, *pair, batch.tensors).sum())
        whole = processes.add_up(
            torch.tensor(list(sums.values()), dtype=torch.float64, device=device)
        ).tolist()
        return {name: value / len(self.dataset) for name, value in zip(sums, whole, strict=True)}

    def judged(self, model: nn.Module, rows: Sequence[int]) -> tuple[Tensor, Batch]:
        """Physical outputs of the model in evaluation mode for these samples, float64, and their batch."""
        device = next(model.parameters(), self.decoder.mean).device
        batch = self._batch(self.feed.read(rows), dtype_of(model)).to(device)
        with torch.no_grad(), evaluating(model):
            encoded = self.predict(model, batch).double()
        return self.decoder.to(device).decode(encoded, axis=self.feed.axis % encoded.ndim), batch

    def surrogate(self, model: nn.Module) -> Surrogate | PointSurrogate | None:
        """The trained map; None with functions on points of their own, and on grids with numbers."""
        from sciml.surrogate import Channel, Surrogate

        if isinstance(self.feed, PointFeed):
            return self._on_points(model, self.feed)
        if not isinstance(self.feed, GridFeed) or not self.feed.plain:
            return None

        def channels(names: Sequence[str]) -> list[Channel]:
            return [Channel.from_dataset(self.dataset, name) for name in names]

        return Surrogate(
            model,
            inputs=channels(self.inputs),
            outputs=channels(self.outputs),
            grid=self.dataset.grid,
            input_normalization=self.feed.encoder,
            output_normalization=self.decoder,
        )

    def _on_points(self, model: nn.Module, feed: PointFeed) -> PointSurrogate | None:
        from sciml.labelled import Channel
        from sciml.point_surrogate import PointSurrogate

        if feed.beside.functions:
            return None

        def channel(name: str) -> Channel:
            if name in feed.layout.boundaries:
                return Channel(name, long_name=f"distance to {name} in the unit box")
            return Channel.from_dataset(self.dataset, name)

        return PointSurrogate(
            model,
            inputs=[channel(name) for name in feed.inputs],
            outputs=[channel(name) for name in self.outputs],
            layout=feed.layout,
            input_normalization=feed.encoder,
            output_normalization=self.decoder,
            parameters=[channel(name) for name in feed.beside.parameters],
            parameter_normalization=feed.beside.normalization,
        )
