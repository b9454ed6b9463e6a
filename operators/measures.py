"""What part of the domain each point stands for, so that sums over points are integrals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sciml.errors import ShapeError
from sciml.operators.cloud import Rows


def measures(who: str, rows: Rows, weights: Tensor | None, periodic: Sequence[bool]) -> Tensor:
    """The part of the domain that each point stands for, (batch, point): 0 at padding, 1 together.

    Parameters
    ----------
    who : str
        For messages.
    rows : Rows
        With coordinates in the unit box.
    weights : (batch, point), optional
        Quadrature weights, in any unit; on a grid they may be (batch, *space).
    periodic : one truth value per axis
        Whether an axis of the unit box repeats.

    Raises
    ------
    ShapeError
        If the weights have another shape.

    Notes
    -----
    On a grid without weights these are the Voronoi cells in [0, 1], axis by axis: the trapezoid rule for
    nodes, the midpoint rule for cells, equal parts on a periodic axis. At points without weights every point
    counts the same: right for points that are spread evenly, and for random ones the error of an integral
    falls like 1/sqrt(points) only.

    Examples
    --------
    >>> rows = Rows(torch.zeros(1, 5, 2), torch.linspace(0, 1, 5)[None, :, None], None, (5,))
    >>> measures("Mine", rows, None, [False]).tolist()
    [[0.125, 0.25, 0.25, 0.25, 0.125]]
    """
    places, mask = rows.coordinates, rows.mask
    expected = places.shape[:2]
    if weights is not None:
        found = weights.flatten(1).to(places.dtype)
        if found.shape != expected:
            raise ShapeError(
                f"{who}: weights must have one number for each point, {tuple(expected)}, got "
                f"{tuple(weights.shape)}."
            )
    elif rows.space is None:
        found = places.new_ones(expected)
    else:
        found = _cells(places.mT.unflatten(2, rows.space), periodic).flatten(1)
    if mask is not None:
        found = torch.where(mask, found, 0.0)
    return found / found.sum(dim=1, keepdim=True).clamp_min(torch.finfo(found.dtype).tiny)


def difference(to: Tensor, start: Tensor, periodic: Sequence[bool]) -> Tensor:
    """``to - start`` of coordinates (..., rank), on periodic axes to the nearest image.

    Examples
    --------
    >>> difference(torch.tensor([0.75]), torch.tensor([0.0]), [True]).tolist()
    [-0.25]
    """
    found = to - start
    if not any(periodic):
        return found
    return torch.where(torch.tensor(periodic, device=found.device), found - found.round(), found)


def _cells(coordinates: Tensor, periodic: Sequence[bool]) -> Tensor:
    """The volumes of the Voronoi cells of a grid, (batch, *space)."""
    total = coordinates.new_ones(coordinates.shape[0])
    for axis, wraps in enumerate(periodic):
        line = coordinates[:, axis].movedim(1 + axis, 1)
        while line.ndim > 2:
            line = line[..., 0]
        first = (line[:, :1] + line[:, -1:] - 1) / 2 if wraps else torch.zeros_like(line[:, :1])
        inner = (line[:, 1:] + line[:, :-1]) / 2
        length = torch.cat((first, inner, first + 1), dim=1).diff(dim=1)
        total = total[..., None] * length.reshape(length.shape[0], *(1,) * axis, -1)
    return total
