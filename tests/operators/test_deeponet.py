"""DeepONet and MultiONet: sizes, the integral, inputs on other grids, places anywhere, linearity."""

from itertools import pairwise
from math import cos, log2, pi, sin
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import cumulative_trapezoid
from torch import Tensor, nn

from sciml.description import build, describe
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Axis, Grid
from sciml.normalization import Normalization
from sciml.operators.deeponet import DeepONet, MultiONet, published
from sciml.operators.sensors import Sensors
from sciml.surrogate import Channel, Surrogate

EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}
BOTH = [DeepONet, MultiONet]


def made(cls: type[DeepONet], *arguments: int, seed: int = 0, **settings: Any) -> DeepONet:
    torch.manual_seed(seed)
    return cls(*arguments, **settings).double().eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def places(grid: Grid, batch: int) -> Tensor:
    points = torch.from_numpy(grid.unit_coordinates())
    return points.expand(batch, *points.shape)


def affine(*sizes: int) -> int:
    return sum((into + 1) * out for into, out in pairwise(sizes))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("antiderivative", [(100, 40, 40), (1, 40, 40)]),
        ("burgers", [(128, 128, 128, 128, 128), (4, 128, 128, 128)]),
    ],
)
def test_t13_published_models_have_the_layers_of_their_authors(
    name: str, sizes: list[tuple[int, ...]]
) -> None:
    arguments, source = published[name]
    model = DeepONet(1, 1, 1, **arguments)
    assert sum(p.numel() for p in model.parameters()) == sum(affine(*s) for s in sizes) + 1
    assert all("-".join(map(str, s)) in source for s in sizes)


def test_t13_several_outputs_have_last_layers_of_their_own() -> None:
    model = made(DeepONet, 2, 2, 3, sensors=(4, 5), width=7, depth=(2, 3))
    count = affine(2 * 20, 7, 3 * 7) + affine(2, 7, 7, 3 * 7) + 3
    assert sum(p.numel() for p in model.parameters()) == count
    model = made(MultiONet, 2, 2, 3, sensors=(4, 5), width=7, depth=2)
    count = affine(2 * 20, 21, 21, 21) + affine(2, 21, 21, 21) + 2 + 3
    assert sum(p.numel() for p in model.parameters()) == count


def integrator(size: int) -> DeepONet:
    """u(y) = the integral of a over [0, y]: trapezoids in the branch, hat functions in the trunk.

    A hat is a combination of ramps from its node and its neighbors, and not negative, so that the last
    activation leaves it as it is.
    """
    sensors = Sensors(size, "node")
    model = made(DeepONet, 1, 1, 1, sensors=sensors, width=size, depth=2, linear=True, activation=nn.ReLU)
    nodes = np.linspace(0.0, 1.0, size)
    (first, second), (rule,) = (network.layers for network in (model.trunk, model.branch))  # type: ignore[misc]
    hats = (np.eye(size, k=-1) - 2 * np.eye(size) + np.eye(size, k=1)) * (size - 1)
    hats[0] = 0.0  # 1 - (ramp from node 0 - ramp from node 1) / h
    hats[0, :2] = 1 - size, size - 1
    with torch.no_grad():
        first.weight[:] = 0.5  # ramp(ξ - node) of 2 ξ - 1
        first.bias[:] = torch.from_numpy(0.5 - nodes)
        second.weight[:] = torch.from_numpy(hats)
        second.bias[:] = torch.eye(size, dtype=torch.float64)[0]
        rule.weight[:] = torch.from_numpy(cumulative_trapezoid(np.eye(size), nodes, axis=1, initial=0).T)
    return model


