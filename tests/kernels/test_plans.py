"""Plans: the identity of polynomials that they are, their sizes, and values on random polynomials."""

import itertools
from fractions import Fraction
from math import comb, factorial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sciml.kernels.cubature import sphere_lines
from sciml.kernels.derivatives import Derivative, MultiIndex, d, laplace
from sciml.kernels.lines import Number, monomials, power
from sciml.kernels.plans import Plan, plan
from sciml.kernels.power_fit import lower_bound
from sciml.kernels.waring import decompose


def read_back(p: Plan, number: int = 0) -> dict[tuple[object, MultiIndex], Number]:
    """The operator that the lines and weights of a plan stand for, term by term."""
    terms: dict[tuple[object, MultiIndex], Number] = {}
    for order, parts in p.weights.items():
        for (operator, coefficient), weights in parts.items():
            for r, weight in weights.items() if operator == number else ():
                line = p.lines[r] if order else ()
                variables, entries = [i for i, _ in line], tuple(e for _, e in line)
                for exponents in monomials(len(line), order) if order else [()]:
                    index = tuple(i for i, e in zip(variables, exponents, strict=True) for _ in range(e))
                    key = (coefficient, index)
                    value = weight * power(entries, exponents)
                    terms[key] = terms.get(key, Fraction(0)) + value
    return terms


def check(operator: Derivative, dim: int) -> Plan:
    """Every plan is an identity: exact in fractions, else up to the rounding of some hundred products."""
    p = operator.plan(dim)
    found = read_back(p)
    if p.exact:
        assert {key: value for key, value in found.items() if value} == operator.terms
    else:
        scale = max(abs(float(v)) for v in operator.terms.values())
        for key in found.keys() | operator.terms.keys():
            assert float(found.get(key, 0)) == pytest.approx(
                float(operator.terms.get(key, 0)), abs=1e-12 * scale
            )
    return p


INDICES = [
    index
    for dim in range(1, 5)
    for order in range(5)
    for index in itertools.combinations_with_replacement(range(dim), order)
    if not index or max(index) == dim - 1
]

# The real rank of a monomial by its exponents. Complex rank: the product of (a_i + 1) over all but the
# smallest exponent. Real rank: the same if the smallest exponent is 1 (Carlini, Kummer, Oneto, Ventura,
# 2017), and the degree in two variables (Boij, Carlini, Geramita, 2011): 4 instead of 3 for x²y².
REAL_RANK = {
    (1,): 1, (2,): 1, (3,): 1, (4,): 1, (1, 1): 2, (1, 2): 3, (1, 3): 4, (2, 2): 4, (1, 1, 1): 4, (1, 1, 2):
    6, (1, 1, 1, 1): 8,
}  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_every_derivative_up_to_order_four_is_exact_and_as_small_as_possible(index: MultiIndex) -> None:
    p = check(d(*index), max(index, default=0) + 1)
    assert p.exact
    exponents = tuple(sorted(index.count(i) for i in set(index)))
    assert len(p.lines) == (REAL_RANK[exponents] if index else 0)


def values_along(p: Plan, order: int, exponents: Tensor, coefficients: Tensor, x: Tensor) -> Tensor:
    """``Σ_r w_r D^K u[v_r]`` of a polynomial of degree 6, interpolated from seven values on each line."""
    vectors, weights = p.tensors(order, tuple(range(len(p.lines))), ((0, ()),), x)
    nodes = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)
    lines = vectors / vectors.norm(dim=1, keepdim=True)
    at = x[:, None, None] + nodes[:, None] * lines[:, None]  # (batch, R, 7, d)
    values = (at[..., None, :] ** exponents).prod(-1) @ coefficients
    taylor = torch.linalg.solve(torch.linalg.vander(nodes, N=7), values[..., None])[..., order, 0]
    return taylor * factorial(order) @ (weights[0] * vectors.norm(dim=1) ** order)


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_every_derivative_of_random_polynomials(dim: int) -> None:
    """All multi-indices up to order 4 on polynomials of degree 6, to 1e-10 of the size of the terms."""
    generator = torch.Generator().manual_seed(dim)
    exponents = torch.tensor([m for order in range(7) for m in monomials(dim, order)])
    coefficients = torch.randn(len(exponents), dtype=torch.float64, generator=generator)
    x = torch.rand(5, dim, dtype=torch.float64, generator=generator) * 2 - 1
    for order in range(1, 5):
        for index in itertools.combinations_with_replacement(range(dim), order):
            alpha = torch.tensor([index.count(i) for i in range(dim)])
            lowered = (exponents - alpha).clamp_min(0)
            falling = torch.exp(torch.lgamma(exponents + 1.0) - torch.lgamma(lowered + 1.0)).round().double()
            kept = (exponents >= alpha).all(1)
            terms = (falling.prod(1) * kept * coefficients) * (x[:, None] ** lowered).prod(-1)
            found = values_along(d(*index).plan(dim), order, exponents, coefficients, x)
            torch.testing.assert_close(
                found, terms.sum(1), rtol=1e-10, atol=1e-10 * float(terms.abs().sum(1).max())
            )


