"""What every network promises: derivatives by jets, descriptions, conditions built in, single precision."""

from __future__ import annotations

import inspect
import itertools
from functools import cached_property, partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from sciml.description import build, describable, describe
from sciml.errors import ConfigError
from sciml.kernels import laplacian
from sciml.kernels.jet import jet
from sciml.pinns import (
    Ansatz,
    Box,
    Dirichlet,
    Domain,
    Problem,
    Recipe,
    Residual,
    Stage,
    ansatz_for,
    networks,
    solve,
)
from sciml.pinns.conditions import Function
from sciml.pinns.constrained import Coordinates
from sciml.pinns.networks import (
    MLP,
    PIG,
    SIREN,
    SPINN,
    Factorized,
    FactorizedLinear,
    FourierFeatures,
    Kinked,
    Modes,
    ModifiedMLP,
    PINNsFormer,
    PirateNet,
    Polynomial,
    Projected,
    Wavelet,
    Waves,
    WideMLP,
)
from sciml.pinns.samplers import GridPoints
from sciml.streams import Streams

SMALL = partial(MLP, width=4, depth=1)
NETWORKS: dict[str, partial[nn.Module]] = {
    "MLP": partial(MLP, width=8, depth=2, activation=nn.SiLU),
    "wavelets": partial(MLP, width=8, depth=2, activation=Wavelet),
    "ModifiedMLP": partial(ModifiedMLP, width=8, depth=3),
    "FourierFeatures": partial(FourierFeatures, features=8, scale=2.0, network=SMALL),
    "Waves": partial(Waves, vectors=((2.0,), (0.5,)), network=SMALL),
    "Kinked": partial(Kinked, places=((0.1, -0.4),), network=SMALL),
    "Modes": partial(Modes, cosines=((0, 1, 3),), network=SMALL),
    "SIREN": partial(SIREN, width=8, depth=2, frequency=2.0),
    "PirateNet": partial(PirateNet, width=5, blocks=2),
    "PirateNet as published": partial(
        FourierFeatures,
        features=6,
        network=partial(Factorized, network=partial(PirateNet, width=6, blocks=1)),
    ),
    "Factorized": partial(Factorized, network=partial(ModifiedMLP, width=6, depth=2)),
    "FactorizedLinear": partial(FactorizedLinear),
    "PINNsFormer": partial(PINNsFormer, width=4, hidden=5, feedforward=4, steps=3, step=0.1),
    "WideMLP": partial(WideMLP, width=6, depth=2),
    "WideMLP, shared": partial(WideMLP, width=6, depth=2, block=2),
    "PIG": partial(PIG, count=6, features=2, width=0.5, network=SMALL),
    "PIG, shared": partial(PIG, count=6, features=2, width=0.5, shared=True, network=SMALL),
    "SPINN": partial(SPINN, rank=3, network=SMALL),
    "Polynomial": partial(Polynomial, degree=3),
    "Projected": partial(Projected, directions=2, network=SMALL),
}
each = pytest.mark.parametrize("factory", NETWORKS.values(), ids=NETWORKS)


@describable
class Cube(Problem):
    """-Δu = dim π² Π sin πx with u = 0 around."""

    conditions = (Dirichlet(0.0),)

    def __init__(self, dim: int) -> None:
        self.dim = dim

    @cached_property
    def domain(self) -> Domain:  # type: ignore[override]
        return Domain(Box(((0.0, 1.0),) * self.dim))

    @cached_property
    def ansatz(self) -> Ansatz:  # type: ignore[override]
        return ansatz_for(self.domain, self.conditions)

    @property
    def grid(self) -> tuple[int, ...]:  # type: ignore[override]
        return (3,) * self.dim

    def exact(self, x: Tensor) -> Tensor:
        return torch.sin(torch.pi * x).prod(1)

    def residual(self, u: Function, x: Tensor) -> Tensor:
        return laplacian(u, x) + self.dim * torch.pi**2 * self.exact(x)


