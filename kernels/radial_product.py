r"""Functions that vanish on spheres: a network times a polynomial of ``|x|²``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class RadialProduct(nn.Module):
    r"""``u(x) = c(x) N(x)`` with ``c = Π_k (ρ_k² - |x|²)``, zero where ``|x| = ρ_k``: a hard boundary
    condition.

    With one radius it is the ansatz on a ball, with two on a shell between spheres.

    Parameters
    ----------
    network : module, (batch, d) -> (batch,) or (batch, 1)
        N.
    radii : sequence of positive numbers
        ρ_k.

    Notes
    -----
    With ``s = |x|²`` and ``c = φ(s)`` the product rule reads

        Δu = φ ΔN + 4 φ' x·∇N + (2 d φ' + 4 s φ'') N.

    `sciml.kernels.differential.laplacian` and `sciml.kernels.evaluation.evaluate` apply it: only ΔN is
    estimated, all other terms are exact, and ``x·∇N`` is the derivative of the network along ``z - b`` behind
    its first layer. The variance is that of the estimator for ``φ ΔN``. Other operators go through the
    product as written.

    Examples
    --------
    >>> from sciml.kernels import laplacian
    >>> class One(nn.Module):
    ...     def forward(self, x):
    ...         return 0 * x.sum(-1) + 1
    >>> u = RadialProduct(One())
    >>> u(torch.zeros(1, 5)), laplacian(u, torch.zeros(1, 5))
    (tensor([1.]), tensor([-10.]))
    """

    def __init__(self, network: nn.Module, radii: Sequence[float] = (1.0,)) -> None:
        super().__init__()
        if not radii or min(radii) <= 0:
            raise ValueError(f"RadialProduct: needs at least one radius, all positive, got {tuple(radii)}.")
        self.network = network
        self.radii = tuple(radii)

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.network(x)
        s = squared_length(x) if isinstance(x, Tensor) else (x * x).sum(-1)  # a jet
        factor = self.radii[0] ** 2 - s
        for radius in self.radii[1:]:
            factor = factor * (radius**2 - s)
        return factor * value if value.ndim == 1 else factor[:, None] * value

    def factor(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``φ(s)``, ``φ'(s)`` and ``φ''(s)``."""
        value, first, second = torch.ones_like(s), torch.zeros_like(s), torch.zeros_like(s)
        for radius in self.radii:
            root = radius**2 - s
            value, first, second = root * value, root * first - value, root * second - 2 * first
        return value, first, second

    def combine(
        self, x: Tensor, value: Tensor, outward: Tensor, laplacians: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """u and Δu from N (batch,), ``x·∇N`` and estimates (..., batch) of ΔN."""
        return self.assemble(squared_length(x), x.shape[1], value, outward, laplacians)

    def assemble(
        self, s: Tensor, dim: int, value: Tensor, outward: Tensor, laplacians: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """`combine` where no more is known of the points than ``|x|²`` (batch,) and their dimension."""
        factor, first, second = self.factor(s)
        rest = 4 * first * outward + (2 * dim * first + 4 * s * second) * value
        return factor * value, *(factor * laplacian + rest for laplacian in laplacians)

    def extra_repr(self) -> str:
        return f"radii={self.radii}"


def squared_length(x: Tensor) -> Tensor:
    """``|x|²`` for (batch, d); without a tensor of that size where no gradient reaches x."""
    if x.requires_grad:
        return x.square().sum(1)
    length: Tensor = torch.linalg.vector_norm(x, dim=1)
    return length.square()
