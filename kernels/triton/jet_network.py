"""All layers of a network on the columns of a tile of points, without leaving the chip.

For one collapsed bundle of second order, the forward Laplacian, and hidden layers of one width and one
activation. The columns of a few points are the rows of one matrix, (columns times points, features), which
goes through the layers in registers: activation, product, activation. Written are what comes out and, where
the backward pass of `sciml.kernels.triton.jet_layer` needs them, the columns before each activation.
"""

from __future__ import annotations

import triton
import triton.language as tl

from sciml.kernels.triton.device import product
from sciml.kernels.triton.jet_ladder import ladder


@triton.jit  # type: ignore[untyped-decorator]
def bent(
    u: tl.tensor, signs: tl.tensor, c: tl.tensor, count: tl.tensor, ACTIVATION: tl.constexpr
) -> tl.tensor:
    """The columns (COLUMNS, POINTS, FEATURES) behind an activation; columns behind the last stay zero."""
    g = ladder(tl.sum(tl.where(c == 0, u, 0.0), 0), ACTIVATION)
    squares = tl.sum(signs * u * u, 0)
    linear = g[1][None, :, :] * u
    top = linear + (g[2] * squares)[None, :, :]
    return tl.where(c == 0, g[0][None, :, :], tl.where(c == count + 1, top, linear))


@triton.jit  # type: ignore[untyped-decorator]
def network(
    value: tl.tensor,
    rest: tl.tensor,
    signs: tl.tensor,
    weights: tl.tensor,
    biases: tl.tensor,
    kept: tl.tensor,
    y: tl.tensor,
    points: tl.tensor,
    width: tl.tensor,
    count: tl.tensor,
    layers: tl.tensor,
    step: tl.tensor,
    row: tl.tensor,
    length: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    ACTIVATION: tl.constexpr,
    DEGREE: tl.constexpr,
    WEIGHTED: tl.constexpr,
    KEEP: tl.constexpr,
    ONLY_TOP: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """``y = f(W_L ... f(W_1 f(x) + b_1) ...)``, weights (layers, width, width), biases (layers, width).

    Columns of the source behind its value are `step` numbers apart, its rows `row`. With KEEP the columns
    before each activation but the first are written to kept, `length` numbers for each.
    """
    POINTS: tl.constexpr = ROWS // COLUMNS
    first = tl.program_id(0).to(tl.int64) * POINTS
    c = tl.arange(0, COLUMNS)[:, None, None]
    n = tl.arange(0, POINTS)[None, :, None]
    f = tl.arange(0, FEATURES)[None, None, :]
    real = (n < points - first) & (f < width)
    value += first * width
    rest += first * row
    size = tl.cast(points, tl.int64) * width
    there = count + 1 if DEGREE >= 2 else count
    u = tl.load(
        rest + (c - 1) * tl.cast(step, tl.int64) + n * row + f, mask=real & (c > 0) & (c <= there), other=0.0
    )
    u = tl.where(c == 0, tl.load(value + n * width + f, mask=real, other=0.0), u)
    inside = (c > 0) & (c <= count)
    if WEIGHTED:
        factors = tl.load(signs + c - 1, mask=inside, other=0.0)
    else:
        factors = tl.where(inside, 1.0, 0.0)
    place = first * width + c * size + n * width + f
    i = tl.arange(0, FEATURES)
    square = (i[:, None] < width) & (i[None, :] < width)
    for layer in range(layers):
        u = bent(u, factors, c, count, ACTIVATION)
        matrix = tl.load(
            weights + layer * width * width + i[:, None] + i[None, :] * width, mask=square, other=0.0
        )
        sums = tl.zeros((ROWS, FEATURES), tl.float32)
        sums = product(tl.reshape(u, (ROWS, FEATURES)), matrix, sums, PRECISION)
        bias = tl.load(biases + layer * width + f, mask=f < width, other=0.0)
        u = tl.reshape(sums, (COLUMNS, POINTS, FEATURES)) + tl.where(c == 0, bias, 0.0)
        if KEEP:
            tl.store(kept + layer * tl.cast(length, tl.int64) + place, u, mask=real & (c <= count + 1))
    u = bent(u, factors, c, count, ACTIVATION)
    if ONLY_TOP:
        target = tl.where(c == 0, 0, 1) * size + first * width + n * width + f
        tl.store(y + target, u, mask=real & ((c == 0) | (c == count + 1)))
    else:
        tl.store(y + place, u, mask=real & (c <= count + 1))
