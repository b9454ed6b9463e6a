"""The graph neural operator: kernel integrals over neighborhoods, on grids, points and meshes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import gelu

from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.mesh import Points
from sciml.neighbors import Edges, Nearest, Radius
from sciml.operators.box import check_counts
from sciml.operators.cloud import Cloud, Rows
from sciml.operators.kernel_integral import (
    PROJECTION_WIDTH,
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

published: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "darcy": (
        {"neighborhood": 0.1, "width": 64, "depth": 6, "hidden": (1024, 1024)},
        "Li et al., 2020 (arXiv:2003.03485), authors' script UAI1: Darcy flow at 61 x 61",
    ),
}
"""Arguments of published set-ups, and where they are from."""


@describable
class GNO(nn.Module):
    r"""Graph neural operator: ``v ↦ σ(W v + K v + b)`` with a learned kernel over the neighborhood N(x).

    ``v_0 = P(a, ξ)``, ``v_l = GELU(W v_{l-1} + b + K v_{l-1})`` (no GELU after the last layer), ``u = Q
    v_depth``; P is affine at every point, Q has one hidden layer of 128, and

    ``(K v)(x) = 1/|N(x)| ∫_{N(x)} κ(x, y - x, a(x), a(y)) v(y) dμ(y)``

    with κ(...) the width x width matrix that an MLP gives. The integral is a sum over the points y of the
    neighborhood, x itself included, with quadrature weights: see `sciml.operators.measures.measures`.

    Parameters
    ----------
    rank : int
        Coordinates of a point.
    in_channels, out_channels : int
        Channels of the input and of the output, coordinates not counted.
    neighborhood : float, Radius, Nearest or None
        N(x), in the unit box: a ball of this radius, or what `sciml.neighbors` says, with periods of 1 where
        an axis repeats; None is the whole domain. Neighbors that come with the data (``neighbors=`` of
        `sciml.Supervised`) replace it on points.
    width : int
        Channels of the hidden fields.
    depth : int
        Number of layers.
    hidden : sequence of int
        Hidden layers of the MLP of the kernel.
    shared : bool
        Whether all layers are one, as published; else each has weights of its own.

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
    Complexity: with k neighbors of N points and H units in the last hidden layer O(N (k H width + H width²))
    per layer, and the kernel's MLP on N k pairs once if ``shared``. `KernelIntegral` never builds the
    matrices.
    Resolution: on refined grids or meshes the sums converge to the integrals; with `Nearest`, whose balls
    shrink, they do not. A sharp ball is a jump of the integrand, so its sums converge unevenly.
    Neighbors that do not come with the data are found once for each set of points and kept.
    ``Supervised(points=...)`` is the Nyström approximation of the paper: integrals over random points, other
    ones in every step.
    From the published model differ: GELU for ReLU, none after the last layer, ``y - x`` for y (the MLP is the
    same), quadrature weights in place of equal ones, a hidden layer in Q, and input features: there a
    smoothed coefficient and its gradient go in beside the coefficient.

    Source: Li et al., *Neural Operator: Graph Kernel Network for Partial Differential Equations*, 2020
    (arXiv:2003.03485), equation 5 and section 2; weights as in Kovachki et al., JMLR 24 (2023), section 4.1.

    Examples
    --------
    >>> import torch
    >>> model = GNO(2, 1, 1, neighborhood=0.3, width=16, hidden=(16,))
    >>> model(torch.zeros(3, 50, 1), torch.rand(3, 50, 2)).shape
    torch.Size([3, 50, 1])
    """

    # Lists of neighbors are found outside of torch, so nothing is exported.
    properties = Properties(
        needs_grid=False, periodic=False, resolution_bound=False, linear=False, exports=False
    )

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        *,
        neighborhood: float | Radius | Nearest | None = 0.1,
        width: int = 32,
        depth: int = 4,
        hidden: Sequence[int] = (64, 64),
        shared: bool = True,
    ) -> None:
        super().__init__()
        check_counts("GNO", {"out_channels": out_channels, "width": width, "depth": depth})
        check_counts("GNO", {"a hidden layer": min(hidden, default=1)})
        self.cloud = Cloud("GNO", rank, in_channels)
        self.requires, self.depth = self.cloud.requires, depth
        if isinstance(neighborhood, float | int):
            neighborhood = Radius(float(neighborhood))
        self.neighborhood = neighborhood
        period = (None if neighborhood is None else neighborhood.period) or (None,) * rank
        if len(period) != rank or not set(period) <= {None, 1.0}:
            raise ConfigError(
                f"GNO: the period of the neighborhood is 1 or None for each of {rank} axes of the unit box, "
                f"got {period}."
            )
        self.periodic = tuple(length is not None for length in period)
        self._kept = Kept(self._neighbors)
        reach = neighborhood.radius if isinstance(neighborhood, Radius) else 1.0
        self.lifting = nn.Linear(in_channels + rank, width)
        self.projection = two_layers(width, PROJECTION_WIDTH, out_channels)
        self.layers = nn.ModuleList(
            _Layer(KernelIntegral(in_channels, width, hidden, self.periodic, reach=reach), width)
            for _ in range(1 if shared else depth)
        )

    def forward(
        self,
        x: Tensor,
        coordinates: Tensor | None = None,
        mask: Tensor | None = None,
        weights: Tensor | None = None,
        neighbors: Tensor | None = None,
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
        neighbors : (batch, edge, 2), optional
            On points: (receiving, giving), filled up with -1.

        Returns
        -------
        (batch, point, out_channels), or (batch, out_channels, *space)

        Raises
        ------
        ShapeError
            If a shape does not fit, or coordinates are missing.
        """
        rows = self.cloud.enter(x, coordinates, mask)
        measure = measures("GNO", rows, weights, self.periodic)
        table = self._table(rows, measure, neighbors if rows.space is None else None)
        v = self.lifting(rows.located)
        integrals = [layer.get_submodule("integral") for layer in self.layers]
        functions = [edge_functions(integral, table, rows, rows) for integral in integrals]
        for number in range(self.depth):
            which = number % len(self.layers)
            v = self.layers[which](v, table, functions[which])
            if number < self.depth - 1:
                v = gelu(v)
        return rows.back(self.projection(v))

    def _table(self, rows: Rows, measure: Tensor, neighbors: Tensor | None) -> Table:
        points = measure.shape[1]
        if neighbors is not None:
            if neighbors.ndim != 3 or len(neighbors) != len(measure) or neighbors.shape[2] != 2:
                raise ShapeError(
                    f"GNO: neighbors must have shape ({len(measure)}, edge, 2), got {tuple(neighbors.shape)}."
                )
            return Table.of(neighbors, measure, points, own=True)
        if self.neighborhood is None:
            return Table.everything(measure, points)
        lists = [place[self._kept.of(found)[0]] for found, place in real_points(rows)]
        return Table.of(padded(lists, fill=-1).to(measure.device), measure, points, own=True)

    def _neighbors(self, points: NDArray[np.float64]) -> tuple[Edges]:
        assert self.neighborhood is not None
        return (self.neighborhood(Points(points)),)

    @staticmethod
    def suited(grid: Grid) -> dict[str, Any]:
        """Arguments to start from on a training grid: balls of three spacings, periods where axes repeat.

        Larger balls see farther; time and memory grow with the points in them.

        Examples
        --------
        >>> from sciml.grid import Grid
        >>> GNO.suited(Grid.box((32, 32), periodic=(True, False)))
        {'neighborhood': Radius(radius=0.1, most=None, period=(1.0, None))}
        """
        radius = min(0.5, 3.2 / min(axis.size for axis in grid.axes))
        period = tuple(1.0 if axis.periodic else None for axis in grid.axes)
        return {"neighborhood": Radius(radius, period=period)}

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> GNO:
        """A tiny instance that trains in seconds, for tests."""
        radius = Radius(0.35, period=(1.0,) * rank)
        settings: dict[str, Any] = {"width": 24, "depth": 2, "hidden": (24,), "shared": False}
        return GNO(rank, in_channels, out_channels, neighborhood=radius, **settings)


class _Layer(nn.Module):
    """``W v + b + K v``."""

    def __init__(self, integral: KernelIntegral, width: int) -> None:
        super().__init__()
        self.pointwise, self.integral = nn.Linear(width, width), integral

    def forward(self, v: Tensor, table: Table, functions: Tensor) -> Tensor:
        u: Tensor = self.pointwise(v) + self.integral(v, table, functions)
        return u
