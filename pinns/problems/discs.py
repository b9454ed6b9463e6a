"""Laplace's equation in a square around four discs."""

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
from sciml.kernels.differential import laplacian
from sciml.pinns.ansatz import ansatz_for
from sciml.pinns.conditions import Dirichlet, Function
from sciml.pinns.csg import Difference
from sciml.pinns.domain import Ball, Box, Domain
from sciml.pinns.problem import Ansatz, Classical, Estimate, Problem, Solution

Complex = NDArray[np.complex128]

_HALF, _CENTER, _RADIUS = 0.5, 0.3, 0.1
_ORDER = 24  # of the poles in a center
_CENTERS = [(x, y) for x in (-_CENTER, _CENTER) for y in (-_CENTER, _CENTER)]


@describable
@dataclass(frozen=True)
class FourDiscs(Problem):
    r"""``u_xx + u_yy = 0`` on (-0.5, 0.5)^2 without the discs of radius 0.1 about (+-0.3, +-0.3).

    u = 1 on the sides of the square and 0 on the circles.

    Notes
    -----
    Source: problem Poisson2d-C of PINNacle, Hao et al., NeurIPS 2024.  Reference: poles in the centers of the
    discs and of their mirror images beyond the sides, and a harmonic polynomial, with the symmetries of the
    square, fitted to the boundary.  Such a sum is harmonic, so nowhere is it further from the solution than
    somewhere on the boundary, 2e-14: but for rounding that is a proof.

    Examples
    --------
    >>> problem = FourDiscs()
    >>> problem.satisfied(), problem.reference().error < 1e-11
    (('box', 'discs'), True)
    """

    equation: ClassVar[str] = r"\Delta u = 0"
    source: ClassVar[str] = "Hao et al. (2024), Poisson2d-C"
    domain: ClassVar[Domain] = Domain(
        Difference(
            Box(((-_HALF, _HALF), (-_HALF, _HALF))), tuple(Ball(2, _RADIUS, place) for place in _CENTERS)
        )
    )
    conditions: ClassVar[tuple[Dirichlet, Dirichlet]] = (
        Dirichlet(1.0, ("0-", "0+", "1-", "1+"), name="box"),
        Dirichlet(0.0, ("sphere",), name="discs"),
    )

    @property
    def ansatz(self) -> Ansatz:
        return _ansatz()

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        return laplacian(u, x, **estimate)

    def solve(self) -> Solution:
        x, shape = self.points()
        values = self._values(x, _ORDER)
        error = _fitted(_ORDER)[1] * math.sqrt(len(values)) / float(values.norm())
        return Solution(x, values, error, "poles and mirror images, certified on the boundary", shape)

    def classical(self) -> Iterator[Classical]:
        for order in (1, 2, 4, 8):
            solve = partial(self._values, self.points()[0], order)
            yield Classical("poles and mirror images", {"order": order}, solve)

    def _values(self, x: Tensor, order: int) -> Tensor:
        place = x[:, 0].numpy() + 1j * x[:, 1].numpy()
        return torch.from_numpy(_harmonics(place, order) @ _fitted(order)[0])[:, None]


@lru_cache
def _ansatz() -> Ansatz:
    return ansatz_for(FourDiscs.domain, FourDiscs.conditions)


@lru_cache
def _fitted(order: int) -> tuple[NDArray[np.float64], float]:
    """The coefficients, and the largest misfit on a boundary five times as fine."""
    matrix, wanted = _boundary(10 * order, order)
    found = np.asarray(np.linalg.lstsq(matrix, wanted, rcond=1e-15)[0], dtype=np.float64)
    matrix, wanted = _boundary(50 * order, order)
    return found, float(np.abs(matrix @ found - wanted).max())


def _boundary(count: int, order: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The harmonics on half a side and on one circle, the rest being their images, and what u is there."""
    side = _HALF + _HALF * 1j * np.linspace(0.0, 1.0, count)
    circle = _CENTER * (1 + 1j) + _RADIUS * np.exp(2j * math.pi * np.arange(count) / count)
    return _harmonics(np.concatenate([side, circle]), order), np.repeat([1.0, 0.0], count)


def _harmonics(z: Complex, order: int) -> NDArray[np.float64]:
    """Harmonic functions with the symmetries of the square, (n, functions)."""
    turned = [z, 1j * z, -z, -1j * z]
    images = np.stack([*turned, *(w.conj() for w in turned)])
    columns = [np.ones(len(z))]
    mirrored = 2 * _HALF - _CENTER  # beyond a side
    for center in (_CENTER * (1 + 1j), mirrored + _CENTER * 1j, mirrored * (1 + 1j)):
        away = (images - center) / _RADIUS
        columns.append(np.log(np.abs(away)).sum(0))
        for power in range(1, order + 1):
            pole = (away**-power).sum(0)
            columns += [pole.real, pole.imag]
    # Degrees that a quarter of a turn leaves alone, up to about twice the order; 0.75 is beyond the corners.
    columns += [((z / 0.75) ** (4 * k)).real for k in range(1, order // 2 + 2)]
    return np.stack(columns, axis=1)
