"""One page about a solved problem: solution, error, residual, its points, and how it was learned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import sciml.plots as plots
from sciml.assessment import milliseconds
from sciml.figures import COLORS, new_figure, quiet
from sciml.files import write_bytes_atomic
from sciml.grid import Grid
from sciml.page import chart, data_table, escape, fact_table, html_page, image
from sciml.pinns.fields import Fields
from sciml.pinns.yardsticks import Yardstick

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Float = NDArray[np.float64]
Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]

_SHOWN = 1000  # steps of a curve
# Numbers of a row that are no terms of the loss.
_BESIDE = {"step", "loss", "lr", "seconds", "waited"}


def write_report(
    path: Path,
    *,
    title: str,
    verdict: str,
    error: float | None,
    fields: Fields,
    points: Float,
    history: Sequence[Mapping[str, Any]],
    yardsticks: Sequence[Yardstick] = (),
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    path : Path
    title, verdict : str
    error : float, optional
        Relative L2 error of the network.
    fields : Fields
        Shown as maps; of three axes a slice through the third one.
    points : (n, dim)
        Where the equation was looked at last.
    history : rows of metrics.jsonl
    yardsticks : sequence of Yardstick
        Beside the network.
    facts : mapping of mappings
        Further tables by heading.
    """
    sections = [f'<p class="verdict">{escape(verdict)}</p>']
    if error is not None:
        sections.append("<h2>Errors</h2>" + _error_table(error, yardsticks))
    sections.append("<h2>Solution</h2>")
    sections += [image(figure, alt) for figure, alt in maps(fields)]
    pictures = [image(figure, alt) for figure, alt in residual_maps(fields)]
    pictures.append(image(points_figure(points, fields), "points of the equation"))
    sections.append(f'<h2>Residual and points</h2><div class="pair">{"".join(pictures)}</div>')
    curves = "".join(chart(figure, alt) for figure, alt in curves_of(history))
    sections.append(f'<h2>Training</h2><div class="pair">{curves}</div>')
    for heading, table in (facts or {}).items():
        sections.append(f"<h2>{escape(heading)}</h2>{fact_table(table)}")
    write_bytes_atomic(path, html_page(title, sections).encode())


def _error_table(error: float, yardsticks: Sequence[Yardstick]) -> str:
    rows = [["this network", f"{error:.3g}", ""]]
    for y in yardsticks:
        rows.append([y.name, f"{y.error:.3g}", "" if y.seconds is None else milliseconds(y.seconds)])
    caption = (
        "Relative L2 over the points of the reference. The best constant and the best linear network stand "
        "in the same ansatz: what they reach is no achievement of training. The classical solver, from "
        "coarse to fine, up to the error of the network."
    )
    return data_table(["", "relative L2", "time"], rows, caption=caption, bold=[0])


def maps(fields: Fields) -> Iterator[tuple[Figure, str]]:
    """For each component a picture of the network, and, where it is known, of the reference and the error;
    then the unknown functions."""
    names = [name for name in fields.values if not name.startswith(("error", "residual", "coefficient"))]
    for place, values, where in _slices(fields):
        for name in names:
            error = values.get("error" if len(names) == 1 else f"error_{name}")
            panels = {"network": values[name]}
            if error is not None:
                panels |= {"reference": values[name] - error, "error": error}
            title = ", ".join(part for part in (name if len(names) > 1 else "", where) if part)
            yield plots.fields(panels, place, title=title), f"solution {title}".strip()
        found = {name: v for name, v in values.items() if name.startswith("coefficient")}
        if found:
            yield plots.fields(found, place, title=where), f"unknown functions {where}".strip()


def residual_maps(fields: Fields) -> Iterator[tuple[Figure, str]]:
    """The size of each equation's residual, as its decimal logarithm, down to 1e-4 of the largest."""
    for place, values, where in _slices(fields):
        for name in (name for name in values if name.startswith("residual")):
            size = np.abs(values[name])
            floor = max(float(np.nanmax(size, initial=0.0)) * 1e-4, np.finfo(np.float64).tiny)
            title = f"log10 |{name}|" + (f", {where}" if where else "")
            yield plots.fields({title: np.log10(np.maximum(size, floor))}, place), title


