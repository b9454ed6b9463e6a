"""Gradients of a chain in operations that can be differentiated again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from sciml.kernels import jet_ladders
from sciml.kernels.jet_chain import Activation, Affine, Source, Step, plain_chain
from sciml.kernels.jet_ladders import LadderFunction
from sciml.kernels.jet_series import Bundle

# Activations that the kernels know.
LADDERS: dict[str, LadderFunction] = {
    "tanh": jet_ladders.tanh,
    "sine": jet_ladders.sine,
    "cosine": jet_ladders.cosine,
    "sigmoid": jet_ladders.sigmoid,
    "silu": jet_ladders.silu,
    "gelu": jet_ladders.gelu,
}


def name_of(ladder: LadderFunction) -> str | None:
    """What the kernels call an activation, if they know it."""
    if isinstance(ladder, partial) and not ladder.args and not ladder.keywords:
        ladder = ladder.func
    return next((name for name, known in LADDERS.items() if known is ladder), None)


def steps_of(activations: Sequence[str], starts: bool, tensors: Sequence[Tensor | None]) -> list[Step]:
    """Activations in turns with linear layers of given weights and biases."""
    layers: list[Step] = []
    for weight, bias in zip(tensors[::2], tensors[1::2], strict=True):
        assert weight is not None
        layers.append(Affine(weight, bias))
    functions: list[Step] = [Activation(LADDERS[name]) for name in activations]
    first, second = (layers, functions) if starts else (functions, layers)
    turns = [step for pair in zip(first, second, strict=False) for step in pair]
    return [*turns, *first[len(second) :]]


def plain_gradients(
    bundles: tuple[Bundle, ...],
    degree: int,
    activations: Sequence[str],
    starts: bool,
    only_top: bool,
    inputs: Sequence[Tensor | None],
    gradient: Tensor,
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of the inputs, which are the leading columns, the rest or None, then weights and biases."""
    with torch.enable_grad():
        # Aliases tell apart the uses of a tensor that is an input twice.
        aliases = [None if t is None else t.view_as(t) for t in inputs]
        leading, rest, *tensors = aliases
        assert leading is not None
        if rest is None:
            source = Source(bundles, degree, stack=leading)
        else:
            source = Source(bundles, degree, value=leading[0], rest=rest)
        result = plain_chain(source, steps_of(activations, starts, tensors), only_top=only_top)
        wanted = [t for t, need in zip(aliases, needed, strict=True) if need and t is not None]
        found = iter(torch.autograd.grad(result, wanted, gradient, create_graph=True, allow_unused=True))
    return [next(found) if need and t is not None else None for t, need in zip(aliases, needed, strict=True)]
