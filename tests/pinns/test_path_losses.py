"""Losses over paths: what they are for known solutions, that they learn, and that they resume to the bit."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from sciml.description import build, describe
from sciml.errors import ConfigError, ShapeError
from sciml.kernels import d, evaluate, laplace
from sciml.objective import total
from sciml.pinns import (
    Ansatz,
    Attempt,
    Box,
    Coefficient,
    Diffusion,
    Domain,
    Initial,
    Problem,
    Recipe,
    Stage,
    problems,
    solve,
)
from sciml.pinns.losses import BackwardSDE, ForwardBackward
from sciml.pinns.losses.paths import PathLoss
from sciml.pinns.networks import MLP
from sciml.pinns.recipes import RECIPES
from sciml.streams import Streams

DIM, SCALE = 3, 2**0.5


def squares(x: Tensor) -> Tensor:
    return x[:, 0] ** 2 + x[:, 1] ** 2 + x[:, 2] ** 2


class Heated(Problem):
    """u_t = Laplace(u) from |x|^2: u = |x|^2 + 2 d t."""

    domain = Domain(Box(((-1.0, 1.0),) * DIM), time=(0.0, 1.0))
    grid = (2, 2, 2, 2)
    conditions = (Initial(squares),)
    diffusion = Diffusion(squares, lambda x, w: SCALE * w)  # type: ignore[assignment]

    def residual(self, u: Any, x: Tensor) -> Tensor:
        _, u_t, spread = evaluate(u, x, [d("t", variables="xyzt"), laplace("xyz", variables="xyzt")])
        return u_t - spread

    def exact(self, x: Tensor) -> Tensor:
        return squares(x) + 2 * DIM * x[:, -1]


class Sloped(Heated):
    """u_t = Laplace(u) + sum of u_i - |grad u|^2 from a plane: planes at all times, where Euler is exact."""

    conditions = (Initial(lambda x: 2 * x[:, 0] - x[:, 1]),)
    diffusion = Diffusion(  # type: ignore[assignment]
        lambda x: 2 * x[:, 0] - x[:, 1],
        lambda x, w: SCALE * w,
        drift=lambda x: torch.ones_like(x[:, :-1]),
        driver=lambda x, u, z: -z.square().sum(1) / 2,
    )

    def exact(self, x: Tensor) -> Tensor:
        return 2 * x[:, 0] - x[:, 1] + (1 - 5) * x[:, -1]  # drift . a - |a|^2


class Growing(Heated):
    """u_t = Laplace(u) + u + 1 from 1: u = 2 e^t - 1."""

    conditions = (Initial(1.0),)
    diffusion = Diffusion(  # type: ignore[assignment]
        lambda x: torch.ones_like(x[:, 0]), lambda x, w: SCALE * w, driver=lambda x, u, z: u + 1, affine=True
    )

    def exact(self, x: Tensor) -> Tensor:
        return 2 * torch.exp(x[:, -1]) - 1 + 0 * x[:, 0]

    has_reference = False  # type: ignore[assignment]


class Known(nn.Module):
    """The solution of a problem as a model."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem
        self.shift = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.problem.exact(x) + self.shift


def drawn(loss: PathLoss, model: nn.Module) -> dict[str, Tensor]:
    found = loss.terms(model, loss.draw(0, model, Streams(0)))
    return {name: term.summands().detach() for name, term in found.items()}


@pytest.mark.parametrize(
    "loss",
    [
        partial(BackwardSDE, steps=4),
        partial(BackwardSDE, steps=4, anytime=False),
        partial(ForwardBackward, steps=4),
        partial(ForwardBackward, steps=4, span=2, anytime=True),
        partial(ForwardBackward, steps=4, span=4, at=0.5),
        partial(ForwardBackward, steps=4, span=2, pairs=True, anytime=False),
    ],
)
def test_a_plane_has_no_loss_with_a_nonlinear_driver_either(loss: Any) -> None:
    problem = Sloped()
    found = drawn(loss(problem, points=8), Known(problem))
    # Rounding of values of order 10, squared.
    assert all(float(values.abs().max()) < 1e-26 for values in found.values())


