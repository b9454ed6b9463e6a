"""Matrix products against FFTs: what a rule that picks the back-end of a transform is fitted to."""

from __future__ import annotations

from math import log2, prod

import torch
from torch import Tensor

from sciml.kernels.bench.harness import Contestant, Effort, Prepared, measure
from sciml.kernels.bench.report import Case, Table
from sciml.kernels.fourier import Line
from sciml.kernels.spectral import frequency_range
from sciml.kernels.transform import Transform, to_grid, to_modes

BACKENDS = ("products", "fft")
SIZES = {
    1: (16, 32, 64, 85, 128, 141, 211, 256, 421, 512),
    2: (16, 32, 64, 85, 128, 141, 211, 256, 421, 512),
    3: (16, 32, 64),
}
CHANNELS = 16  # of each sample, or fewer
FIELDS = 4  # samples times channels, at least
POINTS = 2**19  # of all fields together, about

CAPTION = (
    "A transform to the kept modes and back, forward and backward. Multiply-adds: of the matrix products "
    "as they are done; of the FFT the usual count 5/2 N log2 N operations of a real transform, halved."
)


def crossover(effort: Effort) -> Table:
    """Both back-ends over sizes, modes and ranks."""
    cases = []
    for rank, sizes in SIZES.items():
        for n in sizes[:1] if effort.quick else sizes:
            for modes in mode_counts(n)[: 1 if effort.quick else None]:
                cases.append(_case(rank, n, modes, effort))
    return Table("crossover", CAPTION, cases)


def mode_counts(n: int) -> list[int]:
    """4, 6, 8, 12, 16 ... up to Nyquist, which is always among them."""
    most = n // 2
    steps = sorted({*(2**e for e in range(2, 10)), *(3 * 2**e for e in range(1, 9))})
    return [*(m for m in steps if m < most), most]


def transforms(rank: int, n: int, modes: int) -> tuple[Transform, Transform]:
    """Analysis and synthesis of a cube of n points per axis."""
    ranges = [frequency_range(modes, n, n, half=axis == rank - 1) for axis in range(rank)]
    analysis = tuple(Line(n, *r, half=axis == rank - 1) for axis, r in enumerate(ranges))
    synthesis = tuple(Line(n, *r, half=axis == rank - 1, source=n) for axis, r in enumerate(ranges))
    axes = tuple(range(rank))
    return Transform((n,) * rank, axes, analysis), Transform((n,) * rank, axes, synthesis)


def multiply_adds(transform: Transform, backend: str) -> float:
    """Of one transform of one field in one direction."""
    points = prod(transform.shape)
    if backend == "fft":
        return 1.25 * points * log2(points)
    *full, half = transform.lines
    total, columns = 0.0, points // half.size
    total += columns * half.size * 2 * half.count
    columns *= 2 * half.count
    for line in reversed(full):
        columns //= line.size
        total += columns * line.size * 2 * (line.highest + 1)
        columns *= line.count
    return total


def _case(rank: int, n: int, modes: int, effort: Effort) -> Case:
    points = 0 if effort.quick else POINTS
    fields = max(FIELDS, points // n**rank)
    channels = min(fields, CHANNELS)
    batch = fields // channels
    analysis, synthesis = transforms(rank, n, modes)
    torch.manual_seed(0)
    x = torch.randn(batch, channels, *(n,) * rank).to(effort.device).requires_grad_()
    gradient = torch.ones_like(x)

    def contestant(backend: str) -> Contestant:
        def there_and_back() -> Tensor:
            return to_grid(to_modes(x, analysis, backend), synthesis, backend)

        def run() -> tuple[Tensor, ...]:
            return torch.autograd.grad(there_and_back(), (x,), gradient)

        work = (
            4.0 * batch * channels * multiply_adds(analysis, backend)
        )  # two directions, each with its transpose
        return Contestant(
            backend,
            lambda: Prepared(run, lambda: (there_and_back(),), figures={"multiply-adds": work}),
        )

    results, skipped = measure([contestant(backend) for backend in BACKENDS], effort)
    return Case(
        {"rank": rank, "n": n, "modes": modes, "batch": batch, "channels": channels}, results, skipped
    )
