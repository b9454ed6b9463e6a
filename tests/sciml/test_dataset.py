"""Datasets: what is written is what is read, by us, by xarray and in other processes."""

import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sciml import dataset_writer
from sciml.cores import available_cores
from sciml.dataset import Dataset, Field, Provenance, open_dataset, write_dataset
from sciml.dataset_content import prepare
from sciml.description import build, describe
from sciml.errors import DataError
from sciml.grid import Axis, Grid
from sciml.schema import chunk_shape

COUNT = 7
GRID = Grid((Axis("x", -1.0, 1.0, 6, "node", periodic=True, units="m"), Axis("y", 0.0, 0.3, 5, units="m")))
SPLIT = [0, 2, 0, 1, 0, 0, 2]
TIMES = [0.0, 0.1, 0.3]
PROVENANCE = Provenance(
    title="Waves",
    pde="wave_2d",
    equation="u_tt = c² Δu",
    boundary={"y": ("dirichlet", "neumann")},
    generator="test 1.0",
    seed=5,
    time_units="s",
)


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "a": rng.normal(size=(COUNT, 6, 5)).astype(np.float32),
        "v": rng.normal(size=(COUNT, 3, 2, 6, 5)),
        "b": rng.normal(size=(COUNT, 2, 6, 5)).astype(np.float32),
        "m": rng.normal(size=(6, 5)) > 0,
        "c": rng.uniform(1, 2, size=COUNT),
    }


def write(path: Path, **changes: object) -> Dataset:
    data = arrays()
    settings = {
        "grid": GRID,
        "fields": [
            (Field("a", "input", units="m/s", long_name="speed"), data["a"]),
            (Field("v", "state", units="m", components=2, time=True), data["v"]),
            (Field("b", "coefficient", components=2, rank=0), data["b"]),
            (Field("m", "mask", sample=False), data["m"]),
            (Field("c", "parameter", units="m/s"), data["c"]),
        ],
        "split": SPLIT,
        "times": TIMES,
        "variables": {
            "sample_seed": np.arange(COUNT) + 2**40,
            "status": np.zeros(COUNT),
            "q": np.ones(COUNT),
        },
        "attributes": {"mylab_run": 12, "mylab_notes": {"k": [1.5, "two"]}},
        "provenance": PROVENANCE,
    }
    return write_dataset(path, **{**settings, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write(tmp_path_factory.mktemp("data") / "waves.h5")


def test_values_types_and_descriptions_come_back(data: Dataset) -> None:
    given = arrays()
    for name in ("a", "v", "b"):
        assert data.load(name).dtype == given[name].dtype
        np.testing.assert_array_equal(data.load(name), given[name])
    assert data.load("m").shape == (COUNT, 6, 5)
    np.testing.assert_array_equal(data.load("m")[3], given["m"])
    np.testing.assert_array_equal(data.parameters(), np.stack([given["c"], np.ones(COUNT)], axis=1))
    assert data.parameter_names == ("c", "q")
    assert data.grid == GRID
    np.testing.assert_array_equal(data.times, TIMES)
    assert data.fields["a"] == Field("a", "input", units="m/s", long_name="speed")
    assert data.fields["b"] == Field("b", "coefficient", components=2, rank=0)
    assert data.fields["v"].time
    assert not data.fields["m"].sample
    np.testing.assert_array_equal(data.test.variable("sample_seed"), np.array([1, 6]) + 2**40)
    data.scan()
    data.verify()


def test_attributes(data: Dataset) -> None:
    told = data.attributes
    assert told["boundary"] == {"x": ["periodic", "periodic"], "y": ["dirichlet", "neumann"]}
    assert told["domain"] == {"x": [-1.0, 1.0], "y": [0.0, 0.3]}
    assert told["task"] == {
        "kind": "rollout",
        "inputs": ["a", "b", "v"],
        "outputs": ["v"],
        "conditioning": ["c", "q"],
    }
    assert told["equation"] == "u_tt = c² Δu"
    assert (told["seed"], told["mylab_run"], told["mylab_notes"]) == (5, 12, '{"k":[1.5,"two"]}')
    assert "date_created" not in told


def test_splits_and_subsets_share_one_handle(data: Dataset) -> None:
    assert [len(part) for part in (data, data.train, data.valid, data.test)] == [7, 4, 1, 2]
    np.testing.assert_array_equal(data.train.indices, [0, 2, 4, 5])
    assert data.train._source is data._source
    view = data.train.subset([3, 0, 0])
    np.testing.assert_array_equal(view.indices, [5, 0, 0])
    np.testing.assert_array_equal(view.load("a"), arrays()["a"][[5, 0, 0]])
    np.testing.assert_array_equal(data.subset(np.array(SPLIT) == 1).indices, data.valid.indices)
    assert len(data.train.test) == 0
    assert data.train.test.tensor(["a"]).shape == (0, 1, 6, 5)


def test_another_split_has_other_statistics(data: Dataset) -> None:
    other = data.resplit([2, 2, -1, 0, 0, 1, -1])
    assert [part.indices.tolist() for part in (other.train, other.valid, other.test)] == [[3, 4], [5], [0, 1]]
    assert other.statistics("a").mean.item() == pytest.approx(arrays()["a"][[3, 4]].mean(), rel=1e-6)
    assert data.statistics("a").mean.item() != pytest.approx(other.statistics("a").mean.item(), rel=1e-3)
    again = build(describe(other.test))
    assert again.indices.tolist() == [0, 1] and again.statistics("a").mean == other.statistics("a").mean
    part = data.train.resplit([2, 0, 0, 1])  # of samples 0, 2, 4, 5
    assert part.test.indices.tolist() == [0] and part.train.indices.tolist() == [2, 4] and len(part) == 4
    for split, view in (([0, 1], data), ([0, 1, 2, 3, 0, 0, 0], data), ([0.5] * 7, data)):
        with pytest.raises(DataError, match="split needs an integer for each of 7 samples"):
            view.resplit(split)
    with pytest.raises(DataError, match="in memory already"):
        data.in_memory().resplit([0] * 7)
    with pytest.raises(DataError, match="got 0x"):
        Dataset(data.path, split="0x")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(-COUNT, COUNT - 1), max_size=12))
