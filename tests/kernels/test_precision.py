"""Products in the formats of tensor cores, emulated; what they do to a truncated transform."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sciml.kernels.fourier import Line, half_matrix
from sciml.kernels.precision import emulated_product, rounded

# (points, modes): precision -> relative L2 errors of the spectrum, of its upper quarter, and of a layer with
# unit weights (analysis and synthesis), as measured once on smooth random fields.
MEASURED: dict[tuple[int, int], dict[str, tuple[float, float, float]]] = {
    (64, 16): {
        "fp32": (2e-7, 3e-7, 3e-7),
        "tf32": (2e-4, 6e-4, 4e-4),
        "tf32x3": (1e-7, 3e-7, 3e-7),
        "bf16": (2e-3, 5e-3, 3e-3),
        "bf16x3": (3e-6, 1e-5, 5e-6),
    },
    (256, 64): {
        "fp32": (3e-7, 7e-7, 5e-7),
        "tf32": (2e-4, 3e-3, 4e-4),
        "tf32x3": (2e-7, 1e-6, 5e-7),
        "bf16": (2e-3, 2e-2, 3e-3),
        "bf16x3": (3e-6, 5e-5, 5e-6),
    },
    (1024, 32): {
        "fp32": (2e-7, 4e-7, 5e-7),
        "tf32": (6e-5, 2e-4, 4e-4),
        "tf32x3": (2e-7, 4e-7, 5e-7),
        "bf16": (5e-4, 2e-3, 3e-3),
        "bf16x3": (9e-7, 3e-6, 4e-6),
    },
}
CASES = [(points, modes, precision) for (points, modes), row in MEASURED.items() for precision in row]


def smooth_fields(points: int) -> Tensor:
    """256 Gaussian random fields in float32, Fourier coefficients of standard deviation ``1 / (8² + k²)``."""
    generator = torch.Generator().manual_seed(0)
    k = torch.arange(points // 2 + 1, dtype=torch.float64)
    amplitude = 1.0 / (64.0 + k**2)
    amplitude[-1] = 0.0  # no Nyquist frequency
    numbers = torch.randn(2, 256, len(k), dtype=torch.float64, generator=generator) * amplitude
    return torch.fft.irfft(torch.complex(*numbers), n=points, norm="forward").float()


@pytest.mark.parametrize(("points", "modes", "precision"), CASES)
def test_errors_of_a_truncated_transform(points: int, modes: int, precision: str) -> None:
    """Within a factor of 2 of what was measured: how much is lost depends on the spectrum of the fields."""
    x, like = smooth_fields(points), torch.empty(0, dtype=torch.float64)
    analysis = half_matrix(Line(points, 0, modes - 1, True), like).flatten(0, 1)
    synthesis = half_matrix(Line(points, 0, modes - 1, True, source=points), like).flatten(0, 1)
    exact = x.double() @ analysis.T
    spectrum = emulated_product(x, analysis.T.float().contiguous(), precision)
    result = emulated_product(spectrum, synthesis.float(), precision)
    upper = torch.cat([torch.arange(3 * modes // 4, modes) + part * modes for part in range(2)])
    errors = [
        relative(spectrum, exact),
        relative(spectrum[:, upper], exact[:, upper]),
        relative(result, exact @ synthesis),
    ]
    for error, measured in zip(errors, MEASURED[points, modes][precision], strict=True):
        assert error < 2.0 * measured
        if precision not in ("fp32", "tf32x3"):  # there the order of the sums in float32 decides
            assert error > 0.5 * measured


def relative(value: Tensor, exact: Tensor) -> float:
    return ((value - exact).norm() / exact.norm()).item()


def test_rounding_to_bfloat16_is_that_of_torch() -> None:
    x = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rounded(x, 7), x.bfloat16().float())  # no number of these lies half-way


def test_rounding_keeps_what_fits_and_both_signs() -> None:
    x = torch.tensor([0.0, 1.0, -1.5, 2.0**-100, -(1.0 + 2.0**-10), float("inf")])
    assert torch.equal(rounded(x, 10), x)
    half_way = torch.tensor([1.0 + 2.0**-11, -1.0 - 2.0**-11, 2.0 - 2.0**-12])
    assert rounded(half_way, 10).tolist() == [1.0 + 2.0**-10, -1.0 - 2.0**-10, 2.0]


def test_other_dtypes_and_precisions_are_refused() -> None:
    with pytest.raises(ValueError, match="must be float32"):
        rounded(torch.zeros(2, dtype=torch.float64), 10)
    with pytest.raises(ValueError, match="precision must be"):
        emulated_product(torch.zeros(2, 2), torch.zeros(2, 2), "fp8")
