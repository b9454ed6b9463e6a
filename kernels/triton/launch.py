"""Functions on tensors that start the kernels.

They take and return contiguous tensors; modes in float32 as ``(*frequencies, 2, batch, channel)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

from sciml.kernels.fourier import CACHED_MATRICES, Line, full_matrix, half_matrix
from sciml.kernels.transform import Transform
from sciml.kernels.triton import blocks

# Rows of the batch in one product: twice as many, with real and imaginary parts.
LARGEST_BATCH = 32


@dataclass(frozen=True)
class Layout:
    """Which axes the kernels transform, and where they put part q of mode κ of outer point l and channel b.

    That is ``κ step_mode + q step_pair + l step_lead + b``. Without outer axes this is the final order; with
    them the pair and they come first, so that what follows is one matrix product per outer axis.
    """

    outer: tuple[Line, ...]
    full: Line | None
    half: Line
    channels: int

    @staticmethod
    def of(transform: Transform, channels: int) -> Layout:
        """For all channels of a batch; the last two axes together if their modes are few."""
        *full, half = transform.lines
        if full and _full_block(full[-1]) * _half_block(half) <= blocks.LARGEST_PLANE:
            return Layout(tuple(full[:-1]), full[-1], half, channels)
        return Layout(tuple(full), None, half, channels)

    @property
    def points(self) -> int:
        """Points of the outer axes."""
        return prod(line.size for line in self.outer)

    @property
    def modes(self) -> int:
        """Modes of the axes that the kernels transform."""
        return self.half.count * (1 if self.full is None else self.full.count)

    @property
    def steps(self) -> dict[str, int]:
        """The arguments of the kernels that say the order."""
        one = self.modes * self.channels
        lead, mode, pair = (
            (one, self.channels, self.points * one) if self.outer else (0, 2 * self.channels, self.channels)
        )
        return {"lead": self.points, "step_lead": lead, "step_mode": mode, "step_pair": pair}


@dataclass(frozen=True)
class Skip:
    """What the skip path adds: ``matrix x`` or ``matrix GELU(x)``."""

    matrix: Tensor
    x: Tensor
    gelu: bool


def analyze(
    x: Tensor, transform: Transform, precision: str, *, gelu: bool = False, z: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """(batch, channel, *grid) -> modes of x, or with gelu of GELU(x), and None.

    Given z, the modes of ``x GELU'(z)`` and this product.
    """
    layout = Layout.of(transform, x.shape[0] * x.shape[1])
    half, full, planes = layout.half, layout.full, layout.channels * layout.points
    size = 2 * layout.modes * planes
    gated = None if z is None else torch.empty_like(x)
    settings = {
        "x": x,
        "z": x if z is None else z,
        "gated": x if gated is None else gated,
        "n": half.size,
        "count": half.count,
        "INPUT": "gelu" if gelu else "plain" if z is None else "gated",
        "PRECISION": kernel_precision(precision),
        **layout.steps,
    }
    if full is None:
        modes = x.new_empty(size, dtype=torch.float32)
        blocks.ANALYZE_ROWS.run(
            lambda b: (parts(planes, b["ROWS"]) * parts(2 * half.count, b["MODES"]),),
            half=half_matrix(half, modes),
            modes=modes,
            rows=planes,
            **settings,
        )
    else:
        chunk = blocks.chunk(full.size, planes, x.device, blocks.SHORTEST_CHUNK)
        chunks = parts(full.size, chunk)
        modes = x.new_empty(chunks, size, dtype=torch.float32)
        blocks.ANALYZE_PLANES.run(
            lambda _: (planes, chunks),
            half=half_matrix(half, modes),
            modes=modes,
            planes=planes,
            chunk=chunk,
            step_chunk=size,
            **_full(full, half, modes),
            **settings,
        )
        modes = modes[0] if chunks == 1 else modes.sum(0)
    if layout.outer:
        modes = modes.reshape(2, *(line.size for line in layout.outer), -1)
        for axis, line in enumerate(layout.outer):
            modes = _along(modes, 1 + axis, _complex_matrix(line, x.device))
        modes = modes.reshape(2, *transform.counts, -1).movedim(0, -2).contiguous()
    return modes.reshape(*transform.counts, 2, x.shape[0], x.shape[1]), gated


def synthesize(
    modes: Tensor,
    transform: Transform,
    precision: str,
    dtype: torch.dtype,
    *,
    skip: Skip | None = None,
    bias: Tensor | None = None,
    output: str = "plain",
    z: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Modes -> ``y = samples + skip + bias`` and None.

    The output "gelu" is ``GELU(y)`` and y, "slope" is ``y GELU'(z)`` and z.
    """
    batch, channels = modes.shape[-2:]
    layout = Layout.of(transform, batch * channels)
    if layout.outer:
        modes = modes.movedim(-3, 0).reshape(2, *transform.counts[: len(layout.outer)], -1)
        for axis, line in enumerate(layout.outer):
            modes = _along(modes, 1 + axis, _complex_matrix(line, modes.device).T)
        modes = modes.contiguous()
    y = modes.new_empty(batch, channels, *transform.shape, dtype=dtype)
    z = torch.empty_like(y) if output == "gelu" else z
    results: dict[str, Any] = {
        "y": y,
        "z": y if z is None else z,
        "bias": modes if bias is None else bias,
        "BIAS": bias is not None,
        "OUTPUT": output,
    }
    if layout.full is not None and skip is None:
        _planes(modes, layout, channels, precision, {"LINES": False, **results})
        return y, z
    half, rows = layout.half, prod(transform.shape[:-1])
    if layout.full is not None:
        lines = modes.new_empty(layout.channels, rows, 2, half.count)
        nothing = {"y": lines, "z": lines, "bias": modes, "BIAS": False, "OUTPUT": "plain", "LINES": True}
        _planes(modes, layout, channels, precision, nothing)
    elif layout.outer:
        lines = modes.reshape(2, rows, half.count, -1).permute(3, 1, 0, 2).contiguous()
    else:
        lines = modes.reshape(half.count, 2, -1).permute(2, 1, 0).contiguous()
    matrix, x, first = (modes, modes, False) if skip is None else (skip.matrix, skip.x, skip.gelu)
    blocks.SYNTHESIZE_ROWS.run(
        lambda b: (batch * rows * parts(half.size, b["COLS"]) * parts(channels, b["CHANNELS"]),),
        lines=lines,
        half=half_matrix(half, modes),
        x=x,
        skip=matrix,
        rows=rows,
        n=half.size,
        count=2 * half.count,
        c_in=matrix.shape[1],
        c_out=channels,
        SKIP=skip is not None,
        FIRST=first,
        PRECISION=kernel_precision(precision),
        **results,
    )
    return y, z


