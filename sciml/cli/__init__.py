"""The command ``sciml``.

Everything heavy is imported inside the functions that a command runs: ``sciml --help`` does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; ``sys.argv`` by default.

    0 done, 1 a bug, 2 wrong usage or settings, or a run folder in use, 3 bad input data, 4 training
    diverged, 5 an optional dependency is missing, 6 trainings of a comparison have no result, 75 stopped by a
    signal with a checkpoint (start it again), 130 Ctrl-C.
    """
    import os
    import sys

    # How long OpenMP's threads spin before they sleep, read once when torch starts them. A step of an FNO on
    # two cores, idle and beside two busy processes: 145 and 910 ms at GNU's own long spin, 160 and 670 ms at
    # this one, 195 and 530 ms with none.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")

    from sciml.cli.app import app
    from sciml.cli.status import guarded

    return guarded(app, list(sys.argv[1:] if arguments is None else arguments))
