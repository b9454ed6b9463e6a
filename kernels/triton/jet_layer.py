r"""An activation on the columns of a jet, with the linear layer before it, and the transpose of both.

A program has a tile of points and features and takes the columns of a bundle one after the other, those of
a direction together: with ``g_m = f^(m)(u_0)/m!`` and the powers p^m of its series, ``y_k = Σ_m g_m p^m_k``.
The sums over directions that make the highest order stay in registers. Each column comes from a product with
the weight or is read, so that a layer reads its input and writes its result, and nothing between them.

The transpose takes the columns of a gradient in the same way: those of the next layer times its weight, or
as they are. With h the series of ``f'(u(t))``, ``ū_k = Σ_{l >= k} h_{l-k} ȳ_l``, and the value receives the
sum of ``h_l ȳ_l``. On its way it writes y once more, for the gradient of the next weight.

Columns lie as in `sciml.kernels.jet_series`, order after order. The lowest LOWER orders have a column for
each direction, the highest of a collapsed bundle has one for all. Columns above the order DEGREE are absent:
they are zero.
"""

from __future__ import annotations

import triton
import triton.language as tl

from sciml.kernels.triton.device import product
from sciml.kernels.triton.jet_ladder import ladder


@triton.jit  # type: ignore[untyped-decorator]
def located(points: tl.tensor, width: tl.tensor, POINTS: tl.constexpr, FEATURES: tl.constexpr) -> tl.tuple:
    """The first point of this program, points from there (POINTS, 1), features (1, FEATURES), which exist.

    Programs of the same points follow each other, so that these are read from memory once. The first point
    has 64 bits, what is added to it 32: addresses take fewer registers that way.
    """
    tiles = tl.cdiv(width, FEATURES)
    start = (tl.program_id(0) // tiles).to(tl.int64) * POINTS
    n = tl.arange(0, POINTS)[:, None]
    f = tl.program_id(0) % tiles * FEATURES + tl.arange(0, FEATURES)[None, :]
    return start, n, f, n < points - start, f < width


@triton.jit  # type: ignore[untyped-decorator]
def column(
    source: tl.tensor,
    row: tl.tensor,
    matrix: tl.tuple,
    tile: tl.tuple,
    INNER: tl.constexpr,
    PRODUCT: tl.constexpr,
    PRECISION: tl.constexpr,
) -> tl.tensor:
    """A tile of a column whose rows are `row` numbers apart, or of its product with a matrix.

    A matrix is its address, the steps of its two axes, and the length of the first.
    """
    start, n, f, real_n, real_f = tile
    source += start * row
    if PRODUCT:
        address, step_inner, step_feature, inner = matrix
        result = tl.zeros((n.shape[0], f.shape[1]), source.dtype.element_ty)
        for before in range(0, inner, INNER):
            i = before + tl.arange(0, INNER)
            real = i < inner
            a = tl.load(source + n * row + i[None, :], mask=real_n & real[None, :], other=0.0)
            b = tl.load(
                address + i[:, None] * step_inner + f * step_feature, mask=real[:, None] & real_f, other=0.0
            )
            result = product(a, b, result, PRECISION)
    else:
        result = tl.load(source + n * row + f, mask=real_n & real_f, other=0.0)
    return result


@triton.jit  # type: ignore[untyped-decorator]
def powers(u: tl.tuple, K: tl.constexpr) -> tl.tuple:
    """The coefficients of order K of the second to fourth powers of a series ``(u_1, u_2, u_3, u_4)``.

    Powers higher than K have none: in their places stand others, which nobody reads.
    """
    p2, p3, p4 = u[0], u[0], u[0]
    if K == 2:
        p2 = u[0] * u[0]
    elif K == 3:
        p2 = 2.0 * u[0] * u[1]
        p3 = u[0] * u[0] * u[0]
    elif K == 4:
        s = u[0] * u[0]
        p2 = 2.0 * u[0] * u[2] + u[1] * u[1]
        p3 = 3.0 * s * u[1]
        p4 = s * s
    return p2, p3, p4


@triton.jit  # type: ignore[untyped-decorator]
def combined(a: tl.tuple, u: tl.tensor, p: tl.tuple, K: tl.constexpr) -> tl.tensor:
    """``a_1 u + a_2 p_2 + ... + a_K p_K``."""
    total = a[1] * u
    if K >= 2:
        total += a[2] * p[0]
    if K >= 3:
        total += a[3] * p[1]
    if K >= 4:
        total += a[4] * p[2]
    return total


@triton.jit  # type: ignore[untyped-decorator]
def added(sums: tl.tuple, weight: tl.tensor, p: tl.tuple) -> tl.tuple:
    return sums[0] + weight * p[0], sums[1] + weight * p[1], sums[2] + weight * p[2]


@triton.jit  # type: ignore[untyped-decorator]
def replaced(u: tl.tuple, K: tl.constexpr, u_k: tl.tensor) -> tl.tuple:
    """The series with another coefficient of order K."""
    return (
        u_k if K == 1 else u[0],
        u_k if K == 2 else u[1],
        u_k if K == 3 else u[2],
        u_k if K == 4 else u[3],
    )


@triton.jit  # type: ignore[untyped-decorator]
def activate(
    value: tl.tensor,
    rest: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    signs: tl.tensor,
    z_value: tl.tensor,
    z_rest: tl.tensor,
    y_value: tl.tensor,
    y_rest: tl.tensor,
    points: tl.tensor,
    inner: tl.tensor,
    width: tl.tensor,
    count: tl.tensor,
    step: tl.tensor,
    row: tl.tensor,
    POINTS: tl.constexpr,
    FEATURES: tl.constexpr,
    INNER: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ORDER: tl.constexpr,
    DEGREE: tl.constexpr,
    COLLAPSED: tl.constexpr,
    WEIGHTED: tl.constexpr,
    PRODUCT: tl.constexpr,
    BIAS: tl.constexpr,
    KEEP: tl.constexpr,
    FIRST: tl.constexpr,
    ONLY_TOP: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """``y = f(z)`` for the value and one bundle, where ``z = x weight^T + bias``, or z is read.

    Columns of the source are `step` numbers apart, its rows `row`. With KEEP z is written, too. The FIRST
    bundle writes the value. signs (count,) are the weights of the sum over directions.
    """
    tile = located(points, width, POINTS, FEATURES)
    start, n, f, real_n, real_f = tile
    mask, at, first = real_n & real_f, n * width + f, start * width
    size, step = tl.cast(points, tl.int64) * width, tl.cast(step, tl.int64)
    matrix = weight, 1, inner, inner
    LOWER: tl.constexpr = ORDER - 1 if COLLAPSED else ORDER
    z = column(value, inner if PRODUCT else width, matrix, tile, INNER, PRODUCT, PRECISION)
    if BIAS:
        z += tl.load(bias + f, mask=real_f, other=0.0)
    g = ladder(z, ACTIVATION)
    if FIRST:
        if KEEP:
            tl.store(z_value + first + at, z, mask=mask)
        tl.store(y_value + first + at, g[0], mask=mask)
    z_rest += first
    y_rest += first
    zero = tl.zeros_like(z)
    sums = zero, zero, zero
    if LOWER > 0:
        for r in range(count):
            u = zero, zero, zero, zero
            for k in tl.static_range(1, LOWER + 1):
                if k <= DEGREE:
                    c = (k - 1) * count + r
                    u_k = column(rest + c * step, row, matrix, tile, INNER, PRODUCT, PRECISION)
                    if KEEP:
                        tl.store(z_rest + c * size + at, u_k, mask=mask)
                    u = replaced(u, k, u_k)
            for k in tl.static_range(1, LOWER + 1):
                if k == ORDER or not ONLY_TOP:
                    y = combined(g, u[k - 1], powers(u, k), k)
                    c = r if ONLY_TOP else (k - 1) * count + r
                    tl.store(y_rest + c * size + at, y, mask=mask)
            if COLLAPSED:
                sign = 1.0
                if WEIGHTED:
                    sign = tl.load(signs + r)
                sums = added(sums, sign, powers(u, ORDER))
    if COLLAPSED:
        top = zero
        if DEGREE >= ORDER:
            top = column(rest + LOWER * count * step, row, matrix, tile, INNER, PRODUCT, PRECISION)
            if KEEP:
                tl.store(z_rest + LOWER * count * size + at, top, mask=mask)
        c = 0 if ONLY_TOP else LOWER * count
        tl.store(y_rest + c * size + at, combined(g, top, sums, ORDER), mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def transpose(
    gradient: tl.tensor,
    of_y: tl.tensor,
    weight: tl.tensor,
    signs: tl.tensor,
    z_value: tl.tensor,
    z_rest: tl.tensor,
    earlier: tl.tensor,
    of_value: tl.tensor,
    of_rest: tl.tensor,
    y_value: tl.tensor,
    y_rest: tl.tensor,
    points: tl.tensor,
    inner: tl.tensor,
    width: tl.tensor,
    count: tl.tensor,
    step: tl.tensor,
    row: tl.tensor,
    columns: tl.tensor,
    POINTS: tl.constexpr,
    FEATURES: tl.constexpr,
    INNER: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ORDER: tl.constexpr,
    DEGREE: tl.constexpr,
    COLLAPSED: tl.constexpr,
    WEIGHTED: tl.constexpr,
    PRODUCT: tl.constexpr,
    SHARED: tl.constexpr,
    AGAIN: tl.constexpr,
    FIRST: tl.constexpr,
    ONLY_TOP: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """The gradient of the value, and of the other columns of a bundle, before the activation.

    That of y is ``of_y weight``, or read: the value's in `gradient`, the bundle's in of_y. Columns of z are
    `step` numbers apart, its rows `row`. SHARED columns of z have one row for all points; what is written
    then are sums over the points of a tile, (tile, columns, width). The gradient of the value is added to
    `earlier`, what other bundles gave; with AGAIN y is written.
    """
    tile = located(points, width, POINTS, FEATURES)
    start, n, f, real_n, real_f = tile
    mask, at, first = real_n & real_f, n * width + f, start * width
    size = tl.cast(points, tl.int64) * width
    LOWER: tl.constexpr = ORDER - 1 if COLLAPSED else ORDER
    matrix = weight, width, 1, inner
    across = inner if PRODUCT else width
    between = tl.cast(points, tl.int64) * across
    step = tl.cast(step, tl.int64)
    # What is written of the gradient of a column: a tile, or one row of sums.
    if SHARED:
        of_rest += start // POINTS * columns * width
        place, out, real = f, tl.cast(width, tl.int64), real_f
    else:
        of_rest += first
        place, out, real = at, size, mask
    z_rest += start * row
    y_rest += first
    z = tl.load(z_value + first + at, mask=mask, other=0.0)
    g = ladder(z, ACTIVATION)
    h = g[1], 2.0 * g[2], 3.0 * g[3], 4.0 * g[4], 5.0 * g[5]
    zero = tl.zeros_like(z)
    if FIRST:
        total = h[0] * column(gradient, across, matrix, tile, INNER, PRODUCT, PRECISION)
        if AGAIN:
            tl.store(y_value + first + at, g[0], mask=mask)
    else:
        total = tl.load(earlier + first + at, mask=mask, other=0.0)
    top, of_top = zero, zero
    if COLLAPSED:
        c = 0 if ONLY_TOP else LOWER * count
        of_top = column(of_y + c * between, across, matrix, tile, INNER, PRODUCT, PRECISION)
        if DEGREE >= ORDER:
            top = tl.load(z_rest + LOWER * count * step + n * row + f, mask=mask, other=0.0)
            put(of_rest + LOWER * count * out + place, h[0] * of_top, real, SHARED)
    sums = zero, zero, zero
    if LOWER > 0:
        for r in range(count):
            u = zero, zero, zero, zero
            for k in tl.static_range(1, LOWER + 1):
                if k <= DEGREE:
                    c = (k - 1) * count + r
                    u = replaced(u, k, tl.load(z_rest + c * step + n * row + f, mask=mask, other=0.0))
            # The series of f', and of the gradient.
            s1 = combined(h, u[0], powers(u, 1), 1)
            s2 = combined(h, u[1], powers(u, 2), 2)
            s3 = combined(h, u[2], powers(u, 3), 3)
            s4 = combined(h, u[3], powers(u, 4), 4)
            s = h[0], s1, s2, s3, s4
            of_u = zero, zero, zero, zero
            for l in tl.static_range(1, LOWER + 1):
                if l == ORDER or not ONLY_TOP:
                    c = r if ONLY_TOP else (l - 1) * count + r
                    of_y_l = column(of_y + c * between, across, matrix, tile, INNER, PRODUCT, PRECISION)
                    total += s[l] * of_y_l
                    for k in tl.static_range(1, l + 1):
                        of_u = replaced(of_u, k, of_u[k - 1] + s[l - k] * of_y_l)
            if COLLAPSED:
                sign = 1.0
                if WEIGHTED:
                    sign = tl.load(signs + r)
                sums = added(sums, sign, powers(u, ORDER))
                for k in tl.static_range(1, ORDER):
                    of_u = replaced(of_u, k, of_u[k - 1] + s[ORDER - k] * (sign * of_top))
            for k in tl.static_range(1, LOWER + 1):
                if k <= DEGREE:
                    put(of_rest + ((k - 1) * count + r) * out + place, of_u[k - 1], real, SHARED)
                if AGAIN and (k == ORDER or not ONLY_TOP):
                    y = combined(g, u[k - 1], powers(u, k), k)
                    c = r if ONLY_TOP else (k - 1) * count + r
                    tl.store(y_rest + c * size + at, y, mask=mask)
    if COLLAPSED:
        total += combined(h, top, sums, ORDER) * of_top
        if AGAIN:
            c = 0 if ONLY_TOP else LOWER * count
            tl.store(y_rest + c * size + at, combined(g, top, sums, ORDER), mask=mask)
    tl.store(of_value + first + at, total, mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def put(target: tl.tensor, tile: tl.tensor, mask: tl.tensor, SHARED: tl.constexpr) -> None:
    """Write a tile, or its sum over the points."""
    if SHARED:
        tile = tl.sum(tile, 0)[None, :]
    tl.store(target, tile, mask=mask)
