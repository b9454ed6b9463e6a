"""Layers on the columns of a jet with random numbers, run by the Triton kernels and by plain torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import triton
import triton.language as tl
from layer_case import EXACT, close, counted
from torch import Tensor

from sciml.kernels.jet_chain import Activation, Affine, Source, Step, plain_chain
from sciml.kernels.jet_series import Bundle
from sciml.kernels.triton import jet_ladder, jet_ops
from sciml.kernels.triton.jet_plain import LADDERS
from sciml.kernels.triton.jets import jet_chain


@triton.jit  # type: ignore[untyped-decorator]
def coefficients(u: Any, found: Any, COUNT: tl.constexpr, ACTIVATION: tl.constexpr) -> None:
    """Taylor coefficients of an activation at COUNT numbers, (6, COUNT)."""
    place = tl.arange(0, COUNT)
    g = jet_ladder.ladder(tl.load(u + place), ACTIVATION)
    for m in tl.static_range(6):
        tl.store(found + m * COUNT + place, g[m])


def bundle(
    order: int, count: int, *, collapsed: bool = True, weights: Sequence[float] | None = None
) -> Bundle:
    return Bundle(order, count, collapsed, None if weights is None else torch.tensor(weights))


def collapsed_second_order(count: int) -> list[Bundle]:
    return [bundle(2, count)]


@dataclass
class Case:
    """Activations and linear layers in turns, every second of these without a bias."""

    bundles: Sequence[Bundle]
    activations: Sequence[str]
    degree: int = 1
    shared: bool = False  # whether all points have the same columns behind the value
    stacked: bool = False  # whether the columns are one tensor
    starts: bool = False
    tail: bool = False
    only_top: bool = False
    points: int = 5
    widths: Sequence[int] = (3, 6, 5, 2)
    precision: str = "tf32x3"
    tolerance: float = EXACT
    double: bool = False
    device: str = "cpu"
    inputs: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.bundles = tuple(self.bundles)
        count = sum(sum(b.widths(self.degree)) for b in self.bundles)
        width, shape = self.widths[0], (1 if self.shared else self.points)
        self.inputs = []
        if self.stacked:
            self.columns = [self._random(1 + count, self.points, width)]
        else:
            self.columns = [self._random(self.points, width), self._random(count, shape, width)]
        self.layers: list[tuple[Tensor, Tensor | None, float]] = []
        for n in range(len(self.activations) - 1 + self.starts + self.tail):
            out = self.widths[n + 1] if n + 1 < len(self.widths) else self.widths[-1]
            # Numbers of size one, so that activations are neither linear nor saturated.
            weight = self._random(out, width, scale=width**-0.5)
            self.layers.append((weight, None if n % 2 else self._random(out), 0.7 if n == 1 else 1.0))
            width = out

    def _random(self, *shape: int, scale: float = 1.0) -> Tensor:
        dtype = torch.float64 if self.double else torch.float32
        numbers = (scale * torch.randn(shape, dtype=dtype)).to(self.device).requires_grad_()
        self.inputs.append(numbers)
        return numbers

    def _source(self, columns: Sequence[Tensor]) -> Source:
        if self.stacked:
            return Source(tuple(self.bundles), self.degree, stack=columns[0])
        return Source(tuple(self.bundles), self.degree, value=columns[0], rest=columns[1])

    @property
    def source(self) -> Source:
        return self._source(self.columns)

    @property
    def steps(self) -> list[Step]:
        layers = [Affine(*layer) for layer in self.layers]
        steps: list[Step] = []
        for n, name in enumerate(self.activations):
            if n or self.starts:
                steps.append(layers.pop(0))
            steps.append(Activation(LADDERS[name]))
        return [*steps, *layers]

    def chain(self, value: Any = None) -> Tensor:
        source = self.source if value is None else self._source([value, *self.columns[1:]])
        return jet_chain(source, self.steps, only_top=self.only_top, precision=self.precision)

    def reference(self, value: Any = None) -> Tensor:
        source = self.source if value is None else self._source([value, *self.columns[1:]])
        return plain_chain(source, self.steps, only_top=self.only_top)

    def compare(self) -> None:
        """Values and all gradients."""
        with counted() as calls:
            y = self.chain()
        assert calls == ["jet_chain"], calls
        expected = self.reference()
        assert y.shape == expected.shape
        close(y, expected, self.tolerance)
        cotangent = torch.randn_like(y)
        with counted() as calls:
            found = torch.autograd.grad(y, self.inputs, cotangent, allow_unused=True)
        assert calls == ["jet_chain_backward"], calls
        references = torch.autograd.grad(expected, self.inputs, cotangent, allow_unused=True)
        for gradient, wanted, tensor in zip(found, references, self.inputs, strict=True):
            if wanted is None:  # columns that nothing asked for depends on
                wanted = torch.zeros_like(tensor)
            assert gradient is not None and gradient.shape == tensor.shape
            if wanted.norm() == 0:
                assert gradient.norm() == 0
            else:
                close(gradient, wanted, self.tolerance)

    # The operator itself.

    def operator_inputs(self) -> list[Tensor]:
        """The leading columns, the rest, then weights and biases, empty ones for none."""
        tensors = [
            t if t is not None else self.columns[0].new_empty(0) for w, b, _ in self.layers for t in (w, b)
        ]
        leading, *rest = self.columns
        return [leading if self.stacked else leading[None], *rest, *tensors]

    def operator(self, leading: Tensor, rest: Tensor | None, tensors: Sequence[Tensor]) -> Tensor:
        result: Tensor = jet_ops.jet_chain(leading, rest, list(tensors), *self.arguments()[3:])[0]
        return result

    def arguments(self) -> tuple[Any, ...]:
        leading, *others = [t.detach().requires_grad_(t.numel() > 0) for t in self.operator_inputs()]
        rest, tensors = (None, others) if self.stacked else (others[0], others[1:])
        none = leading.new_empty(0)
        return (
            leading,
            rest,
            tensors,
            [none if b.weights is None else b.weights for b in self.bundles],
            [b.order for b in self.bundles],
            [b.count for b in self.bundles],
            [b.collapsed for b in self.bundles],
            self.degree,
            " ".join(self.activations),
            self.starts,
            self.only_top,
            True,
            self.precision,
        )