def mix(modes: Tensor, weight: Tensor, precision: str) -> Tensor:
    """(*frequencies, 2, batch, c_in), (*frequencies, c_in, c_out, 2) -> (*frequencies, 2, batch, c_out)."""
    mixed = modes.new_empty(*modes.shape[:-1], weight.shape[-2])
    _mixing(blocks.MIX, "OUT", (modes, weight, mixed), weight.shape, modes.shape[-2], precision)
    return mixed


def mix_adjoint(gradient: Tensor, weight: Tensor, precision: str) -> Tensor:
    """The product with the conjugate transposed matrices, (*frequencies, 2, batch, c_in)."""
    mixed = gradient.new_empty(*gradient.shape[:-1], weight.shape[-3])
    _mixing(blocks.MIX_ADJOINT, "IN", (gradient, weight, mixed), weight.shape, gradient.shape[-2], precision)
    return mixed


def mix_gradient(modes: Tensor, gradient: Tensor, precision: str) -> Tensor:
    """The derivative of `mix` with respect to the weight, (*frequencies, c_in, c_out, 2)."""
    *frequencies, _, batch, c_in = modes.shape
    of_weight = modes.new_empty(*frequencies, c_in, gradient.shape[-1], 2)
    _mixing(blocks.MIX_GRADIENT, "", (modes, gradient, of_weight), of_weight.shape, batch, precision)
    return of_weight


def skip_gradient(gradient: Tensor, x: Tensor, precision: str, gelu: bool) -> Tensor:
    """``Σ gradient_o x_i``, or with gelu GELU(x)_i, over batch and points, (c_out, c_in) in float32."""
    batch, c_out, points = gradient.shape[0], gradient.shape[1], prod(gradient.shape[2:])
    c_in = x.shape[1]
    chunk = blocks.chunk(points, batch, x.device, blocks.SHORTEST_RUN)
    chunks = parts(points, chunk)
    partial = x.new_empty(batch * chunks, c_out, c_in, dtype=torch.float32)
    blocks.SKIP_GRADIENT.run(
        lambda b: (batch * chunks * parts(c_in, b["IN"]) * parts(c_out, b["CHANNELS"]),),
        gradient=gradient,
        x=x,
        partial=partial,
        points=points,
        chunk=chunk,
        chunks=chunks,
        c_in=c_in,
        c_out=c_out,
        FIRST=gelu,
        PRECISION=kernel_precision(precision),
    )
    return partial.sum(0)


