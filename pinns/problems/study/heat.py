"""Heat in the study: in a ball of five dimensions, in stripes, around discs, and for long."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sciml.datasets import heat_on_meshes
from sciml.datasets.numerics import mesh_diffusion, meshing
from sciml.datasets.numerics.curves import Polygon, Star
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.ansatz import ansatz_for
from sciml.pinns.conditions import Condition, Dirichlet, Function, Initial, Neumann, Robin
from sciml.pinns.constrained import Constrained
from sciml.pinns.csg import Difference, Renamed
from sciml.pinns.distances import distance
from sciml.pinns.domain import Ball, Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Problem, Solution
from sciml.pinns.problems.study.meshes import Float, at, coarser, refined
from sciml.pinns.problems.tables import times_of


@describable
@dataclass(frozen=True)
class HeatInBall(Problem):
    """``u_t = (Laplace(u) - |x|^2 u*) / dim`` in the unit ball, ``u_n = exp(1/2 + t)``, to t = 1.

    From exp(|x|^2 / 2); exactly u* = exp(|x|^2 / 2 + t).

    Parameters
    ----------
    dim : int
        5 by default.

    Raises
    ------
    ConfigError
        If ``dim`` is below 1.

    Notes
    -----
    Source: problem HNd of PINNacle, Hao et al., NeurIPS 2024.

    Examples
    --------
    >>> problem = HeatInBall(dim=3)
    >>> problem.satisfied(), problem.relative_l2(problem.exact)
    (('boundary', 'initial'), 0.0)
    """

    dim: int = 5

    equation: ClassVar[str] = r"u_t = (\Delta u - |x|^2 u^*) / d"
    source: ClassVar[str] = "Hao et al. (2024), HNd"
    recipe: ClassVar[str] = "precise"

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ConfigError(f"HeatInBall: dim must be at least 1, got {self.dim}.")

    @property
    def domain(self) -> Domain:
        return Domain(Ball(self.dim), time=(0.0, 1.0))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return Neumann(lambda x: torch.exp(0.5 + x[:, -1])), Initial(self.exact)

    @property
    def ansatz(self) -> Ansatz:
        return ansatz_for(self.domain, self.conditions)

    def residual(self, u: Function, x: Tensor) -> Tensor:
        squares = sum((d(i, i) for i in range(1, self.dim)), start=d(0, 0))
        _, bent, u_t = evaluate(u, x, [squares, d(self.dim)])
        away = x[:, :-1].square().sum(1)
        return u_t - (bent - away * self.exact(x)) * (1 / self.dim)

    def exact(self, x: Tensor) -> Tensor:
        r = x[:, :-1]
        return torch.exp((r * r).sum(1) / 2 + x[:, -1])


_ALONG, _ACROSS = 1 / (500 * math.pi) ** 2, 1 / math.pi**2
_MODE = 20 * math.pi


@describable
@dataclass(frozen=True)
class HeatInStripes(Problem):
    """``u_t = u_xx / (500 pi)^2 + u_yy / pi^2`` on the unit square, u = 0 outside, to t = 5.

    From sin(20 pi x) sin(pi y), which decays as exp(-1.0016 t).

    Notes
    -----
    Source: problem Heat2d-MS of PINNacle, Hao et al., NeurIPS 2024.

    Examples
    --------
    >>> problem = HeatInStripes()
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    equation: ClassVar[str] = r"u_t = u_{xx} / (500 \pi)^2 + u_{yy} / \pi^2"
    source: ClassVar[str] = "Hao et al. (2024), Heat2d-MS"
    grid: ClassVar[tuple[int, ...]] = (101, 21, 21)
    domain: ClassVar[Domain] = Domain(Box(((0.0, 1.0), (0.0, 1.0))), time=(0.0, 5.0))
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("boundary", "initial"),
        lift=lambda x: _stripes(x),
        factor=lambda x: 16 * x[:, 0] * (1 - x[:, 0]) * x[:, 1] * (1 - x[:, 1]) * (x[:, 2] * 0.2),
    )

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return Dirichlet(0.0), Initial(_stripes)

    def residual(self, u: Function, x: Tensor) -> Tensor:
        _, spread, u_t = evaluate(u, x, [_ALONG * d(0, 0) + _ACROSS * d(1, 1), d(2)])
        return u_t - spread

    def exact(self, x: Tensor) -> Tensor:
        rate = _ALONG * _MODE**2 + _ACROSS * math.pi**2
        return _stripes(x) * torch.exp(-rate * x[:, 2])


def _stripes(x: Tensor) -> Tensor:
    return torch.sin(_MODE * x[:, 0]) * torch.sin(math.pi * x[:, 1])


