"""The contestants of the bench of differential operators compute the same, in torch and in JAX."""

import json
from importlib.util import find_spec

import pytest
import torch

from sciml.kernels.bench import jets, jets_contestants
from sciml.kernels.bench.__main__ import main
from sciml.kernels.bench.harness import Effort, Missing, compare
from sciml.kernels.bench.high_dimension import jax_python
from sciml.kernels.bench.jets import TINY
from sciml.kernels.bench.jets_contestants import Problem, in_torch
from sciml.kernels.bench.jets_in_jax import in_jax

# torch.func imports what torch itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

CPU = torch.device("cpu")
# float32: seven digits are kept; two may go in fourth derivatives and in the sums of a few layers.
SAME = 1e-4
OPTIONAL = "jet-for-pytorch"


@pytest.mark.parametrize("problem", TINY, ids=lambda p: p.operator)
def test_contestants_in_torch_compute_the_same(problem: Problem) -> None:
    with_peer = find_spec("jet") is not None
    contestants = [c for c in in_torch(problem, CPU) if c.name != OPTIONAL or with_peer]
    if problem.operator != "laplacian":
        contestants = [c for c in contestants if "hessian" not in c.name]
    for contestant, difference in zip(contestants, compare([c.prepare() for c in contestants]), strict=True):
        assert difference is not None and difference < SAME, contestant.name


@pytest.mark.parametrize("problem", TINY, ids=lambda p: p.operator)
@pytest.mark.slow
def test_contestants_in_jax_compute_the_same(problem: Problem) -> None:
    try:
        jax_python()
    except Missing as reason:
        pytest.skip(str(reason))
    with in_jax(problem, Effort(CPU, quick=True)) as contestants:
        entries = [in_torch(problem, CPU)[0].prepare(), *(c.prepare() for c in contestants)]
        for difference in compare(entries):
            assert difference is not None and difference < SAME


def test_json_has_ratios_and_memory_to_nested_reverse_mode(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Child processes for JAX take seconds to start; torch.func as long to trace.
    monkeypatch.setenv("SCIML_JAX_PYTHON", "/there/is/no/such/interpreter")
    monkeypatch.setattr(jets, "TINY", TINY[1:2])
    assert main(["jets", "--quick", "--json", "--rounds", "1"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    (case,) = table["cases"]
    assert case["settings"] == {"operator": "16 directions", "d": 3}
    first, second, *_ = case["results"]
    assert [first["name"], second["name"]] == ["nested reverse", "sciml"]
    assert first["figures"]["memory / first"] == 1.0 and second["difference"] < SAME
    assert 0.0 < second["figures"]["memory / first"] == second["peak_bytes"] / first["peak_bytes"]
    assert {"JAX jet", "JAX folx"} <= case["skipped"].keys()


def test_whole_hessians_are_left_out_in_many_dimensions() -> None:
    many = Problem("laplacian", jets_contestants.MOST_FOR_HESSIANS + 1, points=2, width=3)
    hessian = next(c for c in in_torch(many, CPU) if "hessian" in c.name)
    with pytest.raises(Exception, match="up to 10"):
        hessian.prepare()


@pytest.mark.gpu
def test_quick_on_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jets", "--quick", "--json", "--device", "cuda"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert all(r["difference"] < SAME for case in table["cases"] for r in case["results"])
