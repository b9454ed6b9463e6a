"""What is learned from a dataset file: a map between fields, or the step of a state through time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from sciml.dataset import Dataset
from sciml.errors import DataError, nearest
from sciml.feeding import Loss, boundaries_of
from sciml.metrics import relative_l2
from sciml.rollout import Rollout
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.unroll import Stepping


@dataclass(frozen=True)
class Task:
    """Input and output fields; with ``stepping`` the outputs are a state that goes in as well.

    ``points`` are those of `Supervised`.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    stepping: Stepping | None = None
    points: int | None = None

    def objective(
        self, data: Dataset, *, batch_size: int, workers: int = 0, loss: Loss = relative_l2
    ) -> Supervised | Rollout:
        """What a training on these samples minimizes."""
        if self.stepping is None:
            sides = list(self.inputs), list(self.outputs)
            return Supervised(
                data, *sides, loss=loss, batch_size=batch_size, workers=workers, points=self.points
            )
        return Rollout(
            data,
            list(self.outputs),
            frames=dataclasses.replace(self.stepping.frames, inputs=self.fixed),
            unroll=self.stepping.unroll,
            loss=loss,
            batch_size=batch_size,
            workers=workers,
        )

    def training(
        self,
        data: Dataset,
        make: Callable[[int, int, Dataset], nn.Module],
        *,
        seed: int,
        batch_size: int,
        workers: int = 0,
        loss: Loss = relative_l2,
    ) -> tuple[nn.Module, Supervised | Rollout, Supervised | Rollout | None]:
        """Model with weights of this seed, objective on the training samples, validation if there are any.

        ``make(in_channels, out_channels, data)`` gives the model.

        Raises
        ------
        DataError
            If there are no training samples.
        """
        if not len(data.train):
            raise DataError(f"{data.path} has no training samples.")
        objective, validation = (
            self.objective(part, batch_size=batch_size, workers=workers, loss=loss) if len(part) else None
            for part in (data.train, data.valid)
        )
        assert objective is not None
        with Streams(seed).of("init").applied():
            model = make(objective.encoder.channels, objective.decoder.channels, data)
        return model, objective, validation

    @property
    def fixed(self) -> tuple[str, ...]:
        """The inputs that are no outputs; of a state those without time."""
        return tuple(name for name in self.inputs if name not in self.outputs)


def task_of(
    data: Dataset,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    stepping: Stepping = Stepping(),  # noqa: B008 - frozen
) -> Task:
    """The task with the fields asked for, else as the file states it.

    A state is a field with a time axis among inputs and outputs; ``stepping`` is for those.

    Raises
    ------
    DataError
        If the file states no task, or one that is neither kind, or lacks a field.
    """
    stated, on_grid = data.attributes.get("task", {}), data.kind == "grid"
    # On points numbers and distances to boundaries go in beside the fields.
    known = [*data.fields, *(() if on_grid else (*data.parameter_names, *boundaries_of(data)))]
    for name in (*inputs, *outputs):
        if name not in known:
            raise DataError(
                f"{data.path} has no field {name!r}; it has {', '.join(known)}.{nearest(name, known)}"
            )
    sides = (inputs, outputs) if inputs else (stated.get("inputs"), stated.get("outputs"))
    into, out = (tuple(side or ()) for side in sides)
    if not inputs and not on_grid:
        into += tuple(stated.get("conditioning", ()))
    if not (into or not on_grid) or not out or not (inputs or stated.get("kind") in ("map", "rollout")):
        raise DataError(
            f"{data.path}: the command line learns maps from input fields to output fields, and the steps of "
            f"states; the file states the task {stated}. Give fields the roles 'input' and 'output', or "
            "'state'."
        )
    timed = {name for name in (*into, *out) if name in data.fields and data.fields[name].time}
    if not timed:
        return Task(into, out)
    if timed != set(out) or not timed <= set(into):
        raise DataError(
            f"{data.path}: {', '.join(sorted(timed))} with a time axis; a field that is stepped through time "
            f"must be both input and output, all outputs must be such, and other inputs without time, got "
            f"{', '.join(into)} -> {', '.join(out)}."
        )
    return Task(into, out, stepping)
