"""What one training step takes, whatever the machine: floating-point operations, and memory in tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from sciml.kernels.bench.harness import peak_memory

if TYPE_CHECKING:
    from sciml.comparison.contest import Plan
    from sciml.training import Training

PIECES = 4
"""Steps that are counted, from the middle of as many equal parts of a training: later ones may cost more."""
Shape = Sequence[int]


def flops_per_step(plan: Plan) -> float | None:
    """Floating-point operations of one training step, forward and backward, the mean over the training.

    Counted are matrix products, convolutions and attention, 2 for a multiplication with its addition, and
    Fourier transforms of N complex points, 5 N log2 N (half of that for real ones).  Not counted is what acts
    at single points, such as activations and the update of the weights.  The counted steps run on the CPU, so
    that the number is the same for every device: kernels of GPUs are not asked.

    Parameters
    ----------
    plan : Plan
        Which is used up: its model moves to the CPU and is trained for some steps.

    Returns
    -------
    float or None
        None where nothing of this kind is computed.

    Raises
    ------
    DivergedError
        If a loss is not finite.

    Notes
    -----
    An optimizer that evaluates the loss several times in a step costs so many times more.
    """
    training = plan.trainer.iterate(plan.model.cpu(), plan.objective)
    total = plan.trainer.steps
    counts = []
    with closing(iter(training)) as steps:
        for place in sorted({(2 * i + 1) * total // (2 * PIECES) for i in range(PIECES)}):
            training.step = place
            with counter() as counted:
                next(steps)
            counts.append(counted.get_total_flops())
    return sum(counts) / len(counts) or None


def counter() -> FlopCounterMode:
    """Counts the operations of what runs inside its block: ``get_total_flops()``.

    Examples
    --------
    >>> a = torch.zeros(2, 3)
    >>> with counter() as counted:
    ...     _ = a @ a.T
    >>> counted.get_total_flops()
    24
    """
    return FlopCounterMode(display=False, custom_mapping=dict(_FORMULAS))


def step_memory(plan: Plan) -> int:
    """The most bytes that tensors take during one training step.

    Weights, gradients and the state of the optimizer, and what a step allocates on top: activations, above
    all.  Not the data, nor what libraries allocate for themselves on CPUs.  On GPUs it is all that PyTorch
    has allocated there.

    Parameters
    ----------
    plan : Plan
        Which is used up: its model is trained for two steps.
    """
    device = next(plan.model.parameters()).device
    training = plan.trainer.iterate(plan.model, plan.objective)
    with closing(iter(training)) as steps:
        next(steps)  # makes gradients and the state of the optimizer
        training.step = 0
        held = torch.cuda.memory_allocated(device) if device.type == "cuda" else _held(training)
        return held + peak_memory(lambda: next(steps), device)


def _held(training: Training) -> int:
    model = training.model
    tensors = [*model.parameters(), *model.buffers(), *training.objective.parameters()]
    tensors += [p.grad for p in tensors if p.grad is not None]
    tensors += _tensors(training.state_dict()["optimizer"])
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def _tensors(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    inner = state.values() if isinstance(state, Mapping) else state if isinstance(state, list | tuple) else ()
    return [tensor for item in inner for tensor in _tensors(item)]


# Formulas for what torch's own counter leaves out. They get the shapes of tensors in place of tensors.


def _fft(x: Shape, dim: Sequence[int], *_: Any, out_val: Any = None, **__: Any) -> int:
    """5 N log2 N for each transform of the N points along ``dim``."""
    return _transforms(x, [x[d] for d in dim])


def _real_fft(x: Shape, dim: Sequence[int], *_: Any, out_val: Any = None, **__: Any) -> int:
    return _transforms(x, [x[d] for d in dim]) // 2


def _real_inverse(x: Shape, dim: Sequence[int], _: Any, last: int, *, out_val: Any = None, **__: Any) -> int:
    full = list(x)
    full[dim[-1]] = last
    return _transforms(full, [full[d] for d in dim]) // 2


def _transforms(shape: Shape, points: Sequence[int]) -> int:
    return round(5 * math.prod(shape) * math.log2(max(1, math.prod(points))))


def _added_products(_: Shape, a: Shape, b: Shape, *__: Any, out_val: Any = None, **___: Any) -> int:
    """Of ``c += a @ b``, with or without a batch, of matrices or a matrix and a vector."""
    return 2 * math.prod(a) * (b[-1] if len(b) > 1 else 1)


def _matrix_vector(a: Shape, *_: Any, out_val: Any = None, **__: Any) -> int:
    """Of a matrix or a vector with a vector."""
    return 2 * math.prod(a)


def _linear(x: Shape, weight: Shape, *_: Any, out_val: Any = None, **__: Any) -> int:
    return 2 * math.prod(x) * weight[0]


def _attention(q: Shape, k: Shape, v: Shape, *_: Any, out_val: Any = None, **__: Any) -> int:
    return int(sdpa_flop_count(q, k, v))


def _attention_backward(
    gradient: Shape, q: Shape, k: Shape, v: Shape, *_: Any, out_val: Any = None, **__: Any
) -> int:
    return int(sdpa_backward_flop_count(gradient, q, k, v))


_FORMULAS = {
    torch.ops.aten._fft_c2c: _fft,
    torch.ops.aten._fft_r2c: _real_fft,
    torch.ops.aten._fft_c2r: _real_inverse,
    torch.ops.aten.addmm_: _added_products,
    torch.ops.aten.baddbmm_: _added_products,
    torch.ops.aten.addbmm: _added_products,
    torch.ops.aten.addbmm_: _added_products,
    torch.ops.aten.addmv: _added_products,
    torch.ops.aten.addmv_: _added_products,
    torch.ops.aten.mv: _matrix_vector,
    torch.ops.aten.dot: _matrix_vector,
    torch.ops.aten.vdot: _matrix_vector,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
if torch.backends.mkldnn.is_available():
    _FORMULAS[torch.ops.mkldnn._linear_pointwise] = _linear
