"""Homogeneous differential operators as estimators see them: lines, and summands to draw from.

A form of order K is a K-linear contraction of the derivative ``D^K u(x)``. Whatever estimates it is a
weighted sum of derivatives along lines (`Directions`): all lines for the exact value, those of some summands,
or random ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor

from sciml.kernels.cubature import sphere_lines
from sciml.kernels.derivatives import Coefficient, MultiIndex, evaluate_coefficient
from sciml.kernels.jet import Directions
from sciml.kernels.planner import dense_lines, monomial_lines
from sciml.kernels.plans import Part, Plan
from sciml.kernels.sweeps import Sweep
from sciml.kernels.waring import stretch_of


class Form(Protocol):
    """What estimators ask of an operator of one order; points are ``x (batch, d)``."""

    @property
    def order(self) -> int:
        """K >= 1."""

    def lines(self, x: Tensor) -> Directions:
        """Lines that give its exact value."""

    def count(self, x: Tensor) -> int:
        """Summands from which `some` chooses."""

    def some(self, x: Tensor, index: Tensor, scale: float) -> Directions:
        """`scale` times the sum of summands index (R,), or (R, batch): others for each point."""


@dataclass(frozen=True, eq=False)
class LineForm:
    """``Σ_r w_r D^K u[v_r, …, v_r]``; each line is a summand.

    Parameters
    ----------
    order : int
        K.
    vectors : (R, d), (R, batch, d) or None
        The v_r; None for the d unit vectors, which are never built as a matrix when some are drawn.
    weights : (R,), (R, batch) or None
        The w_r; None for ones.
    nonnegative : bool
        Whether all weights are known to be at least 0.
    """

    order: int
    vectors: Tensor | None = None
    weights: Tensor | None = None
    nonnegative: bool = False

    @property
    def positive(self) -> bool:
        """Whether no weight is negative, as far as is known."""
        return self.weights is None or self.nonnegative

    def lines(self, x: Tensor) -> Directions:
        vectors = _unit_vectors(x) if self.vectors is None else self.vectors
        return Directions(
            self.order, vectors, x.new_ones(vectors.shape[0]) if self.weights is None else self.weights
        )

    def count(self, x: Tensor) -> int:
        return x.shape[1] if self.vectors is None else self.vectors.shape[0]

    def some(self, x: Tensor, index: Tensor, scale: float) -> Directions:
        if self.vectors is None:
            chosen = x.new_zeros(*index.shape, x.shape[1]).scatter_(-1, index[..., None], 1.0)
        else:
            chosen = _rows(self.vectors, index)
        if self.weights is None:
            return Directions(self.order, chosen, x.new_full((index.shape[0],), scale))
        return Directions(self.order, chosen, scale * _rows(self.weights[..., None], index)[..., 0])

    def mix(self, noise: Tensor, factors: Tensor | None = None) -> Tensor:
        """``Σ_r noise_r factors_r v_r`` for noise (samples, [batch,] R): (samples, [batch,] d)."""
        if factors is not None:
            noise = noise * factors if factors.ndim == 1 else _per_point(noise) * factors.T
        if self.vectors is None:
            return noise
        if self.vectors.ndim == 2:
            return noise @ self.vectors
        return torch.einsum(
            "sbr,rbd->sbd", _per_point(noise).expand(-1, self.vectors.shape[1], -1), self.vectors
        )


@dataclass(frozen=True, eq=False)
class PlannedForm(LineForm):
    """The part of one order of an operator that was planned; its summands are its terms.

    Parameters
    ----------
    terms : {multi-index: value}
        The operator ``Σ c_α(x) ∂^α``, c_α being (batch,) or ().
    isotropic : (sign, {i: s_i²}), optional
        For ``±(Σ_i s_i ∂²/∂x_i²)²``, up to the common factor of all terms; see `squared_laplacian`.
    factor : () or (batch,), optional
        That factor.
    """

    terms: Mapping[MultiIndex, Tensor] = field(default_factory=dict)
    isotropic: tuple[int, Mapping[int, Fraction]] | None = None
    factor: Tensor | None = None

    def count(self, x: Tensor) -> int:
        return len(self.terms)

    def some(self, x: Tensor, index: Tensor, scale: float) -> Directions:
        vectors, weights, lengths = self._table(x)
        if index.ndim == 1:  # the lines of every term that was drawn, and no others
            kept = [(p, b) for p in index.tolist() for b in range(lengths[p])]
            rows = torch.tensor([p for p, _ in kept], device=x.device)
            places = torch.tensor([b for _, b in kept], device=x.device)
            return Directions(self.order, vectors[rows, places], scale * weights[rows, places])
        points = torch.arange(x.shape[0], device=x.device)
        chosen = weights[index] if weights.ndim == 2 else weights[index, :, points]
        return Directions(
            self.order,
            vectors[index].movedim(2, 1).flatten(0, 1),
            scale * chosen.movedim(2, 1).flatten(0, 1),
        )

    def squared_laplacian(self, x: Tensor) -> SquaredLaplacian | None:
        """The same operator as ``c (Σ_i s_i ∂²/∂x_i²)²``, if it is one."""
        if self.isotropic is None or self.factor is None:
            return None
        sign, squares = self.isotropic
        stretch = x.new_zeros(x.shape[1])
        for i, s in squares.items():
            stretch[i] = float(s) ** 0.25
        return SquaredLaplacian(stretch, sign * self.factor)

    def _table(self, x: Tensor) -> tuple[Tensor, Tensor, list[int]]:
        """Lines (P, B, d) and weights (P, B[, batch]) of all terms, filled up with zeros, and how many."""
        lines = [monomial_lines(index) for index in self.terms]
        lengths = [len(of) for of in lines]
        vectors = x.new_zeros(len(lines), max(lengths), x.shape[1])
        pure = x.new_zeros(len(lines), max(lengths))
        for p, of in enumerate(lines):
            vectors[p, : len(of)] = dense_lines([line for line, _ in of], x.shape[1]).to(x)
            pure[p, : len(of)] = pure.new_tensor([float(w) for _, w in of])
        scale = torch.stack(torch.broadcast_tensors(*self.terms.values()))  # (P,) or (P, batch)
        return (
            vectors,
            pure * scale[:, None] if scale.ndim == 1 else pure[..., None] * scale[:, None],
            lengths,
        )


@dataclass(frozen=True, eq=False)
class MatrixForm:
    """``tr(A(x) Hess u)``; the summands are the rows ``A_i · Hess u_i``.

    Parameters
    ----------
    matrix : (d, d) or (batch, d, d)
        A; only its symmetric part counts.
    """

    matrix: Tensor
    order: int = 2

    def lines(self, x: Tensor) -> Directions:
        a = (self.matrix + self.matrix.mT) / 2
        if not a.requires_grad:
            # As many lines as the rank, the eigenvectors.
            values, vectors = torch.linalg.eigh(a)
            if a.ndim == 3:
                return Directions(2, vectors.permute(2, 0, 1), values.T)
            # An eigenvalue below the rounding errors of the largest is one of zero.
            keep = values.abs() > values.abs().max() * x.shape[1] * torch.finfo(a.dtype).eps
            return Directions(2, vectors.T[keep], values[keep])
        # Gradients with respect to A need all second derivatives: e_i and e_i + e_j, linear in A.
        i, j = torch.triu_indices(x.shape[1], x.shape[1], offset=1, device=x.device)
        unit = _unit_vectors(x)
        diagonal = torch.diagonal(a, dim1=-2, dim2=-1)
        weights = torch.cat((2 * diagonal - a.sum(-1), a[..., i, j]), dim=-1)
        return Directions(2, torch.cat((unit, unit[i] + unit[j])), weights if a.ndim == 2 else weights.T)

    def count(self, x: Tensor) -> int:
        return x.shape[1]

    def some(self, x: Tensor, index: Tensor, scale: float) -> Directions:
        unit = x.new_zeros(*index.shape, x.shape[1]).scatter_(-1, index[..., None], 1.0)
        return self.probe(unit, scale)

    def probe(self, vectors: Tensor, scale: float) -> Directions:
        """``scale Σ_s D²u[v_s, A v_s]`` by ``4 D²u[v, w] = D²u[v + w, v + w] - D²u[v - w, v - w]``."""
        a = (self.matrix + self.matrix.mT) / 2
        if a.ndim == 2:
            return polarized(vectors, vectors @ a, scale)
        vectors = _per_point(vectors).expand(-1, a.shape[0], -1)
        return polarized(vectors, torch.einsum("bij,sbj->sbi", a, vectors), scale)


@dataclass(frozen=True, eq=False)
class SquaredLaplacian:
    """``c (Σ_i s_i ∂²/∂x_i²)²`` with s_i >= 0.

    The summands are pairs i < j, with ``2 s_i s_j u_iijj`` and their share of the pure derivatives,
    ``(s_i² u_iiii + s_j² u_jjjj) / (d - 1)``: four lines each.

    Parameters
    ----------
    stretch : (d,), optional
        The square roots of s_i; ones without.
    coefficient : () or (batch,), optional
        c.
    """

    stretch: Tensor | None = None
    coefficient: Tensor | None = None
    order: int = 4

    def lines(self, x: Tensor) -> Directions:
        return self.cubature(x, 4)

    def cubature(self, x: Tensor, degree: int) -> Directions:
        """Lines of a cubature formula on the sphere, of the degree at least 4."""
        d = x.shape[1]
        lines, weights = sphere_lines(d, degree)
        return self.along(
            x.new_tensor([[float(e) for e in v] for v in lines]), x.new_tensor(weights) * (d * (d + 2) / 3)
        )

    def along(self, vectors: Tensor, weights: Tensor) -> Directions:
        """``c Σ_r w_r D⁴u`` along stretched vectors."""
        if self.stretch is not None:
            vectors = vectors * self.stretch
        if self.coefficient is not None:
            c = self.coefficient
            weights = weights * c if c.ndim == 0 else (weights[:, None] if weights.ndim == 1 else weights) * c
        return Directions(4, vectors, weights)

    def count(self, x: Tensor) -> int:
        return max(1, x.shape[1] * (x.shape[1] - 1) // 2)

    def some(self, x: Tensor, index: Tensor, scale: float) -> Directions:
        d = x.shape[1]
        if d == 1:
            return self.along(x.new_ones(1, 1), x.new_full((1,), scale * index.shape[0]))
        # The pairs (0, 1), (0, 2), (1, 2), (0, 3), ...: j (j - 1)/2 + i. The root is exact below 2^52 pairs,
        # the corrections catch its rounding.
        j = ((1 + torch.sqrt(8.0 * index.double() + 1)) / 2).long()
        j = torch.where(j * (j - 1) // 2 > index, j - 1, j)
        j = torch.where(j * (j + 1) // 2 <= index, j + 1, j)
        i = index - j * (j - 1) // 2
        e_i = x.new_zeros(*index.shape, d).scatter_(-1, i[..., None], 1.0)
        e_j = x.new_zeros(*index.shape, d).scatter_(-1, j[..., None], 1.0)
        # 12 u_iijj = D⁴(e_i + e_j) + D⁴(e_i - e_j) - 2 D⁴(e_i) - 2 D⁴(e_j)
        mixed, pure = scale / 6, scale * (1 / (d - 1) - 1 / 3)
        weights = x.new_tensor([mixed, mixed, pure, pure]).repeat_interleave(index.shape[0])
        return self.along(torch.cat((e_i + e_j, e_i - e_j, e_i, e_j)), weights)


def polarized(left: Tensor, right: Tensor, scale: float) -> Directions:
    """``scale Σ_s D²u[left_s, right_s]``."""
    weights = left.new_full((left.shape[0],), scale / 4)
    return Directions(2, torch.cat((left + right, left - right)), torch.cat((weights, -weights)))


def values_of(plan: Plan, x: Tensor) -> dict[Coefficient, Tensor]:
    """All coefficients of the operators of a plan at the points: (batch,) or ()."""
    every = {coefficient for operator in plan.operators for coefficient, _ in operator.terms}
    return {coefficient: evaluate_coefficient(coefficient, x) for coefficient in every}


def factors_of_u(plan: Plan, values: Mapping[Coefficient, Tensor]) -> list[Tensor | None]:
    """The coefficient of u itself in each operator: (batch,), () or None."""
    factors: list[Tensor | None] = [None] * len(plan.operators)
    for (o, coefficient), weights in plan.weights.get(0, {}).items():
        value = float(weights[0]) * values[coefficient]
        before = factors[o]
        factors[o] = value if before is None else before + value
    return factors


def sweeps_of(
    plan: Plan, values: Mapping[Coefficient, Tensor], x: Tensor
) -> tuple[list[Sweep], list[tuple[int, Tensor | None]]]:
    """What evaluates a plan exactly, each line carried once; for each sum the operator that it is a term of
    and a factor, the coefficient.
    """
    sweeps = []
    terms: list[tuple[int, Tensor | None]] = []
    for highest, lines in plan.bundles:
        sums: list[tuple[int, Tensor | None]] = []
        for order in range(highest, 0, -1):
            parts = [part for part, w in plan.weights.get(order, {}).items() if any(r in w for r in lines)]
            if highest == 1:  # one direction for each operator, which may vary from point to point
                for o in dict.fromkeys(o for o, _ in parts):
                    own = tuple(part for part in parts if part[0] == o)
                    _, table = plan.tensors(1, lines, own, x)
                    sums.append((1, _combine(table, [values[c] for _, c in own])))
                    terms.append((o, None))
                continue
            for o, c in parts:
                _, table = plan.tensors(order, lines, ((o, c),), x)
                plain = all(plan.weights[order][o, c].get(r) == 1 for r in lines)
                sums.append((order, None if plain else table[0]))
                terms.append((o, values[c] if c else None))
        vectors, _ = plan.tensors(highest, lines, (), x)
        sweeps.append(Sweep(vectors, tuple(sums)))
    return sweeps, terms


def forms_of(plan: Plan, number: int, values: Mapping[Coefficient, Tensor], x: Tensor) -> list[Form]:
    """The parts of one operator of a plan, the highest order first."""
    forms: list[Form] = []
    for order in sorted(plan.weights, reverse=True):
        parts = tuple(part for part in plan.weights[order] if part[0] == number)
        if not parts or order == 0:
            continue
        lines = tuple(sorted({r for part in parts for r in plan.weights[order][part]}))
        if _is_power_sum(plan, order, parts, lines):
            forms.append(LineForm(order))
            continue
        vectors, table = plan.tensors(order, lines, parts, x)
        weights = _combine(table, [values[c] for _, c in parts])
        positive = all(not c and all(w >= 0 for w in plan.weights[order][_, c].values()) for _, c in parts)
        terms: dict[MultiIndex, Tensor] = {}
        pure: dict[MultiIndex, Fraction] = {}
        for (c, index), value in plan.operators[number].terms.items():
            if len(index) == order:
                term = float(value) * values[c]
                terms[index] = terms[index] + term if index in terms else term
                pure[index] = value
        isotropic = stretch_of(pure) if order == 4 and len(parts) == 1 else None
        factor = values[parts[0][1]]
        forms.append(PlannedForm(order, vectors, weights, positive, terms, isotropic, factor))
    return forms


def _is_power_sum(plan: Plan, order: int, parts: tuple[Part, ...], lines: tuple[int, ...]) -> bool:
    """Whether it is ``Σ_i ∂^K/∂x_i^K`` over all variables."""
    if len(parts) != 1 or parts[0][1] or len(lines) != plan.dim:
        return False
    weights = plan.weights[order][parts[0]]
    return all(len(plan.lines[r]) == 1 and plan.lines[r][0][1] == 1 and weights[r] == 1 for r in lines)


def _combine(table: Tensor, values: list[Tensor]) -> Tensor:
    """``Σ_m c_m w_mr``: (R,), or (R, batch) if some coefficient varies."""
    if all(c.ndim == 0 for c in values):
        return torch.stack(values) @ table
    return table.T @ torch.stack(torch.broadcast_tensors(*values))


def _unit_vectors(x: Tensor) -> Tensor:
    return torch.eye(x.shape[1], dtype=x.dtype, device=x.device)


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows index (R,) or (R, batch) of a table (P, n), or (P, batch, n) with others for each point."""
    if index.ndim == 1 or table.ndim == 2:
        return table[index]
    return table[index, torch.arange(table.shape[1], device=table.device)]


def _per_point(noise: Tensor) -> Tensor:
    return noise if noise.ndim == 3 else noise[:, None]
