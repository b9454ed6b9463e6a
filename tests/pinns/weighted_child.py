"""Trains with moving points and weights and writes its rows to FOLDER; started by torchrun or alone."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from torch.optim import Adam

from sciml.pinns import Recipe, Stage, problems, solve
from sciml.pinns.networks import MLP
from sciml.pinns.samplers import CausalR3
from sciml.pinns.weightings import Causal, GradientNorm, Together
from sciml.run import Run

RECIPE = Recipe(
    network=partial(MLP, width=6, depth=1),
    stages=(Stage(partial(Adam, lr=1e-2), 6, CausalR3()),),
    points=41,  # parts of different size
    hard=False,
    weights={"initial": 10.0},
    weighting=Together((Causal((0.1,), slabs=5), GradientNorm(every=2))),
)


def train(folder: Path) -> Run:
    """Six steps on convection."""
    return solve(problems.Convection(), recipe=RECIPE, output=folder)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
