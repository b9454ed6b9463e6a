r"""Linear layers and activations in a row as one differentiable operation, a block of points at a time.

Run layer by layer over all points, each pass over the columns of a jet goes through memory. Here a block of
points goes through all layers while it is in the cache; each linear layer is one product of matrices for all
columns. The backward pass is written by hand: of each layer it keeps one stack of columns, and computes what
lies behind the activation again. Derivatives of the backward pass are those of the reference,
`sciml.kernels.jet_chain.plain_chain`, which also takes over in forward mode, under ``torch.func`` and
``torch.compile``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from sciml.kernels.jet_activation import Stage
from sciml.kernels.jet_chain import Activation, Affine, Source, Step, last_activation, plain_chain
from sciml.kernels.jet_ladders import LadderFunction
from sciml.kernels.jet_series import Bundle, order_of
from sciml.kernels.products import plain, precision, product
from sciml.kernels.triton.jets import jet_chain, jet_usable

# Bytes of the columns of a block of points after one layer; about four such stacks are in use at a time.
BLOCK = 2**20
# Fewer points in a block cost more calls than the cache saves.
GRAIN = 16

# The columns of a source: a stack, or value and rest; and parameters.
Points = tuple[Tensor | None, Tensor | None, Tensor | None]
Tensors = Sequence[Tensor | None]


def run_chain(source: Source, steps: tuple[Step, ...], *, only_top: bool) -> Tensor:
    """`plain_chain`, by the fastest way that is right here."""
    tensors = [t for step in steps if isinstance(step, Affine) for t in (step.weight, step.bias)]
    if jet_usable(source, steps):
        return jet_chain(source, steps, only_top=only_top, precision=precision())
    inputs = [source.stack, source.value, source.rest, *tensors]
    if only_plain(inputs, source.bundles):
        return plain_chain(source, steps, only_top=only_top)
    layout = _Layout.of(source, steps, only_top)
    value, rest = source.apart()
    value, rest = value.reshape(-1, value.shape[-1]), rest.reshape(len(rest), -1, rest.shape[-1])
    if source.stack is not None:
        points: Points = (
            source.stack.reshape(len(source.stack), *value.shape),
            None,
            None,
        )
    else:
        if rest.shape[1] not in (1, len(value)):  # shared by some axes of the points only
            whole = source.apart()[1].expand(-1, *source.shape)
            rest = whole.reshape(len(rest), *value.shape)
        points = (None, value, rest)
    keeps = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    if keeps:
        result: Tensor = _Chain.apply(layout, *points, *tensors)  # type: ignore[no-untyped-call]
    else:
        with torch.no_grad():
            result, _ = _forward(layout, points, tensors, keeps=False)
    return result.reshape(len(result), *source.shape[:-1], result.shape[-1])


def only_plain(inputs: Sequence[Tensor | None], bundles: Sequence[Bundle]) -> bool:
    """Whether the operation written by hand would be wrong: it knows nothing of tracers and transforms."""
    if plain() or torch._C._are_functorch_transforms_active():
        return True
    first = next(t for t in inputs if t is not None)
    if torch.is_autocast_enabled(first.device.type):
        return True
    if any(bundle.weights is not None and bundle.weights.requires_grad for bundle in bundles):
        return True
    return any(t is not None and forward_ad.unpack_dual(t).tangent is not None for t in inputs)


# What the operation is told of a step besides tensors: an affine one's scale, or an activation's ladder.
_Kind = float | LadderFunction


@dataclass(frozen=True, eq=False)
class _Layout:
    """What the operation is told besides tensors."""

    kinds: tuple[_Kind, ...]
    bundles: tuple[Bundle, ...]
    degree: int  # of the source; after an activation it is the order
    prune: int  # the activation after which only the highest orders are wanted, or -1
    block: int  # points

    @staticmethod
    def of(source: Source, steps: tuple[Step, ...], only_top: bool) -> _Layout:
        shape, tensor = source.shape, source.stack if source.stack is not None else source.value
        assert tensor is not None
        block = shape[:-1].numel()
        if tensor.device.type == "cpu":
            columns = 1 + sum(sum(bundle.widths(bundle.order)) for bundle in source.bundles)
            widths = [shape[-1], *(len(step.weight) for step in steps if isinstance(step, Affine))]
            size = tensor.element_size()
            fit = max(GRAIN, BLOCK * torch.get_num_threads() // (columns * max(widths) * size))
            block = -(-block // -(-block // fit)) if block else GRAIN  # blocks of equal size
            if columns * block * size % 4096 == 0:
                block += 1  # stacks are transposed: at such a stride all rows would share few cache lines
        kinds = tuple(step.scale if isinstance(step, Affine) else step.ladder for step in steps)
        prune = last_activation(steps) if only_top else -1
        return _Layout(kinds, source.bundles, source.degree, prune, block)

    def stages(self) -> list[Stage | float]:
        """Activations with their memory, and the scales of linear layers."""
        buffers: dict[tuple[object, ...], Tensor] = {}
        result: list[Stage | float] = []
        degree = self.degree
        for i, kind in enumerate(self.kinds):
            if callable(kind):
                # What the next activation works on has to stay until it is done.
                shared = None if i + 1 < len(self.kinds) and callable(self.kinds[i + 1]) else buffers
                result.append(Stage(kind, self.bundles, degree, only_top=i == self.prune, buffers=shared))
                degree = order_of(self.bundles)
            else:
                result.append(kind)
        return result

    def blocks(self, points: int) -> Iterator[slice]:
        for start in range(0, points, self.block):
            yield slice(start, min(start + self.block, points))


def _piece(points: Points, place: slice) -> tuple[Tensor, Tensor]:
    """Value (1, block, features) and the other columns of a block of points."""
    stack, value, rest = points
    if stack is not None:
        return stack[:1, place], stack[1:, place]
    assert value is not None and rest is not None
    return value[None, place], rest if rest.shape[1] == 1 else rest[:, place]


def _stacked(value: Tensor, rest: Tensor) -> Tensor:
    return torch.cat([value, rest.expand(-1, *value.shape[1:])])


def _affine(stack: Tensor, weight: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    if scale != 1.0:
        weight = scale * weight
    result = product(stack.reshape(-1, stack.shape[-1]), weight.T).view(*stack.shape[:-1], -1)
    if bias is not None:
        result[0].add_(bias, alpha=scale)
    return result


def _forward(
    layout: _Layout, points: Points, tensors: Tensors, *, keeps: bool
) -> tuple[Tensor, list[Tensor | None]]:
    """The result (columns, points, features), and what the backward pass needs, block after block.

    Of each activation these are the columns before it and what `Stage.forward` keeps; of a linear layer
    behind a linear one or at the beginning, the columns before it.
    """
    leading = points[0][0] if points[0] is not None else points[1]
    assert leading is not None
    stages = layout.stages()
    result: Tensor | None = None
    tape: list[Tensor | None] = []
    for place in layout.blocks(len(leading)):
        value, rest = _piece(points, place)
        stack: Tensor | None = None
        index = 0
        for i, stage in enumerate(stages):
            before = stack
            if isinstance(stage, Stage):
                stack, kept = stage.forward(value[0], rest, keeps=keeps)
                if keeps:
                    tape.append(before)
                    tape += kept
            else:
                weight, bias = tensors[index], tensors[index + 1]
                assert weight is not None
                index += 2
                stack = _affine(_stacked(value, rest) if stack is None else stack, weight, bias, stage)
                if keeps and not (i and isinstance(stages[i - 1], Stage)):
                    tape.append(before)
            value, rest = stack[:1], stack[1:]
        assert stack is not None
        if stack.shape[1] == len(leading):
            return stack, tape
        if result is None:
            result = stack.new_empty(len(stack), len(leading), stack.shape[2])
        result[:, place] = stack
    assert result is not None
    return result, tape


class _Chain(torch.autograd.Function):
    """`_forward` with its transpose. Derivatives of the transpose are those of `plain_chain`."""

    @staticmethod
    def forward(ctx: Any, layout: _Layout, *inputs: Tensor | None) -> Tensor:
        result, tape = _forward(layout, inputs[:3], inputs[3:], keeps=True)  # type: ignore[arg-type]
        ctx.layout = layout
        ctx.save_for_backward(*inputs, *tape)
        ctx.inputs = len(inputs)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, tape = ctx.saved_tensors[: ctx.inputs], list(ctx.saved_tensors[ctx.inputs :])
        needed = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():
            return None, *_differentiable_backward(ctx.layout, inputs, gradient, needed)
        return None, *_backward(ctx.layout, inputs, gradient, tape, needed)


def _backward(
    layout: _Layout, inputs: Tensors, gradient: Tensor, kept: list[Tensor | None], needed: Sequence[bool]
) -> list[Tensor | None]:
    points, tensors = inputs[:3], inputs[3:]
    gradients = [
        t.new_zeros(t.shape) if t is not None and need else None
        for t, need in zip(inputs, needed, strict=True)
    ]
    stages, tape = layout.stages(), iter(kept)
    inward = any(needed[:3])
    for place in layout.blocks(gradient.shape[1]):
        value, rest = _piece(points, place)  # type: ignore[arg-type]
        records = [_read(stages, i, tape) for i in range(len(stages))]
        ȳ, index = gradient[:, place], len(tensors)
        for i, stage in reversed(list(enumerate(stages))):
            before, of_stage = records[i]
            if isinstance(stage, Stage):
                ȳ = stage.backward(of_stage, rest if before is None else before[1:], ȳ)
                continue
            index -= 2
            weight, previous = tensors[index], stages[i - 1]
            assert weight is not None
            if i and isinstance(previous, Stage):
                earlier, of_previous = records[i - 1]
                x = previous.again(of_previous, rest if earlier is None else earlier[1:])
            else:
                x = _stacked(value, rest) if before is None else before
            rows = ȳ.reshape(-1, ȳ.shape[-1])
            _add(gradients[3 + index], product(rows.T, x.reshape(-1, x.shape[-1])), stage)
            if tensors[index + 1] is not None:
                _add(gradients[4 + index], ȳ[0].sum(0), stage)
            if i or inward:
                ȳ = product(rows, weight if stage == 1.0 else stage * weight).view(*ȳ.shape[:-1], -1)
        if inward:
            _deposit(gradients, place, ȳ)
    return gradients


def _read(
    stages: Sequence[Stage | float], step: int, tape: Iterator[Tensor | None]
) -> tuple[Tensor | None, list[Tensor | None]]:
    """What was kept of a step for a block: the columns before it, and what an activation needs."""
    stage = stages[step]
    if isinstance(stage, Stage):
        return next(tape), [next(tape) for _ in range(stage.kept)]
    behind_activation = step > 0 and isinstance(stages[step - 1], Stage)
    return None if behind_activation else next(tape), []


def _add(total: Tensor | None, term: Tensor, scale: float) -> None:
    if total is not None:
        total.add_(term, alpha=scale)


def _deposit(gradients: list[Tensor | None], place: slice, columns: Tensor) -> None:
    """Write the gradient of a block of points into those of the source."""
    stack, value, rest = gradients[:3]
    if stack is not None:
        stack[:, place] = columns
    if value is not None:
        value[place] = columns[0]
    if rest is not None:
        if rest.shape[1] == 1:
            rest += columns[1:].sum(1, keepdim=True)
        else:
            rest[:, place] = columns[1:]


def _differentiable_backward(
    layout: _Layout, inputs: Tensors, gradient: Tensor, needed: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients by autograd through `plain_chain`, so that they may be differentiated."""
    with torch.enable_grad():
        # Aliases tell apart the uses of a tensor that is an input twice.
        stack, value, rest, *tensors = (None if t is None else t.view_as(t) for t in inputs)
        aliases = (stack, value, rest, *tensors)
        parameters = iter(tensors)
        steps: list[Step] = []
        for kind in layout.kinds:
            if callable(kind):
                steps.append(Activation(kind))
            else:
                weight, bias = next(parameters), next(parameters)
                assert weight is not None
                steps.append(Affine(weight, bias, kind))
        source = Source(layout.bundles, layout.degree, stack, value, rest)
        result = plain_chain(source, steps, only_top=layout.prune >= 0)
        wanted = [t for t, need in zip(aliases, needed, strict=True) if need and t is not None]
        found = iter(torch.autograd.grad(result, wanted, gradient, create_graph=True, allow_unused=True))
    return [next(found) if need and t is not None else None for t, need in zip(aliases, needed, strict=True)]
