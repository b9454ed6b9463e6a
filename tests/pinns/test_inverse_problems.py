"""The inverse problems of the library: their measurements, their truth, and that they are solved."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.description import build, describe
from sciml.errors import ConfigError, DataError
from sciml.optimizers import LevenbergMarquardt
from sciml.pinns import PointData, Problem, Recipe, Residual, Stage, climb, uncertainty_of
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.networks import MLP
from sciml.pinns.problem import residuals
from sciml.pinns.problems import inverse
from sciml.pinns.problems.inverse.measuring import measured
from sciml.pinns.samplers import Sobol

KNOWN: dict[str, Problem] = {
    "LorenzConstants": inverse.LorenzConstants(measurements=8),
    "DiffusionCoefficient": inverse.DiffusionCoefficient(dim=2, measurements=50),
}
# Their references take seconds.
SOLVED: dict[str, Problem] = {
    "BurgersConstants": inverse.BurgersConstants(measurements=300),
    "ReactionConstants": inverse.ReactionConstants(measurements=300),
}
each = pytest.mark.parametrize(
    "problem",
    [*KNOWN.values(), *(pytest.param(p, marks=pytest.mark.slow) for p in SOLVED.values())],
    ids=[*KNOWN, *SOLVED],
)


def test_every_problem_is_looked_at() -> None:
    assert set(inverse.__all__) == {*KNOWN, *SOLVED}


def true_values(problem: Problem) -> dict[str, Any]:
    return {name: v if callable(v) else torch.tensor(v).double() for name, v in problem.truth.items()}


@each
def test_class_arguments_and_measurements(problem: Problem) -> None:
    assert build(describe(problem)) == problem
    assert pickle.loads(pickle.dumps(problem)) == problem
    assert problem.equation and problem.source and type(problem).__doc__
    assert set(problem.truth) == set(problem.coefficients)
    sets = [c for c in problem.conditions if isinstance(c, PointData)]
    again = [c for c in problem.conditions if isinstance(c, PointData)]
    assert all(torch.equal(a.values, b.values) for a, b in zip(sets, again, strict=True))
    for condition in sets:
        # Errors of 1 % change the deviation by some tenths of a percent.
        assert condition.noise == pytest.approx(0.01 * float(condition.values.std(correction=0)), rel=0.3)
        assert problem.domain.contains(condition.points).all()


def test_the_truth_solves_the_equation_with_the_made_source() -> None:
    for dim in (1, 2, 3):
        problem = inverse.DiffusionCoefficient(dim=dim, measurements=5)
        x = problem.domain.interior(kronecker, 40)
        found = residuals(problem, problem.exact, x, coefficients=true_values(problem))
        assert found["equation"].abs().max() < 1e-13


@each
def test_measurements_are_those_of_the_truth(problem: Problem) -> None:
    """With errors of the deviation that is told: a mean square within five of its standard errors."""
    x = problem.domain.interior(kronecker, 5)
    values = residuals(problem, plain(problem), x, coefficients=true_values(problem))
    assert all(v.shape == (5,) for v in values.values())
    if type(problem).exact is Problem.exact:
        return
    for c in (c for c in problem.conditions if isinstance(c, PointData)):
        errors = c.residual(problem.exact, c.rows(problem.domain, kronecker, 0), problem.domain)
        assert abs(float(errors.square().mean()) - 1) < 5 * (2 / len(errors)) ** 0.5


def plain(problem: Problem) -> Any:
    return lambda x: x.sum(1) if problem.outputs == 1 else x.sum(1, keepdim=True).expand(-1, problem.outputs)


def test_lorenz_residual_vanishes_with_the_true_constants() -> None:
    """Along the polynomial through five states, in their middle: its slope is off by h^4."""
    problem = inverse.LorenzConstants()
    gaps = []
    for h in (2e-3, 1e-3):
        states = problem.orbit(np.arange(5) * h)
        powers = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None] ** torch.arange(5)
        factors = torch.linalg.solve(powers, states)

        def u(t: Tensor, factors: Tensor = factors, h: float = h) -> Tensor:
            s = (t - 2 * h) * (1 / h)
            return sum(s**k * factors[k] for k in range(5))  # type: ignore[return-value]

        place = torch.full((1, 1), 2 * h, dtype=torch.float64)
        found = residuals(problem, u, place, coefficients=true_values(problem))
        gaps.append(max(float(v.abs()) for v in found.values()))
    assert gaps[1] < 1e-5 and 12 < gaps[0] / gaps[1] < 20


def test_lorenz_table_is_that_of_our_solver(test_data: Path) -> None:
    table = str(test_data / "deepxde" / "Lorenz.npz")
    problem = inverse.LorenzConstants(table=table, noise=0.0)
    states = problem.conditions
    times = states[0].rows(problem.domain, kronecker, 0)[:, 0].numpy()
    own = problem.orbit(times)
    for k, condition in enumerate(states):
        assert isinstance(condition, PointData) and condition.noise is None
        # Whoever made the table solved to three or four digits.
        assert (condition.values - own[:, k]).abs().max() < 0.02


AXES = {"x": np.linspace(-1, 1, 6), "t": np.linspace(0, 1, 4)}
FIELD = np.arange(24.0).reshape(6, 4)
STATES = {"t": np.linspace(0, 3, 5), "y": np.arange(15.0).reshape(5, 3)}
Arrays = Mapping[str, Any]


@pytest.mark.parametrize(
    ("problem", "given", "told"),
    [
        (inverse.BurgersConstants, AXES, "has no array 'usol'; it holds x (6,), t (4,)."),
        (inverse.BurgersConstants, AXES | {"usol": FIELD.T}, "over x and t, got (4, 6). It is transposed"),
        (inverse.BurgersConstants, AXES | {"usol": FIELD[1:]}, "must have shape (6, 4), over x and"),
        (inverse.BurgersConstants, AXES | {"usol": FIELD + [0, 0, 0, np.nan]}, "6 of the 24 values of usol"),
        (inverse.BurgersConstants, AXES | {"t": FIELD, "usol": FIELD}, "t must be a list of numbers"),
        (inverse.BurgersConstants, AXES | {"t": 9 * AXES["t"], "usol": FIELD}, "t goes from 0 to 9, but the"),
        (inverse.BurgersConstants, AXES | {"usol": 0 * FIELD}, "all values are the same"),
        (inverse.LorenzConstants, STATES | {"y": STATES["y"].T}, "got (3, 5). It is transposed: save y.T."),
        (inverse.ReactionConstants, {"t": AXES["t"], "Ca": FIELD, "Cb": FIELD}, "has no array 'x'"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_refused_in_a_sentence(
    problem: Any, given: Arrays, told: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "table.npz", **given)
    with pytest.raises((ConfigError, DataError)) as refused:
        _ = problem(measurements=20, table=str(tmp_path / "table.npz")).conditions
    assert told in str(refused.value)


def test_a_table_is_read_as_it_is_told(tmp_path: Path) -> None:
    """Rows of usol belong to x; a coordinate may be a row or a column."""
    path = tmp_path / "table.npz"
    np.savez(path, x=AXES["x"][:, None], t=AXES["t"][None], usol=FIELD)
    (data,) = inverse.BurgersConstants(measurements=24, noise=0.0, table=str(path)).conditions
    assert isinstance(data, PointData)
    places = (2.5 * (data.points[:, 0] + 1)).round() * 4 + (3 * data.points[:, 1]).round()
    assert torch.equal(data.values, places)
    with pytest.raises(DataError, match="there is no table"):
        _ = inverse.LorenzConstants(table=str(tmp_path / "other.npz")).conditions


@pytest.mark.parametrize(
    "wrong", [{"measurements": 0}, {"measurements": 2.5}, {"noise": -0.1}, {"seed": "a"}]
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    for name in inverse.__all__:
        with pytest.raises(ConfigError, match=f"{name}: measurements and seed are whole numbers"):
            getattr(inverse, name)(**wrong)


def test_choice_and_errors_have_their_seed() -> None:
    x, values = kronecker(100, 2), kronecker(100, 2, start=500)
    one, same, other = (
        measured(x, values, count=20, noise=0.1, seed=seed, names=("u", "v")) for seed in (0, 0, 1)
    )
    assert torch.equal(one[0].values, same[0].values) and not torch.equal(one[0].points, other[0].points)
    assert [c.component for c in one] == [0, 1] and torch.equal(one[0].points, one[1].points)
    assert not torch.equal(one[0].values, one[1].values)
    exact = measured(x, values, count=None, noise=0.0, seed=0, names=("u", "v"))
    assert torch.equal(exact[1].values, values[:, 1]) and exact[1].noise is None
    with pytest.raises(ConfigError, match="a count up to 100"):
        measured(x, values, count=101, noise=0.0, seed=0)


# What is found.


def newton(steps: int, weights: Mapping[str, float], **settings: Any) -> Recipe:
    stage = Stage(partial(LevenbergMarquardt, iterations=10), steps, Sobol(every=10))
    return Recipe(partial(MLP, width=20, depth=2), (stage,), weights=weights, **settings)


@pytest.mark.slow
def test_constants_of_lorenz_are_found_from_states_with_errors() -> None:
    """As a fit of orbits by least squares finds them: 0.62 % off, with a standard error of 0.2005 %."""
    problem = inverse.LorenzConstants()
    weights = [dict.fromkeys("xyz", 1e-4), *({f"states_{name}": w for name in "xyz"} for w in (10.0, 1.0))]
    found = climb([problem] * 3, recipe=[newton(8, w, points=150) for w in weights])
    objective = found.runs[-1].objective
    assert isinstance(objective, Residual)
    known = uncertainty_of(found.model, objective)
    fitted = {"sigma": 0.618e-2, "rho": 0.0358e-2, "beta": -0.154e-2}
    errors = {"sigma": 0.2005e-2, "rho": 0.0401e-2, "beta": 0.0665e-2}
    for name, truth in problem.truth.items():
        # The equation is not strict: half of a standard error, and a tenth of it.
        assert abs(known.values[name] / truth - 1 - fitted[name]) < 0.5 * errors[name]
        assert known.errors[name] / truth == pytest.approx(errors[name], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "measurements"), [(1, 200), (2, 1000)])
def test_a_diffusivity_is_found_from_a_solution_with_errors(dim: int, measurements: int) -> None:
    problem = inverse.DiffusionCoefficient(dim, measurements=measurements)
    run = climb([problem], recipe=newton(4, {}, points=300)).runs[-1]
    assert run.history[-1]["validation"]["error_a"] < 0.05
