"""Darcy: the scheme of `EllipticSolver`, one sample at a time, with the sparse solver of SciPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import idctn
from scipy.sparse import diags_array
from scipy.sparse.linalg import spsolve

from sciml.datasets.bench.timing import Race
from sciml.datasets.darcy import Darcy

Float = NDArray[np.float64]


class PlainLoop:
    """One sample at a time: a cosine transform for the medium, five diagonals, and ``spsolve``.

    Of the orders of elimination that ``spsolve`` offers, minimum degree on A + A^T ("MMD_AT_PLUS_A") is the
    fastest for this matrix, faster than the default ("COLAMD").  What does not depend on the sample is done
    once.  The medium has as many modes as the grid has cells per axis: so must ``darcy``.
    """

    def __init__(self, darcy: Darcy, order: str) -> None:
        self.darcy, self.n, self.order = darcy, darcy.resolution, order
        waves = np.arange(self.n)
        eigenvalues = math.pi**2 * (waves[:, None] ** 2 + waves**2) + darcy.tau**2
        self.deviations: Float = self.n * darcy.tau ** (darcy.alpha - 1) * eigenvalues ** (-darcy.alpha / 2)
        self.deviations[0, 0] = 0.0
        # The draws come in squares of growing size, so that a seed means the same medium on every grid.
        shells = np.maximum(waves[:, None], waves)
        self.places = np.argsort(shells, axis=None, kind="stable")
        self.load = np.full(self.n**2, darcy.source / self.n**2)

    def sample(self, seed: int) -> Float:
        """The pressure, (n, n)."""
        draws = np.empty(self.n**2)
        draws[self.places] = np.random.default_rng(seed).standard_normal(self.n**2)
        modes = draws.reshape(self.n, self.n) * self.deviations
        field = idctn(modes, norm="ortho", overwrite_x=True)
        a = np.where(field >= self.darcy.threshold, self.darcy.high, self.darcy.low)
        u: Float = spsolve(self.matrix(a), self.load, permc_spec=self.order)
        return u.reshape(self.n, self.n)

    def matrix(self, a: Float) -> Any:
        """Harmonic means on the faces between cells; the walls are half a cell away from centers."""
        n, half = self.n, 0.5 / a
        x, y = np.empty((n + 1, n)), np.zeros((n, n + 1))
        np.divide(1.0, half[:-1] + half[1:], out=x[1:-1])
        np.divide(1.0, half[:, :-1] + half[:, 1:], out=y[:, 1:-1])
        x[0], x[-1], y[:, 0], y[:, -1] = 1 / half[0], 1 / half[-1], 1 / half[:, 0], 1 / half[:, -1]
        diagonal = x[:-1] + x[1:] + y[:, :-1] + y[:, 1:]
        beside = -y[:, 1:]
        beside[:, -1] = 0.0  # the last cell of a row is no neighbor of the first of the next one
        above, beside = -x[1:-1].ravel(), beside.ravel()[:-1]
        diagonals = [diagonal.ravel(), beside, beside, above, above]
        return diags_array(diagonals, offsets=[0, 1, -1, n, -n]).tocsc()


def race(quick: bool, order: str = "MMD_AT_PLUS_A") -> Race:
    """128 x 128 cells of two materials; ``order`` of elimination in the plain loop."""
    darcy = Darcy(resolution=16, modes=16) if quick else Darcy(resolution=128)
    return Race(
        caption=(
            f"Permeability ({darcy.low:g} or {darcy.high:g}) and pressure on {darcy.resolution} x "
            f"{darcy.resolution} cells, from the seed to the solution; finite volumes, float64, one thread. "
            "The plain loop makes one sample at a time with scipy.fft.idctn and scipy.sparse.linalg.spsolve("
            f"permc_spec={order!r})."
        ),
        plain=PlainLoop(darcy, order).sample,
        ours=lambda seeds: darcy.sample(seeds)[1],
        samples=2 if quick else 16,
    )
