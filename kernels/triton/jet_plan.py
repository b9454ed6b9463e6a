"""Chains of layers on the columns of jets, as the kernels take them, and how their columns lie in memory.

Columns are one contiguous tensor (columns, points, features), the value first, or the value (1, points,
features) and the others apart, (columns - 1, points or 1, features).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from sciml.kernels.jet_series import Bundle, order_of
from sciml.kernels.triton.launch import parts

# Stacks of columns that share a tensor begin at multiples of this many numbers, 16 bytes.
ALIGNED = 4

Shape = tuple[int, int, int]


class Linear(NamedTuple):
    """A linear layer, and where its weight (out, in) stands among the tensors; its bias follows."""

    place: int
    weight: Tensor
    bias: Tensor | None


class Columns(NamedTuple):
    """One stack, or the value and the rest."""

    leading: Tensor
    rest: Tensor | None = None

    def apart(self) -> tuple[Tensor, Tensor]:
        return self.leading[0], self.leading[1:] if self.rest is None else self.rest


@dataclass(frozen=True, eq=False)
class Chain:
    """Activations with linear layers between them, perhaps one before the first and one behind the last.

    Parameters
    ----------
    bundles : tuple of Bundle
    degree : int
        Of the columns at the beginning.
    activations : names
    starts : bool
        Whether it begins with a linear layer.
    only_top : bool
        Whether the last activation computes the value and the highest orders only.
    precision : str
        As for `sciml.kernels.triton.spectral_layer`.
    """

    bundles: tuple[Bundle, ...]
    degree: int
    activations: tuple[str, ...]
    starts: bool
    only_top: bool
    precision: str

    def linear(self, tensors: Sequence[Tensor | None]) -> list[Linear | None]:
        """What is before each activation, and behind the last."""
        layers: list[Linear | None] = [] if self.starts else [None]
        for place in range(0, len(tensors), 2):
            weight = tensors[place]
            assert weight is not None
            layers.append(Linear(place, weight, tensors[place + 1]))
        return [*layers, None][: len(self.activations) + 1]

    def degree_before(self, i: int) -> int:
        return self.degree if i == 0 else order_of(self.bundles)

    def prunes(self, i: int) -> bool:
        return self.only_top and i == len(self.activations) - 1

    def widths(self, i: int) -> list[int]:
        """Columns of each bundle before an activation."""
        return [sum(bundle.widths(self.degree_before(i))) for bundle in self.bundles]

    def widths_behind(self, i: int) -> list[int]:
        """Columns of each bundle behind an activation."""
        if self.prunes(i):
            return [bundle.width(bundle.order) for bundle in self.bundles]
        return [sum(bundle.widths(bundle.order)) for bundle in self.bundles]

    def kept(self, points: int, tensors: Sequence[Tensor | None]) -> list[Shape | None]:
        """The columns before each activation where a linear layer makes them: what `backward` needs."""
        return [
            None if layer is None else (1 + sum(self.widths(i)), points, len(layer.weight))
            for i, layer in enumerate(self.linear(tensors)[:-1])
        ]


def length(shapes: Sequence[Shape | None]) -> int:
    """Of the tensor that holds stacks of columns."""
    return sum(aligned(shape) for shape in shapes if shape is not None)


def aligned(shape: Shape) -> int:
    columns, points, features = shape
    return parts(columns * points * features, ALIGNED) * ALIGNED


def stacks(kept: Tensor, shapes: Sequence[Shape | None]) -> list[Tensor | None]:
    found: list[Tensor | None] = []
    start = 0
    for shape in shapes:
        if shape is None:
            found.append(None)
            continue
        columns, points, features = shape
        found.append(kept[start : start + columns * points * features].view(shape))
        start += aligned(shape)
    return found
