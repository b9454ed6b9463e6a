"""PINNsFormer: the published network, and attention that stays within a sequence."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sciml.errors import ConfigError
from sciml.pinns.networks import PINNsFormer
from sciml.pinns.networks.former import _Attention

X = torch.linspace(-1, 1, 10, dtype=torch.float64).reshape(5, 2)


@pytest.fixture(scope="module")
def network() -> PINNsFormer:
    torch.manual_seed(0)
    return PINNsFormer(2, 1, width=6, hidden=7, feedforward=5, heads=3, layers=2, steps=4, step=0.3).double()


@pytest.mark.parametrize(("inputs", "outputs", "count"), [(2, 1, 453_561), (3, 2, 454_106)])
def test_it_has_the_published_number_of_parameters(inputs: int, outputs: int, count: int) -> None:
    """As printed in the saved notebooks of the published code, for convection and for Navier-Stokes."""
    assert sum(p.numel() for p in PINNsFormer(inputs, outputs).parameters()) == count


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    attention = _Attention(6, 2).double()
    x, source = torch.randn(2, 3, 4, 6, dtype=torch.float64).unbind(0)
    q, k, v = (
        layer(t).unflatten(-1, (2, 3)).transpose(1, 2)
        for layer, t in ((attention.query, x), (attention.key, source), (attention.value, source))
    )
    wanted = attention.last(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, source), wanted, rtol=1e-13, atol=1e-13)


def test_each_value_depends_on_its_own_point_only(network: PINNsFormer) -> None:
    x = X.clone().requires_grad_()
    for k in range(len(x)):
        (gradient,) = torch.autograd.grad(network.sequence(x)[k].sum(), x)
        others = torch.arange(len(x)) != k
        assert not bool(gradient[others].any()) and bool(gradient[k].all())


def test_places_of_a_sequence_attend_to_each_other(network: PINNsFormer) -> None:
    """What comes later has a part in the first value: another step, another value."""
    before = network(X)
    step, network.step = network.step, 0.31
    assert float((network(X) - before).detach().abs().max()) > 1e-6
    network.step = step


def test_the_value_is_the_first_place_of_the_sequence(network: PINNsFormer) -> None:
    torch.testing.assert_close(network(X), network.sequence(X)[:, 0], rtol=1e-13, atol=1e-13)
    assert network.sequence(X).shape == (5, 4, 1)


def test_steps_go_along_the_last_feature(network: PINNsFormer) -> None:
    """Equal features at the places k + 1 of one sequence and k of the next one: encoders see the same."""
    seen: list[torch.Tensor] = []
    handle = network.places.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    network(X)
    network(X + torch.tensor([0.0, 0.3], dtype=torch.float64))
    handle.remove()
    torch.testing.assert_close(seen[0][:, 1:], seen[1][:, :-1], rtol=0, atol=1e-15)
    assert bool((seen[0][..., 0] == X[:, :1]).all())


def test_weights_start_as_in_the_published_code() -> None:
    """Glorot-uniform with biases 0.01; of queries, keys and values as of one matrix, with biases 0."""
    torch.manual_seed(0)
    network = PINNsFormer(2, 1)
    attention = network.encoder[0].attention  # type: ignore[union-attr]
    for layer, size, bias in (
        (attention.query, 32 + 3 * 32, 0.0),  # type: ignore[union-attr]
        (attention.last, 32 + 32, 0.01),  # type: ignore[union-attr]
        (network.last[0], 32 + 512, 0.01),
    ):
        bound = (6 / size) ** 0.5
        largest = float(layer.weight.detach().abs().max())  # type: ignore[operator, union-attr]
        assert 0.98 * bound < largest <= bound  # of at least 1024 numbers
        assert bool((layer.bias == bias).all())  # type: ignore[union-attr]


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="heads a divisor of width"):
        PINNsFormer(2, 1, width=6, heads=4)
    with pytest.raises(ConfigError, match="step=0"):
        PINNsFormer(2, 1, step=0)
    with pytest.raises(ConfigError, match="at least 1"):
        PINNsFormer(2, 1, steps=0)
