"""PirateNets: linear at first, and fitted to what is known before the training begins."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError, ShapeError
from sciml.kernels import d, evaluate
from sciml.objective import total
from sciml.pinns import (
    Ansatz,
    Box,
    Domain,
    Initial,
    Periodic,
    Problem,
    Recipe,
    Residual,
    Stage,
    march,
    problems,
    solve,
)
from sciml.pinns.conditions import Function
from sciml.pinns.networks import (
    MLP,
    Factorized,
    FourierFeatures,
    PirateNet,
    fit_last_layer,
    fit_to_equation,
    fit_to_start,
)
from sciml.pinns.samplers import Sobol
from sciml.streams import Streams


def start(x: Tensor) -> Tensor:
    return torch.sin(math.pi * x[:, 0]) + 0.3 * torch.cos(2 * math.pi * x[:, 0])


class Transport(Problem):
    """u_t + u_x = 0 on a circle; the second component stays where it is."""

    domain = Domain(Box(((-1.0, 1.0),)), time=(0.0, 2.0))

    def __init__(self, outputs: int = 1, *, hard: bool = False) -> None:
        self.count, self.hard = outputs, hard

    @property
    def outputs(self) -> int:
        return self.count

    @property
    def conditions(self) -> tuple[Initial | Periodic, ...]:
        values = (start, 2.0)[: self.count]
        return (
            *(Initial(value, component=k) for k, value in enumerate(values)),
            *(Periodic(0, component=k) for k in range(self.count)),
        )

    @property
    def ansatz(self) -> Ansatz | None:
        return Ansatz(("initial",), start, lambda x: x[:, 1]) if self.hard else None

    def residual(self, u: Function, x: Tensor) -> Tensor:
        return 0 * u(x)


FEATURES = partial(FourierFeatures, features=24, network=partial(PirateNet, width=8, blocks=2))


def pirate(model: nn.Module) -> PirateNet:
    return next(m for m in model.modules() if isinstance(m, PirateNet))


def test_it_starts_as_a_linear_function_that_learns_by_alpha() -> None:
    torch.manual_seed(0)
    network = PirateNet(6, 2, width=9, blocks=3).double()
    x = torch.randn(5, 6, dtype=torch.float64)
    assert torch.equal(network.embed(x), x)
    torch.testing.assert_close(network(x), x @ network.last.T, rtol=1e-14, atol=1e-14)
    network(x).square().sum().backward()
    learning = {
        name for name, p in network.named_parameters() if p.grad is not None and bool(p.grad.abs().max() > 0)
    }
    assert learning == {"last", *(f"blocks.{k}.alpha" for k in range(3))}


def test_with_alpha_one_blocks_are_as_written_in_the_paper() -> None:
    torch.manual_seed(0)
    network = PirateNet(4, 1, width=5, blocks=1, activation=nn.SiLU).double()
    block = network.blocks[0]
    with torch.no_grad():
        block.alpha.fill_(1.0)  # type: ignore[operator, union-attr]
    x = torch.randn(3, 4, dtype=torch.float64)
    a = nn.functional.silu
    u, v = a(network.first(x)), a(network.second(x))
    f = a(block.gated[0](x))  # type: ignore[index, operator, union-attr]
    z = f * u + (1 - f) * v
    g = a(block.gated[1](z))  # type: ignore[index, operator, union-attr]
    z = g * u + (1 - g) * v
    h = a(block.back(z))  # type: ignore[operator]
    torch.testing.assert_close(network(x), h @ network.last.T, rtol=1e-13, atol=1e-13)


def test_the_published_size_has_its_layers() -> None:
    """3 blocks of 3 layers and 2 gates of 256 x 256 with biases, 3 numbers alpha, 256 weights at the end."""
    network = PirateNet(256, 1, width=256, blocks=3)
    assert sum(p.numel() for p in network.parameters()) == 11 * (256 * 256 + 256) + 3 + 256


def test_the_fit_is_the_projection_onto_the_features() -> None:
    torch.manual_seed(0)
    network = PirateNet(12, 1, width=8, blocks=1).double()
    x = torch.randn(50, 12, dtype=torch.float64)
    y = torch.randn(50, 1, dtype=torch.float64)
    missed = fit_last_layer(network, x, y)
    best = y - x @ torch.linalg.lstsq(x, y).solution
    assert missed == pytest.approx(float(best.norm() / y.norm()), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("outputs", [1, 2])
def test_the_start_is_met_ten_times_better_after_the_fit(dtype: torch.dtype, outputs: int) -> None:
    torch.manual_seed(0)
    problem = Transport(outputs)
    network = partial(Factorized, network=partial(FEATURES, features=64))
    model = problem.build(network, harmonics=2).to(dtype)
    x = torch.rand(200, 2, dtype=dtype) * 2 - torch.tensor([1.0, 0.0], dtype=dtype)
    y = start(x)
    if outputs == 2:
        y = torch.stack([y, torch.full_like(y, 2.0)], dim=1)
    before = (model(x) - y).detach().norm()
    assert fit_to_start(model, problem, points=500) < 1e-2
    after = (model(x) - y).detach().norm()
    assert after < before / 10 and after < 1e-2 * y.norm()
    assert pirate(model).last.dtype == dtype
    # What cuts off small singular values: no weights that cancel each other.
    assert float(pirate(model).last.detach().abs().max()) < 1e4


def test_data_are_fitted_under_conditions_that_are_built_in() -> None:
    """With factor t and lift u_0 the fit finds N for u = u_0 + t x-wave, and u_0 stays exact."""
    torch.manual_seed(0)
    model = Transport(hard=True).build(FEATURES).double()
    x = torch.rand(300, 2, dtype=torch.float64) * 2 - torch.tensor([1.0, 0.0], dtype=torch.float64)
    y = start(x) + x[:, 1] * torch.sin(math.pi * x[:, 0])
    assert fit_last_layer(model, x, y) < 1e-3
    x[:, 1] = 0
    torch.testing.assert_close(model(x), start(x), rtol=1e-14, atol=1e-14)


def test_data_of_zero_are_fitted_by_zero() -> None:
    network = PirateNet(3, 1, width=4, blocks=1)
    assert fit_last_layer(network, torch.rand(10, 3), torch.zeros(10, 1)) == 0.0
    assert not bool(network.last.any())


def wave(x: Tensor) -> Tensor:
    return torch.sin(math.pi * x[:, 0])


class Heat(Problem):
    """u_t = u_xx + 2 + pi^2 sin(pi x) on a circle, of sin(pi x) + 2 t - 1."""

    domain = Domain(Box(((-1.0, 1.0),)), time=(0.0, 1.0))
    conditions = (Initial(lambda x: wave(x) - 1), Periodic(0))

    def residual(self, u: Function, x: Tensor) -> Tensor:
        _, u_t, u_xx = evaluate(u, x, [d("y"), d("xx")])
        return u_t - u_xx - 2 - math.pi**2 * wave(x)

    def exact(self, x: Tensor) -> Tensor:
        return wave(x) + 2 * x[:, 1] - 1


class Reaction(Heat):
    """With a term that vanishes where it is linearized around 0."""

    def residual(self, u: Function, x: Tensor) -> Tensor:
        return super().residual(u, x) + u(x) ** 3


class Begun(Heat):
    """With a start that is built in: u = lift + t N has the solution for N = 2 t - 1."""

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(("initial",), lambda x: wave(x) - 1 + 3 * x[:, 1] - 2 * x[:, 1] ** 2, lambda x: x[:, 1])


# Features cos(k pi x), sin(k pi x), k = 1, 2, and t scaled to [-1, 1]; a bias is not among them.
LINEAR = Recipe(network=partial(PirateNet, width=4, blocks=1), harmonics=2)
STEPS = (Stage(partial(torch.optim.Adam, lr=1e-3), 6, Sobol(every=2)),)


def test_a_recipe_begins_at_a_start_that_features_span() -> None:
    """To 1e-10 at all times: rounding, through a condition of the features of below 1e2."""
    model = replace(LINEAR, fit=fit_to_start).model(Transport(), seed=0)
    x = torch.rand(100, 2, dtype=torch.float64) * 2 - torch.tensor([1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(model(x), start(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("problem", [Heat(), Reaction(), Begun()], ids=lambda p: type(p).__name__)
def test_a_recipe_begins_at_the_solution_of_the_linear_problem(problem: Problem) -> None:
    """One that features span, to rounding."""
    model = replace(LINEAR, fit=partial(fit_to_equation, points=100)).model(problem, seed=0)
    assert problem.relative_l2(model, points=200) < 1e-10
    assert all(p.requires_grad for p in model.parameters())


class Saturated(Heat):
    """Whose linear solution it does not bear."""

    def residual(self, u: Function, x: Tensor) -> Tensor:
        return super().residual(u, x) + 1e4 * u(x) ** 3


def test_a_linear_solution_that_is_worse_than_none_is_made_smaller() -> None:
    """At sin(pi x) + 2 t - 1 the residual is some 1e4, at 0 it is below 12, and along the way it falls at
    first: with half of it once and again a loss is found below that of 0."""
    model = LINEAR.model(Saturated(), seed=0)
    missed = fit_to_equation(model, Saturated(), points=100)
    x = Saturated().domain.interior(torch.rand, 20).double()
    shares = model(x).detach() / Saturated().exact(x)
    assert 0.5 < missed < 1
    torch.testing.assert_close(shares, shares[0].expand(20), rtol=1e-9, atol=0)
    halvings = -math.log2(float(shares[0]))
    assert halvings == pytest.approx(round(halvings), abs=1e-9) and 1 <= halvings < 6


def test_the_loss_of_a_linear_problem_is_least_after_the_fit() -> None:
    """Features of which no solution can be made; the value is the root of the ratio of two losses."""
    problem = Heat()
    torch.manual_seed(0)
    model = problem.build(FEATURES).double()
    before = torch.get_rng_state()
    missed = fit_to_equation(model, problem, points=100, cutoff=1e-13)
    assert torch.equal(before, torch.get_rng_state())  # nothing is drawn from the user's generator
    loss = Residual(problem, sampler=Sobol(), points=100)
    batch, last = loss.draw(0, model, Streams(0)), pirate(model).last
    least = total(loss.terms(model, batch))
    (slope,) = torch.autograd.grad(least, last)
    with torch.no_grad():
        last.zero_()
    first = total(loss.terms(model, batch))
    (steep,) = torch.autograd.grad(first, last)
    assert slope.norm() < 1e-10 * steep.norm()
    ratio = float((least / first).detach().sqrt())
    assert missed == pytest.approx(ratio, rel=1e-12) and 1e-6 < missed < 0.9


def test_a_fitted_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    recipe = replace(LINEAR, stages=STEPS, points=40, fit=fit_to_start)
    whole = solve(Transport(), recipe=recipe)
    for stop in (1, 2, 3):  # a step takes longer than the limit
        assert solve(Transport(), recipe=recipe, time_limit=1e-9, output=tmp_path).history[-1]["step"] == stop
    parts = solve(Transport(), recipe=recipe, output=tmp_path)
    for one, two in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_windows_are_fitted_to_the_end_of_those_before() -> None:
    recipe = replace(LINEAR, stages=STEPS, points=40, fit=fit_to_start).scaled(1)
    found = march(Transport(), windows=2, recipe=recipe)
    middle = torch.tensor([[0.3, 1.0]], dtype=torch.float64)
    early, late = (run.model for run in found.runs)
    # One step of Adam moves each weight by 1e-3 at most, and there are six.
    assert float((early(middle) - late(middle)).detach().abs()) < 1e-2
    assert float((late(middle) - start(middle)).detach().abs()) < 2e-2


def test_refusals() -> None:
    x = torch.rand(10, 2)
    with pytest.raises(ConfigError, match="MLP must have one PirateNet inside, got 0"):
        fit_last_layer(MLP(2, 1), x, x[:, 0])
    with pytest.raises(ShapeError, match=r"values \(10, 1\), so y must have that shape, got \(10,\)"):
        fit_last_layer(PirateNet(2, 1, width=3), x, x[:, 0])
    hard = Transport(hard=True)
    with pytest.raises(ConfigError, match="initial holds in this model by construction"):
        fit_to_start(hard.build(FEATURES), hard)
    system = Transport(3)  # of whose third component nothing is known
    with pytest.raises(ConfigError, match="how component 2 starts. Take fit_to_equation, which needs"):
        fit_to_start(system.build(FEATURES), system)
    with pytest.raises(ConfigError, match="Poisson does not say how component 0 starts. Take fit_to"):
        solve(problems.Poisson(), recipe=Recipe(network=FEATURES, fit=fit_to_start))
    with pytest.raises(ConfigError, match="fit_to_equation: Constrained must have one PirateNet inside"):
        Recipe(fit=fit_to_equation).model(problems.Poisson(), 0)
    with pytest.raises(ConfigError, match="at least 1, got 2, 1, 8 and 0"):
        PirateNet(2, 1, width=8, blocks=0)
