"""The dilated residual network: convolutions at one resolution that reach far by leaving points out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.functional import gelu

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.operators.box import Box, check_counts
from sciml.operators.properties import Properties
from sciml.operators.stencils import (
    Beyond,
    Boundary,
    Stencil,
    boundary_per_axis,
    in_layout,
    suited_boundary,
)

if TYPE_CHECKING:
    from sciml.grid import Grid

DILATIONS = (1, 2, 4, 8, 4, 2, 1)


published: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "turbulence": (
        {"width": 48, "depth": 4, "boundary": "circular", "coordinates": False},
        "Stachenfeld et al., ICLR 2022 (arXiv:2112.15275): turbulence on periodic grids",
    ),
}
"""Arguments of published set-ups, and where they are from."""


@describable
class ResNet(nn.Module):
    r"""Dilated residual network: ``v ↦ v + (σ C_8 ...)(v)``, a chain of convolutions per block, σ = GELU.

    ``v_0 = C v``, ``v_l = v_{l-1} + F_l(v_{l-1})`` with ``F = σ C_1 N σ C_2 N ⋯ σ C_2 N σ C_1 N``, ``u = C
    v_depth``: C_d a 3^d convolution that reads points d apart, N group normalization with one group. There
    is one resolution, and no point-wise bottleneck.

    Parameters
    ----------
    rank : int
        Axes of the grid, 1 to 3.
    in_channels, out_channels : int
        Channels of the input and of the output field, coordinates not counted.
    width : int
        Channels of the hidden fields.
    depth : int
        Number of blocks.
    dilations : sequence of int
        Of the convolutions of every block.
    boundary : str or one per axis
        What fields are beyond the ends of an axis: "zeros"; "circular", the other end; "replicate", the
        nearest point. `suited` takes it from the grid.
    coordinates : bool
        Whether the unit coordinates of the grid join the input as `rank` further channels. Without them, and
        with "circular" boundaries, the operator commutes with all translations of a periodic grid.

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
    Grids may have any number of points. A point sees ``depth Σ dilations + 2`` points in every direction; at
    another resolution that is another distance, and this another operator
    (`Properties.resolution_bound`).

    What differs from the paper, whose model is that of `published`: GELU instead of ReLU,
    which has kinks; the normalization, as in the variant of PDEArena; coordinates.

    Source: Stachenfeld et al., *Learned Coarse Models for Efficient Turbulence Simulation*, ICLR 2022
    (arXiv:2112.15275), section 4.

    Examples
    --------
    >>> import torch
    >>> model = ResNet(2, in_channels=4, out_channels=4, width=48, boundary="circular", coordinates=False)
    >>> sum(p.numel() for p in model.parameters())
    588148
    >>> model(torch.zeros(2, 4, 32, 32)).shape
    torch.Size([2, 4, 32, 32])
    """

    # Periodic domains are not the only ones: boundaries and coordinates serve the others.
    properties = Properties(
        needs_grid=True, periodic=False, resolution_bound=True, linear=False, exports=True
    )

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 32,
        depth: int = 4,
        dilations: Sequence[int] = DILATIONS,
        boundary: Boundary = "zeros",
        coordinates: bool = True,
    ) -> None:
        super().__init__()
        counts = {"in_channels": in_channels, "out_channels": out_channels, "width": width, "depth": depth}
        check_counts("ResNet", counts)
        self.boundary = boundary_per_axis("ResNet", boundary, rank)
        self.dilations = tuple(dilations)
        if not self.dilations or min(self.dilations) < 1:
            raise ConfigError(f"ResNet: dilations must be whole numbers from 1, got {self.dilations}.")
        self.rank, self.in_channels, self.out_channels = rank, in_channels, out_channels
        self.box = Box("ResNet", rank, in_channels, coordinates=coordinates, padding=0.0)
        self.requires: tuple[str, ...] = ("coordinates",) if coordinates else ()
        self.entrance = Stencil(self.boundary, in_channels + (rank if coordinates else 0), width)
        self.blocks = nn.ModuleList(_Block(self.boundary, width, self.dilations) for _ in range(depth))
        self.exit = Stencil(self.boundary, width, out_channels)

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
        v = self.entrance(in_layout(self.box.enter(x, coordinates)))
        for block in self.blocks:
            v = block(v)
        u: Tensor = self.exit(v)
        return u.contiguous()

    @staticmethod
    def suited(grid: Grid) -> dict[str, Any]:
        """Arguments to start from on a training grid: small, for training on a few cores.

        Chosen on validation samples of Darcy flow and Navier-Stokes at 64 x 64, after half a minute on two
        cores, with AdamW at 0.004.

        Examples
        --------
        >>> from sciml.grid import Grid
        >>> ResNet.suited(Grid.box((64, 64)))
        {'width': 16, 'depth': 2, 'boundary': ('zeros', 'zeros')}
        """
        return {"width": 16, "depth": 2, "boundary": suited_boundary(grid)}

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> ResNet:
        """A tiny instance that trains in seconds, for tests."""
        return ResNet(rank, in_channels, out_channels, width=20, depth=1, dilations=(1, 2, 1))


class _Block(nn.Module):
    """``v + F(v)``."""

    def __init__(self, boundary: Sequence[Beyond], width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for _ in dilations)
        self.stencils = nn.ModuleList(Stencil(boundary, width, width, dilation=d) for d in dilations)

    def forward(self, v: Tensor) -> Tensor:
        branch = v
        for norm, stencil in zip(self.norms, self.stencils, strict=True):
            branch = gelu(stencil(norm(branch)))
        return v + branch
