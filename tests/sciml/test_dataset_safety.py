"""What must not be read is refused by one DataError that names file and object; damage is always noticed."""

import os
import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t

from sciml.dataset import Dataset, Field, open_dataset, write_dataset
from sciml.dataset_file import read_variables
from sciml.errors import DataError
from sciml.grid import Grid
from sciml.hdf5 import is_dimension_only, read_attributes
from sciml.schema import content_digest

VALUES = np.random.default_rng(0).normal(size=(4, 2, 2, 5, 3))


def write(path: Path) -> Dataset:
    return write_dataset(
        path,
        grid=Grid.box((5, 3)),
        fields=[
            (Field("a", "input", units="m"), VALUES[:, 0, 0].astype(np.float32)),
            (Field("u", "output", components=2, time=True), VALUES),
            (Field("c", "parameter"), VALUES[:, 0, 0, 0, 0]),
        ],
        split=[0, 0, 1, 2],
        times=[0.0, 1.0],
        variables={"sample_seed": np.arange(4)},
        attributes={"title": "Safe"},
    )


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("safety") / "data.h5").path


@pytest.fixture
def path(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(pristine, tmp_path / "data.h5"))


def sign(path: Path) -> None:
    """What a forger would do: make the digest fit the content again."""
    with h5py.File(path, "r+") as file:
        names = [n for n in file if isinstance(file[n], h5py.Dataset) and not is_dimension_only(file[n])]
        variables = list(read_variables(file, path, names).values())
        digest = content_digest(read_attributes(file, path, "the root"), variables)
        file.attrs["sciml_digest"] = np.array(digest.encode(), h5py.string_dtype("utf-8", len(digest)))


def replace(file: Any, name: str, data: Any = None, **storage: Any) -> Any:
    """Another dataset under the name, with the attributes of the first but those of HDF5's scales."""
    old = file[name]
    told = {k: v for k, v in old.attrs.items() if k not in ("DIMENSION_LIST", "REFERENCE_LIST")}
    del file[name]
    new = file.create_dataset(name, data=data, **storage)
    for key, value in told.items():
        new.attrs[key] = value
    return new


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4, 5, 3), "<f4")
    layout[:] = h5py.VirtualSource("other.h5", "u", shape=(4, 5, 3))
    file.create_virtual_dataset("secret", layout)


def plug_in_filter(file: Any) -> None:
    """A dataset that names the zstd plug-in, which need not be installed: the filter is marked optional."""
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_chunk((4,))
    plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
    h5d.create(file.id, b"packed", h5t.NATIVE_FLOAT, h5s.create_simple((4,)), dcpl=plan)


def deep(file: Any) -> None:
    group = file
    for _ in range(40):
        group = group.create_group("g")


def hard_link_cycle(file: Any) -> None:
    file.create_group("loop")
    file["loop/again"] = file["loop"]


def compression_bomb(file: Any) -> None:
    """Half a gigabyte of zeros in half a megabyte: deflate reaches 1000, large variables are allowed 200."""
    bomb = file.create_dataset("big", (128, 2**20), "f4", chunks=(1, 2**20), compression=9)
    packed = zlib.compress(bytes(2**22), 9)
    for i in range(128):
        bomb.id.write_direct_chunk((i, 0), packed)


Change = Callable[[Any], Any]


def put(key: str, value: Any, on: str = "/") -> Change:
    """Set an attribute; bytes become text of fixed length."""
    return lambda f: f[on].attrs.__setitem__(key, np.bytes_(value) if isinstance(value, bytes) else value)


def some_chunks(file: Any) -> None:
    new = replace(file, "a", None, shape=(4, 5, 3), dtype="f4", chunks=(1, 5, 3), fletcher32=True)
    new[:3] = 1.0


def link(target: Any) -> Change:
    return lambda f: f.__setitem__("x2", target)


def new(name: str, *arguments: Any, **storage: Any) -> Change:
    return lambda f: f.create_dataset(name, *arguments, **storage)


def instead(data: Any, **storage: Any) -> Change:
    return lambda f: replace(f, "a", data, **storage)


