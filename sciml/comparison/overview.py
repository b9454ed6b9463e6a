"""Every entry on every benchmark in one table: error with its interval, parameters, time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from sciml.assessment import milliseconds, percent
from sciml.comparison.lines import Line
from sciml.comparison.panels import Panel, short
from sciml.comparison.statistics import Estimate

LONGEST = 18  # of a name, so that the longest name of a benchmark has room


def overview(benchmarks: Iterable[tuple[str, Sequence[Line]]]) -> Panel:
    """Benchmarks in their order, with their entries from the best on.

    Parameters
    ----------
    benchmarks : iterable of (name, lines)
        Lines as `sciml.comparison.lines.lines_of` puts them; references are left out.
    """
    cells = [
        [
            short(line.name, LONGEST),
            name,
            percent(line.error.value) if line.done else "failed",
            interval(line.error),
            or_dash(line.costs.get("parameters"), "{:,.0f}".format),
            or_dash(line.costs.get("seconds_per_epoch"), milliseconds),
        ]
        for name, lines in benchmarks
        for line in lines
        if line.kind == "entry"
    ]
    heads = ["", "benchmark", "mean", "95% interval", "parameters", "per epoch"]
    return Panel("Relative L2 errors on the test samples, and costs", heads, cells)


def interval(estimate: Estimate) -> str:
    """The bounds as percentages, or a dash."""
    if not math.isfinite(estimate.low):
        return "-"
    return f"{percent(estimate.low)} to {percent(estimate.high)}"


def or_dash(value: float | None, form: Callable[[float], str]) -> str:
    """The number in this form, or a dash where it is not known."""
    return "-" if value is None or math.isnan(value) else form(value)
