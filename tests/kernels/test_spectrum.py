"""Spectra against sums over all complex coefficients, and against waves whose wavenumber is known."""

import itertools
from math import floor, hypot, inf, pi

import pytest
import torch
from torch import Tensor

from sciml.kernels.spectrum import energy_spectrum, mode_energies, wavenumbers


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


CASES = [
    ((1,), (1.0,)),
    ((16,), (1.0,)),
    ((17,), (0.3,)),
    ((8, 9), (1.0, 1.0)),
    ((9, 8), (2 * pi, pi)),
    ((6, 8, 5), (1.0, 4.0, 0.7)),
]


@pytest.mark.parametrize(("shape", "period"), CASES)
def test_sums_over_all_coefficients(shape: tuple[int, ...], period: tuple[float, ...]) -> None:
    u = 0.5 + randn(2, *shape, seed=1)
    spectrum = energy_spectrum(u, axes=range(1, u.ndim), period=period)
    squares = torch.fft.fftn(u, dim=tuple(range(1, u.ndim)), norm="forward").abs().square()
    wanted = torch.zeros_like(spectrum)
    for k in itertools.product(*(range(-(n // 2), (n + 1) // 2) for n in shape)):
        kappa = hypot(*(f / length for f, length in zip(k, period, strict=True)))
        wanted[:, floor(kappa * max(period) + 0.5)] += squares[(slice(None), *k)]
    torch.testing.assert_close(spectrum, wanted, rtol=0, atol=1e-14)
    torch.testing.assert_close(spectrum.sum(-1), u.square().flatten(1).mean(1), rtol=1e-13, atol=0)
    assert (spectrum[:, -1] >= 0).all()


def test_equal_wavelengths_share_a_shell_in_any_box() -> None:
    """Two waves of length 1/2 in a box of 2 x 1: shell 4 of multiples of half a wave per unit of length."""
    x = (torch.arange(24, dtype=torch.float64) / 12)[:, None].expand(24, 16)
    y = (torch.arange(16, dtype=torch.float64) / 16).expand(24, 16)
    for u in (torch.cos(2 * pi * 2 * x), torch.sin(2 * pi * 2 * y)):
        spectrum = energy_spectrum(u, axes=(0, 1), period=(2.0, 1.0))
        assert spectrum[4].item() == pytest.approx(0.5)
        assert spectrum.sum().item() == pytest.approx(0.5)
        bands = energy_spectrum(u, axes=(0, 1), period=(2.0, 1.0), edges=(0.0, 1.9, 2.1))
        torch.testing.assert_close(bands, torch.tensor([0.0, 0.5], dtype=torch.float64), rtol=0, atol=1e-14)


def test_edges_enclose_from_below_and_leave_out_the_rest() -> None:
    u = randn(3, 12, 10)
    whole = energy_spectrum(u, axes=(1, 2))
    bands = energy_spectrum(u, axes=(1, 2), edges=(0.0, 0.5, 2.5, inf))
    torch.testing.assert_close(bands[:, 1], whole[:, 1:3].sum(1))
    torch.testing.assert_close(bands.sum(1), whole.sum(1))
    line = energy_spectrum(u, axes=2, edges=(1.0, 2.0, 3.0))  # an edge belongs to the shell above it
    torch.testing.assert_close(line, energy_spectrum(u, axes=2)[..., 1:3])


def test_axes_in_any_order_leave_the_others() -> None:
    u = randn(6, 2, 8, 3)
    wanted = energy_spectrum(u.permute(1, 3, 0, 2), axes=(2, 3), period=(1.0, 2.0))
    assert wanted.shape[:2] == (2, 3)
    torch.testing.assert_close(energy_spectrum(u, axes=(0, 2), period=(1.0, 2.0)), wanted)
    torch.testing.assert_close(energy_spectrum(u, axes=(-2, 0), period=(2.0, 1.0)), wanted)


def test_wavenumbers_lie_as_the_energies() -> None:
    x = torch.arange(12, dtype=torch.float64) / 12
    u = torch.cos(2 * pi * 3 * x)[:, None] * torch.sin(2 * pi * 4 * x)
    energies = mode_energies(u, (0, 1))
    sizes = wavenumbers((12, 12), (1.0, 0.5))
    assert energies.shape == sizes.shape == (12, 7)
    carrying = sizes[energies > 1e-20]
    torch.testing.assert_close(carrying, torch.full((2,), hypot(3, 8), dtype=torch.float64))
    torch.testing.assert_close(energies[energies > 1e-20], torch.full((2,), 1 / 8, dtype=torch.float64))


# torch itself calls torch.jit.script when its forward mode is first used.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_differentiable_in_every_mode() -> None:
    u = randn(2, 4, 5).requires_grad_()

    def spectrum(v: Tensor) -> Tensor:
        return energy_spectrum(v, axes=(-2, -1), period=(1.0, 1.5))

    assert torch.autograd.gradcheck(spectrum, u, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(spectrum, u)
    torch.testing.assert_close(torch.func.vmap(spectrum)(u), spectrum(u))


def test_matrix_products_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    u = randn(3, 9, 12)
    wanted = energy_spectrum(u, axes=(1, 2))
    monkeypatch.setenv("SCIML_KERNELS", "reference")
    torch.testing.assert_close(energy_spectrum(u, axes=(1, 2)), wanted, rtol=0, atol=1e-14)


def test_precision_of_the_caller() -> None:
    u = randn(16, 16)
    wanted = energy_spectrum(u, axes=(0, 1))
    for dtype in (torch.float32, torch.bfloat16):
        found = energy_spectrum(u.to(dtype), axes=(0, 1))
        assert found.dtype == dtype
        # Each sample is rounded once, and so is the result; the sums are of squares.
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(found.double(), wanted, rtol=4 * eps, atol=1e-2 * eps)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda u: energy_spectrum(u, axes=()), "at least one axis"),
        (lambda u: energy_spectrum(u, axes=(0, -2)), "each once"),
        (lambda u: energy_spectrum(u, axes=2), "axes must name"),
        (lambda u: energy_spectrum(u[:0], axes=0), "none of them empty"),
        (lambda u: energy_spectrum(u.int(), axes=0), "real floating point"),
        (lambda u: energy_spectrum(u, axes=0, period=-1.0), "period must be one positive length"),
        (lambda u: energy_spectrum(u, axes=0, period=(1.0, 1.0)), "period must be"),
        (lambda u: energy_spectrum(u, axes=0, edges=(1.0,)), "edges must ascend"),
        (lambda u: energy_spectrum(u, axes=0, edges=(1.0, 0.0)), "edges must ascend"),
    ],
)
def test_errors_say_what_is_expected(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(6, 6))
