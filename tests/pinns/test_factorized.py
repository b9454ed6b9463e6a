"""Random weight factorization: another way to write the same function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from sciml.errors import ConfigError
from sciml.pinns.networks import MLP, SIREN, Factorized, FactorizedLinear, ModifiedMLP, PINNsFormer, PirateNet


@pytest.mark.parametrize("bias", [True, False])
def test_a_factorized_layer_is_the_layer_and_merges_into_it(bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(5, 4, bias=bias).double()
    made = FactorizedLinear.of(layer, mean=0.5, deviation=0.3)
    x = torch.randn(7, 5, dtype=torch.float64)
    torch.testing.assert_close(made(x), layer(x), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(made.merged()(x), made(x), rtol=1e-14, atol=1e-14)
    made(x).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().min() > 0) for p in made.parameters())
    # One scale for each output: the gradient of s is that of W, times W, summed over inputs.
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), layer.weight)
    assert made.scale.grad is not None and made.scale.shape == (4,)
    torch.testing.assert_close(made.scale.grad, (gradient * layer.weight).sum(1), rtol=1e-12, atol=1e-12)


def test_scales_are_drawn_as_asked_for() -> None:
    torch.manual_seed(0)
    layer = FactorizedLinear(3, 10_000, mean=0.5, deviation=0.2)
    scale = layer.scale.detach()
    # Four standard errors of mean and deviation.
    assert abs(float(scale.mean()) - 0.5) < 4 * 0.2 / 100
    assert abs(float(scale.std()) - 0.2) < 4 * 0.2 / 141
    # Glorot: variance 2 / (inputs + outputs), whatever the scales; 30 000 numbers.
    spread = float(layer.weight.detach().var()) * (3 + 10_000) / 2
    assert abs(spread - 1) < 4 * (2 / 30_000) ** 0.5


@pytest.mark.parametrize(
    "network",
    [
        partial(MLP, width=6, depth=2),
        partial(ModifiedMLP, width=6, depth=2),
        partial(PirateNet, width=6, blocks=2),
        partial(SIREN, width=6, depth=2),
        partial(PINNsFormer, width=4, hidden=6, feedforward=5),
    ],
    ids=lambda f: f.func.__name__,
)
def test_a_factorized_network_starts_as_the_network_and_merges_into_it(
    network: Callable[[int, int], nn.Module],
) -> None:
    torch.manual_seed(0)
    plain = network(3, 2)
    torch.manual_seed(0)
    made = Factorized(3, 2, network=network)
    assert not any(type(m) is nn.Linear for m in made.modules())
    layers = [m for m in made.modules() if isinstance(m, FactorizedLinear)]
    assert len(layers) == sum(type(m) is nn.Linear for m in plain.modules())
    x = torch.rand(5, 3)
    torch.testing.assert_close(made(x), plain(x))  # float32
    with torch.no_grad():
        for layer in layers:
            layer.scale += 0.1
    made = made.double()
    merged = made.merged()
    assert type(merged) is type(plain) and merged.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(merged(x.double()), made(x.double()), rtol=1e-12, atol=1e-12)
    assert any(isinstance(m, FactorizedLinear) for m in made.modules())


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="got 2, 0 and 0.1"):
        FactorizedLinear(2, 0)
    with pytest.raises(ConfigError, match="got 2, 1 and -1"):
        FactorizedLinear(2, 1, deviation=-1)
    with pytest.raises(ConfigError, match="Bilinear has no linear layer"):
        Factorized(2, 1, network=lambda n, m: nn.Bilinear(n, n, m))
