"""Figures of a comparison, made from its rows: error against cost, and how errors are distributed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml import plots
from sciml.assessment import milliseconds, percent
from sciml.comparison.contest import Reference
from sciml.comparison.equal_error import EqualError, equal_error, pareto_front
from sciml.comparison.results import DECISIVE, Float, Results, Training
from sciml.comparison.statistics import Estimate, mean_error
from sciml.figures import GRAY, Look, as_duration, as_percent, log_ticks, new_figure, quiet, widened
from sciml.report import ROUNDING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.8, 4.4
ERROR = "relative L2 error"


@dataclass(frozen=True)
class Picture:
    """A figure with what is said about it.

    Attributes
    ----------
    name : str
        Of a file.
    figure : Figure
    alt : str
        What the figure shows, with numbers, for those who do not see it.
    caption : str
        How to read it.
    """

    name: str
    figure: Figure
    alt: str
    caption: str


@dataclass(frozen=True)
class Sheet:
    """What figures are made from.

    Attributes
    ----------
    results : Results
    drawn : mapping of entry to Look
    equal : mapping of entry to EqualError
        What the classical solver needs for the error of the entry.
    """

    results: Results
    drawn: Mapping[str, Look]
    equal: Mapping[str, EqualError] = field(default_factory=dict)

    @property
    def trivial(self) -> dict[str, float]:
        """The mean errors of the predictors that cost nothing."""
        return {row.name: _mean(row) for row in self.results.family("trivial")}

    @classmethod
    def of(cls, results: Results, drawn: Mapping[str, Look]) -> Sheet:
        """With the classical solver at the errors of the entries."""
        rows = results.family("classical")
        errors = {training.entry: training.mean() for training in results.main}
        return cls(results, drawn, {n: equal_error(rows, e) for n, e in errors.items() if 0 < e < math.inf})


def _mean(reference: Reference) -> float:
    return float(np.mean(reference.metrics[DECISIVE]))


def spoken(parts: Mapping[str, str]) -> str:
    """Names and values as a part of a sentence."""
    return "; ".join(f"{name} {value}" for name, value in parts.items())


def training_cost(sheet: Sheet) -> Picture | None:
    """Error against seconds of training, for every budget."""
    main = {training.entry: training.samples for training in sheet.results.main}
    points, said = [], {}
    for training in sheet.results.trainings:
        seconds, estimate = training.of("train_seconds"), mean_error(training.values())
        if training.samples == main[training.entry] and seconds and math.isfinite(estimate.value):
            points.append(_point(training, seconds, estimate, "train_seconds"))
            said[training.entry] = f"{percent(estimate.value)} after {seconds:.3g} s"
    if not points:
        return None
    rows = [*points, *({"name": n, "error": e, "kind": "trivial"} for n, e in sheet.trivial.items())]
    figure = plots.error_against_time(rows, cost="time of training", drawn=sheet.drawn)
    _read_off(figure.axes[0])
    return Picture(
        "training-cost",
        figure,
        f"Error against training time. {spoken(said)}.",
        "Error against time of training. Large: mean over seeds and samples with its 95% interval; small: "
        "each seed. Dashed: predictors that learn nothing. Lower left is better.",
    )


def inference_cost(sheet: Sheet) -> Picture | None:
    """Error against seconds per solve, with the classical solvers as lines."""
    points, said = [], {}
    for training in sheet.results.main:
        seconds, estimate = training.of("seconds_per_sample"), mean_error(training.values())
        if seconds and math.isfinite(estimate.value):
            points.append(_point(training, seconds, estimate, "seconds_per_sample"))
            said[training.entry] = f"{percent(estimate.value)} in {milliseconds(seconds)}"
    steps = ladder(sheet.results)
    if not points and not steps:
        return None
    faster = [e.seconds > p["seconds"] for p in points if (e := sheet.equal.get(p["name"])) and e.seconds]
    for step in steps:  # ratios of times stand on the other side
        step["below"] = 2 * sum(faster) > len(faster)
    rows = [*points, *steps, *({"name": n, "error": e, "kind": "trivial"} for n, e in sheet.trivial.items())]
    figure = plots.error_against_time(rows, cost="time per solve", drawn=sheet.drawn)
    ax = figure.axes[0]
    for point in points:
        equal = sheet.equal.get(point["name"])
        if equal is not None and equal.relation == "equal" and equal.seconds is not None:
            _mark_equal(ax, point, equal.seconds, sheet.drawn[point["name"]].color)
    _read_off(ax)
    said |= {
        " ".join(filter(None, (row["name"], row["note"]))): (
            f"{percent(row['error'])} in {milliseconds(row['seconds'])}"
        )
        for row in steps
    }
    return Picture(
        "inference-cost",
        figure,
        f"Error against time per solve. {spoken(said)}.",
        "Error against time per solve. Gray: the classical solver, with the number of points along an axis; "
        "rings: where it is as accurate as an entry, and its time over that of the entry. Left of the gray "
        "line is faster at equal error.",
    )


def _point(training: Training, seconds: float, estimate: Estimate, clock: str) -> dict[str, Any]:
    means = training.values().mean(axis=1)
    return {
        "name": training.entry,
        "kind": "surrogate",
        "seconds": seconds,
        "error": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "seeds": [(u[clock], e) for u, e in zip(training.units, means, strict=True) if u.get(clock)],
    }


def ladder(results: Results) -> list[dict[str, Any]]:
    """Classical solvers as points of `sciml.plots.error_against_time`: those that no other row beats.

    Without the one that made the data, whose error is the rounding of stored numbers.
    """
    front = pareto_front([row for row in results.family("classical") if _mean(row) > ROUNDING])
    notes = {row.name: _short(row.settings.get("resolution")) for row in front}
    return [
        {
            "name": _stem(row.name),
            "kind": "solver",
            "seconds": row.seconds_per_sample,
            "error": _mean(row),
            # Of several steps on one grid the shortest bears its name.
            "note": notes[row.name] if notes[row.name] not in list(notes.values())[i + 1 :] else "",
        }
        for i, row in enumerate(front)
    ]


def _stem(name: str) -> str:
    """The name of a solver without the resolution that it may carry."""
    words = name.split(" ")
    first = next((i for i, word in enumerate(words) if word[:1].isdigit()), len(words))
    return " ".join(words[:first]) or name


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "×".join(_short(v) for v in value) if len(set(value)) > 1 else f"{_short(value[0])}"
    return "" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)


def _mark_equal(ax: Axes, point: Mapping[str, Any], seconds: float, color: str) -> None:
    """A ring where the solver is as accurate, a line to it, and the ratio of times on its far side."""
    error, own = point["error"], point["seconds"]
    ax.plot([own, seconds], [error, error], color=color, linewidth=1.0, linestyle=":", zorder=2)
    ring: dict[str, Any] = {"marker": "o", "markersize": 9, "fillstyle": "none", "markeredgewidth": 1.5}
    ax.plot(seconds, error, color=color, zorder=5, **ring)
    side = 1 if seconds >= own else -1
    ax.annotate(
        f"{seconds / own:.2g}×",
        (seconds, error),
        xytext=(8 * side, 0),
        textcoords="offset points",
        ha="left" if side > 0 else "right",
        va="center",
        fontsize=8,
        color=color,
        fontweight="bold",
    )


def _read_off(ax: Axes) -> None:
    """Ticks in percent and in seconds."""
    ax.set_xlim(*widened(*ax.get_xlim(), 4.0))
    ax.set_ylabel(ERROR)
    log_ticks(ax.yaxis, as_percent)
    log_ticks(ax.xaxis, as_duration)


def distributions(sheet: Sheet) -> Picture | None:
    """Per-sample errors of every entry: density, quartiles, and the samples of each seed."""
    groups = [(t.entry, t.values(), sheet.drawn[t.entry].color) for t in sheet.results.main]
    for row in sheet.results.family("trivial"):
        groups.append((row.name, np.array([row.metrics[DECISIVE]]), GRAY))
    groups = [group for group in groups if (np.isfinite(group[1]) & (group[1] > 0)).sum() > 2]
    if not groups:
        return None
    figure = new_figure(WIDTH, max(2.4, 1.0 + 0.72 * len(groups)))
    ax = figure.subplots()
    ax.set_xscale("log")
    rng = np.random.default_rng(0)
    for i, (_, values, color) in enumerate(groups):
        _rain(ax, values, -i, color, rng)
    ax.set_yticks([-i for i in range(len(groups))], [wrapped(name) for name, _, _ in groups])
    ax.set_ylim(-len(groups) + 0.4, 0.72)
    ax.set_xlabel(f"{ERROR} of a sample")
    quiet(ax)
    ax.grid(True, axis="x", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0, labelsize=9)
    log_ticks(ax.xaxis, as_percent)
    said = {name: f"{percent(np.nanmedian(v))} (worst {percent(np.nanmax(v))})" for name, v, _ in groups}
    return Picture(
        "distributions",
        figure,
        f"Distribution of the errors of single samples. Medians: {spoken(said)}.",
        "Errors of single samples. Above: density over all seeds; box: quartiles, with the median (white) "
        "and the mean (line); below: every sample, one strip for each seed.",
    )


def _rain(ax: Axes, values: Float, place: float, color: str, rng: np.random.Generator) -> None:
    pooled = values[np.isfinite(values) & (values > 0)]
    logs = np.log(pooled)
    spread = float(logs.std()) or 0.1
    at = np.linspace(logs.min() - spread, logs.max() + spread, 160)
    width = 1.06 * spread * len(logs) ** -0.2  # Silverman's rule
    density = np.exp(-(((at[:, None] - logs) / width) ** 2) / 2).sum(axis=1)
    height = 0.52 * density / density.max()
    ax.fill_between(np.exp(at), place + 0.1, place + 0.1 + height, color=color, alpha=0.35, linewidth=0)
    low, quarter, median, most, high = np.quantile(pooled, [0.05, 0.25, 0.5, 0.75, 0.95])
    ax.plot([low, high], [place, place], color=color, linewidth=1.0)
    ax.plot([quarter, most], [place, place], color=color, linewidth=6.0, solid_capstyle="butt")
    ax.plot(median, place, marker="o", markersize=4.2, color="white", zorder=4)
    ax.plot([pooled.mean()] * 2, [place - 0.09, place + 0.09], color="black", linewidth=1.2, zorder=5)
    gap = 0.26 / max(len(values), 2)
    for seed, strip in enumerate(values):
        shown = strip[np.isfinite(strip) & (strip > 0)]
        height = place - 0.13 - gap * (seed + 0.5) + gap * rng.uniform(-0.32, 0.32, len(shown))
        ax.scatter(shown, height, s=4, color=color, alpha=0.4, linewidths=0, rasterized=True)


def wrapped(name: str, width: int = 16) -> str:
    """A name on lines short enough for the side of a figure."""
    import textwrap

    return "\n".join(textwrap.wrap(name, width)) or name


def pictures(sheet: Sheet) -> Iterator[Picture]:
    """All figures that the rows have data for."""
    from sciml.comparison import curves

    makers = (
        training_cost,
        inference_cost,
        distributions,
        curves.learning,
        curves.repayment,
        curves.efficiency,
        curves.transfer,
        curves.course,
        curves.spectrum,
        curves.bands,
        curves.search,
    )
    for maker in makers:
        picture = maker(sheet)
        if picture is not None:
            yield picture
