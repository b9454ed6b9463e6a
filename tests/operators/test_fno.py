"""The Fourier neural operator: its published size, its symmetries, and equations that it contains."""

from math import pi
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.kernels import spectral_conv
from sciml.operators import FNO


def fno(*arguments: int, seed: int = 0, **settings: Any) -> FNO:
    torch.manual_seed(seed)
    return FNO(*arguments, **settings).eval()


def coordinates(shape: tuple[int, ...], batch: int) -> Tensor:
    values = torch.as_tensor(Grid.box(shape).unit_coordinates(), dtype=torch.float32)
    return values.expand(batch, *(-1,) * (len(shape) + 1))


def test_t13_the_darcy_setup_has_its_published_size() -> None:
    """Modes 12, width 32, four layers, one input channel: 2,368,001 real degrees of freedom.

    Lifting (1 + 2) 32 + 32, four times 32² + 32 for W and 2 (24 · 12) 32² for R, then 32 · 128 + 128 and
    128 + 1. Counting a complex entry once, as some tables do, gives 1,188,353.
    """
    model = FNO(2, 1, 1, modes=12, width=32, depth=4)
    real = sum(p.numel() for p in model.parameters())
    spectral = sum(p.numel() for name, p in model.named_parameters() if "spectral" in name)
    assert real == 2_368_001
    assert real - spectral // 2 == 1_188_353


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_t4_without_coordinates_it_commutes_with_translations(rank: int) -> None:
    model = fno(rank, 1, 2, modes=3, width=8, coordinates=False)
    shape = (12, 9, 8)[:rank]
    x = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(1))
    shift, axes = (5, -2, 3)[:rank], tuple(range(2, 2 + rank))
    with torch.no_grad():
        y, moved = model(x), model(x.roll(shift, axes))
    torch.testing.assert_close(moved, y.roll(shift, axes), rtol=0, atol=1e-6 * float(y.abs().max()) + 1e-6)


def test_coordinates_and_padding_break_that_symmetry() -> None:
    x = torch.randn(1, 1, 12, generator=torch.Generator().manual_seed(1))
    padded = fno(1, 1, 1, modes=3, coordinates=False, padding=0.25)
    assert not torch.allclose(padded(x.roll(5, 2)), padded(x).roll(5, 2), atol=1e-3)
    located, where = fno(1, 1, 1, modes=3), coordinates((12,), 1)
    assert not torch.allclose(located(x.roll(5, 2), where), located(x, where).roll(5, 2), atol=1e-3)


