"""Command line of the benches."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from sciml.kernels.bench import jets, spectral
from sciml.kernels.bench.harness import Effort
from sciml.kernels.bench.machine import context
from sciml.kernels.bench.report import Table, as_json, markdown


@dataclass(frozen=True)
class Bench:
    """A subject: what it measures, its parts, and those that run without `--only`."""

    summary: str
    parts: Mapping[str, Callable[[Effort], Table]]
    default: Sequence[str]


BENCHES = {
    "spectral": Bench("spectral layers and training steps of FNOs", spectral.PARTS, spectral.DEFAULT),
    "jets": Bench("differential operators of networks, and very many variables", jets.PARTS, jets.DEFAULT),
}


def parser() -> argparse.ArgumentParser:
    """Arguments of every bench."""
    root = argparse.ArgumentParser(prog="python -P -m sciml.kernels.bench", description=__doc__)
    subjects = root.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    for name, bench in BENCHES.items():
        sub = subjects.add_parser(
            name, help=bench.summary, epilog=f"example: {root.prog} {name} --device cuda --json > {name}.json"
        )
        sub.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:1")
        sub.add_argument("--rounds", type=_positive, help="timed samples of each contestant, 9 by default")
        sub.add_argument("--threads", type=_positive, help="threads of torch on the CPU")
        sub.add_argument(
            "--only",
            action="append",
            choices=list(bench.parts),
            help=f"one part, may be repeated; without it {', '.join(bench.default)}",
        )
        sub.add_argument("--quick", action="store_true", help="tiny cases, to see that everything runs")
        sub.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a bench and print what it found."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    device = torch.device(options.device)
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        print(
            f"bench: --device must be cpu, or cuda where torch sees one, got {options.device}.",
            file=sys.stderr,
        )
        return 2
    if device.type == "cuda":
        torch.cuda.set_device(device)  # events and memory statistics follow the current device
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    bench = BENCHES[options.subject]
    effort = Effort(
        device,
        rounds=options.rounds or (2 if options.quick else 9),
        warmup=1 if options.quick else 3,
        quick=options.quick,
    )
    tables = [bench.parts[name](effort) for name in options.only or bench.default]
    about = context(device)
    command = f"{parser().prog} {' '.join(given)}"
    if options.json:
        report = {"bench": options.subject, "command": command, "context": about}
        print(json.dumps({**report, "tables": [as_json(table) for table in tables]}))
        return 0
    print(f"`{command}`\n\n{', '.join(f'{name} {value}' for name, value in about.items())}\n")
    for table in tables:
        print(markdown(table))
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
