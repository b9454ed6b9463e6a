"""Polyak's step: Kaczmarz of one residual, the same at any scale, never away from what solves every batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.objective import Batch, Objective, Term
from sciml.optimizers import Polyak
from sciml.streams import Streams
from sciml.trainer import Trainer

SOLUTION = torch.linspace(-1, 2, 6, dtype=torch.float64)


def closure(optimizer: Polyak, loss: Callable[[], Tensor]) -> Callable[[], float]:
    def called() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return float(value.detach())

    return called


def rows(count: int, seed: int) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_one_residual_is_projected_away() -> None:
    """Onto the plane where it is zero, along its normal: the step of Kaczmarz, whatever the factor."""
    a = rows(1, 0)[0]
    for factor in (1.0, 1e-6, 1e6):
        x = torch.ones(6, dtype=torch.float64, requires_grad=True)
        optimizer = Polyak([x])
        told = optimizer.step(closure(optimizer, lambda: factor * (a @ (x - SOLUTION)) ** 2))  # noqa: B023
        r = a @ (1 - SOLUTION)
        torch.testing.assert_close(x.detach(), 1 - r / a.square().sum() * a)
        assert told == pytest.approx(factor * float(r) ** 2)


@pytest.mark.parametrize("lr", [0.5, 1.0, 1.9])
def test_no_step_leads_away_from_what_solves_every_batch(lr: float) -> None:
    """|e_new|² = |e|² - lr (2 - lr) 4 f² / |g|², so that it falls in every step and goes to zero."""
    x = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    optimizer = Polyak([x], lr=lr)
    away = [float(SOLUTION.norm())]
    for step in range(300):
        if away[-1] < 1e-3 * away[0]:
            return
        a = rows(2, step)
        f = optimizer.step(closure(optimizer, lambda: (a @ (x - SOLUTION)).square().mean()))  # noqa: B023
        assert x.grad is not None
        expected = away[-1] ** 2 - lr * (2 - lr) * 4 * f**2 / float(x.grad.square().sum())
        away.append(float((x.detach() - SOLUTION).norm()))
        # Six weights of order 1, rounded to 1e-16 each.
        assert away[-1] ** 2 == pytest.approx(expected, rel=1e-9, abs=1e-14 * away[-2])
    pytest.fail(f"after 300 steps it is {away[-1]} away, {away[0]} before")


def test_groups_have_rates_of_their_own() -> None:
    """The length is that of the gradient by all of them; a rate of zero keeps its group."""
    still, moved = (torch.ones(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = Polyak([{"params": [still], "lr": 0.0}, {"params": [moved]}])
    optimizer.step(closure(optimizer, lambda: (still + moved).square().sum()))
    assert still.item() == 1.0
    assert moved.item() == pytest.approx(0.0)  # half of the way to -1, as if the other one went too


class Straight(Objective):
    """Fit a linear function on new points at every step."""

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        return Batch({"x": rows(4, step)})

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        return {"fit": Term(model(batch["x"])[:, 0] - batch["x"] @ SOLUTION, square=True)}


def test_in_the_trainer_it_solves_and_refuses_to_clip() -> None:
    model = nn.Linear(6, 1, bias=False).double()
    history = Trainer(150, optimizer=Polyak).fit(model, Straight()).history
    assert history[-1]["loss"] < 1e-10 * history[0]["loss"]
    torch.testing.assert_close(model.weight.detach()[0], SOLUTION, rtol=0, atol=1e-5)
    with pytest.raises(ConfigError, match="leave out clip=1"):
        Trainer(1, optimizer=Polyak, clip=1.0).fit(model, Straight())


def test_nothing_moves_without_a_gradient_and_wrong_rates_are_refused() -> None:
    x = torch.ones(3, requires_grad=True)
    optimizer = Polyak([x, torch.zeros(1, requires_grad=True)])
    optimizer.step(closure(optimizer, lambda: 0 * x.sum()))  # solved
    optimizer.step(closure(optimizer, lambda: 1 + 0 * x.sum()))  # flat
    assert torch.equal(x.detach(), torch.ones(3))
    for lr in (-1.0, float("nan")):
        with pytest.raises(ConfigError, match="lr >= 0, got"):
            partial(Polyak, lr=lr)([x])
