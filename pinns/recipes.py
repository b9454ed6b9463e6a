"""Recipes by name: those to solve problems with, other losses, and the plain baselines to improve on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import ExponentialLR

from sciml.errors import ConfigError
from sciml.kernels.estimators import Exact, SparseDirections
from sciml.kernels.factored_update import FactoredAdam
from sciml.optimizers.broyden import SelfScaledBroyden
from sciml.optimizers.least_squares import LevenbergMarquardt
from sciml.optimizers.polyak import Polyak
from sciml.pinns.losses.backward_sde import BackwardSDE
from sciml.pinns.losses.condensed import Condensed
from sciml.pinns.losses.deep_ritz import DeepRitz
from sciml.pinns.losses.forward_backward import ForwardBackward
from sciml.pinns.losses.sdgd import SDGD
from sciml.pinns.networks.fourier import FourierFeatures
from sciml.pinns.networks.mlp import MLP
from sciml.pinns.networks.modified import ModifiedMLP
from sciml.pinns.networks.polynomial import Polynomial, fit_linear, highest_degree
from sciml.pinns.networks.projected import Projected
from sciml.pinns.networks.wide import WideMLP
from sciml.pinns.problem import Problem
from sciml.pinns.recipe import Recipe, Stage
from sciml.pinns.samplers.on_device import OnDevice
from sciml.pinns.samplers.r3 import R3
from sciml.pinns.samplers.rad import RAD
from sciml.pinns.samplers.sobol import Sobol
from sciml.pinns.samplers.uniform import Uniform
from sciml.pinns.subspaces import fit_directions
from sciml.pinns.weightings.gradient_norm import GradientNorm

_NEVER = 10**9
# Above so many coordinates exact derivatives and dense curvature cost more than they bring.
FEW = 20
# Above so many exact derivatives take less than twice the time of 16 random ones: points, source term and
# first layer outweigh the lines through the hidden layers, of which there are as many as that layer is wide.
_MANY = 30_000
_RIDGES = 10  # directions that `RIDGE` looks for

# A large momentum and no floor under the gradients, as in arXiv:2501.16371: a start for what follows.
_ADAM = partial(Adam, lr=5e-3, betas=(0.99, 0.999), eps=1e-20)
_FADING = partial(Adam, lr=5e-3)
_BROYDEN = partial(SelfScaledBroyden, iterations=50)

SMALL = Recipe(
    stages=(
        Stage(_ADAM, 1000, Sobol(every=10)),
        Stage(_BROYDEN, 400, RAD(every=10)),
    ),
    harmonics=3,
)
"""Small and accurate: float64, conditions built in, Adam, then self-scaled Broyden on points drawn by the
residual every 500 iterations, with the curvature kept."""

POOLED = Recipe(
    network=partial(MLP, width=16, depth=3),
    stages=(
        Stage(_ADAM, 150, Sobol(every=50)),
        Stage(_BROYDEN, 30, Sobol(every=2)),
    ),
)
"""For networks that see few features of many coordinates, such as `BasketNetwork`: three points a weight."""

SHARP = Recipe(
    stages=(
        Stage(_ADAM, 500, Sobol(every=10)),
        Stage(_BROYDEN, 40, RAD(every=10)),
        Stage(partial(LevenbergMarquardt, iterations=5), 100, RAD(every=1)),
    ),
    points=8000,
    harmonics=3,
)
"""For fronts and layers: as `SMALL`, then Levenberg-Marquardt on points that follow the residual closely.

