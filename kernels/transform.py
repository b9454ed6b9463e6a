"""Samples on a grid to the lowest Fourier modes and back, differentiable to every order.

Modes lie as ``(*frequencies, 2, batch, channel)``: real and imaginary parts are rows, channels come last, so
that whatever mixes channels is a plain product of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from sciml.kernels.fourier import Line, full_rows, half_rows
from sciml.kernels.products import plain, product, writable


@dataclass(frozen=True)
class Transform:
    """A tensor product of lines over some axes of a grid.

    Parameters
    ----------
    shape : d integers
        The grid.
    axes : ascending integers
        The axes that are transformed; the others belong to the batch.
    lines : one `Line` per transformed axis
        The last one half, the others full.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    lines: tuple[Line, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Kept frequencies of each transformed axis."""
        return tuple(line.count for line in self.lines)

    @property
    def others(self) -> tuple[int, ...]:
        """Sizes of the axes that are not transformed."""
        return tuple(size for axis, size in enumerate(self.shape) if axis not in self.axes)


def to_modes(x: Tensor, transform: Transform, backend: str | None = None) -> Tensor:
    """(batch, channel, *grid) -> (*frequencies, 2, batch * other axes, channel).

    `backend` is "products" or "fft"; by default `choose` decides.
    """
    if plain():
        return _modes_by_products(x, transform)
    return _apply(x, transform, backend or choose(transform, x.device.type), True)


def to_grid(modes: Tensor, transform: Transform, backend: str | None = None) -> Tensor:
    """(*frequencies, 2, batch * other axes, channel) -> (batch, channel, *grid), the transpose."""
    if plain():
        return _grid_by_products(modes, transform)
    return _apply(modes, transform, backend or choose(transform, modes.device.type), False)


def choose(transform: Transform, device: str) -> str:
    """The faster back-end for a transform, "products" or "fft".

    Measured on a CPU with ``python -P -m sciml.kernels.bench spectral --only crossover``: products win up to
    some 80 multiply-adds per point (24 to 32 modes per axis in 2-D) where the grid has small prime factors,
    and almost always where it has not, since an FFT is then up to 20 times slower. No other device has been
    measured; the same rule holds there.
    """
    smooth = all(_is_smooth(line.size) for line in transform.lines)
    return "products" if _multiply_adds(transform) <= (80.0 if smooth else 600.0) else "fft"


def _multiply_adds(transform: Transform) -> float:
    """Of the products, per point of the grid."""
    total, remaining = 0.0, 1.0  # values that are left of a point's one
    for line in reversed(transform.lines):
        rows = 2 * line.count
        total += rows * remaining
        remaining *= (rows if line.half else line.count) / line.size
    return total


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5, 7):
        while n % prime == 0:
            n //= prime
    return n == 1


def _apply(x: Tensor, transform: Transform, backend: str, analysis: bool) -> Tensor:
    if writable(x):  # nothing to record: spares the call of an autograd.Function
        return _Apply.forward(x, transform, backend, analysis)
    result: Tensor = _Apply.apply(x, transform, backend, analysis)  # type: ignore[no-untyped-call]
    return result


class _Apply(torch.autograd.Function):
    """One linear map and its transpose; it keeps nothing for the backward pass."""

    @staticmethod
    def forward(x: Tensor, transform: Transform, backend: str, analysis: bool) -> Tensor:
        if x.numel() == 0:
            backend = "products"  # some FFT libraries refuse an empty batch
        if analysis:
            return (_modes_by_fft if backend == "fft" else _modes_by_products)(x, transform)
        return (_grid_by_fft if backend == "fft" else _grid_by_products)(x, transform)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, *ctx.settings = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        transform, backend, analysis = ctx.settings
        return _apply(gradient, transform, backend, not analysis), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return _apply(tangent, *ctx.settings)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int, None, None, None], x: Tensor, *settings: Any
    ) -> tuple[Tensor, int]:
        analysis = settings[-1]
        x = x.movedim(in_dims[0], 0 if analysis else -3)  # joins the batch
        if analysis:
            modes = _apply(x.flatten(0, 1), *settings)
            return modes.unflatten(-2, (info.batch_size, -1)), modes.ndim - 2
        samples = _apply(x.flatten(-3, -2), *settings)
        return samples.unflatten(0, (info.batch_size, -1)), 0


def _modes_by_products(x: Tensor, transform: Transform) -> Tensor:
    half = half_rows(transform.lines[-1], x)
    field = x.permute(_transformed_last(transform))
    return modes_from_rows(product(half, field.reshape(-1, half.shape[1]).T), transform, x.shape[1])


def _grid_by_products(modes: Tensor, transform: Transform) -> Tensor:
    half = half_rows(transform.lines[-1], modes)
    samples = product(rows_from_modes(modes, transform).T, half)
    others, order = transform.others, _transformed_last(transform)
    sizes = [transform.shape[axis] for axis in transform.axes]
    field = samples.reshape(modes.shape[-2] // prod(others), *others, modes.shape[-1], *sizes)
    return field.permute([order.index(i) for i in range(len(order))])


def modes_from_rows(rows: Tensor, transform: Transform, channels: int) -> Tensor:
    """What remains of `to_modes` once the half axis is transformed: one product for each full axis.

    `rows` are (K of the half axis, 2, batch * other axes, channel, *full axes) in any shape. Each product
    takes the last axis away and puts its frequencies in front, so that nothing needs to be transposed.
    """
    *full, half = transform.lines
    count = half.count
    for line in reversed(full):
        matrix = full_rows(line, rows).flatten(0, 1)
        products = product(matrix, rows.reshape(-1, line.size).T)
        rows = _cosine_minus_i_sine(products.view(2, line.count, count, 2, -1))
        count *= line.count
    return rows.reshape(*transform.counts, 2, -1, channels)


def rows_from_modes(modes: Tensor, transform: Transform) -> Tensor:
    """The transpose of `modes_from_rows`: what `to_grid` does before the product with the half axis.

    Returns (2 K of the half axis, batch * other axes * channel * full axes).
    """
    *full, half = transform.lines
    rows, count = modes, prod(transform.counts)
    for line in full:
        count //= line.count
        pairs = _with_i_times(rows.reshape(line.count, count, 2, -1))
        rows = product(pairs.view(2 * line.count, -1).T, full_rows(line, modes).flatten(0, 1))
    return rows.reshape(2 * half.count, -1)


def _cosine_minus_i_sine(products: Tensor) -> Tensor:
    """(2, K, rest, 2, points) sums with cosines and with sines, complex pairs -> (K, rest, 2, points)."""
    (c_real, c_imaginary), (s_real, s_imaginary) = (part.unbind(2) for part in products.unbind())
    if not writable(products):
        return torch.stack((c_real + s_imaginary, c_imaginary - s_real), dim=2)
    result = torch.empty_like(products[0])
    torch.add(c_real, s_imaginary, out=result[:, :, 0])
    torch.sub(c_imaginary, s_real, out=result[:, :, 1])
    return result


def _with_i_times(modes: Tensor) -> Tensor:
    """(K, rest, 2, points) -> (2, K, rest, 2, points): complex pairs, and i times them."""
    real, imaginary = modes.unbind(2)
    if not writable(modes):
        return torch.stack((modes, torch.stack((-imaginary, real), dim=2)))
    result = modes.new_empty(2, *modes.shape)
    result[0] = modes
    torch.neg(imaginary, out=result[1, :, :, 0])
    result[1, :, :, 1] = real
    return result


def _transformed_last(transform: Transform) -> list[int]:
    """Dimensions of (batch, channel, *grid) in the order (batch, *other axes, channel, *transformed axes)."""
    others = [axis for axis in range(len(transform.shape)) if axis not in transform.axes]
    return [0, *(2 + axis for axis in others), 1, *(2 + axis for axis in transform.axes)]


def _modes_by_fft(x: Tensor, transform: Transform) -> Tensor:
    *full, half = transform.lines
    last = transform.axes[-1]
    spectrum = torch.fft.rfft(x, dim=2 + last).narrow(2 + last, 0, half.count)
    factors, real = _half_factors(half, x)
    spectrum = spectrum * _along(factors, 2 + last, x.ndim)
    if real is not None:  # the Nyquist frequency of the source is a cosine
        spectrum.select(2 + last, real).imag.zero_()
    for axis, line in zip(reversed(transform.axes[:-1]), reversed(full), strict=True):
        spectrum = _gather(torch.fft.fft(spectrum, dim=2 + axis, norm=_norm(line)), 2 + axis, line)
    others = [axis for axis in range(len(transform.shape)) if axis not in transform.axes]
    order = [2 + axis for axis in transform.axes], [0, *(2 + axis for axis in others), 1]
    pairs = torch.view_as_real(spectrum).permute(*order[0], x.ndim, *order[1])
    return pairs.reshape(*transform.counts, 2, x.shape[0] * prod(transform.others), x.shape[1])


def _grid_by_fft(modes: Tensor, transform: Transform) -> Tensor:
    *full, half = transform.lines
    axes, last, rank = transform.axes, transform.axes[-1], len(transform.shape)
    others = [axis for axis in range(rank) if axis not in axes]
    channels = modes.shape[-1]
    order = [
        len(axes) + 1,
        rank + 2,
        *range(rank),
    ]  # batch and channel; then where each axis of the grid lies
    for place, axis in enumerate(axes):
        order[2 + axis] = place
    for place, axis in enumerate(others):
        order[2 + axis] = len(axes) + 2 + place
    pairs = modes.reshape(*transform.counts, 2, -1, *transform.others, channels).permute(*order, len(axes))
    spectrum = torch.view_as_complex(pairs.contiguous())
    for axis, line in zip(axes[:-1], full, strict=True):
        norm = "backward" if line.source is None else "forward"  # 1/n belongs to analysis
        spectrum = torch.fft.ifft(_embed(spectrum, 2 + axis, line), dim=2 + axis, norm=norm)
    factors, real = _half_factors(half, modes)
    # The inverse counts every frequency twice that it mirrors; only real parts of the others enter.
    mirrored = torch.arange(half.count, device=modes.device)
    mirrored = (mirrored > 0) & (2 * mirrored != half.size)
    spectrum = spectrum * _along(factors / (1.0 + mirrored.to(factors.dtype)), 2 + last, rank + 2)
    for k in {0, half.size // 2 if half.size % 2 == 0 else 0, real or 0}:
        if k < half.count:
            spectrum.select(2 + last, k).imag.zero_()
    samples: Tensor = torch.fft.irfft(spectrum, n=half.size, dim=2 + last, norm="forward")
    return samples


def _half_factors(line: Line, like: Tensor) -> tuple[Tensor, int | None]:
    """The d_k of a half axis, (K,), and the frequency whose imaginary part does not count, if any."""
    factors = torch.full((line.count,), 1.0 / line.size, dtype=like.dtype, device=like.device)
    if line.source is None:
        return factors, None
    nyquist = line.source // 2 if line.source % 2 == 0 and line.source // 2 < line.count else None
    factors[:] = 2.0
    factors[0] = 1.0
    if nyquist is not None:
        factors[nyquist] = 1.0
    return factors, nyquist


def _gather(spectrum: Tensor, dim: int, line: Line) -> Tensor:
    """Frequencies first..last in ascending order from an axis as the FFT orders it."""
    n, back = line.size, -line.first
    kept = torch.cat((spectrum.narrow(dim, n - back, back), spectrum.narrow(dim, 0, line.last + 1)), dim=dim)
    if _splits(line):
        other = spectrum.select(dim, back)
        kept.select(dim, 0).add_(other).mul_(0.5)
    return kept


def _embed(kept: Tensor, dim: int, line: Line) -> Tensor:
    """The transpose of `_gather`: zeros where no frequency is kept."""
    n, back = line.size, -line.first
    negative, positive = kept.narrow(dim, 0, back), kept.narrow(dim, back, line.last + 1)
    shape = list(kept.shape)
    shape[dim] = n
    spectrum = kept.new_zeros(shape)
    spectrum.narrow(dim, 0, line.last + 1).copy_(positive)
    spectrum.narrow(dim, n - back, back).add_(negative)  # n/2 and -n/2 are one sample of the grid
    if _splits(line):
        nyquist = negative.narrow(dim, 0, 1) * 0.5
        spectrum.narrow(dim, n - back, 1).sub_(nyquist)
        spectrum.narrow(dim, back, 1).add_(nyquist)
    return spectrum


def _splits(line: Line) -> bool:
    """Whether -n/2 of a coarser source is kept, which stands for both signs."""
    return line.source is not None and line.source != line.size and -2 * line.first == line.source


def _norm(line: Line) -> str:
    return "forward" if line.source is None else "backward"


def _along(vector: Tensor, dim: int, rank: int) -> Tensor:
    return vector.reshape(-1, *[1] * (rank - 1 - dim))
