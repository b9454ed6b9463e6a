"""HDF5 files of unknown origin: what must be checked before the first value is read, and how to read it.

HDF5 itself follows links into other files, reads bytes of any file as external storage, fills what was never
written with zeros and believes every declared size.  The functions here refuse each of these in one sentence
that names file and object.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.errors import DataError
from sciml.sandbox import examine
from sciml.schema import DIMENSION_ONLY, DTYPES, STRUCTURE, canonical

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_DEPTH = 32
MAX_OBJECTS = 100_000  # PDEBench keeps 10 000 samples as groups of five objects each
MAX_NAMES = 9  # of an unknown file, for a message
MAX_ATTRIBUTES = 1_000
MAX_ATTRIBUTE_BYTES = 2**20
MAX_CHUNK_BYTES = 2**30
CACHE_BYTES = 2**24  # per variable; at least two of the largest chunks that we write
BLOCK_BYTES = 2**24  # what is held at a time when a whole variable is read

# Deflate reaches at most 1032:1.  Beyond 256 MiB nothing that a solver computes comes near 200:1.
MAX_RATIO = 1_100
MAX_LARGE_RATIO = 200
LARGE_BYTES = 2**28

FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
_FLETCHER32 = 3
HARMLESS = frozenset({1, 2, _FLETCHER32})  # deflate, and two without settings that a file could choose

# What h5py raises for a damaged or crafted file, depending on where it notices.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)

_BEGINNINGS = (
    (b"CDF", "a netCDF-3 (classic) file"),
    (b"MATLAB 5.0 MAT-file", "a MATLAB 5 file"),
    (b"MATLAB 7.3 MAT-file", "a MATLAB 7.3 file"),
    (b"PK\x03\x04", "a zip archive (an .npz or .pt file?)"),
    (b"\x93NUMPY", "a .npy file"),
)


Refuse = Callable[[str], None]


def stop(sentence: str) -> None:
    """The usual answer to a departure: raise it.  A checker collects them instead."""
    raise DataError(sentence)


@contextlib.contextmanager
def refusing(path: Path, what: str) -> Iterator[None]:
    """Turn whatever h5py raises inside into one DataError that names the file and the object."""
    try:
        yield
    except DataError:
        raise
    except DAMAGE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "filter" in reason:  # the checksum filter is the only one that fails on data we have written
            reason = f"the stored checksum does not match the data ({reason})"
        raise DataError(
            f"{path}: {what} cannot be read: {reason}. The file is damaged; restore a copy."
        ) from error


def check_beginning(path: Path) -> None:
    """Look at the first bytes, before the HDF5 library sees any.

    Files of the layouts before HDF5 1.8 (superblock 0 and 1) have no checksums over their structure, and
    mutated ones can crash the library; no sciml file is one, so they are refused here.

    Raises
    ------
    FileNotFoundError, DataError
    """
    if not path.exists():
        raise FileNotFoundError(f"open_dataset: there is no file {path}.")
    if not path.is_file():
        raise DataError(f"{path}: not a regular file. open_dataset takes the path of one HDF5 file.")
    with path.open("rb") as file:
        beginning = file.read(1024)
    if beginning[:8] != SIGNATURE:
        kind = next((text for start, text in _BEGINNINGS if beginning.startswith(start)), "")
        if beginning[512:520] == SIGNATURE:
            kind = kind or "an HDF5 file with a user block"
        elif not beginning:
            kind = "an empty file"
        raise DataError(
            f"{path}: not a sciml dataset, which is an HDF5 file; this is {kind or 'something else'}. "
            "open_dataset reads only sciml files; other layouts need a reader that converts them."
        )
    if len(beginning) < 9 or beginning[8] not in (2, 3):
        names = None
        with contextlib.suppress(DataError):
            names = examine(path, root_names)
        raise DataError(foreign(path, names))


def root_names(path: Path) -> list[str]:
    """The first names in the root of an HDF5 file, following no link; for `sandbox.examine`."""
    file = open_file(path)
    try:
        with refusing(path, "its content"):
            return first_names(file)
    finally:
        file.close()


def first_names(file: Any) -> list[str]:
    """The first names in the root of an open file, cut to 64 letters."""
    return [str(name)[:64] for name in itertools.islice(file, MAX_NAMES)]


def foreign(path: Path, names: list[str] | None) -> str:
    """The sentence about an HDF5 file of another layout, with the first names in its root."""
    found = "its content could not be listed"
    if names is not None:
        shown = ", ".join(repr(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
        found = f"its root holds {shown}" if names else "its root is empty"
    return (
        f"{path}: an HDF5 file but not a sciml dataset: no root attribute 'sciml_schema', and {found}. "
        "open_dataset reads only sciml files; other layouts need a reader that converts them."
    )


def open_file(path: Path) -> Any:
    """Open for reading; where a file system refuses locks (network, read-only), without one.

    Not without one from the start: HDF5 refuses a second opening in one process, by xarray say, with another
    setting.
    """
    import h5py

    with refusing(path, "the file"):
        try:
            return h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)
        except OSError as error:
            if "lock" not in str(error):
                raise
            return h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES, locking=False)


def check_tree(file: Any, path: Path, refuse: Refuse = stop) -> list[str]:
    """Walk all links without following any out of the file; return the names of the variables in the root.

    Raises
    ------
    DataError
        For an external, soft or user-defined link, a group or variable reached twice, a committed type, too
        much depth or too many objects, a name that is not plain text, and whatever `check_storage` refuses.
    """
    return [name[1:] for name, _ in walk(file, path, refuse) if name.count("/") == 1]


def walk(file: Any, path: Path, refuse: Refuse = stop, *, own: bool = True) -> Iterator[tuple[str, Any]]:
    """All variables, (full name, h5py.h5d.DatasetID), after the checks of `check_tree`.

    What is refused, if ``refuse`` returns, is left out.  In files that are not our ``own`` three things are
    passed over that lead nowhere else: soft links, types by name, and second links to one variable.
    """
    from h5py import h5g, h5o

    seen: set[int] = {h5o.get_info(file.id).addr}
    stack: list[tuple[Any, str, int]] = [(h5g.open(file.id, b"/"), "", 0)]
    while stack:
        group, prefix, depth = stack.pop()
        if len(group) + len(seen) > MAX_OBJECTS:
            refuse(f"{path}: holds more than {MAX_OBJECTS} objects; a sciml file has a few dozen.")
            return
        for raw in list(group):
            name = prefix + "/" + raw.decode("utf-8", "replace")
            if not own and _leads_nowhere_else(group, raw, seen):
                continue
            problem = _check_link(group, raw, name, seen)
            if problem:
                refuse(f"{path}: {problem}")
                continue
            info = h5o.get_info(group, raw)
            seen.add(info.addr)
            if info.type == h5o.TYPE_DATASET:
                dataset = h5o.open(group, raw)
                check_storage(dataset, path, name, refuse)
                yield name, dataset
            elif info.type != h5o.TYPE_GROUP:
                refuse(
                    f"{path}: {name} is neither a group nor a variable; a sciml file has no other objects."
                )
            elif depth + 1 >= MAX_DEPTH:
                refuse(f"{path}: {name[:80]}... is nested deeper than {MAX_DEPTH} groups.")
            else:
                stack.append((h5g.open(group, raw), name, depth + 1))


def _check_link(group: Any, raw: bytes, name: str, seen: set[int]) -> str:
    """What is wrong with a link, before it is followed; "" if nothing."""
    from h5py import h5l, h5o

    if len(raw) > 256 or not name.isprintable() or "\ufffd" in name or raw in (b".", b".."):
        return f"the object {name[:80]!r} has a name that is not plain text."
    kind = group.links.get_info(raw).type
    if kind != h5l.TYPE_HARD:
        what = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link into another file"}.get(kind)
        return f"{name} is {what or 'a user-defined link'}; a sciml file has none."
    if h5o.get_info(group, raw).addr in seen:
        return f"{name} is a second link to one object, possibly a cycle."
    return ""


def _leads_nowhere_else(group: Any, raw: bytes, seen: set[int]) -> bool:
    from h5py import h5l, h5o

    kind = group.links.get_info(raw).type
    if kind != h5l.TYPE_HARD:
        return bool(kind == h5l.TYPE_SOFT)
    info = h5o.get_info(group, raw)
    return info.type == h5o.TYPE_NAMED_DATATYPE or (info.type == h5o.TYPE_DATASET and info.addr in seen)


def check_storage(dataset: Any, path: Path, name: str, refuse: Refuse = stop) -> None:
    """Refuse a variable whose bytes lie elsewhere, need a plug-in, or cannot be what their size declares.

    ``dataset`` is an h5py.h5d.DatasetID; nothing of it is read.
    """
    from h5py import h5d

    plan = dataset.get_create_plist()
    if plan.get_external_count() > 0:
        return refuse(f"{path}: {name} keeps its values in another file (external storage); not read.")
    if plan.get_layout() == h5d.VIRTUAL:
        return refuse(f"{path}: {name} is a virtual dataset, made of pieces of other files; not read.")
    for code in filters(dataset):
        if code not in FILTERS:
            refuse(
                f"{path}: {name} needs the HDF5 filter {code}, a plug-in; "
                f"sciml reads {', '.join(FILTERS.values())}."
            )
    declared = math.prod(dataset.shape) * dataset.get_type().get_size()
    stored = dataset.get_storage_size()
    limit = MAX_RATIO if declared <= LARGE_BYTES else MAX_LARGE_RATIO
    if stored and declared > limit * stored:
        refuse(f"{path}: {name} declares {declared} bytes but stores {stored}; not read.")
    if stored > path.stat().st_size:
        refuse(f"{path}: {name} claims {stored} stored bytes, more than the file has.")
    return None


def filters(dataset: Any) -> list[int]:
    """The numbers of the filters that a variable's chunks pass through; ``dataset`` is a DatasetID."""
    plan = dataset.get_create_plist()
    return [int(plan.get_filter(i)[0]) for i in range(plan.get_nfilters())]


