"""A contest of milliseconds, which child processes import: learn ``y = 2 x`` from noise-free numbers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from sciml.comparison.contest import Contest, Judgement, Plan, Reference
from sciml.objective import Batch, Objective, Term
from sciml.run import Run
from sciml.streams import Streams
from sciml.trainer import Trainer


@dataclass(frozen=True)
class Line:
    """``w x`` with a random w: what competes; ``trouble`` is what happens at step 13."""

    name: str
    rate: float = 0.1
    trouble: str = ""
    mark: Path | None = None

    def description(self) -> dict[str, Any]:
        return {"rate": self.rate}


class Fit(Objective):
    drawn: ClassVar[list[int]] = []

    def __init__(self, entry: Line) -> None:
        self.entry = entry

    def description(self) -> dict[str, Any]:
        return {"name": self.entry.name}

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        Fit.drawn.append(step)
        if step == 13 and self.entry.trouble:
            self.stumble()
        x = torch.randn(8, 1, generator=streams.of("points").generator(step))
        return Batch({"x": x * (torch.nan if self.entry.trouble == "nan" else 1.0)})

    def stumble(self) -> None:
        if self.entry.trouble == "raise":
            raise ArithmeticError("the entry stumbles")
        # As kill -9 does to a sweep in the middle of a unit, once.
        if self.entry.trouble == "kill the sweep" and self.entry.mark and not self.entry.mark.exists():
            self.entry.mark.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(0.5)  # until this process hears of it, or the few steps left would be done before

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        return {"y": Term(model(batch["x"]) - 2 * batch["x"], square=True)}


@dataclass
class Lines(Contest[Line]):
    """``steps`` and the like are the sweep's; ``opened`` counts preparations."""

    label: str = "lines/v1"
    opened: list[str] = field(default_factory=list)
    entry_type = Line

    @property
    def name(self) -> str:
        return self.label

    def describe(self) -> dict[str, Any]:
        return {"name": self.label, "samples": 3}

    def prepare(self, progress: Any = None) -> None:
        self.opened.append(self.label)

    def plan(
        self,
        entry: Line,
        *,
        seed: int,
        steps: int,
        samples: int | None = None,
        device: torch.device | str = "cpu",
    ) -> Plan:
        trainer = Trainer(steps, optimizer=_Descent(entry.rate), seed=seed)
        with Streams(seed).of("init").applied():
            model = nn.Linear(1, 1, bias=False)
        fit = Fit(entry)
        return Plan(model.to(device), trainer, fit, fit, every=5)

    def judge(self, run: Run) -> Judgement:
        (weight,) = run.model.parameters()
        error = abs(weight.item() - 2) / 2
        return Judgement("test", [0, 1, 2], {"relative_l2": [error, 2 * error, float("nan")]}, 1e-6)

    def references(self) -> Iterator[Reference]:
        yield Reference("zero", "trivial", {"relative_l2": [1.0, 1.0, 1.0], "rmse": [2.0, 3.0, 4.0]})
        yield Reference("exact", "classical", {"relative_l2": [0.0, 0.0, 0.0]}, 1e-3, {"resolution": 3})


class _Descent:
    """`torch.optim.SGD` of a rate; an object, so that `describe` finds no lambda."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=self.rate)
