"""One instance of a periodic semilinear equation: grid, step and accuracy for the ``solve`` functions."""

from __future__ import annotations

import math
from collections.abc import Callable
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

_HALVINGS = 18  # of the step, before the solution is given up


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
    tolerance: float = 1e-9,
    refinement: int = 1,
) -> tuple[Float, dict[str, Any]]:
    """Frames (frames, components, *grid) of an equation from one start, and what is known of their accuracy.

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
        Longest step.  By default it is halved until the frames change by less than 15 ``tolerance`` of the
        largest.
    tolerance : float
        Of the steps only.
    refinement : int
        The solver has ``refinement`` times the points of ``grid`` per axis.

    Returns
    -------
    frames : array
        float64.
    accuracy : dict
        ``time_step``; ``time_error``, the estimated relative L2 error of the steps (not for a given
        ``step``); ``spectral_tail``, the share of the highest third of the waves in the L2 norm, worst frame:
        a solution is resolved where it is tiny.

    Raises
    ------
    ConfigError
        If the grid is not periodic, the times do not increase, or ``step`` or ``refinement`` is not positive.
    DataError
        If a solution blows up, or still changes after 18 halvings.
    """
    instants = np.asarray(times, dtype=np.float64).ravel()
    if refinement < 1 or not all(axis.periodic and axis.location == "node" for axis in grid.axes):
        raise ConfigError(
            f"{who}: needs refinement >= 1 and a grid of periodic nodes, such as Grid.box((256,), "
            f"location='node', periodic=True), got refinement={refinement} and {grid}."
        )
    fine = grid.with_shape([refinement * n for n in grid.shape])
    if callable(initial):
        start = on_grid(f"{who}: initial", initial, fine, components=components)
    else:
        start = on_grid(f"{who}: initial", initial, grid, components=components)
        start = resample(start, grid, fine) if refinement > 1 else start
    modes = Modes(fine, degree=degree)
    system = equation(modes)

    def frames(h: float) -> Float:
        values: Float = start.reshape(1, components, *fine.shape)
        found: Float = run(lambda: system, values, instants, step=h, block=1)[0]
        return found

    accuracy: dict[str, Any] = {}
    if step is None:
        found, accuracy["time_step"], accuracy["time_error"] = _converged(who, frames, instants, tolerance)
    else:
        found, accuracy["time_step"] = frames(step), step
    if not np.isfinite(found).all():
        raise DataError(f"{who}: the solution blows up; it needs a shorter step than {step} or more points.")
    accuracy["spectral_tail"] = _tail(modes, found)
    return np.ascontiguousarray(restrict(found, fine, grid)), accuracy


def _converged(
    who: str, frames: Callable[[float], Float], times: Float, tolerance: float
) -> tuple[Float, float, float]:
    """Frames, step and estimated error: the step is halved until order 4 promises the tolerance."""
    step = (
        float(min(np.diff(times).min(initial=math.inf), (times[-1] - times[0]) / 8))
        if len(times) > 1
        else 1.0
    )
    coarse = frames(step)
    for _ in range(_HALVINGS):
        step /= 2
        fine = frames(step)
        axes = tuple(range(1, fine.ndim))
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.sqrt((fine**2).sum(axis=axes)).max()
            error = float(np.sqrt(((fine - coarse) ** 2).sum(axis=axes)).max() / max(size, 1e-300)) / 15
        if error <= tolerance:
            return fine, step, error
        coarse = fine
    raise DataError(
        f"{who}: frames still change by {15 * error:.2g} with steps of {step:.2g}. The solution blows up, "
        "needs more points or a looser tolerance, or is chaotic over these times; give a step."
    )


def _tail(modes: Modes, frames: Float) -> float:
    """Share of the waves above two thirds of the highest on any axis in the L2 norm; the worst frame."""
    high = np.zeros(modes.shape, dtype=bool)
    for k in modes.wavenumbers:
        high = high | (np.abs(k) > 2 / 3 * np.abs(k).max())
    squares = np.abs(modes.to_modes(frames)) ** 2
    axes = tuple(range(1, squares.ndim))
    whole = squares.sum(axis=axes)
    return float(np.sqrt((squares * high).sum(axis=axes) / np.maximum(whole, 1e-300)).max())
