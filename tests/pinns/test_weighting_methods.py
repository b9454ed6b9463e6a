"""Weightings one by one: against their equations, computed another way, and what they must not be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

from sciml.errors import ConfigError
from sciml.kernels import d, evaluate
from sciml.kernels.estimators import Hutchinson
from sciml.objective import Term
from sciml.optimizers import SelfScaledBroyden
from sciml.optimizers.linearization import by_rows
from sciml.pinns import Attempt, Box, Domain, Initial, Problem, Recipe, Residual, Stage, problems
from sciml.pinns.networks import MLP
from sciml.pinns.samplers import R3, RAD, VRBA, Site, Sobol
from sciml.pinns.weightings import (
    NTK,
    Exponential,
    GradientNorm,
    Power,
    ReLoBRaLo,
    ResidualAttention,
    Scene,
    SelfAdaptive,
)
from sciml.pinns.weightings.points import taken_over
from sciml.streams import Stream, Streams


class Growth(Problem):
    """u' = u on a line that it ignores, from what is given."""

    domain = Domain(Box(((0.0, 1.0),)), time=(0.0, 1.0))
    conditions: tuple[Initial, ...] = ()

    def __init__(self, start: Initial) -> None:
        self.conditions = (start,)

    def residual(self, u: Any, x: Tensor) -> Tensor:
        value, slope = evaluate(u, x, [d("t", variables="xt")])
        return slope - value


THETA = nn.Parameter(torch.zeros(1, dtype=torch.float64))


def scene(
    terms: Mapping[str, Tensor], parameter: Tensor = THETA, rows: Tensor | None = None, seed: int = 0
) -> Scene:
    """A loss with these residuals, each a site of its own."""
    sites = {name: {name: Term(values, square=True)} for name, values in terms.items()}
    places = {name: torch.arange(len(v)).double()[:, None] for name, v in terms.items()}
    if rows is not None:
        places = dict.fromkeys(terms, rows)
    return Scene(lambda: sites, [parameter], None, (), lambda t: t, places, Streams(seed).of("weighting"))


def small(**settings: Any) -> tuple[nn.Module, Residual]:
    recipe = Recipe(network=partial(MLP, width=6, depth=1), hard=False, points=40, **settings)
    return recipe.model(problems.Burgers(), 0), recipe.objective(problems.Burgers())


# Neural tangent kernels.


def kernels(objective: Residual, model: nn.Module) -> dict[str, Tensor]:
    """J J^T / N of each term, from the rows of its Jacobian one after the other."""
    batch = objective.draw(0, model, Streams(0))
    found = {}
    for name, term in objective.terms(model, batch).items():
        jacobian = by_rows((term.factor() * term.values).flatten(), list(model.parameters()))
        found[name] = jacobian @ jacobian.T
    return found


def test_probes_estimate_the_traces_of_the_explicit_kernels() -> None:
    """Means over probes, within 4 of the standard errors that theory gives: sqrt(2 sum of K_ij^2, i != j)."""
    probes = 60
    model, objective = small(weighting=NTK(probes=probes, memory=0.0), weights={"initial": 30.0})
    plain = small(weights={"initial": 30.0})[1]
    exact = kernels(plain, model)
    batch = plain.draw(0, model, Streams(0))
    found = NTK(probes=probes).traces(objective._scene(model, batch, Streams(0)), 0)
    assert found.keys() == exact.keys() == {"equation", "boundary", "initial"}
    for name, kernel in exact.items():
        off = kernel - kernel.diag().diag()
        error = float((found[name] - kernel.trace()).abs())
        assert error <= 4 * math.sqrt(2 * float(off.square().sum()) / probes)
        assert error > 0
    weights = objective.draw(0, model, Streams(0)).shared
    mean = torch.stack([*found.values()]).mean()
    for name, trace in found.items():
        torch.testing.assert_close(
            weights[f"{name}/factor"], mean / (trace + 1e-5 * mean), rtol=1e-10, atol=0
        )


