"""Recipes by what they are made of: every sampler, weighting, network and optimizer can be named."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from sciml import optimizers
from sciml.description import build, describe
from sciml.errors import ConfigError
from sciml.kernels import d, evaluate
from sciml.pinns import Attempt, Box, Domain, Initial, Problem, networks, problems, samplers, weightings
from sciml.pinns.naming import expanded, named_recipe, parts_by_kind, spelled_recipe
from sciml.pinns.networks import MLP, FourierFeatures, PirateNet, Wavelet, fit_to_start
from sciml.pinns.recipes import ADAM_R3, PRECISE, RECIPES, suited
from sciml.pinns.samplers import RAD, Sampler
from sciml.pinns.suitability import contenders, refusal
from sciml.pinns.weightings import NTK, Causal, Exponential, ResidualAttention, Together, Weighting

AREAS = {"samplers": samplers, "weightings": weightings, "networks": networks, "optimizers": optimizers}
EVERY = [name for area in AREAS.values() for name in area.__all__]
# What cannot be left out, and what would take long.
ARGUMENTS = {
    "Waves": "(vectors=((3.0,),))",
    "Kinked": "(places=((0.5,),))",
    **{name: "(iterations=1)" for name in ("EnergyNaturalGradient", "LBFGS", "SelfScaledBroyden")},
    "LevenbergMarquardt": "(iterations=1)",
    "NystromNewtonCG": "(iterations=1, products=3, rank=2)",
    "NTK": "(probes=2)",
    "PINNsFormer": "(width=4, hidden=4, feedforward=4)",
    "PIG": "(count=4)",
    "PINNACLE": "(reference=8)",
}
SMALL = "plain+MLP(width=4, depth=1)"


class Growth(Problem):
    """u_t = u on a line that it ignores, in few points."""

    domain = Domain(Box(((0.0, 1.0),)), time=(0.0, 1.0))
    conditions = (Initial(1.0),)
    grid = (3, 3)

    def residual(self, u: Any, x: Tensor) -> Tensor:
        value, rate, _ = evaluate(u, x, [d("t", variables="xt"), d("xx", variables="xt")])
        return rate - value

    def exact(self, x: Tensor) -> Tensor:
        return x[:, 1].exp()


def text_of(name: str) -> str:
    """A small recipe with this part."""
    found = getattr(networks, name, None)
    if isinstance(found, type) and "network" not in inspect.signature(found).parameters:
        base = "plain" if "inputs" in inspect.signature(found).parameters else SMALL
    elif name.startswith("fit_to"):
        base = "plain+PirateNet(width=4, blocks=1)"
    elif name == "fit_linear":
        base = "plain+Polynomial"
    else:
        base = SMALL
    return f"{base}+{name}{ARGUMENTS.get(name, '')}"


def is_sentence(text: str) -> bool:
    return len(text.splitlines()) == 1 and len(text) > 20 and text.rstrip()[-1] in ".?'"


def trained(problem: Problem, text: str, points: int, steps: int = 2) -> None:
    """The recipe trains a few steps, or is refused in a sentence."""
    recipe = replace(named_recipe(text), points=points)
    if (reason := refusal(recipe, problem)) is not None:
        assert is_sentence(reason), reason
        return
    rows = [step.row for step in Attempt(problem, recipe.scaled(steps)).steps(every=steps)]
    assert len(rows) == steps and all(math.isfinite(row["loss"]) for row in rows)


@pytest.mark.parametrize("name", EVERY)
def test_every_part_trains_or_is_refused_in_a_sentence(name: str) -> None:
    text = text_of(name)
    kind, found = next((kind, getattr(area, name)) for kind, area in AREAS.items() if hasattr(area, name))
    try:
        recipe = named_recipe(text)
    except ConfigError as error:
        assert is_sentence(str(error)) and name in str(error)
        if "missing a required argument" in str(error):
            return
        # Abstract, parts of others, or made by the recipe itself.
        assert name not in parts_by_kind()[kind]
        whole = isinstance(found, type) and issubclass(found, Sampler | Weighting | Optimizer)
        assert not whole or inspect.isabstract(found) or name in ("InTurn", "Together")
        return
    assert name in parts_by_kind()[kind]
    assert describe(named_recipe(spelled_recipe(text.replace(name, name.upper())))) == describe(recipe)
    assert spelled_recipe(spelled_recipe(text)) == spelled_recipe(text)
    trained(Growth(), text, points=32)


@pytest.mark.slow
@pytest.mark.parametrize(
    "problem", [problems.Wave(), problems.PoissonOfSines(dim=2)], ids=lambda p: type(p).__name__
)
@pytest.mark.parametrize("name", [name for kind in AREAS for name in parts_by_kind()[kind]])
def test_every_part_trains_as_it_is(name: str, problem: Problem) -> None:
    """With sizes and points of their own, where nothing has to be given."""
    wanted = (*optimizers.__all__, "Waves", "Kinked")  # one iteration is enough
    given = ARGUMENTS.get(name, "") if name in wanted else ""
    try:
        named_recipe(f"fresh+{name}{given}")
    except ConfigError as error:
        assert "missing a required argument" in str(error)
        return
    trained(problem, f"fresh+{name}{given}", points=2000)


def test_names_of_parts_are_no_others() -> None:
    """Whatever the case, so that a name means one thing."""
    listed = [name.lower() for names in parts_by_kind().values() for name in names]
    assert len(set(listed)) == len(listed) and not set(listed) & {*parts_by_kind()}


def test_parts_go_where_they_belong() -> None:
    recipe = named_recipe("precise+RAD(every=7)+Causal+NTK(every=3)+soap(lr=3e-3)")
    assert [stage.sampler for stage in recipe.stages] == [RAD(every=7)] * 2
    assert recipe.weighting == Together((Causal(), NTK(every=3)))
    first, last = recipe.stages
    assert first.optimizer == PRECISE.stages[0].optimizer
    assert (last.optimizer.func, last.optimizer.keywords) == (optimizers.soap, {"lr": 3e-3})  # type: ignore[attr-defined]
    assert recipe.network == PRECISE.network and recipe.points == PRECISE.points
    assert describe(named_recipe("plain+R3")) == describe(ADAM_R3)
    assert named_recipe("fresh").stages == RECIPES["fresh"].stages
    assert named_recipe("robust+NTK").weighting == NTK()  # instead of the base's
    assert named_recipe("plain+exponential").weighting == ResidualAttention(Exponential())


def test_networks_are_put_around_the_one_so_far() -> None:
    inner = describe(named_recipe("plain").network)
    found = describe(named_recipe("plain+FourierFeatures(features=8)").network)
    assert found == describe(partial(FourierFeatures, features=8, network=partial(MLP, width=30, depth=3)))
    assert found["arguments"]["network"] == inner
    recipe = named_recipe("plain+PirateNet(blocks=1)+FourierFeatures+Factorized+Wavelet+fit_to_start")
    pirate = partial(PirateNet, blocks=1, activation=Wavelet)
    told = describe(recipe.network)
    assert told["arguments"]["network"]["arguments"]["network"] == describe(pirate)
    assert recipe.fit is not None and recipe.fit.func is fit_to_start  # type: ignore[attr-defined]
    assert isinstance(build(told)(2, 1), nn.Module)  # and the record of a run can make it again


@pytest.mark.parametrize(
    ("name", "curved"),
    [
        ("LBFGS", True),
        ("SelfScaledBroyden", True),
        ("LevenbergMarquardt", True),
        ("EnergyNaturalGradient", True),
        ("NystromNewtonCG", True),
        ("Muon", False),
        ("MultiAdam", False),
        ("soap", False),
        ("AdamW", False),
    ],
)
def test_curvature_wants_float64_and_no_schedule(name: str, curved: bool) -> None:
    recipe = named_recipe(f"robust+{name}")
    assert recipe.dtype == (torch.float64 if curved else torch.float32)
    assert (recipe.stages[-1].schedule is None) == curved
    assert named_recipe(f"high-dim+{name}").stages[-1].fading != curved


def test_optimizers_of_torch_are_known_and_ours_come_first() -> None:
    assert named_recipe("plain+adam(lr=1e-2)").stages[0].optimizer.func is Adam  # type: ignore[attr-defined]
    assert named_recipe("plain+Muon").stages[0].optimizer.func is optimizers.Muon  # type: ignore[attr-defined]


def test_one_recipe_is_spelled_in_one_way() -> None:
    spellings = ["plain+RAD(50)+PirateNet", "PLAIN + piratenet+rad( every = 50, power=1 )"]
    assert {spelled_recipe(text) for text in spellings} == {"plain+RAD(every=50)+PirateNet"}
    assert spelled_recipe("plain+causal+ntk") != spelled_recipe("plain+ntk+causal")  # each sees those before
    assert spelled_recipe("plain+Power") == spelled_recipe("plain+ResidualAttention")
    told = spelled_recipe(
        "plain+SelfAdaptive(sites=['equation'], mask=\"softplus\")+VRBA(potential=Power(3))"
    )
    assert (
        told == "plain+VRBA(potential=Power(exponent=3.0))+SelfAdaptive(mask='softplus',sites=('equation',))"
    )


def test_a_word_stands_for_all_of_a_kind() -> None:
    assert expanded("plain+R3") == ["plain+R3"]
    assert expanded("plain+Samplers") == [f"plain+{name}" for name in parts_by_kind()["samplers"]]
    found = expanded("plain+R3+weightings+optimizers")
    assert len(found) == len(parts_by_kind()["weightings"]) * len(parts_by_kind()["optimizers"])
    assert "plain+R3+Causal+soap" in found
    assert not [text for text in expanded("plain+networks") if "fit_" in text]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plan+R3", "there is no recipe 'plan'; there is small, .*Did you mean 'plain'"),
        ("plain+", "is not of the form BASE"),
        ("plain+R3-RAD", "is not of the form BASE"),
        ("plain+RAD(", "is not of the form BASE"),
        ("plain+Rad(every=50)(3)", "is not of the form BASE"),
        ("plain+RADD", "no sampler, weighting, network or optimizer 'RADD'.* Did you mean 'RAD'"),
        ("plain+RAD(evry=3)", "RAD takes every=500, power=1.0, .*got evry=3. Did you mean 'every'"),
        ("plain+RAD(1, 2, 3, 4, True, 6)", "RAD takes every=500, .*too many positional"),
        ("plain+RAD(every='x')", "RAD takes .*; got every='x', which is no number"),
        ("plain+Adam(betas=3)", "Adam does not accept Adam\\(betas=3\\)"),
        ("plain+RAD(every=0)", "every must be at least 1 step, got 0"),
        ("plain+RAD(every=often)", "RAD, every: often is not a number, .*quotes"),
        ("plain+RAD(every=__import__('os'))", "is not a number"),
        ("plain+RAD(every=1, every=2)", "gives RAD an argument twice"),
        ("plain+VRBA(potential=3)", "potential is a potential such as Power"),
        ("plain+VRBA(potential=Power(exponents=3))", "Power takes exponent=2.0; got exponents=3"),
        ("plain+MLP(width='x')", "MLP takes width=30, depth=3; got width='x'"),
        ("plain+SPINN(groups=3)", "SPINN does not accept SPINN\\(groups=3\\)"),
        ("plain+MLP(inputs=3)", "MLP takes width=30, depth=3; got inputs=3"),
        ("plain+Waves", "Waves takes vectors; got Waves: missing a required argument"),
        ("plain+Adam(lr=-1)", "Adam does not accept"),
        ("plain+Adam(params=3)", "Adam takes lr=0.001"),
        ("plain+R3+RAD", "a recipe has one sampler, got R3 and RAD"),
        ("plain+Adam+soap", "a recipe has one optimizer, got Adam and soap"),
        ("plain+MLP+SIREN", "a recipe has one network, got MLP and SIREN"),
        ("plain+FourierFeatures+SIREN", "name it first, as in plain\\+SIREN\\+FourierFeatures"),
        ("plain+SIREN+Wavelet", "Wavelet is an activation, and SIREN has its own"),
        ("plain+Together", "naming both, as in plain\\+Causal\\+NTK"),
        ("plain+Scene", "no sampler, weighting, network or optimizer 'Scene'"),
        ("plain+SparseAdam", "no sampler, weighting, network or optimizer 'SparseAdam'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        named_recipe(text)
    assert is_sentence(str(error.value))


def test_contenders_suit_the_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sciml.pinns.suitability._ROOM", 64)  # they are tried on few points
    assert contenders(problems.Wave()) == [
        "small",
        "robust",
        "sharp",
        "precise",
        "plain",
        "fresh",
        "r3",
        "rad",
    ]
    few = contenders(problems.Poisson())
    assert "deep-ritz" in few and not {"deep-bsde", "high-dim", "waves"} & {*few}
    assert {"deep-bsde", "fbsnn"} <= {*contenders(problems.HeatInSpace())}
    own = next(name for name, recipe in RECIPES.items() if recipe is suited(problems.Solitons()))
    assert own == "waves" and "waves" in contenders(problems.Solitons())


def test_a_least_squares_method_is_refused_where_there_are_no_squares() -> None:
    problem = problems.PoissonOfSines(dim=3)
    recipe = replace(named_recipe("high-dim+WideMLP(width=4, depth=1)+LevenbergMarquardt"), points=16)
    assert "is no mean of squares" in (refusal(recipe, problem) or "")
    assert refusal(replace(named_recipe(f"{SMALL}+LevenbergMarquardt"), points=16), problem) is None