@st.composite
def operators(draw: st.DrawFn) -> tuple[Derivative, int]:
    dim = draw(st.integers(1, 3))
    index = st.integers(0, 4).flatmap(
        lambda order: st.sampled_from(list(itertools.combinations_with_replacement(range(dim), order)))
    )
    numbers = st.fractions(-3, 3, max_denominator=4)
    field = torch.ones(2)
    terms = draw(st.lists(st.tuples(index, numbers, st.booleans()), min_size=1, max_size=5))
    total = 0 * d()
    for alpha, number, varies in terms:
        total = total + number * (field * d(*alpha) if varies else d(*alpha))
    return total, dim


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(operators())
def test_sums_of_terms_are_identities(case: tuple[Derivative, int]) -> None:
    check(*case)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, derandomize=True, database=None)
@given(operators())
def test_many_sums_of_terms_are_identities(case: tuple[Derivative, int]) -> None:
    check(*case)


@pytest.mark.parametrize(
    ("operator", "dim", "lines"),
    [
        (laplace(5), 5, 5),
        ((d("x") + 2 * d("y") - d("z")) ** 3, 3, 1),  # one variable in disguise
        ((d("x") + d("y")) ** 2 * (d("x") - d("z")) ** 2, 3, 4),  # two variables in disguise
        (d("xx") + 2 * d("xy") + d("yy"), 2, 1),
        (d("xy") + d("zt"), 4, 4),
        (d("xy") + d("yz") + d("xz"), 3, 3),  # the rank of the matrix
        (d("xxx") + d("xyy"), 2, 2),  # Zakharov-Kuznetsov: irrational, three lines with integers
        (d("xxx") + d("xyy") + d("xzz"), 3, 4),
        (laplace("xy") ** 2, 2, 3),  # hexagon
        (laplace("xyz") ** 2, 3, 6),  # icosahedron
        (laplace(4) ** 2, 4, 11),
        (laplace(5) ** 2, 5, 16),
        ((4 * d("xx") + d("yy") + 9 * d("zz")) ** 2, 3, 6),  # orthotropic
        ((d("tt") - laplace("xy")) ** 2, 4, 7),  # indefinite
        (d("xxxx") + 2 * d("xxyy") + d("yyyy") + d("xxxx"), 2, 3),
        # Lower orders ride along.
        (d("xxxx") + d("xxx") + d("xx") + d("x"), 1, 1),
        (laplace("xy") ** 2 + laplace("xy") + d("x") - 3 * d("xy"), 2, 3),
        (d("t") + 6 * d("x") + d("xxx") + d("xyy"), 4, 3),
        (laplace(3) + d("x") + d("y") + d("z"), 3, 3),
        (d("x") + d("y") - 2 * d("z"), 3, 1),
        (d("t") + d("x") + d("xx"), 4, 2),
        # One unknown drift and diffusion each.
        (torch.ones(2) * d("xx") + torch.ones(2) * d("xy") + torch.ones(2) * d("yy"), 2, 3),
        (d("xxx") + torch.ones(2) * d("xx") + torch.zeros(2) * d("x"), 1, 1),
    ],
    ids=str,
)
def test_sizes(operator: Derivative, dim: int, lines: int) -> None:
    assert len(check(operator, dim).lines) == lines


def test_dense_forms_need_few_lines() -> None:
    """20 coefficients of a cubic form in four variables; the generic rank over the complex numbers is 5."""
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randint(-3, 4, (20,), generator=generator).tolist()
    form = {m: Fraction(n) for m, n in zip(monomials(4, 3), numbers, strict=True) if n}
    powers = decompose(form)
    assert lower_bound(form) <= len(powers) <= 8
    for m in monomials(4, 3):
        total = sum(weight * power(line, m) for line, weight in powers.items())
        assert float(total) == pytest.approx(float(form.get(m, 0)), abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "order"), [(3, 4), (4, 4), (3, 5), (2, 6), (2, 8)])
