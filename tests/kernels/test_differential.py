"""Differential operators against nested reverse mode, in float64, with their gradients."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sciml.kernels.derivatives import Derivative, MultiIndex, d, laplace
from sciml.kernels.differential import (
    biharmonic,
    differential_operator,
    laplacian,
    squared_residual,
    third,
    trace,
)
from sciml.kernels.estimators import (
    CubatureLines,
    DenseDirections,
    Estimator,
    Exact,
    Hutchinson,
    SparseDirections,
)
from sciml.kernels.evaluation import evaluate
from sciml.kernels.forms import Form, LineForm, MatrixForm, SquaredLaplacian
from sciml.kernels.jet import Jet
from sciml.kernels.plans import plan

# Fourth derivatives of a small network in float64: agreement to 1e-10 of their size.
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def network(dim: int, *, column: bool = False) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(dim, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    return net if column else nn.Sequential(net, nn.Flatten(0))


def points(batch: int, dim: int) -> Tensor:
    return torch.randn(batch, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def nested(u: Callable[[Tensor], Tensor], x: Tensor, indices: list[MultiIndex]) -> dict[MultiIndex, Tensor]:
    """∂^α u by reverse mode of reverse mode, each lower derivative once."""
    if not x.requires_grad:
        x = x.detach().requires_grad_()
    known: dict[MultiIndex, Tensor] = {(): u(x).reshape(-1)}

    def of(index: MultiIndex) -> Tensor:
        for end in range(len(index)):
            if index[: end + 1] not in known:
                before = known[index[:end]]
                (gradient,) = torch.autograd.grad(before.sum(), x, create_graph=True)
                for i in range(x.shape[1]):
                    known[*index[:end], i] = gradient[:, i]
        return known[index]

    return {index: of(index) for index in indices}


def by_nesting(u: Callable[[Tensor], Tensor], x: Tensor, operator: Derivative) -> Tensor:
    values = nested(u, x, [index for _, index in operator.terms])
    total = torch.zeros(len(x), dtype=x.dtype)
    for (coefficient, index), number in operator.terms.items():
        factor = torch.ones((), dtype=x.dtype)
        for part in coefficient:
            factor = factor * part.at(x)
        total = total + float(number) * factor * values[index]
    return total


def every(dim: int) -> list[MultiIndex]:
    return [i for k in range(5) for i in itertools.combinations_with_replacement(range(dim), k)]


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_every_derivative_up_to_order_four(dim: int) -> None:
    u, x = network(dim), points(3, dim)
    indices = every(dim)
    value, *found = evaluate(u, x, [d(*index) for index in indices])
    expected = nested(u, x, indices)
    torch.testing.assert_close(value, u(x), **CLOSE)
    for index, result in zip(indices, found, strict=True):
        torch.testing.assert_close(result, expected[index], **CLOSE)


@pytest.mark.slow
def test_every_derivative_up_to_order_four_in_four_dimensions() -> None:
    u, x = network(4), points(3, 4)
    expected = nested(u, x, every(4))
    for index in every(4):
        torch.testing.assert_close(differential_operator(d(*index))(u, x), expected[index], **CLOSE)


def wave_speed(x: Tensor) -> Tensor:
    return 1 + x[:, 0] ** 2


FIELD = torch.linspace(-1, 2, 3, dtype=torch.float64)
UNKNOWN = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

OPERATORS = {
    "laplacian": laplace(3),
    "biharmonic": laplace(3) ** 2,
    "heat": d("z") - laplace("xy"),
    "wave": d("zz") - wave_speed * laplace("xy"),
    "zakharov-kuznetsov": d("z") + d("xxx") + d("xyy"),
    "swift-hohenberg": (1 + laplace("xy")) ** 2 - 0.3 * d(),
    "mixed": 2 * d("xxyz") - d("xyz") + d("xy") / 3 + 4 * d("z") - d(),
    "weighted": FIELD * d("xx") + FIELD * d("xy") + UNKNOWN * d("zz") - wave_speed * d("y") + FIELD * d(),
    "fourth, varying": FIELD * d("xxyy") + wave_speed * d("xxx") + d("xxxx"),
    "drift alone": FIELD * d("x") + wave_speed * d("y"),
    "multiple of u": FIELD * d() + 2,
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("column", [False, True], ids=["(batch,)", "(batch, 1)"])
def test_operators_and_their_gradients(name: str, column: bool) -> None:
    """Values, and gradients of their squares with respect to parameters, points and unknown coefficients."""
    operator = OPERATORS[name]
    u, x = network(3, column=column), points(3, 3).requires_grad_()
    found, expected = differential_operator(operator)(u, x), by_nesting(u, x, operator)
    torch.testing.assert_close(found, expected, **CLOSE)
    inputs = [x, UNKNOWN, *u.parameters()]
    of_found = torch.autograd.grad(found.square().sum(), inputs, allow_unused=True, materialize_grads=True)
    of_expected = torch.autograd.grad(
        expected.square().sum(), inputs, allow_unused=True, materialize_grads=True
    )
    for a, b in zip(of_found, of_expected, strict=True):
        # Relative to the largest gradient: a bias that does not enter may have rounding errors instead of
        # zero.
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10 * float(b.abs().max() + 1))


def hessian(u: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    dim = x.shape[1]
    values = nested(u, x, [(i, j) for i in range(dim) for j in range(dim)])
    return torch.stack([values[i, j] for i in range(dim) for j in range(dim)], dim=1).reshape(-1, dim, dim)


def random_matrix(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 3), (4, 3, 3)], ids=["one", "per point"])
def test_trace_with_a_matrix(shape: tuple[int, ...]) -> None:
    u, x, a = network(3), points(4, 3), random_matrix(*shape)
    expected = (a * hessian(u, x)).sum((1, 2))
    torch.testing.assert_close(trace(u, x, a), expected, **CLOSE)
    # A matrix of rank one, whose other eigenvalues are zero.
    one = random_matrix(3, 1) @ random_matrix(3, 1).T
    torch.testing.assert_close(trace(u, x, one), (one * hessian(u, x)).sum((1, 2)), **CLOSE)
    # A gradient with respect to the matrix: the Hessian, as far as it is symmetric.
    a.requires_grad_()
    (found,) = torch.autograd.grad(trace(u, x, a).sum(), a)
    torch.testing.assert_close(found, hessian(u, x).sum(0) if a.ndim == 2 else hessian(u, x), **CLOSE)
    torch.testing.assert_close(trace(u, x, a), expected, **CLOSE)


@pytest.mark.parametrize("shape", [(3, 2), (4, 3, 2), (3, 5)], ids=["one", "per point", "wide"])
def test_trace_with_a_factor(shape: tuple[int, ...]) -> None:
    u, x, sigma = network(3), points(4, 3), random_matrix(*shape).requires_grad_()
    a = sigma @ sigma.mT
    found, expected = trace(u, x, factor=sigma), (a * hessian(u, x)).sum((1, 2))
    torch.testing.assert_close(found, expected, **CLOSE)
    (g,), (h,) = (torch.autograd.grad(y.square().sum(), sigma) for y in (found, expected))
    torch.testing.assert_close(g, h, **CLOSE)


ISOTROPIC = (
    (laplacian, laplace(3)),
    (biharmonic, laplace(3) ** 2),
    (third, d("xxx") + d("yyy") + d("zzz")),
)


@pytest.mark.parametrize(("function", "operator"), ISOTROPIC, ids=["laplacian", "biharmonic", "third"])
def test_named_operators(function: Callable[..., Tensor], operator: Derivative) -> None:
    u, x = network(3), points(4, 3)
    torch.testing.assert_close(function(u, x), by_nesting(u, x, operator), **CLOSE)
    if function is not third:
        lines = function(u, x, estimator=CubatureLines(4))
        torch.testing.assert_close(lines, by_nesting(u, x, operator), **CLOSE)


@pytest.mark.parametrize("dim", [1, 2, 4, 5, 8])
def test_biharmonic_in_other_dimensions(dim: int) -> None:
    """Of |x|⁴ it is 8 d (d + 2); of a product of the first two coordinates' squares 8."""
    x = points(2, dim)
    found = biharmonic(lambda x: x.square().sum(1).square(), x)
    torch.testing.assert_close(found, torch.full_like(found, 8.0 * dim * (dim + 2)), **CLOSE)


