"""Augmentation while training: every step changes the samples that it draws."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn

from sciml.datasets.augmentation.augmentation import Augmentation, Problem, Tensors
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.objective import Batch, Objective, Term
from sciml.point_surrogate import PointSurrogate
from sciml.rollout import Rollout
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.surrogate import Surrogate


@describable
class Augmented(Objective):
    """A supervised task or a roll-out on a grid whose training samples an augmentation changes.

    What changes in step n is a pure function of (seed, n): a resumed run goes on with the same bits, and
    processes agree.  Everything else is the task's own: the normalization (of the samples as they are), the
    loss, the evaluation on samples that nobody changed, the surrogate.

    Parameters
    ----------
    task : Supervised or Rollout
    augmentation : Augmentation
    share : float
        The probability with which a sample is changed; the others stay as they are.

    Raises
    ------
    ConfigError
        If the share is out of range.
    DataError
        If the augmentation does not fit the fields of the task.

    Examples
    --------
    >>> import tempfile
    >>> from sciml.dataset import Field, write_dataset
    >>> from sciml.datasets.heat import Heat
    >>> from sciml.datasets.augmentation import Shift
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     heat, counts = Heat(resolution=16, rank=1, frames=3), {"train": 4, "valid": 0, "test": 0}
    ...     data = heat.make(folder + "/u.h5", workers=1, **counts)
    ...     task = Augmented(Rollout(data.train, ["u"], batch_size=4), Shift())
    ...     batch = task.draw(0, nn.Identity(), Streams(0))
    >>> tuple(batch["x"].shape), tuple(batch["y"].shape)
    ((4, 1, 1, 16), (4, 1, 1, 16))
    """

    def __init__(self, task: Supervised | Rollout, augmentation: Augmentation, *, share: float = 1.0) -> None:
        if not 0 <= share <= 1:
            raise ConfigError(f"Augmented: share is a probability, got {share}.")
        self.task, self.augmentation, self.share = task, augmentation, share
        self.problem = _problem(task)
        augmentation.check(self.problem)

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        batch = self.task.draw(step, model, streams)
        generator = streams.of("augmentation").generator(step)
        count = len(batch["x"])
        rows = (torch.rand(count, generator=generator) < self.share).nonzero().flatten()
        if len(rows) == 0:
            return batch
        changed = self._changed({name: tensor[rows] for name, tensor in batch.tensors.items()}, generator)
        tensors = dict(batch.tensors)
        for name, values in changed.items():
            tensors[name] = tensors[name].index_copy(0, rows, values)
        return Batch(tensors, batch.shared)

    def _changed(self, batch: Tensors, generator: torch.Generator) -> dict[str, Tensor]:
        """The tensors of a batch that an augmentation may change, changed."""
        layout, fields, rank = _layout(self.task), self.problem.fields, self.problem.grid.rank
        named: dict[str, Tensor] = {}
        for key, names in layout.items():
            sizes = [fields[name].components for name in names]
            for name, part in zip(names, torch.split(batch[key], sizes, -rank - 1), strict=True):
                # Of a roll-out windows come first, then what follows; a task may have its input as output.
                follows = name in named and isinstance(self.task, Rollout)
                named[name] = torch.cat([named[name], part], 1) if follows else part
        numbers = _numbers(self.task) if "parameters" in batch else []
        named |= {name: batch["parameters"][:, i] for i, name in enumerate(numbers)}
        new = self.augmentation.apply(named, self._timed(batch), generator)
        if isinstance(self.task, Rollout):
            window = batch["x"].shape[1]
            pieces = {"x": slice(None, window), "y": slice(window, None)}
        else:
            pieces = {}
        found = {
            key: torch.cat(
                [new[name][:, pieces[key]] if key in pieces else new[name] for name in names], -rank - 1
            )
            for key, names in layout.items()
        }
        return found | ({"parameters": torch.stack([new[name] for name in numbers], 1)} if numbers else {})

    def _timed(self, batch: Tensors) -> Problem:
        """The problem with the times of the frames in a batch, from the first one."""
        if not isinstance(self.task, Rollout):
            return self.problem
        frames = batch["x"].shape[1] + batch["y"].shape[1]
        return dataclasses.replace(
            self.problem, times=self.task.evolution.dt * np.arange(frames, dtype=np.float64)
        )

    # Everything else is the task's.

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        return self.task.terms(model, batch)

    def check(self, model: nn.Module) -> None:
        self.task.check(model)

    def evaluate(self, model: nn.Module, streams: Streams) -> dict[str, float]:
        return self.task.evaluate(model, streams)

    def surrogate(self, model: nn.Module) -> Surrogate | PointSurrogate | None:
        return self.task.surrogate(model)


def _layout(task: Supervised | Rollout) -> dict[str, list[str]]:
    """The fields in the channels of each tensor of a batch."""
    if isinstance(task, Rollout):
        return {"x": task.state, "y": task.state} | ({"inputs": task.inputs} if task.inputs else {})
    numbers = _numbers(task)
    return {"x": [name for name in task.inputs if name not in numbers], "y": task.outputs}


def _numbers(task: Supervised | Rollout) -> list[str]:
    """The parameters in a batch, in the order of their columns."""
    known = task.dataset.parameter_names
    return list(known) if isinstance(task, Rollout) else [name for name in task.inputs if name in known]


def _problem(task: Supervised | Rollout) -> Problem:
    """That of the dataset, with the fields that the task learns from."""
    whole = Problem.of(task.dataset)
    used = {name for names in _layout(task).values() for name in names} | set(_numbers(task))
    foreign = [name for name in used if whole.fields[name].on == "own"]
    if foreign:
        raise ConfigError(f"Augmented: {foreign[0]!r} lives on points of its own, which nothing here moves.")
    return dataclasses.replace(whole, fields={n: f for n, f in whole.fields.items() if n in used})
