"""What is learned from a dataset file: a map between fields, or the step of a state through time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sciml.cli.options import RolloutOptions
from sciml.dataset import Dataset
from sciml.errors import ConfigError, DataError, nearest
from sciml.presets import Stepping
from sciml.rollout import Rollout
from sciml.supervised import Supervised


@dataclass(frozen=True)
class Task:
    """Input and output fields; with ``stepping`` the outputs are a state that goes in as well."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    stepping: Stepping | None = None

    def objective(self, data: Dataset, *, batch_size: int, workers: int) -> Supervised | Rollout:
        """What a training on these samples minimizes."""
        if self.stepping is None:
            sides = list(self.inputs), list(self.outputs)
            return Supervised(data, *sides, batch_size=batch_size, workers=workers)
        fixed = tuple(name for name in self.inputs if name not in self.outputs)
        return Rollout(
            data,
            list(self.outputs),
            frames=dataclasses.replace(self.stepping.frames, inputs=fixed),
            unroll=self.stepping.unroll,
            batch_size=batch_size,
            workers=workers,
        )


def task_of(
    data: Dataset,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    *,
    stepping: Stepping = Stepping(),  # noqa: B008 - frozen
    options: RolloutOptions = RolloutOptions(),  # noqa: B008
) -> Task:
    """The task with the fields asked for, else as the file states it.

    A state is a field with a time axis among inputs and outputs; ``stepping`` and what ``options`` change of
    it are for those.

    Raises
    ------
    DataError
        If the file states no task, or one that is neither kind, or lacks a field.
    ConfigError
        If options for roll-outs are given for a map.
    """
    stated, on_grid = data.attributes.get("task", {}), data.kind == "grid"
    # On points a number goes in beside the fields.
    known = [*data.fields, *(() if on_grid else data.parameter_names)]
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
        if options != RolloutOptions():
            raise ConfigError(
                f"{data.path} holds a map; --window, --bundle, --stride, --calls, --pushforward and --noise "
                "are for states in time."
            )
        return Task(into, out)
    if timed != set(out) or not timed <= set(into):
        raise DataError(
            f"{data.path}: {', '.join(sorted(timed))} with a time axis; a field that is stepped through time "
            f"must be both input and output, all outputs must be such, and other inputs without time, got "
            f"{', '.join(into)} -> {', '.join(out)}."
        )
    return Task(into, out, changed(stepping, options))


def changed(stepping: Stepping, options: RolloutOptions) -> Stepping:
    """With what the options say."""

    def given(*names: str) -> dict[str, Any]:
        return {name: getattr(options, name) for name in names if getattr(options, name) is not None}

    return Stepping(
        dataclasses.replace(stepping.frames, **given("window", "bundle", "stride")),
        dataclasses.replace(stepping.unroll, **given("calls", "pushforward", "noise")),
    )
