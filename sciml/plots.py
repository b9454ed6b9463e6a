"""Figures for reports: fields, training, errors, and error against time; without a window or global state.

Every function returns a `matplotlib.figure.Figure` of its own; `png` turns it into bytes, equal for equal
data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.field_plots import FieldRow, field_table, fields
from sciml.figures import COLORS, FAINT, GRAY, Look, label_of, looks, new_figure, png, quiet, titled
from sciml.scores import Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLORS",
    "FieldRow",
    "crossed",
    "error_against_time",
    "errors",
    "field_table",
    "fields",
    "history",
    "over_time",
    "png",
    "spectra",
]

Float = NDArray[np.float64]


def history(rows: Iterable[Mapping[str, Any]], *, title: str = "") -> Figure:
    """Loss against step on a logarithmic scale, with the validation metrics.

    Parameters
    ----------
    rows : mappings with "step", "loss" and, where there was one, "validation" (a mapping of metrics)
        As in a run's ``metrics.jsonl``.  More than 2000 steps are shown by their medians over equal pieces
        and the range of the middle 80 %.
    """
    listed = list(rows)
    step = np.array([row["step"] for row in listed if "loss" in row], dtype=np.float64)
    loss = np.array([row["loss"] for row in listed if "loss" in row], dtype=np.float64)
    figure = new_figure(5.6, 3.6)
    ax = figure.subplots()
    if len(step) > 2000:
        pieces = np.array_split(np.arange(len(step)), 400)
        low, middle, high = np.array([np.nanquantile(loss[p], [0.1, 0.5, 0.9]) for p in pieces]).T
        step = np.array([step[p].mean() for p in pieces])
        ax.fill_between(step, low, high, color=COLORS[0], alpha=0.2, linewidth=0)
        loss = middle
    ax.plot(step, loss, color=COLORS[0], linewidth=1.2, label="training loss")
    found: dict[str, list[tuple[float, float]]] = {}
    for row in listed:
        for name, value in (row.get("validation") or {}).items():
            if name.endswith(("_time", "_censored")):
                continue  # how long roll-outs last: other units, and larger is better
            found.setdefault(name, []).append((float(row["step"]), float(value)))
    for i, (name, points) in enumerate(found.items(), start=1):
        xs, ys = zip(*points, strict=True)
        color = COLORS[i % len(COLORS)]
        ax.plot(xs, ys, color=color, marker="o", markersize=3, linewidth=1.4, label=f"validation {name}")
    ax.set_yscale("log" if _positive(ax) else "linear")
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    if ax.lines:
        ax.legend(frameon=False, fontsize=9)
    quiet(ax, grid=True)
    return titled(figure, title)


def errors(
    scores: Scores | Mapping[str, Scores], *, label: str = "relative L2 error", title: str = ""
) -> Figure:
    """How per-sample errors are distributed: a histogram on a logarithmic axis, with mean and median.

    Parameters
    ----------
    scores : Scores, or a mapping of names to Scores
        Several are drawn on common bins.
    label : str
        Of the horizontal axis.
    """
    listed = {"": scores} if isinstance(scores, Scores) else dict(scores)
    values = {name: s.samples[np.isfinite(s.samples)] for name, s in listed.items()}
    every = np.concatenate([*values.values(), np.empty(0)])
    logarithmic = every.size > 0 and bool(every.min() > 0) and bool(every.max() > every.min())
    count = min(40, max(8, math.isqrt(max((v.size for v in values.values()), default=0)) * 2))
    figure = new_figure(5.6, 3.4)
    ax = figure.subplots()
    if every.size:
        edges = np.histogram_bin_edges(np.log(every) if logarithmic else every, count)
        bins = [float(v) for v in (np.exp(edges) if logarithmic else edges)]
        # Rounding of the exponential must not push the extremes out of the histogram.
        bins[0], bins[-1] = min(bins[0], float(every.min())), max(bins[-1], float(every.max()))
        for i, (name, sample) in enumerate(values.items()):
            color = COLORS[i % len(COLORS)]
            ax.hist(sample, bins=bins, color=color, alpha=0.35 if len(values) > 1 else 0.6)
            text = f"{name}: " if name else ""
            mean, median = listed[name].mean, listed[name].median
            ax.axvline(mean, color=color, linewidth=1.6, label=f"{text}mean {mean:.3g}")
            ax.axvline(median, color=color, linewidth=1.6, linestyle=":", label=f"{text}median {median:.3g}")
        ax.legend(frameon=False, fontsize=9)
    if logarithmic:
        ax.set_xscale("log")
    ax.set_xlabel(label)
    ax.set_ylabel("samples")
    quiet(ax)
    return titled(figure, title)


def over_time(
    curves: Mapping[str, Mapping[str, ArrayLike]],
    times: ArrayLike,
    *,
    units: str = "",
    drawn: Mapping[str, Look] | None = None,
    title: str = "",
) -> Figure:
    """Relative error of roll-outs against time, with the interval of the mean, on a logarithmic scale.

    Parameters
    ----------
    curves : mapping of name to a mapping with "mean" and optionally "low" and "high", (frames,) each
        The first one is drawn thick, unless ``drawn`` is given.
    times : (frames,)
    units : str
        Of time.
    drawn : mapping of name to Look, optional
        Colors, where names have theirs on a page.
    """
    places = np.asarray(times, dtype=np.float64)
    figure = new_figure(5.8, 4.4)
    ax = figure.subplots()
    for i, (name, curve) in enumerate(curves.items()):
        color = COLORS[i % len(COLORS)] if drawn is None else drawn[name].color
        width = 1.2 + 1.2 * (i == 0) if drawn is None else 1.8
        ax.plot(places, _finite(curve["mean"]), color=color, linewidth=width, label=name)
        if "low" in curve and "high" in curve:
            low, high = _finite(curve["low"]), _finite(curve["high"])
            ax.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
    ax.set_yscale("log" if _positive(ax) else "linear")
    ax.set_xlabel(label_of("time since the last frame given", units))
    ax.set_ylabel("relative L2 error of the frame")
    if ax.lines:  # below, where it hides no line
        figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=2)
    quiet(ax, grid=True)
    return titled(figure, title)


def spectra(
    curves: Mapping[str, ArrayLike],
    *,
    quantity: str = "energy",
    drawn: Mapping[str, Look] | None = None,
    title: str = "",
) -> Figure:
    """A quantity against the shell of wavenumbers, both logarithmic; shell 0 is left out.

    Parameters
    ----------
    curves : mapping of name to (shells,)
        The first one, the truth, is drawn thick and gray.
    drawn : mapping of name to Look, optional
        Colors of the others, where names have theirs on a page.
    """
    figure = new_figure(5.8, 4.4)
    ax = figure.subplots()
    top, least = 0.0, math.inf
    for i, (name, values) in enumerate(curves.items()):
        shown = _finite(values)[1:]
        shells = np.arange(1, len(shown) + 1)
        color = COLORS[(i - 1) % len(COLORS)] if drawn is None or i == 0 else drawn[name].color
        style: dict[str, Any] = {"color": color, "linewidth": 1.4}
        if i == 0:
            style = {"color": FAINT, "linewidth": 4.0}
            top = float(np.nanmax(shown, initial=0.0))
        positive = shown > 0
        least = min(least, float(shown[positive].min(initial=math.inf)))
        ax.plot(shells[positive], shown[positive], label=name, **style)
    if top > 0:
        ax.set_xscale("log")
        ax.set_yscale("log")
        # Below is the rounding of stored numbers, which would fill half of the picture.
        ax.set_ylim(bottom=max(1e-14 * top, 0.3 * least), top=5 * top)
    ax.set_xlabel("shell of wavenumbers")
    ax.set_ylabel(quantity)
    if ax.lines:  # below, where it hides no line
        figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=2)
    quiet(ax, grid=True)
    return titled(figure, title)


def error_against_time(
    rows: Iterable[Mapping[str, Any]],
    *,
    noun: str = "sample",
    cost: str = "",
    drawn: Mapping[str, Look] | None = None,
    title: str = "",
) -> Figure:
    """Relative error against seconds per sample, both logarithmic: what a speed-up is worth.

    Lower left is better.  A surrogate is faster at equal accuracy only where it lies left of the solver's
    line.

    Parameters
    ----------
    rows : mappings with "name", "seconds", "error" and optionally "kind", "note", "low", "high", "seeds"
        ``kind`` is "surrogate", "solver" (the default) or "trivial".  Rows of one name are joined by a line
        if it is a solver's, at several resolutions; ``note`` is written at its point, on the right above or,
        if ``below``, on the left below; ``low`` and ``high`` are an interval of the error; ``seeds`` are
        pairs (seconds, error) of single trainings.  A trivial predictor has no seconds: its error is a line
        across.
    noun : str
        What a sample is.
    cost : str
        Of the horizontal axis, if it is not the time per sample.
    drawn : mapping of name to Look, optional
        Colors and markers of the surrogates, where names have theirs on a page.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str(row["name"]), []).append(row)
    kinds = {name: group[0].get("kind", "solver") for name, group in groups.items()}
    named = {kind: [name for name in groups if kinds[name] == kind] for kind in ("surrogate", "solver")}
    styles = looks(named["surrogate"]) if drawn is None else drawn
    figure = new_figure(5.8, 4.4)
    ax = figure.subplots()
    for name in named["surrogate"]:
        _marked(ax, groups[name], styles[name])
    for i, name in enumerate(named["solver"]):
        _ladder(ax, groups[name], i)
    if ax.lines:
        ax.set_xscale("log")
        ax.set_yscale("log")
        figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=min(len(groups), 4))
    ax.margins(0.12)
    crossed(ax, {name: float(g[0]["error"]) for name, g in groups.items() if kinds[name] == "trivial"})
    ax.set_xlabel(cost or f"time per {noun} [s]")
    ax.set_ylabel("relative error")
    quiet(ax, grid=True)
    return titled(figure, title)


