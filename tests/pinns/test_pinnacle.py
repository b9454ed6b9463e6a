"""PINNACLE: the kernel of all kinds of points, what it scores, and what is chosen by it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from sciml.description import build, describe
from sciml.errors import ConfigError
from sciml.kernels import d, evaluate
from sciml.objective import total
from sciml.pinns import Box, Coefficient, Dirichlet, Domain, PointData, Problem, Recipe, Residual, problems
from sciml.pinns.networks import MLP
from sciml.pinns.samplers import PINNACLE, InTurn, Site, Uniform
from sciml.pinns.samplers.tangents import Sketch, directions, pulls_of, slopes_of, spread
from sciml.streams import Stream, Streams

EXACT = Sketch(10**9, 0)
SMALL = PINNACLE(every=5, candidates=4, reference=12)


def generator(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


class Features(nn.Module):
    """u = phi(x) . w with phi = (1, x, sin 3x): linear in its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64))

    @staticmethod
    def of(x: Tensor) -> Tensor:
        return torch.stack([0 * x[:, 0] + 1, x[:, 0], torch.sin(3 * x[:, 0])], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.of(x) * self.weights).sum(1)


class Growth(Problem):
    """u' = k u with u(0) = 1, k unknown, measured at 40 points."""

    domain = Domain(Box(((0.0, 1.0),)))
    coefficients = {"k": Coefficient(1.5)}  # noqa: RUF012

    def __init__(self, values: float = 1.0) -> None:
        self.values = values

    @property
    def conditions(self) -> tuple[Any, ...]:
        x = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
        return Dirichlet(1.0, ("0-",), name="start"), PointData(x, self.values * torch.exp(x[:, 0]))

    def residual(self, u: Any, x: Tensor, coefficients: Mapping[str, Tensor]) -> Tensor:
        value, slope = evaluate(u, x, [d(0)])
        return slope - coefficients["k"] * value


class Pair(Problem):
    """Two equations without derivatives: u = x and u v = 1."""

    domain = Domain(Box(((0.0, 1.0),)))
    outputs = 2

    def residual(self, u: Any, x: Tensor) -> dict[str, Tensor]:
        return {"first": u(x)[:, 0] - x[:, 0], "second": u(x)[:, 0] * u(x)[:, 1] - 1}


def sites(loss: Residual, model: nn.Module) -> dict[str, Site]:
    return {name: loss._site(name, model) for name in loss._sites(model)}


def test_kernel_of_a_linear_model_is_that_of_its_features() -> None:
    """Phi Phi^T over points of all kinds, the features of a kind times the root of its weight."""
    model, loss = Features(), Residual(Growth(), weights={"data": 9.0})
    k, x = 1.5, torch.linspace(0.1, 0.9, 5, dtype=torch.float64)[:, None]
    slope = torch.stack([0 * x[:, 0], 0 * x[:, 0] + 1, 3 * torch.cos(3 * x[:, 0])], dim=1)
    seen = sites(loss, model)
    start, data = (seen[name].rows(torch.rand, 2) for name in ("start", "data"))
    found = torch.cat(
        [
            slopes_of(seen[name], rows, EXACT)[:, 0]
            for name, rows in (("equation", x), ("start", start.double()), ("data", data[:3]))
        ]
    )
    phi = torch.cat([slope - k * model.of(x), model.of(start[:, :1]), 3 * model.of(data[:3, :1])])
    torch.testing.assert_close(found[:, :3] @ found[:, :3].T, phi @ phi.T, rtol=1e-12, atol=1e-12)
    # The unknown coefficient is a weight too: of u' - k u by k it is -u.
    torch.testing.assert_close(found[:5, 3], -model(x).detach(), rtol=1e-12, atol=0)
    assert (found[5:, 3] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_slopes_are_those_of_each_residual_with_its_weight(dtype: torch.dtype) -> None:
    problem, plan = Pair(), Recipe(network=partial(MLP, width=4, depth=1), dtype=dtype)
    model, loss = plan.model(problem, 0), Residual(problem, weights={"second": 4.0})
    loss._latest = {"equation": torch.tensor(2.0), "first": torch.tensor([1.0, 5.0])}  # scalars, or per point
    x = torch.tensor([[0.2], [0.7]], dtype=torch.float64)
    values, slopes = sites(loss, model)["equation"].slopes(x)  # type: ignore[misc]
    weights = {"first": 2.0 * 3.0, "second": 2.0 * 4.0}
    terms = loss.terms(model, type(loss.draw(0, model, Streams(0)))({"equation/rows": x}))
    near = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}
    for j, (name, weight) in enumerate(weights.items()):
        for i in range(2):
            gradient = torch.autograd.grad(
                terms[name].values[i], list(model.parameters()), retain_graph=True, materialize_grads=True
            )
            flat = weight**0.5 * torch.cat([g.flatten() for g in gradient])
            torch.testing.assert_close(slopes[i, j], flat, **near)
        torch.testing.assert_close(values[:, j], weight**0.5 * terms[name].values.detach(), **near)


