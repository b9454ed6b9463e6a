"""What the trainer tells an optimizer: terms, residuals whose squares are the loss, and their Jacobian."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sciml import processes
from sciml.closure import Closure
from sciml.dataset import write_dataset
from sciml.description import build, describe
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.objective import Batch, Objective, Sum, Term
from sciml.optimizers import LBFGS, LevenbergMarquardt, SelfScaledBroyden
from sciml.optimizers.linearization import by_rows
from sciml.schema import Field
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.trainer import Phase, Trainer


class Fit(Objective):
    """Points of a curve with weights of their own, and two numbers at each of a few others."""

    def __init__(self, points: int = 12) -> None:
        self.points = points
        self.shift = nn.Parameter(torch.tensor([0.1, 0.2], dtype=torch.float64))

    def parameters(self) -> list[nn.Parameter]:
        return [self.shift]

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        generator = streams.of("points").generator(step)
        x = torch.rand(self.points, 1, generator=generator, dtype=torch.float64)
        return Batch({"x": x, "weight": 1 + x[:, 0], "ends": x[:4] + 1})

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        misfit = model(batch["x"])[:, 0] - batch["x"][:, 0] ** 2 - self.shift[0]
        ends = batch["ends"]
        both = torch.stack([model(ends)[:, 0], model(2 * ends)[:, 0] * self.shift[1]], dim=1)
        return {"fit": Term(misfit, batch["weight"], square=True), "ends": Term(both, 3.0, square=True)}


class Mixed(Fit):
    """Every value depends on all points."""

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        values = model(batch["x"])[:, 0]
        return {"spread": Term(values - values.mean(), square=True), "mean": Term(values.mean(), square=True)}


class Branching(Fit):
    """What vectorization cannot follow: a decision that depends on values."""

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        values = model(batch["x"])[:, 0]
        return {"size": Term(values if float(values.detach().sum()) > 0 else -values, square=True)}


class Learned(Fit):
    """Weights that learn: residuals depend on the parameters through them too."""

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        return {"fit": Term(model(batch["x"])[:, 0], self.shift[0].exp(), square=True)}


def network() -> nn.Module:
    with Streams(0).of("init").applied():
        return nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def closure_of(objective: Objective, parts: int = 1, **more: Any) -> Closure:
    model = network()
    batch = objective.draw(0, model, Streams(0))
    parameters = [*model.parameters(), *objective.parameters()]
    optimizer = torch.optim.SGD(parameters)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=False)
    pieces = list(batch.split(parts)) if parts > 1 else [batch]
    return Closure(optimizer, objective, model, pieces, parameters, autocast, **more)


OBJECTIVES = {
    "one": Fit(),
    "sum": Fit() + 0.1 * Fit(8),
    "same sizes": Fit() + 2.0 * Fit(),
    "mixed": Mixed() + Fit(),
    "branching": Branching(),
    "learned weights": Learned(),
}
EACH = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


def same_loss(closure: Closure, loss: Tensor, called: Closure) -> None:
    """Value, gradient and what is told of it are those of the closure when it is called."""
    assert float(loss.detach()) == pytest.approx(called(), rel=1e-14)
    told, known = (dict(c.row) for c in (closure, called))
    assert told.pop("unweighted", {}) == pytest.approx(known.pop("unweighted", {}), rel=1e-12)
    assert told == pytest.approx(known, rel=1e-12)
    expected = [torch.zeros_like(p) if p.grad is None else p.grad for p in called.parameters]
    found = torch.autograd.grad(loss, closure.parameters, materialize_grads=True)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-15)


@EACH
@pytest.mark.parametrize("parts", [1, 2])
def test_the_squares_of_the_residuals_are_the_loss(objective: Objective, parts: int) -> None:
    closure = closure_of(objective, parts)
    r = closure.residuals()
    same_loss(closure, r @ r, closure_of(objective, parts))


@EACH
@pytest.mark.parametrize("parts", [1, 2])
def test_the_terms_add_up_to_the_loss(objective: Objective, parts: int) -> None:
    closure = closure_of(objective, parts)
    same_loss(closure, torch.stack([*closure.means().values()]).sum(), closure_of(objective, parts))


def test_shares_of_processes_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with the halves of a batch."""
    alone = closure_of(Fit()).means()
    batch = Fit().draw(0, network(), Streams(0))
    shares = []
    # Of equal halves, what the other counts is the same again.
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "add_up", lambda values: 2 * values.detach())
    for half in batch.split(2):
        closure = closure_of(Fit())
        closure.parts = [half]
        shares.append(closure.means())
    for name, mean in alone.items():
        torch.testing.assert_close(shares[0][name] + shares[1][name], mean, rtol=1e-12, atol=0)


