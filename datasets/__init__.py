"""Generators of data sets (each a real classical solver) and readers of foreign formats.

``__all__`` lists the generators; their contract is tested for every one of them.  `check` reads a dataset
file in full and lists everything in which it departs from the format.
"""

from __future__ import annotations

from sciml.conformance import check as check
from sciml.datasets.advection import Advection
from sciml.datasets.allen_cahn import AllenCahn
from sciml.datasets.bounded_waves import BoundedWave
from sciml.datasets.burgers import Burgers
from sciml.datasets.cahn_hilliard import CahnHilliard
from sciml.datasets.cavity import Cavity
from sciml.datasets.darcy import Darcy
from sciml.datasets.elasticity import Elasticity
from sciml.datasets.euler import Euler
from sciml.datasets.fisher import Fisher
from sciml.datasets.fitzhugh_nagumo import FitzHughNagumo
from sciml.datasets.forced_burgers import ForcedBurgers
from sciml.datasets.gray_scott import GrayScott
from sciml.datasets.heat import Heat
from sciml.datasets.helmholtz import Helmholtz
from sciml.datasets.korteweg_de_vries import KortewegDeVries
from sciml.datasets.kuramoto_sivashinsky import KuramotoSivashinsky
from sciml.datasets.lorenz import Lorenz63, Lorenz96
from sciml.datasets.navier_stokes import NavierStokes
from sciml.datasets.poisson import PoissonWithHoles
from sciml.datasets.schrodinger import Schrodinger
from sciml.datasets.shallow_water import ShallowWater
from sciml.datasets.swift_hohenberg import SwiftHohenberg
from sciml.datasets.wave import Wave

__all__ = [
    "Advection",
    "AllenCahn",
    "BoundedWave",
    "Burgers",
    "CahnHilliard",
    "Cavity",
    "Darcy",
    "Elasticity",
    "Euler",
    "Fisher",
    "FitzHughNagumo",
    "ForcedBurgers",
    "GrayScott",
    "Heat",
    "Helmholtz",
    "KortewegDeVries",
    "KuramotoSivashinsky",
    "Lorenz63",
    "Lorenz96",
    "NavierStokes",
    "PoissonWithHoles",
    "Schrodinger",
    "ShallowWater",
    "SwiftHohenberg",
    "Wave",
]
