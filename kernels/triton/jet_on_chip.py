"""Starts the kernel that takes the columns of a tile of points through all layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sciml.kernels.triton import jet_network
from sciml.kernels.triton.blocks import INTERPRETED, Tuned, block
from sciml.kernels.triton.jet_plan import Chain, Columns, Linear, aligned
from sciml.kernels.triton.launch import kernel_precision, parts

# A weight and the tile lie in shared memory, which has to have this many bytes for the first choice.
WIDTH, MEMORY = 128, 99 * 1024
# With more columns than these few points are in a tile, and every tile reads all weights.
COLUMNS = 16
NETWORK = Tuned(
    jet_network.network,
    "ROWS",
    [(32, 8, 1), (64, 8, 1), (32, 4, 1), (16, 4, 1)],
    (16,),
    "width COLUMNS ACTIVATION DEGREE KEEP ONLY_TOP PRECISION",
    "value",
)


def fits(chain: Chain, source: Columns, before: Sequence[Linear | None]) -> bool:
    """Whether one kernel can do all layers: see `sciml.kernels.triton.jet_network`."""
    width = source.leading.shape[2]
    layers = before[1:]
    second = [(bundle.order, bundle.collapsed) for bundle in chain.bundles] == [(2, True)]
    if not second or chain.starts or not layers or len(set(chain.activations)) > 1:
        return False
    if any(layer is None or tuple(layer.weight.shape) != (width, width) for layer in layers):
        return False
    if width > WIDTH or chain.bundles[0].count + 2 > COLUMNS or source.leading.dtype != torch.float32:
        return False
    if INTERPRETED:
        return True
    properties: Any = torch.cuda.get_device_properties(source.leading.device)
    return bool(properties.shared_memory_per_block_optin >= MEMORY)


def run(chain: Chain, source: Columns, before: Sequence[Linear | None], kept: Tensor | None) -> Tensor:
    """The columns behind the last activation; those before each of the others go to `kept`."""
    (bundle,) = chain.bundles
    value, rest = source.apart()
    points, width = value.shape
    layers = [layer for layer in before if layer is not None]
    none = value.new_zeros(width)
    biases = torch.stack([none if layer.bias is None else layer.bias for layer in layers])
    last = len(layers)
    y = value.new_empty(1 + sum(chain.widths_behind(last)), points, width)
    columns = block(bundle.count + 2, 4)
    NETWORK.run(
        lambda b: (parts(points, b["ROWS"] // columns),),
        value=value,
        rest=rest,
        signs=value if bundle.weights is None else bundle.weights,
        weights=torch.stack([layer.weight for layer in layers]),
        biases=biases,
        kept=y if kept is None else kept,
        y=y,
        points=points,
        width=width,
        count=bundle.count,
        layers=last,
        step=rest.shape[1] * width,
        row=0 if rest.shape[1] < points else width,
        length=aligned((bundle.count + 2, points, width)),
        COLUMNS=columns,
        FEATURES=block(width, 16),
        ACTIVATION=chain.activations[0],
        DEGREE=chain.degree,
        WEIGHTED=bundle.weights is not None,
        KEEP=kept is not None,
        ONLY_TOP=chain.prunes(last),
        PRECISION=kernel_precision(chain.precision),
    )
    return y
