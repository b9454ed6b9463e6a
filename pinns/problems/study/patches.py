"""Poisson's equation in the study: on 25 patches of different conductivity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sciml.datasets import poisson
from sciml.datasets.numerics import mesh_diffusion
from sciml.datasets.numerics.meshing import Triangulation
from sciml.description import describable
from sciml.kernels.derivatives import d
from sciml.kernels.differential import laplacian
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Condition, Function, Robin
from sciml.pinns.domain import Box, Domain, Source
from sciml.pinns.networks.kinked import Kinked
from sciml.pinns.problem import Classical, Estimate, Problem, Solution
from sciml.pinns.problems.study.meshes import Float, at, coarser, refined
from sciml.pinns.unknowns import NetworkFactory

_PATCHES, _HALF = 5, 10.0
_SIZE = 2 * _HALF / _PATCHES
_LINES = tuple(-_HALF + _SIZE * k for k in range(1, _PATCHES))  # where patches meet, on both axes

# Random numbers of the source, to six digits: x goes down, y to the right.
_CONDUCTIVITY = (
    (46.1173, 0.597328, 0.292271, 1.26276, 0.144562),
    (12.7181, 1.46975, 82.5802, 0.236118, 0.321258),
    (0.987068, 9.05693, 87.936, 0.131913, 66.2485),
    (6.94013, 1.71437, 1.88294, 0.477755, 12.2678),
    (65.9532, 22.7651, 5.14951, 10.5173, 6.48501),
)
_MEAN = (
    (-0.539145, -0.37768, 0.959389, 0.239579, 0.52985),
    (-0.875422, 0.920059, 0.230218, 0.126419, -0.805553),
    (0.311825, -0.123976, 0.755886, -0.056908, -0.968498),
    (-0.40548, 0.892861, 0.439458, -0.8038, 0.50878),
    (0.635646, -0.43482, -0.832342, -0.778839, 0.178579),
)
_BUMP = (
    (-0.829375, 0.114282, 0.586444, -0.937095, 0.424731),
    (0.477917, -0.369079, 0.339628, 0.324125, 0.265265),
    (0.663016, -0.07972, -0.760394, 0.105132, -0.058647),
    (0.076138, -0.18602, 0.049058, -0.413411, 0.224806),
    (-0.782512, -0.635846, 0.884609, 0.677474, -0.984831),
)


@describable
@dataclass(frozen=True)
class Interfaces(Condition):
    """What flows out of one patch flows into the next: ``a u_n`` is the same on both sides of their lines.

    Slopes are taken a little to both sides, a 1e-6 of a patch.  The difference of the fluxes is divided by
    the root of the mean a, see `PoissonInPatches`.

    Parameters
    ----------
    name : str
        Of the term in the loss.
    """

    name: str = "interfaces"
    component = 0

    def rows(self, domain: Domain, source: Source, count: int) -> Tensor:
        unit = source(count, 2)
        line = (unit[:, 0] * 2 * len(_LINES)).long().clamp(max=2 * len(_LINES) - 1)
        across = torch.tensor(_LINES, dtype=unit.dtype)[line % len(_LINES)]
        along = _HALF * (2 * unit[:, 1] - 1)
        upright = (line < len(_LINES)).to(unit.dtype)[:, None]
        places = torch.stack([across, along], dim=1)
        normal = torch.cat([upright, 1 - upright], dim=1)
        return torch.cat([upright * places + (1 - upright) * places.flip(1), normal], dim=1)

    def residual(self, u: Function, rows: Tensor, domain: Domain) -> Tensor:
        x, normal = rows[:, :2], rows[:, 2:]
        step = 1e-6 * _SIZE * normal
        sides = torch.cat([x - step, x + step])
        _, u_x, u_y = evaluate(u, sides, [d(0), d(1)])
        across = torch.cat([normal, normal])
        a = conductivity(sides)
        flux = a * (u_x * across[:, 0] + u_y * across[:, 1])
        n = len(rows)
        return (flux[:n] - flux[n:]) / (a[:n] * a[n:]) ** 0.25


@describable
@dataclass(frozen=True)
class PoissonInPatches(Problem):
    """``-div(a grad u) = f`` on (-10, 10)^2, ``u_n + u = 0`` on the sides, a constant in each of 25 squares.

    In patch i, j of size 4, ``f = m_ij + b_ij sin(pi s) sin(pi t)`` with s and t from 0 to 1 across it.  The
    constants a, from 0.13 to 88, m and b are random numbers of the source.

    Notes
    -----
    Source: problem Poisson2d-MS of PINNacle, Hao et al., NeurIPS 2024, corrected: there the network is smooth
    and nothing is asked for where patches meet, so its equation has another solution than its reference.
    Here the flux is continuous (`Interfaces`), and the network sees the distances from the lines between
    patches, so that it may have the kinks that the solution has.  Reference: linear triangles aligned with
    the patches.

    Examples
    --------
    >>> [c.name for c in PoissonInPatches().conditions]
    ['boundary', 'interfaces']
    """

    equation: ClassVar[str] = r"-\nabla \cdot (a \nabla u) = f"
    source: ClassVar[str] = "Hao et al. (2024), Poisson2d-MS, with continuous flux"
    grid: ClassVar[tuple[int, ...]] = (81, 81)
    domain: ClassVar[Domain] = Domain(Box(((-_HALF, _HALF), (-_HALF, _HALF))))
    conditions: ClassVar[tuple[Condition, ...]] = (Robin(1.0, 0.0), Interfaces())
    natural: ClassVar[tuple[str, ...]] = ("interfaces",)

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        a = conductivity(x)
        # As the energy of an error weighs it: without the root, u hardly counted where a is small.
        return (a * laplacian(u, x, **estimate) + supply(x)) / a.sqrt()

    def conductivity(self, x: Tensor) -> Tensor:
        """a at points (n, 2), (n,)."""
        return conductivity(x)

    def carried(self, x: Tensor) -> Tensor:
        """A flux (n, 2) with the divergence -f: half of what f adds up to along x, and half along y."""
        return torch.stack([_added_up(x, 0), _added_up(x, 1)], dim=1) / -2

    def build(self, network: NetworkFactory, *, hard: bool = True, harmonics: int = 1) -> nn.Module:
        return super().build(kinked(network) if hard else network, hard=hard, harmonics=harmonics)

    def solve(self) -> Solution:
        return refined(self, _potential, (0.125, 0.0625), "linear triangles, refined")

    def classical(self) -> Iterator[Classical]:
        yield from coarser(self, _potential, (1.0, 0.5, 0.25), "linear triangles")


def kinked(network: NetworkFactory) -> NetworkFactory:
    """Networks whose slopes may jump on the lines between the patches."""
    return partial(Kinked, places=(tuple(line / _HALF for line in _LINES),) * 2, network=network)


def conductivity(x: Tensor) -> Tensor:
    """a at points (n, 2), (n,)."""
    return _at(_CONDUCTIVITY, x)


def supply(x: Tensor) -> Tensor:
    """f at points (n, 2), (n,)."""
    part = (x + _HALF) / _SIZE
    bump = torch.sin(math.pi * (part - part.floor())).prod(1)
    return _at(_MEAN, x) + _at(_BUMP, x) * bump


def _added_up(x: Tensor, axis: int) -> Tensor:
    """The integral of f along a coordinate, from the side to points (n, 2), (n,)."""
    place = (x.detach() + _HALF) / _SIZE
    patch = place.long().clamp(0, _PATCHES - 1)
    row, column = patch[:, axis], patch[:, 1 - axis]
    along, across = (place - patch).to(x.dtype)[:, [axis, 1 - axis]].T
    mean, bump = (torch.tensor(table, dtype=x.dtype, device=x.device) for table in (_MEAN, _BUMP))
    if axis == 1:
        mean, bump = mean.T, bump.T
    arch = (1 - torch.cos(math.pi * along)) / math.pi
    # Whole patches before, each with 2 / pi of its bump, and the part of this one.
    means = (mean.cumsum(0) - mean)[row, column] + along * mean[row, column]
    bumps = 2 / math.pi * (bump.cumsum(0) - bump)[row, column] + arch * bump[row, column]
    total: Tensor = _SIZE * (means + torch.sin(math.pi * across) * bumps)
    return total


def _at(table: tuple[tuple[float, ...], ...], x: Tensor) -> Tensor:
    patch = ((x.detach() + _HALF) / _SIZE).long().clamp(0, _PATCHES - 1)
    return torch.tensor(table, dtype=x.dtype, device=x.device)[patch[:, 0], patch[:, 1]]


def _potential(x: Tensor, width: float) -> Tensor:
    # Drawn together at the lines, in whose crossings the solution is least smooth.
    count = round(_SIZE / width)
    part = np.linspace(-1.0, 1.0, count + 1)
    graded = 0.5 * (1 + np.sign(part) * (1 - (1 - np.abs(part)) ** 2))
    nodes = np.concatenate([[-_HALF], *(-_HALF + _SIZE * (k + graded[1:]) for k in range(_PATCHES))])
    mesh = Triangulation.lattice(nodes, nodes, ("side",)).mesh()

    def values(function: Function) -> Callable[..., Float]:
        def of(x: Float, y: Float) -> Float:
            points = torch.from_numpy(np.stack([np.ravel(x), np.ravel(y)], axis=1))
            return function(points).numpy().reshape(np.shape(x))

        return of

    u = poisson.solve(
        mesh,
        coefficient=values(conductivity),
        source=values(supply),
        boundary={"side": mesh_diffusion.Robin(values(conductivity), 0.0)},
    )["u"].values
    return at(mesh, u, x).reshape(-1, 1)
