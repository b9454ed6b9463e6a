"""The multigrid neural operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.functional import gelu

from sciml.description import describable
from sciml.operators.box import Box, check_counts
from sciml.operators.multigrid import Cycle, VCycle
from sciml.operators.pointwise import Pointwise
from sciml.operators.properties import Properties
from sciml.operators.stencils import Boundary, boundary_per_axis, in_layout, suited_boundary

if TYPE_CHECKING:
    from sciml.grid import Grid


@describable
class MgNO(nn.Module):
    r"""Multigrid neural operator: layers ``v ↦ σ(W v + B v + b)`` with W a multigrid V-cycle.

    ``v_0 = a``, ``v_l = GELU(W_l v_{l-1} + B_l v_{l-1} + b_l)``, ``u = Q v_depth``: W a linear map between
    fields, `sciml.operators.multigrid.VCycle`; B and Q matrices at every point. Nothing lifts the input: the
    first V-cycle takes it to the hidden fields.

    Parameters
    ----------
    rank : int
        Axes of the grid, 1 to 3.
    in_channels, out_channels : int
        Channels of the input and of the output field, coordinates not counted.
    width : int
        Channels of the hidden fields, on every grid of the cycle.
    depth : int
        Number of layers.
    cycle : Cycle or sequence of int
        Numbers are the smoothing steps on each grid, finest first: `Cycle.pre`.
    boundary : str or one per axis
        The boundary condition, as what fields on every grid are beyond the ends of an axis: "zeros",
        Dirichlet; "circular", the other end, periodic; "replicate", the nearest point, Neumann at the faces
        of cells. `suited` takes it from the grid.
    coordinates : bool
        Whether the unit coordinates of the grid join the input as `rank` further channels. Without them, and
        with "circular" boundaries, the operator commutes with translations of a periodic domain by multiples
        of `stride`.

    Attributes
    ----------
    requires : tuple of str
        ``("coordinates",)`` if the instance needs that argument, else ``()``.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Grids may have any number of points. Complexity: O(N) per layer, about ``27 width²`` multiplications per
    point of a plane. Weights act on neighbors of the grid: at another resolution this is another operator
    (`Properties.resolution_bound`).

    The published models are trained with a relative H1 error; that is ``Supervised(..., loss=partial(
    relative_h1, grid=data.grid))``. There lengths are those of a domain of length 2π: ``grid=Grid.box(shape,
    upper=2 * pi)``.

    What differs from the published code: any rank, and any number of points, without another way up for odd
    ones; no layer normalization, which ties weights to one grid and a cycle to nonlinearity, and no biases in
    cycles (the Navier-Stokes and Helmholtz models have both, and that of Helmholtz more channels on coarser
    grids); the way up starts with larger weights, whose variance counts the inputs that an output has.

    Source: He, Liu and Xu, *MgNO: Efficient Parameterization of Linear Operators via Multigrid*, ICLR 2024
    (arXiv:2310.19809); details follow the authors' code.

    Examples
    --------
    The published model for Darcy flow in rough media, of which "0.57 M" parameters are reported:

    >>> import torch
    >>> model = MgNO(2, 1, 1, width=24, depth=4, cycle=(1, 1, 1, 1, 1, 2))
    >>> sum(p.numel() for p in model.parameters()), model.stride
    (572661, 32)
    >>> model(torch.zeros(2, 1, 43, 64)).shape
    torch.Size([2, 1, 43, 64])
    """

    # Periodic domains are not the only ones, and layers are linear only up to their activation.
    properties = Properties(
        needs_grid=True, periodic=False, resolution_bound=True, linear=False, exports=True
    )

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 24,
        depth: int = 4,
        cycle: Cycle | Sequence[int] = (1, 1, 1, 1, 1, 2),
        boundary: Boundary = "zeros",
        coordinates: bool = False,
    ) -> None:
        super().__init__()
        counts = {"in_channels": in_channels, "out_channels": out_channels, "width": width, "depth": depth}
        check_counts("MgNO", counts)
        self.boundary = boundary_per_axis("MgNO", boundary, rank)
        self.cycle = cycle if isinstance(cycle, Cycle) else Cycle(cycle)
        self.rank, self.in_channels, self.out_channels = rank, in_channels, out_channels
        self.box = Box("MgNO", rank, in_channels, coordinates=coordinates, padding=0.0)
        self.requires: tuple[str, ...] = ("coordinates",) if coordinates else ()
        sizes = [in_channels + (rank if coordinates else 0)] + [width] * depth
        self.layers = nn.ModuleList(
            _Layer(VCycle(self.boundary, into, width, self.cycle), Pointwise(into, width))
            for into in sizes[:-1]
        )
        self.exit = nn.Linear(width, out_channels, bias=False)

    @property
    def stride(self) -> int:
        """Grid points of the finest grid between neighbors of the coarsest."""
        return int(2 ** (len(self.cycle.pre) - 1))

    def forward(self, x: Tensor, coordinates: Tensor | None = None) -> Tensor:
        """Apply the operator.

        Parameters
        ----------
        x : (batch, in_channels, *space) real
            Normalized input fields.
        coordinates : (batch, rank, *space)
            `Grid.unit_coordinates`; needed if the model was built with ``coordinates=True``, else ignored.

        Returns
        -------
        (batch, out_channels, *space)

        Raises
        ------
        ShapeError
            If a shape does not fit, or coordinates are needed and missing.
        """
        v = in_layout(self.box.enter(x, coordinates))
        self.cycle.check_grid("MgNO", v.shape[2:])
        for layer in self.layers:
            v = layer(v)
        u: Tensor = self.exit(v.movedim(1, -1)).movedim(-1, 1)
        return u.contiguous()

    @staticmethod
    def suited(grid: Grid) -> dict[str, Any]:
        """Arguments to start from on a training grid: small, for training on a few cores.

        On Darcy flow at 85 x 85, eight samples to a step, the relative error of validation samples was 1.75 %
        after 1100 steps, 70 seconds on two cores: AdamW at 0.004, gradients clipped at 1, bf16, the loss h1
        of `sciml compare`. At 0.008 it did not learn, nor at 0.004 with a relative L2 loss, unclipped.
        There are at most six grids, and the coarsest keeps at least two points along
        every axis.

        Examples
        --------
        >>> from sciml.grid import Grid
        >>> MgNO.suited(Grid.box((64, 64)))
        {'width': 16, 'depth': 3, 'cycle': (1, 1, 1, 1, 1, 2), 'boundary': ('zeros', 'zeros')}
        """
        count = max(1, min(6, min(grid.shape).bit_length() - 1))
        steps = (1,) * (count - 1) + (2,)
        return {"width": 16, "depth": 3, "cycle": steps, "boundary": suited_boundary(grid)}

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> MgNO:
        """A tiny instance that trains in seconds, for tests."""
        return MgNO(rank, in_channels, out_channels, width=16, depth=2, cycle=(1, 1, 1))


class _Layer(nn.Module):
    """``GELU(W v + B v + b)``."""

    def __init__(self, cycle: VCycle, skip: Pointwise) -> None:
        super().__init__()
        self.cycle, self.skip = cycle, skip

    def forward(self, v: Tensor) -> Tensor:
        return gelu(self.cycle(v) + self.skip(v))


_ROUGH = {"width": 24, "depth": 4, "cycle": Cycle((1, 1, 1, 1, 1, 2))}
_CODE = "He, Liu and Xu, MgNO, ICLR 2024, section 5, and the authors' code"

published: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "darcy_rough": (_ROUGH, f"{_CODE}: Darcy rough, 256 x 256"),
    "darcy_multiscale": (_ROUGH, f"{_CODE}: Darcy multiscale, 256 x 256"),
    "darcy_smooth": (
        {"width": 24, "depth": 5, "cycle": Cycle((1, 1, 1, 1, 1, 2), taps=(3, 4, 3, 3, 4))},
        f"{_CODE}: Darcy smooth, 211 x 211",
    ),
    "pipe": (
        {"width": 24, "depth": 5, "cycle": Cycle((1, 1, 1, 1, 1, 2), post=(0, 0, 0, 0, 1, 0))},
        f"{_CODE}: pipe flow, 128 x 128",
    ),
    "navier_stokes": (
        {"width": 32, "depth": 5, "cycle": Cycle((1, 1, 1, 2, 2)), "boundary": "circular"},
        f"{_CODE}: Navier-Stokes at viscosity 1e-5, 64 x 64; without its layer normalization and biases",
    ),
}
"""Arguments of published models, and where they are from."""