def _marked(ax: Axes, rows: Iterable[Mapping[str, Any]], look: Look) -> None:
    """Surrogates of one name, with what their seeds did and the interval of the mean."""
    style: dict[str, Any] = {"color": look.color, "marker": look.marker, "linestyle": "none"}
    for i, row in enumerate(rows):
        x, y = float(row["seconds"]), float(row["error"])
        for seconds, error in row.get("seeds", ()):
            ax.plot(seconds, error, markersize=4, alpha=0.45, markeredgewidth=0, **style)
        label = str(row["name"]) if i == 0 else "_"
        ax.plot(
            x,
            y,
            markersize=8 * look.size,
            markeredgecolor="white",
            markeredgewidth=0.8,
            zorder=4,
            label=label,
            **style,
        )
        if "low" in row and "high" in row:
            ax.vlines(x, float(row["low"]), float(row["high"]), color=look.color, linewidth=1.6, zorder=3)


def _ladder(ax: Axes, rows: Iterable[Mapping[str, Any]], position: int) -> None:
    """A solver at several settings: a gray line, with its notes above the points."""
    ordered = sorted(rows, key=lambda row: float(row["seconds"]))
    seconds = [float(row["seconds"]) for row in ordered]
    values = [float(row["error"]) for row in ordered]
    gray, dashes = ("#444444", "#888888")[position % 2], ("-", "--", ":")[position // 2 % 3]
    style: dict[str, Any] = {"color": gray, "linestyle": dashes, "marker": "s", "markersize": 4.5}
    ax.plot(seconds, values, linewidth=1.3, label=str(ordered[0]["name"]), **style)
    place: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7.5, "color": GRAY}
    for row, x, y in zip(ordered, seconds, values, strict=True):
        below = bool(row.get("below"))
        place |= {"xytext": (-5, -10) if below else (5, 4), "ha": "right" if below else "left"}
        if row.get("note"):
            ax.annotate(str(row["note"]), (x, y), **place)


