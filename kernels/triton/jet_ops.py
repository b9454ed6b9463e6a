"""A chain of layers on the columns of a jet as operators that torch knows: shapes, derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sciml.kernels.jet_series import Bundle
from sciml.kernels.triton import jet_launch
from sciml.kernels.triton.guard import on_device_of, refuse_forward_mode
from sciml.kernels.triton.jet_plain import plain_gradients
from sciml.kernels.triton.jet_plan import Chain, Columns, length

_refuse_forward_mode = partial(refuse_forward_mode, "sciml::jet_chain", "sciml.kernels.jet.jet")


def _chain(
    signs: Sequence[Tensor],
    orders: Sequence[int],
    counts: Sequence[int],
    collapsed: Sequence[bool],
    degree: int,
    activations: str,
    starts: bool,
    only_top: bool,
    precision: str,
) -> Chain:
    bundles = tuple(map(Bundle, orders, counts, collapsed, _present(signs)))
    return Chain(bundles, degree, tuple(activations.split()), starts, only_top, precision)


@torch.library.custom_op("sciml::jet_chain", mutates_args=())
def jet_chain(
    leading: Tensor,
    rest: Tensor | None,
    tensors: Sequence[Tensor],
    signs: Sequence[Tensor],
    orders: Sequence[int],
    counts: Sequence[int],
    collapsed: Sequence[bool],
    degree: int,
    activations: str,
    starts: bool,
    only_top: bool,
    keeps: bool,
    precision: str,
) -> tuple[Tensor, Tensor]:
    """The columns behind a chain, and what its backward pass needs, if it keeps that.

    tensors are weights and biases in turns, activations names separated by spaces; see `Chain`. Where there
    is no bias, or no weights of a sum (signs), stands an empty tensor: torch differentiates lists of tensors.
    """
    _refuse_forward_mode()
    chain = _chain(signs, orders, counts, collapsed, degree, activations, starts, only_top, precision)
    with on_device_of(leading):
        return jet_launch.forward(chain, _columns(leading, rest), _present(tensors), keeps=keeps)


@jet_chain.register_fake
def _(
    leading: Tensor,
    rest: Tensor | None,
    tensors: Sequence[Tensor],
    signs: Sequence[Tensor],
    orders: Sequence[int],
    counts: Sequence[int],
    collapsed: Sequence[bool],
    degree: int,
    activations: str,
    starts: bool,
    only_top: bool,
    keeps: bool,
    precision: str,
) -> tuple[Tensor, Tensor]:
    _refuse_forward_mode()
    chain = _chain(signs, orders, counts, collapsed, degree, activations, starts, only_top, precision)
    _, points, width = leading.shape
    kept = length(chain.kept(points, _present(tensors))) if keeps else 0
    if tensors:
        width = len(tensors[-2])
    behind = 1 + sum(chain.widths_behind(len(chain.activations) - 1))
    return leading.new_empty(behind, points, width), leading.new_empty(kept)


@torch.library.custom_op("sciml::jet_chain_backward", mutates_args=())
def jet_chain_backward(
    gradient: Tensor,
    kept: Tensor,
    leading: Tensor,
    rest: Tensor | None,
    tensors: Sequence[Tensor],
    signs: Sequence[Tensor],
    orders: Sequence[int],
    counts: Sequence[int],
    collapsed: Sequence[bool],
    degree: int,
    activations: str,
    starts: bool,
    only_top: bool,
    precision: str,
    needed: Sequence[bool],
) -> list[Tensor]:
    """Gradients of leading, rest, and the tensors; empty ones where not needed.

    needed says it of the source, and of each of the tensors.
    """
    _refuse_forward_mode()
    chain = _chain(signs, orders, counts, collapsed, degree, activations, starts, only_top, precision)
    source, gradient = _columns(leading, rest), gradient.contiguous()
    with on_device_of(leading):
        of_source, of_tensors = jet_launch.backward(chain, source, _present(tensors), kept, gradient, needed)
    found = [None, None] if of_source is None or not needed[0] else [*of_source]
    return [leading.new_empty(0) if t is None else t for t in (*found, *of_tensors)]


@jet_chain_backward.register_fake
def _(
    gradient: Tensor,
    kept: Tensor,
    leading: Tensor,
    rest: Tensor | None,
    tensors: Sequence[Tensor],
    signs: Sequence[Tensor],
    orders: Sequence[int],
    counts: Sequence[int],
    collapsed: Sequence[bool],
    degree: int,
    activations: str,
    starts: bool,
    only_top: bool,
    precision: str,
    needed: Sequence[bool],
) -> list[Tensor]:
    inputs = (leading, rest, *tensors)
    return [
        leading.new_empty(0 if t is None or not need else t.shape)
        for t, need in zip(inputs, (needed[0], *needed), strict=True)
    ]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    leading, rest, tensors, signs, *settings = inputs
    *settings, _, precision = settings
    ctx.set_materialize_grads(False)  # nobody differentiates with respect to what is kept: no zeros for it
    ctx.save_for_backward(output[1], leading, rest, *tensors, *signs)
    ctx.settings, ctx.count = (*settings, precision), len(tensors)


def _backward(ctx: Any, gradient: Tensor | None, of_kept: Tensor | None) -> tuple[Any, ...]:
    kept, leading, rest, *others = ctx.saved_tensors
    tensors, signs = others[: ctx.count], others[ctx.count :]
    of_leading, of_rest, of_tensors, *_ = ctx.needs_input_grad
    if of_kept is not None:
        raise NotImplementedError("sciml::jet_chain: what it keeps for its backward pass has no derivative.")
    needed = [of_leading or of_rest, *of_tensors]
    found: Sequence[Tensor | None]
    if gradient is None:
        found = [None] * (2 + len(tensors))
    elif torch.is_grad_enabled():  # the gradients are to be differentiated
        orders, counts, collapsed, degree, activations, starts, only_top, _ = ctx.settings
        bundles = tuple(map(Bundle, orders, counts, collapsed, _present(signs)))
        inputs = (leading, rest, *_present(tensors))
        settings = bundles, degree, activations.split(), starts, only_top
        found = plain_gradients(*settings, inputs, gradient, (needed[0], *needed))
    else:
        found = jet_chain_backward(gradient, kept, leading, rest, tensors, signs, *ctx.settings, needed)
    wanted = [of_leading, of_rest and rest is not None, *needed[1:]]
    result = [t if need else None for t, need in zip(found, wanted, strict=True)]
    return result[0], result[1], result[2:], [None] * len(signs), *[None] * (len(ctx.settings) + 1)


jet_chain.register_autograd(_backward, setup_context=_save)


def _columns(leading: Tensor, rest: Tensor | None) -> Columns:
    return Columns(leading.contiguous(), None if rest is None else rest.contiguous())


def _present(tensors: Sequence[Tensor]) -> list[Tensor | None]:
    return [t.contiguous() if t.numel() else None for t in tensors]
