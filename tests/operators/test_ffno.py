"""The factorized Fourier neural operator: its size, its symmetries, what one layer can do, and two."""

from math import pi
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.description import build, describe
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.operators import FFNO, FNO
from sciml.operators.ffno import Stack
from sciml.operators.spectral_weights import SeparableWeights, TuckerWeights

EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}


def ffno(*arguments: int, seed: int = 0, **settings: Any) -> FFNO:
    torch.manual_seed(seed)
    return FFNO(*arguments, **settings).eval()


def normalized(into: int, out: int) -> int:
    """Directions, lengths, biases."""
    return out * into + 2 * out


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("modes", "width", "depth"), [((5,), 8, 3), ((3, 4), 6, 2), ((2, 3, 4), 6, 1)])
def test_t13_its_size_follows_from_its_layers(
    modes: tuple[int, ...], width: int, depth: int, shared: bool
) -> None:
    rank = len(modes)
    model = ffno(rank, 2, 3, modes=modes, width=width, depth=Stack(depth, shared=shared))
    spectral = 2 * sum(modes) * width**2 * (1 if shared else depth)
    layer = normalized(width, 4 * width) + normalized(4 * width, width)
    head = normalized(width, 128) + normalized(128, 3)
    expected = normalized(2 + rank, width) + spectral + depth * layer + head
    assert sum(p.numel() for p in model.parameters()) == expected


def test_t13_the_model_of_the_paper_for_the_torus() -> None:
    """24 layers, width 64, 16 modes, shared weights, one frame with two coordinates: 1,072,834.

    2 · 2 · 16 · 64² for the spectral weights, 24 (256 · 64 + 2 · 256 + 64 · 256 + 2 · 64) for the layers,
    64 · 3 + 128 and 128 · 64 + 256 + 128 + 2 for what is before and after them.
    """
    model = FFNO(2, 1, 1, modes=16, width=64, depth=Stack(24, shared=True, head="branch"))
    assert sum(p.numel() for p in model.parameters()) == 262_144 + 24 * 33_408 + 320 + 8_578 == 1_072_834


