"""What an HDF5 file of unknown origin holds, found in a child process: see `sciml.sandbox.examine`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from sciml.errors import DataError
from sciml.hdf5 import (
    BLOCK_BYTES,
    MAX_ATTRIBUTE_BYTES,
    MAX_ATTRIBUTES,
    chunks_written,
    first_names,
    is_dimension_only,
    open_file,
    refusing,
    rows_per_block,
    walk,
)

MAX_DECLARED = 2**20  # bytes of a variable that was never written: room for small ones of fill values
MAX_LISTED = 2_000


def outline(path: Path) -> dict[str, Any]:
    """What lies in the file, without reading a value.

    ``root``, the first names in it; ``scaled``, its variables with dimension scales; ``own``, whether it says
    that it is a sciml dataset; ``variables``, the first of them, at any depth, as full name to [type, shape];
    and ``problem``, a sentence if something in the file must not be followed or cannot be read, else None.
    """
    return _look(path, read=False)


def whole(path: Path) -> dict[str, Any]:
    """As `outline`, after reading every value and attribute: what passes can be read in another process."""
    return _look(path, read=True)


def _look(path: Path, *, read: bool) -> dict[str, Any]:
    import h5py

    from sciml.sandbox_child import report

    found: dict[str, Any] = {"root": [], "scaled": [], "own": False, "variables": {}, "problem": None}
    try:
        file = open_file(path)
        with refusing(path, "its content"):
            found["root"] = first_names(file)
            found["own"] = h5py.h5a.exists(file.id, b"sciml_schema")
            listed = [(name, h5py.Dataset(item)) for name, item in walk(file, path, own=False)]
            for name, dataset in listed:
                if name.count("/") == 1 and "DIMENSION_LIST" in dataset.attrs:
                    found["scaled"].append(name[1:])
                if len(found["variables"]) < MAX_LISTED:
                    shape = None if dataset.shape is None else list(dataset.shape)
                    found["variables"][name] = [str(dataset.dtype), shape]
            if read:
                _read_attributes_of_groups(file, path)
                for done, (name, dataset) in enumerate(listed):
                    _read(dataset, path, name)
                    report(done + 1, len(listed))
    except DataError as error:
        found["problem"] = str(error)
    return found


def _read_attributes_of_groups(file: Any, path: Path) -> None:
    """Every attribute of the root and of each group; `walk` has seen that the groups form a tree."""
    import h5py

    _read_attributes(file, path, "/")
    file.visititems(
        lambda name, item: _read_attributes(item, path, name) if isinstance(item, h5py.Group) else None
    )


def _read_attributes(item: Any, path: Path, name: str) -> None:
    from h5py import h5a

    count = h5a.get_num_attrs(item.id)
    if count > MAX_ATTRIBUTES:
        raise DataError(f"{path}: {name} has {count} attributes; at most {MAX_ATTRIBUTES} are read.")
    for key in list(item.attrs):
        attribute = item.attrs.get_id(key)
        if math.prod(attribute.shape) * attribute.get_type().get_size() > MAX_ATTRIBUTE_BYTES:
            raise DataError(f"{path}: the attribute {key!r} of {name} exceeds {MAX_ATTRIBUTE_BYTES} bytes.")
        item.attrs[key]


def _read(dataset: Any, path: Path, name: str) -> None:
    """All values of a variable, block by block, and its attributes."""
    _read_attributes(dataset, path, name)
    declared = dataset.size * dataset.dtype.itemsize if dataset.size else 0
    if not declared or is_dimension_only(dataset):
        return
    if declared > MAX_DECLARED and not dataset.id.get_storage_size():
        raise DataError(
            f"{path}: {name} declares {declared} bytes, none of which were ever written; not read."
        )
    written, expected = chunks_written(dataset)
    if 0 < written < expected and "_FillValue" not in dataset.attrs:
        raise DataError(
            f"{path}: {name} has {written} of {expected} chunks written; the rest would read as if it were "
            "data. Its writer was interrupted."
        )
    if not dataset.shape:
        dataset[()]
        return
    step = rows_per_block(dataset.shape, dataset.dtype.itemsize, dataset.chunks[0] if dataset.chunks else 1)
    row = declared // dataset.shape[0]
    if row <= 16 * BLOCK_BYTES:
        for start in range(0, dataset.shape[0], step):
            dataset[start : start + step]
        return
    for index in range(dataset.shape[0]):  # one entry of the first axis is large: cut the second
        inner = rows_per_block(dataset.shape[1:], dataset.dtype.itemsize)
        for start in range(0, dataset.shape[1], inner):
            dataset[index, start : start + inner]
