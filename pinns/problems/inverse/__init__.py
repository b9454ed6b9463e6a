"""Inverse problems: unknown constants and functions from measured values with noise.

They know the truth (`sciml.pinns.Problem.truth`), since their measurements are made: by solvers of ours or
from a table of somebody else, with normal errors of a share of the standard deviation of each component.
"""

from sciml.pinns.problems.inverse.burgers import BurgersConstants
from sciml.pinns.problems.inverse.diffusion import DiffusionCoefficient
from sciml.pinns.problems.inverse.lorenz import LorenzConstants
from sciml.pinns.problems.inverse.reaction import ReactionConstants

__all__ = ["BurgersConstants", "DiffusionCoefficient", "LorenzConstants", "ReactionConstants"]
