"""Quasi-Newton methods: what theory promises on functions with known minima, restart, and why they stop."""

import copy
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.optimizers import LBFGS, SelfScaledBroyden
from sciml.optimizers.line_search import Point, strong_wolfe
from sciml.optimizers.quasi_newton import QuasiNewton

Function = Callable[[Tensor], Tensor]

METHODS = {
    "lbfgs": LBFGS,
    "broyden": SelfScaledBroyden,
    "bfgs": partial(SelfScaledBroyden, family="bfgs"),
    "unscaled": partial(SelfScaledBroyden, family="unscaled"),
}
DENSE = [name for name in METHODS if name != "lbfgs"]
EACH = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


def start(n: int) -> Tensor:
    x = torch.full((n,), -1.0, dtype=torch.float64)
    x[1::2] = 1.2
    return x.requires_grad_()


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def quadratic(condition: float, n: int) -> Function:
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    values = torch.logspace(0, torch.log10(torch.tensor(condition)).item(), n, dtype=torch.float64)
    matrix = basis @ (values[:, None] * basis.T)
    return lambda x: 0.5 * x @ matrix @ x


def closure_of(function: Function, x: Tensor, optimizer: QuasiNewton) -> Callable[[], float]:
    def closure() -> float:
        optimizer.zero_grad()
        loss = function(x)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    return closure


def inverse(optimizer: QuasiNewton) -> Tensor:
    found: Tensor = next(iter(optimizer.state.values()))["inverse"]
    return found


@pytest.mark.parametrize("n", [2, 10, 100])
@EACH
def test_rosenbrock(method: Any, n: int) -> None:
    x = start(n)
    optimizer = method([x], iterations=900)
    optimizer.step(closure_of(rosenbrock, x, optimizer))
    # The loss is quadratic at 1 with least curvature 0.5: 1e-8 away are 1e-16 of loss.
    assert (x - 1).abs().max() < 1e-7


@EACH
def test_an_ill_conditioned_quadratic(method: Any) -> None:
    function = quadratic(1e8, 20)
    x = torch.ones(20, dtype=torch.float64, requires_grad=True)
    optimizer = method([x], iterations=600)
    first = optimizer.step(closure_of(function, x, optimizer))
    # Gradient descent would divide the loss by e in 1e8 / 4 steps.
    assert function(x) < 1e-12 * first


@pytest.mark.parametrize("name", DENSE)
def test_the_secant_equation_holds_and_the_inverse_stays_positive_definite(name: str) -> None:
    x = start(10)
    optimizer = METHODS[name]([x], iterations=1)  # type: ignore[operator]
    closure = closure_of(rosenbrock, x, optimizer)
    for _ in range(60):
        closure()
        before, old = x.detach().clone(), x.grad.clone()  # type: ignore[union-attr]
        optimizer.step(closure)
        closure()
        s, y = x.detach() - before, x.grad - old  # type: ignore[operator]
        if not s.norm() > 1e-6:
            break
        found = inverse(optimizer)
        # Cancellation in H y = H g' - H g loses |H g| / |H y|, a few digits along the valley.
        assert (found @ y - s).norm() < 1e-9 * s.norm()
        assert torch.linalg.eigvalsh((found + found.T) / 2).min() > 0


@EACH
def test_a_quadratic_ends_after_as_many_iterations_as_unknowns(method: Any) -> None:
    """With exact line searches all members of the family are conjugate gradients."""
    n = 6
    function = quadratic(50.0, n)
    x = torch.ones(n, dtype=torch.float64, requires_grad=True)
    # A line search down to a thousand-millionth of the slope is exact for this purpose.
    optimizer = method([x], iterations=1, decrease=1e-12, curvature=1e-9)
    closure = closure_of(function, x, optimizer)
    first = optimizer.step(closure)
    seen = [x.detach().clone()]
    for _ in range(n - 1):
        optimizer.step(closure)
        seen.append(x.detach().clone())
    for earlier, later in itertools.pairwise(seen):
        assert function(later) < function(earlier)
    assert function(x) < 1e-12 * first


def test_members_of_the_family_take_the_same_steps_if_line_searches_are_exact() -> None:
    function = quadratic(50.0, 6)
    places = []
    for name in DENSE:
        x = torch.ones(6, dtype=torch.float64, requires_grad=True)
        optimizer = METHODS[name]([x], iterations=3, decrease=1e-12, curvature=1e-10)  # type: ignore[operator]
        optimizer.step(closure_of(function, x, optimizer))
        places.append(x.detach())
    for place in places[1:]:
        torch.testing.assert_close(place, places[0], rtol=0, atol=1e-7)


