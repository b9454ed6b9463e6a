"""Estimators: expectation and variance against their formulas, by enumeration or within five standard errors.

The estimates of a homogeneous operator depend on ``T = D^K u`` alone, so that they are computed from the
directions and a random symmetric tensor T, without any jet. A batch with directions of its own for each point
is a sample.
"""

import itertools
from math import sqrt

import pytest
import torch
from torch import Tensor

from sciml.kernels.cubature import sphere_lines
from sciml.kernels.derivatives import Derivative, d
from sciml.kernels.estimators import (
    CubatureLines,
    DenseDirections,
    Distribution,
    Estimator,
    Exact,
    Hutchinson,
    SparseDirections,
)
from sciml.kernels.forms import Form, LineForm, MatrixForm, SquaredLaplacian, forms_of, values_of
from sciml.kernels.jet import Directions

SAMPLE = 10_000


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def symmetric(dim: int, order: int, seed: int = 0) -> Tensor:
    """A random symmetric tensor."""
    t = randn(*[dim] * order, seed=seed)
    permutations = list(itertools.permutations(range(order)))
    return torch.stack([t.permute(p) for p in permutations]).sum(0) / len(permutations)


def apply(tensor: Tensor, groups: tuple[Directions, ...], batch: int) -> Tensor:
    """``Σ_r w_r T[v_r, …, v_r]`` at every point of a batch."""
    total = torch.zeros(batch, dtype=torch.float64)
    for group in groups:
        value = tensor.expand(*group.vectors.shape[:-1], *tensor.shape)
        for _ in range(group.order):
            value = (
                value * group.vectors.reshape(*group.vectors.shape, *[1] * (value.ndim - group.vectors.ndim))
            ).sum(group.vectors.ndim - 1)
        weights = value.new_ones(len(value)) if group.weights is None else group.weights
        total = total + ((weights * value).sum(0) if weights.ndim == value.ndim else weights @ value)
    return total


def exact(form: Form, tensor: Tensor) -> float:
    x = torch.zeros(1, tensor.shape[0], dtype=torch.float64)
    return float(apply(tensor, Exact().directions(form, x, None), 1))


def check(form: Form, tensor: Tensor, estimator: Estimator, variance: float | None, seed: int = 1) -> None:
    """Mean and variance of a sample, each within five standard errors."""
    x = torch.zeros(SAMPLE, tensor.shape[0], dtype=torch.float64)
    values = apply(tensor, estimator.directions(form, x, torch.Generator().manual_seed(seed)), SAMPLE)
    centered = values - values.mean()
    second, fourth = float((centered**2).mean()), float((centered**4).mean())
    truth = exact(form, tensor)
    # 1e-12: estimates without variance agree up to rounding.
    assert abs(float(values.mean()) - truth) < 5 * sqrt(second / SAMPLE) + 1e-12 * (1 + abs(truth))
    if variance is not None:
        assert (
            abs(second - variance)
            < 5 * sqrt(max(fourth - second**2, 0) / SAMPLE) + 1e-12 * (1 + abs(truth)) ** 2
        )


def planned(operator: Derivative, dim: int) -> list[Form]:
    """The forms of an operator without variable coefficients."""
    x = torch.zeros(1, dim, dtype=torch.float64)
    p = operator.plan(dim)
    return forms_of(p, 0, values_of(p, x), x)


def sphere_variance(h: Tensor) -> float:
    n = len(h)
    return float((2 * n * (h**2).sum() - 2 * h.trace() ** 2) / (n + 2))


def trace_variance(h: Tensor, distribution: Distribution, samples: int) -> float:
    """The table in the docstring of Hutchinson."""
    n = len(h)
    off = h - h.diag().diag()
    return {
        "rademacher": float(2 * (off**2).sum()) / samples,
        "gaussian": float(2 * (h**2).sum()) / samples,
        "sphere": sphere_variance(h) / samples,
        "orthogonal": sphere_variance(h) / samples * (n - samples) / (n - 1),
    }[distribution]


DISTRIBUTIONS: tuple[Distribution, ...] = ("rademacher", "gaussian", "sphere", "orthogonal")


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_hutchinson_of_the_laplacian(distribution: Distribution, samples: int) -> None:
    h = symmetric(4, 2)
    check(
        LineForm(2),
        h,
        Hutchinson(samples, distribution, per_point=True),
        trace_variance(h, distribution, samples),
    )


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_hutchinson_with_a_matrix_and_with_a_factor(distribution: Distribution) -> None:
    h, a, sigma = symmetric(4, 2), symmetric(4, 2, seed=5), randn(4, 3, seed=6)
    estimator = Hutchinson(2, distribution, per_point=True)
    product = (a @ h + h @ a) / 2
    check(MatrixForm(a), h, estimator, trace_variance(product, distribution, 2))
    check(LineForm(2, sigma.T), h, estimator, trace_variance(sigma.T @ h @ sigma, distribution, 2))


