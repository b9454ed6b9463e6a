"""One instance of a periodic semilinear equation: points, steps and accuracy for the ``solve`` functions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import restrict
from sciml.datasets.pseudo_spectral import Modes
from sciml.datasets.semilinear import Semilinear, resample, run
from sciml.datasets.solutions import Function, on_grid
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid

Float = NDArray[np.float64]

_STEPS = 2**17  # of one run; a solution that needs more is given up
_FINEST = 16  # refinement of the grid
_POINTS = 2**18  # of the finest grid
_TAIL = 1e-6  # share of the highest waves up to which a solution counts as resolved
_POOR = 1e-4  # where it falls too slowly to get there


def solved(
    who: str,
    equation: Callable[[Modes], Semilinear],
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    times: ArrayLike,
    degree: int = 2,
    components: int = 1,
    step: float | None = None,
    refinement: int | None = None,
    tolerance: float = 1e-9,
) -> tuple[Float, dict[str, Any]]:
    """Frames (frames, components, *grid) of an equation from one start, and what is known of their accuracy.

    Unless they are given, the step is halved and the grid is doubled until neither changes the frames: the
    grid as long as the highest third of its waves holds more than 1e-6 of a frame in the L2 norm (up to 16
    times the points, and 2^18; and no longer than it helps, since a kink that nothing smooths is never
    resolved), the step until the relative L2 change of order 4 promises the tolerance.

    Parameters
    ----------
    who : str
        For messages, such as "burgers.solve".
    equation : callable
        From `Modes` to the system.
    initial : number, array or callable
        Values ([components,] *grid), whose trigonometric interpolant is the start, or a function of the
        coordinates; see `on_grid`.
    grid : Grid
        Periodic nodes, any domain, where the frames are wanted.
    times : increasing, the first is that of ``initial``
    degree : int
        Of the nonlinear term; waves below n / (degree + 1) are kept.
    components : int
    step : float, optional
        Longest step.
    refinement : int, optional
        Points of the solver per point of ``grid`` and axis.
    tolerance : float, positive

    Returns
    -------
    frames : array
        float64.
    accuracy : dict
        ``time_step`` and ``refinement`` of the run; ``relative_error``, estimated from the last change (not
        for a given ``step``); ``spectral_tail``, the share of the highest third of the waves in the worst
        frame after the first: a solution is resolved where it is tiny.

    Raises
    ------
    ConfigError
        If the grid is not periodic, the times do not increase, or a number is not positive.
    DataError
        If the solution blows up.

    Warns
    -----
    UserWarning
        If the tolerance would take more than 2^17 steps; ``relative_error`` then says what was reached.
    """
    instants = np.asarray(times, dtype=np.float64).ravel()
    least = min(1.0 if step is None else step, 1 if refinement is None else refinement, tolerance)
    if not least > 0 or not all(axis.periodic and axis.location == "node" for axis in grid.axes):
        raise ConfigError(
            f"{who}: needs positive numbers and a grid of periodic nodes, such as Grid.box((256,), "
            f"location='node', periodic=True), got step={step}, refinement={refinement}, "
            f"tolerance={tolerance} and {grid}."
        )
    if instants.size == 0 or not all(b > a for a, b in pairwise(instants.tolist())):
        raise ConfigError(f"{who}: times must increase, got {instants.tolist()}.")

    def attempt(h: float, factor: int) -> tuple[Float, float]:
        fine = grid.with_shape([factor * n for n in grid.shape])
        start = _start(who, initial, grid, fine, components)
        modes = Modes(fine, degree=degree)
        system = equation(modes)
        frames: Float = run(lambda: system, start[None], instants, step=h, block=1)[0]
        return np.ascontiguousarray(restrict(frames, fine, grid)), _tail(modes, frames)

    h, factor = step or _first_step(instants), refinement or 1
    frames, tail = attempt(h, factor)
    error, before = math.inf, math.inf
    while np.ptp(instants) / h < _STEPS:
        room = factor < _FINEST and math.prod(2 * factor * n for n in grid.shape) <= _POINTS
        wider = refinement is None and room and tail > (_TAIL if tail < before / 8 else _POOR)
        if not wider and (step is not None or error <= tolerance):
            break
        factor *= 2 if wider else 1
        h /= 2 if step is None else 1
        coarse, before = frames, tail if wider else before
        frames, tail = attempt(h, factor)
        error = _change(frames, coarse) / 15 if step is None else math.inf
    if not np.isfinite(frames).all():
        raise DataError(
            f"{who}: the solution blows up, with steps of {h:.2g} and {factor} times the points of the grid. "
            "Give a shorter step or a finer grid, or ask for an earlier end."
        )
    if step is None and error > tolerance:
        warnings.warn(
            f"{who}: the relative error of the result is about {error:.2g}, more than {tolerance:.2g}: steps "
            f"shorter than {h:.2g} are too many. Chaotic solutions allow no less after a while.",
            stacklevel=3,
        )
    found: dict[str, Any] = {"time_step": h, "refinement": factor, "spectral_tail": tail}
    return frames, found if step is not None else {**found, "relative_error": error}


def _start(who: str, initial: ArrayLike | Function, grid: Grid, fine: Grid, components: int) -> Float:
    """The start (components, *fine.shape)."""
    name = f"{who}: initial"
    if callable(initial):
        values = on_grid(name, initial, fine, components=components)
    else:
        values = on_grid(name, initial, grid, components=components)
        values = values if fine == grid else resample(values, grid, fine)
    return values.reshape(components, *fine.shape)


def _first_step(times: Float) -> float:
    return float(min(np.diff(times).min(initial=math.inf), (np.ptp(times) or 1.0) / 8))


def _change(fine: Float, coarse: Float) -> float:
    """Largest L2 distance of two frames, relative to the largest frame; infinite for frames that blew up."""
    axes = tuple(range(1, fine.ndim))
    with np.errstate(invalid="ignore", over="ignore"):
        size, change = (np.sqrt((values**2).sum(axis=axes)).max() for values in (fine, fine - coarse))
    if not np.isfinite([size, change]).all():
        return math.inf
    return float(change / size) if size > 0 else float(change)


def _tail(modes: Modes, frames: Float) -> float:
    """Share of the waves above two thirds of the highest on any axis in the L2 norm; the worst frame."""
    high = np.zeros(modes.shape, dtype=bool)
    for k in modes.wavenumbers:
        high = high | (np.abs(k) > 2 / 3 * np.abs(k).max())
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.abs(modes.to_modes(frames[-max(1, len(frames) - 1) :])) ** 2
        axes = tuple(range(1, squares.ndim))
        share = (squares * high).sum(axis=axes) / np.maximum(squares.sum(axis=axes), 1e-300)
    return float(np.sqrt(share).max())
