"""Linear layers and activations in turns on the columns of a jet, in Triton kernels, for GPUs.

One kernel per layer forward and one backward, besides the products that give the gradients of the weights:
an activation is applied to its columns where their product with the weight is made, and transposed where the
product of the next gradient is made. Importing this module imports no Triton.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.autograd import forward_ad

from sciml.kernels.jet_chain import Activation, Affine, Source, Step, plain_chain
from sciml.kernels.triton.guard import wanted
from sciml.kernels.triton.jet_plain import name_of

HIGHEST = 4


def jet_usable(source: Source, steps: Sequence[Step]) -> bool:
    """Whether the kernels take a chain.

    That is: linear layers and known activations in turns, at least one of these; series of order 4 at most,
    the weights of their sums fixed numbers; plain tensors in float32 on one device, for which
    `sciml.kernels.triton.usable` holds; no autocast, and no transformation of ``torch.func``.
    """
    device = source.apart()[0].device
    if not wanted(device) or torch.is_autocast_enabled(device.type):
        return False
    parameters = [t for step in steps if isinstance(step, Affine) for t in (step.weight, step.bias)]
    tensors = [t for t in (source.stack, source.value, source.rest, *parameters) if t is not None]
    signs = [bundle.weights for bundle in source.bundles if bundle.weights is not None]
    if any(t.dtype != torch.float32 or t.device != device or not t.numel() for t in (*tensors, *signs)):
        return False
    if any(bundle.order > HIGHEST for bundle in source.bundles) or any(w.requires_grad for w in signs):
        return False
    if not _alternate(steps):
        return False
    if torch.compiler.is_compiling():
        return not torch.compiler.is_exporting()
    transformed = torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    return not transformed and all(type(t) in (Tensor, torch.nn.Parameter) for t in (*tensors, *signs))


def jet_chain(source: Source, steps: Sequence[Step], *, only_top: bool, precision: str = "tf32x3") -> Tensor:
    """`sciml.kernels.jet_chain.plain_chain` by the kernels, where `jet_usable` says that they take it.

    Parameters
    ----------
    only_top : bool
        Whether only the value and the highest orders are wanted.
    precision : "tf32x3", "tf32" or "bf16"
        How the kernels multiply, see `sciml.kernels.triton.spectral_layer`. Gradients of weights are products
        of torch, for which ``torch.set_float32_matmul_precision`` says it.

    Returns
    -------
    (columns, *points, features)

    Notes
    -----
    The backward pass keeps the columns before each activation. Derivatives of gradients take the plain path.
    """
    if not jet_usable(source, steps):
        return plain_chain(source, steps, only_top=only_top)
    from sciml.kernels.triton import jet_ops  # imports Triton

    starts = isinstance(steps[0], Affine)
    leading, rest = _flat(source, starts)
    tensors, signs = _parameters(steps), [bundle.weights for bundle in source.bundles]
    names = [name_of(step.ladder) or "" for step in steps if isinstance(step, Activation)]
    inputs = (leading, rest, *tensors)
    keeps = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    result: Tensor
    result, _ = jet_ops.jet_chain(
        leading,
        rest,
        [leading.new_empty(0) if t is None else t for t in tensors],
        [leading.new_empty(0) if t is None else t for t in signs],
        [bundle.order for bundle in source.bundles],
        [bundle.count for bundle in source.bundles],
        [bundle.collapsed for bundle in source.bundles],
        source.degree,
        " ".join(names),
        starts,
        only_top,
        keeps,
        precision,
    )
    return result.reshape(len(result), *source.shape[:-1], result.shape[-1])


def _parameters(steps: Sequence[Step]) -> list[Tensor | None]:
    """Weights, times the scales of the layers, and biases."""
    found: list[Tensor | None] = []
    for step in steps:
        if isinstance(step, Affine):
            pair = step.weight, step.bias
            found += pair if step.scale == 1.0 else [None if t is None else step.scale * t for t in pair]
    return found


def _alternate(steps: Sequence[Step]) -> bool:
    kinds = [isinstance(step, Activation) for step in steps]
    known = all(name_of(step.ladder) is not None for step in steps if isinstance(step, Activation))
    return known and any(kinds) and all(a != b for a, b in pairwise(kinds))


def _flat(source: Source, starts: bool) -> tuple[Tensor, Tensor | None]:
    """Columns with one axis of points: one stack, or the value and the rest where points share that."""
    width = source.shape[-1]
    if source.stack is not None:
        return source.stack.reshape(len(source.stack), -1, width), None
    value, rest = source.apart()
    if starts:
        whole = torch.cat([value, rest.expand(-1, *source.shape)])
        return whole.reshape(len(whole), -1, width), None
    shape = [1] * (rest.ndim - 2) if rest.shape[1:-1].numel() == 1 else source.shape[:-1]
    return value.reshape(1, -1, width), rest.expand(-1, *shape, width).reshape(len(rest), -1, width)