def test_what_is_missed_is_what_ito_says() -> None:
    """Of |x|^2 a step of length h misses |dX|^2 - 2 d h: variance 8 d h^2, 8 d / N over a path of N steps."""
    problem, n = Heated(), 4000
    model = Known(problem)
    for steps in (2, 8):
        wanted = 8 * DIM / steps
        for loss in (
            BackwardSDE(problem, points=n, steps=steps, anytime=False),
            ForwardBackward(problem, points=n, steps=steps, anytime=False),
            ForwardBackward(problem, points=n, steps=steps, span=steps, anytime=False),
        ):
            values = next(iter(drawn(loss, model).values())).reshape(n, -1).mean(1)
            assert abs(float(values.mean()) - wanted) < 4 * float(values.std()) / math.sqrt(n)


def test_products_of_pairs_have_the_square_of_the_residual_as_mean() -> None:
    """Of u + 3 t the residual is 3; squares of single steps have |S|^2/2 = 8 d more."""
    problem, n = Heated(), 4000
    model = Known(problem)
    slanted = Known(problem)
    slanted.forward = lambda x: problem.exact(x) + 3 * x[:, -1]  # type: ignore[method-assign]
    for span in (1, 3):
        loss = ForwardBackward(problem, points=n, steps=3, span=span, pairs=True)
        for u, wanted in ((model, 0.0), (slanted, 9.0)):
            values = drawn(loss, u)["path"].mean(1)
            assert abs(float(values.mean()) - wanted) < 4 * float(values.std()) / math.sqrt(n)
    # Sums of three squares over h^2 = 1/9.
    plain = drawn(ForwardBackward(problem, points=n, steps=3, anytime=False), slanted)["path"].mean(1) * 3
    assert abs(float(plain.mean()) - 9 - 8 * DIM) < 4 * float(plain.std()) / math.sqrt(n)


def test_jets_and_the_whole_gradient_give_the_same_moves() -> None:
    """A driver that is not affine makes the loss take the gradient; here it does not change the equation."""

    class Awkward(Heated):
        diffusion = Diffusion(squares, lambda x, w: SCALE * w, driver=lambda x, u, z: 0 * u)  # type: ignore[assignment]

    model = Heated().build(partial(MLP, width=8, depth=2), hard=False).double()
    for cls in (BackwardSDE, ForwardBackward):
        one, other = (drawn(cls(problem, points=5, steps=3), model) for problem in (Heated(), Awkward()))
        for name in one:
            torch.testing.assert_close(one[name], other[name])


def test_followed_values_converge_with_the_order_of_the_step() -> None:
    problem = Growing()
    model = Known(problem)
    missed = [
        float(drawn(BackwardSDE(problem, points=2, steps=n, at=0.0), model)["final"].mean().sqrt())
        for n in (20, 40)
    ]
    # Euler for y' = -(y + 1): first order, and the next term is a twentieth of the first.
    assert 1.9 < missed[0] / missed[1] < 2.1


def test_the_loss_sees_a_wrong_constant() -> None:
    problem = Sloped()
    model = Known(problem)
    with torch.no_grad():
        model.shift.fill_(0.5)
    torch.testing.assert_close(
        drawn(BackwardSDE(problem, points=4, steps=3), model)["final"], torch.full((4,), 0.25).double()
    )
    loss = ForwardBackward(problem, points=4, steps=3, weights={"final": 2.0})
    found = drawn(loss, model)
    torch.testing.assert_close(found["final"], torch.full((4,), 0.5).double())
    assert float(found["path"].max()) < 1e-26 and float(found["slope"].max()) < 1e-26


def test_a_start_that_is_built_in_is_not_asked_for() -> None:
    class Lifted(Heated):
        ansatz = Ansatz(("initial",), lift=squares, factor=lambda x: x[:, 3])

    loss = ForwardBackward(Lifted(), points=4, steps=2)
    for hard, names in ((True, ["path"]), (False, ["path", "final", "slope"])):
        model = Lifted().build(partial(MLP, width=4, depth=1), hard=hard)
        assert list(drawn(loss, model)) == names


def test_paths_begin_where_they_should_and_end_at_the_start_of_time() -> None:
    model = Heated().build(partial(MLP, width=4, depth=1))  # float32, in which times do not add up
    for loss, first in (
        (BackwardSDE(Heated(), points=50, steps=7), None),
        (ForwardBackward(Heated(), points=50, steps=7, anytime=False), None),
        (BackwardSDE(Heated(), points=3, steps=7, at=(0.1, 0.2, 0.3)), [0.1, 0.2, 0.3, 1.0]),
    ):
        paths = loss.draw(3, model, Streams(1))["paths"]
        assert torch.equal(paths[:, -1, -1], torch.zeros(len(paths)))
        assert bool((paths[:, 1:, -1] < paths[:, :-1, -1]).all())
        begun = paths[:, 0]
        if first is not None:
            torch.testing.assert_close(begun, torch.tensor([first]).expand(3, 4))
            assert loss.evaluate(model, Streams(0))["value"] == float(model(begun[:1]).detach())
        else:
            assert bool(Heated.domain.contains(begun).all())
            assert (float(begun[:, -1].std()) > 0.2) == loss.anytime
        assert torch.equal(loss.state_dict()["points"]["equation"]["rows"].float(), begun)
        again = loss.draw(3, model, Streams(1))["paths"]
        assert torch.equal(again, paths) and not torch.equal(loss.draw(4, model, Streams(1))["paths"], paths)


