"""One instance of a periodic semilinear equation: points, steps and accuracy for the ``solve`` functions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
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
    at = _checked(who, grid, times, step, refinement, tolerance)
    instance = _Instance(who, equation, initial, grid, at, degree, components)
    best, error = _refined(instance, step, refinement, tolerance)
    h, factor = best.step, best.factor
    if not best.finite:
        raise DataError(
            f"{who}: the solution blows up, with steps of {h:.2g} and {factor} times the points of the grid. "
            "Give a shorter step or a finer grid, or ask for an earlier end."
        )
    found: dict[str, Any] = {"time_step": h, "refinement": factor, "spectral_tail": best.tail}
    if step is not None:
        return best.frames, found
    worst = max(error, best.beyond)
    if worst > tolerance:
        reason = (
            f"{factor} times the points of the grid leave waves out; give a smoother start or more points"
            if best.beyond > error
            else "less would take long, and chaotic solutions allow no less after a while; to go on, give "
            f"refinement={factor} and a step below {h:.2g}"
        )
        warnings.warn(
            f"{who}: the relative error of the result is about {worst:.2g}, more than the tolerance "
            f"{tolerance:.2g}: {reason}.",
            stacklevel=3,
        )
    return best.frames, {**found, "relative_error": worst}


def _checked(
    who: str, grid: Grid, times: ArrayLike, step: float | None, refinement: int | None, tolerance: float
) -> Float:
    """The times, if everything is in range."""
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
    return at


@dataclass(frozen=True)
class _Run:
    """Frames with one step and one grid, and the two shares of `_tail`."""

    step: float
    factor: int
    frames: Float
    tail: float
    beyond: float

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.frames).all())


@dataclass(frozen=True)
class _Instance:
    """What `solved` is asked for, with the times as an array."""

    who: str
    equation: Callable[[Modes], Semilinear]
    initial: ArrayLike | Function
    grid: Grid
    times: Float
    degree: int
    components: int

    def run(self, step: float, factor: int) -> _Run:
        fine = self.grid.with_shape([factor * n for n in self.grid.shape])
        start = _start(self.who, self.initial, self.grid, fine, self.components)[None]
        modes = Modes(fine, degree=self.degree)
        system = self.equation(modes)
        if not np.isfinite(system.rate(system.start(start), float(self.times[0]))).all():
            raise DataError(f"{self.who}: the rate of change of the start is not finite. Look at its range.")
        frames: Float = run(lambda: system, start, self.times, step=step, block=1)[0]
        return _Run(
            step, factor, np.ascontiguousarray(restrict(frames, fine, self.grid)), *_tail(modes, frames)
        )

    def work(self, step: float, factor: int) -> float:
        """In values."""
        values = self.components * self._points(factor)
        return float(np.ptp(self.times)) / step * (values + _OVERHEAD)

    def allows(self, factor: int) -> bool:
        """Whether the grid may be so fine."""
        return factor <= _FINEST and self._points(factor) <= _POINTS

    def _points(self, factor: int) -> int:
        return math.prod(factor * n for n in self.grid.shape)


def _refined(
    instance: _Instance, step: float | None, refinement: int | None, tolerance: float
) -> tuple[_Run, float]:
    """The run with the step and grid that `solved` tells of, and the error of its step."""
    now = instance.run(step or _first_step(instance.times), refinement or 1)
    error, before, spent = math.inf, math.inf, instance.work(now.step, now.factor)
    budget = _BUDGET if instance.grid.rank == 1 else 2 * _BUDGET
    while True:
        enough = tolerance if now.beyond < before / 8 else _POOR
        wider = refinement is None and instance.allows(2 * now.factor) and now.beyond > enough
        finer = step is None and (wider or error > tolerance)
        left = (budget if now.finite else budget / 4) - spent
        next_step = now.step / 2 if finer else now.step
        wider = wider and instance.work(next_step, 2 * now.factor) <= left
        needed = finer and now.finite and math.isinf(error)  # for an estimate
        if not (wider or finer) or (instance.work(next_step, now.factor) > left and not needed):
            return now, error
        before = now.beyond if wider else before
        coarse, now = now, instance.run(next_step, 2 * now.factor if wider else now.factor)
        spent += instance.work(now.step, now.factor)
        error = _change(now.frames, coarse.frames) / 15


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
