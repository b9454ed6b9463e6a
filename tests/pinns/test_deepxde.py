"""Problems of DeepXDE: the losses of `dde.Model`, what is left untouched, and runs that resume to the bit."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from sciml.description import describe
from sciml.errors import ConfigError, ShapeError
from sciml.objective import total
from sciml.optimizers import SelfScaledBroyden
from sciml.pinns import DeepXDEResidual, from_deepxde, to_deepxde
from sciml.pinns.deepxde_import import imported, precision
from sciml.pinns.networks import MLP
from sciml.pinns.samplers import R3, RAD
from sciml.streams import Streams
from sciml.trainer import Phase, Trainer

TOOL = "deepxde_problems"
NAMES = ("burgers", "allen-cahn", "l-shape", "stokes", "reaction", "lorenz")


@pytest.fixture(scope="module")
def dde() -> Iterator[Any]:
    """DeepXDE in float64, as ``dde.config.set_default_float`` would make it."""
    with precision(torch.float64):
        yield imported()


@pytest.fixture(scope="module")
def examples(dde: Any, tool: ModuleType) -> ModuleType:
    """The six problems of the side-by-side measurement, in that float type."""
    return tool


def everywhere(_: Any, there: bool) -> bool:
    return there


def heat(dde: Any, equation: Callable[..., Any] | None = None, **settings: Any) -> Any:
    """u_t = u_xx on (0, 1) with walls at 0 and a start, pseudorandom points."""

    def own(x: Any, u: Any) -> Any:
        return dde.grad.jacobian(u, x, i=0, j=1) - dde.grad.hessian(u, x, i=0, j=0)

    np.random.seed(0)
    space = dde.geometry.GeometryXTime(dde.geometry.Interval(0, 1), dde.geometry.TimeDomain(0, 1))
    walls = dde.icbc.DirichletBC(space, lambda x: 0, everywhere)
    start = dde.icbc.IC(space, lambda x: np.sin(np.pi * x[:, :1]), everywhere)
    given = {"num_domain": 30, "num_boundary": 8, "num_initial": 8, "train_distribution": "pseudo"}
    conditions = settings.pop("conditions", lambda _: [walls, start])(space)
    return dde.data.TimePDE(space, equation or own, conditions, **given | settings)


def network(outputs: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return MLP(2, outputs, width=8, depth=2).double()


def theirs(dde: Any, data: Any, net: nn.Module, external: Any = (), *, test: bool = False) -> Tensor:
    """The losses of ``dde.Model``."""
    model = dde.Model(data, net if isinstance(net, dde.nn.NN) else to_deepxde(net))
    model.compile("adam", lr=1e-3, verbose=0, external_trainable_variables=list(external))
    if test:
        return model.outputs_losses_test(*data.test())[1].detach()
    return model.outputs_losses_train(*data.train_next_batch())[1].detach()


def ours(loss: DeepXDEResidual, net: nn.Module, step: int = 0) -> Tensor:
    terms = loss.terms(net, loss.draw(step, net, Streams(0)))
    return torch.stack([term.mean() for term in terms.values()]).detach()


# The same numbers.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors:DeprecationWarning")  # its polygons
def test_losses_are_those_of_deepxde(name: str, dde: Any, examples: ModuleType, test_data: Path) -> None:
    """To 1e-12, by our kernels and by DeepXDE's derivatives, at training and at test points."""
    example = examples.PROBLEMS[name](test_data / "deepxde", 0.02)
    net, external = example.network(), example.external
    wanted = theirs(dde, example.data, net, external.values())
    for kernels in (True, False):
        loss = from_deepxde(example.data, external=external, kernels=kernels)
        loss.check(net)
        torch.testing.assert_close(ours(loss, net), wanted, rtol=1e-12, atol=1e-16)
        assert loss.derivatives == ("kernels" if kernels else "autograd")
    found = loss.evaluate(net, Streams(0))
    assert found["loss"] == pytest.approx(float(theirs(dde, example.data, net, test=True).sum()), rel=1e-12)
    assert set(external) <= set(found)


