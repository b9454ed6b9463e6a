"""Where an equation is looked at: samplers, one file each, for interior, boundary and initial points."""

from sciml.pinns.samplers.causal_r3 import CausalR3
from sciml.pinns.samplers.grid import GridPoints
from sciml.pinns.samplers.halton import Halton
from sciml.pinns.samplers.in_turn import InTurn
from sciml.pinns.samplers.latin_hypercube import LatinHypercube
from sciml.pinns.samplers.on_device import OnDevice
from sciml.pinns.samplers.pinnacle import PINNACLE
from sciml.pinns.samplers.r3 import R3
from sciml.pinns.samplers.rad import RAD
from sciml.pinns.samplers.random_grid import RandomGrid
from sciml.pinns.samplers.rar import RAR
from sciml.pinns.samplers.rar_d import RARD
from sciml.pinns.samplers.sampler import Sampler, Site
from sciml.pinns.samplers.sobol import Sobol
from sciml.pinns.samplers.uniform import Uniform
from sciml.pinns.samplers.vrba import VRBA

__all__ = [
    "PINNACLE",
    "R3",
    "RAD",
    "RAR",
    "RARD",
    "VRBA",
    "CausalR3",
    "GridPoints",
    "Halton",
    "InTurn",
    "LatinHypercube",
    "OnDevice",
    "RandomGrid",
    "Sampler",
    "Site",
    "Sobol",
    "Uniform",
]
