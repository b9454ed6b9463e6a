"""Rules that users add to jets, and what jets refuse."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sciml.kernels.jet import Directions, directional_sums, elementwise, jet, rule, supported
from sciml.kernels.jet_registry import _RULES

EXACT = {"rtol": 1e-10, "atol": 1e-10}
D, POINTS = 3, 7

pytestmark = pytest.mark.usefixtures("double")


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mlp(activation: Callable[[], nn.Module] = nn.Tanh, width: int = 6, outputs: int = 2) -> nn.Module:
    hidden = [layer for _ in range(2) for layer in (nn.Linear(width, width), activation())]
    return nn.Sequential(nn.Linear(D, width), activation(), *hidden, nn.Linear(width, outputs))


def close(got: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


def nested(function: Callable[[Tensor], Tensor], x: Tensor, v: Tensor, order: int) -> Tensor:
    """D^order f(x)[v, ..., v] by reverse mode, for outputs (batch, channels); v (d,) or (batch, d)."""
    y = function(x)
    results = []
    for channel in y.unbind(-1):
        for _ in range(order):
            (gradient,) = torch.autograd.grad(channel.sum(), x, create_graph=True)
            channel = (gradient * v).sum(-1)
        results.append(channel)
    return torch.stack(results, -1)


@pytest.fixture
def rules() -> Iterator[None]:
    known = dict(_RULES)
    yield
    _RULES.clear()
    _RULES.update(known)


@pytest.mark.usefixtures("rules")
def test_rules_of_users() -> None:
    x, v = randn(4, 1, seed=1).abs(), torch.ones(1)
    with pytest.raises(ValueError, match="hypot"):
        jet(lambda x: torch.hypot(x, x.new_ones(1)), x, v, 2)

    @rule(torch.hypot)
    def _(a: Any, b: Any) -> Any:
        return torch.sqrt(a * a + b * b)

    assert "hypot" in supported()
    for function in (lambda x: torch.hypot(x, x.new_ones(1)), lambda x: x.hypot(x.new_ones(1))):
        value, first, second = jet(function, x, v, 2)
        close([first, second], [x / value, 1 / value**3])

    @elementwise(torch.sinc)
    def _(u: Tensor, order: int) -> list[Tensor | None]:
        assert order <= 3  # one more than the order of the jet, for gradients
        c, s, p = torch.cos(torch.pi * u), torch.sin(torch.pi * u), torch.pi * u
        first = (c - s / p) / u
        second = (-p * s - 2 * c + 2 * s / p) / u**2
        third = (-(p**2) * c + 3 * p * s + 6 * c - 6 * s / p) / u**3
        return [s / p, first, second / 2, third / 6][: order + 1]

    x.requires_grad_()
    _, second = directional_sums(torch.sinc, x, [Directions(2, torch.eye(1))])
    close([second.detach()], [nested(torch.sinc, x, v, 2).detach()])


@pytest.mark.usefixtures("rules")
def test_elementwise_rule_with_a_trainable_tensor_is_refused() -> None:
    slope = torch.tensor(2.0, requires_grad=True)
    elementwise(torch.special.i0)(lambda u, order: [slope * u, slope.expand_as(u), None, None][: order + 1])
    with pytest.raises(ValueError, match="would be lost"):
        directional_sums(torch.special.i0, randn(2, 1).requires_grad_(), [Directions(2, torch.eye(1))])


class Inner(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j1(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            nn.Sequential(nn.Linear(D, 2), nn.Sequential(nn.Tanh(), Inner())).double(),
            r"bessel_j1 in 1\.1 \(Inner\) at test_jet_refusals\.py:\d+ has no rule.*supported\(\).*jet\.rule",
        ),
        (lambda x: torch.special.bessel_j1(x), r"bessel_j1 at test_jet_refusals\.py:\d+ has no rule"),
        (lambda x: x.exp_(), r"exp_ at test_jet.*Jets never change in place"),
        (lambda x: F.relu(x, inplace=True), "inplace=False"),
        (nn.Sequential(nn.SiLU(inplace=True)), "inplace=False"),
        (lambda x: x.__iadd__(1.0), "Jets never change in place"),
        (lambda x: x.__setitem__(0, 1.0), "Jets never change in place"),
        (lambda x: x.item(), "item"),
        (nn.BatchNorm1d(D), "model.eval"),
        (nn.Linear(D + 1, 2).double(), r"takes 4 features, got a tensor of shape \(7, 3\)"),
        (lambda x: torch.clamp(x, torch.zeros(D)), "bounds that are numbers"),
        (lambda x: torch.div(x, x, rounding_mode="floor"), "true division"),
        (lambda x: x.norm(p=1), "Euclidean"),
        (lambda x: torch.einsum("i,i,i->i", x[0], x[0], x[0]), "use it twice"),
        (lambda x: (x, x), "one tensor, got tuple"),
    ],
)
def test_what_jets_cannot_do(function: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        jet(function, randn(POINTS, D), torch.ones(D), 2)


def test_arguments_are_checked() -> None:
    x, v = randn(POINTS, D), torch.ones(D)
    for arguments, message in [
        ((torch.sin, x[0], v, 2), r"\(batch, d\), got"),
        ((torch.sin, x, v, 9), "order must be 1..8, got 9"),
        ((torch.sin, x, v, 0), "order must be"),
        ((torch.sin, x, v[:2], 2), "direction must have shape"),
        ((torch.sin, x, v.float(), 2), "like x"),
        ((3, x, v, 2), "module or a function"),
    ]:
        with pytest.raises(ValueError, match=message):
            jet(*arguments)  # type: ignore[arg-type]
    for group, message in [
        (Directions(2, torch.eye(2)), r"group 0: vectors must have shape \(R, 3\)"),
        (
            Directions(2, torch.eye(D), torch.ones(2)),
            r"weights must have shape \(3,\) or \(3, 7\), got \(2,\)",
        ),
        (Directions(0, torch.eye(D)), "order must be"),
        (Directions(2, torch.eye(D).float()), "vectors must be torch.float64"),
        (Directions(2, torch.eye(D)[:0]), "R >= 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            directional_sums(torch.sin, x, [group])
    with pytest.raises(ValueError, match="higher order"):
        jet(lambda y: jet(torch.sin, y, v, 1)[1], x, v, 1)
    kept: list[Any] = []
    jet(lambda y: kept.append(y) or y, x, v, 1)
    with pytest.raises(ValueError, match="different sweeps"):
        jet(lambda y: y * kept[0], x, v, 1)


def test_random_masks_are_the_same_for_all_columns() -> None:
    x = randn(POINTS, D)
    value, first = jet(lambda x: F.dropout(x, 0.5), x, torch.ones(D), 1)
    assert torch.equal(value != 0, first != 0)
    assert 0 < int((first != 0).sum()) < first.numel()


def test_comparisons_are_those_of_values() -> None:
    x = randn(POINTS, D)
    assert (
        directional_sums(lambda x: (x > 0).to(x.dtype) + (x == 1) * x, x, [Directions(1, torch.eye(D))])[1]
        .abs()
        .sum()
        == 0
    )

    def branch(x: Any) -> Any:
        assert x.sum() != 0.5
        return x.sin() if x.shape == (POINTS, D) and x.ndim == x.dim() == 2 and len(x) == POINTS else x

    close(jet(branch, x, torch.ones(D), 1), [x.sin(), x.cos()])
