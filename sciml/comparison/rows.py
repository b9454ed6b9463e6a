"""The file of rows: one JSON object a line, appended by any number of processes, read whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sciml.errors import DataError
from sciml.files import dump_json, finite, locked_folder

Row = Mapping[str, Any]
R = TypeVar("R", bound=Row)

NAME = "rows.jsonl"

_IDENTITY = {
    "benchmark": ("benchmark", "fingerprint"),
    "calibration": ("benchmark", "fingerprint", "entry", "samples", "budget"),
    "unit": ("benchmark", "fingerprint", "entry", "seed", "samples", "steps"),
    "reference": ("benchmark", "fingerprint", "name"),
    "search": ("benchmark", "fingerprint", "entry", "trial"),
}
_TIMES = ("train_seconds", "seconds_per_step", "seconds_per_sample", "memory_bytes", "alone")


def identity(row: Row) -> tuple[Any, ...]:
    """What a row is about: of two rows with the same one, the later counts."""
    return (row["kind"], *(row.get(name) for name in _IDENTITY.get(row["kind"], ())))


def current(rows: Iterable[R]) -> list[R]:
    """Rows without those that later ones replace, such as a failed unit that a second call finished.

    Examples
    --------
    >>> failed = {"kind": "unit", "entry": "fno", "seed": 0, "status": "failed"}
    >>> [row["status"] for row in current([failed, {**failed, "status": "finished"}])]
    ['finished']
    """
    kept = {identity(row): row for row in rows}
    # An entry that failed at its calibration has no steps yet.
    tried = {(*key[:-1], None) for key, row in kept.items() if row["kind"] == "unit" and key[-1] is not None}
    return [row for key, row in kept.items() if key not in tried]


def untimed(row: Row) -> dict[str, Any]:
    """The row without what a clock or the machine's load decides: the rest is the same to the bit."""
    kept = {name: value for name, value in row.items() if name not in _TIMES}
    if "history" in kept:
        kept["history"] = [{k: v for k, v in step.items() if k != "seconds"} for step in kept["history"]]
    return kept


class Rows:
    """A file of rows, ``rows.jsonl`` of a comparison or of any tool that keeps its results.

    A line that a killed writer left without its end is no row, and the next `append` removes it.  Writers
    exclude each other by a lock on the folder; where the file system has none (Windows, some network disks)
    let one process write at a time.

    Parameters
    ----------
    folder : Path
        Made by the first `append`.
    name : str
    needs : tuple of str
        Entries that every row has.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = Rows(Path(folder))
    ...     for seed in range(2):
    ...         rows.append({"name": "fno", "seed": seed, "error": 0.1})
    ...     rows.having({"name": "fno", "seed": 1})
    [{'name': 'fno', 'seed': 1, 'error': 0.1}]
    """

    def __init__(self, folder: Path, name: str = NAME, *, needs: tuple[str, ...] = ()) -> None:
        self.path, self.needs = folder / name, needs

    def append(self, row: Row) -> None:
        """Add one row, durably; NaN and infinity become null."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = (dump_json(finite(row), indent=None) + "\n").encode()
        with locked_folder(self.path.parent), self.path.open("a+b") as file:
            file.truncate(_end_of_lines(file))
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """All whole rows, in the order in which they came; none where there is no file.

        Raises
        ------
        DataError
            For a whole line that is not a JSON object with all it needs: the file is damaged or another one.
        """
        if not self.path.exists():
            return []
        *lines, _torn = self.path.read_bytes().split(b"\n")
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                if not isinstance(row, dict) or any(name not in row for name in self.needs):
                    raise ValueError(f"not an object with {', '.join(self.needs) or 'names'}")
            except ValueError as error:
                raise DataError(
                    f"{self.path}: line {number} is no row ({error}). Remove that line to go on with the "
                    "others."
                ) from error
            rows.append(row)
        return rows

    def having(self, entries: Row) -> list[dict[str, Any]]:
        """Those that have all these entries."""
        return [row for row in self.read() if entries.items() <= row.items()]


def _end_of_lines(file: Any) -> int:
    """The size of the file up to the end of its last whole line."""
    end: int = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65536)
        file.seek(start)
        at: int = file.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0
