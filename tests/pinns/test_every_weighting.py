"""What holds for every weighting; a new one enters by its line in `sciml.pinns.weightings`."""

from __future__ import annotations

import inspect
import threading
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from sciml.description import build, describe
from sciml.kernels import d, evaluate
from sciml.objective import total
from sciml.pinns import Box, Domain, Initial, Problem, Recipe, Residual, Stage, weightings
from sciml.pinns.networks import MLP
from sciml.pinns.samplers import R3, RAD, Sampler, Uniform
from sciml.pinns.weightings import NTK, Causal, ResidualAttention, Together, Weighting
from sciml.streams import Streams

GIVEN: dict[type, Weighting] = {
    NTK: NTK(probes=2),
    Together: Together((Causal((0.1, 1.0), budget=3), NTK(every=2, probes=2))),
}


def each() -> list[Weighting]:
    """One of every class, with updates that can be seen in a few steps."""
    found = []
    for name in weightings.__all__:
        cls = getattr(weightings, name)
        if issubclass(cls, Weighting) and not inspect.isabstract(cls):
            one = GIVEN[cls] if cls in GIVEN else cls()
            often = any(field.name == "every" for field in fields(one))  # type: ignore[arg-type]
            found.append(replace(one, every=2) if often else one)  # type: ignore[type-var, call-arg]
    return found


every_weighting = pytest.mark.parametrize("weighting", each(), ids=lambda one: type(one).__name__)


class Pair(Problem):
    """u' = v, v' = -u on a line that it ignores: two residuals, two conditions."""

    domain = Domain(Box(((0.0, 1.0),)), time=(0.0, 3.0))
    outputs = 2
    conditions = (Initial(0.0, component=0), Initial(1.0, component=1))

    def residual(self, u: Any, x: Tensor) -> dict[str, Tensor]:
        first, slope = evaluate(lambda x: u(x)[:, 0], x, [d("t", variables="xt")])
        second, rate = evaluate(lambda x: u(x)[:, 1], x, [d("t", variables="xt")])
        return {"position": slope - second, "speed": rate + first}


RECIPE = Recipe(
    network=partial(MLP, width=5, depth=1),
    stages=(
        Stage(partial(Adam, lr=1e-2), 3, R3()),
        Stage(partial(Adam, lr=1e-2), 3, RAD(every=2, pool=4)),
    ),
    points=23,
    hard=False,
    weights={"initial": 10.0},
)


def prepared(weighting: Weighting, sampler: Sampler = R3()) -> tuple[nn.Module, Residual]:  # noqa: B008
    recipe = replace(RECIPE, weighting=weighting, stages=(Stage(Adam, 1, sampler),))
    return recipe.model(Pair(), 0), recipe.objective(Pair())


def factors(objective: Residual, model: nn.Module, steps: int) -> list[dict[str, Tensor]]:
    """The weights of steps between which the model moves."""
    found = []
    for step in range(steps):
        batch = objective.draw(step, model, Streams(0))
        both = {**batch.tensors, **batch.shared}
        found.append({name: tensor for name, tensor in both.items() if name.endswith("/factor")})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.1)
    return found


@every_weighting
def test_it_can_be_described_and_built_again(weighting: Weighting) -> None:
    again = build(describe(weighting))
    assert type(again) is type(weighting) and describe(again) == describe(weighting)


@every_weighting
def test_weights_are_constants_with_the_names_of_the_loss(weighting: Weighting) -> None:
    model, objective = prepared(weighting)
    objective.check(model)
    known = {"equation": 23, "position": 23, "speed": 23, "initial": 16, "initial.2": 16}
    for step in factors(objective, model, 3):
        for key, weight in step.items():
            name = key.removesuffix("/factor")
            assert weight.shape in ((), (known[name],)) and weight.dtype == torch.float64
            assert not weight.requires_grad and bool(weight.isfinite().all()) and weight.min() >= 0
    for kept in objective.state_dict()["weighting"].values():
        whole = not kept.is_floating_point() or torch.equal(kept, kept.round())
        assert kept.dtype == torch.float64 or whole
        assert kept.device.type == "cpu" and not kept.requires_grad


