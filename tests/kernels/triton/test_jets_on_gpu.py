"""The compiled kernels for jets on a GPU, from the outside, against the plain path in float64."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from sciml.kernels import Exact, SparseDirections, biharmonic, laplacian
from sciml.kernels.jet import Directions, directional_sums
from sciml.kernels.triton import available

pytestmark = pytest.mark.gpu

# Relative L2 of values and gradients: what the formats lose in four layers, each with three products that
# feed each other, on numbers of size one: 2^-11 for TF32, 2^-8 for bfloat16 each; sums in float32 in another
# order give 1e-5.
TOLERANCES = {"highest": 1e-5, "high": 1e-2, "medium": 8e-2}


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    if not available():
        pytest.skip("Triton is not installed")
    before = torch.get_float32_matmul_precision()
    torch.manual_seed(0)
    yield
    torch.set_float32_matmul_precision(before)


def network(d: int, width: int, activation: type[nn.Module] = nn.Tanh, outputs: int = 1) -> nn.Module:
    hidden = [layer for _ in range(3) for layer in (nn.Linear(width, width), activation())]
    return nn.Sequential(nn.Linear(d, width), activation(), *hidden, nn.Linear(width, outputs)).cuda()


def error(found: list[Tensor], exact: list[Tensor]) -> float:
    assert all(bool(torch.isfinite(a).all()) for a in found)
    errors = [((a.double() - b).norm() / b.norm()).item() for a, b in zip(found, exact, strict=True)]
    return max(errors)


def sums(model: nn.Module, x: Tensor, groups: list[Directions]) -> list[Tensor]:
    """Derivatives, and the gradient of their mean square."""
    found = directional_sums(model, x, groups)
    loss = sum(s.square().mean() for s in found)
    assert isinstance(loss, Tensor)
    return [*found, *torch.autograd.grad(loss, list(model.parameters()))]


def compared(
    model: nn.Module, x: Tensor, groups: list[Directions], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Tensor], list[Tensor]]:
    """By the kernels in float32, and by the plain path in float64."""
    value = directional_sums(model, x, groups)[0]
    assert _reaches(value, "jet_chain"), value.grad_fn
    found = sums(model, x, groups)
    double = [
        Directions(g.order, g.vectors.double(), None if g.weights is None else g.weights.double())
        for g in groups
    ]
    with monkeypatch.context() as context:
        context.setenv("SCIML_KERNELS", "reference")
        return found, sums(deepcopy(model).double(), x.double(), double)


def _reaches(value: Tensor, name: str) -> bool:
    nodes = [value.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is not None:
            if name in node.name():
                return True
            nodes += [following for following, _ in node.next_functions]
    return False


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize(
    ("d", "width", "points"),
    [(2, 128, 1000), (10, 128, 1000), (100, 128, 1000), (3, 50, 77), (5, 256, 20_000)],
)
def test_the_forward_laplacian(
    d: int, width: int, points: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_float32_matmul_precision(precision)
    model, x = network(d, width), torch.randn(points, d, device="cuda")
    found, exact = compared(model, x, [Directions(2, torch.eye(d, device="cuda"))], monkeypatch)
    assert error(found, exact) < TOLERANCES[precision]


@pytest.mark.parametrize("activation", [nn.Tanh, nn.SiLU, nn.GELU, nn.Sigmoid])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_order(order: int, activation: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    """With signed weights, beside a first derivative; alternating signs cancel a digit."""
    model, x = network(4, 96, activation), torch.randn(300, 4, device="cuda")
    groups = [
        Directions(1, torch.randn(1, 4, device="cuda")),
        Directions(order, torch.randn(5, 4, device="cuda"), torch.tensor([1.0, -1, 2, 1, -0.5]).cuda()),
    ]
    found, exact = compared(model, x, groups, monkeypatch)
    assert error(found, exact) < 1e-4


def test_operators_with_estimators(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network(5, 128), torch.randn(500, 5, device="cuda")

    def u(x: Tensor) -> Tensor:
        return model(x).squeeze(-1)  # type: ignore[no-any-return]

    def results() -> list[Tensor]:
        sparse = laplacian(u, x, estimator=SparseDirections(3), generator=0)
        return [laplacian(u, x, estimator=Exact()), sparse, biharmonic(u, x)]

    found = results()
    with monkeypatch.context() as context:
        context.setenv("SCIML_KERNELS", "reference")
        expected = results()
    # Both in float32; the sum of 4-jets that makes the biharmonic operator cancels a digit or two.
    assert error(found, [t.double() for t in expected]) < 1e-4


def test_runs_repeat_bit_by_bit() -> None:
    """Nothing is added up in an order that depends on timing."""
    model, x = network(10, 128), torch.randn(1000, 10, device="cuda")
    groups = [Directions(2, torch.eye(10, device="cuda"))]
    first = sums(model, x, groups)
    for _ in range(5):
        assert all(map(torch.equal, sums(model, x, groups), first))


def test_a_compiled_residual() -> None:
    model, x = network(3, 64), torch.randn(200, 3, device="cuda")
    groups = [Directions(2, torch.eye(3, device="cuda"))]
    compiled = torch.compile(lambda x: directional_sums(model, x, groups)[1])
    assert error([compiled(x)], [directional_sums(model, x, groups)[1].double()]) < 1e-5


def test_memory_holds_one_stack_for_each_layer() -> None:
    """Columns before each of the activations behind the first, and a few that are in use at a time."""
    d, width, points = 30, 128, 4096
    model, x = network(d, width), torch.randn(points, d, device="cuda")
    groups = [Directions(2, torch.eye(d, device="cuda"))]
    sums(model, x, groups)  # compiles and measures
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    sums(model, x, groups)
    torch.cuda.synchronize()
    stack = 4 * (d + 2) * points * width
    # Three kept; in the backward pass two gradients and one stack that is computed again.
    assert torch.cuda.max_memory_allocated() - before < 7 * stack
