"""The benchmark in many dimensions: programs in other processes, in turns, and what happens without JAX."""

import sys

import pytest
import torch

from sciml.kernels.bench import high_dimension
from sciml.kernels.bench.harness import Effort, Missing
from sciml.kernels.bench.high_dimension import PARTS, Child, best_constant, jax_python
from sciml.kernels.bench.report import as_json, markdown
from sciml.kernels.bench.sine_gordon import Sketch

EFFORT = Effort(torch.device("cpu"), rounds=2, warmup=1, quick=True)
ECHO = """
import json, sys
print(json.dumps({"ready": "echo"}), flush=True)
for line in sys.stdin:
    print(json.dumps({"result": 2 * float(line.split()[1]), "peak_bytes": 7}), flush=True)
"""


def test_a_child_answers_each_order() -> None:
    child = Child([sys.executable, "-c", ECHO])
    assert (child.version, child.order("run", 3), child.peak_bytes) == ("echo", 6.0, 7)
    assert child.order("error", 2, 1) == 4.0
    child.close()


def test_a_child_that_dies_is_a_contestant_less() -> None:
    with pytest.raises(Missing, match="ended with code 3"):
        Child([sys.executable, "-c", "raise SystemExit(3)"])


def test_samples_are_taken_in_turns_and_divided_by_their_steps() -> None:
    children = [Child([sys.executable, "-c", ECHO]) for _ in range(2)]
    seconds = high_dimension._in_turns(children, EFFORT)
    assert seconds == [(2.0, 2.0), (2.0, 2.0)]  # the echo takes two seconds for each step
    for child in children:
        child.close()


def test_without_jax_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIML_JAX_PYTHON", "/somewhere/python")
    assert jax_python() == "/somewhere/python"
    monkeypatch.delenv("SCIML_JAX_PYTHON")
    monkeypatch.setattr(high_dimension, "find_spec", lambda name: None)
    with pytest.raises(Missing, match="SCIML_JAX_PYTHON"):
        jax_python()


def test_best_constant_is_small_in_high_dimension() -> None:
    """Far from the origin of many variables the inner function is nearly constant."""
    errors = [best_constant(Sketch(dim, 0, 2, 1e-3)) for dim in (10, 1000)]
    assert errors[1] < 0.05 < errors[0] < 1


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_parts_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCIML_JAX_PYTHON", raising=False)
    table = PARTS[name](EFFORT)
    assert "sciml, 16 directions" in markdown(table)
    # In turns they are one case; each alone on the machine they are one case each.
    assert sum(len(case["results"]) for case in as_json(table)["cases"]) >= 3
