"""Newton's method by conjugate gradients with a Nyström preconditioner."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sciml import processes
from sciml.errors import ConfigError
from sciml.objective import sum_of
from sciml.optimizers.asking import asked
from sciml.optimizers.flat import Flat, joined
from sciml.optimizers.linearization import gradients

_DECREASE = 0.1  # of the line search
_HALVINGS = 30

Product = Callable[[Tensor], Tensor]
Means = Callable[[], Mapping[str, Tensor]]


class NystromNewtonCG(Optimizer):
    r"""Newton's method, with products of the Hessian H only: for the last digits, after Adam and L-BFGS.

    The direction solves :math:`(H + \mu I)\, d = \nabla L` by conjugate gradients, which begin at the last
    direction and see H by its products with vectors.  They are preconditioned with the ``rank`` eigenpairs
    :math:`U, \hat\Lambda` of a random sketch,

    .. math::

        P^{-1} = U\, (\hat\lambda_s + \mu) (\hat\Lambda + \mu)^{-1} U^T + I - U U^T,

    made anew every so many iterations, see `nystrom`.  Where H bends downward they end with the descent
    that they have.  Then the length is halved from 1 until the loss falls by a tenth of what the slope
    promises (Armijo).

    One `step` makes ``iterations`` iterations on one batch.  Each costs one evaluation and a product of H,
    the price of two gradients or three, for each iteration of conjugate gradients; a sketch costs ``rank``
    products.

    Parameters
    ----------
    params : iterable of parameters
        Real, float64 if it shall be precise.
    iterations : int
        Of one step.
    rank : int
        Of the sketch.
    damping : float
        :math:`\mu`: small beside the curvature that matters; published runs chose from 1e-5 to 1e-1.
    every : int
        Iterations between two sketches, counted over all steps.
    products : int
        Iterations of conjugate gradients, at most.
    accuracy : float
        They end when the residual is smaller than the gradient by this factor.
    tolerance : float
        A gradient whose greatest entry is not above this ends a step.

    Attributes
    ----------
    stopped : str or None
        Why the last step ended before its iterations were over.

    Raises
    ------
    ConfigError
        For settings out of range, parameters that make no vector, or a training that clips gradients.

    Notes
    -----
    The public code has no exit at negative curvature, an absolute accuracy of 1e-16, which float64 never
    reaches, and a random state that a resumed run does not have; here the sketch is a function of its number.

    Source: Rathore, Lei, Frangella, Lu and Udell, *Challenges in Training PINNs: A Loss Landscape
    Perspective* (ICML 2024).

    Examples
    --------
    >>> x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    >>> class Rosenbrock:
    ...     def means(self):
    ...         return {"steep": 100 * (x[1] - x[0] ** 2) ** 2, "flat": (1 - x[0]) ** 2}
    >>> optimizer = NystromNewtonCG([x], iterations=30, rank=1)
    >>> round(optimizer.step(Rosenbrock()), 3)
    24.2
    >>> bool((x - 1).abs().max() < 1e-7)
    True
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        iterations: int = 10,
        rank: int = 60,
        damping: float = 1e-4,
        every: int = 20,
        products: int = 1000,
        accuracy: float = 1e-8,
        tolerance: float = 0.0,
    ) -> None:
        if min(iterations, rank, every, products) < 1 or not (
            damping > 0 and accuracy > 0 and tolerance >= 0
        ):
            raise ConfigError(
                "NystromNewtonCG: needs iterations, rank, every and products >= 1, damping and accuracy > 0 "
                f"and tolerance >= 0, got {iterations}, {rank}, {every}, {products}, {damping}, {accuracy} "
                f"and {tolerance}."
            )
        defaults = {
            "lr": 1.0,  # the first length of the line search, for the trainer's log
            "iterations": iterations,
            "rank": rank,
            "damping": damping,
            "every": every,
            "products": products,
            "accuracy": accuracy,
            "tolerance": tolerance,
        }
        super().__init__(params, defaults)
        self._flat = Flat(self)
        self.stopped: str | None = None

    def step(self, closure: Callable[[], float]) -> float:  # type: ignore[override]
        """Iterations on one batch.

        Parameters
        ----------
        closure : object
            Its ``means()`` returns the terms of the loss by name, scalars with their graph that add up to it.
            That of `sciml.Trainer` has it.

        Returns
        -------
        float
            The loss before the iterations.
        """
        means = asked(self, closure, "means", "the terms of the loss by name")
        with torch.no_grad():
            return self._iterate(means)

    @property
    def _memory(self) -> dict[str, Any]:
        """The sketch, the last direction and the number of iterations; saved with the first parameter."""
        found: dict[str, Any] = self.state[self._flat.parameters[0]]
        return found

    def _iterate(self, means: Means) -> float:
        group, flat, memory = self.param_groups[0], self._flat, self._memory
        self.stopped = None
        place = self._at(flat.values(), means)
        first = place.loss
        if not math.isfinite(first):
            return first
        for _ in range(group["iterations"]):
            gradient, hessian = self._derivatives(place.graph)
            if float(gradient.abs().max()) <= group["tolerance"]:
                self.stopped = f"the gradient is at most {group['tolerance']:g}"
                break
            count = memory.get("count", 0)
            if count % group["every"] == 0:
                memory["vectors"], memory["values"] = self._sketched(hessian, count)
            direction = self._direction(gradient, hessian)
            found = self._lower(means, place, direction, float(gradient @ direction))
            if found is None:
                flat.assign(place.values)
                memory.clear()
                break
            place = found
            memory["last"], memory["count"] = direction, count + 1
        return first

    def _at(self, values: Tensor, means: Means) -> _Place:
        self._flat.assign(values)
        with torch.enable_grad():
            share = sum_of(means())
        return _Place(values, share, float(processes.add_up(share)))

    def _derivatives(self, loss: Tensor) -> tuple[Tensor, Product]:
        """The gradient, and the products of the Hessian; the parameters must not have changed."""
        slopes = gradients(loss, self._flat.parameters, torch.ones_like(loss), further=True)
        with torch.enable_grad():
            graph = joined(slopes)

        def product(v: Tensor) -> Tensor:
            if not graph.requires_grad:
                return torch.zeros_like(v)
            return processes.add_up(joined(gradients(graph, self._flat.parameters, v)))

        return processes.add_up(graph), product

    def _sketched(self, hessian: Product, number: int) -> tuple[Tensor, Tensor]:
        like = self._flat.parameters[0]
        shape = self._flat.size, min(self.param_groups[0]["rank"], self._flat.size)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
        basis = torch.linalg.qr(noise)[0].to(like)
        return nystrom(basis, torch.stack([hessian(v) for v in basis.T], dim=1))

    def _direction(self, gradient: Tensor, hessian: Product) -> Tensor:
        group, memory = self.param_groups[0], self._memory
        damping: float = group["damping"]
        vectors: Tensor = memory["vectors"]
        values: Tensor = memory["values"]

        def damped(v: Tensor) -> Tensor:
            return hessian(v) + damping * v

        def precondition(v: Tensor) -> Tensor:
            along = vectors.T @ v
            return v + vectors @ (((values[-1] + damping) / (values + damping) - 1) * along)

        return conjugate_gradients(
            damped,
            gradient,
            precondition,
            memory.get("last"),
            accuracy=group["accuracy"],
            most=group["products"],
        )

    def _lower(self, means: Means, place: _Place, direction: Tensor, slope: float) -> _Place | None:
        """A place with a smaller loss; None if there is none."""
        if slope <= 8 * math.ulp(place.loss):
            self.stopped = "the loss is down to its rounding"
            return None
        for k in range(_HALVINGS + 1):
            step = 2.0**-k
            found = self._at(place.values - step * direction, means)
            if found.loss <= place.loss - _DECREASE * step * slope:
                return found
        self.stopped = "no step along Newton's direction makes the loss smaller"
        return None


