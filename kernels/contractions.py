"""How a weight mixes the channels of each Fourier mode.

Modes are ``(*frequencies, 2, batch, channel)`` real pairs (`sciml.kernels.transform`). A contraction is a set
of tensors that stands for a complex tensor ``R (*frequencies, c_in, c_out)`` and multiplies by it without
building it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


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
            weight = weight.narrow(axis, start, stop - start)
        return Dense(weight)

    def mix(self, modes: Tensor) -> Tensor:
        rows = modes.flatten(0, -4)
        weight = self.weight.flatten(0, -4)
        if torch.compiler.is_compiling():
            return _product(rows, weight).reshape(*modes.shape[:-1], self.channels[1])
        mixed: Tensor = _Mix.apply(rows, weight)  # type: ignore[no-untyped-call]
        return mixed.reshape(*modes.shape[:-1], self.channels[1])

    def dense(self) -> Tensor:
        return self.weight


class _Mix(torch.autograd.Function):
    """Complex (K, batch, c_in) times (K, c_in, c_out) in real pairs; keeps the factors and nothing else."""

    generate_vmap_rule = True

    @staticmethod
    def forward(modes: Tensor, weight: Tensor) -> Tensor:
        return _product(modes, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        modes, weight = ctx.saved_tensors
        count, _, batch, c_out = gradient.shape
        # Columns (real, imaginary) of conj: one product each then gives both parts of both gradients.
        real, imaginary = gradient.unbind(1)
        both = torch.stack((gradient, torch.stack((imaginary, -real), dim=1)), dim=-1)
        both = both.reshape(count, 2 * batch, 2 * c_out)
        of_modes = of_weight = None
        if ctx.needs_input_grad[0]:
            of_modes = torch.bmm(both, weight.flatten(2).transpose(1, 2)).reshape(modes.shape)
        if ctx.needs_input_grad[1]:
            of_weight = torch.bmm(modes.flatten(1, 2).transpose(1, 2), both).reshape(weight.shape)
        return of_modes, of_weight

    @staticmethod
    def jvp(ctx: Any, modes_t: Tensor | None, weight_t: Tensor | None) -> Tensor:
        modes, weight = ctx.saved_tensors
        parts = []
        if modes_t is not None:
            parts.append(_product(modes_t, weight))
        if weight_t is not None:
            parts.append(_product(modes, weight_t))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _product(modes: Tensor, weight: Tensor) -> Tensor:
    """(K, 2, batch, c_in), (K, c_in, c_out, 2) -> (K, 2, batch, c_out).

    Real and imaginary parts of the batch are rows, those of the weight columns of one real product, whose
    four blocks are then added up. This reads the weight, the largest operand, once.
    """
    count, _, batch, _ = modes.shape
    product = torch.bmm(modes.flatten(1, 2), weight.flatten(2)).view(count, 2, batch, weight.shape[2], 2)
    of_real, of_imaginary = product.unbind(1)
    (rr, ri), (ir, ii) = of_real.unbind(-1), of_imaginary.unbind(-1)
    return torch.stack((rr - ii, ri + ir), dim=1)
