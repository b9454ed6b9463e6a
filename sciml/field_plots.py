"""Fields as pictures: images on grids and meshes, lines on grids of one axis."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.errors import ShapeError
from sciml.figures import COLORS, label_of, new_figure, quiet, titled
from sciml.grid import Axis, Grid
from sciml.mesh import Points
from sciml.mesh_plots import Canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Float = NDArray[np.float64]

_LEVELS = {"field": "viridis", "error": "magma", "signed": "RdBu_r"}


def fields(
    panels: Mapping[str, ArrayLike],
    grid: Grid | Points | Mapping[str, Points],
    *,
    units: str = "",
    separate: Collection[str] = (),
    title: str = "",
) -> Figure:
    """Fields side by side: images on a grid of two axes or a mesh, lines on a grid of one axis.

    Of a mesh in space the surface is drawn, seen from above and in front; of points dots.

    Parameters
    ----------
    panels : mapping of title to (*grid.shape), or to (point,) or (cell,)
        Titles that begin with "error" get a color scale of their own; all others share one, so that truth and
        prediction may be compared by eye.
    grid : Grid, Points or Mesh, or a mapping of title to Points or Mesh
    units : str
        Of the values, except those of ``separate``.
    separate : titles
        Further panels with their own scale and units, such as the input.
    title : str

    Raises
    ------
    ShapeError
        If a panel is not on the grid, or the grid has more than two axes, or a mesh more than three.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in panels.items()}
    if not arrays:
        raise ShapeError("plots.fields: no panels were given.")
    if not isinstance(grid, Grid):
        places = grid if isinstance(grid, Mapping) else dict.fromkeys(arrays, grid)
        return _images(arrays, places, units, set(separate), title)
    for name, array in arrays.items():
        if array.shape != grid.shape or grid.rank > 2:
            raise ShapeError(
                f"plots.fields: panel {name!r} has shape {array.shape}; expected {grid.shape}, that of a "
                "grid of one or two axes. Select a slice of a field of more axes."
            )
    if grid.rank == 1:
        return _lines(arrays, grid, units, set(separate), title)
    return _images(arrays, grid, units, set(separate), title)


def _images(
    arrays: dict[str, Float],
    place: Grid | Mapping[str, Points],
    units: str,
    separate: set[str],
    title: str,
) -> Figure:
    alone = [name for name in arrays if name in separate or _is_error(name)]
    shared = [array for name, array in arrays.items() if name not in alone]
    surfaces = {name: _Surface.of(place, name, array) for name, array in arrays.items()}
    width, height = np.max([surface.extent for surface in surfaces.values()], axis=0)
    aspect = min(max(height / width, 0.4), 2.5)
    figure = new_figure(3.0 * len(arrays) + 0.4, 2.3 * aspect + (1.1 if title else 0.8))
    axes = figure.subplots(1, len(arrays), squeeze=False)[0]
    for position, (name, array) in enumerate(arrays.items()):
        colors, low, high = _scale(name, [array] if name in alone else shared)
        ax, surface = axes[position], surfaces[name]
        image = surface.draw(ax, array, colors, low, high)
        ax.set_aspect("equal" if 0.4 <= height / width <= 2.5 and surface.plane else "auto")
        if surface.labels == ("", ""):
            ax.set_axis_off()  # a view of space, where numbers along the axes would mean nothing
        ax.set_title(name, fontsize=10)
        ax.set_xlabel(surface.labels[0])
        if position == 0:
            ax.set_ylabel(surface.labels[1])
        else:
            ax.tick_params(labelleft=False)
        bar = figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8, length=2)
        if units and name not in separate:
            bar.ax.set_title(units, fontsize=8, loc="left")
        quiet(ax)
    return titled(figure, title)


