"""C sources beside this file as machine code, compiled when a process first needs them."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import shlex
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

logger = logging.getLogger(__name__)


@lru_cache(maxsize=8)
def library(name: str) -> ctypes.CDLL | None:
    """The functions of ``name.c``, for this processor; None, and a line in the log, where that fails.

    Products and sums are rounded one by one, as by NumPy: no fused operation.
    """
    command = [*shlex.split(os.environ.get("CC", "cc")), "-O3", "-ffp-contract=off", "-shared", "-fPIC"]
    if platform.machine() in ("x86_64", "AMD64"):
        command.append("-march=native")  # made where it runs, and not kept: no other processor sees it
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, target = Path(__file__).with_name(f"{name}.c"), Path(folder) / f"{name}.so"
        try:
            subprocess.run([*command, "-o", target, source], check=True, capture_output=True, timeout=60)
            return ctypes.CDLL(str(target))
        except (OSError, subprocess.SubprocessError) as error:
            logger.info(
                "flows are computed by NumPy, which takes longer, since %s failed: %s", command[0], error
            )
            return None


def compiled(name: str) -> ctypes.CDLL | None:
    """`library`, but None with ``SCIML_KERNELS=reference`` in the environment."""
    return None if os.environ.get("SCIML_KERNELS") == "reference" else library(name)
