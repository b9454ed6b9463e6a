"""The message-passing PDE solver: a graph network from a window of frames to the bundle that follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, linear, silu

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.operators.box import check_counts
from sciml.operators.cloud import Cloud, Rows
from sciml.operators.message_settings import Context, Graph, State
from sciml.operators.neighbor_table import (
    NeighborTable,
    check_wrapped,
    lattice,
    nearest_neighbors,
    table_of,
)
from sciml.operators.properties import Properties

if TYPE_CHECKING:
    from sciml.grid import Grid

FILTERS = 8  # of the first convolution of the decoder, as published
EPSILON = 1e-5  # added to the variance by the normalization, as published
# Length and stride of the first convolution of the decoder by the frames of a bundle, at width 128.
_PUBLISHED_DECODERS = {20: (15, 4), 25: (16, 3), 50: (12, 2)}

_GRAPH, _CONTEXT, _STATE = Graph(), Context(), State()


@describable
class MPPDE(nn.Module):
    r"""Message-passing neural PDE solver: learned differences of a point and its neighbors, frame by bundle.

    With u_i the channels of the window at point i, x_i its position, θ time and parameters::

        f_i = E(u_i, x_i, θ)
        m_ij = φ(f_i, f_j, u_i - u_j, x_i - x_j, θ),   f_i ↦ N(f_i + ψ(f_i, mean_j m_ij, θ)),   depth times
        û_i(frame ℓ) = u_i(last frame) + (ℓ / bundle) D(f_i)_ℓ,   ℓ = 1 .. bundle

    E, φ, ψ are networks of two layers with Swish behind both, N makes every channel have mean 0 and variance
    1 over the points of a sample, and D reads the vector f_i as a signal: a convolution to 8 channels, Swish,
    and a convolution to one value for each frame. On grids (batch, channel, *space), and on points and meshes
    (batch, point, channel).

    Parameters
    ----------
    rank : int
        Coordinates of a point.
    in_channels, out_channels : int
        Channels of the window (and of fixed fields) and of the bundle, coordinates not counted.
    width : int
        Of f, at least the frames of a bundle.
    depth : int
        Number of layers: a point sees as many neighborhoods far.
    graph : Graph
        Who are neighbors; `suited` wraps it around periodic axes.
    context : Context
        What every point is told: position, time, parameters.
    state : State
        What the channels are; by default frames of one scalar.

    Attributes
    ----------
    requires : tuple of str
        The extras that the instance needs.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    It commutes with permutations of points, and without positions with translations of a wrapped grid. Not
    with reflections, since x_i - x_j changes its sign: a reflected sample gives the reflected prediction of
    the operator in which φ has the opposite weights for that axis of x_i - x_j. `Symmetrized` makes it do so.

    N makes each point depend on all. Differences x_i - x_j are over the largest of the sample, steps over
    the reach on a grid, so that φ sees numbers up to 1; another resolution is another operator
    (`Properties.resolution_bound`), though it runs there.

    The first layer of φ is linear in what belongs to i and what belongs to j. So it is taken once for each
    point, and its results are added for each pair; the second costs one product of width² for each pair. On
    E1 (16 samples of 100 points, two cores) a training step of the published size takes 163 ms, 272 ms with
    the features of each pair side by side and sums by `index_add`.

    What differs from the published code: the graph is wrapped around periodic axes (``Graph(period=None)``
    cuts it, as there); any number of components, axes and frames; Δt counts in bundles, which makes D
    independent of the unit of time, and differs by the constant factor ``bundle Δt``; position, time and
    parameters need not be told; differences are scaled. Sizes of convolutions are the published ones for
    bundles of 20, 25 and 50 frames at width 128, and similar ones for others.

    It is trained by `Rollout`, as ``Frames(25, 25)`` and ``Unroll(2, pushforward=True, vary=True)`` say.

    Source: Brandstetter, Worrall, Welling, *Message Passing Neural PDE Solvers*, ICLR 2022
    (arXiv:2202.03376), section 3.2, equations 7 to 9, and appendix F; details follow the authors' code.

    Examples
    --------
    >>> import torch
    >>> from sciml.grid import Grid
    >>> model = MPPDE(1, in_channels=25, out_channels=25, **published["E1"][0])
    >>> sum(p.numel() for p in model.parameters())
    634745
    >>> ξ = torch.as_tensor(Grid.box((100,), periodic=True).unit_coordinates(), dtype=torch.float32)
    >>> model(torch.zeros(2, 25, 100), ξ.expand(2, -1, -1), time=torch.zeros(2)).shape
    torch.Size([2, 25, 100])
    """

    # Points and grids of any domain; on a grid, neighborhoods are steps.
    properties = Properties(
        needs_grid=False, periodic=False, resolution_bound=True, linear=False, exports=True
    )

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 128,
        depth: int = 6,
        graph: Graph = _GRAPH,
        context: Context = _CONTEXT,
        state: State = _STATE,
    ) -> None:
        super().__init__()
        check_counts("MPPDE", {"out_channels": out_channels, "width": width, "depth": depth})
        self.cloud = Cloud("MPPDE", rank, in_channels)
        self.rank, self.in_channels, self.out_channels = rank, in_channels, out_channels
        self.graph, self.context = graph, context
        self.window, self.evolution = state.evolution(in_channels, out_channels)
        self.period = (None,) * rank if graph.period is None else tuple(graph.period)
        if len(self.period) != rank:
            raise ConfigError(f"MPPDE: the graph needs a period for each of {rank} axes, got {self.period}.")
        self.reach = graph.reach or (3 if rank == 1 else 1)
        self.requires: tuple[str, ...] = ("coordinates", *context.requires)
        numbers = context.numbers
        self.encoder = _perceptron(in_channels + rank * context.position + numbers, width)
        self.layers = nn.ModuleList(_Layer(width, in_channels, rank, numbers) for _ in range(depth))
        self.decoder = _Decoder(width, self.evolution.bundle, self.evolution.channels)

    def forward(
        self,
        x: Tensor,
        coordinates: Tensor | None = None,
        neighbors: Tensor | None = None,
        mask: Tensor | None = None,
        parameters: Tensor | None = None,
        time: Tensor | None = None,
    ) -> Tensor:
        """Apply the operator.

        Parameters
        ----------
        x : (batch, in_channels, *space), or (batch, point, in_channels)
            Normalized input fields, in the order of `sciml.evolution.Evolution.stacked`.
        coordinates : (batch, rank, *space), or (batch, point, rank)
            Unit coordinates.
        neighbors : (batch, edge, 2) integers, optional
            On points: (receiving, giving) point, as `sciml.neighbors` finds them; -1 pads. Nobody is left out
            here; there `Radius` can, and warns. On a grid they are the points around.
        mask : (batch, point) bool, optional
            True at points, False at padding.
        parameters : (batch, p), time : (batch,)
            In physical units; needed if the context tells them.

        Returns
        -------
        (batch, out_channels, *space), or (batch, point, out_channels), 0 at padding

        Raises
        ------
        ShapeError
            If a shape does not fit, or something needed is missing.
        """
        rows = self.cloud.enter(x, coordinates, mask)
        table = self._table(rows, neighbors)
        numbers = self.context.told(x, time, parameters)[:, None].expand(-1, rows.values.shape[1], -1)
        place = (rows.coordinates,) if self.context.position else ()
        f = self.encoder(torch.cat((rows.values, *place, numbers), dim=-1)).to(x.dtype)
        for layer in self.layers:
            f = layer(f, rows.values, numbers, table, rows.mask)
        return rows.back(self._frames(rows.values, self.decoder(f).to(x.dtype)))

    def _table(self, rows: Rows, neighbors: Tensor | None) -> NeighborTable:
        if rows.space is not None:
            wrapped = [length is not None for length in self.period]
            batch = rows.values.shape[0]
            return lattice(
                "MPPDE", batch, rows.space, reach=self.reach, wrapped=wrapped, like=rows.coordinates
            )
        if neighbors is None:
            count = self.graph.nearest
            neighbors = nearest_neighbors(rows.coordinates, rows.mask, count, period=self.period)
        return table_of(neighbors, rows.coordinates, period=self.period)

    def _frames(self, values: Tensor, changes: Tensor) -> Tensor:
        """The bundle (batch, point, channel) from values of the window and changes (..., channel, frame)."""
        bundle = self.evolution.bundle
        pace = torch.arange(1, bundle + 1, dtype=changes.dtype, device=changes.device) / bundle
        frames = (pace * changes).permute(0, 3, 2, 1)  # (batch, frame, component, point)
        if self.window:
            given = values[..., : self.window * self.evolution.channels].mT
            frames = frames + self.evolution.unstacked(given)[:, -1:]
        return self.evolution.stacked(frames).mT

    def check_grid(self, shape: Sequence[int]) -> None:
        """Refuse a grid on which a point would be a neighbor twice.

        Raises
        ------
        ShapeError
            If a periodic axis has fewer than ``2 reach + 1`` points.
        """
        check_wrapped("MPPDE", shape, self.reach, [length is not None for length in self.period])

    @staticmethod
    def suited(grid: Grid) -> dict[str, Any]:
        """Arguments to start from on a training grid: half the published width, a graph around periodic axes.

        On E1, after ten seconds on two cores, it was better than the published width.

        Examples
        --------
        >>> from sciml.grid import Grid
        >>> MPPDE.suited(Grid.box((64, 64), periodic=(True, False)))["graph"].period
        (1.0, None)
        """
        return {
            "width": 64,
            "graph": Graph(period=tuple(1.0 if axis.periodic else None for axis in grid.axes)),
        }

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> MPPDE:
        """A tiny instance that trains in seconds, for tests."""
        state = State((out_channels,), inputs=in_channels)
        return MPPDE(rank, in_channels, out_channels, width=64, depth=2, graph=Graph(reach=1), state=state)


class _Layer(nn.Module):
    """``f_i ↦ N(f_i + ψ(f_i, mean_j φ(f_i, f_j, u_i - u_j, x_i - x_j, θ), θ))``."""

    def __init__(self, width: int, channels: int, rank: int, numbers: int) -> None:
        super().__init__()
        self.parts = (width, width, channels, rank, numbers)
        self.pair, self.message = nn.Linear(sum(self.parts), width), nn.Linear(width, width)
        self.update = _perceptron(2 * width + numbers, width)
        self.norm = _Norm()

    def forward(
        self, f: Tensor, u: Tensor, numbers: Tensor, table: NeighborTable, mask: Tensor | None
    ) -> Tensor:
        """(batch, point, width) -> the same."""
        receiving, giving, jump, away, told = self.pair.weight.split(self.parts, dim=1)
        of_receiving = torch.cat((receiving, jump, told), dim=1)
        own = linear(torch.cat((f, u, numbers), dim=-1), of_receiving, self.pair.bias)
        other = linear(torch.cat((f, u), dim=-1), torch.cat((giving, -jump), dim=1))
        hidden = table.gathered(other.flatten(0, 1)).add_(own.flatten(0, 1)[:, None])
        messages = silu(self.message(silu(hidden.add_(linear(table.difference, away)))))
        received = table.mean(messages).unflatten(0, f.shape[:2])
        change = self.update(torch.cat((f, received.to(f.dtype), numbers), dim=-1))
        normed: Tensor = self.norm(f + change, mask)
        return normed


class _Norm(nn.Module):
    """Mean 0 and variance 1 of every channel over the points of a sample."""

    def forward(self, f: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, point, width) -> the same; padding does not count."""
        if mask is None:
            variance, mean = torch.var_mean(f, dim=1, correction=0, keepdim=True)
            return (f - mean) * (variance + EPSILON).rsqrt()
        real = mask.to(f.dtype)[..., None]
        weights = real / real.sum(1, keepdim=True).clamp(min=1)
        centered = f - (weights * f).sum(1, keepdim=True)
        return centered * ((weights * centered.square()).sum(1, keepdim=True) + EPSILON).rsqrt()


