"""Whether the equation helps an operator that has few labels: Darcy flow on 32 x 32 cells, 100 of them.

    python tools/physics_gate.py FOLDER [SEEDS]

Per seed one training of a Fourier neural operator with each of these, all of equally many steps:

    labels            100 solutions
    labels, 2 x       the same for twice the steps, which take as long as those with the equation
    equation          100 solutions, and the equation on their 100 inputs
    equation, inputs  100 solutions, and the equation on these and 900 inputs without solutions

judged on 200 test samples that no training sees.  Every training appends a row to FOLDER/rows.jsonl; those
that are there already are not run again, and one that was cut off goes on from its checkpoint.  The status is
0 if the last beats both of the first for every seed.  A row takes a minute or two on two cores.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

import sciml
from sciml.comparison.rows import Rows
from sciml.datasets import Darcy
from sciml.objective import Objective
from sciml.operators import FNO

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from physics_informed_operator import darcy

LABELS, INPUTS, TEST = 100, 1000, 200
STEPS, RATE, WEIGHT = 1500, 4e-3, 1.0
METHODS = ("labels", "labels, 2 x", "equation", "equation, inputs")


def objective_of(method: str, task: sciml.Supervised, data: sciml.Dataset) -> Objective:
    """What is minimized."""
    if method.startswith("labels"):
        return task
    inputs = data.train if method == "equation, inputs" else task.dataset
    return task + WEIGHT * sciml.Physics(darcy, task, inputs=inputs)


def trained(folder: Path, data: sciml.Dataset, method: str, seed: int) -> dict[str, Any]:
    """One row."""
    # Other labels for each seed: their choice is what few labels depend on most.
    chosen = np.random.default_rng(seed).permutation(INPUTS)[:LABELS]
    task = sciml.Supervised(data.train.subset(chosen), ["a"], ["u"])
    with sciml.Streams(seed).of("init").applied():
        model = FNO(rank=2, in_channels=1, out_channels=1, modes=10, width=24, padding=0.125)
    steps = 2 * STEPS if method == "labels, 2 x" else STEPS
    trainer = sciml.Trainer(
        steps,
        optimizer=partial(AdamW, lr=RATE, weight_decay=0.1),
        schedule=partial(OneCycleLR, max_lr=RATE, total_steps=steps, pct_start=0.2),
        seed=seed,
    )
    place = folder / f"{METHODS.index(method)}-{seed}"
    run = trainer.fit(model, objective_of(method, task, data), every=100, output=place)
    scores = run.surrogate().evaluate(data.test)["relative_l2"]
    return {
        "method": method,
        "seed": seed,
        "steps": steps,
        "relative_l2": scores.mean,
        "worst": scores.worst,
        "seconds": round(run.seconds, 1),
    }


def main(folder: Path, seeds: int = 3) -> bool:
    """Run what is missing, print the table, and tell whether the equation helped for every seed."""
    folder.mkdir(parents=True, exist_ok=True)
    file, rows = folder / "darcy.h5", Rows(folder)
    if not file.exists():
        Darcy(resolution=32).make(file, train=INPUTS, valid=0, test=TEST)
    data = sciml.open_dataset(file)
    done = {(row["method"], row["seed"]): row for row in rows.read()}
    for seed in range(seeds):
        for method in METHODS:
            if (method, seed) not in done:
                row = done[method, seed] = trained(folder, data, method, seed)
                rows.append(row)
                print(row, flush=True)
    print("| method | " + " | ".join(f"seed {seed}" for seed in range(seeds)) + " | mean | seconds |")
    print("|---" * (seeds + 3) + "|")
    errors = {m: [float(done[m, seed]["relative_l2"]) for seed in range(seeds)] for m in METHODS}
    for method, values in errors.items():
        seconds = np.mean([done[method, seed]["seconds"] for seed in range(seeds)])
        cells = " | ".join(f"{value:.4f}" for value in values)
        print(f"| {method} | {cells} | {np.mean(values):.4f} | {seconds:.0f} |")
    best = np.minimum(errors["labels"], errors["labels, 2 x"])
    return bool((np.array(errors["equation, inputs"]) < best).all())


if __name__ == "__main__":
    passed = main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
    print("passed" if passed else "failed")
    sys.exit(0 if passed else 1)
