"""Unknown constants and functions of equations from measurements with 1 % noise, each from nothing.

    python tools/pinn_inverse.py run FOLDER [NAME ...]    rows that are not yet in FOLDER/rows.jsonl
    python tools/pinn_inverse.py table FOLDER             the table

A row is one training with one seed, of measurements, weights and points alike, by the recipe that suits, as
`sciml solve` has it: what was found, by how much it is off, and its standard error.  Where SCIML_TEST_DATA
names a folder, the constants of Lorenz and Burgers are found from the tables in its deepxde/, else from
values of our own solvers; those of the reaction always are, whose table is too coarse.  Trainings lie in
FOLDER/runs; one that was cut off goes on from its checkpoint, and a row that is there is not run again.  Give
the number of threads by OMP_NUM_THREADS; rows tell it, and the seconds of the processor beside those of the
clock.
"""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainings import machine, main

from sciml.comparison.rows import Rows
from sciml.pinns import Attempt, Recipe, findings
from sciml.pinns.problem import Problem
from sciml.pinns.problems import inverse
from sciml.pinns.recipes import suited


@dataclass(frozen=True)
class Entry:
    """One problem for each seed, and the relative error that is asked of every unknown."""

    problem: Callable[[int], Problem]
    bar: float = 0.01
    seeds: int = 3
    recipe: Recipe | None = None  # instead of what suits


def table_of(name: str) -> str | None:
    """A table of somebody else, if there is a folder of them."""
    folder = os.environ.get("SCIML_TEST_DATA")
    return None if folder is None else str(Path(folder) / "deepxde" / name)


ENTRIES: dict[str, Entry] = {
    "lorenz": Entry(lambda seed: inverse.LorenzConstants(seed=seed, table=table_of("Lorenz.npz"))),
    "burgers": Entry(lambda seed: inverse.BurgersConstants(seed=seed, table=table_of("Burgers.npz"))),
    "burgers-own": Entry(lambda seed: inverse.BurgersConstants(seed=seed)),
    "reaction": Entry(lambda seed: inverse.ReactionConstants(seed=seed)),
    "diffusion-1d": Entry(lambda seed: inverse.DiffusionCoefficient(1, seed=seed), bar=0.05),
    "diffusion-2d": Entry(lambda seed: inverse.DiffusionCoefficient(2, 1000, seed=seed), bar=0.05),
}


def solved(entry: Entry, seed: int, folder: Path) -> dict[str, Any]:
    """One row."""
    problem = entry.problem(seed)
    attempt = Attempt(problem, suited(problem) if entry.recipe is None else entry.recipe, seed=seed)
    before = time.process_time()
    made = [step.number for step in attempt.steps(output=folder)]
    processor = time.process_time() - before
    run = attempt.run
    return {
        "problem": type(problem).__name__,
        "fingerprint": problem.fingerprint(),
        "unknowns": {name: asdict(found) for name, found in findings(run.model, attempt.objective).items()},
        "relative_l2": problem.relative_l2(run.model),
        "bar": entry.bar,
        "seconds": run.seconds,
        # Of a training that was taken up again the processor's seconds are not known.
        "processor_seconds": processor if made[:1] == [1] else None,
        "steps": len(run.history),
        "parameters": sum(p.numel() for p in run.model.parameters()),
        **machine(),
    }


def run(rows: Rows, names: list[str]) -> None:
    """All rows of these entries, or of all, that are not there."""
    for seed in range(max(entry.seeds for entry in ENTRIES.values())):
        for name in names or ENTRIES:
            entry, key = ENTRIES[name], {"name": name, "seed": seed}
            if seed >= entry.seeds or rows.having(key):
                continue
            row = key | solved(entry, seed, rows.path.parent / "runs" / f"{name}-{seed}")
            rows.append(row)
            told = ", ".join(f"{n} {found['relative_error']:.2%}" for n, found in row["unknowns"].items())
            print(f"{name} {seed}: off by {told} after {row['seconds']:.0f} s", flush=True)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of Markdown: an unknown in each, with all seeds in order."""
    lines = [
        "| Problem | unknown | found, every seed | off by | standard error | asked | processor, seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ENTRIES:
        own = sorted((row for row in rows if row["name"] == name), key=lambda row: row["seed"])
        for unknown in own[0]["unknowns"] if own else ():
            found = [row["unknowns"][unknown] for row in own]
            cells = [
                name,  # measurements, and so fingerprints, differ from seed to seed
                unknown,
                ", ".join("-" if one["value"] is None else f"{one['value']:.5g}" for one in found),
                ", ".join(f"{one['relative_error']:.2%}" for one in found),
                # Of a function a relative error has no sign, and its standard error is that of its values.
                ", ".join(f"{one['standard_error'] / abs(one['value'] or 1.0):.2%}" for one in found),
                f"{own[0]['bar']:.0%}",
                ", ".join("-" if (s := row["processor_seconds"]) is None else f"{s:.0f}" for row in own),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main(__doc__, ENTRIES, run, table)