def _planes(modes: Tensor, layout: Layout, channels: int, precision: str, settings: dict[str, Any]) -> None:
    half, full, planes = layout.half, layout.full, layout.channels * layout.points
    assert full is not None
    chunk = blocks.chunk(full.size, planes, modes.device, blocks.SHORTEST_CHUNK)
    blocks.SYNTHESIZE_PLANES.run(
        lambda _: (planes, parts(full.size, chunk)),
        modes=modes,
        half=half_matrix(half, modes),
        planes=planes,
        n=half.size,
        count=half.count,
        channels=channels,
        chunk=chunk,
        PRECISION=kernel_precision(precision),
        **_full(full, half, modes),
        **layout.steps,
        **settings,
    )


def _full(full: Line, half: Line, like: Tensor) -> dict[str, Any]:
    block = _full_block(full)
    return {
        "full": full_matrix(full, like),
        "n_rows": full.size,
        "highest": full.highest,
        "first": full.first,
        "last": full.last,
        "HALF": _half_block(half),
        "FULL": block,
        "APART": full.highest == block,
    }


def _half_block(half: Line) -> int:
    return blocks.block(half.count, blocks.SMALLEST_HALF)


def _full_block(full: Line) -> int:
    # The highest frequency itself has a sum apart where it would double the block.
    return blocks.block(max(full.highest, 1), blocks.SMALLEST_FULL)


def _mixing(
    kernel: Any, tiled: str, tensors: tuple[Tensor, ...], shape: torch.Size, batch: int, precision: str
) -> None:
    """Start a kernel on three tensors; it cuts the batch and the channels `tiled`, or else both channels."""
    *frequencies, c_in, c_out, _ = shape
    rows = min(blocks.block(batch), LARGEST_BATCH)

    def grid(b: dict[str, int]) -> tuple[int]:
        ins, outs, tops = parts(c_in, b["IN"]), parts(c_out, b["OUT"]), parts(batch, rows)
        tiles = {"IN": ins * tops, "OUT": outs * tops, "": ins * outs}[tiled]
        return (prod(frequencies) * tiles,)

    names = kernel.kernel.arg_names[:3]
    kernel.run(
        grid,
        **dict(zip(names, tensors, strict=True)),
        batch=batch,
        c_in=c_in,
        c_out=c_out,
        BATCH=rows,
        PRECISION=kernel_precision(precision),
    )


def _along(tensor: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """Apply a (2 m, 2 n) matrix to the pair, axis 0, and another axis together."""
    shape = list(tensor.shape)
    before, after = prod(shape[1:axis]), prod(shape[axis + 1 :])
    columns = tensor.reshape(2, before, shape[axis], after).transpose(1, 2)
    shape[axis] = matrix.shape[0] // 2
    product = matrix @ columns.reshape(matrix.shape[1], before * after)
    return product.reshape(2, shape[axis], before, after).transpose(1, 2).reshape(shape)


@lru_cache(maxsize=CACHED_MATRICES)
def _complex_matrix(line: Line, device: torch.device) -> Tensor:
    """(2 K, 2 n) of a full axis, which takes real and imaginary parts of samples to those of modes."""
    with torch.inference_mode(False), torch.no_grad():
        cosine, sine = full_matrix(line, torch.empty(0, device=device)).unbind()
        frequencies = torch.arange(line.first, line.last + 1, device=device)
        cosine = cosine[frequencies.abs()]
        sine = sine[frequencies.abs()] * frequencies.sign()[:, None]
        return torch.cat((torch.cat((cosine, sine), dim=1), torch.cat((-sine, cosine), dim=1)))


def parts(size: int, part: int) -> int:
    """How many parts of a length cover a size."""
    return -(-size // part)


def kernel_precision(precision: str) -> str:
    """What the kernels are told: the interpreter multiplies bfloat16 wrongly, float16 stands for it there."""
    return "fp16" if precision == "bf16" and blocks.INTERPRETED else precision
