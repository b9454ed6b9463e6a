"""Partial derivatives of functions with several outputs, all from one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from sciml.kernels.derivatives import MultiIndex, d
from sciml.kernels.entrance import enter, moved
from sciml.kernels.estimators import Exact
from sciml.kernels.evaluation import check_points
from sciml.kernels.forms import sweeps_of, values_of
from sciml.kernels.plans import Plan, plan
from sciml.kernels.sweeps import sweep


class Partials:
    """The derivatives ∂^α of every component of a function, planned once and evaluated often.

    Parameters
    ----------
    indices : multi-indices
        Each lists its variables: ``(0, 0, 1)`` is ∂³/∂x_0²∂x_1.  The order of variables does not matter.
    dim : int
        Variables of the functions.

    Raises
    ------
    ValueError
        If an index has a variable that the functions do not have.

    Examples
    --------
    >>> import torch
    >>> flow = lambda x: torch.stack([x[:, 0] * x[:, 1], x[:, 1] ** 3], dim=1)
    >>> value, found = Partials([(0,), (1, 1)], dim=2)(flow, torch.tensor([[2.0, 3.0]]))
    >>> value, found[0,], found[1, 1]
    (tensor([[ 6., 27.]]), tensor([[3., 0.]]), tensor([[ 0., 18.]]))
    """

    def __init__(self, indices: Iterable[MultiIndex], dim: int) -> None:
        # The highest orders first: lower ones ride on their lines.
        self.indices = sorted({tuple(sorted(index)) for index in indices}, key=lambda i: (-len(i), i))
        self.dim = dim
        self._plan: Plan | None = plan([d(*i) for i in self.indices], dim) if self.indices else None

    def __call__(self, u: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, dict[MultiIndex, Tensor]]:
        """The values of u, (batch,) or (batch, components), and each derivative in the same shape.

        Each value must depend on its own point x (batch, d) only.  Differentiable with respect to x and to
        the parameters of u.
        """
        check_points("Partials", x)
        if self._plan is None:
            return u(x), {}
        entrance = enter(u, x, self._plan.operators, Exact())
        sweeps, terms = sweeps_of(self._plan, values_of(self._plan, x), x)
        value, sums = sweep(entrance, entrance.points, [moved(entrance, s) for s in sweeps])
        found: dict[MultiIndex, Tensor] = {}
        for (number, _), part in zip(terms, sums, strict=True):
            index = self.indices[number]
            found[index] = found[index] + part if index in found else part
        return value, found
