"""Physics-informed Gaussians: closed forms, motions of the plane, chunks."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.kernels import d, evaluate
from sciml.kernels.jet import jet
from sciml.pinns.networks import MLP, PIG

SMALL = partial(MLP, width=4, depth=1)


def first(features: int, outputs: int) -> nn.Module:
    """The feature itself."""
    return nn.Identity()


def features(network: PIG) -> object:
    return lambda x: network.embed(x)[:, 0]


def test_derivatives_of_one_gaussian_are_those_of_the_formula() -> None:
    network = PIG(2, 1, count=1, features=1, width=0.5, network=first).double()
    with torch.no_grad():
        network.centers.copy_(torch.tensor([0.2, -0.1]).reshape(2, 1, 1))
        network.log_widths[1] = math.log(2.0)
        network.weights.fill_(3.0)
    x = torch.tensor([[0.0, 0.0], [0.4, -1.0]], dtype=torch.float64)
    u, u_x, u_yy, u_xxy = evaluate(network, x, [d("x"), d("yy"), d("xxy")])
    z = (x - torch.tensor([0.2, -0.1], dtype=torch.float64)) / torch.tensor([0.5, 2.0], dtype=torch.float64)
    value = 3 * torch.exp(-z.square().sum(1) / 2)
    for found, wanted in (
        (u, value),
        (u_x, -z[:, 0] / 0.5 * value),
        (u_yy, (z[:, 1] ** 2 - 1) / 4 * value),
        (u_xxy, (z[:, 0] ** 2 - 1) / 0.25 * -z[:, 1] / 2 * value),
    ):
        # The centers were numbers of single precision.
        torch.testing.assert_close(found.detach(), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shared", [True, False])
def test_turned_centers_turn_the_field(shared: bool) -> None:
    torch.manual_seed(0)
    network = PIG(2, 1, count=9, features=3, width=0.4, shared=shared, network=SMALL).double()
    x = torch.rand(6, 2, dtype=torch.float64)
    before = network(x)
    angle = torch.tensor(0.7, dtype=torch.float64)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)
    with torch.no_grad():
        network.centers.copy_(torch.einsum("ij,jkn->ikn", turn, network.centers))
    torch.testing.assert_close(network(x @ turn.T), before, rtol=1e-12, atol=1e-12)


def test_shared_gaussians_are_separate_ones_that_agree() -> None:
    torch.manual_seed(0)
    shared = PIG(2, 2, count=5, features=3, width=0.4, shared=True, network=SMALL).double()
    apart = PIG(2, 2, count=5, features=3, width=0.4, network=SMALL).double()
    state = shared.state_dict()
    for name in ("centers", "log_widths"):
        state[name] = state[name].expand(-1, 3, -1)
    apart.load_state_dict(state)
    x = torch.rand(6, 2, dtype=torch.float64)
    torch.testing.assert_close(apart(x), shared(x), rtol=1e-13, atol=1e-13)


def test_the_public_code_has_as_many_parameters() -> None:
    """Helmholtz there: 800 Gaussians for each of 4 features, 2 centers, 2 widths and a weight; 4-16-1."""
    network = PIG(2, 1, count=800)
    assert sum(p.numel() for p in network.parameters()) == 4 * 800 * 5 + (4 * 16 + 16) + (16 + 1)


def derivatives(network: PIG, x: Tensor) -> tuple[Tensor, ...]:
    return jet(network, x, torch.tensor([0.6, 0.8], dtype=torch.float64), 2)


def kept(network: PIG, x: Tensor) -> int:
    """Numbers that are kept for the backward pass, besides parameters."""
    own, sizes = {p.data_ptr() for p in network.parameters()}, dict[int, int]()

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes() // 8
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = derivatives(network, x)
    assert len(result) == 3
    return sum(sizes.values())


def test_chunks_change_nothing_but_memory() -> None:
    torch.manual_seed(0)
    whole = PIG(2, 1, count=50, features=2, width=0.4, network=SMALL).double()
    parts = PIG(2, 1, count=50, features=2, width=0.4, chunk=16, network=SMALL).double()
    parts.load_state_dict(whole.state_dict())
    x = torch.rand(40, 2, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(parts(x), whole(x), rtol=1e-13, atol=1e-13)
    gradients = []
    for network in (whole, parts):
        value, slope, bend = derivatives(network, x)
        loss = (value * slope + bend).square().sum()
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-11)
    # Of 40 x 100 Gaussians in several columns, nothing that grows with their number times the points.
    assert kept(whole, x) > 5 * 40 * 100 and kept(parts, x) < 40 * 100
    jacobian = torch.func.jacrev(lambda x: parts(x).sum(0))
    torch.testing.assert_close(jacobian(x), torch.func.jacrev(lambda x: whole(x).sum(0))(x))


def test_widths_stay_positive_and_narrow_gaussians_keep_their_digits() -> None:
    network = PIG(1, 1, count=1, features=1, width=1e-3, network=first)
    with torch.no_grad():
        network.centers.fill_(0.875)  # float32 knows it exactly
        network.weights.fill_(1.0)
    x = torch.tensor([[0.875 + 2**-10]])
    wanted = math.exp(-0.5 * (2**-10 / 1e-3) ** 2)
    assert float(network(x).detach()) == pytest.approx(wanted, rel=1e-6)
    network.log_widths.data -= 50.0  # a step far too long
    assert bool((network.log_widths.exp() > 0).all()) and bool(network(x).isfinite().all())


def test_gaussians_that_left_come_back() -> None:
    torch.manual_seed(0)
    network = PIG(2, 1, count=10, features=2, width=0.1)
    before = network.centers.detach().clone()
    with torch.no_grad():
        network.centers[0, 1, 3] = 1.31  # more than three widths beyond 1
        network.centers[1, 0, 2] = -1.29
    assert network.revive(torch.Generator().manual_seed(1)) == 1
    moved = (network.centers != before).any(0)
    assert moved.nonzero().tolist() == [[0, 2], [1, 3]]
    assert float(network.centers[0, 1, 3].detach().abs()) < 1
    assert network.revive() == 0


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="width positive, got 2, 1, 200, 4, None and 0"):
        PIG(2, 1, width=0.0)
    with pytest.raises(ConfigError, match="at least 1"):
        PIG(2, 1, chunk=0)