def test_every_kind_of_condition(dde: Any) -> None:
    def conditions(space: Any) -> list[Any]:
        icbc = dde.icbc
        points = np.array([[0.2, 0.5], [0.4, 0.1], [0.7, 0.9]])
        return [
            icbc.DirichletBC(space, lambda x: x[:, 1:], everywhere),
            icbc.NeumannBC(space, lambda x: x[:, :1] ** 2, everywhere),
            icbc.RobinBC(space, lambda x, u: u**2, everywhere),
            icbc.PeriodicBC(space, 0, everywhere),
            icbc.PeriodicBC(space, 0, everywhere, derivative_order=1),
            icbc.OperatorBC(space, lambda x, u, _: dde.grad.jacobian(u, x, i=0, j=1) * x[:, :1], everywhere),
            icbc.PointSetBC(points, points[:, :1], batch_size=2),
            icbc.PointSetOperatorBC(points, points[:, 1:], lambda x, u, _: u * dde.grad.hessian(u, x)),
        ]

    data, net = heat(dde, conditions=conditions), network()
    wanted = theirs(dde, data, net)
    loss = from_deepxde(data)
    torch.testing.assert_close(ours(loss, net), wanted, rtol=1e-12, atol=1e-16)
    assert loss.derivatives == "kernels"
    kinds = ["dirichlet", "neumann", "robin", "periodic", "periodic.2", "operator", "points", "points.2"]
    assert list(loss.terms(net, loss.draw(0, net, Streams(0)))) == ["equation", *kinds]


def test_expressions_and_high_orders_are_served(dde: Any) -> None:
    """A flux with a coefficient in x and u, a third derivative, slices of the outputs, a product of parts."""

    def equation(x: Any, u: Any) -> Any:
        first, second = u[:, :1], u[:, 1:]
        slope = dde.grad.jacobian(first, x, j=0)
        flux = torch.exp(x[:, :1]) * (1 + first**2) * slope
        third = dde.grad.jacobian(dde.grad.hessian(u, x, component=1, i=0, j=1), x, i=0, j=0)
        gradient = dde.grad.jacobian(u, x, i=1)
        bent = dde.grad.hessian(first * second * x[:, 1:], x, i=0, j=1)
        mixed = dde.grad.jacobian(gradient, x, i=1, j=0)
        return [dde.grad.jacobian(flux, x, i=0, j=0) - third, bent * gradient[:, 1:] + mixed, second]

    data, net = heat(dde, equation), network(2)
    wanted = theirs(dde, data, net)
    loss = from_deepxde(data)
    torch.testing.assert_close(ours(loss, net), wanted, rtol=1e-11, atol=1e-15)
    assert loss.derivatives == "kernels"
    plain = from_deepxde(data, kernels=False)
    gradients = []
    for objective in (loss, plain):
        value = total(objective.terms(net, objective.draw(0, net, Streams(0))))
        gradients.append(torch.autograd.grad(value, list(net.parameters())))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-13)


class Centered(nn.Module):
    """Subtracts the mean over all points: no point is by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: Tensor) -> Tensor:
        u: Tensor = self.net(x)
        return u - u.mean(0, keepdim=True)


class Unruly(nn.Module):
    """With an operation that jets do not know."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: Tensor) -> Tensor:
        u: Tensor = self.net(x)
        return torch.logcumsumexp(torch.cat([u, 2 * u], dim=1), dim=1)[:, 1]