def test_t7_a_trapezoid_branch_integrates() -> None:
    """Exact between rounding at the sensors, and of second order between them."""
    nodes = torch.linspace(0, 1, 300, dtype=torch.float64).reshape(1, -1, 1)
    errors = []
    for size in (9, 17, 33, 65):
        ξ = places(Grid.box((size,), location="node"), 1)
        a, model = torch.cos(3 * ξ), integrator(size)
        at_nodes = cumulative_trapezoid(a[0, 0].numpy(), ξ[0, 0].numpy(), initial=0)
        with torch.no_grad():
            np.testing.assert_allclose(model(a, ξ)[0, 0].numpy(), at_nodes, rtol=0, atol=1e-13)
            found = model(a, ξ, queries=nodes)
        errors.append(float((found - torch.sin(3 * nodes) / 3).abs().max()))
    orders = [log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert all(abs(order - 2) < 0.05 for order in orders), orders  # 2 + O(h²)


def test_an_integrator_takes_inputs_on_other_grids() -> None:
    """Finer ones hold the sensors; on half as many points the rule is that of these points."""
    model = integrator(17)
    grids = [Grid.box((n,), location="node") for n in (17, 33, 9)]
    exact, fine, coarse = (model(torch.cos(3 * (ξ := places(g, 1))), ξ).detach()[0, 0] for g in grids)
    torch.testing.assert_close(fine[::2], exact, **EXACT)
    nine = integrator(9)(torch.cos(3 * (ξ := places(grids[2], 1))), ξ).detach()[0, 0]
    torch.testing.assert_close(coarse, nine, **EXACT)


@pytest.mark.parametrize("location", ["node", "cell", "left"])
@pytest.mark.parametrize("shape", [(7,), (5, 9), (2, 3, 4)])
def test_sensors_read_linear_fields_exactly(shape: tuple[int, ...], location: Any) -> None:
    sensors = Sensors((6, 4, 3)[: len(shape)], location)
    wanted = torch.stack(
        torch.meshgrid(*(torch.from_numpy(a.coordinates) for a in sensors.axes), indexing="ij")
    )
    for other in ("node", "cell", "left"):
        ξ = places(Grid.box(shape, location=other), 2)  # type: ignore[arg-type]
        slopes = noise(len(shape))
        x = torch.einsum("a,ba...->b...", slopes, ξ)[:, None]
        read = sensors.read(x, ξ)
        torch.testing.assert_close(read, torch.einsum("a,a...->...", slopes, wanted).expand_as(read), **EXACT)


def test_sensors_read_their_own_grid_bit_by_bit() -> None:
    for size in (16, 100, 421):
        for location, periodic in (("node", False), ("node", True), ("cell", False), ("cell", True)):
            grid = Grid((Axis("x", -2.0, 5.0, size, location, periodic),))  # type: ignore[arg-type]
            x = noise(2, 1, size).float()
            assert torch.equal(Sensors.on(grid, 4096).read(x, places(grid, 2).float()), x)


@pytest.mark.parametrize("location", ["node", "cell"])
def test_sensors_read_periodic_fields_to_second_order(location: Any) -> None:
    sensors, errors = Sensors(7, location, periodic=True), []
    (axis,) = sensors.axes
    exact = torch.sin(2 * pi * torch.from_numpy(axis.coordinates))
    for size in (32, 64, 128):
        ξ = places(Grid.box((size,), location=location, periodic=True), 1)
        errors.append(float((sensors.read(torch.sin(2 * pi * ξ), ξ) - exact).norm()))
    assert errors[-1] < 2 * pi**2 / 128**2  # |f''| h² / 8 of 7 values
    assert log2(errors[0] / errors[-1]) / 2 > 1.8


@pytest.mark.parametrize("cls", BOTH)
def test_places_are_points_of_the_grid_or_any_others(cls: type[DeepONet]) -> None:
    model = made(cls, 2, 1, 2, sensors=Sensors((4, 3), "node", (True, False)), width=6, depth=2)
    ξ, x = places(Grid.box((5, 6)), 3), noise(3, 1, 5, 6)
    u = model(x, ξ)
    points = ξ.flatten(2).mT
    torch.testing.assert_close(model(x, ξ, points).mT.reshape(u.shape), u, **EXACT)
    # Each sample its own places: the same, one by one.
    torch.testing.assert_close(model(x, ξ.clone()), u, **EXACT)
    own = torch.rand(3, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone = [model(x[i : i + 1], ξ[i : i + 1], own[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(model(x, ξ, own), torch.cat(alone), **EXACT)
    # The first axis is periodic, and so is the output.
    torch.testing.assert_close(model(x, ξ, own + torch.tensor([1.0, 0.0])), model(x, ξ, own), **EXACT)


def test_outputs_are_the_products_of_the_papers() -> None:
    """Each equation written out, for one sample, one place, two outputs, on a bounded and a periodic axis."""
    sensors = Sensors((2, 2), periodic=(False, True))
    ξ, x, y = places(Grid.box((2, 2), periodic=(False, True)), 1), noise(1, 1, 2, 2), (0.3, 0.6)
    angle = 2 * pi * y[1]
    features = [2 * y[0] - 1, cos(angle), sin(angle), cos(2 * angle), sin(2 * angle)]
    φ = torch.tensor(features, dtype=torch.float64)
    queries = torch.tensor([[y]], dtype=torch.float64)

    plain = made(DeepONet, 2, 1, 2, sensors=sensors, width=3, depth=(2, 1), activation=nn.Tanh)
    weights = dict(plain.named_parameters())
    b = x.flatten() @ weights["branch.layers.0.weight"].T + weights["branch.layers.0.bias"]
    b = b.tanh() @ weights["branch.layers.1.weight"].T + weights["branch.layers.1.bias"]
    t = (φ @ weights["trunk.layers.0.weight"].T + weights["trunk.layers.0.bias"]).tanh()
    with torch.no_grad():
        weights["bias"][:] = torch.tensor([0.5, -0.25])
    wanted = torch.stack([b[:3] @ t[:3] + 0.5, b[3:] @ t[3:] - 0.25])
    torch.testing.assert_close(plain(x, ξ, queries)[0, 0], wanted, **EXACT)

    several = made(MultiONet, 2, 1, 2, sensors=sensors, width=3, depth=2, activation=nn.Tanh)
    weights = dict(several.named_parameters())
    with torch.no_grad():
        weights["branch.weights"][:] = torch.tensor([0.5, 3.0])
    b, t, wanted = x.flatten(), φ, torch.zeros(2, dtype=torch.float64)
    for layer, w in enumerate((0.0, 0.5, 3.0)):
        name = f"layers.{layer}"
        b = (b @ weights[f"branch.parts.{name}.weight"].T + weights[f"branch.parts.{name}.bias"]).tanh()
        t = (t @ weights[f"trunk.{name}.weight"].T + weights[f"trunk.{name}.bias"]).tanh()
        wanted = wanted + w / 2 * torch.stack([b[:3] @ t[:3], b[3:] @ t[3:]])
    torch.testing.assert_close(several(x, ξ, queries)[0, 0], wanted, **EXACT)


@pytest.mark.parametrize("cls", BOTH)
def test_gradients_in_float64(cls: type[DeepONet]) -> None:
    model = made(cls, 1, 1, 2, sensors=4, width=3, depth=2)
    x, ξ = noise(2, 1, 5).requires_grad_(), places(Grid.box((5,)), 2)
    queries = noise(2, 2, 1, seed=3).requires_grad_()
    weights = list(model.parameters())
    assert torch.autograd.gradcheck(lambda x, q, *_: model(x, ξ, q), (x, queries, *weights))
    # Residuals of differential equations differentiate in the place, and again.
    assert torch.autograd.gradgradcheck(lambda q: model(x.detach(), ξ, q), (queries,))


@pytest.mark.parametrize("cls", BOTH)
def test_t6_a_linear_branch_makes_a_linear_operator(cls: type[DeepONet]) -> None:
    settings: dict[str, Any] = {"sensors": 4, "width": 6, "depth": 3}
    model, other = (made(cls, 1, 2, 2, linear=linear, **settings) for linear in (True, False))
    assert model.properties.linear and not other.properties.linear and not cls.properties.linear
    ξ, x, z = places(Grid.box((9,)), 2), noise(2, 2, 9), noise(2, 2, 9, seed=4)
    for candidate, holds in ((model, True), (other, False)):
        with torch.no_grad():
            for parameter in candidate.parameters():
                parameter.add_(0.1 * noise(*parameter.shape, seed=7))  # biases are 0 at the start
            together = candidate(2 * x - z, ξ)
            parts = 2 * candidate(x, ξ) - candidate(z, ξ)
        assert torch.allclose(together, parts, rtol=0, atol=1e-12) is holds
    assert build(describe(model)).properties.linear


def test_a_linear_one_is_an_operator_of_scipy() -> None:
    model = made(DeepONet, 1, 1, 1, sensors=4, width=6, linear=True)
    unchanged = Normalization([0.0], [1.0])
    surrogate = Surrogate(
        model,
        inputs=[Channel("a")],
        outputs=[Channel("u")],
        grid=Grid.box((8,)),
        input_normalization=unchanged,
        output_normalization=unchanged,
    )
    operator = surrogate.linear_operator()
    x, y = noise(8).numpy(), noise(8, seed=2).numpy()
    assert y @ operator.matvec(x) == pytest.approx(operator.rmatvec(y) @ x, rel=1e-12)


def test_what_suits_a_grid_has_its_points() -> None:
    grid = Grid.box((16, 12), location="node", periodic=(True, False))
    model = DeepONet(2, 1, 1, **DeepONet.suited(grid))
    assert model.sensors == Sensors((16, 12), "node", (True, False))
    assert MultiONet.suited(Grid.box((421, 421)))["sensors"].shape == (64, 64)
    again = build(describe(model))
    assert again.sensors == model.sensors


def test_refusals() -> None:
    model = made(DeepONet, 2, 1, 1, sensors=(4, 5), width=2)
    ξ, x = places(Grid.box((8, 8)), 3), noise(3, 1, 8, 8)
    model.check_grid((4, 9))
    with pytest.raises(
        ShapeError, match=r"DeepONet: a training grid must have at least .* \(4, 5\), got \(8, 4\)"
    ):
        model.check_grid((8, 4))
    for wrong in (noise(3, 7, 3), noise(2, 7, 2), noise(7, 2)):
        with pytest.raises(ShapeError, match=r"queries must have shape \(3, query, 2\), got"):
            model(x, ξ, wrong)
    with pytest.raises(ShapeError, match="axis 1 of the input has a single point"):
        model(x[..., :1], ξ[..., :1])
    with pytest.raises(ConfigError, match="DeepONet: sensors must have 2 axes"):
        DeepONet(2, 1, 1, sensors=(4,))
    with pytest.raises(ConfigError, match="location has 1 values for 2 axes"):
        Sensors((4, 4), ["cell"])
    with pytest.raises(ConfigError, match="depth must be at least 1"):
        MultiONet(1, 1, 1, sensors=4, depth=0)


@pytest.mark.slow
def test_it_is_the_network_of_deepxde(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights, the same numbers: their Cartesian product layout, outputs split in both networks."""
    monkeypatch.setenv("DDE_BACKEND", "pytorch")
    from deepxde.nn.pytorch import DeepONetCartesianProd

    model = DeepONet(1, 1, 2, sensors=5, width=4, depth=(3, 2), activation=nn.Tanh).eval()
    theirs = DeepONetCartesianProd(
        [5, 4, 4, 8], [1, 4, 8], "tanh", "Glorot normal", num_outputs=2, multi_output_strategy="split_both"
    )
    for ours, other in ((model.branch, theirs.branch), (model.trunk, theirs.trunk)):
        for mine, its in zip(ours.layers, other.linears, strict=True):  # type: ignore[arg-type]
            mine.load_state_dict(its.state_dict())
    ξ = places(Grid.box((5,)), 3).float()
    x = noise(3, 1, 5).float()
    found = theirs((x[:, 0], 2 * ξ[0].T - 1))
    torch.testing.assert_close(model(x, ξ).mT, found, rtol=0, atol=1e-6)  # float32
