"""Poisson's equation in the study: in a cube of two media around four spheres."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.description import describable
from sciml.kernels.differential import laplacian
from sciml.pinns.conditions import Condition, Function, Neumann
from sciml.pinns.csg import Difference
from sciml.pinns.domain import Ball, Box, Domain
from sciml.pinns.problem import Classical, Estimate, Problem, Solution

Float = NDArray[np.float64]

_SPHERES = ((0.4, 0.3, 0.6, 0.2), (0.6, 0.7, 0.6, 0.2), (0.2, 0.8, 0.7, 0.1), (0.6, 0.2, 0.3, 0.1))
_BELOW, _ABOVE = 64.0, 100.0  # k^2
_WAVES = (math.pi, 10 * math.pi, 5 * math.pi)


@describable
@dataclass(frozen=True)
class PoissonAroundSpheres(Problem):
    """``-Laplace(u) + k^2 u = f`` in the unit cube without four balls, ``u_n = 0`` all around.

    k is 8 below z = 1/2 and 10 above; ``f = 20 exp(s_1 + s_2 + s_3) (r^2 - 1) / (r^2 + 1) + 100 s_1 s_2 s_3``
    with r^2 = x^2 + y^2 + z^2 and the sines s of pi x, 10 pi y and 5 pi z.  Balls of radius 0.2 lie about
    (0.4, 0.3, 0.6) and (0.6, 0.7, 0.6), of radius 0.1 about (0.2, 0.8, 0.7) and (0.6, 0.2, 0.3).

    Notes
    -----
    Source: problem Poisson3d-CG of PINNacle, Hao et al., NeurIPS 2024.  Reference: finite volumes of order 2,
    those that spheres cut with what is left of them and of their faces, extrapolated from two grids; told as
    its error is the change of the finer one.

    Examples
    --------
    >>> [c.name for c in PoissonAroundSpheres().conditions]
    ['boundary']
    """

    equation: ClassVar[str] = r"-\Delta u + k^2 u = f"
    source: ClassVar[str] = "Hao et al. (2024), Poisson3d-CG"
    grid: ClassVar[tuple[int, ...]] = (16, 64, 32)
    domain: ClassVar[Domain] = Domain(
        Difference(Box(((0.0, 1.0),) * 3), tuple(Ball(3, r, (x, y, z)) for x, y, z, r in _SPHERES))
    )
    conditions: ClassVar[tuple[Condition, ...]] = (Neumann(),)

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        return reaction(x) * u(x) - laplacian(u, x, **estimate) - supply(x)

    def points(self) -> tuple[Tensor, tuple[int, ...] | None]:
        """Centers of the cells of a grid that lie between the spheres."""
        lines = [(torch.arange(n, dtype=torch.float64) + 0.5) / n for n in self.grid]
        x = torch.cartesian_prod(*lines)
        return x[self.domain.space.encloses(x)], None

    def solve(self) -> Solution:
        x, shape = self.points()
        coarse, fine = self._volumes(1), self._volumes(3)
        values = (9 * fine - coarse) / 8
        error = float((values - fine).norm() / values.norm())
        return Solution(x, values, error, "finite volumes, extrapolated", shape)

    def classical(self) -> Iterator[Classical]:
        for parts in (1, 3):
            yield Classical("finite volumes", {"parts": parts}, partial(self._volumes, parts))

    def _volumes(self, parts: int) -> Tensor:
        """Values at the points, from cells that are an odd part of theirs along each axis."""
        from scipy.sparse.linalg import LinearOperator, cg

        shape = tuple(parts * n for n in self.grid)
        lines = [(np.arange(n) + 0.5) / n for n in shape]
        cells = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
        size = 1 / np.array(shape)
        room = _open(cells, size)
        centers = torch.from_numpy(cells.reshape(-1, 3))
        load = room * supply(centers).numpy().reshape(shape)
        # Cells inside the balls keep a little, so that the matrix is regular.
        diagonal = np.maximum(room, 1e-6) * reaction(centers).numpy().reshape(shape)
        faces = []
        for axis in range(3):
            middle = 0.5 * size[axis] * np.eye(3)[axis]
            inner = tuple(slice(0, -1) if k == axis else slice(None) for k in range(3))
            outer = tuple(slice(1, None) if k == axis else slice(None) for k in range(3))
            weight = _open(cells[inner] + middle, size) / size[axis] ** 2
            diagonal[inner] += weight
            diagonal[outer] += weight
            faces.append((inner, outer, weight))

        def product(v: Float) -> Float:
            u = v.reshape(shape)
            found = diagonal * u
            for inner, outer, weight in faces:
                found[inner] -= weight * u[outer]
                found[outer] -= weight * u[inner]
            return np.asarray(found.ravel())

        count = math.prod(shape)
        matrix = LinearOperator((count, count), matvec=product, dtype=np.float64)
        scale = LinearOperator((count, count), matvec=lambda v: v / diagonal.ravel(), dtype=np.float64)
        found, failed = cg(matrix, load.ravel(), rtol=1e-8, M=scale)
        assert not failed
        every = tuple(slice(parts // 2, None, parts) for _ in range(3))
        chosen = torch.from_numpy(found.reshape(shape)[every].reshape(-1, 1).copy())
        lines = [(np.arange(n) + 0.5) / n for n in self.grid]
        kept = self.domain.space.encloses(torch.cartesian_prod(*map(torch.from_numpy, lines)))
        return chosen[kept]


def reaction(x: Tensor) -> Tensor:
    """k^2 at points (n, 3), (n,)."""
    return torch.where(x.detach()[:, 2] < 0.5, _BELOW, _ABOVE).to(x.dtype)


def supply(x: Tensor) -> Tensor:
    """f at points (n, 3), (n,)."""
    sines = torch.sin(x * torch.tensor(_WAVES, dtype=x.dtype, device=x.device))
    squared = x.square().sum(1)
    return 20 * torch.exp(sines.sum(1)) * (squared - 1) / (squared + 1) + 100 * sines.prod(1)


def _open(places: Float, size: Float) -> Float:
    """About what part of a cell, or of a face, with this middle lies outside of the balls: by the distance
    from the nearest sphere over the width of a cell along it."""
    found = np.ones(places.shape[:-1])
    for *center, radius in _SPHERES:
        away = places - np.array(center)
        r = np.sqrt((away**2).sum(-1))
        width = (np.abs(away) * size).sum(-1) / np.maximum(r, 1e-12)
        found = np.minimum(found, np.clip(0.5 + (r - radius) / width, 0.0, 1.0))
    return found
