"""Steps per second and memory of the sine-Gordon problem in many dimensions, beside the authors' method in
JAX.

Each program runs in a process of its own, with one thread; they take their samples in turns. JAX is looked
for in this interpreter and in the one that ``SCIML_JAX_PYTHON`` names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from shutil import which
from statistics import median
from typing import Any

from torch import Tensor

from sciml.kernels.bench.harness import Effort, Measured, Missing
from sciml.kernels.bench.report import Case, Table
from sciml.kernels.bench.sine_gordon import PROGRAMS, Program

SAMPLES, RATE, SEED = 16, 1e-3, 0
DIMENSIONS = (100, 1_000, 10_000, 100_000)
JAX = "STDE in JAX"
NAMES = {
    "sparse": "sciml, 16 directions",
    "exact": "sciml, exact Laplacian",
    "short": "sciml, 16 directions, short moments",
    "sketch": "torch by hand",
}
# A sample shorter than this repeats the step.
SHORTEST_SAMPLE = 0.15
# Steps and points after which the error is measured.
STEPS, TEST_POINTS, PIECES = 500, 2_000, 10

ABOUT = (
    "Two-body sine-Gordon problem in the unit ball, network 4 x 128 tanh, 100 points and 16 directions per "
    "step, Adam, float32. One process and one thread each, in turns, each time after an untimed step; "
    "everything counts that a step needs: points, source term, gradient, update. Peak MiB: all that the "
    "process has held, libraries too."
)


class Child:
    """A program in another process, which answers one order at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
        }
        if hasattr(os, "sched_getaffinity") and (taskset := which("taskset")):
            command = [taskset, "-c", str(max(os.sched_getaffinity(0))), *command]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.version = str(self._answer()["ready"])
        self.peak_bytes = 0

    def order(self, *words: object) -> float:
        """Send an order and wait for its result."""
        assert self._process.stdin is not None
        print(*words, file=self._process.stdin, flush=True)
        answer = self._answer()
        self.peak_bytes = answer["peak_bytes"]
        return float(answer["result"])

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise Missing(f"the process ended with code {self._process.returncode} instead of an answer")
        return json.loads(line)


@contextmanager
def started(name: str, dim: int, effort: Effort) -> Iterator[Child]:
    """One of the programs, ready for orders."""
    settings: dict[str, object] = {"dim": dim, "samples": SAMPLES, "rate": RATE, "seed": SEED}
    if name == JAX:
        command = [jax_python(), str(Path(__file__).with_name("sine_gordon_jax.py")), json.dumps(settings)]
    else:
        settings |= {"program": name, "device": str(effort.device)}
        module = "sciml.kernels.bench.sine_gordon"
        command = [sys.executable, "-P", "-m", module, json.dumps(settings)]
    try:
        child = Child(command)
    except OSError as error:
        raise Missing(f"{command[0]} cannot be started: {error}") from error
    try:
        yield child
    finally:
        child.close()


def jax_python() -> str:
    """An interpreter that has JAX."""
    if python := os.environ.get("SCIML_JAX_PYTHON"):
        return python
    if find_spec("jax") is not None:
        return sys.executable
    raise Missing("JAX is not installed; SCIML_JAX_PYTHON may name an interpreter that has it")


def speed(effort: Effort) -> Table:
    """Steps per second up to 100 000 dimensions."""
    dimensions = (20,) if effort.quick else DIMENSIONS
    cases = [_case(dim, ("sparse", "exact", "short", "sketch", JAX), effort) for dim in dimensions]
    return Table("sine-gordon", ABOUT, cases)


def million(effort: Effort) -> Table:
    """A million dimensions, one program after the other."""
    dim = 50 if effort.quick else 1_000_000
    few = replace(effort, rounds=min(effort.rounds, 3), warmup=1)
    cases = [_case(dim, (name,), few) for name in ("sparse", "short", "exact")]
    return Table("million", f"{ABOUT} Not in turns: each program alone on the machine.", cases)


def learning(effort: Effort) -> Table:
    """The error after some steps in 1000 dimensions."""
    dim, steps = (20, 2) if effort.quick else (1_000, STEPS)
    results, skipped = [], {}
    for name in ("sparse", "exact", "short", "sketch", JAX):
        try:
            with started(name, dim, effort) as child:
                before = child.order("error", TEST_POINTS, PIECES)
                child.order("run", 1)  # compiles
                seconds = child.order("run", steps - 1) / (steps - 1)
                after = child.order("error", TEST_POINTS, PIECES)
                figures = {"error before": before, "error after": after}
                results.append(Measured(_title(name, child), (seconds,), child.peak_bytes, None, figures))
        except Missing as reason:
            skipped[NAMES.get(name, name)] = str(reason)
    constant = best_constant(PROGRAMS["sketch"](dim, SEED, SAMPLES, RATE))
    caption = (
        f"{ABOUT} Here: {steps} steps at a rate of {RATE}, then the relative L2 distance from the solution "
        f"at {TEST_POINTS} fresh points; the best constant in the same ansatz has {constant:.2g}."
    )
    return Table("learning", caption, [Case({"d": dim}, results, skipped)])


def best_constant(program: Program) -> float:
    """The relative L2 error of ``c (1 - |x|²)`` with the best c."""
    x = program.points(TEST_POINTS)
    exact: Tensor = program.solution(x)
    factor = 1 - x.square().sum(1)
    c = (factor @ exact) / (factor @ factor)
    return float((c * factor - exact).norm() / exact.norm())


def _case(dim: int, names: Sequence[str], effort: Effort) -> Case:
    print(f"measuring d = {dim}: {', '.join(names)}", file=sys.stderr)
    skipped = {}
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        for name in names:
            try:
                children[name] = stack.enter_context(started(name, dim, effort))
            except Missing as reason:
                skipped[NAMES.get(name, name)] = str(reason)
        seconds = _in_turns(list(children.values()), effort)
        results = [
            Measured(_title(name, child), times, child.peak_bytes, None, {"steps/s": 1 / median(times)})
            for (name, child), times in zip(children.items(), seconds, strict=True)
        ]
    return Case({"d": dim}, results, skipped)


def _in_turns(children: Sequence[Child], effort: Effort) -> list[tuple[float, ...]]:
    """Seconds of one step, per round, of each."""
    repeats = []
    for child in children:
        child.order("run", 1)  # compiles, allocates
        taken = child.order("run", max(1, effort.warmup)) / max(1, effort.warmup)
        repeats.append(max(1, ceil(SHORTEST_SAMPLE / taken)) if not effort.quick else 1)
    samples: list[list[float]] = [[] for _ in children]
    for turn in range(effort.rounds):
        for place in range(len(children)):
            index = (turn + place) % len(children)
            children[index].order("run", 1)  # brings its memory back into the caches
            samples[index].append(children[index].order("run", repeats[index]) / repeats[index])
    return [tuple(of_one) for of_one in samples]


def _title(name: str, child: Child) -> str:
    return f"{name}, {child.version}" if name == JAX else NAMES[name]


PARTS = {"sine-gordon": speed, "million": million, "learning": learning}