Four points per weight: with one and a half every redraw moves the weights along directions that its points
leave free, and errors rise and fall by a factor of ten."""

PRECISE = Recipe(
    stages=(
        Stage(_ADAM, 500, Sobol(every=10)),
        Stage(partial(LevenbergMarquardt, iterations=10), 100, Sobol(every=10)),
    ),
    points=4000,
    harmonics=3,
)
"""For smooth solutions and the last digits: Levenberg-Marquardt on twice as many points as weights."""

WINDOW = Recipe(
    network=partial(MLP, width=20, depth=3),
    stages=(
        Stage(_ADAM, 200, Sobol()),
        Stage(partial(LevenbergMarquardt, iterations=5), 40, Sobol()),
    ),
    points=1500,
)
"""For one window of time of several (`sciml.pinns.march`): as `PRECISE`, smaller and shorter."""

WAVES = Recipe(
    network=partial(FourierFeatures, features=32, scale=4.0, network=partial(MLP, width=20, depth=2)),
    stages=(
        Stage(_ADAM, 150, Sobol(every=5)),
        Stage(partial(LevenbergMarquardt, iterations=5), 80, RAD(every=1, pool=4)),
    ),
    points=3000,
    weights={"initial": 10.0, "boundary": 10.0, "slope": 10.0},
    hard=False,
)
"""For what is narrow in a wide domain, such as solitons, in windows of time: frequencies to begin with,
conditions in the loss, and Levenberg-Marquardt on points that follow the residual.  Without windows layers
can hide between the points."""

INVERSE = Recipe(
    network=partial(MLP, width=20, depth=3),
    stages=(Stage(partial(LevenbergMarquardt, iterations=5), 20, Sobol(every=10)),),
)
"""For unknown numbers and functions: Levenberg-Marquardt, whose steps move network and unknowns at once.