@describable
class Near(nn.Module):
    """``N([x^2, y^2, t, distances])`` for `HeatAroundDiscs`: from large circles, small ones and the sides.

    Heat comes from there, and everything is even in x and in y.

    Parameters
    ----------
    network : module
        N, of six inputs; coordinates come scaled to [-1, 1].
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._distances = [distance(HeatAroundDiscs.domain.space, (face,)) for face in _FACES]

    def forward(self, z: Tensor) -> Tensor:
        half = torch.tensor([end for _, end in HeatAroundDiscs.domain.space.bounds]).to(z.detach())
        place = z[:, :2] * half
        # Halves of the distances: heat spreads by about 2 sqrt(t).
        near = torch.stack([0.5 * of(place) for of in self._distances], dim=1)
        value: Tensor = self.network(torch.cat([z[:, :2] * z[:, :2], z[:, 2:], near], dim=1))
        return value


_LARGE = (*((x, y) for x in (-4.0, 4.0) for y in (-9.0, -3.0, 3.0, 9.0)), (0.0, -6.0), (0.0, 0.0), (0.0, 6.0))
_SMALL = tuple((x, y) for x in (-3.2, 3.2) for y in (-6.0, 0.0, 6.0))
_HOLES = {"large": (_LARGE, 1.0, 5.0), "small": (_SMALL, 0.4, 1.0)}
_FACES = (*_HOLES, "sides")
_SCALE = 1 / 16  # of the triangles, whose curves are found to 1e-12 of 1
_SIDES = {"0-": "sides", "0+": "sides", "1-": "sides", "1+": "sides"}


@describable
@dataclass(frozen=True)
class HeatAroundDiscs(Problem):
    """``u_t = Laplace(u)`` from 0 in (-8, 8) x (-12, 12) around 17 discs, which heat it, to t = 3.

    ``u_n + u = 5`` on the circles of radius 1 about (+-4, +-3), (+-4, +-9), (0, 0) and (0, +-6); ``u_n + u =
    1`` on those of radius 0.4 about (+-3.2, 0) and (+-3.2, +-6), and ``u_n + u = 0.1`` on the sides, n
    outward.

    Notes
    -----
    Source: problem Heat2d-CG of PINNacle, Hao et al., NeurIPS 2024.  The start does not satisfy what the
    circles ask for, so there u rises as the root of t.  What networks see is told by `Near`.  Reference:
    quadratic triangles and implicit Runge-Kutta steps (`sciml.datasets.heat_on_meshes`).

    Examples
    --------
    >>> HeatAroundDiscs().domain.space.faces
    ('sides', 'large', 'small')
    """

    equation: ClassVar[str] = r"u_t = \Delta u"
    source: ClassVar[str] = "Hao et al. (2024), Heat2d-CG"
    grid: ClassVar[tuple[int, ...]] = (33, 49, 13)
    domain: ClassVar[Domain] = Domain(
        Difference(
            Renamed(Box(((-8.0, 8.0), (-12.0, 12.0))), _SIDES),
            tuple(
                Renamed(Ball(2, radius, center), {"sphere": name})
                for name, (centers, radius, _) in _HOLES.items()
                for center in centers
            ),
        ),
        time=(0.0, 3.0),
    )
    conditions: ClassVar[tuple[Condition, ...]] = (
        *(Robin(1.0, heat, (name,), name=name) for name, (_, _, heat) in _HOLES.items()),
        Robin(1.0, 0.1, ("sides",), name="sides"),
        Initial(0.0),
    )
    ansatz: ClassVar[Ansatz] = Ansatz(("initial",), factor=lambda x: x[:, 2] / (0.05 + x[:, 2]))

    def residual(self, u: Function, x: Tensor) -> Tensor:
        _, bent, u_t = evaluate(u, x, [d(0, 0) + d(1, 1), d(2)])
        return u_t - bent

    def build(
        self, network: Callable[[int, int], nn.Module], *, hard: bool = True, harmonics: int = 1
    ) -> nn.Module:
        inner = network(3 + len(_FACES) if hard else 3, 1)
        return Constrained(self, Near(inner) if hard else inner, hard=hard, harmonics=harmonics)

    def solve(self) -> Solution:
        return refined(self, self._heated, (0.3, 0.2), "quadratic triangles, refined")

    def classical(self) -> Iterator[Classical]:
        yield from coarser(self, self._heated, (0.5, 0.35), "quadratic triangles")

    def _heated(self, x: Tensor, width: float) -> Tensor:
        """The points are the same at all times."""
        circles = [
            Star((_SCALE * center[0], _SCALE * center[1]), _SCALE * radius, name=name)
            for name, (centers, radius, _) in _HOLES.items()
            for center in centers
        ]
        outline = Polygon.rectangle((-0.5, -0.75), (0.5, 0.75), ("sides",))
        mesh = meshing.Domain(outline, circles).triangulate(_SCALE * width).mesh(degree=2)
        heat = {name: heat for name, (_, _, heat) in _HOLES.items()} | {"sides": 0.1}
        frames = heat_on_meshes.solve(
            mesh,
            initial=0.0,
            coefficient=_SCALE**2,
            times=times_of(self),
            step=0.05 * width,
            boundary={name: mesh_diffusion.Robin(_SCALE, _SCALE * value) for name, value in heat.items()},
        )["u"].values
        return at(mesh, frames.T, _SCALE * x[x[:, 2] == 0, :2]).reshape(-1, 1)


@describable
@dataclass(frozen=True)
class HeatForLong(Problem):
    """``u_t = 0.001 Laplace(u) + 5 sin(u^2) (1 + 2 sin(pi t / 4)) sin(4 pi x) sin(2 pi y)``, u = 0 outside.

    On the unit square from sin(4 pi x) sin(3 pi y) to t = ``end``: where the source is positive, u grows to
    sqrt(pi), where it is negative it falls to -sqrt(pi), with layers of width 0.01 between.

    Parameters
    ----------
    end : float, positive
        100 by default.

    Notes
    -----
    Source: problem Heat2d-LT of PINNacle, Hao et al., NeurIPS 2024.  Reference: sine modes for the diffusion
    and Runge and Kutta's method for the source in turn (Strang); its error is told as the change from two
    thirds of the modes and twice the step.

    Examples
    --------
    >>> HeatForLong(end=5.0).domain.time
    (0.0, 5.0)
    """

    end: float = 100.0

    equation: ClassVar[str] = r"u_t = 0.001 \Delta u + 5 \sin(u^2) s(x, y, t)"
    source: ClassVar[str] = "Hao et al. (2024), Heat2d-LT"
    grid: ClassVar[tuple[int, ...]] = (33, 33, 101)
    conditions: ClassVar[tuple[Condition, ...]] = (Dirichlet(0.0), Initial(lambda x: _waves(x, 4, 3)))

    @property
    def domain(self) -> Domain:
        return Domain(Box(((0.0, 1.0), (0.0, 1.0))), time=(0.0, self.end))

    @property
    def ansatz(self) -> Ansatz:
        # At most 1: a factor of t would start networks at u = 100, where sin(u^2) has thousands of zeros.
        return Ansatz(
            ("boundary", "initial"),
            lift=lambda x: _waves(x, 4, 3),
            factor=lambda x: 16 * x[:, 0] * (1 - x[:, 0]) * x[:, 1] * (1 - x[:, 1]) * (x[:, 2] / self.end),
        )

    def residual(self, u: Function, x: Tensor) -> Tensor:
        value, bent, u_t = evaluate(u, x, [d(0, 0) + d(1, 1), d(2)])
        swing = 5 * (1 + 2 * torch.sin(math.pi / 4 * x[:, 2]))
        return u_t - 0.001 * bent - swing * torch.sin(value * value) * _waves(x, 4, 2)

    def solve(self) -> Solution:
        x, shape = self.points()
        coarse, fine = self._split(128, 0.02), self._split(192, 0.01)
        error = float((coarse - fine).norm() / fine.norm())
        return Solution(x, fine, error, "sine modes and splitting, refined", shape)

    def classical(self) -> Iterator[Classical]:
        for cells in (64, 96):
            solve = partial(self._split, cells, 2.56 / cells)
            yield Classical("sine modes and splitting", {"cells": cells}, solve)

    def _split(self, cells: int, step: float) -> Tensor:
        """The values at the points of the reference: ``cells`` is a multiple of 32."""
        from scipy.fft import dstn, idstn

        inner = np.arange(1, cells) / cells
        along = [np.sin(k * math.pi * inner) for k in (4, 3, 2)]
        place, u = np.outer(along[0], along[2]), np.outer(along[0], along[1])
        frames = self.grid[2] - 1
        count = math.ceil(self.end / frames / step - 1e-9)
        step = self.end / frames / count
        squares = (math.pi * np.arange(1, cells)) ** 2
        decay = np.exp(-0.001 * step / 2 * (squares[:, None] + squares))

        def rate(u: Float, t: float) -> Float:
            return np.asarray(5 * (1 + 2 * math.sin(math.pi / 4 * t)) * np.sin(u * u) * place)

        def spread(u: Float) -> Float:
            return np.asarray(idstn(decay * dstn(u, type=1), type=1))

        found = []
        for k in range(frames * count + 1):
            if k % count == 0:
                every = cells // (self.grid[0] - 1)
                found.append(np.pad(u, 1)[::every, ::every])
            t = k * step
            u = spread(u)
            one = rate(u, t)
            two = rate(u + step / 2 * one, t + step / 2)
            three = rate(u + step / 2 * two, t + step / 2)
            four = rate(u + step * three, t + step)
            u = spread(u + step / 6 * (one + 2 * two + 2 * three + four))
        return torch.from_numpy(np.stack(found, axis=-1).reshape(-1, 1))


def _waves(x: Tensor, first: int, second: int) -> Tensor:
    return torch.sin(first * math.pi * x[:, 0]) * torch.sin(second * math.pi * x[:, 1])
