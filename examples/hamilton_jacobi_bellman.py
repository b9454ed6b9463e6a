"""A control problem in 1000 dimensions: its value, its feedback, and what it costs to follow that.

    python examples/hamilton_jacobi_bellman.py [DIM] [STEPS]

A network solves the equation of Hamilton, Jacobi and Bellman; its gradient is the feedback.  Paths that
follow it cost what the network says, up to the length of their steps, and no feedback costs less.

After 74 seconds on one core the network says 6.89715, the formula 6.89719, Monte Carlo 6.8968 with a standard
error of 0.0007; paths cost 6.8976 with the feedback and 6.9075 without or with twice as much, with standard
errors of 0.0002.  The relative error of the network over space and time is 1.2e-4.  Beside it stand the
best constant, 1.8e-4, and the best linear network, 1.4e-5, in the same ansatz, whose lift is the cost at the
mean square of what paths without control reach: in many dimensions most is found without any training.  Small
setting (100 dimensions, 40 steps): 4.496 with the feedback and 4.599 without, where the formula has 4.493.
"""

import math
import sys
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from sciml.optimizers import Polyak
from sciml.pinns import Attempt, Recipe, Stage, problems
from sciml.pinns.networks import WideMLP
from sciml.pinns.problem import predict
from sciml.pinns.problems import HamiltonJacobiBellman
from sciml.pinns.recipes import HIGH_DIM
from sciml.pinns.samplers import OnDevice
from sciml.pinns.yardsticks import yardsticks

# Along random lines the loss is noise where the equation is met: steps that get shorter with it.
RECIPE = replace(
    HIGH_DIM,
    network=partial(WideMLP, width=64, depth=2),
    stages=(Stage(Polyak, 3_000, OnDevice(), fading=True),),
)


def mean_cost(
    problem: HamiltonJacobiBellman, model: nn.Module, *, strength: float, paths: int, steps: int = 50
) -> tuple[float, float]:
    """Of paths from the origin that follow ``strength`` times the feedback, and its standard error.

    With ``p = grad u`` the feedback is ``m = -sqrt(lambda) p``, and the cost is the integral of ``|m|^2``
    and the start of the equation, ``g``, at the end of the path.  The sum of ``sqrt(2) p . dW`` has mean zero
    whatever the network is, and fluctuates nearly as the cost does: it is subtracted.
    """
    generator = torch.Generator().manual_seed(0)
    step, power = problem.end / steps, problem.strength
    state, cost = torch.zeros(paths, problem.dim), torch.zeros(paths)
    for number in range(steps):
        to_go = torch.full((paths, 1), problem.end - number * step)
        x = torch.cat([state, to_go], dim=1).requires_grad_()
        (slope,) = torch.autograd.grad(model(x).sum(), x)
        noise = math.sqrt(step) * torch.randn(paths, problem.dim, generator=generator)
        control = -strength * math.sqrt(power) * slope[:, :-1]
        cost += control.square().sum(1) * step - math.sqrt(2) * (slope[:, :-1] * noise).sum(1)
        state = state + 2 * math.sqrt(power) * control * step + math.sqrt(2) * noise
    cost += torch.log((1 + state.square().sum(1)) / 2)
    return float(cost.mean()), float(cost.std()) / math.sqrt(paths)


def main(
    dim: int = 1_000,
    steps: int | None = None,
    *,
    recipe: Recipe = RECIPE,
    paths: int = 1_000,
    points: int = 2_000,
    accuracy: float = 1e-4,
) -> dict[str, float]:
    """Train, follow, and return the value at the origin from all sides, with the errors over the domain."""
    problem = problems.HamiltonJacobiBellman(dim=dim, strength=10.0)
    attempt = Attempt(problem, recipe if steps is None else recipe.scaled(steps))
    for step in attempt.steps(every=max(1, attempt.recipe.steps // 5)):
        if "validation" in step.row:
            print(f"step {step.number}: {step.row['validation']['relative_l2']:.3g}")
    model = attempt.model.eval()

    origin = torch.zeros(1, dim + 1, dtype=torch.float64)
    origin[0, -1] = problem.end
    known = problem.expected(origin, accuracy=accuracy)
    found = {
        "value, network": float(predict(model, origin, 1)),
        "value, Monte Carlo": float(known.values),
        "error of Monte Carlo": float(known.standard_error),
        "value, quadrature": float(problem.exact(origin)),
    }
    for name, strength in (
        ("with feedback", 1.0),
        ("with twice the feedback", 2.0),
        ("without control", 0.0),
    ):
        found[f"cost {name}"], error = mean_cost(problem, model, strength=strength, paths=paths)
        found[f"error of the cost {name}"] = error
    found["relative error, network"] = problem.relative_l2(model, points=points)
    return found | {f"relative error, {y.name}": y.error for y in yardsticks(problem, points=points)}


if __name__ == "__main__":
    for name, value in main(*map(int, sys.argv[1:])).items():
        print(f"{name:42} {value:.6g}")
