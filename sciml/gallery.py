"""A picture of every field of a dataset, for people who want to see what they have."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import sciml.plots as plots
from sciml.errors import DataError
from sciml.files import write_bytes_atomic
from sciml.grid import Grid
from sciml.mesh import Points
from sciml.page import escape, fact_table, html_page, image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sciml.dataset import Dataset

MOST_PANELS = 3


def pictures(dataset: Dataset, sample: int = 0) -> dict[str, Figure]:
    """One figure for each field, of one sample, or of several where a sample is a single panel.

    A field of one component and one frame is shown for ``sample`` and the two after it; with several frames
    the first, the middle and the last one of ``sample``; with several components each, of the last frame.
    Of three axes the middle slice across the last one is shown, of a mesh in space the surface.

    Raises
    ------
    DataError
        If there is no such sample.
    """
    if not 0 <= sample < len(dataset):
        raise DataError(f"{dataset.path}: has samples 0 to {len(dataset) - 1}, got {sample}.")
    return {name: _picture(dataset, name, sample) for name in dataset.fields}


def _picture(dataset: Dataset, name: str, sample: int) -> Figure:
    item = dataset.fields[name]
    last = min(sample + MOST_PANELS, len(dataset)) if item.sample else sample + 1
    rows = [sample] if item.time or item.components > 1 else list(range(sample, last))
    values = _values(dataset, name, rows)
    panels: dict[str, NDArray[Any]] = {}
    places: dict[str, Points] = {}
    for row, frame, component in _chosen(len(rows), *values[0].shape[:2]):
        label = [name if item.components == 1 else f"{name}[{component}]"]
        label += [f"sample {int(dataset.indices[rows[row]])}"] if item.sample else []
        if item.time and dataset.times is not None:
            label.append(f"t = {dataset.times[frame]:.4g}")
        key, picked = ", ".join(label), values[row][frame, component]
        panels[key] = _flat(picked)
        if not _on_grid(dataset, name):
            places[key] = _place(dataset, name, rows[row])
    # Panels of one component are to be compared, those of several are not.
    separate = list(panels) if item.components > 1 else ()
    units = "" if item.units == "1" else item.units
    title = item.long_name or (f"{name} [{units}]" if item.components > 1 and units else "")
    where = places or Grid(dataset.grid.axes[:2])
    return plots.fields(panels, where, units=units, separate=separate, title=title)


def _on_grid(dataset: Dataset, name: str) -> bool:
    return dataset.kind == "grid" and dataset.fields[name].on == "points"


def _values(dataset: Dataset, name: str, rows: list[int]) -> list[NDArray[Any]]:
    """(frame, component, *space) of each sample; (frame, component, point) off the grid."""
    item, on_grid = dataset.fields[name], _on_grid(dataset, name)
    found = []
    for given in list(dataset.load(name, rows)) if on_grid else dataset.arrays(name, rows):
        array = given if item.time else given[None]
        if item.components == 1:
            array = array[:, None]
        elif not on_grid:
            array = np.moveaxis(array, -1, 1)
        found.append(array)
    return found


def _place(dataset: Dataset, name: str, row: int) -> Points:
    """The points or the mesh of one sample's field."""
    if dataset.fields[name].on == "own":
        return Points(dataset.places([row], name)[0])
    return dataset.mesh(row)


def _chosen(rows: int, frames: int, components: int) -> list[tuple[int, int, int]]:
    """Which of (row, frame, component) make the panels."""
    if components > 1:
        return [(0, frames - 1, i) for i in range(min(components, MOST_PANELS))]
    if frames > 1:
        return [(0, i, 0) for i in sorted({0, frames // 2, frames - 1})]
    return [(i, 0, 0) for i in range(rows)]


def _flat(values: NDArray[Any]) -> NDArray[np.float64]:
    """A field with at most two axes: middle slices of the others."""
    while values.ndim > 2:
        values = values[..., values.shape[-1] // 2]
    return values.astype(np.float64)


def write_png(figures: dict[str, Figure], path: Path) -> None:
    """All figures, one below the other."""
    from PIL import Image

    pages = [Image.open(io.BytesIO(plots.png(figure))) for figure in figures.values()]
    sheet = Image.new("RGB", (max(page.width for page in pages), sum(page.height for page in pages)), "white")
    top = 0
    for page in pages:
        sheet.paste(page, (0, top))
        top += page.height
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_bytes_atomic(path, buffer.getvalue())


def write_html(dataset: Dataset, figures: dict[str, Figure], path: Path) -> None:
    """A page with the figures and what the file says about itself."""
    sections = [f'<p class="quiet">{escape(line)}</p>' for line in repr(dataset).splitlines()]
    for name, figure in figures.items():
        item = dataset.fields[name]
        sections.append(f"<h2>{escape(name)}</h2>{image(figure, f'the field {name}')}")
        facts: dict[str, Any] = {"role": item.role, "units": item.units}
        if len(dataset.train):
            found = dataset.statistics(name)
            facts |= {key: getattr(found, key).tolist() for key in ("mean", "std", "min", "max")}
        sections.append(fact_table(facts))
    told = {
        key: value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        for key, value in dataset.attributes.items()
    }
    sections.append("<h2>Attributes</h2>" + fact_table(told))
    write_bytes_atomic(path, html_page(dataset.path.name, sections).encode())
