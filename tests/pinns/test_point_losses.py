"""Losses on the points of a residual: least energy, and directions as in stochastic dimension descent."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from sciml.errors import ConfigError
from sciml.kernels import Exact, SparseDirections, d, evaluate, laplacian
from sciml.objective import total
from sciml.pinns import (
    Attempt,
    Box,
    Dirichlet,
    Domain,
    Neumann,
    Problem,
    Recipe,
    Residual,
    Robin,
    Stage,
    problems,
    solve,
)
from sciml.pinns.gradients import value_and_gradient
from sciml.pinns.losses import SDGD, DeepRitz
from sciml.pinns.networks import MLP
from sciml.pinns.problem import residuals
from sciml.pinns.quadrature import quadrature
from sciml.pinns.recipes import DEEP_RITZ, RECIPES
from sciml.pinns.samplers import RAD, InTurn, Sobol, Uniform
from sciml.streams import Streams


class Screened(Problem):
    """-u'' + u + u^3 = f on (0, 1) with u' = 0 at both ends, f that of u = cos(pi x)."""

    domain = Domain(Box(((0.0, 1.0),)))
    conditions = (Neumann(),)
    grid = (101,)

    def residual(self, u: Any, x: Tensor) -> Tensor:
        value, bent = evaluate(u, x, [d("xx")])
        return -bent + value + value**3 - self._source(x)

    def energy(self, u: Any, x: Tensor) -> Tensor:
        value, slope = value_and_gradient(u, x)
        return slope[:, 0] ** 2 / 2 + value**2 / 2 + value**4 / 4 - self._source(x) * value

    def exact(self, x: Tensor) -> Tensor:
        return torch.cos(math.pi * x[:, 0])

    def _source(self, x: Tensor) -> Tensor:
        u = self.exact(x)
        return (math.pi**2 + 1) * u + u**3


class Bent(Problem):
    """-u'' = 2 on (0, 1), u = 0 at both ends: u = x (1 - x), in which the energy is -1/6."""

    domain = Domain(Box(((0.0, 1.0),)))
    conditions = (Dirichlet(0.0),)
    grid = (101,)

    def residual(self, u: Any, x: Tensor, estimate: Any) -> Tensor:
        return -laplacian(u, x, **estimate) - 2.0

    def energy(self, u: Any, x: Tensor) -> Tensor:
        value, slope = value_and_gradient(u, x)
        return slope[:, 0] ** 2 / 2 - 2 * value

    def exact(self, x: Tensor) -> Tensor:
        return x[:, 0] * (1 - x[:, 0])


class Known(nn.Module):
    """A function as a model."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.none = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.function(x) + self.none
        return found


def with_energy() -> list[Problem]:
    known = [getattr(problems, name) for name in problems.__all__]
    return [cls() for cls in known if cls.energy is not Problem.energy]


@pytest.mark.parametrize("problem", [Screened(), Bent(), *with_energy()], ids=lambda p: type(p).__name__)
def test_the_residual_is_the_slope_of_the_energy(problem: Problem) -> None:
    """``d/de E(u + e v) = int residual(u) v`` for v that vanishes on the boundary with its slope."""
    x, weights = quadrature(problem.domain.space, None, 64 if problem.domain.dim == 1 else 10_000)
    lower, upper = torch.tensor(problem.domain.bounds, dtype=torch.float64).T

    def bump(x: Tensor) -> Tensor:
        z = (x - lower) / (upper - lower)
        return ((z * (1 - z)) ** 2).prod(1)

    def u(x: Tensor) -> Tensor:
        return torch.sin(x.sum(1)) + x[:, 0] ** 2

    e = torch.zeros((), dtype=torch.float64, requires_grad=True)
    whole = (weights * problem.energy(lambda x: u(x) + e * bump(x), x)).sum()
    (slope,) = torch.autograd.grad(whole, e)
    missed = (weights * residuals(problem, u, x, coefficients={})["equation"] * bump(x)).sum()
    # Gauss points are exact to rounding here; where Sobol points stand in for them both sides have their
    # error, some 1e-3 with 10 000 points.
    torch.testing.assert_close(slope, missed, rtol=1e-9 if problem.domain.dim <= 2 else 2e-2, atol=1e-12)


def test_the_mean_of_the_energy_is_the_energy_and_a_condition_costs_its_penalty() -> None:
    problem = Bent()
    loss = DeepRitz(problem, points=20_000, penalty=10.0)
    model = Known(lambda x: problem.exact(x) + 0.1)
    terms = loss.terms(model, loss.draw(0, model, Streams(0)))
    # E(u + 1/10) = -1/6 - 2/10; four standard errors.
    spread = 4 * float(terms["energy"].values.detach().std()) / math.sqrt(20_000)
    assert abs(float(terms["energy"].mean().detach()) + 1 / 6 + 0.2) < spread
    assert float(terms["boundary"].mean().detach()) == pytest.approx(0.1)  # 10 / 100
    light = DeepRitz(problem, points=4, weights={"boundary": 3.0})
    found = light.terms(model, light.draw(0, model, Streams(0)))["boundary"].mean().detach()
    assert float(found) == pytest.approx(0.03)


def test_natural_conditions_have_no_term() -> None:
    loss = DeepRitz(Screened(), points=10)
    model = Screened().build(partial(MLP, width=4, depth=1)).double()
    assert list(loss.terms(model, loss.draw(0, model, Streams(0)))) == ["energy"]
    loss.check(model)


def least(problem: Problem, loss: Any) -> nn.Module:
    recipe = Recipe(
        network=partial(MLP, width=16, depth=2),
        stages=(Stage(partial(Adam, lr=1e-2), 150, Sobol(), fading=True),),
        points=128,
        loss=loss,
    )
    return solve(problem, recipe=recipe).model


def test_least_energy_solves_an_equation_whose_conditions_are_natural() -> None:
    problem = Screened()
    assert problem.relative_l2(least(problem, DeepRitz)) < 2e-2


@pytest.mark.slow
def test_a_penalty_shifts_the_solution_by_its_inverse() -> None:
    """Of ``int u'^2/2 - 2 u + p (u(0)^2 + u(1)^2)/2`` the least value is at ``x (1 - x) + 1/p``."""
    problem = Bent()
    model = least(problem, partial(DeepRitz, penalty=10.0))
    x = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    with torch.no_grad():
        values = model(x)
    wanted = problem.exact(x) + 0.1
    # The ends are stiff and soon there; the middle takes longer.  Without the shift this would be 0.37.
    assert float((values - wanted).norm() / wanted.norm()) < 0.1
    assert values[[0, -1]].tolist() == pytest.approx([0.1, 0.1], rel=0.02)


