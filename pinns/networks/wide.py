"""A perceptron for very many coordinates."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.shared_blocks import SharedBlocks
from sciml.kernels.wide_linear import WideLinear
from sciml.pinns.networks.mlp import check_sizes, linear


@describable
class WideMLP(nn.Sequential):
    """`MLP` for very many inputs: its first layer is a `sciml.kernels.WideLinear`.

    `sciml.kernels.FactoredAdam` then makes the gradient of the first layer and the update of its weight in
    one pass, and derivatives along coordinates are rows of it.

    Parameters
    ----------
    inputs, outputs : int
    width, depth : int
        Neurons per hidden layer, and hidden layers.
    first : int, optional
        Neurons of the first hidden layer, ``width`` by default: so many directions of space the network sees,
        and nothing of a point besides.
    block : int, optional
        So many neighboring coordinates, at most all, go through one neuron in front of the first layer, whose
        weights all blocks share, see `sciml.kernels.SharedBlocks`; the first layer has one input for each.
    activation : class
        Smooth, such as ``nn.SiLU``; tanh by default.

    Raises
    ------
    ConfigError
        If a size is below 1, or the activation has no second derivative.

    Notes
    -----
    First weights start uniform in ``±1/√inputs``, the others as in `MLP`.

    Examples
    --------
    >>> import torch
    >>> network = WideMLP(100_000, 1, width=16, depth=2, block=50)
    >>> sum(p.numel() for p in network.parameters())
    32356
    >>> network(torch.zeros(2, 100_000)).shape
    torch.Size([2, 1])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 128,
        depth: int = 3,
        first: int | None = None,
        block: int | None = None,
        activation: Callable[[], nn.Module] = nn.Tanh,
    ) -> None:
        check_sizes(
            "WideMLP", inputs, outputs, width if first is None else min(width, first), depth, activation
        )
        if block is not None and block < 1:
            raise ConfigError(f"WideMLP: a block has at least 1 coordinate, got {block}.")
        layers: list[nn.Module] = []
        if block is not None:
            layers.append(shared := SharedBlocks(inputs, min(block, inputs)))
            inputs = shared.out_features
        widths = [width if first is None else first, *[width] * (depth - 1)]
        layers += [WideLinear(inputs, widths[0]), activation()]
        for one, other in pairwise(widths):
            layers += [linear(one, other), activation()]
        super().__init__(*layers, linear(widths[-1], outputs))
