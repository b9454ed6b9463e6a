"""K3: modes to samples, with the skip path, the bias and the activation. Each sample is written once.

The transposes of the maps of `sciml.kernels.triton.analysis`, with the same matrices.
"""

from __future__ import annotations

import triton
import triton.language as tl

from sciml.kernels.triton.device import gelu, gelu_slope, load_field, product


@triton.jit  # type: ignore[untyped-decorator]
def store_output(
    y: tl.tensor, z: tl.tensor, at: tl.tensor, samples: tl.tensor, mask: tl.tensor, OUTPUT: tl.constexpr
) -> None:
    """Samples to y; "gelu": to z, and their activation to y; "slope": times the slope of GELU at z to y."""
    if OUTPUT == "gelu":
        tl.store(z + at, samples.to(z.dtype.element_ty), mask=mask)
        samples = gelu(samples)
    if OUTPUT == "slope":
        samples = samples * gelu_slope(tl.load(z + at, mask=mask, other=0.0).to(tl.float32))
    tl.store(y + at, samples.to(y.dtype.element_ty), mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def load_waves(
    base: tl.tensor,
    turned: tl.tensor,
    k: tl.tensor,
    q: tl.tensor,
    m: tl.tensor,
    count: tl.tensor,
    first: tl.tensor,
    last: tl.tensor,
    step_mode: tl.tensor,
    step_pair: tl.tensor,
) -> tl.tensor:
    """Part q of ``c = X(k) + X(-k)``, or where `turned` of ``s = i (X(k) - X(-k))``; k = 0 counts once."""
    base += (q ^ turned).to(tl.int64) * step_pair
    plus = base + ((k - first) * count + m).to(tl.int64) * step_mode
    plus = tl.load(plus, mask=(k <= last) & (m < count), other=0.0)
    minus = base + ((-k - first) * count + m).to(tl.int64) * step_mode
    minus = tl.load(minus, mask=(k > 0) & (k <= -first) & (m < count), other=0.0)
    return tl.where(turned == 0, plus + minus, tl.where(q == 0, minus - plus, plus - minus))


@triton.jit  # type: ignore[untyped-decorator]
def synthesize_planes(
    modes: tl.tensor,
    half: tl.tensor,
    full: tl.tensor,
    bias: tl.tensor,
    y: tl.tensor,
    z: tl.tensor,
    planes: tl.tensor,
    n_rows: tl.tensor,
    n: tl.tensor,
    count: tl.tensor,
    highest: tl.tensor,
    first: tl.tensor,
    last: tl.tensor,
    lead: tl.tensor,
    channels: tl.tensor,
    chunk: tl.tensor,
    step_lead: tl.tensor,
    step_mode: tl.tensor,
    step_pair: tl.tensor,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    HALF: tl.constexpr,
    FULL: tl.constexpr,
    APART: tl.constexpr,
    LINES: tl.constexpr,
    BIAS: tl.constexpr,
    OUTPUT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """The last two axes at once; with LINES the full axis only: y is then (planes, n_rows, 2 count).

    Arguments as in `analyze_planes`. A program writes `chunk` rows of one plane.
    """
    batch = planes // lead
    b, l = tl.program_id(0) % batch, tl.program_id(0) // batch
    plane = (b * lead + l).to(tl.int64)
    wave, column = tl.arange(0, 2 * FULL), tl.arange(0, 2 * HALF)
    full_row, full_kept = (wave // FULL) * (highest + 1) + wave % FULL, wave % FULL <= highest
    half_row, half_kept = (column // HALF) * count + column % HALF, column % HALF < count
    base = modes + l.to(tl.int64) * step_lead + b
    turned, k = (wave // FULL)[:, None], (wave % FULL)[:, None]
    q, m = (column // HALF)[None, :], (column % HALF)[None, :]
    pairs = load_waves(base, turned, k, q, m, count, first, last, step_mode, step_pair)
    if APART:
        k, m, q = tl.full((2 * HALF,), FULL, tl.int32), column % HALF, column // HALF
        top_c = load_waves(base, 0 * k, k, q, m, count, first, last, step_mode, step_pair)
        top_s = load_waves(base, 0 * k + 1, k, q, m, count, first, last, step_mode, step_pair)
    constant = 0.0
    if BIAS:
        constant = tl.load(bias + b % channels).to(tl.float32)
    end = tl.minimum(tl.program_id(1) * chunk + chunk, n_rows)
    for above in range(tl.program_id(1) * chunk, end, ROWS):
        row = above + tl.arange(0, ROWS)
        heights = tl.load(
            full + full_row[None, :] * n_rows + row[:, None],
            mask=full_kept[None, :] & (row < end)[:, None],
            other=0.0,
        )
        line = tl.zeros((ROWS, 2 * HALF), tl.float32)
        if APART:
            cosine = tl.load(full + highest * n_rows + row, mask=row < end, other=0.0)
            sine = tl.load(full + (2 * highest + 1) * n_rows + row, mask=row < end, other=0.0)
            line = cosine[:, None] * top_c[None, :] + sine[:, None] * top_s[None, :]
        line = product(heights, pairs, line, PRECISION)
        if LINES:
            target = y + (plane * n_rows + row)[:, None] * (2 * count) + half_row[None, :]
            tl.store(target, line, mask=(row < end)[:, None] & half_kept[None, :])
        else:
            for left in range(0, n, COLS):
                col = left + tl.arange(0, COLS)
                waves = tl.load(
                    half + half_row[:, None] * n + col[None, :],
                    mask=half_kept[:, None] & (col < n)[None, :],
                    other=0.0,
                )
                samples = product(line, waves, tl.zeros((ROWS, COLS), tl.float32), PRECISION)
                mask = (row < end)[:, None] & (col < n)[None, :]
                at = plane * n_rows * n + row[:, None] * n + col[None, :]
                store_output(y, z, at, samples + constant, mask, OUTPUT)


@triton.jit  # type: ignore[untyped-decorator]
def synthesize_rows(
    lines: tl.tensor,
    half: tl.tensor,
    x: tl.tensor,
    skip: tl.tensor,
    bias: tl.tensor,
    y: tl.tensor,
    z: tl.tensor,
    rows: tl.tensor,
    n: tl.tensor,
    count: tl.tensor,
    c_in: tl.tensor,
    c_out: tl.tensor,
    CHANNELS: tl.constexpr,
    COLS: tl.constexpr,
    MODES: tl.constexpr,
    IN: tl.constexpr,
    SKIP: tl.constexpr,
    FIRST: tl.constexpr,
    BIAS: tl.constexpr,
    OUTPUT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """``y[b, o, r, j] = act(Σ_m lines[b, o, r, m] half[m, j] + Σ_i skip[o, i] x[b, i, r, j] + bias[o])``.

    `count` rows of half, both parts in turn; with FIRST, GELU(x) in the place of x. One program per b, r and
    tile of columns and of c_out.
    """
    tiles = tl.cdiv(n, COLS)
    outs = tl.cdiv(c_out, CHANNELS)  # all channels of one place follow each other: x stays in the cache
    o = tl.program_id(0) % outs * CHANNELS + tl.arange(0, CHANNELS)
    tile = tl.program_id(0) // outs
    col = tile % tiles * COLS + tl.arange(0, COLS)
    row, b = tile // tiles % rows, (tile // tiles // rows).to(tl.int64)
    place = (b * c_out + o) * rows + row
    sums = tl.zeros((CHANNELS, COLS), tl.float32)
    for before in range(0, count, MODES):
        m = before + tl.arange(0, MODES)
        line = tl.load(
            lines + place[:, None] * count + m[None, :],
            mask=(o < c_out)[:, None] & (m < count)[None, :],
            other=0.0,
        )
        waves = tl.load(
            half + m[:, None] * n + col[None, :], mask=(m < count)[:, None] & (col < n)[None, :], other=0.0
        )
        sums = product(line, waves, sums, PRECISION)
    if SKIP:
        for before in range(0, c_in, IN):
            i = before + tl.arange(0, IN)
            matrix = tl.load(
                skip + o[:, None] * c_in + i[None, :],
                mask=(o < c_out)[:, None] & (i < c_in)[None, :],
                other=0.0,
            ).to(tl.float32)
            at = ((b * c_in + i) * rows + row)[:, None] * n + col[None, :]
            samples = load_field(x, at, (i < c_in)[:, None] & (col < n)[None, :], FIRST)
            sums = product(matrix, samples, sums, PRECISION)
    if BIAS:
        sums += tl.load(bias + o, mask=o < c_out, other=0.0).to(tl.float32)[:, None]
    mask = (o < c_out)[:, None] & (col < n)[None, :]
    store_output(y, z, place[:, None] * n + col[None, :], sums, mask, OUTPUT)


@triton.jit  # type: ignore[untyped-decorator]
def skip_gradient(
    gradient: tl.tensor,
    x: tl.tensor,
    partial: tl.tensor,
    points: tl.tensor,
    chunk: tl.tensor,
    chunks: tl.tensor,
    c_in: tl.tensor,
    c_out: tl.tensor,
    POINTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    IN: tl.constexpr,
    FIRST: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """``partial[b, c, o, i] = Σ_j gradient[b, o, j] x[b, i, j]`` over the points j of chunk c.

    With FIRST, GELU(x) in the place of x.
    """
    ins, outs = tl.cdiv(c_in, IN), tl.cdiv(c_out, CHANNELS)
    i = tl.program_id(0) % ins * IN + tl.arange(0, IN)
    o = tl.program_id(0) // ins % outs * CHANNELS + tl.arange(0, CHANNELS)
    part = (tl.program_id(0) // ins // outs).to(tl.int64)
    b, c = part // chunks, (part % chunks).to(tl.int32)
    sums = tl.zeros((CHANNELS, IN), tl.float32)
    end = tl.minimum((c + 1) * chunk, points)
    for before in range(c * chunk, end, POINTS):
        j = before + tl.arange(0, POINTS)
        slopes = tl.load(
            gradient + (b * c_out + o)[:, None] * points + j[None, :],
            mask=(o < c_out)[:, None] & (j < end)[None, :],
            other=0.0,
        ).to(tl.float32)
        at = (b * c_in + i)[None, :] * points + j[:, None]
        samples = load_field(x, at, (i < c_in)[None, :] & (j < end)[:, None], FIRST)
        sums = product(slopes, samples, sums, PRECISION)
    target = partial + (part * c_out + o)[:, None] * c_in + i[None, :]
    tl.store(target, sums, mask=(o < c_out)[:, None] & (i < c_in)[None, :])