def test_what_kernels_cannot_serve_is_left_to_autograd(dde: Any) -> None:
    def by_hand(x: Any, u: Any) -> Any:
        return torch.autograd.grad(u.sum(), x, create_graph=True)[0][:, 1:] - dde.grad.hessian(u, x)

    def hidden(x: Any, u: Any) -> Any:  # no error, but without the derivative through u
        return torch.autograd.grad((u + x[:, :1]).sum(), x, create_graph=True)[0] + dde.grad.hessian(u, x)

    cases: list[tuple[Any, nn.Module]] = [
        (None, Centered()),
        (None, Unruly()),
        (by_hand, network()),
        (hidden, network()),
    ]
    for equation, net in cases:
        data = heat(dde, equation)
        wanted, loss = theirs(dde, data, net), from_deepxde(data)
        torch.testing.assert_close(ours(loss, net), wanted, rtol=1e-12, atol=1e-16)
        assert loss.derivatives == "autograd"


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # by torch.func.jvp
def test_auxiliary_values_forward_derivatives_and_single_precision(dde: Any) -> None:
    def equation(x: Any, u: Any, source: Any) -> Any:
        return dde.grad.jacobian(u, x, i=0, j=1) - dde.grad.hessian(u, x, i=0, j=0) - source

    data, net = heat(dde, equation, auxiliary_var_function=lambda x: np.sin(x[:, :1])), network()
    wanted = theirs(dde, data, net)
    torch.testing.assert_close(ours(from_deepxde(data), net), wanted, rtol=1e-12, atol=1e-16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dde.config, "autodiff", "forward")

        def forward(x: Any, u: Any) -> Any:
            return dde.grad.jacobian(u, x, i=0, j=1)[0] - dde.grad.hessian(u, x, i=0, j=0)[0]

        loss = from_deepxde(heat(dde, forward))
        found = ours(loss, net)
        assert loss.derivatives == "autograd"
    torch.testing.assert_close(found, ours(from_deepxde(heat(dde)), net), rtol=1e-12, atol=1e-16)
    with precision(torch.float32):
        single = heat(dde)
    assert single.train_x.dtype == np.float32
    # The start is evaluated in the precision of the network: all that differs is where the points lie.
    torch.testing.assert_close(ours(from_deepxde(single), net), found, rtol=1e-5, atol=0)
    assert dde.config.real.precision == 64


# What is left as it was.


def test_import_leaves_torch_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that does what DeepXDE does where there is a GPU."""
    package = tmp_path / "deepxde"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import os, sys, torch\n"
        "from types import SimpleNamespace\n"
        "torch.set_default_dtype(torch.float16)\n"
        "torch.set_default_device('meta')\n"
        "print('Using backend', file=sys.stderr)\n"
        "backend = SimpleNamespace(backend_name=os.environ['DDE_BACKEND'])\n"
    )
    for name in [name for name in sys.modules if name.split(".")[0] == "deepxde"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DDE_BACKEND", "jax")
    before = torch.get_default_dtype(), torch.get_default_device()
    assert imported().backend.backend_name == "pytorch"
    assert (torch.get_default_dtype(), torch.get_default_device()) == before
    assert os.environ["DDE_BACKEND"] == "jax"
    monkeypatch.setitem(sys.modules, "deepxde", SimpleNamespace(backend=SimpleNamespace(backend_name="jax")))
    with pytest.raises(ConfigError, match="runs on 'jax' in this process"):
        imported()


def test_nothing_grows_and_nothing_is_left(dde: Any) -> None:
    """100 iterations with points drawn anew in every tenth: the same number of tensors, empty caches."""
    data, net = heat(dde), network()
    before, points, counts = np.random.get_state()[1].copy(), data.train_x, list(data.num_bcs)
    functions = dde.grad.jacobian, dde.grad.hessian, data.bcs[0].func
    loss, optimizer, sizes = from_deepxde(data, every=10), Adam(net.parameters()), []
    for step in range(100):
        optimizer.zero_grad()
        total(loss.terms(net, loss.draw(step, net, Streams(0)))).backward()
        optimizer.step()
        if step in (15, 95):
            gc.collect()
            sizes.append(sum(issubclass(type(item), Tensor) for item in gc.get_objects()))
    assert sizes[0] == sizes[1]
    from deepxde.gradients.gradients import gradients_reverse as own

    assert not own.jacobian._Jacobians.Js and not own.hessian._Hessians.Hs
    for bc in data.bcs:
        kept = dict(zip(bc.func.__code__.co_freevars, bc.func.__closure__, strict=True))["cache"]
        assert not kept.cell_contents
    assert (dde.grad.jacobian, dde.grad.hessian, data.bcs[0].func) == functions
    assert data.train_x is points and data.num_bcs == counts
    assert (np.random.get_state()[1] == before).all()


def test_functions_are_restored_after_an_error(dde: Any) -> None:
    def equation(x: Any, u: Any) -> Any:
        raise ZeroDivisionError

    data = heat(dde, equation)
    functions, points = (dde.grad.jacobian, dde.grad.hessian, data.bcs[0].func), data.train_x
    loss, net = from_deepxde(data), network()
    with pytest.raises(ZeroDivisionError):
        ours(loss, net)
    assert (dde.grad.jacobian, dde.grad.hessian, data.bcs[0].func) == functions and data.train_x is points


# Points.


def test_conditions_may_change_their_counts(dde: Any) -> None:
    """Losses on points drawn anew are those of the same points in a data object of their own."""

    def conditions(space: Any) -> list[Any]:
        early = dde.icbc.DirichletBC(space, lambda x: 0, lambda x, there: there and x[1] < 0.5)
        return [early, dde.icbc.IC(space, lambda x: np.sin(np.pi * x[:, :1]), everywhere)]

    data, net = heat(dde, conditions=conditions, train_distribution="Hammersley"), network()
    loss = from_deepxde(data, every=3)
    first = ours(loss, net)
    assert torch.equal(ours(loss, net, 1), first)
    counts = {loss.points.counts}
    for step in (3, 6, 9):
        found = ours(loss, net, step)
        counts.add(loss.points.counts)
        fresh = heat(dde, conditions=conditions)
        for name in ("x_all", "x_bc", "x"):
            setattr(fresh, f"train_{name}", getattr(loss.points, name))
        fresh.num_bcs = list(loss.points.counts)
        torch.testing.assert_close(found, theirs(dde, fresh, net), rtol=1e-12, atol=1e-16)
    assert len(counts) > 1
    again = from_deepxde(data, every=3)
    ours(again, net, 9)
    assert np.array_equal(again.points.x_all, loss.points.x_all)  # a function of seed and step


def test_points_of_an_old_draw_are_refused(dde: Any) -> None:
    loss, net = from_deepxde(heat(dde), every=1), network()
    old = loss.draw(0, net, Streams(0))
    loss.draw(1, net, Streams(0))
    with pytest.raises(ConfigError, match="replaced by a later draw"):
        loss.terms(net, old)


class Exactly(nn.Module):
    """The solution of the heat equation, with a weight that does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * torch.exp(-(torch.pi**2) * x[:, 1:]) * torch.sin(torch.pi * x[:, :1])


