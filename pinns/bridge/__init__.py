"""The bridge to DeepXDE: its problems in our trainer, our networks in its models."""

from sciml.pinns.bridge.network import to_deepxde
from sciml.pinns.bridge.objective import DeepXDEResidual, from_deepxde

__all__ = ["DeepXDEResidual", "from_deepxde", "to_deepxde"]
