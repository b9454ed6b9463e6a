"""The network at every point, by pieces, against the same network whole."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu

from sciml.kernels import pointwise
from sciml.kernels.pointwise import pointwise_mlp


def inputs(points: int = 7) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, points), (5, 3), (5,), (2, 5), (2,)]
    return [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]


def whole(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    return w2 @ gelu(w1 @ x + b1[:, None]) + b2[:, None]


@pytest.mark.parametrize("chunk", [5, 20, 2**19])
def test_equals_the_whole_network_for_any_size_of_pieces(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise, "CHUNK", chunk)  # one point, four, all of a sample
    tensors = inputs()
    y, expected = pointwise_mlp(*tensors), whole(*tensors)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-13)
    for ours, theirs in zip(
        torch.autograd.grad(y.sin().sum(), tensors),
        torch.autograd.grad(expected.sin().sum(), tensors),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_derivatives_of_every_kind() -> None:
    tensors = inputs(3)
    assert torch.autograd.gradcheck(pointwise_mlp, tensors, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(pointwise_mlp, tensors)
    given = [tensor.detach() for tensor in tensors]
    ours, theirs = (
        torch.func.hessian(lambda *t, f=f: f(*t).sin().sum())(*given)  # type: ignore[misc]
        for f in (pointwise_mlp, whole)
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_keeps_no_hidden_values() -> None:
    kept: list[tuple[int, ...]] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        pointwise_mlp(*inputs(50))
    assert (2, 3, 50) in kept
    assert not any(shape[-2:] == (5, 50) for shape in kept)
