"""Files of neuraloperator: the real ones, near misses, and hostile ones."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.datasets.readers import NeuralOperator, convert, open_any
from sciml.datasets.readers.torch_file import load_tensors
from sciml.errors import DataError
from sciml.files import sha256
from sciml.grid import Axis, Grid


def saved(path: Path, **tensors: Any) -> Path:
    torch.save(tensors, path)
    return path


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def bump(n: int, upper: float) -> Tensor:
    """sin(pi s) sin(pi t) at n nodes of [0, upper]: zero at the lower edges."""
    s = torch.sin(torch.pi * torch.linspace(0, upper, n))
    return s[:, None] * s[None, :]


def test_darcy_of_neuraloperator(test_data: Path, tmp_path: Path) -> None:
    source = test_data / "neuraloperator" / "darcy_train_16.pt"
    data = open_any(source, cache=tmp_path / "cache")
    raw = torch.load(source, weights_only=True)
    assert [(f.name, f.role) for f in data.fields.values()] == [("a", "input"), ("u", "output")]
    a, u = data.tensor(["a"]), data.tensor(["u"])
    assert a.shape == u.shape == (1000, 1, 16, 16)
    assert torch.equal(a[:, 0], raw["x"].float()) and torch.equal(u[:, 0], raw["y"])
    for axis in data.grid.axes:  # the 421 nodes of the unit interval with stride 26
        np.testing.assert_allclose(axis.coordinates, np.linspace(0, 1, 421)[::26][:16], rtol=1e-14)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [900, 50, 50]
    notes = data.attributes["conversion_notes"]
    for word in (
        "truth values",
        "every 26th of 421 nodes",
        "exchanging the axes",
        "split 0.9 : 0.05 : 0.05",
        "seed 0",
    ):
        assert word in notes
    assert data.attributes["source_sha256"] == sha256(source)
    assert data.attributes["source_file"] == "darcy_train_16.pt"
    assert data.attributes["task"]["inputs"] == ["a"]
    # The second time the file is only opened, under whatever name the source has.
    written = data.path.stat().st_mtime_ns
    again = open_any(source, cache=tmp_path / "cache")
    assert (again.path, again.digest, again.path.stat().st_mtime_ns) == (data.path, data.digest, written)


def test_burgers_of_neuraloperator(test_data: Path, tmp_path: Path) -> None:
    source = test_data / "neuraloperator" / "burgers_train_16.pt"
    data = convert(source, tmp_path / "burgers.h5")
    raw = torch.load(source, weights_only=True)
    assert data.grid == Grid((Axis("x", 0.0, 1.0, 16, "node", periodic=True),))
    assert data.attributes["viscosity"] == 0.01
    assert data.attributes["task"] == {"kind": "rollout", "inputs": ["u"], "outputs": ["u"]}
    u = data.tensor(["u"], dtype=torch.float64)
    assert u.shape == (800, 17, 1, 16) and torch.equal(u[:, :, 0], raw["y"])
    assert torch.equal(data.tensor(["u0"], dtype=torch.float64)[:, 0], raw["x"])
    assert data.times is not None and data.times.tolist() == list(range(17))


def test_a_finer_slice_of_the_same_nodes_is_the_same_domain(tmp_path: Path) -> None:
    files = {}
    for n, stride in ((16, 26), (32, 13)):
        y = bump(421, 1.0)[::stride, ::stride][:n, :n].expand(4, -1, -1).clone()
        files[n] = convert(
            saved(tmp_path / f"{n}.pt", x=y > 0.3, y=y), tmp_path / f"{n}.h5", fractions=(1, 0, 0)
        )
    assert files[32].grid == files[16].grid.with_shape((32, 32))


@pytest.mark.parametrize(
    ("y", "axis"),
    [
        (bump(85, 1.0).expand(2, -1, -1), Axis("x", 0.0, 1.0, 85, "node")),
        (torch.cos(2 * torch.pi * torch.arange(20) / 20).expand(2, -1), Axis("x", 0, 1, 20, "node", True)),
        (torch.cos(torch.linspace(0, 2 * torch.pi, 21)).expand(2, -1), Axis("x", 0, 1, 20, "node", True)),
        ((1 + torch.linspace(0, 1, 9)).expand(2, -1), Axis("x", 0, 1, 9, "node")),
        (torch.linspace(0, 1, 9).expand(2, -1), Axis("x", 0, 1, 9, "left")),
    ],
)
def test_the_grid_is_read_off_the_edges(y: Tensor, axis: Axis, tmp_path: Path) -> None:
    data = convert(saved(tmp_path / "a.pt", x=y.clone(), y=y.clone()), tmp_path / "a.h5", fractions=(1, 0, 0))
    assert data.grid.axes[0] == axis
    assert data.tensor(["u"]).shape[2:] == data.grid.shape


def test_channels_integers_half_precision_and_parameters(tmp_path: Path) -> None:
    x, y = random(6, 3, 8, 8).mul(9).to(torch.int32), random(6, 2, 8, 8, seed=1).half()
    path = saved(tmp_path / "a.pt", x=x, y=y, visc=torch.arange(6.0))
    data = convert(path, tmp_path / "a.h5")
    assert data.tensor(["a"]).shape == (6, 3, 8, 8) and data.tensor(["u"]).shape == (6, 2, 8, 8)
    torch.testing.assert_close(data.tensor(["u"]), y.float(), rtol=0, atol=0)
    assert data.parameter_names == ("viscosity",)
    assert "x was integers" in data.attributes["conversion_notes"]
    assert "y was float16" in data.attributes["conversion_notes"]
    flow = saved(tmp_path / "b.pt", x=random(3, 8), y=random(3, 5, 8, seed=1))
    other = convert(flow, tmp_path / "b.h5", fractions=(1, 0, 0))
    assert "does not equal" in other.attributes["conversion_notes"]
    assert other.fields["u"].role == "output" and other.fields["u"].time


def test_views_of_larger_storage_and_any_order_of_strides_are_read(tmp_path: Path) -> None:
    """The shipped files are slices of Fortran-ordered arrays."""
    x = random(8, 8, 9).permute(2, 0, 1)[:5]
    found = load_tensors(saved(tmp_path / "a.pt", x=x, y=x))
    assert torch.equal(found["x"], x) and not found["x"].is_contiguous()


class Harmful:
    """Its pickle would make a folder when read without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