def test_test_losses_of_conditions_are_at_their_own_rows(dde: Any) -> None:
    """DeepXDE compares the network at old rows with the start at new ones (its issue 2073)."""
    data, net = heat(dde, num_test=20), Exactly()
    loss = from_deepxde(data, every=1)
    ours(loss, net, 1)
    assert loss.evaluate(net, Streams(0))["loss"] < 1e-20
    counts = data.num_bcs
    data.resample_train_points()
    assert data.num_bcs == counts and float(theirs(dde, data, net, test=True)[2]) > 1e-3
    assert from_deepxde(data).evaluate(net, Streams(0))["loss"] < 1e-20


@pytest.mark.parametrize("sampler", [RAD(every=2, importance=True), R3(every=2)])
def test_samplers_choose_the_points_inside(sampler: RAD | R3, dde: Any) -> None:
    """They gather where the residual is, at x > 1/2, and all others stay."""

    def equation(x: Any, u: Any) -> Any:
        return 0 * dde.grad.hessian(u, x) + 100 * torch.relu(x[:, :1] - 0.5)

    data, net = heat(dde, equation, num_domain=200, anchors=np.array([[0.1, 0.1]])), network()
    loss = from_deepxde(data, sampler=sampler)
    before = loss.points
    assert len(before.x_all) == 217
    for step in range(0, 12):
        terms = loss.terms(net, loss.draw(step, net, Streams(0)))
    now = loss.points
    moved = (now.x_all != before.x_all).any(1)
    given = (before.x_all == 0.1).all(1) | (before.x_all[:, 1] == 0) | np.isin(before.x_all[:, 0], (0, 1))
    assert given.sum() == 17 and len(now.x_all) == 217 and now.counts == before.counts
    assert {row.tobytes() for row in before.x_all[given]} == {row.tobytes() for row in now.x_all[:17]}
    assert moved[17:].any()
    assert (now.x_all[-200:, 0] > 0.5).mean() > 0.7 > (before.x_all[:, 0] > 0.5).mean()
    if isinstance(sampler, RAD):
        # 200 points weighed by the inverse density: still the mean over the domain, 100^2 / 24 in the square
        # (standard error of a mean of 200: 8 %).
        inside = terms["equation"].weight[-200:] * terms["equation"].values[-200:] ** 2
        assert float(inside.detach().mean()) == pytest.approx(1e4 / 24, rel=0.3)


