"""HDF5 files of unknown origin, as a child process found them: no reader opens one that it did not pass.

The HDF5 library can crash or loop on crafted files; in the child that ends a process that holds nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sciml import examination
from sciml.errors import DataError
from sciml.sandbox import examine

_NOTHING = {"root": [], "scaled": [], "own": False, "variables": {}}


def outline(path: Path) -> dict[str, Any]:
    """Names, types and shapes in the file, and a ``problem``: see `sciml.examination.outline`."""
    return _asked(path, examination.outline)


def probe(path: Path) -> dict[str, Any]:
    """As `outline`, after everything in the file was read once."""
    return _asked(path, examination.whole)


def _asked(path: Path, function: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = examine(path, function)
    except DataError as error:
        return {**_NOTHING, "problem": str(error)}
    return found
