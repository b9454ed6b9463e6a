"""Galerkin's method for networks, and the start of their modes: what is known of both on a string."""

import math
from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.kernels import d, evaluate
from sciml.optimizers import LevenbergMarquardt
from sciml.pinns import Box, Dirichlet, Domain, Initial, Recipe, Stage, march, problems
from sciml.pinns.conditions import Condition, Function
from sciml.pinns.losses import Galerkin
from sciml.pinns.networks import MLP, SIREN, Modes, start_modes
from sciml.pinns.problem import Problem
from sciml.streams import Streams

FOUR = partial(Modes, sines=(range(1, 5),), network=partial(MLP, width=6, depth=1))


class Layered(Problem):
    """``u_tt / a = u_xx`` on (-1, 1) between fixed ends, at first and last; a is 1 left of 0 and 4 right."""

    domain = Domain(Box(((-1.0, 1.0),)), time=(0.0, 1.0))
    conditions: tuple[Condition, ...] = (
        Dirichlet(0.0),
        Initial(lambda x: torch.cos(math.pi / 2 * x[:, 0])),
        Initial(0.0, order=1, name="rate"),
    )

    def residual(self, u: Function, x: Tensor) -> Tensor:
        _, bent, u_tt = evaluate(u, x, [d(0, 0), d(1, 1)])
        return u_tt / torch.where(x[:, 0] < 0, 1.0, 4.0) - bent


class Driven(Layered):
    """With a source that moves, and a force."""

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, bent, u_tt = evaluate(u, x, [d(0, 0), d(1, 1)])
        return u_tt - bent + torch.sin(x[:, 1]) * value**3 - x[:, 0]


class Forgotten(Layered):
    conditions = (Dirichlet(0.0),)


class Aging(Layered):
    def residual(self, u: Function, x: Tensor) -> Tensor:
        return super().residual(u, x) * (1 + x[:, 1])


class Steepening(Layered):
    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, slope = evaluate(u, x, [d(0)])
        return super().residual(u, x) + value * slope


def test_modes_start_where_the_problem_does() -> None:
    problem = Layered()
    model = problem.build(FOUR, hard=False).double()
    start_modes(model, problem)
    x = torch.tensor([[-0.5, 0.0], [0.3, 0.0], [0.3, 0.7]], dtype=torch.float64)
    # cos(pi x / 2) is the first sine; least squares leave rounding times a condition of about 10.
    assert torch.allclose(model(x), torch.cos(math.pi / 2 * x[:, 0]), rtol=0, atol=1e-12)
    with pytest.raises(ConfigError, match="needs Modes of one component"):
        start_modes(problem.build(MLP, hard=False), problem)
    with pytest.raises(ConfigError, match="needs the start of Forgotten"):
        start_modes(model, Forgotten())
    with pytest.raises(ConfigError, match="needs the start of Wave, not built in"):
        start_modes(problems.Wave().build(FOUR), problems.Wave())


def test_galerkin_finds_the_matrices_of_the_weak_form() -> None:
    problem = Layered()
    model = problem.build(FOUR, hard=False).double()
    found = Galerkin(problem, points=10, nodes=400).weak(model)
    stiff, damping, mass = found.matrices
    k = torch.arange(1, 5, dtype=torch.float64)
    # Of modes divided by their norm, the root of a half: stiffness (k pi / 2)^2.
    assert torch.allclose(stiff, torch.diag((k * math.pi / 2) ** 2) / 2**0.5, rtol=0, atol=1e-10)
    assert damping.abs().max() < 1e-10 and not found.semilinear
    # <sin j, sin k / a> over both halves; midpoints leave h^2 / 24 times the slopes at the jump.
    x = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    waves = torch.sin(math.pi * x[:, None] * k)
    exact = 2**0.5 * waves.T @ (waves / torch.where(x < 0.5, 1.0, 4.0)[:, None]) / len(x)
    assert torch.allclose(mass, exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("cell", [None, ((-1.0, 0.0),)])
def test_galerkin_tests_the_residual_with_the_modes(cell: Sequence[tuple[float, float]] | None) -> None:
    problem = Driven()
    # In half the box those of one parity are orthogonal too.
    modes = partial(FOUR, sines=((1, 3),)) if cell else FOUR
    model = problem.build(modes, hard=False).double()
    loss = Galerkin(problem, points=5, nodes=20, cell=cell, weights={"equation": 4.0})
    batch = loss.draw(0, model, Streams(0))
    term = loss.terms(model, batch)["equation"]
    count = 2 if cell else 4
    assert term.values.shape == (5, count) and term.weight == 4.0 and term.square
    places = (torch.arange(20, dtype=torch.float64) + 0.5) / (20 if cell else 10) - 1
    shapes = model.network.shapes(places[:, None])  # type: ignore[operator, union-attr]
    tests = shapes / shapes.square().mean(0).sqrt()
    for t, found in zip(batch["equation/rows"][:, 1], term.values, strict=True):
        r = problem.residual(model, torch.stack([places, t.expand(20)], dim=1))
        assert torch.allclose(found, (tests * r[:, None]).mean(0) * count**0.5, rtol=0, atol=1e-11)


@pytest.mark.parametrize("problem", [Aging(), Steepening()], ids=lambda p: type(p).__name__)
def test_galerkin_is_for_linear_derivatives_that_stay(problem: Problem) -> None:
    model = problem.build(FOUR, hard=False).double()
    with pytest.raises(ConfigError, match="derivatives do not stand linearly"):
        Galerkin(problem, points=4, nodes=8).weak(model)


def test_galerkin_needs_modes_in_space_and_time() -> None:
    problem = Layered()
    with pytest.raises(ConfigError, match=r"hard=False\), without periods, got MLP"):
        Galerkin(problem).check(problem.build(MLP, hard=False))
    with pytest.raises(ConfigError, match="on a box and in time"):
        Galerkin(problems.Poisson())


def test_galerkin_marches_to_what_the_matrices_say() -> None:
    problem = Layered()
    recipe = Recipe(
        network=partial(FOUR, network=partial(SIREN, width=10, depth=1, frequency=4.0)),
        points={"equation": 24, "initial": 1, "rate": 1},
        weights={"initial": 1e4, "rate": 1e2},
        stages=(Stage(partial(LevenbergMarquardt, iterations=3, damping=1e-8), 2),),
        hard=False,
        loss=partial(Galerkin, nodes=64),
        fit=start_modes,
    )
    model = march(problem, windows=2, recipe=recipe).model
    stiff, _, mass = Galerkin(problem, nodes=64).weak(problem.build(FOUR, hard=False).double()).matrices
    squares, shapes = torch.linalg.eig(torch.linalg.solve(mass, stiff))
    begin = torch.linalg.solve(shapes, torch.eye(4, dtype=shapes.dtype)[:, 0])
    sizes = (shapes @ (torch.cos(squares.sqrt()) * begin)).real
    x = torch.linspace(-1, 1, 21, dtype=torch.float64)
    waves = torch.sin(math.pi / 2 * (x[:, None] + 1) * torch.arange(1, 5))
    found = model(torch.stack([x, torch.ones_like(x)], dim=1)).detach()
    # Ten neurons leave 3e-5.
    gap = (found - waves @ sizes).norm() / found.norm()
    assert gap < 5e-4
