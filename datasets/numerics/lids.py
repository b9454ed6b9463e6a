"""Flow in a unit square under a moving lid: lids, and what splines are to know of them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.numerics.stream_function import Flow, Line, StreamFunctionSolver
from sciml.datasets.solutions import Function, on_grid
from sciml.errors import ConfigError, DataError, DivergedError, nearest
from sciml.grid import Grid

Float = NDArray[np.float64]
Profile = Callable[[Float], Float]

LIDS: dict[str, Profile] = {
    "sharp": np.ones_like,
    "regularized": lambda x: 16 * x**2 * (1 - x) ** 2,
    "parabolic": lambda x: 4 * x * (1 - x),
}
"""Lid profiles by name, largest speed 1."""

FEW = 6  # elements, below which a coarser grid is no help
_NEAR = 1e-6  # of a corner; a slope shows there


def profile_of(lid: str | ArrayLike | Function, grid: Grid) -> Profile:
    """The lid as a function of x."""
    who, line = "cavity.solve: lid", Grid(grid.axes[:1])
    if isinstance(lid, str):
        if lid not in LIDS:
            raise ConfigError(f"{who} is one of {tuple(LIDS)}, got {lid!r}.{nearest(lid, LIDS)}")
        return LIDS[lid]
    values = on_grid(who, lid, line)
    if callable(lid):
        function = lid
        return lambda x: np.broadcast_to(np.asarray(function(x), dtype=np.float64), x.shape)
    if np.ndim(np.asarray(lid)) == 0:
        return lambda x: np.full_like(x, values[0])
    from scipy.interpolate import make_interp_spline

    found: Profile = make_interp_spline(line.axes[0].coordinates, values, k=min(5, len(values) - 1))
    return found


def _corners(profile: Profile) -> Float:
    """Of the lid at the two corners, relative to its largest speed."""
    largest = np.abs(profile(np.linspace(0.0, 1.0, 1025))).max()
    found: Float = np.abs(profile(np.array([_NEAR, 1 - _NEAR]))) / max(largest, np.finfo(np.float64).tiny)
    return found


def grading_of(profile: Profile) -> float:
    """How strongly elements shrink towards the walls: for a jump, a kink or no singularity in the corners."""
    worst = _corners(profile).max()
    return 4.0 if worst > 1e-2 else 3.0 if worst > _NEAR / 10 else 2.0


def flows(
    profile: Profile, reynolds: float, elements: int, degree: int, grading: float
) -> tuple[Flow | None, Flow]:
    """The flow on 2/3 of the elements, where it is found there, and from it the flow on all of them."""
    coarse = None
    if elements >= FEW:
        with contextlib.suppress(DivergedError):
            solver, walls = _setup(profile, 2 * elements // 3, degree, grading)
            coarse = solver.solve(walls, reynolds=reynolds)
    solver, walls = _setup(profile, elements, degree, grading)
    return coarse, solver.solve(walls, reynolds=reynolds, start=coarse)


def _setup(
    profile: Profile, elements: int, degree: int, grading: float
) -> tuple[StreamFunctionSolver, Float]:
    """The solver, and what it is to know of the walls: psi = 0, and psi_y = lid at y = 1."""
    solver = _solver(elements, degree, grading)
    x, width = solver.x.points, solver.x.breaks[1]
    speed = profile(x)
    if not np.isfinite(speed).all():
        raise DataError("cavity.solve: lid has values that are not finite.")
    for corner, distance in zip(_corners(profile), (x, 1 - x), strict=True):
        if corner > _NEAR / 10:
            speed = speed * _ramp(distance / width)
    walls = np.zeros((solver.x.size, solver.y.size))
    walls[2:-2, -2] = speed
    return solver, walls


def _ramp(s: Float) -> Float:
    """From 0 to 1 on [0, 1], in the space of the splines: degree 7, three derivatives vanish at the ends."""
    s = np.clip(s, 0.0, 1.0)
    return s**4 * (35 - 84 * s + 70 * s**2 - 20 * s**3)


@lru_cache(maxsize=8)
def _solver(elements: int, degree: int, grading: float) -> StreamFunctionSolver:
    s = np.linspace(-1.0, 1.0, elements + 1)
    breaks = (1 + np.tanh(grading * s) / math.tanh(grading)) / 2
    line = Line(tuple(breaks.tolist()), degree)
    return StreamFunctionSolver(line, line)
