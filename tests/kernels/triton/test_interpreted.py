"""The Triton kernels on the CPU, in Triton's interpreter, against plain torch."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("interpreted.py")


def load() -> ModuleType:
    """The script as a module, for the names of its checks."""
    spec = importlib.util.spec_from_file_location("triton_checks", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


CHECKS = load()
QUICK = [name for name in CHECKS.CHECKS if name not in CHECKS.SLOW]
Results = dict[str, dict[str, Any]]


def run(names: list[str], folder: Path) -> Results:
    """One process for many checks: importing torch and Triton costs more than most of them."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(folder)}
    child = subprocess.run(
        [sys.executable, "-P", str(SCRIPT), *names],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert child.returncode == 0, child.stdout + child.stderr
    return {result["name"]: result for result in map(json.loads, child.stdout.splitlines())}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run(QUICK, tmp_path_factory.mktemp("triton"))


def judge(result: dict[str, Any]) -> None:
    if result["skip"] is not None:
        pytest.skip(result["skip"])
    assert result["failure"] is None, result["failure"]


@pytest.mark.parametrize("name", QUICK)
def test_in_the_interpreter(name: str, quick: Results) -> None:
    judge(quick[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS.SLOW)
def test_in_the_interpreter_at_length(name: str, tmp_path: Path) -> None:
    judge(run([name], tmp_path)[name])