def crossed(ax: Axes, levels: Mapping[str, float]) -> None:
    """Faint lines across at errors of methods that cost nothing, with their names, equal ones together."""
    rising = sorted((value, name) for name, value in levels.items() if math.isfinite(value))
    if not rising:
        return
    for value, _ in rising:
        ax.axhline(value, color=FAINT, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    low, high = ax.get_ylim()
    logarithmic = ax.get_yscale() == "log"
    size = math.log(high / low) if logarithmic else high - low
    groups: list[tuple[float, list[str]]] = []
    for value, name in rising:
        gap = (math.log(value / groups[-1][0]) if logarithmic else value - groups[-1][0]) if groups else size
        if groups and gap < 0.06 * size:  # the height of a line of text
            groups[-1] = (value, [*groups[-1][1], name])
        else:
            groups.append((value, [name]))
    for value, names in groups:
        ax.annotate(
            ", ".join(names),
            (0.01, value),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            fontsize=7.5,
            color=GRAY,
        )


def _finite(values: ArrayLike) -> Float:
    """NaN, a gap in a line, for what is infinite."""
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def _positive(ax: Axes) -> bool:
    """Whether every line has positive values, of which there is at least one."""
    values = [np.asarray(line.get_ydata(), dtype=np.float64) for line in ax.lines]
    finite = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.empty(0)
    return finite.size > 0 and bool(finite.min() > 0)
