"""Optimizers that use curvature, for few, precise weights, and first-order ones that Adam is not enough for.

They are torch optimizers: `sciml.Phase` and `sciml.Trainer` take them like Adam, and save and resume them in
the middle.

Examples
--------
>>> from functools import partial
>>> from sciml import Phase
>>> from sciml.optimizers import SelfScaledBroyden
>>> phase = Phase(partial(SelfScaledBroyden, iterations=20), steps=100)
"""

from sciml.optimizers.broyden import SelfScaledBroyden
from sciml.optimizers.lbfgs import LBFGS
from sciml.optimizers.least_squares import LevenbergMarquardt
from sciml.optimizers.multi_adam import MultiAdam
from sciml.optimizers.muon import Muon
from sciml.optimizers.natural_gradient import EnergyNaturalGradient
from sciml.optimizers.newton_cg import NystromNewtonCG
from sciml.optimizers.polyak import Polyak
from sciml.optimizers.soap import soap

__all__ = [
    "LBFGS",
    "EnergyNaturalGradient",
    "LevenbergMarquardt",
    "MultiAdam",
    "Muon",
    "NystromNewtonCG",
    "Polyak",
    "SelfScaledBroyden",
    "soap",
]
