r"""Random smooth maps of a box onto itself, with their first and second derivatives.

New coordinates ξ and old ones x live in the same box; x(ξ) takes the boundary to itself and has a positive
Jacobian determinant, so that it may be undone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid

# Draws before giving up; with beta from 1e-5 to 5 at most one map in 3000 folded.
_DRAWS = 100
# Points per wave of the shortest wave on which the determinant is looked at, besides the points of the grid.
_PER_WAVE = 16


@dataclass(frozen=True)
class Chart:
    """A map x(ξ) and its derivatives at some points, for every sample of a batch.

    Parameters
    ----------
    points : (batch, d, *shape)
        x_i.
    jacobian : (batch, d, d, *shape)
        ``[i, a]`` is ∂x_i/∂ξ_a.
    hessian : (batch, d, d, d, *shape)
        ``[i, a, b]`` is ∂²x_i/∂ξ_a∂ξ_b.
    """

    points: Tensor
    jacobian: Tensor
    hessian: Tensor

    @cached_property
    def determinant(self) -> Tensor:
        """J = det(∂x/∂ξ), (batch, *shape)."""
        g = self.jacobian
        return g[:, 0, 0] if g.shape[1] == 1 else g[:, 0, 0] * g[:, 1, 1] - g[:, 0, 1] * g[:, 1, 0]

    @cached_property
    def inverse(self) -> Tensor:
        """B, ``[a, i]`` is ∂ξ_a/∂x_i, (batch, d, d, *shape)."""
        g = self.jacobian
        if g.shape[1] == 1:
            return 1 / g
        rows = [torch.stack([g[:, 1, 1], -g[:, 0, 1]], 1), torch.stack([-g[:, 1, 0], g[:, 0, 0]], 1)]
        return torch.stack(rows, 1) / self.determinant[:, None, None]

    @cached_property
    def log_slope(self) -> Tensor:
        """∂ ln J/∂ξ_a = B_bi ∂²x_i/∂ξ_a∂ξ_b, (batch, d, *shape): the derivative of a determinant."""
        return torch.einsum("nbi...,niab...->na...", self.inverse, self.hessian)


class CoordinateMap(Protocol):
    """A map of a box onto itself, or a batch of them."""

    def chart(self, coordinates: Sequence[Tensor]) -> Chart:
        """The map at the points ξ, one tensor per axis, all broadcastable to (batch, *shape)."""


@dataclass(frozen=True)
class Lines:
    r"""Increasing maps X of [0, 1] onto itself, one for each sample; X - s has period 1.

        X(s) = s + Σ_k (a_k sin 2πks + b_k (1 - cos 2πks)) / (2πk)^p / N,
        N = β + Σ_k (|a_k| + |b_k|) / (2πk)^(p-1)

    so that X' differs from 1 by less than 1 for every β > 0: X' > 0, X(0) = 0, X(1) = 1.

    Parameters
    ----------
    sines, cosines : (batch, modes)
        a and b.
    beta : float, positive
        β: large means near the identity.
    power : float
        p: how fast short waves decay.

    Examples
    --------
    >>> line = Lines(torch.tensor([[3.0]]), torch.tensor([[1.0]]), beta=0.1, power=2.0)
    >>> x, slope, curvature = line(torch.linspace(0, 1, 101)[None])
    >>> x[0, 0].item(), round(x[0, -1].item(), 6), bool((slope > 0).all())
    (0.0, 1.0, True)
    """

    sines: Tensor
    cosines: Tensor
    beta: float
    power: float

    def __call__(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """X, X' and X'' at s, broadcastable to (batch, *shape)."""
        wave = 2 * math.pi * torch.arange(1, self.sines.shape[1] + 1, dtype=s.dtype, device=s.device)
        first = wave ** (1 - self.power)
        size = ((self.sines.abs() + self.cosines.abs()) * first).sum(1) + self.beta
        lead = [-1, *[1] * (s.ndim - 1)]
        x, slope, curvature = s, torch.ones_like(s), torch.zeros_like(s)
        for k in range(self.sines.shape[1]):
            a, b = ((c[:, k] * first[k] / size).reshape(lead) for c in (self.sines, self.cosines))
            sine, cosine = torch.sin(wave[k] * s), torch.cos(wave[k] * s)
            x = x + (a * sine + b * (1 - cosine)) / wave[k]
            slope = slope + a * cosine + b * sine
            curvature = curvature + wave[k] * (b * cosine - a * sine)
        return x, slope, curvature


