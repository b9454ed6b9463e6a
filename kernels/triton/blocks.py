"""Sizes of blocks: the choices of which the first run on a device takes the fastest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton

from sciml.kernels.triton import analysis, mixing, synthesis

INTERPRETED: bool = triton.knobs.runtime.interpret

# Blocks of frequencies: a product needs 16, and fewer than 2 x 32 rows do not fill the widest instructions.
SMALLEST_HALF = 16
SMALLEST_FULL = 8 if INTERPRETED else 32
# The sums of one plane, 2 FULL x 2 HALF numbers, stay in registers; more than this and they spill over.
LARGEST_PLANE = 32 * 32

# Programs per multiprocessor: while some wait for memory, others compute.
PROGRAMS = 4
# Rows of a plane below which a further split costs more than it brings: each part reads the matrices again.
SHORTEST_CHUNK = 64
# Points, likewise, for the gradient of the skip path, whose parts write a matrix each.
SHORTEST_RUN = 4096


class Tuned:
    """A kernel with several choices of blocks, of which it keeps the one that was fastest.

    Parameters
    ----------
    kernel
        The compiled function.
    blocks : names, separated by spaces
        The arguments that are chosen.
    choices
        Their values, then warps and stages of the software pipeline. The interpreter takes `small` instead,
        so that small grids consist of several blocks.
    key : names
        The arguments on which the best choice depends: with new values the next run measures again.
    field : name
        The tensor whose dtype varies; the choice depends on it, too.
    """

    def __init__(
        self,
        kernel: Any,
        blocks: str,
        choices: list[tuple[int, ...]],
        small: tuple[int, ...],
        key: str,
        field: str,
    ) -> None:
        names = blocks.split()
        self.kernel, self.key, self.field = kernel, key.split(), field
        self.choices = [
            # Products and sums in one rounding; asked for, since the default differs between releases.
            triton.Config(
                {**dict(zip(names, sizes, strict=True)), "enable_fp_fusion": True},
                num_warps=warps,
                num_stages=stages,
            )
            for *sizes, warps, stages in ([(*small, 4, 1)] if INTERPRETED else choices)
        ]
        self._tuner = triton.autotune(self.choices, key=self.key)(kernel)
        self._best: dict[tuple[Any, ...], dict[str, Any]] = {}

    def run(self, grid: Callable[[dict[str, int]], tuple[int, ...]], **arguments: Any) -> None:
        """Start one program for each place of the grid, which may depend on the blocks."""
        key = (arguments[self.field].dtype, *[arguments[name] for name in self.key])
        best = self._best.get(key)
        if best is None:
            self._tuner[grid](**arguments)
            self._best[key] = self._tuner.best_config.all_kwargs()
        else:  # the tuner's own look-up takes as long as the start of a kernel
            self.kernel[grid(best)](**arguments, **best)


ANALYZE_ROWS = Tuned(
    analysis.analyze_rows,
    "ROWS COLS MODES",
    [(64, 64, 32, 4, 3), (128, 32, 64, 4, 3), (128, 32, 128, 8, 3)],
    (16, 16, 16),
    "n count INPUT PRECISION",
    "x",
)
ANALYZE_PLANES = Tuned(
    analysis.analyze_planes,
    "ROWS COLS",
    [(64, 32, 4, 3), (64, 32, 4, 5), (64, 32, 8, 4), (64, 64, 4, 3), (128, 32, 8, 3)],
    (16, 16),
    "n_rows n count highest INPUT PRECISION",
    "x",
)
MIX = Tuned(
    mixing.mix, "IN OUT", [(32, 32, 4, 2), (64, 64, 8, 2)], (16, 8), "c_in c_out BATCH PRECISION", "weight"
)
MIX_ADJOINT = Tuned(
    mixing.mix_adjoint,
    "IN OUT",
    [(32, 32, 4, 2), (64, 32, 8, 2)],
    (16, 8),
    "c_in c_out BATCH PRECISION",
    "weight",
)
MIX_GRADIENT = Tuned(
    mixing.mix_gradient,
    "IN OUT",
    [(32, 32, 4, 2), (64, 32, 8, 2)],
    (16, 8),
    "c_in c_out BATCH PRECISION",
    "of_weight",
)
SYNTHESIZE_PLANES = Tuned(
    synthesis.synthesize_planes,
    "ROWS COLS",
    [(64, 64, 4, 2), (64, 32, 4, 3), (128, 64, 8, 2), (64, 64, 8, 2)],
    (16, 16),
    "n_rows n count highest LINES OUTPUT PRECISION",
    "y",
)
SYNTHESIZE_ROWS = Tuned(
    synthesis.synthesize_rows,
    "CHANNELS COLS MODES IN",
    [(64, 64, 32, 32, 4, 3), (64, 128, 32, 32, 8, 3), (128, 64, 32, 32, 8, 3)],
    (16, 16, 16, 16),
    "n count c_in c_out SKIP FIRST OUTPUT PRECISION",
    "y",
)
SKIP_GRADIENT = Tuned(
    synthesis.skip_gradient,
    "POINTS CHANNELS IN",
    [(64, 64, 64, 4, 3), (32, 128, 128, 8, 3)],
    (16, 16, 16),
    "c_in c_out FIRST PRECISION",
    "x",
)


def block(size: int, least: int = 8) -> int:
    """The power of two that holds `size`; products of matrices need some rows."""
    return max(least, 1 << (size - 1).bit_length())


def chunk(size: int, others: int, device: torch.device, shortest: int) -> int:
    """Into parts of how many rows to cut `size` rows, of which there are `others`, to fill the device."""
    processors = 2 if INTERPRETED else torch.cuda.get_device_properties(device).multi_processor_count
    parts = -(-PROGRAMS * processors // max(others, 1))
    rows = max(-(-size // parts), min(shortest, 16 if INTERPRETED else shortest))
    return min(size, -(-rows // 16) * 16)
