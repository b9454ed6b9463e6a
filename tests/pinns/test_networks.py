"""Networks: their derivatives by jets, and what their features promise."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from sciml.description import build, describe
from sciml.errors import ConfigError
from sciml.kernels.jet import jet
from sciml.pinns.constrained import Coordinates
from sciml.pinns.networks import MLP, SIREN, FourierFeatures, ModifiedMLP

NETWORKS = [
    partial(MLP, width=8, depth=2, activation=nn.SiLU),
    partial(ModifiedMLP, width=8, depth=3),
    partial(FourierFeatures, features=8, scale=2.0, network=partial(MLP, width=8, depth=1)),
    partial(SIREN, width=8, depth=2, frequency=2.0),
]


@pytest.mark.parametrize("factory", NETWORKS, ids=lambda f: f.func.__name__)
def test_derivatives_by_jets_are_those_of_reverse_mode(factory: partial[nn.Module]) -> None:
    """To order 3, along one direction, values and gradients with respect to all parameters."""
    torch.manual_seed(0)
    network = factory(2, 1).double()
    x = torch.rand(5, 2, dtype=torch.float64)
    v = torch.tensor([0.6, -0.8], dtype=torch.float64)
    found = [value[:, 0] for value in jet(network, x, v, 3)]
    moved = torch.zeros(5, 1, dtype=torch.float64, requires_grad=True)
    value = network(x + moved * v)[:, 0]
    nested = [value]
    for _ in range(3):
        (slope,) = torch.autograd.grad(nested[-1].sum(), moved, create_graph=True)
        nested.append(slope[:, 0])
    parameters = list(network.parameters())
    for one, two in zip(found, nested, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)
        gradients = [
            torch.autograd.grad(s.square().sum(), parameters, retain_graph=True, materialize_grads=True)
            for s in (one, two)
        ]
        for g, h in zip(*gradients, strict=True):
            torch.testing.assert_close(g, h, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("factory", NETWORKS, ids=lambda f: f.func.__name__)
def test_networks_are_described_by_their_arguments(factory: partial[nn.Module]) -> None:
    network = factory(3, 2)
    made = build(describe(network))
    made.load_state_dict(network.state_dict())
    x = torch.rand(4, 3)
    assert torch.equal(made(x), network(x))


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