@dataclass(frozen=True)
class BoxMap:
    r"""Transfinite maps of a box with one or two axes: blends of increasing maps of its edges.

    On the unit square, with independent `Lines` X1, X2, Y1, Y2,

        x = (1 - w(η)) X1(ξ) + w(η) X2(ξ),    y = (1 - w(ξ)) Y1(η) + w(ξ) Y2(η),

    where w(s) = s across a bounded axis and (1 - cos 2πs)/2 across a periodic one, which makes x and y
    periodic together with their derivatives.  The four edges go to themselves.  det ∂x/∂ξ may be negative
    somewhere: `random_map` draws such maps anew.

    Parameters
    ----------
    grid : Grid
        Whose box is mapped; its points play no part.
    lines : one for each edge map
        X on one axis; X1, X2, Y1, Y2 on two.
    """

    grid: Grid
    lines: tuple[Lines, ...]

    def __post_init__(self) -> None:
        if self.grid.rank > 2 or len(self.lines) != (1, 4)[self.grid.rank - 1]:
            raise ShapeError(
                f"BoxMap: one map on a grid with one axis, four on two axes; got {len(self.lines)} maps and "
                f"{self.grid.rank} axes."
            )

    def chart(self, coordinates: Sequence[Tensor]) -> Chart:
        """As `CoordinateMap.chart`; coordinates in the units of the grid."""
        lower, length = [a.lower for a in self.grid.axes], [a.upper - a.lower for a in self.grid.axes]
        unit = [(c - low) / size for c, low, size in zip(coordinates, lower, length, strict=True)]
        if self.grid.rank == 1:
            x, slope, curvature = self.lines[0](unit[0])
            parts = [(x, [slope], [[curvature]])]
        else:
            parts = [self._blend(axis, unit) for axis in (0, 1)]
        points, jacobian, hessian = [], [], []
        for i, (x, first, second) in enumerate(parts):
            points.append(lower[i] + length[i] * x)
            jacobian.append([length[i] / length[a] * d for a, d in enumerate(first)])
            hessian.append(
                [
                    [length[i] / length[a] / length[b] * d for b, d in enumerate(row)]
                    for a, row in enumerate(second)
                ]
            )
        count = len(self.lines[0].sines)
        shape = (count, *torch.broadcast_shapes(*(c.shape for c in coordinates))[1:])

        def stacked(entries: Sequence[Tensor]) -> Tensor:
            return torch.stack([entry.expand(shape) for entry in entries], 1)

        return Chart(
            stacked(points),
            torch.stack([stacked(row) for row in jacobian], 1),
            torch.stack([torch.stack([stacked(row) for row in rows], 1) for rows in hessian], 1),
        )

    def _blend(self, axis: int, unit: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], list[list[Tensor]]]:
        """One coordinate with its first and second derivatives along both axes, in unit coordinates."""
        along, across = unit[axis], unit[1 - axis]
        (p, p1, p2), (q, q1, q2) = (line(along) for line in self.lines[2 * axis : 2 * axis + 2])
        w, w1, w2 = _weight(across, periodic=self.grid.axes[1 - axis].periodic)
        value, mixed = p + w * (q - p), w1 * (q1 - p1)
        first = [p1 + w * (q1 - p1), w1 * (q - p)]
        second = [[p2 + w * (q2 - p2), mixed], [mixed, w2 * (q - p)]]
        if axis == 1:
            first, second = first[::-1], [row[::-1] for row in second[::-1]]
        return value, first, second


