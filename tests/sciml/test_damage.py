"""Damaged and hostile files: noticed or harmless, and never the end of the process that opens them."""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sciml.conformance import check
from sciml.dataset import Dataset, Field, open_dataset, write_dataset
from sciml.datasets.readers import open_any
from sciml.errors import DataError
from sciml.grid import Grid
from sciml.mesh import Mesh, Points

RNG = np.random.default_rng(0)


def grid_file(path: Path) -> Path:
    fields = [
        (Field("a", "input", units="m"), RNG.normal(size=(4, 5, 3)).astype(np.float32)),
        (Field("u", "state", components=2, time=True), RNG.normal(size=(4, 2, 2, 5, 3))),
        (Field("c", "parameter"), RNG.normal(size=4)),
    ]
    settings: dict[str, Any] = {"split": [0, 0, 1, 2], "times": [0.0, 1.0]}
    return write_dataset(path, grid=Grid.box((5, 3)), fields=fields, **settings).path


def compressed_file(path: Path) -> Path:
    """The same, with fields that somebody has compressed: several chunks with filters in the index."""
    grid_file(path)
    with h5py.File(path, "r+") as file:
        for name, options in (("a", {"compression": "gzip"}), ("u", {"compression": "lzf", "shuffle": True})):
            old = file[name]
            told = {k: v for k, v in old.attrs.items() if k not in ("DIMENSION_LIST", "REFERENCE_LIST")}
            scales, chunks = [old.dims[i][0].name for i in range(old.ndim)], (1, *old.shape[1:])
            values = old[()]
            del file[name]
            new = file.create_dataset(name, data=values, chunks=chunks, fletcher32=True, **options)
            for key, value in told.items():
                new.attrs[key] = value
            for i, scale in enumerate(scales):
                new.dims[i].attach_scale(file[scale])
    return path


def mesh_file(path: Path) -> Path:
    square = Mesh([[0, 0], [1, 0], [1, 1], [0, 1]], cells={"triangle": [[0, 1, 2], [0, 2, 3]]})
    triangle = Mesh([[0, 0], [1, 0], [0, 1]], cells={"triangle": [[0, 1, 2]]})
    fields = [
        (Field("t", "output"), [RNG.normal(size=n) for n in (4, 3, 4)]),
        (Field("k", "coefficient", on="cells"), [RNG.normal(size=n) for n in (2, 1, 2)]),
    ]
    return write_dataset(path, grid=[square, triangle, square], fields=fields, split=[0, 2, 0]).path


def points_file(path: Path) -> Path:
    fields = [(Field("u", "output", components=2), RNG.normal(size=(3, 6, 2)))]
    return write_dataset(path, grid=Points(RNG.normal(size=(6, 3))), fields=fields, split=[0, 2, 0]).path


OURS: dict[str, Callable[[Path], Path]] = {
    "grid": grid_file,
    "compressed": compressed_file,
    "mesh": mesh_file,
    "points": points_file,
}


def everything(path: Path) -> list[Any]:
    """All values and attributes, by our reader and by xarray, which goes by other parts of the file."""
    data = open_dataset(path)
    found: list[Any] = [
        data.attributes,
        data.digest,
        repr(data),
        data.fields,
        data.indices,
        data.parameters(),
    ]
    for name, item in data.fields.items():
        ragged = data.kind != "grid" or item.on != "points"
        found += [*data.arrays(name)] if ragged else [data.load(name)]
        found += [data.statistics(name).mean, data.statistics(name).std]
    if data.kind != "grid":
        found += [*data.places()]
    with data.to_xarray() as opened:
        loaded = opened.load()
    for name in sorted(map(str, loaded.variables)):
        variable = loaded[name].variable
        found += [variable.dims, variable.values, dict(variable.attrs)]
    return [*found, dict(loaded.attrs)]


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)


def flipped(whole: bytes, choose: random.Random) -> bytes:
    damaged = bytearray(whole)
    damaged[choose.randrange(len(whole))] ^= 1 << choose.randrange(8)
    return bytes(damaged)


def flips(path: Path, count: int, seed: int) -> Counter[str]:
    """What becomes of files with one flipped bit each: "noticed", "harmless", or what went wrong."""
    whole, choose, seen = path.read_bytes(), random.Random(seed), Counter[str]()
    assert check(path).conforms
    expected = everything(path)
    for _ in range(count):
        path.write_bytes(flipped(whole, choose))
        if not check(path).conforms:
            seen["noticed"] += 1
            continue
        found = everything(path)
        same = len(found) == len(expected) and all(map(equal, found, expected))
        seen["harmless" if same else f"other data: {found}"] += 1
    path.write_bytes(whole)
    return seen


