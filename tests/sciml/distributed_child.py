"""Trains three objectives in float64 and prints their losses as JSON; started by torchrun or alone.

torchrun --nproc-per-node 2 distributed_child.py DATA FOLDER [STEPS TO STOP AFTER]
"""

from __future__ import annotations

import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW

from sciml import processes
from sciml.dataset import open_dataset
from sciml.objective import Batch, Objective, Term
from sciml.rollout import Rollout
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.trainer import Trainer
from sciml.unroll import Frames, Unroll

STEPS = 50


class Nested(Objective):
    """Second derivatives by nested reverse mode, a term that every process computes whole, an odd batch."""

    def __init__(self) -> None:
        self.k = nn.Parameter(torch.ones((), dtype=torch.float64))

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        generator = streams.of("points").generator(step)
        return Batch({"x": torch.rand(7, 1, generator=generator, dtype=torch.float64)})

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        x = batch["x"].clone().requires_grad_()
        (du,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        (ddu,) = torch.autograd.grad(du.sum(), x, create_graph=True)
        walls = model(torch.tensor([[0.0], [1.0]], dtype=torch.float64))
        return {
            "residual": Term(self.k * ddu + math.pi**2 * torch.sin(math.pi * x), square=True),
            "walls": Term(walls, weight=10.0, square=True),
        }

    def parameters(self) -> list[nn.Parameter]:
        return [self.k]


Nested.__module__ = "distributed_child"  # the same in run.json, imported or run as a script


def convolution(channels: int) -> nn.Module:
    with Streams(0).of("init").applied():
        layers = nn.Conv2d(channels, 6, 3, padding=1), nn.GELU(), nn.Conv2d(6, 1, 3, padding=1)
        return nn.Sequential(*layers).double()


def train(path: Path, folder: Path, stop: int = STEPS) -> dict[str, list[Any]]:
    """Loss and validation of every step, for each objective; the loop is abandoned after ``stop`` steps."""
    torch.set_num_threads(1)
    data = open_dataset(path)
    with Streams(0).of("init").applied():
        network = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    supervised = Supervised(data.train, ["a"], ["u"], batch_size=5)  # 5 entries over 2 processes: 3 and 2
    pushforward = Rollout(
        data.train,
        ["w"],
        frames=Frames(window=2),
        unroll=Unroll(3, pushforward=True, noise=0.1),
        batch_size=5,
    )
    trainer = Trainer(STEPS, optimizer=partial(AdamW, lr=1e-2), clip=1.0, ema=0.9)
    losses: dict[str, list[Any]] = {}
    with processes.joined():
        for name, model, objective in (
            ("supervised", convolution(1), supervised),
            ("pushforward", convolution(2), pushforward),
            ("nested", network, Nested()),
        ):
            training = trainer.iterate(
                model,
                objective,
                validation=None if name == "nested" else objective,
                every=10,
                output=folder / name,
            )
            for step in training:
                if step.number == stop:
                    break
            losses[name] = [[row["loss"], row.get("validation")] for row in training.history]
        return losses if processes.rank() == 0 else {}


def main() -> None:
    losses = train(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
    if losses:
        print(json.dumps(losses))


if __name__ == "__main__":
    main()