def test_rows_in_any_order(data: Dataset, rows: list[int]) -> None:
    np.testing.assert_array_equal(data.load("v", rows), arrays()["v"][rows])
    np.testing.assert_array_equal(data.in_memory(["v"]).load("v", rows), arrays()["v"][rows])


def test_tensors_put_components_side_by_side(data: Dataset) -> None:
    given = arrays()
    for view in (data, data.in_memory()):
        x = view.tensor(["b", "m", "a"], [4, 1])
        assert (x.shape, x.dtype) == ((2, 4, 6, 5), torch.float32)
        np.testing.assert_array_equal(x[:, :2].numpy(), given["b"][[4, 1]])
        np.testing.assert_array_equal(x[:, 2].numpy(), np.stack([given["m"]] * 2))
        np.testing.assert_array_equal(x[:, 3].numpy(), given["a"][[4, 1]])
        v = view.tensor("v", slice(2, 5), dtype=torch.float64)
        np.testing.assert_array_equal(v.numpy(), given["v"][2:5])
        with pytest.raises(DataError, match="time axis"):
            view.tensor(["a", "v"])


def test_memory_is_not_shared_with_results(data: Dataset) -> None:
    held = data.train.in_memory()
    held.tensor(["a"]).zero_()
    held.load("a")[:] = 0
    np.testing.assert_array_equal(held.load("a"), arrays()["a"][held.indices])
    with pytest.raises(DataError, match="was not loaded"):
        data.in_memory(["a"]).load("b")


def test_unknown_names_come_with_the_nearest(data: Dataset) -> None:
    with pytest.raises(DataError, match=r"waves.h5: has no field 'A1'; it has 'a', 'v', 'b', 'm'"):
        data.load("A1")
    with pytest.raises(DataError, match="It is a parameter"):
        data.tensor(["c"])
    with pytest.raises(DataError, match="Did you mean 'sample_seed'"):
        data.variable("sampleseed")
    with pytest.raises(DataError, match="there are 7 samples, got 7"):
        data.load("a", [7])
    with pytest.raises(DataError, match="expected integers"):
        data.load("a", [0.5])


def test_repr_names_what_is_there(data: Dataset) -> None:
    text = repr(data.train)
    for part in (
        "waves.h5: 4 samples (4 train)",
        "6 periodic nodes on [-1, 1] m",
        "3 frames",
        "state (time 3, x 6",
    ):
        assert part in text


