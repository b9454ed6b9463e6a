"""The variance of the gradient of a loss."""

from __future__ import annotations

import json
import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.kernels import Hutchinson, SparseDirections
from sciml.objective import Batch, Objective, Term
from sciml.pinns import Residual, problems
from sciml.pinns.networks import MLP
from sciml.pinns.variance import compare, gradient_variance, main, methods, table
from sciml.streams import Streams


class Noisy(Objective):
    """A gradient (1, 1) plus noise of deviation 0.5 by direction and 1 by point, in each of two weights."""

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        point = torch.randn(2, generator=streams.of("points").generator(step))
        return Batch({}, {"point": point, "seed": torch.tensor(streams.of("estimator").seed(step))})

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        generator = torch.Generator().manual_seed(int(batch["seed"]))
        slope = 1 + batch["point"] + 0.5 * torch.randn(2, generator=generator)
        weights: Tensor = model.weight  # type: ignore[assignment]
        return {"loss": Term((slope * weights[0]).sum())}


def test_the_variances_are_those_of_the_gradient() -> None:
    draws = 1000
    found = gradient_variance(Noisy(), nn.Linear(2, 1, bias=False), draws=draws)
    # |mean|^2 is 2 overall, 2 (0.25 + 1) the variance: their quotient has a relative deviation of about
    # sqrt(1/draws + 4 * 0.625/draws); five of them.
    assert found.overall == pytest.approx(1.25, rel=5 * math.sqrt(3.5 / draws))
    point = 1 + Noisy().draw(0, nn.Identity(), Streams(0))["point"]
    fixed = 0.5 / float(point.square().sum())
    assert found.directions == pytest.approx(fixed, rel=5 * math.sqrt((1 + 4 * fixed) / draws))
    assert found.seconds > 0 and found.price == found.overall * found.seconds


def test_the_square_of_the_mean_is_estimated_without_bias() -> None:
    """Of few draws of a gradient that is mostly noise the plain quotient would be far too small."""
    model = nn.Linear(2, 1, bias=False)
    found = [gradient_variance(Noisy(), model, draws=3, seed=k).directions for k in range(30)]
    assert max(found) > 1 or math.isinf(max(found))
    assert all(value >= 0 for value in found)


def test_more_directions_and_better_ones_spread_less() -> None:
    problem = problems.PoissonOfSines(dim=8)
    model = problem.build(partial(MLP, width=8, depth=2)).double()

    def of(loss: Residual) -> float:
        return gradient_variance(loss, model, draws=6).directions

    few, many, exact, all_of_them = (
        of(Residual(problem, points=4, estimator=estimator))
        for estimator in (
            SparseDirections(2),
            SparseDirections(12),
            SparseDirections(16),
            Hutchinson(16, "orthogonal"),
        )
    )
    # 16 are shared between two estimates: 8 each, which is all there are.
    assert few > many > 0
    assert exact < 1e-20 and all_of_them < 1e-20


def test_an_objective_is_left_as_it_was() -> None:
    problem = problems.Poisson()
    model = problem.build(partial(MLP, width=4, depth=1)).double()
    loss = Residual(problem, points=5)
    loss.draw(0, model, Streams(4))
    before = loss.state_dict()["points"]["equation"]["rows"]
    gradient_variance(loss, model, draws=2)
    assert torch.equal(loss.state_dict()["points"]["equation"]["rows"], before)
    with pytest.raises(ConfigError, match="at least 2 draws, got 1"):
        gradient_variance(loss, model, draws=1)


def test_the_table_has_every_method_and_says_why_one_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["poisson-of-sines", "--dim=5", "--samples=2", "--points=3", "--draws=2", "--width=4", "--json"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in told["rows"]] == [method.name for method in methods(2)]
    assert told["rows"][0]["directions"] == 0 and told["rows"][1]["seconds"] > 0
    problem = problems.PoissonOfSines(dim=3)
    rows = compare(problem, problem.build(partial(MLP, width=4, depth=1)), samples=8, points=2, draws=2)
    missing = next(row for row in rows if row.found is None)
    assert "only 3 orthogonal directions" in missing.reason
    lines = table(rows).splitlines()
    assert len(lines) == 1 + len(rows) and lines[0].split() == [
        "method", "directions", "directions", "and", "points", "ms", "price"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "match"),
    [(["poison"], "there is no problem 'poison'"), (["heat", "--dim=3"], "heat has no dim")],
)
def test_what_cannot_be_asked_is_told(
    arguments: list[str], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert match in capsys.readouterr().err
