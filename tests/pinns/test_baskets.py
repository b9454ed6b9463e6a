"""Options on many assets: formulas against paths, series and each other."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.kernels.estimators import DenseDirections, Exact, Hutchinson, SparseDirections
from sciml.pinns.domain import Geometry
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.monte_carlo import feynman_kac
from sciml.pinns.networks import MLP
from sciml.pinns.problem import EXACT, Estimate
from sciml.pinns.problems import Basket, BlackScholesBarenblatt, GeometricBasket
from sciml.pinns.problems.basket_network import BasketNetwork
from sciml.pinns.problems.basket_sums import matched, price_sums
from sciml.pinns.problems.greeks import Greeks, greeks, greeks_by_paths
from sciml.pinns.problems.market import Market, Together
from sciml.pinns.recipe import Recipe


def markets(problem: Market, count: int, time: float | None = None) -> Tensor:
    x = problem.domain.interior(kronecker, count)
    if time is not None:
        x[:, -1] = time
    return x


def probe(x: Tensor) -> Tensor:
    return torch.sin(x.sum(1)) + x[:, 0] * x[:, 1] ** 2


def scaled(factor: float, x: Tensor) -> Tensor:
    return factor * x[:, :-1].square().sum(1)


def test_calls_and_puts_differ_by_the_forward() -> None:
    problem = GeometricBasket(dim=4)
    x = markets(problem, 3, 1.0)
    puts = replace(problem.diffusion, start=lambda x: (1 - torch.exp(x[:, :-1].mean(1))).clamp(min=0))
    found = feynman_kac(puts, x, accuracy=0.01)
    forward = problem.undiscounted(x) - torch.exp(problem.rate * x[:, -1]) * found.values
    # E e^y - 1 for the normal y whose mean and variance the geometric mean has.
    s = problem.deviations(x)
    variance = 0.7 * float(s.square().sum()) / 16 + 0.3 * float(s.mean()) ** 2
    mean = x[:, :-1].mean(1) + problem.rate - float(s.square().mean()) / 2
    wanted = torch.exp(mean + variance / 2) - 1
    assert ((forward - wanted).abs() < 3 * 1.06 * found.standard_error).all()


@pytest.mark.parametrize("dim", [1, 5])
def test_formula_for_the_geometric_mean_is_that_of_paths(dim: int) -> None:
    problem = GeometricBasket(dim=dim)
    x = markets(problem, 3, 0.7)
    found = feynman_kac(problem.diffusion, x, accuracy=0.01)
    assert found.contains(problem.exact(x)).all() and not found.bias.any()


def test_cosine_series_converges_exponentially() -> None:
    problem = GeometricBasket(dim=3)
    known = problem.reference()
    coarse, middle, fine = (float((c.solve() - known.values).abs().max()) for c in problem.classical())
    # Modes beyond a normal density of width 1/20 of the interval fall like exp(-(pi k / 20)^2 / 2).
    assert coarse > 1e-3 and middle < 1e-4 and fine < 1e-12


def test_baskets_of_one_asset_are_that_asset() -> None:
    one = Basket(dim=1)
    x = markets(one, 20)
    assert torch.allclose(one.by_factor(x), one.geometric.exact(x), rtol=0, atol=1e-9)
    assert torch.allclose(one.matched(x), one.geometric.exact(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dim", [4, 40])
def test_basket_by_its_factor_is_that_of_paths(dim: int) -> None:
    problem = Basket(dim=dim)
    x = markets(problem, 4, 1.0)
    found = problem.expected(x, accuracy=2e-3)
    assert found.contains(problem.by_factor(x)).all()
    assert (found.standard_error < 2e-3 * found.values).all()
    plain = feynman_kac(problem.diffusion, x, accuracy=2e-2)  # no control: a tenth of the accuracy
    assert found.paths < 20 * plain.paths


def test_lift_has_the_moments_of_the_sum() -> None:
    problem = Basket(dim=5, correlation=0.4)
    x = markets(problem, 6)
    s, t = problem.deviations(x), x[:, -1]
    parts = matched(price_sums(x, s, problem.correlation), t, problem.rate, problem.correlation)
    matrix = torch.where(torch.eye(5).bool(), 1.0, 0.4) * s[:, None] * s
    forwards = torch.exp(x[:, :-1] + problem.rate * t[:, None]) / 5
    second = torch.einsum("ni,nj,nij->n", forwards, forwards, torch.exp(matrix * t[:, None, None]))
    assert torch.allclose(parts.forward, forwards.sum(1), rtol=1e-13)
    # The series leaves out (0.45^2)^9 / 9! = 2e-12 of a variance.
    assert torch.allclose(torch.exp(parts.deviation.square()) * parts.forward.square(), second, rtol=1e-11)


def test_reference_of_a_basket_certifies_itself() -> None:
    problem = Basket()
    known = problem.reference()
    errors = [float((c.solve() - known.values).norm() / known.values.norm()) for c in problem.classical()]
    # The lift, which is the yardstick of a network, and given the factor two moments and three.
    assert known.error < 3e-5 and errors[2] < 2 * known.error
    assert 1e-2 > errors[0] > 4 * errors[1] > 16 * errors[2]


@pytest.mark.parametrize(
    "estimator", [Hutchinson(4), SparseDirections(2), DenseDirections(2), SparseDirections(2, per_point=True)]
)
def test_estimates_of_the_equation_have_its_mean(estimator: object) -> None:
    problem = Basket(dim=4)
    x = markets(problem, 3)
    wanted = problem.residual(probe, x, EXACT)
    estimate: Estimate = {"estimator": estimator, "generator": 0, "draws": 300}  # type: ignore[typeddict-item]
    found = problem.residual(probe, x, estimate)
    error = found.std(0) / 300**0.5
    assert found.std() > 0 and ((found.mean(0) - wanted).abs() < 4 * error).all()


def test_operator_is_that_of_the_matrix() -> None:
    problem = Basket(dim=4)
    x = markets(problem, 5)
    s = problem.deviations(x)
    matrix = torch.where(torch.eye(4).bool(), 1.0, problem.correlation) * s[:, None] * s
    hessian = torch.stack([torch.autograd.functional.hessian(lambda r: probe(r[None])[0], row) for row in x])
    wanted = (hessian[:, :4, :4] * matrix).sum((1, 2))
    assert torch.allclose(problem.curvature(probe, x), wanted, rtol=1e-12)
    # And the noise of paths has it as its covariance.
    root = problem.diffusion.noise(x[:1].expand(4, -1), torch.eye(4).double())
    assert torch.allclose(root.T @ root, matrix, rtol=1e-12)


def test_greeks_of_a_formula_are_its_derivatives_in_every_number() -> None:
    problem = GeometricBasket(dim=3)
    x = markets(problem, 4, 0.8)
    found = greeks(problem, problem.exact, x)
    step = 1e-4  # the error of central differences: 1e-8, and rounding 1e-16 / step^2

    def moved(size: float, asset: int | None = None) -> Tensor:
        prices = x.exp()
        prices[:, -1] = x[:, -1]
        columns = slice(0, 3) if asset is None else slice(asset, asset + 1)
        y = x.clone()
        y[:, columns] = torch.log(
            prices[:, columns] * (1 + size) if asset is None else prices[:, columns] + size
        )
        return problem.exact(y)

    for asset in range(3):
        delta = (moved(step, asset) - moved(-step, asset)) / (2 * step)
        assert torch.allclose(found.delta[:, asset], delta, atol=1e-7)
    gamma = (moved(step) - 2 * moved(0) + moved(-step)) / step**2
    assert torch.allclose(found.gamma, gamma, atol=1e-6)
    low, high = problem.volatilities
    up, down = (replace(problem, volatilities=(low * k, high * k)).exact(x) for k in (1 + step, 1 - step))
    assert torch.allclose(found.vega, (up - down) / (2 * step), atol=1e-7)


def apart(found: Greeks, wanted: Greeks, error: Greeks) -> float:
    """The largest difference in standard errors."""
    names = ("delta", "gamma", "vega")
    return max(
        float(((getattr(found, n) - getattr(wanted, n)) / getattr(error, n)).abs().max()) for n in names
    )


def test_greeks_along_paths_are_those_of_formulas() -> None:
    geometric = GeometricBasket(dim=3)
    x = markets(geometric, 2, 0.8)
    found, error = greeks_by_paths(geometric, x, paths=20_000)
    wanted = greeks(geometric, geometric.exact, x)
    assert apart(found, wanted, error) < 4  # of ten numbers
    assert (error.gamma < 0.1 * found.gamma).all()
    basket = Basket(dim=3)
    controlled, smaller = greeks_by_paths(basket, x, paths=20_000, control=geometric)
    plain, larger = greeks_by_paths(basket, x, paths=20_000, seed=1)
    for name in ("delta", "gamma", "vega"):
        assert getattr(smaller, name).square().sum() < 0.5 * getattr(larger, name).square().sum()
    noise = Greeks(
        *((getattr(larger, n).square() + getattr(smaller, n).square()).sqrt() for n in vars(larger))
    )
    assert apart(controlled, plain, noise) < 4


def test_network_of_a_basket_corrects_the_lift() -> None:
    problem = Basket(dim=6)
    model = problem.build(partial(MLP, width=8, depth=2)).double()
    x = markets(problem, 300)
    assert isinstance(model, BasketNetwork)
    with torch.no_grad():
        features = model._parts(model._sums(x))[:, 2:]
        start = x.clone()
        start[:, -1] = 0
        assert torch.allclose(model(start), problem.payoff(start), atol=1e-14)
        for p in model.parameters():
            p.zero_()
        assert torch.equal(model(x), problem.matched(x))
    assert model.satisfies == ("initial",)
    assert features.mean(0).abs().max() < 0.2 and (features.std(0) - 1).abs().max() < 0.2
    soft = problem.build(partial(MLP, width=8, depth=2), hard=False)
    assert soft.satisfies == ()


@pytest.mark.parametrize("dim", [1, 2, 30])
def test_residual_along_features_is_that_along_assets(dim: int) -> None:
    problem = Basket(dim=dim)
    model = Recipe(network=partial(MLP, width=8, depth=2)).model(problem, 0)
    x = markets(problem, 40)
    weights = torch.linspace(1, 2, 40).double()
    gradients = []
    found, wanted = problem.residual(model, x, EXACT), Market.residual(problem, model, x, EXACT)
    # Terms of the lift and of the network up to 10^2 near expiry cancel.
    assert torch.allclose(found, wanted, rtol=1e-9, atol=1e-11)
    for values in (found, wanted):
        gradients.append(torch.autograd.grad((weights * values).sum(), list(model.parameters())))
    for one, two in zip(*gradients, strict=True):
        assert torch.allclose(one, two, rtol=1e-8, atol=1e-11)


def test_prices_of_a_market_move_together() -> None:
    region: Geometry = Together(50, level=0.2, apart=0.3)
    x = region.interior(kronecker(1000, region.units[0]))
    # The variance of a uniform level, and of the mean of 50 others.
    assert abs(float(x.mean(1).var()) - (0.04 / 3 + 0.09 / 150)) < 1e-3
    assert region.contains(x).all() and not region.contains(x + 1).any()
    assert not region.contains(torch.tensor([[-0.4, 0.4] * 25])).any()  # apart by more than 0.6
    with pytest.raises(ConfigError, match="no condition"):
        region.boundary(x, ())


def test_numbers_out_of_range_are_refused() -> None:
    for wrong in ({"dim": 0}, {"volatilities": (0.4, 0.1)}, {"end": 0.0}, {"correlation": 1.0}):
        with pytest.raises(ConfigError, match="Basket: needs"):
            Basket(**wrong)
    with pytest.raises(ConfigError, match="BlackScholesBarenblatt: needs dim"):
        BlackScholesBarenblatt(dim=0)
    with pytest.raises(ConfigError, match="Together: needs dim"):
        Together(2, level=-1.0)


def test_barenblatt_takes_the_volatility_that_costs_most() -> None:
    problem = BlackScholesBarenblatt(dim=3)
    x = problem.domain.interior(kronecker, 5)
    square = x[:, :-1].square().sum(1)
    low, high = (s**2 for s in problem.volatilities)
    for sign, s2 in ((1.0, high), (-1.0, low)):
        found = problem.residual(partial(scaled, sign), x, EXACT)
        # Nothing changes in time; 2 r |x|^2 of the drift less r |x|^2 of interest.
        assert torch.allclose(found, sign * (-s2 * square - problem.rate * square), rtol=1e-13)
    estimate: Estimate = {"estimator": SparseDirections(1), "generator": 0, "draws": 400}
    found = problem.residual(probe, x, estimate)
    wanted = problem.residual(probe, x, {**EXACT, "estimator": Exact()})
    assert ((found.mean(0) - wanted).abs() < 4 * found.std(0) / 400**0.5).all()
    with pytest.raises(ConfigError, match="does not give"):
        problem.residual(probe, x, {**estimate, "estimator": Hutchinson(1)})


def test_barenblatt_along_paths_of_the_highest_volatility() -> None:
    problem = BlackScholesBarenblatt(dim=3)
    x = problem.domain.interior(kronecker, 3)
    found = problem.expected(x, accuracy=0.01)
    assert found.contains(problem.exact(x)).all() and not found.bias.any()
