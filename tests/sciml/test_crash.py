"""Killed at any instant, a run that is started again ends with the bits of an unbroken one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sciml.checkpoints import Checkpoints
from sciml.dataset import write_dataset
from sciml.grid import Grid
from sciml.run import RunFolder
from sciml.schema import Field

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the children are forked")

STEPS = 4  # for the enumerated points: saves at 0, 2 and 4
LONG = 200  # for random instants: half a second, twenty-one saves


class Nursery:
    """One process that has torch loaded and forks a child for each training."""

    def __init__(self, data: Path) -> None:
        script = Path(__file__).with_name("crash_child.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert self._answer("ready") == 0

    def _answer(self, kind: str) -> int:
        """The number behind ``kind``: a status must never be taken for a process number."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().split()
        assert line[:1] == [kind], line
        return int(line[1])

    def start(self, output: Path, *, steps: int, workers: int = 0, point: int | None = None) -> int:
        assert self.process.stdin is not None
        order = {"output": str(output), "workers": workers, "point": point, "steps": steps}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._answer("child")

    def status(self) -> int:
        return self._answer("status")

    def run(self, output: Path, **order: Any) -> int:
        self.start(output, **order)
        return self.status()

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    data = tmp_path_factory.mktemp("data") / "noise.h5"
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((2, 12, 8, 8)).astype(np.float32)
    fields = [(Field("a", "input"), arrays[0]), (Field("u", "output"), arrays[1])]
    write_dataset(data, grid=Grid.box((8, 8)), fields=fields, split=np.zeros(12, dtype=np.int8))
    nursery = Nursery(data)
    yield nursery
    nursery.close()


def result(folder: Path, *, surrogate: bool = True) -> tuple[Any, ...]:
    """Everything that must not differ: the whole training state, the losses, the surrogate."""
    run = RunFolder(folder)
    record = run.read()
    assert record is not None
    assert record["status"] == "finished"
    loaded = Checkpoints(folder / "checkpoints").load()
    assert loaded is not None
    _, state = loaded
    state.pop("seconds"), state.pop("waited")
    losses = [{k: v for k, v in row.items() if k not in ("seconds", "waited")} for row in run.history()]
    weights = (folder / "surrogate" / "weights.safetensors").read_bytes() if surrogate else b""
    stray = [path.name for path in folder.rglob("*") if ".part" in path.name or ".old" in path.name]
    return _bits(state), losses, hashlib.sha256(weights).hexdigest(), stray


def _bits(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bits(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bits(item) for item in value]
    return value.numpy().tobytes() if hasattr(value, "numpy") else value


@pytest.fixture(scope="module")
def unbroken(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Any, ...]]:
    folder = tmp_path_factory.mktemp("unbroken")
    results = {}
    for steps in (STEPS, LONG):
        assert nursery.run(folder / str(steps), steps=steps) == 0
        results[steps] = result(folder / str(steps))
    return results


@pytest.mark.parametrize("stride", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_points_of_the_save_protocol(
    stride: int, nursery: Nursery, unbroken: Any, tmp_path: Path
) -> None:
    """Every sixth, which over the saves of a run meets every kind of step; all of them in the long form."""
    assert nursery.run(tmp_path / "counted", steps=STEPS, point=-1) == 0
    points = int((tmp_path / "counted.count").read_text())
    # Three checkpoints of at least 8 points each, run.json twice, the surrogate.
    assert points >= 3 * 8 + 2 * 4
    for point in range(1, points + 1, stride):
        folder = tmp_path / str(point)
        assert nursery.run(folder, steps=STEPS, point=point) == -signal.SIGKILL
        assert nursery.run(folder, steps=STEPS) == 0
        assert result(folder) == unbroken[STEPS], f"differs after a kill at point {point} of {points}"


@pytest.mark.parametrize("most", [4, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_random_instants(
    workers: int, most: int, nursery: Nursery, unbroken: Any, tmp_path: Path
) -> None:
    """Kills for each number of workers, up to five in one run, all of them while it trains."""
    rng, kills, folder = random.Random(workers), 0, tmp_path
    while kills < most:
        folder = tmp_path / f"after-{kills}"
        for _ in range(5):
            pid = nursery.start(folder, steps=LONG, workers=workers)
            time.sleep(rng.uniform(0.05, 0.4))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            if nursery.status() == 0:  # it had finished before the kill
                break
            kills += 1
        assert nursery.run(folder, steps=LONG, workers=workers) == 0
        got = result(folder)
        assert got == unbroken[LONG]


@pytest.mark.parametrize("most", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_pinn_killed_at_random_instants(most: int, nursery: Nursery, tmp_path: Path) -> None:
    """Adaptive points, a trainable coefficient and the phase change from Adam to L-BFGS: the same bits."""
    assert nursery.run(tmp_path / "unbroken", steps=0) == 0
    expected = result(tmp_path / "unbroken", surrogate=False)
    rng, kills = random.Random(7), 0
    while kills < most:
        folder = tmp_path / f"after-{kills}"
        for _ in range(3):
            pid = nursery.start(folder, steps=0)
            time.sleep(rng.uniform(0.1, 0.6))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            if nursery.status() == 0:
                break
            kills += 1
        assert nursery.run(folder, steps=0) == 0
        assert result(folder, surrogate=False) == expected


def test_terminated_it_exits_with_75_and_a_checkpoint(
    nursery: Nursery, unbroken: Any, tmp_path: Path
) -> None:
    pid = nursery.start(tmp_path / "run", steps=LONG, workers=2)
    while len(rows := RunFolder(tmp_path / "run").history()) < 3:
        time.sleep(0.005)
    os.kill(pid, signal.SIGTERM)
    assert nursery.status() == 75
    step = Checkpoints(tmp_path / "run" / "checkpoints").entries()[-1]["step"]
    history = RunFolder(tmp_path / "run").history()
    assert step == history[-1]["step"] >= len(rows)
    assert nursery.run(tmp_path / "run", steps=LONG, workers=2) == 0
    assert result(tmp_path / "run") == unbroken[LONG]
