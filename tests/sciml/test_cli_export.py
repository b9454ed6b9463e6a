"""``sciml export`` in this process: what it writes, prints and returns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sciml import artefact
from sciml.artefact import open_artefact
from sciml.datasets.darcy import Darcy
from sciml.grid import Grid
from sciml.normalization import Normalization
from sciml.operators.fno import FNO
from sciml.surrogate import Channel, Surrogate

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run whose surrogate is quick to trace."""
    torch.manual_seed(0)
    surrogate = Surrogate(
        FNO(1, 1, 1, modes=2, width=2, depth=1, coordinates=False),
        inputs=[Channel("a", "m")],
        outputs=[Channel("u", "Pa")],
        grid=Grid.box((6,), units="km"),
        input_normalization=Normalization([1.0], [2.0]),
        output_normalization=Normalization([3.0], [4.0]),
    )
    surrogate.save(tmp_path / "small" / "surrogate")
    return tmp_path / "small"


def test_a_run_becomes_a_file(run: Run, folder: Path) -> None:
    Path("small.pt2").write_text("something")
    status, out, _ = run("export", folder, "--force")
    assert status == 0
    assert "small.pt2: " in out and "MiB, exported in" in out
    assert "a [m] -> u [Pa] on x in [0, 1] km" in out
    assert "grids: x >= 4; any batch" in out
    status, out, _ = run("export", "--check", "small.pt2", "--json")
    shown = json.loads(out)
    assert status == 0
    assert shown["file"] == "small.pt2"
    assert shown["bytes"] == Path("small.pt2").stat().st_size
    assert [check["grid"] for check in shown["checks"]] == [[6]]
    assert shown["checks"][0]["relative_difference"] <= 1e-6
    assert "check" not in shown["description"]  # the numbers of the fields


@pytest.mark.slow
@pytest.mark.parametrize("suffix", artefact.FORMATS)
def test_from_training_to_a_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    if suffix == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package, reason="ONNX: pip install sciml-pde[export]")
    monkeypatch.setattr("sciml.cli.train.write_report", lambda path, **_: path.write_text("a report"))
    Darcy(resolution=8).make(tmp_path / "darcy.h5", train=4, valid=2, test=2, workers=1)
    tiny = ["--set", "width=4", "--set", "modes=2", "--set", "depth=1", "--symmetry", "full"]
    trained = ["train", "darcy.h5", "--steps", "2", "--batch-size", "4", "--output", "runs/darcy", *tiny]
    assert run(*trained)[0] == 0
    status, out, _ = run("export", "runs/darcy", "--to", suffix, "--json")
    shown = json.loads(out)
    assert status == 0
    assert [check["grid"] for check in shown["checks"]][:2] == [[8, 8], [9, 9]]  # exchanged axes are equal
    assert all(check["relative_difference"] <= 1e-6 for check in shown["checks"])
    surrogate = Surrogate.load("runs/darcy/surrogate")
    x = torch.full((2, 1, 13, 13), 3.0)
    found = open_artefact(Path(f"darcy.{suffix}"))[1](x)
    torch.testing.assert_close(found, surrogate(x), rtol=1e-5, atol=0)
    assert run("export", "runs/darcy", "--output", f"fixed.{suffix}", "--static")[0] == 0
    assert run("export", "--check", f"fixed.{suffix}")[1].count("x = 8, y = 8; any batch") == 1


def test_the_format_by_name_or_by_option(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None, bool]] = []

    def export(_: Surrogate, path: Path, *, to: str | None, dynamic: bool) -> None:
        asked.append((str(path), to, dynamic))

    monkeypatch.setattr(Surrogate, "export", export)
    monkeypatch.setattr("sciml.cli.export._show", lambda *_: None)
    for arguments in (["--to", "onnx"], ["--output", "a/b.onnx", "--static"], []):
        assert run("export", folder, *arguments)[0] == 0
    assert asked == [("small.onnx", "onnx", True), ("a/b.onnx", None, False), ("small.pt2", None, True)]


def test_help_has_an_example(run: Run) -> None:
    status, out, _ = run("export", "--help")
    assert status == 0
    assert "sciml export runs/darcy-1a2b3c4d --to onnx" in out


def test_refusals_and_their_status(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("old.pt2").write_text("something")
    cases = {
        ("export",): "needs the folder of a run",
        ("export", folder, "--output", "old.pt2"): r"old.pt2 exists; replace it with --force",
        ("export", folder, "--output", "a.txt"): "must end in .pt2 or .onnx",
        ("export", folder, "--to", "onnx", "--output", "a.pt2"): "must end in .onnx",
        ("export", folder, "--check", "old.pt2"): "give nothing else",
        ("export", "nowhere"): "holds no surrogate",
        ("export", folder, "--to", "engine"): "engine",
    }
    for arguments, text in cases.items():
        status, out, err = run(*arguments)
        assert (status, out) == (2, ""), arguments
        assert text in err, arguments
    status, _, err = run("export", "--check", "old.pt2")
    assert status == 3
    assert "damaged, or no .pt2 or .onnx file of sciml" in err
    assert Path("old.pt2").read_text() == "something"
    monkeypatch.setattr(artefact, "find_spec", lambda name: None)
    status, _, err = run("export", folder, "--to", "onnx")
    assert status == 5
    assert 'pip install "sciml-pde[export]"' in err
    assert not Path("small.onnx").exists()
