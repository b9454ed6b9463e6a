"""Networks of sines."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.networks.mlp import check_sizes


@describable
class Sine(nn.Module):
    """``sin(frequency x)``."""

    def __init__(self, frequency: float) -> None:
        super().__init__()
        self.frequency = frequency

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.frequency * x)


@describable
class SIREN(nn.Sequential):
    r"""``depth`` hidden layers ``sin(w (W h + b))``, and a linear last layer.

    Its derivatives are networks of the same kind, phases shifted.  Weights of the first layer are uniform in
    ``(-1/n, 1/n)`` for n inputs, all others in ``(-r/w, r/w)``, ``r = sqrt(6/n)``: then what the weights
    bring to the sines behind the first layer has variance 1, at any depth and for any w.

    Parameters
    ----------
    inputs, outputs, width, depth
        As for `sciml.pinns.networks.MLP`.
    frequency : float, positive
        w.  For features scaled to [-1, 1], 1 to 10 suits equations, where each derivative of the residual
        brings another factor w; 30, the original, is meant for images.

    Raises
    ------
    ConfigError
        If a size is below 1, or the frequency not positive.

    Notes
    -----
    Source: Sitzmann, Martel, Bergman, Lindell and Wetzstein, Implicit neural representations with periodic
    activation functions, NeurIPS 2020, section 3.2.

    Examples
    --------
    >>> SIREN(2, 1, width=8, depth=2)(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self, inputs: int, outputs: int, *, width: int = 30, depth: int = 3, frequency: float = 5.0
    ) -> None:
        check_sizes("SIREN", inputs, outputs, width, depth, nn.Identity)
        if not 0 < frequency < math.inf:
            raise ConfigError(f"SIREN: frequency must be positive, got {frequency}.")
        layers: list[nn.Module] = []
        for i in range(depth):
            size = inputs if i == 0 else width
            bound = 1 / inputs if i == 0 else math.sqrt(6 / width) / frequency
            layers += [_linear(size, width, bound), Sine(frequency)]
        super().__init__(*layers, _linear(width, outputs, math.sqrt(6 / width) / frequency))


def _linear(inputs: int, outputs: int, bound: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.uniform_(layer.weight, -bound, bound)
    return layer