@EACH
def test_resumed_in_the_middle_gives_the_same_bits(method: Any) -> None:
    def train(x: Tensor, optimizer: QuasiNewton, steps: int) -> None:
        for _ in range(steps):
            optimizer.step(closure_of(rosenbrock, x, optimizer))

    x = start(10)
    optimizer = method([x], iterations=3)
    train(x, optimizer, 4)
    state = copy.deepcopy(optimizer.state_dict())
    other = x.detach().clone().requires_grad_()
    resumed = method([other], iterations=3)
    resumed.load_state_dict(state)
    train(x, optimizer, 4)
    train(other, resumed, 4)
    assert torch.equal(x, other)


@EACH
def test_curvature_survives_another_batch(method: Any) -> None:
    """The first step on other points goes along what earlier points taught."""
    function = quadratic(1e4, 10)
    x = torch.ones(10, dtype=torch.float64, requires_grad=True)
    optimizer = method([x], iterations=8)
    optimizer.step(closure_of(function, x, optimizer))
    before = x.detach().clone()
    other = closure_of(lambda z: function(z - 0.5), x, optimizer)
    other()
    gradient = x.grad.clone()  # type: ignore[union-attr]
    expected = optimizer._direction(gradient)
    optimizer.param_groups[0]["iterations"] = 1
    optimizer.step(other)
    cosine = torch.nn.functional.cosine_similarity(x.detach() - before, expected, dim=0)
    assert cosine > 1 - 1e-9
    assert torch.nn.functional.cosine_similarity(-gradient, expected, dim=0) < 0.9


@EACH
def test_it_says_why_it_stopped(method: Any) -> None:
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = method([x], iterations=50, tolerance=1e-3)
    optimizer.step(closure_of(lambda z: (z**2).sum(), x, optimizer))
    assert optimizer.stopped == "the gradient is at most 0.001"
    before = torch.full((3,), 2.0, dtype=torch.float64)
    broken = method([before.clone().requires_grad_()], iterations=5)
    wrong = broken.param_groups[0]["params"][0]
    # A gradient of the wrong sign: no step falls.
    broken.step(closure_of(lambda z: (z.detach() ** 2).sum() + (z.detach() - z).sum(), wrong, broken))
    assert broken.stopped is not None and "no step" in broken.stopped
    assert torch.equal(wrong.detach(), before)


def test_a_loss_that_is_not_finite_moves_nothing() -> None:
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    optimizer = SelfScaledBroyden([x])
    loss = optimizer.step(closure_of(lambda z: (z * torch.nan).sum(), x, optimizer))
    assert loss != loss
    assert torch.equal(x, torch.ones(2, dtype=torch.float64))


def test_a_step_into_what_is_not_finite_is_shortened() -> None:
    """log is not defined where the first step leads."""
    x = torch.full((1,), 1e-3, dtype=torch.float64, requires_grad=True)
    optimizer = SelfScaledBroyden([x], iterations=100)
    optimizer.step(closure_of(lambda z: (z - z.log()).sum(), x, optimizer))
    assert abs(x.item() - 1) < 1e-7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: SelfScaledBroyden([x], family="dfp"), "family is .* got 'dfp'"),
        (lambda x: SelfScaledBroyden([x], iterations=0), "iterations >= 1"),
        (lambda x: SelfScaledBroyden([x], decrease=0.9, curvature=0.1), "decrease < curvature"),
        (lambda x: LBFGS([x], history=0), "history >= 1, got 0"),
        (lambda x: LBFGS([x, x.detach().float()]), "one dtype"),
        (lambda x: LBFGS([x.to(torch.complex128)]), "real parameters"),
        (lambda x: SelfScaledBroyden([x.detach().new_zeros(30_000)]), "7.2 GB; use .*LBFGS"),
    ],
)
def test_what_cannot_work_is_refused(make: Callable[[Tensor], QuasiNewton], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("first", [1e-4, 0.3, 1.0, 1e3])
@pytest.mark.parametrize("power", [2, 4])
def test_the_line_search_ends_where_the_conditions_hold(first: float, power: int) -> None:
    def along(step: float) -> tuple[float, Tensor, float]:
        return (step - 2) ** power, torch.zeros(1), power * (step - 2) ** (power - 1)

    begin = Point(0.0, *along(0.0))
    found = strong_wolfe(along, begin, first, curvature=0.1)
    assert found is not None
    assert found.value <= begin.value + 1e-4 * found.step * begin.slope
    assert abs(found.slope) <= 0.1 * abs(begin.slope)


def test_at_rounding_the_slope_decides() -> None:
    """1 + 1e-17 is 1: the decrease cannot be seen in the values."""

    def along(step: float) -> tuple[float, Tensor, float]:
        return 1.0, torch.zeros(1), 1e-17 * (step - 1)

    found = strong_wolfe(along, Point(0.0, *along(0.0)), 0.8)
    assert found is not None and found.step == 0.8
