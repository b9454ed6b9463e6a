"""Device functions that the kernels share."""

from __future__ import annotations

import triton
import triton.language as tl

INVERSE_SQRT_2 = tl.constexpr(0.7071067811865476)
INVERSE_SQRT_2_PI = tl.constexpr(0.3989422804014327)


@triton.jit  # type: ignore[untyped-decorator]
def product(a: tl.tensor, b: tl.tensor, sums: tl.tensor, PRECISION: tl.constexpr) -> tl.tensor:
    """``sums + a @ b`` of float32 blocks, added up in float32; PRECISION says how the factors are rounded."""
    if PRECISION == "bf16":
        sums = tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16), sums)
    elif PRECISION == "fp16":  # stands for bf16 in the interpreter, whose products of bf16 are garbage
        sums = tl.dot(a.to(tl.float16), b.to(tl.float16), sums)
    else:
        sums = tl.dot(a, b, sums, input_precision=PRECISION)
    return sums


@triton.jit  # type: ignore[untyped-decorator]
def gelu(z: tl.tensor) -> tl.tensor:
    """``z Φ(z)``, Φ the distribution function of a standard normal number."""
    return 0.5 * z * (1.0 + tl.erf(z * INVERSE_SQRT_2))


@triton.jit  # type: ignore[untyped-decorator]
def gelu_slope(z: tl.tensor) -> tl.tensor:
    """``Φ(z) + z φ(z)``."""
    return 0.5 * (1.0 + tl.erf(z * INVERSE_SQRT_2)) + z * INVERSE_SQRT_2_PI * tl.exp(-0.5 * z * z)


@triton.jit  # type: ignore[untyped-decorator]
def load_field(x: tl.tensor, at: tl.tensor, mask: tl.tensor, GELU: tl.constexpr) -> tl.tensor:
    """Samples of a field in float32, activated with GELU; zeros stay zeros."""
    samples = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    if GELU:
        samples = gelu(samples)
    return samples