def test_pulls_of_all_points_add_up_to_half_the_gradient_of_the_loss() -> None:
    """Of all kinds, also where a row has several residuals, of values and slopes."""
    problem = problems.AllenCahn()
    model = Recipe(network=partial(MLP, width=4, depth=1), hard=False).model(problem, 0)
    loss = Residual(problem, points=20, weights={"initial": 100.0, "periodic": 3.0})
    batch = loss.draw(0, model, Streams(0))
    weights = list(model.parameters())
    gradient = torch.autograd.grad(total(loss.terms(model, batch)), weights, materialize_grads=True)
    pulls = sum(
        pulls_of(site, batch[f"{name}/rows"], EXACT).mean(0) for name, site in sites(loss, model).items()
    )
    assert batch["periodic/rows"].shape[1] == 4
    torch.testing.assert_close(2 * pulls, torch.cat([g.flatten() for g in gradient]), rtol=1e-10, atol=1e-12)


def linear_site(residual: Any, count: int = 60) -> Site:
    """Slopes (1, x, y, xy) on the square."""

    def slopes(rows: Tensor) -> tuple[Tensor, Tensor]:
        x, y = rows.T
        return residual(rows)[:, None], torch.stack([0 * x + 1, x, y, x * y], dim=1)[:, None]

    square = Domain(Box(((0.0, 1.0), (0.0, 1.0))))
    return Site(square.interior, count, lambda x: residual(x).abs(), slopes=slopes)


def test_score_is_the_residual_times_the_slope_in_the_span_of_the_reference() -> None:
    site = linear_site(lambda x: x[:, 0] - 0.3)
    z = torch.rand(20, 2, generator=generator(), dtype=torch.float64)
    reference, r, j = z[:3], z[:, 0] - 0.3, slopes_of(site, z, EXACT)[:, 0]
    basis = directions(j[:3])
    found = pulls_of(site, z, EXACT) @ basis.T
    # Lambda^-1/2 V^T K(Z, z) R(z), as published.
    kernel = j[:3] @ j[:3].T
    values, vectors = torch.linalg.eigh(kernel)
    published = (j @ j[:3].T @ vectors / values.sqrt()) * r[:, None]
    torch.testing.assert_close(found.abs(), published.abs(), rtol=1e-9, atol=1e-12)
    # R^2 times the square of what a least-squares fit of the slope by the reference keeps.
    fit = torch.linalg.lstsq(j[:3].T, j.T).solution.T @ j[:3]
    score = found.square().sum(1)
    torch.testing.assert_close(score, r**2 * fit.square().sum(1), rtol=1e-9, atol=1e-14)
    assert (score <= r**2 * j.square().sum(1) * (1 + 1e-12)).all()  # R^2 k(z, z), which it is within the span
    torch.testing.assert_close(score[:3], (r**2 * j.square().sum(1))[:3], rtol=1e-9, atol=0)
    together = found[:3].sum(0).square().sum()
    torch.testing.assert_close(together, r[:3] @ kernel @ r[:3], rtol=1e-9, atol=0)  # R^T K R
    assert len(reference) == len(basis) == 3
    torch.testing.assert_close(basis @ basis.T, torch.eye(3).double(), rtol=0, atol=1e-9)


