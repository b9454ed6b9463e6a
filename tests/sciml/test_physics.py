"""Physics as an objective: what is asked of a model by an equation, alone and beside examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sciml.dataset import Dataset, write_dataset
from sciml.datasets.darcy import Darcy
from sciml.description import describe
from sciml.errors import ConfigError, ShapeError
from sciml.field_derivatives import diffusion, inverse_laplacian
from sciml.grid import Grid
from sciml.objective import total
from sciml.operators.fno import FNO
from sciml.physics import Physics
from sciml.schema import Field
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.trainer import Trainer

Fields = Mapping[str, Tensor]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Darcy(resolution=8).make(
        tmp_path_factory.mktemp("data") / "darcy.h5", train=6, valid=0, test=2, workers=1
    )


def darcy(fields: Fields, grid: Grid) -> Tensor:
    return diffusion(fields["a"], fields["u"], grid) + 1.0


def smoothed(fields: Fields, grid: Grid) -> Tensor:
    return inverse_laplacian(darcy(fields, grid), grid)


def several(fields: Fields, grid: Grid) -> dict[str, Tensor]:
    return {"equation": darcy(fields, grid), "positive": torch.relu(-fields["u"])}


class Looked(nn.Module):
    """The solution of each sample, found by its input."""

    def __init__(self, task: Supervised, factor: float = 1.0) -> None:
        super().__init__()
        self.known, self.truth = task.feed.read(range(len(task.dataset)))[:2]
        self.task, self.factor = [task], nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        known = self.task[0].encoder.encode(self.known.double())
        nearest = torch.cdist(x.flatten(1), known.flatten(1)).argmin(1)
        return self.task[0].decoder.encode(self.factor * self.truth[nearest].double())


def test_solutions_of_the_equation_leave_nothing(data: Dataset) -> None:
    task = Supervised(data.train, ["a"], ["u"], batch_size=3)
    loss = Physics(darcy, task)
    for factor, expected in ((1.0, 0.0), (1.5, 0.5), (0.0, 1.0)):
        model = Looked(task, factor)
        found = float(total(loss.terms(model, loss.draw(0, model, Streams(0)))).detach())
        # Files hold float32: their rounding, times 2 * 12 / h^2, of values of 0.02.
        assert abs(found - expected) < 24 * 64 * 0.02 * 1e-7 * 10


def test_the_loss_is_a_mean_of_root_mean_squares(data: Dataset) -> None:
    task = Supervised(data.train, ["a"], ["u"], batch_size=4)
    model = Looked(task, 0.3)
    loss, squares = Physics(several, task), Physics(several, task, square=True)
    batch = loss.draw(2, model, Streams(0))
    assert torch.equal(batch["x"], squares.draw(2, model, Streams(0))["x"])
    fields = loss.fields(model, batch)
    assert set(fields) == {"a", "u"} and fields["u"].shape == (4, 8, 8)
    r = darcy(fields, data.grid)
    terms = loss.terms(model, batch)
    assert list(terms) == ["equation", "positive"]
    torch.testing.assert_close(terms["equation"].values, r.square().mean((1, 2)).sqrt())
    term = squares.terms(model, batch)["equation"]
    assert term.values.shape == (4, 8, 8)
    torch.testing.assert_close(term.mean(), r.square().mean())
    # Zero has a finite gradient.
    terms["positive"].mean().backward()
    assert model.factor.grad is not None and float(model.factor.grad) == 0


def test_smoothed_residuals_are_as_large_as_errors(data: Dataset) -> None:
    """For constant coefficients exactly: the smoothed residual is the coefficient times the error."""
    grid = data.grid
    a = torch.full((2, 8, 8), 3.0, dtype=torch.float64)
    error = torch.rand(2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u = inverse_laplacian(-torch.ones_like(a), grid) / 3
    found = smoothed({"a": a, "u": u + error}, grid)
    torch.testing.assert_close(found, 3 * error)


def test_it_adds_to_examples_and_trains_without_them(data: Dataset) -> None:
    """Labels of noise, inputs of another file on a finer grid: the physics decides."""
    with Streams(0).of("init").applied():
        model = FNO(2, 1, 1, modes=3, width=8, depth=2)
    task = Supervised(data.train, ["a"], ["u"], batch_size=2)
    physics = Physics(smoothed, task)
    both = task + 0.1 * physics
    terms = both.terms(model, both.draw(0, model, Streams(0)))
    assert list(terms) == ["u", "physics"] and terms["physics"].weight == 0.1
    before = physics.evaluate(model, Streams(0))["loss"]
    run = Trainer(30, optimizer=_adam).fit(model, physics, validation=physics)
    assert run.history[-1]["validation"]["loss"] < before / 3
    assert both.surrogate(model) is not None


def _adam(parameters: object) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-2)  # type: ignore[arg-type]


def test_inputs_without_solutions_on_a_finer_grid(data: Dataset, tmp_path: Path) -> None:
    medium = 3 + 9 * (np.random.default_rng(0).random((5, 16, 16)) < 0.5)
    more = write_dataset(
        tmp_path / "more.h5",
        grid=Grid.box((16, 16)),
        fields=[(Field("a", "input"), medium.astype(np.float32))],
        split=[0] * 5,
    )
    task = Supervised(data.train, ["a"], ["u"], batch_size=2)
    physics = Physics(darcy, task, inputs=more, batch_size=3)
    with Streams(0).of("init").applied():
        model = FNO(2, 1, 1, modes=3, width=4, depth=1)
    batch = (task + physics).draw(0, model, Streams(0))
    assert [part["x"].shape for part in batch.parts] == [(2, 1, 8, 8), (3, 1, 16, 16)]
    physics.check(model)
    assert math.isfinite(float(total(physics.terms(model, batch.parts[1])).detach()))
    told = describe(physics)["arguments"]
    assert told["residual"]["name"].endswith("test_physics.darcy") and told["batch_size"] == 3


def test_gradients_reach_the_model(data: Dataset) -> None:
    """Against differences, in float64."""
    task = Supervised(data.train, ["a"], ["u"], batch_size=2)
    physics, model = Physics(smoothed, task), Looked(task, 0.7)
    batch = physics.draw(0, model, Streams(0))

    def loss(factor: Tensor) -> Tensor:
        named = {"factor": factor}
        found = torch.func.functional_call(model, named, (task.encoder.encode(batch["x"]),))
        u = task.decoder.decode(found)[:, 0]
        return smoothed({"a": batch["x"][:, 0], "u": u}, data.grid)

    assert torch.autograd.gradcheck(loss, (model.factor.detach().clone().requires_grad_(),))
    total(physics.terms(model, batch)).backward()
    assert model.factor.grad is not None and float(model.factor.grad) < 0  # 0.7 should become 1


def wrong_name(fields: Fields, grid: Grid) -> Tensor:
    return fields["k"]


def one_number(fields: Fields, grid: Grid) -> Tensor:
    return fields["u"].mean()


def test_refusals(data: Dataset) -> None:
    task = Supervised(data.train, ["a"], ["u"])
    model = Looked(task)
    with pytest.raises(ConfigError, match="asks for 'k'; the fields are a, u"):
        Physics(wrong_name, task).check(model)
    with pytest.raises(ShapeError, match=r"'physics' must be \(1, ...\)"):
        Physics(one_number, task).check(model)
    with pytest.raises(ConfigError, match="no samples in this split"):
        Physics(darcy, task, inputs=data.valid)
    with pytest.raises(ConfigError, match="batch_size >= 1"):
        Physics(darcy, task, batch_size=0)