@pytest.mark.parametrize("n", [16, 17, 24])
def test_t7_a_fourier_layer_is_the_heat_semigroup(n: int) -> None:
    """The multiplier exp(-ν (2πk)² t) solves u_t = ν u_xx at any resolution; it is fitted, not put in."""
    modes, ν, t = 6, 0.02, 0.3
    k = torch.arange(modes, dtype=torch.float64)
    decay = torch.exp(-ν * (2 * pi * k) ** 2 * t)

    def states(points: int, seed: int) -> tuple[Tensor, Tensor]:
        draws = torch.randn(8, modes, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        phase = 2 * pi * torch.outer(k, torch.arange(points, dtype=torch.float64) / points)
        waves = torch.stack((torch.cos(phase), torch.sin(phase)), dim=1)
        before = torch.einsum("bkc,kcx->bx", draws, waves)
        return before[:, None], torch.einsum("bkc,kcx->bx", draws * decay[:, None], waves)[:, None]

    # The layer is linear in its weights: least squares finds them from its values on unit weights.
    x, y = states(16, seed=1)
    units = torch.eye(2 * modes, dtype=torch.float64).reshape(-1, modes, 1, 1, 2)
    columns = torch.stack([spectral_conv(x, unit, (modes,)).flatten() for unit in units], dim=1)
    # gelsd: the imaginary part of k = 0 does nothing, so the columns are dependent.
    solution = torch.linalg.lstsq(columns, y.flatten()[:, None], driver="gelsd").solution
    weight = solution.reshape(modes, 1, 1, 2)
    x, y = states(n, seed=2)
    torch.testing.assert_close(spectral_conv(x, weight, (modes,)), y, rtol=0, atol=1e-6)


def test_a_linear_model_moves_between_resolutions_exactly() -> None:
    """Without activations a band-limited field gives the same function on every grid that resolves it."""
    model = fno(2, 1, 1, modes=3, width=4, depth=3, coordinates=False).double()

    def linear(x: Tensor) -> Tensor:
        v = model.lifting(x)
        for layer in model.layers:
            v = layer(v, activation=False)
        u: Tensor = model.projection.second(model.projection.first(v))
        return u

    def field(n: int, m: int) -> Tensor:
        x, y = torch.meshgrid(
            torch.arange(n, dtype=torch.float64) / n, torch.arange(m, dtype=torch.float64) / m, indexing="ij"
        )
        return (torch.cos(2 * pi * (x - 2 * y)) + torch.sin(2 * pi * (2 * x + y)))[None, None]

    coarse = linear(field(8, 9))
    for factor in (2, 3):
        fine = linear(field(8 * factor, 9 * factor))
        torch.testing.assert_close(fine[..., ::factor, ::factor], coarse, rtol=0, atol=1e-10)


def test_initial_spectral_weights_keep_the_variance_of_smooth_fields() -> None:
    """64 channels of random smooth fields without a mean: the sample variance is known to about 10 %."""
    width, modes = 64, 8
    model = fno(1, 1, 1, modes=modes, width=width, depth=1)
    k = torch.arange(1, modes).float()
    draws = torch.randn(64, width, modes - 1, 2, generator=torch.Generator().manual_seed(2))
    phase = 2 * pi * torch.outer(k, torch.arange(64) / 64)
    x = torch.einsum("bck,kx->bcx", draws[..., 0], torch.cos(phase))
    x = x + torch.einsum("bck,kx->bcx", draws[..., 1], torch.sin(phase))
    with torch.no_grad():
        y = spectral_conv(x, model.layers[0].get_parameter("spectral_weight"), (modes,))
    assert 0.8 < float(y.var() / x.var()) < 1.2


def test_a_coarser_grid_truncates() -> None:
    """A model for 64 points runs on 24, where 12 of its 16 modes are resolved."""
    model = fno(1, 1, 1, modes=16, coordinates=False)
    ξ_fine, ξ_coarse = torch.arange(48) / 48, torch.arange(24) / 24
    with torch.no_grad():
        fine = model(torch.cos(2 * pi * ξ_fine)[None, None])
        coarse = model(torch.cos(2 * pi * ξ_coarse)[None, None])
    assert (fine[..., ::2] - coarse).norm() < 0.05 * coarse.norm()


@pytest.mark.parametrize("n", range(1, 34))
def test_check_grid_refuses_exactly_the_grids_that_leave_weights_idle(n: int) -> None:
    """Idle are the weights that get no gradient; 2m = n resolves -m as the Nyquist line."""
    model = fno(2, 1, 1, modes=(4, 5), width=2, depth=1, coordinates=False)
    weight = model.layers[0].spectral_weight
    x = torch.randn(3, 1, n, 33, generator=torch.Generator().manual_seed(n))
    model(x).square().sum().backward()
    assert weight.grad is not None
    idle = bool((weight.grad.abs().amax(dim=(1, 2, 3, 4)) == 0).any())
    if idle:
        with pytest.raises(
            ShapeError, match=rf"modes=4 on axis 0 need at least 8 grid points, got {n}.*{n // 2}"
        ):
            model.check_grid((n, 33))
    else:
        model.check_grid((n, 33))


def test_check_grid_counts_padding_and_axes() -> None:
    model = fno(1, 1, 1, modes=10, padding=0.25)
    model.check_grid((16,))  # 16 + 4
    with pytest.raises(ShapeError, match=r"got 19 \(15 and 4 of padding\)"):
        model.check_grid((15,))
    with pytest.raises(ShapeError, match="1 axes"):
        model.check_grid((16, 16))


def test_padding_is_a_fraction_of_the_domain() -> None:
    model = fno(2, 1, 1, modes=3, padding=(0.0, 0.125))
    assert model.padding_cells((64, 64)) == (0, 8)
    assert model.padding_cells((64, 128)) == (0, 16)
    assert model.padding_cells((64, 2)) == (0, 1)  # at least one
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert model(x, coordinates((16, 16), 2)).shape == (2, 1, 16, 16)


def test_padding_separates_opposite_ends() -> None:
    """One spectral layer with a short kernel: the first point sees the last one only without padding."""
    end = torch.zeros(1, 1, 32)
    end[..., -1] = 1.0

    def influence(padding: float) -> float:
        model = fno(1, 1, 1, modes=16, width=1, depth=1, coordinates=False, padding=padding)
        n = 32 + model.padding_cells((32,))[0]
        with torch.no_grad():
            # A smooth bump of width 1.5 points around each point.
            k = torch.arange(16)[:, None, None]
            model.layers[0].spectral_weight[..., 0] = torch.exp(-0.5 * (2 * pi * k * 1.5 / n) ** 2)
            model.layers[0].spectral_weight[..., 1] = 0.0
            model.layers[0].pointwise.weight.zero_()
            difference = model(end) - model(0 * end)
        return float(difference[..., 0].abs() / difference[..., -1].abs())

    assert influence(0.0) > 0.3
    assert influence(0.5) < 0.05


def test_what_a_model_requires() -> None:
    assert fno(1, 1, 1).requires == ("coordinates",)
    model = fno(1, 1, 1, modes=3, coordinates=False)
    assert model.requires == ()
    x = torch.zeros(2, 1, 8)
    assert torch.equal(model(x), model(x, coordinates((8,), 2)))


@pytest.mark.parametrize(
    ("x", "where", "message"),
    [
        (torch.zeros(2, 1, 8, 8), None, "coordinates of shape .2, 2, 8, 8. are missing.*coordinates=False"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, 2, 8, 9), r"coordinates must have shape \(2, 2, 8, 8\)"),
        (torch.zeros(2, 8, 8, 1), None, r"got \(2, 8, 8, 1\). Channels come second; x.movedim\(-1, 1\)"),
        (torch.zeros(2, 1, 8), None, "with 2 grid axes"),
    ],
)
def test_refuses_inputs(x: Tensor, where: Tensor | None, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        fno(2, 1, 1, modes=3)(x, where)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modes": 0}, "modes must be whole and at least 1"),
        ({"modes": 2.5}, "modes must be whole"),
        ({"modes": (4, 4, 4)}, r"one per axis \(2\), got \(4, 4, 4\)"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"depth": 0}, "depth must be at least 1"),
        ({"padding": -0.1}, "padding is a fraction"),
        ({"padding": 9}, "padding is a fraction"),
    ],
)
def test_refuses_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FNO(2, 1, 1, **settings)


