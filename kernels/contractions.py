"""How a weight mixes the channels of each Fourier mode.

Modes are ``(*frequencies, 2, batch, channel)`` real pairs (`sciml.kernels.transform`). A contraction is a set
of tensors that stands for a complex tensor ``R (*frequencies, c_in, c_out)`` and multiplies by it without
building it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from sciml.kernels.products import writable


@runtime_checkable
class Contraction(Protocol):
    """What `spectral_conv` asks of a weight."""

    @property
    def frequencies(self) -> tuple[int, ...]:
        """Stored frequencies per axis."""

    @property
    def channels(self) -> tuple[int, int]:
        """(c_in, c_out)."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The real tensors that it consists of."""

    def to(self, dtype: torch.dtype) -> Contraction:
        """The same with other tensors of another precision."""

    def narrow(self, ranges: tuple[tuple[int, int], ...]) -> Contraction:
        """The part for positions start..stop-1 of each frequency axis."""

    def mix(self, modes: Tensor) -> Tensor:
        """(*frequencies, 2, batch, c_in) -> (*frequencies, 2, batch, c_out)."""

    def dense(self) -> Tensor:
        """The tensor that it stands for, (*frequencies, c_in, c_out, 2)."""


@dataclass(frozen=True)
class Dense:
    """One matrix per frequency.

    Parameters
    ----------
    weight : (*frequencies, c_in, c_out, 2)
    """

    weight: Tensor

    @property
    def frequencies(self) -> tuple[int, ...]:
        return tuple(self.weight.shape[:-3])

    @property
    def channels(self) -> tuple[int, int]:
        return self.weight.shape[-3], self.weight.shape[-2]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    def to(self, dtype: torch.dtype) -> Dense:
        return Dense(self.weight.to(dtype))

    def narrow(self, ranges: tuple[tuple[int, int], ...]) -> Dense:
        weight = self.weight
        for axis, (start, stop) in enumerate(ranges):
            if (start, stop) != (0, weight.shape[axis]):  # the gradient of a slice is a padded copy
                weight = weight.narrow(axis, start, stop - start)
        return Dense(weight)

    def mix(self, modes: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return mix(modes, self.weight)
        mixed: Tensor = _Mix.apply(modes, self.weight)  # type: ignore[no-untyped-call]
        return mixed

    def dense(self) -> Tensor:
        return self.weight


def mix(modes: Tensor, weight: Tensor) -> Tensor:
    """A matrix per frequency: (*K, 2, batch, c_in), (*K, c_in, c_out, 2) -> (*K, 2, batch, c_out).

    Real and imaginary parts of the batch are rows, those of the weight columns of one real product, whose
    four blocks are then added up. This reads the weight, the largest operand, once.
    """
    *frequencies, _, batch, c_in = modes.shape
    count, c_out = prod(frequencies), weight.shape[-2]
    rows, columns = modes.reshape(count, 2 * batch, c_in), weight.reshape(count, c_in, 2 * c_out)
    product = torch.bmm(rows, columns).view(*frequencies, 2, batch, c_out, 2)
    of_real, of_imaginary = product.unbind(-4)
    (rr, ri), (ir, ii) = of_real.unbind(-1), of_imaginary.unbind(-1)
    if not writable(product):
        return torch.stack((rr - ii, ri + ir), dim=-3)
    mixed = modes.new_empty(*frequencies, 2, batch, c_out)
    torch.sub(rr, ii, out=mixed.select(-3, 0))
    torch.add(ri, ir, out=mixed.select(-3, 1))
    return mixed


def mix_backward(modes: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of `mix` to the modes and to the weight: products with the conjugate of the other one."""
    *frequencies, _, batch, c_in = modes.shape
    count, c_out = prod(frequencies), weight.shape[-2]  # in full: of an empty batch no size can be inferred
    # Each row of the gradient beside itself times -i: one product then gives both parts of either result.
    both = _beside_minus_i_times(gradient).reshape(count, 2 * batch, 2 * c_out)
    of_modes = torch.bmm(both, weight.reshape(count, c_in, 2 * c_out).transpose(1, 2))
    of_weight = torch.bmm(modes.reshape(count, 2 * batch, c_in).transpose(1, 2), both)
    return of_modes.reshape(modes.shape), of_weight.reshape(weight.shape)


def _beside_minus_i_times(gradient: Tensor) -> Tensor:
    """(*K, 2, batch, c_out) -> (*K, 2, batch, c_out, 2)."""
    real, imaginary = gradient.unbind(-3)
    if not writable(gradient):
        return torch.stack((gradient, torch.stack((imaginary, -real), dim=-3)), dim=-1)
    both = gradient.new_empty(*gradient.shape, 2)
    beside = both.select(-1, 1)
    both.select(-1, 0).copy_(gradient)
    beside.select(-3, 0).copy_(imaginary)
    torch.neg(real, out=beside.select(-3, 1))
    return both


class _Mix(torch.autograd.Function):
    """`mix`; keeps its factors and nothing else."""

    generate_vmap_rule = True

    @staticmethod
    def forward(modes: Tensor, weight: Tensor) -> Tensor:
        return mix(modes, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        modes, weight = ctx.saved_tensors
        return mix_backward(modes, weight, gradient)

    @staticmethod
    def jvp(ctx: Any, modes_t: Tensor | None, weight_t: Tensor | None) -> Tensor:
        modes, weight = ctx.saved_tensors
        if weight_t is None:
            assert modes_t is not None  # else torch would not ask
            return mix(modes_t, weight)
        of_weight = mix(modes, weight_t)
        return of_weight if modes_t is None else mix(modes_t, weight) + of_weight
