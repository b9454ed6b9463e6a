"""Training speed of every operator: ``python -P -m sciml.operators.bench``.

One training step (the batch from memory, forward, relative L2 loss, backward, AdamW) of each class in
`sciml.operators.__all__`, with the arguments with which ``sciml train`` starts: operators that need a grid on
Darcy flow, those that work on points on the Poisson problem with holes.  `PRODUCTS` are what counts as
products: matrix products, convolutions and attention, each with its backward pass; Fourier transforms do not.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import sciml.operators
from sciml.calling import parameter_count
from sciml.files import write_bytes_atomic
from sciml.kernels.bench.harness import find, interleave, muted_stderr, quartiles, seconds_on_cpu
from sciml.kernels.bench.machine import context
from sciml.operators.making import make_model, symmetrized
from sciml.operators.properties import Properties
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.trainer import Trainer

if TYPE_CHECKING:
    from sciml.dataset import Dataset

PRODUCTS = tuple(
    f"aten::{name}"
    for name in (
        *("mm", "bmm", "mv", "dot", "addmm", "addmm_", "_addmm_activation", "baddbmm", "baddbmm_", "addbmm"),
        *("addmv", "addmv_", "mkldnn_linear", "_convolution", "convolution_backward", "mkldnn_convolution"),
        *("_slow_conv2d_forward", "_slow_conv2d_backward", "slow_conv3d_forward", "_conv_depthwise2d"),
        *("slow_conv_dilated2d", "slow_conv_dilated3d", "slow_conv_transpose2d", "slow_conv_transpose3d"),
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention_for_cpu_backward",
    )
)
BETWEEN = "between operations"  # Python, and the profiler itself
PROFILED = 3  # steps
SHOWN = 8  # operations that the JSON names beside the products

COLUMNS = "| operator | points | parameters | ms per step (quartiles) | points per second | products | next |"


@dataclass(frozen=True)
class Speed:
    """Of one operator.

    Attributes
    ----------
    operator : str
    points : int
        Of one batch, without padding.
    parameters : int
    step_seconds : (float, float, float)
        Of a step: lower quartile, median, upper quartile over the rounds.
    products : float
        The share of the time of profiled steps inside `PRODUCTS`.
    others : dict
        Other operations that take most, with their shares.
    """

    operator: str
    points: int
    parameters: int
    step_seconds: tuple[float, float, float]
    products: float
    others: dict[str, float]

    @property
    def points_per_second(self) -> float:
        """Points of the batch by the median of the seconds of a step."""
        return self.points / self.step_seconds[1]


@dataclass(frozen=True)
class Lane:
    """A training whose steps are taken one by one."""

    operator: str
    points: int
    parameters: int
    step: Callable[[], object]


def lane(name: str, data: Dataset, inputs: Sequence[str], batch: int) -> Lane:
    """The training of the operator of this name on all of ``data``, which is one batch."""
    objective = Supervised(data.train, inputs, ["u"], batch_size=batch)
    with Streams(0).of("init").applied():
        model = _model(name, data, objective.encoder.channels)
    optimizer = partial(torch.optim.AdamW, lr=1e-3, weight_decay=1e-4, fused=True)  # as `sciml train`
    steps = iter(Trainer(steps=10**6, optimizer=optimizer).iterate(model, objective))
    if data.kind == "grid":
        count = batch * prod(data.grid.shape)
    else:
        count = sum(len(places) for places in data.places(range(batch), "u"))
    return Lane(name, count, parameter_count(model), partial(next, steps))


def _model(name: str, data: Dataset, in_channels: int) -> nn.Module:
    """As ``sciml train`` makes it; a group average is that of the FNO over the symmetries of a square."""
    averaged = name == "Symmetrized"
    factory = getattr(sciml.operators, "FNO" if averaged else name)
    model = make_model(name, factory, {}, in_channels=in_channels, out_channels=1, data=data)
    return symmetrized(model, "full", data) if averaged else model


def lanes(names: Sequence[str], folder: Path, *, batch: int, quick: bool) -> Iterator[Lane]:
    """Every operator on its data, which are made in ``folder``."""
    darcy, holes = find("sciml.datasets:Darcy", ""), find("sciml.datasets:PoissonWithHoles", "")
    counts = {"train": batch, "valid": 0, "test": 0, "workers": 1}
    grid = darcy(resolution=16 if quick else 64).make(folder / "grid.h5", **counts)
    mesh = holes(resolution=8 if quick else 28).make(folder / "mesh.h5", **counts)
    for name in names:
        promised: Properties = getattr(sciml.operators, name).properties
        on = (grid, ["a"]) if promised.needs_grid else (mesh, ["a", "f", "level", "flux"])
        yield lane(name, *on, batch)


def run(names: Sequence[str], *, batch: int = 8, rounds: int = 9, quick: bool = False) -> list[Speed]:
    """Time all operators in turns, then profile each."""
    with tempfile.TemporaryDirectory() as folder:
        entered = list(lanes(names, Path(folder), batch=batch, quick=quick))
        seconds = interleave(
            [one.step for one in entered],
            rounds=rounds,
            warmup=1 if quick else 3,
            stopwatch=seconds_on_cpu,
        )
        found = []
        for one, of_one in zip(entered, seconds, strict=True):
            products, others = shares(one.step)
            found.append(Speed(one.operator, one.points, one.parameters, quartiles(of_one), products, others))
    return found


def shares(step: Callable[[], object]) -> tuple[float, dict[str, float]]:
    """Of the seconds of some steps under the profiler: those inside `PRODUCTS`, and what takes most besides.

    An operation counts without those that it calls.
    """
    with (
        muted_stderr(),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler,
    ):
        started = perf_counter()
        for _ in range(PROFILED):
            step()
        spent = perf_counter() - started
    own = {event.key: event.self_cpu_time_total * 1e-6 / spent for event in profiler.key_averages()}
    # The optimizer calls the objective: what this event has for itself is Python.
    own = {name: share for name, share in own.items() if not name.startswith("Optimizer.step#")}
    products = sum(own.pop(name, 0.0) for name in PRODUCTS)
    own[BETWEEN] = 1.0 - products - sum(own.values())
    others = sorted(own.items(), key=lambda item: -item[1])[:SHOWN]
    return products, {name: round(share, 4) for name, share in others}


# Command line.


def parser() -> argparse.ArgumentParser:
    """Its options."""
    root = argparse.ArgumentParser(prog="python -P -m sciml.operators.bench", description=__doc__)
    known = list(sciml.operators.__all__)
    root.add_argument("--only", action="append", choices=known, help="one operator, may be repeated")
    root.add_argument("--rounds", type=int, default=9, help="timed steps of each, 9 by default")
    root.add_argument("--batch", type=int, default=8, help="samples per step, 8 by default")
    root.add_argument("--threads", type=int, help="threads of torch")
    root.add_argument("--quick", action="store_true", help="tiny data, to see that everything runs")
    root.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    root.add_argument("--output", type=Path, help="a folder for speed.json and speed.md")
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write what is asked for."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    if options.threads is not None:
        torch.set_num_threads(max(1, options.threads))
    names = options.only or list(sciml.operators.__all__)
    found = run(names, batch=max(1, options.batch), rounds=max(1, options.rounds), quick=options.quick)
    command = f"{parser().prog} {' '.join(given)}".strip()
    report = as_json(found, command=command)
    table = markdown(found, report)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(options.output / "speed.json", (json.dumps(report, indent=1) + "\n").encode())
        write_bytes_atomic(options.output / "speed.md", table.encode())
    print(json.dumps(report) if options.json else table, end="\n" if options.json else "")
    return 0


def as_json(found: Sequence[Speed], *, command: str) -> dict[str, Any]:
    """All that was measured, and on what."""
    speeds = [{**dataclasses.asdict(s), "points_per_second": s.points_per_second} for s in found]
    about = context(torch.device("cpu"))
    return {"command": command, "context": about, "products": list(PRODUCTS), "operators": speeds}


def markdown(found: Sequence[Speed], report: dict[str, Any]) -> str:
    """A table, the fastest first, under the command and the machine."""
    machine = ", ".join(f"{name} {value}" for name, value in report["context"].items())
    lines = [f"`{report['command']}`", "", machine, "", COLUMNS, "|---" * COLUMNS.count(" | ") + "|---|"]
    for speed in sorted(found, key=lambda speed: -speed.points_per_second):
        low, middle, high = (1e3 * seconds for seconds in speed.step_seconds)
        other, share = next(iter(speed.others.items()), ("", 0.0))
        cells = [
            speed.operator,
            f"{speed.points:,}",
            f"{speed.parameters:,}",
            f"{middle:.3g} ({low:.3g}-{high:.3g})",
            f"{speed.points_per_second:,.3g}" if speed.points_per_second < 1e3 else _thousands(speed),
            f"{speed.products:.0%}",
            f"`{other}` {share:.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _thousands(speed: Speed) -> str:
    """To three digits."""
    return f"{float(f'{speed.points_per_second:.3g}'):,.0f}"


if __name__ == "__main__":
    sys.exit(main())
