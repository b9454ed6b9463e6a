"""Weightings: what they weigh, that weights are constants, and that runs with them resume to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Adam

from sciml.description import build, describe
from sciml.errors import ConfigError
from sciml.objective import Batch, Term, total
from sciml.pinns import Box, Domain, Initial, Problem, Recipe, Residual, Stage, problems, solve
from sciml.pinns.networks import MLP
from sciml.pinns.samplers import R3, RAD, CausalR3, Sobol, Uniform
from sciml.pinns.weightings import Causal, Fixed, GradientNorm, Scene, Together, Weighting
from sciml.pinns.weightings.causal import causal_weights
from sciml.streams import Streams

MODEL = nn.Linear(1, 1).double()


def scene(
    residual: Tensor | Mapping[str, Tensor],
    times: Tensor,
    *,
    start: float | None = None,
    model: nn.Module = MODEL,
) -> Scene:
    """A loss with these residuals at these times, and this square of what the start misses."""
    named = {"equation": residual} if isinstance(residual, Tensor) else residual
    terms = {"equation": {name: Term(values, square=True) for name, values in named.items()}}
    if start is not None:
        terms["initial"] = {"initial": Term(torch.full((3,), start).double().sqrt(), square=True)}
    return Scene(
        lambda: terms,
        list(model.parameters()),
        times,
        ("initial",) if start is not None else (),
        lambda tensor: tensor,
        {site: times[:, None] for site in terms},
        Streams(0).of("weighting"),
    )


def thirds(a: float, b: float, c: float) -> tuple[Tensor, Tensor]:
    """Residuals with mean squares a, b, c in the thirds of time, two points in each, and the times."""
    squares = torch.tensor([0.5 * a, 1.5 * a, 0.5 * b, 1.5 * b, 0.5 * c, 1.5 * c], dtype=torch.float64)
    return squares.sqrt(), torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], dtype=torch.float64)


def weights_of(weighting: Weighting, seen: Scene) -> Tensor:
    return weighting.weigh(None, seen, 0)[1]["equation"]


@pytest.mark.parametrize("by", ["rows", "time"])
def test_each_slab_waits_for_those_before_it(by: Any) -> None:
    a, b, epsilon = 0.3, 0.7, 2.0
    found = weights_of(Causal((epsilon,), slabs=3, by=by), scene(*thirds(a, b, 5.0)))
    expected = [1.0, math.exp(-epsilon * a), math.exp(-epsilon * (a + b))]
    torch.testing.assert_close(found, torch.tensor(expected).double().repeat_interleave(2))


def test_it_is_the_past_that_is_waited_for() -> None:
    """Trap: with the transposed triangle a slab waits for the future, and nothing crashes."""
    causal = Causal((1.0,), slabs=3)
    calm = weights_of(causal, scene(*thirds(0.1, 0.1, 0.1)))
    late = weights_of(causal, scene(*thirds(0.1, 0.1, 1e9)))
    early = weights_of(causal, scene(*thirds(1e9, 0.1, 0.1)))
    assert torch.equal(late, calm)
    assert torch.equal(early[:2], torch.ones(2, dtype=torch.float64)) and early[2:].max() == 0


def test_the_start_comes_before_all() -> None:
    found = weights_of(Causal((2.0,), slabs=3), scene(*thirds(0.1, 0.2, 0.3), start=0.5))
    expected = [math.exp(-2 * (0.5 + before)) for before in (0.0, 0.1, 0.3)]
    torch.testing.assert_close(found[::2], torch.tensor(expected).double())


def test_of_a_system_the_smallest_weight_counts() -> None:
    (first, times), (second, _) = thirds(0.3, 0.0, 0.0), thirds(0.1, 0.9, 0.0)
    found = weights_of(Causal((1.0,), slabs=3), scene({"u": first, "v": second}, times))
    torch.testing.assert_close(found[::2], torch.tensor([1.0, math.exp(-0.3), math.exp(-1.0)]).double())
    stacked = torch.tensor([[0.3, 0.0, 0.0], [0.1, 0.9, 0.0]])
    torch.testing.assert_close(causal_weights(stacked, torch.tensor(0.0), 1.0), found[::2].float())


@pytest.mark.parametrize("by", ["rows", "time"])
def test_rows_in_another_order_have_the_same_weights(by: Any) -> None:
    """Trap: sorting the column of time alone.  The times have ties, and slabs have unequal counts."""
    generator = torch.Generator().manual_seed(0)
    times = torch.rand(100, generator=generator, dtype=torch.float64).mul(20).floor() / 20
    residual = torch.randn(100, generator=generator, dtype=torch.float64)
    order = torch.randperm(100, generator=generator)
    causal = Causal((1.0,), slabs=7, by=by)
    found, other = (
        weights_of(causal, scene(r, t)) for r, t in [(residual, times), (residual[order], times[order])]
    )
    # Sums over a slab are taken in another order.
    torch.testing.assert_close(other, found[order], rtol=1e-13, atol=0)


@pytest.mark.parametrize("by", ["rows", "time"])
def test_the_loss_is_a_mean_of_means(by: Any) -> None:
    """Of slabs over occupied slabs, whatever their populations: epsilon means the same for any of them."""
    times = torch.tensor([0.0, 0.01, 0.02, 0.03, 0.5, 0.99], dtype=torch.float64)
    residual = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], dtype=torch.float64)
    causal = Causal((0.01,), slabs=4, by=by)
    slab, weight = causal.slab(times), weights_of(causal, scene(residual, times))
    assert slab.tolist() == ([0, 0, 1, 2, 2, 3] if by == "rows" else [0, 0, 0, 0, 2, 3])
    losses = torch.stack([residual[slab == i].square().mean() for i in slab.unique()])
    w = torch.exp(-0.01 * torch.cat([torch.zeros(1).double(), losses[:-1].cumsum(0)]))
    torch.testing.assert_close((weight * residual.square()).mean(), (w * losses).mean())


class Growth(Problem):
    """u' = u from 1: the smallest problem in time, on a line that it ignores."""

    domain = Domain(Box(((0.0, 1.0),)), time=(0.0, 1.0))
    conditions = (Initial(1.0),)

    def residual(self, u: Any, x: Tensor) -> Tensor:
        from sciml.kernels import d, evaluate

        value, slope = evaluate(u, x, [d("t", variables="xt")])
        return slope - value


