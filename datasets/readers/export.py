"""What writing a dataset in the layout of others needs: values in blocks, files that are whole or absent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciml.errors import DataError
from sciml.files import _remove, replace_file_atomic, replace_folder_atomic, temporary_name
from sciml.hdf5 import rows_per_block

if TYPE_CHECKING:
    from sciml.dataset import Dataset

Rows = NDArray[np.int64]


def check_target(who: str, data: Dataset, path: Path) -> None:
    """Refuse what cannot be written before anything is.

    Raises
    ------
    DataError
        If the values live on meshes or points, or there are none.
    FileExistsError, FileNotFoundError
        If the target exists, or its folder does not.
    """
    if data.kind != "grid":
        raise DataError(f"{who}: {data.path} holds values on {data.kind}; that layout is for grids.")
    if not len(data):
        raise DataError(f"{who}: {data.path} has no samples in this view.")
    if path.exists():
        raise FileExistsError(f"{who}: {path} exists; remove it or choose another name.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{who}: there is no folder {path.parent}; create it first.")


@contextmanager
def whole_file(path: Path) -> Iterator[Any]:
    """A new HDF5 file that gets its name when it is complete."""
    import h5py

    temporary = temporary_name(path)
    try:
        with h5py.File(temporary, "w") as file:
            yield file
        replace_file_atomic(temporary, path)
    finally:
        if temporary.exists():
            _remove(temporary)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder that gets its name when it is complete."""
    temporary = temporary_name(path)
    try:
        temporary.mkdir()
        yield temporary
        replace_folder_atomic(temporary, path)
    finally:
        if temporary.exists():
            _remove(temporary)


def put(
    group: Any,
    name: str,
    data: Dataset,
    field: str,
    rows: Rows,
    turn: Callable[[NDArray[Any]], NDArray[Any]] = lambda values: values,
) -> Any:
    """A new variable with a field at ``rows`` of the view, block by block; ``turn`` changes their axes."""
    first = turn(data.load(field, rows[:1]))
    dataset = group.create_dataset(name, shape=(len(rows), *first.shape[1:]), dtype=first.dtype)
    step = rows_per_block(dataset.shape, first.dtype.itemsize)
    for start in range(0, len(rows), step):
        picked = rows[start : start + step]
        dataset[start : start + len(picked)] = turn(data.load(field, picked))
    return dataset


def numbers_of(data: Dataset) -> dict[str, float]:
    """The root attributes that are numbers, without those of the schema and its extensions."""
    skip = ("seed", "discretization")
    return {
        name: float(value)
        for name, value in data.attributes.items()
        if isinstance(value, int | float) and name not in skip and not name.startswith("sciml_")
    }
