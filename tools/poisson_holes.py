"""Poisson's equation around holes that training has not seen: Transolver, affine in source, level and flux.

    python tools/poisson_holes.py FOLDER [MINUTES] [SEED]

Splits for validation and test are those of the benchmark "poisson/holes/v2"; the training samples are its
thousand and three thousand more of the same law.  The first call makes the data (4 minutes of one core),
times 40 steps, and fixes the number of steps that ``MINUTES``, 15 by default, pay for on the cores that
torch uses.  A run that was cut off goes on.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
from torch.optim.lr_scheduler import OneCycleLR

import sciml
from sciml.dataset import Dataset
from sciml.datasets.poisson import PoissonWithHoles
from sciml.files import write_json_atomic
from sciml.operators import Transolver
from sciml.operators.transolver import Sliced
from sciml.optimizers import Muon
from sciml.presets import Generated

HOLES = PoissonWithHoles()
COUNTS = (1000, 100, 200, 3000)  # train, valid and test of the benchmark, and more to train on
INPUTS = ["a", "f", "hole", "level", "flux"]
# Of a, f and the distance to the holes, then level and flux: the equation is linear in f, level and flux.
LAYERS = Sliced(depth=4, heads=4, slices=32, expansion=2, waves=4, affine=(1, 3, 4), distances=(2,))
RATE, RATIO, POINTS, BATCH = 0.01, 0.3, 256, 8
TIMED, JUDGED = 40, 10
"""Steps that are timed, and validations."""


def samples(folder: Path, generator: PoissonWithHoles, counts: tuple[int, int, int, int]) -> Dataset:
    """Those of the benchmark in its order, which also is its split, and more for training behind them."""
    made = Generated(generator, train=sum(counts), valid=0, test=0)
    return made.open(folder, "poisson-with-holes").resplit(np.repeat([0, 1, 2, 0], counts))


def trainer(steps: int, seed: int) -> sciml.Trainer:
    """One cycle of the rate: up for a fifth of the steps, then down."""
    schedule = partial(OneCycleLR, max_lr=RATE, total_steps=steps, pct_start=0.2, cycle_momentum=False)
    optimizer = partial(Muon, lr=RATE, ratio=RATIO, weight_decay=0.01)
    return sciml.Trainer(steps, optimizer=optimizer, schedule=schedule, clip=1.0, seed=seed)


def model(seed: int) -> Transolver:
    """250,384 weights."""
    with sciml.Streams(seed).of("init").applied():
        return Transolver(2, 3, 1, width=64, layers=LAYERS, parameters=2)


def affordable(task: sciml.Supervised, valid: sciml.Supervised, seconds: float) -> int:
    """How many steps, with the validations, take so long."""
    tried = model(0)
    training = iter(trainer(100 * TIMED, 0).iterate(tried, task, every=100 * TIMED))
    next(training)
    start = time.perf_counter()
    for _ in range(TIMED):
        next(training)
    step = (time.perf_counter() - start) / TIMED
    start = time.perf_counter()
    valid.evaluate(tried, sciml.Streams(0))
    return max(TIMED, int((seconds - JUDGED * (time.perf_counter() - start)) / step))


def main(
    folder: Path,
    *,
    minutes: float = 15.0,
    seed: int = 0,
    generator: PoissonWithHoles = HOLES,
    counts: tuple[int, int, int, int] = COUNTS,
) -> dict[str, float]:
    """Mean relative L2 errors on the validation and test splits, steps, and the seconds that they took."""
    data = samples(folder, generator, counts)
    task = sciml.Supervised(data.train, INPUTS, ["u"], batch_size=BATCH, points=POINTS)
    valid, test = task.on(data.valid), task.on(data.test)
    for one in (task, valid):  # reading the file is no part of the budget
        one.feed.read(range(len(one.dataset)))
    noted = folder / f"seed-{seed}.json"
    if not noted.exists():
        write_json_atomic(noted, {"steps": affordable(task, valid, 60 * minutes)})
    steps = int(json.loads(noted.read_text())["steps"])
    run = trainer(steps, seed).fit(
        model(seed), task, validation=valid, every=-(-steps // JUDGED), output=folder / f"seed-{seed}"
    )
    streams = sciml.Streams(seed)
    errors = {
        name: one.evaluate(run.model, streams)["relative_l2"]
        for name, one in (("valid", valid), ("test", test))
    }
    return {**errors, "steps": steps, "seconds": run.seconds}


if __name__ == "__main__":
    place, given, number = [*sys.argv[1:4], *("", "15", "0")[len(sys.argv) - 1 :]]
    found = main(Path(place), minutes=float(given), seed=int(number))
    print(", ".join(f"{name} {value:.4g}" for name, value in found.items()))
