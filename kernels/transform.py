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

from sciml.kernels.fourier import Line, full_matrix, half_matrix
from sciml.kernels.products import plain, product


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
    def tail(self) -> int:
        """Points behind the last transformed axis."""
        return prod(self.shape[self.axes[-1] + 1 :])

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
        rows = 2 * line.count if line.half else 2 * (line.highest + 1)
        total += rows * remaining
        remaining *= (rows if line.half else line.count) / line.size
    return total


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5, 7):
        while n % prime == 0:
            n //= prime
    return n == 1


def _apply(x: Tensor, transform: Transform, backend: str, analysis: bool) -> Tensor:
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
    half, tail = transform.lines[-1], transform.tail
    matrix = half_matrix(half, x).flatten(0, 1)
    if tail == 1:
        rows = product(x.reshape(-1, half.size), matrix.T)
    else:
        rows = matrix @ x.reshape(-1, half.size, tail)
    return modes_from_rows(rows, transform, x.shape[0], x.shape[1])


def _grid_by_products(modes: Tensor, transform: Transform) -> Tensor:
    half, tail = transform.lines[-1], transform.tail
    matrix = half_matrix(half, modes).flatten(0, 1)
    rows = rows_from_modes(modes, transform)
    if tail == 1:
        samples = product(rows.reshape(-1, 2 * half.count), matrix)
    else:
        samples = matrix.T @ rows.reshape(-1, 2 * half.count, tail)
    channels = modes.shape[-1]
    batch = modes.shape[-2] // prod(transform.others)
    return samples.reshape(batch, channels, *transform.shape)


def modes_from_rows(rows: Tensor, transform: Transform, batch: int, channels: int) -> Tensor:
    """What remains of `to_modes` once the half axis is transformed: one product for each full axis.

    `rows` are (batch, channel, *axes before the last transformed one, 2, K, *axes behind it), in any shape.
    """
    *full, half = transform.lines
    last, sizes = transform.axes[-1], list(transform.shape)
    rest, sizes[last] = half.count * transform.tail, half.count
    for axis, line in zip(reversed(transform.axes[:-1]), reversed(full), strict=True):
        between = prod(sizes[axis + 1 : last])
        columns = rows.reshape(-1, line.size, between * 2 * rest)
        products = full_matrix(line, rows).flatten(0, 1) @ columns
        rows = _pair_to_frequencies(products.reshape(-1, 2, line.highest + 1, between, 2, rest), line)
        sizes[axis] = line.count
    modes = rows.reshape(batch, channels, *sizes[:last], 2, *sizes[last:])
    return modes.permute(_modes_first(len(sizes), transform.axes)).reshape(
        *transform.counts, 2, batch * prod(transform.others), channels
    )


def rows_from_modes(modes: Tensor, transform: Transform) -> Tensor:
    """The transpose of `modes_from_rows`: what `to_grid` does before the product with the half axis."""
    *full, half = transform.lines
    axes, last, sizes = transform.axes, transform.axes[-1], list(transform.shape)
    channels, others = modes.shape[-1], transform.others
    batch = modes.shape[-2] // prod(others)
    for axis, line in zip(axes, transform.lines, strict=True):
        sizes[axis] = line.count
    order = _modes_first(len(sizes), axes)
    back = [order.index(i) for i in range(len(order))]
    rows = modes.reshape(*transform.counts, 2, batch, *others, channels).permute(back)
    rest = half.count * transform.tail
    for axis, line in zip(axes[:-1], full, strict=True):
        between = prod(sizes[axis + 1 : last])
        pairs = _frequencies_to_pair(rows.reshape(-1, line.count, between, 2, rest), line)
        columns = pairs.reshape(-1, 2 * (line.highest + 1), between * 2 * rest)
        rows = full_matrix(line, modes).flatten(0, 1).T @ columns
        sizes[axis] = line.size
    return rows


def _pair_to_frequencies(pairs: Tensor, line: Line) -> Tensor:
    """(lead, 2, P+1, mid, 2, rest) sums with cos and sin -> (lead, K, mid, 2, rest): ``X(±k) = c ∓ i s``."""
    cosine, sine = pairs.unbind(1)
    real, imaginary = sine.unbind(-2)
    turned = torch.stack((imaginary, -real), dim=-2)  # -i s
    positive = cosine[:, : line.last + 1] + turned[:, : line.last + 1]
    if line.first == 0:
        return positive
    negative = (cosine[:, 1 : 1 - line.first] - turned[:, 1 : 1 - line.first]).flip(1)
    return torch.cat((negative, positive), dim=1)


def _frequencies_to_pair(modes: Tensor, line: Line) -> Tensor:
    """The transpose of `_pair_to_frequencies`: ``c = X(k) + X(-k)``, ``s = i (X(k) - X(-k))``."""
    lead, _, mid, _, rest = modes.shape
    rows = line.highest + 1
    positive = modes.new_zeros(lead, rows, mid, 2, rest)
    negative = modes.new_zeros(lead, rows, mid, 2, rest)
    positive[:, : line.last + 1] = modes[:, -line.first :]
    if line.first < 0:
        negative[:, 1 : 1 - line.first] = modes[:, : -line.first].flip(1)
    difference = positive - negative
    sine = torch.stack((-difference.select(-2, 1), difference.select(-2, 0)), dim=-2)
    return torch.stack((positive + negative, sine), dim=1)


def _modes_first(rank: int, axes: tuple[int, ...]) -> list[int]:
    """Dimensions of (batch, channel, *grid), a pair before the last transformed axis, as modes order them."""
    last = axes[-1]

    def place(axis: int) -> int:
        return 2 + axis + (axis >= last)

    others = [place(axis) for axis in range(rank) if axis not in axes]
    return [*(place(axis) for axis in axes), 2 + last, 0, *others, 1]


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
