"""The low-rank neural operator: kernels that are sums of a few products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from sciml.description import describable
from sciml.operators.box import check_counts
from sciml.operators.cloud import Cloud
from sciml.operators.kernel_integral import PROJECTION_WIDTH, Basis, two_layers
from sciml.operators.measures import measures
from sciml.operators.properties import Properties

published: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "burgers": (
        {"terms": 4, "width": 32, "depth": 4, "hidden": (64, 128, 256), "entrywise": True},
        "Kovachki et al., JMLR 24 (2023), the authors' script for Burgers' equation at 8192 points",
    ),
}
"""Arguments of published set-ups, and where they are from."""


@describable
class LowRank(nn.Module):
    r"""Low-rank neural operator: ``v ↦ σ(W v + b + Σ_j φ_j <ψ_j, v>)`` with learned functions φ_j, ψ_j.

    ``v_0 = P(a, ξ)``, ``v_l = GELU(W_l v_{l-1} + b_l + K_l v_{l-1})`` (no GELU after the last layer), ``u =
    Q(v_depth)``, P affine per point, Q with one hidden layer of 128, and

    ``(K v)(x) = Σ_j φ_j(x) ∫ ψ_j(y)·v(y) dμ(y)``, ``φ_j(x) = φ_j(x, a(x))``, ``ψ_j(y) = ψ_j(y, a(y))``

    with vectors φ_j, ψ_j of ``width`` entries, the outputs of two MLPs for each layer, the sum divided by
    ``sqrt(terms width)`` so that steps of an optimizer suit all layers. The measure of the
    domain is 1; quadrature weights as in `sciml.operators.measures.measures`.

    Parameters
    ----------
    rank : int
        Coordinates of a point.
    in_channels, out_channels : int
        Channels of the input and of the output, coordinates not counted.
    terms : int
        Number of products, the rank of the kernel.
    width : int
        Channels of the hidden fields.
    depth : int
        Number of layers.
    hidden : sequence of int
        Hidden layers of φ and ψ.
    entrywise : bool
        Whether each entry of the kernel, a width x width matrix, has products of its own:
        ``(K v)_o(x) = Σ_ij φ_oij(x) ∫ ψ_oij(y) v_i(y) dμ(y)``, as in the authors' code.

    Attributes
    ----------
    requires : tuple of str
        ``("coordinates",)``.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Complexity: O(N H width) per layer for N points and H units in the last hidden layer, whatever the number
    of terms: the last layers of φ and ψ are affine, so the integrals are taken of their inputs, before them.
    Resolution: integrals converge as points are refined, with the order of the quadrature.
    From the published code differ: GELU for ReLU, no batch normalization (which would let samples of a batch
    see each other), quadrature weights in place of equal ones.

    Source: Kovachki et al., *Neural Operator: Learning Maps Between Function Spaces*, JMLR 24 (2023),
    section 4.2.

    Examples
    --------
    >>> import torch
    >>> model = LowRank(2, 1, 1, terms=4, width=16)
    >>> model(torch.zeros(3, 50, 1), torch.rand(3, 50, 2)).shape
    torch.Size([3, 50, 1])
    """

    properties = Properties(
        needs_grid=False, periodic=False, resolution_bound=False, linear=False, exports=True
    )

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        *,
        terms: int = 16,
        width: int = 32,
        depth: int = 4,
        hidden: Sequence[int] = (64, 64),
        entrywise: bool = False,
    ) -> None:
        super().__init__()
        counts = {"out_channels": out_channels, "terms": terms, "width": width, "depth": depth}
        check_counts("LowRank", {**counts, "a hidden layer": min(hidden, default=1)})
        self.cloud = Cloud("LowRank", rank, in_channels)
        self.requires = self.cloud.requires
        self.lifting = nn.Linear(in_channels + rank, width)
        self.projection = two_layers(width, PROJECTION_WIDTH, out_channels)
        layer = _Entrywise if entrywise else _Vectors
        self.layers = nn.ModuleList(layer((in_channels, rank), width, terms, hidden) for _ in range(depth))

    def forward(
        self,
        x: Tensor,
        coordinates: Tensor | None = None,
        mask: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Apply the operator.

        Parameters
        ----------
        x : (batch, point, in_channels), or (batch, in_channels, *space)
            Normalized input.
        coordinates : (batch, point, rank), or (batch, rank, *space)
            In the unit box.
        mask : (batch, point) bool, optional
            On points: False at padding.
        weights : (batch, point), optional
            Quadrature weights.

        Returns
        -------
        (batch, point, out_channels), or (batch, out_channels, *space)

        Raises
        ------
        ShapeError
            If a shape does not fit, or coordinates are missing.
        """
        rows = self.cloud.enter(x, coordinates, mask)
        measure = measures("LowRank", rows, weights, (False,) * self.cloud.rank)
        located = rows.located
        v = self.lifting(located)
        for number, layer in enumerate(self.layers):
            v = layer(gelu(v) if number > 0 else v, located, measure)
        return rows.back(self.projection(v))

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> LowRank:
        """A tiny instance that trains in seconds, for tests."""
        return LowRank(rank, in_channels, out_channels, terms=8, width=32, depth=2, hidden=(48,))


class _Vectors(nn.Module):
    """``W v + b + Σ_j φ_j <ψ_j, v>``; weights of φ and ψ (term, channel, basis)."""

    def __init__(self, features: tuple[int, int], width: int, terms: int, hidden: Sequence[int]) -> None:
        super().__init__()
        size, places = sum(features), range(features[0], sum(features))  # channels, then coordinates
        self.pointwise = nn.Linear(width, width)
        self.left, self.right = (Basis(size, hidden, places) for _ in range(2))
        shape = self._shape(terms, width)
        self.scale = 1 / sqrt(terms * width)
        self.left_weight, self.right_weight = _start(*shape, self.left.size), _start(*shape, self.right.size)

    @staticmethod
    def _shape(terms: int, width: int) -> tuple[int, ...]:
        return terms, width

    def forward(self, v: Tensor, located: Tensor, measure: Tensor) -> Tensor:
        moments = (self.right(located) * measure[..., None]).mT @ v  # (batch, basis, channel)
        u: Tensor = self.pointwise(v) + self.scale * (self.left(located) @ self._contracted(moments))
        return u

    def _contracted(self, moments: Tensor) -> Tensor:
        """What the basis of φ is multiplied with, (batch, basis, channel)."""
        products = torch.einsum("jih,bhi->bj", self.right_weight, moments)
        return torch.einsum("joh,bj->bho", self.left_weight, products)


class _Entrywise(_Vectors):
    """The same with φ and ψ for each entry of the kernel; weights (out, in, term, basis)."""

    @staticmethod
    def _shape(terms: int, width: int) -> tuple[int, ...]:
        return width, width, terms

    def _contracted(self, moments: Tensor) -> Tensor:
        products = torch.einsum("oijh,bhi->boij", self.right_weight, moments)
        return torch.einsum("oijh,boij->bho", self.left_weight, products)


def _start(*shape: int) -> nn.Parameter:
    """Weights with which a sum over the last axis keeps its size."""
    bound = 1 / sqrt(shape[-1])
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))
