"""Levenberg-Marquardt: exact on linear models, the same in every space, and its damping by hand."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from sciml.errors import ConfigError
from sciml.optimizers import LevenbergMarquardt
from sciml.optimizers.linearization import Dense, Products, by_columns, by_rows

SYSTEMS = pytest.mark.parametrize("system", ["samples", "parameters", "matrix-free"])


class Closure:
    """Residuals as a function of one vector."""

    def __init__(self, function: Callable[[], Tensor]) -> None:
        self.residuals = function

    def __call__(self) -> float:
        raise AssertionError("least squares ask for residuals only")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(width: int) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1)).double()
    with torch.no_grad():
        for k, p in enumerate(model.parameters()):
            p.copy_(random(*p.shape, seed=k))
    return model


def fitted(model: nn.Module, points: int = 20) -> Closure:
    x = torch.linspace(-1, 1, points, dtype=torch.float64)[:, None]
    return Closure(lambda: (model(x) - torch.sin(3 * x))[:, 0])


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def memory(optimizer: LevenbergMarquardt) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(optimizer.state.values()))
    return found


@pytest.mark.parametrize(("rows", "columns"), [(30, 7), (7, 30)])
@pytest.mark.parametrize("system", ["smaller", "matrix-free"])
def test_a_linear_model_takes_one_step(rows: int, columns: int, system: Any) -> None:
    """Without damping: to the least squares, or to the nearest point where all residuals vanish."""
    matrix, right, start = random(rows, columns), random(rows, seed=1), random(columns, seed=2)
    x = start.clone().requires_grad_()
    optimizer = LevenbergMarquardt([x], iterations=1, system=system, damping=0.0, accuracy=1e-13)
    first = optimizer.step(Closure(lambda: matrix @ x - right))
    assert first == pytest.approx(float((matrix @ start - right).square().sum()), rel=1e-12)
    step = torch.linalg.lstsq(matrix, right - matrix @ start, driver="gelsd").solution
    torch.testing.assert_close(x.detach(), start + step, rtol=0, atol=1e-10)


def test_samples_and_parameters_and_products_give_the_same_steps() -> None:
    places = []
    for system in ("samples", "parameters", "matrix-free"):
        model = network(5)
        optimizer = LevenbergMarquardt(
            model.parameters(),
            iterations=3,
            system=system,  # type: ignore[arg-type]
            damping=1e-2,
            accuracy=1e-13,
        )
        optimizer.step(fitted(model))
        places.append(flat(model))
    assert (places[0] - flat(network(5))).norm() > 0.1
    for place in places[1:]:
        torch.testing.assert_close(place, places[0], rtol=0, atol=1e-8)


@pytest.mark.parametrize(("points", "width"), [(12, 8), (40, 4)])
def test_products_and_rows_and_columns_are_those_of_the_jacobian(points: int, width: int) -> None:
    model = network(width)
    parameters = list(model.parameters())
    x = torch.linspace(-1, 1, points, dtype=torch.float64)[:, None]
    parts = jacrev(lambda w: functional_call(model, w, (x,))[:, 0])(dict(model.named_parameters()))
    wanted = torch.cat([part.detach().reshape(points, -1) for part in parts.values()], dim=1)
    r = model(x)[:, 0]
    products = Products(r, parameters)
    u, v = random(points), random(wanted.shape[1])
    for found, expected in [
        (by_rows(r, parameters), wanted),
        (by_columns(r, parameters), wanted),
        (products.along(v), wanted @ v),
        (products.back(u), wanted.T @ u),
    ]:
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    # The mean of |J^T z|^2 over signs is the trace; its standard deviation is below sqrt(2) |J J^T|.
    trace = float(wanted.square().sum())
    assert Dense(wanted, samples=True).scale() == pytest.approx(trace / min(wanted.shape))
    bound = 4 * math.sqrt(2) * float((wanted @ wanted.T).norm())
    assert abs(products.scale() * min(wanted.shape) - trace) < bound


def test_products_of_residuals_without_some_parameters() -> None:
    x, unused = random(3).requires_grad_(), random(2).requires_grad_()
    products = Products(x.square(), [unused, x])
    assert products.back(torch.ones(3, dtype=torch.float64)).tolist()[:2] == [0, 0]
    assert torch.equal(products.along(torch.ones(5, dtype=torch.float64)), 2 * x.detach())
    none = Products(x.square(), [unused])
    assert torch.equal(none.along(torch.ones(2, dtype=torch.float64)), torch.zeros(3, dtype=torch.float64))


def test_the_damping_follows_the_gain() -> None:
    """Beside the rules written out for one number; arctan far out bends, and the full step overshoots."""

    def by_hand(x: float, damping: float, iterations: int) -> tuple[float, float, int]:
        growth, refused = 2.0, 0
        for _ in range(iterations):
            r, slope = math.atan(x), 1 / (1 + x * x)
            while True:
                solve = slope / (slope * slope + damping)
                step = -solve * r
                bend = 2 / 0.1 * ((math.atan(x + 0.1 * step) - r) / 0.1 - slope * step)
                turn = -solve * bend / 2
                gain = (r**2 - math.atan(x + step + turn) ** 2) / (r**2 - (r + slope * step) ** 2)
                if gain > 1e-4 and 2 * abs(turn) <= 0.75 * abs(step):
                    break
                damping, growth, refused = damping * growth, 2 * growth, refused + 1
            x, damping, growth = x + step + turn, damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), 2.0
        return x, damping, refused

    wanted = by_hand(5.0, 1e-4, 4)
    assert wanted[2] >= 3
    x = torch.tensor([5.0], dtype=torch.float64, requires_grad=True)
    optimizer = LevenbergMarquardt([x], iterations=4, damping=1e-4)
    optimizer.step(Closure(lambda: torch.atan(x)))
    assert x.item() == pytest.approx(wanted[0], rel=1e-12)
    assert memory(optimizer)["damping"] == pytest.approx(wanted[1], rel=1e-12)


def test_the_damping_starts_at_a_thousandth_of_the_mean_eigenvalue() -> None:
    matrix, right = random(30, 7), random(30, seed=1)
    x = torch.zeros(7, dtype=torch.float64, requires_grad=True)
    optimizer = LevenbergMarquardt([x], iterations=1)
    optimizer.step(Closure(lambda: matrix @ x - right))
    # The decrease is the promised one, so the damping is divided by 3.
    expected = 1e-3 * float(torch.linalg.eigvalsh(matrix.T @ matrix).mean()) / 3
    assert memory(optimizer)["damping"] == pytest.approx(expected, rel=1e-10)


@SYSTEMS
def test_momentum_pulls_towards_the_last_step(system: Any) -> None:
    """The second step is the minimum of |r + J d|^2 + damping |d - 0.9 p|^2, here by a stacked system."""
    matrix, rights = random(5, 9), [random(5, seed=1), random(5, seed=2)]
    x = torch.zeros(9, dtype=torch.float64, requires_grad=True)
    optimizer = LevenbergMarquardt(
        [x], iterations=1, momentum=0.9, damping=3.0, system=system, accuracy=1e-14
    )
    optimizer.step(Closure(lambda: matrix @ x - rights[0]))
    last, damping = x.detach().clone(), memory(optimizer)["damping"]
    residuals = matrix @ last - rights[1]
    optimizer.step(Closure(lambda: matrix @ x - rights[1]))
    root = math.sqrt(damping)
    stacked = torch.cat([matrix, root * torch.eye(9, dtype=torch.float64)])
    right = torch.cat([-residuals, root * 0.9 * last])
    expected = torch.linalg.lstsq(stacked, right).solution
    torch.testing.assert_close(x.detach() - last, expected, rtol=0, atol=1e-10)


def test_momentum_that_leads_upward_is_left_out() -> None:
    x = torch.full((1,), 2.0, dtype=torch.float64, requires_grad=True)
    optimizer = LevenbergMarquardt([x], iterations=1, momentum=0.99, damping=1.0)
    optimizer.step(Closure(lambda: x.clone()))
    assert x.item() == pytest.approx(1.0)
    damping = memory(optimizer)["damping"]
    optimizer.step(Closure(lambda: 1e-3 * (x - 2)))  # the step before led to 1; now it should lead to 2
    assert x.item() == pytest.approx(1 + 1e-6 / (1e-6 + damping))


@SYSTEMS
def test_it_fits_a_network(system: Any) -> None:
    """25 or 16 weights and 20 points: gradient descent would take ten thousands of steps."""
    model = network(8 if system == "samples" else 5)
    optimizer = LevenbergMarquardt(model.parameters(), iterations=20, system=system, accuracy=1e-8)
    first = optimizer.step(fitted(model))
    last = float(fitted(model).residuals().detach().square().sum())
    # Other processors round differently along the way.
    assert last < 1e-4 * first


def test_a_trial_that_is_not_finite_is_shortened() -> None:
    """The full step from 10 along log leads to -13."""
    x = torch.full((1,), 10.0, dtype=torch.float64, requires_grad=True)
    optimizer = LevenbergMarquardt([x], iterations=30)
    optimizer.step(Closure(lambda: x.log()))
    assert abs(x.item() - 1) < 1e-12


def test_residuals_that_are_not_finite_move_nothing() -> None:
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    loss = LevenbergMarquardt([x]).step(Closure(lambda: x * torch.nan))
    assert loss != loss
    assert torch.equal(x, torch.ones(2, dtype=torch.float64))


def test_it_says_why_it_stopped() -> None:
    matrix, right = random(30, 7), random(30, seed=1)
    x = torch.zeros(7, dtype=torch.float64, requires_grad=True)
    closure = Closure(lambda: matrix @ x - right)
    optimizer = LevenbergMarquardt([x], iterations=50)
    optimizer.step(closure)
    assert optimizer.stopped == "the loss is down to its rounding"
    loose = LevenbergMarquardt([x], tolerance=1e-3)
    loose.step(closure)
    assert loose.stopped == "the gradient is at most 0.001"
    x.detach().zero_()
    short = LevenbergMarquardt([x], iterations=1)
    short.step(closure)
    assert short.stopped is None


def test_a_wrong_jacobian_moves_nothing() -> None:
    x = torch.full((2,), 3.0, dtype=torch.float64, requires_grad=True)
    closure = Closure(lambda: x.clone())
    closure.jacobian = lambda: -torch.eye(2, dtype=torch.float64)  # type: ignore[attr-defined]
    optimizer = LevenbergMarquardt([x])
    optimizer.step(closure)
    assert optimizer.stopped == "no damping makes the loss smaller"
    assert torch.equal(x.detach(), torch.full((2,), 3.0, dtype=torch.float64))
    assert not memory(optimizer)  # the next batch begins anew


@SYSTEMS
def test_resumed_in_the_middle_gives_the_same_bits(system: Any) -> None:
    def made(model: nn.Module) -> LevenbergMarquardt:
        return LevenbergMarquardt(model.parameters(), iterations=2, system=system, momentum=0.5)

    model, other = network(5), network(5)
    optimizer = made(model)
    for _ in range(3):
        optimizer.step(fitted(model))
    state = copy.deepcopy(optimizer.state_dict())
    other.load_state_dict(model.state_dict())
    resumed = made(other)
    resumed.load_state_dict(state)
    for _ in range(3):
        optimizer.step(fitted(model))
        resumed.step(fitted(other))
    assert torch.equal(flat(model), flat(other))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"system": "primal"}, "'matrix-free', got 'primal'"),
        ({"iterations": 0}, "iterations and products >= 1"),
        ({"momentum": 1.0}, "momentum < 1"),
        ({"damping": -1.0}, "damping and tolerance >= 0"),
        ({"accuracy": 0.0}, "accuracy > 0"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LevenbergMarquardt([torch.zeros(2, dtype=torch.float64)], **settings)


def test_what_does_not_fit_is_refused_before_it_is_made() -> None:
    x = torch.ones(20_000, dtype=torch.float64, requires_grad=True)
    with pytest.raises(
        ConfigError, match=r"20000 residuals by 20000 parameters takes 3.2 GB; use system='mat"
    ):
        LevenbergMarquardt([x]).step(Closure(lambda: 2 * x))
    with pytest.raises(ConfigError, match="closure has no residuals"):
        LevenbergMarquardt([x]).step(lambda: 1.0)
