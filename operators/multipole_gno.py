"""The multipole graph neural operator: kernels on a hierarchy of coarser points, in V-cycles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log2, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import gelu

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.neighbors import within
from sciml.operators.box import check_counts
from sciml.operators.cloud import Cloud, Rows
from sciml.operators.kernel_integral import (
    Kept,
    KernelIntegral,
    Table,
    edge_functions,
    real_points,
    two_layers,
)
from sciml.operators.measures import measures
from sciml.operators.properties import Properties
from sciml.padding import padded

if TYPE_CHECKING:
    from sciml.grid import Grid

REACH = 2.2
"""Radius of the kernels on cells, in sides: neighbors and theirs, 13 cells in the plane; not where rounding
decides."""
UP_REACH = 1.2
"""Radius of the kernels from cells to what is in them, in sides, for up to five dimensions."""

published: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "darcy": (
        {"radius": 0.25, "levels": 3, "width": 64, "cycles": 5, "hidden": (256, 256)},
        "Li et al., NeurIPS 2020 (arXiv:2006.09535), the authors' script for Darcy flow, 400, 100, 25 points",
    ),
}
"""Arguments of published set-ups, and where they are from."""

Activation = Callable[[Tensor], Tensor]
Link = tuple[Table, Tensor]


@dataclass(frozen=True)
class Tree:
    """The nodes of all levels and the integrals between them, each a table and functions on its edges."""

    nodes: list[Rows]
    inner: list[Link]
    down: list[Link]
    up: list[Link]


@describable
class MultipoleGNO(nn.Module):
    r"""Multipole graph neural operator: V-cycles of kernel integrals between levels of coarser points.

    Level 0 are the points, level l ≥ 1 the cells of a grid over the unit box that hold a point, at their
    centers, with the measure of the points in them. From ``v_l = P(a_l, ξ_l)``, a_l the mean over each cell,
    a cycle goes down and up again,

    ``w_0 = v_0``, ``w_{l+1} = σ(v_{l+1} + K_{l+1,l} w_l)``;
    ``v_L = σ((W_L + K_{L,L}) w_L)``, ``v_l = σ((W_l + K_{l,l}) w_l + K_{l,l+1} v_{l+1})``,

    with σ GELU, but none at level 0 of the last cycle, and ``u = Q v_0``, Q with one hidden layer. Each K is
    an average over a neighborhood with a kernel of its own (`KernelIntegral`): ``K_{0,0}`` over the ball of
    ``radius``; ``K_{l,l}`` over a ball of 2.2 cells, on the coarsest level over everything;
    ``K_{l+1,l}`` over the cell, so that every point enters once; ``K_{l,l+1}`` over the cells around. As in
    the fast multipole method near and far are treated apart, at O(N).

    Parameters
    ----------
    rank : int
        Coordinates of a point.
    in_channels, out_channels : int
        Channels of the input and of the output, coordinates not counted.
    radius : float
        Of the finest kernel, in the unit box. Level 1 has cells of this side, rounded to whole cells in the
        box, and each level above half as many along an axis.
    levels : int
        Of points, 1 for the finest alone.
    width : int
        Channels of the hidden fields.
    cycles : int
        V-cycles, all with the same weights.
    hidden : sequence of int
        Hidden layers of the MLP of ``K_{0,0}``; those of level l have ``2^l`` times fewer units, and those
        between levels only the first layer.

    Attributes
    ----------
    requires : tuple of str
        ``("coordinates",)``.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    From the published model differ: cells in place of random subsets of the points, so that levels above the
    finest are the same at every resolution and in every order of the points; GELU for ReLU and none at the
    very end; quadrature weights; ``y - x`` for y in the kernels.
    Levels are found once for each set of points and kept.

    Source: Li et al., *Multipole Graph Neural Operator for Parametric Partial Differential Equations*,
    NeurIPS 2020 (arXiv:2006.09535), section 3; cycles as in Kovachki et al., JMLR 24 (2023), section 4.3.

    Examples
    --------
    >>> import torch
    >>> model = MultipoleGNO(2, 1, 1, radius=0.25, width=16, hidden=(16,))
    >>> model(torch.zeros(3, 50, 1), torch.rand(3, 50, 2)).shape
    torch.Size([3, 50, 1])
    """

    # Levels are found outside of torch, so nothing is exported.
    properties = Properties(
        needs_grid=False, periodic=False, resolution_bound=False, linear=False, exports=False
    )

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        *,
        radius: float = 0.125,
        levels: int = 3,
        width: int = 32,
        cycles: int = 3,
        hidden: Sequence[int] = (64, 64),
    ) -> None:
        super().__init__()
        counts = {"out_channels": out_channels, "levels": levels, "width": width, "cycles": cycles}
        check_counts("MultipoleGNO", counts)
        if not 0 < radius <= 1 or not hidden or min(hidden) < 2 ** (levels - 1):
            raise ConfigError(
                f"MultipoleGNO: needs a radius up to 1 and hidden layers of at least {2 ** (levels - 1)} "
                f"units, which {levels} levels divide; got radius={radius}, hidden={tuple(hidden)}."
            )
        self.cloud = Cloud("MultipoleGNO", rank, in_channels)
        self.requires, self.cycles, self.radius = self.cloud.requires, cycles, radius
        self.cells = _cells_per_axis(radius, levels)
        self._kept = Kept(self._hierarchy)
        self.lifting = nn.Linear(in_channels + rank, width)
        self.projection = two_layers(width, hidden[0], out_channels)

        sides = [1 / count for count in self.cells]
        reaches = [radius, *(REACH * side for side in sides[:-1]), 1.0]

        def integrals(first: int, layers: Sequence[int], reaches: Sequence[float]) -> nn.ModuleList:
            found = nn.ModuleList()
            for level, reach in zip(range(first, levels), reaches, strict=False):
                sizes = [size // 2**level for size in layers]
                found.append(KernelIntegral(in_channels, width, sizes, (False,) * rank, reach=reach))
            return found

        self.inner = integrals(0, hidden, reaches)
        self.down, self.up = integrals(1, hidden[:1], sides), integrals(1, hidden[:1], sides)
        self.pointwise = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(levels))

    def forward(
        self,
        x: Tensor,
        coordinates: Tensor | None = None,
        mask: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Apply the operator.

        Parameters
        ----------
        x : (batch, point, in_channels), or (batch, in_channels, *space)
            Normalized input.
        coordinates : (batch, point, rank), or (batch, rank, *space)
            In the unit box.
        mask : (batch, point) bool, optional
            On points: False at padding.
        weights : (batch, point), optional
            Quadrature weights.

        Returns
        -------
        (batch, point, out_channels), or (batch, out_channels, *space)

        Raises
        ------
        ShapeError
            If a shape does not fit, or coordinates are missing.
        """
        rows = self.cloud.enter(x, coordinates, mask)
        tree = self.tree(rows, measures("MultipoleGNO", rows, weights, (False,) * self.cloud.rank))
        fields = [self.lifting(at.located) for at in tree.nodes]
        for number in range(self.cycles):
            fields = self.cycle(fields, tree, gelu, last=number == self.cycles - 1)
        return rows.back(self.projection(fields[0]))

    def cycle(
        self, fields: Sequence[Tensor], tree: Tree, activation: Activation, *, last: bool = False
    ) -> list[Tensor]:
        """One V-cycle: the fields (batch, node, width) of all levels after it, σ left out at the end."""
        down = [fields[0]]
        for field, integral, link in zip(fields[1:], self.down, tree.down, strict=True):
            down.append(activation(field + integral(down[-1], *link)))
        risen: list[Tensor] = []
        for level in reversed(range(len(down))):
            field = self.pointwise[level](down[level]) + self.inner[level](down[level], *tree.inner[level])
            if risen:
                field = field + self.up[level](risen[-1], *tree.up[level])
            risen.append(field if last and level == 0 else activation(field))
        return risen[::-1]

    def tree(self, rows: Rows, measure: Tensor) -> Tree:
        """The levels of a batch, with the tables of all integrals and their functions on the edges."""
        lists = [_placed(self._kept.of(points), places) for points, places in real_points(rows)]
        arrays = [padded(parts, fill=-1).to(measure.device) for parts in zip(*lists, strict=True)]
        table = Table.of(arrays[0], measure, measure.shape[1], own=True)
        tree, nodes = Tree([rows], [(table, edge_functions(self.inner[0], table, rows, rows))], [], []), rows
        for level, integrals in enumerate(zip(self.inner[1:], self.down, self.up, strict=True), start=1):
            inner, down, up = integrals
            centers, rise, sink, near = arrays[4 * level - 3 : 4 * level + 1]
            count, below = centers.shape[1], nodes
            table = Table.of(rise, measure, count)
            places = centers.to(measure.dtype).expand(len(measure), -1, -1)
            nodes = Rows(table.mean(below.values), places, None, None)
            tree.nodes.append(nodes)
            tree.down.append((table, edge_functions(down, table, nodes, below)))
            points, measure = measure.shape[1], _sums(rise, measure, count)
            table = Table.of(sink, measure, points)
            tree.up.append((table, edge_functions(up, table, below, nodes)))
            coarsest = level == len(self.cells)
            table = Table.everything(measure, count) if coarsest else Table.of(near, measure, count, own=True)
            tree.inner.append((table, edge_functions(inner, table, nodes, nodes)))
        return tree

    def _hierarchy(self, points: NDArray[np.float64]) -> tuple[NDArray[Any], ...]:
        """Pairs of points, then for each level centers, pairs from below, to below, and of the level."""
        arrays: list[NDArray[Any]] = [within(points, self.radius)]
        below, up_reach = points, max(UP_REACH, 0.51 * sqrt(points.shape[1]))
        for count in self.cells:
            cells = np.clip((below * count).astype(np.int64), 0, count - 1)
            held, cell_of = np.unique(cells, axis=0, return_inverse=True)
            centers = (held + 0.5) / count
            rise = np.stack((cell_of.reshape(-1), np.arange(len(below))), axis=1)
            sink = within(centers, up_reach / count, below)
            arrays += [centers, rise, sink, within(centers, REACH / count)]
            below = centers
        return tuple(arrays)

    @staticmethod
    def suited(grid: Grid) -> dict[str, Any]:
        """Arguments to start from on a training grid: balls of two spacings, levels up to four cells or so.

        Examples
        --------
        >>> from sciml.grid import Grid
        >>> MultipoleGNO.suited(Grid.box((64, 64)))
        {'radius': 0.034375, 'levels': 4}
        """
        radius = min(1.0, REACH / min(axis.size for axis in grid.axes))
        return {"radius": radius, "levels": max(1, min(4, round(log2(1 / radius))))}

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> MultipoleGNO:
        """A tiny instance that trains in seconds, for tests."""
        return MultipoleGNO(
            rank, in_channels, out_channels, radius=0.3, levels=2, width=16, cycles=2, hidden=(16, 16)
        )