def test_statistics_are_of_the_train_split(data: Dataset) -> None:
    v = arrays()["v"][np.array(SPLIT) == 0]
    found = data.test.statistics("v")
    # float64 sums of 360 numbers of order one, in another order: a few hundred roundings at most.
    near = {"rtol": 1e-13, "atol": 1e-14}
    np.testing.assert_allclose(found.mean, v.mean(axis=(0, 1, 3, 4)), **near)
    np.testing.assert_allclose(found.std, v.std(axis=(0, 1, 3, 4)), **near)
    np.testing.assert_allclose(found.rms, np.sqrt((v**2).mean(axis=(0, 1, 3, 4))), **near)
    np.testing.assert_array_equal(found.max, v.max(axis=(0, 1, 3, 4)))
    np.testing.assert_allclose(found.std_delta, np.diff(v, axis=1).std(axis=(0, 1, 3, 4)), **near)
    assert data.statistics("m").mean == arrays()["m"].mean()


def test_statistics_of_a_signal_on_a_large_offset(tmp_path: Path) -> None:
    signal = 1e5 + 1e-2 * np.random.default_rng(0).normal(size=(40, 50, 60))
    for dtype in (np.float32, np.float64):
        stored = signal.astype(dtype)
        data = write_dataset(
            tmp_path / "p.h5",
            grid=Grid.box((50, 60)),
            fields=[(Field("p", "output"), stored)],
            split=[0] * 40,
        )
        exact = stored.astype(np.longdouble) - 100_000  # exact: the numbers are within a factor two of 1e5
        variance = np.mean((exact - exact.mean()) ** 2)
        assert abs(data.statistics("p").std.item() ** 2 / float(variance) - 1) < 1e-6


def test_constant_fields_and_single_samples(tmp_path: Path) -> None:
    fields = [(Field("u", "output"), np.full((1, 3), 0.1, np.float32))]
    found = write_dataset(tmp_path / "u.h5", grid=Grid.box((3,)), fields=fields, split=[0]).statistics("u")
    assert (found.std.item(), found.mean.item()) == (0.0, float(np.float32(0.1)))
    data = write_dataset(tmp_path / "u.h5", grid=Grid.box((3,)), fields=fields, split=[2])
    with pytest.raises(DataError, match="no training samples"):
        data.statistics("u")


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_opens_in_xarray(data: Dataset, engine: str) -> None:
    given = arrays()
    with xarray.open_dataset(data.path, engine=engine) as opened:
        assert opened["v"].dims == ("sample", "time", "x", "y", "component")
        assert opened["m"].dims == ("x", "y")
        assert set(opened.coords) == {"sample", "time", "x", "y"}
        assert not [d for d in opened.dims if str(d).startswith("phony")]
        np.testing.assert_array_equal(opened["v"], np.moveaxis(given["v"], 2, -1))
        np.testing.assert_array_equal(opened["x"], GRID.axes[0].coordinates)
        assert opened["x"].attrs["axis"] == "X"
        assert (opened["x"].attrs["periodic"], opened["x"].attrs["period"]) == (1, 2.0)
        assert opened["y"].attrs["grid_location"] == "cell"
        assert opened["a"].attrs["units"] == "m/s"
        assert opened["time"].attrs["units"] == "s"
        assert opened["split"].attrs["flag_meanings"] == "train valid test"
        assert opened.attrs["equation"] == "u_tt = c² Δu"


def test_several_component_counts_have_several_dimensions(tmp_path: Path) -> None:
    fields = [(Field(f"u{n}", "output", components=n), np.zeros((2, n, 4))) for n in (2, 3)]
    data = write_dataset(tmp_path / "u.h5", grid=Grid.box((4,)), fields=fields, split=[0, 0])
    assert data.tensor(["u2", "u3"]).shape == (2, 5, 4)
    with xarray.open_dataset(data.path, engine="netcdf4") as opened:
        assert opened["u3"].dims == ("sample", "x", "component_3")


def test_to_xarray_follows_the_view(data: Dataset) -> None:
    with data.test.to_xarray() as opened:
        np.testing.assert_array_equal(opened["a"], arrays()["a"][[1, 6]])
        np.testing.assert_array_equal(opened["sample"], [1, 6])


