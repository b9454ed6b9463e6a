"""A basket option in many dimensions: a network beside Monte Carlo at random markets, Greeks included.

    python tools/basket_gate.py OUTPUT [--dim 100] [--seconds 500] [--seed 0] [--markets 50] [--accuracy 5e-4]
                                       [--paths 200000] [--recipe NAME]

Trains in the folder OUTPUT/run for so many seconds of training over all resumptions, then writes and prints
OUTPUT/gate.json: for the network and for its lift (the sum taken as lognormal) the largest differences of
prices and Greeks from Monte Carlo, its standard errors, and the seconds of each.  An interrupted training
goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sciml.files import write_json_atomic
from sciml.pinns.problems import Basket
from sciml.pinns.problems.greeks import Greeks, greeks, greeks_by_paths
from sciml.pinns.recipes import RECIPES, suited
from sciml.pinns.solving import Attempt

GREEKS = ("delta", "gamma", "vega")


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference over the markets, relative to the length of what is wanted."""
    difference, size = (v.detach().reshape(len(v), -1).norm(dim=1) for v in (found - wanted, wanted))
    return float((difference / size).max())


def of_greeks(found: Greeks, wanted: Greeks) -> dict[str, float]:
    """`apart` for each of them."""
    return {name: apart(getattr(found, name), getattr(wanted, name)) for name in GREEKS}


def main(arguments: argparse.Namespace) -> dict[str, Any]:
    """The row that is written."""
    problem = Basket(dim=arguments.dim)
    recipe = RECIPES[arguments.recipe] if arguments.recipe else suited(problem)
    attempt = Attempt(problem, recipe, seed=arguments.seed)
    for _ in attempt.steps(time_limit=arguments.seconds, output=arguments.output / "run"):
        pass
    generator = torch.Generator().manual_seed(arguments.seed + 1)
    x = problem.domain.interior(
        lambda n, k: torch.rand(n, k, generator=generator, dtype=torch.float64), arguments.markets
    )
    x[:, -1] = problem.end
    known = problem.expected(x, accuracy=arguments.accuracy, seed=arguments.seed)
    started = time.perf_counter()
    paths, error = greeks_by_paths(problem, x, paths=arguments.paths, control=problem.geometric)
    row: dict[str, Any] = {
        "dim": arguments.dim,
        "seed": arguments.seed,
        "trained": {key: attempt.run.history[-1][key] for key in ("step", "seconds")},
        "seconds of Monte Carlo": known.seconds,
        "seconds of its Greeks": time.perf_counter() - started,
        "paths": known.paths,
        "standard error": float((known.standard_error / known.values).max()),
        "standard error of Greeks": {
            name: apart(getattr(paths, name) + getattr(error, name), getattr(paths, name)) for name in GREEKS
        },
    }
    for name, u in (("network", attempt.model), ("lognormal sum", problem.matched)):
        with torch.no_grad():
            values = u(x)
        within = known.contains(values, tolerance=0.003)
        row[name] = {
            "price": apart(values, known.values),
            "price beside the quadrature": apart(values, problem.by_factor(x)),
            "markets within 0.3 % and three standard errors": int(within.sum()),
            **of_greeks(greeks(problem, u, x), paths),
        }
    write_json_atomic(arguments.output / "gate.json", row)
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=500.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markets", type=int, default=50)
    parser.add_argument("--accuracy", type=float, default=5e-4)
    parser.add_argument("--paths", type=int, default=200_000)
    parser.add_argument("--recipe", choices=sorted(RECIPES))
    print(json.dumps(main(parser.parse_args()), indent=2))