Points are redrawn once: a step that meets new ones with little damping left can lead far away, and the last
ones should not."""

HIGH_DIM = Recipe(
    network=partial(WideMLP, width=128, depth=3),
    stages=(Stage(partial(FactoredAdam, lr=1e-3), 10_000, OnDevice(), fading=True),),
    points=100,
    estimator=SparseDirections(16),
    dtype=torch.float32,
)
"""For many coordinates: few new points a step, second derivatives along 16 random ones, Adam that makes the
gradient of the wide first layer while it updates it."""

HUGE_DIM = replace(
    HIGH_DIM,
    stages=(Stage(partial(FactoredAdam, lr=1e-3, moments="factored"), 10_000, OnDevice(), fading=True),),
    estimator=Exact(),
)
"""For tens of thousands of coordinates and more: `HIGH_DIM` with exact derivatives, along as many lines as
the first layer is wide, and with 6 instead of 12 bytes for each weight of that layer."""

POLYNOMIAL = Recipe(
    network=Polynomial,
    stages=(Stage(Polyak, 4500, OnDevice()), Stage(Polyak, 1500, OnDevice(), fading=True)),
    points=500,
    dtype=torch.float32,
    fit=fit_linear,
)
"""For many coordinates and solutions that lie near their Taylor polynomial: all coefficients of degree 2, of
100 coordinates also of degree 3, from the best linear function on, with exact Laplacians in closed form."""

RIDGE = Recipe(
    network=partial(Projected, directions=_RIDGES, network=partial(MLP, width=64, depth=3)),
    stages=(Stage(_FADING, 5000, fading=True),),
    points=500,
    dtype=torch.float32,
    loss=Condensed,
    fit=fit_directions,
)
"""For many coordinates and solutions that change along ten directions alone: first these are found, by slopes
of the right side, then a network of ten coordinates is trained, on points of which no more is kept than it
sees and the right side."""

PLAIN = Recipe(
    stages=(Stage(partial(Adam, lr=1e-3), 5000, Uniform(every=_NEVER)),),
    hard=False,
    dtype=torch.float32,
)
"""The stock recipe, on which others improve: Adam in float32, points that never change, soft conditions."""

FRESH = Recipe(
    stages=(Stage(partial(Adam, lr=1e-3), 5000, Uniform()),),
    hard=False,
    dtype=torch.float32,
)
"""The stock recipe with new uniform points at every step."""

ADAM_R3 = Recipe(
    stages=(Stage(partial(Adam, lr=1e-3), 5000, R3()),),
    hard=False,
    dtype=torch.float32,
)
"""The stock recipe with retained points."""

ADAM_RAD = Recipe(
    stages=(Stage(partial(Adam, lr=1e-3), 5000, RAD(every=500)),),
    hard=False,
    dtype=torch.float32,
)
"""The stock recipe with points drawn by the residual."""

ROBUST = Recipe(
    network=partial(FourierFeatures, features=64, scale=1.0, network=partial(ModifiedMLP, width=64, depth=3)),
    stages=(Stage(partial(Adam, lr=1e-3), 5000, R3(), partial(ExponentialLR, gamma=0.9 ** (1 / 1000))),),
    weighting=GradientNorm(),
    dtype=torch.float32,
)
"""Larger and patient: float32, Fourier features, gates, retained points, balanced terms, Adam with decay."""

DEEP_BSDE = Recipe(
    network=partial(MLP, width=64, depth=3),
    stages=(Stage(_FADING, 3000, fading=True),),
    points=128,
    dtype=torch.float32,
    loss=BackwardSDE,
)
"""For parabolic equations with a `diffusion`: paths, on which only the end is compared."""

FBSNN = replace(DEEP_BSDE, loss=partial(ForwardBackward, span=5))
"""The same with forward-backward networks: all of a path is compared, in pieces of five steps, which have a
fifth of the bias of single ones."""

DEEP_RITZ = Recipe(
    stages=(Stage(_FADING, 4000, Sobol(), fading=True),),
    points=1024,
    loss=DeepRitz,
)
"""For equations with an `energy`: the least one, on new even points at every step."""

SDGD_AS_PUBLISHED = replace(
    HIGH_DIM,
    network=partial(MLP, width=128, depth=3),
    stages=(Stage(partial(Adam, lr=1e-3), 10_000, fading=True),),
    loss=SDGD,
)
"""For many coordinates: one set of coordinates in the forward pass, another one in that backward."""

RECIPES = {
    "small": SMALL,
    "robust": ROBUST,
    "high-dim": HIGH_DIM,
    "huge-dim": HUGE_DIM,
    "polynomial": POLYNOMIAL,
    "ridge": RIDGE,
    "sdgd": SDGD_AS_PUBLISHED,
    "deep-bsde": DEEP_BSDE,
    "fbsnn": FBSNN,
    "deep-ritz": DEEP_RITZ,
    "pooled": POOLED,
    "sharp": SHARP,
    "precise": PRECISE,
    "window": WINDOW,
    "inverse": INVERSE,
    "waves": WAVES,
    "plain": PLAIN,
    "fresh": FRESH,
    "r3": ADAM_R3,
    "rad": ADAM_RAD,
}


def suited(problem: Problem, *, estimated: bool = False) -> Recipe:
    """What a problem is solved with unless something else is asked for.

    That is the recipe which it names; without one its number of coordinates decides: up to 20 it is `SMALL`,
    or `INVERSE` where something is unknown, up to 30 000 `HIGH_DIM`, above `HUGE_DIM`.  From 21 to 1000,
    where there are no more than a million products of two coordinates, it is `POLYNOMIAL` instead if the
    solution is known to flatten (`Problem.flattens`).  Where it is known to change along ten directions alone
    (`Problem.directions`) it is `RIDGE`, above 20 coordinates.  Neither has second derivatives to be
    estimated: with ``estimated``, where an estimator is asked for, the number of coordinates decides alone.

    Raises
    ------
    ConfigError
        If the problem names a recipe that there is not.

    Notes
    -----
    How many directions and points a step takes in many dimensions: the exact Laplacian where its ``min(dim,
    width)`` lines take less than twice the time of 16 random ones, else those, as published; and 100 points,
    with which making the gradient of the first layer costs about as much as updating it, so that fewer would
    save little.  What pays for another problem or recipe is the variance of the gradient times the seconds
    that it takes, which `sciml.pinns.variance` measures.

    Examples
    --------
    >>> from sciml.pinns.problems import PoissonOfSines, Wave
    >>> suited(PoissonOfSines(dim=5)) is SMALL, suited(PoissonOfSines(dim=100)) is HIGH_DIM
    (True, True)
    >>> from sciml.pinns.problems.inverse import LorenzConstants
    >>> suited(Wave()) is PRECISE, suited(LorenzConstants()) is INVERSE
    (True, True)
    """
    if problem.recipe is None:
        dim = problem.domain.dim
        if dim <= FEW:
            return INVERSE if problem.coefficients and not estimated else SMALL
        if problem.directions == _RIDGES and not estimated:
            return RIDGE
        if problem.flattens and highest_degree(dim) > 1 and not estimated:
            return POLYNOMIAL
        return HIGH_DIM if dim <= _MANY else HUGE_DIM
    if problem.recipe not in RECIPES:
        raise ConfigError(
            f"{type(problem).__name__}: its recipe is one of {', '.join(RECIPES)}, got {problem.recipe!r}."
        )
    return RECIPES[problem.recipe]
