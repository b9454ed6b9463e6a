"""Curves of a comparison: learning, repayment, data, resolution, time, spectrum, search."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml import plots
from sciml.assessment import percent
from sciml.comparison.equal_error import break_even, generation_seconds
from sciml.comparison.figures import ERROR, HEIGHT, WIDTH, Picture, Sheet, spoken
from sciml.comparison.results import DECISIVE, Float, Training, metric_name
from sciml.comparison.rows import Row
from sciml.comparison.search import validation_error
from sciml.comparison.statistics import Estimate, mean_error, power_law
from sciml.figures import GRAY, Look, as_duration, as_percent, log_ticks, new_figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Metrics of parts of a field: prefix of the name in rows and what it is called.
_PARTS = ("fourier_", "spectral_", "boundary")


def learning(sheet: Sheet) -> Picture | None:
    """The validation error of every seed against seconds of training."""
    figure = new_figure(WIDTH, HEIGHT)
    ax = figure.subplots()
    said, metric = {}, DECISIVE
    for training in sheet.results.main:
        curves = [c for unit in training.units if (c := _validated(unit)) is not None]
        if not curves:
            continue
        metric = curves[0][0]
        color = sheet.drawn[training.entry].color
        for _, seconds, values in curves:
            ax.plot(seconds, values, color=color, linewidth=0.8, alpha=0.45)
        last: dict[str, Any] = {
            "color": color,
            "marker": sheet.drawn[training.entry].marker,
            "markevery": [-1],
        }
        seconds, values = _together([(s, v) for _, s, v in curves])
        ax.plot(seconds, values, linewidth=2.0, markersize=6, label=training.entry, **last)
        said[training.entry] = f"{percent(float(values[-1]))} after {seconds[-1]:.3g} s"
    if not said:
        return None
    finish(figure, ax, "time of training", f"validation {metric_name(metric)}", along=as_duration)
    return Picture(
        "learning",
        figure,
        f"Validation error against training time. At the end: {spoken(said)}.",
        "Learning: validation error against time of training; thin: each seed, thick: their geometric mean.",
    )


def _validated(unit: Row) -> tuple[str, Float, Float] | None:
    """Metric, seconds and values of the validations of one unit that can be drawn on logarithmic axes."""
    rows = [row for row in unit.get("history") or () if row.get("validation") and row["seconds"] > 0]
    if not rows:
        return None
    first = rows[0]["validation"]
    metric = DECISIVE if DECISIVE in first else next(iter(first))
    seconds = np.array([row["seconds"] for row in rows], dtype=np.float64)
    values = np.array([row["validation"].get(metric) for row in rows], dtype=np.float64)
    return metric, seconds, np.where(values > 0, values, np.nan)


def _together(curves: Sequence[tuple[Float, Float]]) -> tuple[Float, Float]:
    """The geometric mean of curves over the validations that all of them have."""
    count = min(len(seconds) for seconds, _ in curves)
    seconds, values = (np.array([curve[i][:count] for curve in curves]) for i in (0, 1))
    return np.exp(np.log(seconds).mean(axis=0)), np.exp(np.log(values).mean(axis=0))


def finish(
    figure: Figure, ax: Axes, x: str, y: str, *, to: Callable[[float], str] = as_percent, along: Any = None
) -> None:
    """Logarithmic axes that can be read off (``x`` unless ``along`` is None), and the legend below."""
    ax.set_yscale("log")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    quiet(ax, grid=True)
    log_ticks(ax.yaxis, to)
    if along is not None:
        ax.set_xscale("log")
        log_ticks(ax.xaxis, along)
    entries = len(ax.get_legend_handles_labels()[1])
    figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=min(entries, 4))


def repayment(sheet: Sheet) -> Picture | None:
    """Seconds in all against the number of solves: training and inference, or the classical solver alone."""
    rows, solvers = {}, sheet.results.family("classical")
    for training in sheet.results.main:
        own, trained = training.of("seconds_per_sample"), training.of("train_seconds")
        data = generation_seconds(solvers, training.samples or sheet.results.training_samples)
        equal = sheet.equal.get(training.entry)
        if own and trained and equal is not None and equal.relation == "equal" and equal.seconds is not None:
            rows[training.entry] = (trained, data, own, equal.seconds)
    if not rows:
        return None
    even = {name: break_even(t, data or 0.0, own, c) for name, (t, data, own, c) in rows.items()}
    repaid = {name: found.training for name, found in even.items() if found.training is not None}
    last = [found.generation for found in even.values() if found.generation is not None]
    end = 10.0 ** math.ceil(math.log10(3 * max(last, default=1e4)))
    solves = np.geomspace(1, end, 200)
    figure = new_figure(WIDTH, HEIGHT)
    ax = figure.subplots()
    for name, (trained, data, own, classical) in rows.items():
        look = sheet.drawn[name]
        if data is not None:
            ax.plot(solves, trained + data + own * solves, color=look.color, linewidth=1.2, linestyle=":")
        ax.plot(solves, trained + own * solves, color=look.color, linewidth=2.0, label=name)
        ax.plot(solves, classical * solves, color=look.color, linewidth=1.2, linestyle=(0, (4, 2)))
        if name in repaid:
            ax.plot(
                repaid[name],
                classical * repaid[name],
                color=look.color,
                marker="o",
                markersize=8,
                markeredgewidth=1.5,
                fillstyle="none",
            )
    ax.plot([], [], color=GRAY, linewidth=1.2, linestyle=(0, (4, 2)), label="classical solver at equal error")
    if any(data is not None for _, data, _, _ in rows.values()):
        ax.plot([], [], color=GRAY, linewidth=1.2, linestyle=":", label="with the making of the data")
    finish(figure, ax, "solves", "time in all, with training", to=as_duration, along="{:,.0f}".format)
    said = {}
    for name, (_, data, _, _) in rows.items():
        count = f"after {even[name]}" if data is not None else f"after {repaid.get(name, 0):,} solves"
        said[name] = count if name in repaid else "never"
    return Picture(
        "repayment",
        figure,
        f"Total time against the number of solves. The training is repaid: {spoken(said)}.",
        "What pays: seconds in all for a number of solves. Rings: where the training is repaid, "
        f"compared with the classical solver at equal error ({spoken(said)}).",
    )


def efficiency(sheet: Sheet) -> Picture | None:
    """Error against the number of training samples, with the slope of a straight line."""
    groups: dict[str, dict[int, Training]] = {}
    for training in sheet.results.trainings:
        count = training.samples or sheet.results.training_samples
        if count is not None and math.isfinite(training.mean()):
            groups.setdefault(training.entry, {})[count] = training
    groups = {name: points for name, points in groups.items() if len(points) > 1}
    if not groups:
        return None
    figure = new_figure(WIDTH, HEIGHT)
    ax = figure.subplots()
    slopes = {}
    for name, points in groups.items():
        slope = _slope(points)
        label = name if slope is None else f"{name}: slope {slope.value:.2f}".replace("-", "−")
        if slope is not None:
            between = f" ({slope.low:.2f} to {slope.high:.2f})" if math.isfinite(slope.low) else ""
            slopes[name] = f"{slope.value:.2f}{between}".replace("-", "−")
        estimates = [mean_error(training.values()) for training in points.values()]
        _interval_line(ax, list(points), estimates, sheet.drawn[name], label)
    finish(figure, ax, "training samples", ERROR, along="{:,.0f}".format)
    ax.set_xticks(sorted({count for points in groups.values() for count in points}))
    return Picture(
        "data-efficiency",
        figure,
        f"Error against number of training samples; slopes in logarithms: {spoken(slopes)}.",
        "Data efficiency: error against the number of training samples, with 95% intervals. Slopes of "
        f"straight lines through the logarithms, with their intervals over seeds: {spoken(slopes)}.",
    )


def _slope(points: Mapping[int, Training]) -> Estimate | None:
    """Over the seeds that were trained on all numbers of samples."""
    found = [
        {int(unit["seed"]): float(errors.mean()) for unit, errors in zip(t.units, t.values(), strict=True)}
        for t in points.values()
    ]
    seeds = set.intersection(*(set(one) for one in found))
    return (
        power_law(list(points), [[one[seed] for one in found] for seed in sorted(seeds)]) if seeds else None
    )


def _interval_line(
    ax: Axes, x: Sequence[float], estimates: Sequence[Estimate], look: Look, label: str, *, line: str = "-"
) -> None:
    ax.vlines(x, [e.low for e in estimates], [e.high for e in estimates], color=look.color, linewidth=1.4)
    style: dict[str, Any] = {"color": look.color, "marker": look.marker, "linestyle": line, "linewidth": 1.4}
    ax.plot(
        x,
        [e.value for e in estimates],
        markersize=7 * look.size,
        markeredgecolor="white",
        label=label,
        **style,
    )


def transfer(sheet: Sheet) -> Picture | None:
    """The error at resolutions that were not trained on."""
    own = sheet.results.resolution
    sizes = {size for t in sheet.results.main for unit in t.units for size in unit.get("transfer") or {}}
    if not sizes:
        return None
    order = sorted(sizes | ({own} if own else set()), key=_points)
    figure = new_figure(WIDTH, HEIGHT)
    ax = figure.subplots()
    said = {}
    shown = sheet.results.main
    for i, training in enumerate(shown):
        found = {size: e for size in order if (e := _elsewhere(training, size, own)) is not None}
        shift = 0.06 * (i - (len(shown) - 1) / 2)
        places = [order.index(size) + shift for size in found]
        _interval_line(ax, places, list(found.values()), sheet.drawn[training.entry], training.entry)
        said[training.entry] = ", ".join(f"{size} {percent(e.value)}" for size, e in found.items())
    finish(figure, ax, "resolution", ERROR)
    ax.set_xticks(range(len(order)), [s.replace("x", "×") + "\n(trained)" * (s == own) for s in order])
    ax.set_xlim(-0.4, len(order) - 0.6)
    return Picture(
        "transfer",
        figure,
        f"Error at other resolutions. {spoken(said)}.",
        "Resolution transfer: error on other grids than the one trained on, with 95% intervals.",
    )


def _points(size: str) -> int:
    """How many points "64x64" has."""
    return math.prod(int(part) for part in size.split("x") if part.isdigit())


def _elsewhere(training: Training, size: str, own: str | None) -> Estimate | None:
    if size == own:
        return mean_error(training.values())
    if not all(size in (unit.get("transfer") or {}) for unit in training.units):
        return None
    values = [unit["transfer"][size][DECISIVE] for unit in training.units]
    return mean_error(np.array(values, dtype=np.float64))


def course(sheet: Sheet) -> Picture | None:
    """The error of each frame of roll-outs, with the range over seeds, and how long they are valid."""
    curves: dict[str, Mapping[str, Any]] = {}
    times, units, looks, said = [], "", {}, {}
    for training in sheet.results.main:
        found = [unit["course"] for unit in training.units if unit.get("course")]
        if not found:
            continue
        times, units = found[0]["times"], found[0].get("units", "")
        means = np.array([c["mean"] for c in found], dtype=np.float64)
        name = training.entry
        if training.has("valid_time"):
            valid = training.mean("valid_time")
            said[training.entry] = f"{valid:.3g} {units if units != '1' else ''}".strip()
            name = f"{name} (valid for {said[training.entry]})"
        curves[name] = {"mean": means.mean(axis=0), "low": means.min(axis=0), "high": means.max(axis=0)}
        looks[name] = sheet.drawn[training.entry]
    if not curves:
        return None
    figure = plots.over_time(curves, times, units=units, drawn=looks)
    ax = figure.axes[0]
    plots.crossed(ax, {n: e for n, e in sheet.trivial.items() if e < 3 * ax.get_ylim()[1]})
    if ax.get_yscale() == "log":
        log_ticks(ax.yaxis, as_percent)
    return Picture(
        "course",
        figure,
        f"Error of roll-outs over time. Valid times: {spoken(said)}."
        if said
        else "Error of roll-outs over time.",
        "Roll-outs: mean relative error of each frame; band: range over seeds. Dashed: errors of predictors "
        "that learn nothing, over all frames.",
    )


def spectrum(sheet: Sheet) -> Picture | None:
    """The spectrum of the truth and of the predictions."""
    curves: dict[str, Float] = {}
    quantity = ""
    for training in sheet.results.main:
        found = [unit["spectrum"] for unit in training.units if unit.get("spectrum")]
        if found:
            quantity = found[0].get("quantity", "")
            curves.setdefault("truth", _from_zero(found[0], "truth"))
            every = [_from_zero(one, "prediction") for one in found]
            curves[training.entry] = np.mean(every, axis=0)
    if not curves:
        return None
    figure = plots.spectra(curves, quantity=quantity, drawn=sheet.drawn)
    return Picture(
        "spectrum",
        figure,
        f"Spectrum of {quantity or 'the field'}: the truth and {', '.join(list(curves)[1:])}.",
        f"Spectrum of {quantity or 'the field'} over shells of wavenumbers; gray: the truth.",
    )


def _from_zero(spectrum: Row, name: str) -> Float:
    """Values by shell, beginning with shell 0."""
    shells = np.array(spectrum["k"], dtype=np.int64)
    values = np.full(shells.max() + 1, np.nan)
    values[shells] = np.array(spectrum[name], dtype=np.float64)
    return values


def bands(sheet: Sheet) -> Picture | None:
    """Errors of bands of wavenumbers and at the boundary, side by side."""
    main = sheet.results.main
    names = [n for n in (main[0].units[0]["metrics"] if main else ()) if n.startswith(_PARTS)]
    names = [name for name in names if all(training.has(name) for training in main)]
    if not names:
        return None
    figure = new_figure(WIDTH, HEIGHT)
    ax = figure.subplots()
    said = {}
    for i, training in enumerate(main):
        estimates = [mean_error(training.values(name)) for name in names]
        shift = 0.16 * (i - (len(main) - 1) / 2)
        places = [k + shift for k in range(len(names))]
        _interval_line(ax, places, estimates, sheet.drawn[training.entry], training.entry, line="none")
        said[training.entry] = ", ".join(f"{n} {e.value:.2g}" for n, e in zip(names, estimates, strict=True))
    finish(figure, ax, "", "error", to="{:g}".format)
    ax.set_xticks(range(len(names)), [metric_name(name).replace(" ", "\n", 1) for name in names])
    ax.set_xlim(-0.5, len(names) - 0.5)
    return Picture(
        "bands",
        figure,
        f"Errors by band of wavenumbers and at the boundary. {spoken(said)}.",
        "Where the error is, in the units of the field: in bands of wavenumbers (fewer than 4 periods per "
        "domain, fewer than 12, more) and at the boundary; means with 95% intervals.",
    )


def search(sheet: Sheet) -> Picture | None:
    """The validation error of the trials of a search, and the best one so far."""
    groups: dict[str, list[Row]] = {}
    for row in sheet.results.searches:
        if row["status"] == "finished" and 0 < validation_error(row) < math.inf:
            groups.setdefault(row["entry"], []).append(row)
    if not groups:
        return None
    figure = new_figure(WIDTH, HEIGHT)
    ax = figure.subplots()
    said = {}
    for name, rows in groups.items():
        ordered = sorted(rows, key=lambda row: int(row["trial"]))
        trials = [row["trial"] + 1 for row in ordered]
        values = np.array([validation_error(row) for row in ordered])
        look = sheet.drawn[name]
        ax.plot(
            trials, values, color=look.color, marker=look.marker, linestyle="none", alpha=0.6, markersize=5
        )
        best = np.minimum.accumulate(values)
        ax.step(trials, best, where="post", color=look.color, linewidth=1.8, label=name)
        said[name] = percent(float(best[-1]))
    finish(figure, ax, "trial", "validation error")
    return Picture(
        "search",
        figure,
        f"Search for settings; best validation errors: {spoken(said)}.",
        "Search for settings, with equal budgets: the validation error of each trial and the best so far.",
    )
