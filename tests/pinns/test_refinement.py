"""Sets of points that grow: what RAR and RAR-D add, and that everything behind a sampler follows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import LBFGS, Adam

from sciml.errors import ConfigError
from sciml.pinns import Attempt, Recipe, Residual, Stage, problems
from sciml.pinns.domain import Box, Domain
from sciml.pinns.networks import MLP
from sciml.pinns.samplers import PINNACLE, RAR, RARD, Sampler, Site, Uniform
from sciml.pinns.weightings import Causal, GradientNorm
from sciml.run import Run
from sciml.streams import Stream, Streams

STREAM = Stream(0, "points")
SQUARE = Domain(Box(((0.0, 1.0), (0.0, 1.0))))


def site(score: Any, count: int = 100, asked: list[Tensor] | None = None) -> Site:
    """A site that remembers the rows that it was asked for."""

    def rows(source: Any, n: int) -> Tensor:
        found = SQUARE.interior(source, n)
        if asked is not None:
            asked.append(found)
        return found

    return Site(rows, count, score)


def chi_square(x: Tensor, expected: Tensor) -> float:
    """On strips of equal width."""
    counts = torch.bincount((len(expected) * x).long(), minlength=len(expected)).double()
    return float(((counts - expected) ** 2 / expected).sum())


def test_added_are_the_largest_of_the_pool() -> None:
    """Trap: candidates are a fresh pool and never the points of the training."""
    asked: list[Tensor] = []
    seen = site(lambda x: x[:, 0], asked=asked)
    sampler = RAR(every=1, added=0.07, pool=20)
    first = sampler.draw(None, seen, 0, STREAM)
    second = sampler.draw(first, seen, 1, STREAM)
    pool, added = asked[-1], second["rows"][100:]
    assert len(pool) == 2000 and len(added) == 7
    assert torch.equal(second["rows"][:100], first["rows"])  # bit for bit
    assert torch.equal(added, pool[pool[:, 0].sort(descending=True).indices[:7]])
    assert not (pool[:, None] == first["rows"]).all(2).any()
    sampler.draw(second, seen, 2, STREAM)
    assert not torch.equal(asked[-1], pool)


@pytest.mark.parametrize("sampler", [RAR(every=1), RARD(every=1)], ids=lambda s: type(s).__name__)
def test_it_discovers_what_its_points_do_not_see(sampler: Sampler) -> None:
    corner = {"rows": 0.1 * Uniform().draw(None, site(None), 0, STREAM)["rows"]}
    rows = sampler.draw(corner, site(lambda x: (x > 0.9).all(1).double()), 1, STREAM)["rows"]
    assert len(rows) == 101 and (rows[100] > 0.9).all()


@pytest.mark.parametrize("kind", [RAR, RARD])
def test_it_grows_to_its_limit(kind: type[RAR] | type[RARD]) -> None:
    sampler = kind(every=2, added=0.3, limit=1.5, pool=2)
    state, sizes = None, []
    for step in range(7):
        state = sampler.draw(state, site(lambda x: x[:, 0], 10), step, STREAM)
        sizes.append(len(state["rows"]))
    assert sizes == [10, 10, 13, 13, 15, 15, 15]
    few = kind(every=1).draw({"rows": torch.zeros(3, 2).double()}, site(lambda x: x[:, 0], 3), 1, STREAM)
    assert len(few["rows"]) == 4  # one at least


def test_nothing_is_added_where_the_residual_is_small() -> None:
    sampler = RAR(every=1, enough=0.5)
    state = sampler.draw(None, site(None), 0, STREAM)
    for size, count in ((0.4, 100), (0.6, 101)):
        found = sampler.draw(state, site(lambda x, size=size: torch.full((len(x),), size)), 1, STREAM)
        assert len(found["rows"]) == count


@pytest.mark.parametrize(("power", "offset"), [(2.0, 0.0), (1.0, 1.0), (0.0, 0.0), (1.0, 1e9)])
def test_added_follow_the_density(power: float, offset: float) -> None:
    """With residual x: p ~ (power + 1) x^power + offset; without power, or with a large offset, uniform."""
    sampler = RARD(every=1, added=1.0, power=power, offset=offset)
    seen = site(lambda x: x[:, 0], 2000)
    rows = sampler.draw(sampler.draw(None, seen, 0, STREAM), seen, 1, STREAM)["rows"][2000:]
    edges = torch.linspace(0, 1, 5, dtype=torch.float64)
    expected = 2000 * ((edges ** (power + 1) + offset * edges) / (1 + offset)).diff()
    # Three degrees of freedom: above 16.3 once in a thousand samples.
    assert chi_square(rows[:, 0], expected) < 16.3
    if power and offset < 2:
        assert chi_square(rows[:, 0], torch.full((4,), 500.0)) > 50


def test_without_a_residual_it_adds_uniform_points() -> None:
    seen = site(lambda x: torch.zeros(len(x)), 2000)
    sampler = RARD(every=1, added=1.0, pool=3)
    rows = sampler.draw(sampler.draw(None, seen, 0, STREAM), seen, 1, STREAM)["rows"][2000:]
    assert chi_square(rows[:, 0], torch.full((4,), 500.0)) < 16.3


# Growing sets in training.


def recipe(*samplers: Sampler, **settings: Any) -> Recipe:
    stages = [Stage(partial(Adam, lr=1e-2), 6, sampler) for sampler in samplers]
    network = partial(MLP, width=5, depth=1)
    return Recipe(network=network, stages=tuple(stages), points=20, hard=False, **settings)


@pytest.mark.parametrize("weighting", [Causal((0.1,), slabs=4), GradientNorm()])
def test_added_points_reach_the_loss_with_their_weights(weighting: Any) -> None:
    problem, plan = problems.Burgers(), recipe(RAR(every=1, added=0.1, pool=3), weighting=weighting)
    model, loss = plan.model(problem, 0), plan.objective(problem)
    for step, sizes in enumerate(((20, 16, 16), (22, 18, 18), (24, 20, 20))):
        batch = loss.draw(step, model, Streams(0))
        terms = loss.terms(model, batch)
        assert tuple(len(term.values) for term in terms.values()) == sizes
        x = batch["boundary/rows"][:, :2]
        torch.testing.assert_close(terms["boundary"].values, model(x).detach(), rtol=1e-12, atol=1e-12)
        factor = batch["equation/factor"]
        assert factor.shape == ((sizes[0],) if isinstance(weighting, Causal) else ())


ADAPTIVE = recipe(
    RAR(every=2, added=0.2, pool=3),
    RARD(every=3, added=0.2, limit=3.0, pool=3),
    PINNACLE(every=4, candidates=4, reference=8, sketch=16),
    weighting=GradientNorm(every=2),
)
WHOLE = Recipe(
    network=ADAPTIVE.network,
    stages=(*ADAPTIVE.stages, Stage(partial(LBFGS, max_iter=2), 3, RAR(every=2, pool=3))),
    points=20,
    hard=False,
    weighting=ADAPTIVE.weighting,
)


def adapted(folder: Path, *, until: int | None = None) -> Run:
    """All steps, or abandoned after some of them, with a checkpoint after every third."""
    attempt = Attempt(problems.Burgers(), WHOLE)
    for step in attempt.steps(output=folder, every=3):
        if step.number == until:
            break
    return attempt.run


def bits(run: Run) -> Any:
    told = [{k: v for k, v in row.items() if k not in ("seconds", "waited")} for row in run.history]
    return [p.detach().numpy().tobytes() for p in run.model.parameters()], told


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return adapted(tmp_path_factory.mktemp("run") / "a")


@pytest.mark.parametrize("steps", [4, 10, 16])
def test_resumed_with_more_points_it_has_the_same_bits(steps: int, unbroken: Run, tmp_path: Path) -> None:
    adapted(tmp_path / "b", until=steps)  # between two checkpoints, as by a kill
    torch.manual_seed(steps)  # nothing may depend on the global generator
    assert bits(adapted(tmp_path / "b")) == bits(unbroken)


@pytest.mark.slow
def test_two_processes_see_the_points_of_one(alone_and_together: Callable[[str], Any]) -> None:
    alone, together = alone_and_together("growing_child")
    assert len(together) == len(alone) == 12 and "points" in alone[-1]
    for one, other in zip(alone, together, strict=True):
        assert other.get("points") == one.get("points")
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-9)  # sums are taken in another order


@pytest.mark.slow
def test_points_of_deepxde_grow() -> None:
    dde = pytest.importorskip("deepxde")
    from sciml.pinns import from_deepxde

    geometry = dde.geometry.Rectangle([0, 0], [1, 1])

    def pde(x: Any, u: Any) -> Any:
        return dde.grad.hessian(u, x, i=0, j=0) + dde.grad.hessian(u, x, i=1, j=1) + 1

    data = dde.data.PDE(
        geometry,
        pde,
        dde.icbc.DirichletBC(geometry, lambda x: 0, lambda x, on: on),
        num_domain=50,
        num_boundary=8,
    )
    loss = from_deepxde(data, sampler=RAR(every=2, added=0.1, pool=4))
    model = MLP(2, 1, width=5, depth=1)
    sizes = [len(loss.draw(step, model, Streams(0))["points"]) for step in range(7)]
    assert [size - sizes[0] for size in sizes] == [0, 0, 5, 5, 10, 10, 15]
    with pytest.raises(ConfigError, match="this objective does not tell"):
        from_deepxde(data, sampler=PINNACLE(every=1)).draw(1, model, Streams(0))


def test_told_are_the_numbers_of_points_that_changed() -> None:
    problem, plan = problems.Burgers(), recipe(RAR(every=1, added=0.1, pool=3))
    model, loss = plan.model(problem, 0), plan.objective(problem)
    loss.draw(0, model, Streams(0))
    assert "points" not in loss.facts()
    loss.draw(1, model, Streams(0))
    assert loss.facts()["points"] == {"equation": 22, "boundary": 18, "initial": 18}
    assert isinstance(loss, Residual)


def test_refusals() -> None:
    for kind in (RAR, RARD):
        with pytest.raises(ConfigError, match=f"{kind.__name__}: needs 0 < added <= 1"):
            kind(limit=1.0)
        with pytest.raises(ConfigError, match="every must be at least 1"):
            kind(every=0)
    with pytest.raises(ConfigError, match="enough must not be negative"):
        RAR(enough=-1.0)
    with pytest.raises(ConfigError, match="power and offset must not be negative"):
        RARD(power=-1.0)
