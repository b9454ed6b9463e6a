"""Finite volumes for the stationary diffusion equation -div(a grad u) = f on boxes of cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.numerics.linear_systems import solve_cells
from sciml.errors import DataError, ShapeError
from sciml.grid import Grid

Float = NDArray[np.float64]
Walls = Sequence[tuple[ArrayLike, ArrayLike]]

# A sample whose relative residual is larger is not a solution.  Those of `solve_cells` reach 3e-11, unless
# rounding forbids: the terms of a row are much larger than their sum for high contrasts on fine grids.
_RESIDUAL = 1e-10
_ROUNDING = 8 * np.finfo(np.float64).eps


class EllipticSolver:
    r"""Solver of -div(a grad u) = f with given values of u on the walls of a box, u = g.

    Values at the centers of the cells of a grid of rank 1, 2 or 3.  The flux between two cells is the exact
    one for a coefficient that is constant in each of them (two resistances in series): a_face = 2 a b / (a +
    b), the harmonic mean, over the distance h of the centers.  At a wall the value g lies on the face, half
    a cell from the center.  The matrix is a symmetric M-matrix: f > 0 and g >= 0 give u > 0, and what f
    feeds in leaves through the walls.

    Order 2 in the L2 and maximum norms for smooth ``a``, also next to the walls, although the truncation
    error there is O(1).  Exact for layered coefficients with f = 0 and layers that end on faces.  For jumps
    along cell faces in two or more dimensions the order lies between 1 and 2, and below 1 where jumps cross.

    Parameters
    ----------
    grid : Grid
        Bounded cells.

    Raises
    ------
    ShapeError
        If the grid has node or periodic axes, or more than three axes.

    Notes
    -----
    Every sample is solved by itself, directly or by preconditioned conjugate gradients, as `solve_cells`
    chooses; relative residuals are checked.  Sources: Patankar, *Numerical Heat Transfer and Fluid Flow*
    (1980), section 4.2-3 (harmonic mean); Eymard, Gallouet and Herbin, *Finite Volume Methods* (2000),
    chapter 3 (convergence, with discontinuous coefficients).

    Examples
    --------
    >>> solver = EllipticSolver(Grid.box((3,)))
    >>> solver.solve(np.array([[1.0, 1.0, 1.0]]), walls=[(0.0, 1.0)], source=0.0).round(12).tolist()
    [[0.166666666667, 0.5, 0.833333333333]]
    """

    def __init__(self, grid: Grid) -> None:
        for axis in grid.axes:
            if axis.location != "cell" or axis.periodic:
                raise ShapeError(
                    f"EllipticSolver: needs bounded cells, got axis {axis.name!r} with location "
                    f"{axis.location!r}, periodic={axis.periodic}. Use Grid.box(shape, location='cell')."
                )
        if grid.rank > 3:
            raise ShapeError(f"EllipticSolver: at most 3 axes, got {grid.rank}.")
        self.grid = grid
        self.volume = math.prod(axis.spacing for axis in grid.axes)
        self._uniform = [self.volume / axis.spacing**2 for axis in grid.axes]

    def solve(self, coefficient: ArrayLike, source: ArrayLike = 1.0, walls: Walls | None = None) -> Float:
        """Cell values of u, (n, *shape), float64.

        Parameters
        ----------
        coefficient : (n, *shape), positive
            The coefficient a in each cell.
        source : broadcastable to (n, *shape)
            The mean of f in each cell; its value at the center does as well, to second order.
        walls : a pair (lower, upper) per axis, optional
            Values of u on the walls, each broadcastable to (n, *shape without that axis).  Default: zero.

        Raises
        ------
        DataError
            If a coefficient is not positive and finite, or a relative residual exceeds 1e-10 and what
            rounding explains.
        """
        values = self._checked(coefficient)
        load = np.broadcast_to(np.asarray(source, dtype=np.float64), values.shape)
        given = self._wall_values(walls, len(values))
        # One sample at a time: arrays stay in the cache, and memory does not grow with the batch.
        return np.stack(
            [
                self._solve_sample(j, self._faces(values[j : j + 1]), load[j : j + 1] * self.volume, given)
                for j in range(len(values))
            ]
        )

    def transmissibilities(self, coefficient: ArrayLike) -> list[Float]:
        """Flux per difference of u through every face, walls included: one (n, .., size + 1, ..) per axis."""
        return self._faces(self._checked(coefficient))

    def _faces(self, values: Float) -> list[Float]:
        result = []
        for i, axis in enumerate(self.grid.axes):
            resistance = 0.5 / np.moveaxis(values, i + 1, 1)  # half a cell, from its center to the face
            series = np.empty((len(values), axis.size + 1, *resistance.shape[2:]))
            series[:, 0] = resistance[:, 0]
            np.add(resistance[:, :-1], resistance[:, 1:], out=series[:, 1:-1])
            series[:, -1] = resistance[:, -1]
            result.append(np.moveaxis(self._uniform[i] / series, 1, i + 1))
        return result

    def solve_network(self, faces: Sequence[Float], load: Float, walls: Walls | None = None) -> Float:
        """Solve for given face transmissibilities and loads (n, *shape), the integrals of f over the cells.

        `solve` is this with `transmissibilities`; coarse models bring faces of their own.  Raises `DataError`
        as `solve` does.
        """
        right = np.asarray(load, dtype=np.float64)
        given = self._wall_values(walls, len(right))
        return np.stack(
            [
                self._solve_sample(j, [face[j : j + 1] for face in faces], right[j : j + 1], given)
                for j in range(len(right))
            ]
        )

    def _wall_values(self, walls: Walls | None, samples: int) -> list[tuple[Float, Float]]:
        """Each (samples, *shape without the axis)."""
        found = []
        for i, (lower, upper) in enumerate(walls or ()):
            shape = (samples, *self.grid.shape[:i], *self.grid.shape[i + 1 :])
            low, high = (
                np.broadcast_to(np.asarray(value, dtype=np.float64), shape) for value in (lower, upper)
            )
            found.append((low, high))
        return found

    def _solve_sample(
        self, j: int, faces: Sequence[Float], load: Float, walls: Sequence[tuple[Float, Float]]
    ) -> Float:
        """Of sample j, (*shape); faces and load have a first axis of one, walls are those of all samples."""
        right = np.array(load)
        for i, (lower, upper) in enumerate(walls):
            flux, rows = np.moveaxis(faces[i], i + 1, 1), np.moveaxis(right, i + 1, 1)
            rows[:, 0] += flux[:, 0] * lower[j]
            rows[:, -1] += flux[:, -1] * upper[j]
        solution = solve_cells([face[0] for face in faces], right[0], self._uniform)
        diagonal = _diagonal(faces, right)
        _check_residual(
            j, _residual(faces, diagonal, right, solution[None]), right, terms=diagonal * solution[None]
        )
        return solution

    def relax(self, faces: Sequence[Float], load: Float, solution: Float, *, sweeps: int) -> Float:
        """Damped Jacobi sweeps (factor 0.8) for zero wall values: they remove errors as short as a cell."""
        diagonal = _diagonal(faces, load)
        for _ in range(sweeps):
            solution = solution + 0.8 * _residual(faces, diagonal, load, solution) / diagonal
        return solution

    def boundary_flux(self, coefficient: ArrayLike, solution: ArrayLike, walls: Walls | None = None) -> Float:
        """Outflow -a du/dn integrated over all walls, (n,): equals the integral of f."""
        u = np.asarray(solution, dtype=np.float64)
        total = np.zeros(len(u))
        for i, face in enumerate(self.transmissibilities(coefficient)):
            lower, upper = walls[i] if walls is not None else (0.0, 0.0)
            flux, rows = np.moveaxis(face, i + 1, 1), np.moveaxis(u, i + 1, 1)
            for side, value in ((0, lower), (-1, upper)):
                total += (flux[:, side] * (rows[:, side] - np.asarray(value))).reshape(len(u), -1).sum(axis=1)
        return total

    def _checked(self, coefficient: ArrayLike) -> Float:
        values = np.asarray(coefficient, dtype=np.float64)
        if values.shape[1:] != self.grid.shape:
            raise ShapeError(
                f"EllipticSolver: the coefficient must have shape (n, *{self.grid.shape}), got "
                f"{values.shape}."
            )
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise DataError("EllipticSolver: the coefficient must be positive and finite in every cell.")
        return values


def _diagonal(faces: Sequence[Float], load: Float) -> Float:
    """Diagonal of the matrix: the sum of the transmissibilities around each cell."""
    diagonal = np.zeros_like(load)
    for i, face in enumerate(faces):
        flux = np.moveaxis(face, i + 1, 1)
        np.moveaxis(diagonal, i + 1, 1)[...] += flux[:, :-1] + flux[:, 1:]
    return diagonal


def _residual(faces: Sequence[Float], diagonal: Float, right: Float, solution: Float) -> Float:
    """b - A u with A applied as a stencil, independent of how the matrix was stored for the solve."""
    residual = right - diagonal * solution
    for i, face in enumerate(faces):
        flux = np.moveaxis(face, i + 1, 1)[:, 1:-1]
        rows, u = np.moveaxis(residual, i + 1, 1), np.moveaxis(solution, i + 1, 1)
        rows[:, :-1] += flux * u[:, 1:]
        rows[:, 1:] += flux * u[:, :-1]
    return residual


def _check_residual(j: int, residual: Float, right: Float, terms: Float) -> None:
    """Raise unless |b - A u| <= 1e-10 |b| for sample j, or what rounding the terms of A u explains."""
    left, scale, rounding = (float(np.linalg.norm(values)) for values in (residual, right, terms))
    if not left <= max(_RESIDUAL * scale, _ROUNDING * rounding):  # NaN counts as bad
        raise DataError(
            f"EllipticSolver: sample {j} has a residual of {left:.3g} for a right-hand side of norm "
            f"{scale:.3g}, more than {_RESIDUAL:g} of it and more than rounding explains. Is the source "
            "finite, and the contrast of the coefficient within double precision?"
        )
