"""Conditions that hold by construction: to rounding, for any weights, and without hiding the network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS

from sciml.errors import ConfigError
from sciml.kernels import d, evaluate, laplacian
from sciml.mesh import Mesh
from sciml.pinns import (
    Ansatz,
    Ball,
    Box,
    Condition,
    Constrained,
    Difference,
    Dirichlet,
    Domain,
    Initial,
    MeshGeometry,
    Neumann,
    Periodic,
    Polygon,
    Problem,
    Recipe,
    Renamed,
    Robin,
    Stage,
    ansatz_for,
    component,
    distance,
    solve,
)
from sciml.pinns.domain import Source
from sciml.pinns.networks import MLP
from sciml.pinns.samplers import Sobol

SQUARE = Box(((0.0, 1.0), (0.0, 1.0)))
DISCS = tuple(Ball(2, 0.1, (x, y)) for x in (0.2, 0.8) for y in (0.2, 0.8))
CORNER = Polygon(((-1.0, -1.0), (1.0, -1.0), (1.0, 0.0), (0.0, 0.0), (0.0, 1.0), (-1.0, 1.0)))
TRIANGLES = Mesh(
    [[0, 0], [2, 0], [2, 1], [0, 1], [0.8, 0.6]],
    cells={"triangle": [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]},
)
EDGES = ("0-", "0+", "1-", "1+")


def rand(seed: int = 0) -> Source:
    generator = torch.Generator().manual_seed(seed)
    return lambda n, k: torch.rand(n, k, generator=generator, dtype=torch.float64)


def wave(x: Tensor) -> Tensor:
    return torch.sin(x[:, 0] + 2 * x[:, 1]) + 0.2


def positive(x: Tensor) -> Tensor:
    return 1 + x[:, 0] * x[:, 0]


CASES: dict[str, tuple[Domain, tuple[Condition, ...]]] = {
    "values on an interval": (Domain(Box(((0.0, 2.0),))), (Dirichlet(3.0),)),
    "value and slope on an interval": (
        Domain(Box(((0.0, 2.0),))),
        (Dirichlet(3.0, ("0-",)), Neumann(-1.0, ("0+",), name="slope")),
    ),
    "values on a box": (Domain(SQUARE), (Dirichlet(wave),)),
    "slopes on a box": (Domain(SQUARE), (Neumann(wave),)),
    "one of each": (
        Domain(Box(((0.0, 1.0),) * 3)),
        (
            Dirichlet(wave, ("0-", "0+")),
            Neumann(wave, ("1-", "1+"), name="slope"),
            Robin(positive, wave, ("2-", "2+"), name="both"),
        ),
    ),
    "ball": (Domain(Ball(3, 2.0, (1.0, 0.0, 0.0))), (Robin(2.0, wave),)),
    "holes of another value": (
        Domain(Difference(SQUARE, DISCS)),
        (Dirichlet(1.0, EDGES), Dirichlet(wave, ("sphere",), name="holes")),
    ),
    "holes that cool": (
        Domain(Difference(SQUARE, DISCS)),
        (Dirichlet(1.0, EDGES), Robin(positive, wave, ("sphere",), name="holes")),
    ),
    "L-shape": (
        Domain(CORNER),
        (Dirichlet(wave, ("0", "1", "2")), Robin(positive, wave, ("3", "4", "5"), name="rest")),
    ),
    "L-shape of boxes": (
        Domain(Box(((-1.0, 1.0), (-1.0, 1.0))) - Box(((0.0, 1.0), (0.0, 1.0)))),
        (Robin(positive, wave),),
    ),
    "capsule": (
        Domain(Box(((-1.0, 1.0), (-0.5, 0.5))) | Ball(2, 0.5, (1.0, 0.0))),
        (Robin(positive, wave),),
    ),
    "mesh": (
        Domain(MeshGeometry(TRIANGLES, {"floor": [[0, 1]]})),
        (Dirichlet(wave, ("floor",)), Neumann(0.3, ("boundary",), name="rest")),
    ),
    "heat": (
        Domain(SQUARE, time=(0.5, 2.0)),
        (
            Dirichlet(lambda x: torch.sin(x[:, 2] * x[:, 1]), ("0-",)),
            Neumann(lambda x: x[:, 2] - 0.5, ("0+",), name="flux"),
            Initial(lambda x: torch.sin(0.5 * x[:, 1]) + 0 * x[:, 0]),
        ),
    ),
    "wave": (
        Domain(Ball(2), time=(0.0, 1.0)),
        (
            Dirichlet(0.0),
            Initial(lambda x: 1 - x[:, 0] * x[:, 0] - x[:, 1] * x[:, 1]),
            Initial(lambda x: x[:, 0] * (1 - x[:, 0] * x[:, 0] - x[:, 1] * x[:, 1]), 1, name="rate"),
        ),
    ),
    "start alone": (Domain(Box(((0.0, 1.0),)), time=(0.0, 1.0)), (Initial(lambda x: torch.exp(x[:, 0])),)),
}
named = pytest.mark.parametrize("name", CASES)


def network(domain: Domain, seed: int, outputs: int = 1) -> Callable[[Tensor], Tensor]:
    torch.manual_seed(seed)
    model = MLP(domain.dim, outputs, width=12, depth=2).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.7)
    return (lambda x: model(x)[:, 0]) if outputs == 1 else model


@named
def test_conditions_hold_for_any_weights(name: str) -> None:
    domain, conditions = CASES[name]
    ansatz = ansatz_for(domain, conditions)
    for seed in range(2):
        u = ansatz.around(network(domain, seed))
        for condition in conditions:
            rows = condition.rows(domain, rand(seed), 100)
            gap = condition.residual(u, rows, domain)
            scale = 1 + u(rows[:, : domain.dim]).abs().max()
            assert gap.abs().max() < 1e-12 * scale, type(condition).__name__


@named
def test_the_network_acts_inside(name: str) -> None:
    """u is affine in the network; what multiplies it vanishes on faces only, and is of size one."""
    domain, conditions = CASES[name]
    ansatz = ansatz_for(domain, conditions)
    x = domain.interior(rand(), 300)
    base = ansatz.around(lambda x: 0 * x[:, 0])(x)
    factor = ansatz.around(lambda x: 0 * x[:, 0] + 1)(x) - base
    assert (factor.abs() > 0).all() and 0.5 < factor.abs().max() < 2.5
    first, second = network(domain, 1), network(domain, 2)
    both = ansatz.around(lambda x: 2 * first(x) - 3 * second(x))(x) - base
    apart = 2 * (ansatz.around(first)(x) - base) - 3 * (ansatz.around(second)(x) - base)
    torch.testing.assert_close(both, apart, rtol=1e-9, atol=1e-11)


@named
def test_laplacian_of_jets_is_that_of_differences(name: str) -> None:
    domain, conditions = CASES[name]
    u = ansatz_for(domain, conditions).around(network(domain, 0))
    x = domain.interior(rand(), 400)
    x = x[distance(domain.space)(x[:, : domain.space.dim]) > 0.04][:40]
    found, h = laplacian(u, x), 1e-3
    steps = h * torch.eye(domain.dim, dtype=torch.float64)
    around = [16 * (u(x + e) + u(x - e)) - u(x + 2 * e) - u(x - 2 * e) - 30 * u(x) for e in steps]
    # Order 4 with derivatives that grow like 1 / 0.04 per order: (25 h)^4 / 90, and rounding of 1e-15 / h^2.
    torch.testing.assert_close(found, torch.stack(around).sum(0) / (12 * h * h), rtol=1e-4, atol=1e-4)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(u(leaf).sum(), leaf, create_graph=True)
    twice = [
        torch.autograd.grad(slope[:, i].sum(), leaf, retain_graph=True)[0][:, i] for i in range(domain.dim)
    ]
    torch.testing.assert_close(found, torch.stack(twice).sum(0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["values on a box", "one of each", "L-shape", "heat", "holes that cool"])
def test_corners_are_finite(name: str) -> None:
    domain, conditions = CASES[name]
    u = ansatz_for(domain, conditions).around(network(domain, 0))
    corners = torch.cartesian_prod(*(torch.tensor(pair, dtype=torch.float64) for pair in domain.bounds))
    assert u(corners[domain.contains(corners)]).isfinite().all()


def test_box_of_zeros_is_the_product_of_its_sides() -> None:
    ansatz = ansatz_for(Domain(Box(((-1.0, 1.0), (-1.0, 1.0)))), (Dirichlet(0.0),))
    assert ansatz.factor is not None
    x = 2 * rand()(50, 2) - 1
    ratio = ansatz.factor(x) / ((1 - x[:, 0] ** 2) * (1 - x[:, 1] ** 2))
    # Its largest value is found on 1000 points.
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0.02, atol=0)
    torch.testing.assert_close(ratio, ratio[:1].expand(50), rtol=1e-12, atol=0)


def test_slopes_may_be_anything_at_higher_order() -> None:
    """A mirror image would be even across the face: here the third derivative is free."""
    domain = Domain(Box(((0.0, 1.0),)))
    ansatz = ansatz_for(domain, (Neumann(0.0, ("0-",)),))
    x = torch.zeros(1, 1, dtype=torch.float64)
    derivatives = [
        evaluate(ansatz.around(lambda x, k=k: x[:, 0] ** k), x, [d("x"), d("xx"), d("xxx")])[1:]
        for k in (1, 2, 3)
    ]
    found = torch.cat([torch.stack(row, dim=1) for row in derivatives])
    assert (found[:, 0] == 0).all() and torch.linalg.matrix_rank(found[:, 1:]) == 2


def test_systems() -> None:
    domain = Domain(SQUARE)
    conditions = (
        Dirichlet(wave, component=0),
        Dirichlet(1.0, ("0-",), component=1),
        Dirichlet(wave, ("1-", "1+"), component=1),
    )
    u = ansatz_for(domain, conditions, outputs=3).around(network(domain, 0, 3))
    for condition in conditions:
        rows = condition.rows(domain, rand(), 100)
        gap = condition.residual(component(u, condition.component, 3), rows, domain)
        assert gap.abs().max() < 1e-12
    x = domain.interior(rand(), 10)
    torch.testing.assert_close(u(x)[:, 2], network(domain, 0, 3)(x)[:, 2])
    sloped = tuple(Neumann(wave, component=k) for k in (0, 1))
    u = ansatz_for(domain, sloped, outputs=2).around(network(domain, 0, 2))
    for condition in sloped:
        rows = condition.rows(domain, rand(), 100)
        assert condition.residual(component(u, condition.component, 2), rows, domain).abs().max() < 1e-12
    with pytest.raises(ConfigError, match="if all components have them"):
        ansatz_for(domain, (Neumann(0.0, component=0), Dirichlet(0.0, component=1)), outputs=2)


class Ring(Problem):
    """Laplace between circles: u = log r, given inside by its value and outside by its slope."""

    domain = Domain(Ball(2, 2.0) - Renamed(Ball(2, 1.0), {"sphere": "inner"}))
    conditions = (Dirichlet(0.0, ("inner",)), Neumann(0.5, ("sphere",), name="flux"))

    @property
    def ansatz(self) -> Ansatz:
        return ansatz_for(self.domain, self.conditions)

    def residual(self, u: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return laplacian(u, x)

    def exact(self, x: Tensor) -> Tensor:
        return torch.log(torch.linalg.vector_norm(x, dim=1))


def test_satisfied_conditions_leave_the_loss() -> None:
    model = Recipe().model(Ring(), 0)
    assert isinstance(model, Constrained) and model.satisfies == ("boundary", "flux")


@pytest.mark.slow
def test_a_problem_is_solved_with_nothing_but_its_equation() -> None:
    optimizer = partial(
        LBFGS, max_iter=10, tolerance_grad=1e-14, tolerance_change=1e-18, line_search_fn="strong_wolfe"
    )
    stage = Stage(optimizer, 12, Sobol(every=100))
    recipe = Recipe(network=partial(MLP, width=10, depth=2), stages=(stage,), points=128)
    problem = Ring()
    run = solve(problem, recipe=recipe)
    # 5e-3 with these 120 iterations; other processors round differently along the way.
    assert problem.relative_l2(run.model) < 2e-2


def test_single_precision() -> None:
    domain, conditions = CASES["L-shape"]
    u = ansatz_for(domain, conditions).around(lambda x: torch.exp(x[:, 0]))
    x = domain.interior(rand(), 100)
    assert u(x.float()).dtype == torch.float32
    torch.testing.assert_close(u(x.float()).double(), u(x), rtol=1e-4, atol=1e-4)


def test_refusals() -> None:
    domain = Domain(SQUARE)
    with pytest.raises(ConfigError, match="'periodic' is no Dirichlet"):
        ansatz_for(domain, (Periodic(0),), names=("periodic",))
    assert ansatz_for(domain, (Periodic(0), Dirichlet(0.0, ("1-",)))).satisfies == ("boundary",)
    with pytest.raises(ConfigError, match="'holes' and 'boundary' both ask for something on '0-'"):
        ansatz_for(domain, (Dirichlet(0.0), Neumann(0.0, ("0-",), name="holes")))
    moving = Domain(SQUARE, time=(0.0, 1.0))
    with pytest.raises(ConfigError, match=r"'boundary' would be missed by .*disagree with another"):
        ansatz_for(moving, (Dirichlet(0.0), Initial(1.0)))
    assert ansatz_for(moving, (Dirichlet(0.0), Initial(1.0)), names=("initial",)).satisfies == ("initial",)
    with pytest.raises(ConfigError, match="'rate' would be missed"):
        value = Dirichlet(lambda x: torch.sin(x[:, 2]))
        ansatz_for(moving, (value, Initial(0.0), Initial(0.0, 1, name="rate")))
    with pytest.raises(ConfigError, match="the domain has no time"):
        ansatz_for(domain, (Initial(0.0),))
    with pytest.raises(ConfigError, match=r"orders \[1\]"):
        ansatz_for(moving, (Initial(0.0, 1),))
