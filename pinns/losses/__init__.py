"""Losses besides the residual: stochastic processes, energies, and directions as their authors sample them.

A loss is what a `sciml.pinns.Recipe` minimizes, with the same text of the problem: ``Recipe(loss=DeepRitz)``.
"""

from sciml.pinns.losses.backward_sde import BackwardSDE
from sciml.pinns.losses.complementary import Complementary
from sciml.pinns.losses.condensed import Condensed
from sciml.pinns.losses.deep_ritz import DeepRitz
from sciml.pinns.losses.forward_backward import ForwardBackward
from sciml.pinns.losses.galerkin import Galerkin
from sciml.pinns.losses.loss import Loss
from sciml.pinns.losses.sdgd import SDGD

__all__ = [
    "SDGD",
    "BackwardSDE",
    "Complementary",
    "Condensed",
    "DeepRitz",
    "ForwardBackward",
    "Galerkin",
    "Loss",
]
