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

from sciml.field_plots import fields
from sciml.figures import COLORS, GRAY, label_of, new_figure, png, quiet, titled
from sciml.scores import Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLORS", "error_against_time", "errors", "fields", "history", "over_time", "png", "spectra"]

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
    curves: Mapping[str, Mapping[str, ArrayLike]], times: ArrayLike, *, units: str = "", title: str = ""
) -> Figure:
    """Relative error of roll-outs against time, with the interval of the mean, on a logarithmic scale.

    Parameters
    ----------
    curves : mapping of name to a mapping with "mean" and optionally "low" and "high", (frames,) each
        The first one is drawn thick.
    times : (frames,)
    units : str
        Of time.
    """
    places = np.asarray(times, dtype=np.float64)
    figure = new_figure(5.8, 4.4)
    ax = figure.subplots()
    for i, (name, curve) in enumerate(curves.items()):
        color = COLORS[i % len(COLORS)]
        ax.plot(places, _finite(curve["mean"]), color=color, linewidth=1.2 + 1.2 * (i == 0), label=name)
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


def spectra(curves: Mapping[str, ArrayLike], *, quantity: str = "energy", title: str = "") -> Figure:
    """A quantity against the shell of wavenumbers, both logarithmic; shell 0 is left out.

    Parameters
    ----------
    curves : mapping of name to (shells,)
        The first one, the truth, is drawn thick and gray.
    """
    figure = new_figure(5.8, 4.4)
    ax = figure.subplots()
    top = 0.0
    for i, (name, values) in enumerate(curves.items()):
        shown = _finite(values)[1:]
        shells = np.arange(1, len(shown) + 1)
        style: dict[str, Any] = {"color": COLORS[(i - 1) % len(COLORS)], "linewidth": 1.4}
        if i == 0:
            style = {"color": "#BBBBBB", "linewidth": 4.0}
            top = float(np.nanmax(shown, initial=0.0))
        positive = shown > 0
        ax.plot(shells[positive], shown[positive], label=name, **style)
    if top > 0:
        ax.set_xscale("log")
        ax.set_yscale("log")
        # Below is the rounding of stored numbers, which would fill half of the picture.
        ax.set_ylim(bottom=1e-14 * top, top=5 * top)
    ax.set_xlabel("shell of wavenumbers")
    ax.set_ylabel(quantity)
    if ax.lines:  # below, where it hides no line
        figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=2)
    quiet(ax, grid=True)
    return titled(figure, title)


def error_against_time(rows: Iterable[Mapping[str, Any]], *, noun: str = "sample", title: str = "") -> Figure:
    """Relative error against seconds per sample, both logarithmic: what a speed-up is worth.

    Lower left is better.  A surrogate is faster at equal accuracy only where it lies left of the solver's
    line.

    Parameters
    ----------
    rows : mappings with "name", "seconds", "error" and optionally "kind" ("surrogate" or "solver") and "note"
        Rows of one name are joined by a line (a solver at several resolutions); ``note`` is written at its
        point.
    noun : str
        What a sample is.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str(row["name"]), []).append(row)
    figure = new_figure(5.8, 4.0)
    ax = figure.subplots()
    for i, (name, group) in enumerate(groups.items()):
        ordered = sorted(group, key=lambda row: float(row["seconds"]))
        seconds = [float(row["seconds"]) for row in ordered]
        values = [float(row["error"]) for row in ordered]
        solver = ordered[0].get("kind", "solver") == "solver"
        ax.plot(
            seconds,
            values,
            color=COLORS[i % len(COLORS)],
            marker="s" if solver else "o",
            markersize=6 if solver else 9,
            linestyle="-" if solver else "none",
            linewidth=1.2,
            label=name,
        )
        for row, x, y in zip(ordered, seconds, values, strict=True):
            if row.get("note"):
                ax.annotate(
                    str(row["note"]),
                    (x, y),
                    xytext=(6, 4),
                    textcoords="offset points",
                    fontsize=8,
                    color=GRAY,
                )
    if groups:
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.legend(frameon=False, fontsize=9)
    ax.margins(0.12)
    ax.tick_params(axis="x", which="minor", labelsize=7, labelrotation=30)
    ax.set_xlabel(f"time per {noun} [s]")
    ax.set_ylabel("relative error")
    quiet(ax, grid=True)
    return titled(figure, title)


def _finite(values: ArrayLike) -> Float:
    """NaN, a gap in a line, for what is infinite."""
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def _positive(ax: Axes) -> bool:
    """Whether every line has positive values, of which there is at least one."""
    values = [np.asarray(line.get_ydata(), dtype=np.float64) for line in ax.lines]
    finite = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.empty(0)
    return finite.size > 0 and bool(finite.min() > 0)