def chunks_written(dataset: Any) -> tuple[int, int]:
    """How many chunks of an h5py dataset are written, and how many there should be; (0, 0) if not chunked."""
    if dataset.chunks is None or 0 in dataset.shape:
        return 0, 0
    expected = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    return dataset.id.get_num_chunks(), expected


def is_dimension_only(dataset: Any) -> bool:
    """Whether an h5py dataset is a netCDF dimension without values."""
    from h5py import h5a, h5t

    if not h5a.exists(dataset.id, b"NAME"):
        return False
    kind = h5a.open(dataset.id, b"NAME").get_type()
    if kind.get_class() != h5t.STRING or kind.is_variable_str():
        return False
    return bytes(dataset.attrs["NAME"]).startswith(DIMENSION_ONLY.encode())


def check_variable(dataset: Any, path: Path, name: str, refuse: Refuse = stop) -> None:
    """Refuse an h5py dataset without plain numbers, completely written chunks and checksums."""
    if dataset.dtype.kind not in "iuf" or canonical(dataset.dtype).str[1:] not in DTYPES:
        refuse(f"{path}: {name} has type {dataset.dtype}; a sciml file holds {', '.join(DTYPES)}.")
    if not dataset.shape or 0 in dataset.shape:
        return refuse(f"{path}: {name} has shape {dataset.shape}; every axis needs at least one entry.")
    if dataset.chunks is None:
        return refuse(f"{path}: {name} is not stored in chunks, so that damage would go unnoticed; not read.")
    if _FLETCHER32 not in filters(dataset.id):
        refuse(f"{path}: {name} has no fletcher32 checksum, so that damage would go unnoticed; not read.")
    if math.prod(dataset.chunks) * dataset.dtype.itemsize > MAX_CHUNK_BYTES:
        refuse(f"{path}: {name} has chunks of more than {MAX_CHUNK_BYTES} bytes; not read.")
    written, expected = chunks_written(dataset)
    if written != expected:
        refuse(
            f"{path}: {name} has {written} of {expected} chunks written; the rest would read as zeros. "
            "The writer was interrupted; generate the file again."
        )
    return None


