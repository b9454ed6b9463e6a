"""What an ansatz reaches with almost no network: the yardstick without which a small error says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sciml.pinns.constrained import Constrained
from sciml.pinns.problem import Problem, Solution, predict

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Features(nn.Module):
    """One output that is one of the features, or 1; the others are 0."""

    def __init__(self, feature: int | None, output: int, outputs: int) -> None:
        super().__init__()
        self.feature, self.output, self.outputs = feature, output, outputs

    def forward(self, z: Tensor) -> Tensor:
        values = torch.ones_like(z[:, 0]) if self.feature is None else z[:, self.feature]
        columns: Sequence[Tensor] = [
            values if k == self.output else torch.zeros_like(values) for k in range(self.outputs)
        ]
        return torch.stack(list(columns), dim=1)


class _Nothing(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, z: Tensor) -> Tensor:
        return torch.zeros_like(z[:, :1]).expand(-1, self.outputs)


def best_constant(problem: Problem, known: Solution) -> Tensor:
    """The values (n, outputs) of the ansatz with the constant network that is nearest to the solution.

    Examples
    --------
    >>> from sciml.pinns.problems import PoissonOfSines
    >>> problem = PoissonOfSines(dim=5)
    >>> known = problem.reference()
    >>> mean = best_constant(problem, known)[0].item()
    >>> abs(mean - 10 / torch.pi) < 0.02  # the mean of the solution
    True
    """
    return _least_squares(problem, known, features=False)


def best_linear(problem: Problem, known: Solution) -> Tensor:
    """The values (n, outputs) of the ansatz with the nearest network that is linear in its features.

    Its features are scaled coordinates, of periodic ones cosine and sine.
    """
    return _least_squares(problem, known, features=True)


def _least_squares(problem: Problem, known: Solution, *, features: bool) -> Tensor:
    """The ansatz is affine in the network, so the nearest of a linear family is a linear problem."""
    base = predict(Constrained(problem, _Nothing(problem.outputs)), known.x, problem.outputs)
    count = Constrained(problem, _Nothing(problem.outputs)).coordinates.features
    columns = []
    for k in range(problem.outputs):
        for feature in [None, *(range(count) if features else ())]:
            model = Constrained(problem, _Features(feature, k, problem.outputs))
            columns.append((predict(model, known.x, problem.outputs) - base).flatten())
    matrix = torch.stack(columns, dim=1)
    # By normal equations with a cut-off: features may depend on each other, and are few.
    values, vectors = torch.linalg.eigh(matrix.T @ matrix)
    inverse = torch.where(values > 1e-13 * values[-1], 1 / values, 0.0)
    weights = vectors @ (inverse * (vectors.T @ (matrix.T @ (known.values - base).flatten())))
    found: Tensor = base + (matrix @ weights).reshape(base.shape)
    return found
