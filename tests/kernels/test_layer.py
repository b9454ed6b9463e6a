"""The fused Fourier layer against the composition that it stands for, and the products under it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu

from sciml.kernels import products, spectral_conv, spectral_layer, transform
from sciml.kernels.factorized import Separable
from sciml.kernels.products import WORTH, product

MODES = (2, 3)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def inputs(batch: int = 3, shape: tuple[int, ...] = (8, 9)) -> list[Tensor]:
    weight = randn(4, 3, 2, 3, 2, seed=1)
    return [randn(batch, 2, *shape), weight, randn(3, 2, seed=2), randn(3, seed=3)]


def composed(x: Tensor, weight: Tensor, skip: Tensor, bias: Tensor, activation: bool) -> Tensor:
    a = gelu(x) if activation else x
    return spectral_conv(a, weight, MODES) + torch.einsum("oi,bixy->boxy", skip, a) + bias[:, None, None]


def fused(activation: bool) -> Callable[..., Tensor]:
    return lambda *tensors: spectral_layer(tensors[0], tensors[1], MODES, *tensors[2:], activation=activation)


@pytest.mark.parametrize("activation", [True, False])
def test_equals_the_composition(activation: bool) -> None:
    tensors = [tensor.requires_grad_() for tensor in inputs()]
    y, expected = fused(activation)(*tensors), composed(*tensors, activation)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    gradient = randn(*y.shape, seed=4)
    for ours, theirs in zip(
        torch.autograd.grad(y, tensors, gradient),
        torch.autograd.grad(expected, tensors, gradient),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)  # sums over 3 x 72 points


@pytest.mark.parametrize("backend", ["fft", "reference"])
def test_other_routes_agree(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fused(True)(*inputs())
    if backend == "reference":
        monkeypatch.setenv("SCIML_KERNELS", "reference")
    else:
        monkeypatch.setattr(transform, "choose", lambda *_: "fft")
    torch.testing.assert_close(fused(True)(*inputs()), expected, rtol=0, atol=1e-12)


def test_structured_weights_and_large_batches_in_single_precision() -> None:
    x, skip, bias = randn(40, 2, 32, 32).float(), randn(2, 2, seed=2).float(), randn(2, seed=3).float()
    weight = Separable(randn(4, 3, 2, 2, seed=1).float())
    dense = weight.dense().contiguous()
    ours, theirs = (spectral_layer(x, form, MODES, skip, bias) for form in (weight, dense))
    # Sums of some thousand rounded terms of size one.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


# torch itself calls torch.jit.script when its forward mode is first used.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("activation", [True, False])
def test_derivatives_of_every_kind(activation: bool) -> None:
    tensors = [tensor.requires_grad_() for tensor in inputs(2, (4, 5))]
    function = fused(activation)
    assert torch.autograd.gradcheck(function, tensors, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, tensors)

    def scalar(*given: Tensor) -> Tensor:
        return function(*given).sin().sum()

    def plain(*given: Tensor) -> Tensor:
        return composed(*given, activation).sin().sum()

    given = [tensor.detach() for tensor in tensors]
    torch.testing.assert_close(
        torch.func.hessian(scalar)(*given), torch.func.hessian(plain)(*given), rtol=0, atol=1e-11
    )


def test_keeps_the_input_and_the_modes_alone() -> None:
    kept: list[tuple[int, ...]] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tuple(tensor.shape))
        return tensor

    tensors = [tensor.requires_grad_() for tensor in inputs()]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        fused(True)(*tensors)
    fields = [shape for shape in kept if shape[-2:] == (8, 9)]
    assert fields == [(3, 2, 8, 9)]  # x; no sum, no activated field
    assert (4, 3, 2, 3, 2) in kept  # (*frequencies, 2, batch, channel)


@pytest.mark.parametrize("intel", [True, False])  # MKL or oneDNN
@pytest.mark.parametrize(
    ("m", "k", "n"), [(3, 5, 7), (128, 64, 256), (2048, 64, 24), (32, 32, 4096), (16, 4096, 32)]
)
def test_products_are_products(m: int, k: int, n: int, intel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both routes, all layouts that occur: rows, columns and parts of larger matrices."""
    monkeypatch.setattr(products, "_on_intel", lambda: intel)
    place = torch.empty(m, n)
    wide = randn(2 * k, 2 * n, seed=1).float()
    for a in (randn(m, k).float(), randn(k, m).float().T):
        for b in (randn(k, n, seed=1).float(), randn(n, k, seed=1).float().T, wide[:k, :n]):
            with torch.no_grad():
                found = product(a, b)
                assert torch.equal(product(a, b, out=place), found)
            # k rounded terms of size one, summed in another order.
            torch.testing.assert_close(
                found.double(), a.double() @ b.double(), rtol=0, atol=2e-6 * k**0.5 * 4
            )
    assert 2048 * 64 * 24 > WORTH > 3 * 5 * 7


def test_products_are_differentiable_where_gradients_are_recorded() -> None:
    a, b = torch.ones(64, 256, requires_grad=True), torch.ones(256, 256)
    product(a, b).sum().backward()
    assert a.grad is not None and bool((a.grad == 256.0).all())
