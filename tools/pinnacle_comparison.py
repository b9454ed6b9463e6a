"""PINNACLE beside R3, RAD and uniform points, at equal time of the processor, where its authors measure it.

    python tools/pinnacle_comparison.py run FOLDER [NAME ...]    rows that are not yet in FOLDER/rows.jsonl
    python tools/pinnacle_comparison.py table FOLDER             the tables

A plain recipe, Adam with conditions in the loss, on few points, for which equation and conditions compete:
PINNACLE shares them out, all others keep four fifths for the equation.  RAD and ``uniform`` choose when it
does; R3, as its authors have it, at every step, and so does ``fresh``, which draws uniform points.  All
choose points of conditions as they choose those of the equation.  One problem is solved (``forward``); of
one, constants are unknown, and few measurements are allowed, of which PINNACLE chooses its own out of many,
while all others have as many drawn uniformly (``inverse``); on one all go on from the same weights, which
solve an easier problem (``transfer``).

A row is one training with one seed, of weights, points and measurements alike.  It ends after seconds of the
processor that count all that the way does, choosing points too, so that other work beside it takes nothing
away; give one thread by OMP_NUM_THREADS.  A row that is there is not run again; one that was cut off starts
anew.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import ExponentialLR
from trainings import ENDLESS, error_of, for_seconds, machine, main

from sciml.comparison.rows import Rows
from sciml.pinns import Attempt, Recipe, Residual, Stage
from sciml.pinns.networks import MLP
from sciml.pinns.problem import Problem
from sciml.pinns.problems import Burgers, inverse
from sciml.pinns.samplers import PINNACLE, R3, RAD, Sampler, Site, Uniform
from sciml.pinns.samplers.sampler import State
from sciml.pinns.unknowns import errors_of
from sciml.streams import Stream

SEEDS = 3
EVERY = 1000  # steps between choices
_CHOOSING = PINNACLE(every=EVERY, candidates=4, reference=100, sketch=1024)
CHOOSER = "PINNACLE"
WAYS: dict[str, Sampler] = {
    CHOOSER: _CHOOSING,
    "R3": R3(),
    "RAD": RAD(every=EVERY),
    "uniform": Uniform(every=EVERY),
    "fresh": Uniform(),
}


@dataclass(frozen=True)
class Trial:
    """A problem for each seed, and how long it is trained.

    Parameters
    ----------
    problem : callable
        Seed to problem; of one with measurements those that all but PINNACLE have.
    points : mapping
        From sites to points, for all but PINNACLE, which shares out their sum.
    seconds : float
        Of the processor.
    pool : callable, optional
        Seed to the problem with all measurements that PINNACLE may choose from.
    experiments : mapping
        From sets of them to how many it may choose, and how many at once.
    easier : Problem, optional
        From whose weights all go on.  They are trained on ten times as many fresh points,
    before : float
        for so many seconds.
    """

    problem: Callable[[int], Problem]
    points: Mapping[str, int]
    seconds: float = 45.0
    pool: Callable[[int], Problem] | None = None
    experiments: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    easier: Problem | None = None
    before: float = 45.0

    def of(self, way: str, seed: int) -> tuple[Problem, Sampler]:
        """What is solved, and on which points."""
        if way != CHOOSER:
            return self.problem(seed), WAYS[way]
        chosen = replace(_CHOOSING, experiments=dict(self.experiments))
        return (self.pool or self.problem)(seed), chosen


_SITES = ("wall_a", "wall_b", "start_a", "start_b")
TRIALS: dict[str, Trial] = {
    "forward": Trial(lambda seed: Burgers(), {"equation": 240, "boundary": 30, "initial": 30}),
    "inverse": Trial(
        lambda seed: inverse.ReactionConstants(measurements=15, seed=seed),
        {"equation": 240, **dict.fromkeys(_SITES, 15)},
        pool=lambda seed: inverse.ReactionConstants(measurements=500, seed=seed),
        experiments=dict.fromkeys(("data_a", "data_b"), (15, 5)),
    ),
    "transfer": Trial(
        lambda seed: Burgers(viscosity=0.04 / math.pi),
        {"equation": 160, "boundary": 20, "initial": 20},
        seconds=25.0,
        easier=Burgers(viscosity=0.16 / math.pi),
    ),
}


@dataclass
class Timed(Sampler):
    """A sampler, and the seconds of the processor that its choices took."""

    inner: Sampler
    seconds: float = 0.0

    def draw_all(
        self,
        states: Mapping[str, State],
        sites: Mapping[str, Site],
        step: int,
        stream: Callable[[str], Stream],
    ) -> dict[str, State]:
        begin = time.process_time()
        found = self.inner.draw_all(states, sites, step, stream)
        self.seconds += time.process_time() - begin
        return found

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        return self.inner.redraw(state, site, step, stream)


def recipe(sampler: Sampler, points: Mapping[str, int]) -> Recipe:
    """The plain one, on these points."""
    decay = partial(ExponentialLR, gamma=0.9 ** (1 / 2000))
    return Recipe(
        network=partial(MLP, width=32, depth=4),
        stages=(Stage(partial(Adam, lr=1e-3), ENDLESS, sampler, decay),),
        points=points,
        hard=False,
        dtype=torch.float32,
    )


def trained(
    problem: Problem,
    recipe: Recipe,
    seconds: float,
    seed: int,
    *,
    start: Mapping[str, Tensor] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """A training of so many seconds of the processor, and what a row says of it."""
    attempt = Attempt(problem, recipe, seed=seed)
    if start is not None:
        attempt.model.load_state_dict(start)
    spent, diverged = for_seconds(attempt, seconds)
    model, objective = attempt.run.model, attempt.objective
    assert isinstance(objective, Residual)
    errors = {"relative_l2": problem.relative_l2(model)}
    errors |= errors_of(objective.coefficients, problem.truth, problem.domain)
    return model, {
        "problem": type(problem).__name__,
        "fingerprint": problem.fingerprint(),
        "errors": dict.fromkeys(errors, math.inf) if diverged else errors,
        "seconds": spent,
        "steps": len(attempt.run.history),
        "points": {name: len(site["rows"]) for name, site in objective.state_dict()["points"].items()},
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def started(trial: Trial, seed: int, file: Path) -> Mapping[str, Tensor] | None:
    """The weights that all ways go on from, made once."""
    if trial.easier is None:
        return None
    if not file.exists():
        plan = recipe(Uniform(), {name: 10 * count for name, count in trial.points.items()})
        model, told = trained(trial.easier, plan, trial.before, seed)
        print(f"weights to go on from, seed {seed}: {told['errors']} on {told['problem']}", flush=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(model.state_dict(), file)
    return load_file(file)


def solved(name: str, way: str, seed: int, folder: Path) -> dict[str, Any]:
    """One row."""
    trial = TRIALS[name]
    start = started(trial, seed, folder / "starts" / f"{name}-{seed}.safetensors")
    problem, sampler = trial.of(way, seed)
    timed = Timed(sampler)
    told = trained(problem, recipe(timed, trial.points), trial.seconds, seed, start=start)[1]
    return {
        "name": name,
        "way": way,
        "seed": seed,
        **told,
        "choosing": timed.seconds,
        **machine(),
    }


def run(rows: Rows, names: list[str]) -> None:
    """Those that are not there yet."""
    for seed, name, way in product(range(SEEDS), names or TRIALS, WAYS):
        if not rows.having({"name": name, "way": way, "seed": seed}):
            row = solved(name, way, seed, rows.path.parent)
            rows.append(row)
            print(f"{name}, {way}, seed {seed}: {row['errors']}", flush=True)


def tables(rows: list[dict[str, Any]]) -> list[str]:
    """Errors, then costs."""
    return [*table(rows), "", *costs(rows)]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """One line for each error: of all ways and seeds, and beside which of them PINNACLE has a smaller one."""
    lines = [
        f"| | error | {' | '.join(WAYS)} | {CHOOSER} is better than |",
        "|---" * (len(WAYS) + 3) + "|",
    ]
    for name in TRIALS:
        own = [row for row in rows if row["name"] == name]
        for error in own[0]["errors"] if own else ():
            found = {
                way: {row["seed"]: error_of(row["errors"][error]) for row in own if row["way"] == way}
                for way in WAYS
            }
            shown = [
                ", ".join(f"{by_seed[seed]:.2g}" for seed in sorted(by_seed)) for by_seed in found.values()
            ]
            won = ", ".join(wins(found[CHOOSER], found[way], way) for way in WAYS if way != CHOOSER)
            lines.append(f"| {name} | {error} | {' | '.join(shown)} | {won} |")
    return lines


def wins(one: Mapping[int, float], other: Mapping[int, float], way: str) -> str:
    """On how many of the seeds that both have the first error is smaller."""
    seeds = one.keys() & other.keys()
    return f"{way} {sum(one[seed] < other[seed] for seed in seeds)}/{len(seeds)}"


def costs(rows: list[dict[str, Any]]) -> list[str]:
    """One line for each way, means over seeds: seconds, the share of choosing, steps, points of each kind."""
    lines = ["| | way | seconds | choosing | steps | points in the end |", "|---|---|---|---|---|---|"]
    for name, way in product(TRIALS, WAYS):
        own = [row for row in rows if (row["name"], row["way"]) == (name, way)]
        if not own:
            continue
        points = ", ".join(
            f"{site} {mean([row['points'][site] for row in own]):.0f}" for site in own[0]["points"]
        )
        share = mean([row["choosing"] / row["seconds"] for row in own])
        seconds, steps = (mean([row[key] for row in own]) for key in ("seconds", "steps"))
        lines.append(f"| {name} | {way} | {seconds:.0f} | {share:.0%} | {steps:,.0f} | {points} |")
    return lines


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main(__doc__, TRIALS, run, tables)
