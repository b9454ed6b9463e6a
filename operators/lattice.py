"""Between points and the nodes of a regular lattice: means around the nodes, interpolation at the points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import embedding

EMPTY = 1e-4  # coverage below which a node counts as being without points, and its means fade to 0


class Nodes:
    """A lattice in the unit box beside points in it: moments at the nodes, interpolation at the points.

    Parameters
    ----------
    coordinates : (batch, point, rank)
        Points outside of the box count as their nearest ones in it.
    shape : rank integers
        Nodes along each axis, row-major, both ends of the box included.

    Examples
    --------
    >>> nodes = Nodes(torch.tensor([[[0.25], [0.5]]]), (5,))
    >>> nodes.interpolated(torch.tensor([[[0.0, 1.0, 4.0, 9.0, 16.0]]])).flatten().tolist()
    [1.0, 4.0]
    """

    def __init__(self, coordinates: Tensor, shape: Sequence[int]) -> None:
        self.shape, self.count = tuple(shape), prod(shape)
        self.steps = coordinates.clamp(0, 1) * coordinates.new_tensor([n - 1 for n in shape])
        samples = torch.arange(coordinates.shape[0], device=coordinates.device)
        self.start = samples[:, None, None] * self.count

    def moments(self, values: Tensor, measure: Tensor, reach: int) -> Tensor:
        """Values (batch, point, c) as means at nodes, (batch, node, 1 + rank, 1 + c).

        Row 0 has the means, the others those of the values times ``(y - x)_a / reach``, in spacings. Column 0
        is for the constant 1, with the coverage in place of its mean.
        """
        index, bumps, offsets = self._around(range(1 - reach, reach + 1), partial(_bump, reach=reach))
        mass = (bumps * measure[..., None])[..., None]
        powers = torch.cat((mass, mass * (offsets / -reach)), dim=-1)
        ones = torch.cat((torch.ones_like(values[..., :1]), values), dim=-1)
        products = powers[..., None] * ones[:, :, None, None]
        sums = products.new_zeros(len(values) * self.count, *products.shape[3:])
        sums = sums.index_add(0, index.flatten(), products.flatten(0, 2)).unflatten(0, (-1, self.count))
        found, full = sums[:, :, :1, :1], self._integrals(reach)[:, None, None]
        means = sums / torch.maximum(found, EMPTY * full)
        first = torch.cat((found / full, means[:, :, :1, 1:]), dim=-1)
        return torch.cat((first, means[:, :, 1:]), dim=2)

    def interpolated(self, v: Tensor) -> Tensor:
        """A field (batch, channel, *shape), multilinear between the nodes, at the points."""
        rows = v.flatten(2).mT.flatten(0, 1)
        index, shares, _ = self._around((0, 1), _hat)
        parts = (
            share[..., None] * embedding(i, rows)
            for i, share in zip(index.unbind(2), shares.unbind(2), strict=True)
        )
        return sum(parts, torch.zeros_like(shares[..., :1]))

    def everywhere(self, values: Tensor) -> Tensor:
        """(batch, node, ...) as a field (batch, channel, *shape)."""
        field: Tensor = values.flatten(2).mT.unflatten(2, self.shape)
        return field

    def places(self) -> Tensor:
        """The unit coordinates of the nodes, (batch, rank, *shape)."""
        like = self.steps
        axes = [torch.linspace(0, 1, n, dtype=like.dtype, device=like.device) for n in self.shape]
        return torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(
            len(self.steps), *[-1] * (1 + len(axes))
        )

    def _around(
        self, steps: Sequence[int], weigh: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of the nodes around each point, so many steps above the one below it along every axis.

        Which nodes of the batch, and their weights, both (batch, point, slot), and node less point, in
        spacings, (batch, point, slot, rank). Nodes beyond the ends have weight 0.
        """
        start = torch.zeros_like(self.steps[..., :1])
        index, weights = start.long(), torch.ones_like(start)
        offsets: list[Tensor] = []
        for axis, size in enumerate(self.shape):
            along = self.steps[..., axis, None]
            nodes = along.detach().floor().clamp(0, size - 2) + along.new_tensor(steps)
            offset = nodes - along
            shares = torch.where((nodes >= 0) & (nodes < size), weigh(offset), 0.0)
            nodes = nodes.clamp(0, size - 1).long()
            slots = (-1, -1, index.shape[2], len(steps))
            index = (index[..., None] * size + nodes[:, :, None]).flatten(2)
            weights = (weights[..., None] * shares[:, :, None]).flatten(2)
            offsets = [known[..., None].expand(slots).flatten(2) for known in offsets]
            offsets.append(offset[:, :, None].expand(slots).flatten(2))
        return index + self.start, weights, torch.stack(offsets, dim=-1)

    def _integrals(self, reach: int) -> Tensor:
        """The integral of the bump around each node over the unit box, (node,)."""
        total = self.steps.new_ones(1)
        for size in self.shape:
            below = torch.arange(size, dtype=self.steps.dtype, device=self.steps.device)
            ends = (below.flip(0).clamp(max=reach), -below.clamp(max=reach))
            above, under = (reach * (z - 2 / 3 * z**3 + z**5 / 5) for z in (end / reach for end in ends))
            total = (total[:, None] * ((above - under) / (size - 1))).flatten()
        return total


def _bump(offset: Tensor, reach: int) -> Tensor:
    return (1 - (offset / reach).square()).clamp_min(0).square()


def _hat(offset: Tensor) -> Tensor:
    """Linear weights of the node below and the one above, with the right slope at nodes too."""
    return 1 + offset * offset.new_tensor((1.0, -1.0))
