"""The dilated residual network: its size, its symmetry under translations, how far a point sees."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.operators import FNO, ResNet

EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}


def resnet(*arguments: int, seed: int = 0, **settings: Any) -> ResNet:
    torch.manual_seed(seed)
    return ResNet(*arguments, **settings).double().eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_t13_its_size_follows_from_its_layers(rank: int) -> None:
    model, taps = resnet(rank, 2, 3, width=4, depth=3, dilations=(1, 3)), 3**rank
    ends = (2 + rank) * 4 * taps + 4 + 4 * 3 * taps + 3
    assert sum(p.numel() for p in model.parameters()) == ends + 3 * 2 * (4 * 4 * taps + 4 + 2 * 4)


@pytest.mark.parametrize(("rank", "shape"), [(1, (11,)), (2, (9, 6)), (3, (4, 5, 3))])
def test_t4_it_commutes_with_all_translations(rank: int, shape: tuple[int, ...]) -> None:
    """Also where a dilation reaches around the domain more than once."""
    model = resnet(rank, 1, 2, width=4, depth=1, boundary="circular", coordinates=False)
    x = noise(1, 1, *shape)
    with torch.no_grad():
        y = model(x)
        for axis in range(2, 2 + rank):
            torch.testing.assert_close(model(x.roll(1, axis)), y.roll(1, axis), **EXACT)


@pytest.mark.parametrize("boundary", ["zeros", "replicate"])
def test_equals_the_same_chain_of_padded_convolutions(boundary: Any) -> None:
    model = resnet(2, 1, 2, width=4, depth=2, dilations=(1, 4, 2), boundary=boundary, coordinates=False)
    mode = "constant" if boundary == "zeros" else boundary

    def convolve(v: Tensor, stencil: nn.Module, dilation: int) -> Tensor:
        weight = stencil.get_parameter("convolution.weight")
        bias = stencil.get_parameter("convolution.bias")
        wide = nn.functional.pad(v, (dilation,) * 4, mode=mode)
        return nn.functional.conv2d(wide, weight, bias, dilation=dilation)

    x = noise(2, 1, 9, 10)
    v = convolve(x, model.entrance, 1)
    for block in model.blocks:
        w = v
        for stencil, d in zip(block.get_submodule("stencils").children(), (1, 4, 2), strict=True):
            centered = w - w.mean((1, 2, 3), keepdim=True)
            scale = centered.square().mean((1, 2, 3), keepdim=True) + 1e-5
            w = nn.functional.gelu(convolve(centered / scale.sqrt(), stencil, d))
        v = v + w
    torch.testing.assert_close(model(x), convolve(v, model.exit, 1), **EXACT)


def test_how_far_a_point_sees() -> None:
    """depth Σ dilations + 2 points to either side, once normalization, which sees everything, is off."""
    model = resnet(1, 1, 1, width=3, depth=2, dilations=(1, 3), coordinates=False)
    for block in model.blocks:
        block.norms = nn.ModuleList(nn.Identity() for _ in range(2))
    x = noise(1, 1, 41).requires_grad_()
    model(x)[0, 0, 20].backward()
    assert x.grad is not None
    seen = x.grad.flatten().nonzero().flatten()
    assert (seen.min(), seen.max()) == (20 - 10, 20 + 10)


def test_gradients_in_float64() -> None:
    model = resnet(
        2, 1, 1, width=2, depth=1, dilations=(1, 2), boundary=("circular", "replicate"), coordinates=False
    )
    assert torch.autograd.gradcheck(model, (noise(1, 1, 4, 3).requires_grad_(),))


def test_what_suits_a_grid_has_its_boundaries() -> None:
    model = ResNet(2, 1, 1, **ResNet.suited(Grid.box((16, 12), periodic=(True, False))))
    assert model.boundary[0] == "circular" != model.boundary[1]


def test_t5_at_another_resolution_it_is_another_operator() -> None:
    """A smooth function at 64 and 128 points: an FNO agrees to rounding, this differs by percents."""
    outputs = []
    for model in (
        resnet(1, 1, 1, width=8, depth=2, boundary="circular", coordinates=False),
        FNO(1, 1, 1, modes=8, width=8, coordinates=False).double(),
    ):
        for n in (64, 128):
            phase = 2 * torch.pi * torch.arange(n, dtype=torch.float64) / n
            outputs.append(model(torch.exp(torch.sin(phase) + torch.cos(2 * phase))[None, None]))
    changes = [(f[..., ::2] - c).norm() / c.norm() for c, f in (outputs[:2], outputs[2:])]
    assert changes[0] > 1e-2 and changes[1] < 1e-6
    assert ResNet.properties.resolution_bound


@pytest.mark.parametrize("dilations", [(), (1, 0)])
def test_refuses_dilations_in_a_sentence(dilations: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="dilations must be whole numbers from 1"):
        ResNet(2, 1, 1, dilations=dilations)
