"""How much each term, or each point of it, counts in the loss: weightings, one file each."""

from sciml.pinns.weightings.causal import Causal
from sciml.pinns.weightings.fixed import Fixed
from sciml.pinns.weightings.gradient_norm import GradientNorm
from sciml.pinns.weightings.together import Together
from sciml.pinns.weightings.weighting import Scene, Weighting

__all__ = ["Causal", "Fixed", "GradientNorm", "Scene", "Together", "Weighting"]
