"""Fourier series as a basis, and two other bases that the same calculus takes as they are."""

from dataclasses import dataclass
from math import pi

import pytest
import torch
from torch import Tensor

from sciml.kernels.basis import Basis, Fourier
from sciml.kernels.calculus import dealiased_product, derivative, resample

# Sums of some tens of products of numbers of size one in float64.
EXACT = 1e-13


@dataclass(frozen=True)
class Cosine:
    """cos πkx at the centers of n cells: even functions, that is homogeneous Neumann conditions (DCT-II)."""

    def nodes(self, size: int, *, device: torch.device | None = None) -> Tensor:
        return (torch.arange(size, dtype=torch.float64, device=device) + 0.5) / size

    def weights(self, size: int, *, device: torch.device | None = None) -> Tensor:
        return torch.full((size,), 1.0 / size, dtype=torch.float64, device=device)

    def analysis(self, size: int, *, device: torch.device | None = None) -> Tensor:
        matrix = 2.0 / size * self.synthesis(size, size, device=device).T
        matrix[0] /= 2.0
        return matrix

    def synthesis(
        self, size: int, count: int, order: int = 0, *, device: torch.device | None = None
    ) -> Tensor:
        waves = pi * torch.arange(count, dtype=torch.float64, device=device)
        return waves**order * torch.cos(torch.outer(self.nodes(size, device=device), waves) + order * pi / 2)


@dataclass(frozen=True)
class Chebyshev:
    """T_k(2x - 1) at the Gauss-Lobatto points, ends included."""

    def nodes(self, size: int, *, device: torch.device | None = None) -> Tensor:
        angles = torch.linspace(pi, 0.0, size, dtype=torch.float64, device=device)
        return (1.0 + torch.cos(angles)) / 2.0

    def weights(self, size: int, *, device: torch.device | None = None) -> Tensor:
        k = torch.arange(size, dtype=torch.float64, device=device)
        integrals = torch.where(k % 2 == 0, 1.0 / (1.0 - k**2), 0.0)
        return integrals @ self.analysis(size, device=device)

    def analysis(self, size: int, *, device: torch.device | None = None) -> Tensor:
        inverse: Tensor = torch.linalg.inv(self.synthesis(size, size, device=device))
        return inverse

    def synthesis(
        self, size: int, count: int, order: int = 0, *, device: torch.device | None = None
    ) -> Tensor:
        angles = torch.linspace(pi, 0.0, size, dtype=torch.float64, device=device)
        values = torch.cos(torch.outer(angles, torch.arange(count, dtype=torch.float64, device=device)))
        # T_k' = 2k (T_{k-1} + T_{k-3} + ...), with half of T_0; twice that on [0, 1].
        rows, columns = torch.meshgrid(*(2 * [torch.arange(count, device=device)]), indexing="ij")
        slopes = torch.where((rows < columns) & ((columns - rows) % 2 == 1), 4.0 * columns, 0.0).double()
        slopes[0] /= 2.0
        for _ in range(order):
            values = values @ slopes
        return values


BASES = [Fourier(), Cosine(), Chebyshev()]


def smooth(basis: Basis, x: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
    """A function that the basis suits, its first and second derivative, and its integral."""
    if isinstance(basis, Fourier):
        s, c, w = torch.sin(2 * pi * x), torch.cos(2 * pi * x), 2 * pi
        # e^sin: its mean is the modified Bessel function I_0(1).
        return s.exp(), w * c * s.exp(), w**2 * (c**2 - s) * s.exp(), 1.2660658777520084
    if isinstance(basis, Cosine):
        s, c, w = torch.sin(pi * x), torch.cos(pi * x), pi
        return c.exp(), -w * s * c.exp(), w**2 * (s**2 - c) * c.exp(), 1.2660658777520084
    return x.exp(), x.exp(), x.exp(), torch.e - 1.0


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("size", [2, 3, 8, 9, 32])
def test_synthesis_undoes_analysis(basis: Basis, size: int) -> None:
    both = basis.synthesis(size, size) @ basis.analysis(size)
    torch.testing.assert_close(both, torch.eye(size, dtype=torch.float64), rtol=0, atol=EXACT)
    torch.testing.assert_close(basis.weights(size).sum().item(), 1.0, rtol=0, atol=EXACT)


@pytest.mark.parametrize("basis", BASES)
def test_derivatives_resampling_and_quadrature_of_every_basis(basis: Basis) -> None:
    """40 functions resolve the smooth ones to rounding, which two derivatives amplify by 1e4 to 1e6."""
    u, first, second, integral = smooth(basis, basis.nodes(40))
    torch.testing.assert_close(derivative(u, 1, axis=0, basis=basis), first, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        derivative(u, 2, axis=0, period=2.0, basis=basis), second / 4, rtol=0, atol=1e-8
    )
    for size in (30, 41, 64, 100):
        there = resample(u, size, axes=0, basis=basis)
        torch.testing.assert_close(there, smooth(basis, basis.nodes(size))[0], rtol=0, atol=EXACT)
    torch.testing.assert_close((basis.weights(40) @ u).item(), integral, rtol=0, atol=EXACT)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("size", [6, 7])
@pytest.mark.parametrize("factors", [1, 2, 3, 4])
def test_products_lose_nothing_to_aliasing(basis: Basis, size: int, factors: int) -> None:
    """As with ten times the points, on which nothing that matters is folded."""
    fields = torch.randn(factors, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    product = resample(fields, 10 * size, axes=1, basis=basis).prod(0)
    wanted = resample(product, size, axes=0, basis=basis)
    found = dealiased_product(*fields, axes=0, basis=basis)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12 * product.abs().max().item())


@pytest.mark.parametrize("size", [4, 5, 8, 9, 30])
def test_fourier_functions_are_the_waves_and_their_derivatives(size: int) -> None:
    x = Fourier().nodes(size)
    for order in range(6):
        functions = Fourier().synthesis(size, size, order)
        for i in range(size):
            k = 2 * pi * ((i + 1) // 2)
            phase = 2 * pi * ((i + 1) // 2) * x + order * pi / 2
            wave = torch.sin(phase) if i > 0 and i % 2 == 0 else torch.cos(phase)
            # The angles of this formula are rounded at 2πk x, those of the basis are not.
            error = (functions[:, i] - k**order * wave).abs().max()
            assert error < 1e-13 * (k + 1) ** order
