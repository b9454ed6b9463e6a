"""Solutions at single points as means over random paths, each with its error bar: strong references.

``feynman_kac`` and ``multilevel`` for linear parabolic equations, ``walk_on_spheres`` for Poisson's,
``multilevel_picard`` for semilinear ones, all in any dimension; they go on until an accuracy is reached.

Examples
--------
>>> import torch
>>> from sciml.pinns.diffusions import Diffusion
>>> heat = Diffusion(lambda x: torch.exp(x[:, 0]), lambda x, w: 2**0.5 * w)  # u = exp(x + t)
>>> found = feynman_kac(heat, torch.tensor([[0.0, 0.5]]), accuracy=0.005)
>>> found.contains(torch.tensor([0.5]).exp()).item()
True
"""

from sciml.pinns.monte_carlo.beside import Beside, beside
from sciml.pinns.monte_carlo.expected import Expected
from sciml.pinns.monte_carlo.feynman_kac import Control, feynman_kac
from sciml.pinns.monte_carlo.multilevel import multilevel
from sciml.pinns.monte_carlo.picard import multilevel_picard
from sciml.pinns.monte_carlo.walk_on_spheres import walk_on_spheres

__all__ = [
    "Beside",
    "Control",
    "Expected",
    "beside",
    "feynman_kac",
    "multilevel",
    "multilevel_picard",
    "walk_on_spheres",
]
