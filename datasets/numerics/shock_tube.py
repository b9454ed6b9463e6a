"""The exact solution of the shock tube: where two states of a perfect gas meet at time 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.errors import ConfigError, DataError, ShapeError

Float = NDArray[np.float64]


def riemann(
    left: Sequence[float], right: Sequence[float], speed: ArrayLike, *, gamma: float = 1.4
) -> tuple[Float, Float, Float]:
    """The exact solution of a shock tube along x / t = ``speed``.

    Parameters
    ----------
    left, right : (density, velocity, pressure)
        At time 0 for x < 0 and x > 0; positive densities and pressures.
    speed : number or array
        x / t.
    gamma : float
        Ratio of specific heats, above 1.

    Returns
    -------
    density, velocity, pressure : arrays
        Of the shape of ``speed``.

    Raises
    ------
    ShapeError
        If a state has not three numbers.
    ConfigError
        If ``gamma`` is not above 1.
    DataError
        If a density or pressure is not positive, or the states part so fast that a vacuum opens.

    Notes
    -----
    The pressure between the waves is the root of the concave function of Toro (2009), section 4.3, which
    Newton's method reaches from one side; the waves follow as in section 4.5.

    Examples
    --------
    Sod's tube (1978); x = 0.1 at time 0.2 lies between contact and rarefaction:

    >>> density, velocity, pressure = riemann((1.0, 0.0, 1.0), (0.125, 0.0, 0.1), 0.5)
    >>> round(density.item(), 5), round(velocity.item(), 5), round(pressure.item(), 5)
    (0.42632, 0.92745, 0.30313)
    """
    if len(left) != 3 or len(right) != 3:
        raise ShapeError(f"riemann: states are (density, velocity, pressure), got {left} and {right}.")
    if not 1 < gamma < math.inf:
        raise ConfigError(f"riemann: needs gamma > 1, got {gamma}.")
    (rl, ul, pl), (rr, ur, pr) = left, right
    if not (all(value > 0 for value in (rl, pl, rr, pr)) and math.isfinite(sum((*left, *right)))):
        raise DataError(
            f"riemann: densities and pressures are positive, all finite, got {tuple(left)}, {tuple(right)}."
        )
    g = gamma
    cl, cr = math.sqrt(g * pl / rl), math.sqrt(g * pr / rr)
    if 2 / (g - 1) * (cl + cr) <= ur - ul:
        raise DataError(f"riemann: a vacuum opens between {tuple(left)} and {tuple(right)}.")

    def wave(p: float, r: float, p0: float, c: float) -> tuple[float, float]:
        """Change of velocity across the wave from p0 to p, and its derivative."""
        if p > p0:  # shock
            a, b = 2 / ((g + 1) * r), (g - 1) / (g + 1) * p0
            root = math.sqrt(a / (p + b))
            return (p - p0) * root, root * (1 - (p - p0) / (2 * (p + b)))
        ratio = p / p0
        return 2 * c / (g - 1) * (ratio ** ((g - 1) / (2 * g)) - 1), ratio ** (-(g + 1) / (2 * g)) / (r * c)

    z = (g - 1) / (2 * g)
    p = ((cl + cr - (g - 1) / 2 * (ur - ul)) / (cl / pl**z + cr / pr**z)) ** (1 / z)  # two rarefactions
    for _ in range(100):
        (fl, dl), (fr, dr) = wave(p, rl, pl, cl), wave(p, rr, pr, cr)
        new = max(p - (fl + fr + ur - ul) / (dl + dr), 1e-3 * p)
        p, change = new, abs(new - p)
        if change <= 4e-16 * p:
            break
    u = (ul + ur + wave(p, rr, pr, cr)[0] - wave(p, rl, pl, cl)[0]) / 2
    xi = np.asarray(speed, dtype=np.float64)
    # The right half is the left half seen in a mirror.
    sides = [
        _half_tube(s * xi, r, s * v, q, p, s * u, g) for s, r, v, q in ((1, rl, ul, pl), (-1, rr, ur, pr))
    ]
    density, velocity, pressure = (np.where(xi <= u, a, b) for a, b in zip(*sides, strict=True))
    return density, np.where(xi <= u, 1, -1) * velocity, pressure


def _half_tube(
    xi: Float, r: float, u: float, p: float, middle: float, contact: float, g: float
) -> tuple[Float, Float, Float]:
    """Density, velocity, pressure left of the contact, where (r, u, p) meets pressure ``middle``."""
    c = math.sqrt(g * p / r)
    k = (g - 1) / (g + 1)
    ratio = middle / p
    if ratio > 1:  # shock
        shock = u - c * math.sqrt((g + 1) / (2 * g) * ratio + (g - 1) / (2 * g))
        outside = xi < shock
        inner = r * (ratio + k) / (k * ratio + 1)
        found = [np.where(outside, a, b) for a, b in ((r, inner), (u, contact), (p, middle))]
    else:
        inner = r * ratio ** (1 / g)
        head, tail = u - c, contact - c * ratio ** ((g - 1) / (2 * g))
        inside = np.clip(xi, head, tail)  # the fan, constant outside of it
        fan = 2 / (g + 1) + k / c * (u - inside)
        velocity = 2 / (g + 1) * (c + (g - 1) / 2 * u + inside)
        found = [r * fan ** (2 / (g - 1)), velocity, p * fan ** (2 * g / (g - 1))]
    return found[0], found[1], found[2]
