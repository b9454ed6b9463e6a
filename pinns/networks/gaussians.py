"""Physics-informed Gaussians: features made of Gaussians that move and stretch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, reduce

import torch
from torch import Generator, Tensor, nn
from torch.utils.checkpoint import checkpoint

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.networks.mlp import MLP

_FAR = 3.0  # widths, beyond which less than 1.2 % of a Gaussian is left


@describable
class PIG(nn.Module):
    r"""``N(f(x))`` with features ``f_k(x) = sum_i w_ik exp(-1/2 sum_d ((x_d - m_kid) / s_kid)^2)``.

    Centers m, widths s and weights w are trained; as the Gaussians go where they are needed, they are a mesh
    that adapts itself.  Of the widths the logarithm is trained, so that none becomes zero or negative.

    Parameters
    ----------
    inputs, outputs : int
    count : int
        Gaussians of each feature.
    features : int
        k; small, with a small network N behind.
    width : float, positive
        Of all Gaussians at first.  Centers begin anywhere in [-1, 1]^d, where `Constrained` puts the domain.
    shared : bool
        One set of Gaussians for all features, with weights of their own, instead of one set for each.
    chunk : int, optional
        Points that are evaluated together.  The backward pass evaluates them again instead of keeping the
        ``points * features * count`` Gaussians with their derivatives.
    network : factory
        Of N, called as ``network(features, outputs)``.

    Raises
    ------
    ConfigError
        If a size is below 1, or the width not positive.

    Notes
    -----
    Source: Kang, Oh, Hong and Park, PIG, ICLR 2025, arXiv:2412.05994.  Their code trains the widths
    themselves, and has one set of Gaussians for each feature, as here by default; centers and weights, of
    deviation 0.01, begin as there.

    Under ``torch.func`` a chunk changes nothing: its transforms cannot evaluate again.

    Examples
    --------
    >>> PIG(2, 1, count=10)(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        count: int = 200,
        features: int = 4,
        width: float = 0.1,
        shared: bool = False,
        chunk: int | None = None,
        network: Callable[[int, int], nn.Module] = partial(MLP, width=16, depth=1),  # noqa: B008
    ) -> None:
        super().__init__()
        if min(inputs, outputs, count, features, chunk or 1) < 1 or chunk == 0 or not width > 0:
            raise ConfigError(
                f"PIG: inputs, outputs, count, features and chunk must be at least 1 and width positive, got "
                f"{inputs}, {outputs}, {count}, {features}, {chunk} and {width}."
            )
        sets = 1 if shared else features
        self.chunk = chunk
        self.centers = nn.Parameter(2 * torch.rand(inputs, sets, count) - 1)
        self.log_widths = nn.Parameter(torch.full((inputs, sets, count), math.log(width)))
        self.weights = nn.Parameter(0.01 * torch.randn(features, count))
        self.network = network(features, outputs)

    def embed(self, x: Tensor) -> Tensor:
        """The features (n, features) of x (n, inputs)."""
        if self.chunk is None or self.chunk >= len(x) or torch._C._are_functorch_transforms_active():
            return self._features(x)
        parts = x.split(self.chunk)
        if not torch.is_grad_enabled():
            return torch.cat([self._features(part) for part in parts])
        return torch.cat(
            [
                checkpoint(self._features, part, use_reentrant=False, preserve_rng_state=False)
                for part in parts
            ]
        )

    def _features(self, x: Tensor) -> Tensor:
        rates = torch.exp(-self.log_widths)
        # The difference first: expanded, x^2 - 2 x m + m^2 would lose digits where Gaussians are narrow.
        squares = [
            ((x[:, d, None, None] - center) * rate).square()
            for d, (center, rate) in enumerate(zip(self.centers, rates, strict=True))
        ]
        values = torch.exp(-0.5 * reduce(torch.add, squares))
        if len(rates[0]) == 1:
            return values[:, 0] @ self.weights.T
        return torch.einsum("nki,ki->nk", values, self.weights)

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.network(self.embed(x))
        return value

    def revive(self, generator: Generator | None = None) -> int:
        """Put Gaussians that left [-1, 1]^d, by more than three widths, back to places drawn at random.

        They have no part in the solution any more, and no gradient that could bring them back.  To be called
        between steps of training, as in ``for step in trainer.iterate(...)``.

        Returns
        -------
        int
            How many.
        """
        with torch.no_grad():
            out = (self.centers.abs() - 1 > _FAR * self.log_widths.exp()).any(0)
            places = 2 * torch.rand(self.centers.shape, generator=generator) - 1
            self.centers.copy_(torch.where(out, places.to(self.centers), self.centers))
        return int(out.sum())
