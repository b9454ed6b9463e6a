"""What every problem promises, asked of every class in `sciml.pinns.problems.__all__`."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor

from sciml.description import build, describe
from sciml.pinns import Constrained, Dirichlet, Domain, Periodic, Problem, problems
from sciml.pinns.conditions import names_of
from sciml.pinns.domain import Box
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.networks import MLP
from sciml.pinns.problem import component, residuals
from sciml.pinns.recipe import Recipe

PROBLEMS = [getattr(problems, name)() for name in problems.__all__]
KNOWN = [p for p in PROBLEMS if type(p).exact is not Problem.exact]
each = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: type(p).__name__)
# The references that take long to solve for: of Allen-Cahn 4 s, kept in the cache folder.
SOLVED = [p for p in PROBLEMS if type(p).solve is not Problem.solve]


def network(problem: Problem, *, hard: bool, seed: int = 0) -> Constrained:
    return Recipe(hard=hard).model(problem, seed)


@each
def test_class_arguments_and_source(problem: Problem) -> None:
    assert build(describe(problem)) == problem
    assert pickle.loads(pickle.dumps(problem)) == problem
    assert problem.equation and problem.source and type(problem).__doc__


@pytest.mark.parametrize("problem", KNOWN, ids=lambda p: type(p).__name__)
def test_solution_solves_equation_and_conditions(problem: Problem) -> None:
    x = problem.domain.interior(kronecker, 100)
    scale = max(
        float(v.abs().max()) for v in residuals(problem, lambda x: x.sum(1), x, coefficients={}).values()
    )
    for name, value in residuals(problem, problem.exact, x, coefficients={}).items():
        # Terms up to (12 pi)^2 cancel, each rounded to 1e-16 of itself.
        assert value.abs().max() < 1e-11 * max(1, scale), name
    for condition in problem.conditions:
        rows = condition.rows(problem.domain, kronecker, 50)
        u = component(problem.exact, condition.component, problem.outputs)
        assert condition.residual(u, rows, problem.domain).abs().max() < 1e-13 * max(1, scale), condition


@each
def test_built_in_conditions_hold_for_any_weights(problem: Problem) -> None:
    model, soft = (network(problem, hard=hard, seed=3) for hard in (True, False))
    built = dict(zip(names_of(problem.conditions), problem.conditions, strict=True))
    assert soft.satisfies == ()
    for name in model.satisfies:
        condition = built[name]
        rows = condition.rows(problem.domain, kronecker, 50)
        gaps = []
        for u in (model, soft):
            gap = condition.residual(component(u, condition.component, problem.outputs), rows, problem.domain)
            # Of periodic ones the values: the slope of Allen-Cahn's lift jumps, as that of its start does.
            gaps.append(gap if gap.ndim == 1 else gap[:, 0])
        assert gaps[0].abs().max() < 1e-12, name
        assert gaps[1].abs().max() > 1e-3, name  # which a network without them does not satisfy


@each
def test_ansatz_leaves_the_network_free_inside(problem: Problem) -> None:
    x = problem.domain.interior(kronecker, 200)
    one, two = (network(problem, hard=True, seed=s)(x) for s in (0, 1))
    assert (one - two).abs().min() > 0


@each
def test_equation_sees_second_derivatives_of_networks(problem: Problem) -> None:
    """Jets and nested reverse mode agree on the loss and on its gradient, through the whole ansatz."""
    model = network(problem, hard=True)
    x = problem.domain.interior(kronecker, 7)
    values = next(iter(residuals(problem, model, x, coefficients={}).values()))
    gradient = torch.autograd.grad(values.square().sum(), list(model.parameters()), allow_unused=True)
    assert values.shape == (7,) and all(g is None or g.isfinite().all() for g in gradient)
    assert sum(float(g.abs().sum()) for g in gradient if g is not None) > 0


@pytest.mark.parametrize("problem", KNOWN, ids=lambda p: type(p).__name__)
def test_classical_solver_converges_to_the_reference(problem: Problem) -> None:
    known = problem.reference()
    errors = [
        float((c.solve() - known.values).norm() / known.values.norm())
        for c in problem.classical()
        if math.prod(v for v in c.settings.values()) <= 256
    ]
    assert errors == sorted(errors, reverse=True)
    assert all(e < 0.5 for e in errors)


def test_orders_of_the_classical_solvers() -> None:
    for name, order in {"Wave": 2, "Helmholtz": 2, "Poisson": 2}.items():
        problem = getattr(problems, name)()
        known = problem.reference()
        errors = [float((c.solve() - known.values).norm()) for c in list(problem.classical())[:2]]
        points = [c.settings["points"] for c in list(problem.classical())[:2]]
        found = math.log(errors[0] / errors[1]) / math.log(points[1] / points[0])
        assert abs(found - order) < 0.1, name


def test_burgers_reference_agrees_with_another_solver() -> None:
    problem = problems.Burgers(viscosity=0.1)
    known = problem.reference()
    finest = list(problem.classical())[1].solve()  # 256 points resolve this viscosity
    # The step of 1/128 of the fourth-order scheme.
    assert float((finest - known.values).norm() / known.values.norm()) < 1e-6
    assert known.shape == (257, 101) and known.error <= 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("problem", SOLVED, ids=lambda p: type(p).__name__)
def test_classical_solver_reaches_the_certified_reference(problem: Problem) -> None:
    known = problem.reference()
    *_, finest = problem.classical()
    assert known.error < 1e-8
    assert float((finest.solve() - known.values).norm() / known.values.norm()) < 5e-5


def test_fingerprints_tell_problems_apart_and_not_texts() -> None:
    every = [p.fingerprint() for p in PROBLEMS]
    assert len(set(every)) == len(every)
    assert problems.Wave(mode=4).fingerprint() != problems.Wave().fingerprint()
    assert problems.AllenCahn(diffusivity=1e-3).fingerprint() != problems.AllenCahn().fingerprint()

    class Written(Problem):  # by somebody else
        domain = Domain(Box(((0.0, 6.283185307179586),)), time=(0.0, 1.0))
        conditions = problems.Convection().conditions

        def residual(self, u: object, x: Tensor) -> Tensor:
            from sciml.kernels import d, evaluate

            return evaluate(u, x, [50 * d(0) + d(1)])[1]  # type: ignore[arg-type]

    assert Written().fingerprint() == problems.Convection().fingerprint()


def test_reference_is_kept_in_the_cache_folder(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from sciml.pinns import references

    monkeypatch.setenv("SCIML_CACHE", str(tmp_path))
    monkeypatch.setattr(references, "_known", {})
    problem = problems.Burgers(viscosity=0.2)
    first = problem.reference()
    monkeypatch.setattr(references, "_known", {})
    monkeypatch.setattr(problems.Burgers, "solve", lambda self: pytest.fail("solved again"))
    again = problem.reference()
    assert torch.equal(first.values, again.values) and (first.error, first.shape) == (
        again.error,
        again.shape,
    )
    assert problem.reference() is again  # from memory


def test_model_can_be_copied_and_described() -> None:
    problem = problems.AllenCahn()
    model = Constrained(problem, MLP(7, 1), harmonics=3).double()
    x = problem.domain.interior(kronecker, 5)
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    made = build(describe(model)).double()
    made.load_state_dict(model.state_dict())
    assert torch.equal(made(x), model(x))


def test_periodic_networks_are_periodic_with_all_derivatives() -> None:
    problem = problems.AllenCahn()
    model = Recipe(harmonics=4).model(problem, 0)
    condition = Periodic(0, order=4)
    rows = condition.rows(problem.domain, kronecker, 20)
    # The lift of Allen-Cahn has a kink there: the network alone.
    gap = condition.residual(lambda x: model.network(model.coordinates(x))[:, 0], rows, problem.domain)
    assert gap.abs().max() < 1e-8  # fourth derivatives of the fourth harmonic: (4 pi)^4 times rounding


def test_condition_values_must_be_one_number_per_point() -> None:
    from sciml.errors import ConfigError

    problem = problems.Poisson()
    rows = problem.conditions[0].rows(problem.domain, kronecker, 4)
    with pytest.raises(ConfigError, match=r"shape \(4,\), got \(4, 1\)"):
        Dirichlet(lambda x: x[:, :1]).residual(lambda x: x[:, 0], rows, problem.domain)
