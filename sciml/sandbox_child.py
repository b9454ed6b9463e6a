"""Run as a script by `sciml.sandbox`: answers requests to read a file, each in a forked process with limits.

``python sandbox_child.py ROOT`` with ROOT the folder that holds the package sciml.  A request is a line of
JSON on stdin: ``{"path", "function": "module:name", "seconds", "memory"}``.  Answers are lines of JSON on
stdout: ``{"progress": [done, total]}`` any number of times, ``{"found": ...}`` or ``{"error": sentence}``,
and always at the end ``{"end": how the process ended}``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

_answers = -1  # the file descriptor of the answers; -1 outside of a child process


def report(done: int, total: int) -> None:
    """Tell the process that asked how far this one is; nothing outside of a child process."""
    _send({"progress": [done, total]})


def _send(answer: dict[str, Any]) -> None:
    if _answers >= 0:
        rest = json.dumps(answer).encode() + b"\n"
        while rest:
            rest = rest[os.write(_answers, rest) :]


def _limit(seconds: int, memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit remains
        return
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (least, least))


def _work(request: dict[str, Any], function: Callable[[Path], Any]) -> None:
    from sciml.errors import DataError

    path = Path(request["path"])
    try:
        _limit(request["seconds"], request["memory"])
        answer = {"found": function(path)}
    except DataError as error:
        answer = {"error": str(error)}
    except Exception as error:  # whatever a crafted file provokes
        reason = next(iter(str(error).splitlines()), "")
        answer = {"error": f"{path}: cannot be read: {type(error).__name__}: {reason}. The file is damaged."}
    _send(answer)


def _answer(request: dict[str, Any]) -> str:
    """Work in a forked process, or here where the system cannot fork; how that ended."""
    module, name = request["function"].split(":")
    function = getattr(import_module(module), name)  # before the fork, so that it is imported once
    if not hasattr(os, "fork"):
        _work(request, function)
        return "exit 0"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _work(request, function)
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return f"exit {code}" if code >= 0 else f"was ended by signal {-code}"


def _serve() -> None:
    global _answers
    sys.modules["sciml.sandbox_child"] = sys.modules["__main__"]  # `report` must find these answers
    _answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints
    import h5py  # noqa: F401 - imported once, before any fork

    for line in sys.stdin.buffer:
        _send({"end": _answer(json.loads(line))})
        if not hasattr(os, "fork"):
            return


if __name__ == "__main__":
    sys.path.append(sys.argv[1])
    _serve()
