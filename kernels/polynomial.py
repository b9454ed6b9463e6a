r"""Polynomials with all their coefficients, and what a Laplacian needs of them, in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations

import torch
from torch import Tensor, nn


class FullPolynomial(nn.Module):
    r"""``p(x) = c_0 b + Σ_k c_k T_k[x, …, x]`` up to a degree: (batch, d) -> (batch, outputs).

    Parameters
    ----------
    in_features, out_features, degree : int
        d, outputs and the degree p.  Each output has ``d^k`` weights of degree k, all zero at first.

    Raises
    ------
    ValueError
        If one of them is below 1.

    Notes
    -----
    ``c_k = d^{(k - p)/4}``.  Where coordinates are of size ``1/√d``, features of degree k have a variance of
    order ``d^{-k}``; with equal factors gradient descent finds low degrees ``d`` times as fast as the next
    ones, with ``c_k = d^{(k - p)/2}`` all at the speed of the slowest.  These are half-way: low degrees are
    found first, and their steps are no longer so large that they keep others short.

    ``ΔT[x, …, x] = 2 Σ_{i<j} tr_ij T[x, …, x]`` costs as much as the degree two below.  `laplacian` and
    `evaluate` make use of it where derivatives are `Exact`, also of a `RadialProduct` with a polynomial
    inside; all else goes through it as through any other function.

    Examples
    --------
    >>> import torch
    >>> p = FullPolynomial(3, 1, 2)
    >>> _ = torch.nn.init.eye_(p.weights[1])
    >>> value, outward, laplacian = p.derivatives(torch.ones(1, 3))
    >>> value.item(), outward.item(), laplacian.item()
    (3.0, 6.0, 6.0)
    """

    def __init__(self, in_features: int, out_features: int, degree: int) -> None:
        super().__init__()
        if min(in_features, out_features, degree) < 1:
            raise ValueError(
                "FullPolynomial: in_features, out_features and degree must be at least 1, got "
                f"{in_features}, {out_features} and {degree}."
            )
        self.in_features, self.out_features, self.degree = in_features, out_features, degree
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.weights = nn.ParameterList(
            torch.zeros(in_features ** (k - 1), in_features * out_features) for k in range(1, degree + 1)
        )

    def factor(self, k: int) -> float:
        """c_k."""
        return float(self.in_features ** ((k - self.degree) / 4))

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.factor(0) * self.bias + sum(self._forms(x))
        return value

    def derivatives(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """p, ``x·∇p`` and ``Δp`` of the only output, (batch,) each."""
        forms = [form[:, 0] for form in self._forms(x)]
        value = self.factor(0) * self.bias + sum(forms)
        outward = sum((k * form for k, form in enumerate(forms, 1)), torch.zeros_like(value))
        laplacian = torch.zeros_like(value)
        lower = chain([x.new_ones(len(x), 1)], _powers(x))
        for k, power in zip(range(2, len(forms) + 1), lower, strict=False):
            laplacian = laplacian + 2 * self.factor(k) * (power @ self._trace(k))
        return value, outward, laplacian

    def _forms(self, x: Tensor) -> Iterator[Tensor]:
        """``c_k T_k[x, …, x]`` from the first degree up, (batch, outputs) each."""
        yield self.factor(1) * (x @ self.weights[0].reshape(-1, self.out_features))
        for k, power in zip(range(2, len(self.weights) + 1), _powers(x), strict=False):
            inside = (power @ self.weights[k - 1]).reshape(-1, self.in_features, self.out_features)
            yield self.factor(k) * (inside * x[:, :, None]).sum(1)

    def _trace(self, k: int) -> Tensor:
        """``Σ_{i<j} tr_ij T_k``, (d^{k-2},)."""
        tensor = self.weights[k - 1].reshape((self.in_features,) * k)
        traces = [tensor.diagonal(dim1=i, dim2=j).sum(-1) for i, j in combinations(range(k), 2)]
        return torch.stack(traces).sum(0).reshape(-1)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, degree={self.degree}"


def _powers(x: Tensor) -> Iterator[Tensor]:
    """``x``, ``x ⊗ x``, …, (batch, d^k), each when it is asked for."""
    power = x
    while True:
        yield power
        power = (power[:, :, None] * x[:, None, :]).reshape(-1, power.shape[1] * x.shape[1])