def _cells_per_axis(radius: float, levels: int) -> list[int]:
    """Of the levels 1, 2, ...: cells of the side ``radius``, then of twice that side, and so on."""
    counts = [ceil(1 / radius)]
    while len(counts) < levels - 1:
        counts.append(ceil(counts[-1] / 2))
    return counts[: levels - 1]


def _placed(arrays: tuple[NDArray[Any], ...], places: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """The arrays of `MultipoleGNO._hierarchy` with the positions that the points have among padding."""
    pairs, *rest = arrays
    if rest:
        centers, rise, sink, *rest = rest
        rise = np.stack((rise[:, 0], places[rise[:, 1]]), axis=1)
        rest = [centers, rise, np.stack((places[sink[:, 0]], sink[:, 1]), axis=1), *rest]
    return places[pairs], *rest


def _sums(pairs: Tensor, measure: Tensor, receivers: int) -> Tensor:
    """The measure that each receiver of a list of pairs gets together, (batch, receiver)."""
    receiving, giving = pairs.expand(len(measure), -1, -1).unbind(-1)
    given = torch.where(giving >= 0, measure.gather(1, giving.clamp_min(0)), 0.0)
    return measure.new_zeros(len(measure), receivers).scatter_add_(1, receiving.clamp_min(0), given)
