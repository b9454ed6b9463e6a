"""Derivatives that a DeepXDE problem asks for, served by one pass of `sciml.kernels`.

DeepXDE's equations and conditions call ``dde.grad.jacobian(ys, xs, i, j)`` and ``dde.grad.hessian``, which
differentiate backwards, one component at a time.  Here both are replaced during a call: derivatives of the
network come from `sciml.kernels.partials.Partials`, all in one forward pass, and derivatives of expressions
F(x, y, ∂y, ...) by the chain rule,

    dF/dx_j = ∂F/∂x_j + Σ_k ∂F/∂y_k dy_k/dx_j,

with k over everything that was served, where only the outer derivatives are those of autograd.  This is exact
where every row of the network's output depends on the same row of its input, which is why the first call is
compared with DeepXDE's own.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from sciml.kernels.derivatives import MultiIndex
from sciml.kernels.partials import Partials

Function = Callable[[Tensor], Tensor]
Distinct = tuple[Tensor, Tensor]
Column = tuple[int, MultiIndex]  # a component of the network, and how it is differentiated


class Missing(Exception):
    """A derivative was asked for that the pass did not compute."""

    def __init__(self, index: MultiIndex | None) -> None:
        super().__init__(str(index))
        self.index = index  # None for points that can be differentiated


class Unserved(Exception):
    """A call that the kernels do not answer."""


@contextlib.contextmanager
def replaced(deepxde: Any, jacobian: Callable[..., Any], hessian: Callable[..., Any]) -> Iterator[None]:
    """``dde.grad.jacobian`` and ``hessian`` inside the block; DeepXDE's caches are empty after it."""
    gradients = deepxde.grad
    before = gradients.jacobian, gradients.hessian
    gradients.jacobian, gradients.hessian = jacobian, hessian
    try:
        yield
    finally:
        gradients.jacobian, gradients.hessian = before
        gradients.clear()


