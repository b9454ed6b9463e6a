"""Traps of reproductions that no other test is about, and a test for each one in docs/traps.md."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from sciml.errors import ConfigError
from sciml.kernels import products
from sciml.objective import Batch, total
from sciml.optimizers import LBFGS, SelfScaledBroyden
from sciml.pinns import (
    Box,
    Dirichlet,
    Domain,
    Initial,
    Problem,
    Recipe,
    Residual,
    Stage,
    networks,
    problems,
    solve,
)
from sciml.pinns.conditions import Condition, Periodic
from sciml.pinns.networks import MLP
from sciml.pinns.problem import Solution
from sciml.pinns.samplers import Uniform
from sciml.pinns.weightings import Causal
from sciml.streams import Streams

ROOT = Path(__file__).resolve().parents[2]
SMALL = partial(MLP, width=4, depth=1)


def wave(x: Tensor) -> Tensor:
    return torch.sin(3 * x[:, 0]) + x[:, 1]


class Drift(Problem):
    """u_t = 1 from sin 3x, with the same at the ends; nothing is known of its solution."""

    domain = Domain(Box(((0.0, 1.0),)), time=(0.0, 1.0))

    def __init__(self, value: Callable[[Tensor], Tensor] = wave) -> None:
        self.value = value

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return Initial(self.value), Dirichlet(self.value)

    def residual(self, u: Any, x: Tensor) -> Tensor:
        return u(x) - wave(x)


class Known(Drift):
    """With its solution."""

    def exact(self, x: Tensor) -> Tensor:
        return wave(x)


class Exactly(nn.Module):
    """The solution, and a weight that does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * wave(x)


