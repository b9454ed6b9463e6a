"""The best constant and the best linear network: fitted to the mean, not to the points of the judge."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from sciml.pinns import Ansatz, Ball, Box, Dirichlet, Domain, Neumann, Problem, Solution, ansatz_for, problems
from sciml.pinns.conditions import Function
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.predictors import _columns, _fitted, _probed, best_constant, best_linear
from sciml.pinns.problem import relative_l2


class Given(Problem):
    """A function to be told apart from linear ones."""

    domain = Domain(Box(((0.0, 1.0),) * 30))

    def residual(self, u: Function, x: Tensor) -> Tensor:
        return u(x) - self.exact(x)

    def exact(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Noise(Given):
    """No linear function of 30 coordinates sees it."""

    def exact(self, x: Tensor) -> Tensor:
        return torch.sin(1e4 * x.square().sum(1))


class Line(Given):
    def exact(self, x: Tensor) -> Tensor:
        return 2 + x @ torch.arange(30, dtype=x.dtype)


class Slope(Given):
    """With a condition on slopes, whose ansatz asks the network at two places."""

    domain = Domain(Box(((0.0, 1.0), (0.0, 2.0))))
    conditions = (Dirichlet(0.0, ("0-",)), Neumann(0.0, ("0+", "1-")))

    @property
    def ansatz(self) -> Ansatz:
        return ansatz_for(self.domain, self.conditions)


class Measured(Given):
    """Known at few points only."""

    domain = Domain(Ball(4))

    def residual(self, u: Function, x: Tensor) -> Tensor:
        return u(x) - x.square().sum(1)

    def solve(self) -> Solution:
        x = self.domain.interior(kronecker, 60)
        return Solution(x, x.square().sum(1, keepdim=True), 1e-15, "made")

    exact = Problem.exact


def test_noise_is_not_fitted() -> None:
    errors = relative_l2(Noise(), [best_constant(Noise()), best_linear(Noise())])  # type: ignore[list-item]
    # Fitted on 1000 points, 31 weights miss it by sqrt(1 + 31/1000) = 1.015; on those points they would seem
    # to leave as much less.
    assert 0.99 < errors[0] < 1.01 and 1.005 < errors[1] < 1.03


def test_linear_functions_are_found() -> None:
    linear = best_linear(Line())
    assert linear is not None and Line().relative_l2(linear) < 1e-12
    # The mean is 2 + 435 / 2, the variance that of thirty independent coordinates.
    deviation = math.sqrt(sum(k * k for k in range(30)) / 12)
    mean = 2 + 435 / 2
    found = Line().relative_l2(best_constant(Line()))
    assert found == pytest.approx(deviation / math.hypot(mean, deviation), rel=0.03)  # 20 000 points


SHAPES = [problems.Poisson(), problems.Wave(), problems.GrayScott(), problems.Schroedinger(), Slope()]


@pytest.mark.parametrize("problem", SHAPES, ids=lambda p: type(p).__name__)
def test_columns_are_those_of_the_ansatz(problem: Problem) -> None:
    """Any linear network in the ansatz is what the columns say: of systems, with periods and with shifts."""
    model, probe = _probed(problem)
    x = problem.domain.interior(kronecker, 20)
    base, matrix = _columns(model, probe, x, linear=True)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(probe.outputs, 1 + probe.features, generator=generator, dtype=torch.float64)

    def network(features: int, outputs: int) -> nn.Module:
        layer = nn.Linear(features, outputs).double()
        with torch.no_grad():
            layer.bias.copy_(weights[:, 0])
            layer.weight.copy_(weights[:, 1:])
        return layer

    with torch.no_grad():
        wanted = problem.build(network)(x).reshape(len(x), -1)
    found = base + (matrix @ weights.flatten()).reshape(base.shape)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    _, constants = _columns(model, probe, x, linear=False)
    torch.testing.assert_close(constants, matrix[:, :: 1 + probe.features])


def test_few_points_tell_nothing_of_many_weights() -> None:
    assert best_linear(Measured()) is None  # 60 points are 12 for each of 5 weights
    assert Measured().relative_l2(best_constant(Measured())) < 1
    wide = problems.PoissonOfSines(dim=2001)
    assert best_linear(wide) is None


@pytest.mark.parametrize("interaction", ["two-body", "three-body", "hidden"])
def test_known_means_are_what_many_points_tend_to(interaction: str) -> None:
    problem = problems.SineGordon(dim=40, interaction=interaction)  # type: ignore[arg-type]
    known = best_linear(problem)
    assert known is not None
    least, found = relative_l2(problem, [known, _fitted(problem, linear=True)], 4000)
    # The price of fitting on 20 points for each weight, with its own spread on 1000 points.
    assert 0.97 * least < found < 1.1 * least
