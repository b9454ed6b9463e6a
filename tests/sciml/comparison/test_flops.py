"""Operations of a training step against counts by hand, and the memory of its tensors."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.optim import SGD, Adam

from sciml.comparison.contest import Plan
from sciml.comparison.flops import counter, flops_per_step, step_memory
from sciml.objective import Batch, Objective, Term
from sciml.operators.fno import FNO
from sciml.operators.stencils import Stencil
from sciml.streams import Streams
from sciml.trainer import Trainer


class Zero(Objective):
    """Be zero on random inputs; from step ``later`` on, called twice."""

    def __init__(self, *shape: int, later: int = 10**9) -> None:
        self.shape, self.later = shape, later

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        calls = torch.full((self.shape[0],), 2 if step >= self.later else 1)
        return Batch({"x": torch.rand(self.shape), "calls": calls})

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        calls = int(batch["calls"][0])
        return {f"call {i}": Term(model(batch["x"]), square=True) for i in range(calls)}


def test_linear_layers() -> None:
    """2 · 8 · (3 · 16 + 16 · 5) forward; twice that backward, less the gradient of the data."""
    model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 5))
    first, second = 2 * 8 * 3 * 16, 2 * 8 * 16 * 5
    plan = Plan(model, Trainer(4, optimizer=partial(SGD, lr=1e-3)), Zero(8, 3))
    assert flops_per_step(plan) == 2 * first + 3 * second


def test_convolutions() -> None:
    """3 x 3 weights at every point that is left, also beyond the boundary."""
    stencil = Stencil(("circular", "zeros"), 2, 5, stride=2)
    plan = Plan(stencil, Trainer(4, optimizer=partial(SGD, lr=1e-3)), Zero(3, 2, 8, 7))
    assert flops_per_step(plan) == 2 * (2 * 9 * 2 * 5) * 3 * 4 * 4


def test_a_fourier_layer() -> None:
    """Both transforms are products with 2 m real rows, mixing one complex matrix for each mode.

    Forward 4 B w n m each, 8 B w² m, and 2 B w² n for the map at every point; backward the transposed
    transforms once, everything with weights twice.
    """
    batch, width, points, modes = 3, 4, 20, 5
    layer = FNO(1, 1, 1, modes=modes, width=width, depth=1, coordinates=False).layers[0]
    x = torch.randn(batch, width, points, requires_grad=True)
    transforms = 8 * batch * width * points * modes
    weights = 8 * batch * width**2 * modes + 2 * batch * width**2 * points
    with counter() as forward:
        y = layer(x, activation=False)
    with counter() as backward:
        y.sum().backward()
    assert forward.get_total_flops() == transforms + weights
    assert backward.get_total_flops() == transforms + 2 * weights


@pytest.mark.parametrize(("real", "expected"), [(False, 5 * 3 * 64 * 6), (True, 5 * 3 * 64 * 6 // 2)])
def test_fourier_transforms(real: bool, expected: int) -> None:
    x = torch.zeros(3, 8, 8, dtype=torch.float32 if real else torch.complex64)
    with counter() as counted:
        spectrum = torch.fft.rfft2(x) if real else torch.fft.fft2(x)
    assert counted.get_total_flops() == expected
    with counter() as counted:
        _ = torch.fft.irfft2(spectrum, s=(8, 8)) if real else torch.fft.ifft2(spectrum)
    assert counted.get_total_flops() == expected


@pytest.mark.parametrize(
    ("multiply", "cost"),
    [
        (lambda a, b, c: c[0].clone().addmm_(a[0], b[0]), 2 * 2 * 3 * 4),
        (lambda a, b, c: c.clone().baddbmm_(a, b), 5 * 2 * 2 * 3 * 4),
        (lambda a, b, c: torch.addbmm(c[0], a, b), 5 * 2 * 2 * 3 * 4),
        (lambda a, b, c: a[0] @ b[0, :, 0], 2 * 2 * 3),
        (lambda a, b, c: torch.addmv(c[0, :, 0], a[0], b[0, :, 0]), 2 * 2 * 3),
        (lambda a, b, c: a[0, 0] @ b[0, :, 0], 2 * 3),
    ],
)
def test_products_that_the_counter_of_torch_passes_over(
    multiply: Callable[[Tensor, Tensor, Tensor], Tensor], cost: int
) -> None:
    with counter() as counted:
        multiply(torch.ones(5, 2, 3), torch.ones(5, 3, 4), torch.ones(5, 2, 4))
    assert counted.get_total_flops() == cost


def test_attention() -> None:
    """Products of 6 queries with 6 keys of 4 channels: two forward; five backward, one of them repeated."""
    q, k, v = (torch.randn(2, 1, 6, 4, requires_grad=True) for _ in range(3))
    with counter() as counted:
        scaled_dot_product_attention(q, k, v).sum().backward()
    assert counted.get_total_flops() == 7 * (2 * 2 * 6 * 6 * 4)


def test_later_steps_that_cost_more_enter_the_mean() -> None:
    """Steps 1, 3, 5 and 7 of 8 are counted; the last of them calls the model twice."""
    one = 2 * (2 * 4 * 3 * 2)
    plan = Plan(nn.Linear(3, 2), Trainer(8, optimizer=partial(SGD, lr=1e-3)), Zero(4, 3, later=6))
    assert flops_per_step(plan) == (3 * one + 2 * one) / 4


def test_nothing_to_count_is_none() -> None:
    plan = Plan(nn.LayerNorm(3), Trainer(4, optimizer=partial(SGD, lr=1e-3)), Zero(4, 3))
    assert flops_per_step(plan) is None


def test_memory_of_a_step() -> None:
    """Weights, gradients and two moments of Adam, 4 bytes each, then the activations of 1000 samples."""
    model = nn.Sequential(nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 1))
    weights = 4 * sum(p.numel() for p in model.parameters())
    plan = Plan(model, Trainer(4, optimizer=partial(Adam, lr=1e-3)), Zero(1000, 64))
    hidden = 4 * 1000 * 256
    found = step_memory(plan)
    # What goes through tanh is freed, what comes out is kept, and its gradient comes beside it; the batch of
    # 64 channels and some rows of one are small change.
    assert 4 * weights + 2 * hidden < found < 4 * weights + 3 * hidden + 2 * 4 * 1000 * 64