def small(problem: Problem, **settings: Any) -> tuple[nn.Module, Residual]:
    recipe = Recipe(network=partial(MLP, width=6, depth=1), hard=False, points=60, **settings)
    return recipe.model(problem, 0), recipe.objective(problem)


def test_no_gradient_passes_through_the_weights() -> None:
    """grad L = sum of w_i grad l_i / M with the w_i as numbers, in slabs of six equal times."""
    model, loss = small(Growth(), weighting=Causal((1.0,), slabs=10), weights={"initial": 3.0})
    batch = loss.draw(0, model, Streams(0))
    terms = loss.terms(model, batch)
    weights = list(model.parameters())
    found = torch.autograd.grad(terms["equation"].mean(), weights, retain_graph=True, materialize_grads=True)
    residual = terms["equation"].values
    slab = Causal(slabs=10).slab(batch["equation/rows"][:, 1])
    means = torch.stack([residual[slab == i].square().mean() for i in range(10)])
    before = torch.cat([terms["initial"].mean()[None], means[:-1]]).cumsum(0)
    w = torch.exp(-before).detach()
    expected = torch.autograd.grad((w * means).sum() / 10, weights, materialize_grads=True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)


def run_through(causal: Causal, least: list[float]) -> list[tuple[float, float]]:
    """Epsilon and the moving average after steps whose least weight is this at epsilon 1."""
    state, seen = None, []
    for step, weight in enumerate(least):
        residual, times = thirds(-math.log(weight), 0.0, 0.0)
        state, _ = causal.weigh(state, scene(residual, times), step)
        facts = causal.facts(state)
        seen.append((facts["epsilon"], facts["mean_least"]))
    return seen


def test_epsilon_grows_when_the_least_weight_stays_near_one() -> None:
    causal = Causal((1.0, 100.0), slabs=3, delta=0.9, memory=0.5)
    seen = run_through(causal, [1.0, 1.0, 0.2, 1.0, 1.0, 1.0, 1.0, 0.999, 0.999])
    assert [epsilon for epsilon, _ in seen] == [1.0] * 6 + [100.0] * 3  # two lucky draws end nothing
    averages = [average for _, average in seen]
    assert averages[:6] == pytest.approx([0.5, 0.75, 0.475, 0.7375, 0.86875, 0.934375])
    # Begun anew, and at the new epsilon: 0.999^100 is nearly 0.905.
    assert averages[6:] == pytest.approx([0.5, 0.25 + 0.5 * 0.999**100, 0.125 + 0.75 * 0.999**100])
    hurried = run_through(Causal((1.0, 2.0, 3.0), slabs=3, budget=2), [0.1] * 7)
    assert [epsilon for epsilon, _ in hurried] == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0]


