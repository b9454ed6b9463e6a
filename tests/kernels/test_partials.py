"""Derivatives of functions with several outputs, all from one pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sciml.kernels import Partials

INDICES = [(0,), (2,), (0, 0), (1, 2), (0, 1, 1), (2, 1, 0)]


def nested(u: Tensor, x: Tensor, index: tuple[int, ...]) -> Tensor:
    """A derivative of every component, (batch, components), by autograd."""
    columns = []
    for column in u.T:
        for i in index:
            column = torch.autograd.grad(column.sum(), x, create_graph=True)[0][:, i]
        columns.append(column)
    return torch.stack(columns, dim=1)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)).double()


@pytest.mark.parametrize("direct", [True, False])
def test_partials_are_those_of_nested_autograd(direct: bool) -> None:
    model = network()
    x = torch.rand(5, 3, dtype=torch.float64, requires_grad=True)
    u = model if direct else lambda x: model(x)  # behind the first layer, or not
    value, found = Partials(INDICES, 3)(u, x)
    torch.testing.assert_close(value, model(x), rtol=1e-13, atol=1e-14)
    assert set(found) == {tuple(sorted(index)) for index in INDICES}
    for index, part in found.items():
        torch.testing.assert_close(part, nested(model(x), x, index), rtol=1e-10, atol=1e-12)


def test_gradients_reach_the_parameters() -> None:
    model = network()
    x = torch.rand(5, 3, dtype=torch.float64, requires_grad=True)
    _, found = Partials([(0, 0), (1,)], 3)(model, x)
    ours = torch.autograd.grad((found[0, 0] * found[1,]).sum(), list(model.parameters()), allow_unused=True)
    theirs = torch.autograd.grad(
        (nested(model(x), x, (0, 0)) * nested(model(x), x, (1,))).sum(),
        list(model.parameters()),
        allow_unused=True,
    )
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None or not a.any()) if b is None else torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def test_nothing_asked_for_is_the_function() -> None:
    value, found = Partials([], 2)(lambda x: x[:, 0] ** 2, torch.tensor([[3.0, 1.0]]))
    assert value.tolist() == [9.0] and found == {}
    with pytest.raises(ValueError, match="3 variables"):
        Partials([(2,)], 2)
