"""A form as a sum of few powers of lines in general position, found by least squares."""

from __future__ import annotations

from fractions import Fraction
from functools import reduce

import torch
from torch import Tensor

from sciml.kernels.lines import (
    NEGLIGIBLE,
    Exponents,
    Form,
    Line,
    Number,
    canonical,
    monomials,
    multinomial,
    order_of,
    weights_of,
)

# Starts at once, steps of each, and counts of lines that are tried. A fit that exists is usually found by one
# start in ten within fifty steps.
STARTS, STEPS, COUNTS = 24, 80, 6

# Fits that approach a form only through large terms that cancel (its border rank is smaller than its rank)
# lose digits; sums of absolute values beyond this multiple of the form are refused.
CANCELLATION = 100.0

# Unknowns of one least-squares problem: more would take longer to plan than the jets take to evaluate.
MOST_UNKNOWNS = 80


def fit_powers(form: Form, most: int) -> dict[Line, Number] | None:
    """Lines and weights with at most `most` lines, None if none were found.

    Minimizes ``|Σ_r w_r (v_r·ξ)^K - f|²`` over lines and weights (Levenberg-Marquardt from many starts,
    always the same ones), for growing numbers of lines from a lower bound on. What is returned is exact up to
    rounding.

    Examples
    --------
    ``(x + y)³ + (y + z)³ + (x + z)³`` from its coefficients:

    >>> from sciml.kernels.lines import monomials, power
    >>> lines = [(1, 1, 0), (0, 1, 1), (1, 0, 1)]
    >>> form = {m: Fraction(sum(power(v, m) for v in lines)) for m in monomials(3, 3)}
    >>> len(fit_powers({m: c for m, c in form.items() if c}, 10))
    3
    """
    size, order = len(next(iter(form))), order_of(form)
    rows = monomials(size, order)
    scale = max(abs(c) for c in form.values())
    target = torch.tensor([float(form.get(m, Fraction(0)) / scale) for m in rows], dtype=torch.float64)
    # Weights that make the norm invariant under rotations: coefficients of the symmetric tensor.
    norm = torch.tensor([1.0 / multinomial(m) for m in rows], dtype=torch.float64).sqrt()
    first = lower_bound(form)
    for count in range(first, min(most, first + COUNTS - 1, MOST_UNKNOWNS // (size + 1)) + 1):
        best, least = None, CANCELLATION * float((target * norm).norm())
        for lines in _fit(rows, target * norm, norm, count):
            exact = [canonical(line) for line in lines]
            weights = weights_of(exact, form)
            if weights is None or not all(weights):
                continue
            total = sum(
                abs(float(w / scale)) * sum(float(e) ** 2 for e in v) ** (order / 2)
                for v, w in zip(exact, weights, strict=True)
            )
            if total <= least:
                best, least = dict(zip(exact, weights, strict=True)), total
        if best:
            return best
    return None


def lower_bound(form: Form) -> int:
    """The rank of the most square catalecticant, whose rows are derivatives of f; no fewer powers do."""
    size, order = len(next(iter(form))), order_of(form)
    half = order // 2
    matrix = [
        [
            float(form.get(tuple(a + b for a, b in zip(left, right, strict=True)), 0))
            / multinomial(tuple(a + b for a, b in zip(left, right, strict=True)))
            for right in monomials(size, order - half)
        ]
        for left in monomials(size, half)
    ]
    return int(torch.linalg.matrix_rank(torch.tensor(matrix, dtype=torch.float64), rtol=NEGLIGIBLE))


def _fit(rows: tuple[Exponents, ...], target: Tensor, norm: Tensor, count: int) -> list[list[list[float]]]:
    """Lines of the starts that converged."""
    size = len(rows[0])
    generator = torch.Generator().manual_seed(count)
    lines = torch.randn(STARTS, count, size, dtype=torch.float64, generator=generator)
    lines = lines / lines.norm(dim=2, keepdim=True)
    weights = torch.randn(STARTS, count, dtype=torch.float64, generator=generator)
    damping = torch.full((STARTS, 1, 1), 1e-2, dtype=torch.float64)
    exponents = torch.tensor(rows)
    scale = torch.tensor([float(multinomial(m)) for m in rows], dtype=torch.float64) * norm
    residual, jacobian = _linearize(lines, weights, exponents, scale, target)
    identity = torch.eye(count * (size + 1), dtype=torch.float64)
    for _ in range(STEPS):
        normal = jacobian.mT @ jacobian + damping * identity
        step = torch.linalg.solve(normal, -(jacobian.mT @ residual[..., None]))[..., 0]
        new_weights = weights + step[:, :count]
        new_lines = lines + step[:, count:].reshape(STARTS, count, size)
        new_residual, new_jacobian = _linearize(new_lines, new_weights, exponents, scale, target)
        better = new_residual.norm(dim=1) < residual.norm(dim=1)
        lines = torch.where(better[:, None, None], new_lines, lines)
        weights = torch.where(better[:, None], new_weights, weights)
        residual = torch.where(better[:, None], new_residual, residual)
        jacobian = torch.where(better[:, None, None], new_jacobian, jacobian)
        damping = torch.where(better[:, None, None], damping / 4, damping * 3).clamp(1e-14, 1e6)
    converged = residual.norm(dim=1) <= NEGLIGIBLE * target.norm()
    return [lines[i].tolist() for i in torch.nonzero(converged)[:, 0].tolist()]


def _linearize(
    lines: Tensor, weights: Tensor, exponents: Tensor, scale: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Residual (starts, m) and its derivative (starts, m, unknowns): weights first, then lines."""
    starts, count, size = lines.shape
    table = [torch.ones_like(lines)]
    for _ in range(int(exponents[0].sum())):
        table.append(table[-1] * lines)
    stacked = torch.stack(table, dim=-1)  # (starts, count, size, K + 1)
    powers = [stacked[:, :, i][..., exponents[:, i]] for i in range(size)]
    value = reduce(torch.mul, powers) * scale
    residual = (weights[:, :, None] * value).sum(1) - target
    of_lines = []
    for i in range(size):
        lowered = stacked[:, :, i][..., (exponents[:, i] - 1).clamp_min(0)] * exponents[:, i]
        rest = reduce(torch.mul, (*powers[:i], *powers[i + 1 :]), lowered)
        of_lines.append(weights[:, :, None] * scale * rest)
    derivative = torch.stack(of_lines, dim=2).reshape(starts, count * size, -1)
    return residual, torch.cat((value, derivative), dim=1).mT
