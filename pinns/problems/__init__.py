"""Standard problems, one file each, with a fingerprint and a reference by our own solvers.

``__all__`` lists them; their contract is tested for every one.  Problems of one name differ between papers:
the numbers of the equation are arguments, and the docstring says whose they are by default.
"""

from sciml.pinns.problems.allen_cahn import AllenCahn
from sciml.pinns.problems.allen_cahn_in_ball import AllenCahnInBall
from sciml.pinns.problems.barenblatt import BlackScholesBarenblatt
from sciml.pinns.problems.basket import Basket, GeometricBasket
from sciml.pinns.problems.biharmonic import Biharmonic
from sciml.pinns.problems.black_scholes import BlackScholes
from sciml.pinns.problems.breather import Breather
from sciml.pinns.problems.burgers import Burgers
from sciml.pinns.problems.cavity import Cavity
from sciml.pinns.problems.convection import Convection
from sciml.pinns.problems.discs import FourDiscs
from sciml.pinns.problems.flow_mixing import FlowMixing
from sciml.pinns.problems.fokker_planck import FokkerPlanck
from sciml.pinns.problems.ginzburg_landau import GinzburgLandau
from sciml.pinns.problems.gkdv import GeneralizedKortewegDeVries
from sciml.pinns.problems.gray_scott import GrayScott
from sciml.pinns.problems.hamilton_jacobi_bellman import HamiltonJacobiBellman
from sciml.pinns.problems.heat import Heat
from sciml.pinns.problems.heat_in_space import HeatInSpace
from sciml.pinns.problems.helmholtz import Helmholtz
from sciml.pinns.problems.kadomtsev_petviashvili import KadomtsevPetviashvili
from sciml.pinns.problems.klein_gordon import KleinGordon, KleinGordonSquare
from sciml.pinns.problems.korteweg_de_vries import KortewegDeVries
from sciml.pinns.problems.kuramoto_sivashinsky import ChaoticKuramotoSivashinsky, KuramotoSivashinsky
from sciml.pinns.problems.lorenz import Lorenz
from sciml.pinns.problems.nonlinear_diffusion import NonlinearDiffusion
from sciml.pinns.problems.poisson import Poisson, PoissonOfSines
from sciml.pinns.problems.poisson_in_ball import PoissonInBall
from sciml.pinns.problems.reaction import Reaction
from sciml.pinns.problems.schroedinger import Schroedinger
from sciml.pinns.problems.semilinear import (
    RadialAllenCahn,
    SemilinearAllenCahn,
    SemilinearHeat,
    SemilinearSineGordon,
)
from sciml.pinns.problems.sine_gordon import SineGordon
from sciml.pinns.problems.solitons import Solitons
from sciml.pinns.problems.study import (
    BackwardStep,
    BurgersInPlane,
    GrayScottForLong,
    HeatAroundDiscs,
    HeatForLong,
    HeatInBall,
    HeatInMedium,
    HeatInStripes,
    PoissonAroundSpheres,
    PoissonBoltzmann,
    PoissonInPatches,
    PulsatingChannel,
    WaveForLong,
    WaveInMedium,
)
from sciml.pinns.problems.swift_hohenberg import SwiftHohenberg
from sciml.pinns.problems.taylor_green import TaylorGreen
from sciml.pinns.problems.wave import Wave
from sciml.pinns.problems.zakharov_kuznetsov import ZakharovKuznetsov

__all__ = [
    "AllenCahn",
    "AllenCahnInBall",
    "BackwardStep",
    "Basket",
    "Biharmonic",
    "BlackScholes",
    "BlackScholesBarenblatt",
    "Breather",
    "Burgers",
    "BurgersInPlane",
    "Cavity",
    "ChaoticKuramotoSivashinsky",
    "Convection",
    "FlowMixing",
    "FokkerPlanck",
    "FourDiscs",
    "GeneralizedKortewegDeVries",
    "GeometricBasket",
    "GinzburgLandau",
    "GrayScott",
    "GrayScottForLong",
    "HamiltonJacobiBellman",
    "Heat",
    "HeatAroundDiscs",
    "HeatForLong",
    "HeatInBall",
    "HeatInMedium",
    "HeatInSpace",
    "HeatInStripes",
    "Helmholtz",
    "KadomtsevPetviashvili",
    "KleinGordon",
    "KleinGordonSquare",
    "KortewegDeVries",
    "KuramotoSivashinsky",
    "Lorenz",
    "NonlinearDiffusion",
    "Poisson",
    "PoissonAroundSpheres",
    "PoissonBoltzmann",
    "PoissonInBall",
    "PoissonInPatches",
    "PoissonOfSines",
    "PulsatingChannel",
    "RadialAllenCahn",
    "Reaction",
    "Schroedinger",
    "SemilinearAllenCahn",
    "SemilinearHeat",
    "SemilinearSineGordon",
    "SineGordon",
    "Solitons",
    "SwiftHohenberg",
    "TaylorGreen",
    "Wave",
    "WaveForLong",
    "WaveInMedium",
    "ZakharovKuznetsov",
]
