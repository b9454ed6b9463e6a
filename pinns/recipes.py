"""Recipes by name: how the field solves its problems, from the plain baseline on."""

from __future__ import annotations

from functools import partial

import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import ExponentialLR

from sciml.pinns.networks.fourier import FourierFeatures
from sciml.pinns.networks.modified import ModifiedMLP
from sciml.pinns.recipe import LINE_SEARCH, Recipe, Stage
from sciml.pinns.samplers.r3 import R3
from sciml.pinns.samplers.rad import RAD
from sciml.pinns.samplers.sobol import Sobol
from sciml.pinns.samplers.uniform import Uniform

_NEVER = 10**9

SMALL = Recipe(
    stages=(
        Stage(partial(Adam, lr=3e-3), 200, Sobol(every=50)),
        Stage(LINE_SEARCH, 400, RAD(every=50)),
    ),
    harmonics=3,
)
"""Small and accurate: float64, conditions built in, residual-weighted points, Adam and then L-BFGS."""

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
    dtype=torch.float32,
)
"""Larger and patient: float32, Fourier features, gates, retained points, Adam with decay."""

RECIPES = {
    "small": SMALL,
    "plain": PLAIN,
    "fresh": FRESH,
    "r3": ADAM_R3,
    "rad": ADAM_RAD,
    "robust": ROBUST,
}
