"""What a table has to say about the machine, and its memory bandwidth."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from sciml.kernels.bench.harness import Effort, interleave, stopwatch

PEERS = ("neuraloperator", "jet-for-pytorch")


def context(device: torch.device) -> dict[str, str]:
    """Hardware, threads and versions, as they stand over the tables."""
    found = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "float32 products": torch.get_float32_matmul_precision(),
        "python": platform.python_version(),
    }
    if device.type == "cuda":
        found["cuda"] = str(torch.version.cuda)
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def processor() -> str:
    """The model of the CPU as the system names it."""
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def copy_bandwidth(effort: Effort) -> float:
    """Bytes per second, read and written, of a copy too large for any cache."""
    count = 2**20 if effort.quick else 2**28 if effort.device.type == "cuda" else 2**26
    source = torch.ones(count, device=effort.device)
    target = torch.empty_like(source)
    (seconds,) = interleave(
        [lambda: target.copy_(source)], rounds=5, warmup=2, stopwatch=stopwatch(effort.device)
    )
    return 2 * source.nbytes / min(seconds)
