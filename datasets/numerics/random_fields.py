"""Gaussian random fields on boxes, the same function at every resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.grid import Axis, Grid

Float = NDArray[np.float64]
Boundary = Literal["periodic", "neumann", "dirichlet"]


@describable
@dataclass(frozen=True)
class GaussianField:
    r"""The centered Gaussian field with covariance sigma^2 (-Laplacian + tau^2)^(-alpha) on a box.

    With the orthonormal eigenfunctions phi_k of the Laplacian under the chosen boundary condition and their
    eigenvalues mu_k, the field is the Karhunen-Loeve sum

        g(x) = sum_k sqrt(lambda_k) xi_k phi_k(x),  lambda_k = sigma^2 (mu_k + tau^2)^(-alpha),  xi_k ~ N(0,
        1),

    a product of one-dimensional functions over the axes, each on an interval of length L:

    ==========  =================================================  ========================
    boundary    one-dimensional phi, times L^(-1/2)                mu
    ==========  =================================================  ========================
    periodic    1, sqrt(2) cos(2 pi j s), sqrt(2) sin(2 pi j s)    (2 pi j / L)^2, j < modes
    neumann     1, sqrt(2) cos(pi j s)                             (pi j / L)^2, j < modes
    dirichlet   sqrt(2) sin(pi j s)                                (pi j / L)^2, 1 <= j <= modes
    ==========  =================================================  ========================

    with s = (x - lower) / L.  Real functions with one N(0, 1) each avoid the two classical traps of complex
    coefficients: a variance wrong by 2, and half spectra that are not Hermitian on the zero line.

    Parameters
    ----------
    alpha : float
        Smoothness; samples have about alpha - rank/2 derivatives.  A finite variance needs ``alpha > rank /
        2``.
    tau : float, unit 1/[x]
        Inverse correlation length.  ``tau = 0`` needs ``zero_mean`` or "dirichlet".
    sigma : float
        Multiplies the standard deviation.
    boundary : "periodic", "neumann" or "dirichlet"
        The boundary condition of the Laplacian, on all axes.
    modes : int
        Wave numbers kept on every axis.  Independent of the grid, and the coefficients are drawn in shells of
        equal max(j): a sample is one function that any grid evaluates, and more modes only add finer detail.
    zero_mean : bool
        Leave out the constant function, so that every sample has mean zero.  "dirichlet" has none.

    Notes
    -----
    The sum is evaluated at the points of the grid by one small matrix product per axis: exact for cells,
    nodes and odd sizes, and, unlike truncated fast transforms, also on grids too coarse to resolve the last
    modes (which then appear as they would to anyone who samples the function).  Cost modes^rank * size per
    sample. The convention "eigenvalues tau^(2 alpha - 2) (pi^2 |k|^2 + tau^2)^(-alpha)" of the
    two-dimensional Darcy benchmark (Li et al. 2021, arXiv:2010.08895) is ``sigma = tau**(alpha - 1)`` here.

    Source: Lord, Powell and Shardlow, *An Introduction to Computational Stochastic PDEs* (2014), chapter 7.

    Raises
    ------
    ConfigError
        If a parameter is out of range, or the rank of the grid is too high for ``alpha``.

    Examples
    --------
    >>> field = GaussianField(alpha=2.0, tau=3.0, boundary="neumann", zero_mean=True)
    >>> coarse = field.sample([1, 2], Grid.box((5, 5)))
    >>> fine = field.sample([1, 2], Grid.box((15, 15)))
    >>> coarse.shape, bool(np.allclose(fine[:, 1::3, 1::3], coarse, atol=1e-14))
    ((2, 5, 5), True)
    """

    alpha: float = 2.0
    tau: float = 3.0
    sigma: float = 1.0
    boundary: Boundary = "periodic"
    modes: int = 64
    zero_mean: bool = False

    def __post_init__(self) -> None:
        if self.boundary not in get_args(Boundary):
            raise ConfigError(
                f"GaussianField: boundary is one of {get_args(Boundary)}, got {self.boundary!r}."
            )
        if self.modes < 1 or self.tau < 0 or self.sigma <= 0 or self.alpha <= 0:
            raise ConfigError(
                "GaussianField: needs modes >= 1, tau >= 0, sigma > 0, alpha > 0, got "
                f"modes={self.modes}, tau={self.tau}, sigma={self.sigma}, alpha={self.alpha}."
            )
        if self.tau == 0 and not self.zero_mean and self.boundary != "dirichlet":
            raise ConfigError(
                "GaussianField: tau = 0 gives the constant function an infinite variance; set zero_mean=True."
            )
        if self.zero_mean and self.boundary == "dirichlet":
            raise ConfigError(
                "GaussianField: the Dirichlet Laplacian has no constant eigenfunction; leave zero_mean=False."
            )

    def sample(self, seeds: Sequence[int], grid: Grid) -> Float:
        """One field per seed, (len(seeds), *grid.shape), float64.

        A sample depends on its own seed only, not on its neighbors in the batch.
        """
        amplitudes = self._amplitudes(grid)
        order = _shell_order(self.boundary, self.modes, grid.rank)
        coefficients = np.empty((len(seeds), amplitudes.size))
        for row, seed in zip(coefficients, seeds, strict=True):
            row[order] = np.random.default_rng(seed).standard_normal(amplitudes.size)
        values = coefficients.reshape(len(seeds), *amplitudes.shape) * amplitudes
        for i, axis in enumerate(grid.axes):
            # One product per sample, of a shape that does not know the batch: equal bits in any batch.
            shape = values.shape
            flat = np.moveaxis(values, i + 1, 1).reshape(len(seeds), shape[i + 1], -1)
            product = np.matmul(self._basis(axis), flat)
            rest = shape[1 : i + 1] + shape[i + 2 :]
            values = np.moveaxis(product.reshape(len(seeds), axis.size, *rest), 1, i + 1)
        return np.ascontiguousarray(values)

    def covariance(self, grid: Grid, point: Sequence[int]) -> Float:
        """Exact covariance of the truncated sum between the point of index ``point`` and all, (*shape)."""
        values = self._amplitudes(grid) ** 2
        for i, axis in enumerate(grid.axes):
            basis = self._basis(axis)
            values = np.moveaxis(np.tensordot(basis * basis[point[i]], values, axes=(1, i)), 0, i)
        return values

    def variance(self, grid: Grid) -> Float:
        """Exact pointwise variance of the truncated sum, (*shape)."""
        values = self._amplitudes(grid) ** 2
        for i, axis in enumerate(grid.axes):
            values = np.moveaxis(np.tensordot(self._basis(axis) ** 2, values, axes=(1, i)), 0, i)
        return values

    def _amplitudes(self, grid: Grid) -> Float:
        """Standard deviations sqrt(lambda_k) of the coefficients, one axis of waves per grid axis."""
        if self.alpha <= grid.rank / 2:
            raise ConfigError(
                f"GaussianField: alpha must exceed rank/2 = {grid.rank / 2:g}, got {self.alpha:g}. The "
                "variance would grow without bound as modes are added."
            )
        step = 2 * math.pi if self.boundary == "periodic" else math.pi
        squares = [(step * self._waves() / (axis.upper - axis.lower)) ** 2 for axis in grid.axes]
        eigenvalues = np.asarray(reduce(np.add.outer, squares) + self.tau**2, dtype=np.float64)
        origin = (0,) * grid.rank
        if self.zero_mean:
            eigenvalues[origin] = 1.0
        amplitudes = self.sigma * eigenvalues ** (-self.alpha / 2)
        if self.zero_mean:
            amplitudes[origin] = 0.0
        return amplitudes

    def _basis(self, axis: Axis) -> Float:
        """Orthonormal eigenfunctions at the points of the axis, (size, waves)."""
        length = axis.upper - axis.lower
        s = (axis.coordinates - axis.lower)[:, None] / length
        waves = self._waves()
        if self.boundary == "dirichlet":
            return math.sqrt(2 / length) * np.sin(math.pi * s * waves)
        if self.boundary == "neumann":
            basis = math.sqrt(2 / length) * np.cos(math.pi * s * waves)
        else:
            angles = 2 * math.pi * s * waves
            odd = np.arange(waves.size) % 2 == 1
            basis = math.sqrt(2 / length) * np.where(odd, np.cos(angles), np.sin(angles))
        basis[:, 0] = math.sqrt(1 / length)
        return basis

    def _waves(self) -> NDArray[np.int64]:
        """Wave numbers of the one-dimensional functions; periodic: 0, 1, 1, 2, 2, .. (cosine, sine)."""
        if self.boundary == "periodic":
            return (np.arange(2 * self.modes - 1) + 1) // 2
        return np.arange(self.modes) + (1 if self.boundary == "dirichlet" else 0)


@lru_cache(maxsize=8)
def _shell_order(boundary: Boundary, modes: int, rank: int) -> NDArray[np.int64]:
    """Positions in the flattened block of coefficients, shells of equal largest wave number first to last.

    Inside a shell the lexicographic order of the block, which does not depend on ``modes`` either.
    """
    waves = GaussianField(boundary=boundary, modes=modes)._waves()
    shells = reduce(np.maximum.outer, [waves] * rank)
    order = np.argsort(shells, axis=None, kind="stable")
    order.setflags(write=False)
    return order
