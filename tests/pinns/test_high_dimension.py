"""Many dimensions: points on the device, the wide network, the same bits after a kill, and what pays."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from sciml.errors import ConfigError
from sciml.kernels import Exact, FactoredAdam, Hutchinson, SharedBlocks, SparseDirections, WideLinear
from sciml.kernels.factored_update import Moments
from sciml.objective import Batch, total
from sciml.pinns import Attempt, Ball, Box, Domain, Residual, problems, solve
from sciml.pinns.networks import WideMLP
from sciml.pinns.recipe import Stage
from sciml.pinns.recipes import HIGH_DIM, HUGE_DIM, RECIPES, SMALL, suited
from sciml.pinns.samplers import OnDevice
from sciml.pinns.sources import Random
from sciml.run import Run, RunFolder
from sciml.streams import Streams

PROBLEM = problems.SineGordon(dim=60)
TINY = replace(HIGH_DIM, network=partial(WideMLP, width=8, depth=2), points=12)


def bits(run: Run) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in run.model.parameters()]


# Points.


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_ball_is_filled_evenly_from_normal_vectors() -> None:
    """The volume within r is (r / radius)^d, and directions favor no axis."""
    dim, radius, n = 3, 2.0, 20_000
    x = Ball(dim, radius, center=(1.0, 0.0, -1.0)).random(Random(generator()), n)
    x = x - torch.tensor([1.0, 0.0, -1.0])
    away = x.norm(dim=1) / radius
    for r in (0.3, 0.6, 0.9):
        # Four standard errors of a share.
        assert abs((away < r).double().mean() - r**dim) < 4 * (r**dim * (1 - r**dim) / n) ** 0.5
    # E x_i x_j = radius² / (d + 2) on the diagonal.
    moments = x.T @ x / n
    assert (moments - radius**2 / (dim + 2) * torch.eye(dim)).abs().max() < 0.03


@pytest.mark.parametrize("space", [Ball(30), Box(((0.0, 2.0),) * 30)], ids=["ball", "box"])
def test_points_are_made_in_the_precision_of_the_network(space: Ball | Box) -> None:
    domain = Domain(space, time=(1.0, 3.0))
    x = domain.interior(Random(generator(), torch.float32), 50)
    assert x.dtype == torch.float32 and x.shape == (50, 31)
    assert bool(domain.contains(x).all()) and x[:, -1].min() < 1.5 < 2.5 < x[:, -1].max()
    attempt = Attempt(PROBLEM, TINY)
    drawn = attempt.objective.draw(0, attempt.model, Streams(0))["equation/rows"]
    assert drawn.dtype == torch.float32 and drawn.shape == (12, 60)


# The recipe.


def test_the_number_of_coordinates_decides() -> None:
    dims = {20: SMALL, 21: HIGH_DIM, 30_000: HIGH_DIM, 30_001: HUGE_DIM}
    for dim, recipe in dims.items():
        assert suited(problems.PoissonOfSines(dim=dim)) is recipe
    assert HIGH_DIM.estimator == SparseDirections(16) and HUGE_DIM.estimator == Exact()
    assert RECIPES["huge-dim"] is HUGE_DIM


def test_the_gradient_of_the_first_layer_stays_in_factors() -> None:
    """Nothing in the loop, clipping included, makes it dense; the weights are those of Adam all the same."""
    torch.manual_seed(0)
    attempt = Attempt(PROBLEM, TINY.scaled(3))
    dense = replace(TINY.stages[0], optimizer=partial(torch.optim.Adam, lr=1e-3))
    usual = Attempt(PROBLEM, replace(TINY, stages=(dense,)).scaled(3))
    weight = next(attempt.model.parameters())
    for _ in attempt.steps():
        assert weight.grad is None
    for _ in usual.steps():
        pass
    assert next(usual.model.parameters()).grad is not None
    for one, two in zip(attempt.model.parameters(), usual.model.parameters(), strict=True):
        # Adam divides by the root of the gradient's square: where that is rounding, so is the step of 1e-3.
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_the_learning_rate_falls_to_zero_over_any_number_of_steps() -> None:
    rates = [row["lr"] for row in solve(PROBLEM, recipe=TINY, steps=4).history]
    assert rates == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])
    with pytest.raises(ConfigError, match="leave out schedule"):
        Stage(
            FactoredAdam, 3, schedule=partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9), fading=True
        )


def test_blocks_share_their_weights() -> None:
    network = WideMLP(60, 1, width=8, depth=2, block=7)
    assert isinstance(network[0], SharedBlocks) and isinstance(network[1], WideLinear)
    assert network[1].in_features == 9
    assert isinstance(WideMLP(5, 1, width=4, block=50)[0], SharedBlocks)
    with pytest.raises(ConfigError, match="at least 1 coordinate, got 0"):
        WideMLP(5, 1, block=0)
    shared = replace(TINY, network=partial(WideMLP, width=8, depth=2, block=7))
    run = solve(PROBLEM, recipe=shared, steps=2)
    assert run.history[-1]["step"] == 2


# Estimates.


@pytest.mark.parametrize("estimator", [SparseDirections(6), Hutchinson(6), SparseDirections(1)])
def test_the_loss_is_unbiased_whatever_the_estimator(estimator: SparseDirections | Hutchinson) -> None:
    """The mean over directions at fixed points is the exact loss, within four standard errors."""
    recipe = replace(TINY, dtype=torch.float64)
    attempt, exact = (Attempt(PROBLEM, replace(recipe, estimator=e)) for e in (estimator, Exact()))
    for p in attempt.model.parameters():  # a curved network: estimates of its Laplacian differ
        torch.nn.init.normal_(p, generator=generator())
    points = attempt.objective.draw(0, attempt.model, Streams(0))
    with torch.no_grad():
        found = torch.stack(
            [total(attempt.objective.terms(attempt.model, _with_seed(points, k))) for k in range(300)]
        )
        wanted = total(exact.objective.terms(attempt.model, points))
    assert found.std() > 0
    assert abs(found.mean() - wanted) < 4 * found.std() / 300**0.5


def _with_seed(batch: Batch, k: int) -> Batch:
    return replace(batch, shared={**batch.shared, "seed": torch.tensor(k)})


def test_a_random_estimate_costs_as_many_directions_as_it_was_given() -> None:
    """They are shared between the two estimates whose product is the loss."""
    attempt = Attempt(PROBLEM, replace(TINY, estimator=SparseDirections(6)))
    batch = attempt.objective.draw(0, attempt.model, Streams(0))
    assert isinstance(attempt.objective, Residual)
    estimate = attempt.objective._estimate(batch)
    assert estimate["estimator"] == SparseDirections(3) and estimate["draws"] == 2


# Interruption.


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_interrupted_run_goes_on_to_the_same_bits(killed: bool, tmp_path: Path) -> None:
    """Left, or killed in a process of its own, behind step 5, it goes on from the checkpoint of step 4."""
    if killed:
        code = f"import sys; sys.path.append({str(Path(__file__).parent)!r})\n{KILLED}"
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
        assert done.returncode == 9
    else:
        next(
            step
            for step in Attempt(PROBLEM, TINY.scaled(9)).steps(every=2, output=tmp_path)
            if step.number == 5
        )
    assert RunFolder(tmp_path).checkpoints.entries()[-1]["step"] == 4
    runs = []
    for output in (tmp_path, None):
        attempt = Attempt(PROBLEM, TINY.scaled(9))
        for _ in attempt.steps(every=2, output=output):
            pass
        runs.append(attempt.run)
    assert bits(runs[0]) == bits(runs[1])
    assert [row["loss"] for row in runs[0].history] == [row["loss"] for row in runs[1].history]


KILLED = f"""
import os, torch
from test_high_dimension import PROBLEM, TINY, Attempt
torch.set_num_threads({torch.get_num_threads()})
for step in Attempt(PROBLEM, TINY.scaled(9)).steps(every=2, output=sys.argv[1]):
    if step.number == 5:
        os._exit(9)
