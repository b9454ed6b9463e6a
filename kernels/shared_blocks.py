r"""A first layer whose weights are shared between blocks of variables, for millions of them."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Generator, Tensor, nn


class SharedBlocks(nn.Module):
    r"""``t_k = tanh(w · x_k + b)`` for consecutive blocks x_k of B variables: (..., d) -> (..., ⌈d/B⌉).

    In front of a linear layer with h outputs it takes the place of ``d h`` weights by ``d h / B + B``. The
    last block may be shorter and uses the first of the weights.

    Parameters
    ----------
    in_features, block : int
        d and B.
    generator : torch.Generator, optional
        For the initial weights: uniform in ``±1/√B``.

    Notes
    -----
    A variable x_j enters through its block k only. With ``f = tanh`` the Laplacian of ``g(t W + a)`` is

        Σ_j { w_j² f'(s_k)² D²g[W_k, W_k] + w_j² f''(s_k) W_k · ∇g },

    rows W_k of the next layer again; `sciml.kernels.evaluation.evaluate` makes use of it where a sequence of
    modules begins with this one and a linear one.

    Source: Z. Shi et al., *Stochastic Taylor derivative estimator*, arXiv:2412.00088, appendix G.

    Examples
    --------
    >>> SharedBlocks(1000, 100)(torch.zeros(5, 1000)).shape
    torch.Size([5, 10])
    """

    def __init__(self, in_features: int, block: int, *, generator: Generator | None = None) -> None:
        super().__init__()
        if not 1 <= block <= in_features:
            raise ValueError(
                f"SharedBlocks: the block must have 1 to in_features={in_features} variables, got {block}."
            )
        self.in_features = in_features
        self.block = block
        self.weight = nn.Parameter(torch.empty(block))
        self.bias = nn.Parameter(torch.zeros(()))
        with torch.no_grad():
            self.weight.uniform_(-1 / sqrt(block), 1 / sqrt(block), generator=generator)

    @property
    def out_features(self) -> int:
        """The number of blocks."""
        return -(-self.in_features // self.block)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.sums(x))

    def sums(self, x: Tensor) -> Tensor:
        """``w · x_k + b``."""
        if x.shape[-1] != self.in_features:
            raise ValueError(
                f"SharedBlocks: x must have {self.in_features} variables on its last axis, got shape "
                f"{tuple(x.shape)}."
            )
        whole = self.in_features // self.block * self.block
        sums = x[..., :whole].reshape(*x.shape[:-1], -1, self.block) @ self.weight
        if whole < self.in_features:
            last = x[..., whole:] @ self.weight[: self.in_features - whole]
            sums = torch.cat([sums, last[..., None]], dim=-1)
        return sums + self.bias

    def lengths(self, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Blocks and numbers w with ``w² = Σ w_j²``: for single variables j, or for all variables of each
        block."""
        if index is not None:
            return index // self.block, self.weight[index % self.block]
        blocks = torch.arange(self.out_features, device=self.weight.device)
        last = self.in_features - (self.out_features - 1) * self.block
        whole, part = self.weight.norm(), self.weight[:last].norm()
        return blocks, torch.where(blocks < self.out_features - 1, whole, part)

    def extra_repr(self) -> str:
        return f"{self.in_features}, block={self.block}"