def read_attributes(item: Any, path: Path, name: str, refuse: Refuse = stop) -> dict[str, Any]:
    """The attributes of an h5py object as text, int, float or arrays of numbers, without those of the
    structure.  What is refused, if ``refuse`` returns, is left out.

    References and variable-length values are never read: they lie in the one part of a file without
    checksums.
    """
    from h5py import h5a, h5t

    count = h5a.get_num_attrs(item.id)
    if count > MAX_ATTRIBUTES:
        raise DataError(f"{path}: {name} has {count} attributes; at most {MAX_ATTRIBUTES} are read.")
    found: dict[str, Any] = {}
    for i in range(count):
        attribute = h5a.open(item.id, index=i)
        key = attribute.name.decode("utf-8")
        if key in STRUCTURE:
            continue
        kind = attribute.get_type()
        text = kind.get_class() == h5t.STRING
        number = kind.get_class() in (h5t.INTEGER, h5t.FLOAT)
        if not (number or (text and not kind.is_variable_str())) or (text and attribute.shape != ()):
            refuse(f"{path}: the attribute {key!r} of {name} is neither a number nor a fixed-length text.")
            continue
        if math.prod(attribute.shape) * kind.get_size() > MAX_ATTRIBUTE_BYTES:
            refuse(f"{path}: the attribute {key!r} of {name} exceeds {MAX_ATTRIBUTE_BYTES} bytes.")
            continue
        value = item.attrs[key]
        if text:
            found[key] = value if isinstance(value, str) else bytes(value).rstrip(b"\0").decode("utf-8")
        else:
            found[key] = np.asarray(value) if attribute.shape else np.asarray(value).item()
    return found


