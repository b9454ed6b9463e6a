"""Run as a script in a child process: walk and read an HDF5 file of unknown origin, and print what it holds.

``python hdf5_probe.py FILE ROOT`` with ROOT the folder that holds the package sciml.  The HDF5 library can
crash or loop on crafted files; here that ends a process that holds nothing.  What passes was read in full.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

MAX_DECLARED = 2**20  # bytes of a variable that was never written: room for small ones of fill values
MAX_NAMES = 9
MEMORY = 2**32


def examine(path: Path) -> dict[str, Any]:
    """What lies in the root, after reading every value and attribute.

    ``root``, the first names in it, ``scaled``, its variables with dimension scales, and ``problem``, a
    sentence if something in the file must not be followed or cannot be read, else None.
    """
    from sciml.errors import DataError
    from sciml.hdf5 import check_tree, is_dimension_only, open_file, refusing

    found: dict[str, Any] = {"root": [], "scaled": [], "problem": None}
    try:
        file = open_file(path)
        with refusing(path, "its content"):
            found["root"] = [str(name)[:64] for name in itertools.islice(file, MAX_NAMES)]
            names = check_tree(file, path)
            for name in names:
                if "DIMENSION_LIST" in file[name].attrs:
                    found["scaled"].append(name)
            for name in names:
                if not is_dimension_only(file[name]):
                    _read(file[name], path, name)
    except DataError as error:
        found["problem"] = str(error)
    return found


def _read(dataset: Any, path: Path, name: str) -> None:
    from sciml.errors import DataError
    from sciml.hdf5 import rows_per_block

    for key in list(dataset.attrs):
        if key not in ("DIMENSION_LIST", "REFERENCE_LIST"):
            dataset.attrs[key]
    declared = dataset.size * dataset.dtype.itemsize if dataset.size else 0
    if declared > MAX_DECLARED and not dataset.id.get_storage_size():
        raise DataError(
            f"{path}: {name} declares {declared} bytes, none of which were ever written; not read."
        )
    if dataset.dtype.kind not in "iufb" or not dataset.size:
        return
    step = rows_per_block(dataset.shape, dataset.dtype.itemsize) if dataset.shape else 0
    for start in range(0, dataset.shape[0] if dataset.shape else 0, step):
        dataset[start : start + step]


def _limit(path: Path) -> None:
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit remains
        return
    seconds = seconds_for(path)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def seconds_for(path: Path) -> int:
    """Processor time that reading the file may take: 20 s, and 1 s for every 20 MB."""
    return 20 + path.stat().st_size // 20_000_000


if __name__ == "__main__":
    sys.path.append(sys.argv[2])
    _limit(Path(sys.argv[1]))
    print(json.dumps(examine(Path(sys.argv[1]))))
