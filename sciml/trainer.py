"""Settings of a training, and its two entries: `Trainer.fit` and `Trainer.iterate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.objective import Objective
from sciml.run import Run, RunFolder
from sciml.streams import Streams
from sciml.training import Training, Validation

OptimizerFactory = Callable[[Iterable[Tensor]], Optimizer]
ScheduleFactory = Callable[[Optimizer], LRScheduler]

_ADAMW = partial(torch.optim.AdamW, lr=1e-3)


@describable
@dataclass(frozen=True)
class Phase:
    """``steps`` steps of one optimizer, as in Adam first, L-BFGS after it.

    ``optimizer`` and ``schedule`` are factories, such as ``partial(AdamW, lr=1e-3)`` and
    ``partial(OneCycleLR, max_lr=1e-3, total_steps=5000)``.  The schedule advances once per step.
    """

    optimizer: OptimizerFactory
    steps: int
    schedule: ScheduleFactory | None = None


@describable
@dataclass(frozen=True)
class EarlyStop:
    """Stop when ``metric`` has not improved for ``patience`` validations, and go back to the best weights."""

    patience: int
    metric: str = "relative_l2"


@describable
class Trainer:
    """Settings of a training; `fit` runs it, `iterate` hands the loop to the caller.

    Parameters
    ----------
    steps : int
        Optimizer steps; left out when ``optimizer`` is a list of phases, which bring their own.
    optimizer : factory or list of Phase
        Any torch optimizer, those that evaluate a closure several times (LBFGS) included.
    schedule : factory, optional
        Of a torch learning-rate schedule, advanced once per step.
    clip : float, optional
        Greatest norm of the whole gradient.
    accumulate : int
        Parts into which each batch is cut to save memory; the gradient is that of the whole batch.
    ema : float, optional
        Decay of a moving average of the weights, which is then what is validated and returned.
    precision : "float32" or "bf16"
        bf16 runs the model under autocast; spectral transforms stay in float32.
    seed : int
        Root of all random numbers of the training.  The model's initial weights are the caller's.

    Raises
    ------
    ConfigError
        For settings that contradict each other or are out of range.
    """

    def __init__(
        self,
        steps: int | None = None,
        *,
        optimizer: OptimizerFactory | Sequence[Phase] = _ADAMW,
        schedule: ScheduleFactory | None = None,
        clip: float | None = None,
        accumulate: int = 1,
        ema: float | None = None,
        precision: Literal["float32", "bf16"] = "float32",
        seed: int = 0,
    ) -> None:
        if isinstance(optimizer, Sequence):
            if steps is not None or schedule is not None:
                raise ConfigError("Trainer: phases bring their own steps and schedules; leave both out.")
            self.phases = tuple(optimizer)
        elif steps is None:
            raise ConfigError("Trainer: needs steps, or a list of phases as optimizer.")
        else:
            self.phases = (Phase(optimizer, steps, schedule),)
        if not self.phases or any(phase.steps < 1 for phase in self.phases):
            raise ConfigError(f"Trainer: every phase needs at least one step, got {self.phases}.")
        if accumulate < 1 or (ema is not None and not 0 < ema < 1) or (clip is not None and not clip > 0):
            raise ConfigError(
                "Trainer: needs accumulate >= 1, 0 < ema < 1 and clip > 0, got "
                f"{accumulate}, {ema} and {clip}."
            )
        if precision not in ("float32", "bf16"):
            raise ConfigError(f"Trainer: precision is 'float32' or 'bf16', got {precision!r}.")
        self.clip, self.accumulate, self.ema, self.precision = clip, accumulate, ema, precision
        self.steps = sum(phase.steps for phase in self.phases)
        self.streams = Streams(seed)

    def fit(
        self,
        model: nn.Module,
        objective: Objective,
        *,
        validation: Validation | None = None,
        every: int | None = None,
        stop: EarlyStop | None = None,
        output: Path | str | None = None,
        force: bool = False,
    ) -> Run:
        """Train ``model`` in place, on the device where it is, and return the run.

        Parameters
        ----------
        validation : Objective or callable, optional
            Judged every ``every`` steps; a callable maps the model to a dictionary of numbers.
        every : int, optional
            Steps between validations and checkpoints; a twentieth of all steps by default.
        output : path, optional
            Folder of the run.  An unfinished run with the same settings is resumed from its last checkpoint,
            to the same bits; a finished one is returned as it is.  Without it nothing is written.
        force : bool
            Start anew whatever the folder holds.

        Raises
        ------
        ConfigError, RunLockedError
            If the folder holds a run with other settings, or another process holds it.
        DivergedError
            If the loss is no longer finite.
        Interrupted
            (a SystemExit) after a signal, once the checkpoint is written.
        """
        training = self.iterate(
            model,
            objective,
            validation=validation,
            every=every,
            stop=stop,
            output=output,
            force=force,
        )
        for _ in training:
            pass
        return training.run

    def iterate(
        self,
        model: nn.Module,
        objective: Objective,
        *,
        validation: Validation | None = None,
        every: int | None = None,
        stop: EarlyStop | None = None,
        output: Path | str | None = None,
        force: bool = False,
    ) -> Training:
        """The loop of `fit` as an iterator over `Step`, for those who want to own it.

        Its `run` is complete when the iterator is exhausted.  A loop that is left early writes no checkpoint
        of its last steps.
        """
        if every is not None and every < 1:
            raise ConfigError(f"Trainer: every must be at least 1 step, got {every}.")
        if stop is not None and validation is None:
            raise ConfigError("Trainer: stopping early needs a validation to watch.")
        every = every or max(1, self.steps // 20)
        folder = None if output is None else RunFolder(output)
        return Training(self, model, objective, validation, every, stop, folder, force)
