"""Trains on sets of points that change their size and writes its rows to FOLDER; by torchrun or alone."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from torch.optim import Adam

from sciml.pinns import Recipe, Stage, problems, solve
from sciml.pinns.networks import MLP
from sciml.pinns.samplers import PINNACLE, RAR
from sciml.run import Run

RECIPE = Recipe(
    network=partial(MLP, width=6, depth=1),
    stages=(
        Stage(partial(Adam, lr=1e-2), 6, RAR(every=1, added=0.05, pool=4)),
        Stage(partial(Adam, lr=1e-2), 6, PINNACLE(every=2, candidates=4, reference=8)),
    ),
    points=41,  # parts of different size
    hard=False,
)


def train(folder: Path) -> Run:
    """Twelve steps on convection."""
    return solve(problems.Convection(), recipe=RECIPE, output=folder)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
