"""Networks for physics-informed learning: features (n, inputs) to (n, outputs), smooth activations."""

from sciml.pinns.networks.factorized import Factorized, FactorizedLinear
from sciml.pinns.networks.former import PINNsFormer
from sciml.pinns.networks.fourier import FourierFeatures
from sciml.pinns.networks.gaussians import PIG
from sciml.pinns.networks.kinked import Kinked
from sciml.pinns.networks.mlp import MLP
from sciml.pinns.networks.modes import Modes, at_rest
from sciml.pinns.networks.modified import ModifiedMLP
from sciml.pinns.networks.pirate import PirateNet, fit_last_layer, fit_to_equation, fit_to_start
from sciml.pinns.networks.polynomial import Polynomial, fit_linear, highest_degree
from sciml.pinns.networks.projected import Projected
from sciml.pinns.networks.separable import SPINN
from sciml.pinns.networks.siren import SIREN
from sciml.pinns.networks.starting import start_modes
from sciml.pinns.networks.wavelet import Wavelet
from sciml.pinns.networks.waves import Waves
from sciml.pinns.networks.wide import WideMLP

__all__ = [
    "MLP",
    "WideMLP",
    "ModifiedMLP",
    "SIREN",
    "PirateNet",
    "PINNsFormer",
    "PIG",
    "SPINN",
    "Polynomial",
    # around a network
    "FourierFeatures",
    "Waves",
    "Kinked",
    "Modes",
    "Factorized",
    "Projected",
    # parts
    "FactorizedLinear",
    "Wavelet",
    "at_rest",
    "fit_last_layer",
    "fit_linear",
    "fit_to_equation",
    "fit_to_start",
    "start_modes",
    "highest_degree",
]
