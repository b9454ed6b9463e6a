"""Whether methods do what their authors claim: each on its problem, beside the plain baseline, at equal time.

    python tools/pinn_methods.py run FOLDER [NAME ...]    rows that are not yet in FOLDER/rows.jsonl
    python tools/pinn_methods.py table FOLDER             the table

`tools/pinn_claims.py` says what is compared.  A row is one training with one seed; one that is there is not
run again, and a baseline that several methods share is trained once.  Seconds are those of the processor, so
that other work beside it does not count: run it with OMP_NUM_THREADS=1.
"""

import json
import math
import statistics
import time
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from pinn_claims import CLAIMS, Claim
from trainings import ENDLESS, error_of, for_seconds, machine, main

from sciml.comparison.rows import Rows
from sciml.description import describe
from sciml.pinns import Attempt, Recipe, climb, march
from sciml.pinns.problem import Problem

SEEDS = 3
METHOD, BASELINE = "method", "baseline"


def endless(recipe: Recipe) -> Recipe:
    """The same with a last stage that the clock ends."""
    *first, last = recipe.stages
    return replace(recipe, stages=(*first, replace(last, steps=ENDLESS)))


def trained(problem: Problem, recipe: Recipe, seconds: float, seed: int) -> dict[str, Any]:
    """What a row says of a training that the clock ends; one that diverges has an infinite error."""
    attempt = Attempt(problem, endless(recipe), seed=seed)
    spent, diverged = for_seconds(attempt, seconds)
    found = told(problem, attempt.run.model, [attempt.run.history], spent)
    return found | {"relative_l2": math.inf} if diverged else found


def told(problem: Problem, model: torch.nn.Module, histories: list[Any], spent: float) -> dict[str, Any]:
    """What a row says of trainings, one after the other."""
    return {
        "relative_l2": problem.relative_l2(model),
        "seconds": round(spent, 3),
        "steps": sum(history[-1]["step"] for history in histories),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def method_of(claim: Claim, seed: int) -> dict[str, Any]:
    """The training with the method."""
    started = time.process_time()
    if claim.windows > 1:
        found = march(claim.problem, windows=claim.windows, recipe=claim.recipe, overlap=0.0, seed=seed)
    elif claim.ladder:
        found = climb([*claim.ladder, claim.problem], recipe=claim.recipe, seed=seed)
    else:
        return trained(claim.problem, claim.recipe, claim.seconds, seed)
    spent = time.process_time() - started
    return told(claim.problem, found.model, [run.history for run in found.runs], spent)


def beside(claim: Claim) -> str:
    """The training that the method is set beside; other methods may have the same."""
    budget: Any = claim.seconds
    if claim.windows > 1 or claim.ladder:  # as long as the method takes
        budget = [describe(claim.recipe), claim.windows, len(claim.ladder)]
    return json.dumps([claim.problem.fingerprint(), describe(claim.baseline), budget])


def run(rows: Rows, names: list[str]) -> None:
    """Those that are not there yet."""
    for seed, name, way in product(range(SEEDS), names or CLAIMS, (METHOD, BASELINE)):
        key = {"name": name, "seed": seed, "way": way}
        if not rows.having(key):
            row = measured(name, seed, way, rows) | key
            rows.append(row)
            print(f"{name}, {way}, seed {seed}: {row['relative_l2']:.2e}", flush=True)


def measured(name: str, seed: int, way: str, rows: Rows) -> dict[str, Any]:
    """A row without its name, from a training or from another method's baseline."""
    claim = CLAIMS[name]
    if way == METHOD:
        found = method_of(claim, seed)
    else:
        for other in rows.having({"seed": seed, "way": way}):
            if beside(CLAIMS[other["name"]]) == beside(claim):
                return other
        (own,) = rows.having({"name": name, "seed": seed, "way": METHOD})
        found = trained(claim.problem, claim.baseline, own["seconds"], seed)
    return {
        "problem": type(claim.problem).__name__,
        "fingerprint": claim.problem.fingerprint(),
        **found,
        **machine(),
    }


def table(rows: list[dict[str, Any]]) -> list[str]:
    """One line for each method that has rows: errors of all seeds, and the mean ratio."""
    lines = [
        "| method | problem | with it | without | ratio, geometric mean | seconds | |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in CLAIMS:
        own = [row for row in rows if row["name"] == name]
        errors = {
            way: {row["seed"]: error_of(row["relative_l2"]) for row in own if row["way"] == way}
            for way in (METHOD, BASELINE)
        }
        seeds = sorted(errors[METHOD].keys() & errors[BASELINE].keys())
        if not seeds:
            continue
        ratios = [errors[METHOD][seed] / errors[BASELINE][seed] for seed in seeds]
        shown = [", ".join(f"{errors[way][seed]:.2g}" for seed in seeds) for way in (METHOD, BASELINE)]
        mean = math.prod(ratios) ** (1 / len(ratios))
        seconds = statistics.fmean(row["seconds"] for row in own)
        lines.append(
            f"| {name} | {own[0]['problem']} | {shown[0]} | {shown[1]} | {mean:.2g} | {seconds:.0f} | "
            f"{verdict(ratios)} |"
        )
    return lines


def verdict(ratios: list[float]) -> str:
    """In words: what all seeds agree on."""
    if all(ratio < 1 for ratio in ratios):
        return "confirmed"
    return "not confirmed" if all(ratio >= 1 for ratio in ratios) else "undecided"


if __name__ == "__main__":
    main(__doc__, CLAIMS, run, table)