def test_after_an_update_without_memory_all_traces_are_equal() -> None:
    """Where no two points share a parameter one probe is exact."""
    theta = torch.randn(6, dtype=torch.float64).requires_grad_()
    terms = {"one": 3 * theta[:4], "other": 1e-2 * theta[4:]}
    _, weights = NTK(memory=0.0, probes=1).weigh(None, scene(terms, theta), 0)
    # (9, 1e-4) and their mean, with the floor 1e-5 of it under each.
    mean = (9 + 1e-4) / 2
    assert weights["one"] == pytest.approx(mean / (9 + 1e-5 * mean), rel=1e-12)
    assert weights["other"] == pytest.approx(mean / (1e-4 + 1e-5 * mean), rel=1e-12)


def test_it_is_not_the_length_of_the_summed_gradient() -> None:
    """Trap: points whose gradients cancel have a kernel, and it does not know how large residuals are."""
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0]).double()

    def residuals(offset: float) -> dict[str, Tensor]:
        return {"one": THETA * signs + offset, "other": 2 * THETA * signs + 1}

    for offset in (0.1, 1e3):
        seen = scene(residuals(offset))
        # The gradient of mean(F^2) is twice the mean of F dF: that of one is zero.
        lengths = GradientNorm().norms(seen)
        assert lengths["one"] == 0 == lengths["other"]
        # Each kernel has one eigenvalue: entries +-1/4 and +-1 in four rows, 12 of them off the diagonal.
        traces = NTK(probes=200).traces(seen, 0)
        for name, exact in (("one", 1.0), ("other", 4.0)):  # within 4 standard errors
            assert float(traces[name]) == pytest.approx(exact, rel=4 * math.sqrt(2 * 12 / 16 / 200))


def test_it_averages_and_waits() -> None:
    seen = scene({"one": THETA * torch.ones(1).double(), "other": THETA * torch.full((1,), 3.0).double()})
    ntk = NTK(every=3, memory=0.9, probes=1)
    state, first = ntk.weigh(None, seen, 0)
    fresh = 5 / (1 + 5e-5), 5 / (9 + 5e-5)  # one row each: the probe is exact
    assert first["one"] == pytest.approx(0.9 + 0.1 * fresh[0])
    assert ntk.weigh(state, seen, 2)[0] is state
    assert ntk.weigh(state, seen, 3)[1]["other"] == pytest.approx(
        0.9 * float(first["other"]) + 0.1 * fresh[1]
    )


def test_the_diagonal_is_averaged_with_the_weights_of_points() -> None:
    """Causal ones, say, which come before it in `Together`."""
    theta = torch.randn(4, dtype=torch.float64).requires_grad_()
    terms = {"equation": {"equation": Term(2 * theta, torch.tensor([1.0, 0.5, 0.0, 0.25]).double(), True)}}
    traces = NTK(probes=1).traces(replace(scene({"equation": theta}, theta), terms=lambda: terms), 0)
    assert traces["equation"] == pytest.approx(4 * 1.75 / 4, rel=1e-14)


def test_estimated_squares_have_no_kernel() -> None:
    problem = problems.PoissonOfSines(dim=3)
    loss = Residual(problem, points=20, estimator=Hutchinson(2), weighting=NTK())
    model = Recipe(network=partial(MLP, width=4, depth=1)).model(problem, 0)
    with pytest.raises(
        ConfigError, match="'equation' is no mean of squares, so its residuals have no kernel"
    ):
        loss.draw(0, model, Streams(0))


# Relative balancing.


def losses_of(step: int) -> np.ndarray:
    return np.array([2.0**-step, 3.0 / (1 + step), 1.0])


def run_relative(weighting: ReLoBRaLo, steps: int, scale: float = 1.0) -> list[list[float]]:
    state, found = None, []
    for step in range(steps):
        values = {
            f"term{k}": torch.tensor([loss, loss]).sqrt() for k, loss in enumerate(scale * losses_of(step))
        }
        state, weights = weighting.weigh(state, scene(values), step)
        found.append([float(weight) for weight in weights.values()])
    return found


