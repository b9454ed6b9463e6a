"""A run: one training and the folder that holds all of it.

::

    run.json       settings (enough to repeat it), versions, status, result
    metrics.jsonl  one JSON object per step
    checkpoints/   training state, see `sciml.checkpoints`
    surrogate/     weights.safetensors and card.json, see `sciml.surrogate`
    report.html    made by the command line
    run.lock       held by the live process, with its number and host
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch
from torch import nn

from sciml import files
from sciml.checkpoints import Checkpoints
from sciml.errors import CheckpointError, ConfigError, RunLockedError

if TYPE_CHECKING:
    from sciml.objective import Objective
    from sciml.point_surrogate import PointSurrogate
    from sciml.surrogate import Surrogate

FORMAT = 1


def versions() -> dict[str, Any]:
    """What the bits of a run depend on besides its settings."""
    import numpy

    import sciml

    return {
        "sciml": sciml.__version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The (dotted key, old value, new value) in which two nested settings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            # "arguments" carries no meaning for a reader: trainer.steps, not trainer.arguments.steps.
            inner = path if key == "arguments" else f"{path}.{key}".lstrip(".")
            yield from differences(old.get(key), new.get(key), inner)
    elif old != new:
        yield path, old, new


class RunFolder:
    """The files of a run.  `acquire` locks it; everything else needs no lock."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / "checkpoints")
        self._lock: IO[str] | None = None
        self._metrics: IO[str] | None = None

    def acquire(self) -> None:
        """Create and lock the folder.

        The operating system drops the lock when its holder dies, so a killed run leaves none behind.

        Raises
        ------
        RunLockedError
            If a live process holds it; the message names process and host.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = (self.path / "run.lock").open("a+")
        try:
            files.lock_file(lock)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise RunLockedError(
                f"{self.path} is in use by another process ({holder}). Wait for it, stop it, or choose "
                "another output folder."
            ) from error
        lock.truncate(0)
        lock.write(f"pid {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        self._lock = lock
        _held.add(self)
        for stale in self.path.rglob(
            ".*.part"
        ):  # of a writer that was killed; a live one would hold the lock
            files._remove(stale)

    def release(self) -> None:
        """Close the metrics file and unlock."""
        for file in (self._metrics, self._lock):
            if file is not None:
                file.close()
        self._metrics = self._lock = None

    def clear(self) -> None:
        """Remove everything but the lock."""
        for entry in self.path.iterdir():
            if entry.name != "run.lock":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def read(self) -> dict[str, Any] | None:
        """The content of run.json, or None if there is none yet."""
        path = self.path / "run.json"
        if not path.exists():
            return None
        try:
            record: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise CheckpointError(f"{path} is damaged ({error}); start anew with force=True.") from error
        return record

    def write(self, record: Mapping[str, Any]) -> None:
        """Write run.json."""
        files.write_json_atomic(self.path / "run.json", dict(record))

    def agree(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """The record of an earlier run with the same settings, or None in an empty folder.

        Raises
        ------
        ConfigError
            If the folder holds a run with other settings; the message names the keys that differ.
        """
        record = self.read()
        if record is None:
            return None
        found = differences(record["settings"], json.loads(files.dump_json(settings)))
        changed = [item for item in found if not item[0].endswith(".path")]  # data are known by their digest
        if changed:
            shown = "; ".join(f"{key}: {_short(old)} there, {_short(new)} now" for key, old, new in changed)
            raise ConfigError(
                f"{self.path} holds a run with other settings ({shown}). Choose another output folder, or "
                "start anew there with force=True (--force)."
            )
        return record

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl."""
        if self._metrics is None:
            self._metrics = (self.path / "metrics.jsonl").open("a")
        self._metrics.write(files.dump_json(row, indent=None) + "\n")
        self._metrics.flush()

    def history(self, last: int | None = None) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl up to step ``last``; a torn last line is left out."""
        path = self.path / "metrics.jsonl"
        rows: list[dict[str, Any]] = []
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
            except ValueError:
                break
            if last is None or row["step"] <= last:
                rows.append(row)
        return rows

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Drop the rows after ``step``, which a resumed run writes again, and return the others."""
        rows = self.history(step)
        text = "".join(files.dump_json(row, indent=None) + "\n" for row in rows)
        files.write_bytes_atomic(self.path / "metrics.jsonl", text.encode())
        return rows


_held: weakref.WeakSet[RunFolder] = weakref.WeakSet()


def _drop_inherited_locks() -> None:
    """A forked child (a loader's worker) shares the lock's open file and would keep the folder locked for as
    long as it outlives a killed parent; closing its copy leaves the parent's lock alone."""
    for folder in _held:
        if folder._lock is not None:
            folder._lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_inherited_locks)


def _short(value: Any) -> str:
    text = files.dump_json(value, indent=None)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass
class Run:
    """What a training leaves behind.

    ``model`` is the one to use: its moving average when there was one, the best when training stopped early.
    ``history`` holds a row for each step: step, loss, each term, learning rate, seconds so far, those of them
    that were waited for batches, and the validation where there was one.
    """

    model: nn.Module
    objective: Objective
    history: list[dict[str, Any]] = field(default_factory=list)
    folder: Path | None = None

    @property
    def seconds(self) -> float:
        """Seconds of training with its validations and checkpoints, over all resumptions."""
        return float(self.history[-1]["seconds"]) if self.history else 0.0

    @property
    def waiting(self) -> float:
        """The share of the time, 0 to 1, in which the model waited for its batches to be read or drawn."""
        return float(self.history[-1].get("waited", 0.0)) / self.seconds if self.seconds else 0.0

    def surrogate(self) -> Surrogate:
        """Model, normalization, grid, names and units as one object.

        Raises
        ------
        ConfigError
            If the objective has no named inputs and outputs, as a PINN's has not, or they are not fields on a
            grid alone.
        """
        from sciml.point_surrogate import PointSurrogate

        surrogate = self.objective.surrogate(self.model)
        if isinstance(surrogate, PointSurrogate):
            raise ConfigError("Run.surrogate: this run is on points or meshes; use run.point_surrogate().")
        if surrogate is None:
            raise ConfigError(
                f"Run.surrogate: {type(self.objective).__name__} has more or less than named "
                "fields on a grid alone as inputs and outputs; use run.model."
            )
        return surrogate

    def point_surrogate(self) -> PointSurrogate:
        """The same of a model on points or meshes.

        Raises
        ------
        ConfigError
            If the objective is not about fields on points or meshes, with numbers and distances to
            boundaries beside them at most.
        """
        from sciml.point_surrogate import PointSurrogate

        surrogate = self.objective.surrogate(self.model)
        if not isinstance(surrogate, PointSurrogate):
            raise ConfigError(
                f"Run.point_surrogate: {type(self.objective).__name__} has no named fields on points or "
                "meshes as outputs, or functions on points of their own as inputs; use run.model."
            )
        return surrogate
