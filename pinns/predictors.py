"""What an ansatz reaches with almost no network: the yardstick without which a small error says nothing."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from sciml.pinns.problem import Problem, Solution, predict


class _Chosen(nn.Module):
    """A network with one output that is a feature of the input, or 1, and 0 for all others."""

    def __init__(self, inputs: int, outputs: int, *, output: int | None, feature: int | None) -> None:
        super().__init__()
        self.outputs, self.output, self.feature = outputs, output, feature

    def forward(self, z: Tensor) -> Tensor:
        values = torch.zeros(len(z), self.outputs, dtype=z.dtype)
        if self.output is not None:
            values[:, self.output] = 1.0 if self.feature is None else z[:, self.feature]
        return values


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

    def built(output: int, feature: int | None) -> Tensor:
        model = problem.build(partial(_Chosen, output=output, feature=feature))
        return predict(model, known.x, problem.outputs)

    inputs: list[int] = []

    def counted(count: int, outputs: int) -> nn.Module:
        inputs.append(count)
        return _Chosen(count, outputs, output=None, feature=None)

    base = predict(problem.build(counted), known.x, problem.outputs)
    chosen = [None, *(range(inputs[0]) if features else ())]
    columns = [(built(k, i) - base).flatten() for k in range(problem.outputs) for i in chosen]
    matrix = torch.stack(columns, dim=1)
    # By normal equations with a cut-off: features may depend on each other, and are few.
    values, vectors = torch.linalg.eigh(matrix.T @ matrix)
    inverse = torch.where(values > 1e-13 * values[-1], 1 / values, 0.0)
    weights = vectors @ (inverse * (vectors.T @ (matrix.T @ (known.values - base).flatten())))
    found: Tensor = base + (matrix @ weights).reshape(base.shape)
    return found