def test_relative_balancing_is_its_recursion() -> None:
    alpha, saved, tau, steps = 0.7, 0.6, 0.5, 12
    found = run_relative(ReLoBRaLo(alpha, saved, tau), steps)

    def hat(step: int, other: int) -> np.ndarray:
        powers = np.exp(losses_of(step) / losses_of(other) / tau)
        return 3 * powers / powers.sum()

    weights, lookbacks = np.ones(3), 0
    for step in range(steps):
        if step:
            draw = torch.rand((), generator=Streams(0).of("weighting").generator(step), dtype=torch.float64)
            lookbacks += bool(draw >= saved)
            kept = weights if draw < saved else hat(step, 0)
            weights = alpha * kept + (1 - alpha) * hat(step, step - 1)
        np.testing.assert_allclose(found[step], weights, rtol=1e-12)
        assert sum(found[step]) == pytest.approx(3, rel=1e-14)  # at all times
    assert 0 < lookbacks < steps - 1
    assert found[-1][2] > found[-1][1] > found[-1][0]  # the slowest counts most


def test_relative_balancing_does_not_know_the_scale() -> None:
    one, other = (run_relative(ReLoBRaLo(0.5), 5, scale) for scale in (1.0, 1e-12))
    np.testing.assert_allclose(one, other, rtol=1e-9)
    np.testing.assert_allclose(run_relative(ReLoBRaLo(0.5, temperature=1e12), 5), 1.0, rtol=1e-9)


def test_relative_balancing_survives_jumps() -> None:
    weighting = ReLoBRaLo(0.5, 0.5, 1e-3)
    state = None
    for step, loss in enumerate((0.0, 1e30, 1e-300, 1e300, 0.0)):
        values = {"one": torch.full((2,), loss, dtype=torch.float64).sqrt(), "other": torch.ones(2).double()}
        state, weights = weighting.weigh(state, scene(values), step)
        assert sum(float(weight) for weight in weights.values()) == pytest.approx(2)


# Self-adaptive weights.

SQUARES = torch.tensor([4.0, 1.0, 0.25, 0.0]).double()


def run_adaptive(weighting: Any, steps: int, rows: Tensor | None = None) -> list[Tensor]:
    state, found = None, []
    for step in range(steps):
        residual = (SQUARES * 0.9**step).sqrt()
        state, weights = weighting.weigh(state, scene({"equation": residual}, rows=rows), step)
        found.append(weights["equation"])
    return found


@pytest.mark.parametrize("mask", ["square", "softplus"])
def test_self_adaptive_weights_climb_their_gradient(mask: Any) -> None:
    found = run_adaptive(SelfAdaptive(mask, ascent=partial(SGD, lr=0.5)), 3)
    start = 1.0 if mask == "square" else math.log(math.e - 1)
    known = torch.full((4,), start, dtype=torch.float64)
    before = torch.ones(4).double()
    for step, weights in enumerate(found):
        slope = 2 * known if mask == "square" else torch.sigmoid(known)
        known = known + 0.5 * slope * SQUARES * 0.9**step / 4
        expected = known.square() if mask == "square" else torch.log1p(known.exp())
        torch.testing.assert_close(weights, expected, rtol=1e-12, atol=0)
        assert (weights >= before - 1e-15).all() and (weights[:3] > before[:3]).all()  # upwards, never down
        assert (weights.diff() < 0).all()  # and fastest where residuals are largest
        before = weights


def test_adam_climbs_as_it_would_by_itself() -> None:
    found = run_adaptive(SelfAdaptive(), 6)
    known = nn.Parameter(torch.ones(4).double())
    adam = Adam([known], lr=5e-3, betas=(0.99, 0.999), maximize=True)
    for step, weights in enumerate(found):
        known.grad = 2 * known.detach() * SQUARES * 0.9**step / 4
        adam.step()
        torch.testing.assert_close(weights, known.detach().square(), rtol=1e-13, atol=0)


def test_until_then_they_stay() -> None:
    found = run_adaptive(SelfAdaptive(until=2), 5)
    assert not torch.equal(found[0], found[1])
    assert all(torch.equal(weights, found[1]) for weights in found[2:])
    assert torch.equal(run_adaptive(SelfAdaptive(until=0), 1)[0], torch.ones(4).double())


# Attention.


