"""Functions on tensors that start the kernels for jets: a chain of layers, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from triton.testing import do_bench

from sciml.kernels.jet_series import Bundle, order_of
from sciml.kernels.triton import jet_layer, jet_on_chip
from sciml.kernels.triton.blocks import INTERPRETED, Tuned
from sciml.kernels.triton.jet_plan import Chain, Columns, Linear, length, stacks
from sciml.kernels.triton.launch import kernel_precision, parts

# Points of a tile: few, or twice as many where that leaves each multiprocessor some programs with the fewest
# features. With the tiles of a third order larger ones do not fit the registers.
TILE = 4 if INTERPRETED else 16
LARGEST_ORDER = 2
PROGRAMS = 2
LEAST_FEATURES = 64

_BLOCKS = "FEATURES INNER"
# More features than points: of the three passes of a product in 3xTF32 Triton lays the warps along the longer
# side, and a side too short for all of them is computed twice.
_CHOICES: list[tuple[int, ...]] = [(64, 32, 8, 3), (64, 16, 8, 4), (128, 32, 8, 3), (64, 32, 4, 3)]
_KEY = "inner width POINTS ACTIVATION ORDER DEGREE PRODUCT ONLY_TOP PRECISION"
ACTIVATE = Tuned(jet_layer.activate, _BLOCKS, _CHOICES, (4, 4), _KEY, "value")
TRANSPOSE = Tuned(jet_layer.transpose, _BLOCKS, _CHOICES, (4, 4), _KEY, "of_y")


def forward(
    chain: Chain, source: Columns, tensors: Sequence[Tensor | None], *, keeps: bool
) -> tuple[Tensor, Tensor]:
    """The columns behind the chain, and those that `backward` needs, in one tensor.

    Parameters
    ----------
    tensors
        The weight and the bias, or None, of each linear layer.
    """
    *before, behind = chain.linear(tensors)
    shapes = chain.kept(source.leading.shape[1], tensors)
    kept = source.leading.new_empty(length(shapes) if keeps else 0)
    places = stacks(kept, shapes) if keeps else [None] * len(before)
    ways = [partial(_layer_by_layer, chain, source, before, places)]
    if jet_on_chip.fits(chain, source, before):
        ways.append(partial(jet_on_chip.run, chain, source, before, kept if keeps else None))
    y = _fastest(ways, chain, source, keeps)
    if behind is not None:
        y = _times(y, behind.weight.T)
        if behind.bias is not None:
            y[0] += behind.bias
    return y, kept


def backward(
    chain: Chain,
    source: Columns,
    tensors: Sequence[Tensor | None],
    kept: Tensor,
    gradient: Tensor,
    needed: Sequence[bool],
) -> tuple[Columns | None, list[Tensor | None]]:
    """Gradients of the source and of the tensors, from that of what `forward` returns.

    Parameters
    ----------
    needed
        Whether for the source, and for each of the tensors.
    """
    *before, after = chain.linear(tensors)
    places = stacks(kept, chain.kept(source.leading.shape[1], tensors))
    found: list[Tensor | None] = [None] * len(tensors)

    def deposit(layer: Linear, gradient: Tensor, x: Tensor | None) -> None:
        if x is not None:
            found[layer.place] = torch.mm(gradient.flatten(0, 1).T, x.flatten(0, 1))
        if layer.bias is not None and needed[2 + layer.place]:
            found[layer.place + 1] = gradient[0].sum(0)

    of_source: Columns | None = None
    for i in reversed(range(len(before))):
        stack = places[i]
        z = source if stack is None else Columns(stack)
        again = after is not None and needed[1 + after.place]
        of_z, y = transpose(chain, i, z, gradient, None if after is None else after.weight, again=again)
        if after is not None:
            deposit(after, gradient, y)
        gradient, after, of_source = of_z.leading, before[i], of_z
    if after is not None:
        deposit(after, gradient, source.leading if needed[1] else None)
        of_source = Columns(_times(gradient, after.weight)) if needed[0] else None
    return of_source, found


def _layer_by_layer(
    chain: Chain, source: Columns, before: Sequence[Linear | None], places: Sequence[Tensor | None]
) -> Tensor:
    for i, (layer, z) in enumerate(zip(before, places, strict=True)):
        source = Columns(activate(chain, i, source, layer, z))
    return source.leading


_BEST: dict[Hashable, int] = {}


def _fastest(ways: Sequence[Callable[[], Tensor]], chain: Chain, source: Columns, keeps: bool) -> Tensor:
    """The result by the way that was fastest when such a chain came for the first time."""
    if len(ways) == 1 or INTERPRETED:
        return ways[-1]()
    _, points, width = source.leading.shape
    shape = len(chain.activations), chain.activations[0], chain.bundles[0].count, width, points.bit_length()
    key = (*shape, chain.degree, chain.only_top, keeps, chain.precision, source.leading.device)
    if key not in _BEST:
        times = [do_bench(way, return_mode="median") for way in ways]
        _BEST[key] = times.index(min(times))
    return ways[_BEST[key]]()


def activate(chain: Chain, i: int, source: Columns, layer: Linear | None, z: Tensor | None) -> Tensor:
    """The columns behind an activation and the linear layer before it, whose result is written to z."""
    value, rest = source.apart()
    points, inner = value.shape
    width = inner if layer is None else len(layer.weight)
    y = value.new_empty(1 + sum(chain.widths_behind(i)), points, width)
    results = z if z is not None else y
    none = value  # stands for a tensor that the kernel does not touch
    tile = _tile(chain, points, width, value.device)
    starts = zip(_starts(chain.widths(i)), _starts(chain.widths_behind(i)), strict=True)
    for n, (bundle, (start, start_behind)) in enumerate(zip(chain.bundles, starts, strict=True)):
        ACTIVATE.run(
            lambda b: (parts(points, tile) * parts(width, b["FEATURES"]),),
            value=value,
            rest=rest[start:],
            weight=none if layer is None else layer.weight,
            bias=none if layer is None or layer.bias is None else layer.bias,
            z_value=results[0],
            z_rest=results[1 + start :],
            y_value=y[0],
            y_rest=y[1 + start_behind :],
            inner=inner,
            step=rest.shape[1] * inner,
            row=0 if rest.shape[1] < points else inner,
            PRODUCT=layer is not None,
            BIAS=layer is not None and layer.bias is not None,
            KEEP=z is not None,
            FIRST=n == 0,
            **_settings(chain, i, bundle, value, width, tile),
        )
    return y


def transpose(
    chain: Chain, i: int, z: Columns, gradient: Tensor, weight: Tensor | None, *, again: bool
) -> tuple[Columns, Tensor | None]:
    """The gradient before an activation, and with `again` what it gave.

    That behind the activation is `gradient`, or, given the weight of the next layer, ``gradient weight``.
    """
    value, rest = z.apart()
    points, width = value.shape
    shared = rest.shape[1] < points
    tile = _tile(chain, points, width, value.device)
    y = value.new_empty(1 + sum(chain.widths_behind(i)), points, width) if again else None
    leading, of_rest = torch.empty_like(z.leading), rest
    if z.rest is not None:
        size = (parts(points, tile), sum(chain.widths(i)), width)
        of_rest = value.new_empty(size) if shared else torch.empty_like(rest)
    else:
        of_rest = leading[1:]
    earlier = value
    starts = zip(_starts(chain.widths(i)), _starts(chain.widths_behind(i)), strict=True)
    for n, (bundle, (start, start_behind)) in enumerate(zip(chain.bundles, starts, strict=True)):
        # A kernel never writes what it reads, so that it may run twice while choices are measured.
        of_value = leading[0] if n == len(chain.bundles) - 1 else torch.empty_like(value)
        TRANSPOSE.run(
            lambda b: (parts(points, tile) * parts(width, b["FEATURES"]),),
            gradient=gradient[0],
            of_y=gradient[1 + start_behind :],
            weight=value if weight is None else weight,
            z_value=value,
            z_rest=rest[start:],
            earlier=earlier,
            of_value=of_value,
            of_rest=of_rest[:, start:] if shared else of_rest[start:],
            y_value=value if y is None else y[0],
            y_rest=value if y is None else y[1 + start_behind :],
            inner=gradient.shape[2],
            step=rest.shape[1] * width,
            row=0 if shared else width,
            columns=of_rest.shape[1],
            PRODUCT=weight is not None,
            SHARED=shared,
            AGAIN=again,
            FIRST=n == 0,
            **_settings(chain, i, bundle, value, width, tile),
        )
        earlier = of_value
    if z.rest is None:
        return Columns(leading), y
    return Columns(leading, of_rest.sum(0)[:, None] if shared else of_rest), y


def _settings(chain: Chain, i: int, bundle: Bundle, value: Tensor, width: int, tile: int) -> dict[str, Any]:
    """The arguments that both kernels have."""
    return {
        "signs": value if bundle.weights is None else bundle.weights,
        "points": len(value),
        "width": width,
        "count": bundle.count,
        "POINTS": tile,
        "ACTIVATION": chain.activations[i],
        "ORDER": bundle.order,
        "DEGREE": chain.degree_before(i),
        "COLLAPSED": bundle.collapsed,
        "WEIGHTED": bundle.weights is not None,
        "ONLY_TOP": chain.prunes(i),
        "PRECISION": kernel_precision(chain.precision) if value.dtype == torch.float32 else "ieee",
    }


def _times(columns: Tensor, matrix: Tensor) -> Tensor:
    return torch.mm(columns.flatten(0, 1), matrix).view(*columns.shape[:2], -1)


def _starts(widths: Sequence[int]) -> list[int]:
    return [sum(widths[:n]) for n in range(len(widths))]


def _tile(chain: Chain, points: int, width: int, device: torch.device) -> int:
    """Points of a tile."""
    processors = 2 if INTERPRETED else torch.cuda.get_device_properties(device).multi_processor_count
    many = parts(points, 2 * TILE) * parts(width, LEAST_FEATURES) >= PROGRAMS * processors
    return 2 * TILE if many and order_of(chain.bundles) <= LARGEST_ORDER else TILE
