"""What a classical solver needs for the error of a surrogate, and how many solves repay a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from sciml.assessment import milliseconds, percent
from sciml.comparison.contest import Reference
from sciml.comparison.ladder import ladder as ladder
from sciml.errors import ConfigError

_TINY = 1e-16  # stands for the error zero


def _error(row: Reference) -> float:
    return float(np.mean(row.metrics["relative_l2"]))


def _seconds(row: Reference) -> float:
    return math.nan if row.seconds_per_sample is None else row.seconds_per_sample


@dataclass(frozen=True)
class EqualError:
    """What a classical solver needs for a given mean relative L2 error.

    Attributes
    ----------
    error : float
        The one that was asked for.
    relation : "equal", "cheaper", "not reached" or "unknown"
        "equal": ``seconds`` is for exactly that error.  "cheaper": even the cheapest row is more accurate, so
        that less than ``seconds``, those of that row, are enough.  "not reached": no row is as accurate; more
        than ``seconds``, those of the most accurate, are needed.  "unknown": there is no row.
    seconds, low, high : float or None
        Of one solve, and an interval from the spread of the timings alone.
    resolution : float or None
        Between those of the two rows, as ``seconds`` is.
    order : float or None
        Of the error in the spacing, observed between the rows around; None where they share the resolution.
    rate : float or None
        The error falls like seconds^-rate between these rows.
    names : tuple of str
        Of the rows around: one or two.
    floor : float or None
        Discretization error of the data: an error below it measures the agreement with the data's solver, not
        with the solution.
    """

    error: float
    relation: Literal["equal", "cheaper", "not reached", "unknown"]
    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    resolution: float | None = None
    order: float | None = None
    rate: float | None = None
    names: tuple[str, ...] = ()
    floor: float | None = None

    @property
    def below_floor(self) -> bool:
        """Whether the error is smaller than that of the data themselves."""
        return self.floor is not None and self.error < self.floor

    def speed_up(
        self, seconds: float, interval: tuple[float, float] | None = None
    ) -> tuple[float, float, float] | None:
        """Solver's over surrogate's seconds at equal error, and its interval; below 1 the solver is faster.

        For "cheaper" it is an upper, for "not reached" a lower bound; None where nothing is known.

        Parameters
        ----------
        seconds : float, positive
            Of one sample with the surrogate.
        interval : (low, high), optional
            Of these seconds.
        """
        if self.seconds is None or self.low is None or self.high is None or not seconds > 0:
            return None
        low, high = interval or (seconds, seconds)
        return self.seconds / seconds, self.low / high, self.high / low

    def verdict(self, seconds: float | None = None) -> str:
        """The finding in words, with the speed-up of a surrogate that takes ``seconds`` per sample."""
        if self.relation == "unknown":
            return "No classical solver was run on these data."
        assert self.seconds is not None
        took, asked = milliseconds(self.seconds), percent(self.error)
        found = {
            "equal": f"For an error of {asked} the classical solver takes {took}",
            "cheaper": f"For an error of {asked} the classical solver takes less than {took}",
            "not reached": f"No classical row reaches an error of {asked}; it takes more than {took}",
        }[self.relation]
        found += f" ({' to '.join(self.names)}"
        found += f", observed order {self.order:.1f})" if self.order is not None else ")"
        ratio = None if seconds is None else self.speed_up(seconds)
        if ratio is not None:
            value, low, high = ratio
            bound = {"equal": "", "cheaper": "at most ", "not reached": "at least "}[self.relation]
            found += f": the surrogate is {bound}{value:.3g} times as fast ({low:.3g} to {high:.3g})"
        if self.below_floor:
            assert self.floor is not None
            found += (
                f". The data themselves have an error of {percent(self.floor)}: below that, a smaller error "
                "is agreement with the solver that made them, no better solution"
            )
        return found + "."


def pareto_front(references: Sequence[Reference]) -> list[Reference]:
    """The classical rows that no other beats in both time and error, from cheap to costly."""
    rows = [r for r in references if r.family == "classical" and _seconds(r) > 0 and math.isfinite(_error(r))]
    front: list[Reference] = []
    for row in sorted(rows, key=lambda r: (_seconds(r), _error(r))):
        if not front or _error(row) < _error(front[-1]):
            front.append(row)
    return front


def equal_error(references: Sequence[Reference], error: float, *, floor: float | None = None) -> EqualError:
    """The seconds and the resolution at which a classical solver has exactly this mean relative L2 error.

    Between the two rows of the `pareto_front` around it, the logarithms of seconds and of resolution are
    linear in that of the error: exact where both are powers, and monotone.  Nothing is extrapolated.

    Parameters
    ----------
    references : sequence of Reference
        As `ladder` yields them; trivial predictors are left out.
    error : float, positive
    floor : float, optional
        Discretization error of the data; by default that in the settings of the rows.

    Raises
    ------
    ConfigError
        If the error is not positive.

    Examples
    --------
    Errors h^2 and seconds h^-3 for h = 1/n:

    >>> rows = [
    ...     Reference(f"n={n}", "classical", {"relative_l2": [n**-2.0]}, 1e-6 * n**3, {"resolution": n})
    ...     for n in (8, 16, 32)
    ... ]
    >>> found = equal_error(rows, 1 / 12**2)
    >>> round(found.resolution, 9), round(found.seconds / 12**3 * 1e6, 9), round(found.order, 9)
    (12.0, 1.0, 2.0)
    """
    if not error > 0:
        raise ConfigError(f"equal_error: the error must be positive, got {error}.")
    front = pareto_front(references)
    if not front:
        return EqualError(error, "unknown", floor=floor)
    told = [row.settings.get("floor") for row in front]
    floor = next((value for value in told if value is not None), None) if floor is None else floor
    for cheap, costly in pairwise(front):
        if _error(cheap) >= error >= _error(costly):
            return _between(cheap, costly, error, floor)
    outside = front[0] if error > _error(front[0]) else front[-1]
    relation: Literal["cheaper", "not reached"] = "cheaper" if outside is front[0] else "not reached"
    if len(front) == 1 and error < _error(outside):
        relation = "not reached"
    low, high = _interval(outside)
    return EqualError(
        error,
        relation,
        _seconds(outside),
        low,
        high,
        outside.settings.get("resolution"),
        names=(outside.name,),
        floor=floor,
    )


def _between(cheap: Reference, costly: Reference, error: float, floor: float | None) -> EqualError:
    errors = [math.log(max(_error(row), _TINY)) for row in (cheap, costly)]
    part = (errors[0] - math.log(error)) / (errors[0] - errors[1])

    def at(first: float, second: float) -> float:
        return math.exp((1 - part) * math.log(first) + part * math.log(second))

    def falls(first: float, second: float) -> float | None:
        return None if first == second else (errors[0] - errors[1]) / math.log(second / first)

    (low, high), (lower, higher) = _interval(cheap), _interval(costly)
    sizes = [row.settings.get("resolution") for row in (cheap, costly)]
    resolution = order = None
    if sizes[0] and sizes[1]:
        resolution, order = at(sizes[0], sizes[1]), falls(sizes[0], sizes[1])
    return EqualError(
        error,
        "equal",
        at(_seconds(cheap), _seconds(costly)),
        at(low, lower),
        at(high, higher),
        resolution,
        order,
        falls(_seconds(cheap), _seconds(costly)),
        (cheap.name, costly.name),
        floor,
    )


def _interval(row: Reference) -> tuple[float, float]:
    """Of the seconds, where the row states one."""
    seconds = _seconds(row)
    return row.settings.get("low", seconds), row.settings.get("high", seconds)


@dataclass(frozen=True)
class BreakEven:
    """How many solves repay a surrogate, None for never.

    Attributes
    ----------
    training : int or None
        What the training cost.
    generation : int or None
        What training and the generation of its data cost.
    """

    training: int | None
    generation: int | None

    def __str__(self) -> str:
        """In words, for tables."""
        if self.training is None:
            return "never"
        return f"{self.training:,} solves, {self.generation:,} with the data"


def generation_seconds(references: Sequence[Reference], samples: int | None) -> float | None:
    """What so many solves cost with the solver that made the data, for `break_even`; None if not known.

    A lower bound: its steps may be longer than those of the data, and drawing and writing are not in it.
    """
    native = [_seconds(row) for row in references if row.settings.get("native")]
    return samples * min(native) if native and samples is not None else None


def break_even(
    training_seconds: float, generation_seconds: float, surrogate_seconds: float, solver_seconds: float
) -> BreakEven:
    """The number of solves from which on training and using a surrogate is cheaper than the solver.

    Parameters
    ----------
    training_seconds, generation_seconds : float
        Of the training, and of making its data.
    surrogate_seconds, solver_seconds : float
        Of one solve at equal error.

    Raises
    ------
    ConfigError
        If a time is negative or not finite.

    Examples
    --------
    >>> break_even(60.0, 30.0, 0.01, 0.04), str(break_even(60.0, 30.0, 0.04, 0.04))
    (BreakEven(training=2000, generation=3000), 'never')
    """
    seconds = (training_seconds, generation_seconds, surrogate_seconds, solver_seconds)
    if not all(0 <= value < math.inf for value in seconds):
        raise ConfigError(f"break_even: times must be finite and not negative, got {seconds}.")
    gain = solver_seconds - surrogate_seconds
    if gain <= 0:
        return BreakEven(None, None)
    first, second = training_seconds / gain, (training_seconds + generation_seconds) / gain
    # Quotients of decimal numbers miss the whole number they stand for by rounding.
    return BreakEven(math.ceil(first * (1 - 1e-12)), math.ceil(second * (1 - 1e-12)))
