"""Six problems of DeepXDE: its own training to its final error, and ours to the same error, side by side.

    python tools/deepxde_bench.py run [PROBLEM ...] [--seeds 0 1 2] [--iterations SHARE] [--rows FILE]
    python tools/deepxde_bench.py table [--rows FILE]

A run appends one row for each problem and seed; a row that is there already is not run again.  First
`dde.Model` trains with the settings of DeepXDE's example (float32, Adam, mostly L-BFGS after it), then our
trainer on the same problem text and the same architecture (float64, Adam, then self-scaled Broyden, or L-BFGS
where a dense matrix would be large) until it is as good, for at most as long.  Both stop at points of their
own to be judged, which is in our seconds and not in theirs.

``--iterations 0.1`` takes a tenth of DeepXDE's iterations, ``--points`` a share of the points, as the rows
tell.  Data: SCIML_TEST_DATA/deepxde.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepxde_problems import PROBLEMS, Array, Example, count
from torch import nn

from sciml.calling import parameter_count
from sciml.optimizers import LBFGS, SelfScaledBroyden
from sciml.pinns import from_deepxde
from sciml.pinns.deepxde_import import imported, precision
from sciml.trainer import Phase, Trainer

ROWS = Path(__file__).resolve().parents[1] / "docs" / "results" / "deepxde.jsonl"
WARM = 500  # steps of Adam before curvature
DENSE = 4000  # parameters up to which the quasi-Newton matrix is kept whole
BATCH = 20  # iterations of the quasi-Newton method between two judgments
JUDGED = 1000  # iterations of DeepXDE between two judgments, as it tests its losses


def sown(seed: int) -> None:
    np.random.seed(seed)
    torch.manual_seed(seed)


def judged(example: Example, net: nn.Module) -> float:
    dtype = next(net.parameters()).dtype

    def predict(points: Array) -> Array:
        with torch.no_grad():
            found: Array = net(torch.as_tensor(points.copy(), dtype=dtype)).numpy()
        return found

    return example.error(predict)


def theirs(name: str, folder: Path, seed: int, points: float, iterations: float) -> dict[str, Any]:
    """Seconds and errors of `dde.Model`; judging is not timed."""
    dde: Any = imported()
    with precision(torch.float32):
        sown(seed)
        example = PROBLEMS[name](folder, points)
        net = example.network()
        for points_of in ("train_x", "train_x_all", "train_x_bc", "test_x"):
            # Its polygons draw float64 whatever its float type, which its networks refuse.
            setattr(example.data, points_of, getattr(example.data, points_of).astype(np.float32))
        model = dde.Model(example.data, net)
        curve: list[tuple[float, float]] = []
        seconds = 0.0

        def train(**settings: Any) -> None:
            nonlocal seconds
            started = time.perf_counter()
            model.train(verbose=0, **settings)
            seconds += time.perf_counter() - started
            curve.append((round(seconds, 3), judged(example, net)))

        external = list(example.external.values())
        model.compile("adam", lr=1e-3, decay=example.decay, verbose=0, external_trainable_variables=external)
        left = count(example.adam, iterations)
        while left > 0:
            train(iterations=min(JUDGED, left), display_every=JUDGED)
            left -= JUDGED
        if example.quasi_newton:
            most = count(15_000, iterations)  # its default
            dde.optimizers.set_LBFGS_options(maxiter=most)
            dde.optimizers.LBFGS_options["iter_per_step"] = min(1000, most)
            dde.optimizers.LBFGS_options["fun_per_step"] = min(1250, most * 5 // 4)
            model.compile("L-BFGS", verbose=0)
            train()
    final = curve[-1][1]
    reached = next(t for t, error in curve if error <= final)
    return {
        "seconds": round(seconds, 3),
        "error": final,
        "reached": reached,  # earlier, if it was as good before
        "parameters": parameter_count(net),
        "curve": curve,
    }


def ours(name: str, folder: Path, seed: int, points: float, target: float, most: float) -> dict[str, Any]:
    """Seconds until the error is at the target, judging included, or the error after ``most`` seconds."""
    with precision(torch.float64):
        sown(seed)
        example = PROBLEMS[name](folder, points)
        net = example.network()
        optimizer: Any = SelfScaledBroyden if parameter_count(net) <= DENSE else LBFGS
        phases = [
            Phase(partial(torch.optim.Adam, lr=1e-3), WARM),
            Phase(partial(optimizer, iterations=BATCH), 10**6),
        ]
        example.error(lambda x: np.zeros((len(x), 3)))  # a reference that has to be computed
        loss = from_deepxde(example.data, external=example.external)
        curve: list[tuple[float, float]] = []
        started = time.perf_counter()
        for step in Trainer(optimizer=phases, seed=seed).iterate(net, loss, every=10**9):
            if step.number > WARM or step.number % 100 == 0:
                curve.append((round(time.perf_counter() - started, 3), judged(example, net)))
                if curve[-1][1] <= target or curve[-1][0] > most:
                    break
    return {
        "seconds": curve[-1][0],
        "error": curve[-1][1],
        "steps": step.number,
        "optimizer": optimizer.__name__,
        "derivatives": loss.derivatives,
        "curve": curve,
    }


def run(options: argparse.Namespace, folder: Path) -> None:
    for seed in options.seeds:
        for name in options.problems or PROBLEMS:
            key = {
                "problem": name,
                "seed": seed,
                "points": options.points,
                "iterations": options.iterations,
                "threads": torch.get_num_threads(),
            }
            if any(key.items() <= row.items() for row in read(options.rows)):
                continue
            with contextlib.redirect_stdout(io.StringIO()):  # DeepXDE prints
                first = theirs(name, folder, seed, options.points, options.iterations)
                second = ours(name, folder, seed, options.points, first["error"], first["seconds"])
            versions = {"torch": torch.__version__, "deepxde": version("deepxde")}
            row = {**key, **versions, "theirs": first, "ours": second}
            options.rows.parent.mkdir(parents=True, exist_ok=True)
            with options.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(shown(row), flush=True)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def shown(row: dict[str, Any]) -> str:
    """A line of the table."""
    first, second = row["theirs"], row["ours"]
    found = f"{second['seconds']:.1f}" if second["error"] <= first["error"] else "not reached"
    times = f"{first['reached'] / second['seconds']:.1f}" if second["error"] <= first["error"] else ""
    return (
        f"| {row['problem']} | {row['seed']} | {row['iterations']:g} | {first['error']:.2e} | "
        f"{first['seconds']:.1f} | {first['reached']:.1f} | {found} | {times} | {second['derivatives']} |"
    )


def table(options: argparse.Namespace) -> None:
    print(
        "| problem | seed | share of iterations | error of DeepXDE | its seconds | first as good after | "
        "our seconds | times sooner | derivatives |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in read(options.rows):
        print(shown(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("problems", nargs="*", choices=[*PROBLEMS, []], default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--points", type=float, default=1.0)
    parser.add_argument("--iterations", type=float, default=1.0)
    parser.add_argument("--rows", type=Path, default=ROWS)
    options = parser.parse_args()
    if options.command == "table":
        table(options)
        return
    data = os.environ.get("SCIML_TEST_DATA")
    if not data:
        parser.error("SCIML_TEST_DATA must name the folder that holds deepxde/Burgers.npz and the others.")
    run(options, Path(data) / "deepxde")


if __name__ == "__main__":
    main()
