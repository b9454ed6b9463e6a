"""What products of matrices lose in the number formats of tensor cores, emulated on any device.

A tensor core rounds the factors and adds up the products in float32. TF32 keeps 10 bits behind the leading
one, bfloat16 7; float32 has 23. The forms "x3" write a factor as a sum of two such numbers and take three of
the four products, which brings back most of what rounding took.
"""

from __future__ import annotations

import torch
from torch import Tensor

MANTISSA = {"tf32": 10, "bf16": 7}
FLOAT32_MANTISSA = 23


def rounded(x: Tensor, bits: int) -> Tensor:
    """The float32 numbers x to the nearest with `bits` bits behind the leading one, ties away from zero.

    Examples
    --------
    >>> rounded(torch.tensor([1.0, 1.0 + 2**-11, 1.0 + 2**-12]), 10).tolist()
    [1.0, 1.0009765625, 1.0]
    """
    if x.dtype != torch.float32:
        raise ValueError(f"rounded: x must be float32, got {x.dtype}. Pass x.float().")
    dropped = FLOAT32_MANTISSA - bits
    pattern = x.view(torch.int32)
    return ((pattern + (1 << (dropped - 1))) & -(1 << dropped)).view(torch.float32)


def emulated_product(a: Tensor, b: Tensor, precision: str) -> Tensor:
    """``a @ b`` of float32 matrices as a tensor core computes it.

    Parameters
    ----------
    a, b : (..., m, k), (..., k, n) float32
    precision : "fp32", "tf32", "tf32x3", "bf16" or "bf16x3"

    Raises
    ------
    ValueError
        If the precision is unknown or a factor is not float32.

    Examples
    --------
    >>> noise = torch.Generator().manual_seed(0)
    >>> a, b = torch.randn(64, 64, generator=noise), torch.randn(64, 64, generator=noise)
    >>> def error(precision):
    ...     exact = a.double() @ b.double()
    ...     return ((emulated_product(a, b, precision) - exact).norm() / exact.norm()).item()
    >>> error("tf32x3") < 1e-6 < error("bf16x3") < 1e-4 < error("bf16") < 1e-2
    True
    """
    if precision == "fp32":
        return a @ b
    name = precision.removesuffix("x3")
    if name not in MANTISSA:
        raise ValueError(
            f"emulated_product: precision must be fp32, tf32, tf32x3, bf16 or bf16x3, got {precision!r}."
        )
    bits = MANTISSA[name]
    high_a, high_b = rounded(a, bits), rounded(b, bits)
    if name == precision:
        return high_a @ high_b
    low_a, low_b = rounded(a - high_a, bits), rounded(b - high_b, bits)
    return low_a @ high_b + high_a @ low_b + high_a @ high_b
