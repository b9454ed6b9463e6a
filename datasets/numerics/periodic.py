"""One instance of a periodic semilinear equation: points, steps and accuracy for the ``solve`` functions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import restrict
from sciml.datasets.numerics.pseudo_spectral import Modes
from sciml.datasets.numerics.semilinear import Semilinear, run
from sciml.datasets.numerics.series import instants
from sciml.datasets.numerics.spectral_solver import resample
from sciml.datasets.solutions import Function, on_grid
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid

Float = NDArray[np.float64]

_BUDGET = 2**28  # values that all steps of all runs may work on: about 15 seconds; twice that on several axes
_OVERHEAD = 2000  # values that cost as much as what a step costs for none
_FINEST = 16  # refinement of the grid
_POINTS = 2**18  # of the finest grid
_POOR = 1e-4  # error of a grid that is good enough where finer ones help little


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

    Unless they are given, the step is halved until the relative L2 change of order 4 promises the tolerance,
    and the grid is doubled until the waves beyond its last one, extrapolated from the thirds of the spectrum,
    are below it too, up to 16 times the points and 2^18, and no longer than it helps: a kink that nothing
    smooths is never resolved.  The work is bounded, to some 15 seconds on one axis; where that is too little,
    a warning says what was reached.

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
        ``time_step`` and ``refinement`` of the run; ``spectral_tail``, the share of the highest third of the
        waves in the L2 norm of the worst frame after the first; and, not for a given ``step``,
        ``relative_error``, the larger one of the estimates for step and grid, of all components together in
        the L2 norm of a frame.

    Raises
    ------
    ConfigError
        If the grid is not periodic, the times do not increase, or a number is out of range.
    DataError
        If the solution blows up.

    Warns
    -----
    UserWarning
        If ``relative_error`` is above the tolerance, and why.
    """
    at = np.array(instants(who, times))
    if not all(axis.periodic and axis.location == "node" for axis in grid.axes):
        raise ConfigError(
            f"{who}: needs a grid of periodic nodes, such as Grid.box((256,), location='node', "
            f"periodic=True), got {grid}."
        )
    whole = refinement is None or (isinstance(refinement, Integral) and refinement > 0)
    if not (whole and 0 < tolerance < math.inf and (step is None or 0 < step < math.inf)):
        raise ConfigError(
            f"{who}: needs a positive step and tolerance and a whole number as refinement, got step={step}, "
            f"refinement={refinement} and tolerance={tolerance}."
        )

    def attempt(h: float, factor: int) -> tuple[Float, float, float]:
        fine = grid.with_shape([factor * n for n in grid.shape])
        start = _start(who, initial, grid, fine, components)[None]
        modes = Modes(fine, degree=degree)
        system = equation(modes)
        if not np.isfinite(system.rate(system.start(start), float(at[0]))).all():
            raise DataError(f"{who}: the rate of change of the start is not finite. Look at its range.")
        frames: Float = run(lambda: system, start, at, step=h, block=1)[0]
        return np.ascontiguousarray(restrict(frames, fine, grid)), *_tail(modes, frames)

    def work(h: float, factor: int) -> float:
        values = components * math.prod(factor * n for n in grid.shape)
        return float(np.ptp(at)) / h * (values + _OVERHEAD)

    h, factor = step or _first_step(at), refinement or 1
    frames, tail, beyond = attempt(h, factor)
    error, before, spent = math.inf, math.inf, work(h, factor)
    budget = _BUDGET if grid.rank == 1 else 2 * _BUDGET
    while True:
        room = factor < _FINEST and math.prod(2 * factor * n for n in grid.shape) <= _POINTS
        wider = refinement is None and room and beyond > (tolerance if beyond < before / 8 else _POOR)
        finer = step is None and (wider or error > tolerance)
        blown = not np.isfinite(frames).all()
        left = (budget / 4 if blown else budget) - spent
        next_step = h / 2 if finer else h
        wider = wider and work(next_step, 2 * factor) <= left
        needed = finer and not blown and math.isinf(error)  # for an estimate
        if not (wider or finer) or (work(next_step, factor) > left and not needed):
            break
        h, factor = next_step, 2 * factor if wider else factor
        coarse, before = frames, beyond if wider else before
        frames, tail, beyond = attempt(h, factor)
        spent += work(h, factor)
        error = _change(frames, coarse) / 15
    if not np.isfinite(frames).all():
        raise DataError(
            f"{who}: the solution blows up, with steps of {h:.2g} and {factor} times the points of the grid. "
            "Give a shorter step or a finer grid, or ask for an earlier end."
        )
    found: dict[str, Any] = {"time_step": h, "refinement": factor, "spectral_tail": tail}
    if step is not None:
        return frames, found
    worst = max(error, beyond)
    if worst > tolerance:
        reason = (
            f"{factor} times the points of the grid leave waves out; give a smoother start or more points"
            if beyond > error
            else "less would take long, and chaotic solutions allow no less after a while; to go on, give "
            f"refinement={factor} and a step below {h:.2g}"
        )
        warnings.warn(
            f"{who}: the relative error of the result is about {worst:.2g}, more than the tolerance "
            f"{tolerance:.2g}: {reason}.",
            stacklevel=3,
        )
    return frames, {**found, "relative_error": worst}


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


def _tail(modes: Modes, frames: Float) -> tuple[float, float]:
    """Share of the highest third of the waves in the L2 norm of the worst frame, and of those left out.

    The latter as if the share fell from the last third on as it does from the second to the last.
    """
    place = np.zeros(modes.shape)
    for k in modes.wavenumbers:
        place = np.maximum(place, np.abs(k) / (np.abs(k).max() or 1.0))
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.abs(modes.to_modes(frames[-max(1, len(frames) - 1) :])) ** 2
        axes = tuple(range(1, squares.ndim))
        total = np.maximum(squares.sum(axis=axes), 1e-300)
        middle, last = (
            np.sqrt((squares * here).sum(axis=axes) / total)
            for here in ((place > 1 / 3) & (place <= 2 / 3), place > 2 / 3)
        )
        beyond = np.minimum(last**2 / np.maximum(middle, 1e-300), 1.0)
    return float(last.max()), float(beyond.max())