@every_weighting
def test_later_weights_reach_the_loss(weighting: Weighting) -> None:
    """Trap: weights captured as constants.  The loss is recomputed from values and weights of each step."""
    model, objective = prepared(weighting)
    plain = prepared(weightings.Fixed())[1]
    for step in range(3):
        batch = objective.draw(step, model, Streams(0))
        terms = plain.terms(model, plain.draw(step, model, Streams(0)))
        expected = torch.zeros((), dtype=torch.float64)
        for name, term in terms.items():
            keys = {f"{name}/factor", *(("equation/factor",) if name in ("position", "speed") else ())}
            weight = torch.ones((), dtype=torch.float64)
            for key in keys & {*batch.tensors, *batch.shared}:
                weight = weight * batch[key]
            expected = expected + (weight * term.weight * term.values.square()).mean()
        torch.testing.assert_close(total(objective.terms(model, batch)), expected, rtol=1e-12, atol=0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.1)


class Turned(Sampler):
    """Uniform points, in another order."""

    every = 1

    def redraw(self, state: Any, site: Any, step: int, stream: Any) -> Any:
        rows = Uniform().redraw(state, site, step, stream)["rows"]
        return {"rows": rows[torch.arange(len(rows)).flip(0)]}


@every_weighting
def test_weights_of_points_follow_the_points(weighting: Weighting) -> None:
    one, other = (
        factors(prepared(weighting, s)[1], prepared(weighting)[0], 3) for s in (Uniform(), Turned())
    )
    for here, there in zip(one, other, strict=True):
        for key in here:
            if here[key].ndim and not isinstance(weighting, Together):  # its second part draws signs
                torch.testing.assert_close(here[key], there[key].flip(0), rtol=1e-10, atol=0)


@every_weighting
def test_two_processes_have_the_weights_of_one(weighting: Weighting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Played by two threads, which work on parts of different size."""
    model, objective = prepared(weighting)
    expected = factors(objective, model, 3)
    parts = [prepared(weighting) for _ in range(2)]  # here: threads share the state of random numbers
    meeting = threading.Barrier(2)
    own = threading.local()
    sent: dict[int, Tensor] = {}
    found: dict[int, list[dict[str, Tensor]]] = {}

    def add_up(values: Tensor) -> Tensor:
        sent[own.rank] = values.detach().clone()
        meeting.wait(20)
        result = sent[0] + sent[1]
        meeting.wait(20)
        return result

    def work(rank: int) -> None:
        own.rank = rank
        try:
            model, objective = parts[rank]
            found[rank] = factors(objective, model, 3)
        finally:
            if rank not in found:
                meeting.abort()

    monkeypatch.setattr("sciml.processes.count", lambda: 2)
    monkeypatch.setattr("sciml.processes.rank", lambda: own.rank)
    monkeypatch.setattr("sciml.processes.add_up", add_up)
    threads = [threading.Thread(target=work, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rank in (0, 1):
        for one, other in zip(found[rank], expected, strict=True):
            assert one.keys() == other.keys()
            for key in one:  # sums are taken in another order
                torch.testing.assert_close(one[key], other[key], rtol=1e-9, atol=1e-14)


def bits(run: Any) -> Any:
    told = [{k: v for k, v in row.items() if k not in ("seconds", "waited")} for row in run.history]
    return [p.detach().numpy().tobytes() for p in run.model.parameters()], told


@every_weighting
def test_interrupted_it_goes_on_to_the_same_bits(weighting: Weighting, tmp_path: Path) -> None:
    """Trap: averages of weights that begin anew on resume.  Points are redrawn before and after."""
    recipe = replace(RECIPE, weighting=weighting)
    whole = recipe.trainer(0).fit(recipe.model(Pair(), 0), recipe.objective(Pair()))
    training = recipe.trainer(0).iterate(recipe.model(Pair(), 0), recipe.objective(Pair()), output=tmp_path)
    for step in training:
        if step.number == 4:
            training._save()
            break
    torch.manual_seed(1)
    resumed = recipe.trainer(0).fit(recipe.model(Pair(), 0), recipe.objective(Pair()), output=tmp_path)
    assert bits(resumed) == bits(whole)


def test_a_weighting_of_points_knows_its_sites() -> None:
    model, objective = prepared(ResidualAttention(sites=("speed",)))
    with pytest.raises(Exception, match="there is no 'speed' in Pair; there is equation, initial, initial.2"):
        objective.check(model)
