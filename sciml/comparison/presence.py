"""Whether other sweeps run on one folder and one machine at the same time: then times are not alone."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from sciml.files import claimed


class Presence:
    """Locks of the living sweeps of a folder, one file each, named after host and process."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / ".sweeps"
        self._host = socket.gethostname()
        self._own = self.place / f"{self._host}-{os.getpid()}.lock"

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Others see this process while the block runs."""
        with claimed(self._own):
            yield
        self._own.unlink(missing_ok=True)

    @property
    def alone(self) -> bool:
        """Whether no other process on this machine is shown; files of the dead are removed."""
        for path in self.place.glob(f"{self._host}-*.lock"):
            if path == self._own:
                continue
            with claimed(path) as dead:
                if not dead:
                    return False
                with contextlib.suppress(OSError):
                    path.unlink()
        return True