def test_random_forms(dim: int, order: int) -> None:
    generator = torch.Generator().manual_seed(order)
    for _ in range(5):
        numbers = torch.randint(-3, 4, (comb(dim + order - 1, order),), generator=generator).tolist()
        form = {m: Fraction(n) for m, n in zip(monomials(dim, order), numbers, strict=True) if n}
        powers = decompose(form)
        for m in monomials(dim, order):
            total = sum(weight * power(line, m) for line, weight in powers.items())
            assert float(total) == pytest.approx(float(form.get(m, 0)), abs=1e-9)


def test_orders_and_columns() -> None:
    assert laplace(7).plan(7).columns == 7 + 2  # the forward Laplacian
    p = (laplace("xy") ** 2 - laplace("xy")).plan(2)
    assert p.orders == (4, 4, 4)
    assert p.columns == 3 * 3 + 2
    q = (d("xxx") + d("t")).plan(4)
    assert sorted(q.orders) == [1, 3]
    assert q.columns == 1 + 3 + 1


def test_several_operators_share_their_lines() -> None:
    x, y, t = d("x"), d("y"), d("t")
    p = plan([x, y, t, x**2 + y**2, x**2, x**4 + x**2], 4)
    for number, operator in enumerate(p.operators):
        assert {key: value for key, value in read_back(p, number).items() if value} == operator.terms
    assert len(p.lines) == 3
    assert sorted(p.orders) == [1, 2, 4]
    assert p.columns == 1 + 4 + 2 + 1
    # u_xx and u_yy are read one by one, and their sum too: no sum to collapse.
    assert plan([x**2, y**2, x**2 + y**2], 2).columns == 1 + 2 + 2
    assert plan([x**2 - y**2, x**2 + y**2], 2).columns == 1 + 2 * 2
    # A factor that varies from point to point multiplies the sum; two of them, two sums.
    c, k = torch.ones(2), torch.ones(2)
    assert (c * (x**2 + y**2) - k * t**2).plan(4).columns == 1 + 3 + 2
    assert (c * x + k * y).plan(2).columns == 1 + 1


def test_text() -> None:
    assert str(d("xy").plan(2)) == "u_xy = 1/4 D²[x + y] - 1/4 D²[x - y]"
    assert repr(d("xy").plan(2)) == "Plan(u_xy: 2 lines in 2 dimensions)"
    assert str((d(4, 4) - d() / 2).plan(5)) == "u_{4,4} - 1/2 u = D²[x_4] - 1/2 u"
    assert str((0 * d("x")).plan(1)) == "0 = 0"


def test_many_dimensions_take_no_time() -> None:
    p = (laplace(2000) + sum((d(i) for i in range(2000)), 0 * d())).plan(2000)
    assert len(p.lines) == 2000


def test_errors() -> None:
    with pytest.raises(ValueError, match="has 3 variables, but the functions have 2"):
        plan(d("xz"), 2)
    with pytest.raises(ValueError, match="at least 1"):
        sphere_lines(0, 4)
    with pytest.raises(ValueError, match="degree=6 for dim=3"):
        sphere_lines(3, 6)
    with pytest.raises(ValueError, match="degree=3"):
        sphere_lines(2, 3)


@pytest.mark.parametrize("dim", range(1, 13))
@pytest.mark.parametrize("degree", [2, 4])
def test_lines_on_the_sphere(dim: int, degree: int) -> None:
    lines, weights = sphere_lines(dim, degree)
    assert len(lines) >= comb(dim + degree // 2 - 1, degree // 2)  # as many as forms of half the degree
    v = torch.tensor([[float(e) for e in line] for line in lines], dtype=torch.float64)
    w = torch.tensor(weights, dtype=torch.float64)
    ξ = torch.randn(dim, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(dim))
    square = (ξ**2).sum(0)
    # Averages of (v·ξ)^k over the sphere; sums of some hundred terms.
    close = {"rtol": 1e-13, "atol": 1e-13}
    torch.testing.assert_close(v.norm(dim=1), torch.ones(len(v), dtype=torch.float64), **close)
    torch.testing.assert_close(w.sum(), torch.tensor(1.0, dtype=torch.float64), **close)
    torch.testing.assert_close(w @ (v @ ξ) ** 2, square / dim, **close)
    if degree == 4:
        torch.testing.assert_close(w @ (v @ ξ) ** 4, 3 * square**2 / (dim * (dim + 2)), rtol=1e-12, atol=0.0)


def test_polygons_have_any_degree() -> None:
    for degree in (6, 8, 10):
        lines, weights = sphere_lines(2, degree)
        assert len(lines) == degree // 2 + 1
        total = sum(w * float(v[0] * 0.6 + v[1] * 0.8) ** degree for v, w in zip(lines, weights, strict=True))
        assert total == pytest.approx(comb(degree, degree // 2) / 2**degree, rel=1e-13)
