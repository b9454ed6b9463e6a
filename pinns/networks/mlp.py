"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from sciml.description import describable
from sciml.errors import ConfigError

_NO_CURVATURE = (nn.ReLU, nn.LeakyReLU, nn.PReLU)


@describable
class MLP(nn.Sequential):
    """``depth`` hidden layers of ``width`` neurons: Glorot-normal weights, zero biases, a linear last layer.

    A `torch.nn.Sequential` that begins with a linear layer, which derivatives look behind
    (`sciml.kernels.laplacian`).

    Parameters
    ----------
    inputs, outputs : int
    width, depth : int
        Neurons per hidden layer, and hidden layers.
    activation : class
        Smooth, such as ``nn.SiLU``; tanh by default.

    Raises
    ------
    ConfigError
        If a size is below 1, or the activation has no second derivative.

    Notes
    -----
    Source of the initialization: Glorot and Bengio, AISTATS 2010, section 4.2.1.

    Examples
    --------
    >>> sum(p.numel() for p in MLP(2, 1, width=30, depth=3).parameters())
    1981
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 30,
        depth: int = 3,
        activation: Callable[[], nn.Module] = nn.Tanh,
    ) -> None:
        check_sizes("MLP", inputs, outputs, width, depth, activation)
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [linear(inputs if i == 0 else width, width), activation()]
        super().__init__(*layers, linear(width, outputs))


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer with Glorot-normal weights and zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def check_sizes(
    who: str, inputs: int, outputs: int, width: int, depth: int, activation: Callable[[], nn.Module]
) -> None:
    """Raise for a size below 1 or an activation without curvature."""
    if min(inputs, outputs, width, depth) < 1:
        raise ConfigError(
            f"{who}: inputs, outputs, width and depth must be at least 1, got {inputs}, {outputs}, {width} "
            f"and {depth}."
        )
    if isinstance(example := activation(), _NO_CURVATURE):
        raise ConfigError(
            f"{who}: the second derivative of {type(example).__name__} is zero, so no equation of second "
            "order can be learned with it. Use a smooth activation such as nn.Tanh or nn.SiLU."
        )