def test_directions_of_dependent_slopes_are_as_many_as_their_rank() -> None:
    slopes = normal(3, 8)
    basis = directions(torch.cat([slopes, slopes, slopes.sum(0, keepdim=True)]))
    assert basis.shape == (3, 8)  # and rounding is not among them
    torch.testing.assert_close(basis @ basis.T, torch.eye(3).double(), rtol=0, atol=1e-9)
    assert directions(torch.zeros(4, 8).double()).shape == (0, 8)


@pytest.mark.parametrize("diverse", [True, False])
def test_a_point_without_residual_scores_nothing_and_is_not_chosen(diverse: bool) -> None:
    site = linear_site(lambda x: (x[:, 0] - 0.5).clamp(min=0))
    sampler = PINNACLE(every=1, fresh=1.0, candidates=4, reference=8, diverse=diverse)
    rows = sampler.redraw(None, site, 0, Stream(0, "points"))["rows"]
    assert len(rows) == 60 and (rows[:, 0] > 0.5).all()
    basis = directions(slopes_of(site, rows, EXACT)[:, 0])
    score = (pulls_of(site, torch.tensor([[0.2, 0.7], [0.9, 0.1]]).double(), EXACT) @ basis.T).square().sum(1)
    assert score[0] == 0 and score[1] > 0.1


def test_one_draw_is_in_proportion_to_the_score() -> None:
    """A chi-square test on 1000 draws of one vector, of both variants: the first center is no other."""
    vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    kinds, taken = torch.zeros(4, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
    for diverse in (True, False):
        source, counts = generator(1), torch.zeros(4)
        for _ in range(1000):
            counts[spread(vectors, 1, source, kinds=kinds, taken=taken, diverse=diverse)] += 1
        expected = 1000 * torch.tensor([1.0, 4.0, 2.0]) / 7
        assert counts[3] == 0
        # Two degrees of freedom: above 13.8 once in a thousand samples.
        assert ((counts[:3] - expected) ** 2 / expected).sum() < 13.8


def test_further_draws_are_in_proportion_to_the_score_or_to_the_distance() -> None:
    """After (2, 0) was taken the squares of the distances of (1, 0) and (0, 1) from it and zero are 1 and 1,
    and of (3, 0) 1; the squares of their lengths 1, 1 and 9."""
    vectors = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0], [3.0, 0.0]], dtype=torch.float64)
    kinds, taken = torch.zeros(4, dtype=torch.int64), torch.tensor([0])
    for diverse, weight in ((True, [1.0, 1.0, 1.0]), (False, [1.0, 1.0, 9.0])):
        source, counts = generator(2), torch.zeros(4)
        for _ in range(1000):
            counts[spread(vectors, 1, source, kinds=kinds, taken=taken, diverse=diverse)] += 1
        expected = 1000 * torch.tensor(weight) / sum(weight)
        assert counts[0] == 0 and ((counts[1:] - expected) ** 2 / expected).sum() < 13.8


