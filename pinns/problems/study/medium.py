"""Heat and waves of the study in random media."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Condition, Dirichlet, Function, Initial, Neumann
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem, Solution

Float = NDArray[np.float64]

_NODES = 256  # of the medium along each axis
_SEED = 20220722
_CELLS = 255  # between them


@describable
@dataclass(frozen=True)
class HeatInMedium(Problem):
    """``u_t = a Laplace(u) + 200 sin(pi x) sin(5 pi y) sin(pi t)`` on the unit square, u = 0 outside.

    From 0 to t = 5.  The logarithm of a is a Gaussian field of mean 0 and variance 1, with Fourier
    coefficients like 1/|k|^2, given on 256^2 nodes: elsewhere a is that of the nearest one.

    Parameters
    ----------
    seed : int
        Of the field.

    Raises
    ------
    ConfigError
        If the seed is negative.

    Notes
    -----
    Source: problem Heat2d-VC of PINNacle, Hao et al., NeurIPS 2024, as in its program; its text has
    div(a grad u), for which a would need a derivative.  Its field is the one of the default seed, as its
    picture shows.  Reference: differences of order 2 on every node and steps of 1/80 by Crank and Nicolson;
    its error is told as the change from every third node and twice the step.

    Examples
    --------
    >>> HeatInMedium().satisfied()
    ('boundary', 'initial')
    """

    seed: int = _SEED

    equation: ClassVar[str] = r"u_t = a \Delta u + f"
    source: ClassVar[str] = "Hao et al. (2024), Heat2d-VC, as in its program"
    grid: ClassVar[tuple[int, ...]] = (52, 52, 21)
    domain: ClassVar[Domain] = Domain(Box(((0.0, 1.0), (0.0, 1.0))), time=(0.0, 5.0))
    conditions: ClassVar[tuple[Condition, ...]] = (Dirichlet(0.0), Initial(0.0))
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("boundary", "initial"),
        factor=lambda x: 16 * x[:, 0] * (1 - x[:, 0]) * x[:, 1] * (1 - x[:, 1]) * (x[:, 2] / (0.1 + x[:, 2])),
    )

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"HeatInMedium: seed must not be negative, got {self.seed}.")

    def residual(self, u: Function, x: Tensor) -> Tensor:
        _, bent, u_t = evaluate(u, x, [d(0, 0) + d(1, 1), d(2)])
        px = math.pi * x
        source = 200 * torch.sin(px[:, 0]) * torch.sin(5 * px[:, 1]) * torch.sin(px[:, 2])
        # Divided by a, or the loss would be about the places that conduct best.
        return (u_t - source) / self.conductivity(x) - bent

    def conductivity(self, x: Tensor) -> Tensor:
        """a at points (n, 3), (n,)."""
        return _nearest(torch.exp(_field(self.seed)), x[:, :2])

    def solve(self) -> Solution:
        x, shape = self.points()
        values, coarse = self._heated(1, 1 / 80), self._heated(3, 1 / 40)
        error = float((values - coarse).norm() / values.norm())
        return Solution(x, values, error, "differences of order 2, refined", shape)

    def classical(self) -> Iterator[Classical]:
        for stride in (5, 3):
            step = stride / 60
            yield Classical("differences of order 2", {"stride": stride}, partial(self._heated, stride, step))

    def _heated(self, stride: int, step: float) -> Tensor:
        """The values at the points of the reference, from every so many nodes."""
        from scipy.sparse import diags_array, eye_array, kron
        from scipy.sparse.linalg import splu

        cells = _CELLS // stride
        nodes = np.linspace(0.0, 1.0, cells + 1)[1:-1]
        second = cells**2 * diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(cells - 1, cells - 1))
        same = eye_array(cells - 1)
        medium = np.exp(_field(self.seed).numpy())[::stride, ::stride][1:-1, 1:-1].ravel()
        spread = diags_array(medium) @ (kron(second, same) + kron(same, second))
        source = 200 * np.outer(np.sin(math.pi * nodes), np.sin(5 * math.pi * nodes)).ravel()
        wanted = np.arange(self.grid[0]) * (_CELLS // (self.grid[0] - 1))
        between = np.linspace(0.0, 5.0, self.grid[2])[1]
        count = math.ceil(between / step - 1e-9)
        step = between / count
        implicit = splu((eye_array(len(medium)) - step / 2 * spread).tocsc())
        u, frames = np.zeros(len(medium)), []
        for k in range(count * (self.grid[2] - 1) + 1):
            if k:
                middle = (math.sin(math.pi * (k - 1) * step) + math.sin(math.pi * k * step)) / 2
                u = implicit.solve(u + step / 2 * (spread @ u) + step * middle * source)
            if k % count == 0:
                frames.append(_at_nodes(np.pad(u.reshape(cells - 1, -1), 1), wanted / stride))
        return torch.from_numpy(np.stack(frames, axis=-1).reshape(-1, 1))


@describable
@dataclass(frozen=True)
class WaveInMedium(Problem):
    """``u_tt = a Laplace(u)`` on (-1, 1)^2, ``u_n = 0`` on the sides, from rest to t = 5.

    From ``exp(-((x + 0.5)^2 + y^2) / 0.18)``.  a is 12 where a Gaussian field with Fourier coefficients like
    1/|k|^2 is positive and 1 elsewhere, given on 256^2 nodes as in `HeatInMedium`.

    Parameters
    ----------
    seed : int
        Of the field.

    Raises
    ------
    ConfigError
        If the seed is negative.

    Notes
    -----
    Source: problem Wave2d-CG of PINNacle, Hao et al., NeurIPS 2024, with the field of its picture, which has
    the default seed.  Reference: leapfrog on three nodes for each of the medium along each axis, extrapolated
    from one for each; its error is told as the change of the finer one.

    Examples
    --------
    >>> WaveInMedium().satisfied()
    ('initial', 'rate')
    """

    seed: int = _SEED

    equation: ClassVar[str] = r"u_{tt} = a \Delta u"
    source: ClassVar[str] = "Hao et al. (2024), Wave2d-CG"
    grid: ClassVar[tuple[int, ...]] = (52, 52, 21)
    domain: ClassVar[Domain] = Domain(Box(((-1.0, 1.0), (-1.0, 1.0))), time=(0.0, 5.0))
    conditions: ClassVar[tuple[Condition, ...]] = (
        Neumann(),
        Initial(lambda x: _bump(x)),
        Initial(0.0, order=1, name="rate"),
    )
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("initial", "rate"),
        lift=lambda x: _bump(x),
        factor=lambda x: x[:, 2] * x[:, 2] / (0.1 + x[:, 2] * x[:, 2]),
    )

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"WaveInMedium: seed must not be negative, got {self.seed}.")

    def residual(self, u: Function, x: Tensor) -> Tensor:
        _, bent, u_tt = evaluate(u, x, [d(0, 0) + d(1, 1), d(2, 2)])
        return u_tt / self.stiffness(x) - bent

    def stiffness(self, x: Tensor) -> Tensor:
        """a at points (n, 3), (n,)."""
        return _nearest(self._stiffness, (x[:, :2] + 1) / 2)

    @property
    def _stiffness(self) -> Tensor:
        return torch.where(_field(self.seed) > 0, 12.0, 1.0)

    def solve(self) -> Solution:
        x, shape = self.points()
        coarse, fine = self._moved(_CELLS), self._moved(3 * _CELLS)
        values = (9 * fine - coarse) / 8
        error = float((values - fine).norm() / values.norm())
        return Solution(x, values, error, "leapfrog, extrapolated", shape)

    def classical(self) -> Iterator[Classical]:
        for cells in (_CELLS // 3, _CELLS):
            yield Classical("leapfrog", {"cells": cells}, partial(self._moved, cells))

    def _moved(self, cells: int) -> Tensor:
        """The values at the points of the reference."""
        nodes = np.linspace(0.0, 1.0, cells + 1)
        places = torch.from_numpy(np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2))
        speeds = _nearest(self._stiffness, places).numpy().reshape(cells + 1, -1) * (cells / 2) ** 2
        start = _bump(2 * places - 1).numpy().reshape(cells + 1, -1)
        frames = self.grid[2]
        # At most 0.9 of the longest stable step, cells / 2 widths in the fastest part.
        every = math.ceil(5.0 / (frames - 1) * cells / 2 * math.sqrt(24) / 0.9)
        step = 5.0 / (frames - 1) / every

        def bent(u: Float) -> Float:
            near = np.pad(u, 1, mode="reflect")
            sums = near[2:, 1:-1] + near[:-2, 1:-1] + near[1:-1, 2:] + near[1:-1, :-2]
            return np.asarray(speeds * (sums - 4 * u))

        wanted = np.linspace(0.0, cells, self.grid[0])
        before, u, found = start, start + step**2 / 2 * bent(start), [_at_nodes(start, wanted)]
        for k in range(1, every * (frames - 1) + 1):
            if k % every == 0:
                found.append(_at_nodes(u, wanted))
            before, u = u, 2 * u - before + step**2 * bent(u)
        return torch.from_numpy(np.stack(found, axis=-1).reshape(-1, 1))


def _bump(x: Tensor) -> Tensor:
    return torch.exp(-((x[:, 0] + 0.5) ** 2 + x[:, 1] ** 2) * (1 / 0.18))


def _nearest(values: Tensor, places: Tensor) -> Tensor:
    """Of the nodes of the unit square, (n,) at places (n, 2)."""
    # A place between two nodes, but for rounding, belongs to the second.
    node = (places.detach() * _CELLS + 0.5 + 1e-9).floor().long().clamp(0, _CELLS)
    return values.to(places.detach())[node[:, 0], node[:, 1]]


@lru_cache
def _field(seed: int) -> Tensor:
    """At the nodes, first coordinate first, with mean 0 and variance 1."""
    random = np.random.RandomState(seed)
    waves = np.fft.fftfreq(_NODES, 1 / _NODES)
    squares = waves[:, None] ** 2 + waves**2
    squares[0, 0] = np.inf  # no mean
    noise = random.normal(size=squares.shape) + 1j * random.normal(size=squares.shape)
    field = np.fft.ifft2(noise / squares).real
    # Rows of the field are along y.
    return torch.from_numpy(((field - field.mean()) / field.std()).T.copy())


def _at_nodes(values: Float, wanted: Float) -> Float:
    """Values on a square at nodes that are whole numbers, or between them by splines."""
    from scipy.interpolate import RectBivariateSpline

    if np.allclose(wanted, np.round(wanted)):
        nodes = np.round(wanted).astype(int)
        return np.asarray(values[np.ix_(nodes, nodes)])
    every = np.arange(len(values), dtype=np.float64)
    return np.asarray(RectBivariateSpline(every, every, values)(wanted, wanted))
