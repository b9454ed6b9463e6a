"""Points and weights that integrate over a region or over its faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sciml.pinns.domain import Box, Geometry

_FEWEST = 4  # Gauss points per axis; with fewer, points of low discrepancy are better


def quadrature(space: Geometry, faces: Sequence[str] | None, count: int) -> tuple[Tensor, Tensor]:
    """Points (n, dim) and weights (n,), about ``count`` of them, in float64.

    On boxes Gauss-Legendre points: exact for polynomials up to degree 2 m - 1 with m points per axis, and of
    exponential convergence for analytic functions.  Elsewhere Sobol points with equal weights, where regions
    that reject leave some out: an error of about ``count^(-3/4)`` and less for smooth functions.

    Parameters
    ----------
    space : Geometry
    faces : sequence of str, optional
        Over these faces; by default over the region.
    count : int

    Examples
    --------
    >>> from sciml.pinns import Box
    >>> x, weights = quadrature(Box(((0.0, 2.0), (0.0, 1.0))), None, 64)
    >>> round(float((weights * x[:, 0] ** 3 * x[:, 1]).sum()), 12)  # 2^4 / 4 * 1 / 2
    2.0
    """
    if faces is None:
        unit, weights = _of_cube(space, space.units[0], count)
        x = space.interior(unit)
        kept = space.contains(x) if space.rejects else torch.ones_like(weights, dtype=torch.bool)
        return x[kept], space.volume * weights[kept]
    points, shares = [], []
    for face in faces:
        unit, weights = _of_cube(space, space.units[1], max(1, count // len(faces)))
        x, normals = space.boundary(unit, (face,))
        kept = normals.any(1)
        points.append(x[kept])
        shares.append(space.area(face) * weights[kept])
    return torch.cat(points), torch.cat(shares)


def _of_cube(space: Geometry, axes: int, count: int) -> tuple[Tensor, Tensor]:
    """Points of the unit cube and weights that add up to 1."""
    if axes == 0:
        return torch.empty(1, 0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    size = round(count ** (1 / axes))
    if not isinstance(space, Box) or size < _FEWEST:
        points = torch.quasirandom.SobolEngine(axes, scramble=True, seed=0).draw(count, dtype=torch.float64)
        return points, torch.full((count,), 1 / count, dtype=torch.float64)
    nodes, weights = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(size))
    grid = torch.cartesian_prod(*[(nodes + 1) / 2] * axes).reshape(-1, axes)
    return grid, torch.cartesian_prod(*[weights / 2] * axes).reshape(-1, axes).prod(1)
