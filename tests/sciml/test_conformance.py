"""`check` names everything in which a file departs from the format, whatever else is wrong with it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sciml import conformance
from sciml.conformance import check
from sciml.dataset import Field, write_dataset
from sciml.dataset_file import read_variables
from sciml.errors import DataError
from sciml.grid import Grid
from sciml.hdf5 import is_dimension_only, read_attributes
from sciml.mesh import Mesh, Points, PointSet
from sciml.schema import content_digest

SQUARE = Mesh([[0, 0], [1, 0], [1, 1], [0, 1]], cells={"triangle": [[0, 1, 2], [0, 2, 3]]})
TRIANGLE = Mesh([[0, 0], [1, 0], [0, 1]], cells={"triangle": [[0, 1, 2]]})


def grid_file(path: Path) -> Path:
    rng = np.random.default_rng(0)
    fields = [
        (Field("a", "input", units="m"), rng.normal(size=(4, 5, 3)).astype(np.float32)),
        (Field("u", "state", components=2, time=True), rng.normal(size=(4, 3, 2, 5, 3))),
        (Field("m", "mask", sample=False), np.ones((5, 3), bool)),
        (Field("c", "parameter"), rng.normal(size=4)),
    ]
    errors = {"discretization_error": [0.1, np.nan, 0.2, 0.1]}
    settings: dict[str, Any] = {"split": [0, 0, 1, 2], "times": [0.0, 1.0, 2.5], "variables": errors}
    return write_dataset(path, grid=Grid.box((5, 3)), fields=fields, **settings).path


def mesh_file(path: Path) -> Path:
    rng = np.random.default_rng(0)
    flux = [PointSet(rng.normal(size=n), rng.normal(size=(n, 2))) for n in (2, 1, 3)]
    fields = [
        (Field("t", "output", time=True), [rng.normal(size=(2, n)) for n in (4, 3, 4)]),
        (Field("k", "coefficient", on="cells"), [rng.normal(size=n) for n in (2, 1, 2)]),
        (Field("flux", "input", on="own"), flux),
    ]
    meshes = [SQUARE, TRIANGLE, SQUARE]
    return write_dataset(path, grid=meshes, fields=fields, split=[0, 2, 0], times=[0.0, 1.0]).path


def points_file(path: Path) -> Path:
    cloud = Points(np.random.default_rng(1).normal(size=(6, 3)))
    values = np.random.default_rng(0).normal(size=(2, 6, 2))
    fields = [(Field("u", "output", components=2), values)]
    return write_dataset(path, grid=cloud, fields=fields, split=[0, 2]).path


KINDS: dict[str, Callable[[Path], Path]] = {"grid": grid_file, "mesh": mesh_file, "points": points_file}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grid_file(tmp_path_factory.mktemp("conformance") / "data.h5")


@pytest.fixture
def path(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(pristine, tmp_path / "data.h5"))


def sign(path: Path) -> None:
    """What a careful forger would do: checksums that fit again, so that nothing but the content is wrong."""
    import hashlib

    with h5py.File(path, "r+") as file:
        names = [n for n in file if isinstance(file[n], h5py.Dataset) and not is_dimension_only(file[n])]
        for name in names:
            digest = hashlib.sha256(np.ascontiguousarray(file[name][()]).tobytes()).hexdigest()
            file[name].attrs["sha256"] = np.array(digest.encode(), h5py.string_dtype("utf-8", 64))
        digest = content_digest(
            read_attributes(file, path, "the root"), list(read_variables(file, path, names).values())
        )
        file.attrs["sciml_digest"] = np.array(digest.encode(), h5py.string_dtype("utf-8", len(digest)))


def texts(path: Path) -> str:
    found = check(path)
    assert not found.conforms
    assert all(str(path) not in item.text for item in found.departures)
    return "\n".join(f"{item.rule}: {item.text}" for item in found.departures)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_writer_writes_conforms(tmp_path: Path, kind: str) -> None:
    found = check(KINDS[kind](tmp_path / "data.h5"))
    assert found.departures == ()
    assert found.digest.startswith("sha256:")
    with h5py.File(tmp_path / "data.h5") as file:
        kept = [file[n] for n in file if not is_dimension_only(file[n])]
        assert (found.variables, found.bytes) == (len(kept), sum(item.nbytes for item in kept))


def test_every_departure_is_listed(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["a"][1, 2, 2] = np.nan
        file["x"][0] = 3.0
        file["split"][3] = 7
        file["u"].attrs["sciml_role"] = np.bytes_(b"spy")
        file.attrs["title"] = "of variable length"
        file.attrs["task"] = np.bytes_(b"[1]")
        del file.attrs["sciml_complete"], file["c"].attrs["units"]
        file["soft"] = h5py.SoftLink("/a")
        file.create_dataset("extra", data=np.zeros((3, 4)))
    found = texts(path)
    for part in (
        "completion: lacks the mark sciml_complete",
        "storage: /soft is a soft link",
        "storage: extra is not stored in chunks",
        "attributes: the attribute 'title' of the root is neither",
        "attributes: the root attribute 'task' must be a JSON object",
        "attributes: 'c' has no attribute 'units'",
        "attributes: 'extra' has no attribute 'sciml_role'",
        "digest: attributes or variables are not those",
        "values: the values of 'x' are not those",
        "values: 'a' is not finite at (1, 2, 2) of ('sample', 'x', 'y')",
        "content: split has values other than 0",
        "content: Field 'u': role must be one of",
        "content: the coordinates of 'x', 3 to 0.9",
    ):
        assert part in found, (part, found)


Change = Callable[[Any], Any]


def rewrite(name: str, change: Callable[[Any], Any], **storage: Any) -> Change:
    """The variable with other values or another storage, and its attributes."""

    def work(file: Any) -> None:
        old = file[name]
        told = {k: v for k, v in old.attrs.items() if k not in ("DIMENSION_LIST", "REFERENCE_LIST")}
        scales = [old.dims[i][0].name for i in range(old.ndim)] if "DIMENSION_LIST" in old.attrs else []
        values = change(old[()])
        del file[name]
        new = file.create_dataset(name, data=values, **{"chunks": True, "fletcher32": True, **storage})
        for key, value in told.items():
            new.attrs[key] = value
        for i, scale in enumerate(scales):
            new.dims[i].attach_scale(file[scale])

    return work


def attribute(on: str, key: str, value: Any) -> Change:
    return lambda file: file[on].attrs.__setitem__(
        key, np.bytes_(value) if isinstance(value, bytes) else value
    )


# Files whose checksums all fit: what is wrong is what they say.
SIGNED: dict[str, tuple[Change, str]] = {
    "statistics": (attribute("a", "mean", [0.5]), r"statistics: 'a': mean is \[0.5\], the training split"),
    "delta": (attribute("u", "std_delta", [1.0, 1.0]), "statistics: 'u': std_delta is"),
    "no statistics": (
        lambda f: f["a"].attrs.__delitem__("statistics_split"),
        "statistics: 'a' has no statistics of the training split",
    ),
    "half of them": (lambda f: f["u"].attrs.__delitem__("mean_delta"), "'u': mean_delta is missing"),
    "sample": (rewrite("sample", lambda v: v[::-1]), "content: 'sample' is not 0, 1, 2"),
    "time": (rewrite("time", lambda v: v[::-1]), "content: 'time' does not increase"),
    "type of the seed": (rewrite("split", lambda v: v.astype("i4")), "'split' has type int32.* int8"),
    "meanings": (attribute("split", "flag_meanings", b"a b c"), "'split' must state flag_meanings 'train"),
    "parameter": (rewrite("c", lambda v: v.astype("f4")), "the parameter 'c' has type float32"),
    "infinite": (rewrite("u", lambda v: v + np.inf), r"values: 'u' is not finite at \(0, 0, 0, 0, 0\)"),
    "big-endian": (rewrite("a", lambda v: v.astype(">f4"), chunks=(1, 5, 3)), "values: 'a' is big-endian"),
    "chunks": (rewrite("a", lambda v: v, chunks=(2, 5, 3)), r"'a' has chunks \(2, 5, 3\) that cross samples"),
    "checksum": (attribute("/", "checksum_algorithm", b"md5"), "checksum_algorithm is 'md5'"),
    "conventions": (attribute("/", "Conventions", b"none"), "names no CF version"),
    "no units": (lambda f: f["u"].attrs.__delitem__("units"), "attributes: 'u' has no attribute 'units'"),
    "order": (
        lambda f: f["a"].attrs.__setitem__("_Netcdf4Coordinates", f["a"].attrs["_Netcdf4Coordinates"][::-1]),
        "storage: a has shape",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SIGNED)
def test_content_is_checked_although_checksums_fit(path: Path, case: str) -> None:
    change, message = SIGNED[case]
    with h5py.File(path, "r+") as file:
        change(file)
    if case != "order":
        sign(path)
    with pytest.raises(AssertionError, match=message):
        assert check(path).conforms, texts(path)
    rules = {item.rule for item in check(path).departures}
    assert rules.isdisjoint({"digest", "completion"}) or case == "order"


def test_bytes_of_other_files_and_bombs_are_not_read(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.create_dataset("secret", (8,), "u1", external=[("/etc/hostname", 0, 8)])
        file.create_dataset("bomb", (10**6, 10**6), "f8", chunks=(1, 10**6), fletcher32=True)
    found = check(path)
    assert found.variables == 10 and found.bytes < 10_000
    listed = texts(path)
    assert "storage: /secret keeps its values in another file" in listed
    assert "storage: bomb has 0 of 1000000 chunks written" in listed


def test_files_that_cannot_be_opened_have_one_departure(tmp_path: Path, path: Path) -> None:
    for content, message in (
        (b"", "an empty file"),
        (path.read_bytes()[:5000], "truncated file"),
        (b"\x89HDF\r\n\x1a\n\x00" + bytes(90), "an HDF5 file but not a sciml dataset"),
    ):
        (tmp_path / "bad.h5").write_bytes(content)
        found = check(tmp_path / "bad.h5")
        assert [item.rule for item in found.departures] == ["structure"]
        assert message in found.departures[0].text
        assert str(tmp_path) not in found.departures[0].text
    with pytest.raises(FileNotFoundError):
        check(tmp_path / "absent.h5")


def test_a_crash_of_the_library_is_a_departure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise DataError(f"{path}: a child process that read it was ended by signal 11.")

    monkeypatch.setattr(conformance, "examine", crash)
    found = check(path)
    assert [item.text for item in found.departures] == [
        "a child process that read it was ended by signal 11."
    ]


def test_the_command(run: Callable[..., tuple[int, str, str]], path: Path) -> None:
    assert run("data", "check", path)[0] == 0
    with h5py.File(path, "r+") as file:
        file["a"][0] = 1.0
        file.attrs["title"] = np.bytes_(b"changed")
    status, out, _ = run("data", "check", path)
    assert status == 3
    assert "6 departures from schema 1.0 (10 variables" in out
    assert "values of 'a'" in out
    status, out, _ = run("data", "check", path, "--json")
    found = json.loads(out)
    assert (status, found["conforms"]) == (3, False)
    assert {item["rule"] for item in found["departures"]} == {"digest", "values", "statistics"}
    assert run("data", "check", "absent.h5")[0] == 3


def test_pictures_of_every_field(run: Callable[..., tuple[int, str, str]], path: Path) -> None:
    from matplotlib import image

    status, out, _ = run("data", "show", path, "--json")
    assert (status, json.loads(out)["fields"]) == (0, ["a", "u", "m"])
    picture = image.imread("data.png")
    assert picture.shape[0] > 600 and picture.std() > 0.05
    page = Path("data.html").read_text()
    assert page.count("<img") == 3 and "<script" not in page
    assert run("data", "show", path)[0] == 2  # the files exist
    assert run("data", "show", path, "--force", "--output", "one.png", "--index", "3")[0] == 0
    assert Path("one.png").stat().st_size > 1000
    assert run("data", "show", path, "--output", "one.svg")[0] == 2
    assert run("data", "show", path, "--index", "4", "--output", "other")[0] == 3
