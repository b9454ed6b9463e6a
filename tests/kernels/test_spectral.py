"""The spectral convolution against its definition, against torch.fft, and against calculus."""

import itertools
from collections.abc import Callable, Sequence
from math import pi, prod

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sciml.kernels import frequency_range, spectral_conv, transform
from sciml.kernels.fourier import Line, full_matrix

# Sums of some hundred products of numbers of size one in float64: rounding errors stay below 1e-13.
EXACT = {"rtol": 0.0, "atol": 1e-12}


@pytest.fixture(autouse=True, params=["products", "fft", "reference"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything below holds for both back-ends and for the plain products that autograd differentiates."""
    name: str = request.param
    if name == "reference":
        monkeypatch.setenv("SCIML_KERNELS", "reference")
    else:
        monkeypatch.setattr(transform, "choose", lambda *_: name)
    return name


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def grid(shape: Sequence[int]) -> list[Tensor]:
    axes = [torch.arange(n, dtype=torch.float64) / n for n in shape]
    return list(torch.meshgrid(*axes, indexing="ij"))


def stored(modes: Sequence[int]) -> tuple[int, ...]:
    return (*(2 * m for m in modes[:-1]), modes[-1])


def random_weight(modes: Sequence[int], c_in: int = 2, c_out: int = 3, seed: int = 1) -> Tensor:
    return randn(*stored(modes), c_in, c_out, 2, seed=seed)


def identity_weight(modes: Sequence[int]) -> Tensor:
    weight = torch.zeros(*stored(modes), 1, 1, 2, dtype=torch.float64)
    weight[..., 0] = 1.0
    return weight


def by_definition(x: Tensor, weight: Tensor, modes: Sequence[int], out_shape: Sequence[int]) -> Tensor:
    """The sum of the docstring, term by term, in complex arithmetic."""
    shape, rank = x.shape[2:], len(modes)
    dims = tuple(range(2, 2 + rank))
    coefficients = torch.fft.fftn(x.to(torch.complex128), dim=dims, norm="forward")
    full = [
        range(max(-m, -(n // 2), -(o // 2)), min(m - 1, (n - 1) // 2, o // 2) + 1)
        for m, n, o in zip(modes[:-1], shape[:-1], out_shape[:-1], strict=True)
    ]
    half = range(min(modes[-1] - 1, shape[-1] // 2, out_shape[-1] // 2) + 1)
    points = grid(out_shape)
    y = torch.zeros(x.shape[0], weight.shape[-2], *out_shape, dtype=torch.float64)
    for k in itertools.product(*full, half):
        index = (*(f + m for f, m in zip(k[:-1], modes[:-1], strict=True)), k[-1])
        value = torch.view_as_complex(weight[index].contiguous())
        amplitude = coefficients[(slice(None), slice(None), *k)] @ value
        wave = torch.ones(tuple(out_shape), dtype=torch.complex128)
        for axis, (f, n, ξ) in enumerate(zip(k, shape, points, strict=True)):
            oscillation = torch.exp(2j * pi * f * ξ)
            nyquist = 2 * abs(f) == n
            wave = wave * (oscillation.real if nyquist and axis < rank - 1 else oscillation)
        if 2 * k[-1] == shape[-1]:
            carrier = torch.exp(2j * pi * k[-1] * points[-1])
            slow = wave / carrier  # the real part is taken before the last axis, which then is a cosine
            part = (amplitude[(..., *(None,) * rank)] * slow).real * carrier.real
        else:
            part = (1.0 if k[-1] == 0 else 2.0) * (amplitude[(..., *(None,) * rank)] * wave).real
        y += part
    return y


def by_fft(x: Tensor, weight: Tensor, modes: Sequence[int]) -> Tensor:
    """irfftn(pad(R * truncate(rfftn(x)))) as one writes it with torch.fft."""
    rank, shape = len(modes), x.shape[2:]
    dims = tuple(range(2, 2 + rank))
    spectrum = torch.fft.rfftn(x, dim=dims, norm="forward")
    result = torch.zeros(x.shape[0], weight.shape[-2], *spectrum.shape[2:], dtype=spectrum.dtype)
    ranges = [
        frequency_range(m, n, n, half=a == rank - 1)
        for a, (m, n) in enumerate(zip(modes, shape, strict=True))
    ]
    values = torch.view_as_complex(weight)
    for k in itertools.product(*(range(first, last + 1) for first, last in ranges)):
        index = (*(f + m for f, m in zip(k[:-1], modes[:-1], strict=True)), k[-1])
        result[(slice(None), slice(None), *k)] = spectrum[(slice(None), slice(None), *k)] @ values[index]
    # Axis by axis: of a half spectrum that is not Hermitian on k_d = 0, backends make different things.
    if rank > 1:
        result = torch.fft.ifftn(result, dim=dims[:-1], norm="forward")
    return torch.fft.irfft(result, n=shape[-1], norm="forward")


CASES = [
    ((16,), (5,)),
    ((17,), (9,)),
    ((10,), (20,)),  # more modes than the grid has
    ((16, 12), (4, 3)),
    ((9, 16), (3, 9)),  # Nyquist of the last axis kept
    ((8, 7), (4, 4)),  # Nyquist of the first axis kept
    ((8, 6, 10), (2, 3, 4)),
    ((4, 5, 4), (4, 4, 4)),
]


@pytest.mark.parametrize(("shape", "modes"), CASES)
def test_equals_torch_fft_on_its_own_grid(shape: tuple[int, ...], modes: tuple[int, ...]) -> None:
    """Random weights: the columns k_d = 0 are not Hermitian, the Nyquist lines not real."""
    x, weight = randn(2, 2, *shape), random_weight(modes)
    torch.testing.assert_close(spectral_conv(x, weight, modes), by_fft(x, weight, modes), **EXACT)


@pytest.mark.parametrize(("shape", "modes"), CASES)
@pytest.mark.parametrize("change", [(-3, 4, 1), (5, -2, -1), (8, 8, 8), (-2, 0, 3), (0, -4, 0)])
def test_equals_definition_on_other_grids(
    shape: tuple[int, ...], modes: tuple[int, ...], change: tuple[int, ...]
) -> None:
    out_shape = tuple(max(1, n + c) for n, c in zip(shape, change, strict=False))
    x, weight = randn(1, 2, *shape), random_weight(modes)
    y = spectral_conv(x, weight, modes, out_shape=out_shape)
    torch.testing.assert_close(y, by_definition(x, weight, modes, out_shape), **EXACT)


def test_every_grid_from_1_to_33_is_right() -> None:
    for n in range(1, 34):
        x, weight = randn(1, 2, n), random_weight((8,))
        torch.testing.assert_close(spectral_conv(x, weight, (8,)), by_fft(x, weight, (8,)), **EXACT)
        for shape in ((n, 5), (6, n)):
            x, weight = randn(1, 2, *shape), random_weight((4, 3))
            torch.testing.assert_close(spectral_conv(x, weight, (4, 3)), by_fft(x, weight, (4, 3)), **EXACT)


def test_identity_resamples_every_pair_of_1d_grids() -> None:
    """Four modes hold frequencies 0..3, which grids from 8 points on resolve without a Nyquist term."""

    def field(n: int) -> Tensor:
        ξ = 2 * pi * torch.arange(n, dtype=torch.float64) / n
        return 0.3 + torch.sin(ξ) - 0.7 * torch.cos(2 * ξ) + 0.4 * torch.sin(3 * ξ + 0.2)

    weight = identity_weight((4,))
    for n_in, n_out in itertools.product(range(8, 34), repeat=2):
        y = spectral_conv(field(n_in)[None, None], weight, (4,), out_shape=(n_out,))
        torch.testing.assert_close(y[0, 0], field(n_out), **EXACT)


def plane_waves(points: Sequence[Tensor]) -> Tensor:
    """Waves along every diagonal, the negative frequencies of each axis among them."""
    x, y, z = (*points, *[torch.zeros(())] * 2)[:3]
    return (
        torch.cos(2 * pi * (x - 2 * y + z))
        + 0.5 * torch.sin(2 * pi * (2 * x + y - 2 * z))
        - 0.3 * torch.cos(2 * pi * (-2 * x + 2 * y - z) + 0.4)
        + 0.2 * torch.sin(2 * pi * (x + y))
    )


@pytest.mark.parametrize(
    ("shape", "out_shape"),
    [
        ((8, 8), (16, 16)),
        ((16, 16), (8, 8)),
        ((9, 12), (14, 7)),
        ((7, 11), (12, 10)),
        ((8, 8, 8), (16, 16, 16)),
        ((7, 8, 9), (9, 7, 8)),
        ((12, 9, 6), (6, 10, 13)),
    ],
)
def test_identity_resamples_by_value(shape: tuple[int, ...], out_shape: tuple[int, ...]) -> None:
    modes = (3,) * len(shape)
    x, weight = plane_waves(grid(shape))[None, None], identity_weight(modes)
    y = spectral_conv(x, weight, modes, out_shape=out_shape)
    torch.testing.assert_close(y[0, 0], plane_waves(grid(out_shape)), **EXACT)
    back = spectral_conv(y, weight, modes, out_shape=shape)
    torch.testing.assert_close(back, x, **EXACT)


def test_nyquist_of_the_input_is_the_cosine() -> None:
    ξ_in, ξ_out = (torch.arange(n, dtype=torch.float64) / n for n in (8, 24))
    saw = torch.cos(8 * pi * ξ_in)  # (-1)^j on 8 points
    last = spectral_conv(saw[None, None], identity_weight((5,)), (5,), out_shape=(24,))
    torch.testing.assert_close(last[0, 0], torch.cos(8 * pi * ξ_out), **EXACT)
    first = spectral_conv(
        saw[None, None, :, None].expand(1, 1, 8, 4), identity_weight((4, 2)), (4, 2), out_shape=(24, 6)
    )
    torch.testing.assert_close(first[0, 0], torch.cos(8 * pi * ξ_out)[:, None].expand(24, 6), **EXACT)


def test_nyquist_of_the_output_is_sampled() -> None:
    """On 8 points cos(8πξ) is (-1)^j and sin(8πξ) vanishes, whether the axis is the last or not."""
    ξ = torch.arange(32, dtype=torch.float64) / 32
    samples = torch.tensor([1.0, -1.0] * 4, dtype=torch.float64)
    for wave, expected in ((torch.cos(8 * pi * ξ), samples), (torch.sin(8 * pi * ξ), 0 * samples)):
        last = spectral_conv(wave[None, None], identity_weight((6,)), (6,), out_shape=(8,))
        torch.testing.assert_close(last[0, 0], expected, **EXACT)
        tall = wave[None, None, :, None].expand(1, 1, 32, 3)
        first = spectral_conv(tall, identity_weight((6, 1)), (6, 1), out_shape=(8, 3))
        torch.testing.assert_close(first[0, 0], expected[:, None].expand(8, 3), **EXACT)


@pytest.mark.parametrize("n", [16, 17, 32, 33])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_is_the_analytic_convolution(n: int, rank: int) -> None:
    """A wave of frequency k leaves multiplied by |g(k)| and shifted by arg g(k), g the spectrum."""
    modes = (3,) * rank
    shape = (n, 16, 17)[:rank]
    k = (-2, 1, 2)[-rank:]
    weight = random_weight(modes, 1, 1)
    index = (*(f + 3 for f in k[:-1]), k[-1])
    gain = torch.view_as_complex(weight)[(*index, 0, 0)]
    phase = 2 * pi * sum(f * ξ for f, ξ in zip(k, grid(shape), strict=True))
    y = spectral_conv(torch.cos(phase + 0.3)[None, None], weight, modes)
    torch.testing.assert_close(y[0, 0], gain.abs() * torch.cos(phase + 0.3 + gain.angle()), **EXACT)


@pytest.mark.parametrize("shape", [(8, 8), (7, 9)])
def test_value_at_common_points_does_not_depend_on_the_grid(shape: tuple[int, ...]) -> None:
    modes, weight = (3, 3), random_weight((3, 3), 1, 1)
    coarse = spectral_conv(plane_waves(grid(shape))[None, None], weight, modes)
    fine_shape = tuple(2 * n for n in shape)
    fine = spectral_conv(plane_waves(grid(fine_shape))[None, None], weight, modes)
    torch.testing.assert_close(fine[..., ::2, ::2], coarse, **EXACT)
    finer_shape = tuple(3 * n for n in shape)
    finer = spectral_conv(plane_waves(grid(fine_shape))[None, None], weight, modes, out_shape=finer_shape)
    torch.testing.assert_close(finer[..., ::3, ::3], coarse, **EXACT)


def test_commutes_with_translations() -> None:
    x, weight = randn(1, 2, 12, 9), random_weight((4, 3))
    moved = spectral_conv(x.roll((5, -2), (2, 3)), weight, (4, 3))
    torch.testing.assert_close(moved, spectral_conv(x, weight, (4, 3)).roll((5, -2), (2, 3)), **EXACT)


def test_is_bilinear() -> None:
    x, z, weight, other = (
        randn(1, 2, 9, 8),
        randn(1, 2, 9, 8, seed=5),
        random_weight((3, 3)),
        random_weight((3, 3), seed=6),
    )
    y = spectral_conv(2 * x - z, weight, (3, 3))
    torch.testing.assert_close(
        y, 2 * spectral_conv(x, weight, (3, 3)) - spectral_conv(z, weight, (3, 3)), **EXACT
    )
    y = spectral_conv(x, weight + 3 * other, (3, 3))
    torch.testing.assert_close(
        y, spectral_conv(x, weight, (3, 3)) + 3 * spectral_conv(x, other, (3, 3)), **EXACT
    )


def test_real_and_complex_weights_learn_alike() -> None:
    """Forward, gradient and one step of Adam, against torch.fft with a complex parameter."""
    x, start = randn(2, 2, 8, 9), random_weight((3, 4))
    real = torch.nn.Parameter(start.clone())
    complex_ = torch.nn.Parameter(torch.view_as_complex(start.clone()))
    optimizers = [torch.optim.Adam([p], lr=0.1) for p in (real, complex_)]
    outputs = [spectral_conv(x, real, (3, 4)), by_fft(x, torch.view_as_real(complex_), (3, 4))]
    torch.testing.assert_close(*outputs, **EXACT)
    for y, optimizer in zip(outputs, optimizers, strict=True):
        (y**2).mean().backward()
        optimizer.step()
    assert real.grad is not None and complex_.grad is not None
    torch.testing.assert_close(real.grad, torch.view_as_real(complex_.grad), **EXACT)
    # Adam divides by sqrt(v) + 1e-8, which magnifies rounding in entries whose gradient is tiny.
    torch.testing.assert_close(real.data, torch.view_as_real(complex_.data), rtol=0.0, atol=1e-7)


# torch itself calls torch.jit.script when its forward mode is first used.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("shape", "modes", "out_shape"),
    [((6,), (4,), (9,)), ((4, 5), (2, 2), (5, 3)), ((3, 4, 4), (1, 2, 2), None)],
)
def test_derivatives(
    shape: tuple[int, ...], modes: tuple[int, ...], out_shape: tuple[int, ...] | None
) -> None:
    def layer(x: Tensor, weight: Tensor) -> Tensor:
        return spectral_conv(x, weight, modes, out_shape=out_shape)

    x = randn(1, 1, *shape).requires_grad_()
    weight = random_weight(modes, 1, 2).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x, weight), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(layer, (x, weight))
    # Bilinear: the derivative in a direction is the sum of two layers.
    dx, dw = randn(*x.shape, seed=7), randn(*weight.shape, seed=8)
    _, tangent = torch.func.jvp(layer, (x.detach(), weight.detach()), (dx, dw))
    torch.testing.assert_close(tangent, layer(dx, weight) + layer(x, dw), **EXACT)


class _NoComplex(TorchDispatchMode):
    """Fails on the first operation that makes a complex tensor; counts the others."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        assert not (isinstance(result, Tensor) and result.is_complex()), func
        self.count += 1
        return result


def test_no_complex_tensor_forward_or_backward(backend: str) -> None:
    if backend == "fft":
        pytest.skip("the FFT is complex inside; its inputs and outputs are checked below")
    x, weight = randn(2, 2, 8, 6, 4).requires_grad_(), random_weight((2, 2, 3)).requires_grad_()
    with _NoComplex() as mode:
        spectral_conv(x, weight, (2, 2, 3), out_shape=(9, 5, 6)).square().sum().backward()
    assert mode.count > 10


def test_no_sample_looks_at_another() -> None:
    x, weight = randn(5, 2, 9, 8), random_weight((3, 3))
    together = spectral_conv(x, weight, (3, 3))
    alone = torch.cat([spectral_conv(one, weight, (3, 3)) for one in x.split(1)])
    torch.testing.assert_close(together, alone, **EXACT)
    assert spectral_conv(x[:0], weight, (3, 3)).shape == (0, 3, 9, 8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_computes_halves_in_float32(dtype: torch.dtype) -> None:
    x, weight = randn(2, 2, 16, 16, dtype=torch.float32).to(dtype), random_weight((4, 4)).float()
    y = spectral_conv(x, weight, (4, 4))
    assert y.dtype == dtype
    # Only the result is rounded, so it equals the rounded float32 result.
    assert torch.equal(y, spectral_conv(x.float(), weight, (4, 4)).to(dtype))


def test_autocast_leaves_float32_alone() -> None:
    x, weight = randn(2, 2, 16, 16).float(), random_weight((4, 4)).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = spectral_conv(x, weight, (4, 4))
    assert torch.equal(inside, spectral_conv(x, weight, (4, 4)))


def test_float32_is_accurate() -> None:
    """Products of up to 64 + 32 terms lose about a digit on 6e-8; measured 3e-7 at 64 points and 16 modes."""
    x, weight = randn(1, 2, 64, 64), random_weight((16, 16))
    y, exact = spectral_conv(x.float(), weight.float(), (16, 16)), spectral_conv(x, weight, (16, 16))
    assert (y - exact).norm() / exact.norm() < 1e-6


def test_matrices_made_in_inference_mode_can_train() -> None:
    shape = (31, 29)  # met nowhere else, so that the matrices are made here
    weight = random_weight((2, 2)).requires_grad_()
    with torch.inference_mode():
        spectral_conv(randn(1, 2, *shape), weight, (2, 2))
    spectral_conv(randn(1, 2, *shape).requires_grad_(), weight, (2, 2)).sum().backward()
    assert weight.grad is not None


def test_matrices_are_made_once_and_never_from_a_trace() -> None:
    like, line = torch.zeros(1), Line(12, -3, 2, half=False)
    assert full_matrix(line, like) is full_matrix(Line(12, -3, 2, half=False), like)
    with torch._subclasses.fake_tensor.FakeTensorMode():
        fake = spectral_conv(torch.empty(1, 2, 23, 19), torch.empty(6, 3, 2, 3, 2), (3, 3))
    assert fake.shape == (1, 3, 23, 19)
    assert type(spectral_conv(randn(1, 2, 23, 19), random_weight((3, 3)), (3, 3))) is Tensor


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modes": ()}, "at least one axis"),
        ({"modes": (0, 3)}, r"at least 1 mode each, got \(0, 3\)"),
        ({"x": torch.zeros(1, 2, 8, 8, dtype=torch.int64)}, "x must be real floating point, got torch.int64"),
        ({"weight": torch.zeros(6, 3, 2, 3, 2, dtype=torch.complex64)}, "view_as_real"),
        ({"x": torch.zeros(1, 2, 8)}, r"with 2 grid axes.*got \(1, 2, 8\)"),
        ({"x": torch.zeros(1, 2, 8, 0)}, "at least one point"),
        ({"x": torch.zeros(1, 4, 8, 8)}, r"\(6, 3, 4, c_out, 2\) for modes \(3, 3\), got \(6, 3, 2, 3, 2\)"),
        ({"weight": torch.zeros(3, 3, 2, 3, 2)}, "weight must have shape"),
        ({"out_shape": (8, 0)}, "2 positive grid sizes"),
    ],
)
def test_refuses_in_a_sentence(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "x": torch.zeros(1, 2, 8, 8),
        "weight": torch.zeros(6, 3, 2, 3, 2),
        "modes": (3, 3),
    }
    call: Callable[..., Tensor] = spectral_conv
    with pytest.raises(ValueError, match=message):
        call(**(arguments | change))


def test_exports_as_real_products() -> None:
    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(random_weight((3, 4)).float())

        def forward(self, x: Tensor) -> Tensor:
            return spectral_conv(x, self.weight, (3, 4))

    layer, x = Layer(), randn(3, 2, 12, 10, dtype=torch.float32)
    program = torch.export.export(layer, (x,), dynamic_shapes={"x": {0: torch.export.Dim("batch")}})
    values = [node.meta["val"] for node in program.graph.nodes if isinstance(node.meta.get("val"), Tensor)]
    assert values and not any(value.is_complex() for value in values)
    for batch in (3, 7):
        x = randn(batch, 2, 12, 10, dtype=torch.float32)
        torch.testing.assert_close(program.module()(x), layer(x), rtol=0, atol=1e-6 * prod((12, 10)))