def test_a_sampler_may_take_another_number_of_points(dde: Any) -> None:
    data, net = heat(dde), network()
    loss = from_deepxde(data, sampler=RAD(every=2, pool=4), points=12)
    for step in range(5):
        terms = loss.terms(net, loss.draw(step, net, Streams(0)))
        assert len(loss.points.x_all) == 16 + 12 and len(terms["equation"].values) == 16 + 12
    assert len(data.train_x_all) == 16 + 30
    with pytest.raises(ConfigError, match="5 points take a sampler"):
        from_deepxde(data, points=5)


def test_the_network_looks_at_each_point_once(dde: Any) -> None:
    """Rows of conditions are among all points, and here those of three conditions are the same."""

    def conditions(space: Any) -> list[Any]:
        return [dde.icbc.DirichletBC(space, lambda x: x[:, 1:], everywhere) for _ in range(3)]

    data, net = heat(dde, conditions=conditions), network()
    wanted, loss = theirs(dde, data, net), from_deepxde(data)
    loss.check(net)
    seen: list[int] = []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    torch.testing.assert_close(ours(loss, net), wanted, rtol=1e-12, atol=1e-16)
    assert loss.derivatives == "kernels" and len(loss.points.x) == 46 + 3 * 8 and set(seen) == {46}


# Training.


def test_values_of_a_condition_can_be_learned(dde: Any) -> None:
    """-u'' = 0 with u(0) = 0, u(1) = wall, and u(1/2) = 1: the wall is at 2 (DeepXDE's issue 2074)."""
    wall = dde.Variable(0.5)
    line = dde.geometry.Interval(0, 1)
    data = dde.data.PDE(
        line,
        lambda x, u: dde.grad.hessian(u, x),
        [
            dde.icbc.DirichletBC(line, lambda x: wall * torch.as_tensor(x), everywhere),
            dde.icbc.PointSetBC(np.array([[0.5]]), np.array([[1.0]])),
        ],
        num_domain=10,
        num_boundary=2,
    )
    torch.manual_seed(0)
    net = MLP(1, 1, width=6, depth=1).double()
    loss = from_deepxde(data, external={"wall": wall})
    run = Trainer(optimizer=partial(SelfScaledBroyden, iterations=60), steps=1).fit(
        net, loss, validation=loss
    )
    assert run.history[-1]["validation"]["wall"] == pytest.approx(2.0, abs=1e-3)
    assert loss.external["wall"] is wall and loss.derivatives == "kernels"


def prepared(dde: Any) -> tuple[DeepXDEResidual, nn.Module, Trainer]:
    """Adam and a quasi-Newton method, points drawn anew within both, data in batches, an unknown."""
    rate = dde.Variable(0.5)

    def equation(x: Any, u: Any) -> Any:
        return dde.grad.jacobian(u, x, i=0, j=1) - rate * dde.grad.hessian(u, x, i=0, j=0)

    def conditions(space: Any) -> list[Any]:
        points = np.random.default_rng(0).random((12, 2))
        seen = dde.icbc.PointSetBC(points, np.sin(np.pi * points[:, :1]), batch_size=5)
        return [dde.icbc.DirichletBC(space, lambda x: 0, everywhere), seen]

    loss = from_deepxde(heat(dde, equation, conditions=conditions), external={"rate": rate}, every=3)
    phases = [Phase(partial(Adam, lr=1e-2), 5), Phase(partial(SelfScaledBroyden, iterations=3), 5)]
    return loss, network(), Trainer(optimizer=phases, seed=1)


def bits(loss: DeepXDEResidual, model: nn.Module) -> list[list[float]]:
    return [p.detach().flatten().tolist() for p in [*model.parameters(), *loss.parameters()]]


