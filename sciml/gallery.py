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
from sciml.page import escape, fact_table, html_page, image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sciml.dataset import Dataset

MOST_PANELS = 3


def pictures(dataset: Dataset, sample: int = 0) -> dict[str, Figure]:
    """One figure for each field, of one sample, or of several where a sample is a single panel.

    A field of one component and one frame is shown for ``sample`` and the two after it; with several frames
    the first, the middle and the last one of ``sample``; with several components each, of the last frame.
    Of three axes the middle slice across the last one is shown.

    Raises
    ------
    DataError
        If there is no such sample.
    """
    if not 0 <= sample < len(dataset):
        raise DataError(f"{dataset.path}: has samples 0 to {len(dataset) - 1}, got {sample}.")
    return {name: _picture(dataset, name, sample) for name in dataset.fields}


def _picture(dataset: Dataset, name: str, sample: int) -> Figure:
    item, grid = dataset.fields[name], dataset.grid
    last = min(sample + MOST_PANELS, len(dataset)) if item.sample else sample + 1
    rows = [sample] if item.time or item.components > 1 else list(range(sample, last))
    values = dataset.load(name, rows)
    if not item.time:
        values = values[:, None]
    if item.components == 1:
        values = values[:, :, None]
    panels: dict[str, NDArray[Any]] = {}
    for row, frame, component in _chosen(*values.shape[:3]):
        label = [name if item.components == 1 else f"{name}[{component}]"]
        label += [f"sample {int(dataset.indices[rows[row]])}"] if item.sample else []
        if item.time and dataset.times is not None:
            label.append(f"t = {dataset.times[frame]:.4g}")
        panels[", ".join(label)], flat = _flat(values[row, frame, component], grid)
    # Panels of one component are to be compared, those of several are not.
    separate = list(panels) if item.components > 1 else ()
    units = "" if item.units == "1" else item.units
    title = item.long_name or (f"{name} [{units}]" if item.components > 1 and units else "")
    return plots.fields(panels, flat, units=units, separate=separate, title=title)


def _chosen(rows: int, frames: int, components: int) -> list[tuple[int, int, int]]:
    """Which of (row, frame, component) make the panels."""
    if components > 1:
        return [(0, frames - 1, i) for i in range(min(components, MOST_PANELS))]
    if frames > 1:
        return [(0, i, 0) for i in sorted({0, frames // 2, frames - 1})]
    return [(i, 0, 0) for i in range(rows)]


def _flat(values: NDArray[Any], grid: Grid) -> tuple[NDArray[Any], Grid]:
    """A field with at most two axes, and its grid: middle slices of the others."""
    while values.ndim > 2:
        values = values[..., values.shape[-1] // 2]
    return values.astype(np.float64), Grid(grid.axes[: values.ndim])


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
