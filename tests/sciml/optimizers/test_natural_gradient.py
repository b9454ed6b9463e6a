"""Energy natural gradient: exact on linear models, the same in both spaces, its cut-off and its grid."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.optimizers import EnergyNaturalGradient
from sciml.optimizers.linearization import Dense

SYSTEMS = pytest.mark.parametrize("system", ["samples", "parameters"])


class Closure:
    """Residuals as a function of one vector; counts how often they are asked for."""

    def __init__(self, function: Callable[[], Tensor]) -> None:
        self.function, self.asked = function, 0

    def residuals(self) -> Tensor:
        self.asked += 1
        return self.function()

    def __call__(self) -> float:
        raise AssertionError("least squares ask for residuals only")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(width: int = 5) -> nn.Sequential:
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


@SYSTEMS
@pytest.mark.parametrize(("rows", "columns"), [(30, 7), (7, 30)])
def test_a_linear_model_takes_one_step_of_length_one(rows: int, columns: int, system: Any) -> None:
    """To the least squares, or to the nearest point where all residuals vanish.

    With the gradient 2 J^T r and the matrix J^T J the step would be twice as long, and the loss the same.
    """
    matrix, right, start = random(rows, columns), random(rows, seed=1), random(columns, seed=2)
    x = start.clone().requires_grad_()
    closure = Closure(lambda: matrix @ x - right)
    first = EnergyNaturalGradient([x], iterations=1, system=system).step(closure)
    assert first == pytest.approx(float((matrix @ start - right).square().sum()), rel=1e-12)
    step = torch.linalg.lstsq(matrix, right - matrix @ start, driver="gelsd").solution
    torch.testing.assert_close(x.detach(), start + step, rtol=0, atol=1e-10)
    # Where it begins, at 1, at 1/2, which is worse, and at 1 again.
    assert closure.asked == 4


@SYSTEMS
@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_directions_below_the_cutoff_are_left_out(system: Any, damping: float) -> None:
    """Beside the singular values of J, of which the last is cut off: its square is 1e-6 of the greatest."""
    u, _ = torch.linalg.qr(random(6, 3))
    v, _ = torch.linalg.qr(random(5, 3, seed=1))
    s = torch.tensor([2.0, 1.0, 2e-3], dtype=torch.float64)
    matrix, b = u @ (s[:, None] * v.T), random(6, seed=2)
    linear = Dense(matrix, samples=system == "samples", cutoff=1e-5)
    kept = s[:2] / (s[:2] ** 2 + damping)
    expected = v[:, :2] @ (kept * (u[:, :2].T @ b))
    found = linear.solve(b, damping)
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_samples_and_parameters_give_the_same_steps() -> None:
    places = []
    for system in ("samples", "parameters"):
        model = network()
        optimizer = EnergyNaturalGradient(
            model.parameters(),
            iterations=3,
            system=system,  # type: ignore[arg-type]
            cutoff=1e-8,
            damping=1e-6,
        )
        optimizer.step(fitted(model))
        places.append(flat(model))
    assert (places[0] - flat(network())).norm() > 0.1
    # Rounding 1e-16 of the greatest eigenvalue is at most 1e-8 of one that is kept.
    torch.testing.assert_close(places[0], places[1], rtol=0, atol=1e-8)


def test_the_length_is_on_the_grid() -> None:
    """Along arctan far out the full step overshoots: the first minimum of the halved ones, by hand."""
    start = 5.0
    direction = -math.atan(start) * (1 + start**2)
    losses = [math.atan(start + 2.0**-k * direction) ** 2 for k in range(31)]
    chosen = next(k for k in range(30) if losses[k] < losses[k + 1] and losses[k] < math.atan(start) ** 2)
    assert chosen == 3 and min(losses) == losses[chosen]
    x = torch.tensor([start], dtype=torch.float64, requires_grad=True)
    EnergyNaturalGradient([x], iterations=1).step(Closure(lambda: torch.atan(x)))
    assert x.item() == pytest.approx(start + 2.0**-chosen * direction, rel=1e-12)


@SYSTEMS
def test_momentum_is_that_of_spring(system: Any) -> None:
    """d = beta p + J^T (J J^T + mu)^-1 (-r - beta J p), where p is the last direction."""
    matrix, rights = random(5, 9), [random(5, seed=1), random(5, seed=2)]
    x = torch.zeros(9, dtype=torch.float64, requires_grad=True)
    optimizer = EnergyNaturalGradient([x], iterations=1, momentum=0.9, damping=3.0, system=system)
    optimizer.step(Closure(lambda: matrix @ x - rights[0]))
    last = x.detach().clone()
    residuals = matrix @ last - rights[1]
    optimizer.step(Closure(lambda: matrix @ x - rights[1]))
    kernel = matrix @ matrix.T + 3 * torch.eye(5, dtype=torch.float64)
    pull = 0.9 * last
    expected = pull + matrix.T @ torch.linalg.solve(kernel, -residuals - matrix @ pull)
    torch.testing.assert_close(x.detach() - last, expected, rtol=0, atol=1e-10)


def test_momentum_that_leads_upward_is_left_out() -> None:
    x = torch.full((1,), 2.0, dtype=torch.float64, requires_grad=True)
    optimizer = EnergyNaturalGradient([x], iterations=1, momentum=0.99, damping=1.0)
    optimizer.step(Closure(lambda: x.clone()))
    assert x.item() == pytest.approx(1.0)
    optimizer.step(Closure(lambda: 1e-3 * (x - 2)))  # the step before led to 1; now it should lead to 2
    assert x.item() == pytest.approx(1 + 1e-6 / (1e-6 + 1))


@SYSTEMS
def test_it_fits_a_network(system: Any) -> None:
    """Far from the solution the least directions are noise, and no length of them helps: they are cut off."""
    model = network(8 if system == "samples" else 5)
    optimizer = EnergyNaturalGradient(model.parameters(), iterations=20, system=system)
    first = optimizer.step(fitted(model))
    last = float(fitted(model).residuals().detach().square().sum())
    # Other processors round differently along the way.
    assert last < 1e-4 * first


def test_the_jacobian_of_the_closure_is_that_of_where_it_stands() -> None:
    """It is asked after residuals at the place it belongs to, not after a trial beyond."""
    model, other = network(), network()
    closure = fitted(model)
    seen: list[Tensor] = []

    def residuals() -> Tensor:
        seen.append(fitted(model).residuals())
        return seen[-1]

    def jacobian() -> Tensor:
        rows = [torch.autograd.grad(r, list(model.parameters()), retain_graph=True) for r in seen[-1]]
        return torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows])

    closure.residuals = residuals  # type: ignore[method-assign]
    closure.jacobian = torch.enable_grad()(jacobian)  # type: ignore[attr-defined]
    EnergyNaturalGradient(model.parameters(), iterations=4).step(closure)
    EnergyNaturalGradient(other.parameters(), iterations=4).step(fitted(other))
    torch.testing.assert_close(flat(model), flat(other), rtol=0, atol=1e-9)


def test_it_says_why_it_stopped() -> None:
    matrix, right = random(30, 7), random(30, seed=1)
    x = torch.zeros(7, dtype=torch.float64, requires_grad=True)
    closure = Closure(lambda: matrix @ x - right)
    optimizer = EnergyNaturalGradient([x], iterations=50)
    optimizer.step(closure)
    assert optimizer.stopped == "no step along the natural gradient makes the loss smaller"
    loose = EnergyNaturalGradient([x], tolerance=1e-3)
    loose.step(closure)
    assert loose.stopped == "the gradient is at most 0.001"
    x.detach().zero_()
    short = EnergyNaturalGradient([x], iterations=1)
    short.step(closure)
    assert short.stopped is None


def test_a_trial_that_is_not_finite_is_shortened() -> None:
    """The full step from 10 along log leads to -13."""
    x = torch.full((1,), 10.0, dtype=torch.float64, requires_grad=True)
    EnergyNaturalGradient([x], iterations=30).step(Closure(lambda: x.log()))
    assert abs(x.item() - 1) < 1e-12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"system": "matrix-free"}, "'parameters', got 'matrix-free'"),
        ({"iterations": 0}, "iterations >= 1"),
        ({"momentum": 1.0}, "momentum < 1"),
        ({"damping": -1.0}, "damping and tolerance >= 0"),
        ({"cutoff": 1.0}, "cutoff < 1"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EnergyNaturalGradient([torch.zeros(2, dtype=torch.float64)], **settings)


def test_what_does_not_fit_is_refused_before_it_is_made() -> None:
    x = torch.ones(20_000, dtype=torch.float64, requires_grad=True)
    with pytest.raises(
        ConfigError, match=r"takes 3.2 GB; use .*LevenbergMarquardt with system='matrix-free'"
    ):
        EnergyNaturalGradient([x]).step(Closure(lambda: 2 * x))
