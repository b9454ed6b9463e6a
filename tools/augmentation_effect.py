"""What augmentation does to the test error of a Fourier neural operator, with its sign.

    python tools/augmentation_effect.py run PROBLEM METHOD SEED [RESULTS.csv]
    python tools/augmentation_effect.py table [RESULTS.csv]
    python tools/augmentation_effect.py cost PROBLEM METHOD

A run draws 200 training samples by SEED, trains for `STEPS` steps with METHOD, and appends one row with the
errors on 100 validation and 200 test samples, the same for all seeds and never augmented.  A row that is
there already is not run again.  Methods are paired by seed: samples, start and order of the network are the
same.
Takes about a minute on one core.  Methods: none; coordinates-BETA; symmetries (of darcy).

Problems: elliptic, -(a u')' = f with u = 0 at both ends, a, f -> u; convection_diffusion, u_t + (v u)_x = (a
u_x)_x on a circle, a, v, u(0) -> u(T); darcy, two media on the unit square, a -> u.
"""

import csv
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from sciml.dataset import Dataset, write_dataset
from sciml.datasets.augmentation import Augmentation, Augmented, BoxSymmetry, CoordinateChange
from sciml.datasets.darcy import Darcy
from sciml.datasets.numerics.elliptic import EllipticSolver
from sciml.datasets.numerics.random_fields import GaussianField
from sciml.grid import Grid
from sciml.objective import Objective
from sciml.operators.fno import FNO
from sciml.schema import Field, Provenance
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.trainer import Trainer

Float = NDArray[np.float64]
Drawn = tuple[Grid, list[tuple[Field, Float]]]

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "augmentation.csv"
COLUMNS = ("problem", "method", "seed", "steps", "valid", "test", "seconds")
TRAIN, VALID, TEST = 200, 100, 200
POINTS = 64
SHARE = 0.5  # of the samples in a batch, as many as with one copy of each
OPTIMIZER = partial(AdamW, lr=1e-3, weight_decay=1e-4)
# 97.5 % point of Student's distribution with two degrees of freedom: three pairs.
STUDENT = 4.303


def elliptic(seeds: list[int]) -> Drawn:
    """Finite volumes on nine times the cells, of which the middle ones are kept."""
    fine = Grid.box((9 * POINTS,))
    a, f = (smooth(seeds, fine, part) for part in range(2))
    a, f = np.exp(a), 1 + 2 * f
    found = {"a": a, "f": f, "u": EllipticSolver(fine).solve(a, f)}
    return Grid.box((POINTS,)), named({name: values[:, 4::9] for name, values in found.items()})


