r"""Sums over neighboring variables, and what a Laplacian needs of them, in one pass over the points.

Exact solutions of high-dimensional benchmarks are a boundary factor times
``S(x) = Σ_i c_i s(x_i, ..., x_{i+k})``. Their source terms need S, ``x·∇S`` and ``ΔS``. Here these are added
up piece by piece, so that nothing of the size of the points is stored.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# s, Σ_m x_m ∂s/∂x_m and Σ_m ∂²s/∂x_m² for each i, (batch, n), from consecutive variables (batch, n + k - 1).
Terms = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]

# Elements of a piece for each core: about ten of that size are in use at a time, in its cache; on a GPU as
# many as keep it busy.
PIECE_ON_CPU = 2**15
PIECE_ON_CUDA = 2**24


def neighbor_sum(
    x: Tensor, coefficients: Tensor, terms: Terms, neighbors: int
) -> tuple[Tensor, Tensor, Tensor]:
    r"""``S = Σ_i c_i s(x_i, ..., x_{i+k-1})``, its radial derivative ``x·∇S``, and ``ΔS``, at each point.

    Parameters
    ----------
    x : (batch, d)
    coefficients : (d - k + 1,)
        c_i.
    terms : callable
        `two_body`, `three_body`, or another function of some consecutive variables (batch, n + k - 1) that
        returns ``s``, ``Σ_m x_m ∂_m s`` and ``Σ_m ∂_m² s``, each (batch, n).
    neighbors : int
        k.

    Returns
    -------
    three tensors (batch,)
        Added up in float64 between pieces, in the dtype of x.

    Raises
    ------
    ValueError
        If the number of coefficients does not fit.

    Examples
    --------
    >>> neighbor_sum(torch.zeros(1, 3), torch.ones(2), two_body, 2)[0]  # 2 sin(0 + cos 0 + 0)
    tensor([1.6829])
    """
    count = x.shape[1] - neighbors + 1
    if count < 1 or coefficients.shape != (count,):
        raise ValueError(
            f"neighbor_sum: {neighbors} neighbors of {x.shape[1]} variables need coefficients of shape "
            f"({max(count, 1)},), got {tuple(coefficients.shape)} for x of shape {tuple(x.shape)}."
        )
    size = PIECE_ON_CPU * torch.get_num_threads() if x.device.type == "cpu" else PIECE_ON_CUDA
    width = max(1, size // max(1, len(x)))
    total = x.new_zeros(3, len(x), dtype=torch.float64)
    for start in range(0, count, width):
        stop = min(start + width, count)
        c = coefficients[start:stop].to(x)
        found = terms(x[:, start : stop + neighbors - 1])
        total = total + torch.stack([part @ c for part in found])
    value, outward, laplacian = total.to(x.dtype)
    return value, outward, laplacian


def two_body(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""``s = sin(a + cos b + b cos a)`` of neighbors a, b: the two-body interaction.

    With θ the argument, ``θ_a = 1 - b sin a``, ``θ_b = cos a - sin b``, ``θ_aa = -b cos a``,
    ``θ_bb = -cos b``.

    Source: Z. Hu et al., *Hutchinson trace estimation for high-dimensional and high-order PINNs*,
    arXiv:2312.14499.
    """
    sines, cosines = x.sin(), x.cos()
    a, b = x[:, :-1], x[:, 1:]
    b_cos_a, cos_b = b * cosines[:, :-1], cosines[:, 1:]
    bend = b_cos_a + cos_b
    angle = a + bend
    slope_a = torch.addcmul(torch.ones((), dtype=x.dtype, device=x.device), b, sines[:, :-1], value=-1)
    slope_b = cosines[:, :-1] - sines[:, 1:]
    s, c = angle.sin(), angle.cos()
    outward = torch.addcmul(a * slope_a, b, slope_b) * c
    curved = torch.addcmul(slope_a * slope_a, slope_b, slope_b)
    return s, outward, torch.addcmul(-s * curved, c, bend, value=-1)


def three_body(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``s = exp(a b c)`` of neighbors: the three-body interaction, ``Δs = ((bc)² + (ca)² + (ab)²) s``."""
    a, b, c = x[:, :-2], x[:, 1:-1], x[:, 2:]
    ab = a * b
    product = ab * c
    s = product.exp()
    return s, 3 * product * s, s * ((b * c).square() + (c * a).square() + ab.square())
