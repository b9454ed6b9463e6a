"""What methods of the field are for: each on the problem by which its authors measure it, and a baseline.

`CLAIMS` has them by name; `tools/pinn_methods.py` measures them.  Method and baseline differ in the method
alone, and get equally many seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import ExponentialLR

from sciml.optimizers import (
    LBFGS,
    EnergyNaturalGradient,
    MultiAdam,
    Muon,
    NystromNewtonCG,
    SelfScaledBroyden,
    soap,
)
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
from sciml.pinns.samplers import (
    PINNACLE,
    R3,
    RAD,
    RAR,
    RARD,
    VRBA,
    CausalR3,
    GridPoints,
    Sampler,
    Sobol,
    Uniform,
)
from sciml.pinns.weightings import (
    NTK,
    Causal,
    Exponential,
    Fixed,
    ReLoBRaLo,
    ResidualAttention,
    SelfAdaptive,
    Weighting,
)
from sciml.trainer import OptimizerFactory


@dataclass(frozen=True)
class Claim:
    """A method on a problem, and what it is set beside.

    Parameters
    ----------
    problem : Problem
    recipe, baseline : Recipe
        With and without the method.
    seconds : float
        Of training, of a processor, for both.  The last stage goes on until they are over.
    windows : int
        Of time, in which the method solves one after the other: its steps decide how long it takes, and the
        baseline gets as long.
    ladder : tuple of Problem
        From whose solutions it climbs to the problem, likewise.
    """

    problem: Problem
    recipe: Recipe
    baseline: Recipe
    seconds: float = 60.0
    windows: int = 1
    ladder: tuple[Problem, ...] = ()


_FIXED = Sobol(every=10**9)
_DECAY = partial(ExponentialLR, gamma=0.9 ** (1 / 2000))
_ADAM = partial(Adam, lr=1e-3)
_START = partial(Adam, lr=5e-3, betas=(0.99, 0.999), eps=1e-20)
_GATED = partial(ModifiedMLP, width=64, depth=3)
_FOURIER = partial(FourierFeatures, features=64, scale=2.0)
_PIRATE = partial(PirateNet, width=64, blocks=3)

_SOFT = Recipe(
    network=partial(MLP, width=64, depth=4),
    stages=(Stage(_ADAM, 20_000, Uniform(), _DECAY),),
    points=1000,
    hard=False,
    dtype=torch.float32,
)
_HARD = Recipe(stages=(Stage(_ADAM, 20_000, Uniform(), _DECAY),), points=1000, dtype=torch.float32)
_ALLEN_CAHN = replace(
    _SOFT,
    weights={"initial": 100.0},
    stages=(Stage(partial(Adam, lr=5e-3, betas=(0.99, 0.999)), 10_000, _FIXED),),
)
# Conditions built in: the weights of the equation have nothing to be balanced with.
_BUILT_IN = replace(
    _ALLEN_CAHN,
    network=partial(FourierFeatures, features=32, network=partial(MLP, width=64, depth=4)),
    hard=True,
    weights={},
)
_CURVED = Recipe(
    stages=(
        Stage(_START, 1000, Sobol(every=10)),
        Stage(partial(SelfScaledBroyden, iterations=50), 400, Sobol(every=10)),
    ),
    points=1000,
)
# As the authors of NystromNewtonCG: soft conditions, fixed points, float64, L-BFGS before it.
_LATE = Recipe(
    network=partial(MLP, width=50, depth=3),
    stages=(Stage(_ADAM, 1000, _FIXED), Stage(partial(LBFGS, iterations=20), 100, _FIXED)),
    points=1000,
    hard=False,
)
_FEW = Recipe(network=partial(MLP, width=32, depth=2), stages=(Stage(_ADAM, 20_000, Uniform()),), points=1000)


def _weighted(problem: Problem, recipe: Recipe, weighting: Weighting) -> Claim:
    return Claim(problem, replace(recipe, weighting=weighting), replace(recipe, weighting=Fixed()))


def _sampled(problem: Problem, recipe: Recipe, sampler: Sampler) -> Claim:
    """Other points in the last stage; beside points that are drawn uniformly and as often."""
    *first, last = recipe.stages
    return Claim(problem, replace(recipe, stages=(*first, replace(last, sampler=sampler))), recipe)


def _network(problem: Problem, recipe: Recipe, plain: NetworkFactory) -> Claim:
    return Claim(problem, recipe, replace(recipe, network=plain))


def _optimized(problem: Problem, recipe: Recipe, optimizer: OptimizerFactory) -> Claim:
    *first, last = recipe.stages
    return Claim(problem, replace(recipe, stages=(*first, replace(last, optimizer=optimizer))), recipe)


_REDRAWN = replace(_SOFT, stages=(Stage(_ADAM, 20_000, Uniform(every=500), _DECAY),), points=300)
_MATRICES = replace(_HARD, network=partial(_FOURIER, network=_GATED))

CLAIMS: dict[str, Claim] = {
    # Points: few, so that it matters where they are.
    "rar": _sampled(problems.Burgers(), _REDRAWN, RAR()),
    "rar-d": _sampled(problems.Burgers(), _REDRAWN, RARD()),
    "rad": _sampled(problems.Burgers(), _REDRAWN, RAD(every=500)),
    "r3": _sampled(problems.Convection(), replace(_REDRAWN, points=1000), R3()),
    "causal-r3": _sampled(problems.Convection(), replace(_REDRAWN, points=1000), CausalR3()),
    "pinnacle": _sampled(problems.Burgers(), _REDRAWN, PINNACLE()),
    "vrba-points": _sampled(problems.Burgers(), _CURVED, VRBA(every=10)),
    # Weights.
    "causal": _weighted(problems.AllenCahn(), replace(_ALLEN_CAHN, hard=True, weights={}), Causal()),
    "ntk": _weighted(problems.Wave(), _SOFT, NTK(every=100)),
    "relobralo": _weighted(problems.Helmholtz(), _SOFT, ReLoBRaLo()),
    "self-adaptive": _weighted(problems.AllenCahn(), _ALLEN_CAHN, SelfAdaptive(until=10_000)),
    "rba": _weighted(problems.AllenCahn(), _BUILT_IN, ResidualAttention()),
    "vrba": _weighted(problems.AllenCahn(), _BUILT_IN, ResidualAttention(Exponential())),
    # Not by its authors, who give this optimizer the points of `vrba-points`.
    "vrba-floor": _weighted(
        problems.Burgers(), _CURVED, ResidualAttention(Exponential(), memory=0.1, rate=0.9, floor=0.5)
    ),
    # Networks.
    "factorization": _network(
        problems.AllenCahn(),
        replace(_HARD, network=partial(_FOURIER, network=partial(Factorized, network=_GATED))),
        partial(_FOURIER, network=_GATED),
    ),
    "pirate": _network(
        problems.KortewegDeVries(),
        replace(_HARD, network=partial(_FOURIER, network=partial(Factorized, network=_PIRATE))),
        partial(_FOURIER, network=_GATED),
    ),
    # As published conditions in the loss, a grid, L-BFGS; there 51 x 51 points and sizes of 512 and 256.
    "former": _network(
        problems.Convection(),
        Recipe(
            network=partial(PINNsFormer, hidden=128, feedforward=64),
            stages=(Stage(partial(LBFGS, iterations=5), 2000, GridPoints()),),
            points=31**2,
            hard=False,
        ),
        partial(MLP, width=128, depth=3),
    ),
    "gaussians": _network(
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
    "separable": _network(
        problems.KleinGordonSquare(),
        replace(
            _HARD,
            network=partial(SPINN, rank=32, network=_GATED),
            stages=(Stage(_ADAM, 20_000, GridPoints(), _DECAY),),
            points=16**3,
        ),
        partial(ModifiedMLP, width=64, depth=3),
    ),
    # Optimizers.
    "multi-adam": _optimized(
        problems.Helmholtz(), _SOFT, partial(MultiAdam, lr=1e-3, groups=(("equation",),))
    ),
    "newton-cg": Claim(
        problems.Convection(40.0),
        replace(_LATE, stages=(*_LATE.stages, Stage(partial(NystromNewtonCG, iterations=1), 1000, _FIXED))),
        _LATE,
    ),
    "natural-gradient": _optimized(
        problems.PoissonOfSines(dim=2), _FEW, partial(EnergyNaturalGradient, iterations=1)
    ),
    "muon": _optimized(problems.AllenCahn(), _MATRICES, partial(Muon, lr=0.01)),
    "soap": _optimized(problems.AllenCahn(), _MATRICES, partial(soap, lr=1e-3)),
    # Order.
    "sequence": Claim(problems.Reaction(), _SOFT.scaled(400), _SOFT, windows=10),
    "curriculum": Claim(
        problems.Convection(30.0),
        replace(_SOFT.scaled(250), points=500),
        replace(_SOFT, points=500),
        ladder=tuple(problems.Convection(float(speed)) for speed in range(1, 30)),
    ),
}
