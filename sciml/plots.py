"""Figures for reports: fields, training, errors, and error against time; without a window or global state.

Every function returns a `matplotlib.figure.Figure` of its own; `png` turns it into bytes, equal for equal
data.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.errors import ShapeError
from sciml.grid import Axis, Grid
from sciml.scores import Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Float = NDArray[np.float64]

# Okabe and Ito's colors, which color-blind readers can tell apart, without the yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_GRAY = "#666666"
_LEVELS = {"field": "viridis", "error": "magma", "signed": "RdBu_r"}


def fields(
    panels: Mapping[str, ArrayLike],
    grid: Grid,
    *,
    units: str = "",
    separate: Collection[str] = (),
    title: str = "",
) -> Figure:
    """Fields side by side: images on a grid of two axes, one picture of lines on a grid of one axis.

    Parameters
    ----------
    panels : mapping of title to (*grid.shape)
        Titles that begin with "error" get a color scale of their own; all others share one, so that truth and
        prediction may be compared by eye.
    grid : Grid
    units : str
        Of the values, except those of ``separate``.
    separate : titles
        Further panels with their own scale and units, such as the input.
    title : str

    Raises
    ------
    ShapeError
        If a panel is not on the grid, or the grid has more than two axes.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in panels.items()}
    for name, array in arrays.items():
        if array.shape != grid.shape or grid.rank > 2:
            raise ShapeError(
                f"plots.fields: panel {name!r} has shape {array.shape}; expected {grid.shape}, that of a "
                "grid of one or two axes. Select a slice of a field of more axes."
            )
    if not arrays:
        raise ShapeError("plots.fields: no panels were given.")
    if grid.rank == 1:
        return _lines(arrays, grid, units, set(separate), title)
    return _images(arrays, grid, units, set(separate), title)


def _images(arrays: dict[str, Float], grid: Grid, units: str, separate: set[str], title: str) -> Figure:
    alone = [name for name in arrays if name in separate or _is_error(name)]
    shared = [array for name, array in arrays.items() if name not in alone]
    width, height = (axis.upper - axis.lower for axis in grid.axes)
    aspect = min(max(height / width, 0.4), 2.5)
    figure = _figure(3.0 * len(arrays) + 0.4, 2.3 * aspect + (1.1 if title else 0.8))
    axes = figure.subplots(1, len(arrays), squeeze=False)[0]
    for position, (name, array) in enumerate(arrays.items()):
        low, high = _range([array] if name in alone else shared)
        colors = _LEVELS["field"]
        if _is_error(name):
            colors = _LEVELS["error"] if low >= 0 else _LEVELS["signed"]
            extent = max(abs(low), abs(high))
            low, high = (0.0, extent) if low >= 0 else (-extent, extent)
        ax = axes[position]
        x, y = (_edges(axis) for axis in grid.axes)
        image = ax.pcolormesh(x, y, array.T, cmap=colors, vmin=low, vmax=high, rasterized=True)
        ax.set_aspect("equal" if 0.4 <= height / width <= 2.5 else "auto")
        ax.set_title(name, fontsize=10)
        ax.set_xlabel(_label(grid.axes[0].name, grid.axes[0].units))
        if position == 0:
            ax.set_ylabel(_label(grid.axes[1].name, grid.axes[1].units))
        else:
            ax.tick_params(labelleft=False)
        bar = figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8, length=2)
        if units and name not in separate:
            bar.ax.set_title(units, fontsize=8, loc="left")
        _quiet(ax)
    return _titled(figure, title)


