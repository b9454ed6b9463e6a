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
    """The folder of a surrogate that is quick to trace."""
    torch.manual_seed(0)
    surrogate = Surrogate(
        FNO(1, 1, 1, modes=2, width=2, depth=1, coordinates=False),
        inputs=[Channel("a", "m")],
        outputs=[Channel("u", "Pa")],
        grid=Grid.box((6,), units="km"),
        input_normalization=Normalization([1.0], [2.0]),
        output_normalization=Normalization([3.0], [4.0]),
    )
    return surrogate.save(tmp_path / "small")


def test_a_run_becomes_a_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sciml.cli.train.write_report", lambda path, **_: path.write_text("a report"))
    Darcy(resolution=8).make(tmp_path / "darcy.h5", train=4, valid=2, test=2, workers=1)
    tiny = ["--set", "width=4", "--set", "modes=2", "--set", "depth=1", "--set", "padding=0.0"]
    trained = ["train", "darcy.h5", "--steps", "2", "--batch-size", "4", "--output", "runs/darcy", *tiny]
    assert run(*trained)[0] == 0
    status, out, _ = run("export", "runs/darcy", "--json")
    shown = json.loads(out)
    assert status == 0
    assert shown["file"] == "darcy.pt2"
    assert shown["bytes"] == (tmp_path / "darcy.pt2").stat().st_size
    assert [check["grid"] for check in shown["checks"]] == [[8, 8], [9, 11], [4, 4]]
    assert all(check["relative_difference"] <= 1e-6 for check in shown["checks"])
    assert "check" not in shown["description"]  # the numbers of the fields
    surrogate = Surrogate.load(tmp_path / "runs/darcy/surrogate")
    x = torch.full((2, 1, 12, 13), 3.0)
    torch.testing.assert_close(open_artefact(tmp_path / "darcy.pt2")[1](x), surrogate(x), rtol=1e-5, atol=0)


def test_what_people_see(run: Run, folder: Path) -> None:
    Path("fixed.pt2").write_text("something")
    status, out, _ = run("export", folder, "--output", "fixed.pt2", "--static", "--force")
    assert status == 0
    assert "fixed.pt2: " in out and "MiB, exported in" in out
    assert "a [m] -> u [Pa] on x in [0, 1] km" in out
    assert "grids: x = 6; any batch" in out
    assert "1e-05" in out
    status, out, _ = run("export", "--check", "fixed.pt2")
    assert status == 0
    assert "MiB, checked in" in out


def test_the_format_by_name_or_by_option(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None, bool]] = []

    def export(_: Surrogate, path: Path, *, to: str | None, dynamic: bool) -> None:
        asked.append((str(path), to, dynamic))

    monkeypatch.setattr(Surrogate, "export", export)
    monkeypatch.setattr("sciml.cli.export._show", lambda *_: None)
    for arguments in (["--to", "onnx"], ["--output", "a/b.onnx", "--static"], []):
        assert run("export", folder, *arguments)[0] == 0
    assert asked == [("small.onnx", "onnx", True), ("a/b.onnx", None, False), ("small.pt2", None, True)]


@pytest.mark.slow
def test_onnx(run: Run, folder: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="ONNX: pip install sciml-pde[export]")
    assert run("export", folder, "--to", "onnx")[0] == 0
    status, out, _ = run("export", "--check", "small.onnx", "--json")
    assert status == 0
    assert json.loads(out)["checks"][0]["relative_difference"] < 1e-6


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
