"""The contract of every generator in `sciml.datasets.__all__`, and the machinery they share."""

from __future__ import annotations

import numpy as np
import pytest
import xarray

import sciml.datasets
from sciml.dataset import open_dataset
from sciml.datasets import generation
from sciml.datasets.generation import make, make_block, sample_seed
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

GENERATORS = sciml.datasets.__all__


@pytest.fixture(scope="module", params=GENERATORS)
def generator(request):
    return getattr(sciml.datasets, request.param)(resolution=16)


@pytest.fixture(scope="module")
def files(generator, tmp_path_factory):
    """30 samples (two blocks) by one and by two workers, and a smaller file with other splits."""
    folder = tmp_path_factory.mktemp(generator.name)
    calls = []
    one = generator.make(
        folder / "1.h5", train=25, valid=2, test=3, seed=5, workers=1, progress=lambda *c: calls.append(c)
    )
    assert calls == [(20, 30), (30, 30)]
    two = generator.make(folder / "2.h5", train=25, valid=2, test=3, seed=5, workers=2)
    few = generator.make(folder / "few.h5", train=2, valid=0, test=2, seed=5, workers=1)
    return one, two, few


def test_same_file_for_any_number_of_workers(files):
    one, two, _ = files
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.digest == two.digest


def test_sample_i_does_not_depend_on_how_many_there_are(files):
    one, _, few = files
    for name in one.fields:
        np.testing.assert_array_equal(few.load(name), one.load(name)[:4])
    for name in ("sample_seed", "discretization_error", "status"):
        np.testing.assert_array_equal(few.variable(name), one.variable(name)[:4])


def test_seeds(generator, files):
    one = files[0]
    seeds = one.variable("sample_seed")
    assert seeds.dtype == np.int64 and (seeds >= 0).all() and len(set(seeds.tolist())) == 30
    assert seeds.tolist() == [sample_seed(generator.name, 5, i) for i in range(30)]
    assert one.attributes["seed"] == 5
    first = make_block(generator, 6, [0])
    assert not np.array_equal(first.arrays[0], one.load(next(iter(one.fields)))[:1])
    assert (one.variable("status") == 0).all()


def test_stored_is_computed_and_rounded(generator, files):
    one = files[0]
    arrays = generator.sample(one.variable("sample_seed")[:3].tolist())
    for item, array in zip(generator.fields, arrays, strict=True):
        stored = one.load(item.name)[:3]
        assert stored.dtype == np.float32
        # Threads of this process may round otherwise than a worker: a little on top of float32.
        np.testing.assert_allclose(stored, array, rtol=1e-6)


def test_error_estimates(files):
    error = files[0].variable("discretization_error")
    assert np.isfinite(error[:4]).all() and (error[:4] > 0).all() and (error[:4] < 0.2).all()
    assert np.isnan(error[4:]).all()


def test_splits_and_roles(generator, files):
    one, _, few = files
    assert one.train.indices.tolist() == list(range(25))
    assert one.valid.indices.tolist() == [25, 26]
    assert one.test.indices.tolist() == [27, 28, 29]
    assert len(few.train) == 2 and len(few.test) == 2
    assert set(one.fields) == {f.name for f in generator.fields}
    assert one.grid == generator.grid
    one.scan()


def test_opens_in_xarray(generator, files):
    one = files[0]
    for engine in ("h5netcdf", "netcdf4"):
        with xarray.open_dataset(one.path, engine=engine) as found:
            for item in generator.fields:
                assert found[item.name].attrs["units"] == item.units
                assert found[item.name].attrs["long_name"] == item.long_name
                assert found[item.name].shape[0] == 30
            for key, value in generator.settings().items():
                assert found.attrs[f"sciml_{key}"] == value
            assert found.attrs["equation"] and found.attrs["solver"] and found.attrs["boundary"]
    assert open_dataset(one.path).digest == one.digest


class Fragile:
    """A "solver" that fails for the seeds it is told to."""

    name = "fragile"
    grid = Grid.box((4,))
    fields = (Field("u", "output"),)

    def __init__(self, failing, *, error=0.01):
        self.failing, self.error = set(failing), error

    def sample(self, seeds):
        return (np.array([[np.nan if s in self.failing else 1 / 3] * 4 for s in seeds]),)

    def estimate_error(self, arrays):
        return np.full(len(arrays[0]), self.error)

    def provenance(self, seed):
        return Provenance(seed=seed)

    def settings(self):
        return {}


def test_failed_samples_are_drawn_anew_and_counted():
    bad = sample_seed("fragile", 0, 6)
    worse = [sample_seed("fragile", 0, 8, attempt) for attempt in range(3)]
    block = make_block(Fragile([bad, *worse]), 0, range(5, 10))
    assert block.status.tolist() == [0, 1, 0, 1, 0]
    assert block.seeds[1] == sample_seed("fragile", 0, 6, 1)
    assert block.seeds[3] == sample_seed("fragile", 0, 8, 3)
    assert np.isfinite(block.arrays[0]).all()


def test_a_sample_that_always_fails_is_an_error():
    seeds = [sample_seed("fragile", 0, 6, attempt) for attempt in range(4)]
    with pytest.raises(DataError, match="sample 6 is not finite after 4 attempts"):
        make_block(Fragile(seeds), 0, range(5, 10))


def test_every_hundredth_sample_is_estimated():
    block = make_block(Fragile([]), 0, range(95, 105))
    assert np.flatnonzero(np.isfinite(block.error)).tolist() == [5]


def test_the_error_is_that_of_the_stored_numbers():
    """1/3 in float32 is off by 2.98e-8 of itself."""
    block = make_block(Fragile([], error=1e-12), 0, range(1, 6))
    (stored,), error = generation._as_float32(Fragile([]), block)
    assert stored.dtype == np.float32
    np.testing.assert_allclose(error, [2.98e-8] * 3 + [np.nan] * 2, rtol=1e-2)
    block = make_block(Fragile([], error=0.01), 0, range(1, 6))
    np.testing.assert_array_equal(generation._as_float32(Fragile([]), block)[1], block.error)


@pytest.mark.parametrize("size", [1e-40, 1e40])
def test_values_out_of_range_of_float32_are_refused(size):
    block = generation.Block((np.full((1, 4), size / 3),), np.zeros(1), np.zeros(1), np.array([0.1]))
    with pytest.raises(DataError, match="leave the range of float32"):
        generation._as_float32(Fragile([]), block)


def test_bad_requests(tmp_path):
    with pytest.raises(ConfigError, match="train >= 1"):
        make(Fragile([]), tmp_path / "a.h5", counts=(0, 1, 1))
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        make(Fragile([]), tmp_path / "missing" / "a.h5", counts=(1, 0, 0))
