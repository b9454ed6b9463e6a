"""Networks for physics-informed learning: features (n, inputs) to (n, outputs), smooth activations."""

from sciml.pinns.networks.fourier import FourierFeatures
from sciml.pinns.networks.mlp import MLP
from sciml.pinns.networks.modified import ModifiedMLP
from sciml.pinns.networks.siren import SIREN

__all__ = ["MLP", "SIREN", "FourierFeatures", "ModifiedMLP"]