STRUCTURE: dict[str, tuple[Change, str]] = {
    "external link": (link(h5py.ExternalLink("b.h5", "/u")), "/x2 is a link into another"),
    "soft link": (link(h5py.SoftLink("/a")), "/x2 is a soft link"),
    "soft link out": (link(h5py.SoftLink("/x2")), "/x2 is a soft link"),
    "link in a group": (
        lambda f: f.create_group("provenance").__setitem__("l", h5py.ExternalLink("b.h5", "/")),
        "/provenance/l is a link into another",
    ),
    "hard link": (lambda f: f.__setitem__("x2", f["a"]), "second link"),
    "cycle": (hard_link_cycle, "second link to one object, possibly a cycle"),
    "depth": (deep, "nested deeper than 32"),
    "committed type": (lambda f: f.__setitem__("t", np.dtype("f8")), "/t is neither a group nor a variable"),
    "name": (lambda f: f.create_group("new\nline"), "not plain text"),
    "long name": (lambda f: f.create_group("x" * 300), "not plain text"),
    "external storage": (
        new("secret", (8,), "u1", external=[("/etc/hostname", 0, 8)]),
        "/secret keeps its values in another file",
    ),
    "virtual": (virtual, "/secret is a virtual dataset"),
    "filter": (plug_in_filter, "/packed needs the HDF5 filter 32015"),
    "bomb": (new("big", (10**6, 10**6), "f8", chunks=(1, 10**6), fletcher32=True), "0 of"),
    "contiguous bomb": (new("big", (10**6, 10**7), "f8"), "not stored in chunks"),
    "compression bomb": (compression_bomb, "/big declares 536870912 bytes but stores"),
    "text": (new("t", data=["a", "b"]), "t has type object"),
    "fixed text": (instead(np.full((4, 5, 3), b"a")), "a has type"),
    "compound": (instead(np.zeros((4, 5, 3), "f4,f4")), "a has type"),
    "complex": (instead(np.zeros((4, 5, 3), "c8")), "a has type complex64"),
    "half": (instead(np.zeros((4, 5, 3), "f2")), "a has type float16"),
    "long double": (instead(np.zeros((4, 5, 3), np.longdouble)), "a has type"),
    "boolean": (instead(np.zeros((4, 5, 3), bool)), "a has type bool"),
    "references": (new("r", (1,), h5py.ref_dtype), "r has type object"),
    "empty axis": (new("e", (0, 3), "f4", chunks=(1, 3), maxshape=(None, 3)), "every axis"),
    "scalar": (new("s", data=1.0), "every axis"),
    "null": (new("s", data=h5py.Empty("f4")), "cannot be read"),
    "contiguous": (instead(np.zeros((4, 5, 3), "f4")), "a is not stored in chunks"),
    "no checksum": (instead(np.zeros((4, 5, 3), "f4"), chunks=(1, 5, 3)), "no fletcher32"),
    "unwritten chunks": (
        some_chunks,
        "a has 3 of 4 chunks written",
    ),
    "other shape": (
        instead(np.zeros((4, 5, 4), "f4"), chunks=(1, 5, 4), fletcher32=True),
        "but its dimensions",
    ),
    "no mark": (lambda f: f.attrs.__delitem__("sciml_complete"), "lacks the mark sciml_complete"),
    "false mark": (put("sciml_complete", 0), "lacks the mark sciml_complete"),
    "major version": (put("sciml_schema", b"2.0"), "schema '2.0'.* reads 1.x"),
    "kind": (put("sciml_format", b"cube"), "the kind 'cube'; this version of sciml reads grid"),
    "long attribute": (put("n", np.zeros(2**18)), "exceeds 1048576 bytes"),
    "variable attribute": (put("n", "text"), "neither a number nor a fixed-length text"),
    "unit changed": (put("units", b"km", on="a"), "are not those that were written"),
    "title changed": (put("title", b"Unsafe"), "are not those that were written"),
    "mean changed": (put("mean", [0.5], on="a"), "are not those that were written"),
    "split changed": (lambda f: f["split"].__setitem__(3, 0), "values of 'split' are not those"),
    "parameter changed": (lambda f: f["c"].__setitem__(0, 9.0), "values of 'c' are not those"),
    "coordinate changed": (lambda f: f["x"].__setitem__(0, 0.2), "values of 'x' are not those"),
}  # fmt: skip


@pytest.mark.parametrize("case", STRUCTURE)
def test_refused_with_a_sentence(path: Path, case: str) -> None:
    change, message = STRUCTURE[case]
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(path)
    assert str(path) in str(caught.value)


def no_field(file: Any) -> None:
    for name in ("a", "u"):
        del file[name].attrs["sciml_role"]


