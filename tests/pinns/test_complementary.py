"""Potential and stream function together: the identity of the two errors, conditions, and kinks."""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.kernels import d, evaluate
from sciml.optimizers import LevenbergMarquardt
from sciml.pinns import Attempt, Dirichlet, Neumann, Problem, Recipe, Robin, Stage, problems
from sciml.pinns.conditions import Condition, Function
from sciml.pinns.domain import Box, Domain
from sciml.pinns.losses import Complementary
from sciml.pinns.networks import MLP, Kinked
from sciml.pinns.problem import residuals
from sciml.pinns.samplers import Sobol
from sciml.streams import Streams

COOLING = 2.0


def slopes(u: Function, x: Tensor) -> Tensor:
    return torch.stack(evaluate(u, x, [d(0), d(1)])[1:], dim=1)


def curl(psi: Function, x: Tensor) -> Tensor:
    return slopes(psi, x).flip(1) * torch.tensor([1.0, -1.0])


class Plate(Problem):
    """Square, conducting the better the farther to the right; its flux is given but for a stream function."""

    domain = Domain(Box(((0.0, 1.0), (0.0, 1.0))))
    natural: ClassVar[tuple[str, ...]] = ()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        def loss(side: float, axis: int) -> Function:
            return lambda x: side * slopes(self.exact, x)[:, axis] + COOLING * self.exact(x)

        sides = [(f"{axis}{'-+'[end]}", loss(2.0 * end - 1, axis)) for axis in (0, 1) for end in (0, 1)]
        return tuple(Robin(COOLING, value, (face,), name=face) for face, value in sides)

    def conductivity(self, x: Tensor) -> Tensor:
        return 1 + x[:, 0]

    def carried(self, x: Tensor) -> Tensor:
        turned = torch.stack([2 * x[:, 0] * x[:, 1], -(x[:, 1] ** 2)], dim=1)  # the curl of x y^2
        return self.conductivity(x)[:, None] * slopes(self.exact, x) + turned

    def exact(self, x: Tensor) -> Tensor:
        return torch.cos(2 * x[:, 0]) * x[:, 1] - x[:, 1] ** 2

    def residual(self, u: Function, x: Tensor) -> Tensor:
        raise NotImplementedError


def test_loss_is_the_sum_of_both_errors_in_energy() -> None:
    """Whatever u and psi: Prager and Synge's identity, with what flows out of a cooled boundary."""
    plate = Plate()
    both = Complementary(plate).problem

    def u(x: Tensor) -> Tensor:
        return plate.exact(x) + torch.sin(x[:, 0] + 2 * x[:, 1])

    def psi(x: Tensor) -> Tensor:
        return -x[:, 0] * x[:, 1] ** 2 + torch.exp(x[:, 0] - x[:, 1])

    nodes, shares = (torch.from_numpy(v) / 2 for v in np.polynomial.legendre.leggauss(12))
    x, area = torch.cartesian_prod(nodes + 0.5, nodes + 0.5), torch.outer(shares, shares).flatten()
    a, right = plate.conductivity(x), slopes(plate.exact, x)

    missed = residuals(both, u, x, coefficients={"stream": psi})
    loss = float(area @ (missed["flux_x"] ** 2 + missed["flux_y"] ** 2))
    flux = plate.carried(x) + curl(psi, x) - a[:, None] * right
    errors = float(area @ (a * (slopes(u, x) - right).square().sum(1) + flux.square().sum(1) / a))
    assert abs(loss - errors) > 0.1  # the boundary is missing
    for condition in both.conditions:
        rows = condition.rows(plate.domain, lambda n, k: (nodes + 0.5)[:, None].expand(n, k), 12)
        place, normal = rows[:, :2], rows[:, 2:]
        a, gap = plate.conductivity(place), u(place) - plate.exact(place)
        out = (plate.carried(place) + curl(psi, place) - a[:, None] * slopes(plate.exact, place)) * normal
        value = condition.given({"stream": psi}).residual(u, rows, plate.domain)
        loss += float(shares @ value**2)
        errors += float(shares @ (a * COOLING * gap**2 + out.sum(1) ** 2 / (a * COOLING)))
    assert math.isclose(loss, errors, rel_tol=1e-10)  # 12 nodes are exact to degree 23


