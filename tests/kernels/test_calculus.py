"""Derivatives, resampling and products against calculus, by each of the ways in which they are computed."""

import itertools
from collections.abc import Sequence
from math import pi, prod

import pytest
import torch
from scipy.special import iv
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from sciml.kernels import spectral_conv, transfer
from sciml.kernels.basis import Fourier
from sciml.kernels.calculus import dealiased_product, derivative, resample

# Sums of some hundred products of numbers of size one.
EXACT = {torch.float64: 1e-12, torch.float32: 1e-5}


@pytest.fixture(params=["products", "fft", "reference"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small matrices, FFTs for every size, and the operations that a trace contains."""
    limit = 0 if request.param == "fft" else 10**9
    monkeypatch.setattr(transfer, "PRODUCTS_UP_TO", limit)
    monkeypatch.setattr(transfer, "PRODUCTS_OF_LARGE_PRIMES_UP_TO", limit)
    if request.param == "reference":
        monkeypatch.setenv("SCIML_KERNELS", "reference")
    return str(request.param)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def polynomial(
    coefficients: Tensor, shape: Sequence[int], orders: Sequence[int], periods: Sequence[float]
) -> Tensor:
    """∂^α Re Σ c_k exp(2πi k·x / L) on a grid, k from -K to K on each axis, c of shape (..., 2K+1, ...)."""
    values = coefficients
    for n, order, length in zip(shape, orders, periods, strict=True):
        highest = values.shape[0] // 2
        k = torch.arange(-highest, highest + 1, dtype=torch.float64)
        wave = torch.exp(2j * pi * torch.outer(torch.arange(n, dtype=torch.float64) / n, k))
        wave = wave * (2j * pi * k / length) ** order
        values = torch.tensordot(values, wave, dims=([0], [1]))  # the new axis comes last
    return values.real


def coefficients(shape: Sequence[int], seed: int = 0) -> Tensor:
    """Random ones of all frequencies below the Nyquist frequencies of a grid."""
    sizes = [2 * ((n - 1) // 2) + 1 for n in shape]
    return torch.complex(randn(*sizes, seed=seed), randn(*sizes, seed=seed + 1)) / prod(sizes)


@pytest.mark.parametrize("shape", [(8,), (15,), (64,), (81,), (8, 9), (15, 12), (5, 8, 6)])
def test_derivatives_of_trigonometric_polynomials_are_exact(way: str, shape: tuple[int, ...]) -> None:
    c, periods = coefficients(shape), (1.0, 2 * pi, 0.3)[: len(shape)]
    u = polynomial(c, shape, [0] * len(shape), periods)
    for orders in itertools.product(range(5), repeat=len(shape)):
        if sum(orders) > 4:
            continue
        found = derivative(u, orders, axis=range(len(shape)), period=periods)
        # Rounding of u is amplified by the largest derivative of the grid.
        scale = prod((pi * n / p) ** o for n, p, o in zip(shape, periods, orders, strict=True))
        wanted = polynomial(c, shape, orders, periods)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-14 * scale)
        if len(shape) == 1:
            assert (found - wanted).norm() < 1e-12 * wanted.norm()


def test_one_axis_of_a_batch(way: str) -> None:
    shape = (8, 9, 10)
    u = polynomial(coefficients(shape), shape, (0, 0, 0), (1.0, 1.0, 3.0))
    batch = torch.stack((u, 2 * u), dim=1)  # between the axes of the grid
    wanted = polynomial(coefficients(shape), shape, (0, 2, 0), (1.0, 1.0, 3.0))
    found = derivative(batch, 2, axis=2)
    torch.testing.assert_close(found, torch.stack((wanted, 2 * wanted), dim=1), rtol=0, atol=1e-10)
    torch.testing.assert_close(derivative(batch, 2, axis=-2), found)
    wanted = polynomial(coefficients(shape), shape, (0, 0, 1), (1.0, 1.0, 3.0))
    torch.testing.assert_close(
        derivative(u.mT, 1, axis=1, period=3.0), wanted.mT, rtol=0, atol=1e-12
    )  # not contiguous


@pytest.mark.parametrize("n", [2, 8, 66])
def test_nyquist_drops_out_of_odd_derivatives_only(way: str, n: int) -> None:
    nyquist = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(n // 2)
    for order in (1, 3):
        assert derivative(nyquist, order, axis=0).abs().max() < 1e-14 * (pi * n) ** order
    for order in (2, 4):
        sign = -1.0 if order == 2 else 1.0
        wanted = sign * (pi * n) ** order * nyquist
        torch.testing.assert_close(derivative(nyquist, order, axis=0), wanted, rtol=1e-13, atol=0)


def test_one_point_is_a_constant(way: str) -> None:
    u = randn(3, 1)
    assert torch.equal(derivative(u, 1, axis=1), torch.zeros_like(u))
    torch.testing.assert_close(resample(u, 5, axes=1), u.expand(3, 5))


def test_error_of_an_analytic_function_is_its_tail(way: str) -> None:
    """exp(sin 2πx) has the coefficients |c_k| = I_k(1); those from n/2 on are lost or land elsewhere."""
    for n in range(4, 41):
        x = torch.arange(n, dtype=torch.float64) / n
        u = torch.exp(torch.sin(2 * pi * x))
        error = (derivative(u, 1, axis=0) - 2 * pi * torch.cos(2 * pi * x) * u).abs().max().item()
        tail = sum(2 * (2 * pi * k + pi * n) * iv(k, 1.0) for k in range((n + 1) // 2, (n + 1) // 2 + 40))
        assert error <= tail + 1e-15 * (pi * n) ** 2


@pytest.mark.parametrize("shape", [(8, 9), (65, 16)])
def test_integration_by_parts_holds_for_all_samples(way: str, shape: tuple[int, ...]) -> None:
    u, v = randn(2, *shape)
    weights = torch.outer(*(Fourier().weights(n) for n in shape))
    for order in range(1, 5):
        left = (weights * u * derivative(v, order, axis=0)).sum()
        right = (-1) ** order * (weights * derivative(u, order, axis=0) * v).sum()
        torch.testing.assert_close(left, right, rtol=0, atol=1e-14 * (pi * shape[0]) ** order)


def test_all_pairs_of_sizes(way: str) -> None:
    """From any grid of 8..65 points to any other: what both resolve keeps its values, noise comes back."""
    sizes = range(8, 66, 3 if way == "reference" else 1)
    highest = max(sizes) // 2
    c = torch.complex(*randn(2, len(sizes), 2 * highest + 1)) / highest
    k = torch.arange(-highest, highest + 1)
    # Row r holds a polynomial that a grid of sizes[r] points resolves.
    c = torch.where(k.abs() < torch.tensor(sizes)[:, None] / 2, c, 0.0)
    values = {n: polynomial(c.T, (n,), (0,), (1.0,)) for n in sizes}
    for dtype in (torch.float64, torch.float32):
        errors = []
        for row, n in enumerate(sizes):
            u = torch.cat((values[n][: row + 1].to(dtype), randn(2, n, dtype=dtype)))
            for m in sizes[row:]:
                there = resample(u, m, axes=1)
                errors.append((there[: row + 1] - values[m][: row + 1]).abs().max())
                errors.append((resample(there, n, axes=1) - u).abs().max())
        assert torch.stack(errors).max() < EXACT[dtype]


@pytest.mark.parametrize("rank", [2, 3])
def test_drawn_grids(way: str, rank: int) -> None:
    generator = torch.Generator().manual_seed(rank)
    periods, values, axes = [1.0] * rank, [0] * rank, range(rank)
    for draw in range(30 if way == "reference" else 200):
        shape, other = torch.randint(1, 22 if rank == 2 else 13, (2, rank), generator=generator).tolist()
        c = coefficients([min(pair) for pair in zip(shape, other, strict=True)], seed=draw)
        u, wanted = (polynomial(c, grid, values, periods) for grid in (shape, other))
        noise = randn(*shape, seed=draw)
        finer = [max(pair) for pair in zip(shape, other, strict=True)]
        for dtype, tolerance in EXACT.items():
            error = (resample(u.to(dtype), other, axes=axes) - wanted).abs().max()
            back = resample(resample(noise.to(dtype), finer, axes=axes), shape, axes=axes)
            assert error < tolerance and (back - noise).abs().max() < tolerance


@pytest.mark.parametrize(
    ("shape", "other"),
    [((8,), (11,)), ((8,), (6,)), ((9,), (8,)), ((8, 6), (12, 4)), ((6, 8, 5), (8, 4, 10))],
)
def test_resampling_is_the_spectral_convolution_with_identity_weights(
    way: str, shape: tuple[int, ...], other: tuple[int, ...]
) -> None:
    """For noise, with everything at the Nyquist frequencies of both grids; one axis at a time.

    The real part that `spectral_conv` takes on several axes at once is that of one axis.
    """
    u = found = randn(*shape)
    for axis, n in enumerate(other):
        rows = found.movedim(axis, -1)
        weight = torch.zeros(20, 1, 1, 2, dtype=torch.float64)
        weight[..., 0] = 1.0
        rows = spectral_conv(rows.reshape(-1, 1, rows.shape[-1]), weight, (20,), out_shape=(n,)).reshape(
            *rows.shape[:-1], n
        )
        found = rows.movedim(-1, axis)
    torch.testing.assert_close(
        resample(u, other, axes=range(len(shape))), found, rtol=0, atol=EXACT[torch.float64]
    )


@pytest.mark.parametrize("shape", [(8,), (9,), (8, 7)])
@pytest.mark.parametrize("factors", [2, 3])
def test_products_are_those_of_functions_cut_to_the_grid(
    way: str, shape: tuple[int, ...], factors: int
) -> None:
    fields = [coefficients(shape, seed=2 * i) for i in range(factors)]
    zeros, ones = [0] * len(shape), [1.0] * len(shape)
    samples = [polynomial(c, shape, zeros, ones) for c in fields]
    fine = [8 * n for n in shape]
    product = prod((polynomial(c, fine, zeros, ones) for c in fields), start=1.0)
    exact = torch.fft.fftn(product, norm="forward")
    wave = torch.zeros([2 * (n // 2) + 1 for n in shape], dtype=torch.complex128)
    for k in itertools.product(*(range(-(n // 2), n // 2 + 1) for n in shape)):
        wave[tuple(f + n // 2 for f, n in zip(k, shape, strict=True))] = exact[k]
    wanted = polynomial(wave, shape, zeros, ones)  # n/2 and -n/2 of even grids together are the cosine
    found = dealiased_product(*samples, axes=range(len(shape)))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-15 * 8 ** len(shape))
    plain = prod(samples[1:], start=samples[0])
    assert (plain - wanted).norm() > 0.1 * wanted.norm()
    torch.testing.assert_close(plain.mean() if factors == 2 else wanted.mean(), found.mean())


def test_products_broadcast_over_batches(way: str) -> None:
    u, v = randn(3, 1, 8, 9), randn(4, 8, 9, seed=1)
    found = dealiased_product(u, v, axes=(-2, -1))
    torch.testing.assert_close(found[2, 1], dealiased_product(u[2, 0], v[1], axes=(0, 1)), rtol=0, atol=1e-13)
    torch.testing.assert_close(dealiased_product(u, axes=(-2, -1)), u, rtol=0, atol=1e-13)


def everything(u: Tensor) -> Tensor:
    """Every kind of map, with derivatives of size one, so that finite differences are accurate."""
    slopes = derivative(u, (2, 1), axis=(-2, -1), period=(12.0, 15.0))
    other = resample(slopes, (4, 6), axes=(-2, -1))
    return dealiased_product(other, other, axes=(-2, -1))


# torch itself calls torch.jit.script when its forward mode is first used.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_derivatives_to_second_order_forward_and_batched(way: str) -> None:
    u = randn(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(
        everything, u, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
    )
    assert torch.autograd.gradgradcheck(everything, u, check_fwd_over_rev=True)


# torch itself calls torch.jit.script when its forward mode is first used.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_transforms_of_functions(way: str) -> None:
    u = randn(3, 4, 7)
    batched = torch.func.vmap(everything, in_dims=1, out_dims=1)(u.movedim(0, 1))
    torch.testing.assert_close(batched, everything(u).movedim(0, 1))

    def energy(v: Tensor) -> Tensor:
        return 0.5 * derivative(v, 1, axis=0).square().mean()

    hessian = torch.func.hessian(energy)(u[0, 0])
    laplacian = derivative(torch.eye(7, dtype=torch.float64), 2, axis=0)
    torch.testing.assert_close(hessian, -laplacian / 7, rtol=0, atol=1e-11)


def test_precision_of_the_caller(way: str) -> None:
    x = torch.arange(32, dtype=torch.float64) / 32
    u, slope = torch.sin(2 * pi * x), 2 * pi * torch.cos(2 * pi * x)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        found = derivative(u.to(dtype), 1, axis=0)
        assert found.dtype == dtype
        # ε πn max|u| of rounding u, and of the result.
        error = 2 * torch.finfo(dtype).eps * 32 * pi
        torch.testing.assert_close(found.double(), slope, rtol=0, atol=error)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = derivative(u.float(), 1, axis=0)
    torch.testing.assert_close(found.double(), slope, rtol=0, atol=2e-7 * 32 * pi)


def test_matrices_born_in_inference_mode_serve_training(way: str) -> None:
    with torch.inference_mode():
        derivative(randn(23), 3, axis=0, period=0.77)
    u = randn(23).requires_grad_()
    derivative(u, 3, axis=0, period=0.77).sum().backward()
    assert u.grad is not None


def test_fake_tensors_leave_nothing_behind(way: str) -> None:
    with FakeTensorMode():
        assert derivative(torch.zeros(2, 29), 1, axis=1, period=0.77).shape == (2, 29)
    assert type(derivative(randn(2, 29), 1, axis=1, period=0.77)) is Tensor


def test_empty_batches(way: str) -> None:
    assert derivative(torch.zeros(0, 8), 1, axis=1).shape == (0, 8)
    assert resample(torch.zeros(0, 8), 12, axes=1).shape == (0, 12)


class Everything(torch.nn.Module):
    def forward(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        finer = resample(u, (2 * u.shape[-1],), axes=-1)
        return derivative(u, (1, 2), axis=(-2, -1)), finer, dealiased_product(u, u, axes=-1)


def test_a_trace_has_matrix_products_and_symbolic_sizes() -> None:
    names = {dim: torch.export.Dim(name, min=4, max=1024) for dim, name in enumerate(("b", "n", "m"))}
    program = torch.export.export(Everything(), (randn(4, 10, 16),), dynamic_shapes=(names,))
    operations = {str(node.target) for node in program.graph.nodes}
    assert not any("fft" in name or "complex" in name for name in operations)
    u = randn(5, 15, 100)
    for found, wanted in zip(program.module()(u), Everything()(u), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-8)


def test_choice_of_the_way() -> None:
    def prefers_fft(source: int, size: int) -> bool:
        return transfer._prefers_fft(transfer.Transfer(source, size))

    assert not prefers_fft(64, 64) and not prefers_fft(64, 128) and prefers_fft(96, 128)
    assert not prefers_fft(101, 101) and prefers_fft(1009, 1009)
    assert transfer.roomy(97, 64) == 97 and transfer.roomy(193, 128) == 200


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda u: derivative(u, -1, axis=0), "order must hold one non-negative integer per axis"),
        (lambda u: derivative(u, (1, 2), axis=0), "order must hold"),
        (lambda u: derivative(u, 1, axis=2), "must lie in a tensor of shape"),
        (lambda u: derivative(u, 1, axis=(0, -2)), "each once"),
        (lambda u: derivative(u, 1, axis=0, period=0.0), "period must be one positive length"),
        (lambda u: derivative(u, 1, axis=0, period=(1.0, 2.0)), "period must be"),
        (lambda u: derivative(u.to(torch.complex64), 1, axis=0), "real floating point"),
        (lambda u: resample(u.long(), 4, axes=0), "real floating point"),
        (lambda u: resample(u, 0, axes=0), "shape must be one positive size per axis"),
        (lambda u: resample(u, (4, 4), axes=0), "shape must be"),
        (lambda u: resample(u, (), axes=()), "at least one axis"),
        (lambda u: resample(u[:0], 4, axes=0), "none of them empty"),
        (lambda u: dealiased_product(axes=0), "at least one factor"),
        (lambda u: dealiased_product(u, u[:4], axes=0), "must lie on one grid"),
        (lambda u: dealiased_product(u, u[0], axes=0), "must lie on one grid"),
    ],
)
def test_errors_say_what_is_expected(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(6, 6))