@pytest.mark.parametrize("per_point", [False, True], ids=["shared", "per point"])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: SparseDirections(2, per_point=p),
        lambda p: SparseDirections(2, replacement=True, per_point=p),
        lambda p: Hutchinson(2, per_point=p),
        lambda p: Hutchinson(2, "sphere", per_point=p),
        lambda p: Hutchinson(2, "orthogonal", per_point=p),
        lambda p: DenseDirections(2, per_point=p),
    ],
    ids=["sparse", "replacement", "signs", "sphere", "orthogonal", "dense"],
)
def test_estimates_are_what_their_directions_say(make: Callable[[bool], Estimator], per_point: bool) -> None:
    """Every estimator with every operator it takes: jets against nested derivatives along its directions."""
    u, x, a = network(3), points(4, 3), random_matrix(4, 3, 3)
    estimator = make(per_point)
    expected_hessian = hessian(u, x)
    vectors, weights = random_matrix(2, 4, 3), random_matrix(2, 4)
    forms: list[Form] = [
        LineForm(2),
        LineForm(2, random_matrix(2, 3)),
        LineForm(2, vectors, weights),
        MatrixForm(a),
        MatrixForm(a[0]),
    ]
    for form in forms:
        estimate = evaluate(u, x, [form], estimator=estimator, generator=3)[1]
        groups = estimator.directions(form, x, torch.Generator().manual_seed(3))
        total = torch.zeros(4, dtype=torch.float64)
        for g in groups:
            v = g.vectors if g.vectors.ndim == 3 else g.vectors[:, None].expand(-1, 4, -1)
            w = torch.ones(len(v), 1) if g.weights is None else g.weights.reshape(len(v), -1)
            total = total + (w * torch.einsum("bij,rbi,rbj->rb", expected_hessian, v, v)).sum(0)
        torch.testing.assert_close(estimate, total, **CLOSE)
    assert biharmonic(u, x, estimator=estimator, generator=3).shape == (4,)


