"""Rules of jets for linear maps: layers, products with constants, sums, and whatever moves elements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sciml.kernels.jet_arithmetic import add, bilinear, lifted, multiply, reshaped, x_to
from sciml.kernels.jet_chain import Affine
from sciml.kernels.jet_registry import rule, unsupported
from sciml.kernels.jet_tensor import Jet


def from_end(x: Jet, axis: int) -> int:
    """An axis counted from the end, which does not notice an axis in front."""
    if not -x.ndim <= axis < x.ndim:
        raise IndexError(f"Dimension out of range: expected one of a tensor with {x.ndim} axes, got {axis}.")
    return axis if axis < 0 else axis - x.ndim


def _sizes(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence."""
    return tuple(arguments[0]) if len(arguments) == 1 and not isinstance(arguments[0], int) else arguments


# Layers and products.


@rule(F.linear)
def affine(x: Any, weight: Any, bias: Any = None) -> Jet:
    """``x W^T + b`` on the last axis."""
    if not isinstance(x, Jet) or isinstance(weight, Jet) or isinstance(bias, Jet):
        result = matmul(x, weight.transpose(-1, -2))
        return result if bias is None else add(result, bias)
    if weight.ndim != 2 or weight.shape[1] != x.shape[-1]:
        raise ValueError(
            f"linear: the weight {tuple(weight.shape)} takes {weight.shape[-1]} features, got a tensor of "
            f"shape {tuple(x.shape)}."
        )
    if not x.pending:
        source = x.settled
        if source.stack is None and source.apart()[1].shape[1:-1].numel() < x.shape[:-1].numel():
            # All points share the directions: they go through the layer once.
            value, rest = source.apart()
            rest = rest.expand(*rest.shape[:-1], x.shape[-1])
            return Jet.apart(F.linear(value[0], weight, bias), F.linear(rest, weight), x)
    return x.then(Affine(weight, bias))


@rule(torch.matmul, torch.mm, torch.bmm, torch.mv, torch.dot)
def matmul(a: Any, b: Any) -> Jet:
    """Products of matrices and vectors with leading axes."""
    if a.ndim == 1:
        return matmul(a[None], b).squeeze(-2 if b.ndim > 1 else 0)  # type: ignore[no-any-return]
    if b.ndim == 1:
        return matmul(a, b[:, None]).squeeze(-1)  # type: ignore[no-any-return]
    if isinstance(a, Jet) and not isinstance(b, Jet) and b.ndim == 2:
        return affine(a, b.T)
    ndim = max(a.ndim, b.ndim)
    if isinstance(a, Jet) and isinstance(b, Jet):
        return bilinear(torch.matmul, _whole(reshaped(a, ndim)), _whole(reshaped(b, ndim)))
    if isinstance(a, Jet):
        return a.map(lambda columns: torch.matmul(lifted(columns, ndim), b))
    return b.map(lambda columns: torch.matmul(a, lifted(columns, ndim)))  # type: ignore[no-any-return]


def _whole(x: Jet) -> Jet:
    """With columns of the full shape."""
    return Jet.stacked(x.columns, x, x.degree)