@contextlib.contextmanager
def recorded(deepxde: Any, results: list[Tensor]) -> Iterator[None]:
    """DeepXDE's own derivatives, each of which is appended to ``results``."""
    jacobian, hessian = deepxde.grad.jacobian, deepxde.grad.hessian

    def recording(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            results.append(result)
            return result

        return call

    with replaced(deepxde, recording(jacobian), recording(hessian)):
        yield


class Served:
    """The derivatives of one evaluation.

    Parameters
    ----------
    u : callable
        The network, (rows, dim) to (rows, outputs).
    x : (rows, dim)
    partials : Partials
    explicit : bool
        Whether expressions that contain the points are differentiated.
    distinct : pair of tensors, optional
        The points without repetition, and which of these each row of x is: the network looks at each once.

    Attributes
    ----------
    inputs : (rows, dim)
        The points as the equation sees them: the outputs do not depend on them by autograd.
    outputs : (rows, outputs)
    results : list of tensors
        What was asked for, in order.
    """

    def __init__(
        self, u: Function, x: Tensor, partials: Partials, *, explicit: bool, distinct: Distinct | None = None
    ) -> None:
        points, which = (x, None) if distinct is None else distinct
        value, found = partials(u, points)

        def spread(part: Tensor) -> Tensor:
            part = part.reshape(len(points), -1)
            return part if which is None else part.index_select(0, which)

        # A memory of its own: its columns are recognized by where they lie.
        self.outputs = spread(value).clone(memory_format=torch.contiguous_format)
        self._found = {index: spread(part) for index, part in found.items()}
        self.inputs = x.detach().clone().requires_grad_(explicit)
        if explicit:  # the chain rule needs them all, those of a frozen network too
            for part in (self.outputs, *self._found.values()):
                if not part.requires_grad:
                    part.requires_grad_()
        self.results: list[Tensor] = []
        # By identity, which the kept tensor guards: its columns.
        self._known: dict[int, tuple[Tensor, list[Column]]] = {}
        self._slopes: dict[tuple[int, int], dict[MultiIndex | None, Tensor]] = {}
        self._leaves: dict[MultiIndex, Tensor] = {(): self.outputs}
        self._know(self.outputs, [(c, ()) for c in range(self.outputs.shape[1])])

    @contextlib.contextmanager
    def serving(self, deepxde: Any) -> Iterator[None]:
        """DeepXDE asks here inside the block."""
        with replaced(deepxde, self.jacobian, self.hessian):
            yield

    def jacobian(self, ys: Tensor, xs: Tensor, i: int | None = None, j: int | None = None) -> Tensor:
        """``dy_i/dx_j`` (rows, 1), or ``dy_i/dx`` (rows, dim) without j."""
        row = self._row(ys, xs, i)
        dim = self.inputs.shape[1]
        if j is not None and not 0 <= j < dim:
            raise Unserved(f"variable {j}")
        parts = [self._derivative(ys, row, k) for k in (range(dim) if j is None else [j])]
        result = parts[0]
        if len(parts) > 1:
            result = torch.cat(parts, dim=1)
            origins = [self._origin(part, 0) for part in parts]
            if all(origin is not None for origin in origins):
                self._know(result, [origin for origin in origins if origin is not None])
        self.results.append(result)
        return result

    def hessian(self, ys: Tensor, xs: Tensor, component: int = 0, i: int = 0, j: int = 0) -> Tensor:
        """``d²y_component / dx_i dx_j``, (rows, 1)."""
        row = self._row(ys, xs, component)
        origin = self._origin(ys, row)
        if origin is not None:
            result = self._partial(origin[0], (*origin[1], i, j))
        else:
            result = self._derivative(self._derivative(ys, row, i), 0, j)
        self.results.append(result)
        return result

    def _row(self, ys: Tensor, xs: Tensor, i: int | None) -> int:
        if xs is not self.inputs or not isinstance(ys, Tensor) or ys.ndim != 2 or len(ys) != len(xs):
            raise Unserved("of other tensors")
        if (i is None and ys.shape[1] > 1) or not 0 <= (i or 0) < ys.shape[1]:
            raise Unserved(f"component {i}")
        return i or 0

    def _derivative(self, ys: Tensor, i: int, j: int) -> Tensor:
        origin = self._origin(ys, i)
        return self._chain(ys, i, j) if origin is None else self._partial(origin[0], (*origin[1], j))

    def _partial(self, component: int, index: MultiIndex) -> Tensor:
        """A derivative of the network, (rows, 1)."""
        index = tuple(sorted(index))
        column = self._leaf(index)[:, component : component + 1]
        self._know(column, [(component, index)])
        return column

    def _leaf(self, index: MultiIndex) -> Tensor:
        if index not in self._leaves:
            if index not in self._found:
                raise Missing(index)
            self._leaves[index] = self._found[index]
        return self._leaves[index]

    def _chain(self, ys: Tensor, i: int, j: int) -> Tensor:
        slopes = self._slopes_of(ys, i)
        terms = [slopes[None][:, j : j + 1]] if None in slopes else []
        for index, slope in slopes.items():
            if index is not None:
                further = self._leaf(tuple(sorted((*index, j))))
                terms.append((slope * further).sum(1, keepdim=True))
        return torch.stack(terms).sum(0) if terms else torch.zeros_like(ys[:, :1])

    def _slopes_of(self, ys: Tensor, i: int) -> dict[MultiIndex | None, Tensor]:
        """The derivatives of an expression with respect to the points (None) and to what was served."""
        if not self.inputs.requires_grad:
            raise Missing(None)
        key = (id(ys), i)
        if key not in self._slopes:
            leaves: dict[MultiIndex | None, Tensor] = {None: self.inputs}
            leaves |= dict(self._leaves.items())
            column = ys[:, i : i + 1]
            if not column.requires_grad:
                raise Unserved("of a constant")
            found = torch.autograd.grad(
                column, list(leaves.values()), torch.ones_like(column), create_graph=True, allow_unused=True
            )
            pairs = zip(leaves, found, strict=True)
            self._know(ys, [])  # keeps it alive
            self._slopes[key] = {index: slope for index, slope in pairs if slope is not None}
        return self._slopes[key]

    def _know(self, tensor: Tensor, columns: list[Column]) -> None:
        self._known[id(tensor)] = (tensor, columns)

    def _origin(self, ys: Tensor, i: int) -> Column | None:
        """Which derivative of which component of the network a column is, if it is one."""
        if id(ys) in self._known:
            columns = self._known[id(ys)][1]
            return columns[i] if columns else None
        outputs = self.outputs
        if (
            ys._base is outputs
            and len(ys) == len(outputs)
            and ys.stride(0) == outputs.stride(0)
            and (ys.shape[1] == 1 or ys.stride(1) == 1)
        ):
            return int(ys.storage_offset()) + i, ()  # that of the outputs is 0
        return None


def agree(own: Iterable[Tensor], theirs: Iterable[Tensor]) -> bool:
    """Whether two lists of tensors are equal up to half of the digits, measured by the largest number.

    Rounding of second derivatives loses a few digits; what is wrong is wrong in the first ones.
    """
    own, theirs = [t.detach() for t in own], [t.detach() for t in theirs]
    if [t.shape for t in own] != [t.shape for t in theirs]:
        return False
    pairs = [(a, b) for a, b in zip(own, theirs, strict=True) if b.numel()]
    if not pairs:
        return True
    largest = max(float(b.abs().max()) for _, b in pairs)
    furthest = max(float((a - b).abs().max()) for a, b in pairs)
    return furthest <= largest * math.sqrt(torch.finfo(pairs[0][1].dtype).eps)
