"""The algebra of derivatives, and what jets with several tangents measure."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from sciml.kernels.derivatives import Derivative, Factor, d, evaluate_coefficient, expand_jet, laplace


def speed(x: Tensor) -> Tensor:
    return x[:, 0] ** 2


def test_names_numbers_and_order_of_variables() -> None:
    assert d("xxy") == d(0, 0, 1) == d("x", "yx") == d("x") * d("x") * d("y")
    assert d("tx", variables="xt") == d(0, 1)
    assert d("xxy").order == 3
    assert d().order == 0


def test_ring() -> None:
    x, y = d("x"), d("y")
    assert (x + y) ** 2 == x**2 + 2 * x * y + y**2
    assert (x + y) * (x - y) == x**2 - y**2
    assert x - x == 0 * y
    assert 1 + x - 1 == x
    assert (1 - x) * (1 + x) == 1 - x**2
    assert x / 3 == Fraction(1, 3) * x
    assert hash(2 * x) == hash(x + x)
    assert x**0 == d()


def test_laplace() -> None:
    assert laplace("xy") == laplace(2) == d("xx") + d("yy")
    assert laplace("xz", variables="xyz") == d(0, 0) + d(2, 2)
    assert laplace("xy") ** 2 == d("xxxx") + 2 * d("xxyy") + d("yyyy")


def test_floats_are_kept_as_they_are() -> None:
    assert next(iter((0.1 * d("x")).terms.values())) == Fraction(0.1)


def test_coefficients_are_compared_by_identity() -> None:
    k = torch.ones(3)
    assert k * d("x") == k * d("x")
    assert k * d("x") != torch.ones(3) * d("x")
    assert k * d("x") + k * d("x") == 2 * (k * d("x"))
    assert k * (speed * d("x")) == speed * (k * d("x"))
    assert k * d("x") * d("y") == k * d("xy")
    assert -(k * d("x")) + k * d("x") == 0 * d("x")


def test_values_of_coefficients() -> None:
    x = torch.tensor([[1.0], [3.0]])
    k = torch.tensor(2.0)
    ((coefficient, _),) = (k * (speed * d("x"))).terms
    assert evaluate_coefficient(coefficient, x).tolist() == [2.0, 18.0]


@pytest.mark.parametrize(
    ("operator", "text"),
    [
        (d("t") - laplace("xy"), "u_t - u_xx - u_yy"),
        (-d("x") + Fraction(1, 2) * d(), "-u_x + 1/2 u"),
        (d(0, 7), "u_{0,7}"),
        (speed * d("xx") - torch.ones(5) * d("x"), "speed(x) u_xx - tensor(5,) u_x"),
        (d("x") - d("x"), "0"),
    ],
)
def test_repr(operator: Derivative, text: str) -> None:
    assert repr(operator) == text


@pytest.mark.parametrize(
    ("tangents", "order", "expected"),
    [
        # Tangents in slots without any other combination that gives the order: clean jets.
        ({2: d("x"), 3: d("y")}, 5, 10 * d("xy")),
        ({2: d("x"), 3: d("y")}, 7, 105 * d("xxy")),
        ({4: d("x"), 6: d("y"), 7: d("z")}, 17, 4084080 * d("xyz")),
        # By hand, with the second tangent next to the first.
        ({1: d("x"), 2: d("y")}, 2, d("xx") + d("y")),
        ({1: d("x"), 2: d("y")}, 4, d("xxxx") + 6 * d("xxy") + 3 * d("yy")),
        ({1: d("x") + 2 * d("y")}, 2, (d("x") + 2 * d("y")) ** 2),
        ({3: d("x")}, 4, 0 * d("x")),
        ({1: d("x")}, 0, d()),
    ],
)
def test_what_a_jet_measures(tangents: dict[int, Derivative], order: int, expected: Derivative) -> None:
    assert expand_jet(tangents, order) == expected


KDV = {3: d("x"), 4: d("y"), 7: d("t")}


@pytest.mark.parametrize(
    ("order", "published", "right"),
    [
        (6, d("xx"), 10 * d("xx")),
        (7, 35 * d("xy"), 35 * d("xy") + d("t")),
        (11, 330 * d("ty"), 330 * d("ty") + 5775 * d("xyy")),
        (13, 200200 * d("xxxy"), 200200 * d("xxxy") + 17160 * d("xxt")),
    ],
)
def test_published_jets_of_the_kdv_equation_are_wrong(
    order: int, published: Derivative, right: Derivative
) -> None:
    """Shi et al., arXiv:2412.00088, 13-jet for 2-D KdV: what is printed, and what the coefficients are."""
    assert expand_jet(KDV, order) == right
    assert expand_jet(KDV, order) != published


def test_published_alternative_of_ninth_order_is_wrong() -> None:
    """They divide by 840."""
    nine = expand_jet({2: d("x"), 3: d("y")}, 9)
    assert nine == 1260 * d("xxxy") + 280 * d("yyy")
    assert (nine - 280 * d("yyy")) / 1260 == d("xxxy")
    assert (nine - 280 * d("yyy")) / 840 != d("xxxy")


def along_curve(
    monomials: dict[tuple[int, ...], float], point: list[float], tangents: dict[int, int]
) -> list[float]:
    """d^k/dt^k at 0 of a polynomial along ``x + Σ_j t^j/j! e_{i_j}``, k = 0..13, by power series."""
    size = 14

    def times(a: list[float], b: list[float]) -> list[float]:
        return [sum(a[i] * b[k - i] for i in range(k + 1)) for k in range(size)]

    def factorial(n: int) -> float:
        return float(torch.arange(1, n + 1, dtype=torch.float64).prod())

    curve = [[value] + [0.0] * (size - 1) for value in point]
    for slot, variable in tangents.items():
        curve[variable][slot] += 1 / factorial(slot)
    total = [0.0] * size
    for exponents, coefficient in monomials.items():
        term = [coefficient] + [0.0] * (size - 1)
        for variable, exponent in enumerate(exponents):
            for _ in range(exponent):
                term = times(term, curve[variable])
        total = [a + b for a, b in zip(total, term, strict=True)]
    return [factorial(k) * c for k, c in enumerate(total)]


def test_published_jets_give_wrong_values() -> None:
    """On a polynomial u(x, y, t), differentiated along the curve itself."""
    u: dict[tuple[int, ...], float] = {
        (2, 0, 1): 0.7,
        (3, 1, 0): -0.4,
        (0, 1, 1): 1.3,
        (1, 2, 0): 0.9,
        (0, 0, 1): 2.0,
    }
    x, y, t = point = [0.3, -0.8, 0.5]
    truth = {
        "xx": 1.4 * t - 2.4 * x * y,
        "xy": -1.2 * x**2 + 1.8 * y,
        "ty": 1.3,
        "xxxy": -2.4,
        "t": 0.7 * x**2 + 1.3 * y + 2.0,
        "xyy": 1.8,
        "xxt": 1.4,
    }
    jet = along_curve(u, point, {3: 0, 4: 1, 7: 2})
    # Five digits of 2e5 are lost in the prefactors, ten remain.
    assert jet[6] / 10 == pytest.approx(truth["xx"], rel=1e-10)
    assert jet[7] == pytest.approx(35 * truth["xy"] + truth["t"], rel=1e-10)
    assert jet[11] == pytest.approx(330 * truth["ty"] + 5775 * truth["xyy"], rel=1e-10)
    assert jet[13] == pytest.approx(200200 * truth["xxxy"] + 17160 * truth["xxt"], rel=1e-10)
    for published, name in (
        (jet[6], "xx"),
        (jet[7] / 35, "xy"),
        (jet[11] / 330, "ty"),
        (jet[13] / 200200, "xxxy"),
    ):
        assert abs(published - truth[name]) > 0.01 * abs(truth[name])


def test_errors() -> None:
    with pytest.raises(ValueError, match="'q' is none of the variables 'xyzt'"):
        d("xq")
    with pytest.raises(ValueError, match="counted from 0, got -1"):
        d(-1)
    with pytest.raises(ValueError, match="must differ"):
        d("x", variables="xx")
    with pytest.raises(ValueError, match="constant coefficients.*product rule"):
        d("x") * (speed * d("x"))
    with pytest.raises(ValueError, match="stands on the left"):
        d("x") * torch.ones(3)  # type: ignore[operator]
    with pytest.raises(ValueError, match="Pass the same variables"):
        d("x", variables="xt") + d("x", variables="xyt")
    with pytest.raises(ValueError, match="finite"):
        float("nan") * d("x")
    with pytest.raises(ValueError, match="at least 0"):
        d("x") ** -1
    with pytest.raises(ValueError, match="at least one variable"):
        laplace(0)
    with pytest.raises(ValueError, match="slots count from 1"):
        expand_jet({0: d("x")}, 2)
    with pytest.raises(TypeError):
        "2" * d("x")  # type: ignore[operator]
    x = torch.zeros(4, 2)
    with pytest.raises(ValueError, match=r"one number per point, shape \(4,\).*got \(3,\)"):
        evaluate_coefficient(next(iter((torch.ones(3) * d("x")).terms))[0], x)
    with pytest.raises(ValueError, match="must return a tensor"):
        evaluate_coefficient((Factor(lambda x: 1.0),), x)  # type: ignore[arg-type, return-value]
