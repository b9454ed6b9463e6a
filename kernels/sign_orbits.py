"""Orbits of lines under changes of sign, and the few orbits from which a form can be built.

For a pattern a >= 0 with support of size s the 2^(s-1) lines ``(±a_1, ±a_2, …)``, weighted with the character
``χ_p(ε) = Π_i ε_i^{p_i}`` of their signs, add up to the monomials of one parity:

``Σ_ε χ_p(ε) ((εa)·ξ)^K = 2^(s-1) Σ_{α ≡ p mod 2} K!/α! a^α ξ^α``

With ``a_i² = s_i`` an integer this is rational up to the factor ``Π_i a_i^{p_i}``, so that systems are solved
exactly also for patterns like (√3, 1, 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import gcd, isqrt, prod, sqrt

import torch

from sciml.kernels.lines import Exponents, Form, Number, monomials, multinomial, order_of, small_combinations
from sciml.kernels.rational import combination

Pattern = tuple[int, ...]  # the squares s_i of the entries
Parity = tuple[int, ...]

# The most variables for which orbits are searched, and the squares that entries may have, with the most
# orbits that are combined: simple ones many at a time.
MOST_VARIABLES = 4
POOLS = (((0, 1), 6), ((0, 1, 4), 3), ((0, 1, 2, 3, 4), 2))
MOST_SOLUTIONS = 2_000


def orbit_lines(form: Form) -> list[tuple[tuple[Number, ...], Number]] | None:
    """Lines and weights of a form, from orbits with few lines; None if no small combination was found."""
    size, order = len(next(iter(form))), order_of(form)
    if size > MOST_VARIABLES:
        return None
    classes: dict[Parity, Form] = {}
    for exponents, c in form.items():
        classes.setdefault(tuple(e % 2 for e in exponents), {})[exponents] = c
    chosen: list[Pattern] = []
    # Classes that need many lines first: the others may find what they need among these.
    for parity in sorted(classes, key=lambda p: (-sum(p), p)):
        extra = _choose(parity, classes[parity], order, chosen)
        if extra is None:
            return None
        chosen += extra
    weights: dict[Pattern, dict[Parity, Fraction]] = {pattern: {} for pattern in chosen}
    for parity, part in classes.items():
        rows = _rows(parity, order)
        columns = [_column(pattern, parity, rows) for pattern in chosen]
        exact = combination(columns, [part.get(m, Fraction(0)) for m in rows])
        if exact is None:
            return None  # the search in float64 was mistaken
        for pattern, weight in zip(chosen, exact, strict=True):
            if weight:
                weights[pattern][parity] = weight
    return [pair for pattern in chosen for pair in _signed(pattern, weights[pattern])]


def _choose(parity: Parity, target: Form, order: int, chosen: list[Pattern]) -> list[Pattern] | None:
    """The cheapest patterns that, with those chosen before, reach the part of the form of one parity."""
    rows = _rows(parity, order)
    goal = torch.tensor([float(target.get(m, 0)) for m in rows], dtype=torch.float64)
    given = _matrix(chosen, parity, rows)
    if chosen and combination(
        [_column(p, parity, rows) for p in chosen], [target.get(m, Fraction(0)) for m in rows]
    ):
        return []
    best: list[Pattern] | None = None
    for squares, most in POOLS:
        pool = [
            p
            for p in _patterns(len(parity), squares)
            if all(s for s, odd in zip(p, parity, strict=True) if odd)
        ]
        sets = small_combinations(_matrix(pool, parity, rows), goal, given, most)
        for _, indices in zip(range(MOST_SOLUTIONS), sets, strict=False):
            patterns = [pool[i] for i in indices]
            if best is None or _cost(patterns) < _cost(best):
                best = patterns
    return best


def _cost(patterns: list[Pattern]) -> tuple[int, ...]:
    """Lines, then irrational entries, then size."""
    return tuple(map(sum, zip(*map(_price, patterns), strict=True)))


@lru_cache(maxsize=4096)
def _price(pattern: Pattern) -> tuple[int, int, int]:
    return 2 ** (_support(pattern) - 1), sum(isqrt(s) ** 2 != s for s in pattern), sum(pattern)


def _support(pattern: Pattern) -> int:
    return sum(s > 0 for s in pattern)


def _patterns(size: int, squares: tuple[int, ...]) -> list[Pattern]:
    found = []
    for pattern in product(squares, repeat=size):
        if any(pattern) and _is_reduced(pattern):
            found.append(pattern)
    return sorted(found, key=lambda p: (_support(p), sum(p), p))


def _is_reduced(pattern: Pattern) -> bool:
    """One pattern stands for all its multiples: the squares have no common divisor."""
    return gcd(*pattern) == 1


def _rows(parity: Parity, order: int) -> list[Exponents]:
    return [
        m for m in monomials(len(parity), order) if all(e % 2 == p for e, p in zip(m, parity, strict=True))
    ]


def _column(pattern: Pattern, parity: Parity, rows: list[Exponents]) -> list[Fraction]:
    """``K!/α! a^α / Π a_i^{p_i}`` of each monomial, in integers."""
    return [
        Fraction(
            multinomial(m)
            * prod(
                s ** ((e - p) // 2) if s or not e else 0 for s, e, p in zip(pattern, m, parity, strict=True)
            )
        )
        for m in rows
    ]


def _matrix(patterns: list[Pattern], parity: Parity, rows: list[Exponents]) -> torch.Tensor:
    columns = [[float(c) for c in _column(p, parity, rows)] for p in patterns]
    return torch.tensor(columns, dtype=torch.float64).reshape(len(patterns), len(rows)).T


def _signed(pattern: Pattern, weights: dict[Parity, Fraction]) -> Iterator[tuple[tuple[Number, ...], Number]]:
    """The lines of an orbit with their weights."""
    support = [i for i, s in enumerate(pattern) if s]
    entries: list[Number] = [Fraction(isqrt(s)) if isqrt(s) ** 2 == s else sqrt(s) for s in pattern]
    for signs in product((1, -1), repeat=len(support) - 1):
        sign = dict(zip(support, (1, *signs), strict=True))
        total: Number = Fraction(0)
        for parity, weight in weights.items():
            character = prod(sign[i] for i in support if parity[i])
            scale = prod((entries[i] for i in support if parity[i]), start=Fraction(1))
            total = total + weight * character / (2 ** (len(support) - 1) * scale)
        yield tuple(entry * sign.get(i, 1) for i, entry in enumerate(entries)), total
