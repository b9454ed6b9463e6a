"""What holds for every optimizer that is offered; a new one enters by its line in `__all__`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml import optimizers
from sciml.description import build, describe
from sciml.errors import DivergedError
from sciml.objective import Batch, Objective, Term
from sciml.run import Run
from sciml.streams import Streams
from sciml.trainer import Phase, Trainer

pytest.importorskip("pytorch_optimizer", reason="SOAP: pip install sciml-pde[opt]")

# Settings for a small network and few steps, where the defaults are for long runs.
SETTINGS: dict[str, dict[str, Any]] = {
    "EnergyNaturalGradient": {"iterations": 1, "cutoff": 1e-6, "damping": 1e-6, "momentum": 0.3},
    "LBFGS": {"iterations": 2},
    "LevenbergMarquardt": {"iterations": 1, "momentum": 0.3},
    "MultiAdam": {"lr": 3e-2},
    "Muon": {"lr": 3e-2},
    "NystromNewtonCG": {"iterations": 1, "rank": 5, "every": 2, "products": 20},
    "Polyak": {"lr": 0.1},
    "SelfScaledBroyden": {"iterations": 2},
    "soap": {"lr": 3e-2},
}
FIRST_ORDER = {"MultiAdam", "Muon", "Polyak", "soap"}
EACH = pytest.mark.parametrize("name", optimizers.__all__)


def factory(name: str) -> Any:
    return partial(getattr(optimizers, name), **SETTINGS.get(name, {}))


class Curve(Objective):
    """Fit a curve on new points at every step, and its ends."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        generator = streams.of("points").generator(step)
        return Batch({"x": 2 * torch.rand(24, 1, generator=generator, dtype=torch.float64) - 1})

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        x, ends = batch["x"], torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
        return {
            "fit": Term(self.factor * (model(x) - torch.sin(3 * x)), square=True),
            "ends": Term(model(ends) - torch.sin(3 * ends), 2.0, square=True),
        }


def network() -> nn.Module:
    with Streams(1).of("init").applied():
        return nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1)).double()


def bits(run: Run) -> list[Any]:
    weights = [p.detach().numpy().tobytes() for p in run.model.parameters()]
    return [weights, [(row["step"], row["loss"], row.get("stopped")) for row in run.history]]


@EACH
def test_resumed_in_the_middle_it_has_the_same_bits(name: str, tmp_path: Path) -> None:
    """After a phase of Adam, on other points at every step, from a checkpoint inside the second phase."""
    phases = [Phase(partial(torch.optim.Adam, lr=1e-2), 2), Phase(factory(name), 6)]
    trainer = Trainer(optimizer=phases)
    whole = trainer.fit(network(), Curve())
    for step in trainer.iterate(network(), Curve(), output=tmp_path / "run", every=5):
        if step.number == 7:  # abandoned, as by a kill
            break
    torch.manual_seed(1)  # nothing may depend on the global generator
    assert bits(trainer.fit(network(), Curve(), output=tmp_path / "run", every=5)) == bits(whole)


@EACH
def test_it_lowers_the_loss_and_tells_its_terms(name: str) -> None:
    run = Trainer(40 if name in FIRST_ORDER else 10, optimizer=factory(name)).fit(network(), Curve())
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]
    for row in run.history:
        assert row["fit"] + row["ends"] == pytest.approx(row["loss"], rel=1e-12)
        assert row["unweighted"]["ends"] == pytest.approx(row["ends"] / 2, rel=1e-12)


@EACH
def test_parts_of_a_batch_give_the_steps_of_the_whole(name: str) -> None:
    found = [
        Trainer(2, optimizer=factory(name), accumulate=parts).fit(network(), Whole()).model
        for parts in (1, 3)
    ]
    for one, other in zip(found[0].parameters(), found[1].parameters(), strict=True):
        # Sums round differently, which curvature of some parts in 1e4 makes larger.
        torch.testing.assert_close(one, other, rtol=0, atol=1e-8)


class Whole(Curve):
    """Its ends belong to every part."""

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        return super().draw(0, model, streams)


@pytest.mark.parametrize("name", sorted({*optimizers.__all__} - {"soap"}))  # that of others fails by itself
def test_a_loss_that_is_not_finite_stops_the_training(name: str) -> None:
    with pytest.raises(DivergedError, match="the loss is nan at step 1"):
        Trainer(2, optimizer=factory(name)).fit(network(), Curve(float("nan")))


@EACH
def test_it_is_made_again_from_its_description(name: str) -> None:
    again: Any = build(describe(Trainer(2, optimizer=factory(name))))
    assert again.phases[0].optimizer.func is getattr(optimizers, name)
    assert again.phases[0].optimizer.keywords == SETTINGS.get(name, {})


@EACH
def test_those_that_use_curvature_warn_of_float32(name: str) -> None:
    parameters: list[Tensor] = [torch.zeros(2, requires_grad=True)]
    if name in FIRST_ORDER:
        factory(name)(parameters)
        return
    with pytest.warns(UserWarning, match=f"{name}: in float32.*double"):
        factory(name)(parameters)