def test_equal_content_gives_equal_bytes_and_digest(tmp_path: Path, data: Dataset) -> None:
    again = write(tmp_path / "again.h5")
    assert again.path.read_bytes() == data.path.read_bytes()
    dated = write(tmp_path / "dated.h5", attributes={"date_created": "2026-01-01"})
    plain = write(tmp_path / "plain.h5", attributes={})
    assert (dated.digest, dated.attributes["date_created"]) == (plain.digest, "2026-01-01")
    assert plain.digest != data.digest
    assert write(tmp_path / "other.h5", split=[0, 2, 0, 1, 0, 0, 1]).digest != data.digest


def test_describe_and_build(data: Dataset) -> None:
    for view in (data, data.train, data.subset([5, 1])):
        again = build(describe(view))
        np.testing.assert_array_equal(again.indices, view.indices)
        assert again.digest == view.digest
    with pytest.raises(DataError, match="other data than asked for"):
        Dataset(data.path, digest="sha256:0")


def test_one_handle_in_each_process(data: Dataset) -> None:
    expected = arrays()["v"][[5, 0]]
    data.load("a")
    held = data._source.handle()
    copy = pickle.loads(pickle.dumps(data))
    assert copy._source._handle is None
    np.testing.assert_array_equal(copy.load("v", [5, 0]), expected)
    assert copy._source.handle() is not held
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(Dataset.load, (data, "v", [5, 0])), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_loader_workers_open_their_own(data: Dataset) -> None:
    data.load("a")
    held = data._source.handle()

    class Rows(torch.utils.data.Dataset[tuple[torch.Tensor, bool]]):
        def __len__(self) -> int:
            return COUNT

        def __getitem__(self, row: int) -> tuple[torch.Tensor, bool]:
            values = data.tensor(["a"], [row])[0]
            handle = data._source._handle
            return values, handle is not held and handle.process == os.getpid()

    workers = min(2, available_cores())  # more than there are cores, and torch warns
    loader = torch.utils.data.DataLoader(
        Rows(), batch_size=2, num_workers=workers, multiprocessing_context="fork"
    )
    batches = list(loader)
    np.testing.assert_array_equal(torch.cat([x[:, 0] for x, _ in batches]), arrays()["a"])
    assert all(bool(own.all()) for _, own in batches)
    assert data._source.handle() is held
    np.testing.assert_array_equal(data.load("a"), arrays()["a"])


