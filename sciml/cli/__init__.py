"""The command ``sciml``.

Everything heavy is imported inside the functions that a command runs: ``sciml --help`` does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; ``sys.argv`` by default.

    0 done, 1 a bug, 2 wrong usage or settings, or a run folder in use, 3 bad input data, 4 training
    diverged, 5 an optional dependency is missing, 75 stopped by a signal with a checkpoint (start it again),
    130 Ctrl-C.
    """
    import os
    import sys

    # Threads that wait for each other by spinning take the cores from those they wait for as soon as anything
    # else runs: a training step took 130 ms instead of 450 ms beside two busy processes, and 5 percent more
    # on an idle machine.  Read once, when torch starts its threads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    from sciml.cli.app import app
    from sciml.cli.status import guarded

    return guarded(app, list(sys.argv[1:] if arguments is None else arguments))