def test_unbiased_over_many_draws() -> None:
    """Jets, estimators and draws together: 400 draws in one pass."""
    u, x = network(3), points(2, 3)
    operator = differential_operator(laplace(3) ** 2 + d("xyz") - 2 * d("xx") + d("y") + 1)
    expected = by_nesting(u, x, operator.operator)  # type: ignore[arg-type]
    for estimator in (SparseDirections(2), DenseDirections(2)):
        draws = operator(u, x, estimator=estimator, generator=5, draws=400)
        error = draws.std(0) / 20
        assert ((draws.mean(0) - expected).abs() < 5 * error).all()


def test_two_draws_keep_a_squared_residual_unbiased() -> None:
    """E r_1 r_2 = r² with variance s⁴ + 2 r² s², while the square of one draw is too large by s²."""
    h = torch.diag(torch.tensor([3.0, -1.0, 0.5, 2.0], dtype=torch.float64))
    x = torch.zeros(1, 4, dtype=torch.float64)

    def u(x: Tensor) -> Tensor:
        return ((x @ h) * x).sum(1) / 2

    n, samples, truth = 1000, 2, 4.5
    diagonal = h.diag()
    s2 = float(4 * (diagonal**2).sum() - truth**2) / samples * (4 - samples) / 3
    draws = laplacian(u, x, estimator=SparseDirections(samples), generator=0, draws=2 * n)[:, 0]
    source = -3.0 * torch.ones(1, dtype=torch.float64)
    pairs = (draws + source).reshape(2, n)
    products = squared_residual(pairs)
    r = truth - 3.0
    assert abs(float(products.mean()) - r**2) < 5 * float(products.std()) / n**0.5
    squares = pairs[0] ** 2
    assert abs(float(squares.mean()) - (r**2 + s2)) < 5 * float(squares.std()) / n**0.5
    centered = (products - products.mean()) ** 2
    variance = s2**2 + 2 * r**2 * s2
    assert abs(float(centered.mean()) - variance) < 5 * float(centered.std()) / n**0.5


def test_products_of_more_draws() -> None:
    r = random_matrix(4, 3)
    mean = torch.stack([r[i] * r[j] for i, j in itertools.combinations(range(4), 2)]).mean(0)
    torch.testing.assert_close(squared_residual(r), mean, rtol=1e-13, atol=1e-13)


def test_halves_of_one_draw_without_replacement_are_biased() -> None:
    """By enumeration over all ordered pairs: E r_A r_B = r² - (d Σ H_ii² - t²)/(d - 1)."""
    h = torch.tensor([3.0, -1.0, 0.5, 2.0], dtype=torch.float64)
    products = torch.stack([4 * h[i] * 4 * h[j] for i, j in itertools.permutations(range(4), 2)])
    bias = (4 * (h**2).sum() - h.sum() ** 2) / 3
    torch.testing.assert_close(products.mean(), h.sum() ** 2 - bias, rtol=1e-13, atol=0.0)


