"""One layer of a Fourier neural operator: activation, spectral convolution, skip path and bias in one."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu

from sciml.kernels.contractions import Contraction, Dense, mix, mix_backward
from sciml.kernels.fourier import half_matrix
from sciml.kernels.pointwise import gelu_slope
from sciml.kernels.products import plain, precision, product
from sciml.kernels.spectral import check, plan, spectral_conv
from sciml.kernels.transform import Transform, choose, modes_from_rows, rows_from_modes, to_grid, to_modes

# Values of a field worked on at once: 2 MB in float32, which stay in the cache from one step to the next.
PIECE = 2**19


def spectral_layer(
    x: Tensor,
    weight: Tensor | Contraction,
    modes: Sequence[int],
    skip: Tensor,
    bias: Tensor,
    *,
    activation: bool = True,
) -> Tensor:
    """``K a + S a + b`` of ``a = GELU(x)``, with K the spectral convolution and S a matrix at every point.

    Parameters
    ----------
    x : (batch, c_in, *grid)
    weight, modes
        As for `spectral_conv`; the result lies on the grid of x.
    skip : (c_out, c_in)
    bias : (c_out,)
    activation : bool
        Without it, ``a = x``.

    Returns
    -------
    (batch, c_out, *grid)

    Raises
    ------
    ValueError
        As `spectral_conv`.

    Notes
    -----
    On a CPU the time of such a layer goes into moving fields through memory rather than into arithmetic. So
    the work is done piece by piece, while a piece is in the cache, and the activation at the entrance, where
    it is cheap to repeat: all that the backward pass keeps is x and the modes, and of the steps between
    them no field is ever written to memory. Derivatives of any order and ``torch.func`` work.

    Examples
    --------
    >>> import torch
    >>> x, weight = torch.randn(4, 3, 16, 16), torch.randn(8, 4, 3, 5, 2)
    >>> spectral_layer(x, weight, (4, 4), torch.randn(5, 3), torch.zeros(5)).shape
    torch.Size([4, 5, 16, 16])
    """
    modes = tuple(modes)
    if x.is_cuda and isinstance(weight, Tensor):
        from sciml.kernels import triton

        if triton.usable(x, weight):
            first = "gelu_first" if activation else None
            return triton.spectral_layer(
                x, weight, modes, skip, bias, activation=first, precision=precision()
            )
    if plain() or not isinstance(weight, Tensor) or not _by_pieces(x, weight, skip, bias):
        return _whole(x, weight, modes, skip, bias, activation)
    axes = tuple(range(len(modes)))
    check(x, Dense(weight), modes, axes, len(modes))
    shape = tuple(x.shape[2:])
    analysis, synthesis, kept = plan(modes, axes, shape, shape)
    if choose(synthesis, "cpu") != "products":
        return _whole(x, weight, modes, skip, bias, activation)
    used = Dense(weight).narrow(kept).weight
    result, _ = _Layer.apply(x, used, skip, bias, analysis, synthesis, activation)  # type: ignore[no-untyped-call]
    return result  # type: ignore[no-any-return]


def _whole(
    x: Tensor,
    weight: Tensor | Contraction,
    modes: tuple[int, ...],
    skip: Tensor,
    bias: Tensor,
    activation: bool,
) -> Tensor:
    a = gelu(x) if activation else x
    local = torch.baddbmm(bias[:, None], skip.expand(a.shape[0], *skip.shape), a.flatten(2))
    return spectral_conv(a, weight, modes) + local.reshape(a.shape[0], skip.shape[0], *a.shape[2:])


def _by_pieces(x: Tensor, *parameters: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and all(parameter.dtype == x.dtype for parameter in parameters)
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
    )


class _Layer(torch.autograd.Function):
    """Result and modes of the activated input; the modes are an output for the sake of second derivatives."""

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        skip: Tensor,
        bias: Tensor,
        analysis: Transform,
        synthesis: Transform,
        activation: bool,
    ) -> tuple[Tensor, Tensor]:
        batch, c_in, c_out, points = x.shape[0], x.shape[1], skip.shape[0], prod(analysis.shape)
        half = analysis.lines[-1]
        into, out_of = (half_matrix(t.lines[-1], x).flatten(0, 1) for t in (analysis, synthesis))
        fields, pieces = x.reshape(batch, c_in, points), _pieces(batch, c_in * points)
        rows = x.new_empty(batch, c_in * points // half.size, 2 * half.count)
        for piece in pieces:
            a = gelu(fields[piece]) if activation else fields[piece]
            rows[piece] = product(a.view(-1, half.size), into.T).view(rows[piece].shape)
        modes = modes_from_rows(rows, analysis, batch, c_in)
        mixed = mix(modes, weight)
        mixed[_constant(synthesis)] += bias  # the constant mode adds the bias without a pass of its own
        rows = rows_from_modes(mixed, synthesis).reshape(batch, -1, 2 * half.count)
        result = x.new_empty(batch, c_out, points)
        for piece in pieces:
            local = product(skip, _channels_first(fields[piece], activation))
            spectral = product(rows[piece].flatten(0, 1), out_of).view(-1, c_out, points)
            torch.add(local.view(c_out, -1, points).transpose(0, 1), spectral, out=result[piece])
        return result.view(batch, c_out, *analysis.shape), modes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], outputs: tuple[Tensor, Tensor]) -> None:
        x, weight, skip, _, *ctx.settings = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, skip, outputs[1])
        ctx.save_for_forward(x, weight, skip, outputs[1])

    @staticmethod
    def backward(ctx: Any, outer: Tensor | None, of_modes: Tensor | None) -> tuple[Any, ...]:
        x, weight, skip, modes = ctx.saved_tensors
        if outer is None or of_modes is not None or torch.is_grad_enabled():
            found = _gradients(x, weight, skip, modes, outer, of_modes, *ctx.settings)
        else:
            found = _gradients_by_pieces(x, weight, skip, modes, outer, *ctx.settings)
        return *found, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, Tensor]:
        x, weight, skip, modes = ctx.saved_tensors
        dx, dweight, dskip, dbias = (
            torch.zeros_like(like) if given is None else given
            for given, like in zip(tangents, (x, weight, skip, skip[:, 0]), strict=False)
        )
        analysis, synthesis, activation = ctx.settings
        a, da = (gelu(x), gelu_slope(x) * dx) if activation else (x, dx)
        dmodes = to_modes(da, analysis)
        spectral = to_grid(mix(dmodes, weight) + mix(modes, dweight), synthesis)
        change = spectral + _pointwise(skip, da) + _pointwise(dskip, a)
        return change + dbias.reshape(-1, *[1] * (x.ndim - 2)), dmodes

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[tuple[Tensor, Tensor], Any]:
        *tensors, analysis, synthesis, activation = inputs

        def whole(x: Tensor, weight: Tensor, skip: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
            a = gelu(x) if activation else x
            modes = to_modes(a, analysis)
            y = to_grid(mix(modes, weight), synthesis) + _pointwise(skip, a)
            return y + bias.reshape(-1, *[1] * (x.ndim - 2)), modes

        return torch.vmap(whole, in_dims[:4])(*tensors), (0, 0)


def _gradients_by_pieces(
    x: Tensor,
    weight: Tensor,
    skip: Tensor,
    modes: Tensor,
    outer: Tensor,
    analysis: Transform,
    synthesis: Transform,
    activation: bool,
) -> tuple[Tensor, ...]:
    """What is written to is made of `outer`, which vmap may have batched, and never by ``out=``."""
    batch, c_in, c_out, points = x.shape[0], x.shape[1], skip.shape[0], prod(analysis.shape)
    half = analysis.lines[-1]
    into, out_of = (half_matrix(t.lines[-1], x).flatten(0, 1) for t in (analysis, synthesis))
    fields, outer = x.reshape(batch, c_in, points), outer.reshape(batch, c_out, points)
    pieces = _pieces(batch, max(c_in, c_out) * points)
    rows = outer.new_empty(batch, c_out * points // half.size, 2 * half.count)
    of_skip, of_bias = outer.new_zeros(skip.shape), outer.new_zeros(c_out)
    for piece in pieces:
        g = _channels_first(outer[piece], False)
        rows[piece] = product(outer[piece].reshape(-1, half.size), out_of.T).reshape(rows[piece].shape)
        of_skip += product(g, _channels_first(fields[piece], activation).T)
        of_bias += g.sum(1)
    of_modes, of_weight = mix_backward(modes, weight, modes_from_rows(rows, synthesis, batch, c_out))
    rows = rows_from_modes(of_modes, analysis).reshape(batch, -1, 2 * half.count)
    of_x = outer.new_empty(fields.shape)
    for piece in pieces:
        local = product(skip.T, _channels_first(outer[piece], False))
        of_a = product(rows[piece].reshape(-1, 2 * half.count), into).reshape(-1, c_in, points)
        of_a += local.reshape(c_in, -1, points).transpose(0, 1)
        of_x[piece] = torch.ops.aten.gelu_backward(of_a, fields[piece]) if activation else of_a
    return of_x.reshape(x.shape), of_weight, of_skip, of_bias


def _gradients(
    x: Tensor,
    weight: Tensor,
    skip: Tensor,
    modes: Tensor,
    outer: Tensor | None,
    of_modes: Tensor | None,
    analysis: Transform,
    synthesis: Transform,
    activation: bool,
) -> tuple[Tensor | None, ...]:
    """The same by whole tensors and differentiable steps, for derivatives of derivatives."""
    of_a = of_weight = of_skip = of_bias = None
    if outer is not None:
        a = gelu(x) if activation else x
        through, of_weight = mix_backward(modes, weight, to_modes(outer, synthesis))
        of_modes = through if of_modes is None else of_modes + through
        of_a, flat = _pointwise(skip.T, outer), outer.flatten(2)
        of_skip, of_bias = (flat @ a.flatten(2).transpose(1, 2)).sum(0), flat.sum((0, 2))
    if of_modes is not None:
        spectral = to_grid(of_modes, analysis)
        of_a = spectral if of_a is None else of_a + spectral
    of_x = of_a * gelu_slope(x) if activation and of_a is not None else of_a
    return of_x, of_weight, of_skip, of_bias


def _pointwise(matrix: Tensor, x: Tensor) -> Tensor:
    y: Tensor = (matrix @ x.flatten(2)).unflatten(2, x.shape[2:])
    return y


def _channels_first(field: Tensor, activation: bool) -> Tensor:
    """(samples, channel, points), activated or not, as (channel, samples * points): one product for all."""
    samples, channels, points = field.shape
    field = gelu(field) if activation else field
    if samples == 1:
        return field[0]
    result = field.new_empty(channels, samples, points)
    result.transpose(0, 1).copy_(field)
    return result.reshape(channels, samples * points)


def _constant(transform: Transform) -> tuple[int, ...]:
    """Where the real part of the constant mode lies."""
    return (*(-line.first for line in transform.lines), 0)


def _pieces(batch: int, values: int) -> list[slice]:
    """As many samples at a time as stay in the cache, for samples of so many values."""
    samples = max(1, PIECE // values)
    return [slice(start, min(batch, start + samples)) for start in range(0, batch, samples)]
