"""Linear algebra in fractions: exact, for the small systems from which plans are derived."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

Vector = Sequence[Fraction]


def reduce_rows(rows: Sequence[Vector]) -> tuple[list[list[Fraction]], list[int]]:
    """Reduced row echelon form without its zero rows, and the column of each pivot.

    Examples
    --------
    >>> reduced, pivots = reduce_rows([[Fraction(1), Fraction(2)], [Fraction(2), Fraction(4)]])
    >>> [[str(entry) for entry in row] for row in reduced], pivots
    ([['1', '2']], [0])
    """
    matrix = [list(row) for row in rows]
    pivots: list[int] = []
    for column in range(len(matrix[0]) if matrix else 0):
        rank = len(pivots)
        found = next((r for r in range(rank, len(matrix)) if matrix[r][column]), None)
        if found is None:
            continue
        matrix[rank], matrix[found] = matrix[found], matrix[rank]
        pivot = matrix[rank][column]
        matrix[rank] = [entry / pivot for entry in matrix[rank]]
        for r, row in enumerate(matrix):
            factor = row[column]
            if r != rank and factor:
                matrix[r] = [a - factor * b if b else a for a, b in zip(row, matrix[rank], strict=True)]
        pivots.append(column)
    return matrix[: len(pivots)], pivots


def null_space(rows: Sequence[Vector], size: int) -> list[list[Fraction]]:
    """A basis of the vectors of length `size` that every row annihilates."""
    reduced, pivots = reduce_rows(rows)
    basis = []
    for free in range(size):
        if free in pivots:
            continue
        vector = [Fraction(0)] * size
        vector[free] = Fraction(1)
        for row, pivot in zip(reduced, pivots, strict=True):
            vector[pivot] = -row[free]
        basis.append(vector)
    return basis


def combination(columns: Sequence[Vector], target: Vector) -> list[Fraction] | None:
    """Weights with ``Σ_j w_j columns[j] = target``, first columns preferred; None if there are none.

    Examples
    --------
    >>> e, f = [Fraction(1), Fraction(0)], [Fraction(1), Fraction(1)]
    >>> [str(w) for w in combination([e, f], [Fraction(0), Fraction(3)])]
    ['-3', '3']
    >>> combination([e], [Fraction(0), Fraction(3)]) is None
    True
    """
    if not columns:
        return None if any(target) else []
    rows = [[*entries, t] for *entries, t in zip(*columns, target, strict=True)]
    reduced, pivots = reduce_rows(rows)
    if pivots and pivots[-1] == len(columns):
        return None
    weights = [Fraction(0)] * len(columns)
    for row, pivot in zip(reduced, pivots, strict=True):
        weights[pivot] = row[-1]
    return weights
