"""Functions of points that keep their last results."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sciml.kernels import d, evaluate
from sciml.pinns import problems
from sciml.pinns.recipes import SMALL
from sciml.pinns.remembered import Remembered
from sciml.pinns.solving import Attempt
from sciml.streams import Streams


class Counted:
    """A function that counts how often it is asked."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function, self.calls = function, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.function(x)


@pytest.fixture
def x() -> Tensor:
    return torch.rand(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def wave() -> Counted:
    return Counted(lambda x: torch.sin(3 * x[:, 0]) * x[:, 1] ** 2)


def test_the_same_numbers_are_asked_for_once(x: Tensor, wave: Counted) -> None:
    known = Remembered(wave)
    assert torch.equal(known(x), known(x.clone()))
    assert wave.calls == 1
    x[0, 0] += 1e-12  # in place: nothing is known by the place of a tensor
    assert torch.equal(known(x), wave.function(x))
    assert wave.calls == 2


def test_derivatives_are_those_of_the_function(x: Tensor, wave: Counted) -> None:
    known = Remembered(wave)
    for operators in ([d("x"), d("yy")], [d("xx")], [d("xxy"), d("t", variables="xt")]):
        expected = evaluate(wave.function, x, operators)
        for _ in range(2):
            assert all(map(torch.equal, evaluate(known, x, operators), expected))
    assert wave.calls == 3  # one for each set of directions


def test_what_has_gradients_is_not_kept(x: Tensor, wave: Counted) -> None:
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    known = Remembered(lambda x: weight * x[:, 0])
    with torch.no_grad():
        known(x)  # looks constant here
    for size in (1.0, 3.0):  # moved in place, as training does, and differentiated again
        weight.data.fill_(size)
        weight.grad = None
        found = known(x)
        found.sum().backward()
        assert torch.equal(found, size * x[:, 0])
        assert weight.grad is not None and weight.grad == x[:, 0].sum()
    points = x.clone().requires_grad_()
    for _ in range(2):
        (slope,) = torch.autograd.grad(Remembered(wave)(points).sum(), points)
        assert slope.abs().min() > 0


# torch itself calls torch.jit.script when its forward mode is first used.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_transforms_go_through(x: Tensor, wave: Counted) -> None:
    known = Remembered(wave)
    known(x)
    rows = torch.func.vmap(lambda row: known(row[None])[0])(x)
    assert torch.allclose(rows, known(x), rtol=1e-14)
    _, tangent = torch.func.jvp(known, (x,), (torch.ones_like(x),))
    assert tangent.abs().max() > 0


@pytest.mark.parametrize("name", ["Burgers", "FourDiscs", "Solitons"])
def test_losses_are_the_same_bits(name: str) -> None:
    attempt = Attempt(getattr(problems, name)(), SMALL)
    model, objective = attempt.model, attempt.objective
    batch = objective.draw(0, model, Streams(0))

    def gradient() -> list[Tensor]:
        loss = torch.stack([term.mean() for term in objective.terms(model, batch).values()]).sum()
        return list(torch.autograd.grad(loss, list(model.parameters())))

    first = gradient()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.01)
    changed = gradient()
    fresh = Attempt(getattr(problems, name)(), SMALL)
    fresh.model.load_state_dict(model.state_dict())
    model, objective = fresh.model, fresh.objective
    assert all(map(torch.equal, gradient(), changed))
    assert not all(map(torch.equal, first, changed))
