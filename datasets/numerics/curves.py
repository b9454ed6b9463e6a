"""Closed plane curves, known exactly: polygons and stars, and the grading of meshes toward a point."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sciml.errors import ConfigError, ShapeError

Float = NDArray[np.float64]

_DENSE = 2048  # points of a star from which its length is found


class Curve(Protocol):
    """A closed curve without crossings, passed counter-clockwise by a parameter of some period."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of its sides; side i lies between the parameters i and i + 1, if there are several."""
        ...

    @property
    def period(self) -> float:
        """Of the parameter."""
        ...

    def at(self, parameter: Float) -> Float:
        """Points (n, 2)."""
        ...

    def split(self, spacing: float) -> Float:
        """Increasing parameters of points at most ``spacing`` apart, corners among them."""
        ...

    def contains(self, points: Float) -> NDArray[np.bool_]:
        """Whether points (n, 2) lie inside."""
        ...

    def area(self) -> float:
        """Of the inside."""
        ...


@dataclass(frozen=True)
class Polygon:
    """Straight sides between corners, counter-clockwise.

    Parameters
    ----------
    corners : (n, 2)
    names : sequence of str
        Of the sides; side i runs from corner i to the next one.  One name for all is enough.

    Raises
    ------
    ShapeError
        If corners or names do not fit.
    ConfigError
        If the corners run clockwise.

    Examples
    --------
    >>> Polygon.rectangle((0.0, 0.0), (2.0, 1.0)).area()
    2.0
    """

    corners: Any
    names: tuple[str, ...] = ("wall",)

    def __post_init__(self) -> None:
        corners = np.array(self.corners, dtype=np.float64)
        if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
            raise ShapeError(f"Polygon: corners must have shape (n, 2) with n >= 3, got {corners.shape}.")
        names = tuple(self.names) * (len(corners) if len(self.names) == 1 else 1)
        if len(names) != len(corners):
            raise ShapeError(f"Polygon: {len(corners)} sides need as many names or one, got {self.names}.")
        object.__setattr__(self, "corners", corners)
        object.__setattr__(self, "names", names)
        if not 0 < self.area() < math.inf:
            raise ConfigError(
                f"Polygon: corners are finite and run counter-clockwise, got {corners.tolist()}."
            )

    @classmethod
    def rectangle(
        cls,
        lower: tuple[float, float],
        upper: tuple[float, float],
        names: tuple[str, ...] = ("bottom", "right", "top", "left"),
    ) -> Polygon:
        """Between two corners, with names in this order, or one for all sides."""
        (a, b), (c, d) = lower, upper
        return cls([[a, b], [c, b], [c, d], [a, d]], names)

    @property
    def period(self) -> float:
        """The number of sides."""
        return float(len(self.corners))

    def at(self, parameter: Float) -> Float:
        """Points (n, 2)."""
        side = np.floor(parameter).astype(int) % len(self.corners)
        part = (parameter - np.floor(parameter))[:, None]
        found: Float = (1 - part) * self.corners[side] + part * np.roll(self.corners, -1, axis=0)[side]
        return found

    def split(self, spacing: float) -> Float:
        """Equal parts of each side, two at least."""
        sides = np.roll(self.corners, -1, axis=0) - self.corners
        parts = [max(2, math.ceil(length / spacing - 1e-9)) for length in np.hypot(*sides.T)]
        return np.concatenate([i + np.arange(n) / n for i, n in enumerate(parts)])

    def contains(self, points: Float) -> NDArray[np.bool_]:
        """By the number of sides that a ray to the right crosses."""
        inside = np.zeros(len(points), dtype=bool)
        x, y = points.T
        for (a, b), (c, d) in zip(self.corners, np.roll(self.corners, -1, axis=0), strict=True):
            if b != d:
                inside ^= ((b > y) != (d > y)) & (x < a + (c - a) * (y - b) / (d - b))
        return inside

    def area(self) -> float:
        """The sum of signed triangles."""
        x, y = self.corners.T
        return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


