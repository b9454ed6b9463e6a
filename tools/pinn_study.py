"""The twenty problems of PINNacle, each solved from nothing, beside the best published error.

    python tools/pinn_study.py run FOLDER [NAME ...] [--minutes 10]    rows not yet in FOLDER/rows.jsonl
    python tools/pinn_study.py table FOLDER                            one line for each problem

Names are those of the study: Burgers1d-C, Heat2d-MS, ...; see `sciml.pinns.problems.study.PUBLISHED`.  A row
is one training with seed 0: relative L2 error against our certified reference, of which it tells the error
too.  Trainings lie in FOLDER/runs; one that was cut off goes on from its checkpoint, and so does one that is
given more minutes.  A row that is there for as many minutes is not run again.  Give the number of threads by
OMP_NUM_THREADS; rows tell it.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pinn_records import Entry, solved
from torch.nn import Linear
from torch.optim import Adam

from sciml.comparison.published_problems import STUDY
from sciml.comparison.rows import Rows
from sciml.optimizers import LevenbergMarquardt
from sciml.pinns import Recipe, Stage, problems
from sciml.pinns.losses import Complementary, Galerkin
from sciml.pinns.networks import MLP, SIREN, Modes, Waves, at_rest, start_modes
from sciml.pinns.problem import Problem
from sciml.pinns.problems.study import PUBLISHED
from sciml.pinns.problems.study.drifting import DriftingWaves, Lattice
from sciml.pinns.problems.study.patches import kinked
from sciml.pinns.recipe import NetworkFactory
from sciml.pinns.recipes import PRECISE, SHARP, SMALL
from sciml.pinns.samplers import RAD, Sampler, Sobol
from sciml.pinns.settling import fourier_series

_ADAM = partial(Adam, lr=5e-3, betas=(0.99, 0.999), eps=1e-20)
_NEVER = 10**6  # steps: the clock ends it
_FLAT, _DEEP = partial(MLP, width=20, depth=2), partial(MLP, width=20, depth=3)


def newton(
    network: NetworkFactory,
    points: int | Mapping[str, int] = 2000,
    *,
    adam: int = 60,
    sampler: Sampler = Sobol(every=10),  # noqa: B008 - a frozen value
    steps: int = _NEVER,
    harmonics: int = 1,
) -> Recipe:
    """A few steps of Adam, then Levenberg-Marquardt: small networks for one processor."""
    return replace(
        PRECISE,
        network=network,
        points=points,
        harmonics=harmonics,
        stages=(
            Stage(_ADAM, adam, Sobol(every=10)),
            Stage(partial(LevenbergMarquardt, iterations=2), steps, sampler),
        ),
    )


# Wave vectors for coordinates scaled to [-1, 1]: what the starts and the sources oscillate with.
_STRIPES = partial(Waves, vectors=((10 * math.pi,),), network=_FLAT)
_PERIODS = partial(Waves, vectors=((0.0, 0.0, 50 * math.pi),), network=_FLAT)
_DRIVEN = partial(
    Waves,
    vectors=((0.0, 2.5 * math.pi), (0.0, 0.0, 2.5 * math.pi)),
    network=_DEEP,
)
_CUBE = partial(
    Waves,
    vectors=((0.5 * math.pi,), (0.0, 5 * math.pi), (0.0, 0.0, 2.5 * math.pi)),
    network=_DEEP,
)
_PULSE = partial(
    Waves,
    vectors=((0.0, 0.0, 2.5 * math.pi), (0.0, 0.0, 7.5 * math.pi), (0.0, 0.0, 12.5 * math.pi)),
    network=_DEEP,
)
_FOLLOWING = RAD(every=10)

# Flow that ends in a thin layer behind the inlet misses continuity there alone, and p everywhere.
_CARRIED = replace(
    newton(_PULSE, {"equation": 1500, "outlet": 300}, sampler=_FOLLOWING), weights={"continuity": 30.0}
)

# Fluxes that balance whatever the network, no strong form; the boundary weighs its length over the area.
_IN_PATCHES = replace(
    newton(_FLAT, {"equation": 3000, "boundary": 400}),
    weights={"boundary": 0.2},
    loss=partial(Complementary, stream=kinked(_FLAT)),
)

# The flow drifts with (0.27, 1.08), and windows scale 0.0168 of time to 1.  What a window starts from weighs
# as much as what happens in it.  24^2 points tell 17^2 waves apart.
_DRIFTING = Recipe(
    network=partial(DriftingWaves, drift=(0.0045, 0.0182)),
    stages=(Stage(partial(LevenbergMarquardt, iterations=5, damping=1e-6), 1, Lattice()),),
    points={"equation": 4 * 24**2, "initial_u": 24**2, "initial_v": 24**2},
    weights={"initial_u": 1000.0, "initial_v": 1000.0},
    harmonics=8,
    dtype=torch.float32,
)

# All waves that matter, with sizes that change in time: in each short window nearly a linear problem.  A wave
# that is left out is missed in the residual by its damping, 0.0015 k^4 times its size.
_CHAOS = replace(
    PRECISE,
    network=partial(Modes, given=160, network=partial(MLP, width=5, depth=1)),
    stages=(Stage(partial(LevenbergMarquardt, iterations=8, damping=1e-3), 1, Sobol()),),
    points=1500,
    harmonics=80,
    fit=at_rest,
)


def in_modes(network: NetworkFactory, times: int, weights: Mapping[str, float], **setting: Any) -> Recipe:
    """For windows of time: the equation tested with modes, whose sizes take few steps to find."""
    optimizer = partial(LevenbergMarquardt, iterations=3, damping=1e-8, tolerance=1e-6)
    return replace(
        PRECISE,
        network=network,
        points={"equation": times} | dict.fromkeys(weights, 1),
        weights=weights,
        hard=False,
        loss=partial(Galerkin, **setting),
        fit=start_modes,
        stages=(Stage(optimizer, 3, Sobol(every=_NEVER)),),
    )


# Even about x = 1/8, odd about x = 0 and 1/4, as its start and its source are.  In a window sizes are linear
# in t and four waves.
_LAYERED = partial(
    Modes,
    sines=(range(4, 40, 8), range(1, 27)),
    network=partial(Waves, vectors=((1.0,), (2.0,)), network=Linear),
)
_STANDING = partial(
    Modes, cosines=(range(14), range(14)), network=partial(SIREN, width=14, depth=1, frequency=6.0)
)

_RECIPES: dict[str, Recipe] = {
    "Burgers1d-C": SHARP,
    "Burgers2d-C": _DRIFTING,
    "Poisson2d-C": SMALL,
    "Poisson2d-CG": newton(_DEEP, 3000, sampler=_FOLLOWING),
    "Poisson3d-CG": newton(_CUBE, {"equation": 2500, "boundary": 1000}),
    "Poisson2d-MS": _IN_PATCHES,
    "Heat2d-VC": newton(_DRIVEN, 3000),
    "Heat2d-MS": newton(_STRIPES),
    "Heat2d-CG": newton(
        partial(MLP, width=25, depth=3), {"equation": 2500, "large": 800, "small": 200, "sides": 200}
    ),
    "Heat2d-LT": in_modes(_LAYERED, 12, {"initial": 1e4}, nodes=(12, 60), cell=((0.0, 0.125), (0.0, 1.0))),
    "NS2d-C": SMALL,
    "NS2d-CG": newton(partial(MLP, width=25, depth=3), 1500, adam=200),
    "NS2d-LT": _CARRIED,
    "Wave1d-C": PRECISE,
    "Wave2d-CG": in_modes(_STANDING, 40, {"initial": 1e4, "rate": 1e2}),
    "Wave2d-MS": newton(_PERIODS),
    "GS": newton(partial(MLP, width=24, depth=3), 1500, sampler=RAD(every=4, pool=8), steps=25, harmonics=4),
    "KS": _CHAOS,
    "PNd": newton(_FLAT, {"equation": 1500, "boundary": 1500}),
    "HNd": newton(_FLAT),
}
SOLVED = {name: (STUDY[name], recipe) for name, recipe in _RECIPES.items()}
"""Problems of the study, and how each is solved here."""

# Short where its source changes sign and what is left of u grows, or falls, at once.
_QUICK = "0.2 0.35 0.5 0.6 0.7 0.8 0.9 1 1.2 1.4 1.65 2 2.6 3.6 4.5 4.75 4.95 5.15 5.4 5.7 6.1 6.6 7.3 8"
_SWINGS = [8 * k + t for k in range(13) for t in map(float, _QUICK.split()) if 8 * k + t < 100]

WINDOWS: dict[str, int | Sequence[float]] = {
    "Burgers2d-C": 30,
    "Heat2d-LT": _SWINGS,
    "Wave2d-CG": 10,
    "GS": 10,
    "KS": 100,
}
"""Of time, one network after the other; their steps and not the clock end these."""

SETTLED = {"KS": fourier_series}
"""What windows start from, where not from all networks before."""

WARM = {"Burgers2d-C"}
"""Windows of which each network starts from the weights of the one before."""

EASED: dict[str, Problem] = {"Burgers2d-C": problems.BurgersInPlane(viscosity=0.004)}
"""What the loss is of, where not of the problem: fronts four times as wide need a quarter of the waves.  The
error is that of the problem, and has the difference in it."""


def run(folder: Path, names: list[str], minutes: float) -> None:
    """Rows that are not there yet."""
    for name in names or list(SOLVED):
        if any(row["name"] == name and row["minutes"] >= minutes for row in rows_of(folder)):
            continue
        problem, recipe = SOLVED[name]
        problem.reference()  # which is no part of the training
        if (eased := EASED.get(name)) is not None:
            eased.reference()
        entry = Entry(
            problem,
            recipe,
            60 * minutes,
            PUBLISHED[name].error,
            windows=WINDOWS.get(name, 1),
            settle=SETTLED.get(name),
            warm=name in WARM,
            eased=eased,
        )
        row = {"name": name, "minutes": minutes} | solved(entry, 0, folder / "runs" / name)
        Rows(folder).append(row)
        told = "" if row["lost_in_window"] is None else f", lost in window {row['lost_in_window']}"
        print(f"{name}: {row['relative_l2']:.2e} after {row['seconds']:.0f} s{told}", flush=True)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Those that are there."""
    return Rows(folder).read()


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of Markdown, one for each problem of the study: its last row."""
    latest = {row["name"]: row for row in rows}
    lines = [
        "| Problem | published | by | ours | error of the reference | seconds | below it after | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, published in PUBLISHED.items():
        told = f"| {name} | {published.error:.2e} | {published.method} |"
        if (row := latest.get(name)) is None:
            lines.append(f"{told} | | | | not run |")
            continue
        better = row["relative_l2"] < published.error
        soon = "-" if (s := row["seconds_to_bar"]) is None else f"{s:.0f} s"
        ratio = published.error / row["relative_l2"]
        verdict = f"{ratio:.3g} times better" if better else f"{1 / ratio:.3g} times worse"
        if row.get("lost_in_window"):
            verdict += f", lost in window {row['lost_in_window']}"
        ours = f"{row['relative_l2']:.2e} | {row['reference_error']:.0e} | {row['seconds']:.0f}"
        lines.append(f"{told} {ours} | {soon} | {verdict} |")
    better = sum(name in latest and latest[name]["relative_l2"] < p.error for name, p in PUBLISHED.items())
    return [*lines, "", f"Better than published on {better} of {len(PUBLISHED)}."]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("action", choices=["run", "table"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SOLVED))
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, for each problem")
    given = parser.parse_args()
    if unknown := sorted(set(given.names) - set(SOLVED)):
        parser.error(f"no {', '.join(unknown)}; there is {', '.join(SOLVED)}")
    if given.action == "table":
        print("\n".join(table(rows_of(given.folder))))
    else:
        run(given.folder, given.names, given.minutes)
