"""Tables of measured cases, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sciml.kernels.bench.harness import Measured

Setting = int | float | str


@dataclass(frozen=True)
class Case:
    """What was set, who took part, who could not and why."""

    settings: Mapping[str, Setting]
    results: Sequence[Measured]
    skipped: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """Cases with the same settings.

    Parameters
    ----------
    name : str
    caption : str
        What is timed, in whole sentences.
    cases : sequence of Case
    skipped : str
        The reason if the whole part could not run.
    """

    name: str
    caption: str
    cases: Sequence[Case]
    skipped: str = ""


def markdown(table: Table) -> str:
    """The table with its caption."""
    lines = [f"### {table.name}", "", table.caption, ""]
    if table.skipped:
        return "\n".join([*lines, f"Skipped: {table.skipped}", ""])
    figures = list(dict.fromkeys(name for case in table.cases for m in case.results for name in m.figures))
    head = ["who", "ms (quartiles)", "time / first (quartiles)", "peak MiB", "difference", *figures]
    settings = list(table.cases[0].settings) if table.cases else []
    lines += [_row([*settings, *head]), _row(["---"] * (len(settings) + len(head)))]
    reasons: dict[str, None] = {}
    for case in table.cases:
        for measured in case.results:
            cells = [str(value) for value in case.settings.values()]
            lines.append(_row([*cells, *_cells(measured, case.results[0], figures)]))
        reasons |= dict.fromkeys(f"{name}: {reason}" for name, reason in case.skipped.items())
    return "\n".join([*lines, "", *reasons, *([""] if reasons else [])])


def _cells(measured: Measured, first: Measured, figures: Sequence[str]) -> list[str]:
    lower, middle, upper = (1e3 * seconds for seconds in measured.spread)
    low, ratio, high = measured.ratio(first)
    return [
        measured.name,
        f"{middle:.3g} ({lower:.3g}-{upper:.3g})",
        "1" if measured is first else f"{ratio:.2f} ({low:.2f}-{high:.2f})",
        f"{measured.peak_bytes / 2**20:.3g}",
        "-" if measured is first or measured.difference is None else f"{measured.difference:.0e}",
        *(f"{measured.figures[name]:.3g}" if name in measured.figures else "-" for name in figures),
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def as_json(table: Table) -> dict[str, Any]:
    """The same numbers under names, seconds and bytes."""
    return {
        "name": table.name,
        "caption": table.caption,
        "skipped": table.skipped,
        "cases": [
            {
                "settings": dict(case.settings),
                "results": [_entry(measured, case.results[0]) for measured in case.results],
                "skipped": dict(case.skipped),
            }
            for case in table.cases
        ],
    }


def _entry(measured: Measured, first: Measured) -> dict[str, Any]:
    lower, middle, upper = measured.spread
    low, ratio, high = measured.ratio(first)
    return {
        "name": measured.name,
        "median_s": middle,
        "lower_quartile_s": lower,
        "upper_quartile_s": upper,
        "seconds": list(measured.seconds),
        "ratio": ratio,
        "ratio_lower": low,
        "ratio_upper": high,
        "peak_bytes": measured.peak_bytes,
        "difference": measured.difference,
        "figures": dict(measured.figures),
    }
