"""Differential operators on functions ``u(x)``: values at a batch of points, exact or estimated.

The functions share one signature, ``operator(u, x, *, estimator=Exact(), generator=None, draws=None)``, and
return one number per point.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Generator, Tensor

from sciml.kernels.derivatives import Derivative
from sciml.kernels.estimators import Estimator, Exact
from sciml.kernels.evaluation import Function, check_points, evaluate
from sciml.kernels.forms import Form, LineForm, MatrixForm, SquaredLaplacian
from sciml.kernels.plans import Plan, plan


def laplacian(
    u: Function,
    x: Tensor,
    *,
    estimator: Estimator = Exact(),  # noqa: B008  (a frozen value)
    generator: Generator | int | None = None,
    draws: int | None = None,
) -> Tensor:
    r"""``Δu = Σ_i ∂²u/∂x_i²`` at each point.

    Parameters
    ----------
    u : (batch, d) -> (batch,) or (batch, 1)
        Each value must depend on its own point only.
    x : (batch, d)
    estimator : Estimator
        `Exact`, `Hutchinson`, `SparseDirections`, ...
    generator : torch.Generator or int
        Where random directions come from. A number is a seed: the same directions at every call.
    draws : int, optional
        So many independent estimates in one pass, see `squared_residual`.

    Returns
    -------
    (batch,), with draws (draws, batch); differentiable with respect to x and to the parameters of u

    Raises
    ------
    ValueError
        If a shape does not fit, or the estimator is random and there is no generator.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[1.0, 2.0, 3.0]])
    >>> laplacian(lambda x: (x**3).sum(1), x)
    tensor([36.])
    >>> from sciml.kernels.estimators import SparseDirections
    >>> laplacian(lambda x: (x**2).sum(1), torch.ones(1, 1000), estimator=SparseDirections(10), generator=0)
    tensor([2000.])
    """
    return _apply("laplacian", [LineForm(2)], u, x, estimator, generator, draws)


def biharmonic(
    u: Function,
    x: Tensor,
    *,
    estimator: Estimator = Exact(),  # noqa: B008
    generator: Generator | int | None = None,
    draws: int | None = None,
) -> Tensor:
    r"""``Δ²u = Σ_ij ∂⁴u/∂x_i²∂x_j²`` at each point; arguments as for `laplacian`.

    Examples
    --------
    >>> import torch
    >>> x = torch.ones(1, 3, dtype=torch.float64)
    >>> biharmonic(lambda x: (x**2).sum(1) ** 2, x).round(decimals=10)
    tensor([120.], dtype=torch.float64)
    """
    return _apply("biharmonic", [SquaredLaplacian()], u, x, estimator, generator, draws)


def third(
    u: Function,
    x: Tensor,
    *,
    estimator: Estimator = Exact(),  # noqa: B008
    generator: Generator | int | None = None,
    draws: int | None = None,
) -> Tensor:
    r"""``Σ_i ∂³u/∂x_i³`` at each point; arguments as for `laplacian`.

    Examples
    --------
    >>> import torch
    >>> third(lambda x: (x**3).sum(1), torch.zeros(1, 4))
    tensor([24.])
    """
    return _apply("third", [LineForm(3)], u, x, estimator, generator, draws)


def trace(
    u: Function,
    x: Tensor,
    matrix: Tensor | None = None,
    *,
    factor: Tensor | None = None,
    estimator: Estimator = Exact(),  # noqa: B008
    generator: Generator | int | None = None,
    draws: int | None = None,
) -> Tensor:
    r"""``tr(A(x) Hess u) = Σ_ij A_ij ∂²u/∂x_i∂x_j`` at each point.

    Parameters
    ----------
    u, x, estimator, generator, draws
        As for `laplacian`.
    matrix : (d, d) or (batch, d, d)
        A. Only the symmetric part counts; eigenvalues may have any sign. Gradients reach it.
    factor : (d, k) or (batch, d, k)
        Instead of the matrix, σ with ``A = σ σᵀ``, as in ``½ tr(σ σᵀ Hess u)``: k lines and no eigenvalues.

    Raises
    ------
    ValueError
        If a shape does not fit, or not exactly one of matrix and factor is given.

    Examples
    --------
    >>> import torch
    >>> u = lambda x: x[:, 0] ** 2 + x[:, 0] * x[:, 1]
    >>> trace(u, torch.zeros(1, 2), torch.tensor([[1.0, 2.0], [2.0, 5.0]])).round(decimals=4)
    tensor([6.])
    >>> trace(u, torch.zeros(1, 2), factor=torch.tensor([[1.0], [2.0]]))
    tensor([6.])
    """
    check_points("trace", x)
    given, name = (matrix, "matrix") if factor is None else (factor, "factor")
    if given is None or (matrix is not None and factor is not None):
        raise ValueError("trace: pass either the matrix A, or its factor σ with A = σ σᵀ as factor=...")
    d = x.shape[1]
    rows = given.shape[-2] if given.ndim in (2, 3) else -1
    square = factor is not None or given.shape[-1] == rows
    if rows != d or not square or (given.ndim == 3 and given.shape[0] != x.shape[0]):
        shape = f"{d}, {d}" if factor is None else f"{d}, k"
        raise ValueError(
            f"trace: the {name} must have shape ({shape}) or ({x.shape[0]}, {shape}), one for each of the "
            f"{x.shape[0]} points, got {tuple(given.shape)}."
        )
    given = given.to(x)
    form: Form = MatrixForm(given)
    if factor is not None:
        form = LineForm(2, given.permute(2, 0, 1) if given.ndim == 3 else given.T)
    return _apply("trace", [form], u, x, estimator, generator, draws)


@dataclass(frozen=True)
class DifferentialOperator:
    """What `differential_operator` returns: it is called like `laplacian`.

    Parameters
    ----------
    operator : Plan or Derivative
    """

    operator: Plan | Derivative
    _plans: dict[int, Plan] = field(default_factory=dict, repr=False, compare=False)

    def __call__(
        self,
        u: Function,
        x: Tensor,
        *,
        estimator: Estimator = Exact(),  # noqa: B008
        generator: Generator | int | None = None,
        draws: int | None = None,
    ) -> Tensor:
        """The operator applied to u, at each point; arguments as for `laplacian`."""
        check_points("differential_operator", x)
        planned = self.operator
        if isinstance(planned, Derivative):
            dim = x.shape[1]
            planned = self._plans.get(dim) or self._plans.setdefault(dim, plan(planned, dim))
        return evaluate(u, x, [planned], estimator=estimator, generator=generator, draws=draws)[1]


def differential_operator(operator: Plan | Derivative) -> DifferentialOperator:
    """An operator that is written down as a polynomial in derivatives, as a function like `laplacian`.

    Parameters
    ----------
    operator : Plan or Derivative
        Without a plan, it is made for the dimension of the points.

    Raises
    ------
    ValueError
        When it is called, if the points have another dimension than the plan, or too few for the operator.

    Examples
    --------
    >>> import torch
    >>> from sciml.kernels.derivatives import d
    >>> advection = differential_operator(d("t", variables="xt") + 3 * d("x", variables="xt"))
    >>> advection(lambda x: (x[:, 0] - 3 * x[:, 1]) ** 2, torch.ones(2, 2))
    tensor([0., 0.])
    """
    if isinstance(operator, Plan) and len(operator.operators) != 1:
        raise ValueError(
            f"differential_operator: expected one operator, got a plan of {len(operator.operators)}. "
            "evaluate(u, x, [plan]) returns all of them."
        )
    return DifferentialOperator(operator)


def squared_residual(residuals: Tensor) -> Tensor:
    """An unbiased estimate of r² from independent unbiased estimates of r.

    The square of one estimate is too large by its variance, and a network that minimizes it learns to be
    smooth where the estimator is noisy. The mean of the products of different estimates, ``((Σ r_k)² - Σ
    r_k²) / (n (n - 1))``, is not; with two it is ``r_1 r_2``. It may be negative.

    Parameters
    ----------
    residuals : (n, batch), n >= 2
        From `laplacian` and the others with ``draws=n``; deterministic terms may be added to all of them.

    Returns
    -------
    (batch,)

    Raises
    ------
    ValueError
        If there is only one estimate.

    Notes
    -----
    Variance with two draws of variance s²: ``s⁴ + 2 r² s²``. The halves of one draw without replacement are
    not independent; ``draws`` draws twice.

    Examples
    --------
    >>> import torch
    >>> squared_residual(torch.tensor([[1.0, 2.0], [3.0, -1.0]]))
    tensor([ 3., -2.])
    """
    if residuals.ndim < 1 or residuals.shape[0] < 2:
        raise ValueError(
            "squared_residual: expected residuals of shape (n, batch) with at least two independent "
            f"estimates, got {tuple(residuals.shape)}. Pass draws=2 to the operator."
        )
    n = residuals.shape[0]
    if n == 2:
        return residuals[0] * residuals[1]
    return (residuals.sum(0) ** 2 - (residuals**2).sum(0)) / (n * (n - 1))


def _apply(
    who: str,
    forms: list[Form],
    u: Function,
    x: Tensor,
    estimator: Estimator,
    generator: Generator | int | None,
    draws: int | None,
) -> Tensor:
    check_points(who, x)
    return evaluate(u, x, forms, estimator=estimator, generator=generator, draws=draws)[1]
