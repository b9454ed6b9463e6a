"""Many dimensions: speed and memory of `sciml solve` beside the published method in JAX, and its errors.

    python tools/high_dimension_bench.py speed [DIM ...] [--seconds 10]
    python tools/high_dimension_bench.py accuracy [NAME ...] [--seeds 0 1 2] [--time-limit 600]
    python tools/high_dimension_bench.py table

Each run appends a row to docs/results/high-dimension/rows.jsonl; a row that is there is not run again, and a
training that was interrupted goes on in its folder under runs/high-dimension.

``speed``: the two-body sine-Gordon problem as published (network of 3 hidden layers of 128, 100 points and 16
directions a step, Adam, float32), one thread each, in turns: JAX, `sciml solve`, JAX.  JAX is the program of
`sciml.kernels.bench.high_dimension`, run by the interpreter that SCIML_JAX_PYTHON names.  Seconds are those
of steps, without validations and checkpoints; memory is all that a process has held.

``accuracy``: `sciml solve` with the recipe that suits the problem, from nothing, judged on 20 000 points that
are not those of the training (above 10 000 dimensions on fewer, see the rows), beside the best constant and
the best linear network in the same ansatz.  Seconds are those of steps by the clock; those of the processor
count all that the program did, judging included, whatever else the machine was doing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from sciml.comparison.rows import Rows
from sciml.kernels.bench.harness import Effort, Missing
from sciml.kernels.bench.high_dimension import JAX, started

ROOT = Path(__file__).resolve().parents[1]
ROWS = Rows(ROOT / "docs" / "results" / "high-dimension")
RUNS = ROOT / "runs" / "high-dimension"
DIMENSIONS = (1_000, 10_000, 100_000)
STEPS = 10_000
EFFORT = Effort(torch.device("cpu"), rounds=2, warmup=1, quick=False)
RATIOS = {1_000: 2.0}  # of speeds that are aimed at; elsewhere
RATIO = 3.0


@dataclass(frozen=True)
class Entry:
    """A problem, and which errors are aimed at.

    Attributes
    ----------
    problem : str
        Its name on the command line.
    interaction : str
    dim : int
    error : float, optional
        Relative L2.
    of_linear, of_constant : float, optional
        Of the error of the best linear network and of the best constant.
    """

    problem: str
    interaction: str
    dim: int
    error: float | None = None
    of_linear: float | None = None
    of_constant: float | None = None

    @property
    def name(self) -> str:
        """Problem, solution and dimension."""
        return f"{self.problem}/{self.interaction}/{self.dim}"

    def passed(self, row: dict[str, Any]) -> bool | None:
        """Whether a row has what is aimed at; None if nothing is."""
        bars = [
            (self.error, 1.0),
            (self.of_linear, row["linear"]),
            (self.of_constant, row["constant"]),
        ]
        wanted = [bar * by for bar, by in bars if bar is not None]
        return row["error"] <= min(wanted) if wanted else None


ENTRIES = {
    entry.name: entry
    for entry in (
        *(
            Entry(problem, "two-body", dim, error=3e-3 if dim == 100 else None, of_linear=0.5)
            for problem in ("sine-gordon", "allen-cahn-in-ball")
            for dim in (100, 1_000)
        ),
        *(
            Entry(problem, "three-body", 100, of_constant=1.0)
            for problem in ("sine-gordon", "allen-cahn-in-ball")
        ),
        *(Entry("sine-gordon", "hidden", dim, of_linear=0.1) for dim in (100, 1_000)),
        *(Entry("sine-gordon", "hidden", dim) for dim in (100_000, 1_000_000)),
    )
}


def add(row: dict[str, Any]) -> None:
    """Append a row, and show it."""
    ROWS.append(row)
    print(json.dumps(row), flush=True)


def solved(*arguments: object, threads: int | None = None) -> dict[str, Any]:
    """What ``sciml solve --json`` answers."""
    command = [sys.executable, "-P", "-m", "sciml", "solve", *map(str, arguments), "--json"]
    environment = dict(os.environ)
    if threads is not None:
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


# Speed.


def speed(dim: int, seconds: float) -> None:
    """One row: both programs at one dimension."""
    if ROWS.having({"kind": "speed", "dim": dim}):
        return
    folder = RUNS / f"speed-{dim}"
    ours = ("sine-gordon", "--dim", dim, "--recipe", "high-dim", "--estimator", "sparse", "--samples", 16)
    ours += ("--steps", STEPS, "--time-limit", seconds, "--output", folder, "--force")
    with ExitStack() as stack:
        samples: list[float] = []
        try:
            other = stack.enter_context(started(JAX, dim, EFFORT))
            other.order("run", 1)  # compiles
            repeats = max(1, round(seconds / 2 / other.order("run", 1)))
            samples.append(repeats / other.order("run", repeats))
        except Missing as reason:
            print(f"{JAX} is left out: {reason}", file=sys.stderr)
        found = solved(*ours, threads=1)
        if samples:
            samples.append(repeats / other.order("run", repeats))
        row = {
            "kind": "speed",
            "dim": dim,
            "steps_per_second": found["steps_per_second"],
            "peak_memory_bytes": found["peak_memory_bytes"],
            "steps": found["steps"],
            "jax_steps_per_second": median(samples) if samples else None,
            "jax_peak_memory_bytes": other.peak_bytes if samples else None,
            "jax": other.version if samples else None,
        }
    add(row)


# Accuracy.


def accuracy(entry: Entry, seed: int, time_limit: float) -> None:
    """One row: a problem and a seed."""
    if ROWS.having({"kind": "accuracy", "name": entry.name, "seed": seed}):
        return
    before = _processor_seconds()
    found = solved(
        *(entry.problem, "--dim", entry.dim, "--set", f"interaction='{entry.interaction}'"),
        *("--seed", seed, "--time-limit", time_limit),
        *("--output", RUNS / f"{entry.name.replace('/', '-')}-{seed}"),
    )
    trivial = {y["name"]: y["error"] for y in found["yardsticks"] if y["kind"] == "trivial"}
    row = {
        "kind": "accuracy",
        "name": entry.name,
        "seed": seed,
        "error": found["relative_l2"],
        "constant": trivial["best constant"],
        "linear": trivial["best linear network"],
        **{key: found[key] for key in ("recipe", "estimator", "steps", "finished", "judged_on")},
        **{key: found[key] for key in ("seconds", "steps_per_second", "peak_memory_bytes")},
    }
    add({**row, "processor_seconds": _processor_seconds() - before, "passed": entry.passed(row)})


def _processor_seconds() -> float:
    """Of all programs that were waited for."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