@dataclass(eq=False)
class _Place:
    """Values of the parameters; the loss of this process with its graph, and that of all."""

    values: Tensor
    graph: Tensor
    loss: float


def nystrom(basis: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    r"""Eigenvectors (P, s) and eigenvalues (s,), in falling order and not negative, of a sketched matrix.

    For H with the image :math:`Y = H Q` of an orthonormal basis the sketch is :math:`Y (Q^T Y)^{-1} Y^T`.  A
    shift by :math:`\nu` keeps rounding out: with :math:`Y + \nu Q = Y_\nu`, the upper factor C of
    :math:`Q^T Y_\nu = C^T C` and :math:`Y_\nu C^{-1} = U \Sigma V^T` it is
    :math:`U (\Sigma^2 - \nu)_+ U^T`.  Where H bends downward, :math:`\nu` grows until C exists.

    Parameters
    ----------
    basis, image : (P, s)
        Q with orthonormal columns, and H Q.

    Source: Frangella, Tropp and Udell, *SIAM J. Matrix Anal. Appl.* 44 (2023) 718, algorithm 2.1.

    Examples
    --------
    >>> matrix = torch.diag(torch.tensor([9.0, 4.0, 0.0], dtype=torch.float64))
    >>> basis = torch.linalg.qr(torch.ones(3, 2, dtype=torch.float64).tril())[0]
    >>> torch.allclose(nystrom(basis, matrix @ basis)[1], torch.tensor([9.0, 4.0], dtype=torch.float64))
    True
    """
    numbers = torch.finfo(image.dtype)
    shift = max(math.sqrt(len(image)) * numbers.eps * float(image.norm()), numbers.tiny)
    square = basis.T @ image
    square = (square + square.T) / 2
    factor, failed = _factored(square, shift)
    if failed:
        shift = max(shift, -float(torch.linalg.eigvalsh(square)[0]))
    while failed:
        shift = 2 * shift
        factor, failed = _factored(square, shift)
    tall = torch.linalg.solve_triangular(factor, image + shift * basis, upper=True, left=False)
    vectors, singular, _ = torch.linalg.svd(tall, full_matrices=False)
    return vectors.contiguous(), (singular.square() - shift).clamp_min(0)


def _factored(square: Tensor, shift: float) -> tuple[Tensor, bool]:
    shifted = square.clone()
    shifted.diagonal().add_(shift)
    factor, failed = torch.linalg.cholesky_ex(shifted, upper=True)
    return factor, bool(failed)


def conjugate_gradients(
    product: Product,
    b: Tensor,
    precondition: Product,
    start: Tensor | None = None,
    *,
    accuracy: float,
    most: int,
) -> Tensor:
    """The x with ``A x = b`` for a symmetric A, or where A bends downward some x with ``b @ x > 0``.

    Parameters
    ----------
    product, precondition : callable
        A v, and an approximation of its inverse, which is positive definite.
    b : (P,)
    start : (P,), optional
        0 by default.  It is given up where A bends downward, or if ``b @ x`` ends negative.
    accuracy : float
        It ends when the residual is smaller than b by this factor,
    most : int
        or after this many iterations, or when it meets a direction p with ``p A p <= 0``: x is what there was
        before it, or p as long as if it bent upward as much.

    Source: Nocedal and Wright, *Numerical Optimization* (2006), algorithms 5.3 and 7.1.

    Examples
    --------
    >>> matrix, b = torch.diag(torch.tensor([1.0, 4.0])), torch.tensor([1.0, 1.0])
    >>> conjugate_gradients(lambda v: matrix @ v, b, lambda v: v, accuracy=1e-6, most=5)
    tensor([1.0000, 0.2500])
    """
    found = torch.zeros_like(b) if start is None else start
    rest = b if start is None else b - product(start)
    image = precondition(rest)
    search, size = image, float(rest @ image)
    enough = accuracy * float(b.norm())
    bent = False
    for k in range(most):
        if float(rest.norm()) <= enough:
            break
        along = product(search)
        bend = float(search @ along)
        bent = not bend > 0
        if bent:
            if k == 0:
                found = size / -bend * search if bend < 0 else search
            break
        found = found + size / bend * search
        rest = rest - size / bend * along
        image = precondition(rest)
        before, size = size, float(rest @ image)
        search = image + size / before * search
    if start is not None and (bent or not float(b @ found) > 0):
        return conjugate_gradients(product, b, precondition, accuracy=accuracy, most=most)
    return found