class _Decoder(nn.Module):
    """The vector of each point as a signal: two convolutions to one value for each frame of the bundle."""

    def __init__(self, width: int, bundle: int, components: int) -> None:
        super().__init__()
        if width < bundle:
            raise ConfigError(f"MPPDE: width must be at least the {bundle} frames of a bundle, got {width}.")
        size, stride = _first_convolution(width, bundle)
        length = (width - size) // stride + 1
        self.first = nn.Conv1d(1, FILTERS, size, stride=stride)
        self.second = nn.Conv1d(FILTERS, components, length - bundle + 1)

    def forward(self, f: Tensor) -> Tensor:
        """(batch, point, width) -> (batch, point, component, frame)."""
        hidden = silu(_convolved(f, self.first))
        d: Tensor = _convolved(hidden, self.second).unflatten(-1, (self.second.out_channels, -1))
        return d


def _convolved(signals: Tensor, convolution: nn.Conv1d) -> Tensor:
    """Signals (..., channels x length), convolved: (..., channels x length).

    As one matrix product with the convolved unit vectors: signals so short are too small a work, and there is
    one at each point.
    """
    units = torch.eye(signals.shape[-1], dtype=convolution.weight.dtype, device=signals.device)
    units = units.unflatten(-1, (convolution.in_channels, -1))
    matrix = conv1d(units, convolution.weight, stride=convolution.stride).flatten(1)
    assert convolution.bias is not None
    bias = convolution.bias.repeat_interleave(matrix.shape[1] // convolution.out_channels)
    return linear(signals, matrix.mT, bias)


def _first_convolution(width: int, bundle: int) -> tuple[int, int]:
    """Length and stride, such that the result is a few values longer than the bundle."""
    if width == 128 and bundle in _PUBLISHED_DECODERS:
        return _PUBLISHED_DECODERS[bundle]
    stride = max(1, width // (bundle + 12))
    return min(16, (width - stride * (bundle - 1) + 1) // 2), stride


def _perceptron(into: int, width: int) -> nn.Sequential:
    """Two layers, with Swish behind both."""
    return nn.Sequential(nn.Linear(into, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())


_PAPER = "Brandstetter et al. (ICLR 2022), section 4.1 and the authors' code; 25 frames to 25"

published: Mapping[str, tuple[dict[str, Any], str]] = {
    # The graph of the code is cut at the ends of the periodic domain; `MPPDE.suited` wraps it.
    "E1": ({"width": 128, "depth": 6, "graph": Graph(reach=3), "context": Context(time=4.0)}, _PAPER),
    "E2": (
        {
            "width": 128,
            "depth": 6,
            "graph": Graph(reach=3),
            "context": Context(time=4.0, parameters=(None, 0.2, None)),
        },
        _PAPER,
    ),
    "E3": (
        {
            "width": 128,
            "depth": 6,
            "graph": Graph(reach=3),
            "context": Context(time=2.0, parameters=(3.0, 0.4, 1.0)),
        },
        _PAPER,
    ),
}
"""Arguments and source of published set-ups; the parameters of E2 and E3 are alpha, beta, gamma."""