# Tables.


def tables() -> Iterator[str]:
    """Two tables in Markdown."""
    yield "| d | sciml solve, steps/s | JAX, steps/s | ratio | aimed at | memory, MiB | of JAX, MiB |"
    yield "|---|---|---|---|---|---|---|"
    for row in sorted(ROWS.having({"kind": "speed"}), key=lambda row: row["dim"]):
        ours, theirs = row["steps_per_second"], row["jax_steps_per_second"]
        ratio = "-" if theirs is None else f"{ours / theirs:.2f}"
        yield (
            f"| {row['dim']:,} | {ours:.3g} | {_or_dash(theirs)} | {ratio} | {RATIOS.get(row['dim'], RATIO)} "
            f"| {row['peak_memory_bytes'] / 2**20:.0f} "
            f"| {_or_dash(row['jax_peak_memory_bytes'], 2**20)} |"
        )
    yield ""
    yield (
        "| problem | d | seeds | error, median (worst) | best constant | best linear | passed | seconds "
        "| of the processor |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for entry in ENTRIES.values():
        if own := ROWS.having({"kind": "accuracy", "name": entry.name}):
            errors = [row["error"] for row in own]
            passed = [entry.passed(row) for row in own]
            told = "-" if None in passed else f"{sum(map(bool, passed))} of {len(own)}"
            yield (
                f"| {entry.problem}, {entry.interaction} | {entry.dim:,} | {len(own)} "
                f"| {median(errors):.2e} ({max(errors):.2e}) | {own[0]['constant']:.2e} "
                f"| {own[0]['linear']:.2e} | {told} "
                f"| {max(row['seconds'] for row in own):.0f} "
                f"| {_or_dash(max(row.get('processor_seconds', 0) for row in own) or None)} |"
            )


def _or_dash(value: float | None, unit: float = 1.0) -> str:
    return "-" if value is None else f"{value / unit:.4g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, or print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    fast = verbs.add_parser("speed")
    fast.add_argument("dims", nargs="*", type=int, default=DIMENSIONS)
    fast.add_argument("--seconds", type=float, default=10.0)
    exact = verbs.add_parser("accuracy")
    exact.add_argument("names", nargs="*", default=list(ENTRIES))
    exact.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    exact.add_argument("--time-limit", type=float, default=600.0)
    verbs.add_parser("table")
    given = parser.parse_args(arguments)
    if given.verb == "table":
        print("\n".join(tables()))
    elif given.verb == "speed":
        for dim in given.dims:
            speed(dim, given.seconds)
    else:
        if unknown := [name for name in given.names if name not in ENTRIES]:
            parser.error(f"there is no {', '.join(unknown)}; there is {', '.join(ENTRIES)}.")
        for name in given.names:
            for seed in given.seeds:
                accuracy(ENTRIES[name], seed, given.time_limit)


if __name__ == "__main__":
    main()
