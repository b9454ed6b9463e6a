"""The gradient of a loss with estimated derivatives has the gradient of the exact loss as its mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.kernels import (
    CubatureLines,
    DenseDirections,
    Exact,
    Hutchinson,
    SparseDirections,
    biharmonic,
    laplacian,
    third,
)
from sciml.kernels.estimators import Estimator
from sciml.objective import Batch, Objective, Term, total
from sciml.pinns import Box, Domain, Problem, Residual
from sciml.pinns.losses import SDGD
from sciml.pinns.networks import MLP
from sciml.streams import Streams

DIM = 4


@dataclass(frozen=True)
class Cubic(Problem):
    """An operator of u, plus u^3 and x_0, on a cube."""

    operator: Any = laplacian
    domain = Domain(Box(((0.0, 1.0),) * DIM))

    def residual(self, u: Any, x: Tensor, estimate: Any) -> Tensor:
        found: Tensor = self.operator(u, x, **estimate) + u(x) ** 3 + x[:, 0]
        return found


@dataclass(frozen=True)
class Squared(Objective):
    """The square of one estimate: biased."""

    problem: Problem
    estimator: Estimator

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        raise NotImplementedError

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        x, seed = batch["equation/rows"], int(batch["seed"])
        estimate = {"estimator": self.estimator, "generator": seed, "draws": None}
        return {"equation": Term(self.problem.residual(model, x, estimate), square=True)}


def gradient(loss: Objective, model: nn.Module, batch: Batch) -> Tensor:
    found = torch.autograd.grad(total(loss.terms(model, batch)), list(model.parameters()))
    return torch.cat([g.flatten() for g in found])


def deviation(loss: Objective, problem: Problem, draws: int) -> float:
    """The largest distance of the mean gradient from the exact one, along four axes, in standard errors.

    The axes are the exact gradient itself, on which a bias shows most, and three random ones.
    """
    torch.manual_seed(3)
    # Waves: of a network with larger second derivatives an estimate has more variance.
    model = nn.Sequential(MLP(DIM, 1, width=6, depth=2), nn.Flatten(0)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0)
    exact = Residual(problem, points=3)
    batch = exact.draw(0, model, Streams(0))
    truth = gradient(exact, model, batch)
    axes = torch.stack([truth, *torch.randn(3, len(truth), dtype=torch.float64)])
    seeds = Streams(5).of("estimator")
    found = torch.stack(
        [
            axes @ gradient(loss, model, replace(batch, shared={"seed": torch.tensor(seeds.seed(k))}))
            for k in range(draws)
        ]
    )
    away = (found.mean(0) - axes @ truth).abs()
    return float((away / (found.std(0) / math.sqrt(draws))).max())


CASES = [
    (SparseDirections(2), laplacian),
    (SparseDirections(2, replacement=True), laplacian),
    (SparseDirections(2, per_point=True), laplacian),
    (Hutchinson(2), laplacian),
    (Hutchinson(2, "gaussian"), laplacian),
    (Hutchinson(2, "sphere"), laplacian),
    (Hutchinson(2, "orthogonal"), laplacian),
    (DenseDirections(2), laplacian),
    (SparseDirections(2), third),
    (DenseDirections(2), third),
    (SparseDirections(2), biharmonic),
    (Hutchinson(2, "sphere"), biharmonic),
]
QUICK = [0, 3, 6, 7]


def named(case: tuple[Estimator, Any]) -> str:
    return f"{case[0]}-{case[1].__name__}"


@pytest.mark.parametrize("case", [CASES[k] for k in QUICK], ids=named)
def test_the_mean_gradient_is_the_exact_one(case: tuple[Estimator, Any]) -> None:
    estimator, operator = case
    problem = Cubic(operator)
    assert deviation(Residual(problem, estimator=estimator), problem, 60) < 4


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_mean_gradient_is_the_exact_one_in_many_draws(case: tuple[Estimator, Any]) -> None:
    estimator, operator = case
    problem = Cubic(operator)
    assert deviation(Residual(problem, estimator=estimator), problem, 400) < 4


def test_sdgd_has_the_exact_gradient_in_the_mean() -> None:
    assert deviation(SDGD(Cubic(), estimator=SparseDirections(1)), Cubic(), 60) < 4


def test_this_test_sees_the_bias_of_a_square() -> None:
    assert deviation(Squared(Cubic(), SparseDirections(1)), Cubic(), 200) > 5


def test_formulas_without_variance_have_the_exact_gradient() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(MLP(DIM, 1, width=6, depth=2), nn.Flatten(0)).double()
    batch = Residual(Cubic(), points=3).draw(0, model, Streams(0))
    truth = gradient(Squared(Cubic(), Exact()), model, batch)
    for estimator in (Exact(), CubatureLines(2), CubatureLines(4)):
        torch.testing.assert_close(gradient(Residual(Cubic(), estimator=estimator), model, batch), truth)
