"""Networks on the problems by which their authors measure them, each with the plain network in its place."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import ExponentialLR

from sciml.description import describe
from sciml.optimizers import LBFGS
from sciml.pinns import Problem, Recipe, Stage, problems
from sciml.pinns.networks import (
    MLP,
    PIG,
    SPINN,
    Factorized,
    FourierFeatures,
    ModifiedMLP,
    PINNsFormer,
    PirateNet,
)
from sciml.pinns.recipe import NetworkFactory
from sciml.pinns.samplers import GridPoints, Sobol, Uniform


@dataclass(frozen=True)
class Acceptance:
    """A problem, the recipe with the network that is to prove itself, and the plain network in its place."""

    problem: Problem
    recipe: Recipe
    plain: NetworkFactory

    @property
    def baseline(self) -> Recipe:
        return replace(self.recipe, network=self.plain)


_DECAY = partial(ExponentialLR, gamma=0.9 ** (1 / 2000))
_ADAM = Recipe(
    stages=(Stage(partial(Adam, lr=1e-3), 20_000, Uniform(), _DECAY),), points=1000, dtype=torch.float32
)
_GATED = partial(ModifiedMLP, width=64, depth=3)
_FOURIER = partial(FourierFeatures, features=64, scale=2.0)
_PIRATE = partial(PirateNet, width=64, blocks=3)

ACCEPTANCE = {
    "factorization": Acceptance(
        problems.AllenCahn(),
        replace(_ADAM, network=partial(_FOURIER, network=partial(Factorized, network=_GATED))),
        partial(_FOURIER, network=_GATED),
    ),
    "pirate": Acceptance(
        problems.KortewegDeVries(),
        replace(_ADAM, network=partial(_FOURIER, network=partial(Factorized, network=_PIRATE))),
        partial(_FOURIER, network=_GATED),
    ),
    # As published conditions in the loss, a grid, L-BFGS; there 51 x 51 points and sizes of 512 and 256.
    "former": Acceptance(
        problems.Convection(),
        Recipe(
            network=partial(PINNsFormer, hidden=128, feedforward=64),
            stages=(Stage(partial(LBFGS, iterations=5), 2000, GridPoints()),),
            points=31**2,
            hard=False,
        ),
        partial(MLP, width=128, depth=3),
    ),
    "gaussians": Acceptance(
        problems.Helmholtz(),
        Recipe(
            network=partial(PIG, count=100, width=0.2),
            stages=(
                Stage(partial(Adam, lr=1e-2), 1000, Sobol(every=10)),
                Stage(partial(LBFGS, iterations=20), 200, Sobol(every=10)),
            ),
        ),
        partial(MLP, width=30, depth=3),
    ),
    "separable": Acceptance(
        problems.KleinGordonSquare(),
        replace(
            _ADAM,
            network=partial(SPINN, rank=32, network=_GATED),
            stages=(Stage(partial(Adam, lr=1e-3), 20_000, GridPoints(), _DECAY),),
            points=16**3,
        ),
        partial(ModifiedMLP, width=64, depth=3),
    ),
}


@pytest.mark.parametrize("name", ACCEPTANCE)
def test_both_recipes_can_be_told(name: str) -> None:
    case = ACCEPTANCE[name]
    told = [json.dumps(describe(recipe)) for recipe in (case.recipe, case.baseline)]
    assert told[0] != told[1] and case.problem.has_reference


@pytest.mark.slow
@pytest.mark.parametrize("name", ACCEPTANCE)
def test_the_recipe_solves_the_equation_a_little(name: str) -> None:
    """Few steps on few points bring the loss down: with the network of the recipe, whole."""
    case = ACCEPTANCE[name]
    small = replace(case.recipe, points=343).scaled(12)
    model, objective = small.model(case.problem, seed=0), small.objective(case.problem)
    losses = [step.row["loss"] for step in small.trainer(0).iterate(model, objective)]
    assert math.isfinite(losses[-1]) and min(losses[1:]) < losses[0]
