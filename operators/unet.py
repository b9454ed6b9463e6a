"""The U-Net of PDEArena: residual blocks on grids of halving resolution, joined by concatenated skips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import mul
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.operators.box import Box, check_counts
from sciml.operators.pointwise import Pointwise
from sciml.operators.properties import Properties
from sciml.operators.stencils import (
    Beyond,
    Boundary,
    Refinement,
    Stencil,
    boundary_per_axis,
    in_layout,
    suited_boundary,
)

if TYPE_CHECKING:
    from sciml.grid import Grid

_SUITED = (1, 2, 2, 2)  # multipliers


@describable
@dataclass(frozen=True)
class Levels:
    """The resolutions of a `UNet`, finest first.

    Parameters
    ----------
    multipliers : sequence of int
        One for each resolution: its channels over those of the resolution before, over the width for the
        first. They accumulate: (1, 2, 2, 4) makes 1, 2, 4 and 16 times the width.
    blocks : int
        Residual blocks at each resolution on the way down; on the way up there is one more.
    attention : bool
        Whether every point of the coarsest grid attends to every other, between the two blocks there.

    Raises
    ------
    ConfigError
        If a number is below 1, or there is none.
    """

    multipliers: Sequence[int] = (1, 2, 2, 4)
    blocks: int = 2
    attention: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "multipliers", tuple(self.multipliers))
        if not self.multipliers:
            raise ConfigError("Levels: needs at least one multiplier.")
        check_counts("Levels", {"multiplier": min(self.multipliers), "blocks": self.blocks})


_SOURCE = "Gupta and Brandstetter, TMLR 2023 (arXiv:2209.15616)"
published: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "modern": ({"width": 64, "levels": Levels(), "coordinates": False}, f"{_SOURCE}: U-Net_mod-64"),
    "attention": (
        {"width": 64, "levels": Levels(attention=True), "coordinates": False},
        f"{_SOURCE}: U-Net_att-64",
    ),
}
"""Arguments of published set-ups, and where they are from."""


@describable
class UNet(nn.Module):
    r"""A modern U-Net: residual blocks on grids of spacing h, 2h, 4h, ..., down and up again.

    A block is ``v ↦ S v + C₂ σ(N₂ C₁ σ(N₁ v))``, C 3^d convolutions, N group normalization with one group, σ
    GELU, S the identity or a map at every point where the number of channels changes. Between resolutions
    lie a convolution of stride 2 and a transposed one of 4^d weights; every block on the way up sees, beside
    what comes to it, the output of its partner on the way down.

    Parameters
    ----------
    rank : int
        Axes of the grid, 1 to 3.
    in_channels, out_channels : int
        Channels of the input and of the output field, coordinates not counted.
    width : int
        Channels on the finest grid.
    levels : Levels or sequence of int
        Numbers are the multipliers of `Levels`.
    boundary : str or one per axis
        What fields are beyond the ends of an axis: "zeros"; "circular", the other end; "replicate", the
        nearest point. `suited` takes it from the grid.
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
    Grids may have any number of points. Of n points ``ceil(n / 2)`` remain, the first among them, and of
    those 2 n' on the way up the last is cut off where n was odd: 2^k + 1 nodes with both ends keep both ends
    on every grid. On a periodic axis that `stride` does not divide, coarse neighbors across the seam are
    closer than others; it works, but the symmetry is lost.

    Weights act on neighbors of the grid, not at a distance: at another resolution this is another operator
    (`Properties.resolution_bound`).

    What differs from the published code: boundaries other than zeros; any rank; coordinates; neither
    normalization nor activation before the last convolution, so that a path without either leads from the
    input to the output (the normalization took from every sample its amplitude; without the activation
    roll-outs of Navier-Stokes had an error of 18 % where they had 33 %, after the same minute of training);
    attention is normalized over the points that are looked at, where the code does so over those that look,
    and its maps inward have no biases, since that of the keys would be idle.

    Source: Gupta and Brandstetter, *Towards Multi-spatiotemporal-scale Generalized PDE Modeling*, TMLR 2023
    (arXiv:2209.15616), U-Net_mod and U-Net_att; details follow the authors' code.

    Examples
    --------
    The published model, of which "144 M" parameters are reported, for four frames of velocity and a scalar:

    >>> with torch.device("meta"):
    ...     model = UNet(2, 12, 3, **published["modern"][0])
    >>> sum(p.numel() for p in model.parameters()), model.stride
    (144263555, 8)
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
        levels: Levels | Sequence[int] = (1, 2, 2),
        boundary: Boundary = "zeros",
        coordinates: bool = True,
    ) -> None:
        super().__init__()
        counts = {"in_channels": in_channels, "out_channels": out_channels, "width": width}
        check_counts("UNet", counts)
        self.boundary = boundary_per_axis("UNet", boundary, rank)
        self.levels = levels if isinstance(levels, Levels) else Levels(levels)
        self.rank, self.in_channels, self.out_channels = rank, in_channels, out_channels
        self.box = Box("UNet", rank, in_channels, coordinates=coordinates, padding=0.0)
        self.requires: tuple[str, ...] = ("coordinates",) if coordinates else ()
        channels = list(accumulate(self.levels.multipliers, mul, initial=width))
        pairs = list(pairwise(channels))
        coarsest = channels[-1]
        self.entrance = Stencil(self.boundary, in_channels + (rank if coordinates else 0), width)
        self.down = nn.ModuleList(
            _Down(self.boundary, fine, coarse, self.levels.blocks, first=level == 0)
            for level, (fine, coarse) in enumerate(pairs)
        )
        self.middle = nn.Sequential(_Block(self.boundary, coarsest, coarsest))
        if self.levels.attention:
            self.middle.append(_Attention(coarsest))
        self.middle.append(_Block(self.boundary, coarsest, coarsest))
        self.up = nn.ModuleList(
            _Up(self.boundary, fine, coarse, self.levels.blocks, last=level == 0)
            for level, (fine, coarse) in reversed(list(enumerate(pairs)))
        )
        self.exit = Stencil(self.boundary, width, out_channels)

    @property
    def stride(self) -> int:
        """Grid points of the finest grid between neighbors of the coarsest."""
        return int(2 ** (len(self.levels.multipliers) - 1))

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
        skips = [v]
        for level in self.down:
            skips += level(skips[-1])
        v = self.middle(skips[-1])
        for level in self.up:
            v = level(v, skips)
        u: Tensor = self.exit(v)
        return u.contiguous()

    @staticmethod
    def suited(grid: Grid) -> dict[str, Any]:
        """Arguments to start from on a training grid: small, for training on a few cores.

        Chosen on validation samples of Darcy flow and Navier-Stokes at 64 x 64, after half a minute on two
        cores, with AdamW at 0.004: there it was better than with widths of 12 or 16, two blocks, five levels,
        without attention, and at lower rates.  There are at most four resolutions, and the coarsest keeps at
        least four points along every axis.

        Examples
        --------
        >>> from sciml.grid import Grid
        >>> UNet.suited(Grid.box((64, 64)))["levels"]
        Levels(multipliers=(1, 2, 2, 2), blocks=1, attention=True)
        """
        count = max(1, min(len(_SUITED), min(grid.shape).bit_length() - 2))
        levels = Levels(_SUITED[:count], blocks=1, attention=True)
        return {"width": 8, "levels": levels, "boundary": suited_boundary(grid)}

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> UNet:
        """A tiny instance that trains in seconds, for tests."""
        return UNet(rank, in_channels, out_channels, width=20, levels=Levels((1, 1), blocks=1))


