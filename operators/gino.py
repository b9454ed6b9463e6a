"""The geometry-informed neural operator: from points to a regular lattice, an operator there, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sciml.calling import call
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.operators.box import check_counts, per_axis
from sciml.operators.cloud import Cloud
from sciml.operators.fno import FNO
from sciml.operators.lattice import Nodes
from sciml.operators.measures import measures
from sciml.operators.multigrid import Cycle, VCycle
from sciml.operators.properties import Properties
from sciml.operators.stencils import boundary_per_axis, in_layout
from sciml.operators.unet import Levels, UNet

if TYPE_CHECKING:
    from sciml.grid import Grid

Latent = Callable[[int, int, int], nn.Module]
"""Rank, input and output channels to an operator on grids."""

DECODED = 4  # hidden units of the network at the points over the width
PADDING = 0.25  # of the domain, behind bounded axes: of the operator that is there by default


@describable
@dataclass(frozen=True)
class Lattice:
    """The regular grid of nodes inside a `GINO`.

    Parameters
    ----------
    nodes : int or one int per axis
        From one end of the unit box to the other, both included.
    reach : int
        A node takes from points that are less than so many spacings away along every axis.

    Raises
    ------
    ConfigError
        If there are fewer than two nodes on an axis, or the reach is below 1.
    """

    nodes: int | Sequence[int] = 32
    reach: int = 2

    def __post_init__(self) -> None:
        least = min((self.nodes,) if isinstance(self.nodes, int) else self.nodes, default=0)
        check_counts("Lattice", {"nodes, less one for the other end,": least - 1, "reach": self.reach})

    def shape(self, rank: int) -> tuple[int, ...]:
        """The nodes along each axis."""
        return per_axis("Lattice", "nodes", self.nodes, rank)


@describable
@dataclass(frozen=True)
class Sources:
    """Inputs in which the output of a `GINO` is affine, and the linear maps that they go through.

    Parameters
    ----------
    inputs : sequence of int
        Channels of the input, and behind them the numbers of the sample.
    width : int
        Channels of the linear fields.
    cycles : int
        How many V-cycles.
    cycle : Cycle or sequence of int
        The grids of each; numbers are `Cycle.pre`.

    Raises
    ------
    ConfigError
        If a count is below 1, or an input named twice.
    """

    inputs: Sequence[int] = ()
    width: int = 16
    cycles: int = 4
    cycle: Cycle | Sequence[int] = (1, 1, 1, 2)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        check_counts("Sources", {"width": self.width, "cycles": self.cycles})
        if len(set(self.inputs)) < len(self.inputs):
            raise ConfigError(f"Sources: each input is named once, got {self.inputs}.")


@describable
class GINO(nn.Module):
    r"""Geometry-informed neural operator: points -> lattice -> operator -> points.

    At every node ``x`` of a regular lattice the encoder takes means over the points ``y_j`` around it,

    ``(E v)_α(x) = Σ_j m_j b(y_j - x) (y_j - x)^α v(y_j) / Σ_j m_j b(y_j - x)``, ``|α| ≤ 1``,

    ``b(z) = Π_a max(0, 1 - (z_a / r)²)²``, with measures ``m_j`` (`sciml.operators.measures.measures`) and a
    reach ``r``: quadratures of integrals with kernels ``b (y - x)^α`` over their neighborhood. The operator
    on the lattice combines them with learned weights. It also sees the *coverage*, ``Σ_j m_j b`` over the
    integral of b: 1 where points are, 0 where the domain has a hole. Its output is interpolated multilinearly
    at the points, where a network sees it with the input there: ``u(y) = Q(v(y), a(y), y, θ)``.

    With ``affine`` the output is affine in some inputs s, whatever the weights. The operator on the lattice
    sees the others only, and gives beside v factors ``g_l``; the encoded s pass
    ``s_0 = (1 + g_0) P E s``, ``s_l = s_{l-1} + V_l (1 + g_l) s_{l-1}``, V linear V-cycles of constant
    weights as in `sciml.operators.MgNO`, and ``u(y) = Σ_c Q_c(v(y), ...) (s(y), s_L(y), 1)_c``. The equation
    ``-div(a grad u) = f``, with boundary values, is affine in f and the values, not in a and the domain.

    Parameters
    ----------
    rank : int
        Coordinates of a point.
    in_channels, out_channels : int
        Channels of the input (there may be none) and of the output, coordinates not counted.
    width : int
        Channels that the operator on the lattice hands to the points, where 4 times as many are hidden.
    lattice : Lattice or int
        A number is that of `Lattice.nodes`.
    latent : callable, optional
        Makes the operator from rank, input and output channels, such as a class of ours on grids, or
        ``functools.partial(UNet, width=8)``; it may name the extra ``coordinates``. Default: an `FNO` with
        12 modes or half the nodes, if that is less, whose domain is extended by a quarter.
    affine : Sources or sequence of int
        Numbers are `Sources.inputs`. Rank 1 to 3.
    parameters : int
        Numbers of each sample.

    Attributes
    ----------
    requires : tuple of str
        The extras that this instance cannot do without.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Complexity: with N points O(N (2 r)^rank) for the means, which have no weights and, as long as input and
    coordinates need none, no gradient; O(N 2^rank width) for the interpolation; and the operator on the
    lattice, whatever N is. Nodes are found from coordinates; nothing is sorted, searched or kept.
    Resolution: means are of constants exactly these. As points are refined, the means converge to ratios of
    integrals, with second order on regular points and for the weights of linear elements; the lattice
    stays. Points farther apart than its spacing leave nodes empty as holes do: choose as many nodes as points
    along an axis, or fewer. Axes are bounded, not periodic.

    What differs from the published model: fixed kernels of moments, whose combinations are learned, in place
    of a network for every edge, on both ways; measures as quadrature weights; coverage in place of a signed
    distance, which may be among the inputs; and ``affine``.

    Source: Li et al., *Geometry-Informed Neural Operator for Large-Scale 3D PDEs*, NeurIPS 2023
    (arXiv:2309.00583), section 3.

    Examples
    --------
    >>> model = GINO(2, 1, 1, lattice=16, latent=partial(FNO, modes=4, width=8))
    >>> model(torch.zeros(3, 50, 1), torch.rand(3, 50, 2)).shape
    torch.Size([3, 50, 1])
    """

    properties = Properties(
        needs_grid=False, periodic=False, resolution_bound=False, linear=False, exports=True
    )

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 32,
        lattice: Lattice | int = 32,
        latent: Latent | None = None,
        affine: Sources | Sequence[int] = (),
        parameters: int = 0,
    ) -> None:
        super().__init__()
        check_counts("GINO", {"out_channels": out_channels, "width": width})
        self.cloud = Cloud("GINO", rank, in_channels, parameters=parameters)
        self.requires, self.out_channels, self.width = self.cloud.requires, out_channels, width
        self.lattice = lattice if isinstance(lattice, Lattice) else Lattice(lattice)
        self.shape = self.lattice.shape(rank)
        self.sources = affine if isinstance(affine, Sources) else Sources(affine)
        inputs, every = self.sources.inputs, range(in_channels + parameters)
        if not set(inputs) <= set(every):
            raise ConfigError(
                f"GINO: affine names inputs from 0 to {len(every) - 1}, channels and behind them numbers of "
                f"the sample, got {inputs}."
            )
        self.conditions = [i for i in every if i not in inputs]
        out, factors, self.stream = out_channels, 0, None
        if inputs:
            self.stream = _Stream(rank, self._seen(inputs), self.sources)
            out, factors = out_channels * (self.sources.width + len(inputs) + 1), self.stream.factors
        default = partial(FNO, modes=[min(12, n // 2) for n in self.shape], width=width, padding=PADDING)
        seen = 1 + rank + self._seen(self.conditions)
        self.latent = (default if latent is None else latent)(rank, seen, width + factors)
        check_grid = getattr(self.latent, "check_grid", None)
        if callable(check_grid):
            check_grid(self.shape)
        hidden = DECODED * width
        sizes = (width + len(self.conditions) + rank, hidden), (hidden, hidden)
        layers = [part for size in sizes for part in (nn.Linear(*size), nn.GELU())]
        self.projection = nn.Sequential(*layers, nn.Linear(hidden, out))

    def _seen(self, inputs: Sequence[int]) -> int:
        """Channels of these inputs on the lattice: moments of fields, and numbers."""
        return sum(1 + self.cloud.rank if i < self.cloud.channels else 1 for i in inputs)

    def forward(
        self,
        x: Tensor,
        coordinates: Tensor | None = None,
        mask: Tensor | None = None,
        weights: Tensor | None = None,
        parameters: Tensor | None = None,
    ) -> Tensor:
        """Apply the operator.

        Parameters
        ----------
        x : (batch, point, in_channels) or (batch, in_channels, *space) real
            Normalized input, on points or on a grid.
        coordinates : (batch, point, rank) or (batch, rank, *space)
            With the domain scaled to the unit box.
        mask : (batch, point) bool, optional
            True at points, False at padding.
        weights : (batch, point), optional
            Quadrature weights.
        parameters : (batch, p), optional
            Needed if the model was built for some, else ignored.

        Returns
        -------
        (batch, point, out_channels) or (batch, out_channels, *space)
            0 at padding.

        Raises
        ------
        ShapeError
            If a shape does not fit, or something needed is missing.
        """
        rows = self.cloud.enter(x, coordinates, mask)
        told = self.cloud.at_every_point((rows.values,), parameters)  # numbers behind the channels
        measure = measures("GINO", rows, weights, (False,) * self.cloud.rank)
        nodes = Nodes(rows.coordinates, self.shape)
        moments = nodes.moments(rows.values, measure, self.lattice.reach)
        ends = torch.cat(
            (nodes.everywhere(moments[..., 0]), self._on(nodes, moments, told, self.conditions)), 1
        )
        z = call(self.latent, ends, {"coordinates": nodes.places()})
        v, factors = z[:, : self.width], z[:, self.width :]
        here = (nodes.interpolated(v), told[..., self.conditions], rows.coordinates)
        u: Tensor = self.projection(torch.cat(here, dim=-1))
        if self.stream is not None:
            affine = list(self.sources.inputs)
            s = self.stream(self._on(nodes, moments, told, affine), factors)
            u = self._affine(u, torch.cat((nodes.interpolated(s), told[..., affine]), dim=-1))
        return rows.back(u)

    def _on(self, nodes: Nodes, moments: Tensor, told: Tensor, inputs: Sequence[int]) -> Tensor:
        """Some of the inputs on the lattice, (batch, channel, *shape)."""
        channels = self.cloud.channels
        fields = moments[..., [1 + i for i in inputs if i < channels]].flatten(2)
        numbers = told[:, :1, [i for i in inputs if i >= channels]].expand(-1, fields.shape[1], -1)
        return nodes.everywhere(torch.cat((fields, numbers), dim=-1))

    def _affine(self, u: Tensor, sources: Tensor) -> Tensor:
        """Products of what the network at the points says with the sources there, and with 1."""
        factors = u.unflatten(-1, (self.out_channels, -1))
        products = (factors[..., :-1] @ sources[..., None])[..., 0]
        total: Tensor = products / sqrt(sources.shape[-1]) + factors[..., -1]
        return total

    @staticmethod
    def suited(grid: Grid) -> dict[str, Any]:
        """Arguments to start from on a training grid: as many nodes, but at most 32 along each axis.

        Examples
        --------
        >>> from sciml.grid import Grid
        >>> GINO.suited(Grid.box((16, 64)))
        {'width': 16, 'lattice': Lattice(nodes=(16, 32), reach=2)}
        """
        return {"width": 16, "lattice": Lattice(tuple(max(2, min(32, size)) for size in grid.shape))}

    @staticmethod
    def suited_points() -> dict[str, Any]:
        """Arguments to start from on points and meshes: small, for training on a few cores.

        For a thousand points or more, in the plane or in space. Where the output is affine in some inputs say
        so with ``affine``: that changes more than any other setting.
        """
        latent = partial(UNet, width=8, levels=Levels((1, 2, 2), blocks=1))
        return {"width": 16, "lattice": Lattice(32, reach=1), "latent": latent}

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> GINO:
        """A tiny instance that trains in seconds, for tests."""
        latent = partial(FNO, modes=5, width=16, depth=2)
        return GINO(rank, in_channels, out_channels, width=16, lattice=Lattice(12, reach=1), latent=latent)


class _Stream(nn.Module):
    """``s_0 = (1 + g_0) (P s + p)``, ``s_l = s_{l-1} + V_l (1 + g_l) s_{l-1}``."""

    def __init__(self, rank: int, channels: int, sources: Sources) -> None:
        super().__init__()
        width, boundary = sources.width, boundary_per_axis("GINO", "zeros", rank)
        cycle = sources.cycle if isinstance(sources.cycle, Cycle) else Cycle(sources.cycle)
        self.factors = width * (sources.cycles + 1)
        self.entrance = nn.Linear(channels, width)
        self.cycles = nn.ModuleList(VCycle(boundary, width, width, cycle) for _ in range(sources.cycles))

    def forward(self, s: Tensor, factors: Tensor) -> Tensor:
        """(batch, channels, *shape), (batch, factors, *shape) -> (batch, width, *shape)."""
        first, *others = in_layout(1 + factors).chunk(len(self.cycles) + 1, dim=1)
        # The sum over cycles stays in the precision of the input, also under autocast.
        found: Tensor = first * self.entrance(s.movedim(1, -1)).movedim(-1, 1).to(s.dtype)
        for cycle, factor in zip(self.cycles, others, strict=True):
            found = found + cycle(factor * found)
        return found
