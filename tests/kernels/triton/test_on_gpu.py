"""The compiled kernels on a GPU against the plain path in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.kernels.triton import available, spectral_layer, usable
from sciml.kernels.triton.plain import plain_layer

pytestmark = pytest.mark.gpu

# Relative L2 of what the formats lose on white noise, whose spectrum is flat, with room for three rounded
# factors in a row: 2^-11 for TF32, 2^-8 for bfloat16 each; 1e-5 for sums in float32 in another order.
TOLERANCES = {"tf32x3": 1e-5, "tf32": 2e-3, "bf16": 1.5e-2}

SHAPES = [
    # grid, modes, batch, c_in, c_out
    ((256, 256), (16, 16), 2, 64, 64),
    ((256, 256), (32, 32), 2, 64, 64),
    ((64, 64), (12, 12), 40, 32, 32),
    ((101, 83), (20, 17), 3, 5, 33),
    ((128, 96), (63, 48), 1, 8, 8),
    ((1024,), (64,), 5, 17, 20),
    ((33, 32, 40), (6, 6, 8), 2, 6, 7),
    ((1, 5), (2, 3), 1, 1, 1),
]


@pytest.fixture(autouse=True)
def needs_triton() -> None:
    if not available():
        pytest.skip("Triton is not installed")


def numbers(
    shape: tuple[int, ...], modes: tuple[int, ...], batch: int, c_in: int, c_out: int
) -> list[Tensor]:
    torch.manual_seed(0)
    frequencies = (*(2 * m for m in modes[:-1]), modes[-1])
    shapes = (batch, c_in, *shape), (*frequencies, c_in, c_out, 2), (c_out, c_in), (c_out,)
    return [torch.randn(size, device="cuda", requires_grad=True) for size in shapes]


def close(value: Tensor, exact: Tensor, tolerance: float) -> None:
    assert torch.isfinite(value).all()
    error = ((value.double() - exact).norm() / exact.norm()).item()
    assert error < tolerance, f"relative error {error:.1e}"


def exactly(
    inputs: list[Tensor | None], modes: tuple[int, ...], out: tuple[int, ...], activation: str
) -> Tensor:
    x, weight, skip, bias = (None if t is None else t.double() for t in inputs)
    assert x is not None and weight is not None
    return plain_layer(x, weight, modes, out, skip, bias, activation)


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("activation", [None, "gelu", "gelu_first"])
@pytest.mark.parametrize(("shape", "modes", "batch", "c_in", "c_out"), SHAPES)
def test_values_and_gradients(
    shape: tuple[int, ...],
    modes: tuple[int, ...],
    batch: int,
    c_in: int,
    c_out: int,
    activation: str | None,
    precision: str,
) -> None:
    inputs = numbers(shape, modes, batch, c_in, c_out)
    assert usable(inputs[0], inputs[1])
    for skip in (True, False):
        used = inputs if skip else inputs[:2]
        y = spectral_layer(inputs[0], inputs[1], modes, *used[2:], activation=activation, precision=precision)
        exact = exactly([*used, None, None][:4], modes, shape, activation or "none")
        close(y, exact, TOLERANCES[precision])
        cotangent = torch.randn_like(y)
        gradients = torch.autograd.grad(y, used, cotangent)
        references = torch.autograd.grad(exact, used, cotangent.double())
        for gradient, reference in zip(gradients, references, strict=True):
            close(gradient, reference.double(), TOLERANCES[precision])


@pytest.mark.parametrize("out", [(48, 40), (90, 100)])
def test_other_grids(out: tuple[int, int]) -> None:
    inputs = numbers((64, 60), (30, 20), 2, 6, 5)[:2]
    y = spectral_layer(inputs[0], inputs[1], (30, 20), out_shape=out)
    exact = exactly([*inputs, None, None], (30, 20), out, "none")
    close(y, exact, TOLERANCES["tf32x3"])
    gradients = torch.autograd.grad(y.square().sum(), inputs)
    for gradient, reference in zip(gradients, torch.autograd.grad(exact.square().sum(), inputs), strict=True):
        close(gradient, reference.double(), TOLERANCES["tf32x3"])


def test_runs_repeat_bit_for_bit() -> None:
    """No sum depends on which program comes first."""
    inputs = numbers((96, 128), (16, 16), 4, 24, 24)

    def run() -> list[Tensor]:
        y = spectral_layer(*inputs[:2], (16, 16), *inputs[2:], activation="gelu")
        return [y, *torch.autograd.grad(y.square().sum(), inputs)]

    first = run()
    for _ in range(5):
        assert all(map(torch.equal, run(), first))


def test_fields_in_bfloat16() -> None:
    inputs = numbers((64, 64), (12, 12), 4, 16, 16)
    x = inputs[0].detach().bfloat16()
    y = spectral_layer(x, *inputs[1:2], (12, 12), *inputs[2:], activation="gelu")
    assert y.dtype == torch.bfloat16
    close(y, exactly([x, *inputs[1:]], (12, 12), (64, 64), "gelu"), 2.0**-8)


def test_second_derivatives() -> None:
    inputs = numbers((32, 32), (8, 8), 2, 4, 4)
    results: list[list[Tensor]] = []
    for y in (
        spectral_layer(*inputs[:2], (8, 8), *inputs[2:], activation="gelu").double(),
        exactly(list(inputs), (8, 8), (32, 32), "gelu"),
    ):
        gradients = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
        penalty = torch.stack([gradient.square().sum() for gradient in gradients]).sum()
        results.append(list(torch.autograd.grad(penalty, inputs)))
    for value, reference in zip(*results, strict=True):
        close(value, reference.double(), 1e-4)


def test_forward_mode_takes_the_plain_path() -> None:
    x, weight, *_ = numbers((16, 16), (4, 4), 1, 2, 2)
    tangent = torch.randn_like(x)
    arguments: Any = ((x.detach(),), (tangent,))
    _, value = torch.func.jvp(lambda x: spectral_layer(x, weight.detach(), (4, 4)), *arguments)
    close(value, exactly([tangent, weight.detach(), None, None], (4, 4), (16, 16), "none"), 1e-5)


def test_a_compiled_layer() -> None:
    inputs = numbers((32, 32), (8, 8), 2, 8, 8)
    compiled = torch.compile(
        lambda *t: spectral_layer(*t[:2], (8, 8), *t[2:], activation="gelu") + 1.0, fullgraph=True
    )
    close(compiled(*inputs), exactly(list(inputs), (8, 8), (32, 32), "gelu") + 1.0, 1e-5)


def test_memory_holds_no_spectrum() -> None:
    """Without skip path and activation a forward pass adds the result and what has the size of the modes."""
    x, weight, *_ = numbers((256, 256), (16, 16), 4, 32, 32)
    spectral_layer(x, weight, (16, 16))  # compiles and measures
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    y = spectral_layer(x, weight, (16, 16))
    torch.cuda.synchronize()
    added = torch.cuda.max_memory_allocated() - before
    modes = 32 * 16 * 2 * 4 * 32 * 4
    # modes before and after mixing; the former in up to a dozen parts before they are added up
    assert added < y.numel() * 4 + 16 * modes