def test_orthogonal_directions_are_exact_when_they_are_all() -> None:
    h = symmetric(5, 2)
    x = torch.zeros(1, 5, dtype=torch.float64)
    groups = Hutchinson(5, "orthogonal").directions(LineForm(2), x, torch.Generator().manual_seed(0))
    torch.testing.assert_close(apply(h, groups, 1)[0], h.trace(), rtol=1e-13, atol=0.0)


def test_sphere_is_never_above_gaussian_and_signs_see_no_diagonal() -> None:
    h = symmetric(4, 2)
    assert trace_variance(h, "sphere", 1) < trace_variance(h, "gaussian", 1)
    check(LineForm(2), h.diag().diag(), Hutchinson(1, per_point=True), 0.0)


def fourth_variance(t: Tensor, distribution: Distribution, samples: int) -> float:
    """The second table in the docstring of Hutchinson."""
    n = len(t)
    b = torch.einsum("ijkk->ij", t)
    tau = float(b.trace())
    pairings = float(24 * (t**2).sum() + 72 * (b**2).sum())
    if distribution == "gaussian":
        return pairings / 9 / samples
    if distribution == "rademacher":
        total = 0.0
        for i, j in itertools.combinations(range(n), 2):
            rest = sum(t[i, j, k, k] for k in range(n) if k not in (i, j))
            total += float(4 * t[i, i, i, j] + 4 * t[i, j, j, j] + 12 * rest) ** 2
        total += sum(576 * float(t[index]) ** 2 for index in itertools.combinations(range(n), 4))
        return total / 9 / samples
    gamma = n * (n + 2) / ((n + 4) * (n + 6))
    w = gamma * (pairings + 9 * tau**2) / 9 - tau**2
    if distribution == "sphere":
        return w / samples
    traceless = b - tau / n * torch.eye(n, dtype=torch.float64)
    w2 = 8 * n * (n + 2) / (n + 4) ** 2 * float((traceless**2).sum())
    r = samples - 1
    return (w2 * (1 - r / (n - 1)) + (w - w2) * (1 + 3 * r / ((n - 1) * (n + 1)))) / samples


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_hutchinson_of_the_squared_laplacian(distribution: Distribution, samples: int) -> None:
    t = symmetric(4, 4)
    estimator = Hutchinson(samples, distribution, per_point=True)
    check(SquaredLaplacian(), t, estimator, fourth_variance(t, distribution, samples))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_hutchinson_of_a_planned_square(distribution: Distribution) -> None:
    """``(4 u_xx + u_zz)²``, in which y does not occur; weights reach 16, hence only the mean."""
    t = symmetric(3, 4)
    (form,) = planned(((4 * d("xx") + d("zz")) ** 2), 3)
    check(form, t, Hutchinson(2, distribution, per_point=True), None)


def sparse_variance(summands: Tensor, samples: int, replacement: bool) -> float:
    n = len(summands)
    value = float(n * (summands**2).sum() - summands.sum() ** 2) / samples
    return value if replacement else value * (n - samples) / (n - 1)


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("samples", [1, 3])
def test_sparse_directions(samples: int, replacement: bool) -> None:
    estimator = SparseDirections(samples, replacement, per_point=True)
    h, a, sigma = symmetric(5, 2), symmetric(5, 2, seed=5), randn(5, 4, seed=6)
    check(LineForm(2), h, estimator, sparse_variance(h.diag(), samples, replacement))
    check(MatrixForm(a), h, estimator, sparse_variance((a @ h).diag(), samples, replacement))
    columns = (sigma.T @ h @ sigma).diag()
    check(LineForm(2, sigma.T), h, estimator, sparse_variance(columns, samples, replacement))
    cubic = symmetric(5, 3)
    check(LineForm(3), cubic, estimator, sparse_variance(torch.einsum("iii->i", cubic), samples, replacement))


@pytest.mark.parametrize("replacement", [False, True])
def test_sparse_pairs_of_the_squared_laplacian(replacement: bool) -> None:
    t = symmetric(4, 4)
    pairs = torch.tensor(
        [
            2 * t[i, i, j, j] + (t[i, i, i, i] + t[j, j, j, j]) / 3
            for i, j in itertools.combinations(range(4), 2)
        ]
    )
    estimator = SparseDirections(2, replacement, per_point=True)
    check(SquaredLaplacian(), t, estimator, sparse_variance(pairs, 2, replacement))


