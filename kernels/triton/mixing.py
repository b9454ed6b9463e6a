"""K2: the product with one complex matrix per frequency, and its two derivatives.

Modes are ``(frequency, 2, batch, channel)``, weights ``(frequency, c_in, c_out, 2)``. The batch fills the
rows of the matrix products, so each weight is read once per tile of the batch; real and imaginary parts of
the weight are neighboring columns, read as they lie. One program per frequency and tile.
"""

from __future__ import annotations

import triton
import triton.language as tl

from sciml.kernels.triton.device import product


@triton.jit  # type: ignore[untyped-decorator]
def locate(size: tl.tensor, TILE: tl.constexpr, other: tl.tensor, OTHER: tl.constexpr) -> tl.tensor:
    """Number of the tile and the frequency of this program.

    The tiles of one frequency follow each other, those of `size` first: where that is the batch, its weight
    is read from memory once and then from the cache.
    """
    tiles = tl.cdiv(size, TILE) * tl.cdiv(other, OTHER)
    return tl.program_id(0) % tiles, (tl.program_id(0) // tiles).to(tl.int64)


@triton.jit  # type: ignore[untyped-decorator]
def load_pairs(
    modes: tl.tensor,
    frequency: tl.tensor,
    b: tl.tensor,
    o: tl.tensor,
    batch: tl.tensor,
    channels: tl.tensor,
    BATCH: tl.constexpr,
    OUT: tl.constexpr,
) -> tl.tensor:
    """Rows (part q, batch), columns (channel, part p): ``g_0, g_1`` for q = 0 and ``g_1, -g_0`` for q = 1.

    One product with it gives both parts of a product with the conjugate.
    """
    row, column = tl.arange(0, 2 * BATCH), tl.arange(0, 2 * OUT)
    q, p = (row // BATCH)[:, None], (column % 2)[None, :]
    b, o = (b + row % BATCH)[:, None], (o + column // 2)[None, :]
    at = ((frequency * 2 + (q ^ p)) * batch + b) * channels + o
    parts = tl.load(modes + at, mask=(b < batch) & (o < channels), other=0.0)
    return tl.where((q & p) == 1, -parts, parts)


@triton.jit  # type: ignore[untyped-decorator]
def mix(
    modes: tl.tensor,
    weight: tl.tensor,
    mixed: tl.tensor,
    batch: tl.tensor,
    c_in: tl.tensor,
    c_out: tl.tensor,
    BATCH: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """``mixed[k, b, o] = Σ_i modes[k, b, i] weight[k, i, o]``, in tiles of b and o."""
    tile, frequency = locate(batch, BATCH, c_out, OUT)
    top, left = tile % tl.cdiv(batch, BATCH) * BATCH, tile // tl.cdiv(batch, BATCH) * OUT
    row, column = tl.arange(0, 2 * BATCH), tl.arange(0, 2 * OUT)
    q, b, o = row // BATCH, top + row % BATCH, 2 * left + column
    sums = tl.zeros((2 * BATCH, 2 * OUT), tl.float32)
    for before in range(0, c_in, IN):
        i = before + tl.arange(0, IN)
        parts = tl.load(
            modes + ((frequency * 2 + q) * batch + b)[:, None] * c_in + i[None, :],
            mask=(b < batch)[:, None] & (i < c_in)[None, :],
            other=0.0,
        )
        matrix = tl.load(
            weight + (frequency * c_in + i)[:, None] * (2 * c_out) + o[None, :],
            mask=(i < c_in)[:, None] & (o < 2 * c_out)[None, :],
            other=0.0,
        ).to(tl.float32)
        sums = product(parts, matrix, sums, PRECISION)
    # (part of the modes, batch, channel, part of the weight)
    split = tl.permute(tl.reshape(sums, (2, BATCH, OUT, 2)), (1, 2, 0, 3))
    by_real, by_imaginary = tl.split(split)
    rr, ir = tl.split(by_real)
    ri, ii = tl.split(by_imaginary)
    b, o = (top + tl.arange(0, BATCH))[:, None], (left + tl.arange(0, OUT))[None, :]
    mask = (b < batch) & (o < c_out)
    target = mixed + (frequency * 2 * batch + b) * c_out + o
    tl.store(target, rr - ii, mask=mask)
    tl.store(target + batch * c_out, ri + ir, mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def mix_adjoint(
    gradient: tl.tensor,
    weight: tl.tensor,
    mixed: tl.tensor,
    batch: tl.tensor,
    c_in: tl.tensor,
    c_out: tl.tensor,
    BATCH: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """``mixed[k, b, i] = Σ_o gradient[k, b, o] conj(weight[k, i, o])``, in tiles of b and i."""
    tile, frequency = locate(batch, BATCH, c_in, IN)
    top = tile % tl.cdiv(batch, BATCH) * BATCH
    i = tile // tl.cdiv(batch, BATCH) * IN + tl.arange(0, IN)
    sums = tl.zeros((2 * BATCH, IN), tl.float32)
    for before in range(0, c_out, OUT):
        pairs = load_pairs(gradient, frequency, top, before, batch, c_out, BATCH, OUT)
        o = 2 * before + tl.arange(0, 2 * OUT)
        matrix = tl.load(
            weight + (frequency * c_in + i)[None, :] * (2 * c_out) + o[:, None],
            mask=(i < c_in)[None, :] & (o < 2 * c_out)[:, None],
            other=0.0,
        ).to(tl.float32)
        sums = product(pairs, matrix, sums, PRECISION)
    row = tl.arange(0, 2 * BATCH)
    b = top + row % BATCH
    target = mixed + ((frequency * 2 + row // BATCH) * batch + b)[:, None] * c_in + i[None, :]
    tl.store(target, sums, mask=(b < batch)[:, None] & (i < c_in)[None, :])


@triton.jit  # type: ignore[untyped-decorator]
def mix_gradient(
    modes: tl.tensor,
    gradient: tl.tensor,
    of_weight: tl.tensor,
    batch: tl.tensor,
    c_in: tl.tensor,
    c_out: tl.tensor,
    BATCH: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """``of_weight[k, i, o] = Σ_b conj(modes[k, b, i]) gradient[k, b, o]``, in tiles of i and o."""
    tile, frequency = locate(c_in, IN, c_out, OUT)
    i = tile % tl.cdiv(c_in, IN) * IN + tl.arange(0, IN)
    left = tile // tl.cdiv(c_in, IN) * OUT
    row = tl.arange(0, 2 * BATCH)
    sums = tl.zeros((IN, 2 * OUT), tl.float32)
    for top in range(0, batch, BATCH):
        b = top + row % BATCH
        parts = tl.load(
            modes + ((frequency * 2 + row // BATCH) * batch + b)[None, :] * c_in + i[:, None],
            mask=(b < batch)[None, :] & (i < c_in)[:, None],
            other=0.0,
        )
        pairs = load_pairs(gradient, frequency, top, left, batch, c_out, BATCH, OUT)
        sums = product(parts, pairs, sums, PRECISION)
    o = 2 * left + tl.arange(0, 2 * OUT)
    target = of_weight + (frequency * c_in + i)[:, None] * (2 * c_out) + o[None, :]
    tl.store(target, sums, mask=(i < c_in)[:, None] & (o < 2 * c_out)[None, :])