def test_equals_the_same_network_with_convolutions_and_fft() -> None:
    """The layer written as in the paper's code, with nn.Conv2d and torch.fft."""
    model = fno(2, 1, 1, modes=(3, 4), width=4, depth=2).double()

    def conv(pointwise: nn.Module, v: Tensor) -> Tensor:
        weight = pointwise.get_parameter("weight")[:, :, None, None]
        return nn.functional.conv2d(v, weight, pointwise.get_parameter("bias"))

    def spectral(v: Tensor, weight: Tensor) -> Tensor:
        values, spectrum = torch.view_as_complex(weight), torch.fft.rfft2(v)
        out = torch.zeros_like(spectrum)
        for rows, used in ((slice(0, 3), slice(3, 6)), (slice(-3, None), slice(0, 3))):
            out[:, :, rows, :4] = torch.einsum("bixy,xyio->boxy", spectrum[:, :, rows, :4], values[used])
        out = torch.fft.ifft(out, dim=2)
        return torch.fft.irfft(out, n=v.shape[-1], dim=3)

    x = torch.randn(2, 1, 12, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    where = coordinates((12, 11), 2).double()
    v = conv(model.lifting, torch.cat((x, where), dim=1))
    for i, layer in enumerate(model.layers):
        v = spectral(v, layer.get_parameter("spectral_weight")) + conv(layer.get_submodule("pointwise"), v)
        v = nn.functional.gelu(v) if i == 0 else v
    expected = conv(model.projection.second, nn.functional.gelu(conv(model.projection.first, v)))
    torch.testing.assert_close(model(x, where), expected, rtol=0, atol=1e-12)