def test_sparse_terms_of_a_plan() -> None:
    t = symmetric(3, 4)
    operator = 2 * d("xxxy") - d("xxyz") + 3 * d("zzzz") + d("yyzz")
    (form,) = planned(operator, 3)
    terms = torch.stack([2 * t[0, 0, 0, 1], -t[0, 0, 1, 2], 3 * t[2, 2, 2, 2], t[1, 1, 2, 2]])
    for replacement in (False, True):
        estimator = SparseDirections(2, replacement, per_point=True)
        check(form, t, estimator, sparse_variance(terms, 2, replacement))


def test_pairs_are_numbered_without_gaps() -> None:
    """Every pair once, also where the square root is at the end of its digits."""
    x = torch.zeros(1, 40, dtype=torch.float64)
    form = SquaredLaplacian()
    vectors = form.some(x, torch.arange(form.count(x)), 1.0).vectors[: form.count(x)]
    assert len({tuple(row.tolist()) for row in vectors}) == 40 * 39 // 2
    assert (vectors.sum(1) == 2).all()


def third_variance(t: Tensor) -> float:
    n = range(len(t))
    value = sum(float(2 * t[r, r, r] + 3 * sum(t[r, s, s] for s in n if s != r)) ** 2 for r in n)
    value += sum(9 * float(t[r, r, s] + t[r, s, s]) ** 2 for r, s in itertools.combinations(n, 2))
    return value + sum(36 * float(t[index]) ** 2 for index in itertools.combinations(n, 3))


def two_law_variance(t: Tensor) -> float:
    n = range(len(t))
    value = sum(float(2 * t[r, r, r, r] + 6 * sum(t[r, r, s, s] for s in n if s != r)) ** 2 for r in n)
    for r, s in itertools.combinations(n, 2):
        value += 36 * float(t[r, r, s, s]) ** 2
        c = 4 * float(t[r, r, r, s] + t[r, s, s, s])
        parts = [12 * float(t[r, s, k, k]) for k in n if k not in (r, s)]
        e = sum(parts)
        value += e**2 / 4 + 3 * (c + e / 2) ** 2 + sum(part**2 for part in parts)
    return value + sum(864 * float(t[index]) ** 2 for index in itertools.combinations(n, 4))


def test_law_of_order_three_by_enumeration() -> None:
    """All 2^4 outcomes with their probabilities: the formulas hold to rounding."""
    golden = (1 + sqrt(5)) / 2
    t = symmetric(4, 3)
    choices = torch.tensor(list(itertools.product((golden, -1 / golden), repeat=4)), dtype=torch.float64)
    p = 1 / (golden**2 + 1)
    probability = ((choices > 0).double() * (2 * p - 1) + (1 - p)).prod(1)
    values = torch.einsum("rst,nr,ns,nt->n", t, choices, choices, choices)
    mean = float(probability @ values)
    assert mean == pytest.approx(float(torch.einsum("iii->", t)), rel=1e-12)
    assert float(probability @ values**2) - mean**2 == pytest.approx(third_variance(t), rel=1e-12)


def test_laws_of_order_four_by_enumeration() -> None:
    """All 4^4 outcomes, of equal probability: unbiased, with the variance that is stated."""
    t = symmetric(4, 4)
    signs = torch.tensor(list(itertools.product((1.0, -1.0), repeat=4)), dtype=torch.float64)
    kept = torch.tensor(list(itertools.product((sqrt(2), 0.0), repeat=4)), dtype=torch.float64)
    dense = torch.einsum("rstq,nr,ns,nt,nq->n", t, signs, signs, signs, signs)[:, None]
    both = signs[:, None] * kept
    values = torch.einsum("rstq,nmr,nms,nmt,nmq->nm", t, both, both, both, both) - dense
    assert float(values.mean()) == pytest.approx(float(torch.einsum("iiii->", t)), rel=1e-12)
    assert float(values.var(correction=0)) == pytest.approx(two_law_variance(t), rel=1e-12)


def rotated(t: Tensor, vectors: Tensor) -> Tensor:
    """T in the coordinates of other vectors."""
    for _ in range(t.ndim):
        t = torch.tensordot(t, vectors, dims=([0], [1]))
    return t


