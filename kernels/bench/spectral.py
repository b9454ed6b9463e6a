"""The spectral layer and the operators built on it, beside plain ``torch.fft`` and neuraloperator."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from sciml.kernels.bench.crossover import crossover
from sciml.kernels.bench.harness import Contestant, Effort, Missing, find, measure
from sciml.kernels.bench.layers import Size, layer_contestants
from sciml.kernels.bench.machine import copy_bandwidth
from sciml.kernels.bench.networks import OURS, OURS_HINT, step_contestants
from sciml.kernels.bench.report import Case, Table

# Batches that keep about as many points in every case, so that none decides how long the bench takes.
POINTS = 65_536
SIDES = (64, 85, 128, 141, 211, 256, 421)
LAYERS_ON_CPU = [
    Size((n, n), modes, width, max(1, round(POINTS / n**2)))
    for modes, width in ((12, 32), (16, 64))
    for n in SIDES
]
LAYERS_ON_CUDA = [
    Size((64, 64), 12, 32, 16),
    Size((128, 128), 16, 64, 16),
    Size((256, 256), 16, 64, 16),
    Size((256, 256), 32, 64, 16),
    Size((421, 421), 16, 64, 8),
    Size((64, 64, 64), 8, 32, 8),
]
STEPS = [
    Size((64, 64), 12, 32, 16),
    Size((85, 85), 12, 32, 16),
    Size((128, 128), 16, 32, 4),
    Size((32, 32, 32), 8, 20, 2),
]
STEPS_ON_CUDA = [*STEPS, Size((256, 256), 16, 64, 16), Size((256, 256), 32, 64, 16)]
SWEEP = [
    *(Size((1024,), m, 32, 16) for m in (16, 64, 128, 256, 512)),
    *(Size((64, 64), m, 32, 8) for m in (4, 8, 12, 16, 24, 32)),
    *(Size((85, 85), m, 32, 8) for m in (12, 24, 42)),
    *(Size((128, 128), m, 32, 4) for m in (16, 32, 48, 64)),
    *(Size((32, 32, 32), m, 20, 2) for m in (4, 8, 12, 16)),
]
TINY = [Size((8, 8), 2, 4, 2)]

ABOUT = (
    "Times are medians (quartiles) of one pass, all contestants in one process, in turns; the ratio is taken "
    "round by round. Peak MiB: the most that a pass holds beyond what is there before it. Difference: "
    "relative L2 distance of the result, and of the gradient of x, from ours at equal weights. "
    "neuraloperator keeps n_modes = 2m, one more column of frequencies than m; on odd sizes its "
    "version 2.0.0 writes each frequency to its lower neighbor: as much work, another function."
)


def layer(effort: Effort) -> Table:
    """Forward and backward of one spectral layer."""
    sizes = TINY if effort.quick else LAYERS_ON_CUDA if effort.device.type == "cuda" else LAYERS_ON_CPU
    bandwidth = copy_bandwidth(effort)
    cases = [
        _of_bandwidth(case, size, bandwidth)
        for size, case in zip(
            sizes, _cases(sizes, effort, lambda size: layer_contestants(size, effort.device)), strict=True
        )
    ]
    caption = (
        f"Forward and backward of one layer, to x and to the weight. {ABOUT} Of bandwidth: bytes that any "
        f"layer has to move, over its time, over the {bandwidth / 1e9:.0f} GB/s of a plain copy."
    )
    return Table("layer", caption, cases)


def step(effort: Effort) -> Table:
    """A training step of a whole Fourier neural operator."""
    caption = (
        "Forward, relative L2 loss, backward and AdamW (the fastest loop that takes the parameters) of an "
        f"FNO of depth 4. {ABOUT}"
    )
    try:
        find(OURS, OURS_HINT)
    except Missing as reason:
        return Table("step", caption, [], skipped=str(reason))
    sizes = TINY if effort.quick else STEPS_ON_CUDA if effort.device.type == "cuda" else STEPS
    return Table("step", caption, _cases(sizes, effort, lambda size: step_contestants(size, effort.device)))


def sweep(effort: Effort) -> Table:
    """The layer with more and more modes, up to Nyquist."""
    sizes = TINY if effort.quick else SWEEP
    cases = _cases(sizes, effort, lambda size: layer_contestants(size, effort.device, peers=False))
    return Table("sweep", f"One layer, from few modes to Nyquist. {ABOUT}", cases)


def _cases(
    sizes: Sequence[Size], effort: Effort, contestants: Callable[[Size], list[Contestant]]
) -> list[Case]:
    cases = []
    for size in sizes:
        print(
            "measuring",
            ", ".join(f"{name} {value}" for name, value in size.settings.items()),
            file=sys.stderr,
        )
        results, skipped = measure(contestants(size), effort)
        cases.append(Case(size.settings, results, skipped))
    return cases


def _of_bandwidth(case: Case, size: Size, bandwidth: float) -> Case:
    results = [
        replace(m, figures={**m.figures, "of bandwidth": size.floor_bytes / m.spread[1] / bandwidth})
        for m in case.results
    ]
    return replace(case, results=results)


PARTS = {"layer": layer, "step": step, "sweep": sweep, "crossover": crossover}
DEFAULT = ("layer", "step", "sweep")
