"""Surrogates on ragged meshes: the trained map with names and units, on disk, and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay
from torch import Tensor, nn
from torch.optim import AdamW

from sciml.dataset import Dataset, Field, open_dataset, write_dataset
from sciml.errors import CheckpointError, ConfigError, DataError, ShapeError
from sciml.mesh import Mesh, Points, PointSet
from sciml.neighbors import Nearest
from sciml.operators.transolver import Sliced, Transolver
from sciml.point_assessment import sample_of
from sciml.point_surrogate import PointSurrogate
from sciml.run import Run
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.surrogate import Surrogate
from sciml.trainer import Trainer

NAMES = ("inside", "wall")


def triangulated(rng: np.random.Generator, count: int) -> Mesh:
    """A mesh that fills the box [0, 2] x [-1, 1], with its corners as the wall."""
    points = rng.uniform([0, -1], [2, 1], size=(count, 2))
    points[:4] = [(0, -1), (2, -1), (0, 1), (2, 1)]
    cells = {"triangle": Delaunay(points).simplices.astype(int)}
    tags = np.where(np.arange(count) < 4, 1, 0)
    return Mesh(points, cells=cells, units="m", boundary=tags, boundary_names=NAMES)


def written(path: Path, *, scale: float = 1.0, seed: int = 0) -> Dataset:
    """u, a vector, of a field a, a number c and the distance to the wall, on meshes of 9 to 20 points."""
    rng = np.random.default_rng(seed)
    meshes = [triangulated(rng, int(n)) for n in rng.integers(9, 21, size=10)]
    a = [scale * rng.uniform(-3, 7, size=len(m)) for m in meshes]
    c = rng.uniform(1, 2, size=10)
    a[0][:2], c[:2] = (-3 * scale, 7 * scale), (1, 2)  # training knows the whole ranges
    parts = zip(meshes, a, c, strict=True)
    u = [ci * np.stack([ai, ai * np.sin(m.coordinates[:, 0])], 1) for m, ai, ci in parts]
    fields: list[tuple[Field, Any]] = [
        (Field("a", "input", units="K"), a),
        (Field("c", "parameter"), c),
        (Field("u", "output", units="m/s", components=2), u),
        (Field("s", "input", on="cells"), [m.measures() for m in meshes]),
        (Field("t", "output", on="cells"), [2 * m.measures() for m in meshes]),
        (Field("f", "input", on="own"), [PointSet(np.ones(3), rng.random((3, 1))) for _ in meshes]),
    ]
    return write_dataset(path, grid=meshes, fields=fields, split=[0] * 6 + [1] + [2] * 3)


def trained(data: Dataset, folder: Path | None = None) -> Run:
    task = Supervised(data.train, ["a", "wall", "c"], ["u"], batch_size=6)
    layers = Sliced(depth=1, heads=2, slices=4)
    with Streams(0).of("init").applied():
        model = Transolver(2, 2, 2, width=8, layers=layers, parameters=1)
    return Trainer(steps=2, optimizer=partial(AdamW, lr=3e-3)).fit(model, task, output=folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data.h5 and a finished run."""
    folder = tmp_path_factory.mktemp("points")
    trained(written(folder / "data.h5"), folder / "run")
    return folder


@pytest.fixture(scope="module")
def data(place: Path) -> Dataset:
    return open_dataset(place / "data.h5")


@pytest.fixture(scope="module")
def surrogate(place: Path) -> PointSurrogate:
    return PointSurrogate.load(place / "run" / "surrogate")


def test_a_loaded_surrogate_is_what_the_objective_judges(
    place: Path, data: Dataset, surrogate: PointSurrogate
) -> None:
    run = trained(data)
    assert run.point_surrogate().digest == surrogate.digest
    task = run.objective
    assert isinstance(task, Supervised)
    expected, _ = task.on(data.test).judged(run.model, [0, 1, 2])
    samples = [sample_of(data.test, surrogate, row) for row in range(3)]
    together = surrogate.predict(*zip(*samples, strict=True))
    for row, (cloud, fields) in enumerate(samples):
        exact = expected[row, : len(cloud)].numpy()
        # Rounding of float32 in numbers of order ten, in another order for other padding.
        np.testing.assert_allclose(surrogate(cloud, fields)["u"], exact, rtol=0, atol=1e-5)
        np.testing.assert_allclose(together[row]["u"], exact, rtol=0, atol=1e-5)
    found = surrogate.evaluate(data.test)["relative_l2"].summary()["mean"]
    judged = task.on(data.test).evaluate(run.model, Streams(0))["relative_l2"]
    assert found == pytest.approx(judged, rel=1e-6)


