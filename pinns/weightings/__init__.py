"""How much each term, or each point of it, counts in the loss: weightings, one file each."""

from sciml.pinns.weightings.causal import Causal
from sciml.pinns.weightings.fixed import Fixed
from sciml.pinns.weightings.gradient_norm import GradientNorm
from sciml.pinns.weightings.ntk import NTK
from sciml.pinns.weightings.relobralo import ReLoBRaLo
from sciml.pinns.weightings.residual_attention import ResidualAttention
from sciml.pinns.weightings.self_adaptive import SelfAdaptive
from sciml.pinns.weightings.together import Together
from sciml.pinns.weightings.variational import Exponential, Potential, Power
from sciml.pinns.weightings.weighting import Scene, Weighting

__all__ = [
    "NTK",
    "Causal",
    "Exponential",
    "Fixed",
    "GradientNorm",
    "Potential",
    "Power",
    "ReLoBRaLo",
    "ResidualAttention",
    "Scene",
    "SelfAdaptive",
    "Together",
    "Weighting",
]
