"""Lines, their powers, and the weights with which the powers add up to a form.

A homogeneous operator ``Σ c_α ∂^α`` of order K is the form ``f(ξ) = Σ c_α ξ^α``, and K derivatives along a
line v are its K-th power: ``D^K u[v, …, v] = Σ_α K!/α! v^α ∂^α u``, thus ``(v·ξ)^K``. To write f as ``Σ_r w_r
(v_r·ξ)^K`` is Waring's problem; `sciml.kernels.waring` looks for few lines, this module does the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import combinations, islice
from math import comb, factorial, gcd, lcm, prod

import torch
from torch import Tensor

from sciml.kernels.rational import combination

Number = Fraction | float
Line = tuple[Number, ...]
Exponents = tuple[int, ...]
Form = dict[Exponents, Fraction]

# A residual of a combination in float64, relative to the target. Exact ones leave a few rounding errors,
# those that do not exist something of the size of the coefficients.
NEGLIGIBLE = 1e-10

# Combinations of candidates that are tried at once and in total, for memory and patience.
CHUNK, COMBINATIONS = 20_000, 400_000


def order_of(form: Form) -> int:
    """The degree of a form."""
    return sum(next(iter(form)))


def absolute(number: Number) -> Number:
    """The absolute value."""
    return number if number >= 0 else -number


def is_exact(line: Sequence[Number]) -> bool:
    """Whether all entries are fractions."""
    return all(isinstance(entry, Fraction) for entry in line)


def canonical(line: Sequence[Number]) -> Line:
    """The representative of a line: coprime integers, or a largest entry of one; the first is positive.

    Examples
    --------
    >>> [str(entry) for entry in canonical([Fraction(0), Fraction(-1, 2), Fraction(1, 3)])]
    ['0', '3', '-2']
    """
    if is_exact(line):
        entries = [Fraction(entry) for entry in line]
        scale: Number = Fraction(lcm(*(e.denominator for e in entries)))
        scale = scale / gcd(*(int(e * scale) for e in entries))
    else:
        scale = 1.0 / max(abs(float(entry)) for entry in line)
    first = next(entry for entry in line if entry)
    scale = -scale if first < 0 else scale
    return tuple(entry * scale if entry else Fraction(0) for entry in line)


def same_line(a: Line, b: Line) -> bool:
    """Whether two canonical lines are one, up to rounding where they are not exact."""
    if is_exact(a) and is_exact(b):
        return a == b
    scale_a, scale_b = (max(absolute(entry) for entry in line) for line in (a, b))
    return all(absolute(p / scale_a - q / scale_b) < 1e-12 for p, q in zip(a, b, strict=True))


@lru_cache(maxsize=256)
def monomials(variables: int, order: int) -> tuple[Exponents, ...]:
    """All exponents of the degree, in a fixed order."""
    if variables == 1:
        return ((order,),)
    return tuple((k, *rest) for k in range(order, -1, -1) for rest in monomials(variables - 1, order - k))


def multinomial(exponents: Exponents) -> int:
    """``K!/α!``."""
    return factorial(sum(exponents)) // prod(map(factorial, exponents))


def power(line: Line, exponents: Exponents) -> Number:
    """The coefficient ``K!/α! v^α`` of ``(v·ξ)^K``."""
    value: Number = Fraction(multinomial(exponents))
    for entry, exponent in zip(line, exponents, strict=True):
        if exponent:
            value = value * entry**exponent
    return value


def weights_of(lines: Sequence[Line], form: Form) -> list[Number] | None:
    """The w_r with ``Σ_r w_r (v_r·ξ)^K = f``, None if there are none.

    Exact for exact lines. Lines that come first are preferred where the weights are not unique.
    """
    if not lines:
        return None if form else []
    # A monomial in which some variable takes part that no line knows is out of reach.
    used = [any(line[i] for line in lines) for i in range(len(lines[0]))]
    if any(exponent and not use for exponents in form for exponent, use in zip(exponents, used, strict=True)):
        return None
    active = [i for i, use in enumerate(used) if use]
    order = order_of(form)
    if comb(len(active) + order - 1, order) <= 5_000:
        rows = [_spread(m, active, len(used)) for m in monomials(len(active), order)]
    else:  # many variables, few of them together: only monomials that occur
        rows = sorted({m for line in lines for m in _of_support(line, order)} | set(form))
    if all(map(is_exact, lines)):
        columns = [[Fraction(power(line, m)) for m in rows] for line in lines]
        exact = combination(columns, [form.get(m, Fraction(0)) for m in rows])
        return None if exact is None else list(exact)
    matrix = torch.tensor([[float(power(line, m)) for line in lines] for m in rows], dtype=torch.float64)
    target = torch.tensor([float(form.get(m, 0)) for m in rows], dtype=torch.float64)
    solution = torch.linalg.lstsq(matrix, target[:, None], driver="gelsd").solution[:, 0]
    if float((matrix @ solution - target).norm()) > NEGLIGIBLE * float(target.norm()):
        return None
    return [0.0 if abs(w) < NEGLIGIBLE * float(solution.abs().max()) else w for w in solution.tolist()]


def _spread(exponents: Exponents, positions: Sequence[int], size: int) -> Exponents:
    wide = [0] * size
    for position, exponent in zip(positions, exponents, strict=True):
        wide[position] = exponent
    return tuple(wide)


def _of_support(line: Line, order: int) -> Iterator[Exponents]:
    support = [i for i, entry in enumerate(line) if entry]
    for exponents in monomials(len(support), order):
        yield _spread(exponents, support, len(line))


def small_combinations(
    columns: Tensor, target: Tensor, given: Tensor, most: int
) -> Iterator[tuple[int, ...]]:
    """Sets of at most `most` columns that with the given ones span the target, smallest sets first.

    Parameters
    ----------
    columns, target, given : (m, n), (m,), (m, g) float64
        Candidates, what to reach, and what is free.
    most : int

    Notes
    -----
    Every set is tried, in batches, by orthogonal projection; sizes with too many sets are left out.
    """
    if given.shape[1]:
        basis, values, _ = torch.linalg.svd(given, full_matrices=False)
        basis = basis[:, values > NEGLIGIBLE * values[0]]
        columns = columns - basis @ (basis.T @ columns)
        target = target - basis @ (basis.T @ target)
    scale = float(target.norm())
    count = columns.shape[1]
    for size in range(1, most + 1):
        if comb(count, size) > COMBINATIONS:
            return
        sets = combinations(range(count), size)
        while some := list(islice(sets, CHUNK)):
            part = torch.tensor(some)
            chosen = columns.T[part]  # (sets, size, m)
            rest = target.expand(len(part), -1)
            for k in range(size):
                column = chosen[:, k]
                length = column.norm(dim=1, keepdim=True)
                unit = torch.where(length > NEGLIGIBLE, column / length.clamp_min(NEGLIGIBLE), 0.0)
                rest = rest - unit * (unit * rest).sum(1, keepdim=True)
                chosen = chosen - unit[:, None] * (chosen * unit[:, None]).sum(2, keepdim=True)
            for index in torch.nonzero(rest.norm(dim=1) <= NEGLIGIBLE * scale)[:, 0].tolist():
                yield some[index]


def integer_lines(variables: int, largest: int) -> list[Line]:
    """All lines through integer points with entries of size at most `largest`, simplest first."""
    grid = torch.cartesian_prod(*[torch.arange(-largest, largest + 1)] * variables).reshape(-1, variables)
    found = {canonical([Fraction(e) for e in row]) for row in grid.tolist() if any(row)}
    return sorted(found, key=lambda line: (sum(absolute(e) for e in line), [-e for e in line]))


def pairs(size: int) -> list[tuple[int, int]]:
    """All i < j below `size`."""
    return list(combinations(range(size), 2))