def test_dense_directions_of_order_two_are_hutchinsons() -> None:
    h, a = symmetric(4, 2), symmetric(4, 2, seed=5)
    x = torch.zeros(1, 4, dtype=torch.float64)
    (mixed,) = planned((2 * d("xx") + d("xy") - 3 * d("yz")), 4)
    for form in (LineForm(2), MatrixForm(a), mixed):
        first = DenseDirections(3).directions(form, x, torch.Generator().manual_seed(2))
        second = Hutchinson(3).directions(form, x, torch.Generator().manual_seed(2))
        torch.testing.assert_close(apply(h, first, 1), apply(h, second, 1), rtol=0.0, atol=0.0)
    check(mixed, h, DenseDirections(3, per_point=True), None)


@pytest.mark.parametrize("samples", [1, 3])
def test_dense_directions_of_order_three(samples: int) -> None:
    t = symmetric(3, 3)
    estimator = DenseDirections(samples, per_point=True)
    check(LineForm(3), t, estimator, third_variance(t) / samples)
    form = planned((d("xxy") - 2 * d("xyz")), 3)[0]
    assert isinstance(form, LineForm)
    assert form.vectors is not None and form.weights is not None
    root = torch.sign(form.weights) * form.weights.abs() ** (1 / 3)
    check(form, t, estimator, third_variance(rotated(t, root[:, None] * form.vectors)) / samples)


@pytest.mark.parametrize("samples", [1, 3])
def test_dense_directions_of_order_four(samples: int) -> None:
    t = symmetric(3, 4)
    estimator = DenseDirections(samples, per_point=True)
    check(LineForm(4), t, estimator, two_law_variance(t) / samples)
    form = planned((d("xxyy") + d("xxxz")), 3)[0]
    assert isinstance(form, LineForm)
    assert form.vectors is not None and form.weights is not None
    variance = 0.0
    for sign in (1, -1):
        root = (sign * form.weights).clamp_min(0) ** 0.25
        variance += two_law_variance(rotated(t, root[:, None] * form.vectors))
    check(form, t, estimator, variance / samples)


def test_dense_directions_of_the_squared_laplacian_lie_on_the_sphere() -> None:
    t = symmetric(3, 4)
    check(SquaredLaplacian(), t, DenseDirections(2, per_point=True), fourth_variance(t, "sphere", 2))


SHARED = [
    Hutchinson(2),
    Hutchinson(2, "orthogonal"),
    SparseDirections(2),
    SparseDirections(2, replacement=True),
    DenseDirections(2),
]
SHARED_CASES = [(form, k, e) for form, k in ((LineForm(2), 2), (SquaredLaplacian(), 4)) for e in SHARED]
SHARED_CASES += [(LineForm(k), k, e) for k in (3, 4) for e in SHARED[2:]]


@pytest.mark.parametrize(("form", "order", "estimator"), SHARED_CASES, ids=str)
def test_directions_that_all_points_share(form: Form, order: int, estimator: Estimator) -> None:
    """The same laws, drawn call by call from one generator."""
    t = symmetric(3, order)
    x = torch.zeros(1, 3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    values = torch.cat([apply(t, estimator.directions(form, x, generator), 1) for _ in range(400)])
    assert abs(float(values.mean()) - exact(form, t)) < 5 * float(values.std()) / sqrt(len(values)) + 1e-12


def test_all_summands_are_exact() -> None:
    x = torch.zeros(1, 4, dtype=torch.float64)
    t = symmetric(4, 4)
    for form, order in ((LineForm(2), 2), (SquaredLaplacian(), 4)):
        estimator = SparseDirections(form.count(x))
        assert not estimator.is_random(form, x)
        every = form.some(x, torch.arange(form.count(x)), 1.0)
        tensor = t if order == 4 else symmetric(4, 2)
        assert float(apply(tensor, (every,), 1)) == pytest.approx(exact(form, tensor), rel=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 8])
def test_cubature_lines(dim: int) -> None:
    x = torch.zeros(1, dim, dtype=torch.float64)
    h, t = symmetric(dim, 2), symmetric(dim, 4)
    lines = CubatureLines(4).directions(LineForm(2), x, None) + CubatureLines(4).directions(
        SquaredLaplacian(), x, None
    )
    assert torch.equal(lines[0].vectors, lines[1].vectors)
    assert len(lines[0].vectors) == len(sphere_lines(dim, 4)[0])
    # Sums of some ten products.
    torch.testing.assert_close(apply(h, lines[:1], 1)[0], h.trace(), rtol=0.0, atol=1e-12)
    torch.testing.assert_close(apply(t, lines[1:], 1)[0], torch.einsum("iijj->", t), rtol=0.0, atol=1e-11)
    assert not CubatureLines(2).is_random(LineForm(2), x)
    torch.testing.assert_close(
        apply(h, CubatureLines(2).directions(LineForm(2), x, None), 1)[0], h.trace(), rtol=0.0, atol=1e-12
    )
