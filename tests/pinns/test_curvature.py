"""Optimizers with curvature on physics-informed losses: they resume to the bit, and they converge."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Adam

from sciml.kernels import d, evaluate
from sciml.optimizers import (
    LBFGS,
    EnergyNaturalGradient,
    LevenbergMarquardt,
    MultiAdam,
    NystromNewtonCG,
    SelfScaledBroyden,
)
from sciml.pinns import (
    Box,
    Coefficient,
    Domain,
    PointData,
    Problem,
    Recipe,
    Stage,
)
from sciml.pinns.networks import MLP
from sciml.pinns.samplers import RAD, Sobol
from sciml.run import Run
from sciml.training import Training


class Swing(Problem):
    """u'' = -k u from its values at five times: u = sin(3 t), k = 9."""

    domain = Domain(Box(((0.0, 1.0),)))
    coefficients = {"k": Coefficient(4.0)}  # noqa: RUF012

    @property
    def conditions(self) -> tuple[PointData, ...]:
        t = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
        return (PointData(t, self.exact(t)),)

    def residual(self, u: Any, x: Tensor, coefficients: dict[str, Tensor]) -> Tensor:
        value, bend = evaluate(u, x, [d(0, 0)])
        return bend + coefficients["k"] * value

    def exact(self, x: Tensor) -> Tensor:
        return torch.sin(3 * x[:, 0])


_REDRAWN = RAD(every=2, pool=10)


def recipe(optimizer: Any) -> Recipe:
    stages = (Stage(partial(Adam, lr=1e-2), 2, _REDRAWN), Stage(optimizer, 5, _REDRAWN))
    return Recipe(network=partial(MLP, width=6, depth=2), stages=stages, points=30)


METHODS = {
    "broyden": recipe(partial(SelfScaledBroyden, iterations=3)),
    "lbfgs": recipe(partial(LBFGS, iterations=3)),
    "dense": recipe(partial(LevenbergMarquardt, iterations=2, momentum=0.3)),
    "matrix-free": recipe(partial(LevenbergMarquardt, iterations=1, system="matrix-free", products=5)),
    "natural": recipe(partial(EnergyNaturalGradient, iterations=2, damping=1e-6, momentum=0.3)),
    "newton": recipe(partial(NystromNewtonCG, iterations=1, rank=5, every=2, products=10)),
    "grouped": recipe(partial(MultiAdam, groups=(("equation",),))),
}


def bits(run: Run) -> list[Any]:
    weights = [p.detach().numpy().tobytes() for p in run.model.parameters()]
    return [weights, [(row["step"], row["loss"], row.get("stopped")) for row in run.history]]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_resumed_in_the_middle_it_has_the_same_bits(method: Recipe, tmp_path: Path) -> None:
    """From the checkpoint after 3 of 7 steps, between the redraws at 2 and at 4, inside the second phase."""

    def training(folder: Path) -> Training:
        model, objective = method.model(Swing(), 0), method.objective(Swing())
        return method.trainer(0).iterate(model, objective, output=folder, every=3)

    def finished(folder: Path) -> list[Any]:
        whole = training(folder)
        for _ in whole:
            pass
        return bits(whole.run)

    unbroken = finished(tmp_path / "unbroken")
    for step in training(tmp_path / "broken"):
        if step.number == 5:  # abandoned, as by a kill
            break
    torch.manual_seed(1)  # nothing may depend on the global generator
    assert finished(tmp_path / "broken") == unbroken


def test_least_squares_finds_solution_and_coefficient_to_many_digits() -> None:
    """The coefficient is a parameter of the objective: its column of the Jacobian is made apart."""
    stage = Stage(partial(LevenbergMarquardt, iterations=20), 3, Sobol(every=100))
    method = Recipe(network=partial(MLP, width=10, depth=2), stages=(stage,), points=64)
    objective = method.objective(Swing())
    run = method.trainer(0).fit(method.model(Swing(), 0), objective)
    # 7e-7 and 6e-8; other processors round differently along the way.
    assert Swing().relative_l2(run.model) < 1e-5
    assert abs(float(objective.coefficients["k"].detach()) - 9) < 1e-5
