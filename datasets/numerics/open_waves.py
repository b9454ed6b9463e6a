"""Finite differences for time-harmonic waves in an open box of variable speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.errors import ConfigError, DataError, ShapeError
from sciml.grid import Axis, Grid

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]

_LAYER = 0.25  # thickness of the absorbing layers, relative to the longest side of the domain
_REFLECTED = 1e-8  # of the amplitude of a wave at normal incidence


class HelmholtzSolver:
    r"""Direct solver of -Laplacian(u) - (k/c)^2 u = f for complex u in a box from which waves radiate freely.

    Values at nodes, rank 1 or 2.  Time dependence exp(-i omega t), so that exp(ikr) goes outward.  Behind
    each wall lies a perfectly matched layer, in which the coordinate is stretched into the complex plane,
    d/dx becoming (1/s) d/dx with

        s = 1 + i (sigma_0 / k) (distance to the wall / thickness)^4,

    and u = 0 behind the layer: it absorbs waves of all directions, and reflects 1e-8 of the amplitude at
    normal incidence.  There the speed is that of the nearest node of the wall, and f is zero.

    Each second derivative is -D^T (1/s) D with D the staggered first derivative of order 4, (27 (u_1 - u_0) -
    (u_2 - u_-1)) / 24h: **order 4** for smooth speeds and sources, also through the layers, whose profile has
    three continuous derivatives.  The matrix is complex symmetric: exchanging source and receiver does not
    change the signal.  A wave travels with the wave number k (1 + 3/640 (kh)^4); `waves_are_resolved` says
    what this demands.

    Parameters
    ----------
    grid : Grid
        Bounded nodes.
    wavenumber : float, positive
        k, for the speed 1.

    Raises
    ------
    ShapeError
        If the grid has cells or periodic axes, or more than two axes.

    Notes
    -----
    Berenger, *J. Comput. Phys.* 114 (1994) 185-200, and Chew and Weedon, *Microw. Opt. Technol. Lett.* 7
    (1994) 599-604 (stretched coordinates).

    Examples
    --------
    >>> solver = HelmholtzSolver(Grid.box((65,), location="node"), 20.0)
    >>> f = np.zeros(65)
    >>> f[32] = 64.0  # a point source of strength 1: u = i exp(ik|x - 1/2|) / 2k
    >>> u = solver.solve(np.ones((1, 65)), f)
    >>> bool(abs(u[0, -1] - 0.5j * np.exp(10j) / 20) < 1e-3 / 20)
    True
    """

    def __init__(self, grid: Grid, wavenumber: float) -> None:
        if grid.rank > 2 or any(axis.location != "node" or axis.periodic for axis in grid.axes):
            raise ShapeError(
                "HelmholtzSolver: needs one or two axes of bounded nodes, got "
                f"{[(axis.name, axis.location, axis.periodic) for axis in grid.axes]}. "
                "Use Grid.box(shape, location='node')."
            )
        self.grid, self.wavenumber = grid, wavenumber
        thickness = _LAYER * max(axis.upper - axis.lower for axis in grid.axes)
        self._cells = [max(2, round(thickness / axis.spacing)) for axis in grid.axes]
        parts = [self._stretched(axis, cells) for axis, cells in zip(grid.axes, self._cells, strict=True)]
        self._stretch = reduce(np.multiply.outer, [stretch for _, stretch in parts])
        self._laplacian = _sum_over_axes(parts)

    def solve(self, speed: ArrayLike, source: ArrayLike) -> Complex:
        """Values of u at the nodes, (n, *shape).

        Parameters
        ----------
        speed : (n, *shape), positive
            c.
        source : broadcastable to (n, *shape)
            f, real or complex; zero at the walls, or nearly.

        Raises
        ------
        ShapeError
            If the speed has another shape.
        DataError
            If a speed is not positive and finite, or a relative residual exceeds 1e-9.
        """
        c = np.asarray(speed, dtype=np.float64)
        if c.shape[1:] != self.grid.shape:
            raise ShapeError(
                f"HelmholtzSolver: the speed must have shape (n, *{self.grid.shape}), got {c.shape}."
            )
        if not (np.isfinite(c).all() and (c > 0).all()):
            raise DataError("HelmholtzSolver: the speed must be positive and finite at every node.")
        f = np.broadcast_to(np.asarray(source, dtype=np.complex128), c.shape)
        return np.stack([self._solve_sample(c[j], f[j]) for j in range(len(c))])

    def _solve_sample(self, speed: Float, source: Complex) -> Complex:
        from scipy.sparse import diags_array
        from scipy.sparse.linalg import splu

        around = [(cells - 1, cells - 1) for cells in self._cells]
        mass = self._stretch * (self.wavenumber / np.pad(speed, around, mode="edge")) ** 2
        matrix = (self._laplacian - diags_array(mass.reshape(-1))).tocsc()
        right = np.pad(source, around).reshape(-1)  # the stretch is 1 wherever there is a source
        # Symmetric, but indefinite: pivots leave the diagonal where they must.
        options = {"SymmetricMode": True}
        u = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.01, options=options).solve(right)
        left, scale = float(np.linalg.norm(right - matrix @ u)), float(np.linalg.norm(right))
        if not left <= 1e-9 * scale:
            raise DataError(
                f"HelmholtzSolver: a residual of {left:.3g} for a source of norm {scale:.3g}, more than 1e-9 "
                "of it. Is the source finite?"
            )
        inside = tuple(slice(cells - 1, 1 - cells) for cells in self._cells)
        return np.ascontiguousarray(u.reshape(self._stretch.shape)[inside])

    def _stretched(self, axis: Axis, cells: int) -> tuple[Any, Complex]:
        """-s times the second derivative in the stretched coordinate, and s, at the nodes with unknowns."""
        from scipy.sparse import diags_array

        h, n = axis.spacing, axis.size + 2 * cells - 2  # the outermost nodes of the layers hold zero

        def stretch(position: NDArray[np.floating[Any]]) -> Complex:
            """At distances from the lower wall in units of h."""
            depth = np.maximum(np.maximum(-position, position - (axis.size - 1)), 0) / cells
            # A wave is damped by exp(-integral of sigma) on each of its two ways through the layer.
            strongest = 5 * math.log(1 / _REFLECTED) / (2 * cells * h)
            return np.asarray(1 + 1j * strongest / self.wavenumber * depth**4)

        derivative = diags_array([27.0, -27.0, -1.0, 1.0], offsets=[0, -1, 1, -2], shape=(n + 1, n)) / (
            24 * h
        )
        half = stretch(np.arange(n + 1) + 0.5 - cells)
        return derivative.T @ diags_array(1 / half) @ derivative, stretch(np.arange(n) + 1.0 - cells)


def _sum_over_axes(parts: Sequence[tuple[Any, Complex]]) -> Any:
    """The sum over the axes of the operator along one, times the stretches of the others."""
    from scipy.sparse import diags_array, kron

    terms = []
    for i in range(len(parts)):
        factors = [operator if j == i else diags_array(s) for j, (operator, s) in enumerate(parts)]
        terms.append(reduce(kron, factors))
    return sum(terms[1:], terms[0])


def waves_are_resolved(who: str, grid: Grid, wavenumber: float, slowest: float) -> None:
    """Raise `ConfigError` unless the grid resolves waves of the least speed, locally and over the domain.

    At least 10 points per wave length, and a phase error 3/640 (kh)^4 k L of at most 0.1 over the diagonal L
    of the domain: more points per wave are needed the more waves there are ("pollution").  With a scheme of
    order 2 the same thought bounds h k^(3/2), with order 4 it is h k^(5/4).
    """
    k, h = wavenumber / slowest, max(axis.spacing for axis in grid.axes)
    points = 2 * math.pi / (k * h)
    diagonal = math.sqrt(sum((axis.upper - axis.lower) ** 2 for axis in grid.axes))
    phase = 3 / 640 * (k * h) ** 4 * k * diagonal
    if points < 10 or phase > 0.1:
        finest = min(2 * math.pi / (10 * k), (0.1 * 640 / 3 / (k**5 * diagonal)) ** 0.25)
        raise ConfigError(
            f"{who}: {points:.3g} points per shortest wave and a phase error of {phase:.2g} over the domain; "
            f"at least 10 and at most 0.1 are needed. Use a spacing of at most {finest:.3g}, or a smaller "
            "wave number."
        )
