"""Directions along which a problem changes: exact where slopes show nothing else, and how close elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError, ShapeError
from sciml.kernels import laplacian
from sciml.pinns import Box, Domain, Problem, Recipe, Subspace, active_subspace, fit_directions, problems
from sciml.pinns.conditions import Function
from sciml.pinns.networks import MLP, FourierFeatures, ModifiedMLP, Projected
from sciml.pinns.problem import Estimate
from sciml.pinns.problems.interactions import _directions

NETWORK = partial(Projected, directions=3, network=partial(MLP, width=5, depth=1))


@dataclass(frozen=True)
class Ridge(Problem):
    """``Laplace(u) = sum_k a_k (q_k . x)^2 / 2`` with planted orthonormal q_k, in a cube."""

    dim: int = 30
    sizes: tuple[float, ...] = (4.0, 2.0, 1.0)

    @property
    def domain(self) -> Domain:
        return Domain(Box(((-1.0, 1.0),) * self.dim))

    @property
    def planted(self) -> Tensor:
        generator = torch.Generator().manual_seed(7)
        columns = torch.randn(self.dim, len(self.sizes), generator=generator, dtype=torch.float64)
        basis: Tensor = torch.linalg.qr(columns).Q
        return basis

    def right_side(self, x: Tensor) -> Tensor:
        return (x @ self.planted).square() @ x.new_tensor(self.sizes) / 2

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        return laplacian(u, x, **estimate) - self.right_side(x)


@dataclass(frozen=True)
class Pair(Ridge):
    """Two equations, each of which changes along directions of its own."""

    @property
    def outputs(self) -> int:
        return 2

    def residual(self, u: Function, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        seen, values = x @ self.planted, u(x)
        return {"one": values[:, 0] - seen[:, 0].sin(), "two": values[:, 1] - seen[:, 1] * seen[:, 2]}


def missed(found: Tensor, wanted: Tensor) -> float:
    """The sine of the largest angle between two subspaces with orthonormal bases."""
    return float(torch.linalg.matrix_norm(wanted - found @ (found.T @ wanted), 2))


@pytest.mark.parametrize("points", [12, 2000], ids=["of points", "of slopes"])
def test_planted_directions_are_found_to_rounding(points: int) -> None:
    """From either Gram matrix; twelve points are fewer than coordinates, and enough."""
    problem = Ridge()
    found = active_subspace(problem, 3, points=points)
    # Eigenvalues are rounded to 1e-16 of the largest one, their roots to 1e-8 of the largest slope.
    assert missed(found.vectors, problem.planted) < 1e-12 and found.gap > 1e6
    torch.testing.assert_close(found.vectors.T @ found.vectors, torch.eye(3, dtype=torch.float64))
    assert missed(active_subspace(Pair(), 3, points=points).vectors, problem.planted) < 1e-12


def test_slopes_are_those_of_the_mean() -> None:
    """The slope along q_k is ``a_k q_k . x``, whose mean square in the cube is ``a_k^2 / 3``."""
    problem = Ridge()
    found = active_subspace(problem, 3, points=20_000)
    # Four standard errors: the fourth moment of a sum of thirty uniform numbers is close to that of a normal.
    wanted = torch.tensor(problem.sizes, dtype=torch.float64) / math.sqrt(3)
    torch.testing.assert_close(found.slopes[:3], wanted, rtol=4 / math.sqrt(2 * 20_000), atol=0.0)
    along = (found.vectors * problem.planted).sum(0).abs()
    # They are mixed by the correlations of their samples, 1/sqrt(n), over differences of eigenvalues.
    assert along.min() > 1 - 1e-3


def of_the_ball(dim: int, points: int, seed: int = 0) -> tuple[float, Subspace]:
    problem = problems.SineGordon(dim=dim, interaction="hidden", seed=seed)
    found = active_subspace(problem, 10, points=points)
    return missed(found.vectors, _directions(dim, 10, seed)), found


def test_hidden_directions_are_found_better_from_more_points_and_in_more_dimensions() -> None:
    """Beside a part of each slope along the point itself, which is no constant direction."""
    few, many = of_the_ball(100, 300)[0], of_the_ball(100, 30_000)[0]
    # A hundred times the points, a tenth of the error; half and twice of that for the luck of one sample.
    assert 0.05 < many / few < 0.2 and few < 0.1
    error, found = of_the_ball(3000, 300)
    # The part along a point is sqrt(30) times smaller beside the others.
    assert error < 0.4 * few and found.gap > 10
    assert missed(found.vectors, active_subspace(HIDDEN_AGAIN, 10, points=300).vectors) < 1e-12


HIDDEN_AGAIN = problems.SineGordon(dim=3000, interaction="hidden")


def test_a_fitted_network_sees_coordinates_of_one_size_along_the_directions() -> None:
    problem = Ridge()
    state = torch.get_rng_state()
    model = problem.build(NETWORK)
    network = next(m for m in model.modules() if isinstance(m, Projected))
    before = torch.get_rng_state()
    found = fit_directions(model, problem, points=500)
    assert torch.equal(before, torch.get_rng_state()) and not torch.equal(before, state)
    x = problem.domain.interior(lambda n, k: torch.rand(n, k).double(), 4000).float()
    seen = network.projection(x)
    # Five standard errors of means, and of deviations with those of the fit.
    assert seen.mean(0).abs().max() < 5 / math.sqrt(500) and (seen.std(0) - 1).abs().max() < 5 / math.sqrt(
        500
    )
    columns = network.projection.weight.T.double()
    assert missed(torch.linalg.qr(columns).Q, found.vectors) < 1e-6
    assert not any(torch.equal(p, network.projection.weight) for p in model.parameters())
    again = problem.build(NETWORK)
    fit_directions(again, problem, points=500)
    second = next(m for m in again.modules() if isinstance(m, Projected))
    assert torch.equal(second.projection.weight, network.projection.weight)


def test_laplacian_of_a_projected_network_is_that_of_its_hessian() -> None:
    """Behind the directions, in float64, against nested reverse mode."""
    torch.manual_seed(0)
    problem = problems.SineGordon(dim=12, interaction="hidden")
    model = problem.build(NETWORK).double()
    x = torch.rand(4, 12, dtype=torch.float64) / 4
    x.requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    bent = [torch.autograd.grad(slope[:, k].sum(), x, retain_graph=True)[0][:, k] for k in range(12)]
    x, wanted = x.detach(), torch.stack(bent).sum(0)
    torch.testing.assert_close(laplacian(model, x), wanted, rtol=1e-12, atol=1e-12)


def test_recipes_fit_directions_before_the_first_step() -> None:
    problem = Ridge()
    model = Recipe(network=NETWORK, fit=partial(fit_directions, points=100)).model(problem, seed=1)
    network = next(m for m in model.modules() if isinstance(m, Projected))
    assert missed(torch.linalg.qr(network.projection.weight.T).Q, problem.planted) < 1e-12


def plain(inputs: int, outputs: int) -> nn.Module:
    return FourierFeatures(inputs, outputs, features=8, network=NETWORK)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: active_subspace(Ridge(), 3, points=5), "3 directions need at least 6 points, got 5"),
        (lambda: active_subspace(Ridge(), 31), "directions are 1 to 30, got 31"),
        (lambda: active_subspace(Ridge(), 0), "directions are 1 to 30, got 0"),
        (lambda: fit_directions(MLP(30, 1), Ridge()), "MLP must have one Projected inside, got 0"),
        (
            lambda: fit_directions(Ridge().build(plain), Ridge()),
            "begin at the 30 coordinates of Ridge, got 8",
        ),
        (
            lambda: fit_directions(Ridge().build(partial(NETWORK, directions=2)), Ridge(), points=99),
            "changes about as much along the next direction as along the last of 2",
        ),
        (lambda: Projected(5, 1, directions=0), "directions must be at least 1, got 0"),
        (lambda: Projected(5, 1, network=ModifiedMLP), "torch.nn.Sequential such as MLP, got ModifiedMLP"),
    ],
)
def test_what_cannot_be_found_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()


def test_what_spreads_over_all_coordinates_is_refused() -> None:
    problem = problems.SineGordon(dim=60)
    with pytest.raises(ConfigError, match="or a recipe for many coordinates"):
        fit_directions(problem.build(NETWORK), problem, points=2000)
    with pytest.raises(ShapeError, match=r"directions must have shape \(60, 3\), got \(60, 2\)"):
        Projected(60, 1, directions=3).look_along(torch.zeros(60, 2))