def test_other_data_are_judged_with_the_normalization_of_training(
    surrogate: PointSurrogate, data: Dataset, tmp_path: Path
) -> None:
    """Statistics and box of the new file do not enter."""
    other = written(tmp_path / "other.h5", scale=0.5, seed=1)
    cloud, fields = sample_of(other.test, surrogate, 0)
    x = np.stack([fields["a"], np.zeros(len(cloud))], 1)
    statistics = data.statistics("a")
    item = surrogate.layout.item(cloud, ["a", "wall"], fields)
    np.testing.assert_allclose(item["coordinates"], data.space.unit(cloud.coordinates), rtol=1e-6, atol=1e-7)
    encoded = surrogate.input_normalization.encode(torch.from_numpy(x)[None], axis=2)[0, :, 0]
    np.testing.assert_allclose(encoded, (fields["a"] - statistics.mean) / statistics.std, rtol=1e-12)
    u = surrogate(cloud, fields)["u"]
    truth = other.test.arrays("u", [0])[0]
    found = surrogate.evaluate(other.test)["relative_l2"].values[0]
    assert found == pytest.approx(np.linalg.norm(u - truth) / np.linalg.norm(truth), rel=1e-5)


def test_a_mesh_of_meshio_comes_back_with_the_outputs(surrogate: PointSurrogate, data: Dataset) -> None:
    cloud, fields = sample_of(data.test, surrogate, 1)
    given = data.test.to_meshio(1)
    made = surrogate(given, {"c": fields["c"]})
    assert list(made.point_data) == ["u"] and made.cells_dict.keys() == {"triangle"}
    np.testing.assert_array_equal(made.point_data["u"], surrogate(cloud, fields)["u"])
    with pytest.raises(DataError, match="'c' is missing; it takes a, c, got a, u, boundary_tag"):
        surrogate(given)


