"""The task of a dataset file with what the options of the command line change of it."""

from __future__ import annotations

import dataclasses
from typing import Any

from sciml.cli.options import DataOptions, RolloutOptions
from sciml.dataset import Dataset
from sciml.errors import ConfigError
from sciml.task import Task, task_of
from sciml.unroll import Stepping


def chosen_task(data: Dataset, options: DataOptions, rollout: RolloutOptions, stepping: Stepping) -> Task:
    """The fields asked for, else as the file states it; ``stepping`` with what ``rollout`` says of it.

    Raises
    ------
    DataError
        As `task_of`.
    ConfigError
        If options for roll-outs are given for a map.
    """
    task = task_of(data, options.inputs, options.outputs, changed(stepping, rollout))
    if task.stepping is None and rollout != RolloutOptions():
        raise ConfigError(
            f"{data.path} holds a map; --window, --bundle, --stride, --calls, --pushforward and --noise "
            "are for states in time."
        )
    return task


def changed(stepping: Stepping, options: RolloutOptions) -> Stepping:
    """With what the options say."""

    def given(*names: str) -> dict[str, Any]:
        return {name: getattr(options, name) for name in names if getattr(options, name) is not None}

    return Stepping(
        dataclasses.replace(stepping.frames, **given("window", "bundle", "stride")),
        dataclasses.replace(stepping.unroll, **given("calls", "pushforward", "noise")),
    )
