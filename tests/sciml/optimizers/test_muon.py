"""Muon: its step against the singular value decomposition, its symmetries, and Adam for what is no matrix."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.description import build, describe
from sciml.errors import ConfigError
from sciml.objective import Batch, Objective, Term
from sciml.optimizers import Muon
from sciml.optimizers.muon import orthogonal
from sciml.streams import Streams
from sciml.trainer import Trainer


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def turned(rows: int, columns: int, spectrum: Tensor, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """U S V^T with these singular values, U and V."""
    u = torch.linalg.qr(random(rows, rows, seed=seed))[0]
    v = torch.linalg.qr(random(columns, columns, seed=seed + 1))[0][:, :rows]
    return u @ torch.diag(spectrum) @ v.T, u, v


def moved(start: Tensor, gradients: list[Tensor], **settings: Any) -> Tensor:
    x = start.clone().requires_grad_()
    optimizer = Muon([x], **settings)
    for gradient in gradients:
        x.grad = gradient.clone()
        optimizer.step()
    return x.detach()


def test_singular_vectors_stay_and_singular_values_become_about_one() -> None:
    """Between 0.67 and 1.21, the range of the polynomial applied five times from 0.0015 of the norm on."""
    x, u, v = turned(6, 9, torch.logspace(0, -2.6, 6, dtype=torch.float64))
    found = u.T @ orthogonal(x[None])[0] @ v
    assert float(found.diagonal().min()) > 0.67 and float(found.diagonal().max()) < 1.21
    torch.testing.assert_close(found, torch.diag(found.diagonal()), rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (6, 6)])
def test_the_step_of_the_paper(shape: tuple[int, int]) -> None:
    gradients = [random(*shape, seed=seed) for seed in (3, 4)]
    start, mean = random(*shape), torch.zeros(shape, dtype=torch.float64)
    expected = start
    for gradient in gradients:
        mean = 0.9 * mean + gradient
        push = gradient + 0.9 * mean
        flat = push if shape[0] <= shape[1] else push.T
        step = orthogonal(flat[None])[0]
        step = step if shape[0] <= shape[1] else step.T
        expected = (1 - 0.1 * 0.5) * expected - 0.1 * max(1.0, shape[0] / shape[1]) ** 0.5 * step
    found = moved(start, gradients, lr=0.1, momentum=0.9, weight_decay=0.5)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_size_of_gradients_and_turns_of_axes_play_no_part() -> None:
    start, gradient = torch.zeros(6, 6, dtype=torch.float64), random(6, 6)
    plain = moved(start, [gradient], lr=0.1)
    torch.testing.assert_close(moved(start, [1e-6 * gradient], lr=0.1), plain, rtol=0, atol=1e-12)
    left, right = (torch.linalg.qr(random(6, 6, seed=seed))[0] for seed in (5, 6))
    torch.testing.assert_close(
        moved(start, [left @ gradient @ right], lr=0.1), left @ plain @ right, rtol=0, atol=1e-12
    )


def test_matrices_that_are_turned_together_do_not_see_each_other() -> None:
    shapes = [(4, 6), (6, 4), (4, 6), (5, 5)]
    together = [random(*shape, seed=k).requires_grad_() for k, shape in enumerate(shapes)]
    for k, x in enumerate(together):
        x.grad = random(*shapes[k], seed=k + 10)
    Muon(together).step()
    for k, x in enumerate(together):
        alone = moved(random(*shapes[k], seed=k), [random(*shapes[k], seed=k + 10)])
        torch.testing.assert_close(x.detach(), alone, rtol=0, atol=1e-14)


@pytest.mark.parametrize("shape", [(7,), (3, 8), (2, 5, 5)])
def test_what_is_no_large_matrix_is_left_to_adam(shape: tuple[int, ...]) -> None:
    gradients = [random(*shape, seed=seed) for seed in range(4)]
    x = random(*shape).requires_grad_()
    adam = torch.optim.AdamW([x], lr=0.03, betas=(0.8, 0.9), weight_decay=0.1)
    for gradient in gradients:
        x.grad = gradient.clone()
        adam.step()
    found = moved(random(*shape), gradients, lr=0.1, ratio=0.3, betas=(0.8, 0.9), weight_decay=0.03)
    torch.testing.assert_close(found, x.detach(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (12, 1, 5), (5, 2, 2, 1, 2)])
def test_kernels_of_convolutions_are_matrices_with_a_row_for_each_output(shape: tuple[int, ...]) -> None:
    gradients = [random(*shape, seed=seed) for seed in (3, 4)]
    settings: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.2}
    found = moved(random(*shape), gradients, kernels=True, **settings)
    expected = moved(random(*shape).flatten(1), [g.flatten(1) for g in gradients], **settings)
    torch.testing.assert_close(found.flatten(1), expected, rtol=0, atol=0)
    assert not torch.equal(found, moved(random(*shape), gradients, **settings))


def test_no_gradient_no_step_and_a_zero_gradient_is_finite() -> None:
    x, y = random(5, 5).requires_grad_(), random(5, 5).requires_grad_()
    optimizer = Muon([x, y])
    y.grad = torch.zeros_like(y)
    optimizer.step()
    assert torch.equal(x, random(5, 5)) and torch.equal(y, random(5, 5))


class Cubic(Objective):
    """Fit a cubic on random points."""

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        generator = streams.of("points").generator(step)
        return Batch({"x": 2 * torch.rand(16, 1, generator=generator, dtype=torch.float64) - 1})

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        x = batch["x"]
        return {"fit": Term(model(x) - x**3 + x, square=True)}


def network() -> nn.Module:
    with Streams(1).of("init").applied():
        return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def test_a_training_with_matrices_learns_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    schedule = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.05, total_steps=60)
    trainer = Trainer(60, optimizer=partial(Muon, lr=0.05), schedule=schedule)
    whole = trainer.fit(network(), Cubic())
    assert whole.history[-1]["loss"] < 0.2 * whole.history[0]["loss"]
    for step in trainer.iterate(network(), Cubic(), output=tmp_path / "run", every=25):
        if step.number == 40:  # abandoned, as by a kill
            break
    again = trainer.fit(network(), Cubic(), output=tmp_path / "run", every=25)
    for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert isinstance(build(describe(trainer)), Trainer)


@pytest.mark.parametrize(
    "wrong", [{"lr": -1.0}, {"momentum": 1.0}, {"betas": (0.9, 1.0)}, {"smallest": 0}, {"ratio": -1.0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Muon: needs"):
        Muon([random(4, 4)], **wrong)


def test_complex_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="real"):
        Muon([torch.zeros(4, 4, dtype=torch.complex64)])
