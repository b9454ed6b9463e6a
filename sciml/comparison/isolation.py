"""A function in a fresh child process: whatever happens to it there costs this call and nothing else.

The function and its arguments travel by cloudpickle, so that lambdas and what ``__main__`` defines
work and scripts need no ``if __name__ == "__main__"``.  They go through a pipe between two processes of
ours; nothing is pickled to a file.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Tell = Callable[[dict[str, Any]], None]

# The variables by which torchrun tells a process that it is one of several that train together.
_GROUP = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
_LIBRARIES = ("OMP", "OPENBLAS", "MKL")
# What a child may take to write its checkpoint when it is told to stop.
PATIENCE = 60.0


class ChildError(RuntimeError):
    """The child raised an exception, or ended without an answer: killed, out of memory, by `os._exit`."""


def run_isolated(
    function: Callable[..., Any], *arguments: Any, threads: int, heard: Tell | None = None
) -> Any:
    """``function(tell, *arguments)`` in a process of its own; what it returns must be JSON-able.

    Parameters
    ----------
    function : callable
        Its first argument is a function that sends a JSON-able dictionary to ``heard``, while it works.
    threads : int
        Of PyTorch and of linear algebra in the child.
    heard : callable, optional

    Raises
    ------
    ChildError
        If the function raises, with kind and text of the exception, or the child ends without an answer.
    BaseException
        Whatever interrupts the waiting (Ctrl-C, SIGTERM), once the child has stopped too.
    """
    import cloudpickle

    payload = cloudpickle.dumps((function, arguments))
    environment = {name: value for name, value in os.environ.items() if name not in _GROUP}
    environment |= {f"{library}_NUM_THREADS": str(threads) for library in _LIBRARIES}
    child = subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__).with_name("isolated_child.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert child.stdin is not None and child.stdout is not None
    _living.add(child)
    answer: dict[str, Any] = {}
    try:
        with contextlib.suppress(BrokenPipeError):
            pickle.dump(sys.path, child.stdin)
            child.stdin.write(payload)
            child.stdin.flush()
        # Its input stays open as long as we live: that is how the child knows.
        for line in child.stdout:
            message = json.loads(line)
            if "told" in message and heard is not None:
                heard(message["told"])
            answer = message if "told" not in message else answer
        status = child.wait()
    except BaseException:
        _stop(child)
        raise
    finally:
        _living.discard(child)
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
    if "answer" not in answer:
        raise ChildError(answer.get("error") or _ending(status))
    return answer["answer"]


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Let it write its checkpoint, then end it for certain."""
    with contextlib.suppress(OSError):
        child.terminate()
    try:
        child.wait(PATIENCE)
    except BaseException:  # also a second Ctrl-C
        child.kill()
        child.wait()


_living: set[subprocess.Popen[bytes]] = set()


def stop_children() -> None:
    """Tell all children of this process to write their checkpoints and end; those who wait for them go on."""
    for child in list(_living):
        with contextlib.suppress(OSError):
            child.terminate()


def _ending(status: int) -> str:
    if status >= 0:
        return f"the process ended with status {status} before it had an answer"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    memory = "; the system does that when memory runs out" if name == "SIGKILL" else ""
    return f"the process was ended by {name}{memory}"
