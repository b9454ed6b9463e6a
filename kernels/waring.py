"""Waring's problem over the real numbers: a form as a sum of few powers of linear forms.

``f(ξ) = Σ_r w_r (v_r·ξ)^K`` turns the operator f(∂) of order K into ``Σ_r w_r D^K u[v_r, …, v_r]``: one jet
along each line v_r. What is known about the least number of lines (the real rank of f) is used:

* order 1: one. Order 2: the rank of the symmetric matrix, by completing squares.
* two variables: Sylvester's theorem. r lines suffice if and only if some binary form of degree r with r
  distinct real roots annihilates f, and then its roots are the lines.
* a form of fewer variables in disguise, ``(∂_x + ∂_y + ∂_z)³``, is brought to those variables first.
* powers of the Laplacian: cubature formulas on the sphere.
* otherwise orbits of lines under changes of sign: the lines ``(±a, ±b, ±c)``, weighted with a character of
  the group, contain only monomials of one parity. A few orbits are chosen by search, small and rational ones
  first. For monomials up to order 4 this attains the real rank; for sums of terms, fewer lines in general
  position are looked for (`sciml.kernels.power_fit`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import comb, isqrt, sqrt

import torch

from sciml.kernels.cubature import sphere_lines
from sciml.kernels.lines import (
    Exponents,
    Form,
    Line,
    Number,
    absolute,
    canonical,
    integer_lines,
    is_exact,
    monomials,
    multinomial,
    order_of,
    pairs,
    weights_of,
)
from sciml.kernels.power_fit import fit_powers
from sciml.kernels.rational import combination, null_space, reduce_rows
from sciml.kernels.sign_orbits import orbit_lines

Powers = dict[Line, Number]

# What caches take and give: the same as dictionaries, but hashable.
Items = tuple[tuple[Exponents, Fraction], ...]
Result = tuple[tuple[Line, Number], ...]


def decompose(form: Form, given: Sequence[Line] = ()) -> Powers:
    """Lines and weights of a form, as few as this module can find.

    Parameters
    ----------
    form : {exponents: coefficient}
        Homogeneous, not zero.
    given : lines
        Used where they are as good as any other (order 2 only), because they cost nothing.

    Examples
    --------
    ``x y = ((x + y)² - (x - y)²) / 4``:

    >>> for line, weight in decompose({(1, 1): Fraction(1)}).items():
    ...     print(*line, weight)
    1 1 1/4
    1 -1 -1/4
    """
    powers: Powers = {}
    for variables in _components(form):
        part = {tuple(e[i] for i in variables): c for e, c in form.items() if any(e[i] for i in variables)}
        size = len(next(iter(form)))
        # Lines with entries outside of these variables would bring in other monomials.
        own = [v for v in given if is_exact(v) and all(i in variables for i, e in enumerate(v) if e)]
        small = _connected(part, [tuple(v[i] for i in variables) for v in own])
        for line, weight in small.items():
            wide: list[Number] = [Fraction(0)] * size
            for i, entry in zip(variables, line, strict=True):
                wide[i] = entry
            powers[tuple(wide)] = weight
    return powers


def add_power(powers: Powers, line: Sequence[Number], weight: Number, order: int) -> None:
    """Add ``weight (v·ξ)^K``, with the representative of its line."""
    if not weight:
        return
    key = canonical(line)
    first = next(i for i, entry in enumerate(key) if entry)
    total = powers.get(key, Fraction(0)) + weight * (line[first] / key[first]) ** order
    if total:
        powers[key] = total
    else:
        del powers[key]


def _components(form: Form) -> list[list[int]]:
    """Sets of variables that occur together; forms in disjoint variables are solved one by one.

    Except for order 1, where any sum is one line.
    """
    if order_of(form) == 1:
        return [sorted({i for exponents in form for i, e in enumerate(exponents) if e})]
    components: list[set[int]] = []
    for exponents in form:
        own = {i for i, e in enumerate(exponents) if e}
        joined = [c for c in components if c & own]
        components = [c for c in components if not c & own] + [own.union(*joined)]
    return sorted(sorted(c) for c in components)


def _connected(form: Form, given: Sequence[Line]) -> Powers:
    size, order = len(next(iter(form))), order_of(form)
    if size == 1:
        return {(Fraction(1),): form[(order,)]}
    if order == 1:
        powers: Powers = {}
        add_power(powers, [form.get(e, Fraction(0)) for e in monomials(size, 1)], Fraction(1), 1)
        return powers
    if order == 2:
        return _squares(form, size, given)
    items = tuple(sorted(form.items()))
    return dict(_binary(items) if size == 2 else _search(items))


# --- order 2 ------------------------------------------------------------------------------------------------


def _squares(form: Form, size: int, given: Sequence[Line]) -> Powers:
    """Complete squares: as many as the rank of the matrix. Each step lowers the rank by one."""
    matrix = [[Fraction(0)] * size for _ in range(size)]
    for exponents, c in form.items():
        i, *rest = [k for k, e in enumerate(exponents) for _ in range(e)]
        matrix[i][rest[0]] += c / 2
        matrix[rest[0]][i] += c / 2
    powers: Powers = {}

    def subtract(line: Sequence[Fraction], weight: Fraction) -> None:
        add_power(powers, line, weight, 2)
        for i, a in enumerate(line):
            if a:
                matrix[i] = [m - weight * a * b if b else m for m, b in zip(matrix[i], line, strict=True)]

    for line in given:  # w v vᵀ with v = Q u and w = 1 / (uᵀ Q u) lowers the rank of Q
        exact = [Fraction(e) for e in line]
        u = combination(matrix, exact)
        size_of_u = sum(a * b for a, b in zip(u, exact, strict=True)) if u else Fraction(0)
        if size_of_u:
            subtract(exact, 1 / Fraction(size_of_u))
    while True:
        diagonal = next((i for i in range(size) if matrix[i][i]), None)
        if diagonal is not None:
            subtract(list(matrix[diagonal]), 1 / matrix[diagonal][diagonal])
            continue
        mixed = next(((i, j) for i, j in pairs(size) if matrix[i][j]), None)
        if mixed is None:
            return powers
        (i, j), q = mixed, matrix[mixed[0]][mixed[1]]
        row, other = list(matrix[i]), list(matrix[j])
        subtract([a + b for a, b in zip(row, other, strict=True)], 1 / (2 * q))
        subtract([a - b for a, b in zip(row, other, strict=True)], -1 / (2 * q))


# --- two variables ------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _binary(items: Items) -> Result:
    """Sylvester: the smallest r for which a form g of degree r, annihilating f, has r distinct real roots."""
    form = dict(items)
    order = order_of(form)
    f = [Fraction(form.get((order - i, i), 0)) / comb(order, i) for i in range(order + 1)]
    for r in range(1, order + 1):
        kernel = null_space([[f[i + j] for j in range(r + 1)] for i in range(order - r + 1)], r + 1)
        for largest in (2, 4) if kernel else ():
            # Each root that is prescribed takes one dimension of the kernel; one dimension is the scale of g.
            sets = [_roots(kernel, chosen) for chosen in _subsets(integer_lines(2, largest), len(kernel) - 1)]
            best = min((lines for lines in sets if lines and len(lines) == r), key=_simplicity, default=None)
            weights = weights_of(best, form) if best else None
            if best and weights:
                powers: Powers = {}
                for line, weight in zip(best, weights, strict=True):
                    add_power(powers, line, weight, order)
                return tuple(powers.items())
    raise AssertionError(f"a binary form of degree {order} has a real rank of at most {order}: {form}")


def _simplicity(lines: Sequence[Line]) -> tuple[bool, Number, Number]:
    """Fractions before floats, then small entries."""
    entries = [absolute(entry) for line in lines for entry in line]
    return not all(map(is_exact, lines)), max(entries), sum(entries)


def _subsets(lines: list[Line], size: int) -> list[tuple[Line, ...]]:
    if size == 0:
        return [()]
    sets = torch.combinations(torch.arange(len(lines)), size)[:2_000]
    return [tuple(lines[i] for i in row) for row in sets.tolist()]


def _roots(kernel: list[list[Fraction]], chosen: Sequence[Line]) -> list[Line] | None:
    """The roots of the form g of the kernel that vanishes on the chosen lines, if real and distinct."""
    degree = len(kernel[0]) - 1
    values = [
        [
            sum((c * Fraction(p) ** (degree - j) * Fraction(q) ** j for j, c in enumerate(g)), Fraction(0))
            for g in kernel
        ]
        for p, q in chosen
    ]
    mixtures = null_space(values, len(kernel))
    if len(mixtures) != 1:
        return None
    g = [
        sum((m * c for m, c in zip(mixtures[0], cs, strict=True)), Fraction(0))
        for cs in zip(*kernel, strict=True)
    ]
    for p, q in chosen:  # divide g(x, y) by its factor q x - p y
        g = _divide(g, Fraction(p), Fraction(q))
    rest = _real_roots(g)
    lines = [*chosen, *rest]
    return lines if len(set(lines)) == degree else None


def _divide(g: list[Fraction], p: Fraction, q: Fraction) -> list[Fraction]:
    """g(x, y) / (q x - p y) for a root (p, q); coefficients of x^n, x^(n-1) y, ..."""
    quotient: list[Fraction] = []
    if q:
        carry = Fraction(0)
        for c in g[:-1]:
            carry = (c + p * carry) / q
            quotient.append(carry)
        return quotient
    return [-c / p for c in g[1:]]


def _real_roots(g: list[Fraction]) -> list[Line]:
    """The real projective roots (p, q) of a binary form, exact where they are rational."""
    if not any(g):
        return []
    if not g[0]:  # x does not occur in all terms: (1, 0) is a root
        return [canonical((Fraction(1), Fraction(0))), *_real_roots(g[1:])] if len(g) > 1 else []
    if len(g) == 1:
        return []
    if len(g) == 2:
        return [canonical((-g[1] / g[0], Fraction(1)))]
    if len(g) == 3:
        a, b, c = g
        discriminant = b * b - 4 * a * c
        if discriminant <= 0:
            return []
        root = square_root(discriminant)
        return [canonical(((-b + s * root) / (2 * a), Fraction(1))) for s in (1, -1)]
    degree = len(g) - 1
    companion = torch.zeros(degree, degree, dtype=torch.float64)
    companion[1:, :-1] = torch.eye(degree - 1, dtype=torch.float64)
    companion[0] = torch.tensor([float(-c / g[0]) for c in g[1:]], dtype=torch.float64)
    values = torch.linalg.eigvals(companion)
    real = values.real[values.imag.abs() <= 1e-12 * values.abs().max()]
    return [canonical((p, Fraction(1))) for p in real.tolist()]


def square_root(value: Fraction) -> Number:
    """Exact where it is rational."""
    p, q = isqrt(value.numerator), isqrt(value.denominator)
    return Fraction(p, q) if p * p == value.numerator and q * q == value.denominator else sqrt(value)


# --- three and more variables, order 3 and more
# ---------------------------------------------------------------


@lru_cache(maxsize=1024)
def _search(items: Items) -> Result:
    form = dict(items)
    order = order_of(form)
    isotropic = _isotropic(form)
    if isotropic is not None:
        return tuple(isotropic.items())
    basis = _essential(form)
    size = len(next(iter(form)))
    if len(basis) < size:
        pivots = [next(i for i, e in enumerate(row) if e) for row in basis]
        inner = {
            tuple(e[i] for i in pivots): c
            for e, c in form.items()
            if all(i in pivots for i, k in enumerate(e) if k)
        }
        powers: Powers = {}
        for line, weight in decompose(inner).items():
            wide = [
                sum((u * row[i] for u, row in zip(line, basis, strict=True)), Fraction(0))
                for i in range(size)
            ]
            add_power(powers, wide, weight, order)
        return tuple(powers.items())
    exact = [_of_orbits(form, order), _term_by_term(form, order), _of_lattice(form, order)]
    best = min((p for p in exact if p), key=len)
    # The real rank of monomials up to order 4 is attained; other forms may need fewer lines in general
    # position.
    if len(form) > 1:
        best = fit_powers(form, len(best) - 1) or best
    return tuple(best.items())


def _essential(form: Form) -> list[list[Fraction]]:
    """Linear forms b_j with ``f(ξ) = g(b_1·ξ, b_2·ξ, …)``, as few as possible, in reduced echelon form.

    They span the columns of the matrix of first derivatives; g is f with all other variables set to zero.
    """
    size = len(next(iter(form)))
    columns: dict[tuple[int, ...], list[Fraction]] = {}
    for exponents, c in form.items():
        for i, e in enumerate(exponents):
            if e:
                lower = (*exponents[:i], e - 1, *exponents[i + 1 :])
                columns.setdefault(lower, [Fraction(0)] * size)[i] = c / multinomial(exponents)
    return reduce_rows(list(columns.values()))[0]


def stretch_of(form: Mapping[tuple[int, ...], Fraction]) -> tuple[int, dict[int, Fraction]] | None:
    """The sign and the s_i² of ``±(Σ_i s_i ∂²/∂x_i²)²`` with positive s_i, None for any other operator.

    `form` maps multi-indices, the variables of each derivative in order, to coefficients.
    """
    squares = {index[0]: c for index, c in form.items() if len(set(index)) == 1}
    sign = 1 if next(iter(form.values())) > 0 else -1
    if len(form) != len(squares) * (len(squares) + 1) // 2:
        return None
    for index, c in form.items():
        i, k, j, m = index
        if i != k or j != m or sign * c <= 0 or i not in squares or j not in squares:
            return None
        if i != j and c * c != 4 * squares[i] * squares[j]:
            return None
    return sign, {i: abs(c) for i, c in squares.items()}


def _isotropic(form: Form) -> Powers | None:
    """A cubature formula on the sphere, stretched."""
    if order_of(form) != 4:
        return None
    size = len(next(iter(form)))
    found = stretch_of({tuple(i for i, k in enumerate(e) for _ in range(k)): c for e, c in form.items()})
    if found is None or len(found[1]) != size:
        return None
    sign, squares = found
    stretch = [float(squares[i]) ** 0.25 for i in range(size)]
    lines, weights = sphere_lines(size, 4)
    powers: Powers = {}
    for line, weight in zip(lines, weights, strict=True):
        stretched = [float(e) * s for e, s in zip(line, stretch, strict=True)]
        add_power(powers, stretched, sign * size * (size + 2) / 3 * weight, 4)
    return powers


def _of_orbits(form: Form, order: int) -> Powers | None:
    found = orbit_lines(form)
    if found is None:
        return None
    powers: Powers = {}
    for line, weight in found:
        add_power(powers, line, weight, order)
    return powers


def _term_by_term(form: Form, order: int) -> Powers | None:
    """One monomial after the other; lines that they have in common are merged."""
    powers: Powers = {}
    for exponents, c in form.items():
        if len(form) == 1:
            return None
        for line, weight in decompose({exponents: Fraction(1)}).items():
            add_power(powers, line, c * weight, order)
    return powers


def _of_lattice(form: Form, order: int) -> Powers | None:
    """The lines through all points of the simplex of exponents, which always suffice."""
    size = len(next(iter(form)))
    if comb(size + order - 1, order) > 200:
        return None
    lines = [canonical([Fraction(e) for e in exponents]) for exponents in monomials(size, order)]
    lines = list(dict.fromkeys(lines))
    weights = weights_of(lines, form)
    return None if weights is None else {v: w for v, w in zip(lines, weights, strict=True) if w}