def test_losses_of_conditions_in_a_validation_are_at_their_own_rows() -> None:
    """Values that belong to other rows than the network's make an error where there is none."""
    seen: list[Tensor] = []

    def value(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return wave(x)

    loss, model = Residual(Drift(value), points=40), Exactly()
    for step in range(3):
        loss.terms(model, loss.draw(step, model, Streams(0)))
        trained = len(seen)
        assert loss.evaluate(model, Streams(0))["loss"] == 0.0
        for own in seen[trained:]:
            assert all(not (own[:, None] == other).all(2).any() for other in seen[:trained] if step == 0)


def test_weights_are_inputs_of_the_loss() -> None:
    """A graph that is captured once, to be replayed, would hold those that are taken as numbers, or from what
    the loss remembers, as constants.  Evaluated for several weights at once, the one would raise, and the
    other give all the same."""
    model = Recipe(network=SMALL, hard=False).model(Drift(), 0)
    loss = Residual(Drift(), points=20, weighting=Causal((5.0,), slabs=4))
    batch, name = loss.draw(0, model, Streams(0)), "equation/factor"
    weights = torch.stack([batch[name], 3 * batch[name], torch.rand_like(batch[name])])

    def of(weight: Tensor) -> Tensor:
        return total(loss.terms(model, Batch({**batch.tensors, name: weight}, batch.shared)))

    plain = {key: term.values.square() for key, term in Residual(Drift()).terms(model, batch).items()}
    expected = (weights * plain["equation"]).mean(1) + plain["initial"].mean() + plain["boundary"].mean()
    torch.testing.assert_close(torch.func.vmap(of)(weights), expected, rtol=1e-13, atol=0)


def valley(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def stepped(optimizer: torch.optim.Optimizer, x: Tensor, function: Callable[[Tensor], Tensor]) -> float:
    def closure() -> float:
        optimizer.zero_grad()
        value = function(x)
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    return float(optimizer.step(closure))


def slope_of(x: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(valley(x), x)
    return found


def test_the_update_is_self_scaled_as_published() -> None:
    """The formulas of Al-Baali's family in a plain text of their own; without the scale H is another one."""
    x = torch.tensor([-1.0, 1.2, -1.0, 1.2], dtype=torch.float64, requires_grad=True)
    optimizer, n, scales = SelfScaledBroyden([x], iterations=1), 4, []
    stepped(optimizer, x, valley)
    for _ in range(8):
        known = optimizer.state[x]["inverse"].clone()
        before, g = x.detach().clone(), slope_of(x)
        stepped(optimizer, x, valley)
        s, y = x.detach() - before, slope_of(x) - g
        hy, rho, alpha = known @ y, 1 / (y @ s), -(s @ (known @ g)) / (known @ g).square().sum()
        b, h = -alpha * rho * (s @ g), rho * (y @ known @ y)
        a = b * h - 1
        lower = torch.clamp(h * (1 - torch.sqrt(a / (1 + a))), max=1.0)
        theta = torch.maximum((lower - 1) / a, torch.minimum(1 / lower, (1 - b) / b))
        sigma = 1 + a * theta
        spread, bound = sigma ** (1 / (1 - n)), torch.clamp(1 / b, max=1.0)
        tau = torch.minimum(bound * spread, sigma) if theta <= 0 else bound * torch.minimum(spread, 1 / theta)
        q = y @ hy
        v = rho * s - hy / q
        phi = (1 - theta) / sigma
        scales.append(float(tau))
        wanted = (known - torch.outer(hy, hy) / q + phi * q * torch.outer(v, v)) / tau
        wanted = wanted + rho * torch.outer(s, s)
        found = optimizer.state[x]["inverse"]
        assert (found - wanted).norm() < 1e-7 * wanted.norm()
    assert max(abs(scale - 1) for scale in scales) > 0.1


@pytest.mark.parametrize("method", [LBFGS, SelfScaledBroyden])
def test_an_option_that_there_is_not_is_refused(method: Any) -> None:
    """Stock minimizers warn of it and go on with plain BFGS."""
    with pytest.raises(TypeError, match="method_bfgs"):
        method([torch.zeros(2, dtype=torch.float64)], method_bfgs="SSBroyden2")


@pytest.mark.parametrize("method", [LBFGS, SelfScaledBroyden])
def test_small_gradients_and_small_changes_do_not_stop_it(method: Any) -> None:
    """By default: of 1e-14 of a loss gradients are below 1e-11 and changes below 1e-12, where stock defaults,
    1e-7 and 1e-9, end before the first step."""
    x = torch.tensor([-1.0, 1.2, -1.0, 1.2], dtype=torch.float64, requires_grad=True)
    stepped(method([x], iterations=200), x, lambda z: 1e-14 * valley(z))
    assert (x - 1).abs().max() < 1e-5


def test_products_are_as_exact_as_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is trained lowers the precision of products, and our kernels keep to it."""
    seen: list[tuple[str, bool]] = []

    def told(self: Drift, u: Any, x: Tensor) -> Tensor:
        seen.append((torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32))
        return u(x) - wave(x)  # type: ignore[no-any-return]

    monkeypatch.setattr(Drift, "residual", told)
    recipe = Recipe(network=SMALL, stages=(Stage(Adam, 1, Uniform()),), points=8, dtype=torch.float32)
    solve(Drift(), recipe=recipe)
    assert seen and set(seen) == {("highest", False)} and products.precision() == "tf32x3"
    assert torch.get_default_dtype() == torch.float32 and torch.get_default_device().type == "cpu"


SMOOTH = [n for n in networks.__all__ if "activation" in inspect.signature(getattr(networks, n)).parameters]


@pytest.mark.parametrize("name", SMOOTH)
def test_no_network_has_kinks(name: str) -> None:
    """Second derivatives of ReLU are zero, and a baseline with it has nothing to learn from."""
    with pytest.raises(ConfigError, match="second derivative of ReLU is zero"):
        getattr(networks, name)(2, 1, activation=nn.ReLU)


# Problems with less: what has no condition, and why it needs none.
FREE = {
    "BackwardStep": {"ceiling", "floor", "inlet", "step"},  # pressure has no derivatives of second order,
    "Cavity": {"0+", "0-", "1+", "1-"},
    "PulsatingChannel": {"0-", "1+", "1-", "start"},
    "TaylorGreen": {"start"},  # and none in time
    "BlackScholesBarenblatt": {f"{i}{end}" for i in range(10) for end in "+-"},  # all of space
    "Lorenz": {"0+"},  # the only coordinate is time
    "Reaction": {"0+", "0-"},  # no derivatives in space
}


@pytest.mark.parametrize("name", problems.__all__)
def test_every_component_has_a_condition_on_every_side(name: str) -> None:
    """Without periodic terms, as in a known suite, a solution is not unique, whatever the method."""
    problem = getattr(problems, name)()
    domain = problem.domain
    sides = {*domain.space.faces, *(("start",) if domain.time is not None else ())}
    for k in range(problem.outputs):
        known = [c for c in problem.conditions if c.component in (k, None)]
        assert sides - set().union(*map(partial(sides_of, problem), known)) <= FREE.get(name, set())


def sides_of(problem: Problem, condition: Condition) -> set[str]:
    if isinstance(condition, Initial):
        return {"start"}
    if isinstance(condition, Periodic):
        return {f"{condition.axis}-", f"{condition.axis}+"}
    if not hasattr(condition, "faces"):
        return set()
    return set(problem.domain.space.faces if condition.faces is None else condition.faces)


def test_wave_has_the_coefficient_of_its_solution() -> None:
    """The text of its source prints 3, with which the solution that it gives misses the equation."""
    problem, x = problems.Wave(), torch.rand(50, 2, dtype=torch.float64)
    assert problem.residual(problem.exact, x).abs().max() < 1e-10
    x.requires_grad_()
    (slope,) = torch.autograd.grad(problem.exact(x).sum(), x, create_graph=True)
    u_xx, u_tt = (torch.autograd.grad(slope[:, k].sum(), x, retain_graph=True)[0][:, k] for k in (0, 1))
    assert (u_tt - 4 * u_xx).abs().max() < 1e-10 and (u_tt - 3 * u_xx).abs().max() > 1


class Stored(Known):
    """With a solution that is kept in a file."""

    def solve(self) -> Solution:
        x, shape = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)).double(), None
        return Solution(x, wave(x)[:, None] / 3, 1e-15, "kept", shape)


def test_a_reference_has_the_digits_that_it_certifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In double precision from memory and from its file, so that an error of 1e-10 is seen."""
    monkeypatch.setenv("SCIML_CACHE", str(tmp_path))
    for _ in range(2):
        monkeypatch.setattr("sciml.pinns.references._known", {})
        known = Stored().reference()
        assert known.x.dtype == known.values.dtype == torch.float64
        assert Stored().relative_l2(lambda x: wave(x) / 3 * (1 + 1e-10)) == pytest.approx(1e-10, rel=1e-4)
    assert list(tmp_path.rglob("*.npz"))


def test_the_last_weights_are_returned_and_not_the_best_on_the_reference() -> None:
    """To choose among checkpoints by the error that is reported would be to train on it."""
    recipe = Recipe(network=SMALL, stages=(Stage(partial(Adam, lr=0.5), 12, Uniform()),), points=8)
    run = solve(Known(), recipe=recipe)
    errors = [row["validation"]["relative_l2"] for row in run.history]
    assert len(errors) == 12 and min(errors) < 0.9 * errors[-1]
    assert Known().relative_l2(run.model) == errors[-1]


# The table.

LINE = re.compile(r"^\| (\d+) \| .* \| (.*) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_trap_has_its_tests() -> None:
    text = (ROOT / "docs" / "traps.md").read_text(encoding="utf-8")
    lines = LINE.findall(text)
    assert [int(number) for number, _ in lines] == list(range(1, 21))
    for number, cell in lines:
        named = NAMED.findall(cell)
        assert named, f"trap {number} names no test"
        for path, function in named:
            module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            assert function in {d.name for d in module.body if isinstance(d, ast.FunctionDef)}, (
                path,
                function,
            )
