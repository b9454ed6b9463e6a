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

from sciml.kernels.jet_activation import AnyStage, stage_of
from sciml.kernels.jet_chain import Activation, Affine, Source, Step, last_activation, plain_chain
from sciml.kernels.jet_ladders import LadderFunction
from sciml.kernels.jet_memory import Apart, Columns, Memory
from sciml.kernels.jet_series import Bundle, order_of
from sciml.kernels.jet_tanh import TanhStage
from sciml.kernels.products import plain, precision, product
from sciml.kernels.triton.jets import jet_chain, jet_usable

# Bytes of the columns of a block of points after one layer, of which about three are in use at a time, and
# points. Measured: smaller blocks cost more calls than the cache saves.
BLOCK, MOST = 2**22, 2048
# Fewer points are no block, however large their columns.
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
            threads = torch.get_num_threads()
            fit = min(BLOCK * threads // (columns * max(widths) * size), MOST * threads)
            fit = max(GRAIN, fit)
            block = -(-block // -(-block // fit)) if block else GRAIN  # blocks of equal size
        kinds = tuple(step.scale if isinstance(step, Affine) else step.ladder for step in steps)
        prune = last_activation(steps) if only_top else -1
        return _Layout(kinds, source.bundles, source.degree, prune, block)

    def plan(self, tensors: Tensors, features: int, *, keeps: bool) -> list[_Planned]:
        """The steps with the sizes of what lies behind them."""
        result: list[_Planned] = []
        degree, columns = self.degree, 1 + sum(sum(bundle.widths(self.degree)) for bundle in self.bundles)
        parameters = iter(zip(tensors[::2], tensors[1::2], strict=True))
        for i, (kind, following) in enumerate(zip(self.kinds, [*self.kinds[1:], None], strict=True)):
            stage = weight = bias = None
            if callable(kind):
                only_top = i == self.prune
                stage = stage_of(kind, self.bundles, degree, only_top=only_top, private=i > 0)
                degree, columns = order_of(self.bundles), stage.columns_out
            else:
                weight, bias = next(parameters)
                assert weight is not None
                features = len(weight)
            # What comes before an activation, and what lies between two linear layers; what an activation
            # gives to a linear layer is computed again.
            kept = keeps and following is not None and (stage is None or callable(following))
            scale = 1.0 if callable(kind) else kind
            result.append(_Planned(stage, weight, bias, scale, columns, features, kept))
        return result

    def blocks(self, points: int) -> Iterator[slice]:
        for start in range(0, points, self.block):
            yield slice(start, min(start + self.block, points))


@dataclass(frozen=True, eq=False)
class _Planned:
    """A step, the stack behind it, and whether the backward pass needs that."""

    stage: AnyStage | None  # an activation, or
    weight: Tensor | None  # a linear layer
    bias: Tensor | None
    scale: float
    columns: int
    features: int
    kept: bool


def _piece(points: Points, place: slice) -> Columns | Apart:
    """The columns of a block of points."""
    stack, value, rest = points
    if stack is not None:
        return Columns(stack[:, place])
    assert value is not None and rest is not None
    return Apart(value[place], rest if rest.shape[1] == 1 else rest[:, place])


def _stacked(x: Columns | Apart) -> Columns:
    if isinstance(x, Columns):
        return x
    return Columns(torch.cat([x.value[None], x.rest.expand(-1, *x.value.shape)]))


def _forward(
    layout: _Layout, points: Points, tensors: Tensors, *, keeps: bool
) -> tuple[Tensor, list[Tensor | None]]:
    """The result (columns, points, features), and what the backward pass needs, block after block.

    That is of each step the columns behind it, if they are kept, and then of an activation what
    `Stage.forward` returns.
    """
    leading = points[0][0] if points[0] is not None else points[1]
    assert leading is not None
    count, features = leading.shape
    steps = layout.plan(tensors, features, keeps=keeps)
    # Products are faster with a matrix that is stored as it is read.
    weights = [None if step.weight is None else step.weight.T.contiguous() for step in steps]
    memory = Memory(leading, count * sum(step.columns * step.features for step in steps if step.kept))
    result = leading.new_empty(steps[-1].columns, count, steps[-1].features)
    tape: list[Tensor | None] = []
    for place in layout.blocks(count):
        x: Columns | Apart = _piece(points, place)
        for i, (step, weight) in enumerate(zip(steps, weights, strict=True)):
            shape = (step.columns, x.value.shape[0], step.features)
            room = memory.lasting(*shape) if step.kept else memory.shared(i % 2, *shape)
            found: Sequence[Tensor | None] = ()
            if step.stage is not None:
                found = step.stage.forward(x, room, memory)
            else:
                assert weight is not None
                _affine(_stacked(x), weight, step.bias, step.scale, room)
            x = room
            if keeps:
                tape += [room.whole if step.kept else None, *found]
        result[:, place] = room.whole
    return result, tape


def _affine(x: Columns, weight: Tensor, bias: Tensor | None, scale: float, room: Columns) -> None:
    """Write ``scale (x W + b)``."""
    product(x.rows, weight, out=room.rows)
    if scale != 1.0:
        room.whole.mul_(scale)
    if bias is not None:
        room.value.add_(bias, alpha=scale)


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
        saved = ctx.saved_tensors  # asked for once: a checkpoint evaluates again for it
        inputs, tape = saved[: ctx.inputs], list(saved[ctx.inputs :])
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
    leading = points[0] if points[0] is not None else points[1]
    assert leading is not None
    steps = layout.plan(tensors, leading.shape[-1], keeps=True)
    memory, tape, inward = Memory(gradient), iter(kept), any(needed[:3])
    for place in layout.blocks(gradient.shape[1]):
        x = _piece(points, place)  # type: ignore[arg-type]
        records = [_Record.read(step, tape) for step in steps]
        ȳ, turn = Columns(gradient[:, place]), 0  # then 1 and 2: in memory that may be overwritten
        index, state = len(inputs), None
        for i, step in reversed(list(enumerate(steps))):
            before = records[i - 1].behind if i else x
            if step.stage is not None:
                if not i and not inward:
                    break
                assert before is not None
                state = step.stage.recall(before, memory) if state is None else state
                columns = 1 + len(before.rest)
                if turn and isinstance(step.stage, TanhStage) and columns == step.columns:
                    room = ȳ
                else:
                    turn = 1 + turn % 2
                    room = memory.shared(turn, columns, *ȳ.value.shape)
                step.stage.backward(state, before, records[i].tops, ȳ, room, memory)
                ȳ, state = room, None
                continue
            index -= 2
            if before is None:
                u = records[i - 2].behind if i > 1 else x
                before, state = _again(steps[i - 1].stage, u, records[i - 1].tops, memory)
            before = _stacked(before)
            _add_parameters(gradients[index : index + 2], ȳ, before, step.scale)
            if i or inward:
                turn = 1 + turn % 2
                room = memory.shared(turn, *before.whole.shape)
                assert step.weight is not None
                product(ȳ.rows, step.weight, out=room.rows)
                ȳ = room
                if step.scale != 1.0:
                    ȳ.whole.mul_(step.scale)
        if inward:
            _deposit(gradients, place, ȳ.whole)
    return gradients


def _again(
    stage: AnyStage | None, u: Columns | Apart | None, tops: Sequence[Tensor | None], memory: Memory
) -> tuple[Columns, Any]:
    """What an activation gave to a linear layer, and what it recalled for that."""
    assert stage is not None and u is not None
    room, state = memory.shared("again", stage.columns_out, *u.value.shape), stage.recall(u, memory)
    stage.again(state, u, tops, room)
    return room, state


@dataclass(frozen=True, eq=False)
class _Record:
    """What was kept of a step for a block: the columns behind it, and of an activation some powers."""

    behind: Columns | None
    tops: list[Tensor | None]

    @staticmethod
    def read(step: _Planned, tape: Iterator[Tensor | None]) -> _Record:
        behind = next(tape)
        tops = [] if step.stage is None else [next(tape) for _ in range(step.stage.tops)]
        return _Record(None if behind is None else Columns(behind), tops)


def _add_parameters(gradients: Sequence[Tensor | None], ȳ: Columns, x: Columns, scale: float) -> None:
    """Add the gradients of weight and bias of a linear layer."""
    weight, bias = gradients
    if weight is not None:
        weight.add_(product(ȳ.rows.T, x.rows), alpha=scale)
    if bias is not None:
        bias.add_(ȳ.value.sum(0), alpha=scale)


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
