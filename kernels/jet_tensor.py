"""Jets in the place of tensors: what a network is called with, so that its derivatives come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sciml.kernels.jet_chain import Affine, Source, Step, bends, highest_of
from sciml.kernels.jet_fused import run_chain
from sciml.kernels.jet_registry import call
from sciml.kernels.jet_series import Bundle, order_of


class Jet:
    """A tensor and the Taylor coefficients of its dependence on the inputs along some directions.

    It stands in for a tensor: torch functions, methods and operators that have a rule take it, and what they
    return is a jet again, or a plain tensor where the result does not depend on the inputs smoothly (a
    comparison). Jets never change in place.

    Linear layers and activations are not carried out when they are called but when another operation, or the
    end of the sweep, asks for their result: a row of them then is one operation (`sciml.kernels.jet_chain`).
    """

    def __init__(
        self, source: Source | None, shape: Sequence[int], parent: Jet | None = None, step: Step | None = None
    ):
        self._source = source
        self._parent = parent
        self._step = step
        self._uses = 0
        self.shape = torch.Size(shape)

    @staticmethod
    def stacked(stack: Tensor, like: Jet, degree: int | None = None) -> Jet:
        """A jet of columns (columns, *shape), value first."""
        source = Source(like.bundles, like.degree if degree is None else degree, stack=stack)
        return Jet(source, stack.shape[1:])

    @staticmethod
    def apart(value: Tensor, rest: Tensor, like: Jet, degree: int | None = None) -> Jet:
        """A jet of a value (*shape) and other columns that broadcast to (columns - 1, *shape)."""
        source = Source(like.bundles, like.degree if degree is None else degree, value=value, rest=rest)
        return Jet(source, value.shape)

    # What it holds.

    @property
    def settled(self) -> Source:
        """The columns, after the steps that are still to be done."""
        if self._source is None:
            source, steps = self._pending()
            stack = run_chain(source, steps, only_top=False)
            degree = order_of(source.bundles) if bends(steps) else source.degree
            self._source = Source(source.bundles, degree, stack=stack)
            self._parent = None
        return self._source

    def _pending(self) -> tuple[Source, tuple[Step, ...]]:
        """The nearest columns that exist, and the steps from there."""
        steps: list[Step] = []
        node = self
        while node._source is None:
            assert node._step is not None and node._parent is not None
            steps.append(node._step)
            node = node._parent
            if node._uses > 1:
                _ = node.settled  # several jets continue from here: do the way to it once
        return node._source, tuple(reversed(steps))

    @property
    def pending(self) -> int:
        """How many steps are still to be done."""
        count, node = 0, self
        while node._source is None:
            assert node._parent is not None
            count, node = count + 1, node._parent
        return count

    @property
    def columns(self) -> Tensor:
        """(columns, *shape): the value, then per bundle the orders 1, 2, ..."""
        source = self.settled
        if source.stack is None:
            value, rest = source.apart()
            stack = torch.cat([value, rest.expand(-1, *self.shape)])
            self._source = source = Source(source.bundles, source.degree, stack=stack)
        assert source.stack is not None
        return source.stack

    @property
    def value(self) -> Tensor:
        return self.settled.apart()[0][0]

    @property
    def rest(self) -> Tensor:
        """The columns behind the value; axes along which they are constant may have length one."""
        return self.settled.apart()[1]

    def highest(self) -> tuple[Tensor, ...]:
        """The value and the highest order of each bundle; the last activation computes no others."""
        source, steps = self._pending()
        if bends(steps):
            tops = run_chain(source, steps, only_top=True)
        else:
            tops = highest_of(source)
            for step in steps:
                assert isinstance(step, Affine)
                tops = step.scale * F.linear(tops, step.weight)
                if step.bias is not None:
                    tops = torch.cat([tops[:1] + step.scale * step.bias, tops[1:]])
        return tops[0], *tops[1:].split([bundle.width(bundle.order) for bundle in source.bundles])

    @property
    def bundles(self) -> tuple[Bundle, ...]:
        return self._origin()._source.bundles  # type: ignore[union-attr]

    @property
    def degree(self) -> int:
        return self.settled.degree

    def _origin(self) -> Jet:
        node = self
        while node._source is None:
            assert node._parent is not None
            node = node._parent
        return node

    # How rules make jets of jets.

    def then(self, step: Step) -> Jet:
        """The jet behind one more linear layer or activation, to be computed later."""
        width = len(step.weight) if isinstance(step, Affine) else self.shape[-1]
        self._uses += 1
        return Jet(None, (*self.shape[:-1], width), self, step)

    def times_number(self, factor: float) -> Jet:
        """Scaled; behind a linear layer the factor goes into its weights."""
        if self._source is None and isinstance(self._step, Affine) and self._parent is not None:
            step = replace(self._step, scale=factor * self._step.scale)
            self._parent._uses += 1
            return Jet(None, self.shape, self._parent, step)
        return self.map(lambda columns: factor * columns, ())

    def map(self, function: Callable[[Tensor], Tensor], touched: Iterable[int] | None = None) -> Jet:
        """Apply a linear function to all columns.

        Parameters
        ----------
        function : callable
            (columns, *shape) -> (columns, *new shape); axes counted from the end do not notice the first one.
        touched : iterable of axes, optional
            The axes, counted from the end, along which it mixes or selects; by default all. Columns that are
            the same along an axis which is not touched stay stored once.
        """
        source = self.settled
        if source.stack is not None:
            return Jet.stacked(function(source.stack), self)
        value, rest = source.apart()
        axes = range(-self.ndim, 0) if touched is None else touched
        if any(rest.shape[axis] != value.shape[axis] for axis in axes):
            rest = rest.expand(-1, *self.shape)
        return Jet.apart(function(value)[0], function(rest), self)

    # What a tensor has.

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self._origin().value.dtype

    @property
    def device(self) -> torch.device:
        return self._origin().value.device

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def is_nested(self) -> bool:
        return False

    @property
    def layout(self) -> torch.layout:
        return torch.strided

    @property
    def T(self) -> Any:
        return call(torch.t, self)

    @property
    def mT(self) -> Any:
        return call(torch.transpose, self, -2, -1)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> int:
        return self.shape.numel()

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Any:
        return iter(self.unbind(0))

    def __repr__(self) -> str:
        orders = ", ".join(f"{bundle.count} of order {bundle.order}" for bundle in self.bundles)
        return f"Jet(shape={tuple(self.shape)}, directions: {orders})"

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return call(function, *args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        """Methods of tensors."""
        method = None if name.startswith("_") else getattr(Tensor, name, None)
        if not callable(method):
            raise AttributeError(f"Jet has no attribute {name!r}.")
        return partial(call, method, self)

    def __add__(self, other: Any) -> Any:
        return call(torch.add, self, other)

    def __radd__(self, other: Any) -> Any:
        return call(torch.add, other, self)

    def __sub__(self, other: Any) -> Any:
        return call(torch.sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        return call(torch.sub, other, self)

    def __mul__(self, other: Any) -> Any:
        return call(torch.mul, self, other)

    def __rmul__(self, other: Any) -> Any:
        return call(torch.mul, other, self)

    def __truediv__(self, other: Any) -> Any:
        return call(torch.div, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return call(torch.div, other, self)

    def __pow__(self, other: Any) -> Any:
        return call(torch.pow, self, other)

    def __rpow__(self, other: Any) -> Any:
        return call(torch.pow, other, self)

    def __matmul__(self, other: Any) -> Any:
        return call(torch.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return call(torch.matmul, other, self)

    def __neg__(self) -> Any:
        return call(torch.neg, self)

    def __abs__(self) -> Any:
        return call(torch.abs, self)

    def __getitem__(self, index: Any) -> Any:
        return call(Tensor.__getitem__, self, index)

    def __lt__(self, other: Any) -> Any:
        return call(torch.lt, self, other)

    def __le__(self, other: Any) -> Any:
        return call(torch.le, self, other)

    def __gt__(self, other: Any) -> Any:
        return call(torch.gt, self, other)

    def __ge__(self, other: Any) -> Any:
        return call(torch.ge, self, other)

    def __eq__(self, other: object) -> Any:
        return call(torch.eq, self, other)

    def __ne__(self, other: object) -> Any:
        return call(torch.ne, self, other)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        return bool(self.value)

    # Refused: they would have to change what other names refer to.

    def __setitem__(self, index: Any, value: Any) -> None:
        call(Tensor.__setitem__, self, index, value)

    def __iadd__(self, other: Any) -> Any:
        return call(Tensor.__iadd__, self, other)

    def __isub__(self, other: Any) -> Any:
        return call(Tensor.__isub__, self, other)

    def __imul__(self, other: Any) -> Any:
        return call(Tensor.__imul__, self, other)

    def __itruediv__(self, other: Any) -> Any:
        return call(Tensor.__itruediv__, self, other)