def test_attention_is_its_recursion_and_bounded() -> None:
    weighting = ResidualAttention(memory=0.9, rate=0.2)
    found = run_adaptive(weighting, 200)
    relative = (SQUARES / 4).sqrt()
    for step in (0, 1, 7, 199):
        kept = 0.9 ** (step + 1)
        expected = 0.1 * kept + 0.2 * relative * (1 - kept) / (1 - 0.9)
        torch.testing.assert_close(found[step], expected.square(), rtol=1e-12, atol=1e-30)
    assert found[-1].max() < (0.2 / (1 - 0.9)) ** 2


def test_a_floor_keeps_every_point_in_the_loss_of_a_quasi_newton_method() -> None:
    """Of 40 points a cold potential leaves one or two, which ten iterations fit at the cost of all others."""
    problem, found = problems.Poisson(), {}
    for floor in (0.0, 0.5):
        weighting = ResidualAttention(Exponential(0.1), memory=0.1, rate=0.9, floor=floor)
        stages = (
            Stage(partial(SelfScaledBroyden, iterations=10), 5, Sobol(every=1)),
        )  # new points at every step
        recipe = Recipe(
            network=partial(MLP, width=10, depth=2), points=40, weighting=weighting, stages=stages
        )
        found[floor] = [step.row for step in Attempt(problem, recipe).steps()]
    squares = {floor: [row["unweighted"]["equation"] for row in rows] for floor, rows in found.items()}
    points = {f: [row["weighting"]["effective_points"] for row in rows] for f, rows in found.items()}
    assert squares[0.5][-1] < 0.1 * squares[0.5][0] and squares[0.0][-1] > squares[0.0][0]
    assert max(points[0.0][1:]) < 5 and min(points[0.5]) > 20


def test_potentials_are_the_slopes_of_convex_functions() -> None:
    """Against the derivative of Phi, over that of the largest residual."""
    sizes = torch.tensor([0.3, 1.2, 0.0, 3.0]).double().requires_grad_()
    step = 50
    temperature = 2 * 3.0 / math.log(step + 2)
    for potential, phi in [
        (Power(2.0), sizes**2),
        (Power(4.0), sizes**4),
        (Power(1.0), sizes),
        (Exponential(scale=2.0), torch.exp(sizes / temperature)),
    ]:
        (slope,) = torch.autograd.grad(phi.sum(), sizes)
        found = potential.attention(sizes.detach(), step)
        torch.testing.assert_close(found, slope / slope.max(), rtol=1e-12, atol=0)
        torch.testing.assert_close(
            potential.attention(7 * sizes.detach(), step), found, rtol=1e-12, atol=1e-15
        )
        assert torch.equal(potential.attention(torch.zeros(3).double(), step), torch.ones(3).double())


def test_the_exponential_potential_sharpens() -> None:
    sizes = torch.tensor([0.0, 1.0]).double()
    found = [float(Exponential().attention(sizes, step)[0]) for step in (0, 8, 998)]
    assert found == pytest.approx([1 / 2, 1 / 10, 1 / 1000])


def test_a_potential_is_a_density_too() -> None:
    """Of points: RAD's for the square; for the exponential at step t, (t + 2)^(r / max r - 1)."""
    domain = Domain(Box(((0.0, 1.0), (0.0, 1.0))))
    size: Any = lambda x: x[:, 0]  # noqa: E731
    site, stream = Site(domain.interior, 500, size), Stream(0, "points")
    first = RAD().redraw(None, site, 0, stream)
    squares = VRBA(potential=Power(2.0)).redraw(first, site, 9, stream)["rows"]
    assert torch.equal(squares, RAD().redraw(first, site, 9, stream)["rows"])
    rows = VRBA(offset=0.0, pool=100).redraw(first, site, 98, stream)["rows"]
    # Under 100^(x - 1) the mean of x is 1 / (1 - 1 / 100) - 1 / log(100).
    expected = 1 / 0.99 - 1 / math.log(100)  # of 500 points to 1.1 %, one standard error
    assert float(rows[:, 0].mean()) == pytest.approx(expected, rel=0.05)


# New points.


