"""Transolver: attention between a few learned slices of the domain, to which all points belong in part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.operators.attention import LAYERS, check_heads, mlp, with_layers, with_waves
from sciml.operators.box import check_counts
from sciml.operators.cloud import Cloud
from sciml.operators.physics_attention import Forced, Linearly, PhysicsAttention
from sciml.operators.properties import Properties
from sciml.operators.stencils import Beyond, Boundary, boundary_per_axis, suited_boundary

if TYPE_CHECKING:
    from sciml.grid import Grid

Words = Sequence[Beyond]

SLOWEST = 1e-4  # frequency at which time is told, the least; of the authors' code, as the network behind it
SPREAD, OF_WIDTH = 0.02, 128  # standard deviation of the weights at the start, published for this width


@describable
@dataclass(frozen=True)
class Sliced:
    """The blocks of a `Transolver`.

    Parameters
    ----------
    depth : int
        Blocks.
    heads : int
        Of the attention; they divide the width. Each has slices of its own.
    slices : int
        For each head.
    expansion : int
        Hidden channels of the network at every point over the width.
    waves : int
        Without reference points the place of a point is told by its coordinates and, along every axis, sine
        and cosine of π k ξ for k from 1 to this number.
    time : float, optional
        All points are told the ``time`` of the sample over this time; None does not tell it.
    affine : sequence of int
        Positions, among the channels of the input and then the numbers of the sample, of those in which the
        output is affine, whatever the others are: sources and boundary values of a linear equation.
    distances : sequence of int
        Positions of channels that are distances to a boundary in the unit box: they are told with waves, as
        coordinates are, and with layers, see `sciml.operators.attention.with_layers`.

    Raises
    ------
    ConfigError
        If a number is below 1, of waves below 0, or the time is not positive.
    """

    depth: int = 8
    heads: int = 8
    slices: int = 64
    expansion: int = 1
    waves: int = 0
    time: float | None = None
    affine: Sequence[int] = ()
    distances: Sequence[int] = ()

    def __post_init__(self) -> None:
        others = ("time", "affine", "distances")
        counts = {name: value for name, value in asdict(self).items() if name not in others}
        check_counts("Sliced", {**counts, "waves": self.waves + 1})
        if self.time is not None and not self.time > 0:
            raise ConfigError(f"Sliced: time is positive or None, got {self.time}.")


_SOURCE = "Wu et al., ICML 2024 (arXiv:2402.02366), scripts of the authors' repository"
published: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "elasticity": ({"width": 128, "layers": Sliced()}, f"{_SOURCE}: elasticity"),
    "airfoil": ({"width": 128, "layers": Sliced(), "stencil": "zeros"}, f"{_SOURCE}: airfoil, pipe"),
    "plasticity": (
        {"width": 128, "layers": Sliced(time=1.0), "stencil": "zeros"},
        f"{_SOURCE}: plasticity, the die in, a time of it out",
    ),
    "darcy": (
        {"width": 128, "layers": Sliced(), "stencil": "zeros", "reference": 8},
        f"{_SOURCE}: Darcy at 85 x 85",
    ),
    "navier-stokes": (
        {"width": 256, "layers": Sliced(slices=32), "stencil": "zeros", "reference": 8},
        f"{_SOURCE}: Navier-Stokes, ten frames in, one out",
    ),
}
"""Arguments of published set-ups, and where they are from."""


@describable
class Transolver(nn.Module):
    r"""Transolver: points belong to slices, slices attend to each other, points take back what they find.

    ``z_0 = W₂ σ(W₁ (ξ, a, θ))`` from location, input and numbers of the sample, and features of time if they
    are asked for; a block is ``z ↦ z + P(N z)``
    and ``z ↦ z + W₄ σ(W₃ N z)``, N layer normalization, σ GELU; ``u = W N z_depth``. The physics attention P
    is, in each head, with affine maps ``x_i``, ``f_i`` of the features of point i,

    ``s_i = softmax(W_s x_i / τ)`` over slices, ``T_g = Σ_i s_ig f_i / Σ_i s_ig``,
    ``T' = softmax(T W_q (T W_k)^T / sqrt(h)) T W_v``, ``P_i = W Σ_g s_ig T'_g``:

    tokens are means over slices, so that their number does not grow with that of the points.

    With ``Sliced(affine=...)`` the forcing b, such as sources and boundary values, is kept from z, and u is
    affine in it exactly, with coefficients that z decides. A stream v of as many channels goes through the
    same slices, mixed by the same matrix A = softmax(...) of T, and nothing bends it:

    ``v_0 = W ((1 + h) ⊙ E (b, 1))``, ``v ↦ v + W Σ_g s_ig (A V W_c)_g`` with ``V_g`` the means of ``W v_i``,
    ``v ↦ v + W (σ(W₃ N z) ⊙ W v)``, and ``u = mean(G N z_depth ⊙ v)`` over channels,

    where h = σ(W₁ ...) and every W is another one. What b does is thus learned for all b at once.

    Parameters
    ----------
    rank : int
        Coordinates of a point.
    in_channels, out_channels : int
        Channels of the input (there may be none) and of the output, coordinates not counted.
    width : int
        Hidden channels.
    layers : Sliced or int
        A number is the depth of `Sliced`.
    parameters : int
        Numbers of each sample.
    stencil : str, one per axis, or None
        On grids ``x_i`` and ``f_i`` may be convolutions with 3^rank weights, as published there; the word
        says what fields are beyond the ends of an axis: "zeros", "circular" or "replicate". Such an instance
        takes no other points, and its weights serve one resolution.
    reference : int
        The place of a point is told by its distances to so many points along each axis of the unit box; 0:
        by its coordinates.

    Attributes
    ----------
    requires : tuple of str
        The extras that this instance cannot do without.
    properties : Properties
        Of this instance: with a stencil it needs a grid, and is bound to a resolution.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Complexity: O(N slices width) for slicing and O(slices^2 width) for attention; no matrix of points by
    points. Without a stencil values do not depend on the order of points, nor on how often all of them are
    repeated, nor on padding: its weights are 0, and what stood there is cleared first. Tokens are means with
    respect to the density of points, so that outputs converge as a grid or a mesh is refined evenly.

    Initialization: weights of affine maps normal with standard deviation ``0.02 sqrt(128 / width)``, cut off
    at two of it, and zero biases; convolutions as usual. Each head learns its temperature τ, kept between 0.1
    and 5.

    What differs from the authors' code: means over slices without 1e-5 in their denominators; temperatures
    are bounded off grids too; the start for widths other than 128; waves, layers and the affine stream (whose
    weights start at the size that keeps that of values); without input channels no vector is
    added to the features, since a bias does so; time is counted in a unit of the user's.

    Source: Wu, Luo, Wang, Wang, Long, *Transolver: A Fast Transformer Solver for PDEs on General Geometries*,
    ICML 2024 (arXiv:2402.02366), section 3; details follow the authors' code.

    Examples
    --------
    The published model for elasticity, without the idle vector:

    >>> arguments, source = published["elasticity"]
    >>> model = Transolver(2, in_channels=0, out_channels=1, **arguments)
    >>> sum(p.numel() for p in model.parameters())
    713537
    >>> model(torch.zeros(1, 100, 0), torch.rand(1, 100, 2)).shape
    torch.Size([1, 100, 1])
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
        width: int = 128,
        layers: Sliced | int = 8,
        parameters: int = 0,
        stencil: Boundary | None = None,
        reference: int = 0,
    ) -> None:
        super().__init__()
        self.layers = layers if isinstance(layers, Sliced) else Sliced(layers)
        check_counts("Transolver", {"out_channels": out_channels, "width": width})
        check_heads("Transolver", width, self.layers.heads)
        if reference < 0:
            raise ConfigError(f"Transolver: reference must be at least 0, got {reference}.")
        self.rank, self.in_channels, self.out_channels = rank, in_channels, out_channels
        self.cloud = Cloud("Transolver", rank, in_channels, parameters=parameters)
        self.reference, clocked = reference, self.layers.time is not None
        self.requires = (*self.cloud.requires, *(("time",) if clocked else ()))
        words = None if stencil is None else boundary_per_axis("Transolver", stencil, rank)
        if words is not None:
            self.properties = replace(type(self).properties, needs_grid=True, resolution_bound=True)
        given = in_channels + parameters
        self._affine = _positions("affine", self.layers.affine, given)
        self._distances = _positions("distances", self.layers.distances, in_channels)
        self._others = [n for n in range(given) if n not in (*self._affine, *self._distances)]
        waves = 1 + 2 * self.layers.waves
        into = (reference**rank or rank * waves) + len(self._others)
        into += len(self._distances) * (waves + LAYERS)
        self.entrance = mlp(into, 2 * width, width)
        self.clock = _Clock(width, self.layers.time) if self.layers.time is not None else None
        self.blocks = nn.ModuleList(_Block(width, self.layers, words) for _ in range(self.layers.depth))
        self.norm = nn.LayerNorm(width)
        self.forced = Forced(len(self._affine), width, out_channels) if self._affine else None
        self.exit = nn.Linear(width, out_channels) if self.forced is None else nn.Identity()
        self.apply(lambda module: _start(module, SPREAD * sqrt(OF_WIDTH / width)))

    def forward(
        self,
        x: Tensor,
        coordinates: Tensor | None = None,
        mask: Tensor | None = None,
        parameters: Tensor | None = None,
        time: Tensor | None = None,
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
        parameters : (batch, p), optional
            Needed if the model was built for some, else ignored, as time is.
        time : (batch,), optional

        Returns
        -------
        (batch, point, out_channels) or (batch, out_channels, *space)
            0 at padding.

        Raises
        ------
        ShapeError
            If a shape does not fit, something needed is missing, or a model with a stencil gets points.
        """
        rows = self.cloud.enter(x, coordinates, mask)
        if rows.space is None and self.properties.needs_grid:
            raise ShapeError(
                f"Transolver: x must have shape (batch, {self.in_channels}, *space), since the model was "
                f"built with a stencil, got {tuple(x.shape)}. With stencil=None it takes points."
            )
        given = self.cloud.at_every_point((rows.values,), parameters)
        told = (self._places(rows.coordinates), *self._told(given))
        # The sum over blocks stays in the precision of the input, also under autocast.
        hidden = self.entrance[:2](torch.cat(told, dim=-1))
        z, v = self.entrance[2](hidden).to(x.dtype), None
        if self.forced is not None:
            v = self.forced.enter(hidden, given[..., self._affine]).to(x.dtype)
        if self.clock is not None:
            z = z + self.clock(time, x.shape[0]).to(x.dtype)
        for block in self.blocks:
            z, v = block(z, v, rows.mask, rows.space)
        z = self.norm(z)
        if self.forced is None or v is None:
            return rows.back(self.exit(z))
        return rows.back(self.forced.leave(z, v))

    def _told(self, given: Tensor) -> list[Tensor]:
        """What the network is told of (batch, point, channel), the forcing left out."""
        if not self.layers.affine and not self.layers.distances:
            return [given]
        near = with_layers(given[..., self._distances], self.layers.waves)
        return [given[..., self._others], *([near] if self.layers.distances else [])]

    def _places(self, coordinates: Tensor) -> Tensor:
        """What tells where a point is."""
        if self.reference == 0:
            return with_waves(coordinates, self.layers.waves)
        along = torch.linspace(0, 1, self.reference, dtype=coordinates.dtype, device=coordinates.device)
        corners = torch.cartesian_prod(*[along] * self.rank).reshape(-1, self.rank)
        distances: Tensor = torch.linalg.vector_norm(coordinates[:, :, None] - corners, dim=-1)
        return distances

    @staticmethod
    def suited(grid: Grid) -> dict[str, Any]:
        """Arguments to start from on a training grid: small, for training on a few cores.

        Examples
        --------
        >>> from sciml.grid import Grid
        >>> Transolver.suited(Grid.box((64, 64)))["stencil"]
        ('zeros', 'zeros')
        """
        stencil = suited_boundary(grid) if grid.rank <= 3 else None
        return {"width": 32, "layers": Sliced(depth=4, heads=4, slices=32), "stencil": stencil}

    @staticmethod
    def suited_points() -> dict[str, Any]:
        """Arguments to start from on points and meshes: small, for training on a few cores."""
        return {"width": 64, "layers": Sliced(depth=4, heads=4, slices=32, expansion=2, waves=4)}

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> Transolver:
        """A tiny instance that trains in seconds, for tests."""
        layers = Sliced(depth=2, heads=4, slices=16, expansion=2, waves=4)
        return Transolver(rank, in_channels, out_channels, width=32, layers=layers)


class _Clock(nn.Module):
    """Features of a time t: a network of ``cos(ω t)`` and ``sin(ω t)`` with ω from 1 down to 1e-4."""

    def __init__(self, width: int, unit: float) -> None:
        super().__init__()
        self.unit, self.waves = unit, (width + 1) // 2
        self.inward, self.outward = nn.Linear(2 * self.waves, width), nn.Linear(width, width)

    def forward(self, time: Tensor | None, batch: int) -> Tensor:
        """(batch,) -> (batch, 1, width)."""
        if time is None or tuple(time.shape) != (batch,):
            got = "none" if time is None else tuple(time.shape)
            raise ShapeError(f"Transolver: time must have shape ({batch},), got {got}.")
        weight = self.inward.weight
        powers = torch.arange(self.waves, dtype=weight.dtype, device=weight.device) / self.waves
        phases = time[:, None, None].to(weight.dtype) / self.unit * SLOWEST**powers
        features: Tensor = self.outward(silu(self.inward(torch.cat((phases.cos(), phases.sin()), dim=-1))))
        return features


class _Block(nn.Module):
    """Attention between slices, and a network at every point; for the linear stream both in its way."""

    def __init__(self, width: int, layers: Sliced, stencil: Words | None) -> None:
        super().__init__()
        self.norm, self.norm_at_points = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = PhysicsAttention(width, layers.heads, layers.slices, stencil)
        self.at_points = mlp(width, layers.expansion * width, width)
        self.linearly = Linearly(width, layers.heads, layers.expansion * width) if layers.affine else None

    def forward(
        self, z: Tensor, v: Tensor | None, mask: Tensor | None, space: tuple[int, ...] | None
    ) -> tuple[Tensor, Tensor | None]:
        if v is None or self.linearly is None:
            z = z + self.attention(self.norm(z), mask, space)
            return z + self.at_points(self.norm_at_points(z)), v
        found, carried = self.attention.along(self.norm(z), mask, space, (self.linearly, v))
        assert carried is not None
        z, v = z + found, v + carried
        hidden = self.at_points[:2](self.norm_at_points(z))
        return z + self.at_points[2](hidden), v + self.linearly.at_points(hidden, v)


def _positions(name: str, chosen: Sequence[int], given: int) -> list[int]:
    if len(set(chosen)) != len(chosen) or not all(0 <= number < given for number in chosen):
        raise ConfigError(
            f"Sliced: {name} holds different positions of channels, here from 0 to {given - 1}, got "
            f"{tuple(chosen)}."
        )
    return list(chosen)


def _start(module: nn.Module, spread: float) -> None:
    """Weights at the start; a module comes after those within it."""
    if isinstance(module, (Linearly, Forced)):
        module.start()
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=spread, a=-2 * spread, b=2 * spread)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
