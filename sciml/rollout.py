"""Learning to step a state through time, from trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from sciml import processes
from sciml.calling import call, dtype_of, try_out
from sciml.description import describable
from sciml.errors import ConfigError, DataError
from sciml.evolution import Evolution, frame_step
from sciml.feeding import Loss
from sciml.metrics import relative_l2
from sciml.normalization import Normalization
from sciml.objective import Batch, Objective, Term
from sciml.reading import ReadAhead, Samples, check_settings
from sciml.stepping import judge
from sciml.streams import Streams
from sciml.trajectories import correlation_over_time, correlation_time, error_over_time, valid_time
from sciml.unroll import Frames, Unroll, pieces_of_step

if TYPE_CHECKING:
    from sciml.dataset import Dataset
    from sciml.surrogate import Surrogate

# Of the relative error up to which a prediction is called valid: usual for the Lorenz systems, there relative
# to the climatological standard deviation, which for a state without mean is the norm.
VALID = 0.4
METRICS = (
    "relative_l2",
    "relative_l2_frames",
    "relative_l2_first",
    "relative_l2_last",
    "valid_time",
    "valid_time_censored",
    "correlation_time",
    "correlation_time_censored",
)
_ONE_TO_ONE, _ONE_CALL = Frames(), Unroll()


@describable
class Rollout(Objective):
    """Minimize the mean of ``loss(bundle, truth)`` over pieces of trajectories.

    One call maps a window of frames, side by side in the channel axis, to the bundle of frames that follows:
    (batch, window x channel + inputs, *space) to (batch, bundle x channel, *space), in the order of
    `Evolution.stacked`.  All fields are normalized per channel with statistics of the training split.  Each
    step draws samples in shuffled epochs and for each sample a start, uniform over all that fit; both are
    pure functions of (seed, step).

    A model whose ``forward`` names them gets ``time`` (batch,), that of the last frame of its window, ``dt``
    (batch,), the time between its frames, and ``parameters`` (batch, p), those of the dataset; all in
    physical units.

    Parameters
    ----------
    dataset : Dataset
        A split, such as ``data.train``.
    state : names of fields with a time axis
    frames : Frames
    unroll : Unroll
    loss : callable
        (prediction, target), (batch, bundle x channel, *space) each, to values per sample.
    space : "physical" or "encoded"
        Whether the loss compares physical values or normalized ones.
    batch_size : int
    workers : int
        Processes that read ahead.  0 keeps small data in memory and reads large data in the training process.

    Raises
    ------
    ConfigError
        For an empty split, settings out of range, or more frames in a row than a trajectory has.
    DataError
        For unknown fields, a state without time axis, inputs with one, or unequal time steps.

    Examples
    --------
    >>> import tempfile
    >>> from sciml.dataset import Field, write_dataset
    >>> from sciml.grid import Grid
    >>> u = torch.rand(3, 8, 16).numpy()  # (sample, time, x)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fields = [(Field("u", "state", time=True), u)]
    ...     settings = {"grid": Grid.box((16,)), "split": [0, 0, 1], "times": range(8)}
    ...     data = write_dataset(folder + "/u.h5", fields=fields, **settings)
    ...     task = Rollout(data.train, ["u"], frames=Frames(window=2, bundle=3), unroll=Unroll(calls=2))
    ...     batch = task.draw(0, nn.Identity(), Streams(0))
    >>> tuple(batch["x"].shape), tuple(batch["y"].shape)  # two bundles of three frames to predict
    ((16, 2, 1, 16), (16, 6, 1, 16))
    """

    def __init__(
        self,
        dataset: Dataset,
        state: Sequence[str],
        *,
        frames: Frames = _ONE_TO_ONE,
        unroll: Unroll = _ONE_CALL,
        loss: Loss = relative_l2,
        space: Literal["physical", "encoded"] = "physical",
        batch_size: int = 16,
        workers: int = 0,
    ) -> None:
        check_settings("Rollout", dataset, space=space, batch_size=batch_size, workers=workers)
        if isinstance(state, str) or not state:
            raise ConfigError("Rollout: state is a list of field names, such as ['vorticity'].")
        self.dataset, self.state, self.inputs = dataset, list(state), list(frames.inputs)
        self.frames, self.unroll, self.loss, self.space = frames, unroll, loss, space
        self.batch_size = batch_size
        self._times = self._checked_times()
        self.evolution = self._evolution(self._times)
        statistics = {name: dataset.statistics(name) for name in [*self.state, *self.inputs]}
        self.normalization = Normalization.from_statistics([statistics[name] for name in self.state])
        fixed = [statistics[name] for name in self.inputs]
        self._fixed = Normalization.from_statistics(fixed) if fixed else None
        # Those of the model's channels.
        into = [statistics[name] for name in self.state for _ in range(frames.window)] + fixed
        out = [statistics[name] for name in self.state for _ in range(frames.bundle)]
        self.encoder, self.decoder = (Normalization.from_statistics(listed) for listed in (into, out))
        self._coordinates = torch.from_numpy(dataset.grid.unit_coordinates()).float()
        parameters = dataset.parameters()
        self._parameters = None if parameters is None else torch.from_numpy(parameters)
        self._samples = Samples(dataset, [self.state, *([self.inputs] if self.inputs else [])])
        self._ahead = ReadAhead(partial(_stored, self._samples), workers) if workers else None

    def _checked_times(self) -> Tensor:
        """The times of the frames, if these are what the settings need."""
        fields, path = self.dataset.fields, self.dataset.path
        for names, timed in ((self.state, True), (self.inputs, False)):
            for name in names:
                self.dataset.statistics(name)  # refuses an unknown name
                if fields[name].time is not timed:
                    raise DataError(
                        f"Rollout: {path}: the field {name!r} has {'no' if timed else 'a'} time axis; a "
                        "state needs one, and inputs must not have one."
                    )
        assert self.dataset.times is not None  # a file with such a field has times
        f, most = self.frames, self.unroll.most
        needed, found = f.span(most), len(self.dataset.times)
        if needed > found:
            raise ConfigError(
                f"Rollout: window={f.window} and {most} calls with bundle={f.bundle}, at stride={f.stride}, "
                f"need {needed} frames in a row, but the trajectories of {path} have {found}. Lower one of "
                "them."
            )
        return torch.from_numpy(self.dataset.times)

    def _evolution(self, times: Tensor) -> Evolution:
        return Evolution(
            tuple(self.dataset.fields[name].components for name in self.state),
            self.frames.window,
            self.frames.bundle,
            frame_step(times.numpy(), f"Rollout: {self.dataset.path}") * self.frames.stride,
            self.dataset.time_units,
            self.dataset.parameter_names,
        )

    # Reading.

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        pieces = self._pieces(streams)
        rows, positions = pieces(step)
        if self._ahead is None:
            parts = self._samples.read(rows, positions)
        else:
            parts = self._ahead.batch(step, streams.seed, pieces)
        batch = self._batch(model, rows, positions, parts)
        if not self.unroll.noise:
            return batch
        x = batch["x"]
        noise = torch.randn(x.shape, generator=streams.of("noise").generator(step), dtype=x.dtype)
        # Encoded, it has this standard deviation in every channel.
        scale = self.normalization.scale.to(x.dtype).reshape(-1, *[1] * self.dataset.grid.rank)
        return Batch({**batch.tensors, "x": x + self.unroll.noise * scale * noise}, batch.shared)

    def _batch(
        self, model: nn.Module, rows: Sequence[int], positions: Tensor, parts: Sequence[Tensor]
    ) -> Batch:
        """Samples as they were read, in the model's precision."""
        states, *fixed = parts
        window = self.frames.window
        tensors = {"x": states[:, :window], "y": states[:, window:]}
        tensors["time"] = self._times[positions[:, window - 1]]
        if fixed:
            tensors["inputs"] = fixed[0]
        if self._parameters is not None:
            tensors["parameters"] = self._parameters[rows]
        dtype = dtype_of(model)
        shared = {"coordinates": self._coordinates.to(dtype)}
        return Batch({name: tensor.to(dtype) for name, tensor in tensors.items()}, shared)

    def _pieces(self, streams: Streams) -> partial[tuple[list[int], Tensor]]:
        """Step to samples and positions of frames; it knows the numbers only, see `ReadAhead.batch`."""
        sizes = {"size": len(self.dataset), "length": len(self._times), "batch_size": self.batch_size}
        return partial(pieces_of_step, streams=streams, frames=self.frames, unroll=self.unroll, **sizes)

    # Minimizing.

    def predict(self, model: nn.Module, window: Tensor, number: int, batch: Batch) -> Tensor:
        """Call ``number`` (from 0) on a normalized window: the normalized bundle, as the model gives it.

        (batch, window, channel, *space) to (batch, bundle x channel, *space).
        """
        x, coordinates = self.evolution.stacked(window), batch["coordinates"]
        if self._fixed is not None:
            x = torch.cat([x, self._fixed.encode(batch["inputs"])], dim=1)
        extras = self.evolution.extras(number, batch["time"], batch.tensors.get("parameters"))
        extras["coordinates"] = coordinates.expand(len(x), *coordinates.shape)
        return call(model, x, extras).to(x.dtype)

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        window = self.normalization.encode(batch["x"], axis=2)
        truths, values = batch["y"].split(self.frames.bundle, dim=1), []
        for number, truth in enumerate(truths):
            counts = number == len(truths) - 1 or not self.unroll.pushforward
            with torch.set_grad_enabled(counts and torch.is_grad_enabled()):
                bundle = self.evolution.unstacked(self.predict(model, window, number, batch))
                window = self.evolution.slide(window, bundle)
            if counts:
                values.append(self._compare(bundle, truth))
            else:  # older releases of torch: weights that autocast has cast here, without gradient, stay so
                torch.clear_autocast_cache()
        return {"+".join(self.state): Term(torch.stack(values, dim=1))}

    def _compare(self, bundle: Tensor, truth: Tensor) -> Tensor:
        """The loss of a normalized bundle against a physical one."""
        if self.space == "physical":
            bundle = self.normalization.decode(bundle, axis=2)
        else:
            truth = self.normalization.encode(truth, axis=2)
        return self.loss(self.evolution.stacked(bundle), self.evolution.stacked(truth))

    def check(self, model: nn.Module) -> None:
        """What can be known before the first step: finite data, fitting shapes, an admissible grid."""
        self.dataset.scan([*self.state, *self.inputs])
        check_grid = getattr(model, "check_grid", None)
        if callable(check_grid):
            check_grid(self.dataset.grid.shape)
        device = next(model.parameters(), self._coordinates).device
        positions = self.frames.stride * torch.arange(self.frames.window + self.frames.bundle)[None]
        batch = self._batch(model, [0], positions, self._samples.stored([0], positions))
        window = self.normalization.encode(batch["x"], axis=2)
        x = self.evolution.stacked(window)
        x = x if self._fixed is None else torch.cat([x, batch["inputs"]], dim=1)
        y = self.evolution.stacked(batch["y"])
        predict = partial(self.predict, model, window.to(device), 0, batch.to(device))
        into = f"{self.frames.window} frames of {self.state}"
        into += f" and {self.inputs}" if self.inputs else ""
        try_out("Rollout", model, predict, x, y, (into, f"{self.frames.bundle} frames of {self.state}"))

    # Judging and using.

    def evaluate(self, model: nn.Module, streams: Streams) -> dict[str, float]:
        """Roll-outs of every sample from its first window to its last frame; means over samples, float64.

        In physical units: ``relative_l2`` of all predicted frames together, the mean over frames
        (``relative_l2_frames``) of their own errors, the first and the last of them; `valid_time` (up to an
        error of 0.4) and `correlation_time` (down to 0.8) since the last frame given, each with the number of
        samples in which it was not over at the end, so that its mean is a lower bound.  With several
        processes each judges its share of the samples.
        """
        surrogate, totals = self.surrogate(model), dict.fromkeys(METRICS, 0.0)
        own = range(processes.rank(), len(self.dataset), processes.count())
        for start in range(0, len(own), self.batch_size):
            prediction, truth = judge(surrogate, self.dataset, list(own[start : start + self.batch_size]))
            for name, value in self._sums(prediction, truth).items():
                totals[name] += value
        sums = torch.tensor(list(totals.values()), dtype=torch.float64, device=surrogate.device)
        found = dict(zip(totals, processes.add_up(sums).tolist(), strict=True))
        return {n: v if n.endswith("_censored") else v / len(self.dataset) for n, v in found.items()}

    def _sums(self, prediction: Tensor, truth: Tensor) -> dict[str, float]:
        """The metrics, added up over the samples."""
        times = self.evolution.dt * torch.arange(1, truth.shape[1] + 1, dtype=torch.float64)
        errors = error_over_time(prediction, truth)
        valid = valid_time(errors, times, threshold=VALID)
        correlated = correlation_time(correlation_over_time(prediction, truth), times)
        return {
            "relative_l2": float(relative_l2(prediction, truth).sum()),
            "relative_l2_frames": float(errors.mean(1).sum()),
            "relative_l2_first": float(errors[:, 0].sum()),
            "relative_l2_last": float(errors[:, -1].sum()),
            "valid_time": float(valid.values.sum()),
            "valid_time_censored": valid.count,
            "correlation_time": float(correlated.values.sum()),
            "correlation_time_censored": correlated.count,
        }

    def surrogate(self, model: nn.Module) -> Surrogate:
        from sciml.surrogate import Channel, Surrogate

        fields = {name: Channel.from_dataset(self.dataset, name) for name in [*self.state, *self.inputs]}
        return Surrogate(
            model,
            inputs=list(fields.values()),
            outputs=[fields[name] for name in self.state],
            grid=self.dataset.grid,
            input_normalization=self.encoder,
            output_normalization=self.decoder,
            evolution=self.evolution,
        )


def _stored(samples: Samples, key: tuple[Any, Tensor]) -> tuple[Tensor, ...]:
    """For worker processes."""
    return samples.stored(*key)
