"""The standard problems, each solved from nothing, beside the accuracy that is asked of it.

    python tools/pinn_records.py run FOLDER [NAME ...]    rows that are not yet in FOLDER/rows.jsonl
    python tools/pinn_records.py table FOLDER             the tables

A row is one training with one seed: relative L2 error against the certified reference of the problem, and
the seconds after which a validation was first below the bar.  Trainings lie in FOLDER/runs; one that was cut
off goes on from its checkpoint, and a row that is there is not run again.  Give the number of threads by
OMP_NUM_THREADS; rows tell it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainings import machine, main

from sciml.comparison.rows import Rows
from sciml.pinns import Attempt, Recipe, march, problems
from sciml.pinns.marching import Settle
from sciml.pinns.problem import Problem
from sciml.pinns.recipes import PRECISE, SHARP, SMALL, WAVES, WINDOW
from sciml.pinns.samplers import R3, RAD, Sampler, Sobol, Uniform

_EVERY = 20  # steps between validations


@dataclass(frozen=True)
class Entry:
    """One problem, how it is solved, and for how long.

    ``windows`` windows of time, or the times between them, one after the other, ``warm`` or not; then the
    steps of the recipe bound the time. The loss is that of ``eased``, where there is such a problem, and the
    error that of ``problem``. Each window starts from what ``settle`` makes of the network before, where that
    is given.
    """

    problem: Problem
    recipe: Recipe
    seconds: float
    bar: float
    seeds: int = 3
    windows: int | Sequence[float] = 1
    settle: Settle | None = None
    warm: bool = False
    eased: Problem | None = None


ENTRIES = {
    "klein-gordon": Entry(problems.KleinGordon(), PRECISE, 60, 1e-3),
    "reaction": Entry(problems.Reaction(), PRECISE, 180, 1e-4),
    "wave": Entry(problems.Wave(), PRECISE, 120, 1e-3),
    "helmholtz": Entry(problems.Helmholtz(), SMALL, 300, 1e-4),
    "four-discs": Entry(problems.FourDiscs(), SMALL, 120, 2e-3),
    "convection": Entry(problems.Convection(), WINDOW, 300, 1e-3, windows=3),
    "burgers-in-a-minute": Entry(problems.Burgers(), SMALL, 60, 1e-3),
    "cavity": Entry(problems.Cavity(), SMALL, 300, 1e-2),
    "allen-cahn": Entry(problems.AllenCahn(), PRECISE, 900, 1e-5, seeds=2),
    "burgers": Entry(problems.Burgers(), SHARP, 900, 1e-6, seeds=2),
    "solitons": Entry(problems.Solitons(), WAVES, 900, 1e-4, seeds=2, windows=4),
}


SAMPLERS: dict[str, Sampler] = {
    "fixed": Sobol(every=10**9),
    "fresh": Uniform(every=10),
    "r3": R3(every=10),
    "rad": RAD(every=10),
}


def with_points(entry: Entry, sampler: Sampler, seconds: float) -> Entry:
    """The same with other points in the last stage."""
    *first, last = entry.recipe.stages
    recipe = replace(entry.recipe, stages=(*first, replace(last, sampler=sampler)))
    return replace(entry, recipe=recipe, seconds=seconds, seeds=3)


ENTRIES |= {
    f"{name}/{way}": with_points(ENTRIES[name], sampler, seconds)
    for name, seconds in {"allen-cahn": 60.0, "four-discs": 40.0, "convection": 0.0}.items()
    for way, sampler in SAMPLERS.items()
}


def solved(entry: Entry, seed: int, folder: Path) -> dict[str, Any]:
    """One row."""
    trained, started = entry.eased or entry.problem, time.process_time()
    if entry.windows != 1:
        marched = march(
            trained,
            windows=entry.windows,
            recipe=entry.recipe,
            warm=entry.warm,
            settle=entry.settle,
            seed=seed,
            output=folder,
        )
        model, histories = marched.model, [run.history for run in marched.runs]
    else:
        # More steps than there is time for: the clock ends it.
        attempt = Attempt(trained, entry.recipe, seed=seed)
        for _ in attempt.steps(time_limit=entry.seconds, every=_EVERY, output=folder):
            pass
        model, histories = attempt.run.model, [attempt.run.history]
    spent = time.process_time() - started
    below = [
        row["seconds"]
        for row in histories[-1]
        if row.get("validation", {}).get("relative_l2", float("inf")) <= entry.bar
    ]
    return {
        "problem": type(entry.problem).__name__,
        "fingerprint": entry.problem.fingerprint(),
        "reference_error": entry.problem.reference().error,
        "relative_l2": entry.problem.relative_l2(model),
        "bar": entry.bar,
        "seconds": sum(history[-1]["seconds"] for history in histories),
        "processor_seconds": round(spent, 1),
        "seconds_to_bar": below[0] if below and entry.windows == 1 else None,
        "steps": sum(history[-1]["step"] for history in histories),
        "parameters": sum(p.numel() for p in model.parameters()),
        "lost_in_window": lost(histories),
        **machine(),
    }


def lost(histories: Sequence[Sequence[Mapping[str, Any]]]) -> int | None:
    """The first window, from 1 on, that ends with an error of all of its solution or more: all later ones
    start from there, however small their losses are."""
    for number, history in enumerate(histories, 1):
        errors = [e for row in history if (e := row.get("validation", {}).get("relative_l2")) is not None]
        if errors and not errors[-1] < 1:
            return number
    return None


def run(rows: Rows, names: list[str]) -> None:
    """Those that are not there yet."""
    for seed in range(max(entry.seeds for entry in ENTRIES.values())):
        for name in names or [name for name in ENTRIES if "/" not in name]:
            entry, key = ENTRIES[name], {"name": name, "seed": seed}
            if seed >= entry.seeds or rows.having(key):
                continue
            row = key | solved(entry, seed, rows.path.parent / "runs" / f"{name}-{seed}")
            rows.append(row)
            print(f"{name} {seed}: {row['relative_l2']:.2e} after {row['seconds']:.0f} s", flush=True)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of Markdown: all seeds, best first; then the samplers side by side."""
    lines = [
        "| Problem | Relative L2, every seed | asked | seconds | below it after | weights |",
        "|---|---|---|---|---|---|",
    ]
    for name, entry in ENTRIES.items():
        own = sorted((row for row in rows if row["name"] == name), key=lambda row: row["relative_l2"])
        if not own or "/" in name:
            continue
        seconds = ", ".join(f"{row['seconds']:.0f}" for row in own)
        soon = ", ".join("-" if (s := row["seconds_to_bar"]) is None else f"{s:.0f} s" for row in own)
        weights = max(row["parameters"] for row in own)
        lines.append(
            f"| {name} ({own[0]['fingerprint']}) | {_errors(own)} | {entry.bar:.0e} | {seconds} | {soon} | "
            f"{weights:,} |"
        )
    lines += ["", "| Problem | " + " | ".join(SAMPLERS) + " |", "|---|" + "---|" * len(SAMPLERS)]
    for problem in dict.fromkeys(name.partition("/")[0] for name in ENTRIES if "/" in name):
        cells = [_errors([row for row in rows if row["name"] == f"{problem}/{way}"]) for way in SAMPLERS]
        lines.append(f"| {problem} | {' | '.join(cells)} |")
    return lines


def _errors(rows: list[dict[str, Any]]) -> str:
    return ", ".join(f"{error:.1e}" for error in sorted(row["relative_l2"] for row in rows))


if __name__ == "__main__":
    main(__doc__, ENTRIES, run, table)
