"""Measure what importing sciml costs above importing torch, each in a fresh process.

    python tools/import_cost.py [--runs 9]

The two imports alternate, so that a slow minute of the machine hits both, and the ratio is taken of medians.
The bar is 1.25; it is no test, because a loaded machine would fail it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile

BASE = "import torch"
OURS = "from sciml import Trainer, Supervised, open_dataset, Surrogate; from sciml.operators import FNO"
BAR = 1.25

TIMED = "import time; start = time.perf_counter(); {imports}; print(time.perf_counter() - start)"


def seconds(imports: str, *, folder: str) -> float:
    """Wall time of the import statements in a fresh process that starts in `folder`."""
    command = [sys.executable, "-c", TIMED.format(imports=imports)]
    return float(subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout)


def measure(runs: int) -> dict[str, float | int]:
    """Medians, their ratio, and the spread of the ratio over the interleaved pairs."""
    with tempfile.TemporaryDirectory() as elsewhere:
        # Installed, sciml is found from anywhere; otherwise the run must start in the checkout.
        installed = subprocess.run([sys.executable, "-c", "import sciml"], cwd=elsewhere, capture_output=True)
        folder = elsewhere if installed.returncode == 0 else "."
        seconds(OURS, folder=folder)  # warms the file cache and writes the .pyc files
        pairs = [(seconds(BASE, folder=folder), seconds(OURS, folder=folder)) for _ in range(runs)]
    base, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(b / a for a, b in pairs)
    return {
        "runs": runs,
        "torch_seconds": round(base, 3),
        "sciml_seconds": round(ours, 3),
        "ratio": round(ours / base, 3),
        "ratio_min": round(ratios[0], 3),
        "ratio_max": round(ratios[-1], 3),
        "bar": BAR,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=9, help="pairs of processes (default 9)")
    print(json.dumps(measure(parser.parse_args().runs), indent=2))


if __name__ == "__main__":
    main()
