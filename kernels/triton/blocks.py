"""Sizes of blocks: the choices of which the first run on a device takes the fastest."""

from __future__ import annotations

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


def _tuned(kernel: Any, blocks: str, choices: list[tuple[int, ...]], small: tuple[int, ...], key: str) -> Any:
    """The kernel with its choices: the numbers of `blocks`, then warps and stages of the software pipeline.

    The first run with new values of `key` measures them. The interpreter gets one choice of small blocks, so
    that small grids consist of several.
    """
    names = blocks.split()
    configurations = [
        triton.Config(
            {**dict(zip(names, sizes, strict=True)), "enable_fp_fusion": True},
            num_warps=warps,
            num_stages=stages,
        )
        for *sizes, warps, stages in ([(*small, 4, 1)] if INTERPRETED else choices)
    ]
    return triton.autotune(configurations, key=key.split())(kernel)


ANALYZE_ROWS = _tuned(
    analysis.analyze_rows,
    "ROWS COLS MODES",
    [(64, 64, 32, 4, 3), (128, 32, 64, 4, 3), (128, 32, 128, 8, 3)],
    (16, 16, 16),
    "n count INPUT PRECISION",
)
ANALYZE_PLANES = _tuned(
    analysis.analyze_planes,
    "ROWS COLS",
    [(64, 32, 4, 3), (64, 32, 4, 5), (64, 32, 8, 4), (64, 64, 4, 3), (128, 32, 8, 3)],
    (16, 16),
    "n_rows n count highest INPUT PRECISION",
)
MIX = _tuned(mixing.mix, "IN OUT", [(32, 32, 4, 2), (64, 64, 8, 2)], (16, 8), "c_in c_out BATCH PRECISION")
MIX_ADJOINT = _tuned(
    mixing.mix_adjoint, "IN OUT", [(32, 32, 4, 2), (64, 32, 8, 2)], (16, 8), "c_in c_out BATCH PRECISION"
)
MIX_GRADIENT = _tuned(
    mixing.mix_gradient, "IN OUT", [(32, 32, 4, 2), (64, 32, 8, 2)], (16, 8), "c_in c_out BATCH PRECISION"
)
SYNTHESIZE_PLANES = _tuned(
    synthesis.synthesize_planes,
    "ROWS COLS",
    [(64, 64, 4, 2), (64, 32, 4, 3), (128, 64, 8, 2), (64, 64, 8, 2)],
    (16, 16),
    "n_rows n count highest LINES OUTPUT PRECISION",
)
SYNTHESIZE_ROWS = _tuned(
    synthesis.synthesize_rows,
    "CHANNELS COLS MODES IN",
    [(64, 64, 32, 32, 4, 3), (64, 128, 32, 32, 8, 3), (128, 64, 32, 32, 8, 3)],
    (16, 16, 16, 16),
    "n count c_in c_out SKIP FIRST OUTPUT PRECISION",
)
SKIP_GRADIENT = _tuned(
    synthesis.skip_gradient,
    "POINTS CHANNELS IN",
    [(64, 64, 64, 4, 3), (32, 128, 128, 8, 3)],
    (16, 16, 16),
    "c_in c_out FIRST PRECISION",
)


def block(size: int, least: int = 8) -> int:
    """The power of two that holds `size`; products of matrices need some rows."""
    return int(max(least, triton.next_power_of_2(size)))


def chunk(size: int, others: int, device: torch.device, shortest: int) -> int:
    """Into parts of how many rows to cut `size` rows, of which there are `others`, to fill the device."""
    processors = 2 if INTERPRETED else torch.cuda.get_device_properties(device).multi_processor_count
    parts = -(-PROGRAMS * processors // max(others, 1))
    rows = max(-(-size // parts), min(shortest, 16 if INTERPRETED else shortest))
    return min(size, -(-rows // 16) * 16)
