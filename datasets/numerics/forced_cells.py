"""Forced Burgers and Korteweg-de Vries flow on a circle, in averages over cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.numerics.conservation import advection_change
from sciml.datasets.numerics.pseudo_spectral import Modes
from sciml.datasets.numerics.semilinear import Semilinear
from sciml.errors import ShapeError
from sciml.grid import Grid

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]


def sines(grid: Grid, terms: Float) -> Callable[[float], Float]:
    """Cell averages of delta at a time, for A, w, k, p of shape (4, 5, n, 1, 1): (n, 1, cells)."""
    a, w, k, p = terms
    half = k * grid.axes[0].spacing / 2
    a = a * np.sin(half) / half  # the average of a sine over a cell
    angle = k * grid.axes[0].coordinates + p
    sine, cosine = a * np.sin(angle), a * np.cos(angle)

    @lru_cache(maxsize=1)  # a step asks twice for its middle, and for its end, where the next one begins
    def at(time: float) -> Float:
        turns = [np.cos(w[j] * time) * sine[j] + np.sin(w[j] * time) * cosine[j] for j in range(len(a))]
        return np.asarray(sum(turns[1:], turns[0]))

    return at


def system_of(
    grid: Grid,
    alpha: Float | float,
    beta: Float | float,
    gamma: Float | float,
    forcing: Callable[[float], Float] | None,
) -> Semilinear:
    """The equation for cell averages; derivatives of averages are averages of derivatives."""
    axis = grid.axes[0]
    modes = Modes(Grid((replace(axis, location="node"),)), degree=1)

    def rate(coefficients: Complex, time: float) -> Complex:
        change = -advection_change(modes.to_values(coefficients), alpha, axis.spacing)
        return modes.to_modes(change if forcing is None else change + forcing(time))

    return Semilinear(modes, beta * modes.laplacian - gamma * modes.derivative(0, 3), rate)


def averages(grid: Grid, function: Callable[[float, Float], ArrayLike], time: float) -> Float:
    """Over the cells of one axis, by Gauss's rule with four points."""
    axis = grid.axes[0]
    points, weights = np.polynomial.legendre.leggauss(4)
    found = np.zeros(axis.size)
    for point, weight in zip(points, weights, strict=True):
        values = np.asarray(function(time, axis.coordinates + point * axis.spacing / 2), dtype=np.float64)
        if values.shape not in ((), found.shape):
            raise ShapeError(
                f"forced_burgers.solve: functions of x must return shape {found.shape}, got {values.shape}."
            )
        found += weight / 2 * values
    return found
