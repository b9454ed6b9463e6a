"""Burgers in the study: a random flow in the plane, which steepens into fronts and decays."""

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

from sciml.datasets.numerics.pseudo_spectral import Modes
from sciml.datasets.numerics.semilinear import Semilinear, run
from sciml.datasets.numerics.spectral_solver import resample
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.kernels.partials import Partials
from sciml.pinns.conditions import Condition, Function, Initial
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Classical, Problem, Solution
from sciml.pinns.problems.tables import all_periodic, as_start, on_nodes, periodic_grid, times_of

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]

_DERIVATIVES = Partials([(0,), (1,), (2,), (0, 0), (1, 1)], dim=3)
_SEED = 20220722
_WAVES = 4  # of the start along each axis, 0 to 3
_SPREAD = 0.2  # when fronts are wide enough for two thirds of the points


@describable
@dataclass(frozen=True)
class BurgersInPlane(Problem):
    r"""``w_t + (w . grad) w = viscosity Laplace(w)``, w = (u, v), with period 1 along both axes, to t = 1.

    Each component starts from a random series, ``2 s(x, y) / max(s) + c`` with ``s = sum a_ij sin(2 pi (i x +
    j y)) + b_ij cos(2 pi (i x + j y))``, i and j from 0 to 3, where a, b and c are normal and the maximum is
    over both components.  Fronts of width 0.005 are there from t = 0.05 on.

    Parameters
    ----------
    viscosity : float, positive
        0.001 by default.
    seed : int
        Of the series.

    Raises
    ------
    ConfigError
        If the viscosity is not positive or the seed negative.

    Notes
    -----
    Source: problem Burgers2d-C of PINNacle, Hao et al., NeurIPS 2024.  Its square (0, 4)^2 holds sixteen
    copies of this one, as starts of period 1 keep it, so that relative errors are the same.  Its start is a
    file of values on 512^2 nodes, between which it is linear, and which is not at hand here; formula, order
    of the draws, generator and seed are those of the program that is published beside it, and the maximum is
    over the same nodes.  Nothing was compared with the file itself.

    Reference: Fourier modes and ETDRK4 on 576^2 points up to t = 0.2, when fronts have spread, then on 384^2;
    its error is told as the change from five sixths of them.  No ansatz builds the start in: the fronts of a
    window's start move on, and a network would first have to take them away from where they were.

    Examples
    --------
    >>> BurgersInPlane().periods
    (0, 1)
    """

    viscosity: float = 0.001
    seed: int = _SEED

    equation: ClassVar[str] = r"w_t + (w \cdot \nabla) w = \nu \Delta w"
    source: ClassVar[str] = "Hao et al. (2024), Burgers2d-C"
    grid: ClassVar[tuple[int, ...]] = (65, 65, 21)
    outputs: ClassVar[int] = 2
    domain: ClassVar[Domain] = Domain(Box(((0.0, 1.0), (0.0, 1.0))), time=(0.0, 1.0))

    def __post_init__(self) -> None:
        if not self.viscosity > 0:
            raise ConfigError(f"BurgersInPlane: viscosity must be positive, got {self.viscosity}.")
        if self.seed < 0:
            raise ConfigError(f"BurgersInPlane: seed must not be negative, got {self.seed}.")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        starts = (
            Initial(partial(self._component, k), component=k, name=f"initial_{name}")
            for k, name in enumerate("uv")
        )
        return *all_periodic([0, 1], 2), *starts

    def residual(self, u: Function, x: Tensor) -> dict[str, Tensor]:
        w, by = _DERIVATIVES(u, x)
        carried = w[:, :1] * by[0,] + w[:, 1:] * by[1,]
        gap = by[2,] + carried - self.viscosity * (by[0, 0] + by[1, 1])
        return {"along": gap[:, 0], "across": gap[:, 1]}

    def start(self, x: Tensor) -> Tensor:
        """Both components at points (n, 3), (n, 2)."""
        waves, sizes, means = (value.to(x.detach()) for value in _series(self.seed))
        angle = x[:, :2] @ waves
        return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1) @ sizes + means

    def _component(self, k: int, x: Tensor) -> Tensor:
        return self.start(x)[:, k]

    def solve(self) -> Solution:
        x, shape = self.points()
        points = 288 * math.ceil(0.002 / self.viscosity)
        fine, coarse = self._flow(points), self._flow(5 * points // 6)
        error = float((coarse - fine).norm() / fine.norm())
        return Solution(x, fine, error, "Fourier modes, ETDRK4, refined", shape)

    def classical(self) -> Iterator[Classical]:
        for points in (96, 192, 288):
            yield Classical("pseudo-spectral, ETDRK4", {"points": points}, partial(self._flow, points))

    def _flow(self, points: int) -> Tensor:
        """The values at the points of the reference."""
        times = times_of(self)
        fine, coarse = (periodic_grid(self, n) for n in (points, 2 * points // 3))
        split = int(np.searchsorted(times, _SPREAD - 1e-9))
        start = np.stack([as_start(partial(self._component, k))(*_space(fine)) for k in range(2)])
        early = _evolved(start, fine, times[: split + 1], self.viscosity)
        late = _evolved(resample(early[-1], fine, coarse), coarse, times[split:], self.viscosity)
        parts = [on_nodes(self, *np.moveaxis(frames, 1, 0)) for frames in (early, late[1:])]
        return torch.cat([part.reshape(65 * 65, -1, 2) for part in parts], dim=1).reshape(-1, 2)


def _space(grid: Grid) -> tuple[Float, Float, Float]:
    x, y = grid.coordinates()
    return x, y, np.zeros((1, 1))


def _evolved(start: Float, grid: Grid, times: Float, viscosity: float) -> Float:
    """Frames (time, components, *grid) from values at the first time."""
    modes = Modes(grid)
    along, across = modes.derivative(0), modes.derivative(1)

    def rate(c: Complex, time: float) -> Complex:
        """``(w . grad) w`` is the gradient of ``|w|^2 / 2`` and w turned, times its rotation."""
        turning = along * c[:, 1:] - across * c[:, :1]
        u, v, rotation = np.moveaxis(modes.to_values(np.concatenate([c, turning], axis=1)), 1, 0)
        products = np.stack([rotation * v, -rotation * u, -(u * u + v * v) / 2], axis=1)
        first, second, energy = np.moveaxis(modes.to_modes(products), 1, 0)
        return np.stack([first + along * energy, second + across * energy], axis=1)

    system = Semilinear(modes, viscosity * modes.laplacian, rate)
    # At most half of a width in a step, for the fastest waves that are kept.
    frames: Float = run(lambda: system, start[None], times, step=0.48 / grid.shape[0])[0]
    return frames


@lru_cache
def _series(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Wave vectors (2, waves), factors (2 waves, 2) of their sines and cosines, and means (2,)."""
    random = np.random.RandomState(seed)
    a, b, c, d = (random.randn(_WAVES, _WAVES).ravel() for _ in range(4))
    sizes = np.stack([np.concatenate([a, b]), np.concatenate([c, d])], axis=1)
    numbers = np.stack(np.divmod(np.arange(_WAVES**2), _WAVES)).astype(np.float64)
    # The nodes among which the program looks for the maximum: 512 on (0, 4), with both ends.
    nodes = np.linspace(0.0, 4.0, 512)
    first, second = (np.exp(2j * math.pi * np.outer(nodes, np.arange(_WAVES))) for _ in range(2))
    largest = max(
        float((first @ (cosines - 1j * sines).reshape(_WAVES, _WAVES) @ second.T).real.max())
        for sines, cosines in ((a, b), (c, d))
    )
    means = random.randn(2)
    found = (2 * math.pi * numbers, 2 / largest * sizes, means)
    return tuple(torch.from_numpy(value) for value in found)  # type: ignore[return-value]
