r"""The gradient of a matrix with many rows, as the factors of which it is made.

Behind ``z = x W`` with W (d, h), d large, the gradient is ``Σ_n x_n ⊗ δ_n``: dense, but of rank at most the
number of points. `recorded` makes the layers that know how (`sciml.kernels.wide_linear.WideLinear`) leave x
and δ here instead of a second matrix of the size of W. `sciml.kernels.factored_update.FactoredAdam` consumes
them tile by tile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import sqrt

import torch
from torch import Tensor

_ATTRIBUTE = "_sciml_factors"


class FactoredGradient:
    r"""``G = Σ_p R_p^T D_p + Σ_r e_{j_r} ⊗ v_r``, of shape (d, h), which is never built.

    Attributes
    ----------
    products : list of (R (k, d), D (k, h))
        Points and what arrived behind the layer; R may be a view of the matrix itself.
    rows : list of (j (r,), v (r, h))
        Gradients of single rows; a row may occur more than once.

    Examples
    --------
    >>> gradient = FactoredGradient()
    >>> gradient.add_product(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 10.0]]))
    >>> gradient.add_rows(torch.tensor([2]), torch.tensor([[0.5, 0.5]]))
    >>> gradient.tile(1, 3)
    tensor([[ 2.0000, 20.0000],
            [ 3.5000, 30.5000]])
    >>> float(gradient.squared_norm())
    1447.5
    """

    def __init__(self) -> None:
        self.products: list[tuple[Tensor, Tensor]] = []
        self.rows: list[tuple[Tensor, Tensor]] = []

    def __bool__(self) -> bool:
        """Whether anything was recorded."""
        return bool(self.products or self.rows)

    def add_product(self, left: Tensor, right: Tensor) -> None:
        """Add ``left^T right`` for left (k, d) and right (k, h)."""
        self.products.append((left, right))

    def add_rows(self, index: Tensor, values: Tensor) -> None:
        """Add values (r, h) to the rows index (r,)."""
        self.rows.append((index, values))

    def clear(self) -> None:
        """Forget everything."""
        self.products, self.rows = [], []

    def scale(self, factor: float | Tensor) -> None:
        """Multiply by a number, in the small factors."""
        self.products = [(left, right * factor) for left, right in self.products]
        self.rows = [(index, values * factor) for index, values in self.rows]

    def tile(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """The rows start..stop-1 of G, (stop - start, h)."""
        (left, right), *more = self.products or [self._nothing(stop)]
        tile = torch.mm(left[:, start:stop].T, right, out=None if out is None else out[: stop - start])
        for left, right in more:
            tile.addmm_(left[:, start:stop].T, right)
        for index, values in self.rows:
            inside = (index >= start) & (index < stop)
            if inside.any():
                tile.index_add_(0, index[inside] - start, values[inside])
        return tile

    def column_squares(self) -> Tensor:
        r"""``Σ_i G_ij^2`` for each column, (h,) in float64, from products of the factors with one another.

        With ``K_pq = R_p R_q^T`` it is the diagonal of ``Σ_pq D_p^T K_pq D_q``, and what the single rows add.
        Differences of larger numbers cancel: relative to the sum of their sizes the error is a rounding error
        of the precision of the factors.
        """
        total: Tensor | None = None
        for p, (left, right) in enumerate(self.products):
            for q, (other, behind) in enumerate(self.products[: p + 1]):
                part = ((left @ other.T).double() @ behind.double() * right.double()).sum(0)
                part = part if p == q else 2 * part
                total = part if total is None else total + part
        if self.rows:
            index, values = self._merged()
            # (G + V)^2 = G^2 + V (2 G + V) on the rows that V changes.
            twice = values
            for left, right in self.products:
                twice = twice + 2 * (left[:, index].T.double() @ right.double())
            part = (values * twice).sum(0)
            total = part if total is None else total + part
        if total is None:
            return torch.zeros((), dtype=torch.float64)
        return total.clamp_min(0.0)

    def squared_norm(self) -> Tensor:
        """``|G|^2`` (Frobenius), () in float64."""
        return self.column_squares().sum()

    def _merged(self) -> tuple[Tensor, Tensor]:
        """The single rows in float64, each once."""
        indices = torch.cat([index for index, _ in self.rows])
        values = torch.cat([values for _, values in self.rows]).double()
        index, place = torch.unique(indices, return_inverse=True)
        return index, values.new_zeros(len(index), values.shape[1]).index_add_(0, place, values)

    def _nothing(self, stop: int) -> tuple[Tensor, Tensor]:
        _, values = self.rows[0]
        return values.new_zeros(0, stop), values.new_zeros(0, values.shape[1])


@contextmanager
def recorded(parameters: Iterable[Tensor]) -> Iterator[dict[Tensor, FactoredGradient]]:
    """Within it, layers that can leave factors of the gradients of these parameters instead of ``.grad``.

    It has to contain the forward pass. Layers that do not know of factors fill ``.grad`` as ever, and so does
    the same layer where its input is a jet; the gradient is the sum of both.

    Examples
    --------
    >>> from sciml.kernels.wide_linear import WideLinear
    >>> layer = WideLinear(1000, 2)
    >>> with recorded(layer.parameters()) as gradients:
    ...     layer(torch.ones(5, 1000)).sum().backward()
    >>> layer.weight.grad is None, gradients[layer.weight].tile(0, 1), layer.bias.grad
    (True, tensor([[5., 5.]]), tensor([5., 5.]))
    """
    gradients = {parameter: FactoredGradient() for parameter in parameters}
    before = [(parameter, factors_of(parameter)) for parameter in gradients]
    for parameter, gradient in gradients.items():
        setattr(parameter, _ATTRIBUTE, gradient)
    try:
        yield gradients
    finally:
        for parameter, outer in before:
            setattr(parameter, _ATTRIBUTE, outer)


def factors_of(parameter: Tensor) -> FactoredGradient | None:
    """Where to record the gradient of a parameter, None outside of `recorded`."""
    return getattr(parameter, _ATTRIBUTE, None)


def gradient_norm(parameters: Iterable[Tensor], factors: dict[Tensor, FactoredGradient]) -> float:
    """The Euclidean norm of the whole gradient, dense and in factors.

    A parameter with both has the sum of the two, whose norm takes its tiles.
    """
    total = 0.0
    for parameter in parameters:
        gradient = factors.get(parameter)
        if parameter.grad is None:
            total += float(gradient.squared_norm()) if gradient else 0.0
        elif gradient:
            tile = parameter.grad + gradient.tile(0, len(parameter))
            total += float(tile.double().square().sum())
        else:
            total += float(torch.linalg.vector_norm(parameter.grad, dtype=torch.float64)) ** 2
    return sqrt(total)


def clip_gradient_norm(
    parameters: Iterable[Tensor], factors: dict[Tensor, FactoredGradient], limit: float
) -> float:
    """Scale the whole gradient to the norm `limit` if it is longer; returns the norm before.

    What `torch.nn.utils.clip_grad_norm_` does, for gradients that partly are factors.
    """
    parameters = list(parameters)
    norm = gradient_norm(parameters, factors)
    if norm > limit:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(limit / norm)
            if gradient := factors.get(parameter):
                gradient.scale(limit / norm)
    return norm
