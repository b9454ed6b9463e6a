"""Why a file that no reader recognizes is refused, in a sentence that names what it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sciml.datasets.readers.containers import contents
from sciml.datasets.readers.torch_file import names_in_archive


def refusal(path: Path, tried: Sequence[str]) -> str:
    """The sentence; ``tried`` are the formats of the readers.

    Raises
    ------
    DataError
        If it is a container of arrays that is damaged or unsafe.
    """
    if known := _known(path):
        return f"{path}: {known}."
    return (
        f"{path}: not a sciml dataset, and no reader recognizes it: it is {_what(path)}. Tried: "
        f"{', '.join(tried)}. Read it with the program that wrote it; sciml.write_dataset takes the arrays."
    )


def _what(path: Path) -> str:
    """A few words about the content of an unknown file, with the names in it."""
    if path.is_dir():
        return "a folder of files that no format knows"
    if (found := contents(path)) is not None:
        return f"{_CONTAINERS[found.kind]} that holds {found.listing()}"
    with path.open("rb") as file:
        beginning = file.read(1024)
    if beginning[:4] == b"PK\x03\x04":
        return names_in_archive(path)
    return f"an unknown format that begins with {beginning[:16]!r}" if beginning else "an empty file"


def _known(path: Path) -> str:
    """Why a file of a known kind is refused; "" for all others."""
    if path.is_dir():
        return ""
    with path.open("rb") as file:
        beginning = file.read(1024)
    start = beginning.lstrip()
    kinds = {
        b"\x80": "a Python pickle, which could run any code and is never read; save its arrays as .npz",
        b"(l": "a Python pickle, which could run any code and is never read; save its arrays as .npz",
        b"MFEM": "a mesh in MFEM's own format, which meshio does not read; MFEM saves meshes as VTK too",
        b"\x1f\x8b": "a gzip archive; unpack it first",
        b"BZh": "a bzip2 archive; unpack it first",
        b"7z\xbc\xaf": "a 7z archive; unpack it first",
        b"\x93NUMPY": "a .npy file, one array without a name, so nothing says what is input and what output; "
        "np.savez keeps several with their names",
        b"CDF\x05": "a netCDF-3 file with 64-bit data (CDF-5), which SciPy does not read; "
        "nccopy -k nc4 converts it",
    }
    for mark, text in kinds.items():
        if start.startswith(mark):
            return text
    if re.match(rb"(?:<\?xml[^>]*>\s*)?(?:<!DOCTYPE[^>]*>\s*)?<Xdmf\b", start):
        return "an XDMF file, which keeps its values in other files; meshio convert makes a .vtu of it"
    if found := re.match(rb'(?:<\?xml[^>]*>\s*)?<VTKFile[^>]*\btype="(\w+)"', start):
        return f"a VTK file of type {found[1].decode()}; meshio reads UnstructuredGrid alone"
    return ""


_CONTAINERS = {
    "npz": "a NumPy archive",
    "MATLAB 5": "a MATLAB 5 file",
    "MATLAB 7.3": "a MATLAB 7.3 file",
    "HDF5": "an HDF5 file without dimension scales",
}
