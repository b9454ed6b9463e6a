"""Command line of the bench of data generation."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from sciml.datasets.bench import darcy, navier_stokes
from sciml.datasets.bench.timing import Outcome, Race, run
from sciml.kernels.bench.machine import context

RACES: Mapping[str, Callable[[bool], Race]] = {
    "darcy": darcy.race,
    "darcy-default-order": partial(darcy.race, order="COLAMD"),
    "navier-stokes": navier_stokes.race,
}
"""By name; the argument asks for a tiny case, to see that everything runs."""


def parser() -> argparse.ArgumentParser:
    """Arguments of every case."""
    root = argparse.ArgumentParser(
        prog="python -P -m sciml.datasets.bench",
        description=__doc__,
        epilog="example: python -P -m sciml.datasets.bench navier-stokes --rounds 5",
    )
    root.add_argument("equation", choices=list(RACES))
    root.add_argument("--rounds", type=int, default=5, help="timed rounds of either side, 5 by default")
    root.add_argument("--quick", action="store_true", help="a tiny case, to see that everything runs")
    root.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a case and print what it found."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    race = RACES[options.equation](options.quick)
    outcome = run(race, rounds=max(1, options.rounds))
    about = {**context(torch.device("cpu")), "threads": "1"}
    command = f"{parser().prog} {' '.join(given)}"
    if options.json:
        print(json.dumps({"command": command, "context": about, **dataclasses.asdict(outcome)}))
    else:
        machine = ", ".join(f"{name} {value}" for name, value in about.items())
        print(f"`{command}`\n\n{machine}\n\n{race.caption}\n\n{table(options.equation, outcome)}")
    return 0


def table(name: str, outcome: Outcome) -> str:
    """One line of Markdown under its head."""
    head = "| equation | plain loop, ms per sample | ours, ms per sample | plain / ours | difference |"
    columns = [outcome.plain, outcome.ours, outcome.ratio]
    cells = [f"{middle:.3g} ({lower:.3g}-{upper:.3g})" for lower, middle, upper in columns]
    line = f"| {name} | {' | '.join(cells)} | {outcome.difference:.0e} |"
    return "\n".join([head, "|---|---|---|---|---|", line])


if __name__ == "__main__":
    sys.exit(main())
