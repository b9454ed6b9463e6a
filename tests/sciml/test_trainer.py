from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from sciml.checkpoints import Checkpoints, flatten, unflatten
from sciml.description import build, describe
from sciml.errors import CheckpointError, ConfigError, DivergedError, RunLockedError
from sciml.kernels import FactoredAdam, WideLinear
from sciml.objective import Batch, Objective, Term
from sciml.run import RunFolder
from sciml.signals import Interrupted
from sciml.streams import Streams
from sciml.trainer import EarlyStop, Phase, Trainer


class Sine(Objective):
    """Fit sin on random points, the same 8 for everybody at a given step."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        x = 3 * torch.rand(8, 1, generator=streams.of("points").generator(step))
        return Batch({"x": x})

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        return {"fit": Term(self.scale * (model(batch["x"]) - torch.sin(batch["x"])), square=True)}


class Network(nn.Module):
    """With dropout, so that the global generator matters."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        with Streams(3).of("init").applied():
            self.layers = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def losses(history: list[dict[str, Any]]) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in history]


def test_loop_equals_the_loop_written_out() -> None:
    model, twin, streams = Network(0.0), Network(0.0), Streams(5)
    run = Trainer(20, optimizer=partial(Adam, lr=1e-2), seed=5).fit(model, Sine())
    optimizer = Adam(twin.parameters(), lr=1e-2)
    for step in range(20):
        x = Sine().draw(step, twin, streams)["x"]
        loss = (twin(x) - torch.sin(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert run.history[step]["loss"] == loss.item()
    assert torch.equal(weights(model), weights(twin))


def test_accumulation_gives_the_gradient_of_the_whole_batch() -> None:
    runs = [
        Trainer(5, optimizer=partial(SGD, lr=0.1), accumulate=count).fit(Network(0.0), Sine())
        for count in (1, 4)
    ]
    # Four partial sums instead of one: rounding of float32 only, 1e-7 per step.
    torch.testing.assert_close(weights(runs[0].model), weights(runs[1].model), rtol=1e-5, atol=1e-6)
    with pytest.raises(ConfigError, match="accumulate=3 does not divide the 8"):
        Trainer(5, accumulate=3).fit(Network(), Sine())


def test_clipping_bounds_the_step() -> None:
    model = Network()
    before = weights(model)
    Trainer(1, optimizer=partial(SGD, lr=1.0), clip=1e-3).fit(model, Sine(scale=100.0))
    # clip_grad_norm_ divides by norm + 1e-6; the gradient is of size 1e3 here.
    assert (weights(model) - before).norm().item() == pytest.approx(1e-3, rel=1e-4)


def test_an_optimizer_clips_the_gradients_that_it_keeps_as_factors() -> None:
    def trained(optimizer: Any) -> Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(WideLinear(3, 8), nn.Tanh(), nn.Linear(8, 3)).double()
        return weights(Trainer(5, optimizer=optimizer, clip=1e-2).fit(model, Cube()).model)

    # Adam shrinks with the gradients only through its eps, so that one is large here. The same sums in
    # another order, and clip_grad_norm_ divides by norm + 1e-6: relative to a norm of 1, six digits.
    settings = {"lr": 1e-2, "eps": 1e-2}
    torch.testing.assert_close(
        trained(partial(FactoredAdam, **settings)), trained(partial(Adam, **settings)), rtol=0, atol=1e-6
    )


class Cube(Objective):
    """u(x) = x^3 on three coordinates."""

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        return Batch({"x": torch.rand(8, 3, generator=streams.of("points").generator(step)).double()})

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        return {"fit": Term(model(batch["x"]) - batch["x"] ** 3, square=True)}


def test_moving_average_is_returned_and_validated() -> None:
    decay, model, twin = 0.5, Network(0.0), Network(0.0)
    seen: list[Tensor] = []

    def judge(judged: nn.Module) -> dict[str, float]:
        assert not judged.training
        seen.append(weights(judged))
        return {"score": 0.0}

    run = Trainer(4, optimizer=partial(SGD, lr=0.1), ema=decay).fit(model, Sine(), validation=judge, every=1)
    average = None
    for step in Trainer(4, optimizer=partial(SGD, lr=0.1)).iterate(twin, Sine()):
        now = weights(twin)
        average = now if average is None else decay * average + (1 - decay) * now
        torch.testing.assert_close(seen[step.number - 1], average)
    assert torch.equal(weights(run.model), seen[-1])
    assert torch.equal(weights(model), weights(twin))


def test_schedules_and_phases_follow_each_other() -> None:
    phases = [
        Phase(partial(SGD, lr=0.1), 4, partial(CosineAnnealingLR, T_max=4)),
        Phase(partial(SGD, lr=0.5), 2),
    ]
    run = Trainer(optimizer=phases).fit(Network(), Sine())
    expected = [0.1 * (1 + math.cos(math.pi * i / 4)) / 2 for i in range(4)] + [0.5, 0.5]
    assert [row["lr"] for row in run.history] == pytest.approx(expected)


def test_bf16_runs_the_model_under_autocast() -> None:
    class Spy(Network):
        def forward(self, x: Tensor) -> Tensor:
            result = super().forward(x)
            assert result.dtype is torch.bfloat16
            return result.float()

    run = Trainer(3, precision="bf16").fit(Spy(), Sine())
    assert all(p.dtype is torch.float32 for p in run.model.parameters())


def test_early_stop_returns_the_best_weights() -> None:
    scores = iter([3.0, 1.0, 2.0, 2.0, 0.0])
    seen: list[Tensor] = []

    def judge(model: nn.Module) -> dict[str, float]:
        seen.append(weights(model))
        return {"error": next(scores)}

    run = Trainer(50).fit(
        Network(), Sine(), validation=judge, every=2, stop=EarlyStop(patience=2, metric="error")
    )
    assert run.history[-1]["step"] == 8
    assert torch.equal(weights(run.model), seen[1])
    with pytest.raises(ConfigError, match="no metric 'wrong'; it has error"):
        Trainer(2).fit(Network(), Sine(), validation=lambda m: {"error": 1.0}, stop=EarlyStop(2, "wrong"))


def test_divergence_names_step_last_loss_and_remedy() -> None:
    with pytest.raises(DivergedError, match=r"at step \d+; the last finite loss was .*clip=1\.0"):
        Trainer(500, optimizer=partial(SGD, lr=1e6)).fit(Network(), Sine())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs steps"),
        ({"steps": 0}, "at least one step"),
        ({"steps": 5, "accumulate": 0}, "accumulate >= 1"),
        ({"steps": 5, "ema": 1.0}, "0 < ema < 1"),
        ({"steps": 5, "clip": 0.0}, "clip > 0"),
        ({"steps": 5, "precision": "half"}, "'float32' or 'bf16'"),
        ({"steps": 5, "optimizer": [Phase(SGD, 3)]}, "phases bring their own steps"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Trainer(**settings)


def test_trainer_is_described_and_built() -> None:
    trainer = Trainer(
        optimizer=[
            Phase(
                partial(AdamW, lr=1e-3, betas=(0.9, 0.99)), 4, partial(OneCycleLR, max_lr=1e-2, total_steps=4)
            )
        ],
        clip=1.0,
        seed=7,
    )
    again = build(describe(trainer))
    assert describe(again) == describe(trainer)
    assert losses(again.fit(Network(), Sine()).history) == losses(trainer.fit(Network(), Sine()).history)


# The run folder.

TRAINER = Trainer(
    30, optimizer=partial(AdamW, lr=1e-2), schedule=partial(CosineAnnealingLR, T_max=30), ema=0.9
)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensor, list[tuple[int, float]]]:
    run = TRAINER.fit(Network(), Sine(), output=tmp_path_factory.mktemp("unbroken"), every=4)
    return weights(run.model), losses(run.history)


@pytest.mark.parametrize("steps", [1, 3, 4, 13, 29])
def test_unfinished_run_is_resumed_to_the_same_bits(steps: int, unbroken: Any, tmp_path: Path) -> None:
    for step in TRAINER.iterate(Network(), Sine(), output=tmp_path, every=4):
        if step.number == steps:
            break
    other = Network()
    nn.init.zeros_(other.layers[0].weight)  # type: ignore[arg-type]
    run = TRAINER.fit(other, Sine(), output=tmp_path, every=4)
    assert torch.equal(weights(run.model), unbroken[0])
    assert losses(run.history) == unbroken[1]
    assert losses(RunFolder(tmp_path).history()) == unbroken[1]


def test_finished_run_is_returned_without_training(unbroken: Any, tmp_path: Path) -> None:
    TRAINER.fit(Network(), Sine(), output=tmp_path, every=4)
    stamp = (tmp_path / "run.json").stat().st_mtime_ns
    steps = list(TRAINER.iterate(model := Network(), Sine(), output=tmp_path, every=4))
    assert steps == []
    run = TRAINER.fit(model, Sine(), output=tmp_path, every=4)
    assert torch.equal(weights(run.model), unbroken[0])
    assert losses(run.history) == unbroken[1]
    assert (tmp_path / "run.json").stat().st_mtime_ns == stamp


def test_other_settings_in_the_same_folder_are_refused_by_name(tmp_path: Path) -> None:
    TRAINER.fit(Network(), Sine(), output=tmp_path, every=4)
    other = Trainer(
        31, optimizer=partial(AdamW, lr=2e-2), schedule=partial(CosineAnnealingLR, T_max=30), ema=0.9
    )
    with pytest.raises(
        ConfigError, match=r"trainer\.steps: 30 there, 31 now; trainer\.optimizer\.lr: 0\.01 there"
    ):
        other.fit(Network(), Sine(), output=tmp_path, every=4)
    assert len(other.fit(Network(), Sine(), output=tmp_path, every=4, force=True).history) == 31


def test_folder_held_by_a_live_process_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.acquire()
    with pytest.raises(RunLockedError, match=rf"pid {os.getpid()} on "):
        TRAINER.fit(Network(), Sine(), output=tmp_path)
    folder.release()
    TRAINER.fit(Network(), Sine(), output=tmp_path)


def test_lock_of_a_killed_process_does_not_stay(tmp_path: Path) -> None:
    code = (
        "import sys, time; from sciml.run import RunFolder; folder = RunFolder(sys.argv[1]);"
        "folder.acquire(); print(1, flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=root
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(RunLockedError, match=f"pid {child.pid} on "):
            RunFolder(tmp_path).acquire()
        child.kill()
    folder = RunFolder(tmp_path)
    folder.acquire()
    folder.release()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]
)
def test_signal_saves_a_checkpoint_and_exits(number: int, code: int, unbroken: Any, tmp_path: Path) -> None:
    before = signal.getsignal(number)
    training = TRAINER.iterate(Network(), Sine(), output=tmp_path, every=4)
    with pytest.raises(Interrupted) as caught:
        for step in training:
            if step.number == 10:
                os.kill(os.getpid(), number)
    assert caught.value.code == code
    # The signal came after step 10, so the boundary at which it stops is that of step 10 itself or the next.
    assert Checkpoints(tmp_path / "checkpoints").entries()[-1]["step"] in (10, 11)
    assert signal.getsignal(number) == before
    run = TRAINER.fit(Network(), Sine(), output=tmp_path, every=4)
    assert torch.equal(weights(run.model), unbroken[0])
    assert losses(run.history) == unbroken[1]


def test_a_signal_in_the_last_step_stops_what_follows(tmp_path: Path) -> None:
    training = TRAINER.iterate(Network(), Sine(), output=tmp_path, every=4)
    with pytest.raises(KeyboardInterrupt):
        for step in training:
            if step.number == TRAINER.steps:
                os.kill(os.getpid(), signal.SIGINT)
    assert training.finished
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        for _ in TRAINER.iterate(Network(), Sine(), output=tmp_path, every=4):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)


