"""Separable networks: sums of products, on grids at the price of their axes."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from sciml.errors import ConfigError, ShapeError
from sciml.kernels import d, evaluate
from sciml.objective import Batch, total
from sciml.pinns import Box, Domain, Periodic, Problem, Residual, problems
from sciml.pinns.conditions import Function
from sciml.pinns.networks import MLP, SPINN, Factorized
from sciml.pinns.samplers import RandomGrid
from sciml.streams import Streams

SMALL = partial(MLP, width=5, depth=1)
AXES = [torch.rand(n, dtype=torch.float64) for n in (4, 3, 5)]
GRID = torch.cartesian_prod(*AXES)


def made(inputs: int = 3, outputs: int = 2, **arguments: object) -> SPINN:
    torch.manual_seed(0)
    return SPINN(inputs, outputs, rank=4, network=SMALL, **arguments).double()  # type: ignore[arg-type]


def rows(network: SPINN) -> list[int]:
    """How many rows each of its networks is given, from now on."""
    seen: list[int] = []
    for part in network.networks:
        part.register_forward_pre_hook(lambda module, arguments: seen.append(len(arguments[0])))
    return seen


def test_it_is_a_sum_of_products() -> None:
    network = made()
    f = [part(1 + x[:, None]).reshape(-1, 2, 4) for part, x in zip(network.networks, AXES, strict=True)]
    wanted = torch.einsum("xor,yor,zor->xyzo", *f)
    torch.testing.assert_close(network.on_grid(AXES), wanted, rtol=1e-13, atol=1e-13)
    order = torch.randperm(len(GRID))
    torch.testing.assert_close(network(GRID[order]), wanted.reshape(-1, 2)[order], rtol=1e-13, atol=1e-13)


def test_one_axis_is_a_grid_too() -> None:
    network = made(1, 1)
    torch.testing.assert_close(network.on_grid(AXES[:1]), network(AXES[0][:, None]), rtol=1e-13, atol=1e-13)


def test_it_does_not_start_at_a_saddle() -> None:
    """Networks of tanh are odd around zero, and so would be each derivative of u by a weight, in one axis."""
    axis = torch.linspace(-1, 1, 9, dtype=torch.float64)
    network = made(2, 1)
    gradients = torch.autograd.grad(network.on_grid([axis, axis]).mean(), list(network.parameters()))
    assert all(float(g.abs().max()) > 1e-2 for g in gradients)


OPERATORS = [d("x"), d("yy"), d("xz"), d("xxyy")]


def test_derivatives_on_a_grid_cost_its_axes() -> None:
    network = made(outputs=1)
    order = torch.randperm(len(GRID))
    scattered = evaluate(network, GRID[order], OPERATORS)
    seen = rows(network)
    on_grid = evaluate(network, GRID, OPERATORS)
    assert seen == [4, 3, 5]
    for one, two in zip(on_grid, scattered, strict=True):
        torch.testing.assert_close(one[order], two, rtol=1e-12, atol=1e-12)
    gradients = [
        torch.autograd.grad(sum(value.square().sum() for value in found), list(network.parameters()))  # type: ignore[arg-type]
        for found in (on_grid, scattered)
    ]
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-10)


def changed(points: Tensor, row: int, column: int) -> Tensor:
    points = points.clone()
    points[row, column] += 1e-12
    return points


@pytest.mark.parametrize(
    ("points", "count"),
    [
        (GRID.flip(0), 12),
        (GRID[:, [2, 1, 0]], 180),  # the first axis runs fastest
        (GRID[:-1], 177),
        (changed(GRID, 37, 1), 180),
        (changed(GRID, 37, 2), 180),
        (torch.rand(7, 3, dtype=torch.float64), 21),
        (torch.cat([GRID, GRID]), 360),
        (GRID[:0], 0),
        (GRID[:1], 3),
    ],
)
def test_points_that_are_no_grid_are_taken_one_by_one(points: Tensor, count: int) -> None:
    network = made()
    wanted = [network(point[None]) for point in points]
    seen = rows(network)
    found = network(points)
    assert sum(seen) == count
    if len(points):
        torch.testing.assert_close(found, torch.cat(wanted), rtol=1e-13, atol=1e-13)


def test_points_that_gradients_go_to_are_taken_one_by_one() -> None:
    network = made()
    points = GRID.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(points)[:, 0].sum(), points)
    (one,) = torch.autograd.grad(network(points[5:6])[:, 0].sum(), points)
    torch.testing.assert_close(gradient[5], one[5], rtol=1e-13, atol=1e-13)
    whole = torch.func.vmap(network)(GRID[:, None])
    torch.testing.assert_close(whole[:, 0], network(GRID), rtol=1e-13, atol=1e-13)


class Circle(Problem):
    """u_t = u_x, with u periodic in x."""

    domain = Domain(Box(((0.0, 2.0),)), time=(0.0, 1.0))
    conditions = (Periodic(0),)

    def residual(self, u: Function, x: Tensor) -> Tensor:
        _, u_x, u_t = evaluate(u, x, [d("x"), d("y")])
        return u_t - u_x


def test_a_periodic_coordinate_is_one_group_of_features() -> None:
    torch.manual_seed(0)
    factory = partial(SPINN, rank=3, groups=(2, 1), network=partial(Factorized, network=SMALL))
    model = Circle().build(factory).double()
    network = model.network
    assert isinstance(network, SPINN) and len(network.networks) == 2
    grid = torch.cartesian_prod(torch.linspace(0, 1.5, 4).double(), torch.linspace(0, 1, 3).double())
    order = torch.randperm(12)
    scattered = Circle().residual(model, grid[order])
    seen = rows(network)
    torch.testing.assert_close(Circle().residual(model, grid)[order], scattered, rtol=1e-12, atol=1e-12)
    assert seen == [4, 3]
    torch.testing.assert_close(model(grid + torch.tensor([2.0, 0.0])), model(grid), rtol=1e-12, atol=1e-12)


def test_a_random_grid_costs_its_axes_and_has_the_loss_of_its_points() -> None:
    """Under conditions that are built in, with second derivatives: the values and gradients of points one by
    one, to rounding."""
    problem = problems.KleinGordonSquare()
    torch.manual_seed(0)
    model = problem.build(partial(SPINN, rank=4, network=SMALL)).double()
    network = model.network
    assert isinstance(network, SPINN)
    loss = Residual(problem, sampler=RandomGrid(), points={"equation": 4**3})
    batch = loss.draw(0, model, Streams(0))
    assert not torch.equal(batch["equation/rows"], loss.draw(1, model, Streams(0))["equation/rows"])
    order = torch.randperm(4**3)
    scattered = Batch({**batch.tensors, "equation/rows": batch["equation/rows"][order]}, batch.shared)
    seen = rows(network)
    found = loss.terms(model, batch)["equation"].values
    assert seen[:3] == [4, 4, 4]
    torch.testing.assert_close(
        found[order], loss.terms(model, scattered)["equation"].values, rtol=1e-12, atol=1e-12
    )
    gradients = [
        torch.autograd.grad(total(loss.terms(model, part)), list(model.parameters()))
        for part in (batch, scattered)
    ]
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match=r"add up to inputs, got 3, 1, 32 and \(1, 1\)"):
        SPINN(3, 1, groups=(1, 1))
    with pytest.raises(ConfigError, match="at least 1"):
        SPINN(2, 1, rank=0)
    with pytest.raises(ShapeError, match="3 axes here, got 2"):
        made().on_grid(AXES[:2])
