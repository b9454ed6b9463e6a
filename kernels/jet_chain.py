"""Linear layers and activations in a row, applied to the columns of a jet.

This is what most networks consist of: ``W_L f(... W_2 f(z) + b_2 ...) + b_L``. `plain_chain` is the
reference, made of operations that autograd and tracers know; `sciml.kernels.jet_fused` does the same faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sciml.kernels.jet_ladders import LadderFunction
from sciml.kernels.jet_series import Bundle, compose, join, order_of, split, top


@dataclass(frozen=True, eq=False)
class Affine:
    """``scale (x W^T + b)`` on the last axis."""

    weight: Tensor
    bias: Tensor | None
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Activation:
    """A function of every element."""

    ladder: LadderFunction


Step = Affine | Activation


@dataclass(frozen=True, eq=False)
class Source:
    """Columns at the beginning of a chain: one stack, or the value and the other columns apart.

    Parameters
    ----------
    bundles : sequence of Bundle
        What the columns behind the value are.
    degree : int
        The highest order whose coefficients may differ from zero; higher ones have no columns.
    stack : (columns, *shape), optional
    value, rest : (*shape), (columns - 1, *shape) with ones where the points share the columns
    """

    bundles: tuple[Bundle, ...]
    degree: int
    stack: Tensor | None = None
    value: Tensor | None = None
    rest: Tensor | None = None

    def apart(self) -> tuple[Tensor, Tensor]:
        """Value (1, *shape) and the other columns."""
        if self.stack is not None:
            return self.stack[:1], self.stack[1:]
        assert self.value is not None and self.rest is not None
        return self.value[None], self.rest

    @property
    def shape(self) -> torch.Size:
        if self.stack is not None:
            return self.stack.shape[1:]
        assert self.value is not None
        return self.value.shape


def bends(steps: Sequence[Step]) -> bool:
    """Whether there is an activation among the steps."""
    return any(isinstance(step, Activation) for step in steps)


def highest_of(source: Source) -> Tensor:
    """The value and the highest order of each bundle, (1 + ..., *shape)."""
    value, rest = source.apart()
    return top(value, split(rest, source.bundles, source.degree), source.bundles)


def plain_chain(source: Source, steps: Sequence[Step], *, only_top: bool) -> Tensor:
    """The columns behind the steps, (columns, *shape); or the value and the highest order of each bundle.

    Parameters
    ----------
    only_top : bool
        Whether only the highest orders are wanted; then the last activation computes no others. At least one
        of the steps has to be an activation.
    """
    bundles, degree, order = source.bundles, source.degree, order_of(source.bundles)
    last = last_activation(steps)
    value, rest = source.apart()
    stack = source.stack
    for i, step in enumerate(steps):
        if isinstance(step, Affine):
            if stack is None:
                stack = torch.cat([value, rest.expand(-1, *value.shape[1:])])
            columns = F.linear(stack, step.weight)
            value, rest, stack = columns[:1], columns[1:], None
            if step.bias is not None:
                value = value + step.bias
            if step.scale != 1.0:
                value, rest = step.scale * value, step.scale * rest
        else:
            ladder = step.ladder(value[0], order)
            tops = only_top and i == last
            series = [
                compose(ladder, u, bundle, only_top=tops)
                for bundle, u in zip(bundles, split(rest, bundles, degree), strict=True)
            ]
            assert ladder[0] is not None
            value = ladder[0][None]
            stack = top(value, series, bundles) if tops else join(value, series, bundles, order)
            value, rest, degree = stack[:1], stack[1:], order
    return torch.cat([value, rest.expand(-1, *value.shape[1:])]) if stack is None else stack


def last_activation(steps: Sequence[Step]) -> int:
    return max([-1, *[i for i, step in enumerate(steps) if isinstance(step, Activation)]])
