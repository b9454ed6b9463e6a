"""Residuals to first order, ``r + J d``: J as a matrix or as products, and damped least squares with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from sciml.optimizers.flat import joined, split

_LEAST_BLOCK = 128  # columns; smaller products are slower than they save


class Linearization(ABC):
    """The Jacobian J (n, P) of n residuals by P parameters."""

    @abstractmethod
    def along(self, v: Tensor) -> Tensor:
        """J v."""

    @abstractmethod
    def back(self, u: Tensor) -> Tensor:
        """J^T u."""

    @abstractmethod
    def scale(self) -> float:
        """The trace of J^T J by min(n, P): the mean of its eigenvalues that need not be 0."""

    @abstractmethod
    def solve(self, b: Tensor, damping: float) -> Tensor | None:
        """The d that minimizes ``|J d - b|^2 + damping |d|^2``; None where rounding leaves none."""


class Dense(Linearization):
    """J as a matrix.

    Parameters
    ----------
    matrix : (n, P)
    samples : bool
        Solve with ``J J^T``, which is (n, n), instead of ``J^T J``, which is (P, P): the same d, since
        ``J^T (J J^T + mu)^-1 = (J^T J + mu)^-1 J^T``.
    cutoff : float, optional
        Eigenvectors whose eigenvalue is not above this share of the greatest are left out, so that d exists
        without damping.  All are kept by default, which Cholesky factors do faster.

    Examples
    --------
    >>> matrix = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
    >>> b = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    >>> one, other = (Dense(matrix, samples=samples).solve(b, 0.1) for samples in (True, False))
    >>> torch.allclose(one, other)
    True
    """

    def __init__(self, matrix: Tensor, *, samples: bool, cutoff: float | None = None) -> None:
        self.matrix, self.samples, self.cutoff = matrix, samples, cutoff
        self._square = _lower_gram(matrix.T if samples else matrix)
        self._factor: tuple[float, Tensor] | None = None  # of the last damping
        self._spectrum: tuple[Tensor, Tensor] | None = None

    def along(self, v: Tensor) -> Tensor:
        return self.matrix @ v

    def back(self, u: Tensor) -> Tensor:
        return self.matrix.T @ u

    def scale(self) -> float:
        return float(self._square.trace()) / min(self.matrix.shape)

    def solve(self, b: Tensor, damping: float) -> Tensor | None:
        right = b if self.samples else self.back(b)
        found = self._factored(right, damping) if self.cutoff is None else self._cut_off(right, damping)
        return self.back(found) if self.samples and found is not None else found

    def _factored(self, right: Tensor, damping: float) -> Tensor | None:
        if self._factor is None or self._factor[0] != damping:
            damped = self._square.clone()
            damped.diagonal().add_(damping)
            factor, failed = torch.linalg.cholesky_ex(damped)
            if failed:
                return None
            self._factor = damping, factor
        return torch.cholesky_solve(right[:, None], self._factor[1])[:, 0]

    def _cut_off(self, right: Tensor, damping: float) -> Tensor:
        assert self.cutoff is not None
        if self._spectrum is None:
            self._spectrum = torch.linalg.eigh(self._square, UPLO="L")
        values, vectors = self._spectrum
        inverse = torch.where(values > self.cutoff * values[-1], 1 / (values + damping), 0.0)
        return vectors @ (inverse * (vectors.T @ right))


def _lower_gram(matrix: Tensor) -> Tensor:
    """The lower triangle of ``matrix^T matrix``, which is all that solvers read.

    What is above is left out block by block: 8 blocks save 7 of 16 products.
    """
    size = matrix.shape[1]
    block = max(_LEAST_BLOCK, -(-size // 8))
    found = matrix.new_zeros(size, size)
    for start in range(0, size, block):
        columns = matrix[:, start : start + block]
        torch.mm(matrix[:, start:].T, columns, out=found[start:, start : start + block])
    return found


class Products(Linearization):
    """J by its products, each at the price of a few gradients; nothing of the size of J is stored.

    The graph of r belongs to the values that the parameters had; after a change it must not be used.

    ``J^T u`` is a backward pass.  It is linear in u, so its own backward pass gives ``J v``.  Equations are
    solved by conjugate gradients that never form J^T J.

    Parameters
    ----------
    r : (n,)
        With its graph.
    parameters : sequence of tensors
    accuracy : float
        Conjugate gradients end when the gradient of what they minimize has become smaller by this factor,
    most : int
        or after this many iterations, each with one product of either kind.

    Source: Björck, *Numerical Methods for Least Squares Problems* (1996), algorithm 7.4.1 (CGLS).
    """

    def __init__(
        self, r: Tensor, parameters: Sequence[Tensor], *, accuracy: float = 1e-6, most: int = 200
    ) -> None:
        self._r, self._parameters = r, list(parameters)
        self._accuracy, self._most = accuracy, most
        self._dual = torch.zeros_like(r, requires_grad=True)
        self._images = gradients(r, self._parameters, self._dual, further=True)

    def along(self, v: Tensor) -> Tensor:
        parts = split(v, self._parameters)
        return torch.autograd.grad(
            self._images, self._dual, parts, retain_graph=True, materialize_grads=True
        )[0]

    def back(self, u: Tensor) -> Tensor:
        return joined(gradients(self._r, self._parameters, u))

    def scale(self) -> float:
        # E |J^T z|^2 is the trace for random signs z; these are the same every time.
        signs = torch.randint(0, 2, self._r.shape, generator=torch.Generator().manual_seed(0))
        image = self.back((2 * signs - 1).to(self._r))
        return float(image @ image) / min(len(self._r), len(image))

    def solve(self, b: Tensor, damping: float) -> Tensor | None:
        rest, gradient = b.clone(), self.back(b)
        found, search, size = torch.zeros_like(gradient), gradient, float(gradient @ gradient)
        enough = self._accuracy**2 * size
        for _ in range(self._most):
            if size <= enough:
                break
            image = self.along(search)
            share = size / (float(image @ image) + damping * float(search @ search))
            found = found + share * search
            rest = rest - share * image
            gradient = self.back(rest) - damping * found
            before, size = size, float(gradient @ gradient)
            search = gradient + size / before * search
        return found


def gradients(
    r: Tensor, parameters: Sequence[Tensor], u: Tensor, *, further: bool = False
) -> tuple[Tensor, ...]:
    """Those of ``r @ u``, 0 where r does not depend on a parameter; ``further`` ones may be taken of them."""
    with torch.enable_grad():
        return torch.autograd.grad(
            r, parameters, u, retain_graph=True, create_graph=further, materialize_grads=True
        )


def by_rows(r: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The Jacobian (n, P), one backward pass a row: for residuals that are all mixed with each other."""
    return torch.stack([joined(gradients(r, parameters, unit)) for unit in torch.eye(len(r)).to(r)])


def by_columns(r: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The Jacobian (n, P), one double backward pass a column: for few parameters."""
    products = Products(r, parameters)
    units = torch.eye(sum(p.numel() for p in parameters)).to(r)
    return torch.stack([products.along(unit) for unit in units], dim=1)
