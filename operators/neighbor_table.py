"""The neighbors of all points of a batch side by side, as many for every point: what messages run along.

With as many places for each point, messages are plain matrix products and their mean a plain mean; nothing is
scattered but the gradient of what was gathered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding

from sciml.errors import ShapeError
from sciml.neighbors import Period, nearest
from sciml.padding import padded


@dataclass(frozen=True)
class NeighborTable:
    """For each point the points it receives from; a row is a point of the batch, ``sample * points + point``.

    Attributes
    ----------
    index : (rows, places) int64
        The rows of the neighbors; the point itself where there is none.
    real : (rows, places) bool, or None
        Where there is a neighbor; None if everywhere.
    difference : (rows or 1, places, rank)
        x_i - x_j along each axis, over the largest of the sample.
    """

    index: Tensor
    real: Tensor | None
    difference: Tensor

    def gathered(self, values: Tensor) -> Tensor:
        """Values (rows, channel) of the neighbors: (rows, places, channel)."""
        return embedding(self.index, values)

    def mean(self, messages: Tensor) -> Tensor:
        """The mean over the neighbors of (rows, places, channel): (rows, channel), 0 where there are none."""
        if self.real is None:
            return messages.mean(1)
        real = self.real.to(messages.dtype)
        weights = real / real.sum(1, keepdim=True).clamp(min=1)
        return torch.bmm(weights[:, None], messages).squeeze(1)


def lattice(
    who: str, batch: int, space: Sequence[int], *, reach: int, wrapped: Sequence[bool], like: Tensor
) -> NeighborTable:
    """The table of a grid, in row-major order: neighbors are at most ``reach`` steps away on each axis.

    A wrapped axis goes on at its other end; beyond the ends of another there are no neighbors.

    Parameters
    ----------
    who : str
        For messages.
    batch : int
    space : sequence of int
        The shape of the grid.
    reach : int
    wrapped : sequence of bool
        For each axis.
    like : Tensor
        Of the dtype and on the device of the differences.

    Raises
    ------
    ShapeError
        If a wrapped axis has fewer than ``2 reach + 1`` points: a neighbor would come twice.

    Examples
    --------
    >>> lattice("mine", 1, (3,), reach=1, wrapped=(True,), like=torch.zeros(())).index.tolist()
    [[2, 1], [0, 2], [1, 0]]
    """
    check_wrapped(who, space, reach, wrapped)
    steps = torch.arange(-reach, reach + 1, device=like.device)
    index, real = torch.zeros_like(steps[:1, None]), torch.ones_like(steps[:1, None], dtype=torch.bool)
    for size, around in zip(space, wrapped, strict=True):
        to = torch.arange(size, device=like.device)[:, None] + steps
        inside = torch.ones_like(to, dtype=torch.bool) if around else (to >= 0) & (to < size)
        to = to % size if around else to.clamp(0, size - 1)
        index = (index[:, None, :, None] * size + to[:, None]).flatten(2).flatten(0, 1)
        real = (real[:, None, :, None] & inside[:, None]).flatten(2).flatten(0, 1)
    offsets = torch.cartesian_prod(*[steps] * len(space)).reshape(-1, len(space))
    samples = torch.arange(batch, device=like.device)[:, None, None] * index.shape[0]
    every = (samples + _others(index, 1)).flatten(0, 1)
    known = None if all(wrapped) else _others(real, 1).expand(batch, -1, -1).flatten(0, 1)
    return NeighborTable(every, known, -_others(offsets, 0).to(like.dtype)[None] / reach)


def check_wrapped(who: str, space: Sequence[int], reach: int, wrapped: Sequence[bool]) -> None:
    """Refuse a grid in which somebody is a neighbor twice.

    Raises
    ------
    ShapeError
        Naming the axis.
    """
    for axis, (size, around) in enumerate(zip(space, wrapped, strict=True)):
        if around and size < 2 * reach + 1:
            raise ShapeError(
                f"{who}: reach={reach} around the periodic axis {axis} needs at least {2 * reach + 1} grid "
                f"points, got {size}. Use a smaller reach, or a finer grid."
            )


def _others(columns: Tensor, dim: int) -> Tensor:
    """Without the middle one, which is the point itself."""
    middle = columns.shape[dim] // 2
    return torch.cat((columns.narrow(dim, 0, middle), columns.narrow(dim, middle + 1, middle)), dim)


def table_of(neighbors: Tensor, coordinates: Tensor, *, period: Period | None = None) -> NeighborTable:
    """The table of lists of neighbors: nobody is left out.

    Parameters
    ----------
    neighbors : (batch, edge, 2) integers
        (receiving, giving) points of each sample in any order; -1 pads.
    coordinates : (batch, point, rank)
    period : sequence, optional
        For each axis the length after which it repeats, in units of the coordinates, or None.

    Raises
    ------
    ShapeError
        If the shape is another, or there is no such point.

    Examples
    --------
    >>> table = table_of(torch.tensor([[[0, 1], [0, 2], [2, 0], [-1, -1]]]), torch.arange(3.0)[None, :, None])
    >>> table.index.tolist(), table.difference[0, :, 0].tolist()
    ([[1, 2], [1, 1], [0, 2]], [-0.5, -1.0])
    """
    batch, points = coordinates.shape[:2]
    if neighbors.ndim != 3 or neighbors.shape[0] != batch or neighbors.shape[2] != 2:
        raise ShapeError(f"neighbors must have shape ({batch}, edge, 2), got {tuple(neighbors.shape)}.")
    if neighbors.numel() and int(neighbors.max()) >= points:
        raise ShapeError(f"neighbors name the point {int(neighbors.max())}, but there are {points}, from 0.")
    shift = points * torch.arange(batch, device=neighbors.device)[:, None, None]
    receiving, giving = (neighbors + shift)[(neighbors >= 0).all(2)].unbind(1)
    found = side_by_side(receiving, giving, batch * points)
    real, own = found >= 0, torch.arange(batch * points, device=found.device)[:, None]
    index = torch.where(real, found, own)
    flat = coordinates.flatten(0, 1)
    difference = flat[:, None] - flat[index]  # 0 where there is no neighbor
    for axis, length in enumerate(period or ()):
        if length is not None:
            along = difference[..., axis]
            difference[..., axis] = along - length * (along / length).round()
    largest = difference.abs().unflatten(0, (batch, points)).amax((1, 2))
    scale = torch.where(largest > 0, largest, 1).repeat_interleave(points, 0)
    return NeighborTable(index, real, difference / scale[:, None])


def side_by_side(receiving: Tensor, giving: Tensor, rows: int) -> Tensor:
    """Pairs (edge,) as one row for each receiver, in the order in which its pairs come; -1 fills up.

    Examples
    --------
    >>> side_by_side(torch.tensor([2, 0, 2]), torch.tensor([5, 6, 7]), rows=3).tolist()
    [[6, -1], [-1, -1], [5, 7]]
    """
    row, order = receiving.sort(stable=True)
    counts = torch.bincount(row, minlength=rows)
    place = torch.arange(row.shape[0], device=row.device) - (counts.cumsum(0) - counts)[row]
    index = giving.new_full((rows, max(1, int(counts.max()))), -1)
    index[row, place] = giving[order]
    return index


def nearest_neighbors(
    coordinates: Tensor, mask: Tensor | None, count: int, *, period: Period | None = None
) -> Tensor:
    """`sciml.neighbors.nearest` of every sample of a batch: (batch, edge, 2), padded with -1.

    Parameters
    ----------
    coordinates : (batch, point, rank)
    mask : (batch, point) bool, optional
        True where a point is real; the others have no neighbors and are none.
    count, period
        As there.
    """
    places = coordinates.detach().double().cpu().numpy()
    real = torch.ones(coordinates.shape[:2], dtype=torch.bool) if mask is None else mask.cpu()
    found = []
    for where, known in zip(places, real.numpy(), strict=True):
        numbers = known.nonzero()[0]
        found.append(numbers[nearest(where[numbers], count, period=period)])
    return padded(found, fill=-1).to(coordinates.device)