@dataclass(frozen=True)
class Composite:
    """x = outer(inner(ξ)): what a change by ``outer`` and then one by ``inner`` amount to."""

    outer: CoordinateMap
    inner: CoordinateMap

    def chart(self, coordinates: Sequence[Tensor]) -> Chart:
        """As `CoordinateMap.chart`, by the chain rule."""
        near = self.inner.chart(coordinates)
        far = self.outer.chart(near.points.unbind(1))
        bent = torch.einsum("nijk...,nja...,nkb...->niab...", far.hessian, near.jacobian, near.jacobian)
        return Chart(
            far.points,
            torch.einsum("nij...,nja...->nia...", far.jacobian, near.jacobian),
            bent + torch.einsum("nij...,njab...->niab...", far.jacobian, near.hessian),
        )


def random_map(
    grid: Grid, count: int, generator: torch.Generator, *, modes: int, beta: float, power: float
) -> BoxMap:
    """``count`` maps of the box of a grid with standard normal coefficients, float64.

    Maps whose determinant is not positive at all points of the grid and of a lattice with 16 points in the
    shortest wave are drawn anew; a map of one axis never needs it.

    Parameters
    ----------
    grid : Grid
    count : int
    generator : torch.Generator
    modes, beta, power
        Of `Lines`.

    Raises
    ------
    ConfigError
        If a setting is out of range, or a map folded in 100 draws.

    Examples
    --------
    >>> grid = Grid.box((5, 5), location="node")
    >>> made = random_map(grid, 2, torch.Generator().manual_seed(0), modes=1, beta=0.5, power=2.0)
    >>> chart = made.chart(mesh_of(grid))
    >>> chart.points.shape, bool((chart.determinant > 0).all())
    (torch.Size([2, 2, 5, 5]), True)
    """
    if modes < 0 or not beta > 0:
        raise ConfigError(f"random_map: needs modes >= 0 and beta > 0, got modes={modes}, beta={beta}.")
    if grid.rank > 2:
        raise ShapeError(f"random_map: knows grids with one or two axes, got {grid.rank}.")
    edges = (1, 4)[grid.rank - 1]
    values = torch.empty(count, edges, 2, modes, dtype=torch.float64)
    missing = torch.arange(count)
    for _ in range(_DRAWS):
        values[missing] = torch.randn(
            len(missing), edges, 2, modes, generator=generator, dtype=torch.float64, device=generator.device
        ).cpu()
        made = _of(grid, values, beta, power)
        missing = missing[~_unfolded(_of(grid, values[missing], beta, power), modes)]
        if len(missing) == 0:
            return made
    raise ConfigError(
        f"random_map: {len(missing)} of {count} maps folded in each of {_DRAWS} draws with modes={modes}, "
        f"beta={beta}, power={power}; raise beta or power."
    )


def mesh_of(grid: Grid) -> list[Tensor]:
    """The coordinates of a grid's points as `CoordinateMap.chart` takes them, (1, .., size, ..), float64."""
    shapes = [[1, *(-1 if j == i else 1 for j in range(grid.rank))] for i in range(grid.rank)]
    return [torch.from_numpy(a.coordinates).reshape(s) for a, s in zip(grid.axes, shapes, strict=True)]


def _of(grid: Grid, values: Tensor, beta: float, power: float) -> BoxMap:
    """The maps of coefficients (batch, edge, 2, modes)."""
    return BoxMap(grid, tuple(Lines(edge[:, 0], edge[:, 1], beta, power) for edge in values.unbind(1)))


def _unfolded(made: BoxMap, modes: int) -> Tensor:
    """Which maps keep their orientation wherever it is looked at, (batch,)."""
    grid = made.grid
    lattice = Grid.box(
        [_PER_WAVE * max(1, modes) + 1] * grid.rank,
        lower=[a.lower for a in grid.axes],
        upper=[a.upper for a in grid.axes],
        location="node",
    )
    least = [made.chart(mesh_of(g)).determinant.flatten(1).amin(1) for g in (grid, lattice)]
    return torch.minimum(*least) > 0


def _weight(s: Tensor, *, periodic: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The blending weight and its derivatives."""
    if not periodic:
        return s, torch.ones_like(s), torch.zeros_like(s)
    wave = 2 * math.pi
    return (1 - torch.cos(wave * s)) / 2, wave / 2 * torch.sin(wave * s), wave**2 / 2 * torch.cos(wave * s)
