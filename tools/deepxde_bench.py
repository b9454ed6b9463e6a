"""Six problems of DeepXDE: its own training to its final error, and ours to the same error, side by side.

    python tools/deepxde_bench.py run [PROBLEM ...] [--seeds 0 1 2] [--iterations SHARE] [--points SHARE]
    python tools/deepxde_bench.py table

A run appends one row for each problem and seed to docs/results/deepxde.jsonl; a row that is there is not
run again.  First `dde.Model` trains with the settings of DeepXDE's example (float32, Adam, mostly L-BFGS
after it), then our trainer on the same problem text with a recipe of ours (float64, a network of the same
size or smaller, Adam, then self-scaled Broyden, points inside redrawn by the residual) until it is as good
and a third of their time is over, for at most as long as they took.  Both are judged by the same function,
at times of their own, which count for neither.

All numbers are seconds of the processor, of one thread.  ``--iterations 0.1`` takes a tenth of DeepXDE's
iterations, ``--points`` a share of the points for both; without them, and in `SETTINGS`, shares with which
everything takes half an hour.  Data: SCIML_TEST_DATA/deepxde.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import time
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepxde_problems import PROBLEMS, Array, Example, count
from torch import nn

from sciml.calling import parameter_count
from sciml.comparison.rows import Rows
from sciml.optimizers import SelfScaledBroyden
from sciml.pinns import from_deepxde
from sciml.pinns.deepxde_import import imported, precision
from sciml.pinns.samplers import RAD, InTurn, Sampler, Uniform
from sciml.trainer import Phase, Trainer

ROWS = Path(__file__).resolve().parents[1] / "docs" / "results" / "deepxde.jsonl"
BATCH = 20  # iterations of the quasi-Newton method between two judgments
JUDGED = 500  # iterations of DeepXDE between two judgments
ADAM = partial(torch.optim.Adam, lr=5e-3, betas=(0.99, 0.999), eps=1e-20)


@dataclass(frozen=True)
class Setting:
    """What is left out of DeepXDE's example, and how we train.

    Attributes
    ----------
    iterations, points : float
        Shares of the published numbers.
    widths : tuple of int
        Of our hidden layers.
    warm : int
        Our iterations of Adam.
    inside : int, optional
        Our points inside, redrawn by the residual; without, those of the example, which stay.
    """

    iterations: float
    points: float
    widths: tuple[int, ...]
    warm: int
    inside: int | None = None

    def sampler(self) -> Sampler | None:
        """Fresh points for Adam, then some that stay for 200 iterations."""
        if self.inside is None:
            return None
        return InTurn(((self.warm, Uniform(every=10)), (1, RAD(every=10, pool=10))))


SETTINGS = {
    "burgers": Setting(1.0, 1.0, (20, 20, 20), 200),
    "stokes": Setting(0.04, 0.1, (20, 20, 20), 200, 400),
    "lorenz": Setting(0.5, 1.0, (20, 20, 20), 1000),
    "reaction": Setting(0.06, 0.05, (20, 20, 20), 200),
    "l-shape": Setting(0.06, 1.0, (20, 20, 20), 150, 800),
    "allen-cahn": Setting(0.07, 1.0, (20, 20, 20), 200, 2000),
}


def sown(seed: int) -> None:
    np.random.seed(seed)
    torch.manual_seed(seed)


class Clock:
    """Seconds of the processor outside of judgments, and the errors that these found."""

    def __init__(self, example: Example, net: nn.Module) -> None:
        self._example, self._net = example, net
        self.curve: list[tuple[float, float]] = []
        self._begun = time.process_time()

    def judge(self) -> float:
        """The error now."""
        stopped = time.process_time()
        dtype = next(self._net.parameters()).dtype

        def predict(points: Array) -> Array:
            with torch.no_grad():
                found: Array = self._net(torch.as_tensor(points.copy(), dtype=dtype)).numpy()
            return found

        error = self._example.error(predict)
        self.curve.append((round(stopped - self._begun, 3), error))
        self._begun += time.process_time() - stopped
        return error

    @property
    def seconds(self) -> float:
        """At the last judgment."""
        return self.curve[-1][0]

    def first(self, target: float) -> float | None:
        """When the error was at the target for the first time."""
        return next((seconds for seconds, error in self.curve if error <= target), None)


def theirs(name: str, folder: Path, seed: int, points: float, iterations: float) -> dict[str, Any]:
    """Seconds and errors of `dde.Model`."""
    dde: Any = imported()
    with precision(torch.float32):
        sown(seed)
        example = PROBLEMS[name](folder, points)
        example.error(lambda x: np.zeros((len(x), 3)))  # a reference that has to be computed
        net = example.network()
        for points_of in ("train_x", "train_x_all", "train_x_bc", "test_x"):
            # Its polygons draw float64 whatever its float type, which its networks refuse.
            setattr(example.data, points_of, getattr(example.data, points_of).astype(np.float32))
        model = dde.Model(example.data, net)
        external = list(example.external.values())
        clock = Clock(example, net)
        model.compile("adam", lr=1e-3, decay=example.decay, verbose=0, external_trainable_variables=external)
        left = count(example.adam, iterations)
        while left > 0:
            model.train(iterations=min(JUDGED, left), display_every=JUDGED, verbose=0)
            clock.judge()
            left -= JUDGED
        if example.quasi_newton:
            most = count(15_000, iterations)  # its default
            dde.optimizers.set_LBFGS_options(maxiter=most)
            dde.optimizers.LBFGS_options["iter_per_step"] = min(1000, most)
            dde.optimizers.LBFGS_options["fun_per_step"] = min(1250, most * 5 // 4)
            model.compile("L-BFGS", verbose=0)
            model.train(verbose=0)
            clock.judge()
    error = clock.curve[-1][1]
    return {
        "seconds": clock.seconds,
        "error": error,
        "reached": clock.first(error),  # earlier, if it was as good before
        "parameters": parameter_count(net),
        "curve": clock.curve,
    }


def ours(name: str, folder: Path, seed: int, points: float, goal: dict[str, Any]) -> dict[str, Any]:
    """Seconds until the error is that of DeepXDE, and the error at the end."""
    setting = SETTINGS[name]
    with precision(torch.float64):
        sown(seed)
        example = PROBLEMS[name](folder, points)
        example.error(lambda x: np.zeros((len(x), 3)))
        net = example.network(*setting.widths)
        phases = [
            Phase(ADAM, setting.warm),
            Phase(partial(SelfScaledBroyden, iterations=BATCH), 10**6),
        ]
        clock = Clock(example, net)
        loss = from_deepxde(
            example.data, external=example.external, sampler=setting.sampler(), points=setting.inside
        )
        for step in Trainer(optimizer=phases, seed=seed).iterate(net, loss, every=10**9):
            if step.number > setting.warm or step.number % 50 == 0:
                clock.judge()
                reached = clock.first(goal["error"]) is not None
                if clock.seconds > (goal["reached"] / 3 if reached else goal["seconds"]):
                    break
    return {
        "reached": clock.first(goal["error"]),
        "seconds": clock.seconds,
        "error": clock.curve[-1][1],
        "steps": step.number,
        "parameters": parameter_count(net),
        "derivatives": loss.derivatives,
        "curve": clock.curve,
    }


def run(options: argparse.Namespace, rows: Rows, folder: Path) -> None:
    torch.set_num_threads(1)
    for seed in options.seeds:
        for name in options.problems or SETTINGS:
            setting = SETTINGS[name]
            key = {
                "problem": name,
                "seed": seed,
                "points": options.points or setting.points,
                "iterations": options.iterations or setting.iterations,
            }
            if rows.having(key):
                continue
            with contextlib.redirect_stdout(io.StringIO()):  # DeepXDE prints
                first = theirs(name, folder, seed, key["points"], key["iterations"])
                second = ours(name, folder, seed, key["points"], first)
            versions = {"torch": torch.__version__, "deepxde": version("deepxde")}
            row = {**key, **versions, "theirs": first, "ours": second}
            rows.append(row)
            print(shown(row), flush=True)


def shown(row: dict[str, Any]) -> str:
    """A line of the table."""
    first, second = row["theirs"], row["ours"]
    found = times = "not reached"
    if second["reached"] is not None:
        found = f"{second['reached']:.1f}"
        times = f"**{first['reached'] / second['reached']:.1f}** ({first['seconds'] / second['reached']:.1f})"
    return (
        f"| {row['problem']} | {row['seed']} | {row['iterations']:g} | {row['points']:g} | "
        f"{first['error']:.2e} | {first['reached']:.1f} ({first['seconds']:.1f}) | {found} | {times} | "
        f"{second['error']:.2e} at {second['seconds']:.1f} | {first['parameters']} | {second['parameters']} |"
    )


def table(rows: Rows) -> None:
    print(
        "| problem | seed | share of iterations | of points | final error of DeepXDE | "
        "its seconds to that error (to the end) | our seconds to that error | times sooner (than its end) | "
        "our error at seconds | its weights | ours |"
    )
    print("|---" * 11 + "|")
    for row in rows.read():
        print(shown(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("problems", nargs="*", choices=[*PROBLEMS, []], default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--points", type=float)
    parser.add_argument("--iterations", type=float)
    parser.add_argument("--rows", type=Path, default=ROWS)
    options = parser.parse_args()
    rows = Rows(options.rows.parent, options.rows.name)
    if options.command == "table":
        table(rows)
        return
    data = os.environ.get("SCIML_TEST_DATA")
    if not data:
        parser.error("SCIML_TEST_DATA must name the folder that holds deepxde/Burgers.npz and the others.")
    run(options, rows, Path(data) / "deepxde")


if __name__ == "__main__":
    main()
