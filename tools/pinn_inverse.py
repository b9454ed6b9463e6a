"""Unknown constants and functions of equations from measurements with 1 % noise, each from nothing.

    python tools/pinn_inverse.py run FOLDER [NAME ...]    rows that are not yet in FOLDER/rows.jsonl
    python tools/pinn_inverse.py table FOLDER             the table

A row is one training with one seed, of measurements, weights and points alike: what was found, by how much it
is off, and its standard error.  Where SCIML_TEST_DATA names a folder, the constants of Lorenz and Burgers are
found from the tables in its deepxde/, else from values of our own solvers; those of the reaction always are,
whose table is too coarse.  First the network learns the measurements with a light equation, then equation and
measurements together.  Trainings lie in FOLDER/runs; one that was cut off goes on
from its checkpoint, and a row that is there is not run again.  Give the number of threads by OMP_NUM_THREADS;
rows tell it, and the seconds of the processor beside those of the clock.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sciml.optimizers import LevenbergMarquardt
from sciml.pinns import Recipe, Residual, Stage, climb, uncertainty_of
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.networks import MLP
from sciml.pinns.problem import Problem
from sciml.pinns.problems import inverse
from sciml.pinns.samplers import Sobol
from sciml.pinns.unknowns import errors_of, functions_of

STAGE = Stage(partial(LevenbergMarquardt, iterations=5), 1, Sobol(every=4))


@dataclass(frozen=True)
class Entry:
    """One problem for each seed, and how it is solved: one network in several parts, one after the other.

    Each part has a number of steps, of five iterations of Levenberg-Marquardt, and weights of the loss.
    ``bar`` is the relative error that is asked of every unknown.
    """

    problem: Callable[[int], Problem]
    network: Callable[..., Any]
    points: int
    parts: tuple[tuple[int, Mapping[str, float]], ...]
    bar: float = 0.01
    seeds: int = 3

    @property
    def recipes(self) -> list[Recipe]:
        """One for each part."""
        whole = Recipe(network=self.network, points=self.points)
        return [
            replace(whole, stages=(replace(STAGE, steps=steps),), weights=weights)
            for steps, weights in self.parts
        ]


def table_of(name: str) -> str | None:
    """A table of somebody else, if there is a folder of them."""
    folder = os.environ.get("SCIML_TEST_DATA")
    return None if folder is None else str(Path(folder) / "deepxde" / name)


def states(weight: float) -> dict[str, float]:
    return dict.fromkeys(("states_x", "states_y", "states_z"), weight)


ENTRIES: dict[str, Entry] = {
    "lorenz": Entry(
        lambda seed: inverse.LorenzConstants(seed=seed, table=table_of("Lorenz.npz")),
        partial(MLP, width=20, depth=2),
        150,
        # Rates are a hundred times as large as the states.
        ((12, dict.fromkeys("xyz", 1e-4)), (16, states(10.0)), (20, states(1.0))),
    ),
    "burgers": Entry(
        lambda seed: inverse.BurgersConstants(seed=seed, table=table_of("Burgers.npz")),
        partial(MLP, width=20, depth=3),
        1500,
        ((6, {"equation": 1e-3}), (14, {})),
    ),
    "reaction": Entry(
        lambda seed: inverse.ReactionConstants(seed=seed),
        partial(MLP, width=20, depth=3),
        600,
        ((6, {"a": 0.1, "b": 0.1}), (10, {})),
    ),
    "diffusion-1d": Entry(
        lambda seed: inverse.DiffusionCoefficient(1, seed=seed),
        partial(MLP, width=16, depth=2),
        200,
        ((12, {}),),
        bar=0.05,
    ),
    "diffusion-2d": Entry(
        lambda seed: inverse.DiffusionCoefficient(2, measurements=1000, seed=seed),
        partial(MLP, width=16, depth=2),
        600,
        ((16, {}),),
        bar=0.05,
    ),
}


def solved(entry: Entry, seed: int, folder: Path) -> dict[str, Any]:
    """One row."""
    problem = entry.problem(seed)
    before = time.process_time()
    found = climb([problem] * len(entry.recipes), recipe=entry.recipes, seed=seed, output=folder)
    processor = time.process_time() - before
    objective = found.runs[-1].objective
    assert isinstance(objective, Residual)
    known = uncertainty_of(found.model, objective, at=_places(problem))
    seconds = sum(run.seconds for run in found.runs)
    return {
        "problem": type(problem).__name__,
        "fingerprint": problem.fingerprint(),
        "found": dict(known.values),
        "errors": errors_of(objective.coefficients, problem.truth, problem.domain),
        "standard_errors": dict(known.errors) | _sizes(known.bands, objective),
        "determined": dict(known.determined),
        "noise": dict(known.noise),
        "relative_l2": problem.relative_l2(found.model),
        "bar": entry.bar,
        "seconds": seconds,
        # Of a training that was taken up again the processor's seconds are not known.
        "processor_seconds": processor if processor < seconds else None,
        "steps": sum(len(run.history) for run in found.runs),
        "parameters": sum(p.numel() for p in found.model.parameters()),
        "threads": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
    }


def _places(problem: Problem) -> Tensor | None:
    """Points at which unknown functions are judged, if there are any."""
    if all(not callable(value) for value in problem.truth.values()):
        return None
    return problem.domain.interior(kronecker, 200)


def _sizes(bands: Mapping[str, Tensor], objective: Residual) -> dict[str, float]:
    """Of functions the root mean square."""
    functions = functions_of(objective.coefficients)
    return {name: float(band.square().mean().sqrt()) for name, band in bands.items() if name in functions}


def main(action: str, folder: Path, names: list[str]) -> None:
    file = folder / "rows.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    if action == "table":
        print("\n".join(table(rows)))
        return
    for seed in range(max(entry.seeds for entry in ENTRIES.values())):
        for name in names or ENTRIES:
            entry = ENTRIES[name]
            known = any(row["name"] == name and row["seed"] == seed for row in rows)
            if known or seed >= entry.seeds:
                continue
            row = {"name": name, "seed": seed} | solved(entry, seed, folder / "runs" / f"{name}-{seed}")
            rows.append(row)
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
            told = ", ".join(f"{key} {error:.2%}" for key, error in row["errors"].items())
            print(f"{name} {seed}: off by {told} after {row['seconds']:.0f} s", flush=True)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of Markdown: an unknown in each, with all seeds in order."""
    lines = [
        "| Problem | unknown | found, every seed | off by | standard error | asked | processor, seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ENTRIES:
        own = sorted((row for row in rows if row["name"] == name), key=lambda row: row["seed"])
        for unknown in own[0]["errors"] if own else ():
            found = [row["found"].get(unknown) for row in own]
            # Of a function a relative error has no sign, and its standard error is that of its values.
            share = [abs(value) if value else 1.0 for value in found]
            errors = [row["standard_errors"][unknown] / s for row, s in zip(own, share, strict=True)]
            cells = [
                name,  # measurements, and so fingerprints, differ from seed to seed
                unknown,
                ", ".join("-" if value is None else f"{value:.5g}" for value in found),
                ", ".join(f"{row['errors'][unknown]:.2%}" for row in own),
                ", ".join(f"{error:.2%}" for error in errors),
                f"{own[0]['bar']:.0%}",
                ", ".join("-" if (s := row["processor_seconds"]) is None else f"{s:.0f}" for row in own),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("run", "table") or set(sys.argv[3:]) - set(ENTRIES):
        sys.exit(f"{__doc__}\nnames: {', '.join(ENTRIES)}")
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