@dataclass(frozen=True)
class Star:
    """The curve at the distance r(angle) from a center: a disc, or any star-shaped hole.

    Parameters
    ----------
    center : pair of float
    radius : float or callable
        Positive; of angles in radians (an array), counter-clockwise from the first axis, periodic and smooth.
    name : str

    Raises
    ------
    ConfigError
        If a radius is not positive.

    Examples
    --------
    >>> round(Star((0.5, 0.5), 0.1).area(), 6)
    0.031416
    >>> flower = Star((0.0, 0.0), lambda angle: 1 + 0.2 * np.cos(5 * angle), name="flower")
    >>> abs(flower.area() - np.pi * (1 + 0.2**2 / 2)) < 1e-12
    True
    """

    center: tuple[float, float]
    radius: float | Callable[[Float], Float]
    name: str = "hole"

    def __post_init__(self) -> None:
        smallest = float(np.min(self.radii(_angles())))
        if not smallest > 0:
            raise ConfigError(f"Star {self.name!r}: its radius must be positive, got {smallest:g}.")

    @property
    def names(self) -> tuple[str, ...]:
        """The one side."""
        return (self.name,)

    @property
    def period(self) -> float:
        """A full turn."""
        return 2 * math.pi

    def radii(self, angles: Float) -> Float:
        """At these angles, an array like theirs."""
        found = self.radius(angles) if callable(self.radius) else self.radius
        return np.asarray(np.broadcast_to(np.asarray(found, dtype=np.float64), angles.shape))

    def at(self, parameter: Float) -> Float:
        """Points (n, 2) at angles."""
        rays = np.stack([np.cos(parameter), np.sin(parameter)], axis=1)
        return np.asarray(np.array(self.center) + self.radii(parameter)[:, None] * rays)

    def split(self, spacing: float) -> Float:
        """Angles of points at equal distances along the curve, eight at least."""
        angles = np.append(_angles(), 2 * math.pi)
        steps = np.hypot(*np.diff(self.at(angles), axis=0).T)
        run = np.concatenate([[0.0], np.cumsum(steps)])
        parts = max(8, math.ceil(run[-1] / spacing - 1e-9))
        return np.asarray(np.interp(np.arange(parts) / parts * run[-1], run, angles))

    def contains(self, points: Float) -> NDArray[np.bool_]:
        """By distance and angle from the center."""
        x, y = (points - np.array(self.center)).T
        found: NDArray[np.bool_] = np.hypot(x, y) < self.radii(np.arctan2(y, x))
        return found

    def area(self) -> float:
        """The integral of r^2 / 2 by the trapezoidal rule, exact to rounding for smooth radii."""
        return float(np.mean(self.radii(_angles()) ** 2) * math.pi)

    def length(self) -> float:
        """By the trapezoidal rule, with the derivative of r by Fourier series."""
        radii = self.radii(_angles())
        slope = np.fft.irfft(1j * np.arange(_DENSE // 2 + 1) * np.fft.rfft(radii), _DENSE)
        return float(np.mean(np.hypot(radii, slope)) * 2 * math.pi)


def _angles() -> Float:
    return np.linspace(0.0, 2 * math.pi, _DENSE, endpoint=False)


@dataclass(frozen=True)
class Focus:
    """A point toward which spacings shrink: distances r < ``radius`` become radius (r / radius)^power.

    For corners where the solution has a singularity r^a: elements of degree p keep their order p + 1 in L2
    (p in H1) if power > p / a.  Straight sides that end in the point stay straight; nothing else of the
    boundary may lie within the radius.
    """

    point: tuple[float, float]
    radius: float
    power: float

    def move(self, points: Float) -> Float:
        """Points (n, 2) drawn toward the focus."""
        offset = points - np.array(self.point)
        distance = np.hypot(*offset.T) / self.radius
        factor = np.where(distance < 1, distance ** (self.power - 1), 1.0)
        return np.asarray(np.array(self.point) + factor[:, None] * offset)
