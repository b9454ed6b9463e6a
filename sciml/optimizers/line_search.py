"""A line search for the strong Wolfe conditions, down to the rounding of the function's values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Evaluate = Callable[[float], tuple[float, Tensor, float]]
"""From a step to value, gradient and slope along the direction there."""

_SHARE = 0.1  # of a bracket, from each end, where interpolation may not go
_GROWTH = 10.0  # of the step while nothing brackets


@dataclass(frozen=True)
class Point:
    """Value, gradient and slope at one step along the direction."""

    step: float
    value: float
    gradient: Tensor
    slope: float


def strong_wolfe(
    evaluate: Evaluate,
    start: Point,
    first: float,
    *,
    decrease: float = 1e-4,
    curvature: float = 0.9,
    most: int = 25,
) -> Point | None:
    r"""A step :math:`\alpha` with enough decrease and little slope left, or None after ``most`` evaluations.

    Conditions, with :math:`\phi` the function along the direction:

    .. math:: \phi(\alpha) \le \phi(0) + c_1 \alpha \phi'(0), \qquad |\phi'(\alpha)| \le c_2 |\phi'(0)|.

    Near a minimum the first one drowns in rounding; a step whose value is equal within rounding is then
    judged by its slope alone, :math:`(2 c_1 - 1) \phi'(0) \ge \phi'(\alpha) \ge c_2 \phi'(0)`.

    Parameters
    ----------
    evaluate : callable
    start : Point
        At step 0, with negative slope.
    first : float
        The step that is tried first.
    decrease, curvature : float
        :math:`0 < c_1 < c_2 < 1`.
    most : int
        Evaluations.

    Source: Nocedal and Wright, *Numerical Optimization* (2006), algorithms 3.5 and 3.6; Hager and Zhang,
    *SIAM J. Optim.* 16 (2005) 170, equation 4.3, for values within rounding.

    Examples
    --------
    >>> import torch
    >>> def parabola(step):
    ...     return (step - 1) ** 2, torch.tensor([2 * (step - 1)]), 2 * (step - 1)
    >>> found = strong_wolfe(parabola, Point(0.0, *parabola(0.0)), 0.1, curvature=0.1)
    >>> abs(found.slope) <= 0.2
    True
    """
    noise = 8 * math.ulp(abs(start.value))

    def falls(point: Point) -> bool:
        if point.value <= start.value + decrease * point.step * start.slope:
            return True
        return point.value <= start.value + noise and point.slope <= (2 * decrease - 1) * start.slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= curvature * abs(start.slope)

    low, high, step = start, None, first
    for _ in range(most):
        point = Point(step, *evaluate(step))
        finite = math.isfinite(point.value) and math.isfinite(point.slope)
        if not finite or not falls(point) or (point.value > low.value + noise and low.step > 0):
            high = point
        elif flat(point):
            return point
        else:
            if point.slope * ((high.step if high is not None else math.inf) - point.step) >= 0:
                high = low
            low = point
        step = _next(low, high)
        if high is not None and abs(high.step - low.step) <= 1e-14 * abs(high.step):
            break
    # The best that fell enough is progress, though its slope is not small.
    return low if low.value < start.value else None


def _next(low: Point, high: Point | None) -> float:
    """Between two ends by a cubic polynomial, away from both; beyond ``low`` if nothing brackets."""
    if high is None:
        return _GROWTH * low.step
    width = high.step - low.step
    if not (math.isfinite(high.value) and math.isfinite(high.slope)):
        return low.step + _SHARE * width
    # The minimum of the cubic through both values and slopes, Nocedal and Wright 3.59.
    bend = low.slope + high.slope - 3 * (high.value - low.value) / width
    root = bend * bend - low.slope * high.slope
    step = low.step + width / 2
    if root >= 0:
        chord = math.copysign(math.sqrt(root), width)
        divisor = high.slope - low.slope + 2 * chord
        if divisor:
            step = high.step - width * (high.slope + chord - bend) / divisor
    least, greatest = sorted((low.step + _SHARE * width, high.step - _SHARE * width))
    return min(max(step, least), greatest)
