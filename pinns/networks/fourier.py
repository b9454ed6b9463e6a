"""Random Fourier features in front of a network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.networks.mlp import MLP


@describable
class FourierFeatures(nn.Module):
    r"""``N([cos(x B), sin(x B)])`` with random, trained frequencies B of standard deviation ``scale``.

    For features x scaled to [-1, 1], scales of 1 to 2 suit most equations in one dimension, 10 to 15 waves
    and boundary layers.

    Parameters
    ----------
    inputs, outputs : int
    features : int, even
        Behind the map: half of them cosines.
    scale : float, positive
    network : factory
        Of N, called as ``network(features, outputs)``.

    Raises
    ------
    ConfigError
        If ``features`` is not even and positive, or ``scale`` not positive.

    Notes
    -----
    The inner product of the features of x and y is about ``features / 2 * exp(-scale^2 |x - y|^2 / 2)``.
    Source: Tancik et al., Fourier features let networks learn high frequency functions in low dimensional
    domains (2020); trained frequencies as in Wang, Sankaran, Wang and Perdikaris, arXiv:2308.08468.

    Examples
    --------
    >>> FourierFeatures(2, 1, features=64)(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        features: int = 64,
        scale: float = 1.0,
        network: Callable[[int, int], nn.Module] = partial(MLP, width=64, depth=3),  # noqa: B008
    ) -> None:
        super().__init__()
        if features < 2 or features % 2 or not scale > 0:
            raise ConfigError(
                f"FourierFeatures: features must be even and scale positive, got {features} and {scale}."
            )
        self.frequencies = nn.Parameter(scale * torch.randn(inputs, features // 2))
        self.network = network(features, outputs)

    def embed(self, x: Tensor) -> Tensor:
        """The features (n, features) of x (n, inputs)."""
        phase = x @ self.frequencies
        return torch.cat([torch.cos(phase), torch.sin(phase)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.network(self.embed(x))
        return value