def convection_diffusion(seeds: list[int]) -> Drawn:
    """Fourier collocation on twice the nodes, exact in time; T = 0.25."""
    n = 2 * POINTS
    fine = Grid.box((n,), location="node", periodic=True)
    a, v, start = (smooth(seeds, fine, part) for part in range(3))
    a, start = 0.02 * np.exp(a), 1 + start / 2
    wave = np.fft.fftfreq(n, 1 / n) * (np.arange(n) != n // 2)
    slope = np.fft.ifft(2j * np.pi * wave[:, None] * np.fft.fft(np.eye(n), axis=0), axis=0).real
    end = [expm(slope @ (a[i, :, None] * slope - np.diag(v[i])) / 4) @ start[i] for i in range(len(seeds))]
    found = {"a": a, "v": v, "u0": start, "u": np.stack(end)}
    grid = Grid.box((POINTS,), location="node", periodic=True)
    return grid, named({name: values[:, ::2] for name, values in found.items()})


def darcy(seeds: list[int]) -> Drawn:
    """The generator of the library on 32 x 32 cells."""
    generator = Darcy(resolution=32)
    a, u = generator.sample(seeds)
    return Grid.box((32, 32)), named({"a": np.asarray(a), "u": np.asarray(u)})


def smooth(seeds: list[int], grid: Grid, part: int) -> Float:
    """Independent Gaussian fields with standard deviation 0.7, (n, *grid.shape)."""
    boundary: Literal["periodic", "neumann"] = "periodic" if grid.axes[0].periodic else "neumann"
    law = GaussianField(alpha=2.0, tau=8.0, boundary=boundary, modes=12, zero_mean=True)
    scale = 0.7 / np.sqrt(law.variance(grid).mean())
    return scale * law.sample([10 * seed + part for seed in seeds], grid)


def named(found: dict[str, Float]) -> list[tuple[Field, Float]]:
    """The last one is the output."""
    last = list(found)[-1]
    return [(Field(name, "output" if name == last else "input"), v) for name, v in found.items()]


PROBLEMS: dict[str, Callable[[list[int]], Drawn]] = {
    "elliptic": elliptic,
    "convection_diffusion": convection_diffusion,
    "darcy": darcy,
}
PARTS = {
    "elliptic": {"a": "diffusion", "f": "source", "u": "solution"},
    "convection_diffusion": {"a": "diffusion", "v": "drift", "u0": "solution", "u": "solution"},
}
STEPS = {"elliptic": 3000, "convection_diffusion": 3000, "darcy": 600}


def method_of(name: str, problem: str) -> Augmentation | None:
    """ "none"; "symmetries"; or "coordinates-BETA" with the strength of the maps."""
    if name == "none":
        return None
    if name == "symmetries":
        return BoxSymmetry("full")
    equation: Any = problem
    return CoordinateChange(equation, PARTS[problem], modes=3, beta=float(name.split("-")[1]))


def data_of(problem: str, seed: int, folder: Path) -> Dataset:
    """Training samples of this seed; validation and test samples are those of all seeds."""
    seeds = [10_000 * (seed + 1) + i for i in range(TRAIN)] + list(range(VALID + TEST))
    grid, fields = PROBLEMS[problem](seeds)
    return write_dataset(
        folder / f"{problem}.h5",
        grid=grid,
        fields=[(item, values.astype(np.float32)) for item, values in fields],
        split=[0] * TRAIN + [1] * VALID + [2] * TEST,
        provenance=Provenance(pde="darcy_2d" if problem == "darcy" else ""),
    )


def made(problem: str, method: str, seed: int, data: Dataset) -> tuple[Supervised, Objective, FNO]:
    """The task as it is, the same with the method, and a fresh network."""
    names = list(data.fields)
    plain = Supervised(data.train, names[:-1], names[-1:], batch_size=20)
    how = method_of(method, problem)
    with Streams(seed).of("init").applied():
        modes, width = (16, 32) if data.rank == 1 else (10, 24)
        model = FNO(data.rank, len(names) - 1, 1, modes=modes, width=width)
    return plain, plain if how is None else Augmented(plain, how, share=SHARE), model


def run(problem: str, method: str, seed: int, results: Path) -> None:
    """One row."""
    if any(row[:3] == [problem, method, str(seed)] for row in rows_of(results)):
        print("is there already")
        return
    steps, started = STEPS[problem], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        data = data_of(problem, seed, Path(folder))
        plain, task, model = made(problem, method, seed, data)
        schedule = partial(CosineAnnealingLR, T_max=steps)
        Trainer(steps, optimizer=OPTIMIZER, schedule=schedule, seed=seed).fit(model, task)
        judges = plain.on(data.valid), plain.on(data.test)
        errors = [f"{judge.evaluate(model, Streams(seed))['relative_l2']:.6f}" for judge in judges]
    row = [problem, method, seed, steps, *errors, f"{time.perf_counter() - started:.0f}"]
    new = not results.exists()
    with results.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, row] if new else [row])
    print(*row)


def cost(problem: str, method: str) -> None:
    """Time of a step with the method over that of one without: 9 rounds of 20 steps in turns, quartiles."""
    with tempfile.TemporaryDirectory() as folder:
        plain, task, model = made(problem, method, 0, data_of(problem, 0, Path(folder)))
        times: list[list[float]] = [[], []]
        for _ in range(10):
            for kept, objective in zip(times, (plain, task), strict=True):
                started = time.perf_counter()
                Trainer(20, optimizer=OPTIMIZER).fit(model, objective)
                kept.append(time.perf_counter() - started)
    first, second = (np.array(kept[1:]) for kept in times)  # the first round reads the data
    low, middle, high = np.quantile(second / first, [0.25, 0.5, 0.75])
    print(f"{problem} {method}: {middle:.2f} times ({low:.2f} to {high:.2f}) {50 * np.median(first):.1f} ms")


def rows_of(results: Path) -> list[list[str]]:
    """The rows of a file, without its head."""
    if not results.exists():
        return []
    with results.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def table(results: Path) -> None:
    """Mean test errors in percent, and the mean of the paired differences with its 95 % interval."""
    errors = {(row[0], row[1], int(row[2])): 100 * float(row[5]) for row in rows_of(results)}
    print("| problem | method | without | with | difference | relative | seeds |")
    print("|---|---|---|---|---|---|---|")
    for problem, method in dict.fromkeys((p, m) for p, m, _ in errors if m != "none"):
        seeds = [s for p, m, s in errors if (p, m) == (problem, method) and (p, "none", s) in errors]
        if len(seeds) < 3:
            continue
        without = np.array([errors[problem, "none", s] for s in seeds])
        augmented = np.array([errors[problem, method, s] for s in seeds])
        change = augmented - without
        half = STUDENT * change.std(ddof=1) / np.sqrt(len(seeds))
        print(
            f"| {problem} | {method} | {without.mean():.2f} % | {augmented.mean():.2f} % "
            f"| {change.mean():+.2f} ± {half:.2f} | {augmented.mean() / without.mean() - 1:+.0%} "
            f"| {len(seeds)} |"
        )


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(*sys.argv[5:6]) if sys.argv[5:] else RESULTS)
    elif sys.argv[1] == "cost":
        cost(*sys.argv[2:4])
    else:
        table(Path(sys.argv[2]) if sys.argv[2:] else RESULTS)