@dataclass(frozen=True)
class _Surface:
    """What a panel of `_images` is drawn on: extent, labels of the axes, and how values become colors."""

    place: Grid | Canvas
    extent: tuple[float, float]
    labels: tuple[str, str]
    plane: bool = True  # both directions of the picture are lengths

    @classmethod
    def of(cls, place: Grid | Mapping[str, Points], name: str, values: Float) -> _Surface:
        if isinstance(place, Grid):
            x, y = place.axes
            lengths = (x.upper - x.lower, y.upper - y.lower)
            return cls(place, lengths, (label_of(x.name, x.units), label_of(y.name, y.units)))
        points = place[name]
        canvas = Canvas.of(points, values)
        width, height = np.ptp(canvas.flat, axis=0)
        labels = [label_of(axis, points.units) for axis in points.names]
        if points.dim == 1:
            return cls(canvas, (1.5, 1.0), (labels[0], "value"), plane=False)
        if points.dim == 3:
            labels = ["", ""]
        size = max(width, height)
        smallest = 1e-3 * size if size > 0 else 1.0  # points on one line still have a picture
        return cls(canvas, (max(width, smallest), max(height, smallest)), (labels[0], labels[1]))

    def draw(self, ax: Axes, values: Float, colors: str, low: float, high: float) -> Any:
        if isinstance(self.place, Canvas):
            return self.place.draw(ax, values, cmap=colors, low=low, high=high)
        x, y = (_edges(axis) for axis in self.place.axes)
        return ax.pcolormesh(x, y, values.T, cmap=colors, vmin=low, vmax=high, rasterized=True)


@dataclass(frozen=True)
class FieldRow:
    """Panels of one method, by their titles, with a label for the side."""

    label: str
    panels: Mapping[str, ArrayLike]
    place: Grid | Points


def field_table(rows: Sequence[FieldRow], *, units: str = "", separate: Collection[str] = ()) -> Figure:
    """Rows of panels, one for each method; panels of one column share a scale, so do truth and prediction.

    Parameters
    ----------
    rows : sequence of FieldRow
        With equal titles of panels.  Titles that begin with "error" or "difference" share one color scale
        over all rows, each of ``separate`` too; all others share one together.
    units : str
        Of the values, except those of ``separate``.
    separate : titles
        Such as the input.

    Raises
    ------
    ShapeError
        If there are no rows, titles differ, or a panel does not fit its place.
    """
    if not rows or len({tuple(row.panels) for row in rows}) > 1:
        raise ShapeError("plots.field_table: needs rows that have panels of the same titles.")
    names = list(rows[0].panels)
    arrays = [{n: np.asarray(v, dtype=np.float64) for n, v in row.panels.items()} for row in rows]
    alone = [name for name in names if name in separate or _is_error(name)]
    groups = [[name] for name in names if name in separate]
    groups += [group for group in [[n for n in names if n not in alone]] if group]
    groups += [[name] for name in names if _is_error(name) and name not in separate]
    for row, panels in zip(rows, arrays, strict=True):
        for name, array in panels.items():
            if isinstance(row.place, Grid) and (array.shape != row.place.shape or row.place.rank > 2):
                raise ShapeError(
                    f"plots.field_table: panel {name!r} of {row.label!r} has shape {array.shape}; expected "
                    f"{row.place.shape}, that of a grid of one or two axes."
                )
    if all(isinstance(row.place, Grid) and row.place.rank == 1 for row in rows):
        return _line_table(rows, arrays, groups, units, separate)
    return _image_table(rows, arrays, groups, units, separate)


