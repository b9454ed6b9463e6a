"""K1: samples to their lowest Fourier modes. Each sample is read once.

Matrices come as `sciml.kernels.fourier` builds them: ``half (2, K, n)`` with rows d cos and -d sin, ``full
(2, P + 1, n)`` with rows d cos and d sin. Conventions and special frequencies are in these numbers; the
kernels know only which frequencies an axis has.

INPUT is "plain", "gelu" for the modes of GELU(x), or "gated": then x is the gradient of GELU's result and z
what GELU was applied to, and the kernel multiplies by the slope, keeps the product for the skip path, and
transforms it in the same pass.
"""

from __future__ import annotations

import triton
import triton.language as tl

from sciml.kernels.triton.device import gelu_slope, load_field, product


@triton.jit  # type: ignore[untyped-decorator]
def load_input(
    x: tl.tensor,
    z: tl.tensor,
    gated: tl.tensor,
    at: tl.tensor,
    mask: tl.tensor,
    kept: tl.tensor,
    INPUT: tl.constexpr,
) -> tl.tensor:
    """A tile of x in float32; gated, times the slope of GELU at z, and written to `gated` where `kept`."""
    tile = load_field(x, at, mask, INPUT == "gelu")
    if INPUT == "gated":
        tile = tile * gelu_slope(tl.load(z + at, mask=mask, other=0.0).to(tl.float32))
        tl.store(gated + at, tile.to(gated.dtype.element_ty), mask=kept)
    return tile


@triton.jit  # type: ignore[untyped-decorator]
def store_frequencies(
    base: tl.tensor,
    k: tl.tensor,
    m: tl.tensor,
    cosines: tl.tensor,
    sines: tl.tensor,
    count: tl.tensor,
    first: tl.tensor,
    last: tl.tensor,
    step_mode: tl.tensor,
    step_pair: tl.tensor,
) -> None:
    """``X(±k) = c ∓ i s`` where it is one of the modes; c and s end in (real, imaginary) parts."""
    c_real, c_imaginary = tl.split(cosines)
    s_real, s_imaginary = tl.split(sines)
    step_pair = tl.cast(step_pair, tl.int64)
    plus = base + ((k - first) * count + m).to(tl.int64) * step_mode
    kept = (k <= last) & (m < count)
    tl.store(plus, c_real + s_imaginary, mask=kept)
    tl.store(plus + step_pair, c_imaginary - s_real, mask=kept)
    minus = base + ((-k - first) * count + m).to(tl.int64) * step_mode
    kept = (k > 0) & (k <= -first) & (m < count)
    tl.store(minus, c_real - s_imaginary, mask=kept)
    tl.store(minus + step_pair, c_imaginary + s_real, mask=kept)


