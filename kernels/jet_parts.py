"""Rules of jets for parts of tensors and for putting tensors together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sciml.kernels.jet_arithmetic import raised
from sciml.kernels.jet_registry import rule
from sciml.kernels.jet_shapes import from_end
from sciml.kernels.jet_tensor import Jet


@rule(Tensor.__getitem__)
def _getitem(x: Jet, index: Any) -> Jet:
    indices = index if isinstance(index, tuple) else (index,)
    indices = tuple(torch.as_tensor(i, device=x.device) if isinstance(i, list) else i for i in indices)
    consumed = sum(_consumes(i) for i in indices)
    if Ellipsis in [i for i in indices if not isinstance(i, Tensor)]:
        place = next(n for n, i in enumerate(indices) if i is Ellipsis)
        fill = (slice(None),) * (x.ndim - consumed)
        indices = (*indices[:place], *fill, *indices[place + 1 :])
    touched, axis = [], -x.ndim
    for i in indices:
        if not (isinstance(i, slice) and i == slice(None)):
            touched += list(range(axis, axis + _consumes(i)))
        axis += _consumes(i)
    tensors = [n for n, i in enumerate(indices) if isinstance(i, Tensor)]
    if len(tensors) > 1 and tensors != list(range(tensors[0], tensors[-1] + 1)):
        # Indexed axes that do not adjoin go to the front, where the columns are.
        return x.map(torch.func.vmap(lambda column: column[indices]))
    return x.map(lambda columns: columns[(slice(None), *indices)], touched)


def _consumes(index: Any) -> int:
    """How many axes one entry of an index is about."""
    if index is None or index is Ellipsis:
        return 0
    return index.ndim if isinstance(index, Tensor) and index.dtype == torch.bool else 1


@rule(torch.select)
def _select(x: Jet, dim: int, index: int) -> Jet:
    axis = from_end(x, dim)
    return x.map(lambda columns: columns.select(axis, index), [axis])


@rule(torch.narrow)
def _narrow(x: Jet, dim: int, start: int, length: int) -> Jet:
    axis = from_end(x, dim)
    return x.map(lambda columns: columns.narrow(axis, start, length), [axis])


@rule(torch.index_select)
def _index_select(x: Jet, dim: int, index: Tensor) -> Jet:
    axis = from_end(x, dim)
    return x.map(lambda columns: columns.index_select(axis, index), [axis])


@rule(torch.split, Tensor.split)
def _split(x: Jet, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Jet, ...]:
    length = x.shape[dim]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        sizes: Sequence[int] = [min(size, length - start) for start in range(0, length, size)]
    else:
        sizes = split_size_or_sections
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    return tuple(_narrow(x, dim, start, size) for start, size in zip(starts, sizes, strict=True))


@rule(torch.chunk)
def _chunk(x: Jet, chunks: int, dim: int = 0) -> tuple[Jet, ...]:
    return _split(x, -(-x.shape[dim] // chunks), dim)


@rule(torch.unbind)
def _unbind(x: Jet, dim: int = 0) -> tuple[Jet, ...]:
    return tuple(_select(x, dim, n) for n in range(x.shape[dim]))


@rule(torch.cat, torch.concat, torch.concatenate)
def concatenate(tensors: Sequence[Any], dim: int = 0) -> Jet:
    """Jets and constants one after the other along an axis."""
    like = next(x for x in tensors if isinstance(x, Jet))
    axis = from_end(like, dim)
    degree = max(x.degree for x in tensors if isinstance(x, Jet))
    jets = [raised(x, degree) if isinstance(x, Jet) else x for x in tensors]
    rests = [x.rest if isinstance(x, Jet) else x.new_zeros((1,) * (x.ndim + 1)) for x in jets]
    value = torch.cat([x.value if isinstance(x, Jet) else x for x in jets], dim=axis)
    # Along the other axes columns that the points share stay shared if all are.
    common = list(torch.broadcast_shapes(*(rest.movedim(axis, -1).shape[:-1] for rest in rests)))
    wide = []
    for x, rest in zip(jets, rests, strict=True):
        shape = [*common, x.shape[axis]]
        wide.append(rest.movedim(axis, -1).expand(shape).movedim(-1, axis))
    return Jet.apart(value, torch.cat(wide, dim=axis), raised(like, degree), degree)


@rule(torch.stack)
def _stack(tensors: Sequence[Any], dim: int = 0) -> Jet:
    axis = dim if dim < 0 else dim - tensors[0].ndim - 1
    return concatenate([x.unsqueeze(axis) for x in tensors], axis)


@rule(torch.hstack)
def _hstack(tensors: Sequence[Any]) -> Jet:
    return concatenate(tensors, 0 if tensors[0].ndim == 1 else 1)


@rule(F.pad)
def _pad(x: Jet, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Jet:
    if mode == "constant":
        return Jet.apart(F.pad(x.value, pad, mode, value), F.pad(x.columns[1:], pad), x)
    spatial = len(pad) // 2

    def padded(columns: Tensor) -> Tensor:
        result = F.pad(columns.reshape(-1, *columns.shape[-spatial:]), pad, mode)
        return result.reshape(*columns.shape[:-spatial], *result.shape[1:])

    return x.map(padded)
