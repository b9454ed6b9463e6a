"""Random weight factorization: every neuron learns its scale apart from its direction."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.networks.mlp import MLP, linear


@describable
class FactorizedLinear(nn.Module):
    r"""``x W^T + b`` with ``W = diag(e^s) V``: one scale for each output neuron.

    Parameters
    ----------
    inputs, outputs : int
    mean, deviation : float
        Of the s, which are drawn from a normal distribution.  V is what makes W a Glorot-normal matrix.
    bias : bool

    Attributes
    ----------
    scale : (outputs,)
        s.
    direction : (outputs, inputs)
        V.

    Raises
    ------
    ConfigError
        If a size is below 1, or the deviation negative.

    Notes
    -----
    Source: Wang, Wang, Seidman and Perdikaris, Random weight factorization improves the training of
    continuous neural representations, arXiv:2210.01274.  As written there s is trained, so that
    no scale changes its sign; their public code trains ``e^s``, drawn the same way.

    Examples
    --------
    >>> layer = FactorizedLinear(2, 3)
    >>> x = torch.ones(4, 2)
    >>> torch.allclose(layer(x), layer.merged()(x), atol=1e-6)
    True
    """

    def __init__(
        self, inputs: int, outputs: int, *, mean: float = 1.0, deviation: float = 0.1, bias: bool = True
    ) -> None:
        super().__init__()
        if min(inputs, outputs) < 1 or deviation < 0:
            raise ConfigError(
                "FactorizedLinear: inputs and outputs must be at least 1 and deviation not negative, got "
                f"{inputs}, {outputs} and {deviation}."
            )
        layer = linear(inputs, outputs)
        self.scale = nn.Parameter(mean + deviation * torch.randn(outputs))
        self.direction = nn.Parameter(layer.weight.detach() / self.scale.detach().exp()[:, None])
        self.bias = layer.bias if bias else None

    @classmethod
    def of(cls, layer: nn.Linear, *, mean: float = 1.0, deviation: float = 0.1) -> FactorizedLinear:
        """The same map, factorized."""
        bias = layer.bias is not None
        made = cls(layer.in_features, layer.out_features, mean=mean, deviation=deviation, bias=bias)
        made = made.to(layer.weight)
        with torch.no_grad():
            made.direction.copy_(layer.weight / made.scale.exp()[:, None])
            if made.bias is not None:
                made.bias.copy_(layer.bias)
        return made

    @property
    def weight(self) -> Tensor:
        """W, (outputs, inputs)."""
        return self.scale.exp()[:, None] * self.direction

    def merged(self) -> nn.Linear:
        """The same map as one dense layer."""
        outputs, inputs = self.direction.shape
        layer = nn.Linear(inputs, outputs, bias=self.bias is not None).to(self.direction)
        with torch.no_grad():
            layer.weight.copy_(self.weight)
            if self.bias is not None:
                layer.bias.copy_(self.bias)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@describable
class Factorized(nn.Module):
    """Any network with each of its linear layers as a `FactorizedLinear`.

    At first it is the same function as the network without; for the same seed, to rounding, that of
    ``network(inputs, outputs)``.  What is no linear layer, such as frequencies, or the last layer of a
    `PirateNet`, stays.

    Parameters
    ----------
    inputs, outputs : int
    network : factory
        Called as ``network(inputs, outputs)``.
    mean, deviation : float
        Of the logarithms of the scales.  A mean of 1 suits tanh, 0.5 swish, as published.

    Raises
    ------
    ConfigError
        If the network has no linear layer.

    Examples
    --------
    >>> Factorized(2, 1, network=partial(MLP, width=8, depth=2))(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        network: Callable[[int, int], nn.Module] = partial(MLP, width=30, depth=3),  # noqa: B008
        mean: float = 1.0,
        deviation: float = 0.1,
    ) -> None:
        super().__init__()
        self.network = network(inputs, outputs)
        _exchange(self, nn.Linear, partial(FactorizedLinear.of, mean=mean, deviation=deviation))
        if not any(isinstance(module, FactorizedLinear) for module in self.modules()):
            raise ConfigError(
                f"Factorized: {type(self.network).__name__} has no linear layer that could be factorized."
            )

    def merged(self) -> nn.Module:
        """The same function as a network of dense layers, with weights of its own."""
        holder = copy.deepcopy(self)
        _exchange(holder, FactorizedLinear, FactorizedLinear.merged)
        return holder.network

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.network(x)
        return value


def _exchange(network: nn.Module, kind: type[nn.Module], change: Callable[..., nn.Module]) -> None:
    """Put something else into the places of all modules of one class; a subclass may be more than a layer."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is kind:
                setattr(module, name, change(child))