@rule(torch.addmm, torch.baddbmm, torch.addmv, torch.addbmm)
def _add_product(x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return beta * x + alpha * matmul(a, b)


@rule(torch.outer, torch.ger)
def _outer(a: Any, b: Any) -> Jet:
    return multiply(a[:, None], b[None])


@rule(torch.einsum)
def einsum(equation: str, *operands: Any) -> Jet:
    """Sums of products of at most two jets and any constants."""
    if len(operands) == 1 and isinstance(operands[0], Sequence):
        operands = tuple(operands[0])
    jets = [i for i, x in enumerate(operands) if isinstance(x, Jet)]
    if len(jets) > 2:
        raise unsupported(torch.einsum, "At most two of the operands may depend on the inputs; use it twice.")
    extra = next(letter for letter in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if letter not in equation)
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    if not arrow:
        letters = inputs.replace(",", "").replace(".", "")
        output = ("..." if "..." in inputs else "") + "".join(
            c for c in sorted(set(letters)) if letters.count(c) == 1
        )
    terms = [extra + term if i in jets else term for i, term in enumerate(inputs.split(","))]
    whole = f"{','.join(terms)}->{extra}{output}"

    def contract(*columns: Tensor) -> Tensor:
        arguments = list(operands)
        for i, column in zip(jets, columns, strict=True):
            arguments[i] = column
        return torch.einsum(whole, *arguments)

    if len(jets) == 1:
        return operands[jets[0]].map(contract)  # type: ignore[no-any-return]
    return bilinear(contract, *(_whole(operands[i]) for i in jets))


def _convolution(
    operation: Any, x: Jet, weight: Tensor, bias: Tensor | None = None, *settings: Any, **named: Any
) -> Jet:
    """Columns and samples are one batch; the bias belongs to the value."""
    spatial = weight.ndim - 2
    samples = x.shape[: x.ndim - spatial - 1]

    def convolve(columns: Tensor) -> Tensor:
        result: Tensor = operation(
            columns.reshape(-1, *columns.shape[-spatial - 1 :]), weight, None, *settings, **named
        )
        return result.reshape(len(columns), *samples, *result.shape[1:])

    result = x.map(convolve)
    return result if bias is None else add(result, bias.reshape(-1, *(1,) * spatial))


for _operation in (torch.conv1d, torch.conv2d, torch.conv3d):
    rule(_operation)(partial(_convolution, _operation))


# Sums.


@rule(torch.sum)
def total(x: Jet, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Jet:
    """Sums along axes, by default all."""
    axes = _axes(x, dim)
    return x.map(lambda columns: columns.sum(axes, keepdim=keepdim, dtype=dtype), axes)


@rule(torch.mean)
def mean(x: Jet, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Jet:
    """Means along axes, by default all."""
    axes = _axes(x, dim)
    return x.map(lambda columns: columns.mean(axes, keepdim=keepdim, dtype=dtype), axes)


def _axes(x: Jet, dim: Any) -> list[int]:
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return list(range(-x.ndim, 0))
    return [from_end(x, axis) for axis in ([dim] if isinstance(dim, int) else dim)]


@rule(torch.cumsum)
def _cumsum(x: Jet, dim: int) -> Jet:
    axis = from_end(x, dim)
    return x.map(lambda columns: columns.cumsum(axis), [axis])


@rule(torch.linalg.vector_norm)
def vector_norm(
    x: Jet, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Jet:
    """The Euclidean norm along axes, by default all."""
    if ord != 2:
        raise unsupported(torch.linalg.vector_norm, f"Jets know the Euclidean norm, got ord={ord}.")
    return x_to(total(multiply(x, x), dim, keepdim, dtype=dtype), 0.5)


@rule(torch.norm, Tensor.norm)
def _norm(
    x: Jet,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    out: None = None,
    dtype: torch.dtype | None = None,
) -> Jet:
    if p not in ("fro", 2, None):
        raise unsupported(torch.norm, f"Jets know the Euclidean norm, got p={p!r}.")
    return vector_norm(x, 2, dim, keepdim, dtype=dtype)


# Shapes.


@rule(torch.reshape, Tensor.reshape, Tensor.view)
def _reshape(x: Jet, *shape: Any) -> Jet:
    sizes = _sizes(shape)
    return x.map(lambda columns: columns.reshape(len(columns), *sizes))


@rule(Tensor.view_as, Tensor.reshape_as)
def _reshape_as(x: Jet, other: Any) -> Jet:
    return _reshape(x, other.shape)


@rule(torch.flatten)
def _flatten(x: Jet, start_dim: int = 0, end_dim: int = -1) -> Jet:
    first, last = from_end(x, start_dim), from_end(x, end_dim)
    return x.map(lambda columns: columns.flatten(first, last))


@rule(torch.unflatten, Tensor.unflatten)
def _unflatten(x: Jet, dim: int, sizes: Sequence[int]) -> Jet:
    axis = from_end(x, dim)
    return x.map(lambda columns: columns.unflatten(axis, sizes), [axis])


@rule(torch.squeeze)
def _squeeze(x: Jet, dim: Any = None) -> Jet:
    axes = [axis for axis in _axes(x, dim) if x.shape[axis] == 1]
    return x.map(lambda columns: columns.squeeze(axes), ())


@rule(torch.unsqueeze)
def _unsqueeze(x: Jet, dim: int) -> Jet:
    axis = dim if dim < 0 else dim - x.ndim - 1
    return x.map(lambda columns: columns.unsqueeze(axis), ())


@rule(torch.transpose, torch.swapaxes, torch.swapdims)
def _transpose(x: Jet, dim0: int, dim1: int) -> Jet:
    first, second = from_end(x, dim0), from_end(x, dim1)
    return x.map(lambda columns: columns.transpose(first, second), ())


@rule(torch.t)
def _t(x: Jet) -> Jet:
    return x if x.ndim < 2 else _transpose(x, 0, 1)


@rule(torch.permute, Tensor.permute)
def _permute(x: Jet, *dims: Any) -> Jet:
    order = [0, *(axis % x.ndim + 1 for axis in _sizes(dims))]
    return x.map(lambda columns: columns.permute(order), ())


@rule(torch.movedim, torch.moveaxis)
def _movedim(x: Jet, source: Any, destination: Any) -> Jet:
    origins, targets = _axes(x, source), _axes(x, destination)
    return x.map(lambda columns: columns.movedim(origins, targets), ())


@rule(Tensor.expand, torch.broadcast_to)
def _expand(x: Jet, *sizes: Any) -> Jet:
    shape = _sizes(sizes)
    wide = reshaped(x, len(shape))
    return Jet.apart(wide.value.expand(shape), wide.rest, wide)


@rule(Tensor.expand_as)
def _expand_as(x: Jet, other: Any) -> Jet:
    return _expand(x, other.shape)


@rule(Tensor.repeat)
def _repeat(x: Jet, *repeats: Any) -> Jet:
    counts = _sizes(repeats)
    return reshaped(x, len(counts)).map(lambda columns: columns.repeat(1, *counts))


@rule(torch.flip)
def _flip(x: Jet, *dims: Any) -> Jet:
    axes = _axes(x, _sizes(dims))
    return x.map(lambda columns: columns.flip(axes), axes)


@rule(torch.roll)
def _roll(x: Jet, shifts: Any, dims: Any) -> Jet:
    axes = _axes(x, dims)
    return x.map(lambda columns: columns.roll(shifts, axes), axes)


@rule(torch.clone, Tensor.contiguous)
def _same(x: Jet, *, memory_format: Any = None) -> Jet:
    return x


@rule(Tensor.to, Tensor.type_as)
def _to(x: Jet, *target: Any, **settings: Any) -> Jet:
    place: list[Any] = [t.value if isinstance(t, Jet) else t for t in target]
    return x.map(lambda columns: columns.to(*place, **settings), ())


@rule(Tensor.double)
def _double(x: Jet) -> Jet:
    return _to(x, torch.float64)


@rule(Tensor.float)
def _float(x: Jet) -> Jet:
    return _to(x, torch.float32)