SIGNED: dict[str, tuple[Change, str]] = {
    "sha256 of the split": (lambda f: f["split"].__setitem__(3, 0), "values of 'split' are not those"),
    "domain": (
        lambda f: f.attrs.__setitem__("domain", np.bytes_(b'{"x":[0,2],"y":[0,1]}')),
        "coordinates of 'x', 0.1 to 0.9",
    ),
    "half a domain": (
        lambda f: f.attrs.__setitem__("domain", np.bytes_(b'{"x":[0,1]}')),
        "axis 'y' has no coordinates",
    ),
    "domain text": (
        lambda f: f.attrs.__setitem__("domain", np.bytes_(b'{"x":"01","y":[0,null]}')),
        "is not|not described",
    ),
    "json": (put("task", b"{" * 5000), "cannot be read"),
    "deep json": (put("task", b"[" * 200_000), "cannot be read"),
    "location": (
        lambda f: f["x"].attrs.__setitem__("grid_location", np.bytes_(b"edge")),
        "'x' is not described",
    ),
    "role": (put("sciml_role", b"spy", on="a"), "role must be one of"),
    "no field": (no_field, "has no field"),
    "statistics": (put("mean", [np.inf], on="a"), "cannot be read"),
    "no split": (lambda f: f.__delitem__("split"), "no variable 'split'"),
}


@pytest.mark.parametrize("case", SIGNED)
def test_refused_although_the_digest_fits(path: Path, case: str) -> None:
    change, message = SIGNED[case]
    with h5py.File(path, "r+") as file:
        change(file)
    if case != "statistics":  # the digest has no spelling for infinity
        sign(path)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(path)
    assert str(path) in str(caught.value)


def test_big_endian_is_converted(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        replace(file, "a", file["a"][()].astype(">f4"), chunks=(1, 5, 3), fletcher32=True)
    sign(path)
    found = open_dataset(path).load("a")
    assert found.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(found, VALUES[:, 0, 0].astype(np.float32))


def test_compressed_files_are_read(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        replace(file, "a", file["a"][()], chunks=(1, 5, 3), fletcher32=True, shuffle=True, compression=1)
    open_dataset(path).scan()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"CDF\x01" + b"\0" * 100, "netCDF-3"),
        (b"MATLAB 5.0 MAT-file, " + b" " * 600, "MATLAB 5"),
        (b"MATLAB 7.3 MAT-file, " + b" " * 491 + b"\x89HDF\r\n\x1a\n" + b"\0" * 90, "MATLAB 7.3"),
        (b"\0" * 512 + b"\x89HDF\r\n\x1a\n", "user block"),
        (b"PK\x03\x04" + b"\0" * 90, "zip archive"),
        (b"\x93NUMPY\x01", r"a \.npy file"),
        (b"x,y\n1,2\n", "something else"),
        (b"\x89HDF\r\n\x1a\n", "not a sciml dataset"),
        (b"\x89HDF\r\n\x1a\n\x03\x08\x08" + b"\0" * 90, "cannot be read"),
    ],
)
def test_other_files_are_told_apart(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "some.h5"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_dataset(path)


@pytest.mark.parametrize("libver", ["earliest", "v110"])
def test_foreign_hdf5_is_named_with_what_it_holds(tmp_path: Path, libver: str) -> None:
    with h5py.File(tmp_path / "darcy.hdf5", "w", libver=libver) as file:
        file["tensor"], file["nu"] = np.zeros((2, 1, 4, 4)), np.zeros((2, 4, 4))
    with pytest.raises(
        DataError, match=r"not a sciml dataset: .* its root holds 'nu', 'tensor'\. .* need a reader"
    ):
        open_dataset(tmp_path / "darcy.hdf5")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        open_dataset(tmp_path / "u.h5")
    with pytest.raises(DataError, match="not a regular file"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "foreign_hdf5/compound-dtype-complex.h5",
        "foreign_hdf5/vlen_string_dset_utc.h5",
        "mesh_sfepy/citroen.h5",
        "foreign_netcdf/example_1.nc",
        "raissi_pinns/AC.mat",
        "neuraloperator/darcy_train_16.pt",
        "deepxde/Burgers.npz",
    ],
)
def test_files_of_other_programs_are_refused(test_data: Path, name: str) -> None:
    with pytest.raises(DataError, match="not a sciml dataset"):
        open_dataset(test_data / name)