def test_damaged_checkpoint_is_noticed_and_the_one_before_it_used(unbroken: Any, tmp_path: Path) -> None:
    for step in TRAINER.iterate(Network(), Sine(), output=tmp_path, every=4):
        if step.number == 13:
            break
    newest = tmp_path / "checkpoints" / "step-00000012.safetensors"
    data = bytearray(newest.read_bytes())
    data[-5] ^= 1
    newest.write_bytes(data)
    run = TRAINER.fit(Network(), Sine(), output=tmp_path, every=4)
    assert torch.equal(weights(run.model), unbroken[0])
    assert losses(run.history) == unbroken[1]


def test_folder_with_nothing_but_damaged_checkpoints_is_refused(tmp_path: Path) -> None:
    TRAINER.fit(Network(), Sine(), output=tmp_path, every=4)
    for path in (tmp_path / "checkpoints").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="every checkpoint in .* is damaged"):
        TRAINER.fit(Network(), Sine(), output=tmp_path, every=4)


def test_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    class Wide(nn.Linear):
        def extra_repr(self) -> str:
            return ""  # hides the difference, which would be noticed before any checkpoint is read

    with Streams(0).of("init").applied():
        one, two = Wide(1, 1), Wide(1, 1, bias=False)
    for _ in Trainer(3).iterate(one, Sine(), output=tmp_path, every=1):
        break
    with pytest.raises(CheckpointError, match="does not fit this model and optimizer"):
        Trainer(3).fit(two, Sine(), output=tmp_path, every=1)


