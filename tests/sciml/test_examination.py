"""What an HDF5 file of unknown origin holds, and what must keep others from opening it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sciml import examination
from sciml.sandbox import examine

Change = Callable[[Any], Any]


def write(path: Path, change: Change = lambda file: None) -> Path:
    with h5py.File(path, "w") as file:
        file["u"] = np.arange(12.0).reshape(3, 4)
        file["inner/deep/v"] = np.zeros(2, "i4,f8")
        file.create_dataset("names", data=["one", "two"])
        change(file)
    return path


def test_the_outline_lists_names_types_and_shapes(tmp_path: Path) -> None:
    found = examine(write(tmp_path / "a.h5"), examination.outline)
    assert found["root"] == ["inner", "names", "u"]
    assert found["variables"]["/u"] == ["float64", [3, 4]]
    assert found["variables"]["/inner/deep/v"][1] == [2]
    assert (found["problem"], found["own"], found["scaled"]) == (None, False, [])
    assert examine(tmp_path / "a.h5", examination.whole) == found


def tolerated(file: Any) -> None:
    file["soft"], file["lost"] = h5py.SoftLink("/u"), h5py.SoftLink("/nowhere")
    file["again"], file["type"] = file["u"], np.dtype("f8")
    file["refs"] = np.array([file["u"].ref, file["inner"].ref], h5py.ref_dtype)
    file.create_dataset("filled", (9,), "f4", chunks=(3,), fillvalue=np.nan)[:3] = 1.0
    file["filled"].attrs["_FillValue"] = np.float32(np.nan)


def test_what_leads_nowhere_else_is_passed_over(tmp_path: Path) -> None:
    found = examine(write(tmp_path / "a.h5", tolerated), examination.whole)
    assert found["problem"] is None
    assert {"/soft", "/lost", "/type"}.isdisjoint(found["variables"])
    assert ("/again" in found["variables"]) != ("/u" in found["variables"])


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "<f4")
    layout[:] = h5py.VirtualSource("other.h5", "u", shape=(4,))
    file.create_virtual_dataset("inner/secret", layout)


def half_written(file: Any) -> None:
    file.create_dataset("inner/half", (9, 4), "f4", chunks=(3, 4))[:3] = 1.0


def cycle(file: Any) -> None:
    file["inner/deep/up"] = file["inner"]


def attributes(file: Any) -> None:
    for i in range(1001):
        file["inner"].attrs[str(i)] = i


REFUSED: dict[str, tuple[Change, str]] = {
    "external link": (
        lambda f: f["inner"].__setitem__("x", h5py.ExternalLink("b.h5", "/")),
        "/inner/x is a link into another file",
    ),
    "external storage": (
        lambda f: f["inner"].create_dataset("x", (8,), "u1", external=[("/etc/hostname", 0, 8)]),
        "/inner/x keeps its values in another file",
    ),
    "virtual": (virtual, "/inner/secret is a virtual dataset"),
    "cycle": (cycle, "/inner/deep/up is a second link to one object, possibly a cycle"),
    "half written": (half_written, "/inner/half has 1 of 3 chunks written"),
    "never written": (
        lambda f: f["inner"].create_dataset("x", (10**7, 10**7), "f4", chunks=(1, 10**6)),
        "none of which were ever written",
    ),
    "attributes": (attributes, "inner has 1001 attributes"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_must_not_be_followed_is_a_problem(tmp_path: Path, case: str) -> None:
    change, message = REFUSED[case]
    path = write(tmp_path / "a.h5", change)
    problem = examine(path, examination.whole)["problem"]
    assert message in problem and str(path) in problem
