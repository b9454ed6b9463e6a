"""Directions as the authors of stochastic dimension gradient descent sample them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn

from sciml.description import describable
from sciml.kernels.estimators import Estimator, SparseDirections
from sciml.objective import Batch, Term
from sciml.pinns.conditions import names_of
from sciml.pinns.losses.loss import OnPoints, check_weights
from sciml.pinns.problem import Estimate, Problem, residuals
from sciml.pinns.residual import Residual
from sciml.pinns.samplers.sampler import Sampler
from sciml.pinns.samplers.uniform import Uniform


@describable
class SDGD(OnPoints):
    r"""``r_J r_K`` over points of the domain, differentiated in ``r_K`` only: the gradient is ``2 r_J r_K'``.

    J and K are two independent sets of directions.  The residual is evaluated along J without a graph, and
    along K with one; as they are independent the mean of the gradient is that of ``r^2``.  `Residual` with
    the same estimator takes ``r_J r_K`` and differentiates both factors, ``r_J r_K' + r_K r_J'``: the mean
    of this gradient and of that with J and K exchanged, less spread and with twice the graph.

    Parameters
    ----------
    problem, sampler, points, weights
        As for `Residual`.
    estimator : Estimator
        Of J and of K, each with all of its samples; as published coordinates without replacement.

    Raises
    ------
    ConfigError
        As for `Residual`.

    Notes
    -----
    With `Exact` for the factor J it would be their algorithm 1, whose forward pass sees all coordinates; this
    is algorithm 2.  Their algorithm 3, one set for both, is biased: its mean is that of ``r^2`` plus the
    variance of the estimate.

    Source: Z. Hu et al., Tackling the curse of dimensionality with physics-informed neural networks, Neural
    Networks 176 (2024), arXiv:2307.12306, section 3 and algorithms 1 to 3.

    Examples
    --------
    >>> from sciml import Streams
    >>> from sciml.pinns import problems
    >>> from sciml.pinns.networks import MLP
    >>> problem = problems.PoissonOfSines(dim=10)
    >>> loss = SDGD(problem, points=10, estimator=SparseDirections(2))
    >>> model = problem.build(MLP)
    >>> list(loss.terms(model, loss.draw(0, model, Streams(0))))
    ['equation', 'boundary']
    """

    def __init__(
        self,
        problem: Problem,
        *,
        sampler: Sampler | Mapping[str, Sampler] = Uniform(),  # noqa: B008 - a frozen value
        points: int | Mapping[str, int] = 2000,
        weights: Mapping[str, float] | None = None,
        estimator: Estimator = SparseDirections(16),  # noqa: B008
    ) -> None:
        conditions = names_of(problem.conditions)
        given = dict(weights or {})
        self._weights = {name: w for name, w in given.items() if name not in conditions}
        apart = {name: w for name, w in given.items() if name in conditions}
        super().__init__(
            Residual(problem, sampler=sampler, points=points, weights=apart, estimator=estimator)
        )

    def description(self) -> dict[str, Any]:
        """For `describe`: estimators of the kernels are told by how they print."""
        arguments: dict[str, Any] = dict(vars(self)["_arguments"])
        return {**arguments, "estimator": repr(self._inner.estimator)}

    def equation(self, model: nn.Module, x: Tensor, batch: Batch) -> dict[str, Term]:
        estimate: Estimate = {
            "estimator": self._inner.estimator,
            "generator": Generator().manual_seed(int(batch["seed"])),
            "draws": None,
        }
        # One generator for both: the second set follows the first.
        along = residuals(self.problem, model, x, coefficients=self.coefficients, estimate=estimate)
        with torch.no_grad():
            before = residuals(self.problem, model, x, coefficients=self.coefficients, estimate=estimate)
        check_weights("SDGD", self._weights, along)
        found = {}
        for name, r in along.items():
            # Its value is r_J r_K, its derivative 2 r_J r_K'.
            values = before[name] * (2 * r - r.detach())
            found[name] = Term(values, self._weights.get(name, 1.0))
        return found
