"""Parameters (FSDP2) or optimizer states (ZeRO) spread over two processes: the training of one process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

SCRIPT = Path(__file__).with_name("sharding_child.py")
OTHERS = ("cp", "separable", "blocks", "ffno", "symmetrized")


def run_twice(*command: str) -> None:
    """As torchrun would start them, without its own start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
    }
    children = [
        subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **settings, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    answers = [process.communicate()[1] for process in children]
    assert [process.returncode for process in children] == [0, 0], answers


def assert_close(got: Tensor, expected: Tensor, tolerance: float) -> None:
    atol = tolerance * float(expected.abs().max())
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def check(folder: Path, dtype: str, names: tuple[str, ...], tolerance: float) -> None:
    run_twice(str(SCRIPT), str(folder), dtype, *names)
    for name in names:
        alone = load_file(folder / f"{name}-alone-0.safetensors")
        assert alone["norms"].min() > 0.04  # every step was clipped, by the norm over all shards
        assert alone["losses"].diff().abs().max() > 0.01
        for method in ("fsdp", "zero"):
            first, second = (load_file(folder / f"{name}-{method}-{rank}.safetensors") for rank in (0, 1))
            assert set(first) == set(alone)
            for key in first:
                if not key.startswith("held."):
                    assert_close(first[key], alone[key], tolerance)
            for key in ("losses", "norms", "prediction"):
                assert_close(second[key], alone[key], tolerance)
            for held in ("parameters", "moments") if method == "fsdp" else ("moments",):
                shares = first[f"held.{held}"], second[f"held.{held}"]
                assert sum(shares) == pytest.approx(1.0)
                assert max(shares) < 0.6  # small tensors: not quite half


def test_sharded_training_is_the_training_of_one_process(tmp_path: Path) -> None:
    """A gradient of rounding error 1e-9 in float32 moves a parameter by at most 5 lr 1e-9 / eps = 5e-6."""
    check(tmp_path, "float32", ("fno", "tfno"), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_so_is_that_of_every_operator_and_weight(tmp_path: Path, dtype: str, tolerance: float) -> None:
    """In float64 rounding moves a parameter by at most 5 lr 1e-17 / eps = 5e-14."""
    check(tmp_path, dtype, ("fno", "tfno", *OTHERS), tolerance)


@pytest.mark.slow
def test_the_script_in_the_documentation_runs(tmp_path: Path) -> None:
    text = Path(__file__).parents[2].joinpath("docs", "sharding.md").read_text(encoding="utf-8")
    script = tmp_path / "train.py"
    script.write_text(text.split("```python\n")[1].split("```")[0], encoding="utf-8")
    run_twice(str(script))