@pytest.mark.parametrize("kind", OURS)
def test_a_flipped_bit_is_noticed_by_check_or_changes_nothing(tmp_path: Path, kind: str) -> None:
    seen = flips(OURS[kind](tmp_path / "data.h5"), 6, seed=0)
    # Some bits are never read: room that HDF5 keeps free in its headers and heaps.
    assert set(seen) <= {"noticed", "harmless"}
    assert seen["noticed"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("kind", OURS)
def test_ten_thousand_flipped_bits(tmp_path: Path, kind: str, seed: int) -> None:
    seen = flips(OURS[kind](tmp_path / "data.h5"), 500, seed)
    print(f"{kind}: {dict(seen)}")
    assert set(seen) <= {"noticed", "harmless"}
    assert seen["noticed"] > 150  # a file that was edited in place has more room that nobody reads


# Mutated files of every layout, opened by every entrance.


def pdebench_file(path: Path) -> Path:
    with h5py.File(path, "w") as file:  # superblock 0, contiguous, as published
        file["tensor"] = RNG.normal(size=(3, 1, 8, 8)).astype(np.float32)
        file["nu"] = RNG.normal(size=(3, 8, 8)).astype(np.float32)
        file["x-coordinate"] = file["y-coordinate"] = np.linspace(0, 1, 8)
        file.attrs["beta"] = 1.0
    return path


def seed_groups_file(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        for i in range(3):
            group = file.create_group(f"{i:04d}")
            group.create_dataset("data", data=RNG.normal(size=(4, 6, 6, 1)), compression="lzf")
            group["grid/x"] = group["grid/y"] = np.linspace(0, 1, 6)
            group["grid/t"] = np.arange(4.0)
            group.attrs["config"] = "sim:\n  seed: 1\n"
    return path


def matlab_file(path: Path) -> Path:
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("a", data=RNG.normal(size=(6, 6, 4)), compression="gzip")
        file.create_dataset("u", data=RNG.normal(size=(5, 6, 6, 4)), compression="gzip")
        file["t"] = np.arange(5.0)[:, None]
    whole = bytearray(path.read_bytes())
    whole[:19] = b"MATLAB 7.3 MAT-file"
    path.write_bytes(whole)
    return path


def netcdf_file(path: Path) -> Path:
    import xarray

    arrays = {n: (("sample", "x", "y"), RNG.normal(size=(4, 5, 3))) for n in ("a", "u")}
    coordinates = {"x": np.arange(5.0), "y": np.arange(3.0)}
    data = xarray.Dataset(arrays, coordinates)
    data["a"].attrs["sciml_role"], data["u"].attrs["sciml_role"] = "input", "output"
    data.to_netcdf(path, engine="h5netcdf")
    return path


def links_file(path: Path) -> Path:
    """Links, strings, compounds, references, an unlimited axis: what a reader may stumble over."""
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset(
            "u", data=RNG.normal(size=(9, 4)), maxshape=(None, 4), chunks=(2, 4), shuffle=True
        )
        file["names"] = ["one", "two"]
        file["pair"] = np.zeros(3, "i4,f8")
        file["inner/again"] = file["u"]
        file["soft"], file["far"] = h5py.SoftLink("/u"), h5py.ExternalLink("other.h5", "/u")
        file["refs"] = np.array([file["u"].ref, file["inner"].ref], h5py.ref_dtype)
        file["u"].attrs["list"] = ["a", "bcd"]
    return path


ALL = OURS | {
    "pdebench": pdebench_file,
    "seed groups": seed_groups_file,
    "matlab": matlab_file,
    "netcdf": netcdf_file,
    "links": links_file,
}


def mutated(whole: bytes, choose: random.Random) -> bytes:
    """1 to 16 bytes changed, half of the time near the start; or the end cut off; or a piece copied."""
    kind = choose.randrange(8)
    if kind == 0:
        return whole[: choose.randrange(len(whole))]
    damaged = bytearray(whole)
    if kind == 1:  # a piece written over another
        start, end = sorted(choose.randrange(len(whole)) for _ in range(2))
        target = choose.randrange(len(whole))
        piece = damaged[start : min(end, start + 512)][: len(whole) - target]
        damaged[target : target + len(piece)] = piece
        return bytes(damaged)
    for _ in range(choose.randint(1, 16)):
        place = choose.randrange(min(len(whole), 2048) if choose.random() < 0.5 else len(whole))
        damaged[place] = choose.choice(
            (0, 0xFF, damaged[place] ^ 1 << choose.randrange(8), choose.randrange(256))
        )
    return bytes(damaged)


def attempts(path: Path, cache: Path) -> Iterator[str]:
    """Each way into a file, and whether it was read or refused; any other end is a failure of the test."""

    def whole(data: Dataset) -> None:
        for name, item in data.fields.items():
            data.arrays(name) if data.kind != "grid" or item.on != "points" else data.load(name)

    for name, enter in (
        ("open", lambda: whole(open_dataset(path))),
        ("any", lambda: whole(open_any(path, cache=cache))),
    ):
        try:
            enter()
            yield f"{name}: read"
        except DataError as error:
            # Of the file, or, once it is read, of its content: no file has NaN or values without variance.
            told = (str(path), "write_dataset: ", "statistics of ")
            assert any(part in str(error) for part in told), error
            yield f"{name}: refused"
    yield f"check: {'conforms' if check(path).conforms else 'departs'}"


def mutations(path: Path, cache: Path, count: int, seed: int) -> Counter[str]:
    whole, choose, seen = path.read_bytes(), random.Random(seed), Counter[str]()
    for _ in range(count):
        path.write_bytes(mutated(whole, choose))
        seen.update(attempts(path, cache))
        shutil.rmtree(cache, ignore_errors=True)
    return seen


@pytest.mark.parametrize("kind", ALL)
def test_mutated_files_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    seen = mutations(ALL[kind](tmp_path / "data.h5"), tmp_path / "cache", 2, seed=0)
    assert sum(seen.values()) == 6


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", ALL)
def test_two_thousand_mutated_files(tmp_path: Path, kind: str) -> None:
    seen = mutations(ALL[kind](tmp_path / "data.h5"), tmp_path / "cache", 223, seed=1)
    print(f"{kind}: {dict(seen)}")
    assert sum(seen.values()) == 3 * 223
