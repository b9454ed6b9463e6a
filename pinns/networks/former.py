"""The PINNsFormer: attention along a short sequence of times that begins at each point."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.networks.wavelet import Wavelet


@describable
class PINNsFormer(nn.Module):
    r"""A transformer that sees, with each point, where time goes from there.

    A point ``(..., t)`` becomes the sequence ``(..., t), (..., t + d), ..., (..., t + (k - 1) d)`` along its
    last feature.  An encoder lets the places of one sequence attend to each other, a decoder lets each of
    them attend to what the encoder found, and a network of two hidden layers maps each to the outputs;
    activations are `Wavelet`, and there is no normalization.  What the network returns is the first place of
    the sequence.  Attention never leaves a sequence: each value depends on its own point only.

    Parameters
    ----------
    inputs, outputs : int
        The last input is time.
    width : int
        Of the places of a sequence, a multiple of ``heads``.
    hidden, feedforward : int
        Neurons of the layers before the outputs, and behind attention.
    heads, layers : int
        Of attention, and layers of encoder and decoder each.
    steps : int
        k.
    step : float, positive
        d, in units of the last feature, which `Constrained` scales to [-1, 1].

    Raises
    ------
    ConfigError
        If a size is below 1, or heads do not divide the width.

    Notes
    -----
    Source: Zhao, Ding and Prakash, PINNsFormer, ICLR 2024, arXiv:2307.11833; sizes, starting weights and
    the number of parameters are those of the published code.

    As the decoder mixes no places, the first one needs no others in it: `forward` decodes one place instead
    of k, the same function for about a third of the operations.  The published loss takes residuals at all k
    places with, as derivative at place j, the sum of the derivatives of all k outputs with respect to the
    j-th input, which is the derivative of no function.  Here the whole sequence moves with its point, so
    derivatives, by jets as by reverse mode, are those of what the network returns, and residuals are taken
    of that.

    Examples
    --------
    >>> network = PINNsFormer(2, 1, width=8, hidden=16, feedforward=16)
    >>> network(torch.zeros(5, 2)).shape, network.sequence(torch.zeros(5, 2)).shape
    (torch.Size([5, 1]), torch.Size([5, 5, 1]))
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 32,
        hidden: int = 512,
        feedforward: int = 256,
        heads: int = 2,
        layers: int = 1,
        steps: int = 5,
        step: float = 1e-4,
    ) -> None:
        super().__init__()
        sizes = (inputs, outputs, width, hidden, feedforward, heads, layers, steps)
        if min(sizes) < 1 or width % heads or not step > 0:
            raise ConfigError(
                f"PINNsFormer: all sizes must be at least 1, step positive and heads a divisor of width, got "
                f"{sizes}, step={step}; width={width} and heads={heads}."
            )
        self.steps, self.step = steps, step
        self.places = _linear(inputs, width)
        self.encoder = nn.ModuleList(_Layer(width, heads, feedforward) for _ in range(layers))
        self.encoded = Wavelet()
        self.decoder = nn.ModuleList(_Layer(width, heads, feedforward) for _ in range(layers))
        self.decoded = Wavelet()
        self.last = _network(width, hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self._decode(x, 1)[:, 0]

    def sequence(self, x: Tensor) -> Tensor:
        """The outputs at all places, (n, steps, outputs)."""
        return self._decode(x, self.steps)

    def _decode(self, x: Tensor, count: int) -> Tensor:
        """The outputs at the first places."""
        device = self.places.weight.device
        later = torch.zeros(self.steps, x.shape[1], dtype=x.dtype, device=device)
        later[:, -1] = self.step * torch.arange(self.steps, dtype=x.dtype, device=device)
        places = self.places(x[:, None] + later)
        found = places
        for layer in self.encoder:
            found = layer(found, None)
        found = self.encoded(found)
        value = places[:, :count]
        for layer in self.decoder:
            value = layer(value, found)
        outputs: Tensor = self.last(self.decoded(value))
        return outputs


class _Layer(nn.Module):
    """Attention and two hidden layers, each added to what comes in, behind an activation."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.before, self.between = Wavelet(), Wavelet()
        self.attention = _Attention(width, heads)
        self.network = _network(width, feedforward, width)

    def forward(self, x: Tensor, source: Tensor | None) -> Tensor:
        query = self.before(x)
        x = x + self.attention(query, query if source is None else source)
        value: Tensor = x + self.network(self.between(x))
        return value


class _Attention(nn.Module):
    """Each place of x (n, places, width) attends to the places of source (n, places, width) with its number.

    Written out: fused attention of torch has no second derivative.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, 1 / sqrt(width // heads)
        # As torch.nn.MultiheadAttention starts, which has the three in one matrix.
        self.query, self.key, self.value = (_linear(width, width, sqrt(0.5), 0.0) for _ in range(3))
        self.last = _linear(width, width)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        query, key, value = self._split(self.query(x)), self._split(self.key(source)), self.value(source)
        weights = torch.softmax(self.scale * (query @ key.transpose(-2, -1)), -1)
        found: Tensor = self.last((weights @ self._split(value)).transpose(1, 2).flatten(2))
        return found

    def _split(self, x: Tensor) -> Tensor:
        """(n, places, width) to (n, heads, places, width / heads)."""
        parts: Tensor = x.unflatten(-1, (self.heads, -1))
        return parts.transpose(1, 2)


def _network(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _linear(inputs, width), Wavelet(), _linear(width, width), Wavelet(), _linear(width, outputs)
    )


def _linear(inputs: int, outputs: int, gain: float = 1.0, bias: float = 0.01) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight, gain)
    nn.init.constant_(layer.bias, bias)
    return layer