@triton.jit  # type: ignore[untyped-decorator]
def analyze_rows(
    x: tl.tensor,
    z: tl.tensor,
    gated: tl.tensor,
    half: tl.tensor,
    modes: tl.tensor,
    rows: tl.tensor,
    n: tl.tensor,
    count: tl.tensor,
    lead: tl.tensor,
    step_lead: tl.tensor,
    step_mode: tl.tensor,
    step_pair: tl.tensor,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    MODES: tl.constexpr,
    INPUT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """One axis: ``Σ_j half[q, k, j] x[row, j]``.

    x is (rows, n), half (2, count, n). Part q of mode k of row ``b lead + l`` goes to ``k step_mode + q
    step_pair + l step_lead + b``.
    """
    tiles = tl.cdiv(2 * count, MODES)
    row = (tl.program_id(0) // tiles) * ROWS + tl.arange(0, ROWS)
    mode = (tl.program_id(0) % tiles) * MODES + tl.arange(0, MODES)
    start = row.to(tl.int64) * n
    own = tl.where(tl.program_id(0) % tiles == 0, rows, 0)  # one of the programs for a row writes it
    sums = tl.zeros((ROWS, MODES), tl.float32)
    for left in range(0, n, COLS):
        col = left + tl.arange(0, COLS)
        mask = (row < rows)[:, None] & (col < n)[None, :]
        kept = (row < own)[:, None] & (col < n)[None, :]
        tile = load_input(x, z, gated, start[:, None] + col[None, :], mask, kept, INPUT)
        waves = tl.load(
            half + mode[None, :] * n + col[:, None],
            mask=(mode < 2 * count)[None, :] & (col < n)[:, None],
            other=0.0,
        )
        sums = product(tile, waves, sums, PRECISION)
    place = (row % lead).to(tl.int64) * step_lead + row // lead
    target = (mode % count).to(tl.int64) * step_mode + (mode // count).to(tl.int64) * step_pair
    mask = (row < rows)[:, None] & (mode < 2 * count)[None, :]
    tl.store(modes + place[:, None] + target[None, :], sums, mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def analyze_planes(
    x: tl.tensor,
    z: tl.tensor,
    gated: tl.tensor,
    half: tl.tensor,
    full: tl.tensor,
    modes: tl.tensor,
    planes: tl.tensor,
    n_rows: tl.tensor,
    n: tl.tensor,
    count: tl.tensor,
    highest: tl.tensor,
    first: tl.tensor,
    last: tl.tensor,
    lead: tl.tensor,
    chunk: tl.tensor,
    step_chunk: tl.tensor,
    step_lead: tl.tensor,
    step_mode: tl.tensor,
    step_pair: tl.tensor,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    HALF: tl.constexpr,
    FULL: tl.constexpr,
    APART: tl.constexpr,
    INPUT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """The last two axes at once; what is between them stays on the chip.

    x is (planes, n_rows, n), planes = batch · lead with lead inside. A program sums over `chunk` rows of one
    plane; sums of several chunks of a plane are added up afterwards. half is (2, count, n), full (2, highest
    + 1, n_rows), the frequencies of the full axis are first..last. HALF >= count and FULL >= highest are
    powers of two. APART says that the highest is FULL itself: it gets a sum without matrix products, since
    blocks of twice the size for one frequency more would be half empty. Part q of mode (k_1, k_2) of plane
    ``b lead + l`` goes to ``((k_1 - first) count + k_2) step_mode + q step_pair + l step_lead + b``.
    """
    batch = planes // lead
    b, l = tl.program_id(0) % batch, tl.program_id(0) // batch  # neighbors write neighboring numbers
    start = (b * lead + l).to(tl.int64) * n_rows * n
    wave = tl.arange(0, 2 * HALF)
    half_row, half_kept = (wave // HALF) * count + wave % HALF, wave % HALF < count
    wave = tl.arange(0, 2 * FULL)
    full_row = (wave // FULL) * (highest + 1) + wave % FULL
    full_kept = wave % FULL <= highest
    sums = tl.zeros((2 * FULL, 2 * HALF), tl.float32)
    top_c, top_s = tl.zeros((2 * HALF,), tl.float32), tl.zeros((2 * HALF,), tl.float32)
    line = tl.zeros((ROWS, 2 * HALF), tl.float32)
    top, across = tl.program_id(1) * chunk, tl.cdiv(n, COLS)
    end = tl.minimum(top + chunk, n_rows)
    # One loop over rows and columns: loads for the next rows are under way while these are finished.
    for block in range(0, tl.cdiv(end - top, ROWS) * across):
        row = top + block // across * ROWS + tl.arange(0, ROWS)
        col = block % across * COLS + tl.arange(0, COLS)
        mask = (row < end)[:, None] & (col < n)[None, :]
        tile = load_input(x, z, gated, start + row[:, None] * n + col[None, :], mask, mask, INPUT)
        waves = tl.load(
            half + half_row[None, :] * n + col[:, None],
            mask=half_kept[None, :] & (col < n)[:, None],
            other=0.0,
        )
        line = product(tile, waves, line, PRECISION)
        if block % across == across - 1:
            heights = tl.load(
                full + full_row[:, None] * n_rows + row[None, :],
                mask=full_kept[:, None] & (row < end)[None, :],
                other=0.0,
            )
            sums = product(heights, line, sums, PRECISION)
            if APART:
                cosine = tl.load(full + highest * n_rows + row, mask=row < end, other=0.0)
                sine = tl.load(full + (2 * highest + 1) * n_rows + row, mask=row < end, other=0.0)
                top_c += tl.sum(line * cosine[:, None], 0)
                top_s += tl.sum(line * sine[:, None], 0)
            line = tl.zeros((ROWS, 2 * HALF), tl.float32)
    # (cos or sin, frequency, real or imaginary, frequency) -> (two frequencies, real or imaginary)
    parts = tl.permute(tl.reshape(sums, (2, FULL, 2, HALF)), (1, 3, 2, 0))
    cosines, sines = tl.split(parts)
    base = modes + tl.program_id(1).to(tl.int64) * step_chunk + l.to(tl.int64) * step_lead + b
    k, m = tl.arange(0, FULL)[:, None], tl.arange(0, HALF)[None, :]
    store_frequencies(base, k, m, cosines, sines, count, first, last, step_mode, step_pair)
    if APART:
        cosines, sines = tl.trans(tl.reshape(top_c, (2, HALF))), tl.trans(tl.reshape(top_s, (2, HALF)))
        k, m = tl.full((HALF,), FULL, tl.int32), tl.arange(0, HALF)
        store_frequencies(base, k, m, cosines, sines, count, first, last, step_mode, step_pair)