def _lines(arrays: dict[str, Float], grid: Grid, units: str, separate: set[str], title: str) -> Figure:
    """Shared panels as lines in one picture; each separate one below it."""
    alone = [name for name in arrays if name in separate or _is_error(name)]
    together = [name for name in arrays if name not in alone]
    groups = ([together] if together else []) + [[name] for name in alone]
    figure = _figure(5.6, 1.0 + 2.2 * len(groups))
    axes = figure.subplots(len(groups), 1, squeeze=False, sharex=True)[:, 0]
    x = grid.axes[0].coordinates
    for ax, group in zip(axes, groups, strict=True):
        for i, name in enumerate(group):
            style = {"color": COLORS[i % len(COLORS)], "linestyle": "-" if i == 0 else "--"}
            ax.plot(x, arrays[name], label=name, linewidth=1.6, **style)
        if len(group) > 1:
            ax.legend(frameon=False, fontsize=9)
        else:
            ax.set_title(group[0], fontsize=10)
        ax.set_ylabel(f"[{units}]" if units and group[0] not in separate else "value")
        _quiet(ax, grid=True)
    axes[-1].set_xlabel(_label(grid.axes[0].name, grid.axes[0].units))
    return _titled(figure, title)


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
    figure = _figure(5.6, 3.6)
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
    _quiet(ax, grid=True)
    return _titled(figure, title)


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
    figure = _figure(5.6, 3.4)
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
    _quiet(ax)
    return _titled(figure, title)


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
    figure = _figure(5.8, 4.4)
    ax = figure.subplots()
    for i, (name, curve) in enumerate(curves.items()):
        color = COLORS[i % len(COLORS)]
        ax.plot(places, _finite(curve["mean"]), color=color, linewidth=1.2 + 1.2 * (i == 0), label=name)
        if "low" in curve and "high" in curve:
            low, high = _finite(curve["low"]), _finite(curve["high"])
            ax.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
    ax.set_yscale("log" if _positive(ax) else "linear")
    ax.set_xlabel(_label("time since the last frame given", units))
    ax.set_ylabel("relative L2 error of the frame")
    if ax.lines:  # below, where it hides no line
        figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=2)
    _quiet(ax, grid=True)
    return _titled(figure, title)


def spectra(curves: Mapping[str, ArrayLike], *, quantity: str = "energy", title: str = "") -> Figure:
    """A quantity against the shell of wavenumbers, both logarithmic; shell 0 is left out.

    Parameters
    ----------
    curves : mapping of name to (shells,)
        The first one, the truth, is drawn thick and gray.
    """
    figure = _figure(5.8, 4.4)
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
    _quiet(ax, grid=True)
    return _titled(figure, title)


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
    figure = _figure(5.8, 4.0)
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
                    color=_GRAY,
                )
    if groups:
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.legend(frameon=False, fontsize=9)
    ax.margins(0.12)
    ax.tick_params(axis="x", which="minor", labelsize=7, labelrotation=30)
    ax.set_xlabel(f"time per {noun} [s]")
    ax.set_ylabel("relative error")
    _quiet(ax, grid=True)
    return _titled(figure, title)


def png(figure: Figure, *, dpi: int = 150) -> bytes:
    """The figure as a PNG file; without date or version, so that equal figures are equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _titled(figure: Figure, title: str) -> Figure:
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _quiet(ax: Axes, *, grid: bool = False) -> None:
    """Thin axes, small ticks, a faint grid where numbers are read off."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(_GRAY)
    ax.tick_params(labelsize=8, length=3, color=_GRAY)
    if grid:
        ax.grid(True, which="major", color="#DDDDDD", linewidth=0.6)
        ax.set_axisbelow(True)


def _is_error(name: str) -> bool:
    return name.lower().startswith(("error", "|error", "difference"))


def _range(arrays: Iterable[Float]) -> tuple[float, float]:
    """Smallest and largest finite value, apart."""
    values = np.concatenate([array[np.isfinite(array)].ravel() for array in arrays])
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _edges(axis: Axis) -> Float:
    """Borders of the cells around the points."""
    half = axis.spacing / 2
    return np.append(axis.coordinates - half, axis.coordinates[-1] + half)


def _label(name: str, units: str) -> str:
    return name if units in ("", "1") else f"{name} [{units}]"


def _finite(values: ArrayLike) -> Float:
    """NaN, a gap in a line, for what is infinite."""
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def _positive(ax: Axes) -> bool:
    """Whether every line has positive values, of which there is at least one."""
    values = [np.asarray(line.get_ydata(), dtype=np.float64) for line in ax.lines]
    finite = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.empty(0)
    return finite.size > 0 and bool(finite.min() > 0)
