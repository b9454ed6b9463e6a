"""Diffusion as fast as there is something: three heaps of a gas in a porous medium."""

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

from sciml.datasets.numerics.chebyshev import Chebyshev
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Dirichlet, Function, Initial
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem, Solution
from sciml.pinns.problems.tables import as_start, as_values, times_of

Array = NDArray[np.float64]

_POINTS = 128  # of each axis
_TOLERANCE = 1e-8
_BLUNT = 1e-4
_DERIVATIVES = [d("t", variables="xyt"), d("x"), d("y"), d("xx") + d("yy")]
_HEAPS = ((0.25, 10.0, 0.3, 0.2), (0.4, 15.0, -0.5, -0.1), (0.3, 20.0, 0.0, -0.5))


def _start(x: Tensor) -> Tensor:
    parts = [
        height * torch.exp(-rate * ((x[:, 0] - a) ** 2 + (x[:, 1] - b) ** 2)) for height, rate, a, b in _HEAPS
    ]
    return torch.stack(parts).sum(0)


def _root(x: Tensor) -> Tensor:
    """The root of a product that vanishes on the boundary, blunted: its slopes are finite there too."""
    inside = (1 - x[:, 0] * x[:, 0]) * (1 - x[:, 1] * x[:, 1])
    return torch.sqrt(inside + _BLUNT) - math.sqrt(_BLUNT)


@describable
@dataclass(frozen=True)
class NonlinearDiffusion(Problem):
    """``u_t = a (|grad u|^2 + u Laplace(u))`` on (-1, 1)^2 to t = 1, u = 0 on the boundary, from three heaps.

    That is ``u_t = a Laplace(u^2) / 2``, the flow of a gas through a porous medium.

    Parameters
    ----------
    diffusivity : float, positive
        a, 0.05 by default.

    Raises
    ------
    ConfigError
        If it is not positive.

    Notes
    -----
    The start is up to 0.0094 where the boundary asks for 0, so that only one of the two can be built in; near
    the boundary ``u^2`` is smooth and u a root, and so is the factor in front of the network.  Reference:
    polynomials through Chebyshev points for ``u^2``, on two grids.  Source: Cho et al., Separable
    physics-informed neural networks, NeurIPS 2023, with the numbers of their code.

    Examples
    --------
    >>> NonlinearDiffusion().satisfied()
    ('boundary',)
    """

    diffusivity: float = 0.05

    equation: ClassVar[str] = r"u_t = a (|\nabla u|^2 + u \Delta u)"
    source: ClassVar[str] = "Cho et al. (2023), diffusion"
    grid: ClassVar[tuple[int, ...]] = (65, 65, 21)
    domain: ClassVar[Domain] = Domain(Box(((-1.0, 1.0), (-1.0, 1.0))), time=(0.0, 1.0))
    conditions: ClassVar[tuple[Dirichlet, Initial]] = (Dirichlet(0.0), Initial(_start))
    ansatz: ClassVar[Ansatz] = Ansatz(("boundary",), factor=_root)

    def __post_init__(self) -> None:
        if not self.diffusivity > 0:
            raise ConfigError(f"NonlinearDiffusion: needs a positive diffusivity, got {self.diffusivity}.")

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, u_t, u_x, u_y, laplacian = evaluate(u, x, _DERIVATIVES)
        return u_t - self.diffusivity * (u_x**2 + u_y**2 + value * laplacian)

    def solve(self) -> Solution:
        x, shape = self.points()
        values, coarse = self._spectral(_POINTS), self._spectral(3 * _POINTS // 4)
        error = float((values - coarse).norm() / values.norm())
        return Solution(x, values, error, f"Chebyshev, {_POINTS} points, from {3 * _POINTS // 4}", shape)

    def classical(self) -> Iterator[Classical]:
        for points in (24, 32, 48, 64, 96):
            yield Classical(
                "Chebyshev, Runge-Kutta of order 5", {"points": points}, partial(self._spectral, points)
            )

    def _spectral(self, points: int) -> Tensor:
        wanted = np.linspace(-1, 1, self.grid[0])
        nodes = Chebyshev(points).points
        start = as_start(_start)
        frames = flow(start(*np.meshgrid(nodes, nodes, indexing="ij")), self.diffusivity, times_of(self))
        # As a function of the angle, x = -cos(angle), a root at the boundary is smooth, and odd.
        waves = np.arange(1, points - 1)
        inner = math.pi * np.arange(1, points - 1) / (points - 1)
        table = np.linalg.solve(
            np.sin(np.outer(inner, waves)).T, np.sin(np.outer(np.arccos(-wanted), waves)).T
        ).T
        found = np.stack([table @ frame[1:-1, 1:-1] @ table.T for frame in frames])
        found[0] = start(*np.meshgrid(wanted, wanted, indexing="ij"))
        return as_values(found)


def flow(start: Array, diffusivity: float, times: Array) -> Array:
    """``u_t = a Laplace(u |u|) / 2``, u = 0 on the boundary of (-1, 1)^2: frames (times, points, points).

    ``u |u|`` for the square keeps the equation parabolic where rounding makes u negative.

    Parameters
    ----------
    start : (points, points)
        At Chebyshev points of both axes.
    diffusivity : float
        a.
    times : (n,)
        In order; the first is that of the start.
    """
    from scipy.integrate import solve_ivp

    second = Chebyshev(len(start)).derivative(2)
    inner = np.zeros_like(start)
    inner[1:-1, 1:-1] = 1

    def rate(_: float, values: Array) -> Array:
        u = values.reshape(start.shape)
        square = u * abs(u)
        changed: Array = diffusivity / 2 * inner * (second @ square + square @ second.T)
        return changed.ravel()

    found = solve_ivp(
        rate,
        (times[0], times[-1]),
        (inner * start).ravel(),
        t_eval=times,
        rtol=_TOLERANCE,
        atol=_TOLERANCE / 10,
    )
    frames: Array = found.y.T.reshape(-1, *start.shape)
    return frames