@pytest.mark.parametrize("head", ["stream", "branch"])
def test_equals_the_same_network_with_linear_layers_and_fft(head: str) -> None:
    """Channels last with nn.Linear, orthonormal one-dimensional FFTs and complex weights."""
    model = ffno(2, 1, 2, modes=(3, 4), width=4, depth=Stack(2, head=head), coordinates=False).double()

    def linear(x: Tensor, layer: nn.Module) -> Tensor:
        direction = layer.get_parameter("direction")
        weight = layer.get_parameter("length")[:, None] * nn.functional.normalize(direction, dim=1)
        return nn.functional.linear(x, weight, layer.get_parameter("bias"))

    def network(x: Tensor, layer: nn.Module) -> Tensor:
        hidden = nn.functional.gelu(linear(x, layer.get_submodule("first")))
        return linear(hidden, layer.get_submodule("second"))

    def along(v: Tensor, weight: Tensor, axis: int) -> Tensor:
        values = torch.view_as_complex(weight)
        spectrum = torch.fft.rfft(v.movedim(axis, 1), dim=1, norm="ortho")
        out = torch.zeros_like(spectrum)
        out[:, : len(values)] = torch.einsum("bkxi,kio->bkxo", spectrum[:, : len(values)], values)
        return torch.fft.irfft(out, n=v.shape[axis], dim=1, norm="ortho").movedim(1, axis)

    x = torch.randn(2, 1, 9, 10, dtype=torch.float64)
    v = branch = linear(x.movedim(1, -1), model.lifting)
    for convolution, layer in zip(model.convolutions, model.layers, strict=True):
        parts = [along(v, convolution.get_parameter(f"axis_{a}"), a + 1) for a in range(2)]
        branch = network(parts[0] + parts[1], layer)
        v = v + branch
    expected = network(v if head == "stream" else branch, model.head).movedim(-1, 1)
    torch.testing.assert_close(model(x), expected, **EXACT)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_t4_without_coordinates_it_commutes_with_translations_along_each_axis(rank: int) -> None:
    model = ffno(rank, 1, 2, modes=3, width=8, coordinates=False)
    x = torch.randn(2, 1, *(12, 9, 8)[:rank], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = model(x)
        for axis, shift in enumerate((5, -2, 3)[:rank]):
            moved = model(x.roll(shift, 2 + axis))
            expected = y.roll(shift, 2 + axis)
            torch.testing.assert_close(moved, expected, rtol=0, atol=1e-6 * float(y.abs().max()) + 1e-6)


def test_coordinates_and_padding_break_that_symmetry() -> None:
    x = torch.randn(1, 1, 12, generator=torch.Generator().manual_seed(1))
    padded = ffno(1, 1, 1, modes=3, coordinates=False, padding=0.25)
    assert not torch.allclose(padded(x.roll(5, 2)), padded(x).roll(5, 2), atol=1e-3)
    located, where = ffno(1, 1, 1, modes=3), torch.linspace(0, 1, 12).reshape(1, 1, 12)
    assert not torch.allclose(located(x.roll(5, 2), where), located(x, where).roll(5, 2), atol=1e-3)


def multiplier(response: Tensor) -> Tensor:
    """What a translation-invariant linear map does to each frequency, from its answer to a unit impulse."""
    return torch.fft.fft2(response)


def mixed(m: Tensor) -> Tensor:
    """``m(a, c) - m(0, c) - m(a, 0) + m(0, 0)``, which vanishes for every sum ``g(a) + h(c)``."""
    return m - m[:1] - m[:, :1] + m[:1, :1]


def test_one_layer_is_a_sum_over_axes_and_two_make_a_product() -> None:
    """The linear part of the layers, on a grid whose frequencies are all kept.

    A convolution with the kernel g(x) h(y) multiplies frequency (a, c) by G(a) H(c), whose mixed difference
    is (G(a) - G(0)) (H(c) - H(0)). One layer multiplies by a sum g(a) + h(c) for each pair of channels. Two
    contain the product: the first sends channel 0 through g to channel 1, the second that through h to 2.
    """
    n, width = 9, 3
    model = ffno(2, 1, 1, modes=5, width=width, depth=2, coordinates=False).double()
    impulse = torch.zeros(width, width, n, n, dtype=torch.float64)  # a sample for each channel
    impulse[range(width), range(width), 0, 0] = 1.0
    with torch.no_grad():
        one = multiplier(model.convolutions[0](impulse))
    assert one.abs().max() > 0.3
    for m in one.flatten(0, 1):
        torch.testing.assert_close(mixed(m), torch.zeros_like(m), **EXACT)

    k = torch.arange(n, dtype=torch.float64).minimum(n - torch.arange(n, dtype=torch.float64))
    g, h = torch.exp(-0.1 * k**2), 1.0 / (1.0 + k**2)
    product = torch.outer(g, h)
    # The best sum of functions of one variable each leaves the mixed part, here a good fifth of the whole.
    means = product.mean(0, keepdim=True) + product.mean(1, keepdim=True) - product.mean()
    assert (product - means).norm() > 0.2 * product.norm()

    with torch.no_grad():
        for convolution in model.convolutions:
            for weight in convolution.parameters():
                weight.zero_()
        model.convolutions[0].get_parameter("axis_0")[:, 0, 1, 0] = g[:5]
        model.convolutions[1].get_parameter("axis_1")[:, 1, 2, 0] = h[:5]
        v = impulse[:1]
        for convolution in model.convolutions:
            v = v + convolution(v)  # the residual stream with the identity for the pointwise maps
    torch.testing.assert_close(multiplier(v[0, 2]).real, product, **EXACT)


def test_shared_weights_are_one_set_for_all_layers() -> None:
    settings: dict[str, Any] = {"modes": 3, "width": 4, "coordinates": False}
    shared = ffno(2, 1, 1, depth=Stack(3, shared=True), **settings).double()
    apart = ffno(2, 1, 1, depth=3, **settings).double()
    assert len(shared.convolutions) == 1 and len(apart.convolutions) == 3
    state = {key: value for key, value in shared.state_dict().items() if "convolutions" not in key}
    for i in range(3):
        for axis in range(2):
            weight = shared.convolutions[0].get_parameter(f"axis_{axis}")
            state[f"convolutions.{i}.axis_{axis}"] = weight.detach()
    apart.load_state_dict(state)
    x = torch.randn(2, 1, 8, 9, dtype=torch.float64)
    y = shared(x)
    torch.testing.assert_close(y, apart(x), **EXACT)
    y.square().sum().backward()
    apart(x).square().sum().backward()
    for axis in range(2):
        gradients = [conv.get_parameter(f"axis_{axis}").grad for conv in apart.convolutions]
        assert all(gradient is not None for gradient in gradients)
        total = torch.stack([gradient for gradient in gradients if gradient is not None]).sum(0)
        torch.testing.assert_close(shared.convolutions[0].get_parameter(f"axis_{axis}").grad, total, **EXACT)


def test_a_layer_that_adds_nothing_leaves_the_stream_and_silences_the_branch() -> None:
    x = torch.randn(2, 1, 8)
    for head in ("stream", "branch"):
        model = ffno(1, 1, 1, modes=3, width=4, depth=Stack(2, head=head), coordinates=False)
        with torch.no_grad():
            for layer in model.layers:
                layer.get_submodule("second").get_parameter("length").zero_()
                layer.get_submodule("second").get_parameter("bias").zero_()
            lifted = model.lifting(x)
            expected = model.head(lifted if head == "stream" else 0 * lifted)
            assert torch.equal(model(x), expected)


def test_weights_at_points_depend_on_directions_only() -> None:
    model = ffno(1, 1, 1, modes=3, width=4, depth=1, coordinates=False).double()
    x = torch.randn(2, 1, 8, dtype=torch.float64)
    before = model(x)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("direction"):
                parameter.mul_(3.0)
    torch.testing.assert_close(model(x), before, **EXACT)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_initial_convolutions_keep_the_variance_of_smooth_fields(rank: int) -> None:
    """Waves along the diagonal, which every axis keeps, in 64 channels: known to about 10 %, as of FNO."""
    width, modes, n = 64, 4, 9
    torch.manual_seed(0)
    model = FFNO(rank, 1, 1, modes=modes, width=width, depth=1, coordinates=False)
    phase = sum(torch.meshgrid(*[2 * pi * torch.arange(n) / n] * rank, indexing="ij"), torch.zeros(()))
    k = torch.arange(1, modes).reshape(-1, *[1] * rank)
    waves = torch.stack((torch.cos(k * phase), torch.sin(k * phase)), dim=1)
    x = torch.einsum("bckp,kp...->bc...", torch.randn(16, width, modes - 1, 2), waves)
    with torch.no_grad():
        y = model.convolutions[0](x)
    assert 0.8 < float(y.var() / x.var()) < 1.2


@pytest.mark.parametrize("weights", [TuckerWeights(3, rank=0.5), SeparableWeights(3)])
def test_other_weights_serve_here_too(weights: Any) -> None:
    model = ffno(2, 1, 1, modes=weights, width=8, depth=2, coordinates=False)
    assert model.modes == (3, 3)
    model(torch.randn(2, 1, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_what_a_model_requires_and_describes() -> None:
    assert ffno(1, 1, 1).requires == ("coordinates",)
    model = ffno(2, 1, 1, modes=3, width=4, depth=Stack(2, shared=True, head="branch"), coordinates=False)
    assert model.requires == ()
    again = build(describe(model))
    assert again.stack == model.stack
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 1, 8, 9)
    assert torch.equal(again(x), model(x))


def test_what_suits_a_grid_is_what_suits_fno() -> None:
    grid = Grid.box((16, 16))
    assert FFNO.suited(grid) == FNO.suited(grid)
    FFNO(2, 1, 1, **FFNO.suited(grid)).check_grid((16, 16))


def test_check_grid_counts_padding() -> None:
    ffno(2, 1, 1, modes=(4, 5), padding=0.25).check_grid((8, 8))
    with pytest.raises(ShapeError, match=r"FFNO: modes=5 on axis 1 need at least 10 grid points, got 8. "):
        ffno(2, 1, 1, modes=(4, 5)).check_grid((8, 8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modes": 0}, "FFNO: modes must be whole and at least 1"),
        ({"width": 0}, "FFNO: width must be at least 1, got 0"),
        ({"depth": 0}, "FFNO: depth must be at least 1"),
        ({"depth": Stack(0)}, "FFNO: depth must be at least 1"),
        ({"padding": -0.1}, "FFNO: padding is a fraction"),
    ],
)
def test_refuses_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FFNO(2, 1, 1, **settings)


def test_refuses_an_unknown_head() -> None:
    with pytest.raises(ConfigError, match="Stack: head must be one of stream, branch, got 'middle'"):
        Stack(2, head="middle")  # type: ignore[arg-type]