def _slices(fields: Fields) -> Iterator[tuple[Any, dict[str, Float], str]]:
    """Place, values and a name: of a grid of three axes, which no picture shows, the end or the middle."""
    place = fields.place
    if not isinstance(place, Grid) or place.rank < 3:
        yield place, dict(fields.values), ""
        return
    axis = place.axes[2]
    for k in [axis.size // 2, axis.size - 1] if axis.name == "t" else [axis.size // 2]:
        where = f"{axis.name} = {axis.coordinates[k]:g}"
        yield Grid(place.axes[:2]), {name: v[:, :, k] for name, v in fields.values.items()}, where


def points_figure(points: Float, fields: Fields) -> Figure:
    """How many points there are where, over the first two coordinates."""
    names = fields.place.names
    figure = new_figure(5.6, 3.8)
    ax = figure.subplots()
    if points.shape[1] == 1:
        ax.hist(points[:, 0], bins=40, color=COLORS[0], alpha=0.6)
        ax.set_ylabel("points")
    else:
        x, y = points[:, 0], points[:, 1]
        cells = ax.hexbin(x, y, gridsize=16, cmap="Blues", linewidths=0.1)
        ax.scatter(x, y, s=1.5, color="#000000", linewidths=0, alpha=0.5)
        figure.colorbar(cells, ax=ax, label="points in a cell", fraction=0.046, pad=0.03)
        ax.set_ylabel(names[1])
    ax.set_xlabel(names[0])
    ax.set_title(f"{len(points)} points of the equation at the end", fontsize=10)
    quiet(ax)
    return figure


def curves_of(history: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Figure, str]]:
    """Loss and error against steps, error against time, terms of the loss, weights."""
    rows = history[:: max(1, len(history) // _SHOWN)]
    yield plots.history(history), "loss over optimizer steps"
    judged = [row for row in history if row.get("validation")]
    timed = _series(((r["seconds"], r["validation"]) for r in judged), only={"relative_l2"})
    if timed:
        yield _lines(timed, "seconds", "relative L2 error"), "error against time"
    terms = _series((row["step"], terms_of(row)) for row in rows)
    if len(terms) > 1:
        yield _lines(terms, "step", "terms of the loss, weighted"), "terms of the loss"
    for group, what in (("unweighted", "terms of the loss, unweighted"), ("weights", "weights")):
        if found := _series((row["step"], row.get(group) or {}) for row in rows):
            yield _lines(found, "step", what), what


def terms_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The terms of the loss in a row of metrics.jsonl, if there are several."""
    return {name: v for name, v in row.items() if name not in _BESIDE and isinstance(v, float)}


def _series(rows: Iterable[tuple[float, Mapping[str, Any]]], *, only: set[str] | None = None) -> Series:
    found: dict[str, tuple[list[float], list[float]]] = {}
    for x, numbers in rows:
        for name, value in numbers.items():
            if only is None or name in only:
                xs, ys = found.setdefault(name, ([], []))
                xs.append(float(x))
                ys.append(float(value))
    return found


def _lines(series: Series, x: str, y: str) -> Figure:
    figure = new_figure(5.6, 3.6)
    ax = figure.subplots()
    for i, (name, (xs, ys)) in enumerate(series.items()):
        mark = "o" if len(xs) == 1 else ""
        ax.plot(xs, ys, color=COLORS[i % len(COLORS)], linewidth=1.3, marker=mark, label=name)
    if all(value > 0 for _, ys in series.values() for value in ys):
        ax.set_yscale("log")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    if len(series) > 1:
        ax.legend(frameon=False, fontsize=9)
    quiet(ax, grid=True)
    return figure