"""


@pytest.mark.parametrize("moments", ["bfloat16", "factored"])
def test_short_moments_resume_to_the_same_bits(moments: Moments, tmp_path: Path) -> None:
    stage = Stage(partial(FactoredAdam, lr=1e-3, moments=moments), 6, OnDevice(), fading=True)
    recipe = replace(TINY, stages=(stage,), estimator=Exact())
    whole = solve(PROBLEM, recipe=recipe)
    for _ in range(5):
        solve(PROBLEM, recipe=recipe, time_limit=1e-9, output=tmp_path)
    assert bits(solve(PROBLEM, recipe=recipe, output=tmp_path)) == bits(whole)


# Out of range.


@pytest.mark.parametrize("name", ["SineGordon", "AllenCahnInBall", "PoissonOfSines"])
def test_a_dimension_out_of_range_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        getattr(problems, name)(dim=0)
    assert "0" in str(refused.value) and str(refused.value).count(". ") <= 1


def test_radius_and_horizon_out_of_range_are_refused() -> None:
    for radius in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="positive radius"):
            Ball(3, radius)
    for time in ((0.0, 0.0), (1.0, 0.5), (0.0, float("inf")), (0.0, float("nan"))):
        with pytest.raises(ConfigError, match="start < end"):
            Domain(Ball(3), time=time)
