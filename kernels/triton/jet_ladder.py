"""Taylor coefficients of activations on the device: ``g_m = f^(m)(u)/m!`` for m = 0, ..., 5.

The formulas of `sciml.kernels.jet_ladders`, written out; what a kernel does not use, its compiler drops.
"""

from __future__ import annotations

import triton
import triton.language as tl

from sciml.kernels.triton.device import INVERSE_SQRT_2, INVERSE_SQRT_2_PI

# tanh(u)/u = 1 + s p(s), s = u^2: the polynomial with the least relative error of tanh for |u| <= 0.625,
# which is 4.4e-9. The formula for larger numbers loses digits to cancellation there.
SMALL = tl.constexpr(0.625)
P0 = tl.constexpr(-0.33333281941947274)
P1 = tl.constexpr(0.13331442196831322)
P2 = tl.constexpr(-0.05373971499627134)
P3 = tl.constexpr(0.02063908700611991)
P4 = tl.constexpr(-0.0057049867724450086)


@triton.jit  # type: ignore[untyped-decorator]
def tanh(u: tl.tensor) -> tl.tensor:
    """To the accuracy of float32 everywhere, also relative to small results."""
    s = u * u
    small = u + u * s * (P0 + s * (P1 + s * (P2 + s * (P3 + s * P4))))
    e = tl.exp(-2.0 * tl.abs(u))
    large = (1.0 - e) / (1.0 + e)
    return tl.where(s <= SMALL * SMALL, small, tl.where(u < 0.0, -large, large))


@triton.jit  # type: ignore[untyped-decorator]
def sigmoid(u: tl.tensor) -> tl.tensor:
    """Six coefficients, by ``s' = s (1 - s)``."""
    s = 1.0 / (1.0 + tl.exp(-u))
    d = s * (1.0 - s)
    e = 1.0 - 2.0 * s
    return (
        s,
        d,
        d * e * (1.0 / 2.0),
        d * (1.0 - 6.0 * d) * (1.0 / 6.0),
        d * e * (1.0 - 12.0 * d) * (1.0 / 24.0),
        d * (1.0 - d * (30.0 - 120.0 * d)) * (1.0 / 120.0),
    )


@triton.jit  # type: ignore[untyped-decorator]
def normal(u: tl.tensor) -> tl.tensor:
    """Six coefficients of the distribution function of a standard normal number."""
    s = u * u
    density = INVERSE_SQRT_2_PI * tl.exp(-0.5 * s)
    return (
        0.5 * (1.0 + tl.erf(u * INVERSE_SQRT_2)),
        density,
        density * u * (-1.0 / 2.0),
        density * (s - 1.0) * (1.0 / 6.0),
        density * u * (3.0 - s) * (1.0 / 24.0),
        density * (3.0 + s * (s - 6.0)) * (1.0 / 120.0),
    )


@triton.jit  # type: ignore[untyped-decorator]
def by_itself(u: tl.tensor, f: tl.tuple) -> tl.tuple:
    """The coefficients of ``u f(u)``."""
    return (
        u * f[0],
        f[0] + u * f[1],
        f[1] + u * f[2],
        f[2] + u * f[3],
        f[3] + u * f[4],
        f[4] + u * f[5],
    )


@triton.jit  # type: ignore[untyped-decorator]
def ladder(u: tl.tensor, ACTIVATION: tl.constexpr) -> tl.tuple:
    """The six coefficients of an activation at u."""
    if ACTIVATION == "tanh":
        v = tanh(u)
        s = v * v
        d = 1.0 - s
        g = (
            v,
            d,
            -v * d,
            (s - 1.0 / 3.0) * d,
            v * (2.0 / 3.0 - s) * d,
            (2.0 / 15.0 + s * (s - 1.0)) * d,
        )
    elif ACTIVATION == "sine":
        s = tl.sin(u)
        c = tl.cos(u)
        g = (s, c, s * (-1.0 / 2.0), c * (-1.0 / 6.0), s * (1.0 / 24.0), c * (1.0 / 120.0))
    elif ACTIVATION == "cosine":
        s = tl.sin(u)
        c = tl.cos(u)
        g = (c, -s, c * (-1.0 / 2.0), s * (1.0 / 6.0), c * (1.0 / 24.0), s * (-1.0 / 120.0))
    elif ACTIVATION == "sigmoid":
        g = sigmoid(u)
    elif ACTIVATION == "silu":
        g = by_itself(u, sigmoid(u))
    else:
        tl.static_assert(ACTIVATION == "gelu")
        g = by_itself(u, normal(u))
    return g
