r"""Linear maps of very many variables, and what differential operators need of them.

A function ``u(x) = g(x W + b)`` of d variables depends on its first layer W (d, h) in few ways: a derivative
along ``v`` is one of g along ``v W``; along a unit vector that is a row of W, which is read without any
product; and a sum over all directions, like the Laplacian, depends on W only through ``W^T W`` (h, h).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Generator, Tensor, nn

from sciml.kernels.factored_gradient import FactoredGradient, factors_of
from sciml.kernels.products import product

# Rows of W whose products are added up in float64.
GRAM_ROWS = 4096


@dataclass(frozen=True, eq=False)
class LinearMap:
    r"""``x W + b``, differentiable; gradients of W are left to `factors` if there are some.

    Parameters
    ----------
    weight : (d, h)
        W.
    bias : (h,) or None
        b.
    factors : FactoredGradient, optional
    """

    weight: Tensor
    bias: Tensor | None = None
    factors: FactoredGradient | None = None

    def along(self, vectors: Tensor) -> Tensor:
        """``v W`` for vectors (..., d)."""
        if not isinstance(vectors, Tensor):  # a jet
            return vectors @ self.weight
        if self.factors is not None and torch.is_grad_enabled():
            recorded: Tensor = _Product.apply(vectors, self.weight, self.factors)  # type: ignore[no-untyped-call]
            return recorded
        return vectors @ self.weight

    def values(self, x: Tensor) -> Tensor:
        """``x W + b`` for points (..., d)."""
        z = self.along(x)
        return z if self.bias is None else z + self.bias

    def rows(self, index: Tensor | None = None) -> Tensor:
        """``e_j W`` for each j in index (...), or for all of them: rows of W."""
        if index is None:
            index = torch.arange(len(self.weight), device=self.weight.device)
        if self.factors is not None and torch.is_grad_enabled():
            recorded: Tensor = _Rows.apply(self.weight, index, self.factors)  # type: ignore[no-untyped-call]
            return recorded
        return self.weight[index]

    def lengths(self) -> Tensor:
        """The lengths of the columns of W, (h,); their gradient is dense."""
        found: Tensor = torch.linalg.vector_norm(self.weight, dim=0)
        return found

    def root(self) -> Tensor:
        r"""T (r, h) with ``T^T T = W^T W`` and ``r = min(d, h)``: r directions that are as good as all d.

        For d <= h it is W. Else the Cholesky factor of ``W^T W``, computed in float64, or, where a pivot is
        as small as rounding errors, ``T = Q^T W`` from ``W = Q R`` with Q held constant: the same gradient,
        as T counts only through ``T^T T``, but no second derivative, which raises.
        """
        d, h = self.weight.shape
        if d <= h:
            return self.rows()
        if self.factors is not None and torch.is_grad_enabled():
            gram: Tensor = _Gram.apply(self.weight, self.factors)  # type: ignore[no-untyped-call]
        elif torch.is_grad_enabled() and self.weight.requires_grad:
            gram = (self.weight.T @ self.weight).double()
        else:
            gram = _gram(self.weight)
        lower: Tensor
        lower, info = torch.linalg.cholesky_ex(gram)
        pivots = lower.detach().diagonal().square()
        if not info and pivots.min() > h * torch.finfo(self.weight.dtype).eps * pivots.max():
            return lower.T.to(self.weight.dtype)
        basis = torch.linalg.qr(self.weight.detach()).Q
        return _Once.apply(self.along(basis.T))  # type: ignore[no-untyped-call,no-any-return]


class WideLinear(nn.Module):
    r"""``x W + b`` for many inputs and few outputs, the first layer in high dimension.

    Parameters
    ----------
    in_features, out_features : int
        d and h.
    generator : torch.Generator, optional
        For the initial weights: uniform in ``±1/√d``, as in `torch.nn.Linear`.

    Notes
    -----
    ``weight`` is (d, h), the transpose of that of `torch.nn.Linear`: one row is what belongs to one variable,
    and updates work on contiguous tiles. Under `sciml.kernels.factored_gradient.recorded` the gradient of the
    weight is kept as factors; elsewhere it is dense.

    Examples
    --------
    >>> import torch
    >>> WideLinear(1000, 4)(torch.zeros(5, 1000)).shape
    torch.Size([5, 4])
    """

    def __init__(self, in_features: int, out_features: int, *, generator: Generator | None = None) -> None:
        super().__init__()
        if in_features < 1 or out_features < 1:
            raise ValueError(
                f"WideLinear: needs at least one input and one output, got {in_features} and {out_features}."
            )
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        bound = 1 / sqrt(in_features)
        with torch.no_grad():
            self.weight.uniform_(-bound, bound, generator=generator)
            self.bias.uniform_(-bound, bound, generator=generator)

    @property
    def map(self) -> LinearMap:
        """The map, with the place where gradients are recorded."""
        factors = factors_of(self.weight) if self.weight.requires_grad else None
        return LinearMap(self.weight, self.bias, factors)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.in_features:
            raise ValueError(
                f"WideLinear: x must have {self.in_features} variables on its last axis, got shape "
                f"{tuple(x.shape)}."
            )
        return self.map.values(x)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"


def _gram(weight: Tensor) -> Tensor:
    """``W^T W`` in float64, (h, h)."""
    total = weight.new_zeros(weight.shape[1], weight.shape[1], dtype=torch.float64)
    with torch.no_grad():
        for piece in weight.split(GRAM_ROWS):
            total += piece.T @ piece
    return total


def _only_once() -> None:
    if torch.is_grad_enabled():
        raise RuntimeError(
            "WideLinear: a gradient kept as factors cannot be differentiated again. Call the layer outside "
            "of recorded(), where gradients are dense tensors."
        )


class _Product(torch.autograd.Function):
    """``x W``; the gradient of W is recorded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, factors: FactoredGradient) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.factors = factors
        return product(x.reshape(-1, x.shape[-1]), weight).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None]:
        _only_once()
        x, weight = ctx.saved_tensors
        ctx.factors.add_product(x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1]))
        return gradient @ weight.T if ctx.needs_input_grad[0] else None, None, None


class _Rows(torch.autograd.Function):
    """Rows of W; their gradients are recorded."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, index: Tensor, factors: FactoredGradient) -> Tensor:
        ctx.index, ctx.factors = index, factors
        return weight[index]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:
        _only_once()
        ctx.factors.add_rows(ctx.index.flatten(), gradient.reshape(-1, gradient.shape[-1]))
        return None, None, None


class _Gram(torch.autograd.Function):
    """``W^T W``; the gradient ``W (Γ + Γ^T)`` is recorded, W itself being one of its factors."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, factors: FactoredGradient) -> Tensor:
        ctx.weight, ctx.factors = weight.detach(), factors
        return _gram(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None]:
        _only_once()
        ctx.factors.add_product(ctx.weight.T, (gradient + gradient.T).to(ctx.weight.dtype))
        return None, None


class _Once(torch.autograd.Function):
    """The identity, which refuses a second derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "LinearMap.root: the weight has dependent columns, so that its root has only a first "
                "derivative."
            )
        return gradient
