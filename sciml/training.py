"""The one training loop, its state, and how it is saved and taken up again."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
import warnings
from collections.abc import Callable, Generator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sciml import processes
from sciml.calling import evaluating
from sciml.checkpoints import to_device
from sciml.closure import Closure
from sciml.description import describe
from sciml.errors import CheckpointError, ConfigError, DivergedError
from sciml.objective import Batch, Objective
from sciml.run import FORMAT, Run, RunFolder, versions
from sciml.signals import CTRL_C, REQUEUE, Interrupted, StopSignals

if TYPE_CHECKING:
    from sciml.trainer import EarlyStop, Trainer

Validation = Objective | Callable[[nn.Module], dict[str, float]]


@dataclass(frozen=True)
class Step:
    """One finished optimizer step, as the loop reports it."""

    number: int
    total: int
    loss: float
    row: dict[str, Any]


@dataclass
class Training:
    """One training in progress; made by `Trainer.iterate`."""

    trainer: Trainer
    model: nn.Module
    objective: Objective
    validation: Validation | None
    every: int
    stop: EarlyStop | None
    folder: RunFolder | None
    force: bool
    step: int = 0
    finished: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._seconds = self._waited = 0.0
        self._best = math.inf
        self._bad = 0
        self._best_weights: dict[str, Tensor] | None = None
        self._average: torch.optim.swa_utils.AveragedModel | None = None
        if self.trainer.ema is not None:
            average = torch.optim.swa_utils.get_ema_multi_avg_fn(self.trainer.ema)
            self._average = torch.optim.swa_utils.AveragedModel(self.model, multi_avg_fn=average)
        self._enter_phase(0)

    # The loop.

    def __iter__(self) -> Generator[Step, None, None]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(processes.joined())
            processes.same_everywhere([*self.model.state_dict().values(), *self.objective.parameters()])
            if self.folder is None:
                signals = None
                self.objective.check(self.model)
            else:
                self._open(self.folder, stack)
                signals = stack.enter_context(StopSignals())
            while not self.finished:
                yield self._advance()
                if signals is not None and not self.finished:
                    self._stop_if_told(signals)

    def _stop_if_told(self, signals: StopSignals) -> None:
        """All processes stop after the same step, whichever of them got the signal."""
        code = signals.code
        if processes.count() > 1:
            codes = processes.add_up(
                torch.tensor([code == REQUEUE, code == CTRL_C], device=self._device).int()
            )
            code = REQUEUE if codes[0] else CTRL_C if codes[1] else None
        if code is not None:
            self._save()
            raise Interrupted(code)

    def _advance(self) -> Step:
        started = time.perf_counter()
        if (phase := self._phase_at(self.step)) != self._phase:
            self._enter_phase(phase)
        streams, trainer = self.trainer.streams, self.trainer
        self.model.train()
        with streams.of("model").applied(self.step):  # dropout and the like draw from the global state
            asked = time.perf_counter()
            batch = self.objective.draw(self.step, self.model, streams)
            batch = processes.own_part(batch).to(self._device)
            self._waited += time.perf_counter() - asked
            loss, terms = self._optimize(batch)
            terms |= self.objective.facts()
        rate = self._optimizer.param_groups[0]["lr"]
        if self._schedule is not None:
            self._schedule.step()
        if self._average is not None:
            self._average.update_parameters(self.model)
        self.step += 1
        if not math.isfinite(loss):
            raise self._diverged(loss)
        row: dict[str, Any] = {"step": self.step, "loss": loss, **terms, "lr": float(rate)}
        if (why := getattr(self._optimizer, "stopped", None)) is not None:
            row["stopped"] = why
        self.finished = self.step == trainer.steps
        due = self.finished or self.step % self.every == 0
        if due and self.validation is not None:
            row["validation"] = self._validate()
        self._seconds += time.perf_counter() - started
        row["seconds"], row["waited"] = round(self._seconds, 3), round(self._waited, 3)
        self.history.append(row)
        if self.folder is not None and processes.rank() == 0:
            self.folder.append(row)
        if self.finished:
            self._finish()
        elif due:
            started = time.perf_counter()
            self._save()
            self._seconds += time.perf_counter() - started  # the next row shows it
        return Step(self.step, trainer.steps, loss, row)

    def _optimize(self, batch: Batch) -> tuple[float, dict[str, Any]]:
        """One step of the optimizer, which may ask the closure several times about the same batch.

        Returns the loss before the step and, if there are several, its terms; those that have weights also
        without them, under ``unweighted``.
        """
        count = self.trainer.accumulate
        parts = list(batch.split(count)) if count > 1 else [batch]
        autocast = torch.autocast(self._device.type, torch.bfloat16, enabled=self.trainer.precision == "bf16")

        closure = Closure(
            self._optimizer, self.objective, self.model, parts, self._parameters, autocast, self.trainer.clip
        )
        loss = float(self._optimizer.step(closure))
        return loss, closure.row

    def _validate(self) -> dict[str, float]:
        assert self.validation is not None
        model = self._judged
        with evaluating(model):
            if isinstance(self.validation, Objective):
                scores = self.validation.evaluate(model, self.trainer.streams)
            else:
                scores = processes.tell(self.validation(model) if processes.rank() == 0 else None)
        if self.stop is not None:
            self._watch(scores)
        return scores

    def _watch(self, scores: dict[str, float]) -> None:
        assert self.stop is not None
        if self.stop.metric not in scores:
            raise ConfigError(
                f"EarlyStop: the validation has no metric {self.stop.metric!r}; it has {', '.join(scores)}."
            )
        score = scores[self.stop.metric]
        if score < self._best:
            self._best, self._bad = score, 0
            self._best_weights = deepcopy(self._judged.state_dict())
        else:
            self._bad += 1
        self.finished = self.finished or self._bad >= self.stop.patience

    # State.

    @property
    def run(self) -> Run:
        """The run so far."""
        folder = self.folder.path if self.folder is not None else None
        return Run(self._judged, self.objective, self.history, folder)

    @property
    def _judged(self) -> nn.Module:
        return self._average.module if self._average is not None else self.model

    @property
    def _device(self) -> torch.device:
        return next(iter(self._parameters)).device

    def _phase_at(self, step: int) -> int:
        ends = accumulate(phase.steps for phase in self.trainer.phases)
        return next(index for index, end in enumerate(ends) if step < end)

    def _enter_phase(self, index: int) -> None:
        phase = self.trainer.phases[index]
        own = list(self.objective.parameters())
        self._parameters = [p for p in [*self.model.parameters(), *own] if p.requires_grad]
        if not self._parameters:
            raise ConfigError("Trainer: model and objective have no trainable parameters.")
        self._phase = index
        self._optimizer = phase.optimizer(self._parameters)
        self._schedule = phase.schedule(self._optimizer) if phase.schedule is not None else None

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs to arrive at the same bits."""
        return {
            "step": self.step,
            "finished": self.finished,
            "phase": self._phase,
            "seconds": self._seconds,
            "waited": self._waited,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "objective": self.objective.state_dict(),
            "parameters": [p.detach() for p in self.objective.parameters()],
            "early_stop": {"best": self._best, "bad": self._bad, "weights": self._best_weights},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the training where ``state`` left it.

        Raises
        ------
        CheckpointError
            If the state is that of another model or optimizer.
        """
        device = self._device
        try:
            self.objective.load_state_dict(to_device(state["objective"], device))
            self.model.load_state_dict(state["model"])
            with torch.no_grad():
                for parameter, saved in zip(self.objective.parameters(), state["parameters"], strict=True):
                    parameter.copy_(saved)
            self._enter_phase(state["phase"])
            self._optimizer.load_state_dict(state["optimizer"])
            if self._schedule is not None:
                self._schedule.load_state_dict(state["schedule"])
            if self._average is not None:
                self._average.load_state_dict(state["average"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"the checkpoint does not fit this model and optimizer: {error}") from error
        self.step, self.finished, self._seconds = state["step"], state["finished"], state["seconds"]
        self._waited = state.get("waited", 0.0)
        stop = state["early_stop"]
        self._best, self._bad, self._best_weights = stop["best"], stop["bad"], stop["weights"]

    # Files.

    def _settings(self) -> dict[str, Any]:
        validation: Any = self.validation
        if validation is not None and not isinstance(validation, Objective):
            validation = type(validation).__name__  # any callable may judge, a lambda too
        model = describe(self.model)
        if model["arguments"] is None:  # a user's class: its printed form tells widths, rates, activations
            model["structure"] = hashlib.sha256(repr(self.model).encode()).hexdigest()[:16]
        return {
            "trainer": describe(self.trainer),
            "model": model,
            "objective": describe(self.objective),
            "validation": describe(validation),
            "every": self.every,
            "stop": describe(self.stop),
        }

    def _open(self, folder: RunFolder, stack: contextlib.ExitStack) -> None:
        """Process 0 locks the folder, which goes with ``stack``, and reads; all resume or begin."""
        state, problem = None, None
        if processes.rank() == 0:
            try:
                state = self._claim(folder, stack)
            except Exception as error:  # the others must hear of it, or they would wait for ever
                problem = error
        state, problem = processes.tell((state, problem))
        if problem is not None:
            raise problem
        if state is not None:
            self.load_state_dict(state)
        if processes.rank() == 0:
            self.history = folder.rewind(self.step)
            if self.finished:
                self._complete(folder)
        self.history = processes.tell(self.history)

    def _claim(self, folder: RunFolder, stack: contextlib.ExitStack) -> dict[str, Any] | None:
        """Lock, compare settings, and return the state to go on from, if there is one."""
        stack.callback(folder.release)
        folder.acquire()
        if self.force:
            folder.clear()
        settings = self._settings()
        record = folder.agree(settings)
        found = folder.checkpoints.load()
        if found is None:
            self.objective.check(self.model)
        if record is None:
            record = {"format": FORMAT, "status": "running", "settings": settings, "versions": versions()}
            folder.write(record)
        elif record["versions"]["threads"] != torch.get_num_threads():
            warnings.warn(
                f"{folder.path} was begun with {record['versions']['threads']} threads and goes on with "
                f"{torch.get_num_threads()}: sums round differently, so the bits will not be those of an "
                "unbroken run.",
                stacklevel=2,
            )
        if found is None:
            self._save()  # the initial weights are the caller's, who may not make the same ones again
            return None
        return found[1]

    def _save(self) -> None:
        if self.folder is not None and processes.rank() == 0:
            self.folder.checkpoints.save(self.step, self.state_dict())

    def _finish(self) -> None:
        if self._best_weights is not None:
            self._judged.load_state_dict(self._best_weights)
        self._save()
        if self.folder is not None and processes.rank() == 0:
            self._complete(self.folder)

    def _complete(self, folder: RunFolder) -> None:
        """The last files of a run; repeated if the process died between the final checkpoint and them."""
        record = folder.read()
        assert record is not None
        if record["status"] == "finished":
            return
        surrogate = self.objective.surrogate(self._judged)
        if surrogate is not None:
            surrogate.save(folder.path / "surrogate")
        folder.write({**record, "status": "finished", "result": self.history[-1]})

    def _diverged(self, loss: float) -> DivergedError:
        last = (
            f"the last finite loss was {self.history[-1]['loss']:.4g}"
            if self.history
            else "it is the first step"
        )
        saved = ""
        if self.folder is not None and (entries := self.folder.checkpoints.entries()):
            saved = f" The checkpoint of step {entries[-1]['step']} in {self.folder.path} is intact."
        return DivergedError(
            f"Trainer: the loss is {loss} at step {self.step}; {last}. Lower the learning rate, or clip "
            f"gradients with clip=1.0.{saved}"
        )
