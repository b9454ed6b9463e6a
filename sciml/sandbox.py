"""Files of unknown origin are first read in a child process, whose crash or endless loop does no harm.

The HDF5 library can be crashed, and can be made to loop or to take all memory, by crafted files.  `examine`
runs a function of this package on a file in a process that holds nothing, with limits on processor time,
wall time, memory and writing, and hands back what it found.  One server process is kept ready and forks for
each file, so an examination costs milliseconds and starts from a clean state.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from sciml.errors import DataError
from sciml.files import identity

MEMORY = 2**32  # bytes of address space of the child
# A file that changed a moment ago may change again without a new time stamp, of which systems keep about 250
# in a second; nothing is remembered about it.
SETTLED_SECONDS = 0.1
_REMEMBERED = 256
_MAX_LINE = 2**24

Progress = Callable[[int, int], None]


def seconds_for(path: Path) -> int:
    """Processor time that reading the file may take: 20 s, and 1 s for every 20 MB."""
    return 20 + path.stat().st_size // 20_000_000


def examine(path: Path, function: Callable[[Path], Any], *, progress: Progress | None = None) -> Any:
    """``function(path)``, computed in a child process.

    Parameters
    ----------
    path : Path
        A regular file.
    function : callable
        A function of a module of this package that imports no more than h5py and numpy; it returns what
        JSON can hold, and may report its progress through `sciml.sandbox_child.report`.
    progress : callable, optional
        Called with (done, total) as the function reports.

    Raises
    ------
    DataError
        Whatever the function raised, or that the child crashed or exceeded a limit.
    """
    absolute = path.absolute()
    now = identity(absolute)
    key = (function.__module__, function.__qualname__, str(absolute), *now)
    if key in _known:
        return _known[key]
    found = _ready().ask(absolute, f"{function.__module__}:{function.__qualname__}", progress)
    if now == identity(absolute) and time.time_ns() - now[-1] > SETTLED_SECONDS * 1e9:
        while len(_known) >= _REMEMBERED:
            _known.pop(next(iter(_known)))
        _known[key] = found
    return found


def vouch(path: Path, function: Callable[[Path], Any], found: Any = None) -> None:
    """Remember ``found`` as the result for a file that this process has written and read back itself."""
    absolute = path.absolute()
    _known[(function.__module__, function.__qualname__, str(absolute), *identity(absolute))] = found


_known: dict[tuple[Any, ...], Any] = {}


class Examiner:
    """A server process and the conversation with it; one question at a time."""

    def __init__(self) -> None:
        import sciml

        script = Path(__file__).with_name("sandbox_child.py")
        root = Path(sciml.__file__).parents[1]
        single = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(script), str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # No plug-ins: a filter named in a file would load a shared object.
            env={**os.environ, **single, "HDF5_PLUGIN_PRELOAD": "::"},
            bufsize=0,  # nothing that a fork could inherit half written
            start_new_session=True,  # ended as a group, children included
        )
        self._answers = io.BufferedReader(cast(io.RawIOBase, self.process.stdout))
        self.owner, self._killed = os.getpid(), False
        self._lock = threading.Lock()

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._killed and self.process.poll() is None

    def ask(self, path: Path, function: str, progress: Progress | None) -> Any:
        """One examination; a crash or a limit ends in a DataError."""
        seconds = seconds_for(path)
        request = {"path": os.fspath(path), "function": function, "seconds": seconds, "memory": MEMORY}
        with self._lock:
            overdue = threading.Timer(10 * seconds, self.kill)  # wall time, on a machine with other work
            overdue.daemon = True
            overdue.start()
            try:
                answer = self._converse(request, progress)
            except BaseException:  # Ctrl-C: what is half said must not be taken for the next answer
                self.kill()
                raise
            finally:
                overdue.cancel()
                if not hasattr(os, "fork"):
                    self.stop()
        if "error" in answer:
            raise DataError(str(answer["error"]))
        if "found" not in answer:
            raise DataError(
                f"{path}: a child process that read it {answer['end']}; it is damaged or hostile. Not read."
            )
        return answer["found"]

    def _converse(self, request: dict[str, Any], progress: Progress | None) -> dict[str, Any]:
        """Send, and read lines until the one that says how the child ended."""
        assert self.process.stdin is not None
        answer: dict[str, Any] = {}
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            while "end" not in answer:
                line = json.loads(self._answers.readline(_MAX_LINE))
                if "progress" in line and progress is not None:
                    progress(*line["progress"])
                answer |= line
        except (OSError, ValueError, RecursionError):  # the pipe closed: killed, or never started
            self.kill()
            answer = {"end": "gave no answer in time"}
        if answer["end"] != "exit 0":
            answer.pop("found", None)
        return answer

    def kill(self) -> None:
        """End the server and whatever it has forked."""
        self._killed = True  # it may take a moment
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()

    def stop(self) -> None:
        """Let it go: it ends when its input closes."""
        self.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()

    def close(self) -> None:
        """Close this side of the pipes."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


_examiner: Examiner | None = None
_starting = threading.Lock()


def _ready() -> Examiner:
    """The server of this process, started when first needed and again after a crash."""
    global _examiner
    with _starting:
        if _examiner is not None and not _examiner.alive:
            _examiner.stop()
            _examiner = None
        if _examiner is None:
            _examiner = Examiner()
        return _examiner


@atexit.register
def _stop() -> None:
    global _examiner
    if _examiner is not None and _examiner.owner == os.getpid():
        _examiner.stop()
    _examiner = None


def _after_fork() -> None:
    global _examiner, _starting
    _starting = threading.Lock()
    if _examiner is not None:  # the parent's
        _examiner.close()
        _examiner.process.returncode = 0  # not this process's to wait for
        _examiner = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
