"""SOAP through its library: what it must be in known cases, and that it resumes."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.description import build, describe
from sciml.errors import ConfigError
from sciml.objective import Batch, Objective, Term
from sciml.optimizers import soap
from sciml.streams import Streams
from sciml.trainer import Trainer

pytest.importorskip("pytorch_optimizer", reason="SOAP: pip install sciml-pde[opt]")


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


def weights(model: nn.Module) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in model.parameters()]


def descended(optimizer: torch.optim.Optimizer, x: Tensor, steps: int) -> None:
    # Unequal curvatures, turned against the axes of the matrix.
    basis = torch.linalg.qr(torch.arange(36.0, dtype=torch.float64).reshape(6, 6).cos())[0]
    scales = torch.logspace(0, 3, 6, dtype=torch.float64)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = 0.5 * ((basis @ x @ basis.T).square() * scales[:, None] * scales).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def test_without_axes_to_turn_it_is_adam() -> None:
    """After its first step, which gathers only."""
    start = torch.linspace(-1, 1, 36, dtype=torch.float64).reshape(6, 6)
    one, other = start.clone().requires_grad_(), start.clone().requires_grad_()
    descended(soap([one], lr=1e-2, betas=(0.9, 0.99), eps=1e-30, largest=1), one, 21)
    descended(torch.optim.Adam([other], lr=1e-2, betas=(0.9, 0.99), eps=1e-30), other, 20)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert (one - start).abs().max() > 0.1


def test_it_sees_through_a_rotation() -> None:
    """Curvatures up to 1e6 along turned axes: the loss that Adam leaves is many times larger."""
    left = []
    for make in (soap, torch.optim.Adam):
        x = torch.full((6, 6), 0.5, dtype=torch.float64, requires_grad=True)
        descended(make([x], lr=3e-2, betas=(0.9, 0.99)), x, 300)
        left.append(float(x.detach().norm()))
    assert left[0] < 0.02 * left[1]  # 0.0039 and 2.24


def test_the_bases_stay_orthonormal() -> None:
    x = torch.full((6, 6), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = soap([x], lr=1e-2)
    descended(optimizer, x, 500)
    for basis in optimizer.state[x]["Q"]:
        # Its factorization is made in float32.
        torch.testing.assert_close(basis.T @ basis, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_resumed_in_the_middle_gives_the_same_bits(steps: int, tmp_path: Path) -> None:
    trainer = Trainer(12, optimizer=partial(soap, lr=1e-2, frequency=3))
    whole = trainer.fit(network(), Cubic())
    for step in trainer.iterate(network(), Cubic(), output=tmp_path / "run", every=1):
        if step.number == steps:
            break
    resumed = trainer.fit(network(), Cubic(), output=tmp_path / "run", every=1)
    assert weights(resumed.model) == weights(whole.model)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    assert whole.history[-1]["loss"] < whole.history[0]["loss"]


def test_it_is_made_again_from_its_description() -> None:
    factory: Any = build(describe(partial(soap, lr=3e-3)))
    assert factory.func is soap and factory.keywords == {"lr": 3e-3}


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(2, requires_grad=True)
    with pytest.raises(ConfigError, match="frequency >= 1 and largest >= 1, got 0"):
        soap([x], frequency=0)
    with pytest.raises(ConfigError, match="soap: .*eta"):
        soap([x], betas=(1.5, 0.9))
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(ImportError, match=r"pip install \"sciml-pde\[opt\]\""):
        soap([x])