def test_handles_are_closed(tmp_path: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("this system does not list open files")
    path = write(tmp_path / "u.h5").path
    before = len(list(folder.iterdir()))
    for _ in range(5):
        view = open_dataset(path).train
        view.load("a")
        del view
    assert len(list(folder.iterdir())) == before


def test_a_replaced_file_is_noticed(tmp_path: Path) -> None:
    data = write(tmp_path / "u.h5")
    parked = pickle.dumps(data)
    write(tmp_path / "u.h5")  # equal content: fine
    np.testing.assert_array_equal(pickle.loads(parked).load("a"), arrays()["a"])
    write(tmp_path / "u.h5", attributes={"mylab_run": 13})
    np.testing.assert_array_equal(data.load("a"), arrays()["a"])  # the old file lives while it is open
    with pytest.raises(DataError, match="was replaced"):
        pickle.loads(parked).load("a")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(tmp_path / "u.h5")
    before = data.path.read_bytes()
    broken = arrays()["a"]
    broken[4, 2, 1] = np.nan
    with pytest.raises(DataError, match=r"'a' is not finite at file index \(4, 2, 1\)"):
        write(data.path, fields=[(Field("a", "input"), broken)], times=None)

    def stop(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset_writer, "_rename", stop)
    with pytest.raises(KeyboardInterrupt):
        write(data.path, attributes={})
    assert data.path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["u.h5"]


def test_a_full_disk_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="no room for"):
            write(tmp_path / "u.h5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("count", "points"), [(1, 3), (3000, 4), (20, 5000)])
def test_reserved_room_suffices(tmp_path: Path, count: int, points: int) -> None:
    content = prepare(
        Grid.box((points,)),
        [(Field("u", "output"), np.zeros((count, points), np.float32))],
        np.zeros(count),
        times=None,
        variables={"beta": np.zeros(count)},
        attributes={"mylab_text": "é" * 70_000},  # beyond the 64 KiB of an attribute in the object's header
        provenance=Provenance(),
    )
    dataset_writer.write_file(tmp_path / "u.h5", content)
    assert (tmp_path / "u.h5").stat().st_size < dataset_writer._estimate(content)
    assert open_dataset(tmp_path / "u.h5").attributes["mylab_text"] == "é" * 70_000


@given(
    frames=st.integers(1, 300),
    space=st.lists(st.integers(1, 300), min_size=1, max_size=3),
    itemsize=st.sampled_from([1, 4, 8]),
)
@settings(max_examples=60, deadline=None)
def test_chunks_never_cross_samples(frames: int, space: list[int], itemsize: int) -> None:
    shape = (1000, frames, *space)
    chunk = chunk_shape(("sample", "time", *"xyz"[: len(space)]), shape, itemsize)
    size = int(np.prod(chunk)) * itemsize
    frame = int(np.prod(space)) * itemsize
    assert chunk[0] == 1
    assert size <= 2**22
    assert all(1 <= c <= n for c, n in zip(chunk, shape, strict=True))
    # At least 128 KiB unless the whole sample is smaller or a frame had to be cut.
    assert size >= min(2**17, frames * frame) or frame > 2**22


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": [0, 1]}, r"field 'a' must have shape \(sample, x, y\) = \(2, 6, 5\), got \(7, 6, 5\)"),
        ({"split": [0, 1, 2, 3, 0, 0, 0]}, "split holds 0"),
        ({"times": None}, "times and fields with time=True"),
        ({"times": [0.0, 0.2, 0.1]}, "times must be finite and increase"),
        ({"variables": {"sample_seed": np.full(7, 0.5)}}, "sample_seed holds one int64 per sample"),
        ({"variables": {"status": np.full(7, 3)}}, "status takes 0 to 2"),
        ({"variables": {"q": np.ones(3)}}, "'q' must have shape"),
        ({"variables": {"a": np.ones(7)}}, r"distinct and not reserved, got \['a'\]"),
        ({"variables": {"x/y": np.ones(7)}}, "a name starts with a letter"),
        ({"attributes": {"domain": "mine"}}, "set by the schema"),
        ({"attributes": {"mylab": float("nan")}}, "finite number"),
        ({"attributes": {"boundary": {"x": ("wall", "wall")}}}, "State it in the Axis"),
        ({"attributes": {"boundary": {"z": ("wall", "wall")}}}, "boundary maps an axis"),
    ],
)
def test_the_writer_refuses_what_does_not_fit(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write(tmp_path / "u.h5", **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["f2", "c8", "u8", "U3", "O"])
def test_the_writer_refuses_types_that_readers_do_not_share(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(DataError, match="field 'u' has type"):
        write_dataset(
            tmp_path / "u.h5",
            grid=Grid.box((3,)),
            fields=[(Field("u", "output"), np.zeros((2, 3), dtype))],
            split=[0, 0],
        )


def test_the_writer_says_which_axis_is_which(tmp_path: Path) -> None:
    given = arrays()["b"]
    with pytest.raises(DataError, match=r"\(sample, component, x, y\) = \(7, 2, 6, 5\), got \(7, 6, 5, 2\)"):
        write(
            tmp_path / "u.h5",
            fields=[(Field("b", "input", components=2), np.moveaxis(given, 1, -1))],
            times=None,
        )
    with pytest.raises(FileNotFoundError, match="create it first"):
        write(tmp_path / "absent" / "u.h5")
    with pytest.raises(DataError, match=r"role must be one of .* Did you mean 'output'"):
        Field("u", "outputs")
    with pytest.raises(DataError, match="one number per sample"):
        Field("u", "parameter", components=2)


def test_big_endian_and_channel_of_one_are_accepted(tmp_path: Path) -> None:
    u = np.arange(6.0, dtype=">f4").reshape(2, 1, 3)
    data = write_dataset(
        tmp_path / "u.h5", grid=Grid.box((3,)), fields=[(Field("u", "output"), u)], split=[0, 0]
    )
    assert data.load("u").dtype == np.dtype("=f4")
    np.testing.assert_array_equal(data.load("u"), u[:, 0])
