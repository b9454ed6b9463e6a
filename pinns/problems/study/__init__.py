"""The problems of the study of Hao et al. (2024) that are not standard problems, one file for each family.

`PUBLISHED` holds its best errors; ``tools/pinn_study.py`` solves all twenty.
"""

from sciml.pinns.problems.study.burgers import BurgersInPlane
from sciml.pinns.problems.study.flow import BackwardStep, PulsatingChannel
from sciml.pinns.problems.study.heat import HeatAroundDiscs, HeatForLong, HeatInBall, HeatInStripes
from sciml.pinns.problems.study.medium import HeatInMedium, WaveInMedium
from sciml.pinns.problems.study.patches import PoissonInPatches
from sciml.pinns.problems.study.patterns import GrayScottForLong
from sciml.pinns.problems.study.poisson import PoissonBoltzmann
from sciml.pinns.problems.study.published import PUBLISHED, Published
from sciml.pinns.problems.study.spheres import PoissonAroundSpheres
from sciml.pinns.problems.study.wave import WaveForLong

__all__ = [
    "PUBLISHED",
    "BackwardStep",
    "BurgersInPlane",
    "GrayScottForLong",
    "HeatAroundDiscs",
    "HeatForLong",
    "HeatInBall",
    "HeatInMedium",
    "HeatInStripes",
    "PoissonAroundSpheres",
    "PoissonBoltzmann",
    "PoissonInPatches",
    "Published",
    "PulsatingChannel",
    "WaveForLong",
    "WaveInMedium",
]