def test_of_equal_candidates_one_is_chosen_if_diverse() -> None:
    vectors = normal(30, 6).repeat(2, 1)
    kinds, taken = torch.zeros(60, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
    for seed in range(10):
        chosen = spread(vectors, 25, generator(seed), kinds=kinds, taken=taken, diverse=True)
        assert len(set((chosen % 30).tolist())) == 25  # no duplicates
        other = spread(vectors, 25, generator(seed), kinds=kinds, taken=taken, diverse=False)
        assert len(set(other.tolist())) == 25
    rest = spread(vectors, 50, generator(), kinds=kinds, taken=taken, diverse=True)
    assert len(set(rest[:30].tolist() + rest[30:].tolist())) == 50  # and more if there are not enough


def test_each_kind_has_a_point_however_little_it_scores() -> None:
    vectors = torch.cat([normal(20, 3), 0 * normal(5, 3), 1e-9 * normal(5, 3)])
    kinds = torch.arange(3).repeat_interleave(torch.tensor([20, 5, 5]))
    taken = torch.empty(0, dtype=torch.int64)
    for diverse in (True, False):
        chosen = spread(vectors, 8, generator(), kinds=kinds, taken=taken, diverse=diverse)
        assert torch.bincount(kinds[chosen], minlength=3).tolist() == [6, 1, 1]


@pytest.mark.parametrize("diverse", [True, False])
def test_shares_of_the_kinds_follow_their_weights(diverse: bool) -> None:
    problem = problems.Burgers()
    model = Recipe(network=partial(MLP, width=8, depth=2), hard=False).model(problem, 0)
    counts = []
    for weight in (1e-4, 1.0, 1e4):
        sampler = PINNACLE(every=1, fresh=1.0, candidates=4, reference=12, diverse=diverse)
        loss = Residual(problem, sampler=sampler, points=40, weights={"initial": weight})
        drawn = loss.draw(0, model, Streams(0))
        assert sum(len(rows) for rows in drawn.tensors.values()) == 40 + 2 * 16
        counts.append(len(drawn["initial/rows"]))
    assert counts[0] < counts[1] < counts[2] and counts[0] <= 4 and counts[2] >= 36


def drawn_and_moved(sampler: PINNACLE) -> tuple[nn.Module, Residual]:
    problem = problems.Burgers()
    model = Recipe(network=partial(MLP, width=6, depth=1), hard=False).model(problem, 0)
    loss = Residual(problem, sampler=sampler, points=40)
    loss.draw(0, model, Streams(0))
    return model, loss


def test_memory_is_a_part_of_the_points_before() -> None:
    model, loss = drawn_and_moved(SMALL)
    before = dict(loss._states)
    loss.draw(5, model, Streams(0))
    remembered, sizes = 0, []
    for name, state in loss._states.items():
        rows, known = state["rows"], before[name]["rows"]
        same = (rows[:, None] == known).all(2).any(1)
        assert not same.all()  # one of each kind is new
        kept = known[(known[:, None] == rows).all(2).any(1)]
        assert torch.equal(rows[: len(kept)], kept)  # in their order, bit for bit
        remembered += int(same.sum())
        sizes.append(len(rows))
    assert sum(sizes) == 72 and remembered == 72 - round(0.2 * 72)


def test_points_are_chosen_anew_in_time_or_when_the_kernel_has_changed() -> None:
    model, loss = drawn_and_moved(PINNACLE(every=10, candidates=4, reference=12))
    before = dict(loss._states)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.01)
    for step in range(1, 10):
        loss.draw(step, model, Streams(0))
        assert all(loss._states[name] is state for name, state in before.items())
    loss.draw(10, model, Streams(0))  # time is up
    assert all(loss._states[name] is not state for name, state in before.items())
    after = dict(loss._states)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3.0)
    loss.draw(11, model, Streams(0))  # it is not looked at
    assert loss._states["equation"] is after["equation"]
    loss.draw(12, model, Streams(0))
    assert loss._states["equation"] is not after["equation"]
    latest = loss._states["equation"]["kernel"]
    assert (latest - after["equation"]["kernel"]).norm() > 0.5 * after["equation"]["kernel"].norm()


def test_a_sketch_keeps_products_on_average() -> None:
    """Over 400 sketches, within four standard errors, and with the variance that is known."""
    g, h = normal(1, 300)[0], (normal(300, seed=1) + 0.5 * normal(1, 300)[0])
    width = 40
    products = []
    for seed in range(400):
        one, other = Sketch(width, seed)(torch.stack([g, h]))
        products.append(one @ other)
    found = torch.stack(products)
    wanted = g @ h
    bound = (g.square().sum() * h.square().sum() + wanted**2) / width
    assert abs(found.mean() - wanted) < 4 * found.std() / 20
    # The bound counts equal pairs, less than 2 % here; the error of a variance of 400 is 7 %.
    assert 0.7 < found.var() / bound < 1.3
    assert Sketch(300, 0)(g) is g  # nothing to gain


def test_a_sketched_kernel_is_that_of_all_weights_on_average() -> None:
    problem = problems.Burgers()
    model = Recipe(network=partial(MLP, width=6, depth=1)).model(problem, 0)
    site = sites(Residual(problem), model)["equation"]
    rows = torch.rand(4, 2, generator=generator(), dtype=torch.float64)
    _, slopes = site.slopes(rows)  # type: ignore[misc]
    j = slopes[:, 0]
    kernels = torch.stack([(s := Sketch(8, seed)(j)) @ s.T for seed in range(300)])
    error = kernels.std(0) / 300**0.5
    assert ((kernels.mean(0) - j @ j.T).abs() < 4 * error + 1e-12).all()
    assert torch.equal(slopes_of(site, rows, Sketch(8, 5))[:, 0], Sketch(8, 5)(j))