def test_new_points_take_over_from_the_nearest() -> None:
    old = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 100.0]]).double()
    kept = {"rows": old, "u/lambda": torch.tensor([1.0, 2.0, 3.0]).double(), "u/step": torch.tensor(5.0)}
    # Distances are relative to the extents, 1 and 100: absolutely, the last one were nearest to the second.
    new = torch.tensor([[0.0, 100.0], [0.9, 10.0], [0.1, 5.0], [0.2, 95.0]]).double()
    found = taken_over(kept, new)
    assert found["u/lambda"].tolist() == [3.0, 2.0, 1.0, 3.0] and found["u/step"] == 5
    assert taken_over(kept, old.clone()) is kept
    assert taken_over(kept, old.flip(0))["u/lambda"].tolist() == [3.0, 2.0, 1.0]


def test_points_that_stay_keep_their_weights() -> None:
    """Under R3, which keeps some rows and draws others: those of the weighting go with the rows."""
    for weighting in (SelfAdaptive(ascent=partial(SGD, lr=1e-9)), ResidualAttention(rate=1e-9, memory=0.0)):
        # They hardly move, so that what is seen is what is carried along.
        model, objective = small(weighting=weighting, stages=(Stage(Adam, 1, R3()),))
        first = objective.draw(0, model, Streams(0))["equation/rows"]
        kept = objective.state_dict()
        marked = torch.arange(40).double() + 1
        kept["weighting"]["equation/equation/lambda"] = marked
        objective.load_state_dict(kept)
        second = objective.draw(1, model, Streams(0))["equation/rows"]
        same = (second[:, None] == first[None]).all(2)
        stayed = same.any(1)
        assert 0 < stayed.sum() < 40
        if isinstance(weighting, SelfAdaptive):
            found = objective.state_dict()["weighting"]["equation/equation/lambda"]
            torch.testing.assert_close(found[stayed], marked[same.int().argmax(1)[stayed]], rtol=1e-6, atol=0)


def test_fixed_points_have_the_published_method() -> None:
    model, objective = small(weighting=SelfAdaptive(), stages=(Stage(Adam, 1, Sobol(every=10**9)),))
    batches = [objective.draw(step, model, Streams(0)) for step in range(3)]
    assert torch.equal(batches[0]["equation/rows"], batches[2]["equation/rows"])
    squares = small()[1].terms(model, batches[0])["equation"].values.square()
    order = squares.detach().argsort()
    gained = batches[2]["equation/factor"][order]
    # Of constant residuals Adam makes steps of its rate, but for eps: equal for all that are not tiny.
    torch.testing.assert_close(gained, torch.full_like(gained, 1.015**2), rtol=1e-3, atol=0)


# Losses.


def test_values_of_conditions_are_never_stored() -> None:
    """Trap: values cached by object are stale after a redraw, and have no graph the second time."""
    known = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    problem = Growth(Initial(lambda x: known * x[:, 0]))
    recipe = Recipe(network=partial(MLP, width=4, depth=1), hard=False, points=20)
    model, objective = recipe.model(problem, 0), recipe.objective(problem)
    for step, factor in enumerate((2.0, 2.0, 5.0)):
        with torch.no_grad():
            known.fill_(factor)
        batch = objective.draw(step, model, Streams(0))
        rows = batch["initial/rows"]
        term = objective.terms(model, batch)["initial"]
        torch.testing.assert_close(term.values, model(rows) - factor * rows[:, 0], rtol=1e-13, atol=1e-15)
        known.grad = None
        term.mean().backward()
        expected = -2 * (term.values * rows[:, 0]).mean().detach()
        torch.testing.assert_close(known.grad, expected, rtol=1e-12, atol=0)


def test_refusals() -> None:
    for make, message in [
        (partial(NTK, probes=0), "NTK: needs every >= 1"),
        (partial(ReLoBRaLo, memory=1.5), "memory and saved are from 0 to 1"),
        (partial(ReLoBRaLo, temperature=0.0), "needs temperature > 0"),
        (partial(SelfAdaptive, "cube"), "mask is 'square' or 'softplus', got 'cube'"),
        (partial(ResidualAttention, memory=1.0), "needs 0 <= memory < 1"),
        (partial(Power, 0.5), "below 1 is not convex"),
        (partial(Exponential, 0.0), "scale must be positive"),
    ]:
        with pytest.raises(ConfigError, match=message):
            make()
    with pytest.raises(ConfigError, match="no 'intial' in Burgers.* Did you mean 'initial'?"):
        SelfAdaptive(sites=("intial",)).check(problems.Burgers())
