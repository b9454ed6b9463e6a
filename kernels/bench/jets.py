"""Differential operators of a network: ours, nested reverse mode, torch.func, jet-for-pytorch, JAX."""

from __future__ import annotations

import sys
from dataclasses import replace

from sciml.kernels.bench import high_dimension
from sciml.kernels.bench.harness import Contestant, Effort, Measured, measure
from sciml.kernels.bench.jets_contestants import Problem, in_torch
from sciml.kernels.bench.jets_in_jax import in_jax
from sciml.kernels.bench.report import Case, Table

PROBLEMS = (
    Problem("laplacian", 2),
    Problem("laplacian", 10),
    Problem("laplacian", 100),
    Problem("16 directions", 10),
    Problem("16 directions", 100),
    Problem("biharmonic", 5),
)
TINY = (
    Problem("laplacian", 2, points=4, width=6),
    Problem("16 directions", 3, points=4, width=6),
    Problem("biharmonic", 2, points=4, width=6),
)

ABOUT = (
    "Forward, and backward to the parameters, of the mean over 1000 points of the squared operator; MLP with "
    "four hidden layers of 128 tanh, float32. Times are medians (quartiles) of one pass, in turns; the ratio "
    "to nested reverse mode is taken round by round. The torch contestants share a process, those in JAX "
    "have one of their own and take their turns. Peak MiB: the most that a pass holds beyond what is there "
    "before it, for JAX the temporary memory of the compiled program. Difference: relative L2 distance of "
    "the operator and of all gradients, from nested reverse mode. 16 directions: random signs, the same "
    "for all."
)


def operators(effort: Effort) -> Table:
    """The cases of `PROBLEMS`."""
    cases = []
    for problem in TINY if effort.quick else PROBLEMS:
        print(f"measuring {problem.operator}, d = {problem.dim}", file=sys.stderr)
        contestants: list[Contestant] = in_torch(problem, effort.device)
        with in_jax(problem, effort) as others:
            results, skipped = measure([*contestants, *others], effort)
        results = [_with_memory(m, results[0]) for m in results]
        cases.append(Case({"operator": problem.operator, "d": problem.dim}, results, skipped))
    return Table("operators", ABOUT, cases)


def _with_memory(measured: Measured, first: Measured) -> Measured:
    """With the peak over that of the first one beside it."""
    peak = int(measured.figures.get("temporary bytes", measured.peak_bytes))
    figures = {"memory / first": peak / first.peak_bytes}
    return replace(measured, peak_bytes=peak, figures=figures)


PARTS = {"operators": operators, **high_dimension.PARTS}
DEFAULT = ("operators",)
