"""Derivatives of fields on grids, as residuals and Sobolev norms need them; linear, so differentiable.

Fields are (..., *space): the last axes are those of the grid, all others a batch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from sciml.errors import ConfigError, ShapeError, nearest
from sciml.grid import Axis, Grid
from sciml.kernels.calculus import derivative as periodic_derivative


def derivative(
    u: Tensor, grid: Grid, along: str | Sequence[str], *, accuracy: int = 2, spectral: bool = True
) -> Tensor:
    """A partial derivative at the points of the grid.

    Parameters
    ----------
    u : (..., *space)
    grid : Grid
        Its spacing counts: derivatives are in units of u per units of the axes.
    along : names of axes
        "x" for u_x, "xx" for u_xx, "xy" for the mixed one; a list where names have several letters.
    accuracy : int, even
        Order of finite differences on bounded axes, up to the ends, where they are one-sided.  On fewer
        points than these take, the polynomial through all of them.
    spectral : bool
        On periodic axes differentiate the trigonometric polynomial, else take central differences.

    Raises
    ------
    ShapeError
        If u does not lie on the grid, or an axis has too few points.
    ConfigError
        For an unknown axis or an odd accuracy.

    Notes
    -----
    Weights of differences are those of interpolating polynomials, found in exact fractions: Fornberg,
    Generation of finite difference formulas on arbitrarily spaced grids, Math. Comp. 51 (1988).

    Examples
    --------
    >>> grid = Grid.box((9, 5), location="node")
    >>> x, y = torch.from_numpy(grid.coordinates())
    >>> torch.allclose(derivative(x**2 * y, grid, "xy"), 2 * x)
    True
    """
    _check(u, grid)
    if accuracy < 2 or accuracy % 2:
        raise ConfigError(f"derivative: accuracy is an even number from 2 on, got {accuracy}.")
    names = [along] if along in grid.names else list(along)
    for name in names:
        if name not in grid.names:
            raise ConfigError(
                f"derivative: there is no axis {name!r}; there is {', '.join(grid.names)}."
                f"{nearest(name, grid.names)}"
            )
    for i, axis in enumerate(grid.axes):
        if order := names.count(axis.name):
            dim = i - grid.rank
            if axis.periodic and spectral:
                u = periodic_derivative(u, order, axis=dim, period=axis.upper - axis.lower)
            else:
                u = _differences(u, dim, axis, order, accuracy)
    return u


def gradient(u: Tensor, grid: Grid, *, accuracy: int = 2, spectral: bool = True) -> Tensor:
    """All first derivatives of u (..., *space), as a vector (..., rank, *space)."""
    parts = [derivative(u, grid, [name], accuracy=accuracy, spectral=spectral) for name in grid.names]
    return torch.stack(parts, dim=-1 - grid.rank)


def divergence(v: Tensor, grid: Grid, *, accuracy: int = 2, spectral: bool = True) -> Tensor:
    """The sum of dv_i/dx_i of a vector (..., rank, *space): (..., *space).

    Raises
    ------
    ShapeError
        If v does not have a component for each axis.
    """
    axis = -1 - grid.rank
    if v.ndim <= grid.rank or v.shape[axis] != grid.rank:
        raise ShapeError(f"divergence: v must be (..., {grid.rank}, *space), got {tuple(v.shape)}.")
    parts = zip(v.unbind(axis), grid.names, strict=True)
    return _sum([derivative(part, grid, [n], accuracy=accuracy, spectral=spectral) for part, n in parts])


def laplacian(u: Tensor, grid: Grid, *, accuracy: int = 2, spectral: bool = True) -> Tensor:
    """The sum of all pure second derivatives of u (..., *space)."""
    return _sum([derivative(u, grid, [n, n], accuracy=accuracy, spectral=spectral) for n in grid.names])


def diffusion(a: Tensor, u: Tensor, grid: Grid, *, walls: float | None = 0.0) -> Tensor:
    r"""div(a grad u) by finite volumes, for coefficients that may jump from cell to cell.

    The flux through a face between two points is ``2 a b / (a + b) (u_b - u_a) / h``: exact for a coefficient
    that is constant around each of them.  What flows into a cell is divided by its width.

    Parameters
    ----------
    a, u : (..., *space)
        a positive.
    grid : Grid
        Axes of cells, whose walls lie half a cell outside; periodic ones; and of nodes, where the ends of u
        are the values on the walls and the result is at inner nodes only, two fewer.
    walls : float or None
        u on the walls of cells; None for walls through which nothing flows.

    Raises
    ------
    ShapeError
        If a and u do not lie on the grid, or its points are left ends of cells.

    Notes
    -----
    The scheme of `sciml.datasets.Darcy`: of its solutions the residual is rounding, on their own grid.

    Examples
    --------
    >>> grid = Grid.box((64,))
    >>> x = torch.from_numpy(grid.coordinates()[0])
    >>> inner = diffusion(torch.ones(64), x * (1 - x), grid)[1:-1]
    >>> torch.allclose(inner, torch.full((62,), -2.0, dtype=torch.float64))
    True
    """
    a, u = torch.broadcast_tensors(a, u)
    _check(u, grid)
    parts = []
    for i, axis in enumerate(grid.axes):
        part = _inflow(a, u, i - grid.rank, axis, walls)
        for j, other in enumerate(grid.axes):
            if j != i and _on_walls(other):
                part = part.narrow(j - grid.rank, 1, other.size - 2)
        parts.append(part)
    return _sum(parts)


def inverse_laplacian(f: Tensor, grid: Grid) -> Tensor:
    r"""u with ``div(grad u) = f`` in the sense of `diffusion`, and u = 0 on all walls.

    It turns the residual of an equation of second order into a function as smooth as its error, and as large
    up to the contrast of the coefficient: r measures an error of wave number k by :math:`k^2`, so that what
    is learned from :math:`\|r\|` alone are the shortest waves.

    Parameters
    ----------
    f : (..., *space)
        As `diffusion` returns it: at inner nodes along axes of nodes.
    grid : Grid

    Returns
    -------
    The shape of f; on a grid that is periodic along all axes of mean zero, whatever the mean of f.

    Notes
    -----
    By the eigenvectors of each axis, found once for each number of points.

    Examples
    --------
    >>> grid = Grid.box((16, 8))
    >>> u = torch.rand(16, 8, dtype=torch.float64)
    >>> torch.allclose(inverse_laplacian(diffusion(torch.ones(16, 8), u, grid), grid), u)
    True
    """
    bases = [_modes(axis) for axis in grid.axes]
    shape = tuple(len(values) for values, _ in bases)
    if tuple(f.shape[f.ndim - grid.rank :]) != shape:
        raise ShapeError(f"inverse_laplacian: f must be (..., {shape}), got {tuple(f.shape)}.")
    total = torch.zeros(shape, dtype=torch.float64)
    for i, (values, vectors) in enumerate(bases):
        total = total + values.reshape(-1, *(1,) * (grid.rank - 1 - i))
        f = _along(f, vectors.T, i - grid.rank)
    # The constant of a periodic grid, whose eigenvalue is rounding.
    scale = float(total.abs().max())
    inverse = torch.where(total.abs() > 1e-12 * scale, 1 / total, 0.0)
    f = f * inverse.to(dtype=f.dtype, device=f.device)
    for i, (_, vectors) in enumerate(bases):
        f = _along(f, vectors, i - grid.rank)
    return f


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.add, parts)


def _check(u: Tensor, grid: Grid) -> None:
    if u.ndim < grid.rank or tuple(u.shape[u.ndim - grid.rank :]) != grid.shape:
        raise ShapeError(
            f"values {tuple(u.shape)} do not lie on the grid of shape {grid.shape}; grid.with_shape(shape) "
            "is the same domain at another resolution."
        )


def _on_walls(axis: Axis) -> bool:
    """Whether the outermost points are the walls."""
    return axis.location == "node" and not axis.periodic


# Finite differences.


@functools.lru_cache(maxsize=256)
def _weights(offsets: tuple[int, ...], order: int) -> tuple[float, ...]:
    """Of the derivative at 0 of the polynomial through values at these places, in units of the spacing."""
    found = []
    for place in offsets:
        powers = [Fraction(1)]  # coefficients of the polynomial that is 1 here and 0 at all other places
        for other in offsets:
            if other != place:
                pairs = zip([Fraction(0), *powers], [*powers, Fraction(0)], strict=True)
                powers = [(up - other * same) / (place - other) for up, same in pairs]
        found.append(float(powers[order] * math.factorial(order)))
    return tuple(found)


def _differences(u: Tensor, dim: int, axis: Axis, order: int, accuracy: int) -> Tensor:
    n, reach = axis.size, (order + 1) // 2 + accuracy // 2 - 1
    if n <= (2 * reach if axis.periodic else order):
        least = (2 * reach if axis.periodic else order) + 1
        raise ShapeError(f"a derivative along {axis.name!r} needs at least {least} points, got {n}.")
    central = _weights(tuple(range(-reach, reach + 1)), order)
    if axis.periodic:
        terms = [w * u.roll(reach - k, dim) for k, w in enumerate(central) if w]
        return _sum(terms) / axis.spacing**order
    v = u.movedim(dim, -1)
    width = order + accuracy  # of one-sided differences
    if n < max(width, 2 * reach + 1):
        found = _at_rows(v, range(n), order)
    else:
        parts = [w * v[..., k : n - 2 * reach + k] for k, w in enumerate(central) if w]
        first = _at_rows(v[..., :width], range(reach), order)
        last = _at_rows(v[..., n - width :], range(width - reach, width), order)
        found = torch.cat([first, _sum(parts), last], dim=-1)
    return (found / axis.spacing**order).movedim(-1, dim)


def _at_rows(v: Tensor, rows: range, order: int) -> Tensor:
    """Derivatives at some of the points of v (..., n) from all of them."""
    n = v.shape[-1]
    matrix = [_weights(tuple(range(-row, n - row)), order) for row in rows]
    return v @ v.new_tensor(matrix).T


# Finite volumes.


def _inflow(a: Tensor, u: Tensor, dim: int, axis: Axis, walls: float | None) -> Tensor:
    """What flows into each cell along one axis, over its width."""
    if axis.location == "left":
        raise ShapeError(f"diffusion: points of {axis.name!r} are left ends, and no wall is known to them.")
    h, n = axis.spacing, axis.size
    if axis.periodic:
        flux = _face(a, a.roll(-1, dim)) * (u.roll(-1, dim) - u) / h
        return (flux - flux.roll(1, dim)) / h
    flux = _face(a.narrow(dim, 0, n - 1), a.narrow(dim, 1, n - 1)) * u.diff(dim=dim) / h
    if axis.location == "cell":
        ends = []
        for side, place in ((1.0, 0), (-1.0, n - 1)):
            value, coefficient = u.narrow(dim, place, 1), a.narrow(dim, place, 1)
            closed = torch.zeros_like(value)
            ends.append(closed if walls is None else side * coefficient * (value - walls) / (h / 2))
        flux = torch.cat([ends[0], flux, ends[1]], dim=dim)
    return flux.diff(dim=dim) / h


def _face(a: Tensor, b: Tensor) -> Tensor:
    return 2 * a * b / (a + b)


@functools.lru_cache(maxsize=16)
def _modes(axis: Axis) -> tuple[Tensor, Tensor]:
    """Eigenvalues (n,) and eigenvectors (n, n) of the second difference of an axis, float64."""
    unit = torch.eye(axis.size, dtype=torch.float64)
    if _on_walls(axis):
        unit = unit[1:-1]
    line = Grid((axis,))
    values, vectors = torch.linalg.eigh(diffusion(torch.ones_like(unit), unit, line))
    return values, vectors


def _along(f: Tensor, matrix: Tensor, dim: int) -> Tensor:
    """The matrix times f along one axis."""
    moved = f.movedim(dim, -1) @ matrix.to(dtype=f.dtype, device=f.device).T
    return moved.movedim(-1, dim)
