"""Weightings on the problems by which their authors measure them; the baseline's weights stay as they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import ExponentialLR

from sciml.optimizers import SelfScaledBroyden
from sciml.pinns import Problem, Recipe, Stage, problems
from sciml.pinns.networks import MLP, FourierFeatures
from sciml.pinns.samplers import VRBA, Sobol, Uniform
from sciml.pinns.weightings import NTK, Exponential, Fixed, ReLoBRaLo, ResidualAttention, SelfAdaptive


@dataclass(frozen=True)
class Acceptance:
    """A problem, the recipe with the weighting that is to prove itself, and what it is set beside."""

    problem: Problem
    recipe: Recipe
    baseline: Recipe


def beside_fixed(problem: Problem, recipe: Recipe) -> Acceptance:
    return Acceptance(problem, recipe, replace(recipe, weighting=Fixed()))


_FIXED = Sobol(every=10**9)
_DECAY = partial(ExponentialLR, gamma=0.9 ** (1 / 2000))
_SOFT = Recipe(
    network=partial(MLP, width=64, depth=4),
    stages=(Stage(partial(Adam, lr=1e-3), 20_000, Uniform(), _DECAY),),
    points=1000,
    hard=False,
    dtype=torch.float32,
)
_ADAM = Stage(partial(Adam, lr=5e-3, betas=(0.99, 0.999)), 10_000, _FIXED)
_ALLEN_CAHN = replace(_SOFT, points=5000, weights={"initial": 100.0}, stages=(_ADAM,))
_CURVED = Recipe(
    stages=(
        Stage(partial(Adam, lr=5e-3, betas=(0.99, 0.999), eps=1e-20), 1000, Sobol(every=10)),
        Stage(partial(SelfScaledBroyden, iterations=50), 400, Sobol(every=10)),
    ),
    points=2000,
)

ACCEPTANCE = {
    "ntk": beside_fixed(problems.Wave(), replace(_SOFT, weighting=NTK(every=100))),
    "relobralo": beside_fixed(problems.Helmholtz(), replace(_SOFT, weighting=ReLoBRaLo())),
    "self-adaptive": beside_fixed(
        problems.AllenCahn(), replace(_ALLEN_CAHN, weighting=SelfAdaptive(until=10_000))
    ),
    # Conditions built in: the weights of the equation have nothing to be balanced with.
    "rba": beside_fixed(
        problems.AllenCahn(),
        replace(
            _ALLEN_CAHN,
            network=partial(FourierFeatures, features=32, network=partial(MLP, width=64, depth=4)),
            hard=True,
            weights={},
            weighting=ResidualAttention(),
        ),
    ),
    "vrba": beside_fixed(
        problems.Burgers(),
        replace(_CURVED, weighting=ResidualAttention(Exponential(), memory=0.1, rate=0.9)),
    ),
    "vrba-points": Acceptance(
        problems.Burgers(),
        replace(_CURVED, stages=(_CURVED.stages[0], replace(_CURVED.stages[1], sampler=VRBA(every=10)))),
        _CURVED,
    ),
}
