"""Datasets on meshes and points: what is written is what is read, by us and by xarray."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import xarray

from sciml.dataset import Dataset, Field, Provenance, open_dataset, write_dataset
from sciml.errors import DataError
from sciml.grid import Grid
from sciml.locations import Location
from sciml.mesh import Mesh, Points, PointSet

COUNT = 7
SPLIT = [0, 0, 2, 0, 1, 0, 0]
TIMES = [0.0, 0.5, 2.0]


def disk(rings: int, radius: float) -> Mesh:
    """A disk of triangles around a middle point, as many points on each ring as its number times six."""
    points, cells = [[0.0, 0.0]], []
    start = 0
    for ring in range(1, rings + 1):
        count = 6 * ring
        angles = 2 * np.pi * np.arange(count) / count
        points += (radius * ring / rings * np.stack([np.cos(angles), np.sin(angles)], 1)).tolist()
        outer, inner = len(points) - count, start
        inside = max(1, 6 * (ring - 1))
        for side in range(6):
            for i in range(ring):
                a = outer + side * ring + i
                b = outer + (side * ring + i + 1) % count
                c = inner + (side * (ring - 1) + i) % inside
                cells.append([a, b, c])
                if i < ring - 1:
                    cells.append([b, inner + (side * (ring - 1) + i + 1) % inside, c])
        start = outer
    boundary = np.zeros(len(points), int)
    boundary[start:] = 1
    lines = [[i, i + 1] for i in range(start, len(points) - 1)] + [[len(points) - 1, start]]
    blocks = [("triangle", np.array(cells)), ("line", np.array(lines))]
    return Mesh(
        np.array(points), cells=tuple(blocks), units="m", boundary=boundary, boundary_names=("inside", "wall")
    )


def disks() -> list[Mesh]:
    """Disks of different size and resolution, one for each sample."""
    return [disk(1 + i % 3, 0.5 + 0.1 * i) for i in range(COUNT)]


def arrays(meshes: list[Mesh]) -> dict[str, Any]:
    """Values for each of the fields of `write_disks`."""
    rng = np.random.default_rng(3)
    return {
        "a": [rng.normal(size=len(m)).astype(np.float32) for m in meshes],
        "u": [rng.normal(loc=5.0, size=(len(m), 2)).astype(np.float32) for m in meshes],
        "k": [rng.uniform(1, 2, size=m.cell_count) for m in meshes],
        "w": [rng.normal(size=(len(TIMES), len(m), 2)) for m in meshes],
        "g": [PointSet(rng.normal(size=3 + i), rng.random((3 + i, 1))) for i in range(len(meshes))],
        "c": rng.uniform(1, 2, size=len(meshes)),
    }


def fields_of(data: dict[str, Any]) -> list[tuple[Field, Any]]:
    return [
        (Field("a", "input", units="N"), data["a"]),
        (Field("u", "output", units="m", components=2, long_name="displacement"), data["u"]),
        (Field("k", "coefficient", on="cells"), data["k"]),
        (Field("w", "state", components=2, time=True), data["w"]),
        (Field("g", "input", on="own"), data["g"]),
        (Field("c", "parameter", units="K"), data["c"]),
    ]


def write_disks(path: Path, **changes: Any) -> Dataset:
    meshes = disks()
    settings: dict[str, Any] = {
        "grid": meshes,
        "fields": fields_of(arrays(meshes)),
        "split": SPLIT,
        "times": TIMES,
        "provenance": Provenance(title="Disks", boundary={"wall": "no slip"}, seed=3),
    }
    return write_dataset(path, **{**settings, **changes})


def write_shared(path: Path, *, cells: bool = True) -> Dataset:
    """The same points, or the same mesh, for all samples."""
    mesh = disk(2, 1.0)
    rng = np.random.default_rng(4)
    place = mesh if cells else Points(mesh.coordinates, units="m")
    fields = [
        (Field("a", "input", components=2), rng.normal(size=(COUNT, len(mesh), 2))),
        (Field("u", "output"), rng.normal(size=(COUNT, len(mesh)))),
        (Field("w", "state", time=True), rng.normal(size=(COUNT, len(TIMES), len(mesh)))),
        (Field("m", "mask", sample=False), rng.normal(size=len(mesh)) > 0),
        (Field("g", "input", on="own"), PointSet(rng.normal(size=(COUNT, 5)), rng.random((5, 2)))),
    ]
    if cells:
        fields.append((Field("k", "coefficient", on="cells"), rng.normal(size=(COUNT, mesh.cell_count))))
    return write_dataset(path, grid=place, fields=fields, split=SPLIT, times=TIMES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_disks(tmp_path_factory.mktemp("data") / "disks.h5")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_shared(tmp_path_factory.mktemp("data") / "shared.h5")


def same_mesh(a: Points, b: Points) -> bool:
    assert isinstance(a, Mesh) and isinstance(b, Mesh)
    blocks = zip(a.cells, b.cells, strict=True)
    return (
        np.array_equal(a.coordinates, b.coordinates)
        and all(x[0] == y[0] and np.array_equal(x[1], y[1]) for x, y in blocks)
        and np.array_equal(np.asarray(a.boundary), np.asarray(b.boundary))
        and (a.names, a.units, a.boundary_names) == (b.names, b.units, b.boundary_names)
    )


def test_values_meshes_and_descriptions_come_back(data: Dataset) -> None:
    given = arrays(disks())
    assert data.kind == "mesh" and len(data) == COUNT
    for name in ("a", "u", "k", "w"):
        for found, expected in zip(data.arrays(name), given[name], strict=True):
            assert found.dtype == expected.dtype and np.array_equal(found, expected)
    for i, (values, places) in enumerate(zip(data.arrays("g"), data.places(on="g"), strict=True)):
        assert np.array_equal(values, given["g"][i].values)
        assert np.array_equal(places, given["g"][i].coordinates)
    assert all(same_mesh(data.mesh(i), mesh) for i, mesh in enumerate(disks()))
    assert np.array_equal(data.variable("c"), given["c"])
    assert [data.fields[name] for name in data.fields] == [f for f, _ in fields_of(given) if f.name != "c"]
    assert data.attributes["boundary"] == {"wall": "no slip"}
    assert data.space.names == ("x", "y") and data.space.units == "m"
    data.verify()
    data.scan()
    for name in ("disks.h5", "nodes", "(line, triangle)", "w"):
        assert name in repr(data)


def test_batches_are_filled_up_and_the_mask_tells(data: Dataset) -> None:
    given, rows = arrays(disks()), [5, 0, 2]
    pair, mask = data.tensor(["a", "u"], rows, torch.float64), data.mask(rows)
    assert pair.shape == (3, mask.shape[1], 3) and pair[~mask].eq(0).all()
    for row, values, points, real in zip(rows, pair, data.coordinates(rows), mask, strict=True):
        found, places = values[real], points[real]
        assert np.array_equal(found[:, 0], given["a"][row]) and np.array_equal(found[:, 1:], given["u"][row])
        assert np.array_equal(places, disks()[row].coordinates.astype(np.float32))
    frames = data.tensor("w", rows)
    assert frames.shape == (3, len(TIMES), mask.shape[1], 2)
    assert np.array_equal(frames[1, :, mask[1]], given["w"][0].astype(np.float32))
    assert data.count(rows).tolist() == [len(disks()[row]) for row in rows]
    assert data.tensor("g", rows).shape == (3, 8, 1) and data.mask(rows, "g").sum(1).tolist() == [8, 3, 5]
    assert data.mask(rows, "k").sum(1).tolist() == [disks()[row].cell_count for row in rows]
    unit = data.coordinates(unit=True)[data.mask()]
    assert unit.min() == 0 and unit.max() == 1


def test_statistics_are_those_of_the_points_of_training(data: Dataset) -> None:
    given, train = arrays(disks()), np.flatnonzero(np.array(SPLIT) == 0)
    for name in ("a", "u", "k"):
        values = np.concatenate([given[name][i].reshape(len(given[name][i]), -1) for i in train]).astype(
            float
        )
        found = data.statistics(name)
        np.testing.assert_allclose(found.mean, values.mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.std, values.std(0), rtol=1e-12)
    frames = np.concatenate([np.diff(given["w"][i], axis=0).reshape(-1, 2) for i in train])
    np.testing.assert_allclose(data.statistics("w").std_delta, frames.std(0), rtol=1e-12)
    np.testing.assert_allclose(data.statistics("c").mean, given["c"][train].mean(), rtol=1e-14)


def test_statistics_are_the_same_without_those_in_the_file(data: Dataset) -> None:
    from sciml.dataset_source import computed_statistics

    rows = np.flatnonzero(data.variable("split") == 0)
    for name, item in data.fields.items():
        stored, computed = data.statistics(name), computed_statistics(data._source, item, rows)
        for key in ("mean", "std", "min", "max", "mean_delta", "std_delta"):
            a, b = getattr(stored, key), getattr(computed, key)
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(a, b, rtol=1e-12)


def test_splits_subsets_and_memory_agree_with_the_file(data: Dataset) -> None:
    assert data.train.count().tolist() == [len(disks()[i]) for i in (0, 1, 3, 5, 6)]
    view = data.train.subset([3, 1, 1])
    held = view.in_memory()
    for name in ("u", "g", "k", "w"):
        assert all(map(np.array_equal, held.arrays(name), view.arrays(name)))
    assert all(same_mesh(held.mesh(i), view.mesh(i)) for i in range(3))
    held.arrays("u")[0][:] = 0  # a copy
    assert all(map(np.array_equal, held.arrays("u"), view.arrays("u")))
    assert np.array_equal(pickle.loads(pickle.dumps(view)).arrays("u")[0], view.arrays("u")[0])
    with pytest.raises(DataError, match="'k' was not loaded"):
        data.in_memory(["u"]).arrays("k")


def test_shared_meshes_are_stored_once(shared: Dataset) -> None:
    opened = h5py.File(shared.path)
    assert "node_count" not in opened and opened["node_coords"].shape == (19, 2)
    assert opened["u"].shape == (COUNT, 19)
    assert shared.load("a").shape == (COUNT, 19, 2) and shared.load("w").shape == (COUNT, len(TIMES), 19)
    assert shared.tensor(["a", "u"], [2, 0]).shape == (2, 19, 3)
    assert shared.tensor("m", [2, 0]).shape == (2, 19, 1) and shared.mask().all()
    assert shared.tensor("w").shape == (COUNT, len(TIMES), 19, 1)
    assert shared.tensor("g").shape == (COUNT, 5, 1) and shared.coordinates(on="g").shape == (COUNT, 5, 2)
    assert shared.tensor("k").shape == (COUNT, disk(2, 1.0).cell_count, 1)
    assert same_mesh(shared.mesh(6), disk(2, 1.0))
    assert shared.in_memory().tensor(["a", "u"]).equal(shared.tensor(["a", "u"]))
    np.testing.assert_array_equal(shared.load("u")[3], shared.arrays("u")[3])
    shared.verify()
    shared.scan()


def test_points_have_no_cells(tmp_path: Path) -> None:
    data = write_shared(tmp_path / "points.h5", cells=False)
    assert data.kind == "points" and type(data.mesh(0)) is Points
    assert data.coordinates().shape == (COUNT, 19, 2)
    with pytest.raises(DataError, match="holds values on points, not on a grid"):
        data.grid  # noqa: B018


def test_functions_on_their_own_points_go_with_a_grid_as_well(tmp_path: Path) -> None:
    sensors = PointSet(np.arange(6.0).reshape(2, 3), [[0.1], [0.5], [0.9]])
    fields = [(Field("u", "output"), np.ones((2, 4, 3))), (Field("f", "input", on="own"), sensors)]
    data = write_dataset(tmp_path / "f.h5", grid=Grid.box((4, 3)), fields=fields, split=[0, 0])
    assert data.tensor("u").shape == (2, 1, 4, 3)
    assert data.tensor("f").tolist() == [[[0.0], [1.0], [2.0]], [[3.0], [4.0], [5.0]]]
    assert data.coordinates(on="f")[1, :, 0].tolist() == pytest.approx([0.1, 0.5, 0.9])


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_xarray_opens_it(data: Dataset, engine: str) -> None:
    with xarray.open_dataset(data.path, engine=engine) as opened:
        counts = opened["node_count"].values
        assert opened["node_count"].attrs["sample_dimension"] == "node"
        assert opened["u"].dims == ("node", "component") and opened["w"].dims == ("node", "time", "component")
        assert opened["cells"].dims == ("cell", "corner") and opened["g"].dims == ("g_point",)
        assert counts.sum() == opened.sizes["node"]
        u = np.split(opened["u"].values, np.cumsum(counts)[:-1])
        assert np.array_equal(u[4], data.arrays("u")[4])


def test_a_view_goes_to_xarray_with_its_points_alone(data: Dataset) -> None:
    view = data.test
    opened = view.to_xarray()
    assert opened.sizes["sample"] == 1 and opened.sizes["node"] == len(disks()[2])
    assert np.array_equal(opened["u"].values, data.arrays("u")[2])
    assert np.array_equal(opened["cells"].values[:, :3].max(), len(disks()[2]) - 1)


def test_meshes_go_through_meshio_and_come_back(tmp_path: Path, data: Dataset) -> None:
    kept = [item for item, _ in fields_of(arrays(disks())) if item.name in ("a", "u", "k")]
    out = [data.to_meshio(i) for i in range(COUNT)]
    settings: dict[str, Any] = {"split": SPLIT, "units": "m", "boundary_names": ("inside", "wall")}
    again = Dataset.from_meshio(tmp_path / "again.h5", out, kept, **settings)
    for i in range(COUNT):
        assert same_mesh(again.mesh(i), data.mesh(i))
    for item in kept:
        assert again.fields[item.name] == item
        assert all(map(np.array_equal, again.arrays(item.name), data.arrays(item.name)))
    assert data.to_meshio(2, frame=1).point_data["w"].shape == (len(disks()[2]), 2)
    with pytest.raises(DataError, match="mesh 0 has no point data 'v', only 'a', 'u', 'boundary_tag'"):
        Dataset.from_meshio(tmp_path / "v.h5", out, [Field("v", "output")], **settings)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("vtu", {}), ("vtk", {}), ("xdmf", {"data_format": "XML"}), ("msh", {"file_format": "gmsh22"})],
)
def test_files_of_other_programs_give_the_same_dataset(
    tmp_path: Path, data: Dataset, suffix: str, options: dict[str, Any]
) -> None:
    import meshio

    read = []
    for i in range(2):
        mesh, path = data.to_meshio(i), tmp_path / f"{i}.{suffix}"
        cells = [block for block in mesh.cells if block.type == "triangle"]
        flat = np.pad(mesh.points, ((0, 0), (0, 1)))  # in space, as most formats want them
        values = mesh.point_data["a"].astype(float)
        meshio.write(path, meshio.Mesh(flat, cells, {"force-1": values}), **options)
        read.append(meshio.read(path))
    again = Dataset.from_meshio(
        tmp_path / "again.h5", read, {"force-1": Field("force", "input")}, split=[0, 0]
    )
    assert again.space.names == ("x", "y") and len(again) == 2
    for i in range(2):
        # Some formats are text with 16 digits.
        np.testing.assert_allclose(again.mesh(i).coordinates, disks()[i].coordinates, rtol=0, atol=1e-15)
        np.testing.assert_allclose(again.arrays("force")[i], data.arrays("a")[i], rtol=1e-15)


def test_equal_meshes_are_stored_once_and_points_come_as_vertices(tmp_path: Path, shared: Dataset) -> None:
    out = [shared.to_meshio(i) for i in range(3)]
    again = Dataset.from_meshio(tmp_path / "m.h5", out, {"u": Field("v", "output")}, split=[0, 0, 1])
    assert again.load("v").shape == (3, 19) and np.array_equal(again.load("v"), shared.load("u")[:3])
    points = write_shared(tmp_path / "points.h5", cells=False)
    out = [points.to_meshio(i) for i in range(2)]
    again = Dataset.from_meshio(tmp_path / "p.h5", out, [Field("u", "output")], split=[0, 0])
    assert again.kind == "points" and np.array_equal(again.load("u"), points.load("u")[:2])


def test_equal_content_is_equal_bytes(tmp_path: Path, data: Dataset) -> None:
    again = write_disks(tmp_path / "again.h5")
    assert again.digest == data.digest and again.path.read_bytes() == data.path.read_bytes()


def test_chunks_hold_many_small_samples(data: Dataset) -> None:
    with h5py.File(data.path) as file:
        assert file["u"].chunks == file["u"].shape  # far below 128 KiB
    from sciml.schema import chunk_shape

    assert chunk_shape(("node", "component"), (10**6, 3), 4) == (2**17 // 12, 3)


def test_reading_neighbors_in_the_file_takes_one_read() -> None:
    class Counting:
        def __init__(self, values: np.ndarray) -> None:
            self.values, self.reads = values, 0

        def __getitem__(self, key: Any) -> np.ndarray:
            self.reads += 1
            return self.values[key]

    nodes, values = Location("node", 10, np.array([2, 3, 1, 4])), Counting(np.arange(10))
    found = nodes.read(values, np.dtype(np.int64), np.array([3, 0, 1, 0]))
    assert [a.tolist() for a in found] == [[6, 7, 8, 9], [0, 1], [2, 3, 4], [0, 1]]
    assert values.reads == 2


WRONG = {
    "u": (lambda u: u[:-1], "needs one array for each sample, got 6"),
    "w": (lambda w: [w[0][:2], *w[1:]], r"'w' of sample 0 must have shape \(3, 7, 2\)"),
    "k": (lambda k: [k[0], k[1][:-1], *k[2:]], r"'k' of sample 1 must have shape \(\d+,\)"),
    "g": (lambda g: g[1:], "needs a PointSet"),
    "a": (lambda a: [*a[:-1], np.full_like(a[-1], np.nan)], "'a' is not finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, name: str) -> None:
    change, message = WRONG[name]
    given = arrays(disks())
    given[name] = change(given[name])
    with pytest.raises(DataError, match=message):
        write_disks(tmp_path / "wrong.h5", fields=fields_of(given))
    assert not list(tmp_path.iterdir())


def test_other_mistakes_are_refused(tmp_path: Path, data: Dataset) -> None:
    given = fields_of(arrays(disks()))
    with pytest.raises(DataError, match="one of them for each of 7 samples; got 3"):
        write_disks(tmp_path / "wrong.h5", grid=disks()[:3])
    with pytest.raises(DataError, match="cannot be the same for all samples: each has its own points"):
        fixed = Field("f", "mask", sample=False)
        write_disks(tmp_path / "wrong.h5", fields=[*given, (fixed, np.ones(7))])
    with pytest.raises(DataError, match="'g_count' is the name of the points of 'g'"):
        write_disks(tmp_path / "wrong.h5", fields=[*given, (Field("g_count", "parameter"), np.ones(COUNT))])
    with pytest.raises(DataError, match="on cells, but there is no Mesh"):
        points = [Points(mesh.coordinates) for mesh in disks()]
        write_disks(tmp_path / "wrong.h5", grid=points, provenance=None)
    with pytest.raises(DataError, match="boundary maps a boundary of the meshes"):
        write_disks(tmp_path / "wrong.h5", attributes={"boundary": {"door": "open"}})
    with pytest.raises(DataError, match=r"arrays\('u'\) gives an array for each"):
        data.load("u")
    with pytest.raises(DataError, match="takes fields on the same points"):
        data.tensor(["u", "k"])


def test_damage_to_the_structure_is_noticed(tmp_path: Path) -> None:
    path = write_disks(tmp_path / "disks.h5").path
    for name in ("node_count", "cells", "boundary_tag", "g_points"):
        damaged = tmp_path / "damaged.h5"
        damaged.write_bytes(path.read_bytes())
        with h5py.File(damaged, "r+") as file:
            values = file[name][()]
            values.flat[0], values.flat[-1] = values.flat[-1], values.flat[0] + 1
            file[name][...] = values
        with pytest.raises(DataError, match=name):
            open_dataset(damaged).verify()


def test_the_checker_finds_cells_that_are_no_mesh(tmp_path: Path) -> None:
    from sciml.conformance import check
    from sciml.dataset_file import read_variables
    from sciml.hdf5 import read_attributes, sha256_of
    from sciml.schema import content_digest

    path = write_disks(tmp_path / "disks.h5").path
    assert check(path).conforms
    for name, index, value, message in (
        ("cells", (0, 0), 99, "name points"),
        ("cell_type", (0,), 7, "cell_type has values 0 to 7"),
        ("node_coords", (0, 0), 50.0, "not the box around the points"),
    ):
        crafted = tmp_path / "crafted.h5"
        crafted.write_bytes(path.read_bytes())
        with h5py.File(crafted, "r+") as file:  # by somebody who makes all checksums fit
            file[name][index] = value
            file[name].attrs.modify("sha256", np.bytes_(sha256_of(file[name])))
            named = [n for n in file if n in open_dataset(path)._layout.variables]
            described = read_variables(file, crafted, named)
            digest = content_digest(read_attributes(file, crafted, "the root"), list(described.values()))
            file.attrs.modify("sciml_digest", np.bytes_(digest))
        found = check(crafted)
        assert [d.rule for d in found.departures] == ["content"] and message in str(found)
        if name != "node_coords":
            with pytest.raises(DataError, match=message):
                open_dataset(crafted).mesh(0)


def test_disk_is_a_disk() -> None:
    mesh = disk(6, 2.0)
    triangles = dict(mesh.cells)["triangle"]
    assert len(mesh) - len(mesh.edges()) + len(triangles) == 1  # Euler
    # A polygon of 36 corners in a circle.
    assert mesh.weights().sum() == pytest.approx(18 * 4 * np.sin(2 * np.pi / 36))
