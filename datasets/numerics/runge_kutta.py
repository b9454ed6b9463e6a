"""Explicit Runge-Kutta methods with fixed steps for batches of small systems."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sciml.errors import ConfigError

Float = NDArray[np.float64]
Order = Literal[4, 5, 8]


def tableau(order: Order) -> tuple[list[list[float]], list[float]]:
    """Coefficients (a, b) of an explicit method: row i of a has i entries.

    Order 4 is the classical method with 4 stages; 5 and 8 are those of Dormand and Prince with 6 and 12
    stages, from scipy (Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I (1993), II.5).

    Raises
    ------
    ConfigError
        For another order.
    """
    if order == 4:
        return [[], [1 / 2], [0, 1 / 2], [0, 0, 1]], [1 / 6, 1 / 3, 1 / 3, 1 / 6]
    if order not in (5, 8):
        raise ConfigError(f"runge_kutta.tableau: order is 4, 5 or 8, got {order}.")
    from scipy.integrate import DOP853, RK45

    method = RK45 if order == 5 else DOP853
    stages = int(method.n_stages)
    rows = [[float(a) for a in method.A[i, :i]] for i in range(stages)]
    return rows, [float(b) for b in method.B[:stages]]


def integrate(
    rate: Callable[[Float], Float],
    initial: Float,
    times: Sequence[float],
    *,
    step: float = math.inf,
    order: Order = 8,
) -> Float:
    """Frames (len(times), *initial.shape) of y' = rate(y), hit by whole steps of equal length.

    Parameters
    ----------
    rate : callable
        Of arrays like ``initial``.  If it works value by value over the samples, so does the method, and the
        bits of a sample do not depend on the others.
    initial : array
        At ``times[0]``.
    times : increasing
    step : float, positive
        Longest step; by default one from frame to frame.
    order : 4, 5 or 8
        See `tableau`.

    Returns
    -------
    array
        A sample that blows up is infinite or NaN.

    Examples
    --------
    >>> y = integrate(lambda y: -y, np.array([1.0, 2.0]), [0.0, 1.0], step=0.1)
    >>> bool(np.allclose(y[1], [np.exp(-1), 2 * np.exp(-1)], rtol=1e-14))
    True
    """
    rows, weights = tableau(order)
    frames = np.empty((len(times), *initial.shape))
    frames[0] = y = initial
    with np.errstate(over="ignore", invalid="ignore"):
        for j in range(1, len(times)):
            duration = times[j] - times[j - 1]
            count = max(1, math.ceil(duration / step * (1 - 1e-9)))
            for _ in range(count):
                y = _advance(rate, y, duration / count, rows, weights)
            frames[j] = y
    return frames


def _advance(
    rate: Callable[[Float], Float], y: Float, h: float, rows: list[list[float]], weights: list[float]
) -> Float:
    slopes: list[Float] = []
    for row in [*rows, weights]:
        value = y
        for a, slope in zip(row, slopes, strict=True):
            if a:
                value = value + (h * a) * slope
        if len(slopes) < len(weights):
            slopes.append(rate(value))
    return value
