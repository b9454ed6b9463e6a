"""The search for the lines of several forms: the highest order first, the others use what is there."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from math import comb

import torch
from torch import Tensor

from sciml.kernels.derivatives import MultiIndex
from sciml.kernels.lines import (
    Form,
    Line,
    Number,
    integer_lines,
    monomials,
    order_of,
    power,
    same_line,
    small_combinations,
    weights_of,
)
from sciml.kernels.waring import decompose

# (variable, entry) of the entries that are not zero.
SparseLine = tuple[tuple[int, Number], ...]
Weights = dict[int, Number]
Terms = tuple[tuple[MultiIndex, Fraction], ...]

# Sizes up to which a form is tried against all lines of the plan at once, and variables up to which a few new
# lines are searched that help those of the plan out.
MANY_LINES, MANY_MONOMIALS, FEW_VARIABLES = 64, 300, 4


def dense_lines(lines: list[SparseLine], dim: int) -> Tensor:
    """(R, d) in float64."""
    vectors = torch.zeros(len(lines), dim, dtype=torch.float64)
    for r, line in enumerate(lines):
        for i, entry in line:
            vectors[r, i] = float(entry)
    return vectors


@lru_cache(maxsize=4096)
def monomial_lines(index: MultiIndex) -> tuple[tuple[SparseLine, Number], ...]:
    """Lines and weights of one derivative ∂^α."""
    return tuple(
        (line, weight) for line, weight in _sparse(decompose(_local({index: Fraction(1)})[0]), index).items()
    )


@lru_cache(maxsize=256)
def derive(
    structure: tuple[tuple[Terms, ...], ...],
) -> tuple[tuple[SparseLine, ...], tuple[tuple[Weights, ...], ...]]:
    """Lines, and for every order the weights of every form."""
    builder = _Builder()
    found = []
    for forms in structure:
        parts: list[Weights] = [{} for _ in forms]
        # The form that needs most lines first: the others may find theirs among them.
        need = [
            len(decompose(_local(dict(form))[0])) if len(forms) > 1 and form[0][0] else 1 for form in forms
        ]
        for position in sorted(range(len(forms)), key=lambda i: -need[i]):
            parts[position] = builder.add(dict(forms[position]))
        found.append(tuple(parts))
    return tuple(builder.lines), tuple(found)


class _Builder:
    """The lines of a plan while it grows."""

    def __init__(self) -> None:
        self.lines: list[SparseLine] = []
        self.through: dict[int, set[int]] = {}  # the lines through each variable

    def add(self, form: dict[MultiIndex, Fraction]) -> Weights:
        """Weights of a homogeneous form; missing lines are added."""
        order = len(next(iter(form)))
        if order == 0:
            return {0: form[()]}  # u itself: no line
        components = _split(form)
        known = [self._known(part) for part in components]
        if any(weights is None for weights in known):
            together = self._known(form) if len(components) > 1 else None
            if together is not None:
                return together
        if order == 1:  # what is left is one derivative along one line
            rest = {
                i: c for part, w in zip(components, known, strict=True) if w is None for i, c in part.items()
            }
            components = [part for part, w in zip(components, known, strict=True) if w is not None]
            components += [rest] if rest else []
            known = [w for w in known if w is not None] + ([None] if rest else [])
        total: Weights = {}
        for part, weights in zip(components, known, strict=True):
            for r, weight in (self._new(part) if weights is None else weights).items():
                total[r] = total.get(r, Fraction(0)) + weight
        return {r: w for r, w in total.items() if w}

    def _known(self, form: dict[MultiIndex, Fraction]) -> Weights | None:
        """Weights on lines that are there, None if they do not suffice."""
        order = len(next(iter(form)))
        variables = tuple(sorted({i for index in form for i in index}))
        size = len(self.through.keys() | set(variables))
        if len(self.lines) <= MANY_LINES and comb(size + order - 1, order) <= MANY_MONOMIALS:
            variables = tuple(sorted(self.through.keys() | set(variables)))
        own = self._within(variables)
        if not own or len(own) > MANY_LINES:
            return None
        local = _exponents(form, variables)
        found = weights_of([_dense(self.lines[r], variables) for r in own], local)
        return None if found is None else {r: w for r, w in zip(own, found, strict=True) if w}

    def _new(self, form: dict[MultiIndex, Fraction]) -> Weights:
        local, variables = _local(form)
        own = self._within(variables)
        given = [_dense(self.lines[r], variables) for r in own]
        fresh = decompose(local, given)
        new = [line for line in fresh if not any(same_line(line, g) for g in given)]
        if given and len(new) > 1 and len(variables) <= FEW_VARIABLES:
            fresh = _help_out(local, given, new) or fresh
        weights: Weights = {}
        for line, weight in _sparse(fresh, variables).items():
            if weight:
                weights[self._index(line)] = weight
        return weights

    def _within(self, variables: tuple[int, ...]) -> list[int]:
        near = set[int]().union(*(self.through.get(i, set()) for i in variables))
        allowed = set(variables)
        return sorted(r for r in near if all(i in allowed for i, _ in self.lines[r]))

    def _index(self, line: SparseLine) -> int:
        """The number of a line, which is added if it is not there."""
        variables = tuple(i for i, _ in line)
        for r in self.through.get(variables[0], ()):
            other = self.lines[r]
            if tuple(i for i, _ in other) == variables and same_line(
                tuple(e for _, e in line), tuple(e for _, e in other)
            ):
                return r
        self.lines.append(line)
        for i in variables:
            self.through.setdefault(i, set()).add(len(self.lines) - 1)
        return len(self.lines) - 1


def _help_out(form: Form, given: list[Line], new: list[Line]) -> dict[Line, Number] | None:
    """Fewer new lines than `new` that together with the given ones suffice."""
    size = len(new[0])
    pool = list(dict.fromkeys([*new, *integer_lines(size, 2 if size == 2 else 1)]))
    rows = monomials(size, order_of(form))

    def columns(lines: list[Line]) -> Tensor:
        return torch.tensor([[float(power(line, m)) for line in lines] for m in rows], dtype=torch.float64)

    target = torch.tensor([float(form.get(m, 0)) for m in rows], dtype=torch.float64)
    for indices in small_combinations(columns(pool), target, columns(given), min(len(new) - 1, 2)):
        lines = [*given, *(pool[i] for i in indices)]
        weights = weights_of(lines, form)
        if weights is not None:
            return {line: w for line, w in zip(lines, weights, strict=True) if w}
    return None


def _split(form: dict[MultiIndex, Fraction]) -> list[dict[MultiIndex, Fraction]]:
    """Parts without common variables."""
    group: dict[int, list[MultiIndex]] = {}  # variable -> the terms of its part, shared
    for index in form:
        merged = [index]
        for i in set(index):
            other = group.get(i)
            if other is not None and other is not merged:
                merged, smaller = (other, merged) if len(other) > len(merged) else (merged, other)
                merged += smaller
        for term in merged if len(merged) > 1 else (index,):
            for i in term:
                group[i] = merged
    parts = {id(terms): terms for terms in group.values()}
    return [{index: form[index] for index in terms} for terms in parts.values()]


def _local(form: dict[MultiIndex, Fraction]) -> tuple[Form, tuple[int, ...]]:
    """The form in its own variables, and which they are."""
    variables = tuple(sorted({i for index in form for i in index}))
    return _exponents(form, variables), variables


def _exponents(form: dict[MultiIndex, Fraction], variables: tuple[int, ...]) -> Form:
    position = {i: k for k, i in enumerate(variables)}
    local: Form = {}
    for index, c in form.items():
        exponents = [0] * len(variables)
        for i in index:
            exponents[position[i]] += 1
        local[tuple(exponents)] = c
    return local


def _dense(line: SparseLine, variables: tuple[int, ...]) -> Line:
    entries = dict(line)
    return tuple(entries.get(i, Fraction(0)) for i in variables)


def _sparse(powers: Mapping[Line, Number], variables: tuple[int, ...]) -> dict[SparseLine, Number]:
    distinct = tuple(sorted(set(variables)))
    return {
        tuple((i, entry) for i, entry in zip(distinct, line, strict=True) if entry): weight
        for line, weight in powers.items()
    }
