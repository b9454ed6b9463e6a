"""The factorized Fourier neural operator: one-dimensional spectral convolutions along every axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.pointwise import pointwise_mlp
from sciml.kernels.spectral import spectral_conv
from sciml.operators.box import Box, check_counts, modes_per_axis
from sciml.operators.fno import FNO
from sciml.operators.properties import Properties
from sciml.operators.spectral_weights import SpectralWeights, as_weights, contraction_of

if TYPE_CHECKING:
    from sciml.grid import Grid

EXPANSION = 4  # hidden channels of a layer over its width, as in the runs of the paper on the torus
HEAD_WIDTH = 128  # of the two-layer map to the output, as published
HEADS = ("stream", "branch")


@describable
@dataclass(frozen=True)
class Stack:
    """How the layers of an `FFNO` are stacked.

    Parameters
    ----------
    depth : int
        Number of layers.
    shared : bool
        Whether all layers use the same spectral weights, as in the paper's deep models (24 layers). Their
        number then does not grow with the depth.
    head : str
        What the last two maps see: "stream", the lifted input and all that the layers added; or "branch",
        only what the last layer adds, as in the published code. The stream hands gradients to all layers
        past the last one; small models reach 1 % on four samples in fewer steps with it (280 of Adam, where
        branches take 315 or do not arrive in 500).

    Raises
    ------
    ConfigError
        For an unknown head.
    """

    depth: int = 4
    shared: bool = False
    head: Literal["stream", "branch"] = "stream"

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ConfigError(f"Stack: head must be one of {', '.join(HEADS)}, got {self.head!r}.")


published: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "navier-stokes": (
        {"modes": 16, "width": 64, "depth": Stack(24, shared=True, head="branch")},
        "Tran et al., ICLR 2023 (arXiv:2111.13802): vorticity on a torus at viscosity 1e-5, from one frame",
    ),
}
"""Arguments of published set-ups, and where they are from."""


@describable
class FFNO(nn.Module):
    r"""Factorized Fourier neural operator: ``v ↦ v + W' σ(W Σ_a K_a v + b) + b'``, K_a along axis a alone.

    ``K_a v`` multiplies the Fourier coefficients of v along axis a, at every position of the other axes, by
    one complex matrix for each frequency ``0..m_a-1``: ``Σ_a m_a`` matrices in a layer, against the
    ``½ Π_a 2 m_a`` of `FNO`.  W maps width -> 4 width, W' back, σ is GELU.

    Parameters
    ----------
    rank : int
        Axes of the grid; any rank from 1.
    in_channels, out_channels : int
        Channels of the input and of the output field, coordinates not counted.
    modes : int, one int per axis, or SpectralWeights
        m keeps the frequencies below m along its axis (and their mirror images).
    width : int
        Channels of the hidden fields.
    depth : int or Stack
        Number of layers; a `Stack` also says whether they share spectral weights, and what the head sees.
    coordinates : bool
        Whether the unit coordinates of the grid join the input as `rank` further channels. Without them and
        without padding the operator commutes with translations along every axis of a periodic domain.
    padding : float or one float per axis
        The fraction by which the domain is extended behind its upper end, with zeros, for the layers only.

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
    One layer without its pointwise maps is a sum of convolutions with kernels ``g_a(ξ_a)``; a product kernel
    ``g(x) h(y)`` takes two.

    Maps at points have normalized weights, ``W = diag(length) D / |rows of D|``, as published. What differs
    from the published code: the head (`Stack`); GELU between the maps of a layer instead of ReLU, which has
    kinks, and between the two of the head, where the code has nothing; spectral weights start such that
    ``Σ_a K_a`` keeps the variance of smooth fields, ``E|Σ_i R_io X_i|² = mean_i |X_i|² / rank``. The code's
    start is rank / m_a of that, and a hundredth thereof in its deep models.

    Source: Tran, Mathews, Xie, Ong, *Factorized Fourier Neural Operators*, ICLR 2023 (arXiv:2111.13802),
    section 3; details follow the authors' code.

    Examples
    --------
    The paper's model for the vorticity on a torus, one frame and the coordinates in:

    >>> model = FFNO(rank=2, in_channels=1, out_channels=1, **published["navier-stokes"][0])
    >>> sum(p.numel() for p in model.parameters())
    1072834
    """

    properties = Properties(
        needs_grid=True, periodic=False, resolution_bound=False, linear=False, exports=True
    )

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        *,
        modes: int | Sequence[int] | SpectralWeights = 16,
        width: int = 32,
        depth: int | Stack = 4,
        coordinates: bool = True,
        padding: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__()
        stack = depth if isinstance(depth, Stack) else Stack(depth)
        counts = {"rank": rank, "in_channels": in_channels, "out_channels": out_channels}
        check_counts("FFNO", {**counts, "width": width, "depth": stack.depth})
        self.rank, self.in_channels, self.out_channels = rank, in_channels, out_channels
        self.stack, weights = stack, as_weights(modes)
        self.modes = modes_per_axis("FFNO", weights.modes, rank)
        self.box = Box("FFNO", rank, in_channels, coordinates=coordinates, padding=padding)
        self.requires: tuple[str, ...] = ("coordinates",) if coordinates else ()
        self.lifting = _Normalized(in_channels + (rank if coordinates else 0), width)
        self.convolutions = nn.ModuleList(
            _AxisConvolutions(width, self.modes, weights) for _ in range(1 if stack.shared else stack.depth)
        )
        self.layers = nn.ModuleList(_Network(width, EXPANSION * width, width) for _ in range(stack.depth))
        self.head = _Network(width, HEAD_WIDTH, out_channels)

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
        v = branch = self.box.extend(self.lifting(self.box.enter(x, coordinates)))
        for i, layer in enumerate(self.layers):
            branch = layer(self.convolutions[i % len(self.convolutions)](v))
            v = v + branch
        seen = branch if self.stack.head == "branch" else v
        projected: Tensor = self.head(self.box.restrict(seen, x.shape[2:]))
        return projected

    def check_grid(self, shape: Sequence[int]) -> None:
        """Refuse a training grid, without padding, that cannot represent all modes; see `FNO.check_grid`.

        Raises
        ------
        ShapeError
            If ``2 m`` exceeds the (padded) grid size on an axis.
        """
        self.box.check_modes(self.modes, shape)

    @staticmethod
    def suited(grid: Grid) -> dict[str, Any]:
        """Modes and padding of `FNO.suited`, from which to start; nothing was tuned for this operator."""
        return FNO.suited(grid)

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> FFNO:
        """A tiny instance that trains in seconds, for tests."""
        return FFNO(rank, in_channels, out_channels, modes=5 if rank < 3 else 3, width=16, depth=2)


class _AxisConvolutions(nn.Module):
    """``Σ_a K_a v``."""

    def __init__(self, width: int, modes: tuple[int, ...], weights: SpectralWeights) -> None:
        super().__init__()
        self.modes = modes
        for axis, m in enumerate(modes):
            setattr(self, f"axis_{axis}", weights.make((m,), (width, width), power=1.0 / len(modes)))

    def forward(self, v: Tensor) -> Tensor:
        parts = [
            spectral_conv(v, contraction_of(getattr(self, f"axis_{axis}")), (m,), axes=(axis,))
            for axis, m in enumerate(self.modes)
        ]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


class _Normalized(nn.Module):
    """An affine map at every point whose weights are directions times lengths, one for each output channel.

    Source: Salimans and Kingma, Weight Normalization, NeurIPS 2016 (arXiv:1602.07868), equation (2).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        bound = 1.0 / sqrt(in_channels)
        self.direction = nn.Parameter(torch.empty(out_channels, in_channels).uniform_(-bound, bound))
        self.length = nn.Parameter(self.direction.detach().norm(dim=1))
        self.bias = nn.Parameter(torch.empty(out_channels).uniform_(-bound, bound))

    @property
    def weight(self) -> Tensor:
        """(out_channels, in_channels)."""
        scale: Tensor = self.length / torch.linalg.vector_norm(self.direction, dim=1)
        return self.direction * scale[:, None]

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, *space) -> (batch, out_channels, *space)."""
        weight = self.weight.expand(x.shape[0], *self.direction.shape)
        y = torch.baddbmm(self.bias[:, None], weight, x.flatten(2))
        return y.reshape(x.shape[0], len(self.bias), *x.shape[2:])


class _Network(nn.Module):
    """Two of these maps with GELU between."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int) -> None:
        super().__init__()
        self.first, self.second = _Normalized(in_channels, hidden), _Normalized(hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, *space) -> (batch, out_channels, *space)."""
        first, second = self.first, self.second
        y = pointwise_mlp(x.flatten(2), first.weight, first.bias, second.weight, second.bias)
        return y.reshape(x.shape[0], len(second.bias), *x.shape[2:])