def test_truncated_anywhere(pristine: Path, path: Path) -> None:
    whole = pristine.read_bytes()
    for percent in range(1, 100):
        path.write_bytes(whole[: len(whole) * percent // 100])
        with pytest.raises(DataError):
            open_dataset(path)


def outcome(path: Path) -> str:
    """ "same", "refused", or a description of wrong data that nobody noticed."""
    try:
        data = open_dataset(path)
        found = [data.load("a"), data.load("u"), data.parameters(), data.indices, data.statistics("u").mean]
        text = (data.attributes, data.digest, repr(data), data.grid, data.fields)
    except DataError:
        return "refused"
    global _expected
    if _expected is None:
        _expected = (found, text)
    same = (
        all(np.array_equal(a, b) for a, b in zip(found, _expected[0], strict=True)) and text == _expected[1]
    )
    return "same" if same else f"other data: {text}"


_expected: Any = None


def flips(pristine: Path, path: Path, count: int, seed: int) -> dict[str, int]:
    whole, choose = pristine.read_bytes(), random.Random(seed)
    path.write_bytes(whole)
    seen = {outcome(path): 0}
    assert seen == {"same": 0}
    for _ in range(count):
        damaged = bytearray(whole)
        damaged[choose.randrange(len(whole))] ^= 1 << choose.randrange(8)
        path.write_bytes(damaged)
        result = outcome(path)
        seen[result] = seen.get(result, 0) + 1
    return seen


def test_no_flipped_bit_gives_wrong_data(pristine: Path, path: Path) -> None:
    seen = flips(pristine, path, 40, seed=0)
    # Some bits are never read: free room, and HDF5's own references to scales, which other programs use.
    assert set(seen) == {"same", "refused"}
    assert seen["refused"] > 12


@pytest.mark.slow
def test_no_flipped_bit_gives_wrong_data_long(pristine: Path, path: Path) -> None:
    assert set(flips(pristine, path, 10_000, seed=1)) == {"same", "refused"}


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_every_flipped_byte_of_a_field_is_noticed(stride: int, pristine: Path, path: Path) -> None:
    whole = pristine.read_bytes()
    with h5py.File(pristine, "r") as file:
        chunk = file["a"].id.get_chunk_info(2)
    for i in range(0, chunk.size, stride):
        damaged = bytearray(whole)
        damaged[chunk.byte_offset + i] ^= 0x40
        path.write_bytes(damaged)
        data = open_dataset(path)
        with pytest.raises(
            DataError, match=r"data.h5: field 'a' cannot be read: the stored checksum does not match"
        ):
            data.load("a")
        np.testing.assert_array_equal(data.load("a", [0, 1, 3]), VALUES[[0, 1, 3], 0, 0].astype(np.float32))


def test_verify_reads_everything(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["u"][1, 0, 0, 0, 0] += 1e-9  # the checksum of the chunk is renewed, sha256 is not
    with pytest.raises(DataError, match="values of 'u' are not those that were written"):
        open_dataset(path).verify()


def test_verify_compares_both_ways_to_name_dimensions(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["a"].dims[2].detach_scale(file["y"])
        file["a"].dims[2].attach_scale(file["x"])
    with pytest.raises(DataError, match=r"'a' refers to the scales \('sample', 'x', 'x'\)"):
        open_dataset(path).verify()


def test_scan_names_every_place(pristine: Path, tmp_path: Path) -> None:
    choose = np.random.default_rng(3)
    for i, bad in enumerate((np.nan, np.inf, -np.inf) * 12):
        path = Path(shutil.copy(pristine, tmp_path / f"{i}.h5"))
        sample, frame, component, x, y = (int(choose.integers(n)) for n in VALUES.shape)
        with h5py.File(path, "r+") as file:
            file["u"][sample, frame, x, y, component] = bad
        view = open_dataset(path).subset([3, 2, 1, 0])
        with pytest.raises(DataError) as caught:
            view.scan(["a", "u"])
        place = f"sample {sample}, frame {frame}, component {component}, grid index ({x}, {y}) of ('x', 'y')"
        assert f"{path}: field 'u' is {bad} at {place}" in str(caught.value)
        view.subset(view.indices != sample).scan()
        view.scan(["a"])


def test_reading_needs_no_write_permission(path: Path) -> None:
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        open_dataset(path).scan()
    finally:
        path.parent.chmod(0o755)


def test_names_with_spaces_and_letters_of_any_alphabet(tmp_path: Path) -> None:
    folder = tmp_path / "größe 数据"
    folder.mkdir()
    assert write(folder / "mein Δ.h5").to_xarray()["a"].shape == (4, 5, 3)
    old = Path.cwd()
    os.chdir(folder)
    try:
        data = open_dataset("mein Δ.h5")
    finally:
        os.chdir(old)
    assert len(data.load("a")) == 4
