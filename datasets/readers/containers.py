"""Files of named arrays, whatever the container: NumPy archives, MATLAB 5 and 7.3, HDF5.

What a file declares is listed and checked before a value is read: nothing that would run code, no object
arrays, no sizes that the file cannot hold.
"""

from __future__ import annotations

import functools
import math
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.hdf5_probe import probe
from sciml.errors import DataError
from sciml.files import identity
from sciml.hdf5 import MAX_RATIO, SIGNATURE, open_file, refusing, rows_per_block
from sciml.sandbox import examine

Kind = Literal["npz", "MATLAB 5", "MATLAB 7.3", "HDF5"]

MAPPED_BYTES = 2**26  # larger variables of HDF5 files are mapped, not held
MAX_MEMBERS = 100_000
_MATLAB_NUMBERS = (
    "double", "single", "logical", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """An array that a file declares, in the order of axes that `load` returns."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Contents:
    """What a file declares.

    Attributes
    ----------
    kind : str
    arrays : mapping
        By name; in HDF5 the path from the root, as in "train/u".
    attributes : mapping
        Of the root of an HDF5 file.
    others : mapping
        Name to a few words about what it holds and is never read.
    """

    kind: Kind
    arrays: Mapping[str, Entry]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> set[str]:
        """The names of the arrays."""
        return set(self.arrays)

    def listing(self, most: int = 8) -> str:
        """The first names with their shapes, for a message."""
        shown = [f"{name[:64]} {entry.shape}" for name, entry in self.arrays.items()]
        shown += [f"{name[:64]} ({what})" for name, what in self.others.items()]
        return (", ".join(shown[:most]) + (", ..." if len(shown) > most else "")) or "no arrays"


def contents(path: Path) -> Contents | None:
    """What the file declares, or None if it is no container of arrays.

    Raises
    ------
    DataError
        If it is one, but damaged or unsafe.
    """
    return _contents(path.absolute(), identity(path)) if path.is_file() else None


def marks(path: Path, *kinds: Kind) -> Contents | None:
    """As `contents`, for `Reader.detect`: None as well for damaged files and for other ``kinds``."""
    try:
        found = contents(path)
    except DataError:
        return None
    return found if found is not None and (not kinds or found.kind in kinds) else None


def load(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """These arrays, in native byte order; MATLAB 7.3 with its axes as MATLAB shows them.

    Raises
    ------
    DataError
        If the file is damaged, unsafe, or lacks one.
    """
    found = contents(path)
    wanted = list(names)
    if found is None:
        raise DataError(f"{path}: no NumPy archive, MATLAB or HDF5 file.")
    for name in wanted:
        if name not in found.arrays:
            raise DataError(f"{path}: has no array {name!r}; it holds {found.listing()}.")
    if found.kind == "npz":
        return _load_npz(path, wanted)
    if found.kind == "MATLAB 5":
        return _load_matlab(path, wanted)
    with opened(path) as file:
        arrays = {name: mapped(file[name], path) for name in wanted}
    if found.kind == "MATLAB 7.3":
        arrays = {name: _complex(array).T for name, array in arrays.items()}
    return arrays


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An HDF5 file of unknown origin, opened after a child process has read all of it.

    Raises
    ------
    DataError
        If the child found that something must not be followed or cannot be read.
    """
    if problem := probe(path)["problem"]:
        raise DataError(problem)
    file = open_file(path)
    try:
        with refusing(path, "its content"):
            yield file
    finally:
        file.close()


def mapped(dataset: Any, path: Path) -> NDArray[Any]:
    """The values of an h5py dataset; large ones stay in the file or go to a temporary one."""
    size = dataset.size * dataset.dtype.itemsize
    if size <= MAPPED_BYTES or dataset.dtype.kind not in "iufb":
        return native(dataset[()])
    offset = dataset.id.get_offset()
    if dataset.chunks is None and offset is not None and not dataset.file.userblock_size:
        return np.memmap(path, dtype=dataset.dtype, mode="r", offset=offset, shape=dataset.shape)
    held = room(dataset.shape, dataset.dtype)
    step = rows_per_block(dataset.shape, dataset.dtype.itemsize, dataset.chunks[0] if dataset.chunks else 1)
    for start in range(0, len(held), step):
        held[start : start + step] = dataset[start : start + step]
    return held


def room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array to be filled, in native byte order; a large one lies in a temporary file without a name."""
    order = dtype.newbyteorder("=")
    if math.prod(shape) * order.itemsize <= MAPPED_BYTES:
        return np.empty(shape, dtype=order)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype=order, mode="w+", shape=shape)


def native(values: NDArray[Any]) -> NDArray[Any]:
    """The values in the byte order of this machine."""
    return np.asarray(values).astype(np.asarray(values).dtype.newbyteorder("="), copy=False)


def attributes_of(item: Any) -> dict[str, Any]:
    """The attributes of an h5py object: text, numbers, lists of them; others are left out."""
    found: dict[str, Any] = {}
    for name in item.attrs:
        try:
            value = item.attrs[name]
        except (OSError, TypeError):  # references, types without a NumPy equivalent
            continue
        plain = _plain(value)
        if plain is not None:
            found[str(name)] = plain
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "OSU":
        return [_plain(item) for item in value.ravel().tolist()]
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "iufb":
        return value.tolist()
    return None


@functools.lru_cache(maxsize=16)
def _contents(path: Path, _identity: tuple[int, ...]) -> Contents | None:
    with path.open("rb") as file:
        beginning = file.read(1024)
    if beginning[:4] == b"PK\x03\x04":
        return _list_npz(path)
    if beginning.startswith(b"MATLAB 5.0 MAT-file"):
        return _list_matlab(path)
    if beginning.startswith(b"MATLAB 7.3 MAT-file") and beginning[512:520] == SIGNATURE:
        return _list_hdf5(path, "MATLAB 7.3")
    if beginning[:8] == SIGNATURE or beginning[512:520] == SIGNATURE:
        return _list_hdf5(path, "HDF5")
    return None


# NumPy archives.


def _list_npz(path: Path) -> Contents | None:
    with _damage(path, "zip archive"), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if not members or not all(m.filename.endswith(".npy") for m in members):
            return None
        if len(members) > MAX_MEMBERS or len({m.filename for m in members}) != len(members):
            raise DataError(f"{path}: has {len(members)} members, too many or with one name twice; not read.")
        if sum(m.compress_size for m in members) > path.stat().st_size:
            raise DataError(f"{path}: its members overlap; not read.")
        arrays, others = {}, {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            if member.flag_bits & 1:
                raise DataError(f"{path}: {name!r} is encrypted; not read.")
            with archive.open(member) as file:
                shape, dtype = npy_header(file)
            if dtype.hasobject:
                others[name] = "pickled objects, which could run any code and are never read"
                continue
            if dtype.kind not in "iufbc":
                others[name] = f"type {dtype}"
                continue
            declared = math.prod(shape) * dtype.itemsize
            if declared > MAX_RATIO * max(member.compress_size, 1) or declared > member.file_size:
                raise DataError(
                    f"{path}: {name!r} declares {declared} bytes but stores {member.compress_size}; not read."
                )
            arrays[name] = Entry(shape, dtype)
    return Contents("npz", arrays, others=others)


def npy_header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of a .npy stream; no array is made."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return tuple(int(n) for n in shape), dtype


def _load_npz(path: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    with _damage(path, "zip archive"), np.load(path, allow_pickle=False) as archive:
        return {name: native(archive[name]) for name in names}


# MATLAB 5.


def check_matlab(path: Path) -> list[tuple[str, tuple[int, ...], str]]:
    """Names, shapes and classes in a MATLAB 5 file, all of which was read: run by `sciml.sandbox.examine`,
    since damaged files can crash SciPy's reader.
    """
    import scipy.io

    with _damage(path, "MATLAB 5 file"):
        found = scipy.io.whosmat(str(path))
        scipy.io.loadmat(
            str(path), variable_names=[name for name, _, kind in found if kind in _MATLAB_NUMBERS]
        )
    return [(str(name), tuple(int(n) for n in shape), str(kind)) for name, shape, kind in found]


def _list_matlab(path: Path) -> Contents:
    arrays, others, declared = {}, {}, 0
    for name, shape, kind in examine(path, check_matlab):
        if kind not in _MATLAB_NUMBERS:
            others[name] = f"a MATLAB {kind}"
            continue
        dtype = np.dtype({"double": "f8", "single": "f4", "logical": "?"}.get(kind, kind))
        arrays[name] = Entry(tuple(int(n) for n in shape), dtype)
        declared += math.prod(arrays[name].shape) * dtype.itemsize
    # A double of small whole numbers takes one byte, before compression.
    if declared > 8 * MAX_RATIO * path.stat().st_size:
        raise DataError(
            f"{path}: declares {declared} bytes of arrays in {path.stat().st_size} bytes; not read."
        )
    return Contents("MATLAB 5", arrays, others=others)


def _load_matlab(path: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    import scipy.io

    with _damage(path, "MATLAB 5 file"):
        # Not with mat_dtype=True, which drops imaginary parts: whole numbers are stored in small types.
        found = scipy.io.loadmat(str(path), variable_names=names)
        kinds = {name: entry.dtype for name, entry in _list_matlab(path).arrays.items()}
        return {
            name: native(found[name] if found[name].dtype.kind == "c" else found[name].astype(kinds[name]))
            for name in names
        }


@contextmanager
def _damage(path: Path, what: str) -> Iterator[None]:
    """zipfile, zlib, NumPy and SciPy raise many kinds for damaged files, and warn about odd ones."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError:
        raise
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DataError(f"{path}: not a whole {what} ({reason}); restore a copy.") from error


# HDF5.


def _list_hdf5(path: Path, kind: Kind) -> Contents:
    import h5py

    matlab = kind == "MATLAB 7.3"
    arrays: dict[str, Entry] = {}
    others: dict[str, str] = {}
    with opened(path) as file:
        stack: list[tuple[str, Any]] = [("", file)]
        while stack:
            prefix, group = stack.pop()
            for name in sorted(group):
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    continue  # passed over by the child process as well; it could lead in circles
                item, full = group[name], f"{prefix}{name}"
                if isinstance(item, h5py.Datatype):
                    continue
                if isinstance(item, h5py.Group):
                    if matlab:
                        others[full] = "a MATLAB struct or cell"
                    else:
                        stack.append((f"{full}/", item))
                elif matlab and (what := _not_numbers(item)):
                    others[full] = what
                elif item.dtype.kind in "iufb" or _is_complex(item.dtype):
                    shape = item.shape[::-1] if matlab else item.shape
                    arrays[full] = Entry(shape, np.dtype("c16") if _is_complex(item.dtype) else item.dtype)
                else:
                    others[full] = f"type {item.dtype}"
        attributes = attributes_of(file)
    return Contents(kind, arrays, attributes, others)


def _not_numbers(dataset: Any) -> str:
    """What a variable of MATLAB 7.3 is, if it is no array of numbers."""
    name = _plain(dataset.attrs.get("MATLAB_class", b"double"))
    if dataset.attrs.get("MATLAB_empty", 0):
        return f"an empty MATLAB {name}"
    return "" if name in _MATLAB_NUMBERS else f"a MATLAB {name}"


def _is_complex(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "c" or set(dtype.names or ()) == {"real", "imag"}


def _complex(values: NDArray[Any]) -> NDArray[Any]:
    """MATLAB 7.3 stores pairs (real, imag)."""
    if not values.dtype.names:
        return values
    found: NDArray[Any] = values["real"] + 1j * values["imag"]
    return found