class Sandwich(Problem):
    """``-(a u_x)_x = 2`` with a = 1 to the left of the middle and 10 behind it, cold at both ends."""

    domain = Domain(Box(((0.0, 1.0), (0.0, 1.0))))
    conditions: ClassVar[tuple[Condition, ...]] = (
        Dirichlet(0.0, ("0-", "0+"), name="ends"),
        Neumann(0.0, ("1-", "1+"), name="sides"),
    )
    natural: ClassVar[tuple[str, ...]] = ()
    grid: ClassVar[tuple[int, ...]] = (41, 3)

    def conductivity(self, x: Tensor) -> Tensor:
        return torch.where(x[:, 0] < 0.5, 1.0, 10.0).to(x)

    def carried(self, x: Tensor) -> Tensor:
        return x * torch.tensor([-2.0, 0.0])

    def exact(self, x: Tensor) -> Tensor:
        inflow, s = 0.325 / 0.55, x[:, 0]  # for which u ends at 0
        left, middle = inflow * s - s**2, inflow * 0.5 - 0.25
        return torch.where(s < 0.5, left, middle + (inflow * (s - 0.5) - s**2 + 0.25) / 10)

    def residual(self, u: Function, x: Tensor) -> Tensor:
        u_xx, u_yy = evaluate(u, x, [d(0, 0), d(1, 1)])[1:]
        return self.conductivity(x) * (u_xx + u_yy) + 2


def test_two_materials_are_solved_without_a_condition_between_them() -> None:
    network = partial(Kinked, places=((0.0,),), network=partial(MLP, width=5, depth=1))
    recipe = Recipe(
        network=network,
        stages=(Stage(partial(LevenbergMarquardt, iterations=15), 1, Sobol()),),
        points=60,
        loss=partial(Complementary, stream=partial(MLP, width=4, depth=1)),
    )
    attempt = Attempt(Sandwich(), recipe)
    (step,) = attempt.steps()
    assert Sandwich().relative_l2(attempt.model) < 3e-3
    assert math.isclose(step.row["validation"]["relative_l2"], Sandwich().relative_l2(attempt.model))
    assert {"flux_x", "flux_y", "ends", "sides"} <= set(step.row)


def test_patches_need_no_interfaces() -> None:
    problem = problems.PoissonInPatches()
    loss, model = Complementary(problem, points=10, weights={"boundary": 0.2}), problem.build(MLP).double()
    terms = loss.terms(model, loss.draw(0, model, Streams(0)))
    assert list(terms) == ["flux_x", "flux_y", "boundary"] and terms["boundary"].weight == 0.2


@pytest.mark.slow
def test_patches_are_solved() -> None:
    """With the residual and its conditions between patches the error stays above 0.7."""
    from sciml.pinns.problems.study.patches import kinked

    network = partial(MLP, width=12, depth=2)
    recipe = Recipe(
        network=network,
        stages=(Stage(partial(LevenbergMarquardt, iterations=50), 2, Sobol(every=1)),),
        points={"equation": 1500, "boundary": 200},
        weights={"boundary": 0.2},
        loss=partial(Complementary, stream=kinked(network)),
    )
    attempt = Attempt(problems.PoissonInPatches(), recipe)
    assert len(list(attempt.steps())) == 2
    assert attempt.problem.relative_l2(attempt.model) < 0.1


def test_problems_that_it_does_not_solve_are_refused() -> None:
    with pytest.raises(ConfigError, match="Poisson is no problem .* give the class conductivity"):
        Complementary(problems.Poisson())

    class Sewn(problems.PoissonInPatches):
        natural: ClassVar[tuple[str, ...]] = ()

    with pytest.raises(ConfigError, match="'interfaces' of Sewn is neither Dirichlet"):
        Complementary(Sewn())
