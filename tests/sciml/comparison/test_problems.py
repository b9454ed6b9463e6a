"""Contests on problems: what is trained, what is judged, what stands beside it."""

from __future__ import annotations

import math
import pickle
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.optim import Adam

from sciml.comparison.problems import (
    ProblemContest,
    RecipeEntry,
    contest_called,
    named,
    validation_points,
)
from sciml.comparison.published_problems import STUDY
from sciml.errors import ConfigError
from sciml.kernels import Hutchinson
from sciml.pinns import Box, Dirichlet, Domain, Problem, Recipe, Stage, problems
from sciml.pinns.networks import MLP
from sciml.pinns.problems import study
from sciml.pinns.problems.study import PUBLISHED
from sciml.pinns.samplers import R3


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """References that tests solve for stay out of the user's cache folder."""
    monkeypatch.setenv("SCIML_CACHE", str(tmp_path))


QUICK = Recipe(
    network=partial(MLP, width=8, depth=2), stages=(Stage(partial(Adam, lr=1e-2), 100, R3()),), points=64
)
POISSON = ProblemContest(problems.Poisson())


def test_every_problem_has_a_contest_of_its_own() -> None:
    contests = {name: make() for name, make in named().items()}
    assert len(contests) == len(problems.__all__)
    for name, contest in contests.items():
        assert contest.name == name
        assert pickle.loads(pickle.dumps(contest)).fingerprint() == contest.fingerprint()
    assert len({c.fingerprint() for c in contests.values()}) == len(contests)
    other = ProblemContest(problems.Convection(speed=30.0))
    assert other.name == "pinn/convection(speed=30.0)"
    assert other.fingerprint() != contests["pinn/convection"].fingerprint()


def test_plan_is_a_function_of_its_arguments() -> None:
    entry = RecipeEntry("r3", QUICK)
    runs = []
    for seed in (1, 1, 2):
        plan = POISSON.plan(entry, seed=seed, steps=5, samples=32, device="cpu")
        run = plan.trainer.fit(plan.model, plan.objective, validation=plan.validation)
        runs.append([row["loss"] for row in run.history])
        assert len(run.history) == 5 and run.history[-1]["validation"]["relative_l2"] > 0
    assert runs[0] == runs[1] != runs[2]