def test_code_in_a_file_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "a.pt", x=random(4, 8), y=Harmful())
    with pytest.raises(DataError, match="torch refuses to load it as plain tensors"):
        open_any(path, cache=tmp_path / "cache")
    assert sorted(p.name for p in tmp_path.iterdir()) in (["a.pt"], ["a.pt", "cache"])


def test_size_tricks_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    bomb = torch.zeros(1).as_strided((10**6, 10**6), (0, 0))  # 4 TB when copied, in 1 kB
    with pytest.raises(DataError, match=r"claims shape \(1000000, 1000000\) .* share memory"):
        NeuralOperator().read(saved(tmp_path / "a.pt", x=bomb, y=random(4, 8)))
    windows = random(100).as_strided((50, 50), (1, 1))
    with pytest.raises(DataError, match="share memory"):
        NeuralOperator().read(saved(tmp_path / "b.pt", x=windows, y=random(4, 8)))
    plain = saved(tmp_path / "c.pt", x=torch.zeros(64, 1024), y=torch.zeros(64, 1024))
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(tmp_path / "d.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, old.read(member), zipfile.ZIP_STORED if "pkl" in member else None)
    with pytest.raises(DataError, match="is compressed or encrypted"):
        NeuralOperator().read(tmp_path / "d.pt")
    with zipfile.ZipFile(plain, "a") as archive:
        archive.writestr("c/code/run.py", "print()")
    with pytest.raises(DataError, match="none that torch.save writes"):
        NeuralOperator().read(plain)
    deep = saved(tmp_path / "e.pt", x=random(2, 4), y=random(2, 4), **{"k" * 70_000: random(1)})
    with pytest.raises(DataError, match="more than names and shapes"):
        NeuralOperator().read(deep)


@pytest.mark.parametrize("cut", [0, 1, 100, 0.5, 0.98])
def test_truncated_archives_are_refused(cut: float, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", x=random(8, 16), y=random(8, 16))
    raw = path.read_bytes()
    path.write_bytes(raw[: cut if isinstance(cut, int) else int(cut * len(raw))])
    with pytest.raises(DataError, match=str(path)):
        open_any(path, cache=tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"x": random(4, 8)}, "no reader recognizes it.*names 'x'"),
        ({"x": random(4, 8), "y": random(4, 8), "z": random(1)}, "expected the names x, y and perhaps visc"),
        ({"x": random(4, 8), "y": [1.0]}, "'y' is a list, not a tensor"),
        ({"x": random(4, 8), "y": random(4, 8) * 1j}, "'y' must be a plain tensor of real numbers"),
        ({"x": random(4, 8), "y": random(0, 8)}, "at least one entry"),
        ({"x": random(4, 8), "y": random(4, 9)}, r"x has shape \(4, 8\) and y \(4, 9\)"),
        ({"x": random(4, 8), "y": random(3, 8)}, "x has shape"),
        ({"x": random(4), "y": random(4)}, "x has shape"),
        ({"x": random(4, 8), "y": random(4, 8), "visc": random(3)}, "visc has 3 numbers"),
        ({"x": random(4, 8), "y": random(4, 8).log() * float("inf")}, "not finite"),
        ({"x": random(4, 8), "y": random(4, 8).to_sparse()}, "plain tensor"),
    ],
)
def test_near_misses_are_refused_in_a_sentence(content: Any, match: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(DataError, match=match):
        open_any(tmp_path / "a.pt", cache=tmp_path / "cache")