def _image_table(
    rows: Sequence[FieldRow],
    arrays: Sequence[dict[str, Float]],
    groups: Sequence[Sequence[str]],
    units: str,
    separate: Collection[str],
) -> Figure:
    names = list(rows[0].panels)
    surfaces = [
        {
            n: _Surface.of(row.place if isinstance(row.place, Grid) else {n: row.place}, n, a)
            for n, a in of.items()
        }
        for row, of in zip(rows, arrays, strict=True)
    ]
    width, height = np.max([s.extent for row in surfaces for s in row.values()], axis=0)
    aspect = min(max(height / width, 0.4), 2.5)
    side = 8.4 / max(len(names), 3)
    figure = new_figure(side * len(names) + 1.2, side * aspect * 0.96 * len(rows) + 1.0)
    axes = figure.subplots(len(rows), len(names), squeeze=False)
    for group in groups:
        colors, low, high = _scale(group[0], [of[name] for of in arrays for name in group])
        columns = [names.index(name) for name in group]
        for i, shown_on in enumerate(surfaces):
            for column in columns:
                surface, ax = shown_on[names[column]], axes[i, column]
                image = surface.draw(ax, arrays[i][names[column]], colors, low, high)
                ax.set_aspect("equal" if 0.4 <= height / width <= 2.5 and surface.plane else "auto")
                ax.set_axis_off()
        shown = list(axes[:, columns].ravel())
        bar = figure.colorbar(
            image, ax=shown, location="bottom", aspect=14 * len(group), pad=0.02, shrink=0.86
        )
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8, length=2)
        bar.locator = _few()
        bar.update_ticks()
        if units and group[0] not in separate:
            bar.set_label(f"[{units}]", fontsize=8)
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(name, fontsize=10)
    for row, ax in zip(rows, axes[:, 0], strict=True):
        beside: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 9}
        ax.annotate(row.label, (0, 0.5), xytext=(-8, 0), ha="right", va="center", **beside)
    return figure


def _few() -> Any:
    """At most five ticks."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)


def _line_table(
    rows: Sequence[FieldRow],
    arrays: Sequence[dict[str, Float]],
    groups: Sequence[Sequence[str]],
    units: str,
    separate: Collection[str],
) -> Figure:
    """Each group is a column: its panels are lines in one picture."""
    figure = new_figure(3.1 * len(groups) + 1.2, 1.9 * len(rows) + 0.7)
    axes = figure.subplots(len(rows), len(groups), squeeze=False, sharex=True, sharey="col")
    for i, (row, panels) in enumerate(zip(rows, arrays, strict=True)):
        assert isinstance(row.place, Grid)
        axis = row.place.axes[0]
        for ax, group in zip(axes[i], groups, strict=True):
            for k, name in enumerate(group):
                style = {"color": COLORS[k % len(COLORS)], "linestyle": "-" if k == 0 else "--"}
                ax.plot(axis.coordinates, panels[name], label=name, linewidth=1.4, **style)
            if i == 0:
                ax.set_title(group[0] if len(group) == 1 else " and ".join(group), fontsize=10)
                if len(group) > 1:
                    ax.legend(frameon=False, fontsize=8)
            if i == len(rows) - 1:
                ax.set_xlabel(label_of(axis.name, axis.units))
            quiet(ax, grid=True)
        unit = f"\n[{units}]" if units and groups[0][0] not in separate else ""
        axes[i, 0].set_ylabel(row.label + unit, fontsize=9, rotation=0, ha="right", va="center", labelpad=8)
    return figure


def _lines(arrays: dict[str, Float], grid: Grid, units: str, separate: set[str], title: str) -> Figure:
    """Shared panels as lines in one picture; each separate one below it."""
    alone = [name for name in arrays if name in separate or _is_error(name)]
    together = [name for name in arrays if name not in alone]
    groups = ([together] if together else []) + [[name] for name in alone]
    figure = new_figure(5.6, 1.0 + 2.2 * len(groups))
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
        quiet(ax, grid=True)
    axes[-1].set_xlabel(label_of(grid.axes[0].name, grid.axes[0].units))
    return titled(figure, title)


def _is_error(name: str) -> bool:
    return name.lower().startswith(("error", "|error", "difference"))


def _scale(name: str, arrays: Iterable[Float]) -> tuple[str, float, float]:
    """Colors and limits of panels that share them; those of errors begin at zero or have it in the middle."""
    low, high = _range(arrays)
    if not _is_error(name):
        return _LEVELS["field"], low, high
    extent = max(abs(low), abs(high))
    return (_LEVELS["error"], 0.0, extent) if low >= 0 else (_LEVELS["signed"], -extent, extent)


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
