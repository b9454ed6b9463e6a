"""The polynomial in place of a network: its linear start, its recipe, and where it is chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.kernels import laplacian
from sciml.pinns import Attempt, Box, Dirichlet, Domain, Problem, Residual, problems, solve
from sciml.pinns.conditions import Function
from sciml.pinns.networks import MLP, Polynomial, fit_linear, highest_degree
from sciml.pinns.recipes import HIGH_DIM, HUGE_DIM, POLYNOMIAL, SMALL, suited
from sciml.pinns.yardsticks import yardsticks
from sciml.streams import Streams


def test_degrees() -> None:
    wanted = {1: 4, 31: 4, 32: 3, 100: 3, 101: 2, 1000: 2, 1001: 1}
    assert {inputs: highest_degree(inputs) for inputs in wanted} == wanted
    for inputs, degree in wanted.items():
        if inputs < 100:
            assert Polynomial(inputs, 1).degree == degree
    for given in ((0, 1, None), (1, 0, None), (1, 1, 0)):
        with pytest.raises(ConfigError, match="at least 1, got"):
            Polynomial(*given[:2], degree=given[2])


@pytest.mark.parametrize("interaction", ["two-body", "three-body", "hidden"])
@pytest.mark.parametrize("equation", [problems.SineGordon, problems.AllenCahnInBall, problems.PoissonInBall])
def test_it_is_chosen_where_the_solution_flattens(equation: Any, interaction: str) -> None:
    if interaction == "hidden":
        assert all(suited(equation(dim=dim, interaction="hidden")) is not POLYNOMIAL for dim in (21, 1000))
        return
    known = {20: SMALL, 21: POLYNOMIAL, 1000: POLYNOMIAL, 1001: HIGH_DIM, 30_001: HUGE_DIM}
    for dim, recipe in known.items():
        assert suited(equation(dim=dim, interaction=interaction)) is recipe
    asked = suited(equation(dim=21, interaction=interaction), estimated=True)
    assert asked is HIGH_DIM


# The linear start.


def columns(problem: Problem, model: nn.Module, weights: list[Tensor], batch: Any) -> tuple[Tensor, Tensor]:
    """The residuals of a linear equation as ``A w + r``, by one weight after the other."""
    loss = Residual(problem)

    def residuals() -> Tensor:
        with torch.no_grad():
            return torch.cat([t.values * t.weight**0.5 for t in loss.terms(model, batch).values()])

    for weight in weights:
        nn.init.zeros_(weight)
    start, found = residuals(), []
    for weight in weights:
        for entry in weight.detach().view(-1).unbind():
            entry.fill_(1.0)
            found.append(residuals() - start)
            entry.fill_(0.0)
    return torch.stack(found, dim=1), start


def test_the_start_is_that_of_least_squares() -> None:
    """Of a linear equation, on the same points; higher degrees are zero, whatever they were."""
    problem = problems.PoissonInBall(dim=12)
    model = problem.build(partial(Polynomial, degree=3)).double()
    for p in model.parameters():
        nn.init.normal_(p)
    left = fit_linear(model, problem)
    inside = model.network
    assert isinstance(inside, Polynomial)
    assert not inside.weights[1].any() and not inside.weights[2].any()
    found = torch.cat([inside.bias, inside.weights[0].flatten()]).detach()
    loss = Residual(problem, points=4 * 13)
    batch = loss.draw(0, model, Streams(0))
    matrix, start = columns(problem, model, [inside.bias, inside.weights[0]], batch)
    wanted = torch.linalg.lstsq(matrix, -start[:, None]).solution[:, 0]
    # Each of 5 linear systems is solved to 1e-3 of what the last one left.
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.norm()))
    assert left == pytest.approx(float((matrix @ wanted + start).norm() / start.norm()), rel=1e-6)


def test_the_start_is_the_same_in_either_precision_and_uses_no_numbers_of_others() -> None:
    problem = problems.SineGordon(dim=12)
    starts = []
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(len(starts))
        before = torch.random.get_rng_state()
        model = problem.build(partial(Polynomial, degree=2)).to(dtype)
        fit_linear(model, problem)
        assert torch.equal(torch.random.get_rng_state(), before)
        assert all(p.requires_grad and p.dtype == dtype and p.grad is None for p in model.parameters())
        starts.append(torch.cat([p.detach().double().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*starts, rtol=1e-6, atol=1e-6)


@dataclass(frozen=True)
class Plane(Problem):
    """``Laplace(u) + u = a + b . x`` in a square with ``u = a + b . x`` around, which is not built in."""

    domain: ClassVar[Domain] = Domain(Box(((0.0, 2.0), (-1.0, 1.0))))
    conditions: ClassVar[tuple[Dirichlet, ...]] = (Dirichlet(lambda x: Plane().exact(x)),)
    grid: ClassVar[tuple[int, ...]] = (5, 5)

    def exact(self, x: Tensor) -> Tensor:
        return 3.0 - x[:, 0] + 0.5 * x[:, 1]

    def residual(self, u: Function, x: Tensor) -> Tensor:
        return laplacian(u, x) + u(x).reshape(-1) - self.exact(x)


def test_a_linear_solution_is_found_at_once_whatever_the_ansatz() -> None:
    model = Plane().build(Polynomial, hard=False)
    assert fit_linear(model, Plane()) < 1e-6
    assert Plane().relative_l2(model) < 1e-6


def test_what_cannot_be_fitted_is_refused() -> None:
    problem = problems.SineGordon(dim=12)
    with pytest.raises(ConfigError, match="must have one Polynomial inside, got 0"):
        fit_linear(problem.build(MLP), problem)
    wide = problems.SineGordon(dim=6000)
    with pytest.raises(ConfigError, match="at most 5000 inputs, got 6000"):
        fit_linear(wide.build(Polynomial), wide)


# The recipe.


def test_a_short_run_is_better_than_half_of_the_linear_predictor() -> None:
    """Degree 2 alone, in 21 dimensions, where half of a second is enough."""
    problem = problems.AllenCahnInBall(dim=21)
    recipe = replace(POLYNOMIAL, network=partial(Polynomial, degree=2), points=250)
    run = solve(problem, recipe=recipe, steps=150)
    constant, linear = (y.error for y in yardsticks(problem, points=2000))
    error = problem.relative_l2(run.model, points=2000)
    assert error < 0.5 * linear < 0.5 * constant


@pytest.mark.slow
@pytest.mark.parametrize("equation", [problems.SineGordon, problems.AllenCahnInBall])
def test_three_bodies_are_better_than_the_best_constant(equation: Any) -> None:
    """Products of three coordinates are all that there is beside the constant."""
    problem = equation(dim=40, interaction="three-body")
    run = solve(problem, recipe=POLYNOMIAL, steps=600)
    constant = next(yardsticks(problem, points=5000)).error
    assert problem.relative_l2(run.model, points=5000) < 0.9 * constant


def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    problem = problems.SineGordon(dim=21)
    recipe = replace(POLYNOMIAL, network=partial(Polynomial, degree=2), points=20).scaled(6)
    for step in Attempt(problem, recipe).steps(every=2, output=tmp_path):
        if step.number == 5:
            break
    runs = []
    for output in (tmp_path, None):
        attempt = Attempt(problem, recipe)
        for _ in attempt.steps(every=2, output=output):
            pass
        runs.append(attempt.run)
    for one, two in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        assert torch.equal(one, two)