def test_it_has_converged_when_the_last_epsilon_has() -> None:
    causal = Causal((1.0, 2.0), slabs=3, delta=0.9, memory=0.5)
    state, told = None, []
    for step in range(9):
        state, _ = causal.weigh(state, scene(*thirds(0.0, 0.0, 0.0)), step)
        told.append(causal.facts(state)["converged"])
    # Averages 1/2, 3/4, 7/8, 15/16 are above 0.9 after four steps, of each epsilon.
    assert told == [False] * 7 + [True] * 2
    late, _ = causal.weigh(state, scene(*thirds(9.0, 0.0, 0.0)), 9)
    assert not causal.facts(late)["converged"]


def test_relative_epsilons_do_not_know_the_scale() -> None:
    residual, times = thirds(0.3, 0.7, 0.5)
    causal = Causal((1.0,), slabs=3, relative=True)
    state, weights = causal.weigh(None, scene(residual, times), 0)
    _, scaled = causal.weigh(None, scene(1e4 * residual, times), 0)
    torch.testing.assert_close(weights, scaled)
    assert weights["equation"][-1] == pytest.approx(math.exp(-1.0 / 0.5))
    _, later = causal.weigh(state, scene(2 * residual, times), 1)  # the first step's scale is kept
    assert later["equation"][-1] == pytest.approx(math.exp(-4.0 / 0.5))


def test_between_updates_new_points_take_the_weights_of_their_slabs() -> None:
    causal = Causal((1.0,), slabs=3, every=10)
    state, _ = causal.weigh(None, scene(*thirds(0.3, 0.7, 0.5)), 0)
    residual, times = thirds(9.0, 9.0, 9.0)
    same, weights = causal.weigh(state, scene(residual.flip(0), times.flip(0)), 3)
    assert same is state
    expected = torch.tensor([math.exp(-1.0), math.exp(-0.3), 1.0]).double()
    torch.testing.assert_close(weights["equation"], expected.repeat_interleave(2))


