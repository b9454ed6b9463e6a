"""The U-Net: its size, its symmetry under translations, grids of any size, what lies beyond boundaries."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.operators import FNO, UNet
from sciml.operators.stencils import Refinement, Stencil, boundary_per_axis, extend, in_layout
from sciml.operators.unet import Levels

EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}
TINY = Levels((1, 2), blocks=1)


def unet(*arguments: int, seed: int = 0, **settings: Any) -> UNet:
    torch.manual_seed(seed)
    return UNet(*arguments, **settings).double().eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def convolution(into: int, out: int, size: int) -> int:
    return out * into * size + out


def block(into: int, out: int, taps: int) -> int:
    """Two normalizations and two convolutions, and the way around them if the channels change."""
    around = convolution(into, out, 1) if into != out else 0
    return 2 * into + convolution(into, out, taps) + 2 * out + convolution(out, out, taps) + around


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize(("rank", "multipliers", "blocks"), [(1, (1, 2, 3), 2), (2, (2,), 1), (3, (1, 2), 1)])
def test_t13_its_size_follows_from_its_layers(
    rank: int, multipliers: tuple[int, ...], blocks: int, attention: bool
) -> None:
    width, taps = 4, 3**rank
    model = unet(rank, 2, 3, width=width, levels=Levels(multipliers, blocks, attention))
    count, fine = convolution(2 + rank, width, taps), width
    for level, multiplier in enumerate(multipliers):
        coarse = fine * multiplier
        count += block(fine, coarse, taps) + (blocks - 1) * block(coarse, coarse, taps)
        count += blocks * block(2 * coarse, coarse, taps) + block(coarse + fine, fine, taps)
        if level > 0:
            count += convolution(fine, fine, taps) + convolution(fine, fine, 4**rank)
        fine = coarse
    count += 2 * block(fine, fine, taps) + convolution(width, 3, taps)
    count += (2 * fine + 3 * fine**2 + fine**2 + fine) if attention else 0
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize(("attention", "reported"), [(False, 577.1), (True, 593.9)])
def test_t13_the_published_models(attention: bool, reported: float) -> None:
    """Megabytes of U-Net_mod-64 and U-Net_att-64 in the model zoo of PDEArena, with one decimal.

    There the last normalization has 2 · 64 parameters and the maps into the attention 3 · 1024 biases.
    """
    with torch.device("meta"):
        model = UNet(2, 12, 3, width=64, levels=Levels(attention=attention), coordinates=False)
    theirs = sum(p.numel() for p in model.parameters()) + 2 * 64 + (3 * 1024 if attention else 0)
    assert round(4e-6 * theirs, 1) == reported


@pytest.mark.parametrize(("rank", "attention"), [(1, True), (2, False), (3, False)])
def test_t4_it_commutes_with_translations_by_its_stride(rank: int, attention: bool) -> None:
    levels = Levels((1, 2, 1) if rank == 1 else (1, 2), blocks=1, attention=attention)
    model = unet(rank, 1, 2, width=4, levels=levels, boundary="circular", coordinates=False)
    x = noise(1, 1, *(16, 8, 4)[:rank])
    with torch.no_grad():
        y = model(x)
        for axis in range(2, 2 + rank):
            moved = model(x.roll(model.stride, axis))
            torch.testing.assert_close(moved, y.roll(model.stride, axis), **EXACT)
            other = model(x.roll(1, axis)) - y.roll(1, axis)
            assert other.abs().max() > 1e-3  # by fewer points the coarse grid is another one


def test_axes_have_boundaries_of_their_own() -> None:
    model = unet(2, 1, 1, width=4, levels=TINY, boundary=("circular", "zeros"), coordinates=False)
    x = noise(1, 1, 8, 8)
    with torch.no_grad():
        y = model(x)
        torch.testing.assert_close(model(x.roll(2, 2)), y.roll(2, 2), **EXACT)
        assert (model(x.roll(2, 3)) - y.roll(2, 3)).abs().max() > 1e-3


@pytest.mark.parametrize("boundary", ["zeros", "circular", "replicate"])
@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (9, 5), (6, 11), (3, 4, 5)])
def test_grids_have_any_number_of_points(shape: tuple[int, ...], boundary: Any) -> None:
    model = unet(len(shape), 1, 2, width=2, levels=Levels((1, 2, 1), blocks=1), boundary=boundary)
    y = model(noise(2, 1, *shape), noise(2, len(shape), *shape))
    assert y.shape == (2, 2, *shape)
    assert y.isfinite().all()


@pytest.mark.parametrize("boundary", [("circular", "zeros"), ("replicate", "circular")])
def test_gradients_in_float64(boundary: Any) -> None:
    model = unet(2, 1, 1, width=2, levels=Levels((1, 2), 1, attention=True), boundary=boundary)
    x, coordinates = noise(1, 1, 3, 2).requires_grad_(), noise(1, 2, 3, 2)
    weight = model.up[0].get_submodule("refine").get_parameter("convolution.weight")
    assert torch.autograd.gradcheck(lambda x, _: model(x, coordinates), (x, weight))


def test_boundaries_are_those_of_the_padding_of_torch() -> None:
    x = noise(2, 3, 5, 6)
    extended = nn.functional.pad(x, (2, 2, 0, 0), mode="circular")
    extended = nn.functional.pad(extended, (0, 0, 2, 2), mode="replicate")
    assert torch.equal(extend(x, 2, ("replicate", "circular")), extended)
    assert torch.equal(extend(x, 2, ("zeros", "zeros")), x)


def test_around_more_than_once() -> None:
    x = torch.arange(3.0)[None, None]
    assert extend(x, 4, ("circular",)).flatten().tolist() == [2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("boundary", ["zeros", "circular", "replicate"])
def test_linear_fields_survive_refinement(boundary: Any) -> None:
    """With the weights 1/4, 3/4, 3/4, 1/4 it is linear interpolation to the midpoints of half cells."""
    refine = Refinement((boundary,), 1).double()
    with torch.no_grad():
        refine.convolution.weight[:] = torch.tensor([0.25, 0.75, 0.75, 0.25])
        refine.convolution.bias.zero_()
        y = refine(torch.arange(6.0, dtype=torch.float64)[None, None], (12,)).flatten()
    torch.testing.assert_close(y[1:-1], torch.arange(10, dtype=torch.float64) / 2 + 0.25, **EXACT)
    first, last = {"zeros": (0.0, 3.75), "circular": (1.25, 3.75), "replicate": (0.0, 5.0)}[boundary]
    assert (y[0].item(), y[-1].item()) == (first, last)


def test_memory_order_changes_nothing() -> None:
    x = noise(2, 3, 4, 6)
    assert in_layout(x).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(in_layout(x), x)
    stencil = Stencil(("circular", "zeros"), 3, 2).double()
    torch.testing.assert_close(stencil(in_layout(x)), stencil(x), **EXACT)
    assert unet(2, 3, 1, width=2, levels=TINY, coordinates=False)(x).is_contiguous()


def test_what_suits_a_grid_has_its_boundaries() -> None:
    grid = Grid.box((16, 12), periodic=(True, False))
    model = UNet(2, 1, 1, **UNet.suited(grid))
    assert model.boundary[0] == "circular" != model.boundary[1]
    assert model(torch.zeros(1, 1, 16, 12), torch.zeros(1, 2, 16, 12)).shape == (1, 1, 16, 12)


@pytest.mark.parametrize(("points", "stride"), [(2, 1), (7, 1), (8, 2), (31, 4), (64, 8), (421, 8)])
def test_the_coarsest_grid_that_suits_keeps_four_points(points: int, stride: int) -> None:
    model = UNet(2, 1, 1, **UNet.suited(Grid.box((points, 500))))
    assert model.stride == stride
    assert points < 8 or points / stride >= 4


def test_a_path_without_activation_leads_from_input_to_output() -> None:
    """With idle blocks the operator is affine."""
    model = unet(1, 1, 1, width=4, levels=TINY, coordinates=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "stencils.1." in name:
                parameter.zero_()
        x, z, zero = noise(1, 1, 8), noise(1, 1, 8, seed=2), torch.zeros(1, 1, 8, dtype=torch.float64)
        torch.testing.assert_close(model(x + z) + model(zero), model(x) + model(z), **EXACT)
        assert (model(x) - model(zero)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"boundary": "periodic"}, "boundary is one of zeros, circular, replicate"),
        ({"boundary": ("zeros",)}, "one for each of 2"),
        ({"levels": ()}, "at least one multiplier"),
        ({"levels": (1, 0)}, "multiplier must be at least 1"),
        ({"width": 0}, "width must be at least 1"),
    ],
)
def test_refuses_settings_in_a_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        UNet(2, 1, 1, **settings)


def test_refuses_ranks_without_convolutions() -> None:
    with pytest.raises(ConfigError, match="1 to 3 axes, got rank=4"):
        boundary_per_axis("UNet", "zeros", 4)


def test_t5_at_another_resolution_it_is_another_operator() -> None:
    """A smooth function at 64 and 128 points: an FNO agrees to rounding, this differs by percents."""
    outputs = []
    for model in (
        unet(1, 1, 1, width=8, boundary="circular", coordinates=False),
        FNO(1, 1, 1, modes=8, width=8, coordinates=False).double(),
    ):
        for n in (64, 128):
            phase = 2 * torch.pi * torch.arange(n, dtype=torch.float64) / n
            outputs.append(model(torch.exp(torch.sin(phase) + torch.cos(2 * phase))[None, None]))
    changes = [(f[..., ::2] - c).norm() / c.norm() for c, f in (outputs[:2], outputs[2:])]
    assert changes[0] > 1e-2 and changes[1] < 1e-6
    assert UNet.properties.resolution_bound


def test_coordinates_must_fit() -> None:
    with pytest.raises(ShapeError, match=r"coordinates must have shape \(1, 2, 4, 4\)"):
        unet(2, 1, 1, width=2, levels=TINY)(noise(1, 1, 4, 4), noise(1, 2, 4, 5))