def test_values_on_cells_and_neighbors_are_kept(data: Dataset, tmp_path: Path) -> None:
    class Mean(nn.Module):
        """Of the neighbors, times a weight."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(0.5))

        def forward(self, x: Tensor, neighbors: Tensor) -> Tensor:
            found = []
            for values, pairs in zip(x, neighbors, strict=True):
                real = pairs[pairs[:, 0] >= 0]
                found.append(torch.zeros_like(values).index_add(0, real[:, 0], values[real[:, 1]]) / 2)
            return self.weight * torch.stack(found)

    task = Supervised(data.train, ["s"], ["t"], batch_size=3, neighbors=Nearest(2))
    run = Trainer(steps=1, optimizer=partial(AdamW, lr=0.0)).fit(Mean(), task)
    folder = run.point_surrogate().save(tmp_path / "mean")
    back = PointSurrogate.load(folder, model=Mean())
    assert back.layout.neighbors == Nearest(2) and back.layout.cells
    made = back(data.test.to_meshio(0))
    mesh = data.test.mesh(0)
    assert isinstance(mesh, Mesh)
    pairs = Nearest(2)(Points(mesh.centers()))
    s, t = data.statistics("s"), data.statistics("t")
    nearby = ((mesh.measures() - s.mean) / s.std)[pairs[:, 1]].reshape(-1, 2).mean(1)
    np.testing.assert_allclose(made.cell_data["t"][0], 0.5 * nearby * t.std + t.mean, rtol=1e-5)
    with pytest.raises(CheckpointError, match="model=mine"):
        PointSurrogate.load(folder)


def test_what_does_not_fit_is_refused_and_extrapolation_is_told(
    surrogate: PointSurrogate, data: Dataset, place: Path
) -> None:
    cloud, fields = sample_of(data.test, surrogate, 0)
    n = len(cloud)
    for wrong, error, said in (
        ({"a": fields["a"][1:]}, ShapeError, rf"'a' must have shape \({n}, 1\), got \({n - 1},\)"),
        ({"c": [1.0, 2.0]}, ShapeError, r"'c' must have shape \(\), got \(2,\)"),
        ({"a": np.full(n, np.nan)}, DataError, "'a' has values that are not finite"),
    ):
        with pytest.raises(error, match=said):
            surrogate(cloud, {**fields, **wrong})
    assert isinstance(cloud, Mesh)
    for other, error, said in (
        (Points(cloud.coordinates), DataError, "give a Mesh"),
        (Points(cloud.coordinates[:, :1]), ShapeError, "2 coordinates, x, y, got 1"),
        (Points(cloud.coordinates, units="km"), DataError, "'km', training used 'm'"),
    ):
        with pytest.raises(error, match=said):
            surrogate(other, fields)
    with pytest.warns(UserWarning, match=r"leave the range of training: a in .*; c in \[3, 3\]"):
        surrogate(cloud, {"a": np.full(n, 1e3), "c": 3.0})
    far = Mesh(cloud.coordinates + 9, cells=dict(cloud.cells), boundary=cloud.boundary, boundary_names=NAMES)
    with pytest.warns(UserWarning, match=rf"{n} of {n} points lie outside the box"):
        surrogate(far, fields)
    with pytest.raises(CheckpointError, match="is the card of a PointSurrogate, which loads it"):
        Surrogate.load(place / "run" / "surrogate")
    with pytest.raises(ConfigError, match=r"use run\.point_surrogate"):
        trained(data).surrogate()
    own = Supervised(data.train, ["a", "f"], ["u"])
    with pytest.raises(ConfigError, match="functions on points of their own"):
        Run(nn.Identity(), own).point_surrogate()


def test_damage_is_found(place: Path, tmp_path: Path) -> None:
    for name in ("card.json", "weights.safetensors"):
        folder = PointSurrogate.load(place / "run" / "surrogate").save(tmp_path / name)
        path = folder / name
        path.write_bytes(path.read_bytes().replace(b'"cells": false', b'"cells": true ')[:-1] + b"\n")
        with pytest.raises(CheckpointError, match="damaged|changed"):
            PointSurrogate.load(folder)


def test_the_command_line_evaluates_and_predicts(
    place: Path, data: Dataset, surrogate: PointSurrogate, run: Callable[..., tuple[int, str, str]]
) -> None:
    folder, file = place / "run", place / "data.h5"
    status, out, log = run("evaluate", folder, file, "--json", "--output", "errors.json")
    assert status == 0, log
    found = json.loads(out)
    expected = surrogate.evaluate(data.test)["relative_l2"].summary()["mean"]
    assert found["samples"] == 3 and found["test"]["relative_l2"] == pytest.approx(expected, rel=1e-9)
    assert "mean of training outputs" in found["baselines"]
    assert len(json.loads(Path("errors.json").read_text())["assessment"]["rows"][0]["errors"]) == 3

    cloud, fields = sample_of(data.test, surrogate, 2)
    data.test.to_meshio(2).write("given.vtu")
    command = ("predict", folder, "given.vtu", "--output", "made.vtu")
    status, out, log = run(*command, "--number", f"c={float(fields['c'])!r}", "--json")
    assert status == 0, log
    assert json.loads(out)["fields"] == {"u": [len(cloud), 2]}
    made = meshio.read("made.vtu")
    np.testing.assert_array_equal(made.point_data["u"][:, :2], surrogate(cloud, fields)["u"])

    status, _, log = run("predict", folder, file, "--output", "made.h5")
    assert status == 0, log
    made = open_dataset("made.h5")
    assert len(made.test) == 3 and made.fields["u"].units == "m/s"
    exact = surrogate(cloud, fields)["u"]
    np.testing.assert_allclose(made.test.arrays("u", [2])[0], exact, rtol=0, atol=1e-5)

    for arguments, code, said in (
        (command, 2, "made.vtu exists"),
        ((*command, "--force"), 3, "'c' is missing"),
        (("predict", folder, "given.vtu", "--output", "x.h5"), 2, "of a mesh file a mesh file such as .vtu"),
        (("predict", folder, "given.vtu", "--output", "x.abc"), 2, "no kind of mesh file ends in '.abc'"),
        (("predict", folder, file, "--output", "x.h5", "--number", "c=1"), 2, "are in"),
        (("predict", folder, file, "--output", "x.h5", "--frames", "3"), 2, "--frames counts"),
        (("export", folder), 2, "writes maps between fields on a grid"),
    ):
        status, _, log = run(*arguments)
        assert status == code and said in log, log
