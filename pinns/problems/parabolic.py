"""What parabolic equations in many dimensions share: clouds of points, and operators in one pass."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.kernels.evaluation import evaluate
from sciml.kernels.forms import LineForm
from sciml.kernels.jet import Directions
from sciml.pinns.conditions import Function
from sciml.pinns.domain import Domain
from sciml.pinns.gaussian import Gaussian
from sciml.pinns.problem import Estimate


def along_paths(dim: int, end: float) -> Domain:
    """Where paths of ``dX = sqrt(2) dW`` from 0 are, with the time t that they still have to go."""
    return Domain(Gaussian(dim, variance=2 * end, rate=-2.0), time=(0.0, end))


def check_numbers(who: str, dim: int, **positive: float) -> None:
    """Raise for a dimension below 1, or a number that is not positive and finite."""
    if dim < 1:
        raise ConfigError(f"{who}: dim must be at least 1, got {dim}.")
    for name, value in positive.items():
        if not 0 < value < math.inf:
            raise ConfigError(f"{who}: {name} must be positive and finite, got {value}.")


def squared_length(x: Tensor) -> Tensor:
    """``|x|^2`` in space, (n,) from points (n, d + 1), without the last column, the time."""
    space = x[:, :-1]
    return torch.einsum("nd,nd->n", space, space)


def white(x: Tensor, w: Tensor) -> Tensor:
    """The noise of ``dX = sqrt(2) dW``, the process behind the Laplacian."""
    return math.sqrt(2) * w


class _OverSpace(LineForm):
    """``Σ_i ∂²/∂x_i²`` over all variables but the last."""

    def lines(self, x: Tensor) -> Directions:
        return Directions(2, torch.eye(self.count(x), x.shape[1], dtype=x.dtype, device=x.device))

    def count(self, x: Tensor) -> int:
        return x.shape[1] - 1


def space_laplacian(x: Tensor) -> LineForm:
    """The Laplacian in all variables but the last, time, for `evaluate` at points like x (n, d + 1).

    Estimators draw summands and signs in space only.

    Examples
    --------
    >>> x = torch.ones(1, 4, dtype=torch.float64)
    >>> _, found = evaluate(lambda x: (x**3).sum(1), x, [space_laplacian(x)])
    >>> found.tolist()
    [18.0]
    """
    weights = x.new_ones(x.shape[1])
    weights[-1] = 0
    return _OverSpace(2, None, weights, nonnegative=True)


def evolution(u: Function, x: Tensor, estimate: Estimate) -> tuple[Tensor, Tensor, Tensor]:
    """u (n,), ``u_t`` and ``Laplace(u)`` in space, (n,) or (draws, n), at points (n, d + 1) in one pass."""
    unit = torch.zeros(1, x.shape[1], dtype=x.dtype, device=x.device)
    unit[0, -1] = 1
    value, rate, laplacian = evaluate(u, x, [LineForm(1, unit), space_laplacian(x)], **estimate)
    return value, rate, laplacian


def steepened(u: Function, x: Tensor, factor: float) -> Function:
    """``w = exp(factor (u - c))``, c the values of u at x, after Hopf and Cole.

    There ``w_t / w = factor u_t`` and ``Laplace(w) / w = factor (Laplace(u) + factor |grad u|^2)``, so that a
    squared gradient costs no more than the Laplacian, and whatever estimates one estimates the other.
    """
    with torch.no_grad():
        values = u(x)
    return lambda x: torch.exp(factor * (u(x) - values))