def at_work(network: nn.Module) -> nn.Module:
    """In float64, with the blocks of a PirateNet faded in and the coefficients of a polynomial drawn."""
    for name, parameter in network.named_parameters():
        if name.endswith("alpha"):
            nn.init.constant_(parameter, 0.4)
    for module in network.modules():
        if isinstance(module, Polynomial):
            for parameter in module.parameters():
                nn.init.normal_(parameter)
    return network.double()


def test_every_network_is_tried() -> None:
    known = {getattr(networks, name) for name in networks.__all__}
    wanted = {k for k in known if inspect.isclass(k) and "outputs" in inspect.signature(k).parameters}
    assert wanted <= {factory.func for factory in NETWORKS.values()}


@each
@pytest.mark.parametrize("order", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_derivatives_by_jets_are_those_of_reverse_mode(factory: partial[nn.Module], order: int) -> None:
    """Along one direction, values and gradients with respect to all parameters."""
    torch.manual_seed(0)
    network = at_work(factory(2, 1))
    x = torch.rand(5, 2, dtype=torch.float64)
    v = torch.tensor([0.6, -0.8], dtype=torch.float64)
    found = [value[:, 0] for value in jet(network, x, v, order)]
    moved = torch.zeros(5, 1, dtype=torch.float64, requires_grad=True)
    nested = [network(x + moved * v)[:, 0]]
    for _ in range(order):
        slope = None
        if nested[-1].requires_grad:
            (slope,) = torch.autograd.grad(nested[-1].sum(), moved, create_graph=True, allow_unused=True)
        nested.append(torch.zeros_like(nested[0]) if slope is None else slope[:, 0])
    for one, two in zip(found, nested, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)
        if not (one.requires_grad and two.requires_grad):
            continue  # a linear layer has no derivatives that could be learned
        gradients = [
            torch.autograd.grad(
                s.square().sum(), list(network.parameters()), retain_graph=True, materialize_grads=True
            )
            for s in (one, two)
        ]
        for g, h in zip(*gradients, strict=True):
            torch.testing.assert_close(g, h, rtol=1e-9, atol=1e-9)


@each
def test_parts_of_a_network_have_weights_of_their_own(factory: partial[nn.Module]) -> None:
    """Trap: branches that are one by accident, or that start alike and stay so."""
    torch.manual_seed(0)
    every = [p for _, p in factory(2, 1).named_parameters(remove_duplicate=False)]
    assert len({p.data_ptr() for p in every}) == len(every)
    drawn = [p.detach() for p in every if p.numel() > 1 and p.detach().std() > 0]
    for one, two in itertools.combinations(drawn, 2):
        assert one.shape != two.shape or not torch.equal(one, two)


@each
def test_networks_are_described_by_their_arguments(factory: partial[nn.Module]) -> None:
    network = factory(3, 2)
    made = build(describe(network))
    made.load_state_dict(network.state_dict())
    x = torch.rand(4, 3)
    assert torch.equal(made(x), network(x))


@each
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_conditions_are_built_in_whatever_the_rank_and_the_precision(
    factory: partial[nn.Module], dim: int
) -> None:
    torch.manual_seed(dim)
    problem = Cube(dim)
    model = at_work(problem.build(factory))
    edge = torch.rand(6, dim, dtype=torch.float64)
    edge[torch.arange(6), torch.arange(6) % dim] = torch.tensor([0.0, 1.0] * 3, dtype=torch.float64)
    assert model.satisfies == ("boundary",) and float(model(edge).detach().abs().max()) < 1e-14
    loss = Residual(problem, points=3**dim, sampler=GridPoints())
    batch = loss.draw(0, model, Streams(0))
    term = loss.terms(model, batch)["equation"]
    gradients = torch.autograd.grad(term.mean(), list(model.parameters()))
    assert all(bool(g.isfinite().all()) for g in gradients)
    single = loss.terms(model.float(), batch)["equation"]
    assert single.values.dtype == torch.float32
    # Second derivatives multiply the rounding of some hundred sums, 1e-7 each, by up to 100.
    scale = float(term.values.detach().abs().max())
    torch.testing.assert_close(single.values.double(), term.values, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize(
    "name",
    [
        "PirateNet as published",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("PINNsFormer", "PIG", "SPINN")),
    ],
)
def test_a_run_goes_on_with_the_same_bits(name: str, tmp_path: Path) -> None:
    stage = Stage(partial(Adam, lr=1e-2), 3, GridPoints())
    recipe = Recipe(network=NETWORKS[name], stages=(stage,), points=9)
    whole = solve(Cube(2), recipe=recipe)
    solve(Cube(2), recipe=recipe, time_limit=1e-9, output=tmp_path / "run")
    run = solve(Cube(2), recipe=recipe, output=tmp_path / "run")
    assert [row["loss"] for row in run.history] == [row["loss"] for row in whole.history]
    for one, two in zip(run.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_fourier_features_have_a_gaussian_kernel() -> None:
    """The inner product of the features of x and y is m/2 exp(-s^2 |x - y|^2 / 2), within four errors."""
    torch.manual_seed(0)
    network = FourierFeatures(2, 1, features=8000, scale=1.5, network=partial(MLP, width=2, depth=1))
    x = torch.tensor([[0.0, 0.0], [0.3, 0.4]])
    one, two = network.embed(x)
    wanted = torch.exp(torch.tensor(-(1.5**2) * 0.25 / 2))
    assert abs(one @ two / 4000 - wanted) < 4 / 4000**0.5  # a cosine has deviation below 1


@pytest.mark.parametrize("frequency", [3.0, 30.0])
def test_sines_keep_their_variance_at_any_depth(frequency: float) -> None:
    """What the weights bring to the sines, w W h, has variance 1 from the second layer on."""
    torch.manual_seed(0)
    network = SIREN(2, 1, width=400, depth=6, frequency=frequency)
    h = 2 * torch.rand(400, 2) - 1
    for i in range(0, 10, 2):
        layer, sine = network[i], network[i + 1]
        with torch.no_grad():
            brought, h = frequency * (h @ layer.weight.T), sine(layer(h))  # type: ignore[operator]
        if i > 0:
            # Of 160 000 numbers that share 400 inputs and 400 rows of weights: about 2 / sqrt(400) of noise.
            assert abs(float(brought.var()) - 1) < 0.2
    first = network[0].weight.detach()  # type: ignore[operator]
    assert float(first.abs().max()) <= 0.5


def test_a_wavelet_has_the_derivatives_of_its_waves() -> None:
    wavelet = Wavelet().double()
    with torch.no_grad():
        wavelet.sine.fill_(2.0)
        wavelet.cosine.fill_(-0.5)
    x = torch.linspace(-2, 2, 7, dtype=torch.float64)[:, None]
    found = jet(wavelet, x, torch.ones(1, dtype=torch.float64), 4)
    for k, derivative in enumerate(found):
        phase = x + k * torch.pi / 2
        torch.testing.assert_close(derivative, 2 * torch.sin(phase) - 0.5 * torch.cos(phase))


def test_harmonics_are_waves_of_the_interval() -> None:
    features = Coordinates(((1.0, 3.0), (0.0, 4.0)), periodic=(0,), harmonics=2)
    x = torch.tensor([[1.5, 1.0], [3.5, 1.0]], dtype=torch.float64)  # one period apart
    first, second = features(x)
    assert features.features == 5
    torch.testing.assert_close(first, second)
    expected = torch.tensor([0.0, -1.0, 1.0, 0.0, -0.5], dtype=torch.float64)  # cos, cos 2, sin, sin 2, t
    torch.testing.assert_close(first, expected)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="at least 1, got 2, 1, 0 and 3"):
        MLP(2, 1, width=0)
    with pytest.raises(ConfigError, match="features must be even"):
        FourierFeatures(2, 1, features=7)
    with pytest.raises(ConfigError, match="frequency must be positive, got 0"):
        SIREN(2, 1, frequency=0.0)
    with pytest.raises(ConfigError, match="harmonics >= 1"):
        Coordinates(((0.0, 1.0),), harmonics=0)
