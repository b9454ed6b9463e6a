"""Optimizers that use curvature: quasi-Newton and least-squares methods for few, precise weights, and SOAP.

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
from sciml.optimizers.soap import soap

__all__ = ["LBFGS", "LevenbergMarquardt", "SelfScaledBroyden", "soap"]
