"""Two gloo processes against one: the same losses to rounding of float64, also if their number changes."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sciml import processes
from sciml.dataset import write_dataset
from sciml.grid import Grid
from sciml.objective import Batch, Term
from sciml.schema import Field

SCRIPT = Path(__file__).with_name("distributed_child.py")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "noise.h5"
    arrays = np.random.default_rng(0).standard_normal((2, 11, 8, 8))
    states = np.random.default_rng(1).standard_normal((11, 7, 8, 8))
    fields = [
        (Field("a", "input"), arrays[0]),
        (Field("u", "output"), arrays[1]),
        (Field("w", "state", time=True), states),
    ]
    split = np.zeros(11, dtype=np.int8)
    write_dataset(path, grid=Grid.box((8, 8)), fields=fields, split=split, times=range(7))
    return path


def train(count: int, data: Path, folder: Path, *stop: str) -> dict[str, list[Any]]:
    """Several processes get the variables that torchrun sets, without its own start; one is this one."""
    if count == 1:
        spec = importlib.util.spec_from_file_location("distributed_child", SCRIPT)
        assert spec is not None and spec.loader is not None
        child = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(child)
        alone: dict[str, list[Any]] = child.train(data, folder, *map(int, stop))
        return alone
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(data), str(folder), *stop],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "OMP_NUM_THREADS": "1",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "WORLD_SIZE": str(count),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    answers = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0] * count, answers
    losses: dict[str, list[Any]] = json.loads(answers[0][0].splitlines()[-1])
    return losses


def assert_same(one: dict[str, list[Any]], two: dict[str, list[Any]]) -> None:
    for name in one:
        assert len(one[name]) == len(two[name]) == 50
        for (loss_1, judged_1), (loss_2, judged_2) in zip(one[name], two[name], strict=True):
            assert loss_1 == pytest.approx(loss_2, rel=1e-12)
            assert judged_1 == (None if judged_2 is None else pytest.approx(judged_2, rel=1e-12))


def test_two_processes_train_as_one_does(data: Path, tmp_path: Path) -> None:
    one = train(1, data, tmp_path / "one")
    two = train(2, data, tmp_path / "two")
    assert_same(one, two)
    changed = tmp_path / "changed"
    train(1, data, changed, "13")  # abandoned there: the next one goes on from step 10
    train(2, data, changed, "33")
    assert_same(one, train(1, data, changed))


def test_a_single_process_sends_nothing() -> None:
    values = torch.arange(3.0, requires_grad=True)
    assert (processes.count(), processes.rank()) == (1, 0)
    assert torch.equal(processes.add_up(values), values)
    assert processes.tell({"a": 1}) == {"a": 1}
    batch = Batch({"x": values})
    assert processes.own_part(batch) is batch
    assert processes.means({"t": Term(values, weight=2.0)})["t"].item() == 2.0
    with processes.joined():
        assert processes.count() == 1


@pytest.mark.slow
def test_torchrun_trains_from_the_command_line(data: Path, tmp_path: Path) -> None:
    """Ten seconds, most of them the launcher's: one JSON object, one report, the weights of one process."""
    weights = []
    for count in (1, 2):
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        settings = ["--steps", "5", "--set", "modes=2", "--set", "width=4", "--inputs", "a", "--outputs", "u"]
        run = subprocess.run(
            [sys.executable, *launcher, "-m", "sciml", "train", str(data), *settings]
            + ["--json", "--output", str(tmp_path / str(count))],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        (line,) = [line for line in run.stdout.splitlines() if line.startswith("{")]
        assert json.loads(line)["run"] == str(tmp_path / str(count))
        assert (tmp_path / str(count) / "report.html").exists()
        weights.append(load_file(tmp_path / str(count) / "surrogate" / "weights.safetensors"))
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-4, atol=1e-5)  # float32, five steps