@pytest.mark.slow
def test_the_recipe_solves_poissons_equation() -> None:
    problem = problems.Poisson()
    # Measured 1.4e-2 with half of the steps.
    assert problem.relative_l2(solve(problem, recipe=DEEP_RITZ.scaled(600)).model) < 2e-2


def test_what_has_no_energy_is_refused_in_a_sentence() -> None:
    class Cooled(Bent):
        conditions = (Robin(1.0),)  # type: ignore[assignment]

    class Vector(Bent):
        def energy(self, u: Any, x: Tensor) -> Tensor:
            return x

    for make, match in (
        (lambda: DeepRitz(problems.Burgers()), "Burgers has no energy"),
        (lambda: DeepRitz(Cooled()), "'boundary' of Cooled belongs into the energy"),
        (lambda: DeepRitz(Bent(), sampler=RAD()), "points that RAD prefers"),
        (
            lambda: DeepRitz(Bent(), sampler=InTurn(((1, Uniform()), (1, RAD())))),
            "points that InTurn prefers",
        ),
        (lambda: DeepRitz(Bent(), penalty=0.0), "penalty is positive"),
    ):
        with pytest.raises(ConfigError, match=match):
            make()  # type: ignore[no-untyped-call]
    loss = DeepRitz(Vector(), points=4)
    model = Known(lambda x: x[:, 0])
    with pytest.raises(ConfigError, match=r"Vector: energy must be one number per point"):
        loss.terms(model, loss.draw(0, model, Streams(0)))


def test_a_recipe_gives_a_loss_what_it_names_and_refuses_the_rest() -> None:
    problem = problems.PoissonOfSines(dim=3)
    recipe = Recipe(loss=SDGD, estimator=SparseDirections(2), points=5, weights={"boundary": 2.0})
    assert isinstance(recipe.objective(problem), SDGD)
    assert isinstance(Recipe().objective(problem), Residual)
    with pytest.raises(ConfigError, match="Recipe: the loss DeepRitz takes no estimator; leave it out"):
        Recipe(loss=DeepRitz, estimator=SparseDirections(2)).objective(problem)
    for name in ("deep-bsde", "fbsnn"):
        with pytest.raises(ConfigError, match="PoissonOfSines has no diffusion"):
            RECIPES[name].objective(problem)
    with pytest.raises(ConfigError, match="no term 'equatoin' to weigh; there is equation"):
        loss = SDGD(problem, points=5, weights={"equatoin": 2.0})
        model = problem.build(MLP)
        loss.terms(model, loss.draw(0, model, Streams(0)))


def test_all_directions_make_sdgd_the_residual() -> None:
    problem = problems.PoissonOfSines(dim=3)
    model = problem.build(partial(MLP, width=8, depth=2)).double()
    losses = [
        SDGD(problem, points=7, estimator=SparseDirections(3), weights={"equation": 2.0, "boundary": 3.0}),
        Residual(problem, points=7, estimator=Exact(), weights={"equation": 2.0, "boundary": 3.0}),
    ]
    gradients = []
    for loss in losses:
        found = total(loss.terms(model, loss.draw(0, model, Streams(0))))
        gradients.append([found.detach(), *torch.autograd.grad(found, list(model.parameters()))])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_losses_on_points_tell_their_points() -> None:
    recipe = Recipe(network=partial(MLP, width=4, depth=1), stages=(Stage(Adam, 2),), points=6, loss=DeepRitz)
    attempt = Attempt(problems.Poisson(), recipe)
    rows = [step.row for step in attempt.steps(every=1)]
    assert attempt.points().shape == (6, 2)
    assert "relative_l2" in rows[0]["validation"]
