"""Contestants compute the same, and the command prints what it documents."""

import json
import warnings
from importlib.util import find_spec

import pytest
import torch

from sciml.kernels.bench import layers, networks
from sciml.kernels.bench.__main__ import main
from sciml.kernels.bench.crossover import mode_counts, multiply_adds, transforms
from sciml.kernels.bench.harness import Contestant, compare
from sciml.kernels.bench.layers import Size, layer_contestants
from sciml.kernels.bench.networks import step_contestants
from sciml.kernels.bench.report import Case, Table, markdown

CPU = torch.device("cpu")
WITH_PEERS = find_spec("neuralop") is not None
# float32: six digits are kept, two may go in the sums of a few layers.
SAME = 1e-4

SIZES = [Size((12,), 4, 3, 2), Size((8, 10), 3, 3, 2), Size((8, 8), 4, 2, 1), Size((6, 4, 8), 2, 2, 2)]


def differences(contestants: list[Contestant]) -> dict[str, float | None]:
    """By name; what asks for neuraloperator is left out where it is not installed."""
    entries = {c.name: c.prepare() for c in contestants if WITH_PEERS or "neuraloperator" not in c.name}
    return dict(zip(entries, compare(list(entries.values())), strict=True))


@pytest.fixture(autouse=True)
def _quiet_peers() -> None:
    """neuraloperator's imports warn about libraries that they use."""
    if WITH_PEERS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            __import__("neuralop.models")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_layers_compute_the_same(size: Size) -> None:
    for name, difference in differences(layer_contestants(size, CPU)).items():
        assert difference is not None and difference < SAME, name


def test_networks_compute_the_same() -> None:
    found = differences(step_contestants(Size((8, 8), 3, 4, 2), CPU))
    for name, difference in found.items():
        if "defaults" in name:
            assert difference is None
        else:
            assert difference is not None and difference < SAME, name


def test_a_training_step_leaves_no_gradients_and_changes_the_weights() -> None:
    size = Size((8,), 2, 3, 2)
    model = networks.FNOByFFT(networks.draw_weights(size), size)
    before = [p.detach().clone() for p in model.parameters()]
    prepared = networks.training(size, CPU, model, coordinates=True)
    unchanged = zip(before, model.parameters(), strict=True)
    assert all(torch.equal(b, p) for b, p in unchanged)  # timing the optimizers moved nothing
    prepared.run()
    assert all(p.grad is None for p in model.parameters())
    assert not any(torch.equal(b, p) for b, p in zip(before, model.parameters(), strict=True))


def test_floor_bytes() -> None:
    # Four fields of 2 * 3 * 8 * 10 numbers, three times a weight of 6 * 3 * 3 * 3 pairs; 4 bytes each.
    assert Size((8, 10), 3, 3, 2).floor_bytes == 4 * (4 * 480 + 3 * 324)


def test_multiply_adds_of_products() -> None:
    analysis, _ = transforms(2, 8, 2)
    # Last axis: 8 rows of 8 numbers to 2 modes in pairs. First: 4 columns of 8 to cos and sin of 0, 1, 2.
    assert multiply_adds(analysis, "products") == 8 * 8 * 4 + 4 * 8 * 6
    assert multiply_adds(analysis, "fft") == 1.25 * 64 * 6


def test_modes_go_up_to_nyquist() -> None:
    assert mode_counts(32) == [4, 6, 8, 12, 16]
    assert mode_counts(85)[-1] == 42


def test_json_has_the_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spectral", "--quick", "--json", "--rounds", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"bench", "command", "context", "tables"} == report.keys()
    assert {"device", "threads", "torch", "neuraloperator"} <= report["context"].keys()
    assert [table["name"] for table in report["tables"]] == ["layer", "step", "sweep"]
    for table in report["tables"]:
        (case,) = table["cases"]
        assert {"grid", "modes", "width", "batch"} == case["settings"].keys()
        assert case["results"][0]["name"].startswith("sciml")
        for result in case["results"]:
            assert len(result["seconds"]) == 1
            assert result["median_s"] > 0 and result["ratio"] > 0 and result["peak_bytes"] > 0
    assert "of bandwidth" in report["tables"][0]["cases"][0]["results"][0]["figures"]


def test_crossover_runs_on_three_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spectral", "--quick", "--json", "--only", "crossover"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert [case["settings"]["rank"] for case in table["cases"]] == [1, 2, 3]
    for case in table["cases"]:
        assert [result["name"] for result in case["results"]] == ["products", "fft"]
        assert all(result["difference"] < SAME for result in case["results"])


def test_table_says_which_peer_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "PEER_LAYER", "no_such_library:Layer")
    assert main(["spectral", "--quick", "--only", "layer"]) == 0
    out = capsys.readouterr().out
    assert "| sciml |" in out and "| torch.fft |" in out and "| neuraloperator |" not in out
    assert "neuraloperator: no_such_library cannot be imported" in out
    assert "pip install 'sciml-pde[peers]'" in out


def test_step_is_skipped_where_the_operators_do_not_import(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sciml.kernels.bench import spectral

    monkeypatch.setattr(spectral, "OURS", "no_such_library:FNO")
    assert main(["spectral", "--quick", "--only", "step"]) == 0
    assert "Skipped: no_such_library cannot be imported" in capsys.readouterr().out


def test_device_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spectral", "--device", "meta"]) == 2
    assert "--device must be cpu" in capsys.readouterr().err


def test_markdown_of_no_cases() -> None:
    assert "| who |" in markdown(Table("empty", "Nothing.", []))
    assert "theirs: absent" in markdown(Table("one", "", [Case({"n": 1}, [], {"theirs": "absent"})]))


@pytest.mark.gpu
def test_quick_on_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spectral", "--quick", "--json", "--device", "cuda"]) == 0
    report = json.loads(capsys.readouterr().out)
    for table in report["tables"]:
        for case in table["cases"]:
            # TF32 off by default: the products keep float32.
            assert all(r["difference"] is None or r["difference"] < SAME for r in case["results"])
