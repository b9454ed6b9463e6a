"""The modified multilayer perceptron: hidden layers gated between two encodings of the input."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from sciml.description import describable
from sciml.pinns.networks.mlp import check_sizes, linear


@describable
class ModifiedMLP(nn.Module):
    """``h <- a(W h + b)``, then ``h <- h U + (1 - h) V`` with two encodings U and V of the input.

    Parameters
    ----------
    inputs, outputs, width, depth, activation
        As for `sciml.pinns.networks.MLP`.

    Notes
    -----
    Source: Wang, Teng and Perdikaris, Understanding and mitigating gradient flow pathologies in
    physics-informed neural networks (2021), equations 43 to 47; it costs about 1.4 times a plain network.

    Examples
    --------
    >>> import torch
    >>> ModifiedMLP(2, 1, width=8, depth=2)(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
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
        super().__init__()
        check_sizes("ModifiedMLP", inputs, outputs, width, depth, activation)
        self.activation = activation()
        self.first, self.second = linear(inputs, width), linear(inputs, width)
        self.hidden = nn.ModuleList(linear(inputs if i == 0 else width, width) for i in range(depth))
        self.last = linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.activation(self.first(x)), self.activation(self.second(x))
        h = x
        for layer in self.hidden:
            h = v + self.activation(layer(h)) * (u - v)
        value: Tensor = self.last(h)
        return value