def test_a_batch_in_parts_has_the_loss_of_the_whole() -> None:
    loss = ForwardBackward(Heated(), points=6, steps=4, span=2, pairs=True)
    model = Heated().build(partial(MLP, width=4, depth=1), hard=False).double()
    batch = loss.draw(0, model, Streams(0))
    parts = [total(loss.terms(model, part)) for part in batch.split(3)]
    torch.testing.assert_close(torch.stack(parts).mean(), total(loss.terms(model, batch)))


@pytest.mark.parametrize("loss", [partial(BackwardSDE, steps=3), partial(ForwardBackward, steps=3)])
def test_an_interrupted_run_goes_on_to_the_same_bits(loss: Any, tmp_path: Path) -> None:
    recipe = Recipe(
        network=partial(MLP, width=4, depth=1),
        stages=(Stage(partial(Adam, lr=1e-2), 4),),
        points=4,
        loss=loss,
    )
    assert build(describe(recipe)).loss.func is loss.func
    whole = Attempt(Growing(), recipe, seed=3)
    for _ in whole.steps(every=2):
        pass
    begun = iter(Attempt(Growing(), recipe, seed=3).steps(every=2, output=tmp_path))
    next(begun), next(begun), next(begun)
    begun.close()  # type: ignore[attr-defined]
    rest = Attempt(Growing(), recipe, seed=3)
    assert [step.number for step in rest.steps(every=2, output=tmp_path)] == [3, 4]
    for one, other in zip(whole.run.model.parameters(), rest.run.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(whole.points(), rest.points())


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    class Unknown(Heated):
        coefficients = {"k": Coefficient()}  # noqa: RUF012

    class Narrow(Heated):
        diffusion = Diffusion(squares, lambda x, w: w[:, :1])  # type: ignore[assignment]

    class Wide(Heated):
        diffusion = Diffusion(squares, lambda x, w: w, driver=lambda x, u, z: z)  # type: ignore[assignment]

    model = Heated().build(partial(MLP, width=4, depth=1))
    for make, match in (
        (lambda: BackwardSDE(problems.Poisson()), "Poisson has no diffusion"),
        (lambda: BackwardSDE(Heated(), steps=0), "needs points >= 1 and steps >= 1, got 256 and 0"),
        (lambda: ForwardBackward(Heated(), steps=4, span=3), "span divides the 4 steps of a path, got 3"),
        (lambda: BackwardSDE(Heated(), at=(0.0,)), "at has 1 coordinates, Heated has 3 in space"),
        (
            lambda: ForwardBackward(Heated(), weights={"paths": 1.0}),
            "no term 'paths' to weigh; .* Did you mean 'path'",
        ),
        (lambda: BackwardSDE(Unknown()), "Unknown has unknown coefficients"),
    ):
        with pytest.raises(ConfigError, match=match):
            make()  # type: ignore[no-untyped-call]
    for problem, match in ((Narrow(), r"noise\(x, w\) of Narrow"), (Wide(), r"driver\(x, u, z\) of Wide")):
        with pytest.raises(ShapeError, match=match):
            BackwardSDE(problem, points=4).check(model)
    with pytest.raises(ShapeError, match="must map points"):
        BackwardSDE(Heated()).check(nn.Linear(4, 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deep-bsde", "fbsnn"])
def test_recipes_find_the_value_of_cole_and_hopf(name: str) -> None:
    problem = problems.HamiltonJacobiBellman(dim=10)
    recipe = replace(RECIPES[name], network=partial(MLP, width=32, depth=2), points=64)
    run = solve(problem, recipe=recipe, steps=600)
    x = torch.zeros(1, 11, dtype=torch.float64)
    x[0, -1] = 1.0
    known = float(problem.exact(x))
    with torch.no_grad():
        assert float(run.model(x.float())) == pytest.approx(known, rel=2e-2)
    assert problem.relative_l2(run.model) < 2e-2