class _Block(nn.Module):
    """The residual block, from some channels to others."""

    def __init__(self, boundary: Sequence[Beyond], into: int, out: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList((nn.GroupNorm(1, into), nn.GroupNorm(1, out)))
        self.stencils = nn.ModuleList((Stencil(boundary, into, out), Stencil(boundary, out, out)))
        self.shortcut = nn.Identity() if into == out else Pointwise(into, out)

    def forward(self, v: Tensor) -> Tensor:
        branch = v
        for norm, stencil in zip(self.norms, self.stencils, strict=True):
            branch = stencil(gelu(norm(branch)))
        total: Tensor = branch + self.shortcut(v)
        return total


class _Attention(nn.Module):
    """``v + W A(v)``: every point takes a mean of all, weighted by how well its query fits their keys."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.inward = nn.Linear(channels, 3 * channels, bias=False)
        self.outward = nn.Linear(channels, channels)

    def forward(self, v: Tensor) -> Tensor:
        points = self.norm(v).flatten(2).mT
        query, key, value = self.inward(points).chunk(3, dim=-1)
        found = self.outward(scaled_dot_product_attention(query, key, value))
        total: Tensor = v + found.mT.reshape(v.shape)
        return total


class _Down(nn.Module):
    """One resolution on the way down; returns all that the way up will see."""

    def __init__(self, boundary: Sequence[Beyond], into: int, out: int, blocks: int, *, first: bool) -> None:
        super().__init__()
        self.coarsen = None if first else Stencil(boundary, into, into, stride=2)
        self.blocks = nn.ModuleList(
            _Block(boundary, into if number == 0 else out, out) for number in range(blocks)
        )

    def forward(self, v: Tensor) -> list[Tensor]:
        outputs = [] if self.coarsen is None else [self.coarsen(v)]
        for block in self.blocks:
            outputs.append(block(outputs[-1] if outputs else v))
        return outputs


class _Up(nn.Module):
    """One resolution on the way up; takes from the end of `skips` what it sees."""

    def __init__(self, boundary: Sequence[Beyond], out: int, into: int, blocks: int, *, last: bool) -> None:
        super().__init__()
        sizes = [(2 * into, into)] * blocks + [(into + out, out)]
        self.blocks = nn.ModuleList(_Block(boundary, *size) for size in sizes)
        self.refine = None if last else Refinement(boundary, out)

    def forward(self, v: Tensor, skips: list[Tensor]) -> Tensor:
        for block in self.blocks:
            v = block(torch.cat((v, skips.pop()), dim=1))
        if self.refine is not None:
            v = self.refine(v, skips[-1].shape[2:])
        return v