def dimension_numbers(dataset: Any, name: str) -> tuple[int, ...]:
    """The integers in one of netCDF-4's attributes about dimensions, or nothing where it is absent.

    netCDF-4 keeps the numbers of a variable's dimensions (``_Netcdf4Coordinates``) and the number of a
    dimension (``_Netcdf4Dimid``) beside the references of HDF5, and these lie in the checksummed header.
    """
    from h5py import h5a, h5t

    if not h5a.exists(dataset.id, name.encode()):
        return ()
    attribute = h5a.open(dataset.id, name.encode())
    if attribute.get_type().get_class() != h5t.INTEGER or math.prod(attribute.shape) > MAX_DEPTH:
        return ()
    return tuple(int(i) for i in np.ravel(dataset.attrs[name]))


def rows_per_block(shape: tuple[int, ...], itemsize: int, chunk: int = 1) -> int:
    """How many entries of the first axis make a block of about 16 MiB, in whole chunks."""
    row = max(1, math.prod(shape[1:]) * itemsize)
    return max(1, BLOCK_BYTES // row // chunk) * chunk


def sha256_of(dataset: Any) -> str:
    """SHA-256 of all values of an h5py dataset, in C order and little-endian, whatever the storage."""
    state = hashlib.sha256()
    step = rows_per_block(dataset.shape, dataset.dtype.itemsize, dataset.chunks[0] if dataset.chunks else 1)
    for start in range(0, dataset.shape[0], step):
        block = dataset[start : start + step]
        state.update(np.ascontiguousarray(block, dtype=canonical(dataset.dtype)).data)
    return state.hexdigest()


def runs(rows: NDArray[np.int64]) -> Iterator[tuple[int, int, int, int]]:
    """Contiguous runs of increasing ``rows``, as (first position, end position, first row, end row).

    Examples
    --------
    >>> list(runs(np.array([3, 4, 5, 9])))
    [(0, 3, 3, 6), (3, 4, 9, 10)]
    """
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    edges = [0, *cuts.tolist(), len(rows)]
    for begin, end in itertools.pairwise(edges):
        if end > begin:
            yield begin, end, int(rows[begin]), int(rows[end - 1]) + 1