def test_slabs_are_added_up_over_processes_before_the_exponential(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes, played one after the other, find the weights of one."""
    residual, times = thirds(0.3, 0.7, 0.5)
    causal = Causal((1.0,), slabs=3)
    sent: list[Tensor] = []

    def of(half: slice, add_up: Callable[[Tensor], Tensor]) -> Tensor:
        whole = scene(residual, times)
        part = {"equation": {"equation": Term(residual[half], square=True)}}
        monkeypatch.setattr("sciml.processes.add_up", add_up)
        own = replace(whole, terms=lambda: part, own=lambda tensor: tensor[half])
        return weights_of(causal, own)

    def noted(values: Tensor) -> Tensor:
        sent.append(values.clone())
        return values

    halves = slice(0, 3), slice(3, 6)
    for half in halves:
        of(half, noted)
    both = sent[0] + sent[1]
    monkeypatch.undo()
    expected = weights_of(causal, scene(residual, times))
    for half in halves:
        torch.testing.assert_close(of(half, lambda values: both), expected)


@pytest.mark.slow
def test_two_processes_have_the_weights_of_one(alone_and_together: Callable[[str], Any]) -> None:
    alone, together = alone_and_together("weighted_child")
    assert len(together) == len(alone) == 6
    for one, other in zip(alone, together, strict=True):
        for name in ("unweighted", "weights", "weighting", "gates"):
            assert other[name] == pytest.approx(one[name], rel=1e-12)  # sums are taken in another order


def test_adaptive_points_keep_their_weights() -> None:
    """Trap: each drawn row has the weight of its own time, whatever the sampler's order."""
    for sampler in (RAD(every=1, pool=5), R3(), CausalR3()):
        model, loss = small(Growth(), weighting=Causal((1.0,), slabs=5), stages=(Stage(Adam, 1, sampler),))
        for step in range(3):
            batch = loss.draw(step, model, Streams(0))
        times, weights = batch["equation/rows"][:, 1], batch["equation/factor"]
        order = times.argsort()
        assert (weights[order].diff() <= 0).all() and weights[order][0] > weights[order][-1]


# Gradient norms.


def lengths(loss: Residual, model: nn.Module, batch: Batch) -> Tensor:
    weights = list(model.parameters())
    found = [
        torch.cat(
            [g.flatten() for g in torch.autograd.grad(t.mean(), weights, materialize_grads=True)]
        ).norm()
        for t in loss.terms(model, batch).values()
    ]
    return torch.stack(found)


def test_after_an_update_without_memory_all_gradients_are_equally_long() -> None:
    model, loss = small(problems.Burgers(), weighting=GradientNorm(memory=0.0), weights={"initial": 1e3})
    batch = loss.draw(0, model, Streams(0))
    found = lengths(loss, model, batch)
    apart = Residual(problems.Burgers(), points=60, weights={"initial": 1e3})
    plain = lengths(apart, model, apart.draw(0, model, Streams(0)))
    assert plain.max() > 100 * plain.min()
    # All are the mean, but for the floor under a gradient, 1e-5 of it.
    expected = plain.mean() / (1 + 1e-5 * plain.mean() / plain)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(found, plain.mean().expand_as(found), rtol=1e-2, atol=0)


def test_gradient_norms_move_slowly_and_rarely() -> None:
    model, loss = small(problems.Burgers(), weighting=GradientNorm(every=5))
    at_once = small(problems.Burgers(), weighting=GradientNorm(every=5, memory=0.0))[1]
    first, whole = (one.draw(0, model, Streams(0)).shared for one in (loss, at_once))
    for name in ("equation", "boundary", "initial"):
        key = f"{name}/factor"
        torch.testing.assert_close(first[key], 0.9 + 0.1 * whole[key])
    between = loss.draw(4, model, Streams(0)).shared
    assert all(torch.equal(between[key], first[key]) for key in first if key.endswith("factor"))
    assert not torch.equal(loss.draw(5, model, Streams(0))["initial/factor"], first["initial/factor"])


def test_a_learned_term_keeps_a_finite_weight() -> None:
    layer = nn.Linear(1, 1, bias=False).double()
    known = torch.zeros(4, 1).double()
    terms = {"equation": {"u": Term(layer(known), square=True), "v": Term(layer(known + 1), square=True)}}
    seen = replace(scene(known[:, 0], known[:, 0], model=layer), terms=lambda: terms)
    _, weights = GradientNorm(memory=0.0).weigh(None, seen, 0)
    assert weights["u"] == pytest.approx(1e5) and weights["v"] == pytest.approx(0.5, rel=1e-4)


def test_together_each_sees_the_weights_before_it() -> None:
    both = Together((Causal((1.0,), slabs=4), GradientNorm(memory=0.0)))
    model, loss = small(problems.Burgers(), weighting=both)
    batch = loss.draw(0, model, Streams(0))
    found = lengths(loss, model, batch)
    torch.testing.assert_close(found, found.mean().expand_as(found), rtol=1e-2, atol=0)
    assert batch["equation/factor"].shape == (60,)
    facts = loss.facts()
    assert set(facts["weights"]) == {"equation", "boundary", "initial"}
    assert facts["weighting"]["epsilon"] == 1.0
    kept = loss.state_dict()
    loss.load_state_dict(kept)
    again = loss.draw(0, model, Streams(0))
    assert build(describe(both)) == both and set(again.tensors) == set(batch.tensors)


# In training.

MOVING = Recipe(
    network=partial(MLP, width=6, depth=1),
    stages=(
        Stage(partial(Adam, lr=1e-2), 6, CausalR3()),
        Stage(partial(Adam, lr=1e-2), 5, RAD(every=4, pool=5)),
        Stage(partial(LBFGS, max_iter=3, line_search_fn="strong_wolfe"), 3, Sobol(every=100)),
    ),
    points=40,
    hard=False,
    weights={"initial": 10.0},
    weighting=Together((Causal((0.1, 1.0), slabs=5, budget=4), GradientNorm(every=4))),
)


def bits(run: Any) -> Any:
    told = [{k: v for k, v in row.items() if k not in ("seconds", "waited")} for row in run.history]
    return [p.detach().numpy().tobytes() for p in run.model.parameters()], told


def test_resumed_with_moving_points_and_weights_it_has_the_same_bits(tmp_path: Path) -> None:
    """Trap: averages of weights that begin anew on resume."""
    problem = Growth()
    whole = solve(problem, recipe=MOVING, output=tmp_path / "whole")
    for steps in (5, 10):
        objective, folder = MOVING.objective(problem), tmp_path / str(steps)
        training = MOVING.trainer(0).iterate(
            MOVING.model(problem, 0), objective, validation=objective, output=folder, every=2
        )
        for step in training:
            if step.number == steps:
                training._save()
                break
        torch.manual_seed(steps)
        objective = MOVING.objective(problem)
        resumed = MOVING.trainer(0).fit(
            MOVING.model(problem, 0), objective, validation=objective, output=folder, every=2
        )
        found, expected = bits(resumed), bits(whole)
        for row in (*found[1], *expected[1]):
            row.pop("validation", None)  # at other steps
        assert found == expected


def test_rows_tell_losses_with_and_without_weights() -> None:
    problem = problems.Burgers()
    run = solve(problem, recipe=replace(MOVING, stages=(Stage(partial(Adam, lr=1e-2), 3, Uniform()),)))
    row = run.history[0]
    assert row["loss"] == pytest.approx(row["equation"] + row["boundary"] + row["initial"])
    model = MOVING.model(problem, 0)  # as it was before the first step
    objective = Residual(problem, points=40)
    batch = objective.draw(0, model, Streams(0))
    expected = {name: float(term.mean().detach()) for name, term in objective.terms(model, batch).items()}
    assert row["unweighted"] == pytest.approx(expected)
    assert row["weights"]["initial"] * 10 * row["unweighted"]["initial"] == pytest.approx(row["initial"])
    assert row["weighting"]["epsilon"] == 0.1 and 0 < row["weighting"]["least"] <= 1


def test_later_weights_reach_the_loss() -> None:
    """Trap: weights captured as constants."""
    model, loss = small(Growth(), weighting=Causal((1.0,), slabs=4), weights={"initial": 5.0})
    batch = loss.draw(0, model, Streams(0))
    before = total(loss.terms(model, batch))
    assert torch.equal(total(loss.terms(model, batch)), before)  # as often as a line search likes
    with torch.no_grad():
        list(model.parameters())[-1].add_(1.0)  # the bias of the last layer
    other = loss.draw(1, model, Streams(0))
    assert not torch.equal(other["equation/factor"], batch["equation/factor"])
    fixed = Batch({**batch.tensors, "equation/factor": other["equation/factor"]}, batch.shared)
    assert not torch.equal(total(loss.terms(model, fixed)), total(loss.terms(model, batch)))


def test_fixed_is_what_there_was() -> None:
    model, loss = small(Growth(), weighting=Fixed())
    assert describe(Recipe()) == describe(Recipe(weighting=Fixed()))
    assert loss.draw(0, model, Streams(0)).tensors.keys() == {"equation/rows", "initial/rows"}
    assert loss.facts() == {} and not loss.terms(model, loss.draw(0, model, Streams(0)))["equation"].weighted


def test_validation_has_points_of_its_own() -> None:
    """Trap: a loss on the points of training says little."""
    seen: list[Tensor] = []

    class Watched(Growth):
        def residual(self, u: Any, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            return super().residual(u, x)

    model, loss = small(Watched(), stages=(Stage(Adam, 1, Uniform(every=1000)),))
    loss.terms(model, loss.draw(0, model, Streams(0)))
    assert loss.evaluate(model, Streams(0)) == loss.evaluate(model, Streams(0))
    assert not (seen[0][:, None] == seen[1]).all(2).any()


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="Poisson has no time to respect"):
        loss = Residual(problems.Poisson(), weighting=Causal())
        loss.check(Recipe().model(problems.Poisson(), 0))
    with pytest.raises(ConfigError, match="positive epsilons"):
        Causal(())
    with pytest.raises(ConfigError, match="0 < delta < 1"):
        Causal(delta=1.0)
    with pytest.raises(ConfigError, match="'rows' or 'time'"):
        Causal(by="columns")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="0 <= memory < 1"):
        GradientNorm(memory=1.0)