def test_judged_are_the_points_that_validation_has_not_seen() -> None:
    """A network that is wrong at the validation points alone is judged to be right."""
    problem = problems.Poisson()
    known = problem.reference()
    seen = validation_points(len(known.x))
    assert abs(int(seen.sum()) - len(known.x) // 5) <= 1
    spoiled = known.values + seen[:, None]
    assert POISSON._metrics(spoiled) == {"relative_l2": [0.0], "relative_l1": [0.0], "max_error": [0.0]}
    metrics = POISSON._metrics(1.5 * known.values)
    assert metrics["relative_l2"][0] == pytest.approx(0.5) and metrics["relative_l1"][0] == pytest.approx(0.5)


def test_judgement_and_examples() -> None:
    contest = ProblemContest(problems.Wave())
    contest.prepare()
    plan = contest.plan(RecipeEntry("r3", QUICK), seed=0, steps=3, device="cpu")
    run = plan.trainer.fit(plan.model, plan.objective)
    judgement = contest.judge(run)
    whole = contest.problem.relative_l2(run.model)
    assert judgement.metrics["relative_l2"][0] == pytest.approx(whole, rel=0.05)  # four fifths of the points
    assert judgement.course is not None and len(judgement.course["mean"]) == 129
    assert judgement.course["mean"][0] < 1e-12 < judgement.course["mean"][64]  # the start is built in
    (example,) = contest.examples(run) or []
    assert example.error == judgement.metrics["relative_l2"][0]
    assert contest.grid is not None and example.truth["u"].shape == contest.grid.shape == (129, 129)
    t = torch.linspace(0, 1, 129, dtype=torch.float64)
    middle = torch.cos(2 * math.pi * t) - torch.cos(6 * math.pi * t) / 2
    torch.testing.assert_close(torch.from_numpy(example.truth["u"][64]), middle)


def test_estimators_are_compared_by_the_spread_of_their_gradients() -> None:
    """Hutchinson's estimate over R directions has 1/R of the variance, a product of two about as much."""
    contest = ProblemContest(problems.PoissonOfSines(dim=6))
    spread = []
    for samples in (None, 1, 16):
        recipe = (
            QUICK
            if samples is None
            else Recipe(QUICK.network, QUICK.stages, 64, estimator=Hutchinson(samples))
        )
        plan = contest.plan(RecipeEntry("one", recipe), seed=0, steps=3, device="cpu")
        run = plan.trainer.fit(plan.model, plan.objective)
        spread.append(contest.judge(run).metrics["gradient_deviation"][0])
    assert spread[0] == 0.0
    assert spread[1] / spread[2] > 2.5  # 4 or more but for the 16 draws by which it is estimated
    assert "gradient_deviation" not in ProblemContest(problems.Burgers())._metrics(
        ProblemContest(problems.Burgers()).problem.reference().values
    )


def test_references_are_trivial_first_and_then_classical_from_coarse_to_fine() -> None:
    found = list(POISSON.references())
    assert [r.family for r in found] == ["trivial"] * 2 + ["classical"] * 4
    errors = [r.metrics["relative_l2"][0] for r in found]
    assert errors[0] >= errors[1] - 1e-12 and errors[2:] == sorted(errors[2:], reverse=True)
    assert all(r.seconds_per_sample for r in found[2:])
    # Order 2: each halving of the spacing takes three quarters of the error.
    assert errors[3] / errors[4] == pytest.approx(4, rel=0.05)


class Affine(Problem):
    """Solved by what is linear in x in the ansatz, and by no constant."""

    domain = Domain(Box(((0.0, 2.0), (-1.0, 1.0))))
    conditions = (Dirichlet(0.0),)
    grid = (9, 9)

    def residual(self, u: object, x: Tensor) -> Tensor:
        return 0 * x[:, 0]

    def exact(self, x: Tensor) -> Tensor:
        return 3 - 2 * x[:, 0] + 0.5 * x[:, 1]


def test_published_numbers_belong_to_the_usual_arguments() -> None:
    assert ProblemContest(problems.AllenCahn()).published()
    assert not ProblemContest(problems.AllenCahn(diffusivity=1e-3)).published()


def test_every_problem_of_the_study_has_its_published_error_and_a_name() -> None:
    assert list(STUDY) == list(PUBLISHED)
    own = [getattr(study, name) for name in study.__all__]
    classes = {cls for cls in own if isinstance(cls, type) and issubclass(cls, Problem)}
    assert classes <= {type(problem) for problem in STUDY.values()}
    for name, problem in STUDY.items():
        contest = ProblemContest(problem)
        again = contest_called(contest.name)
        assert again is not None and again.problem == problem
        best = contest.published()[0]
        assert best.value == PUBLISHED[name].error and best.system.startswith(PUBLISHED[name].method)
        assert "2306.08827" in best.source and not best.same_protocol
        assert ("solved by none" in best.system) != PUBLISHED[name].solved
    assert ProblemContest(STUDY["Wave1d-C"]).name == "pinn/wave(mode=4)"
    assert all("study" not in row.system for row in ProblemContest(problems.Wave()).published())


def test_targets_take_arguments() -> None:
    for text in ("pinn/convection(speed=30)", "pinn/convection( speed = 30.0 )", "pinn/convection(30)"):
        found = contest_called(text)
        assert found is not None and found == ProblemContest(problems.Convection(speed=30.0))
        assert found.fingerprint() == ProblemContest(problems.Convection(speed=30.0)).fingerprint()
    assert contest_called("pinn/wave(mode=3)") == contest_called("pinn/wave") == contest_called("pinn/wave()")
    assert contest_called("wave") is None and contest_called("pinn/waves(mode=4)") is None
    for text, message in [
        ("pinn/wave(mdoe=4)", "Wave takes mode=3; got mdoe=4. Did you mean 'mode'"),
        ("pinn/wave(mode=4", "is not of the form pinn/wave\\(name=value\\)"),
        ("pinn/wave(mode=4)+3", "is not of the form"),
        ("pinn/wave(mode=four)", "four is not a number"),
        ("pinn/wave(mode='4')", "Wave takes mode=3; got mode='4', which is no number"),
        ("pinn/poisson(1, 2, 3)", "Poisson takes .*too many positional arguments"),
    ]:
        with pytest.raises(ConfigError, match=message):
            contest_called(text)


def test_refusals() -> None:
    class Unknown(Affine):
        exact = Problem.exact

    with pytest.raises(ConfigError, match="neither a formula nor a solver"):
        ProblemContest(Unknown()).prepare()
    with pytest.raises(ConfigError, match="no setting widht; there is network"):
        RecipeEntry("a", QUICK).changed({"widht": 3})
    with pytest.raises(ConfigError, match="needs a name and a sciml.pinns.Recipe"):
        RecipeEntry("a", 3)  # type: ignore[arg-type]