@EACH
@pytest.mark.parametrize("parts", [1, 2])
def test_the_jacobian_is_that_of_the_residuals(objective: Objective, parts: int) -> None:
    closure = closure_of(objective, parts)
    expected = by_rows(closure.residuals(), closure.parameters)
    torch.testing.assert_close(closure.jacobian().detach(), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["one", "sum", "same sizes"])
def test_independent_entries_are_told_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No row is differentiated on its own."""

    def never(*_: Any) -> Tensor:
        raise AssertionError("row by row")

    monkeypatch.setattr("sciml.jacobian.by_rows", never)
    closure = closure_of(OBJECTIVES[name])
    closure.residuals()
    closure.jacobian()


def test_it_is_told_why_rows_are_made_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    closure = closure_of(Branching())
    closure.residuals()
    with caplog.at_level(logging.INFO, "sciml.jacobian"):
        closure.jacobian()
    assert "the Jacobian of size is made row by row: " in caplog.text


def test_the_row_tells_where_the_optimizer_began() -> None:
    closure = closure_of(Fit())
    closure()
    first = closure.row
    with torch.no_grad():
        for p in closure.parameters:
            p.add_(1.0)
    closure()
    closure.residuals()
    assert closure.row == first
    assert set(first) == {"fit", "ends", "unweighted"} and set(first["unweighted"]) == {"fit", "ends"}
    assert first["ends"] == pytest.approx(3 * first["unweighted"]["ends"])


class NoSquare(Fit):
    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        return {"size": Term(model(batch["x"]).abs())}


def test_what_has_no_residuals_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="term 'size' is no mean of squares.*AdamW"):
        closure_of(NoSquare()).residuals()
    with pytest.raises(ConfigError, match="term 'fit' has a negative weight"):
        closure_of(Sum(((-1.0, Fit()),))).residuals()
    with pytest.raises(ConfigError, match=r"takes the loss apart runs without clip; got clip=1\.0"):
        closure_of(Fit(), clip=1.0).means()
    with pytest.raises(ConfigError, match=r"one process and without clip; got 1 processes and clip=1\.0"):
        closure_of(Fit(), clip=1.0).residuals()
    monkeypatch.setattr(processes, "count", lambda: 2)
    with pytest.raises(ConfigError, match="got 2 processes"):
        closure_of(Fit()).residuals()


def test_a_supervised_loss_is_refused_by_least_squares(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    fields = [(Field("a", "input"), values), (Field("u", "output"), values)]
    data = write_dataset(
        tmp_path / "data.h5", grid=Grid.box((8,)), fields=fields, split=np.zeros(4, dtype=np.int8)
    )
    task = Supervised(data.train, ["a"], ["u"], batch_size=4)
    trainer = Trainer(1, optimizer=LevenbergMarquardt)
    with pytest.raises(ConfigError, match="term 'u' is no mean of squares"):
        trainer.fit(nn.Conv1d(1, 1, 1).double(), task)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_trainer_takes_least_squares(accumulate: int) -> None:
    """On the same points at every step, in one batch or in parts."""

    class Fixed(Fit):
        def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
            batch = super().draw(0, model, streams)
            return Batch({"x": batch["x"], "weight": batch["weight"], "ends": batch["ends"][:3]})

    trainer = Trainer(
        4, optimizer=partial(LevenbergMarquardt, iterations=10, tolerance=1e-3), accumulate=accumulate
    )
    run = trainer.fit(network(), Fixed())
    assert run.history[-1]["loss"] < 1e-2 * run.history[0]["loss"]
    assert run.history[0]["loss"] == pytest.approx(run.history[0]["fit"] + run.history[0]["ends"])
    assert "stopped" not in run.history[0]
    assert run.history[-1]["stopped"] == "the gradient is at most 0.001"


def test_optimizers_are_made_again_from_their_description() -> None:
    phases = [
        Phase(partial(SelfScaledBroyden, family="bfgs"), 2),
        Phase(LBFGS, 3),
        Phase(partial(LevenbergMarquardt, system="matrix-free"), 4),
    ]
    again = build(describe(Trainer(optimizer=phases)))
    assert [phase.optimizer.func for phase in (again.phases[0], again.phases[2])] == [
        SelfScaledBroyden,
        LevenbergMarquardt,
    ]
    assert again.phases[1].optimizer is LBFGS
    with pytest.raises(ConfigError, match="may not be made from a file"):
        build({"name": "sciml.optimizers.flat.Flat"})
