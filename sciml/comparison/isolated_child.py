"""Run as a script by `sciml.comparison.isolation`: one function, its answer as a line of JSON on stdout.

On stdin come two pickles, the search path and (function, arguments). Whatever the function prints
goes to stderr; ``{"told": ...}`` may come any number of times before ``{"answer": ...}`` or ``{"error":
text}``.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
import traceback
from typing import Any

# Seconds between SIGTERM, after which a training writes its checkpoint and ends, and the end by force.
GRACE = 60.0


def _end_with_the_parent() -> None:
    """The pipe's other end is held by the parent alone: when it closes, the parent has died or has enough."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(GRACE)
    os._exit(1)


def main() -> None:
    """One function, then the end."""
    answers = os.dup(1)
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        rest = json.dumps(message).encode() + b"\n"
        while rest:
            rest = rest[os.write(answers, rest) :]

    stream = os.fdopen(os.dup(0), "rb")
    sys.path[:] = pickle.load(stream)
    try:
        function, arguments = pickle.load(stream)
        threading.Thread(target=_end_with_the_parent, daemon=True).start()
        answer = {"answer": function(lambda told: send({"told": told}), *arguments)}
    except Exception as error:
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    send(answer)


if __name__ == "__main__":
    main()