def test_other_thread_count_is_said(tmp_path: Path) -> None:
    for _ in Trainer(3).iterate(Network(), Sine(), output=tmp_path, every=1):
        break
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.warns(UserWarning, match=f"begun with {threads} threads and goes on with {threads + 1}"):
            Trainer(3).fit(Network(), Sine(), output=tmp_path, every=1)
    finally:
        torch.set_num_threads(threads)


def test_state_keeps_types_and_bits() -> None:
    state = {
        0: [1, 2.5, float("inf"), True, None, "text"],
        "nested": {"t": (torch.arange(3), torch.tensor(1.5, dtype=torch.float64))},
        "shared": torch.zeros(4)[::2],
    }
    tensors: dict[str, Tensor] = {}
    again = unflatten(flatten(state, tensors), tensors)
    assert again[0] == state[0]
    assert isinstance(again["nested"]["t"], tuple)
    assert torch.equal(again["nested"]["t"][1], torch.tensor(1.5, dtype=torch.float64))
    with pytest.raises(CheckpointError, match=r"state\.f is a function"):
        flatten({"f": losses}, {})


def test_model_without_parameters_is_refused() -> None:
    with pytest.raises(ConfigError, match="no trainable parameters"):
        Trainer(1).fit(nn.Identity(), Sine())


def test_other_structure_of_a_users_model_is_other_settings(tmp_path: Path) -> None:
    """Its constructor's arguments are not known, but what it prints is."""
    Trainer(2).fit(Network(0.1), Sine(), output=tmp_path)
    with pytest.raises(ConfigError, match=r"other settings \(model\.structure:"):
        Trainer(2).fit(Network(0.3), Sine(), output=tmp_path)