@pytest.mark.parametrize("steps", [4, 7])
def test_resumed_in_the_middle_it_has_the_same_bits(steps: int, dde: Any, tmp_path: Path) -> None:
    """Between two draws of points, and within the quasi-Newton phase."""
    loss, model, trainer = prepared(dde)
    trainer.fit(model, loss)
    wanted = bits(loss, model)
    loss, model, trainer = prepared(dde)
    for step in trainer.iterate(model, loss, every=steps, output=tmp_path):
        if step.number == steps + 1:  # abandoned behind a checkpoint, as by a kill
            break
    loss, model, trainer = prepared(dde)
    np.random.seed(5)
    trainer.fit(model, loss, every=steps, output=tmp_path)
    assert bits(loss, model) == wanted


def test_our_network_inside_a_model_of_deepxde(dde: Any, capsys: pytest.CaptureFixture[str]) -> None:
    data, net = heat(dde), network()
    wrapped = to_deepxde(net)
    wrapped.apply_feature_transform(lambda x: 2 * x)
    wrapped.apply_output_transform(lambda x, u: x[:, :1] * u)
    x = torch.rand(3, 2)
    torch.testing.assert_close(wrapped(x), x[:, :1] * net(2 * x), rtol=0, atol=0)
    before = [p.detach().clone() for p in net.parameters()]
    model = dde.Model(data, wrapped)
    model.compile("adam", lr=1e-2, verbose=0)
    history, _ = model.train(iterations=3, verbose=0)
    assert sum(history.loss_train[-1]) < sum(history.loss_train[0])
    assert not any(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    torch.testing.assert_close(
        ours(from_deepxde(data), wrapped), theirs(dde, data, wrapped), rtol=1e-12, atol=0
    )
    with pytest.raises(ConfigError, match="computes in float32, DeepXDE's points are torch.float64"):
        to_deepxde(MLP(2, 1).float())(x)


# Settings.


def test_weights_by_name_or_in_order(dde: Any) -> None:
    data, net = heat(dde), network()
    plain = ours(from_deepxde(data), net)
    ordered, named = (
        ours(from_deepxde(data, weights=weights), net) for weights in ([1.0, 2.0, 10.0], {"initial": 10.0})
    )
    torch.testing.assert_close(ordered, plain * torch.tensor([1.0, 2.0, 10.0]), rtol=1e-14, atol=0)
    torch.testing.assert_close(named, plain * torch.tensor([1.0, 1.0, 10.0]), rtol=1e-14, atol=0)
    told = describe(from_deepxde(data, weights=[1.0, 2.0, 10.0]))
    assert told == describe(from_deepxde(data, weights=[1.0, 2.0, 10.0]))
    assert told != describe(from_deepxde(data)) != describe(from_deepxde(heat(dde, num_domain=31)))


def test_refusals(dde: Any) -> None:
    data, net = heat(dde), network()
    with pytest.raises(ConfigError, match="expected a dde.data.PDE or dde.data.TimePDE, got builtins.int"):
        from_deepxde(3)
    with pytest.raises(ConfigError, match="a number of steps, every >= 1, or a sampler"):
        from_deepxde(data, every=0)
    with pytest.raises(ConfigError, match="no term 'inital' .* Did you mean 'initial'"):
        from_deepxde(data, weights={"inital": 2.0}).check(net)
    with pytest.raises(ConfigError, match="2 weights for 3 terms: equation, dirichlet, initial"):
        from_deepxde(data, weights=[1.0, 2.0]).check(net)
    with pytest.raises(ConfigError, match="external must be a trainable tensor"):
        from_deepxde(data, external=[torch.ones(())]).check(net)
    with pytest.raises(ShapeError, match=r"got \(2, 1, 1\)"):
        from_deepxde(data).check(nn.Sequential(net, nn.Unflatten(1, (1, 1))))
    regularized = dde.nn.FNN([2, 4, 1], "tanh", "Glorot normal", regularization=["l2", 0.1])
    with pytest.raises(ConfigError, match="weight_decay"):
        from_deepxde(data).check(regularized)