# Experiments.


def measured(problem: Problem, sampler: Any, steps: int = 4, model: nn.Module | None = None) -> list[Tensor]:
    loss = Residual(problem, sampler=sampler, points=16)
    return [loss.draw(step, model or Features(), Streams(0))["data/rows"] for step in range(steps)]


@pytest.mark.parametrize("diverse", [True, False])
def test_measurements_stay_and_more_are_made_until_they_are_enough(diverse: bool) -> None:
    sampler = PINNACLE(every=1, candidates=4, reference=8, diverse=diverse, experiments={"data": (8, 3)})
    rows = measured(Growth(), sampler)
    assert [len(r) for r in rows] == [3, 6, 8, 8]
    assert all(torch.equal(after[: len(before)], before) for before, after in pairwise(rows))
    assert len({float(x) for x in rows[-1][:, 0]}) == 8
    torch.testing.assert_close(rows[-1][:, 1], rows[-1][:, 0].exp())  # each with its own value
    all_seen = measured(Growth(), SMALL, steps=1)
    assert len(all_seen[0]) == 40
    alone = measured(Growth(), {"data": sampler}, steps=2)  # all else by other samplers
    assert [len(r) for r in alone] == [3, 6]


def test_values_take_no_part_in_the_choice_of_measurements() -> None:
    sampler = PINNACLE(every=1, candidates=4, reference=8, experiments={"data": (8, 3)})
    one, other = (measured(Growth(values), sampler)[-1] for values in (1.0, -50.0))
    assert torch.equal(one[:, 0], other[:, 0]) and not torch.equal(one[:, 1], other[:, 1])


class Stiff(nn.Module):
    """u = w x^2 (1 - x): a measurement at either end tells nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x[:, 0] * x[:, 0] * (1 - x[:, 0])


def test_measurements_that_tell_nothing_are_not_made() -> None:
    sampler = PINNACLE(every=1, candidates=4, reference=8, diverse=False, experiments={"data": (38, 38)})
    x = measured(Growth(), sampler, steps=1, model=Stiff())[0][:, 0]
    assert len(x) == 38 and x.min() > 0 and x.max() < 1


def test_it_takes_points_from_samplers_before_it_and_hands_them_on() -> None:
    choosing = PINNACLE(every=1, candidates=4, reference=8, experiments={"data": (8, 3)})
    loss = Residual(Growth(), sampler=InTurn(((2, choosing), (1, Uniform()), (1, choosing))), points=16)
    rows = [loss.draw(step, Features(), Streams(0)) for step in range(4)]
    assert [len(r["data/rows"]) for r in rows] == [3, 6, 6, 8]
    before, after = rows[2]["equation/rows"], rows[3]["equation/rows"]
    assert 0 < int((after[:, None] == before).all(2).any(1).sum()) < len(after)
    late = Residual(Growth(), sampler=InTurn(((1, Uniform()), (1, choosing))), points=16)
    assert [len(late.draw(step, Features(), Streams(0))["data/rows"]) for step in range(2)] == [40, 40]


def test_it_is_described() -> None:
    sampler = PINNACLE(every=7, diverse=False, experiments={"data": (8, 3)})
    again = build(describe(sampler))
    assert describe(again) == describe(sampler)
    assert len(measured(Growth(), again, steps=1)[0]) == 3


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="0 < fresh <= 1, got"):
        PINNACLE(fresh=0.0)
    with pytest.raises(ConfigError, match="at least 4 candidates"):
        PINNACLE(candidates=3)
    with pytest.raises(ConfigError, match="got 5 of 3"):
        PINNACLE(experiments={"data": (3, 5)})
    with pytest.raises(ConfigError, match="no data 'date' to measure; there is data"):
        measured(Growth(), PINNACLE(experiments={"date": (3, 3)}), steps=1)
    with pytest.raises(ConfigError, match="no data 'start'"):
        measured(Growth(), PINNACLE(experiments={"start": (3, 3)}), steps=1)
    square = Domain(Box(((0.0, 1.0), (0.0, 1.0))))
    with pytest.raises(ConfigError, match="needs slopes of residuals"):
        SMALL.draw(None, Site(square.interior, 4, lambda x: x[:, 0]), 0, Stream(0, "points"))
