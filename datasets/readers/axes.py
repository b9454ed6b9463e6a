"""Which of the conventions of `sciml.grid.Axis` somebody else's coordinates follow, and scattered points that
are the nodes of a grid.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.errors import DataError
from sciml.grid import Axis

Float = NDArray[np.float64]

_DECIDING = 2**20  # values at most that decide on the ends of an axis
_ROUND = 2e-6  # of the length: less than half a cell of 100 000, more than the rounding of float32
_DIGITS = 7


def axis_of(
    path: Path,
    name: str,
    points: NDArray[Any],
    values: NDArray[Any] | None = None,
    *,
    periodic: bool | None = None,
    units: str = "1",
) -> tuple[Axis, str]:
    """The axis whose points are given, and a note on how its ends were found.

    Uniform points may be nodes, with both ends of the domain or with one, or centers of cells.  The domain is
    the one of these whose ends are the rounder numbers (of themselves or in units of pi): 1/16, 3/16, ...,
    15/16 are centers on [0, 1].  Whether the ends meet is told by ``periodic``, or else by the
    values: if second differences across the seam are those of the inside, they do.

    Parameters
    ----------
    points : (n,) increasing
    values : (..., n), optional
        Of a field, along this axis last.
    periodic : bool, optional
        If it is known.

    Raises
    ------
    DataError
        If the points are not finite, do not increase, or have more than one spacing.
    """
    at = np.asarray(points, dtype=np.float64).ravel()
    if at.size < 2 or not np.isfinite(at).all() or (np.diff(at) <= 0).any():
        raise DataError(
            f"{path}: the coordinates {name} must be finite and increase, at least two of them, "
            f"got shape {np.shape(points)}."
        )
    step = float((at[-1] - at[0]) / (at.size - 1))
    if not is_uniform(points):
        steps = np.diff(at)
        raise DataError(
            f"{path}: the coordinates {name} have steps from {steps.min():g} to {steps.max():g}; a grid has "
            "one spacing. Interpolate the fields to uniform points, or store them as points."
        )
    span = float(at[-1] - at[0]) + step
    candidates = {
        "nodes with both ends": (at[0], at[-1]),
        "nodes without the upper end": (at[0], at[-1] + step),
        "nodes without the lower end": (at[0] - step, at[-1]),
        "centers of cells": (at[0] - step / 2, at[-1] + step / 2),
    }
    cost = {what: _digits(lower, span) + _digits(upper, span) for what, (lower, upper) in candidates.items()}
    # Of equally round ones the domain that begins at zero or is symmetric, else the first.
    what = min(cost, key=lambda key: (cost[key], not _is_centered(*candidates[key], span)))
    joined = periodic if periodic is not None else values is not None and meets(values)
    tied = cost["nodes without the upper end"] == cost[what]
    if what == "nodes with both ends" and joined and tied and not _repeats(values):
        what = "nodes without the upper end"
    if what == "nodes with both ends" or (what == "nodes without the lower end" and not joined):
        lower, upper = (_snapped(end, points, span) for end in candidates["nodes with both ends"])
        return Axis(name, lower, upper, at.size, "node", units=units), (
            f"{name}: nodes with both ends on [{lower:.6g}, {upper:.6g}]"
        )
    if what == "nodes without the lower end":  # one period, from the first point on
        lower = float(at[0])
        return Axis(name, lower, lower + span, at.size, "node", True, units), (
            f"{name}: periodic nodes on [{lower:.6g}, {lower + span:.6g})"
        )
    lower, upper = (_snapped(end, points, span) for end in candidates[what])
    if what == "centers of cells":
        ends = "periodic" if joined else "bounded"
        return Axis(name, lower, upper, at.size, "cell", joined, units), (
            f"{name}: {ends} centers of cells on [{lower:.6g}, {upper:.6g}]"
        )
    # Points that leave out an end say it almost alone: a small step across the seam is enough, even a kink.
    joined = joined or (periodic is None and values is not None and _step_at_seam(values) < 0.5)
    kind = "periodic nodes" if joined else "left ends of cells"
    return Axis(name, lower, upper, at.size, "node" if joined else "left", joined, units), (
        f"{name}: {kind} on [{lower:.6g}, {upper:.6g})"
    )


def unit_axis(name: str, size: int, values: NDArray[Any] | None, location: Any) -> tuple[Axis, str]:
    """An axis of a file without coordinates: on the unit interval, by assumption."""
    joined = values is not None and meets(values)
    if location == "node" and joined and _repeats(values):
        joined = False
    note = f"{name}: no coordinates; {'periodic ' if joined else ''}{location}s on the unit interval, assumed"
    return Axis(name, 0.0, 1.0, size, location, joined), note


def is_uniform(points: NDArray[Any]) -> bool:
    """Whether the points have one spacing, to 1e-5 of it or what their type rounds."""
    at = np.asarray(points, dtype=np.float64).ravel()
    step = float((at[-1] - at[0]) / (at.size - 1))
    kind = points.dtype if points.dtype.kind == "f" else np.dtype(np.float64)
    rounding = 4 * float(np.finfo(kind).eps) * float(np.abs(at).max())
    return bool(np.abs(np.diff(at) - step).max() <= max(1e-5 * step, rounding))


def meets(values: NDArray[Any]) -> bool:
    """Whether the last axis goes on from its end to its beginning, judged by the second differences of the
    values (..., n) there and inside.

    Examples
    --------
    >>> x = np.arange(32) / 32
    >>> meets(np.cos(2 * np.pi * x)), meets(np.sin(np.pi * x)), meets(x)
    (True, False, False)
    """
    if values.shape[-1] < 4:
        return False
    some = _some(values)
    inside = np.diff(some, n=2, axis=-1)
    seam = np.diff(np.concatenate((some[..., -2:], some[..., :2]), axis=-1), n=2, axis=-1)
    size, bend = _rms(seam), _rms(inside)
    return math.isfinite(size) and bend > 0 and size <= 3 * bend


def _step_at_seam(values: NDArray[Any]) -> float:
    """The difference of last and first values as a share of that of neighbors."""
    some = _some(values)
    return _rms(some[..., 0] - some[..., -1]) / max(_rms(np.diff(some, axis=-1)), 1e-300)


def _some(values: NDArray[Any]) -> Float:
    """Values (..., n) of some lines along the axis, spread over all others."""
    lines = max(1, _DECIDING // values.shape[-1])
    each = max(2, int(lines ** (1 / max(1, values.ndim - 1))))
    picked = tuple(slice(None, None, max(1, -(-size // each))) for size in values.shape[:-1])
    some = np.asarray(values[picked])
    if some.dtype.kind == "c":
        some = np.stack((some.real, some.imag))
    return some.astype(np.float64)


def grid_points(points: Float) -> tuple[list[Float], NDArray[np.int64]] | None:
    """Coordinates along each axis, and the order that makes (*axes) of the points, if they are a full grid.

    Examples
    --------
    >>> axes, order = grid_points(np.array([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0], [2.0, 3.0]]))
    >>> [axis.tolist() for axis in axes], order.tolist()
    ([[0.0, 2.0], [1.0, 3.0]], [[0, 2], [1, 3]])
    """
    axes, places = [], []
    for column in points.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        gap = np.diff(ordered) > 1e-9 * max(float(ordered[-1] - ordered[0]), 1e-300)
        group = np.concatenate(([0], np.cumsum(gap)))
        if group[-1] < 1:
            return None
        place = np.empty(len(column), dtype=np.int64)
        place[order] = group
        places.append(place)
        axes.append(ordered[np.concatenate(([True], gap))])
    shape = tuple(len(axis) for axis in axes)
    if math.prod(shape) != len(points):
        return None
    flat = np.ravel_multi_index(tuple(places), shape)
    if np.bincount(flat, minlength=len(points)).max() > 1:
        return None
    return axes, np.argsort(flat, kind="stable").reshape(shape)


def _is_centered(lower: float, upper: float, span: float) -> bool:
    return min(abs(lower), abs(lower + upper)) <= _ROUND * span


def _digits(value: float, span: float) -> int:
    """Significant digits that say where the value is, in units of one or of pi."""
    return min(_decimals(value, span), 1 + _decimals(value / math.pi, span / math.pi))


def _decimals(value: float, span: float) -> int:
    if abs(value) <= _ROUND * span:
        return 0
    for digits in range(1, _DIGITS):
        if abs(float(f"{value:.{digits - 1}e}") - value) <= _ROUND * span:
            return digits
    return _DIGITS


def _snapped(value: float, points: NDArray[Any], span: float) -> float:
    """The round number that coordinates of float32 meant."""
    kind = points.dtype if points.dtype.kind == "f" else np.dtype(np.float64)
    slack = 8 * float(np.finfo(kind).eps) * max(abs(value), span)
    if abs(value) <= slack:
        return 0.0
    for unit in (1.0, math.pi):
        short = float(f"{value / unit:.6g}") * unit
        if abs(short - value) <= slack:
            return short
    return float(value)


def _repeats(values: NDArray[Any] | None) -> bool:
    """Whether the last point repeats the first."""
    if values is None:
        return False
    some = _some(values)
    return _rms(some[..., 0] - some[..., -1]) <= 1e-5 * _rms(some)


def _rms(values: Float) -> float:
    with np.errstate(all="ignore"):  # what is not finite is refused by name when it is written
        return float(np.sqrt(np.mean(np.square(values))))
