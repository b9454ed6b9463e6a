"""The Triton kernels on the CPU, in Triton's interpreter, against plain torch."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("interpreted.py")


def checks(file: str) -> tuple[list[str], list[str]]:
    """Names of the functions of a file, read without running it: those for every run, and the slow ones."""
    tree = ast.parse(SCRIPT.with_name(file).read_text(encoding="utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    (slow,) = (ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
    return [name for name in names if name not in slow], sorted(slow)


FILES = [checks(file) for file in ("value_checks.py", "rule_checks.py", "jet_checks.py")]
QUICK = [name for quick, _ in FILES for name in quick]
SLOW = [name for _, slow in FILES for name in slow]
Results = dict[str, dict[str, Any]]


def run(names: list[str], folder: Path) -> Results:
    """One process for many checks: importing torch and Triton costs more than most of them."""
    if find_spec("triton") is None:
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
@pytest.mark.parametrize("name", SLOW)
def test_in_the_interpreter_at_length(name: str, tmp_path: Path) -> None:
    judge(run([name], tmp_path)[name])