def test_draws_of_what_is_exact_cost_once() -> None:
    calls = []

    def u(x: Tensor) -> Tensor:
        calls.append(1)
        return (x**3).sum(1)

    x = points(3, 2)
    estimates = laplacian(u, x, draws=3)
    assert len(calls) == 1
    torch.testing.assert_close(estimates, (6 * x.sum(1)).expand(3, -1), **CLOSE)
    sparse = differential_operator(laplace(2) + d("x"))(
        u, x, estimator=SparseDirections(1), generator=0, draws=3
    )
    assert sparse.shape == (3, 3)


def test_one_sweep_for_many_operators_of_different_kinds() -> None:
    u, x = network(3), points(3, 3)
    operators = [d("x"), d("y"), laplace("xy"), LineForm(2), SquaredLaplacian(), (d("z") + 2 * d()).plan(3)]
    value, *found = evaluate(u, x, operators)
    expected = [d("x"), d("y"), laplace("xy"), laplace(3), laplace(3) ** 2, d("z") + 2 * d()]
    torch.testing.assert_close(value, u(x), **CLOSE)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, by_nesting(u, x, b), **CLOSE)
    shared = plan([d("x"), laplace("xy") ** 2, laplace("xy")], 3)
    for a, b in zip(evaluate(u, x, [shared])[1:], shared.operators, strict=True):
        torch.testing.assert_close(a, by_nesting(u, x, b), **CLOSE)


@pytest.mark.parametrize(
    "operators",
    [
        [laplace(3)],
        [laplace("xy") ** 2 + laplace("xy") + d("x")],
        [d("x"), d("y"), laplace("xy"), d("z")],
        [d("xx"), d("xy"), laplace("xy")],
        [wave_speed * laplace("xy") + FIELD * d("z") - d("zz")],
        [d("z") + FIELD * d("x"), d("xxx") + d("xyy")],
    ],
    ids=str,
)
def test_columns_are_as_many_as_a_plan_says(operators: list[Derivative]) -> None:
    """Lower orders, and other operators along the same lines, come at no cost."""
    p, x = plan(operators, 3), points(3, 3)
    counts = []

    def u(x: Tensor) -> Tensor:
        y = torch.tanh(x)
        counts.append(len(y.columns) if isinstance(y, Jet) else 1)
        return y[:, 0] * y[:, 1] * y[:, 2]

    _, *found = evaluate(u, x, [p])
    assert counts == [p.columns]
    for a, operator in zip(found, operators, strict=True):
        torch.testing.assert_close(a, by_nesting(u, x, operator), **CLOSE)


def test_single_precision_and_constants() -> None:
    x = torch.ones(2, 2)
    assert laplacian(lambda x: (x**2).sum(1), x).dtype == torch.float32
    assert differential_operator(d("x") + d("xx"))(lambda x: torch.ones(2), x).tolist() == [0.0, 0.0]
    assert evaluate(lambda x: x[:, 0], x, [])[0].tolist() == [1.0, 1.0]


def test_errors() -> None:
    x = torch.zeros(2, 3)

    def u(x: Tensor) -> Tensor:
        return x.sum(1)

    with pytest.raises(
        ValueError, match=r"laplacian: x must be real points of shape \(batch, d\), got \(3,\)"
    ):
        laplacian(u, torch.zeros(3))
    with pytest.raises(ValueError, match=r"one value each.*got \(2, 3\)"):
        laplacian(lambda x: x**2, x)
    with pytest.raises(ValueError, match="either the matrix"):
        trace(u, x)
    with pytest.raises(ValueError, match=r"matrix must have shape \(3, 3\) or \(2, 3, 3\).*got \(2, 2\)"):
        trace(u, x, torch.eye(2))
    with pytest.raises(ValueError, match=r"factor must have shape \(3, k\)"):
        trace(u, x, factor=torch.ones(2))
    with pytest.raises(ValueError, match="the plan is for 2 variables, the points have 3"):
        differential_operator(d("xx").plan(2))(u, x)
    with pytest.raises(ValueError, match="a plan of 2"):
        differential_operator(plan([d("x"), d("y")], 2))
    with pytest.raises(ValueError, match="Pass draws=2"):
        squared_residual(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="draws must be at least 1"):
        laplacian(u, x, draws=0)
    with pytest.raises(ValueError, match="Hutchinson: the directions are random"):
        laplacian(u, x, estimator=Hutchinson(2))
    assert Exact() == Exact()
