"""Modes of some coordinates, whose sizes are a network of the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.networks.mlp import MLP
from sciml.pinns.remembered import Remembered


@describable
class Modes(nn.Module):
    r"""``sum_m phi_m(x) c_m(t)``: known functions of the first coordinates, times a network c of the others.

    For evolution in a simple region: what varies most in space is known beforehand, and little is left to be
    learned.  In a short window of time the sizes change little, and an equation is nearly linear in them, so
    few steps of Gauss and Newton find them.  Exactly one of the following says what the :math:`\phi_m` are.

    Parameters
    ----------
    inputs, outputs : int
    cosines, sines : sequence of sequences of int
        For the first coordinates, one after the other, the k of ``cos(k pi s)``, or ``sin(k pi s)``, where s
        goes from 0 to 1 as the coordinate from -1 to 1; the modes are all products.  Cosines have no slope at
        either end, sines with whole k no value.
    given : int
        The first inputs are modes, so many of them, and the constant 1 too: the harmonics of a periodic
        coordinate, of which there are two for each of the recipe's ``harmonics``.
    network : factory
        Of c, called as ``network(other inputs, modes * outputs)``; of a constant where there are no others.

    Attributes
    ----------
    rates : list of tensors
        For each coordinate of which there are waves, their k pi / 2.
    wave : function
        Sine or cosine, of ``rate * (x + 1)`` for a coordinate x.
    count : int
        Of the modes; those of the last coordinate run first.

    Raises
    ------
    ConfigError
        If not exactly one kind of modes is asked for, or there are fewer inputs than they take.

    Examples
    --------
    >>> network = Modes(3, 1, cosines=(range(4), range(3)))
    >>> network(torch.zeros(5, 3)).shape, network.count
    (torch.Size([5, 1]), 12)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        cosines: Sequence[Sequence[int]] = (),
        sines: Sequence[Sequence[int]] = (),
        given: int = 0,
        network: Callable[[int, int], nn.Module] = partial(MLP, width=10, depth=1),  # noqa: B008
    ) -> None:
        super().__init__()
        waves = cosines or sines
        taken = given or len(waves)
        if sum(map(bool, (cosines, sines, given))) != 1 or not all(waves) or not 0 < taken <= inputs:
            raise ConfigError(
                "Modes: takes cosines, sines or the number of given ones, of at most as many coordinates as "
                f"there are inputs, got {cosines}, {sines} and {given} for {inputs} inputs."
            )
        self.outputs, self._taken = outputs, taken
        self.wave = torch.cos if cosines else torch.sin
        # No buffers: rounded to float32 and back, the waves would drift apart from those of the data.
        self.rates = [math.pi / 2 * torch.tensor(list(k), dtype=torch.float64) for k in waves]
        self._modes = Remembered(self.shapes)
        self.count = math.prod(map(len, waves)) if waves else 1 + given
        self.network = network(max(1, inputs - taken), self.count * outputs)

    def forward(self, x: Tensor) -> Tensor:
        others = x[:, self._taken :] if x.shape[1] > self._taken else torch.ones_like(x.detach()[:, :1])
        sizes = self.network(others).unflatten(1, (self.outputs, self.count))
        value: Tensor = (self._modes(x[:, : self._taken])[:, None] * sizes).sum(-1)
        return value

    def shapes(self, x: Tensor) -> Tensor:
        """The modes (n, count) at the coordinates that they depend on."""
        if not self.rates:
            return torch.cat([torch.ones_like(x.detach()[:, :1]), x], dim=1)
        factors = [
            self.wave((x[:, i : i + 1] + 1) * rates.to(x.detach())) for i, rates in enumerate(self.rates)
        ]
        return reduce(lambda a, b: (a[:, :, None] * b[:, None]).flatten(1), factors)


def at_rest(model: nn.Module, problem: object = None) -> None:
    """Make the sizes of `Modes` zero: training starts from what is built in.  ``Recipe(fit=at_rest)``.

    With random sizes high modes are as large as low ones, and their derivatives far from any solution.

    Parameters
    ----------
    model : module
        With `Modes` inside whose networks end with a linear layer.
    problem : Problem
        Not needed.

    Raises
    ------
    ConfigError
        If there are no modes, or a network ends otherwise.
    """
    every = [module for module in model.modules() if isinstance(module, Modes)]
    if not every:
        raise ConfigError(f"at_rest: there are no Modes in {type(model).__name__}.")
    for modes in every:
        *_, last = modes.network.modules()
        if not isinstance(last, nn.Linear):
            raise ConfigError(f"at_rest: the network of Modes ends with {type(last).__name__}, not Linear.")
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
